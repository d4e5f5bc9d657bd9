//! After LaunchDarkly's word: what came of each override is noted, its stores are told, and what has ended by that is noted
//! as well. Also for overrides that LaunchDarkly accepted earlier, and for those that ended elsewhere while a store was away.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::change::event::Happened;
use crate::change::merge::ended_by;
use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::target::Target;
use crate::commands::Context;
use crate::commands::replay::carrying_out::GROUP;
use crate::commands::replay::carrying_out::Means;
use crate::commands::replay::decide::Decided;
use crate::commands::replay::delivered::Wanted;
use crate::commands::replay::evidence::Evidence;
use crate::commands::replay::files::Files;
use crate::commands::replay::outcome::Done;
use crate::commands::replay::outcome::Outcome;
use crate::commands::replay::owed::Matter;
use crate::commands::replay::stores;
use crate::commands::replay::stores::Came;
use crate::commands::replay::stores::Ground;
use crate::commands::replay::stores::Telling;
use crate::commands::replay::stores::Told;
use crate::commands::replay::stores::Word;
use crate::commands::survey;
use crate::error::Failure;
use crate::flag::key::FlagKey;
use crate::playback::Loaded;
use crate::playback::PlaybackError;
use crate::playback::Syncing;

/// How long guards are waited for: they write at most once in a second.
const GUARDS_MAX: Duration = Duration::from_secs(3);

/// How far apart the stores are looked at meanwhile.
const GUARDS_APART: Duration = Duration::from_millis(100);

/// What stores are told of an outcome.
fn word(outcome: &Outcome, matter: &Matter, evidence: &Evidence) -> Option<Word> {
    match outcome {
        Outcome::Replayed { version, .. }
        | Outcome::Already { version }
        | Outcome::Had { version, .. }
        | Outcome::Before { version } => {
            let shown = evidence.shown(&matter.subject, &matter.override_, *version);
            let from_before = matches!(outcome, Outcome::Replayed { more: false, .. });
            Some(Word::Has { version: *version, shown, from_before })
        }
        Outcome::Nothing => Some(Word::Over(Ending::Settled)),
        Outcome::Abandoned { .. } => Some(Word::Over(Ending::Abandoned)),
        Outcome::Requested(approval) => Some(Word::Awaits { request: approval.id.clone() }),
        Outcome::Left(_) | Outcome::Valid | Outcome::WouldRequest => None,
    }
}

/// Notes what came of a group, tells its stores, and puts together what is to be reported.
pub async fn note_and_tell(
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
    let told = stores::tell(means.ground, files, &context.settings.actor, &tellings).await;
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
        .map(|((one, outcome), stores)| Done::of(&one.item, outcome, stores))
        .collect();
    note_settled(&done, files, context);
    done
}

/// What is noted of an outcome once it is known.
fn event(one: &Decided, outcome: &Outcome) -> Option<Happened> {
    let revision = one.item.matter.override_.revision;
    match outcome {
        Outcome::Replayed { version, .. }
        | Outcome::Already { version }
        | Outcome::Had { version, .. }
        | Outcome::Before { version } => Some(Happened::Replayed { revision, version: *version }),
        Outcome::Abandoned { why } => Some(Happened::Abandoned { why: why.clone() }),
        Outcome::Requested(approval) => {
            Some(Happened::AwaitingApproval { request: approval.id.clone(), link: approval.link.clone() })
        }
        // A flag that was left says nothing new: the next replay finds out by reading what became of an attempt.
        Outcome::Nothing | Outcome::Left(_) | Outcome::Valid | Outcome::WouldRequest => None,
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
            Outcome::Replayed { .. } | Outcome::Already { .. } | Outcome::Had { .. } | Outcome::Before { .. } => {
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

/// An override that LaunchDarkly has, and that some store holds until LaunchDarkly's data path shows it.
pub fn held(done: &Done) -> Option<Wanted<'_>> {
    let version = done.outcome.version().filter(|_| done.stores.values().any(|came| *came == Came::Held))?;
    let just_sent = matches!(done.outcome, Outcome::Replayed { .. });
    Some(Wanted { subject: &done.subject, override_: &done.override_, version, just_sent })
}

/// The overrides that LaunchDarkly accepted earlier, and of which its data path is yet to be seen.
pub fn waiting<'m>(replayed: &'m [Matter], leftovers: &'m [(Matter, EndedMark)]) -> Vec<Wanted<'m>> {
    let wanted = |matter: &'m Matter, version| Wanted {
        subject: &matter.subject,
        override_: &matter.override_,
        version,
        just_sent: false,
    };
    let left = leftovers.iter().filter_map(|(matter, mark)| {
        mark.version.filter(|_| mark.ending == Ending::Settled).map(|version| wanted(matter, version))
    });
    replayed.iter().map(|matter| wanted(matter, accepted_as(matter))).chain(left).collect()
}

/// LaunchDarkly's version of an override that was replayed earlier.
fn accepted_as(matter: &Matter) -> u64 {
    match matter.override_.state {
        OverrideState::Replayed { version } => version,
        OverrideState::InForce | OverrideState::AwaitingApproval { .. } => matter.override_.base.version(),
    }
}

/// Ends the overrides that were replayed a moment ago, and of which LaunchDarkly's own record was seen since.
pub async fn settle_shown(
    done: &mut [Done],
    ground: Ground<'_>,
    evidence: &Evidence,
    files: &mut Files<'_>,
    context: &Context<'_>,
) {
    let (mut matters, mut words, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (place, one) in done.iter().enumerate() {
        let Some(Wanted { version, .. }) = held(one) else { continue };
        let Some(shown) = evidence.shown(&one.subject, &one.override_, version) else { continue };
        let targets: Vec<_> =
            one.stores.iter().filter(|(_, came)| **came == Came::Held).map(|(target, _)| target).collect();
        matters.push(stores::seen_now(ground.stores, one, &targets).await);
        words.push(Word::Has { version, shown: Some(shown), from_before: false });
        places.push(place);
    }
    let tellings: Vec<Telling<'_>> =
        matters.iter().zip(words).map(|(matter, word)| Telling { matter, sent: &matter.override_, word }).collect();
    let told = stores::tell(ground, files, &context.settings.actor, &tellings).await;
    let mut again = Vec::new();
    for (place, told) in places.into_iter().zip(told) {
        if let Some(one) = done.get_mut(place) {
            one.stores.extend(told);
            again.push(one.clone());
        }
    }
    note_settled(&again, files, context);
}

/// Waits a moment for guards: they end an override in the stores when LaunchDarkly's stream shows it.
pub async fn follow_guards(done: &mut [Done], ground: Ground<'_>, files: &mut Files<'_>, context: &Context<'_>) {
    let until = Instant::now() + GUARDS_MAX;
    let mut ended: BTreeSet<usize> = BTreeSet::new();
    loop {
        let waiting = held_by_guards(done, ground);
        if waiting.is_empty() {
            break;
        }
        let looking = waiting.iter().map(|(target, held)| ended_in(ground, target, held));
        for (target, came) in waiting.keys().zip(join_all(looking).await) {
            for (place, came) in came {
                if let Some(one) = done.get_mut(place) {
                    one.stores.insert(target.clone(), came);
                    ended.insert(place);
                }
            }
        }
        if Instant::now() >= until || held_by_guards(done, ground).is_empty() {
            break;
        }
        tokio::time::sleep(GUARDS_APART).await;
    }
    let over: Vec<Done> = ended.into_iter().filter_map(|place| done.get(place).cloned()).collect();
    note_settled(&over, files, context);
}

/// What is held in targets beside which a guard is: the places in `done`, by target.
fn held_by_guards(done: &[Done], ground: Ground<'_>) -> BTreeMap<Target, Vec<(usize, Override)>> {
    let mut waiting: BTreeMap<Target, Vec<(usize, Override)>> = BTreeMap::new();
    for (place, one) in done.iter().enumerate().filter(|(_, one)| held(one).is_some()) {
        let of = one.stores.iter().filter(|(target, came)| **came == Came::Held && ground.guards.hold(target));
        for (target, _) in of {
            waiting.entry(target.clone()).or_default().push((place, one.override_.clone()));
        }
    }
    waiting
}

/// Which of these overrides are over in a target, and how. A target that does not answer tells nothing.
async fn ended_in(ground: Ground<'_>, target: &Target, held: &[(usize, Override)]) -> Vec<(usize, Came)> {
    let Some(store) = survey::store_of(ground.stores, target) else { return Vec::new() };
    let Ok(standing) = store.overridden(&target.prefix).await else { return Vec::new() };
    let standing: BTreeSet<FlagKey> = standing.into_iter().collect();
    let gone: Vec<&(usize, Override)> = held.iter().filter(|(_, held)| !standing.contains(&held.flag)).collect();
    if gone.is_empty() {
        return Vec::new();
    }
    let changes = gone.iter().flat_map(|(_, held)| held.changes.iter().copied()).collect();
    let marks = survey::marks(ground.stores, &[target], &changes).await.into_iter().next().unwrap_or_default();
    let came = |(place, held): &&(usize, Override)| {
        let mark = marks.get(&held.flag).and_then(|marks| ended_by(held, marks.iter()));
        // Without a mark it vanished, and whoever keeps overrides writes it again.
        mark.map(|mark| (*place, stores::gone(Some(mark))))
    };
    gone.iter().filter_map(came).collect()
}

/// Looks whether LaunchDarkly's data path shows what was replayed earlier, and brings up to date the stores that did not
/// answer then. What needs no write leaves no trace here: an override may be shown to many before it ends.
pub async fn settle_replayed(
    matters: &[Matter],
    ground: Ground<'_>,
    evidence: &Evidence,
    (loaded, files): (&Loaded, &mut Files<'_>),
    context: &Context<'_>,
) -> Vec<Done> {
    let mut all = Vec::with_capacity(matters.len());
    for group in matters.chunks(GROUP) {
        let outcomes: Vec<Outcome> =
            group.iter().map(|matter| Outcome::Before { version: accepted_as(matter) }).collect();
        let tellings: Vec<Telling<'_>> = group
            .iter()
            .zip(&outcomes)
            .filter_map(|(matter, outcome)| {
                Some(Telling { matter, sent: &matter.override_, word: word(outcome, matter, evidence)? })
            })
            .collect();
        let actor = &context.settings.actor;
        let writes = |telling: &&Telling<'_>| stores::has_something_to_write(telling, actor, ground);
        let touched: Vec<&Matter> = tellings.iter().filter(writes).map(|telling| telling.matter).collect();
        let noted = group.iter().filter(|matter| !matter.parts.is_empty());
        // Where it cannot be recorded, nothing is written either.
        told_of(files.prepare(loaded, &touched.into_iter().chain(noted).collect::<Vec<_>>()), context);
        let replayed = |matter: &Matter| {
            let revision = matter.override_.revision;
            Happened::Replayed { revision, version: accepted_as(matter) }
        };
        let happened: Vec<_> =
            group.iter().filter(|matter| matter.unnoted).map(|matter| (&matter.subject, replayed(matter))).collect();
        told_of(files.note(&happened, Syncing::Later), context);
        let told = stores::tell(ground, files, actor, &tellings).await;
        let done: Vec<Done> = group
            .iter()
            .zip(outcomes)
            .zip(told)
            .map(|((matter, outcome), stores)| Done::new(matter, outcome, stores))
            .collect();
        note_settled(&done, files, context);
        all.extend(done);
    }
    all
}

/// Ends overrides in the stores that did not answer when they ended elsewhere.
pub async fn end_leftovers(
    leftovers: &[(Matter, EndedMark)],
    ground: Ground<'_>,
    evidence: &Evidence,
    files: &mut Files<'_>,
    context: &Context<'_>,
) -> Vec<Done> {
    let why = |mark: &EndedMark| format!("{} by {}", mark.ending, mark.actor.user);
    let outcome = |mark: &EndedMark| match (mark.ending, mark.version) {
        // LaunchDarkly has it: the record from before it must not come back.
        (Ending::Settled, Some(version)) => Outcome::Before { version },
        (Ending::Settled, None) => Outcome::Nothing,
        _ => Outcome::Abandoned { why: format!("it was {}", why(mark)) },
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
    let told = stores::tell(ground, files, &context.settings.actor, &tellings).await;
    let done: Vec<Done> = leftovers
        .iter()
        .zip(outcomes)
        .zip(told)
        .map(|(((matter, _), outcome), stores)| Done::new(matter, outcome, stores))
        .collect();
    let mut ended = Vec::new();
    for (one, (_, mark)) in done.iter().zip(leftovers) {
        let over = one.stores.iter().filter(|(_, came)| matches!(came, Came::Settled | Came::PutBack | Came::Nothing));
        for (target, _) in over {
            let what = Happened::Settled { target: Some(target.clone()), version: mark.version };
            ended.push((&one.subject, what));
        }
        files.note_adopted(
            &one.subject,
            &match mark.ending {
                Ending::Settled => Happened::Settled { target: None, version: mark.version },
                Ending::Undone | Ending::Abandoned => Happened::Abandoned { why: why(mark) },
            },
        );
    }
    told_of(files.note(&ended, Syncing::Later), context);
    done
}
