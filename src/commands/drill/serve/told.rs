//! The few settings that point a relay and `rc` at a simulated LaunchDarkly, ready to paste, and as one JSON object. Secrets
//! that came from outside are named and not printed.

use serde::Serialize;

use super::seeding::Begun;
use crate::commands::drill::relay_program::quoted;
use crate::drill::launchdarkly::EnvironmentKeys;
use crate::drill::launchdarkly::Running;
use crate::ui::output::FAINT;
use crate::ui::output::STRONG;
use crate::ui::output::paint;
use crate::ui::table::Table;
use crate::ui::words::count;

/// For how many environments a relay's section is printed.
const SECTIONS_MAX: usize = 5;

/// The object of `rc drill --serve --json`, printed on one line as soon as it can be used. New fields may come; those that
/// are here stay. docs/drill.md has them too.
#[derive(Debug, Serialize)]
pub struct Settings {
    /// The REST API: `LD_API_URL`.
    pub api: String,
    /// The streams, and all else that SDKs and relays ask for.
    pub stream: String,
    /// Where it can be driven, whatever goes wrong: ends with `/_drill/`.
    pub control: String,
    /// A token for the API; `null` where the seed has its own.
    pub api_key: Option<String>,
    /// What it began with, in words.
    pub from: String,
    /// Its environments.
    pub environments: Vec<EnvironmentSettings>,
}

/// An environment.
#[derive(Debug, Serialize)]
pub struct EnvironmentSettings {
    /// `project/environment`.
    pub environment: String,
    /// Its SDK key; `null` where it is the seed's own.
    pub sdk_key: Option<String>,
    /// The number of its flags.
    pub flags: usize,
    #[serde(skip)]
    project: String,
    #[serde(skip)]
    key: String,
}

impl Settings {
    /// Those of one that runs.
    pub fn of(running: &Running, begun: &Begun) -> Self {
        let environment = |keys: EnvironmentKeys| {
            let name = keys.environment.to_string();
            let sdk_key = (!begun.own_sdk_keys.contains(&name)).then_some(keys.sdk_key);
            EnvironmentSettings {
                environment: name,
                sdk_key,
                flags: keys.flags,
                project: keys.environment.project.to_string(),
                key: keys.environment.key.to_string(),
            }
        };
        Self {
            api: running.base_url.clone(),
            stream: running.stream_url.clone(),
            control: running.control_url.clone(),
            api_key: begun.token.clone(),
            from: begun.told.clone(),
            environments: running.control.environments().into_iter().map(environment).collect(),
        }
    }

    /// For people: what runs, and what to paste where.
    pub fn text(&self) -> String {
        let mut table = Table::indented(2);
        table.row(["api", &self.api]);
        table.row(["streams", &self.stream]);
        table.row(["control", &format!("{}  (docs/drill.md)", self.control)]);
        table.row(["began with", &self.from]);
        for environment in &self.environments {
            table.row(["environment", &format!("{}, {}", environment.environment, count(environment.flags, "flag"))]);
        }
        let key = match &self.api_key {
            Some(key) => format!("    LD_API_KEY={key}"),
            None => paint(FAINT, "    # LD_API_KEY: one of the tokens that the seed has"),
        };
        let mut lines = vec![
            paint(STRONG, "A simulated LaunchDarkly, in memory: it knows nothing of the real one, and ends with this."),
            table.to_string(),
            String::new(),
            paint(STRONG, "rc, in .env or in the environment:"),
            format!("    LD_API_URL={}", self.api),
            key,
            String::new(),
            paint(STRONG, "A relay, in its ld-relay.conf:"),
        ];
        lines.extend(self.relay());
        lines.push(String::new());
        lines.push(
            "A relay that is pointed here puts what is here in the place of everything under its prefix:\n\
             give it this prefix or a Redis of its own, and never a prefix that serves somebody."
                .to_owned(),
        );
        lines.join("\n")
    }

    /// The lines of an `ld-relay.conf`.
    fn relay(&self) -> Vec<String> {
        let stream = quoted(&self.stream);
        let mut lines = vec![
            "    [Main]".to_owned(),
            format!("    streamUri = {stream}"),
            format!("    baseUri = {stream}"),
            format!("    clientSideBaseUri = {stream}"),
            "    [Events]".to_owned(),
            format!("    eventsUri = {stream}"),
        ];
        for environment in self.environments.iter().take(SECTIONS_MAX) {
            let EnvironmentSettings { project, key, sdk_key, .. } = environment;
            lines.push(format!("    [Environment {}]", quoted(&format!("{project} {key}"))));
            lines.push(match sdk_key {
                Some(sdk_key) => format!("    sdkKey = {sdk_key}"),
                None => paint(FAINT, "    # sdkKey: the one that the seed has"),
            });
            lines.push(format!("    projKey = {project}"));
            lines.push(format!("    prefix = {}", quoted(&format!("rc-drill:{project}:{key}"))));
        }
        let more = self.environments.len().saturating_sub(SECTIONS_MAX);
        if more > 0 {
            lines.push(paint(FAINT, &format!("    # and {} more", count(more, "environment"))));
        }
        lines
    }
}
