//! What LaunchDarkly delivers to SDKs, which `rc replay` asks for as evidence: is an address and a key known, does it answer,
//! and is it about this environment. Nothing depends on it, so nothing of it is BAD.

use futures_util::future::join_all;

use super::finding::Findings;
use super::finding::Part;
use super::records::Samples;
use crate::change::seen;
use crate::commands::Context;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::commands::replay::delivered;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::launchdarkly::Delivery;
use crate::launchdarkly::DeliveryError;
use crate::ui::harmless::excerpt;

const SUBJECT: &str = "what SDKs get";
const WITHOUT: &str = "after a replay, stores hold a change until a relay's stream shows it";

/// Asks for one flag of each environment, all at the same time.
pub(super) async fn examine(
    context: &Context<'_>,
    surroundings: &Surroundings,
    views: &[EnvironmentView<'_>],
    samples: &Samples,
    findings: &mut Findings,
) {
    // Without a token nothing is replayed from here.
    if delivered::base(context.settings).is_none() || context.settings.launchdarkly.api_key.is_none() {
        return;
    }
    let asked = views.iter().map(|view| async move {
        let name = view.environment.to_string();
        let Some(delivery) = delivered::delivery(context, surroundings, view) else { return (name, None) };
        let Some((flag, record)) = samples.get(&name) else { return (name, None) };
        let answer = delivery.flag(flag).await;
        (name, Some((delivery, flag, record, answer)))
    });
    for (name, asked) in join_all(asked).await {
        match asked {
            Some((delivery, flag, record, answer)) => tell(&name, &delivery, (flag, record), answer, findings),
            None if samples.contains_key(&name) => {
                let told = format!("not asked, since no SDK key is certain to be this environment's: {WITHOUT}");
                let way_out = format!("[environment.\"{name}\"]  sdk_key_file = \"…\" in relaycommander.toml");
                findings.note(Part::LaunchDarkly, &name, SUBJECT, told, Some(way_out));
            }
            None => {}
        }
    }
}

fn tell(
    name: &str,
    delivery: &Delivery,
    (flag, record): (&FlagKey, &Record),
    answer: Result<Option<Record>, DeliveryError>,
    findings: &mut Findings,
) {
    let origin = delivery.origin();
    let (told, way_out) = match answer {
        Ok(Some(delivered)) if seen::is_same_flag(&delivered, record) => {
            let told = format!("{origin} takes the SDK key and delivers {flag}, as rc replay will ask");
            findings.good(Part::LaunchDarkly, name, SUBJECT, told);
            return;
        }
        Ok(Some(_)) => (
            format!(
                "{origin} delivers another {flag} (its salt differs): the SDK key is another environment's, or the store is"
            ),
            "the SDK key of this environment in sdk_key_file or in the relay's configuration",
        ),
        Ok(None) => (
            format!("{origin} has no {flag}, which the stores have"),
            "the SDK key of this environment in sdk_key_file or in the relay's configuration; LD_SDK_URL",
        ),
        Err(error @ DeliveryError::KeyRefused { .. }) => {
            (excerpt(&error.to_string()), "a valid SDK key in sdk_key_file or in the relay's configuration")
        }
        Err(error) => (
            format!("{}: {WITHOUT}", excerpt(&error.to_string())),
            "an outage, or the way there: LD_SDK_URL, HTTPS_PROXY, the firewall",
        ),
    };
    findings.note(Part::LaunchDarkly, name, SUBJECT, told, Some(way_out.to_owned()));
}
