//! What one target holds of one flag, and whose it is: LaunchDarkly's record or one that an override put there. Every
//! decision on a target begins here. It must not know what is going to be done about it.

use std::cmp::Ordering;

use crate::change::id::ChangeId;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::reconcile::says_otherwise;
use crate::flag::check;
use crate::flag::check::Unreadable;
use crate::flag::configuration::Configuration;
use crate::flag::patch;
use crate::flag::record::Record;

/// What one target holds of one flag, as it was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// The record, looked into once.
    pub copy: Copy,
    /// Whether our own keys can be read and written there. If not, a record of ours stands alone, without an override.
    pub own_keys: bool,
    /// The exact text of the override beside it, for compare-and-set.
    pub override_text: Option<String>,
    /// What that text says, or what is wrong with it (damaged, newer format).
    pub override_: Option<Result<Override, String>>,
}

/// What the record of a target is.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Copy {
    /// There is no such field.
    #[default]
    Missing,
    /// LaunchDarkly deleted the flag.
    Tombstone {
        /// The exact record.
        record: Record,
    },
    /// The relay's reader would not read it: relays answer 500 for the whole environment.
    Damaged {
        /// The exact record; `None` where the bytes are not even a JSON object.
        record: Option<Record>,
        /// What is wrong.
        unreadable: Unreadable,
    },
    /// As it should be.
    Readable(Record),
}

impl Copy {
    /// What the exact bytes of a record are; they may be anything.
    pub fn of(bytes: Option<&[u8]>) -> Self {
        let Some(bytes) = bytes else { return Copy::Missing };
        let record = match Record::parse(bytes) {
            Ok(record) => record,
            Err(error) => {
                let unreadable = Unreadable { path: String::new(), problem: format!("is {error}") };
                return Copy::Damaged { record: None, unreadable };
            }
        };
        // A tombstone may lack everything that a flag needs: LaunchDarkly's Rust SDK writes it so.
        if record.is_tombstone() {
            return Copy::Tombstone { record };
        }
        match check::readable(&record) {
            Ok(()) => Copy::Readable(record),
            Err(unreadable) => Copy::Damaged { record: Some(record), unreadable },
        }
    }

    /// As [`Copy::of`]; where another target's copy has the very same bytes, which is the rule, it is not looked into again.
    pub fn like(other: Option<&Self>, bytes: Option<&[u8]>) -> Self {
        let same = |other: &&Self| other.exact_record().map(|record| record.text().as_bytes()) == bytes;
        match other.filter(|other| bytes.is_some() && same(other)) {
            Some(other) => other.clone(),
            None => Self::of(bytes),
        }
    }

    /// The record, if relays can read it.
    pub fn readable(&self) -> Option<&Record> {
        match self {
            Copy::Readable(record) => Some(record),
            Copy::Missing | Copy::Tombstone { .. } | Copy::Damaged { .. } => None,
        }
    }

    /// The record's exact text, for compare-and-set. `None` if there is none, or if it is not even a JSON object: such
    /// bytes are never replaced.
    pub fn exact_record(&self) -> Option<&Record> {
        match self {
            Copy::Missing => None,
            Copy::Tombstone { record } | Copy::Readable(record) => Some(record),
            Copy::Damaged { record, .. } => record.as_ref(),
        }
    }
}

impl Seen {
    /// The override beside the record, if there is one that can be read.
    pub fn own(&self) -> Option<&Override> {
        self.override_.as_ref().and_then(|read| read.as_ref().ok())
    }
}

/// Whether `record` was put there for one of `overrides`: it is by value what stands in a store while that override is
/// in force, or what was written under LaunchDarkly's version once LaunchDarkly had accepted it. Everything else was
/// written by LaunchDarkly.
///
/// A record of LaunchDarkly's that happens to be equal by value (LaunchDarkly gave the same version to the same content)
/// cannot be told from ours, and nothing is lost by taking it for ours: the same document stands there either way.
pub fn is_ours<'o>(record: &Record, overrides: impl IntoIterator<Item = &'o Override>) -> bool {
    overrides.into_iter().any(|override_| {
        let same = |made: Result<Record, patch::PatchError>| made.is_ok_and(|made| made.same_value(record));
        // Both forms: the store may not have been given LaunchDarkly's version yet, or not need it.
        same(override_.in_force())
            || matches!(override_.state, OverrideState::Replayed { version } if same(override_.answered(version)))
    })
}

/// Whether `record`, which is LaunchDarkly's own, is newer than what is known as LaunchDarkly's newest: a higher
/// version, or other content under the same one. A lower version is an old copy (a lagging replica, a relay's cache).
pub fn is_newer(record: &Record, known: &Record) -> bool {
    record.version() > known.version() || (record.version() == known.version() && !record.same_value(known))
}

/// Whether LaunchDarkly's own `record` shows that LaunchDarkly has the replayed `override_`: it has a later version than
/// `version` (what LaunchDarkly said after the patch), or the override changes nothing on it. A record of that very version
/// shows it unless it says otherwise: then it is none of LaunchDarkly's, whatever it looks like. In a store that has lost
/// its overrides (an eviction) an older one of ours may stand under the same number.
pub fn shows(record: &Record, override_: &Override, version: u64) -> bool {
    match record.version().cmp(&version) {
        Ordering::Greater => true,
        Ordering::Equal => record.is_tombstone() || !says_otherwise(override_, &Configuration::of_record(record)),
        Ordering::Less => leaves_as_it_is(override_, record),
    }
}

/// Whether `record`, which LaunchDarkly handed out for an SDK key, shows that LaunchDarkly's data path has the replayed
/// `override_`, and may take its place in stores. That is asked more strictly than of a store's own record or a relay's
/// broadcast ([`shows`]), since nothing but the key says which environment it is about:
///
/// * it can be read, and is not deleted; it is the flag of that key with the salt of the override's base, which is random
///   in each environment; and
/// * it has `version` or a later one, and the override changes nothing on it. The version alone would do, if it is certain
///   that the API's versions are those of records (launchdarkly.md 11, point 1); the content alone might be an older one.
pub fn delivers(record: &Record, override_: &Override, version: u64) -> bool {
    !record.is_tombstone()
        && check::readable(record).is_ok()
        && is_same_flag(record, &override_.base)
        && record.version() >= version
        && leaves_as_it_is(override_, record)
}

/// Whether the override, applied to the record, comes to the same by value.
fn leaves_as_it_is(override_: &Override, record: &Record) -> bool {
    patch::apply(record, &override_.instructions).is_ok_and(|applied| applied.same_value(record))
}

/// Whether two records are of one flag in one environment, as far as they can tell: the same key, and the same salt.
pub fn is_same_flag(record: &Record, other: &Record) -> bool {
    let same = |name: &str| {
        let text = |record: &Record| serde_json::from_str::<String>(record.raw(name)?).ok();
        text(record).is_some_and(|value| !value.is_empty() && text(other) == Some(value))
    };
    same("key") && same("salt")
}

/// Whether `override_` is one that the operator has not seen: its newest change is none of those that are `known` to him
/// (every override of the first read, and his own changes).
pub fn is_strangers(override_: &Override, known: &[ChangeId]) -> bool {
    !override_.change().is_some_and(|change| known.contains(&change))
}

/// LaunchDarkly's newest record, as far as one target knows: what the override is applied to there.
///
/// * A target whose override has a history in common with `merged` keeps to its own upstream. Hosts may hold different
///   content, and each is edited in place: one host's content is not carried to another by the way.
/// * A target that lacks the override, or has one of another history, takes that of `merged`. That matters after a
///   replay: then `merged` names only what came later, and a record from before the replay would lack what LaunchDarkly
///   has accepted since.
/// * A record in the store that LaunchDarkly wrote replaces either, if it is newer (see [`is_newer`]).
///
/// `record` is the store's record if it can be read; a damaged one is nobody's.
pub fn upstream_here(record: Option<&Record>, own: Option<&Override>, merged: &Override) -> Record {
    let known = match own {
        Some(own) if own.change().is_some_and(|change| merged.changes.contains(&change)) => &own.upstream,
        Some(own) if is_newer(&own.upstream, &merged.upstream) => &own.upstream,
        _ => &merged.upstream,
    };
    match record {
        Some(record) if !is_ours(record, own.into_iter().chain([merged])) && is_newer(record, known) => record.clone(),
        _ => known.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::sample::change;
    use crate::change::sample::flag;
    use crate::change::sample::override_of;
    use crate::flag::instruction::Instruction;

    fn holding(bytes: &str) -> Copy {
        Copy::of(Some(bytes.as_bytes()))
    }

    #[test]
    fn what_a_record_is() {
        assert_eq!(Seen::default().copy, Copy::Missing);
        assert!(matches!(holding(r#"{"version":7,"key":"$deleted","deleted":true}"#), Copy::Tombstone { .. }));
        assert!(matches!(holding("nonsense"), Copy::Damaged { record: None, .. }));
        let damaged = flag(7, true, 1, 0).text().replace("true", r#""off""#);
        assert!(matches!(holding(&damaged), Copy::Damaged { record: Some(_), .. }));
        assert!(matches!(holding(flag(7, true, 1, 0).text()), Copy::Readable(_)));
    }

    #[test]
    fn a_copy_like_another_is_what_its_own_bytes_are() {
        let (first, damaged) = (flag(7, true, 1, 0), flag(7, true, 1, 0).text().replace("true", r#""off""#));
        for other in
            [None, Some(holding(first.text())), Some(holding(&damaged)), Some(holding("x")), Some(Copy::Missing)]
        {
            for bytes in [None, Some(first.text()), Some(damaged.as_str()), Some("x"), Some("{}")] {
                let bytes = bytes.map(str::as_bytes);
                assert_eq!(Copy::like(other.as_ref(), bytes), Copy::of(bytes), "{other:?}");
            }
        }
    }

    #[test]
    fn ours_is_what_the_override_comes_to() {
        let mut override_ = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
        assert!(is_ours(&flag(43, false, 1, 0), [&override_]));
        assert!(!is_ours(&flag(43, true, 1, 0), [&override_]), "LaunchDarkly's next version");
        assert!(!is_ours(&flag(42, false, 1, 0), [&override_]), "LaunchDarkly's version");
        assert!(!is_ours(&flag(43, false, 1, 0), []));
        override_.revision = 3;
        override_.state = OverrideState::Replayed { version: 44 };
        assert!(is_ours(&flag(45, false, 1, 0), [&override_]), "not set back yet");
        assert!(is_ours(&flag(44, false, 1, 0), [&override_]), "set back");
    }

    #[test]
    fn what_a_record_of_launchdarklys_shows() {
        let base = flag(42, true, 1, 0);
        let off = override_of(&base, &[Instruction::TurnFlagOff], change(1));
        assert!(shows(&flag(43, false, 1, 0), &off, 43));
        assert!(shows(&flag(44, true, 1, 0), &off, 43), "turned on again since");
        assert!(!shows(&flag(43, true, 1, 0), &off, 43), "that is not what LaunchDarkly said");
        assert!(!shows(&flag(42, true, 1, 0), &off, 43));
        assert!(shows(&flag(41, false, 1, 0), &off, 43), "nothing flips");
        let gone = Record::parse(br#"{"key":"$deleted","version":43,"deleted":true}"#).unwrap();
        assert!(shows(&gone, &off, 43));
        // What reaches nobody while it is on is not sent: somebody else's stays there.
        let instructions = [Instruction::TurnFlagOn, Instruction::UpdateOffVariation { variation: 0 }];
        let on = override_of(&flag(42, false, 0, 0), &instructions, change(1));
        assert!(shows(&flag(43, true, 1, 0), &on, 43));
        // The variation that is served stands elsewhere in LaunchDarkly's list by now.
        let serve_b = [Instruction::TurnFlagOff, Instruction::UpdateOffVariation { variation: 1 }];
        let serve_b = override_of(&base, &serve_b, change(1));
        let with = |list: &str| {
            let first_is_served = flag(43, false, 0, 0).text().replace(r#"["a","b","c"]"#, list);
            Record::parse(first_is_served.as_bytes()).unwrap()
        };
        assert!(shows(&with(r#"["b","c"]"#), &serve_b, 43));
        assert!(!shows(&with(r#"["c","b"]"#), &serve_b, 43));
    }

    #[test]
    fn what_an_sdk_key_shows() {
        let base = flag(42, true, 1, 0);
        let override_ = override_of(&base, &[Instruction::TurnFlagOff], change(1));
        let shows = |record: &Record| delivers(record, &override_, 43);
        let altered =
            |from: &str, to: &str| Record::parse(flag(43, false, 1, 0).text().replace(from, to).as_bytes()).unwrap();
        assert!(shows(&flag(43, false, 1, 0)));
        assert!(shows(&flag(47, false, 2, 2)), "changed elsewhere since");
        assert!(!shows(&flag(42, false, 1, 0)), "from before: off as well, and then on, perhaps");
        assert!(!shows(&flag(43, true, 1, 0)), "a version that means something else, or another environment");
        assert!(!shows(&altered(r#""salt":"s""#, r#""salt":"t""#)), "another environment's");
        assert!(!shows(&altered(r#""salt":"s""#, r#""salt":null"#)), "nothing says whose it is");
        assert!(!shows(&altered(r#""key":"checkout""#, r#""key":"check""#)), "another flag");
        assert!(!shows(&altered(r#""deleted":false"#, r#""deleted":true"#)), "deleted");
        assert!(!shows(&altered(r#""rules":[]"#, r#""rules":7"#)), "what no relay could read");
        let unsalted = Record::parse(base.text().replace(r#""salt":"s""#, r#""salt":"""#).as_bytes()).unwrap();
        let override_ = override_of(&unsalted, &[Instruction::TurnFlagOff], change(1));
        assert!(!delivers(&altered(r#""salt":"s""#, r#""salt":"""#), &override_, 43), "nothing says whose it is");
    }

    #[test]
    fn launchdarklys_newest_record_here() {
        let off = [Instruction::TurnFlagOff];
        let merged = override_of(&flag(42, true, 1, 0), &off, change(1));
        let own = override_of(&flag(41, true, 1, 2), &off, change(1));
        let stranger = override_of(&flag(40, true, 1, 2), &off, change(9));
        let here = |record: &Record, own| upstream_here(Some(record), own, &merged).version();
        assert_eq!(here(&flag(42, false, 1, 2), Some(&own)), 41, "ours, edited in place");
        assert_eq!(here(&flag(45, true, 1, 2), Some(&own)), 45, "LaunchDarkly's newer one");
        assert_eq!(here(&flag(40, true, 1, 2), Some(&own)), 41, "an old copy");
        assert_eq!(here(&flag(43, false, 1, 0), None), 42, "ours, without an override");
        assert_eq!(here(&flag(40, true, 1, 2), None), 42, "an old copy, without an override");
        assert_eq!(here(&flag(41, false, 1, 2), Some(&stranger)), 42, "another history");
        let other = upstream_here(Some(&flag(42, true, 2, 2)), None, &merged);
        assert!(other.same_value(&flag(42, true, 2, 2)), "other content under the same version");
    }
}
