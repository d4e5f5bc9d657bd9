//! Where people are told what happens. The addresses of most places are secrets: whoever has one can write there.

use super::SettingsError;
use super::layers::Layers;
use super::parsed;
use super::table;
use super::table::Setting;
use super::with_default;
use crate::ui::secret::Secret;

/// Where people are told, each if it is set. What is set is not checked yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifySettings {
    /// A webhook of the operator's own.
    pub webhook: Option<Secret>,
    /// What goes to it is signed with this.
    pub webhook_key: Option<Secret>,
    /// An incoming webhook of Slack.
    pub slack: Option<Secret>,
    /// A webhook of Microsoft Teams.
    pub teams: Option<Secret>,
    /// PagerDuty's integration key.
    pub pagerduty: Option<Secret>,
    /// Where PagerDuty takes events.
    pub pagerduty_url: String,
}

pub(super) fn read(layers: &Layers) -> Result<NotifySettings, SettingsError> {
    let secret = |setting: &Setting| parsed(layers, setting, |text| Ok(Secret::new(text.trim())));
    Ok(NotifySettings {
        webhook: secret(&table::RC_NOTIFY_WEBHOOK)?,
        webhook_key: secret(&table::RC_NOTIFY_WEBHOOK_KEY)?,
        slack: secret(&table::RC_NOTIFY_SLACK)?,
        teams: secret(&table::RC_NOTIFY_TEAMS)?,
        pagerduty: secret(&table::RC_NOTIFY_PAGERDUTY)?,
        pagerduty_url: with_default(layers, &table::RC_NOTIFY_PAGERDUTY_URL, |text| Ok(text.to_owned()))?,
    })
}
