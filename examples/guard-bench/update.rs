//! From the write of `rc update` to a relay on the guard, against LaunchDarkly's own patch to the same relay.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::LONG;
use crate::Outcome;
use crate::Row;
use crate::Task;
use crate::median;
use crate::patch;
use crate::proxies::Proxy;
use crate::put;
use crate::relays::Listener;
use crate::row;
use crate::upstream::Script;
use crate::upstream::Upstream;

const FLAGS: usize = 100;
const VERSION: u64 = 42;

/// The flag that is updated, and the one that LaunchDarkly patches.
const UPDATED: usize = 1;
const PATCHED: usize = 2;

/// The times at which the records of a Redis were written, as it says itself (`MONITOR`).
struct Monitor(mpsc::UnboundedReceiver<SystemTime>);

impl Monitor {
    fn of(home: &std::path::Path) -> Outcome<Self> {
        let settings = std::fs::read_to_string(home.join(".env"))?;
        let address = settings.lines().find_map(|line| line.strip_prefix("REDIS_HOSTS=")).ok_or("no REDIS_HOSTS")?;
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"MONITOR\r\n")?;
        let mut lines = BufReader::new(stream).lines();
        lines.next().ok_or("no MONITOR")??;
        let (tells, told) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let is_write = line.to_lowercase().contains("\"hset\"") && line.contains(":features\"");
                // +1339518083.107412 [0 lua] "hset" ...
                let at = line.trim_start_matches('+').split(' ').next().and_then(|at| at.parse::<f64>().ok());
                if let (true, Some(at)) = (is_write, at) {
                    // Nobody may be interested any more.
                    let _ = tells.send(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(at));
                }
            }
        });
        Ok(Self(told))
    }

    async fn next(&mut self) -> Outcome<SystemTime> {
        Ok(timeout(LONG, self.0.recv()).await.map_err(|_| "nothing was written")?.ok_or("Redis has gone")?)
    }
}

/// The two, in turn.
pub async fn rows(task: &Task) -> Outcome<Vec<Row>> {
    let home = task.home(0)?;
    let upstream = Upstream::start(Some(Script::of([put(FLAGS, |_| VERSION)])))?;
    let guard = Proxy::guard(&task.rc, home, &upstream.url())?;
    let mut relay = Listener::at(guard.address);
    relay.next(|event| event.starts_with("event: put")).await?;
    let mut monitor = Monitor::of(home)?;
    let (mut edits, mut patches) = (Vec::new(), Vec::new());
    for round in 0..task.rounds * 10 {
        let version = VERSION + 1 + round as u64;
        let script = Script::of([patch(PATCHED, version)]);
        let (begun, _) = tokio::task::block_in_place(|| upstream.say_alone(&script))?;
        let arrived = relay.next(|event| is_of(event, PATCHED, version)).await?;
        patches.push(arrived.duration_since(begun).unwrap_or_default());

        let state = if round % 2 == 0 { "off" } else { "on" };
        let flag = crate::name(UPDATED);
        let mut update = Command::new(&task.rc);
        update.args(["update", "-p", "shop", "-e", "production", "-f", &flag, "-s", state, "--yes"]);
        update.current_dir(home).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let output = tokio::task::spawn_blocking(move || update.env("USER", "bench").output()).await??;
        if !output.status.success() {
            return Err(format!("rc update failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let written = monitor.next().await?;
        let arrived = relay.next(|event| is_of(event, UPDATED, version)).await?;
        edits.push(arrived.duration_since(written).unwrap_or_default());
    }
    Ok(vec![row(
        "`rc guard`, from the store's write by `rc update` to a relay's connection",
        median(edits),
        "LaunchDarkly's own patch, to the same",
        median(patches),
        // What is wanted is the time to an SDK, which is measured with SDKs.
        None,
    )])
}

fn is_of(event: &str, flag: usize, version: u64) -> bool {
    event.contains(&format!("\"/flags/{}\"", crate::name(flag))) && event.contains(&format!("\"version\":{version},"))
}
