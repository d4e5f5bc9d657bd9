//! LaunchDarkly's own data path, asked directly: what it delivers, at this moment, to SDKs with an environment's SDK key. It
//! is evidence and no more: where it cannot be asked, refuses the key, is away or lags behind its API, an override stays
//! held as it would without it, and the replay has lost nothing but a moment.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::change::override_::Override;
use crate::change::seen;
use crate::commands::Context;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::commands::replay::owed::Subject;
use crate::flag::key::Environment;
use crate::flag::record::Record;
use crate::launchdarkly::Delivery;
use crate::launchdarkly::DeliveryError;
use crate::launchdarkly::Token;
use crate::launchdarkly::address;
use crate::settings::Settings;
use crate::ui::harmless::excerpt;

/// The longest that one answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How many flags are asked for at once.
const AT_ONCE: usize = 8;
/// How long flags are asked for the first time; those that are left then are held.
const FIRST_MAX: Duration = Duration::from_secs(10);
/// How long those that lag behind are asked for again.
const AGAIN_MAX: Duration = Duration::from_secs(2);
/// The pause before it is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// An override that LaunchDarkly has as this version, says its API.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    /// Which flag.
    pub subject: &'w Subject,
    /// As it was sent.
    pub override_: &'w Override,
    /// LaunchDarkly's version.
    pub version: u64,
    /// Whether it was sent a moment ago, so that a broadcast is to come.
    pub just_sent: bool,
}

/// Where to ask for which environment, and what was found.
#[derive(Debug, Default)]
pub struct Delivered {
    of: BTreeMap<Environment, Delivery>,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    records: BTreeMap<Subject, Record>,
    /// Environments about which nothing more is asked, and why.
    given_up: BTreeMap<Environment, DeliveryError>,
}

impl Delivered {
    /// Where to ask about each environment of `views`, as far as an address and an SDK key are known. Nobody is asked yet.
    pub fn new(context: &Context<'_>, surroundings: &Surroundings, views: &[EnvironmentView<'_>]) -> Self {
        let of =
            views.iter().filter_map(|view| Some((view.environment.clone(), delivery(context, surroundings, view)?)));
        Self { of: of.collect(), found: Mutex::default() }
    }

    /// LaunchDarkly's own record of `version` or a later one, if it was delivered.
    pub fn shown(&self, subject: &Subject, version: u64) -> Option<Record> {
        self.found().records.get(subject).filter(|record| record.version() >= version).cloned()
    }

    /// Asks for each of these, and `again` for those that lag behind, a moment long, until `is_shown`.
    pub async fn ask(&self, wanted: &[Wanted<'_>], again: bool, is_shown: impl Fn(&Wanted<'_>) -> bool) {
        let began = Instant::now();
        let mut pending: Vec<Wanted<'_>> = wanted.to_vec();
        loop {
            pending.retain(|one| self.is_asked_about(&one.subject.0) && !is_shown(one));
            for group in pending.chunks(AT_ONCE) {
                if began.elapsed() >= FIRST_MAX {
                    return;
                }
                join_all(group.iter().map(|one| self.ask_for(one))).await;
            }
            pending.retain(|one| self.is_asked_about(&one.subject.0) && !is_shown(one));
            if pending.is_empty() || !again || began.elapsed() >= AGAIN_MAX {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Why environments were given up, each reason once.
    pub fn problems(&self) -> Vec<String> {
        let told: BTreeSet<String> = self
            .found()
            .given_up
            .iter()
            .map(|(of, error)| format!("{}, about {of}", excerpt(&error.to_string())))
            .collect();
        told.into_iter().collect()
    }

    fn is_asked_about(&self, environment: &Environment) -> bool {
        self.of.contains_key(environment) && !self.found().given_up.contains_key(environment)
    }

    async fn ask_for(&self, wanted: &Wanted<'_>) {
        let (environment, flag) = wanted.subject;
        let Some(delivery) = self.of.get(environment).filter(|_| self.is_asked_about(environment)) else { return };
        match delivery.flag(flag).await {
            Ok(Some(record)) if seen::delivers(&record, wanted.override_, wanted.version) => {
                self.found().records.insert(wanted.subject.clone(), record);
            }
            Ok(_) => {}
            Err(error) => {
                self.found().given_up.insert(environment.clone(), error);
            }
        }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where LaunchDarkly's SDKs poll: as the settings say, else beside LaunchDarkly's own API.
pub fn base(settings: &Settings) -> Option<&str> {
    let given = settings.launchdarkly.sdk_url.as_deref();
    given.or_else(|| address::delivery_beside(&settings.launchdarkly.api_url))
}

/// Whom to ask about an environment, where the address is known, and it is certain that an SDK key is this environment's.
pub fn delivery(context: &Context<'_>, surroundings: &Surroundings, view: &EnvironmentView<'_>) -> Option<Delivery> {
    let settings = &context.settings.launchdarkly;
    let base = base(context.settings)?;
    let given = surroundings.given_key(context, &view.environment).ok().flatten();
    let key = given.or_else(|| {
        let targets = view.targets.as_ref().ok()?;
        let prefixes: Vec<&str> = targets.iter().map(|target| target.chosen.target.prefix.as_str()).collect();
        surroundings.configurations.certain_key(&view.environment, &prefixes)
    })?;
    // The settings have seen to it that the address can be used.
    Delivery::new(base, Token::new(key.expose()), settings.timeout.min(ANSWER_MAX)).ok()
}
