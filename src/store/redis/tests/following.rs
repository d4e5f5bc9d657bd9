//! Following a real server's log while it is flushed, trimmed, killed, frozen, or another one takes its place.

use super::*;
use crate::store::conformance::following::news;
use crate::store::following::Following;

const LOG: &str = "ld:shop:production:relaycommander:log";

/// An entry in the log, as a write leaves it.
fn note(server: &RedisServer, flag: &str) {
    server.run(&["XADD", LOG, "*", "flag", flag, "what", "override", "revision", "1"]);
}

fn flags(news: &crate::store::following::News) -> Vec<String> {
    news.entries.iter().map(|entry| entry.fields["flag"].clone()).collect()
}

async fn opened(server: &RedisServer, options: RedisOptions) -> Box<dyn Following> {
    open(server, options).follow(PREFIX, None).await.unwrap()
}

#[tokio::test]
async fn a_log_that_cannot_tell_all_says_so() {
    let server = RedisServer::start();
    note(&server, "before");
    let mut following = opened(&server, options()).await;
    note(&server, "one two");
    let told = news(following.as_mut()).await;
    assert_eq!((flags(&told), told.broken), (vec!["one".to_owned(), "two".to_owned()], false));
    server.line("FLUSHALL");
    let told = news(following.as_mut()).await;
    assert!(told.broken && told.entries.is_empty(), "{told:?}");
    note(&server, "after");
    let told = news(following.as_mut()).await;
    assert_eq!((flags(&told), told.broken), (vec!["after".to_owned()], false));
    // So many at once that the one that was seen last is trimmed away while nobody asks.
    let place = following.place();
    drop(following);
    for number in 0..20 {
        note(&server, &format!("f{number}"));
    }
    server.line(&format!("XTRIM {LOG} MAXLEN = 3"));
    let mut following = open(&server, options()).follow(PREFIX, Some(&place)).await.unwrap();
    let told = news(following.as_mut()).await;
    assert!(told.broken, "{told:?}");
    note(&server, "later");
    assert_eq!(flags(&news(following.as_mut()).await), ["later"]);
}

#[tokio::test]
async fn an_empty_log_is_followed_from_its_first_entry() {
    let server = RedisServer::start();
    let mut following = opened(&server, options()).await;
    assert!(!following.next().await.unwrap().broken);
    note(&server, "first");
    assert_eq!(flags(&news(following.as_mut()).await), ["first"]);
}

#[tokio::test]
async fn without_the_right_to_follow_the_end_is_looked_at() {
    let server = RedisServer::start();
    let_in(&server, "rc", &["-xread"]);
    note(&server, "before");
    let mut following = opened(&server, as_user("rc")).await;
    for flag in ["one", "two", "three"] {
        note(&server, flag);
    }
    assert_eq!(flags(&news(following.as_mut()).await), ["one", "two", "three"]);
    note(&server, "four");
    let told = news(following.as_mut()).await;
    assert_eq!((flags(&told), told.broken), (vec!["four".to_owned()], false));
    server.line(&format!("DEL {LOG}"));
    assert!(news(following.as_mut()).await.broken);
}

#[tokio::test]
async fn without_the_right_to_ask_who_the_server_is_the_log_is_followed_all_the_same() {
    let server = RedisServer::start();
    let_in(&server, "rc", &["-info"]);
    let mut following = opened(&server, as_user("rc")).await;
    note(&server, "one");
    assert_eq!(flags(&news(following.as_mut()).await), ["one"]);
    let_in(&server, "rc", &["resetkeys", "~ld:shop:production:features"]);
    let error = open(&server, as_user("rc")).follow(PREFIX, None).await.map(|_| ()).unwrap_err();
    assert!(matches!(&error, StoreError::Forbidden { what, .. } if what.contains(":log")), "{error}");
}

#[tokio::test]
async fn a_dead_or_frozen_server_is_noticed() {
    let mut server = RedisServer::start();
    let mut following = opened(&server, options()).await;
    server.kill();
    let begun = Instant::now();
    assert!(following.next().await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(10));
    server.restart();
    let mut following = opened(&server, RedisOptions::new(SHORT)).await;
    server.freeze();
    let begun = Instant::now();
    let error = following.next().await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreachable { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    server.thaw();
}

#[tokio::test]
async fn a_replica_in_the_place_of_its_primary_is_another_server() {
    let primary = RedisServer::with().tcp().start();
    note(&primary, "replicated");
    let replica = RedisServer::with().tcp().replica_of(primary.port()).start();
    replica.wait_for("INFO replication", "master_link_status:up");
    let store = open(&primary, options());
    let place = store.follow(PREFIX, None).await.unwrap().place();
    replica.line("REPLICAOF NO ONE");
    // All that was seen is there: nothing is missing, and what is written now is told.
    let mut following = open(&replica, options()).follow(PREFIX, Some(&place)).await.unwrap();
    note(&replica, "after");
    let told = news(following.as_mut()).await;
    assert_eq!((flags(&told), told.broken), (vec!["after".to_owned()], false));
    // What was seen on the primary and never got to the replica.
    note(&primary, "lost");
    let place = store.follow(PREFIX, None).await.unwrap().place();
    let mut following = open(&replica, options()).follow(PREFIX, Some(&place)).await.unwrap();
    assert!(news(following.as_mut()).await.broken);
}

#[tokio::test]
async fn names_of_guards_that_fell_silent_are_forgotten() {
    let server = RedisServer::start();
    let store = open(&server, options());
    let guards = format!("{PREFIX}:relaycommander:guards");
    for number in 0..40 {
        server.run(&["HSET", &guards, &format!("gone-{number}"), ""]);
    }
    let guard = crate::store::following::Announcement { name: "eu-1".to_owned(), text: "{}".to_owned() };
    store.announce(PREFIX, &guard).await.unwrap();
    assert_eq!(server.line(&format!("HKEYS {guards}")), "eu-1");
    let expires: i64 = server.line(&format!("TTL {PREFIX}:relaycommander:guard:eu-1")).parse().unwrap();
    assert!((1..=15).contains(&expires), "{expires}");
    // Somebody else's megabytes come cut off.
    server.run(&["SETRANGE", &format!("{PREFIX}:relaycommander:guard:eu-1"), "3000000", "x"]);
    assert_eq!(store.announced(PREFIX).await.unwrap()[0].text.len(), 1024 * 1024);
}
