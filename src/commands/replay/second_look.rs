//! A second look at the stores right before something is sent: reading LaunchDarkly, and asking somebody at a terminal,
//! takes its time, and meanwhile a colleague may have undone an override, edited it, or replayed it from elsewhere. It
//! reads and never writes.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::change::id::ChangeId;
use crate::change::merge;
use crate::change::merge::Said;
use crate::change::merge::Standing;
use crate::change::override_::EndedMark;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::seen::Seen;
use crate::change::seen::is_strangers;
use crate::change::target::Target;
use crate::commands::replay::owed::Matter;
use crate::commands::survey;
use crate::commands::survey::Extent;
use crate::commands::survey::Marks;
use crate::commands::survey::Stores;
use crate::commands::survey::TargetView;
use crate::commands::targets::Chosen;
use crate::flag::key::FlagKey;

/// What became of an override since it was read at first.
#[derive(Debug, Clone, PartialEq)]
pub enum Meanwhile {
    /// LaunchDarkly has accepted it as this version: somebody else replayed it.
    Replayed(u64),
    /// It has ended.
    Ended(EndedMark),
    /// Another one is in force.
    Edited(Box<Override>),
    /// It is gone, and no mark says why.
    Gone,
}

/// Looks at the targets of all `matters` at once, brings what they hold up to date, and gives for each what became of it;
/// `None` where it stands as it stood, or nobody answered who would know.
pub async fn look(stores: &Stores, matters: &mut [&mut Matter]) -> Vec<Option<Meanwhile>> {
    let targets: BTreeSet<Target> =
        matters.iter().flat_map(|matter| &matter.seen).map(|(target, _)| target.clone()).collect();
    let flags: BTreeSet<FlagKey> = matters.iter().map(|matter| matter.subject.1.clone()).collect();
    // Of what else stands there, too: it may be over.
    let own = matters.iter().flat_map(|matter| matter.seen.iter().filter_map(|(_, seen)| seen.own()));
    let overrides = matters.iter().map(|matter| &matter.override_).chain(own);
    let changes: BTreeSet<ChangeId> = overrides.flat_map(|override_| override_.changes.iter().copied()).collect();
    let chosen: Vec<Chosen> = targets.into_iter().map(|target| Chosen { target, is_filter_copy: false }).collect();
    let flags: Vec<FlagKey> = flags.into_iter().collect();
    let views = survey::look(stores, &chosen, Extent::Flags(&flags)).await;
    let answered: Vec<&Target> =
        views.iter().filter(|view| view.reading.is_ok()).map(|view| &view.chosen.target).collect();
    let marks = survey::marks_or_why_not(stores, &answered, &changes).await;
    // A target that does not tell what has ended there has not answered.
    let told = answered.into_iter().zip(marks).filter_map(|(target, marks)| Some((target, marks.ok()?)));
    let marks: BTreeMap<&Target, Marks> = told.collect();
    matters.iter_mut().map(|matter| one(matter, &views, &marks)).collect()
}

fn one(matter: &mut Matter, views: &[TargetView], marks: &BTreeMap<&Target, Marks>) -> Option<Meanwhile> {
    let (environment, flag) = &matter.subject;
    let now = |target: &Target| -> Option<Seen> {
        let view = views.iter().find(|view| view.chosen.target == *target)?;
        survey::seen(view, environment, flag)
    };
    let mut said: Vec<Said> = Vec::with_capacity(matter.seen.len());
    let mut seen = Vec::with_capacity(matter.seen.len());
    let mut holder_is_silent = false;
    let known: Vec<ChangeId> = matter.seen.iter().filter_map(|(_, seen)| seen.own()?.change()).collect();
    for (target, before) in &matter.seen {
        let Some((now, here)) = now(target).zip(marks.get(target)) else {
            matter.silent.push(target.clone());
            holder_is_silent |= before.own().is_some();
            continue;
        };
        let here = here.get(flag).cloned().unwrap_or_default();
        said.push((target.clone(), now.own().cloned(), here));
        seen.push((target.clone(), now));
    }
    if matter.only_filed {
        // No store tells of it; and what the playback knows of the records was put beside them at first.
        return None;
    }
    let standing = merge::merged(&said);
    let found = meanwhile(&matter.override_, &standing, &known, holder_is_silent);
    matter.seen = seen;
    matter.marks = said.into_iter().flat_map(|(_, _, marks)| marks).collect();
    if found.is_none() && standing.in_force().is_some() {
        matter.standing = standing;
    }
    found
}

/// `known`: the newest changes of the overrides that stood there at first.
fn meanwhile(sent: &Override, standing: &Standing, known: &[ChangeId], holder_is_silent: bool) -> Option<Meanwhile> {
    match standing {
        Standing::InForce(now) if now.revision == sent.revision && now.change() == sent.change() => match now.state {
            OverrideState::Replayed { version } if now.state != sent.state => Some(Meanwhile::Replayed(version)),
            _ => None,
        },
        // One that had lost, and is in force now since the target of the other does not answer, is no news.
        Standing::InForce(now) => is_strangers(now, known).then(|| Meanwhile::Edited(now.clone())),
        Standing::Ended(mark) => Some(Meanwhile::Ended(mark.clone())),
        Standing::None => (!holder_is_silent).then_some(Meanwhile::Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::override_::Ending;
    use crate::change::sample;
    use crate::flag::instruction::Instruction;

    #[test]
    fn what_became_of_it() {
        let sent = sample::override_of(&sample::flag(42, true, 1, 0), &[Instruction::TurnFlagOff], sample::change(1));
        let in_force = |override_: &Override| Standing::InForce(Box::new(override_.clone()));
        let found = |standing: &Standing| meanwhile(&sent, standing, &[sample::change(1), sample::change(3)], false);
        assert_eq!(found(&in_force(&sent)), None);
        let replayed = Override { state: OverrideState::Replayed { version: 43 }, ..sent.clone() };
        assert_eq!(found(&in_force(&replayed)), Some(Meanwhile::Replayed(43)));
        let mut edited = sent.clone();
        edited.revision = 2;
        edited.changes.push(sample::change(2));
        assert_eq!(found(&in_force(&edited)), Some(Meanwhile::Edited(Box::new(edited))));
        let begun_again = Override { changes: vec![sample::change(9)], ..sent.clone() };
        assert!(matches!(found(&in_force(&begun_again)), Some(Meanwhile::Edited(_))));
        let mark = sample::mark(Ending::Undone, 1);
        assert_eq!(found(&Standing::Ended(mark.clone())), Some(Meanwhile::Ended(mark)));
        assert_eq!(found(&Standing::None), Some(Meanwhile::Gone));
        assert_eq!(
            meanwhile(&sent, &Standing::None, &[sample::change(1)], true),
            None,
            "who would know did not answer"
        );
        let lost = Override { changes: vec![sample::change(3)], ..sent.clone() };
        assert_eq!(found(&in_force(&lost)), None, "it was there at first");
    }
}
