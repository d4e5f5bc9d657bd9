//! `rc relay config`: what it finds in a relay's configuration, and that what it writes is one that `rc` and relays read.

use std::fs;

use serde_json::Value;

use crate::support::rc::Ran;
use crate::support::rc::Rc;

const SETTINGS: &str = "REDIS_HOSTS=eu-1=redis://anna:hunter2@redis-eu:6380/2,us-1=redis-us\n";

fn run(line: &str, files: &[(&str, &str)]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".env"), SETTINGS).unwrap();
    for (name, text) in files {
        fs::write(home.path().join(name), text).unwrap();
    }
    Rc::new().home(home.path()).line(line).run()
}

const BARE: &str = "[Redis]\nurl = \"redis://redis-eu:6379\"\nlocalTtl = -1s\n\
    [Environment \"a\"]\nsdkKey = \"sdk-0000-secret\"\n[Environment \"b\"]\nprefix = \"x\"\n";

#[test]
fn what_keeps_an_edit_from_getting_through_is_said() {
    let line = "relay config --check ld-relay.conf --guard http://127.0.0.1:8031";
    let ran = run(line, &[("ld-relay.conf", BARE)]).code(1).nowhere("sdk-0000-secret");
    let ran = ran
        .out("MUST  [Main]             its stream comes from LaunchDarkly itself")
        .out("streamUri = \"http://127.0.0.1:8031\"")
        .out("MUST  [Redis]            an endless cache")
        .out("MUST  [Environment \"a\"]  it has no prefix")
        .out("note  [Environment \"b\"]  its SDK key is not in the file");
    ran.out("NOT YET: 3 lines to be changed");
    let ran = run(&format!("{line} --json"), &[("ld-relay.conf", BARE)]).code(1);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["files"][0]["file"], "ld-relay.conf");
    assert_eq!(told["files"][0]["advice"][0]["write"], "streamUri = \"http://127.0.0.1:8031\"");
}

#[test]
fn what_it_writes_is_what_it_would_not_change() {
    let line = "relay config shop/production shop/eu-staging --store eu-1 --guard http://127.0.0.1:8031";
    let ran = run(line, &[]).code(0).nowhere("hunter2").nowhere("anna");
    let ran = ran
        .out("url = \"redis://redis-eu:6380/2\"")
        .out("[Environment \"shop_eu_staging\"]\nprefix = \"ld:shop:eu-staging\"\nprojKey = \"shop\"")
        .out("LD_ENV_shop_production   the SDK key of shop/production");
    let check = "relay config --check ld-relay.conf --guard http://127.0.0.1:8031";
    run(check, &[("ld-relay.conf", &ran.stdout)]).code(0).out("FINE, with 2 things worth knowing.");
}

#[test]
fn a_prefix_that_the_settings_name_is_kept() {
    let settings = "[environment.\"shop/production\"]\nprefix = \"launchdarkly\"\n";
    let line = "relay config -p shop -e production --store us-1";
    run(line, &[("relaycommander.toml", settings)])
        .code(0)
        .out("prefix = \"launchdarkly\"")
        .out("maxClientConnectionTime");
}

#[test]
fn what_cannot_be_meant() {
    run("relay config shop/production", &[]).code(2).err("which store does the relay fill?").err("eu-1, us-1");
    run("relay config shop/production --store nope", &[]).code(2).err("no store is called nope");
    run("relay config --store eu-1", &[]).code(2).err("no environment is named");
    run("relay config --check", &[]).code(2).err("no configuration is named");
    run("relay config --check no.conf", &[]).err("no.conf").err("cannot be opened");
    run("relay config --check bad.conf", &[("bad.conf", "[Main\n")]).err("bad.conf:1");
    // The old tool's name.
    run("generate-relay-config shop/production --store us-1", &[]).code(0).out("[Environment \"shop_production\"]");
}
