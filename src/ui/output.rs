//! Where words go: data to standard output, talk to standard error, colours only where they are wanted. A reader that
//! has had enough (`rc log | head`) ends the writing quietly, not the command: stores may still be waiting for it.

use std::fmt;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use anstyle::AnsiColor;
use anstyle::Style;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::ui::teller::Notice;
use crate::ui::teller::Teller;

/// For what is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// For what is not done, lost or failing.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// For what is owed, differs or may surprise.
pub const NOTICE: Style = AnsiColor::Yellow.on_default();
/// For headings and verdicts.
pub const STRONG: Style = Style::new().bold();
/// For what matters least.
pub const FAINT: Style = Style::new().dimmed();

/// `text` in `style`. The colours are taken out again where they are not wanted.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Also into files and pipes.
    Always,
    /// Nowhere.
    Never,
}

/// What `NO_COLOR`, `CLICOLOR_FORCE` and `TERM` of the environment come to, for [`Colour::Auto`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ColourWishes {
    /// `NO_COLOR` is set, or the terminal is dumb.
    pub unwanted: bool,
    /// `CLICOLOR_FORCE` is set.
    pub forced: bool,
}

impl Colour {
    fn resolve(self, terminal: bool, wishes: ColourWishes) -> bool {
        match self {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => !wishes.unwanted && (terminal || wishes.forced),
        }
    }
}

/// One of the two ways out.
struct Stream {
    write: Box<dyn Write + Send>,
    colour: bool,
    terminal: bool,
    /// Set when a write failed; then nothing more is tried.
    ended: Option<io::Error>,
}

impl Stream {
    fn new(write: Box<dyn Write + Send>, terminal: bool, colour: bool) -> Self {
        Self { write, colour, terminal, ended: None }
    }

    fn write(&mut self, text: &str) {
        if self.ended.is_some() {
            return;
        }
        let written = if self.colour {
            self.write.write_all(text.as_bytes())
        } else {
            self.write.write_all(anstream::adapter::strip_str(text).to_string().as_bytes())
        };
        self.ended = written.and_then(|()| self.write.flush()).err();
    }
}

/// The way out for everything that a command says. Shared by reference; each call writes whole lines at once.
pub struct Output {
    out: Mutex<Stream>,
    talk: Mutex<Stream>,
    /// Where talk goes that goes into memory.
    captured_talk: Option<Captured>,
    json: bool,
    verbose: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Output")
            .field("json", &self.json)
            .field("verbose", &self.verbose)
            .finish_non_exhaustive()
    }
}

/// What an [`Output::captured`] has been given.
#[derive(Debug, Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// All of it so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&held(&self.0)).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        held(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a poisoned lock guards here is text and flags: as good as before.
fn held<Value>(mutex: &Mutex<Value>) -> MutexGuard<'_, Value> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Output {
    /// To the process's own standard output and standard error.
    pub fn standard(colour: Colour, wishes: ColourWishes) -> Self {
        let (out, talk) = (io::stdout(), io::stderr());
        let (out_terminal, talk_terminal) = (out.is_terminal(), talk.is_terminal());
        Self {
            out: Mutex::new(Stream::new(Box::new(out), out_terminal, colour.resolve(out_terminal, wishes))),
            talk: Mutex::new(Stream::new(Box::new(talk), talk_terminal, colour.resolve(talk_terminal, wishes))),
            captured_talk: None,
            json: false,
            verbose: false,
            bar: Mutex::new(None),
        }
    }

    /// Into memory, data and talk apart, for a command that is run by another one.
    pub fn captured() -> (Self, Captured, Captured) {
        let (out, talk) = (Captured::default(), Captured::default());
        let output = Self {
            out: Mutex::new(Stream::new(Box::new(out.clone()), false, false)),
            talk: Mutex::new(Stream::new(Box::new(talk.clone()), false, false)),
            captured_talk: Some(talk.clone()),
            json: false,
            verbose: false,
            bar: Mutex::new(None),
        };
        (output, out, talk)
    }

    /// With `json`, reports for people give way to JSON; with `verbose`, details are said.
    #[must_use]
    pub fn with(mut self, json: bool, verbose: bool) -> Self {
        self.json = json;
        self.verbose = verbose;
        self
    }

    /// Whether JSON is wanted instead of reports.
    pub fn wants_json(&self) -> bool {
        self.json
    }

    /// Whether standard error is a terminal, so that questions can be seen.
    pub fn talk_is_terminal(&self) -> bool {
        held(&self.talk).terminal
    }

    /// A result for people, on standard output: a line, or several. Nothing where JSON is wanted.
    pub fn report(&self, text: &str) {
        if !self.json {
            self.data(text);
        }
    }

    /// Data, on standard output, whatever form is wanted.
    pub fn data(&self, text: &str) {
        self.write(&self.out, &format!("{text}\n"));
    }

    /// A value as JSON, on standard output, on one line.
    pub fn json(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.data(&text),
            Err(error) => self.error(&format!("error: this cannot be written as JSON\n  {error}")),
        }
    }

    /// Talk, on standard error.
    pub fn say(&self, text: &str) {
        self.write(&self.talk, &format!("{text}\n"));
    }

    /// Talk, on standard error, that is never waited for; `notice` says how many lines were dropped. What is said in other
    /// ways meanwhile may come in between, whole lines.
    pub fn teller(&self, notice: Notice) -> Teller {
        let write: Box<dyn Write + Send> = match &self.captured_talk {
            Some(captured) => Box::new(captured.clone()),
            None => Box::new(io::stderr()),
        };
        Teller::start(write, notice)
    }

    /// Talk that only `--verbose` wants.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            self.say(&paint(FAINT, text));
        }
    }

    /// Something that may surprise, on standard error.
    pub fn warn(&self, text: &str) {
        self.say(&format!("{} {text}", paint(NOTICE, "warning:")));
    }

    /// A failure, on standard error, as `error: …`.
    pub fn error(&self, text: &str) {
        match text.strip_prefix("error:") {
            Some(rest) => self.say(&format!("{}{rest}", paint(BAD, "error:"))),
            None => self.say(text),
        }
    }

    /// A question, on standard error, the cursor behind it.
    pub(super) fn ask(&self, question: &str) {
        self.write(&self.talk, &format!("{question} "));
    }

    fn write(&self, stream: &Mutex<Stream>, text: &str) {
        match held(&self.bar).as_ref() {
            Some(bar) => bar.suspend(|| held(stream).write(text)),
            None => held(stream).write(text),
        }
    }

    pub(super) fn set_bar(&self, bar: Option<ProgressBar>) {
        if let Some(before) = std::mem::replace(&mut *held(&self.bar), bar) {
            before.finish_and_clear();
        }
    }

    /// Whether all data was written.
    ///
    /// # Errors
    /// Why it was not (a full disk, for instance). A closed pipe is no error: its reader has had enough. Talk that
    /// could not be written is nobody's loss.
    pub fn finish(&self) -> io::Result<()> {
        match held(&self.out).ended.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_and_talk_apart() {
        let (output, out, talk) = Output::captured();
        output.report(&paint(GOOD, "DONE"));
        output.say("talk");
        output.warn("careful");
        output.error("error: no");
        output.detail("not wanted");
        assert_eq!(out.text(), "DONE\n");
        assert_eq!(talk.text(), "talk\nwarning: careful\nerror: no\n");
    }

    #[test]
    fn json_switches_reports_off() {
        let (output, out, _) = Output::captured();
        let output = output.with(true, false);
        output.report("a table");
        output.json(&vec![1, 2]);
        assert_eq!(out.text(), "[1,2]\n");
    }

    struct Failing(io::ErrorKind, Arc<Mutex<usize>>);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            *held(&self.1) += 1;
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn failing(kind: io::ErrorKind) -> (io::Result<()>, usize) {
        let attempts = Arc::new(Mutex::new(0));
        let (output, _, _) = Output::captured();
        *held(&output.out) = Stream::new(Box::new(Failing(kind, Arc::clone(&attempts))), false, false);
        output.data("one");
        output.data("two");
        (output.finish(), *held(&attempts))
    }

    #[test]
    fn a_closed_pipe_is_quiet_and_a_full_disk_is_not() {
        assert!(matches!(failing(io::ErrorKind::BrokenPipe), (Ok(()), 1)));
        let (result, attempts) = failing(io::ErrorKind::StorageFull);
        assert_eq!((result.unwrap_err().kind(), attempts), (io::ErrorKind::StorageFull, 1));
    }

    #[test]
    fn colours_where_wanted() {
        #[track_caller]
        fn case(colour: Colour, terminal: bool, unwanted: bool, forced: bool, expected: bool) {
            assert_eq!(colour.resolve(terminal, ColourWishes { unwanted, forced }), expected);
        }
        case(Colour::Auto, true, false, false, true);
        case(Colour::Auto, false, false, false, false);
        case(Colour::Auto, true, true, false, false);
        case(Colour::Auto, false, false, true, true);
        case(Colour::Auto, false, true, true, false);
        case(Colour::Always, false, true, false, true);
        case(Colour::Never, true, false, true, false);
    }
}
