//! The write was done and its answer never came: not known is what is said, and the next command finds out.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

use super::stage::OFF;
use super::stage::Stage;
use super::stage::home;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

/// A way to a server on which everything comes through but the answers to writes.
struct LossyWay {
    port: u16,
    loses: Arc<AtomicBool>,
}

impl LossyWay {
    fn to(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let loses = Arc::new(AtomicBool::new(true));
        let (socket, shared) = (server.socket(), Arc::clone(&loses));
        // Ends with the test's process; each connection ends with its two ends.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (socket, shared) = (socket.clone(), Arc::clone(&shared));
                thread::spawn(move || carry(client, socket, shared));
            }
        });
        Self { port, loses }
    }
}

fn carry(client: TcpStream, socket: PathBuf, loses: Arc<AtomicBool>) {
    let Ok(server) = UnixStream::connect(socket) else { return };
    let lost = Arc::new(AtomicBool::new(false));
    let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let is_lost = Arc::clone(&lost);
    thread::spawn(move || {
        let mut bytes = [0; 65536];
        while let Ok(length) = answers.read(&mut bytes) {
            if length == 0 || is_lost.load(Ordering::SeqCst) || back.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        let _ = back.shutdown(std::net::Shutdown::Both);
    });
    let (mut requests, mut forth) = (client, server);
    let mut bytes = [0; 65536];
    while let Ok(length) = requests.read(&mut bytes) {
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if loses.load(Ordering::SeqCst) && (text.contains("EVAL") || text.contains("EXEC\r")) {
            lost.store(true, Ordering::SeqCst);
        }
        if length == 0 || forth.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = forth.shutdown(std::net::Shutdown::Both);
}

#[test]
fn an_answer_that_never_came() {
    let stage = Stage::with_stores(2);
    let way = LossyWay::to(&stage.servers[1]);
    let hosts = format!("REDIS_HOSTS=eu-1={},us-1=127.0.0.1:{}\n", stage.servers[0].url(), way.port);
    let folder = home(&hosts);
    let rc = |line: &str| Rc::new().home(folder.path()).line(line).run();
    let ran = rc(OFF).code(5);
    println!("{ran}");
    let ran = ran.out("UNKNOWN").out("Not known: us-1.").nowhere("DONE: checkout is off in");
    drop(ran);
    stage.has(0, "checkout", 43, false);
    stage.has(1, "checkout", 43, false);
    let files = super::stage::playback_files(folder.path());
    assert!(std::fs::read_to_string(&files[0]).unwrap().contains("\"unknown\""));
    way.loses.store(false, Ordering::SeqCst);
    // It is there, and that is seen rather than written again.
    rc("update --resume").code(0).out("us-1   v43");
    stage.has(1, "checkout", 43, false);
    assert_eq!(super::stage::playback_files(folder.path()).len(), 1);
    // Known now: nothing is left to resume.
    rc("update --resume").code(2).err("nothing to resume");
}
