//! Bringing the stores up to date after LaunchDarkly's word: an override that LaunchDarkly has is held or ends, one that is
//! given up is put back. What is written was decided in `change/` and recorded before; what a target holds is read again
//! where it changed in between, and decided again.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use jiff::Timestamp;

use crate::change::id::Actor;
use crate::change::id::ChangeId;
use crate::change::merge;
use crate::change::merge::Standing;
use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Write;
use crate::change::seen::Seen;
use crate::change::seen::is_ours;
use crate::change::seen::is_strangers;
use crate::change::seen::shows;
use crate::change::settle;
use crate::change::settle::Answer;
use crate::change::settle::Settling;
use crate::change::signing::Keys;
use crate::change::target::Target;
use crate::change::undo;
use crate::change::undo::By;
use crate::change::undo::PutBack;
use crate::commands::guards::Guards;
use crate::commands::replay::files::Files;
use crate::commands::replay::outcome::Done;
use crate::commands::replay::owed::Matter;
use crate::commands::replay::owed::Subject;
use crate::commands::survey;
use crate::commands::survey::Stores;
use crate::commands::writing;
use crate::error::Failure;
use crate::flag::record::Record;
use crate::store::WriteOutcome;

/// The stores, and what is known of who else writes there.
#[derive(Clone, Copy)]
pub struct Ground<'g> {
    /// The stores.
    pub stores: &'g Stores,
    /// The guards beside the targets.
    pub guards: &'g Guards,
    /// What is signed with, where an override goes on from what LaunchDarkly has.
    pub keys: Option<&'g Keys>,
}

/// What an override's stores are to be told.
#[derive(Debug, Clone)]
pub enum Word {
    /// LaunchDarkly has it as this version.
    Has {
        /// LaunchDarkly's version.
        version: u64,
        /// LaunchDarkly's own record, where its own data path showed one.
        shown: Option<Record>,
        /// Whether the stores were read before LaunchDarkly made that version.
        from_before: bool,
    },
    /// It is over, and LaunchDarkly's record goes back.
    Over(Ending),
    /// An approval request stands for it.
    Awaits {
        /// LaunchDarkly's id of it.
        request: String,
    },
}

/// What came of it in one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// The override ended there: LaunchDarkly's own data path shows it.
    Settled,
    /// The override stays there until LaunchDarkly's own data path shows it.
    Held,
    /// The override there is another one than was sent, or has had more edits, and stays owed.
    Newer,
    /// The override ended there while this was going on: how, and by whom.
    Ended(String),
    /// LaunchDarkly's record is back.
    PutBack,
    /// It says there that an approval is waited for.
    Awaits,
    /// There was nothing to do.
    Nothing,
    /// It could not be done.
    Not(String),
    /// The target did not answer.
    Silent,
}

impl Came {
    /// Whether the target has what it should have.
    pub fn is_well(&self) -> bool {
        !matches!(self, Came::Not(_) | Came::Silent | Came::Ended(_))
    }
}

/// One override's stores.
#[derive(Debug)]
pub struct Telling<'m> {
    /// The override.
    pub matter: &'m Matter,
    /// As it was sent: usually the matter's own.
    pub sent: &'m Override,
    /// What they are told.
    pub word: Word,
}

/// What came of it, target by target.
pub type Told = BTreeMap<Target, Came>;

struct Job {
    telling: usize,
    target: Target,
    seen: Seen,
    /// The mark that stands there where the override was gone when it was read again.
    ended: Option<EndedMark>,
    attempt: usize,
}

/// Tells the stores, all of them at once, and gives for each of `tellings` what came of it.
pub async fn tell(ground: Ground<'_>, files: &mut Files<'_>, actor: &Actor, tellings: &[Telling<'_>]) -> Vec<Told> {
    let mut told: Vec<Told> = tellings
        .iter()
        .map(|telling| telling.matter.silent.iter().map(|target| (target.clone(), Came::Silent)).collect())
        .collect();
    let mut jobs: Vec<Job> = Vec::new();
    for (place, telling) in tellings.iter().enumerate() {
        let job = |(target, seen): &(Target, Seen)| Job {
            telling: place,
            target: target.clone(),
            seen: seen.clone(),
            ended: None,
            attempt: 0,
        };
        jobs.extend(telling.matter.seen.iter().map(job));
    }
    while !jobs.is_empty() {
        jobs = round(ground, files, actor, tellings, jobs, &mut told).await;
    }
    told
}

/// Does what can be done with what was read, and gives what has to be tried again, read anew.
async fn round(
    ground: Ground<'_>,
    files: &mut Files<'_>,
    actor: &Actor,
    tellings: &[Telling<'_>],
    jobs: Vec<Job>,
    told: &mut [Told],
) -> Vec<Job> {
    let (mut writes, mut of, mut meant): (Vec<Write>, Vec<&Subject>, Vec<(Job, Came)>) = <_>::default();
    let shown: Vec<Option<Record>> = tellings.iter().map(|telling| shown_elsewhere(telling, ground.guards)).collect();
    for job in jobs {
        let Some(telling) = tellings.get(job.telling) else { continue };
        let shown = shown.get(job.telling).and_then(Option::as_ref);
        match decided(telling, actor, &job, shown, ground) {
            (came, Some(write)) => {
                writes.push(write);
                of.push(&telling.matter.subject);
                meant.push((job, came));
            }
            (came, None) => came_to(told, &job, came),
        }
    }
    if writes.is_empty() {
        return Vec::new();
    }
    let recorded = match files.record(&of, &writes) {
        Ok(recorded) => recorded,
        Err(error) => {
            let why = format!("not written, since it could not be recorded: {}", Failure::from(error).message);
            for (job, _) in meant {
                came_to(told, &job, Came::Not(why.clone()));
            }
            return Vec::new();
        }
    };
    let mut outcomes = BTreeMap::new();
    for wrote in writing::write(ground.stores, &recorded).concat().await {
        // Two environments may have a flag of the same key, but not in the same target.
        outcomes.insert((wrote.target, wrote.flag), wrote.outcome);
    }
    let mut again = Vec::new();
    for (job, came) in meant {
        let Some(telling) = tellings.get(job.telling) else { continue };
        match outcomes.remove(&(job.target.clone(), telling.matter.subject.1.clone())) {
            Some(WriteOutcome::Written { .. }) => came_to(told, &job, came),
            Some(WriteOutcome::RecordChanged | WriteOutcome::OverrideChanged)
                if job.attempt + 1 < writing::ATTEMPTS_MAX =>
            {
                match read_again(ground.stores, telling, &job.target).await {
                    Ok((seen, ended)) => again.push(Job { seen, ended, attempt: job.attempt + 1, ..job }),
                    Err(why) => came_to(told, &job, Came::Not(why)),
                }
            }
            Some(WriteOutcome::RecordChanged | WriteOutcome::OverrideChanged) => {
                came_to(told, &job, Came::Not("it changes again and again".to_owned()));
            }
            Some(WriteOutcome::Failed(error)) => came_to(told, &job, Came::Not(error.to_string())),
            None => came_to(told, &job, Came::Not("no answer".to_owned())),
        }
    }
    again
}

fn came_to(told: &mut [Told], job: &Job, came: Came) {
    if let Some(told) = told.get_mut(job.telling) {
        told.insert(job.target.clone(), came);
    }
}

/// What a target holds now and, where the override is gone there, the mark that it left.
async fn read_again(
    stores: &Stores,
    telling: &Telling<'_>,
    target: &Target,
) -> Result<(Seen, Option<EndedMark>), String> {
    let (environment, flag) = &telling.matter.subject;
    let seen = survey::look_now(stores, target, environment, flag).await.map_err(|error| error.to_string())?;
    if seen.override_.is_some() {
        return Ok((seen, None));
    }
    let changes = telling.sent.changes.iter().copied().collect();
    let mut marks = survey::marks(stores, &[target], &changes).await.into_iter().next().unwrap_or_default();
    let marks = marks.remove(flag).unwrap_or_default();
    Ok((seen, merge::ended_by(telling.sent, marks.iter()).cloned()))
}

/// An override that was replayed a moment ago, with what these targets hold now.
pub async fn seen_now(stores: &Stores, done: &Done, targets: &[&Target]) -> Matter {
    let (environment, flag) = &done.subject;
    let mut seen = Vec::new();
    for target in targets {
        if let Ok(found) = survey::look_now(stores, target, environment, flag).await {
            seen.push(((*target).clone(), found));
        }
    }
    Matter {
        subject: done.subject.clone(),
        override_: done.override_.clone(),
        only_filed: false,
        parts: Vec::new(),
        unnoted: false,
        seen,
        standing: Standing::InForce(Box::new(done.override_.clone())),
        marks: Vec::new(),
        silent: Vec::new(),
        requests: Vec::new(),
        conflict: None,
    }
}

/// Whether anything is to be written for `telling`, by what was read.
pub fn has_something_to_write(telling: &Telling<'_>, actor: &Actor, ground: Ground<'_>) -> bool {
    let shown = shown_elsewhere(telling, ground.guards);
    let job = |(target, seen): &(Target, Seen)| Job {
        telling: 0,
        target: target.clone(),
        seen: seen.clone(),
        ended: None,
        attempt: 0,
    };
    telling.matter.seen.iter().any(|found| decided(telling, actor, &job(found), shown.as_ref(), ground).1.is_some())
}

/// Whether an override in a target is none that was decided about. One that came after what was read at first: it may
/// only go on from what LaunchDarkly has, if it has a history in common with that. And one that lost to what was sent:
/// it gives way to what LaunchDarkly has, and is in force again where that is over.
fn is_anothers(own: &Override, telling: &Telling<'_>) -> bool {
    let goes_on = own.changes.iter().any(|change| telling.sent.changes.contains(change));
    match telling.word {
        Word::Has { .. } => {
            let known = telling.matter.seen.iter().filter_map(|(_, seen)| seen.own()?.change());
            !goes_on && is_strangers(own, &known.collect::<Vec<ChangeId>>())
        }
        Word::Over(_) | Word::Awaits { .. } => is_strangers(own, &telling.sent.changes),
    }
}

/// LaunchDarkly's own record that a target shows, or that was seen otherwise.
fn shown_elsewhere(telling: &Telling<'_>, guards: &Guards) -> Option<Record> {
    let Word::Has { version, shown, from_before } = &telling.word else { return None };
    let is_owed = telling.sent.replayed_as().is_none();
    // Where a guard holds, it may be what the guard makes of LaunchDarkly's.
    let theirs = telling.matter.seen.iter().filter(|(target, _)| !guards.hold(target)).filter_map(|(_, seen)| {
        // Where overrides cannot be read, what somebody else put there looks like LaunchDarkly's own.
        let record = seen.copy.readable().filter(|_| seen.own_keys)?;
        let theirs = !is_ours(record, seen.own().into_iter().chain([telling.sent]));
        let doubtful = is_owed && settle::may_be_overlaid(record, telling.sent, *version);
        // LaunchDarkly's own of that version was nowhere then.
        let too_early = *from_before && record.version() >= *version;
        (theirs && !doubtful && !too_early).then(|| record.clone())
    });
    // What others show counts only by its version: hosts may hold different content.
    let theirs = theirs.filter(|record| record.version() >= *version && shows(record, telling.sent, *version));
    theirs.chain(shown.clone()).max_by_key(Record::version)
}

/// What a target gets: what it comes to, and the write that takes it there, if any.
fn decided(
    telling: &Telling<'_>,
    actor: &Actor,
    job: &Job,
    shown: Option<&Record>,
    ground: Ground<'_>,
) -> (Came, Option<Write>) {
    let (target, seen) = (&job.target, &job.seen);
    let Some(change) = telling.sent.change() else { return (Came::Not("it names no change".to_owned()), None) };
    let by = By { change, actor: actor.clone(), at: Timestamp::now() };
    let is_over = seen.own().is_some_and(|own| telling.matter.mark_of(own).is_some());
    if !is_over && seen.own().is_some_and(|own| is_anothers(own, telling)) {
        return (Came::Newer, None);
    }
    match &telling.word {
        Word::Has { version, from_before, .. } => {
            let from_before = *from_before && job.attempt == 0;
            // A guard ends it, when LaunchDarkly's stream shows it.
            let overlaid = ground.guards.hold(target);
            let shown = shown.filter(|_| !overlaid);
            let answer = Answer {
                sent: telling.sent,
                version: *version,
                shown,
                gives_way: is_over,
                ended: telling.matter.mark_of(telling.sent).is_some_and(|mark| mark.ending == Ending::Settled),
                overlaid,
                from_before,
                keys: ground.keys,
            };
            match settle::after_patch(&by, target, seen, &answer) {
                Ok(Settling::Settled(write)) => (Came::Settled, Some(*write)),
                Ok(Settling::Held(write)) => (Came::Held, Some(*write)),
                Ok(Settling::HeldAlready) => (Came::Held, None),
                Ok(Settling::Newer(write)) => (Came::Newer, Some(*write)),
                Ok(Settling::OfItsOwn) => (Came::Newer, None),
                Ok(Settling::NothingThere) => (gone(job.ended.as_ref()), None),
                Ok(Settling::OverrideUnreadable(why)) => (Came::Not(why), None),
                Err(error) => (Came::Not(error.to_string()), None),
            }
        }
        Word::Over(ending) => {
            let standing = if telling.matter.only_filed {
                Standing::InForce(Box::new(telling.sent.clone()))
            } else {
                telling.matter.standing.clone()
            };
            match undo::put_back(&by, *ending, target, seen, &standing) {
                PutBack::Write(write) => (Came::PutBack, Some(*write)),
                PutBack::NothingThere | PutBack::AlreadyReplayed { .. } => (Came::Nothing, None),
                PutBack::OverrideUnreadable(why) => (Came::Not(why), None),
            }
        }
        Word::Awaits { .. } if is_over => (Came::Nothing, None),
        Word::Awaits { request } => awaits(telling, seen, target, request),
    }
}

/// What it means that nothing of the override is in a target any more.
pub(super) fn gone(mark: Option<&EndedMark>) -> Came {
    match mark {
        None => Came::Nothing,
        Some(mark) if mark.ending == Ending::Settled => Came::Settled,
        Some(mark) => Came::Ended(format!("{} by {} meanwhile", mark.ending, mark.actor.user)),
    }
}

fn awaits(telling: &Telling<'_>, seen: &Seen, target: &Target, request: &str) -> (Came, Option<Write>) {
    let state = OverrideState::AwaitingApproval { request: request.to_owned() };
    match seen.own() {
        None => (Came::Nothing, None),
        Some(own) if own.revision != telling.sent.revision => (Came::Newer, None),
        Some(own) if own.state == state => (Came::Awaits, None),
        Some(own) => {
            let write = Write {
                target: target.clone(),
                flag: own.flag.clone(),
                before: seen.copy.exact_record().cloned(),
                after: None,
                override_before: seen.override_text.clone(),
                override_after: OverrideWrite::Put(Arc::new(Override { state, ..own.clone() })),
                change: own.change().unwrap_or_default(),
            };
            (Came::Awaits, Some(write))
        }
    }
}
