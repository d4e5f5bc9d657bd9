//! The options that every command takes. What they mean is decided with everything else in `Settings::resolve`; this is
//! only what was typed.

use std::path::PathBuf;

use clap::Args;

use super::table;
use super::table::Setting;
use crate::ui::output::Colour;

/// Options of every command, as typed.
#[derive(Debug, Clone, Default, Args)]
pub struct GlobalArguments {
    /// LaunchDarkly project, by key
    #[arg(short, long, global = true, value_name = "PROJECT", help_heading = "Where")]
    pub project: Option<String>,

    /// Environment of the project, by key
    #[arg(short, long, global = true, value_name = "ENVIRONMENT", help_heading = "Where")]
    pub environment: Option<String>,

    /// Prefix of the environment's keys in every store
    #[arg(long, global = true, value_name = "PREFIX", help_heading = "Where")]
    pub prefix: Option<String>,

    /// Stores by URL, comma separated, each with LABEL= in front if you like
    #[arg(long, global = true, value_name = "URLS", help_heading = "Where", hide_short_help = true)]
    pub stores: Option<String>,

    /// PEM file with the authority of rediss:// servers
    #[arg(long, global = true, value_name = "FILE", help_heading = "Where", hide_short_help = true)]
    pub redis_ca: Option<PathBuf>,

    /// The relay's configuration file (ld-relay.conf); may be given several times
    #[arg(long, global = true, value_name = "FILE", help_heading = "Where", hide_short_help = true)]
    pub relay_config: Vec<PathBuf>,

    /// Folder of recorded changes
    #[arg(long, global = true, value_name = "FOLDER", help_heading = "Where", hide_short_help = true)]
    pub playback: Option<PathBuf>,

    /// Who makes the change, where that is not the user
    #[arg(long = "as", global = true, value_name = "NAME", help_heading = "How")]
    pub actor: Option<String>,

    /// How long to wait for a store or a relay, such as 2s
    #[arg(long, global = true, value_name = "TIME", help_heading = "How", hide_short_help = true)]
    pub timeout: Option<String>,

    /// How long to wait for each answer of LaunchDarkly's API, such as 10s
    #[arg(long, global = true, value_name = "TIME", help_heading = "How", hide_short_help = true)]
    pub api_timeout: Option<String>,

    /// Agree to everything that would be asked
    #[arg(short, long, global = true, help_heading = "How")]
    pub yes: bool,

    /// Never ask, also on a terminal
    #[arg(long, global = true, help_heading = "How")]
    pub no_input: bool,

    /// Print JSON instead of tables
    #[arg(long, global = true, help_heading = "How")]
    pub json: bool,

    /// Colour the output
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "How",
        hide_short_help = true
    )]
    pub color: Colour,

    /// Say what the settings are and where they come from
    #[arg(short, long, global = true, help_heading = "How")]
    pub verbose: bool,
}

impl GlobalArguments {
    /// What was typed of the settings in the table, as text.
    pub(super) fn given(&self) -> Vec<(&'static Setting, String)> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let files: Vec<String> = self.relay_config.iter().map(path).collect();
        let given = [
            (&table::RC_PROJECT, self.project.clone()),
            (&table::RC_ENVIRONMENT, self.environment.clone()),
            (&table::RC_PREFIX, self.prefix.clone()),
            (&table::RC_STORES, self.stores.clone()),
            (&table::RC_REDIS_CA, self.redis_ca.as_ref().map(path)),
            (&table::RC_RELAY_CONFIG, Some(files.join(",")).filter(|files| !files.is_empty())),
            (&table::RC_PLAYBACK, self.playback.as_ref().map(path)),
            (&table::RC_ACTOR, self.actor.clone()),
            (&table::RC_TIMEOUT, self.timeout.clone()),
            (&table::RC_API_TIMEOUT, self.api_timeout.clone()),
            (&table::RC_NO_INPUT, self.no_input.then(|| "true".to_owned())),
        ];
        given.into_iter().filter_map(|(setting, value)| Some((setting, value?))).collect()
    }
}
