//! Everything that anybody says about the flags that were changed: LaunchDarkly, stores, relays, the playback. It reads
//! and never writes; nothing is judged here.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use jiff::Timestamp;

use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::Override;
use crate::change::seen::Copy;
use crate::change::seen::Seen;
use crate::change::target::Target;
use crate::commands::Context;
use crate::commands::overview::EnvironmentView;
use crate::commands::overview::RECENT;
use crate::commands::overview::Scope;
use crate::commands::place::Surroundings;
use crate::commands::relays::Before;
use crate::commands::replay;
use crate::commands::replay::owed;
use crate::commands::replay::owed::Astray;
use crate::commands::replay::owed::Matter;
use crate::commands::replay::owed::Owed;
use crate::commands::replay::owed::Subject;
use crate::commands::survey;
use crate::commands::survey::Extent;
use crate::commands::targets::Chosen;
use crate::error::Failure;
use crate::flag::configuration::Configuration;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::launchdarkly::ApiError;
use crate::launchdarkly::Client;
use crate::launchdarkly::pacing::Patience;
use crate::playback::Loaded;
use crate::relay::client::RelayClient;
use crate::ui::words::list;

/// The most flags of replayed changes that are looked at, newest first.
const RECENT_MAX: usize = 500;
/// How many relays are asked at once.
const ASKED_AT_ONCE: usize = 16;
/// Rate limits are waited out; an outage is to be told soon.
const PATIENCE: Patience =
    Patience { attempts: 2, rate_limit: Duration::from_secs(150), failures: Duration::from_secs(2) };

/// What somebody says of a flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Voice {
    /// This.
    Says {
        /// What the flag does.
        configuration: Box<Configuration>,
        /// The version.
        version: u64,
    },
    /// There is no such flag, or it is deleted or archived.
    Nothing,
    /// What is there cannot be read.
    Damaged(String),
    /// No answer.
    Silent(String),
}

impl Voice {
    fn of_record(record: &Record) -> Self {
        let configuration = Box::new(Configuration::of_record(record));
        Voice::Says { configuration, version: record.version() }
    }

    fn of_seen(seen: &Seen) -> Self {
        match &seen.copy {
            Copy::Readable(record) => Voice::of_record(record),
            Copy::Missing | Copy::Tombstone { .. } => Voice::Nothing,
            Copy::Damaged { unreadable, .. } => Voice::Damaged(unreadable.to_string()),
        }
    }
}

/// One flag, and what everybody says of it.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Where.
    pub environment: Environment,
    /// Which flag.
    pub flag: FlagKey,
    /// The override that is in force or replayed; made from the playback where our own keys are forbidden.
    pub override_: Option<Override>,
    /// What is not over, though it is part of no override: in words.
    pub open: Vec<String>,
    /// Edits whose override is gone and whose record stands in stores, where it may be LaunchDarkly's own: in words.
    pub stands: Vec<String>,
    /// What LaunchDarkly has, and a store still has as an override: in words.
    pub held: Vec<String>,
    /// Whether a replay asked for an approval and nobody knows the answer.
    pub asked: bool,
    /// LaunchDarkly's REST API.
    pub launchdarkly: Voice,
    /// The stores, by label (and prefix, for copies of a payload filter), which need not have the flag where it is such
    /// a copy.
    pub stores: Vec<(String, Voice, bool)>,
    /// The relays, by label.
    pub relays: Vec<(String, Voice)>,
}

/// Gathers them. Also gives why LaunchDarkly was not asked, or did not answer.
pub async fn gather(
    context: &Context<'_>,
    surroundings: &Surroundings,
    views: &[EnvironmentView<'_>],
    loaded: &Loaded,
    scope: &Scope,
) -> (Vec<Facts>, Option<Failure>) {
    let owed = owed::owed(views);
    let mut all = Vec::new();
    for view in views {
        all.extend(of_environment(context, surroundings, view, loaded, scope, &owed).await);
    }
    if all.is_empty() {
        return (all, None);
    }
    let silence = match replay::client(context, PATIENCE, None, None) {
        Ok(client) => ask_launchdarkly(&client, &mut all).await,
        Err(failure) => Some(failure),
    };
    (all, silence)
}

/// Asks it about each flag, and gives why it did not answer about one, or about any more.
async fn ask_launchdarkly(client: &Client, all: &mut [Facts]) -> Option<Failure> {
    let mut silence = None;
    for facts in all {
        facts.launchdarkly = match client.flag(&facts.environment, &facts.flag).await {
            Ok(flag) if flag.archived => Voice::Nothing,
            Ok(flag) => Voice::Says { configuration: Box::new(flag.configuration), version: flag.version },
            Err(ApiError::NotFound { .. }) => Voice::Nothing,
            Err(error) => {
                let next_fares_no_better =
                    error.is_outage() || matches!(error, ApiError::Unauthorized { .. } | ApiError::RateLimited { .. });
                let told = error.to_string();
                silence = silence.or(Some(error.into()));
                if next_fares_no_better {
                    break;
                }
                Voice::Silent(told)
            }
        };
    }
    silence
}

/// The flags of changes that were replayed lately.
fn recent(loaded: &Loaded, environment: &Environment, scope: &Scope) -> BTreeSet<FlagKey> {
    let now = Timestamp::now();
    let age = |at: Timestamp| Duration::try_from(now.duration_since(at)).unwrap_or_default();
    let newest = loaded.files.iter().rev().filter(|file| age(file.intent.change.motive.at) <= RECENT);
    let edits = newest.flat_map(|file| &file.intent.change.edits).filter(|edit| edit.environment == *environment);
    let wanted = |flag: &FlagKey| scope.flags.is_empty() || scope.flags.contains(flag);
    edits.map(|edit| edit.flag.clone()).filter(wanted).take(RECENT_MAX).collect()
}

async fn of_environment(
    context: &Context<'_>,
    surroundings: &Surroundings,
    view: &EnvironmentView<'_>,
    loaded: &Loaded,
    scope: &Scope,
    owed: &Owed,
) -> Vec<Facts> {
    if view.targets.is_err() {
        return Vec::new();
    }
    let chosen = view.chosen();
    let silent: Vec<(Chosen, String)> =
        view.silent().map(|(chosen, error)| (chosen.clone(), error.to_string())).collect();
    let mut all: BTreeMap<FlagKey, Facts> = BTreeMap::new();
    for situation in &view.situations {
        let subject = (view.environment.clone(), situation.flag.clone());
        let mut matters = owed.owed.iter().chain(&owed.replayed);
        let override_ = matters.find(|matter| matter.subject == subject).map(|matter| matter.override_.clone());
        let open = open(owed, &subject);
        let stands = strays(owed, &subject, |why| matches!(why, Astray::Stands(_))).collect();
        let held = left_over(owed, &subject, is_with_launchdarkly);
        let facts = facts(&view.environment, &situation.flag, &situation.seen, &silent);
        let asked = situation.may_be_asked_for();
        all.insert(situation.flag.clone(), Facts { override_, open, stands, held, asked, ..facts });
    }
    let more: Vec<FlagKey> =
        recent(loaded, &view.environment, scope).into_iter().filter(|flag| !all.contains_key(flag)).collect();
    if !more.is_empty() {
        let views = survey::look(&surroundings.stores, &chosen, Extent::Flags(&more)).await;
        for flag in more {
            let seen = survey::seen_in(&views, &view.environment, &flag);
            let facts = facts(&view.environment, &flag, &seen, &silent);
            all.insert(flag, facts);
        }
    }
    let mut all: Vec<Facts> = all.into_values().collect();
    ask_relays(context, surroundings, &view.environment, &chosen, &mut all).await;
    all
}

fn facts(environment: &Environment, flag: &FlagKey, seen: &[(Chosen, Seen)], silent: &[(Chosen, String)]) -> Facts {
    let told = seen.iter().map(|(chosen, seen)| (label(chosen), Voice::of_seen(seen), chosen.is_filter_copy));
    let silent = silent.iter().map(|(chosen, why)| (label(chosen), Voice::Silent(why.clone()), chosen.is_filter_copy));
    Facts {
        environment: environment.clone(),
        flag: flag.clone(),
        override_: None,
        open: Vec::new(),
        stands: Vec::new(),
        held: Vec::new(),
        asked: false,
        launchdarkly: Voice::Silent("it was not asked".to_owned()),
        stores: told.chain(silent).collect(),
        relays: Vec::new(),
    }
}

/// What is not over, and part of no override that is in force.
fn open(owed: &Owed, subject: &Subject) -> Vec<String> {
    let left = left_over(owed, subject, |mark| !is_with_launchdarkly(mark));
    strays(owed, subject, |why| !matches!(why, Astray::Stands(_))).chain(left).collect()
}

fn strays(owed: &Owed, subject: &Subject, wanted: impl Fn(&Astray) -> bool) -> impl Iterator<Item = String> {
    let strays = owed.strays.iter().filter(move |stray| stray.subject == *subject && wanted(&stray.why));
    strays.filter_map(|stray| Some(format!("change {}: {}", stray.part.0.short(), stray_in_words(&stray.why)?)))
}

/// Whether LaunchDarkly has what ended so: then it is not owed, and whether a store shows it is seen by comparing.
fn is_with_launchdarkly(mark: &EndedMark) -> bool {
    mark.ending == Ending::Settled && mark.version.is_some()
}

/// What is over, and still stands somewhere.
fn left_over(owed: &Owed, subject: &Subject, wanted: impl Fn(&EndedMark) -> bool) -> Vec<String> {
    let told = |mark: &EndedMark, stores: &[String]| {
        format!("{} by {}, and not yet in {}", mark.ending, mark.actor.user, list(stores))
    };
    let left = owed.leftovers.iter().filter(|(matter, mark)| matter.subject == *subject && wanted(mark));
    let left = left.map(|(matter, mark)| {
        told(mark, &matter.seen.iter().map(|(target, _)| target.store.clone()).collect::<Vec<_>>())
    });
    // Where another override is in force, which it will give way to.
    let matters = owed.owed.iter().chain(&owed.replayed).filter(|matter| matter.subject == *subject);
    let over = matters.flat_map(Matter::over).filter(|(_, mark)| wanted(mark));
    left.chain(over.map(|(target, mark)| told(mark, std::slice::from_ref(&target.store)))).collect()
}

/// What is not over about an edit; `None` where stores or playback tell how it ended, or that it never began.
fn stray_in_words(why: &Astray) -> Option<String> {
    let stores = |targets: &[Target]| list(&targets.iter().map(|target| target.store.clone()).collect::<Vec<_>>());
    Some(match why {
        Astray::Ended(_) | Astray::Replayed { .. } | Astray::Nowhere | Astray::Superseded(_) => return None,
        Astray::Unnoted => "whether it was written was not noted, and it stands in no store".to_owned(),
        Astray::Hidden(targets) => format!("its override may be in {}, which did not answer", stores(targets)),
        Astray::Unreadable(targets) => format!("the override in {} cannot be read", stores(targets)),
        Astray::Stands(targets) => format!("its override is gone, what it wrote stands in {}", stores(targets)),
        Astray::PutAside(targets) => format!("lost to another override, and is still in {}", stores(targets)),
        Astray::Unexplained => "is not over, and its override is gone".to_owned(),
    })
}

/// A store's label, with the prefix where it is a copy of a payload filter.
fn label(chosen: &Chosen) -> String {
    if chosen.is_filter_copy { chosen.target.to_string() } else { chosen.target.store.clone() }
}

async fn ask_relays(
    context: &Context<'_>,
    surroundings: &Surroundings,
    environment: &Environment,
    chosen: &[Chosen],
    all: &mut [Facts],
) {
    let Some(client) = &surroundings.fleet.client else { return };
    let key = surroundings.given_key(context, environment).ok().flatten();
    let before = surroundings.relays_before(environment, chosen, key.as_ref());
    let before: Vec<Before<'_>> = before.into_iter().flatten().filter(|before| before.key.is_some()).collect();
    let questions: Vec<(usize, FlagKey, &Before<'_>)> = all
        .iter()
        .enumerate()
        .flat_map(|(place, facts)| before.iter().map(move |before| (place, facts.flag.clone(), before)))
        .collect();
    let answers: Vec<(usize, String, Voice)> = stream::iter(questions)
        .map(|(place, flag, before)| async move {
            (place, before.relay.address.label().to_owned(), ask_relay(client, before, &flag).await)
        })
        .buffered(ASKED_AT_ONCE)
        .collect()
        .await;
    for (place, relay, voice) in answers {
        if let Some(facts) = all.get_mut(place) {
            facts.relays.push((relay, voice));
        }
    }
}

async fn ask_relay(client: &RelayClient, before: &Before<'_>, flag: &FlagKey) -> Voice {
    let Some(key) = &before.key else { return Voice::Silent("its SDK key is not known".to_owned()) };
    match client.poll(&before.relay.address, key, before.filter.as_deref(), flag, None).await {
        Err(error) => Voice::Silent(error.to_string()),
        Ok(polled) => match polled.served.filter(|served| !served.deleted) {
            None => Voice::Nothing,
            Some(served) => match Record::parse(served.text.as_bytes()) {
                Ok(record) => Voice::of_record(&record),
                Err(error) => Voice::Damaged(error.to_string()),
            },
        },
    }
}
