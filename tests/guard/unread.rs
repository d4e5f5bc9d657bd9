//! A guard whose standard error nobody reads: a pipe that is full from the beginning.

use std::io::ErrorKind;
use std::io::PipeReader;
use std::io::PipeWriter;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::process::Child;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::process::KEY;
use super::scripted::Scripted;
use super::update::plan;
use super::update::put;
use super::wire::LONG;
use super::wire::Wire;
use crate::support::rc::Rc;
use crate::support::redis::free_port;

/// A pipe that takes nothing more, and how much is in it.
fn full_pipe() -> (PipeReader, PipeWriter, usize) {
    let (read, mut write) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&write).unwrap();
    rustix::fs::fcntl_setfl(&write, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut filled = 0;
    loop {
        match write.write(&[b'\n'; 512]) {
            Ok(length) => filled += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    // Whoever writes from now on waits.
    rustix::fs::fcntl_setfl(&write, flags).unwrap();
    (read, write, filled)
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listens(address: SocketAddr) {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < LONG, "it does not listen");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_guard_whose_words_nobody_reads_serves_relays_and_ends_when_it_is_told_to() {
    let upstream = Scripted::streaming(put(42));
    let plan = plan(&upstream);
    let [address, admin] = [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let (mut read, write, filled) = full_pipe();
    let mut command = plan.command(&format!("--listen {address} --admin {admin}"));
    let mut guard = Running(command.stderr(write).spawn().unwrap());
    // The other end is the child's alone, so that reading ends with it.
    drop(command);
    listens(address);
    let mut relay = Wire::stream(address, "/all", KEY);
    assert!(relay.text().contains("\"version\":42"));
    let line = "update -p shop -e production -f checkout -s off --yes --relay-config ld-relay.conf";
    Rc::new().home(plan.home()).line(line).run().code(0);
    assert!(relay.text().contains("\"version\":43"));
    // LaunchDarkly goes, which is alarmed.
    upstream.go_away();
    let begun = Instant::now();
    while !Wire::ask(admin, "/status", "none").rest().contains("upstream-away") {
        assert!(begun.elapsed() < LONG, "it is not alarmed");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(Wire::stream(address, "/all", KEY).text().contains("\"version\":43"));
    let pid = guard.0.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = guard.0.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < LONG, "it does not end");
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(0));
    let mut told = Vec::new();
    read.read_to_end(&mut told).unwrap();
    assert_eq!(told.len(), filled, "nobody read anything, so nothing was told");
}

#[test]
fn what_waited_is_told_when_somebody_reads_again() {
    let upstream = Scripted::streaming(put(42));
    let plan = plan(&upstream);
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (mut read, write, filled) = full_pipe();
    let mut command = plan.command(&format!("--listen {address}"));
    let guard = Running(command.stderr(write).spawn().unwrap());
    drop(command);
    listens(address);
    read.read_exact(&mut vec![0; filled]).unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        read.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).unwrap();
    assert!(line.contains("\"listens\"") && line.contains(&address.to_string()), "{line}");
    drop(guard);
}
