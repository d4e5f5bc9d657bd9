//! Somebody who types commands in the rehearsal: his home, and the commands' own code run in it, without a child
//! process. His environment is made up, so that nothing of the machine's settings is read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;
use std::time::Instant;

use clap::Parser;

use super::super::Cli;
use super::super::Context;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::settings::GlobalArguments;
use crate::settings::Process;
use crate::settings::Settings;
use crate::ui::output::Output;
use crate::ui::prompt::Prompter;

/// An operator with a home of his own.
#[derive(Debug, Clone)]
pub struct Operator {
    /// His name.
    pub name: &'static str,
    home: PathBuf,
    process: Process,
    /// The only prefix that is there for him, on somebody's own Redis.
    confined_to: Option<String>,
    /// Whether his replays ask no store for the right to replay.
    replays_alone: bool,
}

/// A command that was run.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Who ran it.
    pub who: &'static str,
    /// As it would be typed.
    pub line: String,
    /// How it ended.
    pub code: ExitCode,
    /// What it printed as data.
    pub out: String,
    /// What it said.
    pub talk: String,
    /// How long it took.
    pub took: Duration,
}

impl Operator {
    /// Makes a home in `folder`, with this `.env`.
    ///
    /// # Errors
    /// Where the home cannot be made.
    pub fn settle(name: &'static str, folder: &Path, dot_env: &str) -> io::Result<Self> {
        let home = folder.join(name);
        fs::create_dir(&home)?;
        fs::write(home.join(".env"), dot_env)?;
        Ok(Self::at(name, &home))
    }

    /// Somebody in a home that is there already, perhaps a colleague's.
    pub fn at(name: &'static str, home: &Path) -> Self {
        let process = Process {
            variables: BTreeMap::from([("USER".to_owned(), OsString::from(name))]),
            folder: home.to_owned(),
            user_id: rustix::process::geteuid().as_raw(),
            host: format!("{name}-laptop"),
        };
        Self { name, home: home.to_owned(), process, confined_to: None, replays_alone: false }
    }

    /// With these variables too.
    #[must_use]
    pub fn with(mut self, variables: Vec<(String, OsString)>) -> Self {
        self.process.variables.extend(variables);
        self
    }

    /// With nothing in any store but this prefix.
    #[must_use]
    pub fn confined_to(mut self, prefix: Option<String>) -> Self {
        self.confined_to = prefix;
        self
    }

    /// Replaying without asking a store for the right to: where others die, and no time passes.
    #[must_use]
    pub fn replaying_alone(mut self) -> Self {
        self.replays_alone = true;
        self
    }

    /// His home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// [`Operator::run`], with these variables for this one command.
    pub async fn run_with(&self, words: &[&str], variables: &[(String, OsString)]) -> Ran {
        self.clone().with(variables.to_vec()).run(words).await
    }

    /// Runs a command as `rc` does, with nobody to ask.
    pub async fn run(&self, words: &[&str]) -> Ran {
        let (output, out, talk) = Output::captured();
        let began = Instant::now();
        let ended = self.execute(words, output).await;
        let mut talk = talk.text();
        let code = ended.unwrap_or_else(|failure| {
            talk.push_str(&format!("{failure}\n"));
            failure.exit_code()
        });
        Ran { who: self.name, line: typed(words), code, out: out.text(), talk, took: began.elapsed() }
    }

    async fn execute(&self, words: &[&str], output: Output) -> Result<ExitCode, Failure> {
        let cli = Cli::try_parse_from(["rc"].iter().chain(words))
            .map_err(|error| Failure::usage(error.render().to_string()))?;
        let output = output.with(cli.global.json, cli.global.verbose);
        let arguments: GlobalArguments = cli.global;
        let mut settings = Settings::resolve(&arguments, &self.process)?;
        settings.confined_to.clone_from(&self.confined_to);
        settings.replays_alone = self.replays_alone;
        for warning in &settings.warnings {
            output.warn(warning);
        }
        let prompter = Prompter::new(&output, settings.yes, true);
        let context = Context { settings: &settings, typed: &arguments, output: &output, prompter };
        // The commands include this one: without a box the future would hold itself.
        let running: Pin<Box<dyn Future<Output = Result<ExitCode, Failure>> + '_>> =
            Box::pin(super::super::run(cli.command, &context));
        running.await
    }
}

/// The words as a shell would want them.
fn typed(words: &[&str]) -> String {
    let word = |word: &&str| if word.contains([' ', '"']) { format!("\"{word}\"") } else { (*word).to_owned() };
    format!("rc {}", words.iter().map(word).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_pasted() {
        assert_eq!(
            typed(&["update", "-f", "checkout", "--reason", "double charges"]),
            "rc update -f checkout --reason \"double charges\""
        );
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told_as_rc_tells_it() {
        let folder = tempfile::tempdir().unwrap();
        let anna = Operator::settle("anna", folder.path(), "").unwrap();
        let ran = anna.run(&["status"]).await;
        assert_eq!(ran.code, ExitCode::Usage);
        assert!(ran.talk.starts_with("error: no store is configured"), "{}", ran.talk);
        assert_eq!(anna.run(&["nonsense"]).await.code, ExitCode::Usage);
    }
}
