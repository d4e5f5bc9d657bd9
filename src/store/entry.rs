//! What a store's log says of a write: a hint for those who follow it, and history for `rc log`. Pure, and the same in
//! every kind of store.

use crate::change::override_::Ending;
use crate::change::override_::Override;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Write;

/// Names and values of the entry, but for the flag: writes of one change that differ in nothing else share an entry.
/// Empty if the write writes nothing. `what` is `override`, `settled`, `undone`,
/// `abandoned`, `record` where only the record is written, or `upstream` where nothing of an override is another but what
/// is known of LaunchDarkly.
pub(super) fn fields(write: &Write) -> Vec<(&'static str, String)> {
    if write.after.is_none() && write.override_after == OverrideWrite::Keep {
        return Vec::new();
    }
    let mut fields = vec![("change", write.change.to_string())];
    match &write.override_after {
        OverrideWrite::Keep => fields.push(("what", "record".to_owned())),
        OverrideWrite::Put(override_) if is_only_upstream(write, override_) => {
            fields.extend([("what", "upstream".to_owned()), ("revision", override_.revision.to_string())]);
        }
        OverrideWrite::Put(override_) => {
            let motive = &override_.motive;
            fields.extend([
                ("what", "override".to_owned()),
                ("revision", override_.revision.to_string()),
                ("user", motive.actor.user.clone()),
                ("host", motive.actor.host.clone()),
                ("at", motive.at.to_string()),
            ]);
            fields.extend(motive.reason.clone().map(|reason| ("reason", reason)));
            fields.extend(motive.incident.clone().map(|incident| ("incident", incident)));
        }
        OverrideWrite::End(marks) => {
            let mark = marks.first().map(|(_, mark)| mark);
            fields.push(("what", mark.map_or(Ending::Settled, |mark| mark.ending).to_string()));
            if let Some(mark) = mark {
                fields.extend([
                    ("revision", mark.revision.to_string()),
                    ("user", mark.actor.user.clone()),
                    ("host", mark.actor.host.clone()),
                    ("at", mark.at.to_string()),
                ]);
            }
        }
    }
    fields
}

/// Whether nobody did anything: a guard keeps the override up to date.
fn is_only_upstream(write: &Write, override_: &Override) -> bool {
    let Some(text) = write.override_before.as_deref().filter(|_| write.after.is_none()) else { return false };
    serde_json::from_str::<Override>(text).is_ok_and(|before| {
        before.upstream != override_.upstream
            && Override { upstream: override_.upstream.clone(), ..before } == *override_
    })
}
