//! Runs what restarts a relay: a program with its arguments as they stand in the home's file, read by no shell, within a
//! deadline.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// How much of what it printed is shown, in characters.
const SHOWN_MAX: usize = 300;

/// Runs it to its end.
///
/// # Errors
/// In words: it cannot be started, did not end in time (it is killed then), or failed.
pub(super) async fn run(words: &[String], within: Duration) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else { return Err("names no program".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let shown = words.join(" ");
    let child = command.spawn().map_err(|error| format!("{shown} cannot be started: {error}"))?;
    let ended = timeout(within, child.wait_with_output()).await;
    let output = ended
        .map_err(|_| format!("{shown} did not end within {} s, and was killed", within.as_secs()))?
        .map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stderr, output.stdout].concat();
    let printed: String = String::from_utf8_lossy(&printed).trim().chars().take(SHOWN_MAX).collect();
    Err(format!("{shown} ended with {}{}{printed}", output.status, if printed.is_empty() { "" } else { ": " }))
}
