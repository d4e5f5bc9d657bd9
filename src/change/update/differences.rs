//! Hosts that hold different content. Each is edited in place; what matters is whether they would then serve different
//! things. Our own overrides never count: what is compared is LaunchDarkly's record under them, and what it comes to
//! with all edits applied.

use crate::change::recorded::OverrideWrite;
use crate::change::seen::Copy;
use crate::change::seen::is_ours;
use crate::change::target::Target;
use crate::change::update::Difference;
use crate::change::update::EditSeen;
use crate::change::update::Here;
use crate::change::update::Planned;
use crate::flag::configuration::Configuration;
use crate::flag::configuration::JsonValue;
use crate::flag::preview;
use crate::flag::preview::Serves;
use crate::flag::record::Record;

/// What LaunchDarkly last sent to a target, and what will stand there.
pub(super) struct Content {
    target: Target,
    upstream: Record,
    after: Record,
}

/// The contents of all targets that can be compared: those that are written, and those that are already so.
pub(super) fn contents(seen: &EditSeen<'_>, targets: &[(Target, Planned)]) -> Vec<Content> {
    let content = |(here, (target, planned)): (&Here<'_>, &(Target, Planned))| {
        let target = target.clone();
        if let Planned::Write(planned) = planned {
            let OverrideWrite::Put(next) = &planned.write.override_after else { return None };
            return Some(Content { target, upstream: next.upstream.clone(), after: planned.write.after.clone()? });
        }
        let (Planned::AlreadySo { .. }, Copy::Readable(record)) = (planned, &here.seen.copy) else { return None };
        let own = here.seen.own().or(seen.standing.in_force());
        let upstream = own.filter(|own| is_ours(record, [*own])).map_or(record, |own| &own.upstream).clone();
        Some(Content { target, upstream, after: record.clone() })
    };
    seen.targets.iter().zip(targets).filter_map(content).collect()
}

/// The targets whose content differs from the first one's.
pub(super) fn differing(contents: &[Content]) -> Vec<Difference> {
    let Some((first, others)) = contents.split_first() else { return Vec::new() };
    others
        .iter()
        .filter(|content| content.upstream != first.upstream && !content.upstream.same_value(&first.upstream))
        .map(|content| Difference {
            target: content.target.clone(),
            version: content.upstream.version(),
            aspects: Configuration::of_record(&first.upstream).differs(&Configuration::of_record(&content.upstream)),
        })
        .collect()
}

/// What each target would serve, if not all would serve the same. Where everybody gets one value, that value decides;
/// else the whole configuration does: two flags with the same default rule and other rules serve different things.
pub(super) fn served_differently(contents: &[Content]) -> Option<Vec<(Target, Serves)>> {
    let (first, others) = contents.split_first()?;
    let same = |content: &Content| {
        if content.after == first.after {
            return true;
        }
        let (one, other) = (Configuration::of_record(&first.after), Configuration::of_record(&content.after));
        one.differs(&other).is_empty() || serves_everybody_the_same(&first.after, &content.after)
    };
    if others.iter().all(same) {
        return None;
    }
    Some(contents.iter().map(|content| (content.target.clone(), preview::serves(&content.after))).collect())
}

fn serves_everybody_the_same(one: &Record, other: &Record) -> bool {
    match (preview::serves(one), preview::serves(other)) {
        (Serves::Everybody(one), Serves::Everybody(other)) => JsonValue(one) == JsonValue(other),
        (Serves::CodeDefault, Serves::CodeDefault) => true,
        _ => false,
    }
}
