//! Every record of every target: would relays read it, would rc write it, and do the stores agree. Full reads, one target
//! after another: each may be some 40 MB, and nobody waits for `rc doctor` at 3 a.m.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::finding::Findings;
use super::finding::Part;
use super::known;
use crate::change::seen;
use crate::change::target::Target;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::commands::survey;
use crate::flag::check;
use crate::flag::key::FlagKey;
use crate::flag::patch;
use crate::flag::preview;
use crate::flag::record::Record;
use crate::store::FlagReading;
use crate::store::Reading;
use crate::ui::words::count;
use crate::ui::words::list_some;

/// The most records of a kind that are named for one target.
const NAMED_MAX: usize = 20;

/// LaunchDarkly's own records, as one store holds them: what stores are compared by.
type Own = BTreeMap<FlagKey, Record>;

/// The prefixes under which some store has a record that relays cannot read.
pub(super) type Damaged = BTreeSet<String>;

/// One of LaunchDarkly's own records for each environment that has any.
pub(super) type Samples = BTreeMap<String, (FlagKey, Record)>;

/// Reads everything, and looks at it.
pub(super) async fn examine(
    surroundings: &Surroundings,
    views: &[EnvironmentView<'_>],
    findings: &mut Findings,
) -> (Damaged, Samples) {
    let mut damaged = Damaged::new();
    let mut targets: Vec<(Option<&EnvironmentView<'_>>, Target, bool)> = known(views)
        .filter(|(_, target)| target.reading.is_ok())
        .map(|(view, target)| (Some(view), target.chosen.target.clone(), target.chosen.is_filter_copy))
        .collect();
    for (label, found) in &surroundings.prefixes {
        for found in found.iter().flatten() {
            let target = Target { store: label.clone(), prefix: found.prefix.clone() };
            if !targets.iter().any(|(_, known, _)| *known == target) {
                targets.push((None, target, false));
            }
        }
    }
    let mut first: BTreeMap<String, (Target, Own)> = BTreeMap::new();
    for (view, target, is_copy) in targets {
        let Some(store) = survey::store_of(&surroundings.stores, &target) else { continue };
        let reading = match store.read_all(&target.prefix).await {
            Ok(reading) => reading,
            Err(error) => {
                findings.bad(Part::Records, &target.to_string(), "", format!("not read: {error}"), None);
                continue;
            }
        };
        let environment = view.map(|view| view.environment.to_string());
        if look(&reading, &target, environment.as_deref(), findings) {
            damaged.insert(target.prefix.clone());
        }
        // A filter's copy lacks flags by its nature, and a prefix of nobody has nothing to be compared with.
        if let (Some(environment), false) = (environment, is_copy) {
            let own = own(&reading);
            match first.get(&environment) {
                Some((other, theirs)) => compare(&environment, (other, theirs), (&target, &own), findings),
                None => {
                    first.insert(environment, (target, own));
                }
            }
        }
    }
    let sample = |(environment, (_, own)): (String, (Target, Own))| Some((environment, own.into_iter().next()?));
    (damaged, first.into_iter().filter_map(sample).collect())
}

/// What was found in one target.
#[derive(Default)]
struct Bad {
    damaged: Vec<(String, String, bool)>,
    opinions: Vec<String>,
    surrogates: Vec<String>,
    overrides: Vec<String>,
}

fn sort(reading: &Reading) -> Bad {
    let mut bad = Bad::default();
    for (flag, found) in &reading.flags {
        if let Some(Err(problem)) = found.override_.as_ref().map(|stored| &stored.parsed) {
            bad.overrides.push(format!("{flag}: {problem}"));
        }
        let Some(bytes) = &found.record else { continue };
        let record = match Record::parse(bytes) {
            Ok(record) => record,
            Err(error) => {
                bad.damaged.push((flag.to_string(), format!("is {error}"), false));
                continue;
            }
        };
        if record.is_tombstone() {
            continue;
        }
        if let Err(unreadable) = check::readable(&record) {
            let helps = patch::repaired(&record).is_some();
            bad.damaged.push((flag.to_string(), unreadable.to_string(), helps));
            continue;
        }
        if let Some(opinion) = preview::second_opinion(&record) {
            bad.opinions.push(format!("{flag} ({opinion})"));
        }
        if has_escaped_surrogates(record.text()) {
            bad.surrogates.push(flag.to_string());
        }
    }
    bad
}

/// Whether any record is damaged.
fn look(reading: &Reading, target: &Target, environment: Option<&str>, findings: &mut Findings) -> bool {
    let about = target.to_string();
    let bad = sort(reading);
    for (flag, problem, helps) in bad.damaged.iter().take(NAMED_MAX) {
        let way_out = match (helps, environment.and_then(|name| name.split_once('/'))) {
            (true, Some((project, key))) => {
                format!("rc update -p {project} -e {key} -f {flag} -s on|off --repair     (on or off, as it should be)")
            }
            (true, None) => format!("rc update --prefix {} -f {flag} -s on|off --repair", target.prefix),
            (false, _) => format!(
                "LaunchDarkly's return mends it; or put another store's record there by hand: HSET {}:features {flag}",
                target.prefix
            ),
        };
        let told = format!("{problem}. Relays answer 500 for ALL flags of this environment");
        findings.bad(Part::Records, &about, flag, told, Some(way_out));
    }
    if bad.damaged.len() > NAMED_MAX {
        let told = format!("{} more records are damaged", bad.damaged.len() - NAMED_MAX);
        findings.bad(Part::Records, &about, "", told, None);
    }
    if bad.damaged.is_empty() {
        findings.good(
            Part::Records,
            &about,
            "",
            format!("relays can read all {}", count(reading.flags.len(), "record")),
        );
    }
    if !bad.overrides.is_empty() {
        let told = format!("overrides that are not understood: {}", list_some(&bad.overrides, NAMED_MAX));
        let way_out = "they are never written over; a newer rc may understand them".to_owned();
        findings.bad(Part::Records, &about, "overrides", told, Some(way_out));
    }
    if !bad.opinions.is_empty() {
        let told = format!(
            "{} would not be read by LaunchDarkly's Rust SDK, and will by relays: {}",
            count(bad.opinions.len(), "record"),
            list_some(&bad.opinions, NAMED_MAX)
        );
        findings.note(Part::Records, &about, "second opinion", told, None);
    }
    if !bad.surrogates.is_empty() {
        let told = format!(
            "texts with escaped surrogate pairs (\\ud83d\\ude00), of which relays make question marks: {}",
            list_some(&bad.surrogates, NAMED_MAX)
        );
        let way_out = "whoever wrote them should write the characters themselves; LaunchDarkly does".to_owned();
        findings.note(Part::Records, &about, "characters", told, Some(way_out));
    }
    if !reading.strange_fields.is_empty() {
        let told = format!("fields that are no flag keys: {}", list_some(&reading.strange_fields, NAMED_MAX));
        findings.note(Part::Records, &about, "fields", told, None);
    }
    !bad.damaged.is_empty()
}

/// Whether a JSON text has `\ud800` to `\udfff`: LaunchDarkly's Go reader takes each half for itself and makes U+FFFD of
/// it (go-jsonstream, `token_reader_default.go`).
fn has_escaped_surrogates(text: &str) -> bool {
    let mut escaped = false;
    let bytes = text.as_bytes();
    for (place, byte) in bytes.iter().enumerate() {
        if !escaped {
            escaped = *byte == b'\\';
            continue;
        }
        escaped = false;
        let Some([b'u', b'd' | b'D', third, ..]) = bytes.get(place..) else { continue };
        if matches!(third.to_ascii_lowercase(), b'8' | b'9' | b'a'..=b'f') {
            return true;
        }
    }
    false
}

/// What LaunchDarkly's records are there, our own overrides taken off.
fn own(reading: &Reading) -> Own {
    let own = |found: &FlagReading| {
        // What relays cannot read is told for itself.
        let record = Record::parse(found.record.as_deref()?).ok().filter(|record| check::readable(record).is_ok())?;
        match found.override_.as_ref().and_then(|stored| stored.parsed.as_ref().ok()) {
            Some(override_) if seen::is_ours(&record, [override_]) => Some(override_.upstream.clone()),
            _ => Some(record),
        }
    };
    reading.flags.iter().filter_map(|(flag, found)| Some((flag.clone(), own(found)?))).collect()
}

fn compare(environment: &str, (one, theirs): (&Target, &Own), (other, ours): (&Target, &Own), findings: &mut Findings) {
    let (mut differ, mut served) = (Vec::new(), Vec::new());
    for (flag, record) in theirs {
        let Some(second) = ours.get(flag) else {
            differ.push(format!("{flag} (only in {})", one.store));
            continue;
        };
        if record.same_value(second) {
            continue;
        }
        let told = format!("{flag} (v{} and v{})", record.version(), second.version());
        if preview::serves(record) == preview::serves(second) { differ.push(told) } else { served.push(told) }
    }
    let only = ours.keys().filter(|flag| !theirs.contains_key(*flag));
    differ.extend(only.map(|flag| format!("{flag} (only in {})", other.store)));
    let subject = format!("{} and {}", one.store, other.store);
    if !served.is_empty() {
        let told = format!(
            "{} served differently, and not because of an override: {}",
            count(served.len(), "flag"),
            list_some(&served, NAMED_MAX)
        );
        let way_out = "rc update stops at such a flag; --despite-differences writes each copy in place".to_owned();
        findings.bad(Part::Records, environment, &subject, told, Some(way_out));
    }
    if !differ.is_empty() {
        let told = format!("differ in what they hold: {}", list_some(&differ, NAMED_MAX));
        findings.note(Part::Records, environment, &subject, told, None);
    }
    if served.is_empty() && differ.is_empty() {
        findings.good(Part::Records, environment, &subject, "hold the same, overrides not counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_surrogates() {
        assert!(has_escaped_surrogates(r#"{"a":"\ud83d\ude00"}"#));
        assert!(has_escaped_surrogates(r#"{"a":"\\\uD83D\uDE00"}"#));
        assert!(!has_escaped_surrogates(r#"{"a":"\\ud83d"}"#), "a backslash, and letters");
        assert!(!has_escaped_surrogates(r#"{"a":"\ud7ff \u00e4 😀"}"#));
        assert!(!has_escaped_surrogates(r#"{"a":"\u"#));
    }
}
