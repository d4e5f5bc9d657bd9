//! Rehearsals through a relay program. The real one is used where `LD_RELAY` names it; otherwise the run says that these
//! tests were not run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use super::STEPS;
use super::Started;
use super::drill;
use super::dumped::dump;
use super::dumped::fill;
use super::nothing_is_left;
use super::path_with_redis;
use super::processes_about;
use super::serve::Served;
use super::serve::get;
use super::wait_until;
use super::whole::all_held;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

/// With a real relay there is one step more.
const STEPS_WITH_RELAY: usize = STEPS + 1;

/// The relay's program; where there is none, says so.
#[allow(clippy::print_stderr, reason = "a test that did not run must say so")]
fn program(test: &str) -> Option<PathBuf> {
    let program = crate::relay::real::program();
    if program.is_none() {
        eprintln!("NOT RUN: {test} needs LD_RELAY to name the relay's program");
    }
    program
}

#[test]
fn all_holds_through_a_real_relay() {
    let Some(program) = program("all_holds_through_a_real_relay") else { return };
    let temporary = tempfile::tempdir().unwrap();
    let ran = drill(temporary.path(), &path_with_redis()).args(["--relay".into(), program]).run().code(0);
    all_held(&ran, STEPS_WITH_RELAY);
    let ran = ran.out("  relay         yours, version 8.").out("MEASURED of your relay 8.");
    let ran = ran.out("cache time 2 s here").out("A relay started anew").out("It served nobody for ");
    // rc's own proof, by its own connection to the relay.
    let ran = ran.out("STILL ON for connected SDKs; new ones off");
    drop(ran.out("LOST there within about 30 s"));
    nothing_is_left(temporary.path());
}

#[test]
fn a_relay_on_somebodys_redis() {
    let Some(program) = program("a_relay_on_somebodys_redis") else { return };
    let server = RedisServer::with().tls().start();
    fill(&server);
    server.run(&["ACL", "SETUSER", "drill", "on", ">hunter2", "~rc-drill:*", "+@all"]);
    let before = dump(&server);
    let (temporary, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = files.path().join("authority.pem");
    fs::write(&authority, server.authority_pem()).unwrap();
    let rc = drill(temporary.path(), "/nonexistent")
        .args(["--json", "--store", &server.url(), "--redis-ca"])
        .args([authority.into_os_string(), "--relay".into(), program.into()])
        .env("RC_REDIS_USER", "drill")
        .env("RC_REDIS_PASSWORD", "hunter2");
    let ran = rc.run().code(0).nowhere("hunter2");
    let object: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(object["relay"]["kind"], "program");
    assert!(object["relay"]["measured"].as_array().unwrap().len() > 3, "{}", object["relay"]);
    assert_eq!(dump(&server), before);
    nothing_is_left(temporary.path());
}

/// However it ends, the relay ends with it.
#[test]
fn no_relay_stays_behind() {
    let Some(program) = program("no_relay_stays_behind") else { return };
    let path = path_with_redis();
    for signal in ["INT", "KILL"] {
        let temporary = tempfile::tempdir().unwrap();
        let rc = drill(temporary.path(), &path).args(["--relay".into(), program.clone()]);
        let started = Started::start(&rc, temporary.path()).until("STEP 2 ");
        assert!(processes_about(temporary.path()).iter().any(|one| one.contains("ld-relay")));
        started.ended_by(signal);
        wait_until("its processes are gone", || processes_about(temporary.path()).is_empty());
        if signal == "INT" {
            nothing_is_left(temporary.path());
        }
    }
}

/// A relay that is given what `--serve` prints follows it: connected, fed, and cut off.
#[test]
fn a_relay_that_is_pointed_at_what_is_served() {
    let Some(program) = program("a_relay_that_is_pointed_at_what_is_served") else { return };
    let (folder, redis) = (tempfile::tempdir().unwrap(), RedisServer::with().tcp().start());
    let served = Served::start(&Rc::new().line("drill --serve"), folder.path(), |line| line.contains("never a prefix"));
    let pasted = served.told.lines().filter_map(|line| line.strip_prefix("    "));
    let pasted: Vec<&str> = pasted.filter(|line| !line.starts_with("LD_")).collect();
    let port = crate::support::redis::free_port();
    let own = format!("[Main]\nport = {port}\n[Redis]\nurl = \"{}\"\n", redis.url());
    fs::write(folder.path().join("ld-relay.conf"), format!("{}\n{own}", pasted.join("\n"))).unwrap();
    let mut relay = Command::new(&program);
    relay.args(["--config", "ld-relay.conf"]).current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let _relay = Ended(relay.spawn().unwrap());
    let state = || {
        let (_, status) = get(&format!("http://127.0.0.1:{port}/status"), "");
        let status: Value = serde_json::from_str(&status).unwrap_or_default();
        let state = &status["environments"]["shop production"]["connectionStatus"]["state"];
        state.as_str().unwrap_or_default().to_owned()
    };
    wait_until("it is connected", || state() == "VALID");
    let stored = || redis.line("HGET rc-drill:shop:production:features checkout");
    wait_until("it has filled its store", || stored().contains("\"version\":42"));
    let control = served.told.lines().find_map(|line| line.trim().strip_prefix("control")).unwrap();
    let control = control.split_whitespace().next().unwrap().to_owned();
    let post = |path: &str, body: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sf", "--noproxy", "*", "-H", "Content-Type: application/json", "-d", body]);
        assert!(curl.arg(format!("{control}{path}")).output().unwrap().status.success(), "{path}");
    };
    post("flags/shop/production/checkout", r#"{"instructions": [{"kind": "turnFlagOff"}]}"#);
    wait_until("LaunchDarkly's change is in its store", || stored().contains("\"version\":43"));
    post("stream/faults", r#"{"fault": "refuse"}"#);
    wait_until("it is cut off", || state() == "INTERRUPTED");
}

/// A child that is ended with the value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A script in the place of a relay.
fn script(folder: &Path, text: &str) -> PathBuf {
    let program = folder.join("relay.sh");
    fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    program
}

#[test]
fn a_relay_that_does_not_run_is_said() {
    let path = path_with_redis();
    let (temporary, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = script(files.path(), "echo no licence for this machine >&2; exit 3");
    let ran = drill(temporary.path(), &path).args(["--relay".into(), program]).run().code(1);
    ran.err("does not run").err("it ended at once, and said last:").err("no licence for this machine");
    wait_until("its Redis is gone", || processes_about(temporary.path()).is_empty());
    nothing_is_left(temporary.path());
    // It needs a Redis that it can reach.
    let program = script(files.path(), "exec sleep 60");
    let ran = drill(temporary.path(), "/nonexistent").args(["--relay".into(), program]).run().code(1);
    ran.err("a relay needs a Redis").err("Install redis-server, or name a Redis of yours");
    nothing_is_left(temporary.path());
}

/// Nothing of this machine configures the relay, and its login to Redis is on no command line.
#[test]
fn what_a_relay_is_told() {
    let path = path_with_redis();
    let (temporary, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let told = files.path().join("told");
    let program = script(files.path(), &format!("(env; echo \"$@\"; cat \"$2\") >{}; exit 3", told.display()));
    let rc = drill(temporary.path(), &path).args(["--relay".into(), program]);
    drop(rc.env("LD_ENV_Production", "sdk-real").env("STREAM_URI", "https://stream.launchdarkly.com").run().code(1));
    let told = fs::read_to_string(told).unwrap();
    assert!(
        told.contains("streamUri = \"http://127.0.0.1:") && told.contains("[Environment \"shop production\"]"),
        "{told}"
    );
    assert!(!told.contains("sdk-real") && !told.contains("launchdarkly.com"), "{told}");
}
