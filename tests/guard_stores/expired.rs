//! Overrides that were to be over by now.

use super::stage::Guard;
use super::stage::Home;
use super::stage::Wish;
use super::stage::runtime;
use crate::support::redis::RedisServer;
use crate::support::shop::PREFIX;
use crate::support::shop::flag;

#[test]
fn an_override_whose_time_has_come_is_alarmed_until_somebody_ends_it() {
    let (runtime, server) = (runtime(), RedisServer::with().tcp().start());
    server.fill(PREFIX, &[("checkout", &flag("checkout", 42).text())]);
    let all = [server.url()];
    let mut guard = Guard::start(&runtime, &Wish::of(&all));
    let home = Home::new(&all);
    home.rc("update -p shop -e production -f checkout -s off --expires 1s").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    guard.wait("the alarm", |guard| guard.alarmed("override-expired", "rc undo checkout"));
    assert!(guard.holds("checkout"), "nothing is undone by itself");
    home.rc("undo checkout").code(0);
    guard.wait("that it is over", |guard| guard.alarmed("over: override-expired", "checkout"));
}
