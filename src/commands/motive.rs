//! Why a change is made: the options that say so, and the settings behind them.

use jiff::Timestamp;

use crate::change::edit::Motive;
use crate::settings::Settings;
use crate::settings::readable;

/// Why, for the commands that change something.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct MotiveArguments {
    /// Why: stands in the record, in the stores' log and in the comment to LaunchDarkly
    #[arg(long, value_name = "TEXT", value_parser = readable)]
    pub reason: Option<String>,

    /// The incident that the change belongs to
    #[arg(long, value_name = "NAME", value_parser = readable)]
    pub incident: Option<String>,
}

impl MotiveArguments {
    /// Who, when and why: as typed, else as configured.
    pub fn motive(&self, settings: &Settings, at: Timestamp, expires: Option<Timestamp>) -> Motive {
        Motive {
            actor: settings.actor.clone(),
            at,
            reason: self.reason.clone().or_else(|| settings.reason.clone()),
            incident: self.incident.clone().or_else(|| settings.incident.clone()),
            expires,
        }
    }
}
