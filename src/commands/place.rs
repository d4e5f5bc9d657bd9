//! Where an environment is kept: gathers what `targets` decides upon, and explains it when it cannot decide. It reads
//! and never writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::commands::Context;
use crate::commands::relays::Configurations;
use crate::commands::relays::Fleet;
use crate::commands::stores;
use crate::commands::survey;
use crate::commands::targets;
use crate::commands::targets::Choice;
use crate::commands::targets::Evidence;
use crate::commands::targets::Prefixes;
use crate::commands::targets::Unclear;
use crate::error::Failure;
use crate::flag::key::Environment;
use crate::relay::sdk_key::SdkKey;
use crate::store::Store;
use crate::store::StoreError;
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

impl Surroundings {
    /// Looks around. A store or relay that does not answer is told in the result.
    ///
    /// # Errors
    /// Where no store is configured, or a setting, address or relay configuration cannot be meant.
    pub async fn look(context: &Context<'_>) -> Result<Self, Failure> {
        let stores = stores::open(context.settings)?;
        let configurations = Configurations::read(context.settings).await?;
        let (prefixes, fleet) = futures_util::join!(survey::prefixes(&stores), Fleet::look(context.settings));
        Ok(Self { stores, prefixes, fleet: fleet?, configurations })
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
            _ => Prefixes::NotKnown,
        }
    }

    fn unclear(&self, context: &Context<'_>, environment: &Environment, unclear: &Unclear) -> Failure {
        let silent: Vec<&StoreError> = self.prefixes.values().filter_map(|found| found.as_ref().err()).collect();
        if unclear.candidates.is_empty() && silent.len() == self.prefixes.len() {
            return self.nobody_answered(silent);
        }
        let what = if unclear.candidates.is_empty() {
            "no store holds any flags".to_owned()
        } else if unclear.several {
            "several prefixes are said to be it".to_owned()
        } else {
            format!("there is no {}, but:", targets::conventional(environment))
        };
        let mut failure = Failure::usage(format!("which prefix is {environment}? {what}"));
        for candidate in &unclear.candidates {
            let claims = if candidate.said_by.is_empty() {
                String::new()
            } else {
                format!("   says {}", list(&candidate.said_by))
            };
            let prefix = crate::ui::harmless::harmless(&candidate.prefix);
            let flags = usize::try_from(candidate.flag_count).unwrap_or(usize::MAX);
            failure =
                failure.cause(format!("{prefix}  {}  in {}{claims}", count(flags, "flag"), list(&candidate.stores)));
        }
        if unclear.candidates.is_empty() {
            return failure
                .hint("A relay takes such a store for empty: it fills it when it reaches LaunchDarkly, and serves nothing until then.");
        }
        for error in silent {
            failure = failure.cause(error.to_string());
        }
        let file = context.settings.home.as_ref().map_or_else(
            || crate::settings::home::FILE_NAME.to_owned(),
            |home| home.folder.join(crate::settings::home::FILE_NAME).display().to_string(),
        );
        failure
            .hint("Nothing was written. Once: the same command with --prefix PREFIX")
            .hint(format!("For good, in {file}:  [environment.\"{environment}\"]  prefix = \"PREFIX\""))
    }

    fn nobody_answered(&self, silent: Vec<&StoreError>) -> Failure {
        let mut failures: Vec<Failure> = silent.into_iter().cloned().map(Failure::from).collect();
        let worst = failures.iter().position(|failure| failure.kind != crate::error::Kind::Unreachable).unwrap_or(0);
        let mut first = failures.swap_remove(worst);
        if failures.is_empty() {
            return first;
        }
        let message = format!("none of {} answered as it should", count(failures.len() + 1, "store"));
        first = first.while_doing(message);
        failures.into_iter().fold(first, |first, other| first.cause(other.message))
    }
}
