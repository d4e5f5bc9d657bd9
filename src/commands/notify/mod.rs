//! `rc notify`: whether people are told, tried before they have to be.

mod places;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::Context;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::notification::Notice;
use crate::notification::Place;
use crate::notification::Severity;
use crate::notification::sender;
use crate::ui::harmless::harmless;
use crate::ui::table::Table;
use crate::ui::words::count;
pub use places::places;

/// Try the places where the guard tells people what happens
///
/// They are set by RC_NOTIFY_WEBHOOK, RC_NOTIFY_SLACK, RC_NOTIFY_TEAMS and RC_NOTIFY_PAGERDUTY (rc help environment).
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Send one test notice to every place, and say whether it was taken (PagerDuty: an incident, resolved at once)
    #[arg(long, required = true)]
    pub test: bool,
}

/// Sends a test notice to every place.
///
/// # Errors
/// No place is set, or one that cannot be meant.
pub async fn run(_arguments: &Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let places = places(&context.settings.notify)?;
    if places.is_empty() {
        return Err(Failure::usage("no place is set where people are told")
            .hint("For good:  echo 'RC_NOTIFY_SLACK=https://hooks.slack.com/services/…' >> .env")
            .hint("More:      rc help environment"));
    }
    let actor = &context.settings.actor;
    let begun = Notice {
        id: Uuid::now_v7(),
        at: Timestamp::now(),
        source: format!("rc on {}", actor.host),
        kind: "test",
        // As what somebody has to look at, so that it goes the way that such a notice goes.
        severity: Severity::Warning,
        over: false,
        environment: None,
        flag: None,
        told: format!("a test by {} (rc notify --test): nothing has happened", actor.user),
    };
    let came = join_all(places.iter().map(|place| tried(place, &begun))).await;
    let failed = came.iter().filter(|came| came.is_err()).count();
    if context.output.wants_json() {
        let rows: Vec<_> = (places.iter().zip(&came))
            .map(
                |(place, came)| json!({ "place": place.name(), "taken": came.is_ok(), "problem": came.as_ref().err() }),
            )
            .collect();
        context.output.json(&json!({ "places": rows }));
    } else {
        let mut table = Table::new();
        for (place, came) in places.iter().zip(&came) {
            let told = match came {
                Ok(()) => "taken".to_owned(),
                Err(problem) => format!("NOT TAKEN: {}", harmless(problem)),
            };
            table.row([place.name(), told]);
        }
        let verdict = match failed {
            0 => "Whether somebody sees it there, only they can say.".to_owned(),
            _ => format!(
                "{} of {} took it: nobody would be told there.",
                places.len() - failed,
                count(places.len(), "place")
            ),
        };
        context.output.report(&format!("{table}\n\n{verdict}"));
    }
    Ok(match failed {
        0 => ExitCode::Done,
        all if all == places.len() => ExitCode::Unreachable,
        _ => ExitCode::Partly,
    })
}

/// One place, with the end of the notice after it where a beginning opens something.
async fn tried(place: &Place, begun: &Notice) -> Result<(), String> {
    sender::send(place, begun).await?;
    if !place.has_incidents() {
        return Ok(());
    }
    let over = Notice { id: Uuid::now_v7(), at: Timestamp::now(), over: true, ..begun.clone() };
    sender::send(place, &over).await
}
