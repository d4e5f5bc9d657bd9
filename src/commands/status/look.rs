//! What `rc status` looks at, all at once, and never for longer than its deadline: whatever is dead costs its own part of
//! the answer and nothing else. It reads and never writes, and it must not print.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;

use crate::change::override_::OverrideState;
use crate::change::signing::Keys;
use crate::change::target::Target;
use crate::commands::Context;
use crate::commands::guards::Guards;
use crate::commands::left_behind::Fronts;
use crate::commands::left_behind::recorded::by_flag;
use crate::commands::overview;
use crate::commands::overview::EnvironmentView;
use crate::commands::overview::Scope;
use crate::commands::place::Surroundings;
use crate::commands::relays::Configurations;
use crate::commands::relays::Fleet;
use crate::commands::replay::lease::holders;
use crate::commands::replay::lease::holders::Holder;
use crate::commands::signing;
use crate::commands::status::left_behind;
use crate::commands::status::left_behind::Said;
use crate::commands::status::timely::Timely;
use crate::commands::stores;
use crate::commands::survey;
use crate::error::Failure;
use crate::flag::check;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::launchdarkly::Client;
use crate::launchdarkly::ClientOptions;
use crate::launchdarkly::Token;
use crate::launchdarkly::approval::Approval;
use crate::launchdarkly::identity::Reach;
use crate::launchdarkly::identity::Reached;
use crate::launchdarkly::pacing::Patience;
use crate::playback::Loaded;
use crate::settings::Settings;
use crate::store::Store;
use crate::ui::time::duration;

/// After this everything has answered or has not. Beside it stand starting, reading the settings and printing; all of it
/// stays under 3 s.
pub(super) const WITHIN: Duration = Duration::from_millis(2500);

/// Stores end that much earlier, so that what they did not say is still put together in time.
const MARGIN: Duration = Duration::from_millis(150);

/// How long a store or a relay may take for its first answer, whatever RC_TIMEOUT says: what the living ones are asked
/// afterwards needs some time too.
const FIRST_ANSWER_MAX: Duration = Duration::from_millis(1400);

/// The most full reads at the same time: each may be some 40 MB.
const FULL_READS_MAX: usize = 4;

/// The most damaged records that are named for one target.
const DAMAGED_MAX: usize = 5;

/// What LaunchDarkly's API had to say.
#[derive(Debug)]
pub(super) enum ApiWord {
    /// Nobody asked it: there is no token.
    NotAsked,
    /// What came of asking.
    Said(Reach),
    /// It cannot even be asked: the settings are wrong.
    Unusable(String),
}

/// What was found among the records of one target.
#[derive(Debug)]
pub(super) struct Records {
    /// Which target.
    pub target: Target,
    /// How many are damaged.
    pub damaged: usize,
    /// Some of them: field and what is wrong.
    pub named: Vec<(String, String)>,
    /// Why not all were looked at, if they were not.
    pub incomplete: Option<String>,
}

/// The playback and the surroundings, without which nothing else can be looked at.
pub(super) struct Ground {
    /// Stores, relays, configurations.
    pub surroundings: Surroundings,
    /// The playback, or why it cannot be read.
    pub loaded: Result<Loaded, Failure>,
    /// What could not be looked at, for people.
    pub notes: Vec<String>,
}

/// Everything else.
pub(super) struct Facts<'g> {
    /// LaunchDarkly's API.
    pub api: ApiWord,
    /// Environments, targets, overrides; or that they did not come in time.
    pub views: Vec<EnvironmentView<'g>>,
    /// What became of approval requests, by environment and flag; none where LaunchDarkly did not say it in time.
    pub approvals: BTreeMap<(Environment, FlagKey), Approval>,
    /// Damaged records.
    pub records: Vec<Records>,
    /// The guards that announced themselves.
    pub guards: Guards,
    /// What tells whose word an override is.
    pub keys: Option<Keys>,
    /// Who has the right to replay, by environment; nobody where that did not come in time.
    pub holders: BTreeMap<Environment, Holder>,
    /// What stands before the stores of each environment of which something is to be said.
    pub fronts: BTreeMap<Environment, Fronts>,
    /// The changes that LaunchDarkly has had lately.
    pub replayed: Loaded,
    /// What LaunchDarkly says of flags that were edited.
    pub said: Said,
    /// Whether the views came in time.
    pub in_time: bool,
}

/// The settings, with waits that end in time.
pub(super) fn capped(settings: &Settings) -> Settings {
    let mut capped = settings.clone();
    capped.timeout = capped.timeout.min(FIRST_ANSWER_MAX);
    capped.launchdarkly.timeout = capped.launchdarkly.timeout.min(WITHIN);
    capped
}

/// LaunchDarkly's API; `None` without a token.
pub(super) fn client(settings: &Settings) -> Option<Result<Client, String>> {
    let token = settings.launchdarkly.api_key.as_ref()?;
    let options = ClientOptions {
        base: settings.launchdarkly.api_url.clone(),
        deadline: settings.launchdarkly.timeout,
        patience: Patience::ONCE,
        ..ClientOptions::new(Token::new(token.expose()))
    };
    Some(Client::new(options).map_err(|error| error.to_string()))
}

/// Knocks at LaunchDarkly's API.
pub(super) async fn api(client: Option<&Result<Client, String>>, until: Instant) -> ApiWord {
    match client {
        None => ApiWord::NotAsked,
        Some(Err(problem)) => ApiWord::Unusable(problem.clone()),
        Some(Ok(client)) => match tokio::time::timeout_at(until, client.reachable()).await {
            Ok(Ok(reach)) => ApiWord::Said(reach),
            Ok(Err(error)) => ApiWord::Unusable(error.to_string()),
            Err(_) => {
                let problem = format!("did not answer within {}", duration(WITHIN));
                ApiWord::Said(Reach { answer: Reached::Unreachable { problem }, clock_wrong_by_ms: None })
            }
        },
    }
}

/// Stores, relays and the playback.
///
/// # Errors
/// Where no store is configured, or an address cannot be meant.
pub(super) async fn ground(context: &Context<'_>, until: Instant) -> Result<Ground, Failure> {
    let timely = |store: Arc<dyn Store>| -> Arc<dyn Store> { Arc::new(Timely::new(store, until - MARGIN, WITHIN)) };
    let stores: Vec<Arc<dyn Store>> = stores::open(context.settings)?.into_iter().map(timely).collect();
    let (configurations, wrong) = Configurations::read_what_can_be(context.settings).await;
    let (prefixes, fleet, loaded) = futures_util::join!(
        survey::prefixes(&stores, &[]),
        Fleet::look(context.settings),
        tokio::time::timeout_at(until, load(context))
    );
    let loaded = loaded.unwrap_or_else(|_| {
        let problem = format!("the playback did not come within {}", duration(WITHIN));
        Err(Failure::new(crate::error::Kind::Unreachable, problem))
    });
    let notes = wrong.into_iter().map(|failure| one_line(&failure)).collect();
    Ok(Ground { surroundings: Surroundings { stores, prefixes, fleet: fleet?, configurations }, loaded, notes })
}

/// A disk can hang as a network can, so it is read aside.
async fn load(context: &Context<'_>) -> Result<Loaded, Failure> {
    let playback = overview::playback(context)?;
    let loaded = tokio::task::spawn_blocking(move || playback.load_waiting()).await;
    loaded.map_err(|error| Failure::new(crate::error::Kind::Other, error.to_string()))?.map_err(Failure::from)
}

/// The environments, and after them what needs to know them.
pub(super) async fn facts<'g>(
    context: &Context<'_>,
    ground: &'g Ground,
    loaded: &'g Loaded,
    client: Option<&Result<Client, String>>,
    until: Instant,
) -> Facts<'g> {
    let viewing = async {
        let scope = Scope::typed(context, &[]).unwrap_or_default();
        let views = tokio::time::timeout_at(until, overview::look(context, &ground.surroundings, loaded, &scope)).await;
        let in_time = views.is_ok();
        (views.unwrap_or_default(), in_time)
    };
    let looking = async {
        let (views, in_time) = viewing.await;
        let client = client.and_then(|client| client.as_ref().ok());
        let asking = async {
            let replayed = left_behind::replayed_lately(context, until).await;
            let edits = by_flag(loaded.files.iter().chain(&replayed.files));
            let asked = left_behind::to_ask(&views, &edits, jiff::Timestamp::now());
            let said = left_behind::ask(client, asked, until).await;
            drop(edits);
            (replayed, said)
        };
        let holders = tokio::time::timeout_at(until, holders::look(&ground.surroundings.stores, &views));
        let (approvals, records, holders, (replayed, said)) = futures_util::join!(
            approvals(client, &views, until),
            records(&ground.surroundings, until),
            holders,
            asking
        );
        (views, in_time, replayed, approvals, records, holders.unwrap_or_default(), said)
    };
    let stores = &ground.surroundings.stores;
    let guards = tokio::time::timeout_at(until, Guards::look(stores, all_targets(&ground.surroundings)));
    let (api, (views, in_time, replayed, approvals, records, holders, said), guards, keys) =
        futures_util::join!(api(client, until), looking, guards, keys(context, until));
    let guards = guards.unwrap_or_default();
    let before = |view: &EnvironmentView<'_>| {
        (view.environment.clone(), Fronts::of(context, &ground.surroundings, view, &guards))
    };
    let is_told = |view: &&EnvironmentView<'_>| {
        let has_override = view.situations.iter().any(|situation| situation.standing.in_force().is_some());
        has_override || said.keys().any(|(environment, _)| *environment == view.environment)
    };
    let fronts = views.iter().filter(is_told).map(before).collect();
    Facts { api, views, approvals, records, guards, holders, fronts, replayed, said, keys, in_time }
}

/// The keys with which overrides are signed, read aside as well.
async fn keys(context: &Context<'_>, until: Instant) -> Option<Keys> {
    let settings = context.settings.clone();
    let read = tokio::task::spawn_blocking(move || signing::keys(&settings));
    let read = tokio::time::timeout_at(until, read).await.ok()?.ok()?;
    signing::or_told(read, context.output, "whether overrides are signed is not known")
}

async fn approvals(
    client: Option<&Client>,
    views: &[EnvironmentView<'_>],
    until: Instant,
) -> BTreeMap<(Environment, FlagKey), Approval> {
    let mut found = BTreeMap::new();
    let Some(client) = client else { return found };
    let asking = async {
        for view in views {
            for situation in &view.situations {
                let Some(override_) = situation.standing.in_force() else { continue };
                let OverrideState::AwaitingApproval { request } = &override_.state else { continue };
                // One after another: LaunchDarkly's limits are for the account, and there are few of these.
                if let Ok(approval) = client.approval(&view.environment, &situation.flag, request).await {
                    found.insert((view.environment.clone(), situation.flag.clone()), approval);
                }
            }
        }
    };
    // What has come until then is told.
    let _ = tokio::time::timeout_at(until, asking).await;
    found
}

/// Looks through the records of every prefix, as far as time allows.
async fn records(surroundings: &Surroundings, until: Instant) -> Vec<Records> {
    let reads = all_targets(surroundings).into_iter().filter_map(|target| {
        let store = survey::store_of(&surroundings.stores, &target)?;
        Some(records_of(store, target, until))
    });
    futures_util::stream::iter(reads).buffered(FULL_READS_MAX).collect().await
}

/// Every prefix of every store.
fn all_targets(surroundings: &Surroundings) -> Vec<Target> {
    let mut targets = Vec::new();
    for store in &surroundings.stores {
        let label = store.label().to_owned();
        match surroundings.prefixes.get(store.label()) {
            _ if !store.has_prefixes() => targets.push(Target { store: label, prefix: String::new() }),
            Some(Ok(found)) => {
                targets.extend(found.iter().map(|found| Target { store: label.clone(), prefix: found.prefix.clone() }))
            }
            _ => {}
        }
    }
    targets
}

async fn records_of(store: &dyn Store, target: Target, until: Instant) -> Records {
    let mut found = Records { target, damaged: 0, named: Vec::new(), incomplete: None };
    let reading = match store.read_all(&found.target.prefix).await {
        Ok(reading) => reading,
        Err(error) => {
            found.incomplete = Some(error.to_string());
            return found;
        }
    };
    let count = reading.flags.len();
    for (place, (flag, reading)) in reading.flags.iter().enumerate() {
        // Reading is quick and checking is not free: a deadline that only waits would be passed here.
        if Instant::now() >= until {
            found.incomplete = Some(format!("{place} of {count} records were looked at in the time there was"));
            break;
        }
        let Some(problem) = reading.record.as_deref().and_then(unreadable) else { continue };
        found.damaged += 1;
        if found.named.len() < DAMAGED_MAX {
            found.named.push((flag.to_string(), problem));
        }
    }
    found
}

/// What the relay's reader would not read in this record, if anything.
fn unreadable(bytes: &[u8]) -> Option<String> {
    match Record::parse(bytes) {
        Ok(record) if record.is_tombstone() => None,
        Ok(record) => check::readable(&record).err().map(|error| error.to_string()),
        Err(error) => Some(format!("is {error}")),
    }
}

/// A failure on one line: what, and the nearest cause.
pub(super) fn one_line(failure: &Failure) -> String {
    match failure.causes.first() {
        Some(cause) => format!("{}: {cause}", failure.message),
        None => failure.message.clone(),
    }
}
