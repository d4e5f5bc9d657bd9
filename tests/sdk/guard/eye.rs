//! A connection that takes what an SDK takes, byte by byte, and keeps all of it: what an SDK that takes an event only by its
//! version holds, one after the other, however short it held it. LaunchDarkly's own SDKs are watched beside it; this one
//! cannot miss anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use serde_json::Map;
use serde_json::Value;

use crate::support::wire::Next;
use crate::support::wire::Wire;
use crate::watcher::SOON;

/// How often it looks whether it is to end.
const PAUSE: Duration = Duration::from_millis(100);

/// What came, and what an SDK holds because of it.
#[derive(Default)]
struct Taken {
    /// Every record that was held, of all flags, in order.
    held: Vec<(String, Value)>,
    now: Map<String, Value>,
    puts: usize,
    ended: bool,
}

/// The connection. It ends with the value.
pub struct Eye {
    whose: String,
    taken: Arc<Mutex<Taken>>,
    ends: Arc<AtomicBool>,
    reading: Option<JoinHandle<()>>,
}

impl Eye {
    /// Opens a stream, which must be granted; `whose` says of what, for people.
    #[track_caller]
    pub fn open(whose: &str, address: SocketAddr, sdk_key: &str) -> Self {
        let mut wire = Wire::stream(address, "/all", sdk_key);
        let (taken, ends) = (Arc::new(Mutex::new(Taken::default())), Arc::new(AtomicBool::new(false)));
        let (own, own_end) = (Arc::clone(&taken), Arc::clone(&ends));
        let reading = thread::spawn(move || {
            while !own_end.load(Ordering::Acquire) {
                let next = wire.next(PAUSE);
                let mut taken = own.lock().unwrap_or_else(PoisonError::into_inner);
                match next {
                    Next::Event(bytes) => taken.event(&bytes),
                    Next::Nothing => {}
                    Next::End | Next::Broken => {
                        taken.ended = true;
                        return;
                    }
                }
            }
        });
        Self { whose: whose.to_owned(), taken, ends, reading: Some(reading) }
    }

    fn taken<T>(&self, of: impl FnOnce(&Taken) -> T) -> T {
        of(&self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until what is held is so.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Map<String, Value>) -> bool) {
        let begun = Instant::now();
        while !self.taken(|taken| taken.puts > 0 && is_so(&taken.now)) {
            assert!(
                begun.elapsed() < SOON,
                "{}: never came: {what}, but {:?}",
                self.whose,
                self.taken(|t| t.held.clone())
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until the flag gives everybody this value.
    #[track_caller]
    pub fn wait(&self, flag: &str, value: &Value) {
        self.wait_until(&format!("{flag} is {value}"), |now| now.get(flag).map(served) == Some(value.clone()));
    }

    /// Waits until this version of the flag is held.
    #[track_caller]
    pub fn wait_for_version(&self, flag: &str, version: u64) {
        self.wait_until(&format!("{flag} v{version}"), |now| now.get(flag).is_some_and(|it| it["version"] == version));
    }

    /// Asserts that these are the values that the flag gave, one after the other.
    #[track_caller]
    pub fn has_seen(&self, flag: &str, values: &[Value]) {
        let held = self.taken(|taken| taken.held.clone());
        let records: Vec<Value> = held.into_iter().filter(|(key, _)| key == flag).map(|(_, record)| record).collect();
        let mut seen: Vec<Value> = records.iter().map(served).collect();
        seen.dedup();
        assert_eq!(seen, values, "{}: {flag}: {records:#?}", self.whose);
    }

    /// Asserts that it is open still.
    #[track_caller]
    pub fn is_open(&self) {
        assert!(!self.taken(|taken| taken.ended), "{} was cut off", self.whose);
    }
}

impl Drop for Eye {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
    }
}

impl Taken {
    fn event(&mut self, bytes: &[u8]) {
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
        let Some(data) = field("data:") else { return };
        let data: Value = serde_json::from_str(data).unwrap_or_else(|_| panic!("no JSON: {text}"));
        match field("event:") {
            Some("put") => {
                self.puts += 1;
                let Value::Object(flags) = data["data"]["flags"].clone() else { panic!("no flags: {text}") };
                self.held.extend(flags.iter().map(|(key, record)| (key.clone(), record.clone())));
                self.now = flags;
            }
            Some(kind @ ("patch" | "delete")) => {
                let Some(flag) = data["path"].as_str().and_then(|path| path.strip_prefix("/flags/")) else { return };
                let record = if kind == "patch" { &data["data"] } else { &data };
                let held = self.now.get(flag).and_then(|record| record["version"].as_u64());
                if record["version"].as_u64() > held {
                    self.held.push((flag.to_owned(), record.clone()));
                    self.now.insert(flag.to_owned(), record.clone());
                }
            }
            _ => {}
        }
    }
}

/// What a record gives somebody whom no target and no rule names.
fn served(record: &Value) -> Value {
    let index = if record["on"] == true { &record["fallthrough"]["variation"] } else { &record["offVariation"] };
    let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
    index.map_or(Value::Null, |index| record["variations"][index].clone())
}
