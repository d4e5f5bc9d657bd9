//! What a guard tells while it runs, on standard error: lines for people, or one JSON object a line. Every line has its time.
//! Nobody waits for who reads them: the task that tells is the one that hears the end of the process.

use std::future::Future;
use std::net::SocketAddr;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc;

use crate::commands::guard::notifying::Notifying;
use crate::error::Failure;
use crate::guard::alarm::Alarm;
use crate::guard::alarm::Alarms;
use crate::guard::alarm::Told;
use crate::guard::environment::GuardedEnvironment;
use crate::settings::LogForm;
use crate::ui::harmless::harmless;
use crate::ui::output::Output;
use crate::ui::teller::Teller;
use crate::ui::words::count;
use crate::ui::words::list;

/// Tells what happens.
pub(super) struct Telling {
    teller: Teller,
    form: LogForm,
    /// Counts what could not be told.
    alarms: Alarms,
}

/// What is told first.
pub(super) struct Beginning<'b> {
    pub name: &'b str,
    /// `None` where it watches stores alone.
    pub address: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub launchdarkly: String,
    pub environments: &'b [GuardedEnvironment],
    pub shadow: bool,
    pub is_plain: bool,
}

impl Telling {
    /// Begins to tell.
    pub(super) fn start(output: &Output, form: LogForm, alarms: Alarms) -> Self {
        let dropped = move |number: u64| {
            let number = count(usize::try_from(number).unwrap_or(usize::MAX), "line");
            shaped(form, &format!("{number} not told: nobody read standard error for a while"))
        };
        Self { teller: output.teller(Box::new(dropped)), form, alarms }
    }

    /// Tells alarms, also to people elsewhere, until `ended` comes back.
    pub(super) async fn until(
        &self,
        ended: impl Future<Output = Result<(), Failure>>,
        mut told: mpsc::Receiver<Told>,
        notifying: &Notifying,
    ) -> Result<(), Failure> {
        let mut ended = std::pin::pin!(ended);
        loop {
            tokio::select! {
                ended = &mut ended => return ended,
                Some(told) = told.recv() => {
                    self.alarm(&told);
                    notifying.tell(&told);
                }
            }
        }
    }

    /// Tells where the guard listens, and whom it guards.
    pub(super) fn beginning(&self, beginning: &Beginning<'_>) {
        let (placed, unplaced): (Vec<_>, Vec<_>) =
            beginning.environments.iter().partition(|environment| !environment.targets.is_empty());
        let names = |of: &[&GuardedEnvironment]| -> Vec<String> {
            of.iter().map(|environment| environment.name.clone()).collect()
        };
        if self.form == LogForm::Json {
            let line = json!({
                "time": now(),
                "what": "listens",
                "name": beginning.name,
                "address": beginning.address.map(|address| address.to_string()),
                "admin": beginning.admin.map(|admin| admin.to_string()),
                "launchdarkly": beginning.launchdarkly,
                "shadow": beginning.shadow,
                "environments": names(&placed),
                "notKept": names(&unplaced),
            });
            self.tell(&line.to_string());
            return;
        }
        let admin = beginning.admin.map(|admin| format!(", status at http://{admin}/status")).unwrap_or_default();
        self.say(&match beginning.address {
            Some(address) => format!(
                "guard {} listens at {address}{admin}; LaunchDarkly's stream is {}",
                beginning.name, beginning.launchdarkly
            ),
            None => format!(
                "guard {} watches stores alone (--no-stream){admin}: what is lost there is written again; SDKs that stay \
                 connected keep what their relay was sent last",
                beginning.name
            ),
        });
        if beginning.environments.is_empty() {
            self.say(
                "no environment is configured: until a relay brings one by automatic configuration, no override reaches \
                 anybody. The relays' own configuration is named with --relay-config",
            );
        }
        if !placed.is_empty() {
            self.say(&format!("guards {}", list(&names(&placed))));
        }
        if !unplaced.is_empty() {
            self.say(&format!(
                "it is not known in which store {} is kept: relays get LaunchDarkly's stream of it, and NO OVERRIDE reaches \
                 them. Give it a prefix in the relay's configuration, or name a store: REDIS_HOSTS",
                list(&names(&unplaced))
            ));
        }
        if beginning.shadow {
            self.say("only forwards and compares (--shadow): what it would have done is told, and nothing is done");
        }
        if beginning.is_plain && beginning.address.is_some_and(|address| !address.ip().is_loopback()) {
            self.say("relays send SDK keys to it unencrypted: on a network that others use, give it a certificate (--tls-cert)");
        }
    }

    /// Tells something.
    pub(super) fn say(&self, text: &str) {
        self.tell(&shaped(self.form, text));
    }

    fn tell(&self, line: &str) {
        if !self.teller.say(line) {
            self.alarms.not_told();
        }
    }

    fn alarm(&self, told: &Told) {
        let (what, alarm) = match told {
            Told::Raised(alarm) => ("alarm", alarm),
            Told::Over(alarm) => ("over", alarm),
        };
        match self.form {
            LogForm::Text => {
                let words = if what == "over" { "over: " } else { "" };
                self.tell(&format!("{} [{}] {words}{}", now(), alarm.name.kind.name(), harmless(&alarm.told)));
            }
            LogForm::Json => self.tell(&line_of(what, alarm).to_string()),
        }
    }
}

fn shaped(form: LogForm, text: &str) -> String {
    match form {
        LogForm::Text => format!("{} {}", now(), harmless(text)),
        LogForm::Json => json!({ "time": now(), "what": "says", "told": text }).to_string(),
    }
}

fn line_of(what: &str, alarm: &Alarm) -> serde_json::Value {
    json!({
        "time": now(),
        "what": what,
        "alarm": alarm.name.kind.name(),
        "environment": alarm.name.environment,
        "flag": alarm.name.flag.as_ref().map(ToString::to_string),
        "since": format!("{:.0}", alarm.since),
        "told": alarm.told,
    })
}

fn now() -> String {
    format!("{:.0}", Timestamp::now())
}
