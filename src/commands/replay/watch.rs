//! `rc replay --watch`: waits for LaunchDarkly, and replays until nothing is owed. Each round is a replay without anybody to
//! ask; what it leaves for a person is told once, and again when it has changed.

use std::time::Duration;

use super::Arguments;
use super::How;
use super::report_of;
use super::rounds::Pace;
use super::rounds::Round;
use super::show_report;
use crate::commands::Context;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::ui::progress::Progress;
use crate::ui::prompt::Prompter;
use crate::ui::words::count;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(5);

/// Runs it, until nothing is owed.
///
/// # Errors
/// What does not pass by itself: no stores, no token, a token that LaunchDarkly does not take.
pub(super) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let prompter = Prompter::new(context.output, context.settings.yes, true);
    let quiet = Context { settings: context.settings, typed: context.typed, output: context.output, prompter };
    let mut pace = Pace::new(EVERY);
    let mut told = None;
    loop {
        let how = How { by: "rc replay --watch", knocks: true, only_signed: None, owns_history: false, ends: None };
        let (words, moved) = match report_of(arguments, &quiet, how).await {
            Ok(report) => {
                let round = Round::of(report);
                if round.is_all() {
                    show_report(&round.report, context);
                    return Ok(round.report.code());
                }
                if told.as_ref() != Some(&round.left) || !round.sent.is_empty() {
                    show_report(&round.report, context);
                }
                let words = match round.left.len() {
                    0 if round.is_busy => "somebody else replays".to_owned(),
                    0 => "changes without an override are for somebody to decide about".to_owned(),
                    number => format!("{} owed, and for somebody to decide", count(number, "flag")),
                };
                let moved = !round.sent.is_empty();
                told = Some(round.left);
                (words, moved)
            }
            Err(failure) if failure.kind == Kind::Unreachable => (failure.message, false),
            Err(failure) => return Err(failure),
        };
        let _progress = Progress::start(context.output, &format!("{words}; waits. Ctrl-C ends it, nothing is lost"));
        tokio::time::sleep(pace.wait(moved, fastrand::f64())).await;
    }
}
