//! `rc flags`: what an environment holds, flag by flag. It reads everything and changes nothing.

pub(super) mod listed;
pub(super) mod report;

use super::Context;
use super::place::Surroundings;
use super::survey;
use super::survey::Extent;
use super::survey::TargetView;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::merge;
use crate::ui::harmless::harmless;
use listed::List;

/// List the flags of an environment
///
/// One line a flag: on or off, what it serves as the stores have it, LaunchDarkly's version, and what is special about
/// it: an override, a damaged record, stores that differ. --json gives one object with everything.
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:\n  rc flags -p shop -e production check")]
pub struct Arguments {
    /// Only flags whose key holds this, in any case
    pub part: Option<String>,

    /// Deleted flags too
    #[arg(short, long)]
    pub all: bool,
}

/// Runs it.
///
/// # Errors
/// Where the environment, or where it is kept, is not known, or where no store answered.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let environment = context.settings.required_environment()?;
    let surroundings = Surroundings::look(context).await?;
    let choice = surroundings.targets(context, &environment)?;
    if let Some(told) = &choice.told {
        context.output.say(told);
    }
    let views = survey::look(&surroundings.stores, &choice.targets, Extent::All).await;
    readable_somewhere(&views)?;
    let standings = survey::standings(&surroundings.stores, &views, &environment).await;
    let wishes = listed::Wishes { part: arguments.part.as_deref(), deleted: arguments.all };
    let list = List::of(&environment, &views, &standings, &wishes);
    if context.output.wants_json() {
        context.output.json(&list);
    } else if !list.flags.is_empty() {
        context.output.report(&report::table(&list, jiff::Timestamp::now()));
    }
    for notice in report::notices(&list) {
        context.output.warn(&notice);
    }
    context.output.say(&report::verdict(&list, &wishes));
    let outcome = |view: &TargetView| match &view.reading {
        Ok(_) => ExitCode::Done,
        Err(error) => Failure::from(error.clone()).exit_code(),
    };
    Ok(merge(views.iter().map(outcome)))
}

/// # Errors
/// Where no target could be read: the first reason, and the others as its causes.
pub(super) fn readable_somewhere(views: &[TargetView]) -> Result<(), Failure> {
    if views.iter().any(|view| view.reading.is_ok()) {
        return Ok(());
    }
    let mut errors = views.iter().filter_map(|view| view.reading.as_ref().err()).cloned();
    let Some(first) = errors.next() else { return Err(Failure::usage("there is no store to look at")) };
    let mut failure = Failure::from(first);
    for error in errors {
        failure = failure.cause(harmless(&error.to_string()));
    }
    Err(failure)
}
