//! Edits in the playback that are part of no override (design 4.4): over if a store or LaunchDarkly says so, else a
//! question, else left. They are never sent: somebody may have replayed them long ago.

use std::collections::BTreeMap;

use crate::change::event::Happened;
use crate::change::expiry::came_before;
use crate::change::target::Target;
use crate::commands::Context;
use crate::commands::replay::Arguments;
use crate::commands::replay::OnConflict;
use crate::commands::replay::files::Files;
use crate::commands::replay::outcome::StrayDone;
use crate::commands::replay::outcome::StrayOutcome;
use crate::commands::replay::outcome::Way;
use crate::commands::replay::owed::Astray;
use crate::commands::replay::owed::Stray;
use crate::commands::replay::owed::Subject;
use crate::commands::replay::owed::UndoneSince;
use crate::commands::replay::words;
use crate::error::Failure;
use crate::launchdarkly::ApiError;
use crate::launchdarkly::Client;
use crate::launchdarkly::audit::AuditLog;
use crate::playback::Loaded;
use crate::playback::Syncing;
use crate::ui::harmless::harmless;
use crate::ui::prompt::Choice;
use crate::ui::time;
use crate::ui::words::list;

/// How far before a change the audit log is looked at, for clocks that differ.
const AUDIT_BEFORE_MS: i64 = 60 * 60 * 1000;

const CHOICES: [Choice; 2] = [Choice { letter: 'g', word: "give up" }, Choice { letter: 's', word: "skip" }];

/// Whether LaunchDarkly has to be asked.
pub fn need_launchdarkly(strays: &[Stray]) -> bool {
    strays.iter().any(|stray| !is_settled(&stray.why))
}

/// Whether stores and playback tell what became of it.
fn is_settled(why: &Astray) -> bool {
    match why {
        Astray::Ended(_) | Astray::Replayed { .. } | Astray::Nowhere | Astray::Superseded(_) => true,
        Astray::Hidden(_)
        | Astray::Unreadable(_)
        | Astray::Stands(_)
        | Astray::Unexplained
        | Astray::Unnoted
        | Astray::PutAside(_) => false,
    }
}

/// Finds out about each of them.
pub async fn find_out(
    strays: Vec<Stray>,
    client: Option<&Client>,
    arguments: &Arguments,
    context: &Context<'_>,
) -> Vec<StrayDone> {
    let mut logs: BTreeMap<Subject, Result<AuditLog, Failure>> = BTreeMap::new();
    // Nobody waits for LaunchDarkly again and again, once for each edit.
    let mut client = client;
    let oldest = oldest(&strays);
    let mut done = Vec::with_capacity(strays.len());
    for stray in strays {
        let change = stray.part.0;
        let outcome = match &stray.why {
            Astray::Ended(mark) => {
                StrayOutcome::Ended { mark: mark.clone(), expired: came_before(stray.expires, mark) }
            }
            Astray::Replayed { version } => StrayOutcome::Replayed { version: *version },
            Astray::Nowhere => StrayOutcome::Nowhere,
            Astray::Superseded(by) => StrayOutcome::Superseded { by: *by },
            _ => {
                if let (Some(asked), false) = (client, logs.contains_key(&stray.subject)) {
                    let after = oldest.get(&stray.subject).copied().unwrap_or_default();
                    let log = asked.audit(&stray.subject.0, &stray.subject.1, after).await;
                    client = client.filter(|_| !log.as_ref().is_err_and(ApiError::stops_everything));
                    logs.insert(stray.subject.clone(), log.map_err(Failure::from));
                }
                let log = logs.get(&stray.subject);
                let found = log.and_then(|log| log.as_ref().ok()).and_then(|log| log.of_change(change));
                match found {
                    Some(entry) => StrayOutcome::InAuditLog(words::entry_in_words(entry)),
                    None => match theirs(client, &stray).await {
                        Some(version) => StrayOutcome::Theirs { version },
                        None => undecided(&stray, log),
                    },
                }
            }
        };
        done.push(StrayDone { subject: stray.subject, change, outcome });
    }
    ask(&mut done, arguments, context).await;
    done
}

/// LaunchDarkly's version, where the record by which an edit seems to stand is LaunchDarkly's own: it made the same change
/// itself, and its versions count as ours do.
async fn theirs(client: Option<&Client>, stray: &Stray) -> Option<u64> {
    let client = client.filter(|_| !stray.stands.is_empty())?;
    let now = client.flag(&stray.subject.0, &stray.subject.1).await.ok()?;
    stray.stands.iter().all(|record| now.is_sent_as(record)).then_some(now.version)
}

/// `expired 04:14Z, and `, where it was undone after its time.
pub fn expired_in_words(expired: Option<jiff::Timestamp>) -> String {
    expired.map(|at| format!("expired {}, and ", time::full(at))).unwrap_or_default()
}

fn oldest(strays: &[Stray]) -> BTreeMap<Subject, i64> {
    let mut oldest: BTreeMap<Subject, i64> = BTreeMap::new();
    for stray in strays {
        let made = stray.part.0.made_at_ms().and_then(|made| i64::try_from(made).ok()).unwrap_or_default();
        let after = made.saturating_sub(AUDIT_BEFORE_MS);
        oldest.entry(stray.subject.clone()).and_modify(|known| *known = after.min(*known)).or_insert(after);
    }
    oldest
}

fn undecided(stray: &Stray, log: Option<&Result<AuditLog, Failure>>) -> StrayOutcome {
    let stores = |targets: &[Target]| {
        let labels: Vec<String> = targets.iter().map(|target| target.store.clone()).collect();
        list(&labels)
    };
    let of_the_log = match log {
        Some(Ok(log)) if log.complete => "LaunchDarkly's audit log does not name it",
        Some(Ok(_)) => "the part of LaunchDarkly's audit log that can be read does not name it",
        Some(Err(_)) => "LaunchDarkly's audit log could not be read",
        None => "LaunchDarkly was not asked",
    };
    let (why, way) = match &stray.why {
        Astray::Hidden(targets) => {
            (format!("its override may be in {}, which did not answer", stores(targets)), Way::Again)
        }
        Astray::Unreadable(targets) => {
            (format!("the override in {} cannot be read, and may be this one", stores(targets)), Way::Look)
        }
        Astray::Stands(targets) => (
            format!("its override is gone, but not what it wrote to {}, and {of_the_log}; not sent", stores(targets)),
            Way::Undo,
        ),
        Astray::PutAside(targets) => (
            format!(
                "another override, made on another side of a broken network, takes its place; {} still has it; not sent",
                stores(targets)
            ),
            Way::GiveUp,
        ),
        Astray::Unnoted => (
            format!(
                "whether it was ever written was not noted; it stands in no store, there is no mark of how it ended, and \
                 {of_the_log}; not sent"
            ),
            Way::Resume,
        ),
        _ => (
            format!(
                "its override is gone from the stores, there is no mark of how it ended, and {of_the_log}; not sent"
            ),
            Way::GiveUp,
        ),
    };
    StrayOutcome::Undecided { why, way }
}

async fn ask(done: &mut [StrayDone], arguments: &Arguments, context: &Context<'_>) {
    for stray in done {
        let StrayOutcome::Undecided { why, way: Way::GiveUp | Way::Resume } = &stray.outcome else { continue };
        let given_up = match arguments.on_conflict {
            OnConflict::Launchdarkly => true,
            OnConflict::Ask if !arguments.dry_run && context.prompter.can_ask() => {
                context.output.say(&format!("{} ({}): {why}", stray.subject.1, stray.change.short()));
                matches!(context.prompter.choose(context.output, &CHOICES).await, Ok(0))
            }
            OnConflict::Ask | OnConflict::Override | OnConflict::Skip => false,
        };
        if given_up {
            stray.outcome = StrayOutcome::GivenUp;
        }
    }
}

/// Undos that turn out to be finished: noted in their files, so that nobody goes on looking for them. What cannot be noted
/// is found out again.
pub fn note_undone(undone: Vec<UndoneSince>, loaded: &Loaded, files: &mut Files<'_>) -> Vec<StrayDone> {
    let one = |UndoneSince { subject, part, targets }| {
        for target in &targets {
            let target: &Target = target;
            let what = Happened::Settled { target: Some(target.clone()), version: None };
            let _ = files.note_one(loaded, part, what, Syncing::Later);
        }
        StrayDone { subject, change: part.0, outcome: StrayOutcome::Undone(targets) }
    };
    undone.into_iter().map(one).collect()
}

/// Notes in the playback what was found out, so that nobody is asked again.
///
/// # Errors
/// A file could not be written.
pub fn note(done: &[StrayDone], loaded: &Loaded, files: &mut Files<'_>) -> Result<(), Failure> {
    let mut failed = None;
    for stray in done {
        let Some(what) = event(stray) else { continue };
        let edit = loaded.files.iter().find(|file| file.change() == stray.change).and_then(|file| {
            let edits = &file.intent.change.edits;
            edits.iter().position(|edit| edit.environment == stray.subject.0 && edit.flag == stray.subject.1)
        });
        let Some(edit) = edit else { continue };
        if let Err(error) = files.note_one(loaded, (stray.change, edit), what, Syncing::Now) {
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn event(stray: &StrayDone) -> Option<Happened> {
    match &stray.outcome {
        StrayOutcome::Ended { mark, .. } if mark.ending == crate::change::override_::Ending::Settled => {
            Some(Happened::Settled { target: None, version: mark.version })
        }
        StrayOutcome::Ended { mark, expired } => {
            let (who, when, expired) = (harmless(&mark.actor.user), time::full(mark.at), expired_in_words(*expired));
            Some(Happened::Abandoned { why: format!("{expired}{} by {who} {when}, says a store", mark.ending) })
        }
        StrayOutcome::InAuditLog(_) => Some(Happened::Settled { target: None, version: None }),
        StrayOutcome::Theirs { version } => Some(Happened::Settled { target: None, version: Some(*version) }),
        StrayOutcome::Superseded { by } => Some(Happened::Abandoned {
            why: format!(
                "whether it was written was not noted, it stands in no store, and change {} came after it",
                by.short()
            ),
        }),
        StrayOutcome::GivenUp => {
            Some(Happened::Abandoned { why: "its override was gone, and nobody knew more".to_owned() })
        }
        StrayOutcome::Replayed { .. }
        | StrayOutcome::Nowhere
        | StrayOutcome::Undone(_)
        | StrayOutcome::Undecided { .. } => None,
    }
}
