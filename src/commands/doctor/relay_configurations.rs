//! The relays' configuration files: can they be read, and which of their sections is which environment.

use std::collections::BTreeSet;

use super::finding::Findings;
use super::finding::Part;
use crate::commands::overview::EnvironmentView;
use crate::commands::relays::Configurations;
use crate::error::Failure;
use crate::store::Grade;
use crate::ui::words::count;

/// Looks at every file, and at the relay's variables.
pub(super) fn examine(
    configurations: &Configurations,
    wrong: &[Failure],
    views: &[EnvironmentView<'_>],
    findings: &mut Findings,
) {
    for failure in wrong {
        findings.failure(Grade::Bad, Part::RelayConfiguration, "file", "", failure);
    }
    for configuration in configurations.all() {
        let source = &configuration.source;
        findings.good(
            Part::RelayConfiguration,
            source,
            "",
            format!("can be read: {}", count(configuration.environments.len(), "environment")),
        );
        let mut matched = BTreeSet::new();
        for view in views {
            let sections = configuration.matches(&view.environment);
            matched.extend(sections.iter().map(|section| section.name.clone()));
            if let Some(section) = sections.first() {
                let prefixes: Vec<String> = configuration.copies(section).into_iter().map(|copy| copy.prefix).collect();
                let prefixes = if prefixes.is_empty() {
                    "no prefix".to_owned()
                } else {
                    format!("prefix {}", prefixes.join(", "))
                };
                let told = format!("is [Environment {:?}], {prefixes}", section.name);
                findings.good(Part::RelayConfiguration, source, &view.environment.to_string(), told);
            }
        }
        for section in configuration.environments.iter().filter(|section| !matched.contains(&section.name)) {
            let subject = format!("[Environment {:?}]", section.name);
            let way_out =
                "if it should be one: projKey in the section, or its prefix in relaycommander.toml".to_owned();
            let told = "is none of the environments that were looked at";
            findings.note(Part::RelayConfiguration, source, &subject, told, Some(way_out));
        }
    }
}
