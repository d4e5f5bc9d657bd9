//! Where an environment is kept: gathers what `targets` decides upon, and explains it when it cannot decide. It reads
//! and never writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::change::target::Target;
use crate::commands::Context;
use crate::commands::guards::Guards;
use crate::commands::relays::Before;
use crate::commands::relays::Configurations;
use crate::commands::relays::Fleet;
use crate::commands::stores;
use crate::commands::survey;
use crate::commands::targets;
use crate::commands::targets::Choice;
use crate::commands::targets::Chosen;
use crate::commands::targets::Evidence;
use crate::commands::targets::Prefixes;
use crate::commands::targets::Unclear;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::relay::sdk_key::SdkKey;
use crate::store::Reading;
use crate::store::Store;
use crate::store::StoreError;
use crate::ui::harmless::harmless;
use crate::ui::table::Table;
use crate::ui::words::count;
use crate::ui::words::list;

/// Everything around one run that does not depend on an environment: stores, their prefixes, relays and what is known
/// about them. Looked at once, all at the same time.
pub struct Surroundings {
    /// The stores, in the order in which they were named.
    pub stores: Vec<Arc<dyn Store>>,
    /// Their prefixes.
    pub prefixes: BTreeMap<String, Result<Vec<crate::store::PrefixFound>, StoreError>>,
    /// The relays.
    pub fleet: Fleet,
    /// The relays' own configuration.
    pub configurations: Configurations,
}

/// What targets hold, read before it was certain that they are the right ones.
pub type Ahead = BTreeMap<Target, Result<Reading, StoreError>>;

impl Surroundings {
    /// Looks around. A store or relay that does not answer is told in the result.
    ///
    /// # Errors
    /// Where no store is configured, or a setting, address or relay configuration cannot be meant.
    pub async fn look(context: &Context<'_>) -> Result<Self, Failure> {
        let (surroundings, ..) = Self::look_ahead(context, &BTreeMap::new()).await?;
        Ok(surroundings)
    }

    /// Looks around, and at the same time at what is wanted, in the place where it probably is, and at the guards there: what
    /// comes of that may be used where the place turns out to be the right one.
    ///
    /// # Errors
    /// As [`Surroundings::look`].
    pub async fn look_ahead(
        context: &Context<'_>,
        wanted: &BTreeMap<Environment, Vec<FlagKey>>,
    ) -> Result<(Self, Ahead, Guards), Failure> {
        let stores = stores::open(context.settings)?;
        let configurations = Configurations::read(context.settings).await?;
        let probable: Vec<(String, &[FlagKey])> = wanted
            .iter()
            .map(|(environment, flags)| (probable_prefix(context, &configurations, environment), flags.as_slice()))
            .collect();
        let expected: Vec<String> = probable.iter().map(|(prefix, _)| prefix.clone()).collect();
        let ahead = stores.iter().filter(|store| store.has_prefixes()).flat_map(|store| {
            probable.iter().map(move |(prefix, flags)| async move {
                let target = Target { store: store.label().to_owned(), prefix: prefix.clone() };
                (target, store.read(prefix, flags).await)
            })
        });
        let beside = stores.iter().filter(|store| store.has_prefixes()).flat_map(|store| {
            let target = |prefix: &String| Target { store: store.label().to_owned(), prefix: prefix.clone() };
            expected.iter().map(target).collect::<Vec<_>>()
        });
        let (prefixes, fleet, ahead, guards) = futures_util::join!(
            survey::prefixes(&stores, &expected),
            Fleet::look(context.settings),
            join_all(ahead),
            Guards::look(&stores, beside)
        );
        Ok((Self { stores, prefixes, fleet: fleet?, configurations }, ahead.into_iter().collect(), guards))
    }

    /// The targets of an environment.
    ///
    /// # Errors
    /// Where nothing, or several things, say which prefix it is: the candidates, and what to type.
    pub fn targets(&self, context: &Context<'_>, environment: &Environment) -> Result<Choice, Failure> {
        let setting = context.settings.environments.get(environment);
        let evidence = Evidence {
            given: context.settings.prefix.clone(),
            named: setting.and_then(|setting| setting.prefix.clone()),
            named_in: setting.map(|setting| setting.prefixes.clone()).unwrap_or_default(),
            configured: self.configurations.claims(environment),
            reported: self.fleet.claims(environment),
            stores: self
                .stores
                .iter()
                .map(|store| (store.label().to_owned(), self.prefixes_of(store.as_ref())))
                .collect(),
        };
        let mut choice =
            targets::choose(environment, &evidence).map_err(|unclear| self.unclear(context, environment, &unclear))?;
        // In the order in which the stores were named; a store's targets stay in theirs.
        let place = |label: &str| self.stores.iter().position(|store| store.label() == label);
        choice.targets.sort_by_key(|chosen| place(&chosen.target.store));
        Ok(choice)
    }

    /// The environment's SDK key that the settings name, for looking at what relays serve.
    ///
    /// # Errors
    /// Where the file cannot be read, or holds no key.
    pub fn given_key(&self, context: &Context<'_>, environment: &Environment) -> Result<Option<SdkKey>, Failure> {
        let setting = context.settings.environments.get(environment);
        let Some(path) = setting.and_then(|setting| setting.sdk_key_file.as_ref()) else { return Ok(None) };
        let wrong = |problem: String| {
            Failure::usage(format!("the SDK key of {environment}, {}, cannot be used", path.display())).cause(problem)
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        SdkKey::parse(text.trim()).map(Some).map_err(|error| wrong(error.to_string()))
    }

    /// The relays before each of `chosen`, in the same order. `key`: the environment's SDK key, where the settings name it.
    pub fn relays_before(
        &self,
        environment: &Environment,
        chosen: &[Chosen],
        key: Option<&SdkKey>,
    ) -> Vec<Vec<Before<'_>>> {
        self.fleet.before(environment, chosen, &self.addresses(), &self.configurations, key)
    }

    /// The stores' addresses by label, as relays may name them.
    pub fn addresses(&self) -> BTreeMap<String, String> {
        self.stores.iter().map(|store| (store.label().to_owned(), store.address())).collect()
    }

    fn prefixes_of(&self, store: &dyn Store) -> Prefixes {
        if !store.has_prefixes() {
            return Prefixes::None;
        }
        match self.prefixes.get(store.label()) {
            Some(Ok(found)) => Prefixes::Found(found.clone()),
            Some(Err(StoreError::Unreachable { .. })) => Prefixes::Silent,
            _ => Prefixes::NotKnown,
        }
    }

    fn unclear(&self, context: &Context<'_>, environment: &Environment, unclear: &Unclear) -> Failure {
        let silent: Vec<(&str, &StoreError)> = self
            .stores
            .iter()
            .filter_map(|store| Some((store.label(), self.prefixes.get(store.label())?.as_ref().err()?)))
            .collect();
        if unclear.candidates.is_empty() && silent.len() == self.prefixes.len() {
            return self.nobody_answered(silent);
        }
        if unclear.candidates.is_empty() {
            let which = if silent.is_empty() { "no store" } else { "no store that answered" };
            let failure = Failure::refused(format!("{which} holds any flags, of {environment} or any other"));
            return silent
                .into_iter()
                .fold(failure, |failure, (label, error)| failure.cause(labelled(label, &error.to_string())))
                .hint("Nothing was written. A relay that meets such a store takes it for empty:")
                .hint("it fills it as soon as it reaches LaunchDarkly, and serves nothing from it until then.");
        }
        let what = if unclear.several {
            "several prefixes are said to be it".to_owned()
        } else {
            format!("there is no {}, but:", targets::conventional(environment))
        };
        let mut failure = Failure::usage(format!("which prefix is {environment}? {what}"));
        let mut table = Table::new();
        for candidate in &unclear.candidates {
            let claims =
                if candidate.said_by.is_empty() { String::new() } else { format!("says {}", list(&candidate.said_by)) };
            let prefix = harmless(&candidate.prefix);
            let flags = usize::try_from(candidate.flag_count).unwrap_or(usize::MAX);
            table.row([
                prefix.into_owned(),
                count(flags, "flag"),
                format!("in {}", list(&candidate.stores)),
                harmless(&claims).into_owned(),
            ]);
        }
        failure = failure.cause(table.to_string());
        for (label, error) in silent {
            failure = failure.cause(labelled(label, &error.to_string()));
        }
        let file = context.settings.home.as_ref().map_or_else(
            || crate::settings::home::FILE_NAME.to_owned(),
            |home| home.folder.join(crate::settings::home::FILE_NAME).display().to_string(),
        );
        failure
            .hint("Nothing was written. Once: the same command with --prefix PREFIX")
            .hint(format!("For good, in {file}:  [environment.\"{environment}\"]  prefix = \"PREFIX\""))
    }

    fn nobody_answered(&self, silent: Vec<(&str, &StoreError)>) -> Failure {
        const NOTHING: &str = "Nothing was written or recorded.";
        let failure = |(label, error): (&str, &StoreError)| {
            let failure = Failure::from(error.clone());
            Failure { message: labelled(label, &failure.message), ..failure }
        };
        let mut failures: Vec<Failure> = silent.into_iter().map(failure).collect();
        let worst = failures.iter().position(|failure| failure.kind != Kind::Unreachable).unwrap_or(0);
        let mut first = failures.swap_remove(worst);
        first.hints.insert(0, NOTHING.to_owned());
        if failures.is_empty() {
            return first;
        }
        let message = format!("none of {} answered as it should", count(failures.len() + 1, "store"));
        first = first.while_doing(message);
        failures.into_iter().fold(first, |first, other| first.cause(other.message))
    }
}

/// The prefix that an environment has if nothing is special about it: a guess, which decides nothing.
fn probable_prefix(context: &Context<'_>, configurations: &Configurations, environment: &Environment) -> String {
    let named = || context.settings.environments.get(environment).and_then(|setting| setting.prefix.clone());
    let configured = || configurations.claims(environment).into_iter().next().map(|claim| claim.prefix);
    let probable = context.settings.prefix.clone().or_else(named).or_else(configured);
    probable.unwrap_or_else(|| targets::conventional(environment))
}

/// What a store said, under its label where its address is not the label itself.
fn labelled(label: &str, told: &str) -> String {
    if told.starts_with(label) { told.to_owned() } else { format!("{label}: {told}") }
}
