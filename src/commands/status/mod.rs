//! `rc status`: one screen, in time, whatever is dead. `look` finds out, `picture` puts it together (`guarded` what guards do), `text` shows it.

mod guarded;
mod left_behind;
mod look;
mod overrides;
mod picture;
mod report;
mod stream;
mod text;
mod timely;

use tokio::time::Instant;

use super::Context;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::playback::Loaded;
use look::WITHIN;
pub(crate) use picture::unfinished_changes;

/// One screen: LaunchDarkly, relays, stores, overrides in force, what is owed
///
/// Answers within 3 s whatever is dead, and exits with 0 whenever it could report. With --json it prints one object:
/// launchdarkly, targets, environments with their overrides, damaged_records, playback, owed and notes.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs it.
///
/// # Errors
/// Where no store is configured, or a setting cannot be meant. Whatever does not answer is told in the report.
pub async fn run(_: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let until = Instant::now() + WITHIN;
    let settings = look::capped(context.settings);
    let context = Context { settings: &settings, ..context.clone() };
    let client = look::client(&settings);
    let ground = look::ground(&context, until).await?;
    let nothing = Loaded::default();
    let loaded = ground.loaded.as_ref().unwrap_or(&nothing);
    let facts = look::facts(&context, &ground, loaded, client.as_ref(), until).await;
    let report = picture::of(&settings, &ground, loaded, &facts, jiff::Timestamp::now());
    if context.output.wants_json() {
        context.output.json(&report);
    } else {
        context.output.report(&text::of(&report));
    }
    Ok(ExitCode::Done)
}
