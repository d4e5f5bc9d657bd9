//! What a guard announces of itself, where and for how long.

use relay_commander::guard::environment::AttachedRelay;
use relay_commander::guard::presence::Presence;
use relay_commander::store::Store;

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
