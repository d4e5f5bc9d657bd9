//! Carrying the plan out, in groups: what is about to be sent is noted and synced for a whole group, each flag of it is
//! sent and read again, and then the group's stores are told. Interrupted anywhere, the next replay finds out by reading.

use std::time::Duration;
use std::time::Instant;

use crate::change::event::Happened;
use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::OverrideState;
use crate::commands::Context;
use crate::commands::replay::decide;
use crate::commands::replay::decide::Decided;
use crate::commands::replay::evidence::Evidence;
use crate::commands::replay::files::Files;
use crate::commands::replay::outcome::Done;
use crate::commands::replay::outcome::Outcome;
use crate::commands::replay::owed::Matter;
use crate::commands::replay::plan::Decision;
use crate::commands::replay::plan::Item;
use crate::commands::replay::plan::Left;
use crate::commands::replay::plan::Step;
use crate::commands::replay::send::Sending;
use crate::commands::replay::send::Sent;
use crate::commands::replay::stores;
use crate::commands::replay::stores::Came;
use crate::commands::replay::stores::Telling;
use crate::commands::replay::stores::Told;
use crate::commands::replay::stores::Word;
use crate::commands::replay::words;
use crate::commands::survey::Stores;
use crate::error::Failure;
use crate::flag::instruction::Instruction;
use crate::launchdarkly::Client;
use crate::launchdarkly::client::PatchOptions;
use crate::playback::PlaybackError;
use crate::playback::Syncing;

/// How many flags are noted with one sync, sent, and then settled together.
const GROUP: usize = 64;

/// What was read may be this old when it is sent.
const FRESH: Duration = Duration::from_secs(60);

/// What carrying out needs.
pub struct Means<'m> {
    /// LaunchDarkly.
    pub client: &'m Client,
    /// The stores.
    pub stores: &'m Stores,
    /// What relays show meanwhile.
    pub evidence: &'m Evidence,
    /// How patches are to be taken.
    pub options: PatchOptions,
    /// When LaunchDarkly was read.
    pub read_at: Instant,
    /// Whether somebody was asked since.
    pub asked: bool,
    /// Whether approvals are to be asked for.
    pub request_approval: bool,
}

/// Does it all, and tells what came of it.
pub async fn carry_out(
    decided: Vec<Decided>,
    means: &Means<'_>,
    files: &mut Files<'_>,
    context: &Context<'_>,
) -> Vec<Done> {
    let mut done = Vec::with_capacity(decided.len());
    let mut stopped: Option<Failure> = None;
    let mut rest = decided.into_iter().peekable();
    while rest.peek().is_some() {
        let group: Vec<Decided> = rest.by_ref().take(GROUP).collect();
        done.extend(one_group(&group, means, files, context, &mut stopped).await);
    }
    done
}

async fn one_group(
    group: &[Decided],
    means: &Means<'_>,
    files: &mut Files<'_>,
    context: &Context<'_>,
    stopped: &mut Option<Failure>,
) -> Vec<Done> {
    let mut sendings: Vec<Result<Sending<'_>, Left>> = Vec::with_capacity(group.len());
    let mut before: Vec<(&_, Happened)> = Vec::new();
    for one in group {
        if let Some(decision) = one.decision {
            before.push((&one.item.matter.subject, conflict(&one.item, decision)));
        }
        let sending = match &one.step {
            Step::Send(instructions) | Step::Request(instructions) => Sending::new(&one.item, instructions.clone()),
            _ => Err(Left::undecided("", "")),
        };
        if let (Step::Send(_), Ok(sending), None) = (&one.step, &sending, &stopped) {
            before.push((&one.item.matter.subject, sending.attempted()));
        }
        sendings.push(sending);
    }
    if let Err(error) = files.note(&before, Syncing::Now) {
        *stopped = stopped.take().or(Some(error.into()));
    }
    let mut outcomes = Vec::with_capacity(group.len());
    for (one, sending) in group.iter().zip(sendings) {
        outcomes.push(one_flag(one, sending, means, files, stopped).await);
    }
    note_and_tell(group, outcomes, means, files, context).await
}

fn conflict(item: &Item, decision: Decision) -> Happened {
    Happened::Conflict { told: words::conflict(item), decision: Some(decision.word().to_owned()) }
}

async fn one_flag(
    one: &Decided,
    sending: Result<Sending<'_>, Left>,
    means: &Means<'_>,
    files: &mut Files<'_>,
    stopped: &mut Option<Failure>,
) -> Outcome {
    let approval = match &one.step {
        Step::Send(_) => false,
        Step::Request(_) => true,
        Step::Settle { version } => return Outcome::Already { version: *version },
        Step::PutBack => return Outcome::Nothing,
        Step::Abandon(why) => return Outcome::Abandoned { why: why.clone() },
        Step::Leave(left) => return Outcome::Left(left.clone()),
    };
    if let Some(failure) = stopped {
        return Outcome::Left(Left::failed(failure.clone().while_doing("not sent any more")));
    }
    let sending = match sending {
        Ok(sending) => sending,
        Err(left) => return Outcome::Left(left),
    };
    if approval {
        return request_approval(one, &sending.instructions, means).await;
    }
    let limit = if means.asked { Duration::from_secs(5) } else { FRESH };
    let stale = means.read_at.elapsed() > limit;
    match sending.send(means.client, files, means.options, stale).await {
        Sent::Shown { version, more } => Outcome::Replayed { version, more },
        Sent::Left(left) => Outcome::Left(left),
        // LaunchDarkly's settings did not say so beforehand.
        Sent::NeedsApproval => match (&one.step, means.request_approval) {
            (Step::Send(instructions), true) => request_approval(one, instructions, means).await,
            _ => Outcome::Left(Left::undecided("needs an approval", words::command(&one.item, "--request-approval"))),
        },
        Sent::Stop(failure) => {
            *stopped = Some(failure.clone());
            Outcome::Left(Left::failed(failure))
        }
    }
}

async fn request_approval(one: &Decided, instructions: &[Instruction], means: &Means<'_>) -> Outcome {
    match Sending::new(&one.item, instructions.to_vec()) {
        Err(left) => Outcome::Left(left),
        Ok(sending) => match sending.request_approval(means.client).await {
            Ok(approval) => Outcome::Requested(approval),
            Err(error) => Outcome::Left(Left::failed(error.into())),
        },
    }
}

/// What stores are told of an outcome.
fn word(outcome: &Outcome, matter: &Matter, evidence: &Evidence) -> Option<Word> {
    match outcome {
        Outcome::Replayed { version, .. } | Outcome::Already { version } | Outcome::Before { version } => {
            Some(Word::Has { version: *version, shown: evidence.shown(&matter.subject, *version) })
        }
        Outcome::Nothing => Some(Word::Over(Ending::Settled)),
        Outcome::Abandoned { .. } => Some(Word::Over(Ending::Abandoned)),
        Outcome::Requested(approval) => Some(Word::Awaits { request: approval.id.clone() }),
        Outcome::Left(_) | Outcome::Valid => None,
    }
}

async fn note_and_tell(
    group: &[Decided],
    outcomes: Vec<Outcome>,
    means: &Means<'_>,
    files: &mut Files<'_>,
    context: &Context<'_>,
) -> Vec<Done> {
    let happened: Vec<_> = group
        .iter()
        .zip(&outcomes)
        .filter_map(|(one, outcome)| Some((&one.item.matter.subject, event(one, outcome)?)))
        .collect();
    told_of(files.note(&happened, Syncing::Later), context);
    let mut tellings = Vec::new();
    let mut of = Vec::new();
    for (place, (one, outcome)) in group.iter().zip(&outcomes).enumerate() {
        if let Some(word) = word(outcome, &one.item.matter, means.evidence) {
            tellings.push(Telling { matter: &one.item.matter, sent: &one.item.matter.override_, word });
            of.push(place);
        }
    }
    let told = stores::tell(means.stores, files, &context.settings.actor, &tellings).await;
    let mut stores_of: Vec<Told> = vec![Told::default(); group.len()];
    for (place, told) in of.into_iter().zip(told) {
        if let Some(slot) = stores_of.get_mut(place) {
            *slot = told;
        }
    }
    let done: Vec<Done> = group
        .iter()
        .zip(outcomes)
        .zip(stores_of)
        .map(|((one, outcome), stores)| Done::new(&one.item.matter, one.item.now.as_ref(), outcome, stores))
        .collect();
    note_settled(&done, files, context);
    done
}

/// What is noted of an outcome once it is known.
fn event(one: &Decided, outcome: &Outcome) -> Option<Happened> {
    let revision = one.item.matter.override_.revision;
    match outcome {
        Outcome::Replayed { version, .. } | Outcome::Already { version } => {
            Some(Happened::Replayed { revision, version: *version })
        }
        Outcome::Abandoned { why } => Some(Happened::Abandoned { why: why.clone() }),
        Outcome::Requested(approval) => {
            Some(Happened::AwaitingApproval { request: approval.id.clone(), link: approval.link.clone() })
        }
        // A flag that was left says nothing new, except that a failed attempt is no attempt any more.
        Outcome::Nothing | Outcome::Left(_) | Outcome::Before { .. } | Outcome::Valid => None,
    }
}

/// Notes in which targets overrides have ended, and that they have ended as a whole where that is so.
fn note_settled(done: &[Done], files: &mut Files<'_>, context: &Context<'_>) {
    let mut events = Vec::new();
    for one in done {
        let version = one.outcome.version();
        let ended = |came: &Came| matches!(came, Came::Settled | Came::PutBack | Came::Nothing);
        let is_over = match &one.outcome {
            Outcome::Nothing => true,
            Outcome::Replayed { .. } | Outcome::Already { .. } | Outcome::Before { .. } => {
                one.stores.values().any(|came| *came == Came::Settled)
            }
            _ => false,
        };
        if !is_over {
            continue;
        }
        for (target, _) in one.stores.iter().filter(|(_, came)| matches!(came, Came::Settled | Came::PutBack)) {
            events.push((&one.subject, Happened::Settled { target: Some(target.clone()), version }));
        }
        if one.stores.values().all(ended) {
            events.push((&one.subject, Happened::Settled { target: None, version }));
        }
    }
    told_of(files.note(&events, Syncing::Later), context);
}

fn told_of(noted: Result<(), PlaybackError>, context: &Context<'_>) {
    if let Err(error) = noted {
        context.output.warn(&format!("what came of it could not be noted: {}", Failure::from(error).message));
    }
}

/// Ends the overrides that were replayed a moment ago, and of which relays have shown LaunchDarkly's own record since.
pub async fn settle_shown(
    done: &mut [Done],
    stores: &Stores,
    evidence: &Evidence,
    files: &mut Files<'_>,
    context: &Context<'_>,
) {
    let (mut matters, mut words, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (place, one) in done.iter().enumerate() {
        let Outcome::Replayed { version, .. } = one.outcome else { continue };
        let held = one.stores.values().any(|came| *came == Came::Held);
        let Some(shown) = evidence.shown(&one.subject, version).filter(|_| held) else { continue };
        let targets: Vec<_> =
            one.stores.iter().filter(|(_, came)| **came == Came::Held).map(|(target, _)| target).collect();
        matters.push(stores::seen_now(stores, one, &targets).await);
        words.push(Word::Has { version, shown: Some(shown) });
        places.push(place);
    }
    let tellings: Vec<Telling<'_>> =
        matters.iter().zip(words).map(|(matter, word)| Telling { matter, sent: &matter.override_, word }).collect();
    let told = stores::tell(stores, files, &context.settings.actor, &tellings).await;
    let mut again = Vec::new();
    for (place, told) in places.into_iter().zip(told) {
        if let Some(one) = done.get_mut(place) {
            one.stores.extend(told);
            again.push(one.clone());
        }
    }
    note_settled(&again, files, context);
}

/// Looks whether LaunchDarkly's data path shows what was replayed earlier, and brings up to date the stores that did not
/// answer then.
pub async fn settle_replayed(
    matters: &[Matter],
    stores: &Stores,
    evidence: &Evidence,
    files: &mut Files<'_>,
    context: &Context<'_>,
) -> Vec<Done> {
    let version_of = |matter: &Matter| match matter.override_.state {
        OverrideState::Replayed { version } => version,
        OverrideState::InForce | OverrideState::AwaitingApproval { .. } => matter.override_.base.version(),
    };
    let mut all = Vec::with_capacity(matters.len());
    for group in matters.chunks(GROUP) {
        let outcomes: Vec<Outcome> =
            group.iter().map(|matter| Outcome::Before { version: version_of(matter) }).collect();
        let replayed = |matter: &Matter| {
            let revision = matter.override_.revision;
            Happened::Replayed { revision, version: version_of(matter) }
        };
        let happened: Vec<_> =
            group.iter().filter(|matter| matter.unnoted).map(|matter| (&matter.subject, replayed(matter))).collect();
        told_of(files.note(&happened, Syncing::Later), context);
        let tellings: Vec<Telling<'_>> = group
            .iter()
            .zip(&outcomes)
            .filter_map(|(matter, outcome)| {
                Some(Telling { matter, sent: &matter.override_, word: word(outcome, matter, evidence)? })
            })
            .collect();
        let told = stores::tell(stores, files, &context.settings.actor, &tellings).await;
        let done: Vec<Done> = group
            .iter()
            .zip(outcomes)
            .zip(told)
            .map(|((matter, outcome), stores)| Done::new(matter, None, outcome, stores))
            .collect();
        note_settled(&done, files, context);
        all.extend(done);
    }
    all
}

/// Ends overrides in the stores that did not answer when they ended elsewhere.
pub async fn end_leftovers(
    leftovers: &[(Matter, EndedMark)],
    stores: &Stores,
    evidence: &Evidence,
    files: &mut Files<'_>,
    context: &Context<'_>,
) -> Vec<Done> {
    let outcome = |mark: &EndedMark| match (mark.ending, mark.version) {
        // LaunchDarkly has it: the record from before it must not come back.
        (Ending::Settled, Some(version)) => Outcome::Before { version },
        (Ending::Settled, None) => Outcome::Nothing,
        (ending, _) => Outcome::Abandoned { why: format!("it was {ending} by {}", mark.actor.user) },
    };
    let outcomes: Vec<Outcome> = leftovers.iter().map(|(_, mark)| outcome(mark)).collect();
    let tellings: Vec<Telling<'_>> = leftovers
        .iter()
        .zip(&outcomes)
        .filter_map(|((matter, mark), outcome)| {
            let word = match word(outcome, matter, evidence)? {
                Word::Over(_) => Word::Over(mark.ending),
                word => word,
            };
            Some(Telling { matter, sent: &matter.override_, word })
        })
        .collect();
    let told = stores::tell(stores, files, &context.settings.actor, &tellings).await;
    leftovers
        .iter()
        .zip(outcomes)
        .zip(told)
        .map(|(((matter, _), outcome), stores)| Done::new(matter, None, outcome, stores))
        .collect()
}

/// Shows what LaunchDarkly says to it, without doing anything.
pub async fn rehearse(decided: &[Decided], client: &Client, options: PatchOptions) -> Vec<Done> {
    let mut done = Vec::with_capacity(decided.len());
    let mut stopped: Option<Failure> = None;
    for one in decided {
        let outcome = match (&one.step, &stopped) {
            (Step::Send(_) | Step::Request(_), Some(failure)) => {
                Outcome::Left(Left::failed(failure.clone().while_doing("not validated any more")))
            }
            (Step::Send(instructions), None) => match Sending::new(&one.item, instructions.clone()) {
                Err(left) => Outcome::Left(left),
                Ok(sending) => match sending.validate(client, options).await {
                    Ok(()) => Outcome::Valid,
                    Err(error) => {
                        let failure = Failure::from(error.clone());
                        if error.is_outage() || failure.kind == crate::error::Kind::Credentials {
                            stopped = Some(failure.clone());
                        }
                        Outcome::Left(Left::failed(failure))
                    }
                },
            },
            (Step::Request(_), None) => Outcome::Valid,
            (Step::Settle { version }, _) => Outcome::Already { version: *version },
            (Step::PutBack, _) => Outcome::Nothing,
            (Step::Abandon(why), _) => Outcome::Abandoned { why: why.clone() },
            (Step::Leave(left), _) => Outcome::Left(left.clone()),
        };
        done.push(Done::new(&one.item.matter, one.item.now.as_ref(), outcome, Told::default()));
    }
    done
}

/// How an approval that was just asked for stands, for the report.
pub fn requested(approval: &crate::launchdarkly::approval::Approval) -> Left {
    decide::waits(Some(approval))
}
