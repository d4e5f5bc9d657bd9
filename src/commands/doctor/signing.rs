//! The keys with which overrides are signed: whether they are there, and can be used.

use super::finding::Findings;
use super::finding::Part;
use crate::commands::signing;
use crate::settings::Settings;
use crate::store::Grade;
use crate::ui::words::count;

/// Looks at the file of keys.
pub(super) fn examine(settings: &Settings, findings: &mut Findings) {
    let Some(path) = &settings.signing_key_file else {
        let told = "RC_SIGNING_KEY_FILE is not set: overrides are not signed, and rc guard --replay auto leaves them to people";
        findings.good(Part::Home, "signing key", "", told);
        return;
    };
    let shown = path.display().to_string();
    match signing::keys(settings) {
        Ok(keys) => {
            let number = keys.map_or(0, |keys| keys.count());
            let told = format!(
                "{}: rc update signs what it overrides with {}, and rc guard --replay auto sends only what is signed",
                count(number, "key"),
                if number > 1 { "the first" } else { "it" }
            );
            findings.good(Part::Home, &shown, "signing key", told);
        }
        Err(failure) => findings.failure(Grade::Bad, Part::Home, &shown, "signing key", &failure),
    }
}
