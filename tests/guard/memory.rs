//! What a connection costs.

use super::process::KEY;
use super::process::Plan;
use super::scripted::Scripted;
use super::wire::Wire;

const CONNECTIONS: usize = 5_000;

/// The most memory for each connection beyond what all share.
const EACH_MAX: usize = 32 * 1024;

#[test]
fn a_connection_costs_little_beyond_what_all_share() {
    // Each costs this process a descriptor too.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let mut put = String::from("event: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":{\"a\":{\"version\":1,\"x\":\"");
    put.push_str(&"x".repeat(64 * 1024));
    put.push_str("\"}}}}\n\n");
    let upstream = Scripted::streaming(put.clone());
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    let mut relays: Vec<Wire> = Vec::new();
    let read = |relay: &mut Wire| assert!(relay.event() == put.as_bytes());
    // The allocator and the runtime have what they want to have.
    for _ in 0..100 {
        relays.push(Wire::stream(guard.address, "/all", KEY));
        read(relays.last_mut().unwrap());
    }
    let before = guard.memory();
    for _ in 0..CONNECTIONS {
        relays.push(Wire::stream(guard.address, "/all", KEY));
        read(relays.last_mut().unwrap());
    }
    let patch = "event: patch\ndata: {\"path\":\"/flags/new\",\"data\":{\"version\":1}}\n\n";
    upstream.send(patch.as_bytes());
    for relay in &mut relays {
        assert_eq!(relay.text(), patch);
    }
    let each = guard.memory().saturating_sub(before) / CONNECTIONS;
    assert!(each <= EACH_MAX, "{each} bytes for each connection");
    drop(relays);
    guard.wait_for_status(|status| status["connections"] == 0);
}
