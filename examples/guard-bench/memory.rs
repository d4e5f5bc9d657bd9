//! What a connection costs the guard in memory.

use crate::Outcome;
use crate::Row;
use crate::Task;
use crate::patch;
use crate::proxies::Proxy;
use crate::put;
use crate::relays::Relays;
use crate::upstream::Script;
use crate::upstream::Upstream;

const CONNECTIONS: usize = 5_000;

/// Flags of the state that all share.
const FLAGS: usize = 100;

/// The most for each connection, in KiB.
const MOST: f64 = 32.0;

/// Memory for each connection beyond what all share: after a `put` and a `patch` to all of them.
pub async fn connections(task: &Task) -> Outcome<Vec<Row>> {
    let upstream = Upstream::start(Some(Script::of([put(FLAGS, |_| 1)])))?;
    let guard = Proxy::guard(&task.rc, task.home(0)?, &upstream.url())?;
    let mut relays = Relays::at(guard.address);
    relays.expect(1);
    // The allocator and the runtime have what they want to have.
    relays.come(100).await?;
    let before = guard.memory()?;
    relays.come(CONNECTIONS).await?;
    relays.expect(2);
    tokio::task::block_in_place(|| upstream.say(&Script::of([patch(0, 2)])))?;
    relays.all_have().await?;
    let each = guard.memory()?.saturating_sub(before) as f64 / CONNECTIONS as f64 / 1_024.0;
    Ok(vec![(
        format!("`rc guard`, {CONNECTIONS} connections, memory for each beyond what all share"),
        format!("{each:.1} KiB"),
        "the most that it may be".to_owned(),
        format!("{MOST} KiB"),
        Some(each / MOST),
        Some(1.0),
    )])
}
