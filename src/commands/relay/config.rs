//! `rc relay config`: what should be different in an `ld-relay.conf`, or a new one. Nothing is asked of anybody: it goes
//! by the file and by the settings. What is written holds no secret, so that it can be kept where configuration is kept.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use super::super::Context;
use super::super::targets;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::flag::key::Environment;
use crate::relay::advice;
use crate::relay::advice::Advice;
use crate::relay::advice::StreamUri;
use crate::relay::configuration::RelayConfiguration;
use crate::settings::StoreSetting;
use crate::ui::harmless::harmless;
use crate::ui::secret::without_credentials;
use crate::ui::words::count;

/// Check a relay's configuration, or write one
///
/// With --check it says what keeps an edit from reaching everybody, and what to write instead; exit code 1 where
/// something does. Without it, it prints an ld-relay.conf for the given environments and one of the stores. SDK keys and
/// passwords are left to the relay's own environment (LD_ENV_NAME, REDIS_PASSWORD). With --json --check prints one object:
/// files, each with file and advice: must, section, told, write.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For example:\n  rc relay config --check ld-relay.conf --guard http://127.0.0.1:8031\n  rc relay config shop/production shop/staging --guard http://127.0.0.1:8031 > ld-relay.conf"
)]
pub struct Arguments {
    /// The environments to write, else that of -p and -e
    #[arg(value_name = "PROJECT/ENVIRONMENT", conflicts_with = "check")]
    pub environments: Vec<Environment>,

    /// Check this file, else those that RC_RELAY_CONFIG names
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub check: Option<Option<PathBuf>>,

    /// Where a guard listens for the relay
    #[arg(long, value_name = "URL")]
    pub guard: Option<StreamUri>,

    /// The store that the relay fills, by its label; needed where there are several
    #[arg(long, value_name = "LABEL", conflicts_with = "check")]
    pub store: Option<String>,
}

/// Runs it.
///
/// # Errors
/// A file that cannot be read, or that a relay would refuse; no environment, or no store that can be meant.
pub async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    match &arguments.check {
        Some(file) => check(file.as_ref(), arguments.guard.as_ref(), context).await,
        None => write(arguments, context),
    }
}

/// The object that `--json` prints. New fields may come; those that are here stay.
#[derive(Debug, Serialize)]
struct Checked {
    files: Vec<CheckedFile>,
}

#[derive(Debug, Serialize)]
struct CheckedFile {
    file: String,
    advice: Vec<Advice>,
}

async fn check(file: Option<&PathBuf>, guard: Option<&StreamUri>, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let files = file.map_or(context.settings.relay_config.as_slice(), std::slice::from_ref);
    if files.is_empty() {
        return Err(Failure::usage("no configuration is named: neither --check nor RC_RELAY_CONFIG says which")
            .hint("rc relay config --check ld-relay.conf"));
    }
    let mut checked = Vec::new();
    for file in files {
        let configuration = RelayConfiguration::load(file).await?;
        checked.push(CheckedFile { file: file.display().to_string(), advice: advice::advice(&configuration, guard) });
    }
    let must = checked.iter().flat_map(|file| &file.advice).any(|advice| advice.must);
    if context.output.wants_json() {
        context.output.json(&Checked { files: checked });
    } else {
        checked.iter().for_each(|checked| context.output.report(&report(&checked.file, &checked.advice)));
    }
    Ok(if must { ExitCode::Failure } else { ExitCode::Done })
}

/// ```text
/// ld-relay.conf
///   MUST  [Main]  its stream comes from LaunchDarkly itself: ...
///                 streamUri = "http://127.0.0.1:8031"
/// ```
fn report(file: &str, advice: &[Advice]) -> String {
    let mut text = format!("{}\n", harmless(file));
    let width = advice.iter().map(|advice| advice.section.chars().count()).max().unwrap_or_default();
    for advice in advice {
        let weight = if advice.must { "MUST" } else { "note" };
        let section = harmless(&advice.section);
        let _ = writeln!(text, "  {weight}  {section:width$}  {}", harmless(&advice.told));
        if let Some(line) = &advice.write {
            let _ = writeln!(text, "        {:width$}  {}", "", harmless(line));
        }
    }
    let musts = advice.iter().filter(|advice| advice.must).count();
    text.push_str(&match (musts, advice.len()) {
        (0, 0) => "FINE: nothing keeps an edit from getting through.".to_owned(),
        (0, notes) => format!("FINE, with {} worth knowing.", count(notes, "thing")),
        (musts, _) => {
            format!("NOT YET: {} to be changed; the relay is to be started again after that.", count(musts, "line"))
        }
    });
    text
}

fn write(arguments: &Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let environments =
        match (arguments.environments.as_slice(), &context.settings.project, &context.settings.environment) {
            ([], Some(project), Some(key)) => vec![Environment { project: project.clone(), key: key.clone() }],
            ([], _, _) => {
                return Err(
                    Failure::usage("no environment is named").hint("rc relay config shop/production shop/staging")
                );
            }
            (named, _, _) => named.to_vec(),
        };
    let store = store(arguments, context)?;
    let prefix = |environment: &Environment| {
        let setting = context.settings.environments.get(environment);
        let named = setting.and_then(|setting| setting.prefixes.get(&store.label).or(setting.prefix.as_ref()));
        named.cloned().unwrap_or_else(|| targets::conventional(environment))
    };
    context.output.report(written(&environments, prefix, store, arguments.guard.as_ref())?.trim_end());
    Ok(ExitCode::Done)
}

fn store<'s>(arguments: &Arguments, context: &'s Context<'_>) -> Result<&'s StoreSetting, Failure> {
    let stores = context.settings.required_stores()?;
    let labels = || stores.iter().map(|store| store.label.as_str()).collect::<Vec<&str>>().join(", ");
    match (&arguments.store, stores) {
        (Some(label), stores) => stores.iter().find(|store| store.label == *label).ok_or_else(|| {
            Failure::usage(format!("no store is called {}", harmless(label))).hint(format!("There are: {}", labels()))
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::usage("which store does the relay fill? There are several")
            .hint(format!("--store LABEL, one of: {}", labels()))),
    }
}

/// The text of an `ld-relay.conf`.
fn written(
    environments: &[Environment],
    prefix: impl Fn(&Environment) -> String,
    store: &StoreSetting,
    guard: Option<&StreamUri>,
) -> Result<String, Failure> {
    let mut text =
        String::from("# Written by rc relay config. It holds no secret; the relay gets those from its environment:\n");
    for environment in environments {
        let _ = writeln!(text, "#   LD_ENV_{}   the SDK key of {environment}", section(environment));
    }
    let url = redis_url(store)?;
    text.push_str("#   REDIS_USERNAME, REDIS_PASSWORD   where Redis wants them\n");
    text.push_str("# so it is started with:  ld-relay --config ld-relay.conf --from-env\n\n[Main]\n");
    match guard {
        Some(guard) => {
            let _ = writeln!(text, "# The guard, which stands between LaunchDarkly and the relay.");
            let _ = writeln!(text, "streamUri = \"{}\"", guard);
        }
        None => {
            text.push_str("# No guard: SDKs see an edit only when they connect again, so connections do not last.\n");
            text.push_str("maxClientConnectionTime = 10m\n");
        }
    }
    text.push_str("# Serves from Redis while LaunchDarkly is away.\nignoreConnectionErrors = true\n");
    let _ = write!(
        text,
        "\n[Redis]\nurl = \"{url}\"\n# New connections see an edit after this time at the latest.\nlocalTtl = 30s\n"
    );
    for environment in environments {
        let _ = write!(
            text,
            "\n[Environment \"{}\"]\nprefix = \"{}\"\nprojKey = \"{}\"\n",
            section(environment),
            prefix(environment),
            environment.project
        );
    }
    // What is written must be what a relay reads.
    RelayConfiguration::from_file(&text, "the configuration")?;
    Ok(text)
}

/// A name that a variable can end with, and in which `rc` finds project and environment again.
fn section(environment: &Environment) -> String {
    environment.to_string().replace(|character: char| !character.is_ascii_alphanumeric(), "_")
}

fn redis_url(store: &StoreSetting) -> Result<String, Failure> {
    let url = without_credentials(store.url.expose());
    if url.starts_with("redis://") || url.starts_with("rediss://") {
        return Ok(url);
    }
    Err(Failure::usage(format!("a relay cannot fill {}, the store {}", harmless(&url), harmless(&store.label)))
        .hint("It takes redis:// and rediss:// addresses."))
}
