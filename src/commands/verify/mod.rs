//! `rc verify`.

mod facts;
mod judgement;
mod left_behind;
mod report;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Context;
use crate::commands::guards::Guards;
use crate::commands::left_behind::Fronts;
use crate::commands::left_behind::recorded::by_flag;
use crate::commands::overview;
use crate::commands::overview::EnvironmentView;
use crate::commands::overview::Scope;
use crate::commands::place::Surroundings;
use crate::commands::replay::lease::holders;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::ui::progress::Progress;
use facts::Facts;
use report::Report;

/// Hold LaunchDarkly, stores, relays and the record against each other
///
/// For every flag that is overridden, or that a change of the last seven days names. They agree where all that were
/// asked say the same, by value. Exit code 0: full agreement; 6: something is owed; 1: they differ otherwise; 7:
/// LaunchDarkly, a store or a relay did not answer, or there is no LD_API_KEY to ask LaunchDarkly with.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these flags; may be given several times
    #[arg(short, long, value_name = "FLAG")]
    pub flag: Vec<FlagKey>,
}

/// Runs it.
///
/// # Errors
/// Where no store is configured, or the playback cannot be read.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let scope = Scope::typed(context, &arguments.flag)?;
    let loaded = overview::playback(context)?.load()?;
    let report = {
        let _progress = Progress::start(context.output, "asking LaunchDarkly, stores and relays");
        let surroundings = Surroundings::look(context).await?;
        let views = overview::look(context, &surroundings, &loaded, &scope).await;
        let (facts, silence) = facts::gather(context, &surroundings, &views, &loaded, &scope).await;
        let holders = holders::look(&surroundings.stores, &views).await;
        let edits = by_flag(&loaded.files);
        // What stands before the stores matters only where something may have to be said of it.
        let is_told = |facts: &&Facts| left_behind::may_be(facts, &edits);
        let told: BTreeSet<&Environment> = facts.iter().filter(is_told).map(|facts| &facts.environment).collect();
        let told = || views.iter().filter(|view| told.contains(&view.environment));
        let targets = told().flat_map(EnvironmentView::chosen).map(|chosen| chosen.target);
        let guards = Guards::look(&surroundings.stores, targets).await;
        let mut notes = Vec::new();
        for view in told() {
            let fronts = Fronts::of(context, &surroundings, view, &guards);
            for facts in facts.iter().filter(|facts| facts.environment == view.environment) {
                let told = left_behind::of(facts, &edits, &fronts, Timestamp::now());
                notes.extend(told.into_iter().map(|told| (facts.environment.clone(), facts.flag.clone(), told)));
            }
        }
        Report::new(&facts, &surroundings, &views, &loaded, silence).replayed_by(&holders).with(notes)
    };
    if context.output.wants_json() {
        context.output.json(&report.json());
    } else {
        context.output.report(&report.text());
    }
    Ok(report.code())
}
