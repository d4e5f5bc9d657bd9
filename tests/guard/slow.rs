//! Large events and slow readers: what is large comes whole, and who is slow holds nobody up.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::process::KEY;
use super::process::Plan;
use super::scripted::Scripted;
use super::wire::LONG;
use super::wire::Wire;

const MEGABYTE: usize = 1024 * 1024;

/// A `put` of so many bytes or a little more.
fn large_put(version: u64, size: usize) -> Vec<u8> {
    let mut put = String::with_capacity(size + 4096);
    put.push_str("event: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":{");
    let filling = "x".repeat(10_000);
    let mut number = 0;
    while put.len() < size {
        let comma = if number > 0 { "," } else { "" };
        put.push_str(&format!(
            "{comma}\"flag-{number}\":{{\"key\":\"flag-{number}\",\"version\":{version},\"x\":\"{filling}\"}}"
        ));
        number += 1;
    }
    put.push_str("},\"segments\":{}}}\n\n");
    put.into_bytes()
}

#[test]
fn a_slow_reader_gets_it_right_beside_a_fast_one() {
    let put = large_put(1, 20 * MEGABYTE);
    let upstream = Scripted::streaming(put.clone());
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    let mut fast = Wire::stream(guard.address, "/all", KEY);
    assert!(fast.event() == put, "the fast one's put is not the one that was sent");
    let address = guard.address;
    let slow = thread::spawn(move || {
        let mut slow = Wire::stream(address, "/all", KEY);
        let begun = Instant::now();
        // About a megabyte a second: a piece, and a rest.
        while slow.body().len() < put.len() {
            let due = Duration::from_secs_f64(slow.body().len() as f64 / MEGABYTE as f64);
            thread::sleep(due.saturating_sub(begun.elapsed()).min(Duration::from_millis(100)));
            if begun.elapsed() >= due {
                assert_eq!(slow.more(LONG, MEGABYTE / 8), Some(true), "after {} bytes", slow.body().len());
            }
        }
        assert!(slow.event() == put, "the slow one's put is not the one that was sent");
        slow
    });
    // Meanwhile changes reach the fast one at once.
    thread::sleep(Duration::from_secs(1));
    let patch = |version: u64| {
        format!(
            "event: patch\ndata: {{\"path\":\"/flags/new\",\"data\":{{\"key\":\"new\",\"version\":{version}}}}}\n\n"
        )
    };
    for version in 1..=20 {
        let sent = Instant::now();
        upstream.send(patch(version).as_bytes());
        assert_eq!(fast.text(), patch(version));
        assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
    }
    let mut slow = slow.join().unwrap();
    for version in 1..=20 {
        assert_eq!(slow.text(), patch(version));
    }
    assert!(!guard.told().contains("relay-slow"), "{}", guard.told());
}

#[test]
fn one_that_takes_nothing_is_cut_off_and_nobody_else_notices() {
    let put = large_put(1, 20 * MEGABYTE);
    let upstream = Scripted::streaming(put.clone());
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    let mut fast = Wire::stream(guard.address, "/all", KEY);
    assert!(fast.event() == put);
    let _stalled = Wire::stream(guard.address, "/all", KEY);
    guard.wait_for_status(|status| status["streams"][0]["relays"].as_array().unwrap().len() == 2);
    let memory = guard.memory();
    for version in 2..8 {
        let put = large_put(version, 20 * MEGABYTE);
        upstream.send(&put);
        assert!(fast.event() == put);
    }
    guard.wait_for_told("relay-slow");
    guard.wait_for_status(|status| status["streams"][0]["relays"].as_array().unwrap().len() == 1);
    assert!(guard.metrics().contains("rc_guard_cut_off_total{environment=\"shop production\",path=\"/all\"} 1"));
    let grown = guard.memory().saturating_sub(memory);
    assert!(grown < 150 * MEGABYTE, "{} MB more", grown / MEGABYTE);
}
