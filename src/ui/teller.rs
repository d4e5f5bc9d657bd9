//! Talk of a process that must never wait for whoever reads it: a thread of its own writes it, behind a queue with an end. A
//! pipe that nobody empties fills up, and whoever writes to it then waits for good; here that is only the thread. What finds
//! no room is dropped and counted, and it is said how much that was, once there is room again.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::TryRecvError;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

/// The most lines that wait to be written.
const WAITING_MAX: usize = 1_000;

/// How long the last lines are waited for when it ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Makes the line that says how many were dropped.
pub type Notice = Box<dyn Fn(u64) -> String + Send>;

/// Tells lines, and has nobody wait. When it is dropped, it waits a moment for what is not written yet.
#[derive(Debug)]
pub struct Teller {
    lines: Option<SyncSender<String>>,
    dropped: Arc<AtomicU64>,
    /// Closed by the thread when it has written all.
    ended: Receiver<()>,
}

impl Teller {
    /// Begins to write to `write`.
    pub(super) fn start(write: Box<dyn Write + Send>, notice: Notice) -> Self {
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let (alive, ended) = sync_channel(0);
        let dropped = Arc::new(AtomicU64::new(0));
        let own = Arc::clone(&dropped);
        let writing = move || {
            run(&waiting, write, &own, &notice);
            drop(alive);
        };
        // Where there can be no more threads nothing is told, and all of it is counted.
        let _ = thread::Builder::new().name("teller".to_owned()).spawn(writing);
        Self { lines: Some(lines), dropped, ended }
    }

    /// Tells a line, which gets its end here. Says whether there was room for it.
    pub fn say(&self, line: &str) -> bool {
        let taken = self.lines.as_ref().is_some_and(|lines| lines.try_send(format!("{line}\n")).is_ok());
        if !taken {
            self.dropped.fetch_add(1, Ordering::AcqRel);
        }
        taken
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.lines = None;
        // Whoever reads nothing by then will not read it any more.
        let _: Result<(), RecvTimeoutError> = self.ended.recv_timeout(LAST_WORDS);
    }
}

fn run(lines: &Receiver<String>, mut write: Box<dyn Write + Send>, dropped: &AtomicU64, notice: &Notice) {
    let mut has_failed = false;
    let mut put = |line: &str| {
        // Where nobody can read any more (a closed pipe), lines go nowhere, and nobody is held up.
        has_failed = has_failed || write.write_all(line.as_bytes()).and_then(|()| write.flush()).is_err();
    };
    loop {
        let line = match lines.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                // All that came before what was dropped is written.
                match dropped.swap(0, Ordering::AcqRel) {
                    0 => {}
                    number => put(&format!("{}\n", notice(number))),
                }
                match lines.recv() {
                    Ok(line) => line,
                    Err(_) => return,
                }
            }
        };
        put(&line);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::io::Read;
    use std::time::Instant;

    use super::*;

    fn teller() -> (Teller, io::PipeReader) {
        let (read, write) = io::pipe().unwrap();
        (Teller::start(Box::new(write), Box::new(|number| format!("{number} were dropped"))), read)
    }

    #[test]
    fn what_is_told_is_written_to_its_end() {
        let (teller, mut read) = teller();
        assert!(teller.say("one") && teller.say("two"));
        drop(teller);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
    }

    #[test]
    fn nobody_waits_for_who_reads_nothing_and_what_was_dropped_is_said() {
        let (teller, mut read) = teller();
        let long = "x".repeat(999);
        // More than any pipe holds, and the queue behind it.
        let taken = (0..10_000).filter(|_| teller.say(&long)).count();
        assert!((WAITING_MAX..5_000).contains(&taken), "{taken}");
        let reading = thread::spawn(move || {
            let mut text = String::new();
            read.read_to_string(&mut text).unwrap();
            text
        });
        let begun = Instant::now();
        while teller.dropped.load(Ordering::Acquire) > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "it is not said");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(teller.say("the next one"));
        drop(teller);
        let text = reading.join().unwrap();
        let end = format!("x\n{} were dropped\nthe next one\n", 10_000 - taken);
        assert_eq!(text.lines().count(), taken + 2);
        assert!(text.ends_with(&end), "{}", &text[text.len() - 100..]);
    }

    #[test]
    fn its_end_does_not_wait_for_who_reads_nothing() {
        let (teller, read) = teller();
        assert!((0..200).all(|_| teller.say(&"x".repeat(999))));
        let begun = Instant::now();
        drop(teller);
        assert!(begun.elapsed() < LAST_WORDS + Duration::from_secs(5), "{:?}", begun.elapsed());
        drop(read);
    }

    #[test]
    fn a_reader_that_is_gone_holds_nobody_up() {
        let (teller, read) = teller();
        drop(read);
        for _ in 0..10_000 {
            teller.say("x");
        }
        let begun = Instant::now();
        drop(teller);
        assert!(begun.elapsed() < LAST_WORDS, "{:?}", begun.elapsed());
    }
}
