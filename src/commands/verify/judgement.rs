//! Whether everybody says the same of a flag, by value, and if not, what that is. Pure.

use std::collections::BTreeSet;

use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::commands::verify::facts::Facts;
use crate::commands::verify::facts::Voice;
use crate::flag::aspect::Aspect;
use crate::flag::configuration::Configuration;
use crate::flag::instruction::Instruction;
use crate::ui::harmless::harmless;

/// What it comes to for one flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Everybody who was asked says the same.
    Same,
    /// LaunchDarkly has not been told yet.
    Owed,
    /// They differ, and nothing that is owed explains it.
    Differs,
    /// All but LaunchDarkly say the same, and it was not asked or did not answer.
    Unasked,
    /// A store or a relay did not answer; those who did say the same.
    NotKnown,
}

/// A flag that is judged.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What it comes to.
    pub judgement: Judgement,
    /// Who says what, in words; empty where all say the same.
    pub told: String,
}

/// Judges.
pub fn judge(facts: &Facts) -> Judged {
    let voices = all(facts);
    let aspects = differences(facts, &voices);
    let owed = facts.override_.as_ref().filter(|override_| is_owed(override_));
    if let Some(override_) = owed {
        let touched = override_.instructions.iter().map(Instruction::aspect);
        let shown = if aspects.is_empty() { touched.collect() } else { aspects };
        let mut told = with_open(facts, told(facts, &shown));
        if matches!(override_.state, OverrideState::AwaitingApproval { .. }) {
            told.push_str("; approval pending");
        }
        if facts.asked {
            told.push_str(
                "; a replay asked for an approval, and its answer is not known: a request may be open in LaunchDarkly",
            );
        }
        return Judged { judgement: Judgement::Owed, told };
    }
    if open(facts).next().is_some() {
        let told = if aspects.is_empty() { String::new() } else { told(facts, &aspects) };
        return Judged { judgement: Judgement::Owed, told: with_open(facts, told) };
    }
    let broken = broken(facts, &voices);
    if (!aspects.is_empty() || broken) && !facts.held.is_empty() {
        let told = format!("{}; {}", told(facts, &aspects), harmless(&facts.held.join("; ")));
        return Judged { judgement: Judgement::Owed, told };
    }
    if !aspects.is_empty() || broken {
        let behind = if is_behind(facts) {
            "; the stores are behind: LaunchDarkly's stream brings it"
        } else if is_overruled(facts) {
            "; LaunchDarkly has had the override, and says otherwise since: rc replay ends it when the stream shows that"
        } else {
            ""
        };
        return Judged { judgement: Judgement::Differs, told: format!("{}{behind}", told(facts, &aspects)) };
    }
    let silent = voices.iter().filter(|(_, voice)| matches!(voice, Voice::Silent(_))).count();
    let unasked = matches!(facts.launchdarkly, Voice::Silent(_));
    match (silent, unasked) {
        (0, _) => Judged { judgement: Judgement::Same, told: String::new() },
        (1, true) => Judged { judgement: Judgement::Unasked, told: String::new() },
        _ => Judged { judgement: Judgement::NotKnown, told: told(facts, &aspects) },
    }
}

/// What everybody says, and what else is not over.
fn with_open(facts: &Facts, told: String) -> String {
    let open = open(facts).map(|open| harmless(open).into_owned());
    std::iter::once(told).filter(|told| !told.is_empty()).chain(open).collect::<Vec<_>>().join("; ")
}

/// What is not over. A record by which an edit seems to stand, and that is LaunchDarkly's own in every store, speaks for none.
fn open(facts: &Facts) -> impl Iterator<Item = &String> {
    let stands: &[String] = if is_theirs(facts) { &[] } else { &facts.stands };
    facts.open.iter().chain(stands)
}

/// Whether every store has the record that LaunchDarkly sends, under its version.
fn is_theirs(facts: &Facts) -> bool {
    let Voice::Says { configuration, version } = &facts.launchdarkly else { return false };
    let same = |voice: &Voice| match voice {
        Voice::Says { configuration: here, version: of } => of == version && configuration.differs(here).is_empty(),
        _ => false,
    };
    let mut has_a_say = facts.stores.iter().filter(|(_, voice, copy)| !(*copy && *voice == Voice::Nothing));
    has_a_say.all(|(_, voice, _)| same(voice))
}

fn is_owed(override_: &Override) -> bool {
    override_.replayed_as().is_none()
}

/// Everybody with a voice, LaunchDarkly first. A copy for a payload filter that has not got the flag has none.
fn all(facts: &Facts) -> Vec<(&str, &Voice)> {
    let stores = facts
        .stores
        .iter()
        .filter(|(_, voice, is_filter_copy)| !(*is_filter_copy && *voice == Voice::Nothing))
        .map(|(label, voice, _)| (label.as_str(), voice));
    let relays = facts.relays.iter().map(|(label, voice)| (label.as_str(), voice));
    std::iter::once(("LaunchDarkly", &facts.launchdarkly)).chain(stores).chain(relays).collect()
}

/// The aspects in which any two who speak differ.
fn differences(facts: &Facts, voices: &[(&str, &Voice)]) -> BTreeSet<Aspect> {
    let says = |voice: &Voice| match voice {
        Voice::Says { configuration, .. } => Some(configuration.clone()),
        _ => None,
    };
    let mut speaking = voices.iter().filter_map(|(_, voice)| says(voice));
    let Some(first) = speaking.next() else { return BTreeSet::new() };
    let mut aspects: BTreeSet<Aspect> = speaking.flat_map(|other| first.differs(&other)).collect();
    // What was replayed is in force by its own word, whatever all of them say.
    if let Some(wish) = facts.override_.as_ref().and_then(wish)
        && let Some(override_) = &facts.override_
    {
        let touched = touched(override_);
        aspects.extend(first.differs(&wish).intersection(&touched));
    }
    aspects
}

/// What an override asks for.
pub(super) fn wish(override_: &Override) -> Option<Configuration> {
    crate::flag::patch::apply(&override_.base, &override_.instructions)
        .ok()
        .map(|record| Configuration::of_record(&record))
}

/// The aspects that it touches.
pub(super) fn touched(override_: &Override) -> BTreeSet<Aspect> {
    override_.instructions.iter().map(Instruction::aspect).collect()
}

/// Whether somebody has nothing, or something unreadable, where others have the flag; or a store is ahead of LaunchDarkly
/// without an override, so that LaunchDarkly's next changes would be refused there.
fn broken(facts: &Facts, voices: &[(&str, &Voice)]) -> bool {
    let speaks = voices.iter().any(|(_, voice)| matches!(voice, Voice::Says { .. }));
    let lacks = voices.iter().any(|(_, voice)| matches!(voice, Voice::Nothing));
    let damaged = voices.iter().any(|(_, voice)| matches!(voice, Voice::Damaged(_)));
    damaged || (speaks && lacks) || is_ahead(facts)
}

fn is_ahead(facts: &Facts) -> bool {
    let Voice::Says { version: known, .. } = &facts.launchdarkly else { return false };
    let ahead = |voice: &Voice| matches!(voice, Voice::Says { version, .. } if version > known);
    facts.override_.is_none() && facts.stores.iter().any(|(_, voice, _)| ahead(voice))
}

/// Whether no override is in the way and every store has an older record than LaunchDarkly, or one that LaunchDarkly has
/// deleted or archived since.
fn is_behind(facts: &Facts) -> bool {
    let older = |voice: &Voice| match (voice, &facts.launchdarkly) {
        (Voice::Says { version, .. }, Voice::Says { version: known, .. }) => version < known,
        (Voice::Says { .. }, Voice::Nothing) => true,
        _ => false,
    };
    facts.override_.is_none() && !facts.stores.is_empty() && facts.stores.iter().all(|(_, voice, _)| older(voice))
}

/// Whether LaunchDarkly, which has had the override, says otherwise by now.
fn is_overruled(facts: &Facts) -> bool {
    let (Some(override_), Voice::Says { configuration, version }) = (&facts.override_, &facts.launchdarkly) else {
        return false;
    };
    let OverrideState::Replayed { version: had } = override_.state else { return false };
    let touched = touched(override_);
    *version > had && wish(override_).is_some_and(|wish| !configuration.differs(&wish).is_disjoint(&touched))
}

/// `LaunchDarkly on v5; off v6 in eu-1 us-1, on v5 in ap-1`.
fn told(facts: &Facts, aspects: &BTreeSet<Aspect>) -> String {
    let launchdarkly = format!("LaunchDarkly {}", in_words(&facts.launchdarkly, aspects));
    let stores = grouped(facts.stores.iter().map(|(label, voice, _)| (label.as_str(), voice)), aspects, "in");
    let relays = grouped(facts.relays.iter().map(|(label, voice)| (label.as_str(), voice)), aspects, "through relay");
    [launchdarkly, stores, relays].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn grouped<'f>(voices: impl Iterator<Item = (&'f str, &'f Voice)>, aspects: &BTreeSet<Aspect>, place: &str) -> String {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (label, voice) in voices {
        let words = in_words(voice, aspects);
        match groups.iter_mut().find(|(known, _)| *known == words) {
            Some((_, labels)) => labels.push(label),
            None => groups.push((words, vec![label])),
        }
    }
    let groups: Vec<String> =
        groups.into_iter().map(|(words, labels)| format!("{words} {place} {}", labels.join(" "))).collect();
    groups.join(", ")
}

fn in_words(voice: &Voice, aspects: &BTreeSet<Aspect>) -> String {
    match voice {
        Voice::Says { configuration, version } => {
            let words: Vec<String> = aspects.iter().map(|aspect| configuration.in_words(*aspect)).collect();
            let words = words.join(", ");
            format!("{}{}v{version}", harmless(&words), if words.is_empty() { "" } else { " " })
        }
        Voice::Nothing => "no such flag".to_owned(),
        Voice::Damaged(why) => format!("DAMAGED ({})", harmless(why)),
        Voice::Silent(_) => "NO ANSWER".to_owned(),
    }
}

#[cfg(test)]
mod tests;
