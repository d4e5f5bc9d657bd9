//! The store loses what was written into it: by `FLUSHALL`, by eviction, by a failover to a replica that was behind. Nobody who
//! is connected behind the guard sees another value for a moment, and what is owed is there again and is replayed.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::TestOfAWay;
use super::scene::Scene;
use super::scene::Way;
use crate::launchdarkly::RETURN_WITHIN;
use crate::stage::flags;
use crate::support::redis::RedisServer;
use crate::support::shop;

pub const TESTS: &[TestOfAWay] =
    &[("a_store_that_loses_what_was_written_again_and_again", a_store_that_loses_what_was_written_again_and_again)];

fn a_store_that_loses_what_was_written_again_and_again(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["checkout", "pricing-tier"]);
    // Those that serve out of the store see what stands in it; they only go on filling it.
    let paths = std::mem::take(&mut audience.paths);
    scene.everything_goes_away();
    scene.update("-f checkout -s off");
    audience.have("checkout", false);

    for (number, lose) in [flushed, evicted_whole, bereft_of_our_own_keys].into_iter().enumerate() {
        lose(&scene.stage.redis);
        is_written_again(&scene, "checkout", number + 1);
    }
    let replica = replica_that_is_behind(&scene.stage.redis);
    scene.update("-f pricing-tier --serve bronze");
    audience.have("pricing-tier", "bronze");
    fails_over_and_back(&scene.stage.redis, &replica);
    is_written_again(&scene, "pricing-tier", 4);
    assert!(scene.override_of("checkout").is_some(), "the replica had that");
    audience.have_seen("checkout", &[true, false]);
    audience.have_seen("pricing-tier", &["gold", "bronze"]);

    scene.stream_returns();
    let version = scene.launchdarkly.colleague_turns("refunds", true);
    audience.eyes.iter().for_each(|eye| eye.wait_for_version("refunds", version));
    scene.launchdarkly.api_returns();
    scene.stage.rc("status").code(0).out("OWED: 2 flags");
    scene.stage.rc("replay --yes").code(0);
    assert_eq!(scene.launchdarkly.version("checkout"), 43, "one patch");
    assert_eq!(scene.launchdarkly.version("pricing-tier"), 31, "one patch");
    scene.wait_until_settled("checkout");
    scene.wait_until_settled("pricing-tier");
    assert_eq!(scene.launchdarkly.colleague_turns("checkout", true), 44);
    audience.have("checkout", true);
    scene.stage.wait_for_record("checkout", 44, true);
    audience.have_seen("checkout", &[true, false, true]);
    audience.have_seen("pricing-tier", &["gold", "bronze"]);
    audience.paths = paths;
    audience.have_stayed();
}

fn flushed(redis: &RedisServer) {
    redis.line("FLUSHALL");
}

/// There is no room for anything any more, and so for a while nothing can be written either.
fn evicted_whole(redis: &RedisServer) {
    redis.line("CONFIG SET maxmemory-policy allkeys-lru");
    redis.line("CONFIG SET maxmemory 1");
    redis.wait_for("DBSIZE", "0");
    redis.line("CONFIG SET maxmemory 0");
}

/// Overrides, marks and log are gone, and the edited record is left: nothing beside it says whose it is.
fn bereft_of_our_own_keys(redis: &RedisServer) {
    let ours = redis.line(&format!("KEYS {}:relaycommander:*", shop::PREFIX));
    assert!(ours.contains(":overrides"), "{ours}");
    let delete: Vec<&str> = ["DEL"].into_iter().chain(ours.lines()).collect();
    redis.run(&delete);
}

/// One that has everything, and gets nothing any more.
fn replica_that_is_behind(primary: &RedisServer) -> RedisServer {
    let replica = RedisServer::with().tcp().replica_of(primary.port()).start();
    replica.wait_for("INFO replication", "master_link_status:up");
    let count = format!("HLEN {}:relaycommander:overrides", shop::PREFIX);
    replica.wait_for(&count, &primary.line(&count));
    replica.line("REPLICAOF NO ONE");
    replica
}

/// The replica is the primary now. The old primary comes back as its replica, and is promoted again: it has one address all the
/// time, as behind a proxy or a service name.
fn fails_over_and_back(primary: &RedisServer, replica: &RedisServer) {
    primary.line(&format!("REPLICAOF 127.0.0.1 {}", replica.port()));
    primary.wait_for("INFO replication", "master_link_status:up");
    primary.line("REPLICAOF NO ONE");
}

/// Relays take it for filled, and it has all flags: LaunchDarkly need not come back for that.
fn is_full(redis: &RedisServer) -> bool {
    let inited = redis.line(&format!("EXISTS {}:$inited", shop::PREFIX));
    let count = redis.line(&format!("HLEN {}:features", shop::PREFIX));
    (inited.as_str(), count.as_str()) == ("1", flags().len().to_string().as_str())
}

/// The guard has found for the `times`th time that an override was gone, has written it again, and its record stands
/// there, with all others.
fn is_written_again(scene: &Scene, flag: &str, times: usize) {
    let begun = Instant::now();
    let features = format!("{}:features", shop::PREFIX);
    let stands = || scene.stage.redis.run(&["HGET", &features, flag]).contains(r#""on":false"#);
    let told = || scene.guard().told().matches("was gone from").count();
    while !(told() >= times && scene.override_of(flag).is_some() && stands() && is_full(&scene.stage.redis)) {
        assert!(begun.elapsed() < RETURN_WITHIN, "{flag}, {times}\n{}", scene.guard().told());
        thread::sleep(Duration::from_millis(20));
    }
}
