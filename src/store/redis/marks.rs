//! Ended marks in Redis: reading those of some changes, or along with a flag, and sweeping away the old ones. It judges
//! nothing: what a mark means for an override is `change/`'s business.

use std::collections::BTreeMap;

use redis::Cmd;
use redis::Pipeline;
use redis::Value;

use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::flag::key::FlagKey;
use crate::store::StoreError;
use crate::store::redis::RedisStore;
use crate::store::redis::keys;
use crate::store::redis::keys::Keys;
use crate::store::redis::reading::FIELDS_MAX;
use crate::store::redis::refusal::Missing;
use crate::store::redis::refusal::missing;
use crate::store::redis::scan;
use crate::store::redis::scan::Walked;

/// The most that are looked through while a flag is read: they cost the server less than another question.
const ALONG_MAX: usize = 500;

/// How long they are kept.
const KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(90 * 24);

/// The most that one sweep looks at, and removes.
const SWEPT_MAX: usize = 5_000;

impl RedisStore {
    pub(super) async fn read_ended(
        &self,
        prefix: &str,
        changes: &[ChangeId],
    ) -> Result<BTreeMap<ChangeId, Vec<EndedMark>>, StoreError> {
        let keys = Keys::new(prefix);
        let mut ended: BTreeMap<ChangeId, Vec<EndedMark>> = BTreeMap::new();
        if changes.is_empty() {
            return Ok(ended);
        }
        // For one change the server chooses; for several one walk through the hash costs less than one for each.
        let pattern = match changes {
            [one] => Some(format!("{one}/*")),
            _ => None,
        };
        let marks = match scan::hash(&self.connections, &keys.ended, pattern.as_deref(), FIELDS_MAX).await? {
            Walked::Refused(error) if missing(&error) == Some(Missing::Key) => Vec::new(),
            walked => self.whole(walked, &keys.ended).await?,
        };
        for (field, value) in marks {
            let field = String::from_utf8_lossy(&field).into_owned();
            let Some(change) = keys::change_of(&field).filter(|change| changes.contains(change)) else { continue };
            let mark = serde_json::from_slice(&value).map_err(|error| StoreError::Damaged {
                address: self.shown_address(),
                problem: format!("the ended mark {field} in {} cannot be read: {error}", keys.ended),
            })?;
            ended.entry(change).or_default().push(mark);
        }
        for marks in ended.values_mut() {
            // A walk may give a field twice while the hash grows.
            marks.sort_by(|one, other| one.flag.cmp(&other.flag));
            marks.dedup();
        }
        Ok(ended)
    }

    /// Removes ended marks that are older than 90 days before `newest`, as far as they are met. That it fails spoils
    /// nothing: the next one will do it.
    pub(super) async fn sweep_ended(&self, keys: &Keys, newest: jiff::Timestamp) {
        let Ok(Walked::All(marks) | Walked::TooMany(marks)) =
            scan::hash(&self.connections, &keys.ended, None, SWEPT_MAX).await
        else {
            return;
        };
        let mut removal = redis::cmd("HDEL");
        removal.arg(&keys.ended);
        let mut some = false;
        for (field, value) in marks {
            let at = serde_json::from_slice::<EndedMark>(&value).ok().map(|mark| mark.at);
            if at.is_some_and(|at| newest.duration_since(at) > KEPT) {
                removal.arg(field);
                some = true;
            }
        }
        if some {
            let mut pipeline = Pipeline::new();
            pipeline.add_command(removal);
            let _ = self.connections.tell(&pipeline).await;
        }
    }
}

/// Asks for the marks of one flag, under whatever change. A flag's key means nothing but itself in a pattern.
pub(super) fn along(keys: &Keys, flag: &FlagKey) -> Cmd {
    let mut question = redis::cmd("HSCAN");
    question.arg(&keys.ended).arg(0).arg("MATCH").arg(format!("*/{flag}")).arg("COUNT").arg(ALONG_MAX);
    question
}

/// The marks that came along with one flag; `None` if these are not all, or if one cannot be read.
pub(super) fn read_along(answer: Value) -> Option<Vec<(ChangeId, EndedMark)>> {
    let Value::Array(mut parts) = answer else { return None };
    let (Some(Value::Array(values)), Some(Value::BulkString(cursor))) = (parts.pop(), parts.pop()) else { return None };
    let mark = |(field, value): (Vec<u8>, Vec<u8>)| {
        Some((keys::change_of(std::str::from_utf8(&field).ok()?)?, serde_json::from_slice(&value).ok()?))
    };
    if cursor != b"0" {
        return None;
    }
    scan::pairs(values).into_iter().map(mark).collect()
}
