//! `rc completions`: a script for the shell. It never asks a store or LaunchDarkly: pressing Tab must not wait for what
//! is away.

use clap_complete::Shell;

use crate::error::ExitCode;
use crate::error::Failure;
use crate::ui::output::Output;

/// Print completions for a shell
///
/// For bash:  rc completions bash > ~/.local/share/bash-completion/completions/rc
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Which shell
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// None yet; printing fails later, with everything else that is printed.
pub fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::command(), "rc", &mut script);
    output.data(String::from_utf8_lossy(&script).trim_end());
    Ok(ExitCode::Done)
}
