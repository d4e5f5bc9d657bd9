//! `rc update --restart`: which relays are restarted where connected SDKs do not get the edit. What a restart is, and where it
//! is refused, is `relay/restart`'s business.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::Arguments;
use crate::change::target::Target;
use crate::commands::Context;
use crate::commands::relay::restart;
use crate::commands::relays::Before;
use crate::error::ExitCode;
use crate::error::Failure;

/// The relays that are restarted, if any.
pub(super) struct Restarting(Vec<String>);

impl Restarting {
    /// The relays before the targets. Before anything is written it must be known how each is restarted.
    pub(super) fn prepare(
        arguments: &Arguments,
        context: &Context<'_>,
        before: &BTreeMap<Target, Vec<Before<'_>>>,
    ) -> Result<Self, Failure> {
        if !arguments.restart {
            return Ok(Self(Vec::new()));
        }
        if context.output.wants_json() {
            let told = "--restart tells of two things, and --json is one object: use rc relay restart --json";
            return Err(Failure::usage(told));
        }
        let labels = before.values().flatten().map(|before| before.relay.address.label().to_owned());
        let labels: Vec<String> = labels.collect::<BTreeSet<String>>().into_iter().collect();
        if labels.is_empty() {
            return Err(Failure::usage("--restart: no relay is known before these stores")
                .hint("RELAY_URLS names them, by the labels of their stores where that is not clear otherwise."));
        }
        restart::chosen(&labels, context).map(Self)
    }

    /// Restarts them where the edit is not live. What was written is written, whatever comes of it.
    pub(super) async fn after(self, code: ExitCode, context: &Context<'_>) -> ExitCode {
        if self.0.is_empty() || code != ExitCode::NotLive {
            return code;
        }
        match restart::restart(self.0, restart::WITHIN, context).await {
            Ok(ExitCode::Done) => ExitCode::Done,
            Ok(_) => code,
            Err(failure) => {
                context.output.error(&failure.to_string());
                code
            }
        }
    }
}
