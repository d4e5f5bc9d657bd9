//! Where no override is known: the playback may tell that the record in a store is ours, and what it was before. It may also
//! be LaunchDarkly's own by now, which only LaunchDarkly can tell, since its versions count as ours do.

use std::time::Duration;

use tokio::time::timeout;

use super::Wanted;
use crate::change::edit::ChangeKind;
use crate::change::event::Happened;
use crate::change::merge::Standing;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Write;
use crate::change::seen::Seen;
use crate::change::target::Target;
use crate::change::undo::By;
use crate::change::undo::PutBack;
use crate::commands::Context;
use crate::commands::overview::FiledEdit;
use crate::commands::overview::Situation;
use crate::commands::replay;
use crate::flag::record::Record;
use crate::launchdarkly::flag::RemoteFlag;
use crate::launchdarkly::pacing::Patience;

/// So long LaunchDarkly is waited for: in an outage an undo must not hang on it.
const ASKED_MAX: Duration = Duration::from_secs(3);

/// Asks LaunchDarkly about every record that only the playback explains, and leaves alone what it says is its own. Where it
/// does not say, that is told.
pub async fn leave_theirs(context: &Context<'_>, wanted: &mut [Wanted<'_>]) {
    let by_the_playback = |planned: &PutBack| match planned {
        PutBack::Write(write) if write.override_after == OverrideWrite::Keep => write.before.clone(),
        _ => None,
    };
    let mut silence: Option<String> = None;
    for wanted in wanted {
        if !wanted.plan.iter().any(|(_, planned)| by_the_playback(planned).is_some()) {
            continue;
        }
        if silence.is_none() {
            match ask(context, wanted).await {
                Ok(now) => {
                    for (target, planned) in &mut wanted.plan {
                        if by_the_playback(planned).is_some_and(|record| now.is_sent_as(&record)) {
                            wanted.theirs.push(target.clone());
                            *planned = PutBack::NothingThere;
                        }
                    }
                    continue;
                }
                Err(why) => silence = Some(why),
            }
        }
        wanted.unsaid.clone_from(&silence);
    }
}

async fn ask(context: &Context<'_>, wanted: &Wanted<'_>) -> Result<RemoteFlag, String> {
    let client = replay::client(context, Patience::ONCE, None, None).map_err(|failure| failure.message)?;
    let answer = timeout(ASKED_MAX, client.flag(wanted.environment, &wanted.situation.flag)).await;
    let answer = answer.map_err(|_| format!("no answer within {} s", ASKED_MAX.as_secs()))?;
    answer.map_err(|error| error.to_string())
}

/// Where no override is known (our keys are forbidden there, or somebody deleted them), the playback may still tell that
/// the record there is ours, and what it was before: then that is put back.
pub(super) fn put_back(by: &By, situation: &Situation<'_>, target: &Target, seen: &Seen) -> PutBack {
    let Some(record) = seen.copy.exact_record().cloned().filter(|_| situation.standing == Standing::None) else {
        return PutBack::NothingThere;
    };
    // An undo's own file tells the way back: walked once more, it would lead to what was undone.
    let edits = situation.filed.iter().filter(|filed| filed.file.intent.change.kind != ChangeKind::Undo);
    let written: Vec<Written> = edits.flat_map(|filed| written_there(filed, target)).collect();
    let mut original = record.clone();
    // One step back for each edit; our edits never form a circle, and the number of steps says so.
    for _ in 0..written.len() {
        match written.iter().find(|written| written.after.same_value(&original)) {
            Some(Written { theirs: Some(theirs), .. }) => {
                original = theirs.clone();
                break;
            }
            Some(Written { before, .. }) => original = before.clone(),
            None => break,
        }
    }
    if original.same_value(&record) {
        return PutBack::NothingThere;
    }
    PutBack::Write(Box::new(Write {
        target: target.clone(),
        flag: situation.flag.clone(),
        before: Some(record),
        after: Some(original),
        override_before: seen.override_text.clone(),
        override_after: OverrideWrite::Keep,
        change: by.change,
    }))
}

/// Whether nothing tells whose record stands in a target: its override is gone without having ended (an eviction, a flush),
/// and the record is none of those that the playback knows. It may be LaunchDarkly's newer one, or a colleague's edit whose
/// override was lost as well.
pub fn is_nobodys(situation: &Situation<'_>, target: &Target) -> bool {
    let seen = situation.seen.iter().find(|(chosen, _)| chosen.target == *target).map(|(_, seen)| seen);
    let Some(record) = seen.filter(|seen| seen.own_keys).and_then(|seen| seen.copy.readable()) else { return false };
    let mut known = situation.filed.iter().flat_map(|filed| written_there(filed, target)).peekable();
    situation.standing == Standing::None
        && known.peek().is_some()
        && !known.any(|written| written.was_theirs().same_value(record) || written.after.same_value(record))
}

/// What a change's file says was written to a target.
struct Written {
    before: Record,
    after: Record,
    /// LaunchDarkly's record, where `before` is that of an override which stood there already.
    theirs: Option<Record>,
}

impl Written {
    /// LaunchDarkly's record before the edit, as far as the file tells.
    fn was_theirs(&self) -> &Record {
        self.theirs.as_ref().unwrap_or(&self.before)
    }
}

/// Everything that was written to a target, also where it was read again.
fn written_there(filed: &FiledEdit<'_>, target: &Target) -> Vec<Written> {
    let written = |before: &Option<Record>, after: &Option<Record>, theirs: &Option<Record>| {
        Some(Written { before: before.clone()?, after: after.clone()?, theirs: theirs.clone() })
    };
    let intended = filed.file.intent.edits.get(filed.edit).into_iter().flat_map(|edit| &edit.targets);
    let intended = intended.filter(|told| told.target == *target);
    let intended = intended.filter_map(|told| written(&told.before, &told.after, &told.theirs));
    let again = filed.file.events.iter().filter(|event| event.edit == filed.edit);
    let again = again.filter_map(|event| match &event.what {
        Happened::ReRead { target: there, before, after } if there == target => written(before, after, &None),
        _ => None,
    });
    intended.chain(again).collect()
}
