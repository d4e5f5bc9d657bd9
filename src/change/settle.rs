//! After LaunchDarkly accepted an override as version M: what stands in each store until LaunchDarkly's own data path
//! shows it, and how the override then ends (design 4.3). It must not know how LaunchDarkly was asked, and it never takes
//! the API's answer for the data path: the API may be back long before the stream, and what relays and guards have
//! cached until then is old. An override that ended on the API's word alone would flip clients back.
//!
//! Which versions are written, and why (launchdarkly.md 15). A store's upsert, and every SDK's memory, takes a patch only
//! if its version is higher. LaunchDarkly made of all our edits one patch, N+1, while our record has N plus the revision.
//!
//! | the record in the store          | becomes | because |
//! |----------------------------------|---------|---------|
//! | ours, version above M            | the same content as M | else LaunchDarkly's patches up to it are refused |
//! | ours, version M                  | stays   | LaunchDarkly's own patch M is refused, but it says the same |
//! | ours, version below M            | stays   | LaunchDarkly's patch M will take its place |
//! | ours, of an older revision or another override, or bereft of it | the content that was sent, as M | LaunchDarkly's patch might be refused there, and the target would stay behind |
//! | LaunchDarkly's, M or later       | stays   | it is the proof: the override ends here |
//! | LaunchDarkly's, the override changes nothing on it | stays | likewise: nothing flips when the override ends |
//! | not there                        | stays so | LaunchDarkly has taken the flag away: there is nothing to hold, and the override ends here |
//! | LaunchDarkly's, older            | stays   | its stream is up, or flapping, and brings M; a guard holds the override meanwhile |
//!
//! Who has a guard may find another record of ours here than the override says: LaunchDarkly's patch M reaches the guard
//! before this command has noted anywhere that the override was sent, the guard overlays it once more, and the relay writes
//! that into the store. It is no proof of anything, however much it looks like LaunchDarkly's: an override that ended on it
//! would leave its version behind, above LaunchDarkly's, and LaunchDarkly's next patches would be refused.
//!
//! A record written as M is `instructions` on the newest record known here. What LaunchDarkly changed elsewhere in the
//! meantime is missing from it until LaunchDarkly's next patch or full update. There is no better record to write: REST
//! shows no SDK record. A caller that has LaunchDarkly's own record of M (`/sdk/flags/{key}` with the SDK key, another
//! target, the stream) passes it as `shown`, and then that record is what stands here, and the override ends.
//!
//! If our record equals LaunchDarkly's by value (one edit, nobody else changed anything), the store never shows a record
//! that is not ours, and the override stays replayed@M until LaunchDarkly's next version or another proof. That costs
//! nothing: it is owed no longer, and changes nothing on what LaunchDarkly sends.

use std::sync::Arc;

use crate::change::net::net;
use crate::change::override_::Ending;
use crate::change::override_::OVERRIDE_FORMAT;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Write;
use crate::change::seen::Copy;
use crate::change::seen::Seen;
use crate::change::seen::is_ours;
use crate::change::seen::shows;
use crate::change::seen::upstream_here;
use crate::change::signing::Keys;
use crate::change::signing::Signed;
use crate::change::signing::name_the_same;
use crate::change::target::Target;
use crate::change::undo::By;
use crate::change::undo::marks;
use crate::flag::instruction::Instruction;
use crate::flag::patch;
use crate::flag::patch::PatchError;
use crate::flag::record::Record;

/// What LaunchDarkly said to a replay, or what it was found to have already.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The override as it was sent: merged, with the revision that was sent.
    pub sent: &'a Override,
    /// LaunchDarkly's version of the flag after that, as its REST API says.
    pub version: u64,
    /// LaunchDarkly's own record, if its own data path showed one: its stream, `/sdk/flags/{key}`, or a record in
    /// another target that we did not write.
    pub shown: Option<&'a Record>,
    /// Whether what stands in the target as an override is over by a mark elsewhere: it gives way, however many edits it
    /// had.
    pub gives_way: bool,
    /// Whether a mark says that `sent` ended with this version of LaunchDarkly's: then every record of LaunchDarkly's from that
    /// version on shows it, also one in which somebody has changed LaunchDarkly back.
    pub ended: bool,
    /// Whether a guard has relays write its overlay there: a record that no override explains may then be this override on
    /// a record of LaunchDarkly's that only the guard has seen yet, and proves nothing; only `shown` does.
    pub overlaid: bool,
    /// Whether what is known of the target was read before LaunchDarkly made `version`: then no record there can be
    /// LaunchDarkly's own of that version or a later one.
    pub from_before: bool,
    /// What is left of an override that was edited meanwhile is signed with these, where all that it is made of was.
    pub keys: Option<&'a Keys>,
}

/// What one target gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Settling {
    /// LaunchDarkly's data path shows it: the override ends here. Where our own keys are forbidden, there is none, and the
    /// record takes LaunchDarkly's version.
    Settled(Box<Write>),
    /// LaunchDarkly's data path has not shown it: the override stays, as replayed@M.
    Held(Box<Write>),
    /// As [`Settling::Held`], and everything stands as it should.
    HeldAlready,
    /// The override here has had more edits than were sent. What is left of it stays owed, with LaunchDarkly's answer as
    /// its base.
    Newer(Box<Write>),
    /// The override here began after what was sent had ended or been accepted: it stays owed as it is.
    OfItsOwn,
    /// There is no override here and no record of ours; or our own keys are forbidden, and the record is as it should be.
    NothingThere,
    /// The override there is damaged, or of a newer format.
    OverrideUnreadable(String),
}

/// What `target` gets once LaunchDarkly has answered, and every time somebody looks again after that.
///
/// # Errors
/// The override cannot be applied to LaunchDarkly's record any more (a variation is gone).
pub fn after_patch(by: &By, target: &Target, seen: &Seen, answer: &Answer<'_>) -> Result<Settling, PatchError> {
    if let Some(Err(why)) = &seen.override_ {
        return Ok(Settling::OverrideUnreadable(why.clone()));
    }
    let here = Found::new(seen, answer);
    if here.own.is_none() && !here.ours {
        return Ok(Settling::NothingThere);
    }
    let write = |after: Option<Record>, override_after: OverrideWrite| {
        // Where our own keys are forbidden, the record is all that can be written.
        let override_after = if seen.own_keys { override_after } else { OverrideWrite::Keep };
        Box::new(Write {
            target: target.clone(),
            flag: answer.sent.flag.clone(),
            before: seen.copy.exact_record().cloned(),
            after,
            override_before: seen.override_text.clone(),
            override_after,
            change: by.change,
        })
    };
    if let Some(newer) = here.own.filter(|own| own.revision > answer.sent.revision && !answer.gives_way) {
        if !shares_changes(newer, answer.sent) {
            return Ok(Settling::OfItsOwn);
        }
        let next = newer_after_replay(answer.sent, newer, &here.launchdarklys_answer(answer)?, answer.keys);
        let after = next.stands_as()?;
        return Ok(Settling::Newer(write(here.unless_it_stands(after), OverrideWrite::Put(Arc::new(next)))));
    }
    if let Some(proof) = here.proof(answer) {
        // An override from another side of a broken network gives way here, and was not sent: no mark says otherwise.
        let own = here.own.filter(|own| shares_changes(own, answer.sent));
        let marks = marks(by, Ending::Settled, Some(proof.version()), own.into_iter().chain([answer.sent]));
        let taking = here.taking(proof);
        return Ok(match taking {
            None if !seen.own_keys => Settling::NothingThere,
            taking => Settling::Settled(write(taking, OverrideWrite::End(marks))),
        });
    }
    if let (Some(own), Copy::Missing) = (here.own, &seen.copy) {
        let own = Some(own).filter(|own| shares_changes(own, answer.sent));
        let marks = marks(by, Ending::Settled, Some(answer.version), own.into_iter().chain([answer.sent]));
        return Ok(Settling::Settled(write(None, OverrideWrite::End(marks))));
    }
    let held = here.held(answer);
    let is_behind = here.own.map_or_else(
        || is_bereft(seen, answer),
        |own| own.revision < answer.sent.revision || own.change() != answer.sent.change(),
    );
    let is_above = here.record.is_some_and(|record| record.version() > answer.version);
    let after = if here.ours && (is_above || is_behind) { here.unless_it_stands(held.stands_as()?) } else { None };
    if !seen.own_keys {
        return Ok(match after {
            Some(after) => Settling::Settled(write(Some(after), OverrideWrite::Keep)),
            None => Settling::NothingThere,
        });
    }
    if after.is_none() && here.own == Some(&held) {
        return Ok(Settling::HeldAlready);
    }
    Ok(Settling::Held(write(after, OverrideWrite::Put(Arc::new(held)))))
}

/// [`after_patch`] for an override that was replayed some time ago: has LaunchDarkly's data path shown it by now? `None`
/// if `merged` was not replayed.
///
/// # Errors
/// As [`after_patch`].
pub fn settle(
    by: &By,
    target: &Target,
    seen: &Seen,
    merged: &Override,
    shown: Option<&Record>,
) -> Result<Option<Settling>, PatchError> {
    let OverrideState::Replayed { version } = merged.state else { return Ok(None) };
    after_patch(
        by,
        target,
        seen,
        &Answer {
            sent: merged,
            version,
            shown,
            gives_way: false,
            ended: false,
            overlaid: false,
            from_before: false,
            keys: None,
        },
    )
    .map(Some)
}

/// What is left of `newer` after LaunchDarkly accepted an earlier revision of it, `sent`: the instructions that were not
/// sent, the changes that came since, and LaunchDarkly's answer as base. It keeps its revision, by which stores are
/// merged, and so its record's version goes on rising.
///
/// `keys` sign it where they verify both and the answer has what was sent. The answer may have been read from a store: where
/// it has other variations than the base, a place in the list would come to mean a value that nobody signed, and it stays
/// unsigned.
pub fn newer_after_replay(sent: &Override, newer: &Override, answer: &Record, keys: Option<&Keys>) -> Override {
    let not_sent = |instruction: &&_| !sent.instructions.contains(instruction);
    let since = |change: &&_| !sent.changes.contains(change);
    let instructions: Vec<_> = newer.instructions.iter().filter(not_sent).cloned().collect();
    let left = instructions.iter().map(Instruction::aspect).collect();
    let next = Override {
        format: OVERRIDE_FORMAT,
        instructions: net(&instructions, &[]),
        changes: newer.changes.iter().filter(since).copied().collect(),
        base: answer.clone(),
        upstream: answer.clone(),
        insisted: newer.insisted.intersection(&left).copied().collect(),
        signature: None,
        ..newer.clone()
    };
    let is_signed = |known: &Override, keys: &Keys| keys.verify(known, &newer.environment, &newer.flag) == Signed::Yes;
    // What is taken off must really be in the answer: whoever writes a store can say that it was replayed.
    let has_it = || patch::changes_nothing(answer, &sent.instructions).unwrap_or(false);
    match keys.filter(|keys| is_signed(sent, keys) && is_signed(newer, keys)) {
        Some(keys) if has_it() && name_the_same(&next.instructions, &newer.base, answer) => keys.sign(next),
        _ => next,
    }
}

/// Whether one override has a history in common with another. If not, it began again after LaunchDarkly's answer, or on
/// another side of a broken network.
fn shares_changes(one: &Override, other: &Override) -> bool {
    one.changes.iter().any(|change| other.changes.contains(change))
}

/// What a target holds, in the light of what LaunchDarkly answered.
struct Found<'a> {
    own: Option<&'a Override>,
    /// The record, if it can be read; a tombstone as well.
    record: Option<&'a Record>,
    /// Whether it is one of ours.
    ours: bool,
    /// Whether it may be one of ours, on a record of LaunchDarkly's that is not known here.
    doubtful: bool,
}

impl<'a> Found<'a> {
    fn new(seen: &'a Seen, answer: &Answer<'_>) -> Self {
        let own = seen.own();
        let record = match &seen.copy {
            Copy::Readable(record) | Copy::Tombstone { record } => Some(record),
            Copy::Missing | Copy::Damaged { .. } => None,
        };
        let overrides = || own.into_iter().chain([answer.sent]);
        let on_the_answer = overlaid_again(answer);
        // What was kept here as replayed was set back by the very same write: what stands above that is LaunchDarkly's,
        // but for what a guard made before it heard of that.
        let is_above = |own: &Override, record: &Record| matches!(own.state, OverrideState::Replayed { version } if record.version() > version);
        let ours = record.is_some_and(|record| {
            let is_theirs = record.is_tombstone() || (!answer.overlaid && own.is_some_and(|own| is_above(own, record)));
            !is_theirs && (is_ours(record, overrides().chain(&on_the_answer)) || is_bereft(seen, answer))
        });
        // Once somebody says that it was sent, no guard makes anything of what LaunchDarkly has.
        let is_replayed = |known: &Override| known.replayed_as().is_some();
        let is_owed = own.is_some_and(|own| !is_replayed(own)) && !is_replayed(answer.sent);
        let may_be = is_owed && record.is_some_and(|record| may_be_overlaid(record, answer.sent, answer.version));
        Self { own, record, ours, doubtful: may_be || (answer.overlaid && !ours) }
    }

    /// LaunchDarkly's own record that shows that it has the override: the one here, or one seen elsewhere.
    fn proof<'p>(&'p self, answer: &Answer<'p>) -> Option<&'p Record> {
        let here = self.record.filter(|_| !self.ours && !self.doubtful);
        let is_proof = |record: &&Record| {
            (answer.ended && record.version() >= answer.version) || shows(record, answer.sent, answer.version)
        };
        here.into_iter().chain(answer.shown).find(is_proof)
    }

    /// The record that takes the place of the one here, now that the override ends: `proof`, where ours stands and is
    /// not the same, or where LaunchDarkly's here is older. A record that is not there at all is LaunchDarkly's to bring.
    fn taking(&self, proof: &Record) -> Option<Record> {
        let record = self.replaceable()?;
        let takes = if self.ours { !record.same_value(proof) } else { proof.version() > record.version() };
        takes.then(|| proof.clone())
    }

    fn upstream(&self, merged: &Override) -> Record {
        upstream_here(self.replaceable().filter(|_| !self.ours && !self.doubtful), self.own, merged)
    }

    /// The override as it stays here, replayed.
    fn held(&self, answer: &Answer<'_>) -> Override {
        let state = OverrideState::Replayed { version: answer.version };
        Override { upstream: self.upstream(answer.sent), state, ..answer.sent.clone() }
    }

    /// LaunchDarkly's own record of its answer; where none was seen, what the answer must come to.
    fn launchdarklys_answer(&self, answer: &Answer<'_>) -> Result<Record, PatchError> {
        match self.proof(answer).filter(|record| !record.is_tombstone()) {
            Some(record) => Ok(record.clone()),
            None => Override { upstream: self.upstream(answer.sent), ..answer.sent.clone() }.answered(answer.version),
        }
    }

    fn unless_it_stands(&self, after: Record) -> Option<Record> {
        self.replaceable().filter(|record| !record.same_value(&after)).map(|_| after)
    }

    /// The record, if it may be replaced: a tombstone never is.
    fn replaceable(&self) -> Option<&Record> {
        self.record.filter(|record| !record.is_tombstone())
    }
}

/// Whether what stands in a target is ours though nothing there says so: its override was lost (an eviction) and the record
/// was not, so that it may be on an older record of LaunchDarkly's than is known elsewhere. It has what was sent, and a
/// version that LaunchDarkly reached only after it was read. Left there it would hold back LaunchDarkly's own, and would be
/// taken for it.
pub fn is_bereft(seen: &Seen, answer: &Answer<'_>) -> bool {
    let is_it = |record: &Record| {
        record.version() >= answer.version && patch::changes_nothing(record, &answer.sent.instructions).unwrap_or(false)
    };
    answer.from_before
        && !answer.overlaid
        && seen.own_keys
        && seen.override_.is_none()
        && seen.copy.readable().is_some_and(is_it)
}

/// Whether `record` may be what a guard made of LaunchDarkly's answer `version`, or of something later, because no store had
/// told it yet that `sent` was sent: the override changes nothing on it, and its version is higher.
pub fn may_be_overlaid(record: &Record, sent: &Override, version: u64) -> bool {
    record.version() > version
        && !record.is_tombstone()
        && patch::changes_nothing(record, &sent.instructions).unwrap_or(false)
}

/// What a guard makes of LaunchDarkly's answer, as long as no store tells it that the override was sent: the override as if
/// it began there. Of the answer itself, where it was seen, and of what it must come to.
fn overlaid_again(answer: &Answer<'_>) -> Vec<Override> {
    let computed = answer.sent.answered(answer.version).ok();
    let on = |upstream: Record| Override { upstream, state: OverrideState::InForce, ..answer.sent.clone() };
    computed.into_iter().chain(answer.shown.filter(|shown| !shown.is_tombstone()).cloned()).map(on).collect()
}

#[cfg(test)]
mod tests;
