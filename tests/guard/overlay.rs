//! The guard inside this process, with stores whose words the test says: what relays are sent because of overrides, and when
//! nothing is sent yet. What stores really say is tried with the whole program.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use futures_util::future::BoxFuture;
use relay_commander::change::edit::Motive;
use relay_commander::change::id::Actor;
use relay_commander::change::override_::OVERRIDE_FORMAT;
use relay_commander::change::override_::Override;
use relay_commander::change::override_::OverrideState;
use relay_commander::change::target::Target;
use relay_commander::flag::instruction::Instruction;
use relay_commander::flag::key::FlagKey;
use relay_commander::flag::record::Record;
use relay_commander::guard::alarm::AlarmKind;
use relay_commander::guard::alarm::Alarms;
use relay_commander::guard::alarm::Told;
use relay_commander::guard::environment::GuardedEnvironment;
use relay_commander::guard::environment::StreamView;
use relay_commander::guard::keys::Salt;
use relay_commander::guard::overrides::EnvironmentStores;
use relay_commander::guard::overrides::Followed;
use relay_commander::guard::overrides::WholeReading;
use relay_commander::guard::running::Guard;
use relay_commander::guard::running::Running;
use relay_commander::guard::stream::channel::StoresWord;
use relay_commander::guard::stream::hub::HubParts;
use relay_commander::guard::stream::overlay::OnConflict;
use relay_commander::guard::stream::upstream::LaunchDarkly;
use relay_commander::relay::sdk_key::SdkKey;
use relay_commander::store::StoreError;
use tokio::sync::mpsc;
use tokio::sync::watch;

use super::process::KEY;
use super::scripted::Reply;
use super::scripted::Scripted;
use super::wire::LONG;
use super::wire::Wire;

type Whole = Vec<(Target, Result<WholeReading, StoreError>)>;

/// What the stores were told, and what they hold.
#[derive(Default)]
struct Stores {
    noted: Mutex<Vec<(FlagKey, u64)>>,
    whole: Mutex<Whole>,
    asked: Mutex<usize>,
    /// Where it is there, a reading takes until it is closed.
    slow: Mutex<Option<watch::Receiver<()>>>,
}

impl EnvironmentStores for Stores {
    fn whole(&self, _: Duration, _: Duration) -> BoxFuture<'_, Whole> {
        *self.asked.lock().unwrap() += 1;
        let slow = self.slow.lock().unwrap().clone();
        let whole = self.whole.lock().unwrap().clone();
        Box::pin(async move {
            if let Some(mut slow) = slow {
                while slow.changed().await.is_ok() {}
            }
            whole
        })
    }

    fn note_upstream(&self, flag: &FlagKey, record: &Record) {
        self.noted.lock().unwrap().push((flag.clone(), record.version()));
    }
}

/// A guard in this process.
pub struct Stage {
    pub upstream: Scripted,
    running: Running,
    words: mpsc::Sender<StoresWord>,
    stores: Arc<Stores>,
    view: watch::Receiver<StreamView>,
    alarms: Alarms,
    told: mpsc::Receiver<Told>,
    runtime: tokio::runtime::Runtime,
}

/// How the guard is to be.
pub struct Wishes {
    shadow: bool,
    silence: Duration,
    refused_for: Duration,
    authority: Option<Vec<u8>>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { shadow: false, silence: LONG, refused_for: LONG, authority: None }
    }
}

fn record(version: u64, on: bool) -> String {
    format!(
        "{{\"key\":\"checkout\",\"on\":{on},\"prerequisites\":[],\"targets\":[],\"contextTargets\":[],\"rules\":[],\
         \"fallthrough\":{{\"variation\":0}},\"offVariation\":1,\"variations\":[true,false],\"clientSide\":false,\
         \"salt\":\"s\",\"trackEvents\":false,\"trackEventsFallthrough\":false,\"debugEventsUntilDate\":null,\
         \"version\":{version},\"deleted\":false}}"
    )
}

pub fn put(version: u64, on: bool) -> String {
    let record = record(version, on);
    format!(
        "event: put\ndata: {{\"path\":\"/\",\"data\":{{\"flags\":{{\"checkout\":{record}}},\"segments\":{{}}}}}}\n\n"
    )
}

fn patch(version: u64, on: bool) -> String {
    format!("event: patch\ndata: {{\"path\":\"/flags/checkout\",\"data\":{}}}\n\n", record(version, on))
}

/// The flag turned off, revision by revision.
pub fn off(base: u64, revision: u64) -> StoresWord {
    let base = Record::parse(record(base, true).as_bytes()).unwrap();
    let flag: FlagKey = "checkout".parse().unwrap();
    let override_ = Override {
        format: OVERRIDE_FORMAT,
        revision,
        environment: "shop/production".parse().unwrap(),
        flag: flag.clone(),
        instructions: vec![Instruction::TurnFlagOff],
        state: OverrideState::InForce,
        changes: vec![format!("01900000-0000-7000-8000-0000000000{revision:02x}").parse().unwrap()],
        motive: Motive {
            actor: Actor { user: "anna".to_owned(), host: "bastion".to_owned() },
            at: "2026-10-20T02:14:07Z".parse().unwrap(),
            reason: None,
            incident: None,
            expires: None,
        },
        base: base.clone(),
        upstream: base,
        insisted: Default::default(),
        signature: None,
    };
    StoresWord { overrides: BTreeMap::from([(flag, override_)]), ..StoresWord::default() }
}

impl Stage {
    pub fn set(upstream: Scripted, wishes: Wishes) -> Self {
        let (words, heard) = mpsc::channel(16);
        Self::following(upstream, wishes, words, VecDeque::from([Some(heard)]))
    }

    /// Following fails once, after it has ended; the senders of what is heard when it goes well again.
    fn that_fails_to_follow_once() -> (Self, Vec<mpsc::Sender<StoresWord>>) {
        let ((words, heard), (more, then)) = (mpsc::channel(16), mpsc::channel(16));
        let heard = VecDeque::from([Some(heard), None, Some(then)]);
        (Self::following(streaming(), Wishes::default(), words, heard), vec![more])
    }

    fn following(
        upstream: Scripted,
        wishes: Wishes,
        words: mpsc::Sender<StoresWord>,
        heard: VecDeque<Option<mpsc::Receiver<StoresWord>>>,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (alarms, told) = Alarms::new();
        let stores = Arc::new(Stores::default());
        let (views, view) = watch::channel(None);
        let heard = Mutex::new(heard);
        let own = Arc::clone(&stores);
        let environment = GuardedEnvironment {
            name: "shop/production".to_owned(),
            environment: Some("shop/production".parse().unwrap()),
            sdk_keys: vec![SdkKey::parse(KEY).unwrap()],
            filter: None,
            targets: vec![target()],
            cache_time: Duration::from_millis(500),
        };
        let parts = HubParts {
            launchdarkly: LaunchDarkly::at(&upstream.url, wishes.silence, wishes.authority.as_deref()).unwrap(),
            on_conflict: OnConflict::Hold,
            shadow: wishes.shadow,
            refused_for: wishes.refused_for,
            environments: vec![environment],
            place: Arc::new(|_, _| panic!("nothing is learnt here")),
            follow: Arc::new(move |_, view| {
                views.send_replace(Some(view));
                let next = heard.lock().unwrap().pop_front();
                let words = next.expect("followed so often").expect("it fails this time");
                Followed { words, stores: Arc::clone(&own) as Arc<dyn EnvironmentStores> }
            }),
            alarms: alarms.clone(),
            keeper: None,
            salt: Salt::new(&[7; 32]),
        };
        let running = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            Guard { parts, listener: Some(listener), tls: None, admin: None, name: "test".to_owned() }.start().unwrap()
        });
        // The stores are followed as soon as a relay asks; until then there is nothing to be seen.
        let (_, nothing) = watch::channel(StreamView {
            up: None,
            since: jiff::Timestamp::UNIX_EPOCH,
            told: None,
            relays: Vec::new(),
            shadow: wishes.shadow,
        });
        let mut stage = Self { upstream, running, words, stores, view: nothing, alarms, told, runtime };
        let relay = Wire::ask(stage.address(), "/all", KEY);
        assert_eq!(relay.status, 200);
        let begun = Instant::now();
        while view.borrow().is_none() {
            assert!(begun.elapsed() < LONG, "the stores are not followed");
            std::thread::sleep(Duration::from_millis(5));
        }
        stage.view = view.borrow().clone().unwrap();
        drop(relay);
        stage
    }

    pub fn address(&self) -> SocketAddr {
        self.running.address.unwrap()
    }

    pub fn relay(&self) -> Wire {
        Wire::stream(self.address(), "/all", KEY)
    }

    pub fn say(&self, word: StoresWord) {
        self.runtime.block_on(self.words.send(word)).unwrap();
    }

    fn wait_for_alarm(&mut self, kind: AlarmKind) {
        let deadline = async {
            loop {
                match self.told.recv().await {
                    Some(Told::Raised(alarm)) if alarm.name.kind == kind => return,
                    Some(_) => {}
                    None => panic!("{kind:?} was never raised"),
                }
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(LONG, deadline).await.expect("no alarm in time") });
    }
}

fn target() -> Target {
    Target { store: "eu-1".to_owned(), prefix: "ld:shop:production".to_owned() }
}

fn streaming() -> Scripted {
    Scripted::streaming(put(42, true))
}

#[test]
fn an_override_reaches_connected_relays_at_once_and_is_sent_again() {
    let stage = Stage::set(streaming(), Wishes::default());
    stage.say(StoresWord::default());
    let mut relay = stage.relay();
    assert_eq!(relay.text(), put(42, true));
    let begun = Instant::now();
    stage.say(off(42, 1));
    assert_eq!(relay.text(), patch(43, false));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // After 1 s, the cache time and 2 s, and 5 s.
    let mut after = Vec::new();
    for _ in 0..3 {
        assert_eq!(relay.text(), patch(43, false));
        after.push(begun.elapsed().as_secs_f64());
    }
    for (after, wanted) in after.iter().zip([1.0, 2.5, 5.0]) {
        assert!((wanted - 0.05..wanted + 1.5).contains(after), "{after} and not {wanted}");
    }
    relay.nothing_for(Duration::from_millis(1_500));
    // Undone: back to LaunchDarkly's own version, which only a put can say.
    stage.say(StoresWord::default());
    assert_eq!(relay.text(), put(42, true));
}

#[test]
fn launchdarklys_return_flips_nothing() {
    let stage = Stage::set(streaming(), Wishes::default());
    stage.say(off(42, 1));
    let mut relay = stage.relay();
    assert_eq!(relay.text(), put(43, false));
    stage.upstream.cut();
    stage.upstream.wait_for_requests(2);
    stage.upstream.wait_for_held(1);
    // It said its old put again, and relays have what they should; then it says something new.
    let other = patch(1, true).replace("checkout", "other");
    stage.upstream.send(other.as_bytes());
    let next = loop {
        let next = relay.text();
        // The override's patch is sent again from time to time.
        if next != patch(43, false) {
            break next;
        }
    };
    assert_eq!(next, other);
    // LaunchDarkly's next version of the flag, changed elsewhere: merged.
    stage.upstream.send(patch(50, true).replace("\"salt\":\"s\"", "\"salt\":\"t\"").as_bytes());
    assert_eq!(relay.text(), patch(51, false).replace("\"salt\":\"s\"", "\"salt\":\"t\""));
    let begun = Instant::now();
    while stage.stores.noted.lock().unwrap().is_empty() {
        assert!(begun.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(*stage.stores.noted.lock().unwrap(), [("checkout".parse().unwrap(), 50)]);
}

#[test]
fn nothing_is_sent_before_the_overrides_are_known() {
    let stage = Stage::set(streaming(), Wishes::default());
    let mut relay = stage.relay();
    relay.nothing_for(Duration::from_secs(3));
    stage.say(off(42, 1));
    assert_eq!(relay.text(), put(43, false));
}

#[test]
fn stores_that_say_nothing_are_not_waited_for_without_end() {
    let mut stage = Stage::set(streaming(), Wishes::default());
    let begun = Instant::now();
    let mut relay = stage.relay();
    assert_eq!(relay.text(), put(42, true));
    assert!((5..10).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    stage.wait_for_alarm(AlarmKind::StoresAway);
    stage.say(off(42, 1));
    assert_eq!(relay.text(), patch(43, false));
    assert!(stage.alarms.standing().is_empty(), "{:?}", stage.alarms.standing());
}

#[test]
fn while_launchdarkly_is_away_nothing_older_than_the_stores_is_served() {
    let stage = Stage::set(streaming(), Wishes::default());
    stage.say(off(42, 1));
    let mut early = stage.relay();
    assert_eq!(early.text(), put(43, false));
    stage.upstream.go_away();
    // Another relay of the prefix got these over a way of its own: a newer record under ours, and a flag more.
    let newer = off(45, 1).overrides.into_values().next().unwrap();
    let reading = WholeReading {
        initialised: true,
        flags: BTreeMap::from([
            ("checkout".to_owned(), record(46, false).into_bytes()),
            ("other".to_owned(), record(7, true).replace("checkout", "other").into_bytes()),
        ]),
        ours: BTreeMap::from([("checkout".parse().unwrap(), vec![newer])]),
        ..WholeReading::default()
    };
    stage.stores.whole.lock().unwrap().push((target(), Ok(reading)));
    // While it has only just gone, what it last said is as good as new; after that the stores are asked.
    let begun = Instant::now();
    let mut late = loop {
        let mut late = stage.relay();
        let text = late.text();
        if text.contains("\"other\"") {
            assert!(text.contains(&record(46, false)), "{text}");
            break late;
        }
        assert!(begun.elapsed() < LONG, "{text}");
        std::thread::sleep(Duration::from_millis(500));
    };
    // Those who were there get the difference.
    let mut told = vec![early.text()];
    while !told.iter().any(|event| event.contains("\"other\"")) {
        told.push(early.text());
    }
    late.nothing_for(Duration::from_millis(200));
    let asked = *stage.stores.asked.lock().unwrap();
    for _ in 0..5 {
        stage.relay().text();
    }
    assert!(*stage.stores.asked.lock().unwrap() <= asked + 1, "the stores are not read for each relay");
}

#[test]
fn a_reading_from_before_launchdarklys_return_takes_nothing_away() {
    let stage = Stage::set(streaming(), Wishes::default());
    stage.say(StoresWord::default());
    let mut early = stage.relay();
    assert_eq!(early.text(), put(42, true));
    let reading = WholeReading {
        initialised: true,
        flags: BTreeMap::from([("checkout".to_owned(), record(42, true).into_bytes())]),
        ..WholeReading::default()
    };
    stage.stores.whole.lock().unwrap().push((target(), Ok(reading)));
    let (reads, slow) = watch::channel(());
    *stage.stores.slow.lock().unwrap() = Some(slow);
    stage.upstream.go_away();
    let begun = Instant::now();
    while *stage.stores.asked.lock().unwrap() == 0 {
        drop(stage.relay());
        assert!(begun.elapsed() < LONG, "the stores are not read");
        std::thread::sleep(Duration::from_millis(200));
    }
    // LaunchDarkly is there for a moment, and has a flag more.
    let more = put(42, true).replace("}},\"segments\"", &format!("}},\"other\":{}}},\"segments\"", record(7, true)));
    let answer = more.clone();
    stage.upstream.script(move |_| Reply::Stream(answer.clone().into_bytes()));
    stage.upstream.come_back();
    assert_eq!(early.text(), more);
    stage.upstream.go_away();
    let begun = Instant::now();
    while stage.view.borrow().up != Some(false) {
        assert!(begun.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(reads);
    early.nothing_for(Duration::from_millis(1_500));
}

#[test]
fn stores_are_followed_again_when_the_task_that_followed_them_has_died() {
    let (mut stage, mut more) = Stage::that_fails_to_follow_once();
    stage.say(StoresWord::default());
    let mut relay = stage.relay();
    assert_eq!(relay.text(), put(42, true));
    // Following ends, and beginning it again fails.
    (stage.words, _) = mpsc::channel(1);
    stage.words = more.pop().unwrap();
    stage.say(off(42, 1));
    assert_eq!(relay.text(), patch(43, false));
}

#[test]
fn a_shadow_only_looks_on() {
    let mut stage = Stage::set(streaming(), Wishes { shadow: true, ..Wishes::default() });
    let mut relay = stage.relay();
    assert_eq!(relay.text(), put(42, true));
    stage.say(off(42, 1));
    stage.wait_for_alarm(AlarmKind::Shadow);
    stage.upstream.send(patch(44, true).as_bytes());
    assert_eq!(relay.text(), patch(44, true), "LaunchDarkly's own, as it came");
    let begun = Instant::now();
    while stage.view.borrow().relays.is_empty() {
        assert!(begun.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(stage.view.borrow().shadow);
    assert!(stage.stores.noted.lock().unwrap().is_empty());
    // LaunchDarkly goes, and so does the connection, as it would without a guard.
    stage.upstream.go_away();
    assert_eq!(relay.next(LONG), super::wire::Next::End);
    assert_eq!(Wire::ask(stage.address(), "/all", KEY).status, 503);
    assert_eq!(*stage.stores.asked.lock().unwrap(), 0);
}

#[test]
fn a_shadow_gives_nothing_of_its_own_while_launchdarkly_is_silent() {
    let upstream = Scripted::start(|_| Reply::Stream(Vec::new()));
    let stage = Stage::set(upstream, Wishes { shadow: true, ..Wishes::default() });
    let reading = WholeReading {
        initialised: true,
        flags: BTreeMap::from([("checkout".to_owned(), record(42, true).into_bytes())]),
        ..WholeReading::default()
    };
    stage.stores.whole.lock().unwrap().push((target(), Ok(reading)));
    let mut relay = stage.relay();
    relay.nothing_for(Duration::from_secs(4));
    assert_eq!(*stage.stores.asked.lock().unwrap(), 0);
    stage.upstream.send(put(43, true).as_bytes());
    assert_eq!(relay.text(), put(43, true));
}

#[test]
fn silence_is_noticed() {
    let upstream = Scripted::start(|request| {
        Reply::Stream(if request.before == 0 { put(42, true) } else { put(43, true) }.into_bytes())
    });
    let stage = Stage::set(upstream, Wishes { silence: Duration::from_secs(2), ..Wishes::default() });
    stage.say(StoresWord::default());
    let mut relay = stage.relay();
    assert_eq!(relay.text(), put(42, true));
    assert_eq!(relay.text(), put(43, true));
    assert!(stage.upstream.requests().len() >= 2);
}

#[test]
fn a_refusal_that_stands_long_enough_is_passed_on_for_a_key_that_worked() {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    let upstream = Scripted::with_tls(&authority, |_| Reply::Stream(put(42, true).into_bytes()));
    let pem = std::fs::read(&authority).unwrap();
    let refused_for = Duration::from_secs(4);
    let mut stage = Stage::set(upstream, Wishes { refused_for, authority: Some(pem), ..Wishes::default() });
    stage.say(StoresWord::default());
    let mut relay = stage.relay();
    assert_eq!(relay.text(), put(42, true));
    stage.upstream.script(|_| Reply::Status(401, ""));
    stage.upstream.cut();
    stage.wait_for_alarm(AlarmKind::KeyRefused);
    let begun = Instant::now();
    assert_eq!(stage.relay().text(), put(42, true), "it may be a mistake of LaunchDarkly's");
    assert_eq!(relay.next(LONG), super::wire::Next::End, "it is let go");
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(Wire::ask(stage.address(), "/all", KEY).status, 401);
    // LaunchDarkly takes the key again.
    stage.upstream.script(|_| Reply::Stream(put(50, true).into_bytes()));
    let begun = Instant::now();
    let mut relay = loop {
        let relay = Wire::ask(stage.address(), "/all", KEY);
        if relay.status == 200 {
            break relay;
        }
        assert!(begun.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(relay.text(), put(50, true));
}
