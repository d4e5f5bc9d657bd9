//! `rc relay restart`: one relay after the other, each only where it comes back with what it serves, and the next one only
//! when it has. It runs the operator's own command for each and looks at what the relay then shows.

mod command;
mod footing;
mod noting;

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::commands::Context;
use crate::commands::overview;
use crate::commands::overview::Scope;
use crate::commands::place::Surroundings;
use crate::commands::relays::Relay;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::flag::record::Record;
use crate::relay::client::RelayClient;
use crate::relay::probe::Readiness;
use crate::relay::probe::Watch;
use crate::settings::time;
use crate::ui::harmless::harmless;
use crate::ui::nearest::did_you_mean;
use crate::ui::table::Table;
use crate::ui::words::count;
use crate::ui::words::list;
use footing::Footing;
use footing::Footings;

/// How often a relay that starts is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long one look may take: a relay whose store is empty takes connections and says nothing.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// Restart relays, one after the other, each only where that is safe
///
/// Runs the command of each relay: in relaycommander.toml, [relay."LABEL"] restart = ["systemctl", "restart", "ld-relay"]. A
/// relay is refused where a restart would undo edits or take it down, and the next one waits until it serves again and shows
/// every edit. Exits with 0 if all were restarted, 3 if none, 5 if some.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Which relays, by their labels in RELAY_URLS; all that have a command by default
    #[arg(value_name = "RELAY")]
    pub relays: Vec<String>,

    /// How long each may take to serve again
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time::wait)]
    pub within: Duration,
}

/// How long each relay may take to serve again, where nobody says otherwise.
pub const WITHIN: Duration = Duration::from_secs(60);

/// What came of one relay.
enum Came {
    Restarted { after: Duration, edits: usize, unseen: Vec<String> },
    Refused(String),
    Failed(String),
}

/// Runs it.
///
/// # Errors
/// Where no relay has a command, one is not known, or nobody consented to a moment without any.
pub async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    restart(chosen(&arguments.relays, context)?, arguments.within, context).await
}

/// Restarts these relays, and reports.
///
/// # Errors
/// Where nothing can be looked at, or nobody consented to a moment without any relay.
pub async fn restart(labels: Vec<String>, within: Duration, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let scope = Scope::default();
    let playback = overview::playback(context)?;
    let loaded = playback.load_waiting()?;
    if context.settings.relays.len() == 1 {
        consent(context).await?;
    }
    let mut before = Footings::default();
    let mut came: Vec<(String, Came)> = Vec::new();
    for label in labels {
        // Each time anew: what was so before the last restart need not be so now.
        let surroundings = match Surroundings::look(context).await {
            Ok(surroundings) => surroundings,
            // What was restarted by then is told all the same.
            Err(failure) if !came.is_empty() => {
                came.push((label, Came::Refused(format!("whether a restart is safe is not known: {failure}"))));
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let views = overview::look(context, &surroundings, &loaded, &scope).await;
        let footings = Footings::look(context, &surroundings, &views, &before).await;
        let run = Run { context, surroundings: &surroundings, footings: &footings, within };
        // A relay that failed is looked at by a person before another one goes down.
        let failed = came.iter().find(|(_, came)| matches!(came, Came::Failed(_))).map(|(label, _)| label.clone());
        let one = match failed {
            Some(failed) => Came::Refused(format!("{failed} has not come back: see to that first")),
            None => run.one(&label).await?,
        };
        if matches!(one, Came::Restarted { .. })
            && let Err(error) = noting::note(&playback, &views, &footings, &label)
        {
            context.output.warn(&format!("the playback does not tell of the restart: {error}"));
        }
        came.push((label, one));
        before = footings;
    }
    Ok(report(&came, context))
}

/// The relays that are meant, in the order of RELAY_URLS: those that are `named`, or all that have a command.
///
/// # Errors
/// One is not known, or what restarts it.
pub fn chosen(named: &[String], context: &Context<'_>) -> Result<Vec<String>, Failure> {
    let known: Vec<&str> = context.settings.relays.iter().map(|relay| relay.label.as_str()).collect();
    for label in named.iter().map(String::as_str).chain(context.settings.restarts.keys().map(String::as_str)) {
        if !known.contains(&label) {
            let near = did_you_mean(label, known.iter().copied());
            return Err(Failure::usage(format!("RELAY_URLS names no relay {}{near}", harmless(label))));
        }
    }
    let wanted = |label: &&str| match named {
        [] => context.settings.restarts.contains_key(*label),
        named => named.iter().any(|name| name == label),
    };
    let labels: Vec<String> = known.into_iter().filter(wanted).map(str::to_owned).collect();
    let without: Vec<String> =
        labels.iter().filter(|label| !context.settings.restarts.contains_key(*label)).cloned().collect();
    if labels.is_empty() || !without.is_empty() {
        let which = if labels.is_empty() { "any relay".to_owned() } else { list(&without) };
        return Err(Failure::usage(format!("it is not known what restarts {which}"))
            .hint("In relaycommander.toml:  [relay.\"eu-1\"]  restart = [\"systemctl\", \"restart\", \"ld-relay\"]"));
    }
    Ok(labels)
}

/// With one relay there is a moment without any.
async fn consent(context: &Context<'_>) -> Result<(), Failure> {
    let question = "It is the only relay that is known: until it is back, SDKs keep what they have and new ones get nothing. Restart it?";
    context.prompter.consent(context.output, question).await?;
    Ok(())
}

struct Run<'r> {
    context: &'r Context<'r>,
    surroundings: &'r Surroundings,
    footings: &'r Footings,
    within: Duration,
}

impl Run<'_> {
    async fn one(&self, label: &str) -> Result<Came, Failure> {
        let fleet = &self.surroundings.fleet;
        let Some(client) = &fleet.client else { return Ok(Came::Refused("no relay is configured".to_owned())) };
        let Some(relay) = fleet.relays.iter().find(|relay| relay.address.label() == label) else {
            return Ok(Came::Refused("it is not in RELAY_URLS".to_owned()));
        };
        let status = match &relay.status {
            Ok(status) => status,
            Err(error) => return Ok(Came::Refused(format!("{error}: whether a restart is safe is not known"))),
        };
        let configuration = self.surroundings.configurations.of_relay(Some(status), fleet.relays.len() == 1);
        if let Err(danger) = self.footings.is_safe(label, status, configuration) {
            return Ok(Came::Refused(danger.to_string()));
        }
        let mut down = Vec::new();
        for other in fleet.relays.iter().filter(|other| other.address.label() != label) {
            if self.missing(client, other).await.is_some() {
                down.push(other.address.label().to_owned());
            }
        }
        if !down.is_empty() {
            return Ok(Came::Refused(format!("{} does not serve: there would be one fewer", list(&down))));
        }
        let Some(words) = self.context.settings.restarts.get(label) else {
            return Ok(Came::Refused("it has no command".to_owned()));
        };
        let keyed =
            self.footings.of(label).find_map(|footing| Some((footing.key.as_ref()?, footing.filter.as_deref())));
        let before = keyed.map(|(key, filter)| Watch::open(client, &relay.address, key, filter, &[]));
        if let Some(watch) = &before {
            watch.ready(LOOK_WITHIN).await;
        }
        let begun = Instant::now();
        self.context.output.say(&format!("{label}: {}", harmless(&words.join(" "))));
        if let Err(problem) = command::run(words, self.within).await {
            return Ok(Came::Failed(problem));
        }
        Ok(self.back(client, relay, before, begun).await)
    }

    /// Waits until the relay serves again.
    async fn back(&self, client: &RelayClient, relay: &Relay, before: Option<Watch>, begun: Instant) -> Came {
        let label = relay.address.label();
        let mut missing = "it was not looked at".to_owned();
        while begun.elapsed() < self.within {
            let is_open = match &before {
                Some(watch) => matches!(watch.ready(Duration::ZERO).await, Readiness::Ready),
                None => false,
            };
            if is_open {
                missing = "its command ended, and our connection from before stands: it was not restarted".to_owned();
            } else {
                let now = Relay { address: relay.address.clone(), status: client.status(&relay.address).await };
                match self.missing(client, &now).await {
                    Some(what) => missing = what,
                    None => {
                        let footings = self.footings.of(label);
                        let unseen =
                            footings.filter(|one| one.key.is_none()).map(|one| one.environment.clone()).collect();
                        let edits =
                            self.footings.of(label).filter(|one| one.key.is_some()).map(|one| one.edits.len()).sum();
                        return Came::Restarted { after: begun.elapsed(), edits, unseen };
                    }
                }
            }
            sleep(LOOK_EVERY).await;
        }
        Came::Failed(format!("not back within {} s: {missing}", self.within.as_secs()))
    }

    /// What a relay lacks of serving everything, if it lacks something.
    async fn missing(&self, client: &RelayClient, relay: &Relay) -> Option<String> {
        if let Err(error) = &relay.status {
            return Some(error.to_string());
        }
        for footing in self.footings.of(relay.address.label()) {
            if let Some(missing) = lacks(client, relay, footing).await {
                return Some(missing);
            }
        }
        None
    }
}

/// What a relay lacks in one environment, as far as that can be seen.
async fn lacks(client: &RelayClient, relay: &Relay, footing: &Footing) -> Option<String> {
    let key = footing.key.as_ref()?;
    let flags: Vec<_> = footing.edits.iter().map(|(flag, _)| flag.clone()).collect();
    let watch = Watch::open(client, &relay.address, key, footing.filter.as_deref(), &flags);
    match watch.ready(LOOK_WITHIN).await {
        Readiness::Ready => {}
        Readiness::NotYet => return Some(format!("it serves nothing of {} yet", footing.environment)),
        Readiness::Broken(error) => return Some(error.to_string()),
    }
    footing.edits.iter().find_map(|(flag, record)| {
        let served = watch.has(flag).flatten();
        let shown = served.and_then(|served| Record::parse(served.text.as_bytes()).ok());
        let is_it =
            shown.is_some_and(|shown| shown.version() >= record.version() && shown.raw("on") == record.raw("on"));
        (!is_it).then(|| format!("it does not show the edit of {flag} in {}", footing.environment))
    })
}

fn report(came: &[(String, Came)], context: &Context<'_>) -> ExitCode {
    let restarted = came.iter().filter(|(_, came)| matches!(came, Came::Restarted { .. })).count();
    let failed = came.iter().any(|(_, came)| matches!(came, Came::Failed(_)));
    if context.output.wants_json() {
        let rows: Vec<_> = came.iter().map(|(label, came)| json_of(label, came)).collect();
        context.output.json(&json!({ "relays": rows, "restarted": restarted }));
    } else {
        let mut table = Table::new();
        for (label, came) in came {
            table.row([label.clone(), in_words(came)]);
        }
        let verdict = match restarted {
            all if all == came.len() => "Every relay is back. Their SDKs reconnect by themselves.".to_owned(),
            some => format!("RESTARTED {some} of {}.", count(came.len(), "relay")),
        };
        context.output.report(&format!("{table}\n\n{verdict}"));
    }
    match restarted {
        all if all == came.len() => ExitCode::Done,
        0 if !failed => ExitCode::Refused,
        _ => ExitCode::Partly,
    }
}

fn in_words(came: &Came) -> String {
    match came {
        Came::Restarted { after, edits, unseen } => {
            let unseen = match unseen.as_slice() {
                [] => String::new(),
                some => format!("; what it serves of {} cannot be seen without the SDK key", list(some)),
            };
            format!("restarted, serves after {:.1} s and shows {}{unseen}", after.as_secs_f64(), count(*edits, "edit"))
        }
        Came::Refused(why) => format!("NOT RESTARTED: {}", harmless(why)),
        Came::Failed(why) => format!("FAILED: {}", harmless(why)),
    }
}

fn json_of(label: &str, came: &Came) -> serde_json::Value {
    match came {
        Came::Restarted { after, edits, unseen } => json!({
            "relay": label, "came": "restarted", "afterMs": u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            "edits": edits, "unseen": unseen,
        }),
        Came::Refused(why) => json!({ "relay": label, "came": "refused", "why": why }),
        Came::Failed(why) => json!({ "relay": label, "came": "failed", "why": why }),
    }
}
