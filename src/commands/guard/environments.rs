//! Which environments a guard guards, and where each is kept: from the settings and the relays' own configuration. Relays
//! with automatic configuration tell theirs while the guard runs; where those are kept is said here too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::change::target::Target;
use crate::commands::relays::Configurations;
use crate::commands::targets;
use crate::flag::key::Environment;
use crate::guard::auto_configuration::Learnt;
use crate::guard::environment::GuardedEnvironment;
use crate::guard::stream::hub::Place;
use crate::relay::cache_time::CacheTime;
use crate::relay::configuration::AutoConfig;
use crate::relay::configuration::RelayConfiguration;
use crate::relay::configuration::RelayEnvironment;
use crate::settings::EnvironmentSetting;
use crate::settings::Settings;
use crate::store::Store;
use crate::ui::words::list;

/// The variable by which a relay is told its prefix in automatic configuration.
const PREFIX_VARIABLE: &str = "ENV_DATASTORE_PREFIX";

/// The environments of a guard.
pub(super) struct Environments {
    /// Those that are configured.
    pub configured: Vec<GuardedEnvironment>,
    /// Where those are kept that are learnt.
    pub place: Place,
    /// What is wrong with where those are kept, for people.
    pub prefixes_differ: Option<String>,
}

/// What targets are made of.
#[derive(Debug, Clone)]
struct Ground {
    /// The labels of stores with prefixes.
    stores: Vec<String>,
    /// The labels of stores that hold one environment.
    files: Vec<String>,
    /// `--prefix`.
    given: Option<String>,
    named: Vec<(Environment, EnvironmentSetting)>,
    automatic: Vec<AutoConfig>,
    cache_time: Duration,
}

impl Environments {
    /// From everything that says something. `only_stores`: no relay has to come for one with its key, so those that are
    /// only named count too.
    pub(super) fn of(
        settings: &Settings,
        configurations: Configurations,
        stores: &[Arc<dyn Store>],
        only_stores: bool,
    ) -> Self {
        let (with_prefixes, files): (Vec<_>, Vec<_>) = stores.iter().partition(|store| store.has_prefixes());
        let labels = |stores: Vec<&Arc<dyn Store>>| stores.iter().map(|store| store.label().to_owned()).collect();
        let with_source = |known: &RelayConfiguration| Some((known.auto_config.clone()?, known.source.clone()));
        let mut sourced: Vec<(AutoConfig, String)> = configurations.all().iter().filter_map(with_source).collect();
        if let Some(prefix) = settings.relay_variables.get(PREFIX_VARIABLE) {
            let prefix = Some(prefix.expose().to_owned());
            sourced.push((AutoConfig { env_datastore_prefix: prefix, has_cache: false }, PREFIX_VARIABLE.to_owned()));
        }
        // What is typed counts for all of them.
        let prefixes_differ = if settings.prefix.is_some() { None } else { differing(&sourced) };
        let automatic: Vec<AutoConfig> = sourced.into_iter().map(|(automatic, _)| automatic).collect();
        let ground = Ground {
            stores: labels(with_prefixes),
            files: labels(files),
            given: settings.prefix.clone(),
            named: settings.environments.iter().map(|(key, setting)| (key.clone(), setting.clone())).collect(),
            automatic,
            cache_time: configurations
                .all()
                .iter()
                .map(|known| cache_time(known.cache_time))
                .max()
                .unwrap_or(cache_time(CacheTime::default())),
        };
        let own = settings.project.clone().zip(settings.environment.clone());
        let own = own.map(|(project, key)| Environment { project, key });
        let known: Vec<Environment> =
            ground.named.iter().map(|(environment, _)| environment.clone()).chain(own).collect();
        let sections: usize = configurations.all().iter().map(|configuration| configuration.environments.len()).sum();
        let mut configured: Vec<GuardedEnvironment> = Vec::new();
        for configuration in configurations.all() {
            for section in &configuration.environments {
                let environment = known.iter().find(|known| is_of(configuration, section, known));
                for guarded in ground.guarded(configuration, section, environment, sections == 1) {
                    add(&mut configured, guarded, &configuration.source);
                }
            }
        }
        for environment in known.iter().filter(|_| only_stores) {
            if configured.iter().all(|guarded| guarded.environment.as_ref() != Some(environment)) {
                configured.push(ground.named(environment, sections == 0 && known.len() == 1));
            }
        }
        let place: Place = Arc::new(move |learnt, filter| ground.placed(learnt, filter));
        Self { configured, place, prefixes_differ }
    }
}

/// That automatic configurations say of the same environments that they are kept under different prefixes: of an environment
/// that is learnt it is not known by which, so one is followed.
fn differing(automatic: &[(AutoConfig, String)]) -> Option<String> {
    let prefixes = automatic.iter().filter_map(|(one, source)| Some((one.env_datastore_prefix.as_ref()?, source)));
    let mut each: Vec<(&String, &String)> = Vec::new();
    for (prefix, source) in prefixes {
        if each.iter().all(|(known, _)| *known != prefix) {
            each.push((prefix, source));
        }
    }
    let [(followed, source), others @ ..] = each.as_slice() else { return None };
    if others.is_empty() {
        return None;
    }
    let named = |(prefix, source): &(&String, &String)| format!("{prefix} ({source})");
    let others: Vec<String> = others.iter().map(named).collect();
    Some(format!(
        "the relays' automatic configurations keep environments under different prefixes. This guard follows {followed} \
         ({source}) and NOT {}: overrides there do not reach its relays. Run a guard for each, with that relay's \
         configuration alone",
        list(&others)
    ))
}

/// Adds one. The same copy with another key is the same environment; another one of the same name gets a longer name.
fn add(all: &mut Vec<GuardedEnvironment>, mut guarded: GuardedEnvironment, source: &str) {
    let same = all.iter_mut().find(|known| {
        let shares_key = known.sdk_keys.iter().any(|key| guarded.sdk_keys.contains(key));
        let same_place = !known.targets.is_empty() && known.targets == guarded.targets;
        known.filter == guarded.filter && (shares_key || same_place)
    });
    if let Some(known) = same {
        for key in guarded.sdk_keys {
            if !known.sdk_keys.contains(&key) {
                known.sdk_keys.push(key);
            }
        }
        let more: BTreeSet<Target> = guarded.targets.into_iter().chain(known.targets.drain(..)).collect();
        known.targets = more.into_iter().collect();
        known.cache_time = known.cache_time.max(guarded.cache_time);
        return;
    }
    if all.iter().any(|known| known.name == guarded.name) {
        guarded.name = format!("{} ({source})", guarded.name);
    }
    let name = guarded.name.clone();
    for number in 2..1_000 {
        if all.iter().all(|known| known.name != guarded.name) {
            break;
        }
        guarded.name = format!("{name} {number}");
    }
    all.push(guarded);
}

/// Whether a section of a relay's configuration is of this environment, and of none that it names better.
fn is_of(configuration: &RelayConfiguration, section: &RelayEnvironment, environment: &Environment) -> bool {
    let matches = configuration.matches(environment);
    let certain = matches.iter().any(|found| found.names_project(environment));
    matches.iter().any(|found| found.name == section.name && (!certain || found.names_project(environment)))
}

/// An endless cache is longer than anything that is waited for.
fn cache_time(cache_time: CacheTime) -> Duration {
    match cache_time {
        CacheTime::Zero => Duration::ZERO,
        CacheTime::For(time) => time,
        CacheTime::Endless => Duration::MAX,
    }
}

impl Ground {
    /// The whole environment of a section, and its payload filters' copies.
    fn guarded(
        &self,
        configuration: &RelayConfiguration,
        section: &RelayEnvironment,
        environment: Option<&Environment>,
        is_only_one: bool,
    ) -> Vec<GuardedEnvironment> {
        let copies = configuration.copies(section);
        let filters = section.proj_key.as_ref().and_then(|project| configuration.filters.get(project));
        let named = environment.and_then(|environment| self.setting(environment));
        let prefix_of = |filter: Option<&str>| {
            copies.iter().find(|copy| copy.filter.as_deref() == filter).map(|copy| copy.prefix.clone())
        };
        let every = std::iter::once(None).chain(filters.into_iter().flatten().map(|filter| Some(filter.as_str())));
        every
            .map(|filter| GuardedEnvironment {
                name: name(environment.map_or(section.name.clone(), ToString::to_string), filter),
                environment: environment.cloned(),
                sdk_keys: section.sdk_key.iter().cloned().collect(),
                filter: filter.map(str::to_owned),
                targets: self.targets(named, prefix_of(filter), filter, is_only_one),
                cache_time: cache_time(configuration.cache_time),
            })
            .collect()
    }

    /// An environment that no relay's configuration has.
    fn named(&self, environment: &Environment, is_only_one: bool) -> GuardedEnvironment {
        let prefix = Some(targets::conventional(environment));
        GuardedEnvironment {
            name: environment.to_string(),
            environment: Some(environment.clone()),
            sdk_keys: Vec::new(),
            filter: None,
            targets: self.targets(self.setting(environment), prefix, None, is_only_one),
            cache_time: self.cache_time,
        }
    }

    /// An environment that was learnt.
    fn placed(&self, learnt: &Learnt, filter: Option<&str>) -> GuardedEnvironment {
        let environment = format!("{}/{}", learnt.project, learnt.environment).parse::<Environment>().ok();
        let named = environment.as_ref().and_then(|environment| self.setting(environment));
        let prefix = self.automatic.iter().find_map(|automatic| automatic.prefix(&learnt.id, filter));
        GuardedEnvironment {
            name: name(format!("{}/{}", learnt.project, learnt.environment), filter),
            environment,
            sdk_keys: Vec::new(),
            filter: filter.map(str::to_owned),
            targets: self.targets(named, prefix, filter, false),
            cache_time: self.cache_time,
        }
    }

    fn setting(&self, environment: &Environment) -> Option<&EnvironmentSetting> {
        self.named.iter().find(|(known, _)| known == environment).map(|(_, setting)| setting)
    }

    /// The copy in every store, in the order of `targets::choose`: what was typed, what is named, what the relay says.
    fn targets(
        &self,
        named: Option<&EnvironmentSetting>,
        configured: Option<String>,
        filter: Option<&str>,
        is_only_one: bool,
    ) -> Vec<Target> {
        let with_filter =
            |prefix: &String| filter.map_or_else(|| prefix.clone(), |filter| format!("{prefix}/{filter}"));
        let mut targets = Vec::new();
        for store in &self.stores {
            let here = named.and_then(|named| named.prefixes.get(store).or(named.prefix.as_ref()));
            let prefix = self.given.as_ref().or(here).map(with_filter).or_else(|| configured.clone());
            targets.extend(prefix.map(|prefix| Target { store: store.clone(), prefix }));
        }
        if is_only_one && filter.is_none() {
            targets.extend(self.files.iter().map(|store| Target { store: store.clone(), prefix: String::new() }));
        }
        targets.sort();
        targets
    }
}

fn name(environment: String, filter: Option<&str>) -> String {
    match filter {
        Some(filter) => format!("{environment}/{filter}"),
        None => environment,
    }
}
