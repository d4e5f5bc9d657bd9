//! `rc drill --serve`, as programs use it, and what it begins with.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;

use relay_commander::relay::configuration::RelayConfiguration;
use serde_json::Value;
use serde_json::json;

use super::dumped::dump;
use super::wait_until;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;
use crate::support::shop;

/// One that runs. It is ended with the value.
pub struct Served {
    child: Child,
    /// What it printed: the object, or all lines for people.
    pub told: String,
    input: Option<ChildStdin>,
}

impl Served {
    /// Starts it in `folder`, and reads what it prints until this line.
    #[track_caller]
    pub fn start(rc: &Rc, folder: &Path, last_line: impl Fn(&str) -> bool) -> Self {
        let mut child = rc.command(folder).stdin(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = String::new();
        loop {
            let Some(line) = lines.next() else {
                let output = child.wait_with_output().unwrap();
                panic!("it ended: {told}{}", String::from_utf8_lossy(&output.stderr));
            };
            let line = line.unwrap();
            told.push_str(&line);
            told.push('\n');
            if last_line(&line) {
                break;
            }
        }
        let input = child.stdin.take();
        Self { child, told, input }
    }

    /// Starts it with --json.
    #[track_caller]
    pub fn object(rc: Rc, folder: &Path) -> (Self, Value) {
        let served = Self::start(&rc.line("--json"), folder, |_| true);
        let object = serde_json::from_str(&served.told).unwrap();
        (served, object)
    }

    #[track_caller]
    fn ends(&mut self) -> i32 {
        wait_until("it ends", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code().unwrap()
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve() -> Rc {
    Rc::new().line("drill --serve")
}

/// What `GET` of a URL answers, with this in `Authorization`.
pub fn get(url: &str, key: &str) -> (u16, String) {
    let output = Command::new("curl")
        .args([
            "-s",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "-w",
            "\n%{http_code}",
            "-H",
            &format!("Authorization: {key}"),
            url,
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

#[test]
fn until_a_signal_or_until_its_input_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (mut served, object) = Served::object(serve(), folder.path());
    super::papers::documented_settings(&object);
    // Without a terminal, the end of its input says nothing to it.
    drop(served.input.take());
    let (status, flags) = get(
        &format!("{}/sdk/latest-all", object["stream"].as_str().unwrap()),
        object["environments"][0]["sdk_key"].as_str().unwrap(),
    );
    assert_eq!(status, 200);
    let flags: Value = serde_json::from_str(&flags).unwrap();
    assert_eq!(flags["flags"]["checkout"]["version"], 42);
    assert!(served.runs());
    served.signal("TERM");
    assert_eq!(served.ends(), 0);
    let (mut served, _) = Served::object(serve().line("--until-input-ends"), folder.path());
    assert!(served.runs());
    drop(served.input.take());
    assert_eq!(served.ends(), 0);
}

/// What is printed can be pasted: into a `.env` for rc, and into an `ld-relay.conf`.
#[test]
fn what_is_printed_can_be_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&serve(), folder.path(), |line| line.contains("never a prefix that serves somebody"));
    let lines: Vec<&str> = served.told.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let (rc, relay): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| line.starts_with("LD_"));
    let server = RedisServer::start();
    server.fill("rc-drill:shop:production", &[("checkout", &shop::flag("checkout", 42).text())]);
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("ld-relay.conf"), relay.join("\n")).unwrap();
    let more = [format!("REDIS_HOSTS=drill={}", server.url()), "RC_RELAY_CONFIG=ld-relay.conf".to_owned()];
    fs::write(home.path().join(".env"), format!("{}\n{}\n", rc.join("\n"), more.join("\n"))).unwrap();
    let run = |line: &str| Rc::new().home(home.path()).line(line).run();
    run("update -p shop -e production -f checkout -s off").code(0).out("v42 -> v43");
    run("replay").code(0).out("off in LaunchDarkly v43");
    let configuration = RelayConfiguration::from_file(&relay.join("\n"), "ld-relay.conf").unwrap();
    let environment = configuration.matches(&"shop/production".parse().unwrap())[0];
    assert_eq!(configuration.copies(environment)[0].prefix, "rc-drill:shop:production");
    assert!(environment.sdk_key.is_some());
}

#[test]
fn a_seed_document_keeps_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let flags = json!({ "checkout": { "variations": [true, false], "environments": { "production": { "on": true, "version": 7 } } } });
    let seed = json!({
        "projects": { "shop": {
            "environments": { "production": { "sdkKey": "sdk-mine-hunter2" }, "staging": {} }, "flags": flags,
        } },
        "tokens": { "api-mine-hunter2": { "role": "writer", "member": "anna" } },
    });
    fs::write(folder.path().join("seed.json"), seed.to_string()).unwrap();
    let (served, object) = Served::object(serve().line("--from seed.json"), folder.path());
    assert!(!served.told.contains("hunter2"), "{}", served.told);
    assert_eq!(object["api_key"], Value::Null);
    let keys: Vec<&Value> = object["environments"].as_array().unwrap().iter().map(|one| &one["sdk_key"]).collect();
    assert!(keys[0].is_null() && keys[1].as_str().unwrap().starts_with("sdk-"), "{object}");
    let (api, stream) = (object["api"].as_str().unwrap(), object["stream"].as_str().unwrap());
    assert_eq!(get(&format!("{api}/api/v2/flags/shop/checkout"), "api-mine-hunter2").0, 200);
    assert_eq!(get(&format!("{api}/api/v2/flags/shop/checkout"), "api-drill").0, 401);
    assert_eq!(get(&format!("{stream}/sdk/latest-all"), "sdk-mine-hunter2").0, 200);
    let for_people =
        Served::start(&serve().line("--from seed.json"), folder.path(), |line| line.contains("never a prefix"));
    assert!(!for_people.told.contains("hunter2"), "{}", for_people.told);
    assert!(for_people.told.contains("# sdkKey: the one that the seed has"), "{}", for_people.told);
}

#[test]
fn a_flag_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = json!({ "flags": { "a": { "key": "a", "version": 3, "on": true, "variations": [1, 2], "fallthrough": { "variation": 0 } } }, "flagValues": { "b": "blue" } });
    fs::write(folder.path().join("flags.json"), file.to_string()).unwrap();
    let (_served, object) = Served::object(serve().line("--from flags.json -p till -e live"), folder.path());
    assert_eq!(object["environments"][0]["environment"], "till/live");
    assert_eq!(object["environments"][0]["flags"], 2);
    let (status, flag) = get(&format!("{}/api/v2/flags/till/a?env=live", object["api"].as_str().unwrap()), "api-drill");
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&flag).unwrap()["environments"]["live"]["version"], 3);
}

#[test]
fn from_a_store_that_a_relay_has_filled() {
    let server = RedisServer::with().tcp().start();
    let flags = [("checkout", shop::flag("checkout", 42).text()), ("promo", shop::flag("promo", 12).off().text())];
    server.fill(shop::PREFIX, &flags.each_ref().map(|(key, text)| (*key, text.as_str())));
    server.run(&[
        "HSET",
        "ld:shop:production:segments",
        "testers",
        r#"{"key":"testers","version":3,"included":["anna"],"excluded":[],"rules":[],"salt":"s"}"#,
    ]);
    let before = dump(&server);
    let home = shop::home(&[("redis-a", &server.url())]);
    let (served, object) = Served::object(serve().line("--from-store -p shop -e production"), home.path());
    assert_eq!(object["from"], "what a relay has put into ld:shop:production in redis-a");
    let key = object["environments"][0]["sdk_key"].as_str().unwrap();
    let (_, all) = get(&format!("{}/sdk/latest-all", object["stream"].as_str().unwrap()), key);
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!((&all["flags"]["checkout"]["version"], &all["flags"]["promo"]["on"]), (&json!(42), &json!(false)));
    assert_eq!(all["segments"]["testers"]["included"], json!(["anna"]));
    drop(served);
    assert_eq!(dump(&server), before);
    // An override there is said: what is overridden is not what LaunchDarkly has.
    Rc::new().home(home.path()).line("update -p shop -e production -f checkout -s off").run().code(0).out("DONE");
    let mut child = serve().line("--from-store -p shop -e production --json --until-input-ends").stdin("");
    child = child.home(home.path());
    child.run().code(0).err("warning: 1 flag is overridden there");
    let empty = RedisServer::start();
    let home = shop::home(&[("redis-a", &empty.url())]);
    serve().home(home.path()).line("--from-store -p shop -e production").run().code(3).err("holds any flags");
}

#[test]
fn what_it_cannot_begin_with() {
    let folder = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        fs::write(folder.path().join("seed.json"), text).unwrap();
        serve().home(folder.path()).line("--from seed.json").run()
    };
    file("[1]").code(2).err("it is no JSON object");
    file("{}").code(2).err("is neither a seed document nor a flag file");
    file(r#"{"projects":{},"flags":{}}"#).code(2).err("is neither a seed document nor a flag file");
    file(r#"{"projects":{"shop":{"enviroments":{}}}}"#).code(2).err("LaunchDarkly cannot begin with");
    file(r#"{"flags":{"a b":{}}}"#).code(2).err("LaunchDarkly cannot begin with");
    serve().home(folder.path()).line("--from nowhere.json").run().code(2).err("nowhere.json cannot be read");
    serve().home(folder.path()).line("--from-store -p shop -e live").run().code(2).err("no store is configured");
}

#[test]
fn on_ports_that_are_given() {
    let folder = tempfile::tempdir().unwrap();
    // Three in a row that nobody has: the kernel gives free ones away one by one.
    let mut attempts = 0;
    let (served, object, port) = loop {
        attempts += 1;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port > 65_500 {
            continue;
        }
        let free = (port..port + 3).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
        if free || attempts > 100 {
            let (served, object) = Served::object(serve().args(["--port", &port.to_string()]), folder.path());
            break (served, object, port);
        }
    };
    assert_eq!(object["api"], format!("http://127.0.0.1:{port}"));
    assert_eq!(object["stream"], format!("http://127.0.0.1:{}", port + 1));
    assert_eq!(object["control"], format!("http://127.0.0.1:{}/_drill/", port + 2));
    let again = serve().args(["--port", &port.to_string()]).run().code(2);
    again.err("of 127.0.0.1 are not all free");
    drop(served);
}
