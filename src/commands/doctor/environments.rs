//! Which prefix is which environment, and whether what is there is what a relay would serve.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::finding::Findings;
use super::finding::Part;
use super::known;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::store::Grade;
use crate::ui::words::count;
use crate::ui::words::list;

/// Looks at the environments that anything names, and at the prefixes that belong to none.
pub(super) fn examine(surroundings: &Surroundings, views: &[EnvironmentView<'_>], findings: &mut Findings) {
    if views.is_empty() {
        let told = "no project and environment is named anywhere: not by -p -e, settings, relays or prefixes";
        let way_out = "rc doctor -p PROJECT -e ENVIRONMENT, or RC_PROJECT and RC_ENVIRONMENT in .env";
        findings.note(Part::Environments, "environments", "", told, Some(way_out.to_owned()));
    }
    for view in views {
        environment(view, findings);
    }
    let claimed: BTreeSet<_> = known(views).map(|(_, target)| target.chosen.target.clone()).collect();
    let mut unclaimed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (label, found) in &surroundings.prefixes {
        for found in found.iter().flatten() {
            let is_claimed = claimed.iter().any(|target| target.store == *label && target.prefix == found.prefix);
            if !is_claimed {
                unclaimed.entry(found.prefix.as_str()).or_default().push(label);
            }
        }
    }
    for (prefix, labels) in unclaimed {
        let told = format!("is in {} and belongs to no environment that was looked at", list(&labels));
        let way_out = format!("in relaycommander.toml: [environment.\"PROJECT/ENVIRONMENT\"]  prefix = \"{prefix}\"");
        findings.note(Part::Environments, prefix, "prefix", told, Some(way_out));
    }
}

fn environment(view: &EnvironmentView<'_>, findings: &mut Findings) {
    let name = view.environment.to_string();
    let targets = match &view.targets {
        Ok(targets) => targets,
        Err(failure) => {
            findings.failure(Grade::Bad, Part::Environments, &name, "prefix", failure);
            return;
        }
    };
    if let Some(told) = &view.told {
        let way_out = "name it in relaycommander.toml, so that a second prefix does not stop you".to_owned();
        findings.note(Part::Environments, &name, "prefix", told, Some(way_out));
    }
    let mut counts: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for target in targets {
        let place = &target.chosen.target;
        let reading = match &target.reading {
            Ok(reading) => reading,
            // Told at the stores already.
            Err(error) if super::stores::is_silence(error) => continue,
            Err(error) => {
                findings.bad(Part::Environments, &name, &place.to_string(), format!("not read: {error}"), None);
                continue;
            }
        };
        let flags = count(usize::try_from(reading.flag_count).unwrap_or(usize::MAX), "flag");
        if !reading.initialised {
            let told = format!("{flags}, but no $inited: relays take it for empty, and rc refuses to write there");
            let way_out = "a relay that reaches LaunchDarkly fills it; or it is the wrong prefix".to_owned();
            findings.bad(Part::Environments, &name, &place.to_string(), told, Some(way_out));
            continue;
        }
        let copy = if target.chosen.is_filter_copy { " (a payload filter's copy)" } else { "" };
        findings.good(Part::Environments, &name, &place.to_string(), format!("{flags}{copy}"));
        if !target.chosen.is_filter_copy {
            counts.entry(reading.flag_count).or_default().push(&place.store);
        }
    }
    if counts.len() > 1 {
        let told = counts.iter().map(|(flags, stores)| format!("{flags} in {}", list(stores))).collect::<Vec<_>>();
        let told = format!("the stores do not hold equally many: {}", told.join("; "));
        let way_out = "a relay that has been cut off for longer, or a store that was restored from a copy".to_owned();
        findings.note(Part::Environments, &name, "flags", told, Some(way_out));
    }
}
