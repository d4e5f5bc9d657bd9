//! Runs `rc` on a terminal, as somebody sits at one: what is typed is sent when a question stands there, and everything
//! that appears is read.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::pty::OpenptFlags;

use crate::support::rc::Rc;

/// How long anything is waited for.
const DEADLINE: Duration = Duration::from_secs(60);

/// A program at a terminal.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    /// Starts `rc` in `folder` with the terminal as its input and for everything that it prints.
    #[track_caller]
    pub fn start(rc: &Rc, folder: &Path) -> Self {
        let ours = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal can be had");
        rustix::pty::grantpt(&ours).expect("the terminal is ours");
        rustix::pty::unlockpt(&ours).expect("the terminal can be opened");
        let name = rustix::pty::ptsname(&ours, Vec::new()).expect("the terminal has a name");
        let theirs = OpenOptions::new().read(true).write(true).open(Path::new(name.to_str().expect("is text")));
        let theirs = theirs.expect("the terminal opens");
        let same = || Stdio::from(theirs.try_clone().expect("the terminal can be shared"));
        let mut command = rc.command(folder);
        let child = command.stdin(same()).stdout(same()).stderr(same()).spawn().expect("rc starts");
        // Only the program has the other end now: when it ends, reading ends.
        drop(command);
        drop(theirs);
        let keyboard = File::from(ours);
        let mut reading = keyboard.try_clone().expect("the terminal can be read");
        let (sender, screen) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = reading.read(&mut bytes)
                && length > 0
                && sender.send(bytes[..length].to_vec()).is_ok()
            {}
        });
        Self { child, keyboard, screen, shown: String::new() }
    }

    /// Waits until this is shown, and types a line in answer.
    #[track_caller]
    pub fn answer(mut self, question: &str, line: &str) -> Self {
        let began = Instant::now();
        while !self.shown.contains(question) {
            let left = DEADLINE.saturating_sub(began.elapsed());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{question:?} was never shown:\n{}", self.shown),
            }
        }
        // What was asked is not to be taken for the next question.
        self.shown = self.shown.split_once(question).map(|(_, after)| after.to_owned()).unwrap_or_default();
        self.keyboard.write_all(line.as_bytes()).expect("the terminal takes what is typed");
        self
    }

    /// Waits for the end: the exit code, and all that was shown since the last answer.
    #[track_caller]
    pub fn end(mut self) -> (i32, String) {
        let began = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait().expect("rc can be waited for") {
                break status.code().expect("rc was not killed");
            }
            assert!(began.elapsed() < DEADLINE, "rc does not end:\n{}", self.shown);
            // A terminal that nobody reads stops who writes to it.
            if let Ok(bytes) = self.screen.recv_timeout(Duration::from_millis(5)) {
                self.shown.push_str(&String::from_utf8_lossy(&bytes));
            }
        };
        while let Ok(bytes) = self.screen.recv_timeout(DEADLINE) {
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        (code, std::mem::take(&mut self.shown))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Ended already, or about to be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
