//! What a guard announces of itself, where and for how long.

use relay_commander::guard::environment::AttachedRelay;
use relay_commander::guard::presence::Presence;
use relay_commander::store::Store;
use relay_commander::store::following::Announcement;

use super::stage::Guard;
use super::stage::Home;
use super::stage::Wish;
use super::stage::runtime;
use super::stage::store;
use super::stage::wait_until;
use crate::support::redis::RedisServer;
use crate::support::shop::PREFIX;
use crate::support::shop::flag;

fn server() -> RedisServer {
    let server = RedisServer::with().tcp().start();
    server.fill(PREFIX, &[("checkout", &flag("checkout", 42).text())]);
    server
}

#[test]
fn a_guard_is_announced_in_every_store_with_what_it_holds_and_taken_back() {
    let (runtime, eu, us) = (runtime(), server(), server());
    let urls = [eu.url(), us.url()];
    let mut guard = Guard::start(&runtime, &Wish::of(&urls));
    let readers = [store("eu", &urls[0]), store("us", &urls[1])];
    let announced = |reader: &std::sync::Arc<dyn Store>| -> Vec<Presence> {
        let found = runtime.block_on(reader.announced(PREFIX)).unwrap();
        found.iter().map(|announcement| Presence::read(announcement).unwrap()).collect()
    };
    for reader in &readers {
        wait_until("it is there", || announced(reader).len() == 1);
    }
    let first = &announced(&readers[0])[0];
    assert_eq!((first.name.as_str(), first.stream.up, first.overrides.len()), ("guard-1", None, 0));
    assert_eq!(first.version, env!("CARGO_PKG_VERSION"));
    guard.view.send_modify(|view| {
        view.up = Some(false);
        view.told = Some("refused the connection".to_owned());
        view.relays = vec![AttachedRelay { address: [10, 0, 0, 7].into(), agent: "LDRelay/8.10.1".to_owned() }];
    });
    Home::new(&urls).off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    for reader in &readers {
        wait_until("it says so", || {
            let found = announced(reader);
            found[0].stream.up == Some(false) && found[0].relay_count() == 1 && found[0].overrides.len() == 1
        });
    }
    let key = format!("{PREFIX}:relaycommander:guard:guard-1");
    let text = eu.run(&["GET", &key]);
    assert!(text.contains("10.0.0.7") && !text.contains("sdk-production-0001"), "{text}");
    let left: i64 = eu.line(&format!("TTL {key}")).parse().unwrap();
    assert!((5..=15).contains(&left), "{left}");
    // A flush is repaired by the next announcement.
    eu.line("FLUSHALL");
    wait_until("it is there again", || announced(&readers[0]).len() == 1);
    guard.end();
    for reader in &readers {
        assert!(announced(reader).is_empty(), "taken back");
    }
}

#[test]
fn two_guards_of_one_name_find_each_other_and_say_so() {
    let (runtime, eu) = (runtime(), server());
    let urls = [eu.url()];
    let mut one = Guard::start(&runtime, &Wish::of(&urls));
    let mut other = Guard::start(&runtime, &Wish::of(&urls));
    for guard in [&mut one, &mut other] {
        guard.wait("the alarm", |guard| guard.alarmed("name-taken", "--guard-name"));
    }
    let reader = store("eu", &urls[0]);
    let announced = || -> Vec<Presence> {
        let found = runtime.block_on(reader.announced(PREFIX)).unwrap();
        found.iter().map(|announcement| Presence::read(announcement).unwrap()).collect()
    };
    wait_until(
        "whichever is seen names the other",
        || matches!(announced().as_slice(), [seen] if seen.namesake.as_ref().is_some_and(|named| named.since != seen.since)),
    );
    // One of them ends, and the other has the name for itself.
    other.end();
    one.wait("its end", |guard| guard.alarmed("over: name-taken", ""));
    wait_until(
        "the other is not named any more",
        || matches!(announced().as_slice(), [seen] if seen.namesake.is_none()),
    );
}

#[test]
fn a_guard_that_begins_anew_does_not_take_its_own_last_word_for_anothers() {
    let (runtime, eu) = (runtime(), server());
    let urls = [eu.url()];
    let reader = store("eu", &urls[0]);
    let key = format!("{PREFIX}:relaycommander:guard:guard-1");
    let first = Guard::start(&runtime, &Wish::of(&urls));
    wait_until("it is there", || !runtime.block_on(reader.announced(PREFIX)).unwrap().is_empty());
    let text = eu.run(&["GET", &key]);
    first.end();
    // As a guard leaves it that was killed.
    let left = Announcement { name: "guard-1".to_owned(), text: text.clone() };
    runtime.block_on(reader.announce(PREFIX, &left)).unwrap();
    let mut next = Guard::start(&runtime, &Wish::of(&urls));
    wait_until("it has announced itself", || eu.run(&["GET", &key]) != text);
    // It has looked at what stands there once more when it says something new.
    let own = eu.run(&["GET", &key]);
    next.wait("it announces itself again", |_| eu.run(&["GET", &key]) != own);
    next.wait("a look at the alarms", |_| true);
    assert!(!next.alarms.iter().any(|told| told.contains("name-taken")), "{:?}", next.alarms);
}
