//! What overrides add to a `put`: two guards on the same LaunchDarkly, one whose stores hold overrides and one whose stores
//! hold none.

use std::time::Duration;

use crate::Outcome;
use crate::Row;
use crate::Task;
use crate::name;
use crate::proxies::Proxy;
use crate::put;
use crate::relays::Listener;
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

/// So many flags are other ones in a `put` that tells little new.
const FEW: usize = 150;

/// One guard with one relay.
struct Side {
    upstream: Upstream,
    relay: Listener,
    _guard: Proxy,
}

impl Side {
    async fn start(task: &Task, home: usize) -> Outcome<Self> {
        let upstream = Upstream::start(Some(Script::of([put(FLAGS, |_| VERSION)])))?;
        let guard = Proxy::guard(&task.rc, task.home(home)?, &upstream.url())?;
        let mut relay = Listener::at(guard.address);
        relay.next(is_put).await?;
        Ok(Self { upstream, relay, _guard: guard })
    }

    /// From the last byte of a `put` to the last byte of what comes out.
    async fn once(&mut self, script: &Script, is_last: impl Fn(&str) -> bool) -> Outcome<Duration> {
        let (_, sent) = tokio::task::block_in_place(|| self.upstream.say_alone(script))?;
        Ok(self.relay.next(is_last).await?.duration_since(sent).unwrap_or_default())
    }
}

fn is_put(event: &str) -> bool {
    event.starts_with("event: put")
}

/// What 100 overrides add to a `put` of 20,000 flags, where it comes out as a `put`, and where it comes out as patches. The
/// overridden flags are the same in all of them: where LaunchDarkly has changed one, guards have more to do afterwards.
pub async fn rows(task: &Task) -> Outcome<Vec<Row>> {
    let (mut plain, mut overridden) = (Side::start(task, 0).await?, Side::start(task, 1).await?);
    tokio::time::sleep(QUIET_AFTER).await;
    let mut version = VERSION;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..task.rounds * 2 {
        version += 1;
        let script = Script::of([put(FLAGS, |index| if index < OVERRIDES { VERSION } else { version })]);
        without.push(plain.once(&script, is_put).await?);
        with.push(overridden.once(&script, is_put).await?);
    }
    let mut rows = vec![added("all other flags new", &without, &with)];
    let before = version;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..task.rounds * 2 {
        version += 1;
        let of = |index: usize| match index {
            _ if index < OVERRIDES => VERSION,
            _ if index < FLAGS - FEW => before,
            _ => version,
        };
        let script = Script::of([put(FLAGS, of)]);
        without.push(plain.once(&script, is_put).await?);
        let last = format!("event: patch\ndata: {{\"path\":\"/flags/{}\"", name(FLAGS - 1));
        with.push(overridden.once(&script, |event| event.starts_with(&last)).await?);
    }
    rows.push(added(&format!("{FEW} flags new: it comes out as patches"), &without, &with));
    Ok(rows)
}

/// The smallest of each: what else the machine does comes on top.
fn added(what: &str, without: &[Duration], with: &[Duration]) -> Row {
    let least = |times: &[Duration]| times.iter().min().copied().unwrap_or_default();
    let (without, with) = (least(without), least(with));
    let added = with.saturating_sub(without);
    (
        format!("`rc guard`, {OVERRIDES} overrides on {FLAGS} flags, added to a put ({what})"),
        shown(added),
        format!("{} with them, {} without; allowed", shown(with), shown(without)),
        shown(MOST),
        Some(added.as_secs_f64() / MOST.as_secs_f64()),
        Some(1.0),
    )
}
