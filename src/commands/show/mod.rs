//! `rc show`: one flag in words, as every store and every relay has it. It reads and never changes anything.

mod document;
mod relays;
mod report;

use super::Context;
use super::flags::listed;
use super::flags::readable_somewhere;
use super::overview;
use super::place::Surroundings;
use super::survey;
use super::survey::Extent;
use super::survey::TargetView;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::error::merge;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::playback::Loaded;
use crate::ui::harmless::harmless;
use crate::ui::nearest::did_you_mean;
use document::Looked;
use document::Shown;

/// Tell one flag in words: in every store, what it serves, what depends on it
///
/// Whose record stands in each store, the override with who, when and why, what relays serve where their SDK key is
/// known, the flags that require this one, and the changes that name it. Reads the whole environment.
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:\n  rc show -p shop -e production checkout")]
pub struct Arguments {
    /// Which flag
    pub flag: FlagKey,

    /// Print the record itself, as the stores have it; with --json, in the document
    #[arg(long)]
    pub raw: bool,
}

/// Runs it.
///
/// # Errors
/// Where the environment, or where it is kept, is not known, where no store answered, or where there is no such flag.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let environment = context.settings.required_environment()?;
    let surroundings = Surroundings::look(context).await?;
    let choice = surroundings.targets(context, &environment)?;
    if let Some(told) = &choice.told {
        context.output.say(told);
    }
    let flag = &arguments.flag;
    let asked = relays::ask(context, &surroundings, &environment, &choice.targets, flag);
    let looked = survey::look(&surroundings.stores, &choice.targets, Extent::All);
    let (relays, views) = futures_util::join!(asked, looked);
    readable_somewhere(&views)?;
    let is_there =
        |view: &TargetView| view.flag(flag).is_some_and(|found| found.record.is_some() || found.override_.is_some());
    if !views.iter().any(is_there) {
        return Err(no_such_flag(flag, &environment, &views));
    }
    if arguments.raw && !context.output.wants_json() {
        raw(context, flag, &views);
        return Ok(ended(&views));
    }
    let standing = survey::standings(&surroundings.stores, &views, &environment).await.remove(flag);
    let loaded = playback(context);
    let looked = Looked { environment: &environment, flag, views: &views, standing, relays, loaded: &loaded };
    let shown = Shown::of(looked, arguments.raw);
    let now = jiff::Timestamp::now();
    if context.output.wants_json() {
        context.output.json(&shown);
    } else {
        context.output.report(&report::text(&shown, &environment, now));
    }
    Ok(ended(&views))
}

/// A report that lacks a store is not whole.
fn ended(views: &[TargetView]) -> ExitCode {
    merge(views.iter().map(|view| match &view.reading {
        Ok(_) => ExitCode::Done,
        Err(error) => Failure::from(error.clone()).exit_code(),
    }))
}

/// The playback as far as it can be read: what the stores hold is told in any case.
fn playback(context: &Context<'_>) -> Loaded {
    match overview::playback(context).and_then(|playback| playback.load().map_err(Failure::from)) {
        Ok(loaded) => loaded,
        Err(failure) => {
            context.output.warn(&format!("changes are not told: {}", harmless(&failure.message)));
            Loaded::default()
        }
    }
}

fn no_such_flag(flag: &FlagKey, environment: &Environment, views: &[TargetView]) -> Failure {
    let known = survey::flags(views);
    let near = did_you_mean(flag.as_str(), known.iter().map(FlagKey::as_str));
    let mut failure = Failure::new(Kind::Other, format!("there is no flag {flag} in {environment}{near}"));
    for (view, name) in views.iter().zip(listed::names(views)) {
        if let Err(error) = &view.reading {
            failure = failure.cause(format!("{} was not looked at: {}", harmless(&name), harmless(&error.to_string())));
        }
    }
    failure.hint(format!("All of them:  rc flags -p {} -e {}", environment.project, environment.key))
}

/// Each distinct record on a line of its own, and on standard error whose it is.
fn raw(context: &Context<'_>, flag: &FlagKey, views: &[TargetView]) {
    let mut told: Vec<(Vec<u8>, Vec<String>)> = Vec::new();
    for (view, name) in views.iter().zip(listed::names(views)) {
        let Some(found) = view.flag(flag) else {
            context.output.warn(&format!("{} could not be read", harmless(&name)));
            continue;
        };
        let Some(bytes) = found.record else {
            context.output.say(&format!("{} has no record of it", harmless(&name)));
            continue;
        };
        match told.iter_mut().find(|(other, _)| *other == bytes) {
            Some((_, names)) => names.push(name),
            None => told.push((bytes, vec![name])),
        }
    }
    for (bytes, names) in told {
        context.output.say(&format!("{}:", harmless(&names.join(", "))));
        context.output.data(&escaped(&String::from_utf8_lossy(&bytes)));
    }
}

/// A record as a terminal may have it: characters that could do something there are written as JSON escapes, which mean
/// the same inside JSON texts, where alone a readable record can have them.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut buffer = [0; 4];
    for character in text.chars() {
        let one: &str = character.encode_utf8(&mut buffer);
        if one == "\n" || harmless(one) == one {
            shown.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_on_a_terminal_means_the_same_and_does_nothing() {
        let record = "{\"a\": \"\u{202e}x\u{9b}\u{e0001}ü\",\n\"b\": 1}";
        let shown = escaped(record);
        assert_eq!(shown, "{\"a\": \"\\u202ex\\u009b\\udb40\\udc01ü\",\n\"b\": 1}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(record), value(&shown));
    }
}
