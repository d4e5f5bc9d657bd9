//! `rc doctor`: each bad finding with its real cause, each way out, and that nothing is changed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use serde_json::json;

use crate::status::PREFIX;
use crate::status::Saying;
use crate::status::environment;
use crate::status::fill;
use crate::status::filled;
use crate::status::flag;
use crate::status::home;
use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

const SDK_KEY: &str = "sdk-12345678-90ab-cdef-1234-567890abcdef";

fn doctor(home: &Path) -> Ran {
    Rc::new().home(home).line("doctor").run()
}

fn on(redis: &RedisServer) -> tempfile::TempDir {
    home(&[format!("REDIS_HOSTS=eu-1={}", redis.url())])
}

/// The keys and all that is in the relay's hash.
fn contents(redis: &RedisServer) -> String {
    format!("{}\n{}", redis.line("KEYS *"), redis.run(&["HGETALL", &format!("{PREFIX}:features")]))
}

#[test]
fn all_is_well_and_nothing_is_changed() {
    let redis = RedisServer::with().arguments(&["--appendonly", "yes"]).start();
    fill(&redis);
    let home = on(&redis);
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let before = contents(&redis);
    let ran = doctor(home.path())
        .code(0)
        .out("ok   eu-1, rights: all that is needed is permitted on ld:shop:production")
        .out("ok   shop/production, eu-1 ld:shop:production: 3 flags")
        .out("relays can read all 3 records")
        .out("is not there yet; the first change makes it")
        .out("note api, token: LD_API_KEY is not set");
    assert!(ran.stdout.trim_end().lines().last().unwrap().starts_with("READY: nothing is bad in "), "{ran}");
    assert_eq!(contents(&redis), before);
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".env"]);
}

#[test]
fn the_json_object() {
    let redis = filled();
    let home = on(&redis);
    let ran = Rc::new().home(home.path()).line("doctor --json").run().code(0);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["bad"], 0);
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len() as u64, report["good"].as_u64().unwrap() + report["notes"].as_u64().unwrap());
    let rights = findings.iter().find(|finding| finding["subject"] == "rights").unwrap();
    assert_eq!((&rights["part"], &rights["about"], &rights["grade"]), (&json!("stores"), &json!("eu-1"), &json!("ok")));
}

#[test]
fn a_store_that_evicts() {
    let redis = RedisServer::with().arguments(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).start();
    fill(&redis);
    doctor(on(&redis).path())
        .code(1)
        .out("BAD  eu-1, eviction: policy allkeys-lru removes whole environments")
        .out("> CONFIG SET maxmemory-policy noeviction")
        .out("NOT READY: 1 of ");
}

#[test]
fn a_replica_names_its_primary() {
    let primary = RedisServer::with().tcp().start();
    fill(&primary);
    let replica = RedisServer::with().tcp().replica_of(primary.port()).start();
    replica.wait_for("INFO replication", "master_link_status:up");
    doctor(on(&replica).path())
        .code(1)
        .out(&format!("BAD  eu-1, replica: a replica of 127.0.0.1:{}", primary.port()))
        .out("in REDIS_HOSTS instead");
}

#[test]
fn a_right_that_is_missing() {
    let redis = RedisServer::with().tcp().start();
    fill(&redis);
    redis.line("ACL SETUSER rc on >secret-word ~* +@all -hset");
    let home = home(&[format!("REDIS_HOSTS=eu-1=redis://rc:secret-word@127.0.0.1:{}", redis.port())]);
    doctor(home.path())
        .code(1)
        .out("BAD  eu-1, rights: not permitted: HSET")
        .out("> ACL SETUSER rc")
        .nowhere("secret-word");
    redis.line("ACL SETUSER rc reset on >secret-word +@all ~ld:shop:production:features ~ld:shop:production:$inited");
    doctor(home.path()).code(1).out("only records can be changed, colleagues and guards will not see overrides");
    redis.line("ACL SETUSER rc resetpass >other");
    doctor(home.path()).code(1).out("BAD  eu-1, login:").out("RC_REDIS_PASSWORD").nowhere("secret-word");
}

#[test]
fn no_store_at_all() {
    let redis = filled();
    let gone = on(&redis);
    let url = redis.url();
    drop(redis);
    doctor(gone.path())
        .code(7)
        .out("BAD  eu-1, reach: ")
        .out("> is it up, and is its address right as seen from here?");
    let living = filled();
    let one = home(&[format!("REDIS_HOSTS=eu-1={},us-1={url}", living.url())]);
    doctor(one.path()).code(1).out("BAD  us-1, reach: ").out("ok   eu-1, reach: ");
}

#[test]
fn records_that_relays_cannot_read() {
    let redis = filled();
    let features = format!("{PREFIX}:features");
    redis.run(&["HSET", &features, "search", &flag("search", 42, "\"off\"")]);
    redis.run(&["HSET", &features, "refunds", "nonsense"]);
    let cheers = flag("cheers", 1, "true").replace("\"salt\":\"s\"", r#""salt":"\ud83d\ude00""#);
    redis.run(&["HSET", &features, "cheers", &cheers]);
    let short = r#"{"key":"short","version":1,"on":true}"#;
    redis.run(&["HSET", &features, "short", short]);
    redis.run(&["HSET", &features, "not a key", short]);
    let relay = Saying::relay("8.10.1", environment("INTERRUPTED", PREFIX));
    let home = home(&[format!("REDIS_HOSTS=eu-1={}", redis.url()), format!("RELAY_URLS=eu-1={}", relay.url)]);
    doctor(home.path())
        .code(1)
        .out("BAD  eu-1 ld:shop:production, search: \"on\" is the text \"off\", not true or false. Relays answer 500")
        .out("> rc update -p shop -e production -f search -s on|off --repair")
        .out("BAD  eu-1 ld:shop:production, refunds: is not a JSON object")
        .out("escaped surrogate pairs (\\ud83d\\ude00), of which relays make question marks: cheers")
        .out("would not be read by LaunchDarkly's Rust SDK, and will by relays: short")
        .out("fields that are no flag keys: not a key")
        .out("restart: NOT SAFE now: the store of production has damaged records");
}

#[test]
fn stores_that_differ() {
    let (eu, us) = (filled(), filled());
    let lines = [format!("REDIS_HOSTS=eu-1={},us-1={}", eu.url(), us.url())];
    let both = home(&lines);
    doctor(both.path()).code(0).out("ok   shop/production, eu-1 and us-1: hold the same, overrides not counted");
    Rc::new().home(both.path()).line("update -p shop -e production -f checkout -s off").run().code(0);
    us.run(&["HDEL", &format!("{PREFIX}:relaycommander:overrides"), "checkout"]);
    us.run(&["HSET", &format!("{PREFIX}:features"), "checkout", &flag("checkout", 42, "true")]);
    doctor(both.path())
        .code(0)
        .out("hold the same, overrides not counted")
        .out("checkout: owed to LaunchDarkly (anna, ");
    us.run(&[
        "HSET",
        &format!("{PREFIX}:features"),
        "search",
        &flag("search", 43, "false"),
        "more",
        &flag("more", 1, "true"),
    ]);
    doctor(both.path())
        .code(1)
        .out("the stores do not hold equally many: 3 in eu-1; 4 in us-1")
        .out("1 flag served differently, and not because of an override: search (v42 and v43)")
        .out("differ in what they hold: more (only in us-1)");
}

#[test]
fn which_prefix() {
    let redis = filled();
    redis.run(&["DEL", &format!("{PREFIX}:$inited")]);
    doctor(on(&redis).path())
        .code(1)
        .out("3 flags, but no $inited: relays take it for empty, and rc refuses to write there");
    let other = RedisServer::start();
    other.fill("a", &[("checkout", &flag("checkout", 1, "true"))]);
    other.fill("b", &[("checkout", &flag("checkout", 1, "true"))]);
    let home = on(&other);
    doctor(home.path())
        .code(0)
        .out("no project and environment is named anywhere")
        .out("note a, prefix: is in eu-1 and belongs to no environment");
    let ran = Rc::new().home(home.path()).line("doctor -p shop -e production").run().code(1);
    ran.out("BAD  shop/production, prefix: which prefix is shop/production?").out("> Nothing was written. Once:");
}

#[test]
fn relays_and_their_configuration() {
    let redis = filled();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let section = format!("[Environment \"production\"]\nsdkKey = \"{SDK_KEY}\"\nprefix = \"{PREFIX}\"\n");
    let other = "[Environment \"other\"]\nsdkKey = \"sdk-00000000-0000-0000-0000-000000000000\"\nprefix = \"x\"\n";
    let good = write("good.conf", &format!("[Redis]\nurl = \"redis://elsewhere\"\n{section}{other}"));
    let endless =
        write("endless.conf", &format!("[Redis]\nurl = \"redis://elsewhere\"\nlocalTtl = \"-1s\"\n{section}"));
    let broken = write("broken.conf", "[Redis]\nurl = \"redis://elsewhere\"\n[Environment \"x\n");
    let rotated = write("rotated.conf", &section.replace("bcdef\"", "00000\""));
    let with = |relay: &Saying, configuration: &str| {
        let lines = [
            format!("REDIS_HOSTS=eu-1={}", redis.url()),
            format!("RELAY_URLS=eu-1={}", relay.url),
            format!("RC_RELAY_CONFIG={configuration}"),
        ];
        doctor(home(&lines).path()).nowhere(SDK_KEY)
    };
    let cut_off = Saying::relay("8.10.1", environment("INTERRUPTED", PREFIX));
    with(&cut_off, &good)
        .code(0)
        .out("ok   eu-1, version: 8.10.1")
        .out("note eu-1, environment production: cut off from LaunchDarkly since 2023-11-14 22:13:20Z, it says")
        .out("ok   eu-1, cache: 30 s (the default)")
        .out("ok   eu-1, restart: safe now")
        .out("SDK key at eu-1 before eu-1 ld:shop:production: known")
        .out("good.conf, [Environment \"other\"]: is none of the environments that were looked at");
    with(&cut_off, &endless).code(1).out("BAD  eu-1, cache: its cache never runs out");
    with(&cut_off, &broken).code(1).out("broken.conf:3").out("restart: safe now");
    with(&cut_off, &rotated).code(1).out("is not one that the relay knows, by its last characters");
    let nine = Saying::relay("9.0.0", environment("VALID", PREFIX));
    with(&nine, &good)
        .code(0)
        .out("note eu-1, version: 9.0.0: once LaunchDarkly has filled it")
        .out("restart: not now: it is connected");
    with(&Saying::relay("8.10.1", environment("OFF", PREFIX)), &good)
        .code(1)
        .out("it was refused for good (its SDK key, or a proxy on the way), and has given up");
    let mut memory = environment("VALID", PREFIX);
    memory["dataStoreStatus"] = json!({"state": "VALID"});
    with(&Saying::relay("8.10.1", memory), &good)
        .code(1)
        .out("keeps flags in its memory alone")
        .out("no relay is known before it");
    with(&Saying::new([("/status", 500, json!({}))]), &good).code(1).out("BAD  eu-1, reach: relay eu-1 answered 500");
}

#[test]
fn launchdarkly_and_the_token() {
    let redis = filled();
    let approvals = |required: bool| {
        json!({"name": "Production", "key": "production", "critical": true, "approvalSettings": {
            "required": required, "minNumApprovals": 2, "canReviewOwnRequest": false, "canApplyDeclinedChanges": false,
            "serviceKind": "launchdarkly", "requiredApprovalTags": []}})
    };
    let token = |role: &str| json!({"_id": "t1", "name": "ops", "role": role, "customRoleIds": []});
    let identity = json!({"accountId": "a", "tokenId": "t1", "tokenName": "ops", "tokenKind": "auth"});
    let with = |api: &Saying| {
        let lines = [
            format!("REDIS_HOSTS=eu-1={}", redis.url()),
            format!("LD_API_URL={}", api.url),
            "LD_API_KEY=api-secret".to_owned(),
        ];
        doctor(home(&lines).path()).nowhere("api-secret")
    };
    let path = "/api/v2/projects/shop/environments/production";
    let good = [
        ("/api/v2/caller-identity", 200, identity.clone()),
        ("/api/v2/tokens/t1", 200, token("writer")),
        (path, 200, approvals(true)),
    ];
    with(&Saying::new(good))
        .code(0)
        .out("answers, and takes the token")
        .out("token ops, role: writer, says LaunchDarkly")
        .out("shop/production: can be read: Production, critical")
        .out("note shop/production, approvals: every change needs 2 reviewers (launchdarkly)");
    let reader = [
        ("/api/v2/caller-identity", 200, identity.clone()),
        ("/api/v2/tokens/t1", 200, token("reader")),
        (path, 200, approvals(false)),
    ];
    with(&Saying::new(reader)).code(1).out("BAD  token ops, role: reader").out("approvals: none needed");
    let secretive = [
        ("/api/v2/caller-identity", 200, identity),
        ("/api/v2/tokens/t1", 403, json!({"code": "forbidden", "message": "no"})),
    ];
    with(&Saying::new(secretive)).code(1).out("note token ops, role: not told").out("BAD  shop/production: ");
    let refused =
        Saying::new([("/api/v2/caller-identity", 401, json!({"code": "unauthorized", "message": "Invalid key"}))]);
    with(&refused).code(1).out("token: answers, and refuses the token (401: ");
    let url = refused.url.clone();
    drop(refused);
    let lines =
        [format!("REDIS_HOSTS=eu-1={}", redis.url()), format!("LD_API_URL={url}"), "LD_API_KEY=api-1".to_owned()];
    doctor(home(&lines).path()).code(1).out("reach: no answer from here: ");
}

#[test]
fn the_playback() {
    let redis = filled();
    let home = on(&redis);
    Rc::new().home(home.path()).line("update -p shop -e production -f checkout -s off").run().code(0);
    let folder = home.path().join("playback");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    doctor(home.path())
        .code(0)
        .out("0755: others on this machine can get at what is recorded")
        .out("> chmod 700 ")
        .out("1 change, of which 0 are replayed");
    let file = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .unwrap();
    let mut text = std::fs::read_to_string(&file).unwrap();
    text = text.replacen("written", "writtex", 1);
    std::fs::write(&file, text).unwrap();
    doctor(home.path()).code(1).out("-checkout-off-").out(", line 2: ");
    std::fs::write(folder.join("20261020T000000Z-x-off-aaaa.jsonl"), "").unwrap();
    doctor(home.path()).code(1).out("was never written to the end");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "").unwrap();
    doctor(home.path()).code(1).out("is not a folder").out("RC_PLAYBACK");
}

#[test]
fn the_home() {
    let redis = filled();
    let home = home(&[
        format!("REDIS_HOSTS=eu-1={}", redis.url()),
        "LD_API_KEY=api-1".to_owned(),
        "LD_API_URL=http://127.0.0.1:1".to_owned(),
    ]);
    let dot_env = home.path().join(".env");
    std::fs::set_permissions(&dot_env, std::fs::Permissions::from_mode(0o644)).unwrap();
    doctor(home.path())
        .code(1)
        .out("everybody on this machine can read it, and a secret is configured")
        .out("> chmod 600 ");
    std::fs::set_permissions(&dot_env, std::fs::Permissions::from_mode(0o666)).unwrap();
    doctor(home.path()).code(2).err(".env can be written by everybody").err("chmod o-w ");
    std::fs::set_permissions(&dot_env, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&dot_env, "REDIS_HOSTS=a\nRC_NONSENSE=1\n").unwrap();
    doctor(home.path()).code(2).err("RC_NONSENSE");
    Rc::new().env("REDIS_HOSTS", redis.url()).line("doctor").run().code(0).out("note home: there is none");
}
