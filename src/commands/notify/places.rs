//! From settings to the places where people are told. Nothing is sent.

use crate::error::Failure;
use crate::notification::Place;
use crate::notification::PlaceKind;
use crate::settings::NotifySettings;
use crate::settings::table;
use crate::settings::table::Setting;

/// The places that are set, in the order of `rc help environment`.
///
/// # Errors
/// An address, or a key, that cannot be meant.
pub fn places(settings: &NotifySettings) -> Result<Vec<Place>, Failure> {
    let mut places = Vec::new();
    let mut add = |setting: &Setting, kind: PlaceKind, address: &str| -> Result<(), Failure> {
        let place = Place::new(kind, address);
        places.push(place.map_err(|problem| Failure::usage(format!("{} {problem}", setting.name)))?);
        Ok(())
    };
    if let Some(address) = &settings.webhook {
        let kind = PlaceKind::Webhook { key: settings.webhook_key.clone() };
        add(&table::RC_NOTIFY_WEBHOOK, kind, address.expose())?;
    } else if settings.webhook_key.is_some() {
        let name = (table::RC_NOTIFY_WEBHOOK_KEY.name, table::RC_NOTIFY_WEBHOOK.name);
        return Err(Failure::usage(format!("{} is set, and {} is not: nothing would be signed", name.0, name.1)));
    }
    if let Some(address) = &settings.slack {
        add(&table::RC_NOTIFY_SLACK, PlaceKind::Slack, address.expose())?;
    }
    if let Some(address) = &settings.teams {
        add(&table::RC_NOTIFY_TEAMS, PlaceKind::Teams, address.expose())?;
    }
    if let Some(routing_key) = &settings.pagerduty {
        let kind = PlaceKind::PagerDuty { routing_key: routing_key.clone() };
        add(&table::RC_NOTIFY_PAGERDUTY_URL, kind, &settings.pagerduty_url)?;
    }
    Ok(places)
}
