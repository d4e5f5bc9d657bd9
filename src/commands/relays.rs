//! The relays of this run: what they say of themselves, what their configuration says, which of them stand before which
//! target, and the SDK keys by which what they serve can be looked at. It joins `relay/` with settings; judging is
//! `relay/`'s own.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::join_all;

use crate::change::target::Target;
use crate::commands::guards::RelayFacts;
use crate::commands::targets::Chosen;
use crate::commands::targets::Claim;
use crate::error::Failure;
use crate::flag::key::Environment;
use crate::relay::address::RelayAddress;
use crate::relay::client::Deadlines;
use crate::relay::client::RelayClient;
use crate::relay::client::RelayError;
use crate::relay::configuration::RelayConfiguration;
use crate::relay::configuration::RelayEnvironment;
use crate::relay::pairing;
use crate::relay::pairing::RelayPlace;
use crate::relay::pairing::Serving;
use crate::relay::pairing::StorePlace;
use crate::relay::sdk_key::SdkKey;
use crate::relay::status::EnvironmentStatus;
use crate::relay::status::RelayStatus;
use crate::settings::Settings;

/// What the relays' own configuration says; read once, asks nobody.
#[derive(Debug, Default)]
pub struct Configurations {
    all: Vec<RelayConfiguration>,
}

/// A relay, and what it answered.
#[derive(Debug)]
pub struct Relay {
    /// Where it is.
    pub address: RelayAddress,
    /// Its status, or why there is none.
    pub status: Result<RelayStatus, RelayError>,
}

/// The relays of this run after one look at each.
#[derive(Debug)]
pub struct Fleet {
    /// For further questions; `None` where no relay is configured.
    pub client: Option<RelayClient>,
    /// In the order in which they were named.
    pub relays: Vec<Relay>,
}

/// A relay that stands before a target, and how it can be looked at.
#[derive(Debug, Clone)]
pub struct Before<'f> {
    /// The relay.
    pub relay: &'f Relay,
    /// The relay's own entry of the environment; `None` where it did not answer.
    pub environment: Option<&'f EnvironmentStatus>,
    /// The payload filter whose copy the target is.
    pub filter: Option<String>,
    /// The environment's SDK key, where it is known.
    pub key: Option<SdkKey>,
    /// The relay's configuration, where it is known.
    pub configuration: Option<&'f RelayConfiguration>,
}

impl Before<'_> {
    /// What is known of it, for finding out whether it hangs on a guard. `relays` stand before the target.
    pub fn facts(&self, relays: usize) -> RelayFacts<'_> {
        RelayFacts {
            key: self.key.as_ref(),
            configuration: self.configuration,
            address: self.relay.status.as_ref().ok().and_then(|status| status.from),
            relays,
        }
    }
}

impl Configurations {
    /// Reads the configuration files and the relay's variables that the settings name.
    ///
    /// # Errors
    /// Where a file cannot be read or understood: file, line and way out.
    pub async fn read(settings: &Settings) -> Result<Self, Failure> {
        let mut all = Vec::new();
        for path in &settings.relay_config {
            all.push(load(path).await?);
        }
        all.extend(from_variables(settings)?);
        Ok(Self { all })
    }

    /// As [`Configurations::read`], for those who look at everything: what can be read, and why the rest cannot.
    pub async fn read_what_can_be(settings: &Settings) -> (Self, Vec<Failure>) {
        let mut all = Vec::new();
        let mut failures = Vec::new();
        for path in &settings.relay_config {
            match load(path).await {
                Ok(configuration) => all.push(configuration),
                Err(failure) => failures.push(failure),
            }
        }
        match from_variables(settings) {
            Ok(configuration) => all.extend(configuration),
            Err(failure) => failures.push(failure),
        }
        (Self { all }, failures)
    }

    /// All of them, in the order in which they were named.
    pub fn all(&self) -> &[RelayConfiguration] {
        &self.all
    }

    /// Where the relays' configuration says that `environment` is kept. Sections that name the project go before those
    /// that only have the environment's name.
    pub fn claims(&self, environment: &Environment) -> Vec<Claim> {
        let mut claims = Vec::new();
        for configuration in &self.all {
            for section in best_matches(configuration, environment) {
                let said_by = format!("{}, environment {:?}", configuration.source, section.name);
                claims.extend(
                    configuration
                        .copies(section)
                        .into_iter()
                        .map(|copy| Claim { prefix: copy.prefix, said_by: said_by.clone() }),
                );
            }
        }
        claims
    }

    /// The SDK key of the environment that is kept under a prefix.
    pub fn key_at(&self, prefix: &str) -> Option<SdkKey> {
        let with_prefix = |configuration: &RelayConfiguration| {
            let sections = &configuration.environments;
            let found =
                sections.iter().find(|section| configuration.copies(section).iter().any(|copy| copy.prefix == prefix));
            found.and_then(|section| section.sdk_key.clone())
        };
        self.all.iter().find_map(with_prefix)
    }

    /// The environment's SDK key, by the prefix of a target or by its section.
    fn key_of(&self, environment: &Environment, prefix: &str) -> Option<SdkKey> {
        self.key_at(prefix).or_else(|| {
            let mut sections = self.all.iter().flat_map(|configuration| best_matches(configuration, environment));
            sections.find_map(|section| section.sdk_key.clone())
        })
    }

    /// The environment's SDK key where that is certain, for asking LaunchDarkly itself: of the sections that name its
    /// project, else of those with one of `prefixes`. `None` where they have several keys: somebody else's environment must
    /// not pass for this one.
    pub fn certain_key(&self, environment: &Environment, prefixes: &[&str]) -> Option<SdkKey> {
        let of = |means: &dyn Fn(&RelayConfiguration, &RelayEnvironment) -> bool| {
            let all = self.all.iter().flat_map(|known| known.environments.iter().map(move |section| (known, section)));
            let means = all.filter(|(known, section)| means(known, section));
            means.filter_map(|(_, section)| section.sdk_key.clone()).collect::<Vec<SdkKey>>()
        };
        let named = of(&|known, section| {
            section.names_project(environment)
                && known.matches(environment).iter().any(|one| std::ptr::eq(*one, section))
        });
        let keys = if named.is_empty() {
            of(&|known, section| known.copies(section).iter().any(|copy| prefixes.contains(&copy.prefix.as_str())))
        } else {
            named
        };
        keys.first().filter(|first| keys.iter().all(|key| key == *first)).cloned()
    }

    /// The configuration that a relay runs with: the one that names what its status names; with one relay and one
    /// configuration, that one.
    pub fn of_relay(&self, status: Option<&RelayStatus>, only_relay: bool) -> Option<&RelayConfiguration> {
        let named = |configuration: &&RelayConfiguration| {
            status.is_some_and(|status| {
                status.environments.iter().any(|entry| configuration.behind(&entry.key).is_some())
            })
        };
        self.all.iter().find(named).or_else(|| if only_relay || self.all.len() == 1 { self.all.first() } else { None })
    }

    /// The payload filter that a prefix is the copy of, where a configuration says so.
    fn filter_of(&self, prefix: &str) -> Option<String> {
        let copies =
            self.all.iter().flat_map(|known| known.environments.iter().flat_map(|section| known.copies(section)));
        copies.filter(|copy| copy.prefix == prefix).find_map(|copy| copy.filter)
    }
}

fn best_matches<'c>(configuration: &'c RelayConfiguration, environment: &Environment) -> Vec<&'c RelayEnvironment> {
    let matches = configuration.matches(environment);
    let certain: Vec<_> = matches.iter().copied().filter(|section| section.names_project(environment)).collect();
    if certain.is_empty() { matches } else { certain }
}

/// What the relay's own variables configure, if they configure anything.
fn from_variables(settings: &Settings) -> Result<Option<RelayConfiguration>, Failure> {
    let variables = settings.relay_variables.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
    let configuration = RelayConfiguration::from_variables(variables).map_err(Failure::from)?;
    let is_one = !configuration.environments.is_empty() || configuration.auto_config.is_some();
    Ok(is_one.then_some(configuration))
}

async fn load(path: &Path) -> Result<RelayConfiguration, Failure> {
    RelayConfiguration::load(path).await.map_err(Failure::from)
}

impl Fleet {
    /// Looks at every relay once, all at the same time; a dead one costs its own deadline.
    ///
    /// # Errors
    /// Where an address cannot be meant, or the program cannot make requests.
    pub async fn look(settings: &Settings) -> Result<Self, Failure> {
        if settings.relays.is_empty() {
            return Ok(Self { client: None, relays: Vec::new() });
        }
        let client =
            RelayClient::new(Deadlines { connect: settings.timeout, answer: settings.timeout, ..Deadlines::default() })
                .map_err(Failure::from)?;
        let addresses = settings
            .relays
            .iter()
            .map(|relay| RelayAddress::labelled(&relay.label, &relay.url).map_err(Failure::from))
            .collect::<Result<Vec<_>, _>>()?;
        let statuses = join_all(addresses.iter().map(|address| client.status(address))).await;
        let relays = addresses.into_iter().zip(statuses).map(|(address, status)| Relay { address, status }).collect();
        Ok(Self { client: Some(client), relays })
    }

    /// Where relays that name LaunchDarkly's keys in their status keep `environment`, and where those do whose entries
    /// are named like it.
    pub fn claims(&self, environment: &Environment) -> Vec<Claim> {
        let mut claims = Vec::new();
        for relay in &self.relays {
            let Ok(status) = &relay.status else { continue };
            for entry in &status.environments {
                let Some(prefix) = &entry.store.prefix else { continue };
                if is_entry_of(entry, environment) {
                    let said_by = format!("relay {}, environment {:?}", relay.address.label(), entry.key);
                    claims.push(Claim { prefix: prefix.clone(), said_by });
                }
            }
        }
        claims
    }

    /// The relays before each of `chosen`, in the same order.
    pub fn before<'f>(
        &'f self,
        environment: &Environment,
        chosen: &[Chosen],
        stores: &BTreeMap<String, String>,
        configurations: &'f Configurations,
        given_key: Option<&SdkKey>,
    ) -> Vec<Vec<Before<'f>>> {
        let targets: Vec<Target> = chosen.iter().map(|chosen| chosen.target.clone()).collect();
        let places: Vec<StorePlace> = stores
            .iter()
            .map(|(label, address)| StorePlace { label: label.clone(), addresses: vec![address.to_lowercase()] })
            .collect();
        let relays: Vec<RelayPlace<'_>> = self
            .relays
            .iter()
            .map(|relay| RelayPlace { label: relay.address.label(), status: relay.status.as_ref().ok() })
            .collect();
        let paired = pairing::pair(&targets, &places, &relays);
        let complete = |target: &Target, serving: Serving<'f>| {
            let relay = self.relays.iter().find(|relay| relay.address.label() == serving.relay)?;
            let configuration = configurations.of_relay(relay.status.as_ref().ok(), self.relays.len() == 1);
            let key = given_key.cloned().or_else(|| configurations.key_of(environment, &target.prefix));
            let filter = configurations.filter_of(&target.prefix);
            Some(Before { relay, environment: serving.environment, filter, key, configuration })
        };
        targets
            .iter()
            .zip(paired)
            .map(|(target, servings)| servings.into_iter().filter_map(|serving| complete(target, serving)).collect())
            .collect()
    }
}

/// By LaunchDarkly's keys where the relay knows them, else by the entry's name.
fn is_entry_of(entry: &EnvironmentStatus, environment: &Environment) -> bool {
    if let (Some(project), Some(key)) = (&entry.proj_key, &entry.env_key) {
        return project == environment.project.as_str() && key == environment.key.as_str();
    }
    let words = |text: &str| -> Vec<String> {
        text.split(|character: char| !character.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect()
    };
    let full = words(&format!("{} {}", environment.project, environment.key));
    let name = words(&entry.key);
    name == full || name == words(environment.key.as_str())
}
