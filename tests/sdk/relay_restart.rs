//! `rc relay restart` on three of LaunchDarkly's own relays: one after the other, never two of them down, all show the edit;
//! and refused where a restart would lose it or take a relay down.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use libtest_mimic::Trial;

use crate::launchdarkly::LaunchDarkly;
use crate::launchdarkly::RETURN_WITHIN;
use crate::launchdarkly::SDK_KEY;
use crate::launchdarkly::seed;
use crate::parts::Part;
use crate::parts::trial;
use crate::stage::Stage;
use crate::stage::flags;
use crate::support::ld_relay;
use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::redis::free_port;
use crate::support::shop;

const LABELS: [&str; 3] = ["a", "b", "c"];

/// Ends what runs under the folder's `pid`, waits until it has, and starts the relay there.
const RESTART: &str = r#"#!/bin/sh
cd "$1" || exit 1
if [ -f pid ]; then
    old=$(cat pid)
    kill -9 "$old"
    while [ -n "$(tr -d '\0' < "/proc/$old/cmdline" 2>/dev/null)" ]; do :; done
fi
"$2" --config ld-relay.conf >> output 2>&1 < /dev/null &
echo $! > pid
"#;

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 2] = [
        ("relay::restarted_one_after_the_other", restarted_one_after_the_other),
        ("relay::restarted_by_an_update", restarted_by_an_update),
    ];
    tests.into_iter().map(|(name, test)| trial(name, &[Part::Relay], test)).collect()
}

/// A relay that an operator's own command restarts; it ends with the value.
struct Relay {
    folder: tempfile::TempDir,
    address: SocketAddr,
    restart: Vec<String>,
}

impl Relay {
    fn start(launchdarkly: &LaunchDarkly, stage: &Stage) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, url) = (free_port(), launchdarkly.stream_url());
        let configuration = format!(
            "[Main]\nport = {port}\nstreamUri = \"{url}\"\nbaseUri = \"{url}\"\nclientSideBaseUri = \"{url}\"\ninitTimeout = 2s\n\
             [Events]\neventsUri = \"{url}\"\n[Redis]\nhost = 127.0.0.1\nport = {}\nlocalTtl = 1s\n\
             [Environment \"Production\"]\nsdkKey = {SDK_KEY}\nprefix = {}\nprojKey = shop\n",
            stage.redis.port(),
            shop::PREFIX
        );
        fs::write(folder.path().join("ld-relay.conf"), configuration).unwrap();
        let script = folder.path().join("restart");
        fs::write(&script, RESTART).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let program = ld_relay::program().expect("tests without their parts are not run");
        let words = [script, folder.path().to_owned(), program];
        let restart: Vec<String> = words.iter().map(|word| word.display().to_string()).collect();
        assert!(Command::new(&restart[0]).args(&restart[1..]).status().unwrap().success());
        Self { folder, address: SocketAddr::from(([127, 0, 0, 1], port)), restart }
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("ld-relay.conf")
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.folder.path().join("pid")).unwrap().trim().to_owned()
    }

    /// What it answers who polls for a flag; nothing where it does not serve.
    fn served(address: SocketAddr, flag: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        let request = format!(
            "GET /sdk/flags/{flag} HTTP/1.1\r\nhost: relay\r\nauthorization: {SDK_KEY}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Ended already, or about to be.
        let _ = Command::new("kill").args(["-9", &self.pid()]).status();
    }
}

struct Scene {
    relays: Vec<Relay>,
    launchdarkly: LaunchDarkly,
    stage: Stage,
}

impl Scene {
    fn set() -> Self {
        let launchdarkly = LaunchDarkly::of(seed(&flags()));
        let stage = Stage::empty();
        stage.knows(&launchdarkly);
        let relays: Vec<Relay> = LABELS.iter().map(|_| Relay::start(&launchdarkly, &stage)).collect();
        let urls: Vec<String> =
            LABELS.iter().zip(&relays).map(|(label, relay)| format!("{label}=http://{}", relay.address)).collect();
        let file = relays[0].configuration();
        stage.settings(&format!("RELAY_URLS={}\nRC_RELAY_CONFIG={}\n", urls.join(","), file.display()));
        let scene = Self { relays, launchdarkly, stage };
        scene.commands(|relay| relay.restart.clone());
        scene.wait_until("every relay serves", |scene| {
            scene.relays.iter().all(|relay| Relay::served(relay.address, "checkout").is_some())
        });
        scene
    }

    /// What restarts each relay.
    fn commands(&self, words: impl Fn(&Relay) -> Vec<String>) {
        let section = |(label, relay): (&&str, &Relay)| format!("[relay.\"{label}\"]\nrestart = {:?}\n", words(relay));
        let text: String = LABELS.iter().zip(&self.relays).map(section).collect();
        fs::write(self.stage.home.path().join("relaycommander.toml"), text).unwrap();
    }

    #[track_caller]
    fn wait_until(&self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !wanted(self) {
            assert!(begun.elapsed() < RETURN_WITHIN, "{what}: not within {RETURN_WITHIN:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// LaunchDarkly is gone, and the relays know it.
    #[track_caller]
    fn everything_goes_away(&self) {
        self.launchdarkly.api_goes_away();
        self.launchdarkly.stream_goes_away();
        let all_know = |scene: &Self| scene.stage.rc("doctor").stdout.matches("safe now: ").count() == 3;
        self.wait_until("every relay is cut off", all_know);
    }

    fn restart(&self) -> Ran {
        Rc::new().home(self.stage.home.path()).line("relay restart").deadline(Duration::from_secs(170)).run()
    }
}

/// When a relay did not serve: from the first question that failed to the last.
fn downtimes(address: SocketAddr, stop: &AtomicBool) -> Vec<(Instant, Instant)> {
    let mut times: Vec<(Instant, Instant)> = Vec::new();
    let mut is_down = false;
    while !stop.load(Ordering::Acquire) {
        let begun = Instant::now();
        match (Relay::served(address, "checkout").is_some(), times.last_mut()) {
            (true, _) => is_down = false,
            (false, Some(last)) if is_down => last.1 = Instant::now(),
            (false, _) => {
                times.push((begun, Instant::now()));
                is_down = true;
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    times
}

fn restarted_one_after_the_other() {
    let scene = Scene::set();
    let pids = |scene: &Scene| scene.relays.iter().map(Relay::pid).collect::<Vec<_>>();
    let first = pids(&scene);
    let connected = scene.restart().code(3);
    assert_eq!(
        connected.stdout.matches("connected to LaunchDarkly, which fills its store anew").count(),
        3,
        "{connected}"
    );
    scene.everything_goes_away();
    scene.stage.rc("update -p shop -e production -f checkout -s off").code(8);

    scene.stage.redis.run(&["DEL", &format!("{}:$inited", shop::PREFIX)]);
    let empty = scene.restart().code(3);
    assert_eq!(empty.stdout.matches("is not complete: started now it serves nothing there").count(), 3, "{empty}");
    scene.stage.redis.run(&["SET", &format!("{}:$inited", shop::PREFIX), ""]);
    assert_eq!(pids(&scene), first, "something was restarted");

    let stop = Arc::new(AtomicBool::new(false));
    let watchers: Vec<_> = scene
        .relays
        .iter()
        .map(|relay| {
            let (address, stop) = (relay.address, Arc::clone(&stop));
            thread::spawn(move || downtimes(address, &stop))
        })
        .collect();
    let restarted = scene.restart().code(0);
    stop.store(true, Ordering::Release);
    let down: Vec<Vec<(Instant, Instant)>> = watchers.into_iter().map(|watcher| watcher.join().unwrap()).collect();
    assert_eq!(restarted.stdout.matches("and shows 1 edit").count(), 3, "{restarted}");
    assert!(pids(&scene).iter().zip(&first).all(|(now, before)| now != before), "{restarted}");
    for (place, times) in down.iter().enumerate() {
        assert!(!times.is_empty(), "{} was never down\n{restarted}", LABELS[place]);
        for other in down.iter().skip(place + 1).flatten() {
            let at_once = times.iter().any(|one| one.0 < other.1 && other.0 < one.1);
            assert!(!at_once, "two relays were down at once: {down:?}\n{restarted}");
        }
    }
    for relay in &scene.relays {
        let served = Relay::served(relay.address, "checkout").expect("it serves");
        assert!(served.contains("\"on\":false"), "{served}");
    }

    scene.commands(|_| vec!["false".to_owned()]);
    let failed = scene.restart().code(5);
    assert!(failed.stdout.contains("FAILED: false ended with exit status: 1"), "{failed}");
    assert_eq!(failed.stdout.matches("a has not come back: see to that first").count(), 2, "{failed}");
    scene.commands(|_| vec!["true".to_owned()]);
    let line = "relay restart b --within 1s";
    let untouched = Rc::new().home(scene.stage.home.path()).line(line).run().code(5);
    assert!(untouched.stdout.contains("it was not restarted"), "{untouched}");
}

fn restarted_by_an_update() {
    let scene = Scene::set();
    scene.everything_goes_away();
    let home = scene.stage.home.path();
    let update = |rest: &str| {
        let line = format!("update -p shop -e production -f checkout -s off --restart {rest}");
        Rc::new().home(home).line(&line).deadline(Duration::from_secs(170)).run()
    };
    let commands = fs::read_to_string(home.join("relaycommander.toml")).unwrap();
    fs::remove_file(home.join("relaycommander.toml")).unwrap();
    update("").code(2).err("it is not known what restarts a, b and c");
    assert!(scene.stage.record("checkout")["on"] == true, "written although it could not be done as asked");
    fs::write(home.join("relaycommander.toml"), commands).unwrap();
    update("--json").code(2).err("rc relay restart --json");
    let done = update("").code(0);
    assert_eq!(done.stdout.matches("and shows 1 edit").count(), 3, "{done}");
    let timeline = Rc::new().home(home).line("log --timeline").run().code(0);
    assert!(timeline.stdout.contains("DIVERGED, SDKs that stay connected do not have it"), "{timeline}");
    assert_eq!(timeline.stdout.matches("DIVERGED no more").count(), 3, "{timeline}");
    for relay in &scene.relays {
        let served = Relay::served(relay.address, "checkout").expect("it serves");
        assert!(served.contains("\"on\":false"), "{served}");
    }
}
