//! Runs the program `rc` as an operator would, and shut off from this machine: no variable but those that the test
//! names, its own folder as home, a deadline that kills it.
//!
//!     let home = tempfile::tempdir().unwrap();
//!     Rc::new().home(home.path()).env("REDIS_HOSTS", "127.0.0.1:1").line("status").run().code(7);

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How long a run may take unless the test says otherwise. Long: a machine that runs all tests at once is slow.
const DEADLINE: Duration = Duration::from_secs(60);

/// A run of `rc` that is yet to be made.
#[derive(Debug, Clone)]
#[must_use = "nothing runs before run()"]
pub struct Rc {
    folder: Option<PathBuf>,
    variables: Vec<(OsString, OsString)>,
    arguments: Vec<OsString>,
    input: Option<Vec<u8>>,
    deadline: Duration,
}

impl Rc {
    /// Without arguments, variables and input, in an empty folder of its own.
    pub fn new() -> Self {
        Self { folder: None, variables: Vec::new(), arguments: Vec::new(), input: None, deadline: DEADLINE }
    }

    /// In this folder, which becomes the home if its `.env` names stores.
    pub fn home(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// With this variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// With these arguments behind those it has.
    pub fn args<Argument: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = Argument>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// With the words of a line as arguments. No quotes: for arguments with spaces there is [`Rc::args`].
    pub fn line(self, line: &str) -> Self {
        self.args(line.split_whitespace())
    }

    /// With this on standard input; otherwise there is none.
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Killed, and the test failed, if it runs for longer.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The command, for tests that start it themselves (to kill it, to run two at once).
    pub fn command(&self, folder: &Path) -> Command {
        // scripts/bench has these tests measure the release program.
        let program = std::env::var_os("RC_TESTED").unwrap_or_else(|| env!("CARGO_BIN_EXE_rc").into());
        let mut command = Command::new(program);
        command.env_clear().env("USER", "anna").env("TZ", "Pacific/Chatham").env("LANG", "C.UTF-8");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(&self.arguments).current_dir(folder);
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    #[must_use = "assert its code, or take its snapshot"]
    #[track_caller]
    pub fn run(&self) -> Ran {
        let own = tempfile::tempdir().expect("a temporary folder");
        let folder = self.folder.clone().unwrap_or_else(|| own.path().to_owned());
        let began = Instant::now();
        let mut child = Running(self.command(&folder).spawn().expect("rc starts"));
        if let (Some(input), Some(mut stdin)) = (self.input.clone(), child.0.stdin.take()) {
            // A program that does not read its input closes it; that is its right.
            thread::spawn(move || stdin.write_all(&input));
        }
        let out = collected(child.0.stdout.take().expect("is piped"));
        let talk = collected(child.0.stderr.take().expect("is piped"));
        let status = loop {
            if let Some(status) = child.0.try_wait().expect("rc can be waited for") {
                break status;
            }
            if began.elapsed() > self.deadline {
                child.end();
                let (out, talk) = (out.join().unwrap_or_default(), talk.join().unwrap_or_default());
                panic!("rc {:?} ran for more than {:?}\n{out}------- stderr\n{talk}", self.arguments, self.deadline);
            }
            thread::sleep(Duration::from_millis(2));
        };
        Ran {
            code: status.code(),
            stdout: out.join().expect("standard output is read"),
            stderr: talk.join().expect("standard error is read"),
            took: began.elapsed(),
            folder,
        }
    }
}

/// A child that does not outlive the test.
struct Running(Child);

impl Running {
    fn end(&mut self) {
        // Ended already, or about to be.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn collected(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took, its start included.
    pub took: Duration,
    folder: PathBuf,
}

impl Ran {
    /// Asserts the exit code.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "\n{self}");
        self
    }

    /// Asserts that standard output holds this.
    #[track_caller]
    pub fn out(self, expected: &str) -> Self {
        assert!(self.stdout.contains(expected), "{expected:?} is not on standard output\n{self}");
        self
    }

    /// Asserts that standard error holds this.
    #[track_caller]
    pub fn err(self, expected: &str) -> Self {
        assert!(self.stderr.contains(expected), "{expected:?} is not on standard error\n{self}");
        self
    }

    /// Asserts that this stands nowhere: a secret, above all.
    #[track_caller]
    pub fn nowhere(self, unexpected: &str) -> Self {
        assert!(!format!("{}{}", self.stdout, self.stderr).contains(unexpected), "{unexpected:?} is printed\n{self}");
        self
    }

    /// The whole result with everything taken out that is different each time.
    pub fn redacted(&self) -> String {
        redacted(&self.to_string().replace(&self.folder.display().to_string(), "[home]"))
    }
}

/// As people see it: standard output, then standard error, then the code.
impl fmt::Display for Ran {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.stdout)?;
        if !self.stderr.is_empty() {
            write!(formatter, "------- stderr\n{}", self.stderr)?;
        }
        match self.code {
            Some(code) => writeln!(formatter, "[exit code {code}]"),
            None => writeln!(formatter, "[ended by a signal]"),
        }
    }
}

/// What looks different each time, and what takes its place. `9` is a digit, `f` a hexadecimal digit, `+` more digits;
/// everything else stands for itself. The first that fits is taken.
const DIFFERENT: [(&str, &str); 12] = [
    ("ffffffff-ffff-7fff-ffff-ffffffffffff", "[id]"),
    ("9999-99-99T99:99:99.9+Z", "[time]"),
    ("9999-99-99T99:99:99Z", "[time]"),
    ("9999-99-99 99:99:99Z", "[time]"),
    ("9999-99-99 99:99Z", "[time]"),
    ("99999999T999999Z", "[time]"),
    ("99:99:99Z", "[time]"),
    ("99:99Z", "[time]"),
    ("127.0.0.1:9+", "127.0.0.1:[port]"),
    ("9+ ms", "[n] ms"),
    ("-ffff.jsonl", "-[id].jsonl"),
    ("--resume ffff", "--resume [id]"),
];

/// `text` with ids, times, ports and milliseconds taken out.
pub fn redacted(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(character) = rest.chars().next() {
        // Within a longer number nothing begins.
        let begins = !(before.is_ascii_digit() && character.is_ascii_digit());
        let fitting = DIFFERENT.iter().find_map(|(pattern, instead)| Some((fits(pattern, rest)?, instead)));
        let length = match fitting.filter(|_| begins) {
            Some((length, instead)) => {
                result.push_str(instead);
                length
            }
            None => {
                result.push(character);
                character.len_utf8()
            }
        };
        before = rest[..length].chars().next_back().unwrap_or(' ');
        rest = &rest[length..];
    }
    result
}

/// How many bytes at the beginning of `text` fit `pattern`.
fn fits(pattern: &str, text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut place = 0;
    for wanted in pattern.bytes() {
        if wanted == b'+' {
            place += bytes[place..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            continue;
        }
        let byte = *bytes.get(place)?;
        let fits = match wanted {
            b'9' => byte.is_ascii_digit(),
            b'f' => byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'),
            _ => byte == wanted,
        };
        if !fits {
            return None;
        }
        place += 1;
    }
    Some(place)
}

#[test]
fn redaction() {
    #[track_caller]
    fn case(text: &str, expected: &str) {
        assert_eq!(redacted(text), expected);
    }
    case("playback/20261020T021407Z-checkout-off-7c1f.jsonl", "playback/[time]-checkout-off-[id].jsonl");
    case("at 02:14Z, 2026-10-20 02:14Z, 02:19:40Z", "at [time], [time], [time]");
    case("2026-10-20T02:14:07.123456Z 2026-10-20T02:14:07Z", "[time] [time]");
    case("redis://127.0.0.1:41234/0 after 11 ms", "redis://127.0.0.1:[port]/0 after [n] ms");
    case("019ab2c4-5d6e-7f80-9123-456789abcdef", "[id]");
    case("v42 -> v43, ü, 30 s", "v42 -> v43, ü, 30 s");
}
