//! `rc log`: what was done, by whom and why. It joins the playback with what the stores' logs tell of colleagues, and
//! changes nothing.

mod csv;
mod entries;
pub(super) mod outcome;
mod report;
mod stores;
mod timeline;

use super::Context;
use super::overview;
use super::overview::Scope;
use super::place::Surroundings;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::merge;
use crate::flag::key::FlagKey;
use entries::Journal;
use entries::Wanted;

/// List what was done, by whom and why
///
/// The changes of this playback, those that LaunchDarkly has too, and what the stores' logs tell of colleagues; the
/// newest last. -p -e narrow it to an environment.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For example, for the report after an incident:\n  rc log --incident INC-4821 --timeline >> post-mortem.md\n  rc log --incident INC-4821 --csv > changes.csv"
)]
pub struct Arguments {
    /// Only these flags; may be given several times
    #[arg(short, long, value_name = "FLAG")]
    pub flag: Vec<FlagKey>,

    /// Only what belongs to this incident
    #[arg(long, value_name = "NAME")]
    pub incident: Option<String>,

    /// Print comma separated values instead of a table
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,

    /// Tell what happened when, as Markdown for a post-mortem
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub timeline: bool,

    /// How many of the newest changes to list
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 100)]
    pub limit: usize,
}

/// Runs it.
///
/// # Errors
/// Where the playback cannot be read, or a setting cannot be meant. A store that does not answer is told, and what the
/// playback knows is listed all the same.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let scope = Scope::typed(context, &arguments.flag)?;
    let loaded = overview::playback(context)?.load()?;
    let surroundings = Surroundings::look(context).await?;
    let views = overview::look(context, &surroundings, &loaded, &scope).await;
    let told = stores::read(&surroundings, &views).await;
    let wanted = Wanted {
        environment: scope.environment.as_ref(),
        flags: &arguments.flag,
        incident: arguments.incident.as_deref(),
        limit: arguments.limit,
    };
    let journal = Journal::of(&loaded, &told, &wanted);
    let now = jiff::Timestamp::now();
    if context.output.wants_json() {
        context.output.json(&journal);
    } else if arguments.csv {
        context.output.data(&csv::text(&journal));
    } else if arguments.timeline && !journal.changes.is_empty() {
        let heading = arguments.incident.as_deref().unwrap_or("what was done");
        context.output.data(&timeline::text(&journal, &loaded, heading, now));
    } else if !journal.changes.is_empty() {
        context.output.report(&report::table(&journal, now));
    }
    for notice in report::notices(&journal) {
        context.output.warn(&notice);
    }
    context.output.say(&report::verdict(&journal, &wanted));
    let told =
        [(!journal.damaged.is_empty(), ExitCode::Failure), (!journal.not_read.is_empty(), ExitCode::Unreachable)];
    // The playback is read, so that is done; what is missing makes it partly done.
    Ok(merge(std::iter::once(ExitCode::Done).chain(told.into_iter().filter(|(is, _)| *is).map(|(_, code)| code))))
}
