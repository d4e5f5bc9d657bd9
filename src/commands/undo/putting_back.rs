//! Carrying out an undo: recorded first, then written everywhere at once, then decided again where something had changed in
//! between. The files of the changes that it takes back are told as well.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::change::edit::Change;
use crate::change::event::EditIndex;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::change::id::ChangeId;
use crate::change::merge::Standing;
use crate::change::override_::Override;
use crate::change::recorded::Recorded;
use crate::change::recorded::Write;
use crate::change::seen::is_strangers;
use crate::change::target::Target;
use crate::change::undo;
use crate::change::undo::By;
use crate::change::undo::PutBack;
use crate::commands::overview::Situation;
use crate::commands::sighting::Sighting;
use crate::commands::survey;
use crate::commands::survey::Extent;
use crate::commands::survey::Stores;
use crate::commands::undo::Wanted;
use crate::commands::undo::by_the_playback::is_nobodys;
use crate::commands::writing;
use crate::error::Failure;
use crate::playback::ChangeFile;
use crate::playback::EditIntent;
use crate::playback::Intent;
use crate::playback::PLAYBACK_FORMAT;
use crate::playback::Playback;
use crate::playback::Syncing;
use crate::playback::TargetIntent;
use crate::store::StoreError;
use crate::store::WriteOutcome;

/// What putting back needs and does not change.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// The stores.
    pub stores: &'a Stores,
    /// Where it is recorded.
    pub playback: &'a Playback,
    /// Who undoes, in which change.
    pub by: &'a By,
}

/// What one target of one flag got.
#[derive(Debug)]
pub enum Outcome {
    /// The override ended there. `write.after` is LaunchDarkly's record; `None`: it stood there already.
    PutBack {
        /// What was written.
        write: Box<Write>,
        /// When the store answered.
        at: Instant,
    },
    /// It was never written there, or is done.
    NothingThere,
    /// It is gone from there without having ended, and nothing tells whose record stands there now.
    NotKnown,
    /// LaunchDarkly got it in between.
    AlreadyReplayed,
    /// The override there cannot be read.
    OverrideUnreadable(String),
    /// A colleague's override came in between.
    Colleague(Box<Override>),
    /// It changed again and again.
    Unsettled,
    /// The store did not answer, or refused.
    Failed(StoreError),
    /// It could not be read.
    Silent(String),
}

/// One target of one flag.
#[derive(Debug)]
pub struct TargetResult {
    /// Which of the wanted flags.
    pub wanted: usize,
    /// Where.
    pub target: Target,
    /// What it got.
    pub outcome: Outcome,
    /// What its relays show.
    pub sightings: Vec<Sighting>,
}

/// An undo that was carried out.
pub struct Done {
    /// Where it is recorded.
    pub file: ChangeFile,
    /// Every target of every flag.
    pub targets: Vec<TargetResult>,
    /// What could not be noted.
    pub trouble: Vec<Failure>,
}

/// Records the undo and writes it.
///
/// # Errors
/// It could not be recorded: no store was touched.
pub async fn put_back(change: &Change, wanted: &[Wanted<'_>], means: Means<'_>) -> Result<Done, Failure> {
    let planned = wanted.iter().flat_map(|wanted| &wanted.plan);
    let writes: Vec<Write> = planned
        .filter_map(|(_, planned)| match planned {
            PutBack::Write(write) => Some((**write).clone()),
            _ => None,
        })
        .collect();
    let intent = intent(change, wanted);
    let (file, recorded) = means.playback.record(&intent, &writes)?;
    let mut run = Run { wanted, means, file, targets: Vec::new(), trouble: Vec::new() };
    run.take_what_is_not_written();
    run.write(&recorded).await;
    run.tell_the_files();
    let Run { file, mut targets, trouble, .. } = run;
    targets.sort_by(|one, other| (one.wanted, &one.target).cmp(&(other.wanted, &other.target)));
    Ok(Done { file, targets, trouble })
}

fn intent(change: &Change, wanted: &[Wanted<'_>]) -> Intent {
    let edit = |wanted: &Wanted<'_>| EditIntent {
        request: String::new(),
        targets: wanted
            .plan
            .iter()
            .filter_map(|(target, planned)| match planned {
                PutBack::Write(write) => Some(TargetIntent {
                    target: target.clone(),
                    before: write.before.clone(),
                    after: write.after.clone(),
                    theirs: None,
                }),
                _ => None,
            })
            .collect(),
    };
    Intent {
        format: PLAYBACK_FORMAT,
        change: change.clone(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        outage: Vec::new(),
        edits: wanted.iter().map(edit).collect(),
    }
}

struct Run<'a> {
    wanted: &'a [Wanted<'a>],
    means: Means<'a>,
    file: ChangeFile,
    targets: Vec<TargetResult>,
    trouble: Vec<Failure>,
}

impl Run<'_> {
    fn take_what_is_not_written(&mut self) {
        let wanted: &[Wanted<'_>] = self.wanted;
        for (place, wanted) in wanted.iter().enumerate() {
            for (target, planned) in &wanted.plan {
                if let Some(outcome) = unwritten(planned) {
                    let is_nobodys = matches!(outcome, Outcome::NothingThere) && is_nobodys(wanted.situation, target);
                    let outcome = if is_nobodys { Outcome::NotKnown } else { outcome };
                    self.came_to(place, target.clone(), outcome);
                }
            }
            for (target, why) in &wanted.silent {
                self.came_to(place, target.clone(), Outcome::Silent(why.clone()));
            }
        }
    }

    fn came_to(&mut self, wanted: usize, target: Target, outcome: Outcome) {
        if let Some(what) = happened(&target, &outcome) {
            let event = Event { at: Timestamp::now(), edit: wanted, what };
            if let Err(error) = self.file.note(&[event], Syncing::Later) {
                self.trouble.push(error.into());
            }
        }
        self.targets.push(TargetResult { wanted, target, outcome, sightings: Vec::new() });
    }

    async fn write(&mut self, recorded: &Recorded<'_>) {
        let mut again = self.attempt(recorded).await;
        for _ in 1..writing::ATTEMPTS_MAX {
            if again.is_empty() {
                return;
            }
            let replanned = self.decide_again(again).await;
            again = Vec::new();
            for (edit, writes) in &replanned {
                match self.file.rerecord(*edit, writes, Timestamp::now()) {
                    Ok(recorded) => again.extend(self.attempt(&recorded).await),
                    Err(error) => {
                        self.trouble.push(error.into());
                        return;
                    }
                }
            }
        }
        for (wanted, target) in again {
            self.came_to(wanted, target, Outcome::Unsettled);
        }
    }

    /// Writes once; what has to be decided again is given back.
    async fn attempt(&mut self, recorded: &Recorded<'_>) -> Vec<(EditIndex, Target)> {
        let wrote = writing::write(self.means.stores, recorded).concat().await;
        let mut again = Vec::new();
        for one in wrote {
            let write = recorded.all().iter().find(|write| write.target == one.target && write.flag == one.flag);
            let has_it = |wanted: &Wanted<'_>| {
                wanted.situation.flag == one.flag && wanted.plan.iter().any(|(target, _)| *target == one.target)
            };
            let (Some(write), Some(place)) = (write, self.wanted.iter().position(has_it)) else { continue };
            match one.outcome {
                WriteOutcome::Written { .. } => {
                    let outcome = Outcome::PutBack { write: Box::new(write.clone()), at: Instant::now() };
                    self.came_to(place, one.target, outcome);
                }
                WriteOutcome::RecordChanged | WriteOutcome::OverrideChanged => again.push((place, one.target)),
                WriteOutcome::Failed(error) => self.came_to(place, one.target, Outcome::Failed(error)),
            }
        }
        again
    }

    /// Reads again and decides again; a colleague's newer override stops the undo there.
    async fn decide_again(&mut self, again: Vec<(EditIndex, Target)>) -> Vec<(EditIndex, Vec<Write>)> {
        let mut writes: BTreeMap<EditIndex, Vec<Write>> = BTreeMap::new();
        for (place, target) in again {
            let Some(wanted) = self.wanted.get(place) else { continue };
            let situation = wanted.situation;
            let Some((chosen, _)) = situation.seen.iter().find(|(chosen, _)| chosen.target == target) else { continue };
            let flags = [situation.flag.clone()];
            let views = survey::look(self.means.stores, std::slice::from_ref(chosen), Extent::Flags(&flags)).await;
            let Some(view) = views.first() else { continue };
            let Some(seen) = survey::seen(view, wanted.environment, &situation.flag) else {
                let why = view.reading.as_ref().err().map(ToString::to_string).unwrap_or_default();
                self.came_to(place, target, Outcome::Silent(why));
                continue;
            };
            if let Some(other) = seen.own().filter(|own| is_strangers(own, &known(situation))) {
                let outcome = Outcome::Colleague(Box::new(other.clone()));
                self.came_to(place, target, outcome);
                continue;
            }
            let mut standings = survey::standings(self.means.stores, &views, wanted.environment).await;
            let standing = standings.remove(&situation.flag).unwrap_or(Standing::None);
            match undo::undo(self.means.by, &target, &seen, &standing) {
                PutBack::Write(write) => writes.entry(place).or_default().push(*write),
                other => {
                    if let Some(outcome) = unwritten(&other) {
                        self.came_to(place, target, outcome);
                    }
                }
            }
        }
        writes.into_iter().collect()
    }

    /// Tells the files of the changes that were taken back. An undo that no store has is not told: the override may
    /// still stand in all of them.
    fn tell_the_files(&mut self) {
        for (place, wanted) in self.wanted.iter().enumerate() {
            let mut outcomes =
                self.targets.iter().filter(|target| target.wanted == place).map(|target| &target.outcome);
            let has_ended = outcomes.clone().any(|outcome| matches!(outcome, Outcome::PutBack { .. }));
            let was_gone = outcomes.all(|outcome| matches!(outcome, Outcome::NothingThere | Outcome::NotKnown));
            if !has_ended && !was_gone {
                continue;
            }
            for filed in &wanted.situation.filed {
                if filed.file.change() == self.means.by.change {
                    continue;
                }
                let what = Happened::Undone { by: self.means.by.change };
                let event = Event { at: Timestamp::now(), edit: filed.edit, what };
                let noted =
                    self.means.playback.reopen(filed.file).and_then(|mut file| file.note(&[event], Syncing::Now));
                if let Err(error) = noted {
                    self.trouble.push(error.into());
                }
            }
        }
    }
}

fn known(situation: &Situation<'_>) -> Vec<ChangeId> {
    let own = situation.seen.iter().filter_map(|(_, seen)| seen.own());
    own.chain(situation.standing.in_force()).flat_map(|override_| override_.changes.iter().copied()).collect()
}

fn unwritten(planned: &PutBack) -> Option<Outcome> {
    match planned {
        PutBack::Write(_) => None,
        PutBack::NothingThere => Some(Outcome::NothingThere),
        PutBack::AlreadyReplayed { .. } => Some(Outcome::AlreadyReplayed),
        PutBack::OverrideUnreadable(why) => Some(Outcome::OverrideUnreadable(why.clone())),
    }
}

fn happened(target: &Target, outcome: &Outcome) -> Option<Happened> {
    let target = target.clone();
    match outcome {
        Outcome::PutBack { write, .. } => {
            let record = write.after.as_ref().or(write.before.as_ref());
            let version = record.map(crate::flag::record::Record::version);
            Some(Happened::Written { target, version, colleagues_see: true })
        }
        Outcome::NothingThere | Outcome::NotKnown => None,
        Outcome::Failed(error @ StoreError::Unknown { .. }) => {
            Some(Happened::Unknown { target, why: error.to_string() })
        }
        Outcome::Failed(error) => Some(Happened::Refused { target, why: error.to_string() }),
        Outcome::Silent(why) | Outcome::OverrideUnreadable(why) => Some(Happened::Refused { target, why: why.clone() }),
        Outcome::AlreadyReplayed => Some(Happened::Refused { target, why: "LaunchDarkly has it by now".to_owned() }),
        Outcome::Colleague(other) => {
            Some(Happened::Refused { target, why: format!("{}'s override came in between", other.motive.actor) })
        }
        Outcome::Unsettled => Some(Happened::Refused { target, why: "it changed again and again".to_owned() }),
    }
}
