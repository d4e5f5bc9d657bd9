//! What a simulated LaunchDarkly begins with: a document or flag file, a store that a relay has filled, or the shop of the
//! rehearsal. It also notes which secrets came from outside: those are not printed.

use std::fs;
use std::path::Path;

use serde_json::Map;
use serde_json::Value;

use super::super::Start;
use crate::commands::Context;
use crate::commands::drill::stage::account;
use crate::commands::place::Surroundings;
use crate::drill::launchdarkly::Role;
use crate::drill::launchdarkly::Seed;
use crate::drill::launchdarkly::SeedError;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::Environment;
use crate::ui::prompt::Prompter;
use crate::ui::words::count;

/// The largest file that is read, in bytes.
const FILE_LENGTH_MAX: u64 = 256 * 1024 * 1024;

/// The members of a seed document, and of a flag file.
const OF_A_SEED: [&str; 3] = ["projects", "tokens", "relayKeys"];
const OF_A_FLAG_FILE: [&str; 3] = ["flags", "flagValues", "segments"];

/// What it begins with, and what is to be said of it.
#[derive(Debug)]
pub struct Begun {
    /// What it begins with.
    pub seed: Seed,
    /// Where that is from, in words.
    pub told: String,
    /// The token by which `rc` gets in; none: one of those that the seed has.
    pub token: Option<String>,
    /// The environments, `project/environment`, whose SDK key is the seed's own.
    pub own_sdk_keys: Vec<String>,
}

/// The shop of the rehearsal.
///
/// # Errors
/// Never in practice: it is plain data.
pub fn shop() -> Result<Begun, Failure> {
    let seed = account::seed().map_err(|error| unusable("the shop of the rehearsal", &error))?;
    let told = "the shop of the rehearsal; --from FILE and --from-store begin with yours".to_owned();
    Ok(Begun { seed, told, token: Some(account::TOKEN.to_owned()), own_sdk_keys: Vec::new() })
}

/// A seed document, or a flag file.
///
/// # Errors
/// Where it cannot be read, or is neither.
pub fn of_file(path: &Path, start: Start<'_>) -> Result<Begun, Failure> {
    let shown = path.display().to_string();
    let unreadable = |problem: String| Failure::usage(format!("{shown} cannot be read")).cause(problem);
    let length = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if length > FILE_LENGTH_MAX {
        return Err(unreadable(format!("it has {length} bytes, and at most {FILE_LENGTH_MAX} are read")));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let document: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| unreadable(format!("it is no JSON object: {error}")))?;
    let has = |names: [&str; 3]| names.iter().any(|name| document.contains_key(*name));
    match (has(OF_A_SEED), has(OF_A_FLAG_FILE)) {
        (true, false) => of_document(&document, &text, &shown),
        (false, true) => of_flag_file(document, &shown, start),
        _ => Err(Failure::usage(format!("{shown} is neither a seed document nor a flag file"))
            .cause("a seed document has \"projects\", a flag file \"flags\" or \"flagValues\"")
            .hint("docs/drill.md has an example of each")),
    }
}

fn of_document(document: &Map<String, Value>, text: &str, shown: &str) -> Result<Begun, Failure> {
    let seed = Seed::from_json(text).map_err(|error| unusable(shown, &error))?;
    let members = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
    let mut own_sdk_keys = Vec::new();
    for (project, seed) in &members(document.get("projects")) {
        for (environment, seed) in &members(seed.get("environments")) {
            if seed.get("sdkKey").is_some() {
                own_sdk_keys.push(format!("{project}/{environment}"));
            }
        }
    }
    let has_tokens = !members(document.get("tokens")).is_empty();
    let token = (!has_tokens).then(|| account::TOKEN.to_owned());
    let seed = if has_tokens { seed } else { with_token(seed) };
    Ok(Begun { seed, told: shown.to_owned(), token, own_sdk_keys })
}

fn of_flag_file(document: Map<String, Value>, shown: &str, start: Start<'_>) -> Result<Begun, Failure> {
    let typed = |typed: &Option<String>, default: &str| typed.clone().unwrap_or_else(|| default.to_owned());
    let place =
        [typed(&start.global.project, account::PROJECT), typed(&start.global.environment, account::ENVIRONMENT)]
            .join("/");
    let environment: Environment = place.parse().map_err(|error: crate::flag::key::KeyError| {
        Failure::usage(format!("{place} is no environment")).cause(error.to_string())
    })?;
    let told = format!("{shown}, as {environment} (-p and -e name another)");
    Ok(begun(&environment, |seed| seed.records(Value::Object(document)), told))
}

/// What a relay has put into the configured store.
///
/// # Errors
/// Where the store or the environment are not known, or the store does not answer or is empty.
pub async fn of_store(start: Start<'_>) -> Result<Begun, Failure> {
    let settings = start.settings()?;
    let prompter = Prompter::new(start.output, settings.yes, true);
    let context = Context { settings: &settings, typed: start.global, output: start.output, prompter };
    let environment = settings.required_environment()?;
    let surroundings = Surroundings::look(&context).await?;
    let choice = surroundings.targets(&context, &environment)?;
    let target = choice.targets.iter().find(|chosen| !chosen.is_filter_copy).map(|chosen| &chosen.target);
    let found = target
        .and_then(|target| Some((target, surroundings.stores.iter().find(|store| store.label() == target.store)?)));
    let Some((target, store)) = found else {
        return Err(Failure::new(Kind::Other, format!("no store is known to hold {environment}")));
    };
    let place = if target.prefix.is_empty() {
        store.label().to_owned()
    } else {
        format!("{} in {}", target.prefix, store.label())
    };
    let overridden = store.overrides(&target.prefix).await.map_err(Failure::from)?;
    if !overridden.is_empty() {
        start.output.warn(&format!(
            "{} overridden there: LaunchDarkly here begins with what the store says, and not with LaunchDarkly's own",
            if overridden.len() == 1 {
                "1 flag is".to_owned()
            } else {
                format!("{} are", count(overridden.len(), "flag"))
            }
        ));
    }
    let mut begun = begun(&environment, |seed| seed, format!("what a relay has put into {place}"));
    begun.seed = begun.seed.store(store.as_ref(), &target.prefix).await.map_err(|error| unusable(&place, &error))?;
    Ok(begun)
}

/// One environment with these contents, and a token.
fn begun(environment: &Environment, contents: impl FnOnce(Seed) -> Seed, told: String) -> Begun {
    let seed = with_token(Seed::new()).project(environment.project.as_str()).environment(environment.key.as_str());
    Begun { seed: contents(seed), told, token: Some(account::TOKEN.to_owned()), own_sdk_keys: Vec::new() }
}

fn with_token(seed: Seed) -> Seed {
    seed.service_token(account::TOKEN, Role::Writer, "rc")
}

/// A seed that cannot be what LaunchDarkly holds.
pub fn unusable(place: &str, error: &SeedError) -> Failure {
    Failure::usage(format!("LaunchDarkly cannot begin with {place}")).cause(error.to_string())
}
