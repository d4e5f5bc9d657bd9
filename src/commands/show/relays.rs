//! What relays serve of one flag: asked anew, in both ways in which SDKs ask. It claims nothing about connections that
//! are older than this question.

use futures_util::future::join_all;
use serde::Serialize;

use crate::change::target::Target;
use crate::commands::Context;
use crate::commands::flags::listed::CopyTold;
use crate::commands::flags::listed::State;
use crate::commands::place::Surroundings;
use crate::commands::relays::Before;
use crate::commands::targets::Chosen;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::relay::client::RelayClient;
use crate::relay::client::RelayError;
use crate::relay::served::Served;
use crate::ui::harmless::harmless;

/// One relay before one target, and what it serves.
#[derive(Debug, Serialize)]
pub(super) struct RelayShown {
    /// The relay's label.
    pub(super) relay: String,
    /// The target that it stands before.
    #[serde(flatten)]
    pub(super) target: Target,
    /// The payload filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filter: Option<String>,
    /// Why it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_asked: Option<String>,
    /// What a new connection to its stream begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream: Option<Answer>,
    /// What one who polls for the flag gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) poll: Option<Answer>,
}

/// What a relay served.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// A record, or none.
    Served {
        /// In short.
        #[serde(flatten)]
        told: CopyTold,
        /// Its text, for comparing.
        #[serde(skip)]
        text: Option<String>,
    },
    /// It did not say.
    Failed {
        /// Why.
        problem: String,
    },
}

/// Asks every relay before the targets, all at once.
pub(super) async fn ask(
    context: &Context<'_>,
    surroundings: &Surroundings,
    environment: &Environment,
    chosen: &[Chosen],
    flag: &FlagKey,
) -> Vec<RelayShown> {
    let key = surroundings.given_key(context, environment).unwrap_or_else(|failure| {
        context.output.warn(&harmless(&failure.message));
        None
    });
    let before = surroundings.relays_before(environment, chosen, key.as_ref());
    let places =
        chosen.iter().zip(before).flat_map(|(chosen, before)| before.into_iter().map(move |one| (chosen, one)));
    let client = surroundings.fleet.client.as_ref();
    join_all(places.map(|(chosen, before)| ask_one(context, client, chosen, before, flag))).await
}

async fn ask_one(
    context: &Context<'_>,
    client: Option<&RelayClient>,
    chosen: &Chosen,
    before: Before<'_>,
    flag: &FlagKey,
) -> RelayShown {
    let mut shown = RelayShown {
        relay: before.relay.address.label().to_owned(),
        target: chosen.target.clone(),
        filter: before.filter.clone(),
        not_asked: None,
        stream: None,
        poll: None,
    };
    if let Err(error) = &before.relay.status {
        shown.not_asked = Some(error.to_string());
        return shown;
    }
    let (Some(client), Some(key)) = (client, &before.key) else {
        shown.not_asked =
            Some("its SDK key is not known here (rc help environment: RC_RELAY_CONFIG, sdk_key_file)".to_owned());
        return shown;
    };
    let at_most = context.settings.timeout;
    let fresh = client.fresh(&before.relay.address, key, before.filter.as_deref(), flag, None, at_most).await;
    shown.stream = Some(Answer::of(fresh.connected));
    shown.poll = Some(Answer::of(fresh.polled.map(|polled| polled.served)));
    shown
}

impl Answer {
    fn of(answer: Result<Option<Served>, RelayError>) -> Self {
        match answer {
            Err(error) => Answer::Failed { problem: error.to_string() },
            Ok(None) => Answer::Served { told: CopyTold::of(None), text: None },
            Ok(Some(served)) if served.deleted => {
                let told = CopyTold { state: State::Deleted, version: Some(served.version), ..CopyTold::of(None) };
                Answer::Served { told, text: None }
            }
            Ok(Some(served)) => {
                Answer::Served { told: CopyTold::of(Some(served.text.as_bytes())), text: Some(served.text) }
            }
        }
    }
}
