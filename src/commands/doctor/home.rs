//! The home and the settings: whose they are, who can read what, and what is odd in them. (A home that is somebody
//! else's, or settings that cannot be meant, end every command before it begins.)

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::Findings;
use super::finding::Part;
use crate::settings::Settings;

/// Looks at the home and the settings.
pub(super) fn examine(settings: &Settings, findings: &mut Findings) {
    match &settings.home {
        None => {
            let way_out = format!("cd {} && echo 'REDIS_HOSTS=redis-a,redis-b' >> .env", settings.folder.display());
            let told = "there is none: settings come from the environment alone, and changes are recorded in the current folder";
            findings.note(Part::Home, "home", "", told, Some(way_out));
        }
        Some(home) => {
            findings.good(Part::Home, "home", "", home.shown());
            look(&home.folder, false, findings);
            for file in [&home.dot_env, &home.file].into_iter().flatten() {
                look(file, holds_secrets(settings), findings);
            }
        }
    }
    for warning in &settings.warnings {
        findings.note(Part::Home, "settings", "", warning, None);
    }
}

/// Whether any secret is configured. Which file it stands in is not looked for again.
fn holds_secrets(settings: &Settings) -> bool {
    settings.launchdarkly.api_key.is_some() || settings.redis.password.is_some() || !settings.relay_variables.is_empty()
}

fn look(path: &Path, may_hold_secrets: bool, findings: &mut Findings) {
    let shown = path.display().to_string();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            findings.bad(Part::Home, &shown, "", format!("cannot be looked at: {error}"), None);
            return;
        }
    };
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    let whose = format!("belongs to user {owner}, mode {mode:04o}");
    if may_hold_secrets && mode & 0o004 != 0 {
        let told = format!("{whose}: everybody on this machine can read it, and a secret is configured");
        findings.note(Part::Home, &shown, "mode", told, Some(format!("chmod 600 {shown}")));
    } else if mode & 0o020 != 0 {
        let told = format!("{whose}: its group can write it, and so decide where changes go");
        findings.note(Part::Home, &shown, "mode", told, Some(format!("chmod g-w {shown}")));
    } else {
        findings.good(Part::Home, &shown, "mode", whose);
    }
}
