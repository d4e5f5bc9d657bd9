//! The folder of changes: could one be recorded now, who can read it, and is what stands there whole.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::Findings;
use super::finding::Part;
use crate::error::Failure;
use crate::playback::Loaded;
use crate::settings::Settings;
use crate::store::Grade;
use crate::ui::words::count;

/// Less room than this on the disk is bad, in bytes: a change takes some 10 kB, and other things grow in an incident.
const ROOM_MIN: u64 = 10 * 1024 * 1024;

/// Looks at the playback.
pub(super) fn examine(settings: &Settings, loaded: &Loaded, unreadable: Option<&Failure>, findings: &mut Findings) {
    let folder = &settings.playback;
    let shown = folder.display().to_string();
    if let Some(failure) = unreadable {
        findings.failure(Grade::Bad, Part::Playback, &shown, "read", failure);
    }
    let place = match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {
            mode(&shown, metadata.mode() & 0o7777, findings);
            Some(folder.as_path())
        }
        Ok(_) => {
            findings.bad(
                Part::Playback,
                &shown,
                "",
                "is not a folder",
                Some("name another with RC_PLAYBACK".to_owned()),
            );
            None
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            findings.good(Part::Playback, &shown, "", "is not there yet; the first change makes it");
            folder.parent()
        }
        Err(error) => {
            findings.bad(Part::Playback, &shown, "", format!("cannot be looked at: {error}"), None);
            None
        }
    };
    if let Some(place) = place {
        writable(&shown, place, findings);
        room(&shown, place, findings);
    }
    contents(&shown, loaded, unreadable.is_none(), findings);
}

fn mode(shown: &str, mode: u32, findings: &mut Findings) {
    if mode & 0o077 == 0 {
        findings.good(Part::Playback, shown, "mode", format!("{mode:04o}"));
        return;
    }
    let told = format!("{mode:04o}: others on this machine can get at what is recorded");
    findings.note(Part::Playback, shown, "mode", told, Some(format!("chmod 700 {shown}")));
}

/// Access bits do not tell of read-only disks, quotas or a superuser; a file that is made, synced and removed does.
fn writable(shown: &str, place: &Path, findings: &mut Findings) {
    let tried = tempfile::Builder::new()
        .prefix(".doctor-")
        .tempfile_in(place)
        .and_then(|mut file| {
            file.write_all(b"rc doctor\n")?;
            file.as_file().sync_all()?;
            file.close()
        })
        .and_then(|()| std::fs::File::open(place)?.sync_all());
    match tried {
        Ok(()) => findings.good(Part::Playback, shown, "write", "a file was made there, synced and removed again"),
        Err(error) => {
            let told = format!("no file can be made in {}: {error}. rc update changes nothing then", place.display());
            let way_out = "make it writable, or name another folder with RC_PLAYBACK".to_owned();
            findings.bad(Part::Playback, shown, "write", told, Some(way_out));
        }
    }
}

fn room(shown: &str, place: &Path, findings: &mut Findings) {
    match rustix::fs::statvfs(place) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let told = format!("{} MiB free", free / (1024 * 1024));
            if free < ROOM_MIN {
                findings.bad(
                    Part::Playback,
                    shown,
                    "room",
                    told,
                    Some("make room: no change is made that cannot be recorded".to_owned()),
                );
            } else {
                findings.good(Part::Playback, shown, "room", told);
            }
        }
        Err(error) => findings.note(Part::Playback, shown, "room", format!("not known: {error}"), None),
    }
}

fn contents(shown: &str, loaded: &Loaded, was_read: bool, findings: &mut Findings) {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for damage in &loaded.damaged {
        let line = damage.line.map(|line| format!("line {line}")).unwrap_or_default();
        let readable = match &damage.readable {
            Some(file) => format!("; what stands before is change {}", file.change().short()),
            None => String::new(),
        };
        let told = format!("{}{readable}", damage.problem);
        let way_out =
            "it is shown and never written to; if stores still have its override, rc replay sends that".to_owned();
        findings.bad(Part::Playback, &name(&damage.file), &line, told, Some(way_out));
    }
    for file in &loaded.files {
        if let Some(format) = file.newer {
            let told = format!("is of format {format}: a newer rc wrote it, and this one only shows it");
            findings.note(Part::Playback, &name(&file.path), "", told, Some("use that rc here too".to_owned()));
        }
        if file.torn.is_some() {
            let told = "its last line was never written to the end, and counts for nothing";
            findings.note(Part::Playback, &name(&file.path), "", told, None);
        }
    }
    for unfinished in &loaded.unfinished {
        let told = "was never written to the end: no store was written for it, and nobody needs it";
        findings.note(
            Part::Playback,
            &name(&unfinished.file),
            "",
            told,
            Some(format!("rm {}", unfinished.file.display())),
        );
    }
    if loaded.damaged.is_empty() && was_read {
        let replayed = loaded.files.iter().filter(|file| file.replayed).count();
        let told = format!("{}, of which {replayed} are replayed", count(loaded.files.len(), "change"));
        findings.good(Part::Playback, shown, "read", told);
    }
}
