//! Questions. Asked only on a terminal, and never with `--yes` or `--no-input`. An answer is a plain line that the
//! terminal itself edits: nothing is switched on a terminal that an interrupt, a kill or a lost connection could leave
//! switched.

use std::collections::VecDeque;
use std::io;
use std::io::BufRead;
use std::io::IsTerminal;
use std::io::Read;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use super::output::Output;

/// The longest answer that is read, in bytes.
const ANSWER_LENGTH_MAX: u64 = 1024;

/// How often a question is put again after an answer that is none of the choices.
const ATTEMPTS_MAX: u32 = 5;

/// Proof that somebody agreed: made only by a yes on the terminal, or by `--yes`.
#[derive(Debug, PartialEq, Eq)]
pub struct Consent {
    told: (),
}

/// Why there is no consent, or no choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotGiven {
    /// The answer was no, nothing, or none of the choices.
    #[error("declined")]
    Declined,
    /// There is nobody to ask: no terminal, or `--no-input`.
    #[error("this needs an answer, and there is nobody to ask here")]
    NobodyToAsk,
    /// The terminal could not be read.
    #[error("the answer could not be read: {0}")]
    Unreadable(String),
}

/// One of the answers to choose from: `[o]verride` is the letter `o` and the word `override`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The letter that is enough.
    pub letter: char,
    /// The whole word; begins with the letter or holds it.
    pub word: &'static str,
}

impl Choice {
    fn shown(self) -> String {
        match self.word.split_once(self.letter) {
            Some((before, after)) => format!("{before}[{}]{after}", self.letter),
            None => format!("[{}] {}", self.letter, self.word),
        }
    }
}

/// Whom to ask.
#[derive(Debug, Clone)]
enum Asked {
    /// The person at the terminal.
    Terminal,
    /// A list of answers, for tests and rehearsals.
    Script(Arc<Mutex<VecDeque<String>>>),
    /// Nobody.
    Nobody,
}

/// Puts questions, or knows that it must not.
#[derive(Debug, Clone)]
pub struct Prompter {
    asked: Asked,
    /// `--yes`: consent is given beforehand.
    yes: bool,
}

impl Prompter {
    /// Asks on the terminal, if there is one and neither `yes` nor `no_input` forbid it.
    pub fn new(output: &Output, yes: bool, no_input: bool) -> Self {
        let terminal = output.talk_is_terminal() && io::stdin().is_terminal();
        let asked = if terminal && !yes && !no_input { Asked::Terminal } else { Asked::Nobody };
        Self { asked, yes }
    }

    /// Answers from a list, for tests and rehearsals.
    pub fn scripted<Answer: Into<String>>(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = answers.into_iter().map(Into::into).collect();
        Self { asked: Asked::Script(Arc::new(Mutex::new(answers))), yes: false }
    }

    /// Whether there is somebody to ask.
    pub fn can_ask(&self) -> bool {
        !matches!(self.asked, Asked::Nobody)
    }

    /// Asks for a yes. With `--yes` it is there already.
    ///
    /// # Errors
    /// See [`NotGiven`]. Anything but a yes is a no.
    pub async fn consent(&self, output: &Output, question: &str) -> Result<Consent, NotGiven> {
        if self.yes {
            return Ok(Consent { told: () });
        }
        let answer = self.answer(output, &format!("{question} [y/N]")).await?;
        if matches!(answer.to_lowercase().as_str(), "y" | "yes") {
            Ok(Consent { told: () })
        } else {
            Err(NotGiven::Declined)
        }
    }

    /// Asks for one of `choices`, by its letter or word, and gives its place. `--yes` chooses nothing.
    ///
    /// # Errors
    /// See [`NotGiven`].
    pub async fn choose(&self, output: &Output, choices: &[Choice]) -> Result<usize, NotGiven> {
        let shown: Vec<String> = choices.iter().map(|choice| choice.shown()).collect();
        let question = format!("  {} >", shown.join("  "));
        for _ in 0..ATTEMPTS_MAX {
            let answer = self.answer(output, &question).await?.to_lowercase();
            if answer.is_empty() {
                return Err(NotGiven::Declined);
            }
            let meant = |choice: &Choice| answer == choice.word || answer == choice.letter.to_string();
            if let Some(place) = choices.iter().position(meant) {
                return Ok(place);
            }
        }
        Err(NotGiven::Declined)
    }

    /// Asks for `word` to be typed out, for what must not happen by habit. With `--yes` consent is there already.
    ///
    /// # Errors
    /// See [`NotGiven`]. Anything else than the word is a no.
    pub async fn consent_by_typing(&self, output: &Output, question: &str, word: &str) -> Result<Consent, NotGiven> {
        if self.yes {
            return Ok(Consent { told: () });
        }
        let answer = self.answer(output, question).await?;
        if answer == word { Ok(Consent { told: () }) } else { Err(NotGiven::Declined) }
    }

    /// Asks for a line of any kind, for whoever takes more than answers. `None`: the input has ended.
    ///
    /// # Errors
    /// See [`NotGiven`]; there is no [`NotGiven::Declined`].
    pub async fn line(&self, output: &Output, question: &str) -> Result<Option<String>, NotGiven> {
        let asked = self.asked.clone();
        if matches!(asked, Asked::Nobody) {
            return Err(NotGiven::NobodyToAsk);
        }
        output.ask(question);
        // Reading blocks; meanwhile the runtime must be free for the connections that are open.
        let read = tokio::task::spawn_blocking(move || read_answer(&asked)).await;
        match read {
            Ok(Ok(Some(answer))) => Ok(Some(answer.trim().to_owned())),
            Ok(Ok(None)) => {
                output.say("");
                Ok(None)
            }
            Ok(Err(error)) => Err(NotGiven::Unreadable(error.to_string())),
            Err(error) => Err(NotGiven::Unreadable(error.to_string())),
        }
    }

    async fn answer(&self, output: &Output, question: &str) -> Result<String, NotGiven> {
        self.line(output, question).await?.ok_or(NotGiven::Declined)
    }
}

/// Is there once the standard input has ended; what comes on it until then is of no interest. The thread that waits for it
/// ends with the process.
pub async fn input_ended() {
    // An error is an end too.
    let read = || io::copy(&mut io::stdin().lock(), &mut io::sink());
    let _ = tokio::task::spawn_blocking(read).await;
}

/// The next answer; `None` at the end of the input.
fn read_answer(asked: &Asked) -> io::Result<Option<String>> {
    match asked {
        Asked::Nobody => Ok(None),
        Asked::Script(answers) => Ok(answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front()),
        Asked::Terminal => {
            let mut line = String::new();
            let read = io::stdin().lock().take(ANSWER_LENGTH_MAX).read_line(&mut line)?;
            Ok((read > 0).then_some(line))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHOICES: [Choice; 3] = [
        Choice { letter: 'o', word: "override" },
        Choice { letter: 'l', word: "launchdarkly" },
        Choice { letter: 's', word: "skip" },
    ];

    fn consent(answers: &[&str]) -> (Result<Consent, NotGiven>, String) {
        let (output, _, talk) = Output::captured();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let prompter = Prompter::scripted(answers.iter().copied());
        (runtime.block_on(prompter.consent(&output, "Send 3 patches?")), talk.text())
    }

    fn choice(answers: &[&str]) -> Result<usize, NotGiven> {
        let (output, _, _) = Output::captured();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(Prompter::scripted(answers.iter().copied()).choose(&output, &CHOICES))
    }

    #[test]
    fn only_a_yes_is_consent() {
        assert_eq!(consent(&["y"]), (Ok(Consent { told: () }), "Send 3 patches? [y/N] ".to_owned()));
        assert!(consent(&[" YES \n"]).0.is_ok());
        for answer in ["", "n", "yep", "on"] {
            assert_eq!(consent(&[answer]).0, Err(NotGiven::Declined), "{answer}");
        }
        assert_eq!(consent(&[]).0, Err(NotGiven::Declined));
    }

    #[test]
    fn choices_by_letter_and_word() {
        assert_eq!(choice(&["o"]), Ok(0));
        assert_eq!(choice(&["LaunchDarkly"]), Ok(1));
        assert_eq!(choice(&["what?", "s"]), Ok(2));
        assert_eq!(choice(&[""]), Err(NotGiven::Declined));
        assert_eq!(choice(&["x"; 9]), Err(NotGiven::Declined));
        assert_eq!(CHOICES.map(Choice::shown), ["[o]verride", "[l]aunchdarkly", "[s]kip"]);
    }

    #[test]
    fn nobody_to_ask() {
        let (output, _, talk) = Output::captured();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let silent = Prompter::new(&output, false, true);
        assert!(!silent.can_ask());
        assert_eq!(runtime.block_on(silent.consent(&output, "Sure?")), Err(NotGiven::NobodyToAsk));
        let agreed = Prompter::new(&output, true, true);
        assert!(runtime.block_on(agreed.consent(&output, "Sure?")).is_ok());
        assert_eq!(runtime.block_on(agreed.choose(&output, &CHOICES)), Err(NotGiven::NobodyToAsk));
        assert_eq!(talk.text(), "");
    }
}
