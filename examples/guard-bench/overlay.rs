//! What overrides add to a `put`: two guards on the same LaunchDarkly, one whose stores hold overrides and one whose stores
//! hold none.

use std::time::Duration;

use crate::Outcome;
use crate::Row;
use crate::Task;
use crate::median;
use crate::proxies::Proxy;
use crate::put;
use crate::relays::Relays;
use crate::shown;
use crate::upstream::Script;
use crate::upstream::Upstream;

const FLAGS: usize = 20_000;
const OVERRIDES: usize = 100;

/// The version that the flags have in the stores, and with which the stream begins.
const VERSION: u64 = 42;

/// The most that overrides may add.
const MOST: Duration = Duration::from_millis(20);

/// After a change of an override its patch comes again for a while: 1 s, 5 s, and the relay's cache time and 2 s.
const QUIET_AFTER: Duration = Duration::from_secs(8);

/// Flags that are other ones in a `put` that tells little new: so many that are not overridden.
const FEW: usize = 150;

/// One guard with one relay.
struct Side {
    upstream: Upstream,
    relays: Relays,
    events: usize,
    _guard: Proxy,
}

impl Side {
    async fn start(task: &Task, home: usize) -> Outcome<Self> {
        let upstream = Upstream::start(Some(Script::of([put(FLAGS, |_| VERSION)])))?;
        let guard = Proxy::guard(&task.rc, task.home(home)?, &upstream.url())?;
        let mut relays = Relays::at(guard.address);
        relays.expect(1);
        relays.come(1).await?;
        relays.all_have().await?;
        Ok(Self { upstream, relays, events: 1, _guard: guard })
    }

    /// Sends a `put` of which so many events come out; from its last byte to their last byte.
    async fn once(&mut self, script: &Script, events: usize) -> Outcome<Duration> {
        self.events += events;
        self.relays.expect(self.events);
        let (_, sent) = tokio::task::block_in_place(|| self.upstream.say_alone(script))?;
        Ok(self.relays.all_have().await?.duration_since(sent).unwrap_or_default())
    }
}

/// What 100 overrides add to a `put` of 20,000 flags, where it comes out as a `put`, and where it comes out as patches.
pub async fn rows(task: &Task) -> Outcome<Vec<Row>> {
    let (mut plain, mut overridden) = (Side::start(task, 0).await?, Side::start(task, 1).await?);
    tokio::time::sleep(QUIET_AFTER).await;
    let mut rows = Vec::new();
    let mut version = VERSION;
    for (what, few) in [("every flag a new one", false), ("150 flags new ones", true)] {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..task.rounds * 3 {
            version += 1;
            // Those of the second kind are 150 of the last ones, which nobody has overridden; the others stay.
            let old = version - 1;
            let of = |index: usize| if few && index < FLAGS - FEW { VERSION + task.rounds as u64 * 3 } else { version };
            debug_assert!(old < version);
            let script = Script::of([put(FLAGS, of)]);
            without.push(plain.once(&script, 1).await?);
            with.push(overridden.once(&script, if few { FEW } else { 1 }).await?);
        }
        let (without, with) = (median(without), median(with));
        let added = with.saturating_sub(without);
        rows.push((
            format!("`rc guard`, {OVERRIDES} overrides on {FLAGS} flags, added to a put ({what})"),
            shown(added),
            format!("{} with overrides, {} without", shown(with), shown(without)),
            format!("{} allowed", shown(MOST)),
            Some(added.as_secs_f64() / MOST.as_secs_f64()),
            Some(1.0),
        ));
    }
    Ok(rows)
}
