//! Stores, an operator's home, and the half of a guard that follows the stores.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use relay_commander::change::id::Actor;
use relay_commander::change::override_::Override;
use relay_commander::change::target::Target;
use relay_commander::flag::key::FlagKey;
use relay_commander::flag::record::Record;
use relay_commander::guard::alarm::Alarms;
use relay_commander::guard::alarm::Told;
use relay_commander::guard::environment::GuardedEnvironment;
use relay_commander::guard::environment::StreamView;
use relay_commander::guard::overrides::EnvironmentStores;
use relay_commander::guard::overrides::Followed;
use relay_commander::guard::overrides::Following;
use relay_commander::guard::overrides::OnExpiry;
use relay_commander::guard::overrides::Parts;
use relay_commander::guard::overrides::following;
use relay_commander::guard::presence::Itself;
use relay_commander::guard::stream::channel::StoresWord;
use relay_commander::guard::stream::overlay::OnConflict;
use relay_commander::relay::sdk_key::SdkKey;
use relay_commander::store::Deadlines;
use relay_commander::store::Store;
use relay_commander::store::file::FileStore;
use relay_commander::store::redis::RedisAddress;
use relay_commander::store::redis::RedisOptions;
use relay_commander::store::redis::RedisStore;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::sync::watch;

use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::shop;
use crate::support::shop::PREFIX;

/// How long anything may take to come true.
pub const WITHIN: Duration = Duration::from_secs(40);

/// The labels of stores, in the order in which they are given.
pub const LABELS: [&str; 3] = ["eu", "us", "ap"];

pub fn key(flag: &str) -> FlagKey {
    flag.parse().unwrap()
}

/// A runtime for a test.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Waits until `is_so`, asked a hundred times a second.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < WITHIN, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An operator's home with these stores by URL.
pub struct Home {
    pub folder: TempDir,
}

impl Home {
    pub fn new(urls: &[String]) -> Self {
        let stores: Vec<(&str, &str)> = LABELS.into_iter().zip(urls.iter().map(String::as_str)).collect();
        Self { folder: shop::home(&stores) }
    }

    /// Runs `rc` there.
    pub fn rc(&self, line: &str) -> Ran {
        Rc::new().home(self.folder.path()).args(["--no-input"]).line(line).run()
    }

    /// Turns a flag off in all stores that can be reached.
    pub fn off(&self, flag: &str) -> Ran {
        self.rc(&format!("update -p shop -e production -f {flag} -s off --timeout 2s"))
    }
}

/// A store at this URL as a guard opens it.
pub fn store(label: &str, url: &str) -> Arc<dyn Store> {
    if let Some(path) = url.strip_prefix("file://") {
        return Arc::new(FileStore::new(label, path));
    }
    let within = Duration::from_secs(2);
    let options = RedisOptions::new(Deadlines { connect: within, answer: within });
    Arc::new(RedisStore::new(RedisAddress::parse(&format!("{label}={url}")).unwrap(), options))
}

/// The stores' half of a guard.
pub struct Guard<'r> {
    pub runtime: &'r Runtime,
    words: mpsc::Receiver<StoresWord>,
    pub stores: Arc<dyn EnvironmentStores>,
    following: Option<Following>,
    pub view: watch::Sender<StreamView>,
    told: mpsc::Receiver<Told>,
    /// All that was told so far.
    pub overrides: BTreeMap<FlagKey, Override>,
    pub heard: Vec<StoresWord>,
    pub alarms: Vec<String>,
    pub state: TempDir,
}

/// How a guard is begun.
pub struct Wish<'w> {
    pub name: &'w str,
    pub urls: &'w [String],
    pub prefix: &'w str,
    pub shadow: bool,
}

impl<'w> Wish<'w> {
    pub fn of(urls: &'w [String]) -> Self {
        Self { name: "guard-1", urls, prefix: PREFIX, shadow: false }
    }
}

impl<'r> Guard<'r> {
    /// Begins to follow, and waits for the first word.
    #[track_caller]
    pub fn start(runtime: &'r Runtime, wish: &Wish<'_>) -> Self {
        let mut guard = Self::begin(runtime, wish);
        guard.wait("the first word", |_| true);
        guard
    }

    /// Begins to follow.
    pub fn begin(runtime: &'r Runtime, wish: &Wish<'_>) -> Self {
        let _inside = runtime.enter();
        let state = tempfile::tempdir().unwrap();
        let stores: Vec<Arc<dyn Store>> =
            LABELS.into_iter().zip(wish.urls).map(|(label, url)| store(label, url)).collect();
        let (alarms, told) = Alarms::new();
        let itself = Itself {
            name: wish.name.to_owned(),
            since: jiff::Timestamp::now(),
            listens: Some(SocketAddr::from(([127, 0, 0, 1], 8031))),
            on_conflict: OnConflict::Hold,
        };
        let actor = Actor { user: "guard".to_owned(), host: "here".to_owned() };
        let targets = stores.iter().map(|store| Target {
            store: store.label().to_owned(),
            prefix: if store.has_prefixes() { wish.prefix.to_owned() } else { String::new() },
        });
        let environment = GuardedEnvironment {
            name: "shop/production".to_owned(),
            environment: Some("shop/production".parse().unwrap()),
            sdk_keys: vec![SdkKey::parse("sdk-production-0001").unwrap()],
            filter: None,
            targets: targets.collect(),
            cache_time: Duration::from_secs(30),
        };
        let (view, seen) = watch::channel(StreamView {
            up: None,
            since: jiff::Timestamp::now(),
            told: None,
            relays: Vec::new(),
            shadow: wish.shadow,
        });
        let parts = Parts { stores, actor, itself, on_expiry: OnExpiry::Alarm, alarms, keys: None };
        let (follow, following) = following(parts, &state.path().join("playback")).unwrap();
        let Followed { words, stores } = follow(&environment, seen);
        Self {
            runtime,
            words,
            stores,
            following: Some(following),
            view,
            told,
            overrides: BTreeMap::new(),
            heard: Vec::new(),
            alarms: Vec::new(),
            state,
        }
    }

    /// Takes what was told, until `is_so`; looks at it after each word, and now and then.
    #[track_caller]
    pub fn wait(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        let mut first = what == "the first word";
        loop {
            while let Ok(told) = self.told.try_recv() {
                self.alarms.push(match told {
                    Told::Raised(alarm) => format!("{}: {}", alarm.name.kind.name(), alarm.told),
                    Told::Over(alarm) => format!("over: {}: {}", alarm.name.kind.name(), alarm.told),
                });
            }
            if !first && is_so(self) {
                return;
            }
            let left = WITHIN.checked_sub(begun.elapsed());
            let left = left.unwrap_or_else(|| {
                panic!("never came true: {what}\nalarms: {:#?}\noverrides: {:?}", self.alarms, self.overrides.keys())
            });
            let patience = left.min(Duration::from_millis(20));
            let word = self.runtime.block_on(async { tokio::time::timeout(patience, self.words.recv()).await });
            if let Ok(Some(word)) = word {
                self.overrides.clone_from(&word.overrides);
                self.heard.push(word);
                first = false;
            }
        }
    }

    /// What everybody should have of a flag.
    pub fn holds(&self, flag: &str) -> bool {
        self.overrides.contains_key(&key(flag))
    }

    /// Whether this record was told as standing in a store, and whether as LaunchDarkly's.
    pub fn saw(&self, flag: &str, version: u64, launchdarklys: bool) -> bool {
        let is_it = |sight: &relay_commander::guard::stream::channel::Sight| {
            sight.flag == key(flag) && sight.item.version() == version && sight.launchdarklys == launchdarklys
        };
        self.heard.iter().flat_map(|word| &word.seen).any(is_it)
    }

    /// Whether such an alarm was raised.
    pub fn alarmed(&self, kind: &str, words: &str) -> bool {
        self.alarms.iter().any(|told| told.starts_with(kind) && told.contains(words))
    }

    /// LaunchDarkly's stream shows this record.
    pub fn shown(&self, flag: &str, text: &str) {
        self.stores.note_upstream(&key(flag), &Record::parse(text.as_bytes()).unwrap());
    }

    /// Ends as a guard ends.
    pub fn end(mut self) {
        if let Some(following) = self.following.take() {
            self.runtime.block_on(following.end());
        }
    }

    /// The files that the guard has written down, set aside or not.
    pub fn files(&self) -> usize {
        let count = |folder: &Path| {
            let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
            files.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "jsonl")).count()
        };
        let folder = self.state.path().join("playback");
        count(&folder) + count(&folder.join("replayed"))
    }
}

/// A way to a server that can be turned to another one, as a service's address is in a failover.
pub struct Way {
    pub port: u16,
    to: Arc<Mutex<(u16, watch::Sender<u16>)>>,
}

impl Way {
    pub fn new(runtime: &Runtime, to: u16) -> Self {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let (turned, turns) = watch::channel(to);
            let way = Arc::new(Mutex::new((to, turned)));
            tokio::spawn(async move {
                while let Ok((mut here, _)) = listener.accept().await {
                    let mut turns = turns.clone();
                    tokio::spawn(async move {
                        let to = *turns.borrow_and_update();
                        let Ok(mut there) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                        tokio::select! {
                            _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
                            _ = turns.changed() => {}
                        }
                        let _ = here.shutdown().await;
                    });
                }
            });
            Self { port, to: way }
        })
    }

    /// Turns it to another server; what was connected is cut off.
    pub fn turn(&self, to: u16) {
        let mut held = self.to.lock().unwrap();
        held.0 = to;
        held.1.send_replace(to);
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}
