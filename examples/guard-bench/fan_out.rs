//! One stream to many relays: the guard against nginx.

use std::time::Duration;
use std::time::SystemTime;

use crate::Outcome;
use crate::Row;
use crate::Task;
use crate::patch;
use crate::proxies::Proxy;
use crate::put;
use crate::relays::Relays;
use crate::row;
use crate::upstream::Script;
use crate::upstream::Upstream;

const RELAYS: usize = 200;

/// Flags of a `put` of about 10 MB.
const FLAGS: usize = 15_600;

/// Patches a second, and for how long.
const PATCHES_A_SECOND: u32 = 1_000;
const SECONDS: u32 = 5;

/// Flags that are patched in turn.
const PATCHED: usize = 100;

/// The most that the guard may need of what nginx needs.
const MOST: f64 = 1.3;

/// So long the processor time is counted after all has arrived: whatever is done later, such as keeping it on disk, counts.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// What one run took.
#[derive(Debug, Clone, Copy)]
struct Took {
    processor: Duration,
    time: Duration,
}

/// What is measured with whatever stands between.
enum Way {
    Guard,
    Nginx,
}

impl Way {
    /// Starts it; how many streams it has at LaunchDarkly when all relays are there.
    fn start(&self, task: &Task, upstream: &Upstream) -> Outcome<(Proxy, usize)> {
        match self {
            Way::Guard => Ok((Proxy::guard(&task.rc, task.home(0)?, &upstream.url())?, 1)),
            Way::Nginx => Ok((Proxy::nginx(upstream.address)?, RELAYS)),
        }
    }
}

/// A `put` of 10 MB.
async fn put_once(task: &Task, way: &Way, script: &Script) -> Outcome<Took> {
    let upstream = Upstream::start(None)?;
    let (proxy, streams) = way.start(task, &upstream)?;
    let mut relays = Relays::at(proxy.address);
    relays.come(RELAYS).await?;
    upstream.wait_for(streams)?;
    relays.expect(1);
    let before = proxy.processor_time()?;
    let (begun, _) = tokio::task::block_in_place(|| upstream.say(script))?;
    took(&proxy, before, begun, relays.all_have().await?).await
}

/// Patches, one after the other.
async fn patches_once(task: &Task, way: &Way, script: &Script) -> Outcome<Took> {
    let upstream = Upstream::start(Some(Script::of([put(PATCHED, |_| 1)])))?;
    let (proxy, streams) = way.start(task, &upstream)?;
    let mut relays = Relays::at(proxy.address);
    relays.expect(1);
    relays.come(RELAYS).await?;
    relays.all_have().await?;
    upstream.wait_for(streams)?;
    relays.expect(1 + script.len());
    let before = proxy.processor_time()?;
    let every = Duration::from_secs(1) / PATCHES_A_SECOND;
    let (begun, _) = tokio::task::block_in_place(|| upstream.say_by_and_by(script, every))?;
    took(&proxy, before, begun, relays.all_have().await?).await
}

async fn took(proxy: &Proxy, before: Duration, begun: SystemTime, last: SystemTime) -> Outcome<Took> {
    tokio::time::sleep(AFTERWARDS).await;
    Ok(Took { processor: proxy.processor_time()?.saturating_sub(before), time: last.duration_since(begun)? })
}

/// The smallest of all rounds.
fn least(all: &[Took], of: impl Fn(&Took) -> Duration) -> Duration {
    all.iter().map(of).min().unwrap_or_default()
}

fn rows_of(what: &str, guard: &[Took], nginx: &[Took]) -> Vec<Row> {
    let one = |name: String, of: fn(&Took) -> Duration| {
        row(&name, least(guard, of), "nginx, the same", least(nginx, of), Some(MOST))
    };
    vec![
        one(format!("{what}, processor time"), |took| took.processor),
        one("... time until the last relay has the last byte".to_owned(), |took| took.time),
    ]
}

/// A `put` of 10 MB to all relays.
pub async fn whole(task: &Task) -> Outcome<Vec<Row>> {
    let text = put(FLAGS, |_| 1);
    let megabytes = text.len() as f64 / 1e6;
    let script = Script::of([text]);
    let (mut guard, mut nginx) = (Vec::new(), Vec::new());
    for _ in 0..task.rounds {
        nginx.push(put_once(task, &Way::Nginx, &script).await?);
        guard.push(put_once(task, &Way::Guard, &script).await?);
    }
    Ok(rows_of(&format!("`rc guard`, a put of {megabytes:.1} MB to {RELAYS} relays"), &guard, &nginx))
}

/// 1,000 patches a second to all relays.
pub async fn single(task: &Task) -> Outcome<Vec<Row>> {
    let count = (PATCHES_A_SECOND * SECONDS) as usize;
    let script = Script::of((0..count).map(|number| patch(number % PATCHED, 2 + (number / PATCHED) as u64)));
    let (mut guard, mut nginx) = (Vec::new(), Vec::new());
    for _ in 0..task.rounds {
        nginx.push(patches_once(task, &Way::Nginx, &script).await?);
        guard.push(patches_once(task, &Way::Guard, &script).await?);
    }
    let what = format!("`rc guard`, {PATCHES_A_SECOND} patches a second to {RELAYS} relays for {SECONDS} s");
    Ok(rows_of(&what, &guard, &nginx))
}
