//! An SDK of LaunchDarkly as a child process, and the lines that are spoken with it: one JSON object each way. The three
//! programs at the other end (`go/`, `node/`, `python/`) know the same lines and hold no checks of their own.
//!
//! | line | answer |
//! |---|---|
//! | (at the start) | `{"sdk", "version", "store", "runtime"}` |
//! | `{"do": "open", "milliseconds", …}`: begins, and waits so long at most; [`Source`] says where flags come from | `{"initialized"}` |
//! | `{"do": "evaluate", "flag", "context"}` | `{"value", "variation", "reason"}`, null as the default value |
//! | `{"do": "wait", "flag", "context", "value", "milliseconds"}`: evaluates until it is that value | the same, with `late` if it never was |
//! | `{"do": "all", "context"}` | `{"values"}`; null where the SDK cannot say |
//! | `{"do": "watch", "flag", "context"}`: from now on every value of the flag is kept, as often as it changes | `{"watching"}` |
//! | `{"do": "seen", "flag"}` | `{"seen"}`: those values in order, each `{"value", "at"}` with microseconds of the epoch |
//! | `{"do": "logs"}` | `{"logs"}`: what the SDK wrote into its log since the last time |
//! | `{"do": "close"}` | `{"closed"}` |
//!
//! Whatever goes wrong there is `{"error"}`.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Stdio;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::launchdarkly::RETURN_WITHIN;
use crate::parts::Sdk;

/// How long an SDK may take for anything beyond what it was told to wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long an SDK may take to show what it ought to.
pub const SOON: Duration = Duration::from_secs(20);

/// How long an SDK may take to begin. One whose stream is away takes it all.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Whom flags are evaluated for where a test does not care.
pub fn anna() -> Value {
    json!({ "kind": "user", "key": "anna" })
}

/// Where an SDK has its flags from.
#[derive(Debug, Clone)]
pub struct Source(Map<String, Value>);

impl Source {
    fn of(members: Value) -> Self {
        let Value::Object(mut members) = members else { unreachable!() };
        members.entry("sdkKey").or_insert(json!("sdk-12345678-90ab-cdef-1234-567890abcdef"));
        Self(members)
    }

    /// LaunchDarkly's stream, or a relay's.
    pub fn stream(url: &str, sdk_key: &str) -> Self {
        Self::of(json!({ "streamUri": url, "sdkKey": sdk_key }))
    }

    /// Only a part of the environment.
    pub fn filtered(mut self, filter: &str) -> Self {
        self.0.insert("filter".to_owned(), json!(filter));
        self
    }

    /// Daemon mode: a Redis that others fill.
    pub fn daemon(url: &str, prefix: &str) -> Self {
        Self::of(json!({ "redis": url, "prefix": prefix }))
    }

    /// A flag file, looked at again when it changes.
    pub fn file(path: &Path) -> Self {
        Self::of(json!({ "file": path }))
    }

    /// And written by the SDK into a Redis, out of which it then serves: a relay's own data path.
    pub fn into_redis(mut self, url: &str, prefix: &str) -> Self {
        self.0.insert("redis".to_owned(), json!(url));
        self.0.insert("prefix".to_owned(), json!(prefix));
        self
    }

    /// What was read from the store is kept so long.
    pub fn cached(mut self, cache: Duration) -> Self {
        self.0.insert("cache".to_owned(), json!(u64::try_from(cache.as_millis()).unwrap()));
        self
    }
}

/// What a flag gives a context.
#[derive(Debug, Clone)]
pub struct Served {
    pub value: Value,
    pub variation: Option<u64>,
    pub reason: Value,
    late: bool,
}

impl Served {
    fn of(answer: &Value) -> Self {
        Self {
            value: answer["value"].clone(),
            variation: answer["variation"].as_u64(),
            reason: answer["reason"].clone(),
            late: answer["late"] == json!(true),
        }
    }

    /// Asserts value, variation and the kind of the reason.
    #[track_caller]
    pub fn is(self, value: impl Into<Value>, variation: u64, reason: &str) -> Self {
        let seen = (self.value.clone(), self.variation, self.reason["kind"].as_str());
        assert_eq!(seen, (value.into(), Some(variation), Some(reason)), "{self:?}");
        self
    }
}

/// A running SDK. It ends with the value.
pub struct Watcher {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    /// `go-server-sdk 7.6.0`.
    pub sdk: String,
    /// What it reads stores with: `go-server-sdk-redis-redigo v3.0.0`.
    store: String,
}

impl Watcher {
    /// Starts the SDK's process; nothing is connected yet.
    #[track_caller]
    pub fn start(sdk: Sdk) -> Self {
        let mut command = sdk.command().expect("tests without their parts are not run");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the watcher starts");
        let input = child.stdin.take().expect("is piped");
        let output = BufReader::new(child.stdout.take().expect("is piped"));
        let (sender, lines) = mpsc::channel();
        // It ends with the child's output, or when nobody listens any more.
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut watcher = Self { child, input, lines, sdk: sdk.name().to_owned(), store: String::new() };
        let hello = watcher.answer(ANSWER_WITHIN);
        let text = |name: &str| hello[name].as_str().unwrap_or_default().to_owned();
        watcher.sdk = format!("{} {}", text("sdk"), text("version"));
        watcher.store = text("store");
        watcher
    }

    /// Starts the SDK and lets it begin; whether it says that it is ready.
    #[track_caller]
    pub fn open(sdk: Sdk, source: &Source) -> (Self, bool) {
        let mut watcher = Self::start(sdk);
        let mut line = source.0.clone();
        line.insert("do".to_owned(), json!("open"));
        line.insert("milliseconds".to_owned(), json!(u64::try_from(READY_WITHIN.as_millis()).unwrap()));
        let answer = watcher.ask(&Value::Object(line), READY_WITHIN);
        let initialized = answer["initialized"].as_bool().unwrap();
        (watcher, initialized)
    }

    /// The same, of one that must be ready.
    #[track_caller]
    pub fn ready(sdk: Sdk, source: &Source) -> Self {
        let (mut watcher, initialized) = Self::open(sdk, source);
        if !initialized {
            let logs = watcher.logs();
            panic!("{} did not begin with {source:?}: {logs:#?}", watcher.sdk);
        }
        watcher
    }

    /// The SDK and what it reads stores with, with their versions.
    pub fn who(&self) -> String {
        format!("{} with {}", self.sdk, self.store)
    }

    /// What the flag gives anna now.
    #[track_caller]
    pub fn evaluate(&mut self, flag: &str) -> Served {
        self.evaluate_for(flag, &anna())
    }

    /// What the flag gives a context now.
    #[track_caller]
    pub fn evaluate_for(&mut self, flag: &str, context: &Value) -> Served {
        let line = json!({ "do": "evaluate", "flag": flag, "context": context });
        Served::of(&self.ask(&line, Duration::ZERO))
    }

    /// Waits until the flag gives anna this value.
    #[track_caller]
    pub fn wait(&mut self, flag: &str, value: impl Into<Value>) -> Served {
        self.wait_for(flag, &anna(), value)
    }

    /// Waits until the flag gives a context this value.
    #[track_caller]
    pub fn wait_for(&mut self, flag: &str, context: &Value, value: impl Into<Value>) -> Served {
        self.wait_within(SOON, flag, context, &value.into())
    }

    /// Waits until the flag gives anna this value, as long as it may take an SDK to come back to a stream.
    #[track_caller]
    pub fn wait_after_a_return(&mut self, flag: &str, value: impl Into<Value>) -> Served {
        self.wait_within(RETURN_WITHIN, flag, &anna(), &value.into())
    }

    #[track_caller]
    fn wait_within(&mut self, within: Duration, flag: &str, context: &Value, value: &Value) -> Served {
        let served = self.wait_at_most(within, flag, context, value);
        if served.late {
            let logs = self.logs();
            panic!("{}: {flag} never was {value}, but {served:?}; its log: {logs:#?}", self.sdk);
        }
        served
    }

    /// Asserts that the flag does not give anna this value within so long.
    #[track_caller]
    pub fn never(&mut self, flag: &str, value: impl Into<Value>, within: Duration) {
        let served = self.wait_at_most(within, flag, &anna(), &value.into());
        assert!(served.late, "{}: {flag} ought not to have been {served:?}", self.sdk);
    }

    #[track_caller]
    fn wait_at_most(&mut self, within: Duration, flag: &str, context: &Value, value: &Value) -> Served {
        let milliseconds = u64::try_from(within.as_millis()).unwrap();
        let line =
            json!({ "do": "wait", "flag": flag, "context": context, "value": value, "milliseconds": milliseconds });
        Served::of(&self.ask(&line, within))
    }

    /// The same as [`Watcher::all`], asked again until the SDK can say.
    #[track_caller]
    pub fn all_within(&mut self, within: Duration) -> Option<Map<String, Value>> {
        let begun = Instant::now();
        loop {
            let all = self.all();
            if all.is_some() || begun.elapsed() > within {
                return all;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What all flags give anna; none where the SDK cannot say.
    #[track_caller]
    pub fn all(&mut self) -> Option<Map<String, Value>> {
        let answer = self.ask(&json!({ "do": "all", "context": anna() }), Duration::ZERO);
        answer["values"].as_object().cloned()
    }

    /// From now on every value that the flag gives anna is kept.
    #[track_caller]
    pub fn watch(&mut self, flag: &str) {
        self.ask(&json!({ "do": "watch", "flag": flag, "context": anna() }), Duration::ZERO);
    }

    /// The values that a watched flag had since then, in order, each with its time in microseconds of the epoch.
    #[track_caller]
    pub fn seen(&mut self, flag: &str) -> Vec<(Value, u64)> {
        let answer = self.ask(&json!({ "do": "seen", "flag": flag }), Duration::ZERO);
        let seen = answer["seen"].as_array().unwrap().iter();
        seen.map(|change| (change["value"].clone(), change["at"].as_u64().unwrap())).collect()
    }

    /// Asserts that these are the values that a watched flag had, and no others in between.
    #[track_caller]
    pub fn has_seen(&mut self, flag: &str, values: &[Value]) {
        let begun = Instant::now();
        loop {
            let seen: Vec<Value> = self.seen(flag).into_iter().map(|(value, _)| value).collect();
            if seen == values {
                return;
            }
            // What a store holds since a moment ago is seen at the next look.
            if !values.starts_with(&seen) || begun.elapsed() > SOON {
                let logs = self.logs();
                panic!("{}: {flag} was {seen:?} and not {values:?}; its log: {logs:#?}", self.sdk);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How often its stream was lost since its log was last taken, in its own words.
    #[track_caller]
    pub fn lost_streams(&mut self) -> Vec<String> {
        let is_loss =
            |line: &String| ["will retry", "will restart", "Restarting"].iter().any(|word| line.contains(word));
        self.logs().into_iter().filter(is_loss).collect()
    }

    /// What the SDK wrote into its log since the last time.
    #[track_caller]
    pub fn logs(&mut self) -> Vec<String> {
        let answer = self.ask(&json!({ "do": "logs" }), Duration::ZERO);
        answer["logs"].as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    #[track_caller]
    fn ask(&mut self, line: &Value, at_most: Duration) -> Value {
        writeln!(self.input, "{line}").expect("the watcher listens");
        let answer = self.answer(ANSWER_WITHIN + at_most);
        assert!(answer.get("error").is_none(), "{}: {line}: {answer}", self.sdk);
        answer
    }

    #[track_caller]
    fn answer(&mut self, within: Duration) -> Value {
        let line = self.lines.recv_timeout(within);
        let line = line.unwrap_or_else(|why| panic!("{} did not answer within {within:?}: {why}", self.sdk));
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}: {line}", self.sdk))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Ended already, or about to be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
