//! A sign of life while something is waited for: on a terminal only, gone when it is over. The lines that a command
//! prints are the record; this leaves none.

use std::time::Duration;

use indicatif::ProgressBar;
use indicatif::ProgressStyle;

use super::output::Output;

/// A spinner with a few words behind it; it ends when this is dropped.
#[must_use = "it ends when it is dropped"]
pub struct Progress<'o> {
    output: &'o Output,
}

impl<'o> Progress<'o> {
    /// Says `words` on standard error while the value lives, if that is a terminal and reports are wanted.
    pub fn start(output: &'o Output, words: &str) -> Self {
        if output.talk_is_terminal() && !output.wants_json() {
            let bar = ProgressBar::new_spinner().with_message(words.to_owned());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            output.set_bar(Some(bar));
        }
        Self { output }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.output.set_bar(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_nothing_where_there_is_no_terminal() {
        let (output, out, talk) = Output::captured();
        let progress = Progress::start(&output, "asking 4 stores");
        output.report("answer");
        drop(progress);
        assert_eq!((out.text(), talk.text()), ("answer\n".to_owned(), String::new()));
    }
}
