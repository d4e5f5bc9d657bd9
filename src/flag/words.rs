//! A configuration in few words, for tables and sentences. It must not know where they are shown; what a record brings
//! along is passed on as it is (`ui` makes control characters harmless).

use std::collections::BTreeSet;

use crate::flag::aspect::Aspect;
use crate::flag::configuration::Configuration;
use crate::flag::configuration::Serve;
use crate::flag::configuration::Share;

/// The most characters of a value that are shown in a table.
const SHOWN_VALUE_MAX: usize = 40;
/// The most flag keys or values that are shown in a list.
const SHOWN_LIST_MAX: usize = 3;

impl Configuration {
    /// One aspect in few words, for a table: `on`, `"silver"`, `3 rules`.
    pub fn in_words(&self, aspect: Aspect) -> String {
        match aspect {
            Aspect::On => if self.on { "on" } else { "off" }.to_owned(),
            Aspect::OffVariation => match self.off_variation {
                Some(variation) => self.variation_in_words(variation),
                None => "no variation (the code's own default)".to_owned(),
            },
            Aspect::Fallthrough => self.serve_in_words(&self.fallthrough),
            Aspect::Targets => counted(self.targets.values().map(BTreeSet::len).sum(), "target"),
            Aspect::Rules => counted(self.rules.iter().filter(|rule| !rule.disabled).count(), "rule"),
            Aspect::Prerequisites if self.prerequisites.is_empty() => "no prerequisites".to_owned(),
            Aspect::Prerequisites => format!("requires {}", listed(self.prerequisites.keys().cloned())),
            Aspect::Variations if self.variations.is_empty() => "no variations".to_owned(),
            Aspect::Variations => listed(self.variations.iter().map(|value| shortened(&value.0.to_string()))),
        }
    }

    fn variation_in_words(&self, variation: i64) -> String {
        let value = usize::try_from(variation).ok().and_then(|place| self.variations.get(place));
        match value {
            Some(value) => shortened(&value.0.to_string()),
            None => format!("variation {variation}, which does not exist"),
        }
    }

    fn serve_in_words(&self, serve: &Serve) -> String {
        match serve {
            Serve::Variation(variation) => self.variation_in_words(*variation),
            Serve::Rollout { experiment, shares, .. } => {
                let share =
                    |share: &Share| format!("{} {}", percent(share.weight), self.variation_in_words(share.variation));
                let prefix = if *experiment { "experiment: " } else { "" };
                format!("{prefix}{}", listed(shares.iter().map(share)))
            }
            Serve::Measured => "a guarded rollout".to_owned(),
            Serve::Nothing => "nothing".to_owned(),
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(SHOWN_LIST_MAX);
    let shown = items.take(SHOWN_LIST_MAX).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// Thousandths of a percent as a percentage: `60%`, `33.333%`.
fn percent(weight: i64) -> String {
    format!("{}%", weight as f64 / 1000.0)
}

/// The value's beginning, where it is long.
pub(crate) fn shortened(value: &str) -> String {
    match value.char_indices().nth(SHOWN_VALUE_MAX) {
        Some((end, _)) => format!("{}...", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::samples::TYPICAL;
    use crate::flag::samples::record;

    #[test]
    fn says_it_in_few_words() {
        let words = |text: &str| {
            let configuration = Configuration::of_record(&record(text));
            Aspect::ALL.map(|aspect| configuration.in_words(aspect))
        };
        assert_eq!(
            words(TYPICAL),
            ["on", "false", "60% true, 40% false", "3 targets", "1 rule", "requires payments", "true, false"]
        );
        assert_eq!(
            words("{}"),
            [
                "off",
                "no variation (the code's own default)",
                "nothing",
                "no targets",
                "no rules",
                "no prerequisites",
                "no variations",
            ]
        );
        let long = format!(
            r#"{{"offVariation":9,"fallthrough":{{"rollout":{{"kind":"experiment","variations":[{{"weight":33333}},{{"variation":1,"weight":66667}}]}}}},"variations":["{}",1,2,3,4]}}"#,
            "é".repeat(100)
        );
        let [_, off, default, .., variations] = words(&long);
        assert_eq!(off, "variation 9, which does not exist");
        assert_eq!(default, format!("experiment: 33.333% \"{}..., 66.667% 1", "é".repeat(39)));
        assert_eq!(variations, format!("\"{}..., 1, 2 and 2 more", "é".repeat(39)));
    }
}
