//! Measures `rc guard` for `scripts/bench`: side by side with nginx as a plain reverse proxy of the same upstream, and
//! with itself.
//!
//! `guard-bench PART RC HOME...` prints the rows of the table as JSON. PART is `put`, `patches`, `connections`, `overlay` or
//! `update`; RC the program; a HOME a folder with `.env` and `ld-relay.conf`. ROUNDS in the environment says how often each
//! thing is measured. LaunchDarkly and the relays are threads of this process; the guard and nginx are processes of their
//! own, and only their processor time counts.

#![allow(clippy::print_stdout, reason = "a program for scripts/bench, which reads what it prints")]

mod chunks;
mod fan_out;
mod memory;
mod overlay;
mod proxies;
mod relays;
mod update;
mod upstream;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// The longest that anything may take.
const LONG: Duration = Duration::from_secs(120);

/// The key with which all relays ask.
const SDK_KEY: &str = "sdk-00000000-0000-4000-8000-000000000001";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// One row of the table: what, figure, against, reference, ratio, and the most that it may be (null: only told).
type Row = (String, String, String, String, Option<f64>, Option<f64>);

/// What is asked for.
struct Task {
    rc: PathBuf,
    homes: Vec<PathBuf>,
    rounds: usize,
}

impl Task {
    fn home(&self, index: usize) -> Outcome<&PathBuf> {
        self.homes.get(index).ok_or_else(|| "a HOME is missing".into())
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [part, rc, homes @ ..] = arguments.as_slice() else {
        return Err("usage: guard-bench put|patches|connections|overlay|update RC HOME...".into());
    };
    let rounds = std::env::var("ROUNDS").ok().map_or(Ok(3), |rounds| rounds.parse())?;
    let task = Task { rc: rc.into(), homes: homes.iter().map(PathBuf::from).collect(), rounds };
    raise_limit()?;
    let rows = match part.as_str() {
        "put" => fan_out::whole(&task).await?,
        "patches" => fan_out::single(&task).await?,
        "connections" => memory::connections(&task).await?,
        "overlay" => overlay::rows(&task).await?,
        "update" => update::rows(&task).await?,
        other => return Err(format!("{other} is not measured here").into()),
    };
    println!("{}", serde_json::to_string(&rows)?);
    Ok(())
}

/// Every connection costs this process two descriptors.
fn raise_limit() -> Outcome<()> {
    use rustix::process::Resource;
    use rustix::process::getrlimit;
    use rustix::process::setrlimit;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
}

/// The record of a flag as LaunchDarkly sends it, of about 600 bytes.
fn record(index: usize, version: u64) -> String {
    format!(
        "{{\"key\":\"{key}\",\"on\":true,\"prerequisites\":[],\"targets\":[{{\"variation\":0,\"values\":[\"anna\",\"bob\",\
         \"carol\"]}}],\"contextTargets\":[],\"rules\":[{{\"variation\":1,\"id\":\"5ffdcc5e-93d4-4a25-a0a5-b9b4cb6c0b0b\",\
         \"clauses\":[{{\"contextKind\":\"user\",\"attribute\":\"country\",\"op\":\"in\",\"values\":[\"NZ\",\"CH\"],\
         \"negate\":false}}],\"trackEvents\":false}}],\"fallthrough\":{{\"variation\":0}},\"offVariation\":1,\
         \"variations\":[true,false],\"clientSideAvailability\":{{\"usingMobileKey\":false,\"usingEnvironmentId\":false}},\
         \"clientSide\":false,\"salt\":\"2b26f5a0c4f54b6e9a2c\",\"trackEvents\":false,\"trackEventsFallthrough\":false,\
         \"debugEventsUntilDate\":null,\"version\":{version},\"deleted\":false}}",
        key = name(index)
    )
}

fn name(index: usize) -> String {
    format!("flag-{index:05}")
}

/// A `put` of so many flags, each in the version that is said.
fn put(flags: usize, version: impl Fn(usize) -> u64) -> String {
    let mut text = String::from("event: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":{");
    for index in 0..flags {
        let comma = if index == 0 { "" } else { "," };
        text.push_str(&format!("{comma}\"{}\":{}", name(index), record(index, version(index))));
    }
    text.push_str("},\"segments\":{}}}\n\n");
    text
}

/// A `patch` of one flag.
fn patch(index: usize, version: u64) -> String {
    format!("event: patch\ndata: {{\"path\":\"/flags/{}\",\"data\":{}}}\n\n", name(index), record(index, version))
}

fn shown(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1_000.0;
    if milliseconds < 10.0 { format!("{milliseconds:.2} ms") } else { format!("{milliseconds:.0} ms") }
}

/// A row of two times.
fn row(what: &str, time: Duration, against: &str, reference: Duration, most: Option<f64>) -> Row {
    let ratio = time.as_secs_f64() / reference.as_secs_f64();
    (what.to_owned(), shown(time), against.to_owned(), shown(reference), Some(ratio), most)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
