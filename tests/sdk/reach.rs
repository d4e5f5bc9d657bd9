//! The table of what reaches whom, made of what the tests saw: who (an SDK by name and version), what was done, what was
//! seen. Told at the end of the run and written to `target/what-reaches-whom.txt`.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

/// What was done, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Done {
    /// `rc update` on the Redis that an SDK in daemon mode reads.
    EditReadByDaemon,
    /// `rc update` on the flag file that an SDK reads.
    EditReadByFile,
    /// `rc update` during the outage, seen by an SDK that stayed connected to a relay.
    EditWhileConnected,
    /// The same, seen by an SDK that connects afterwards.
    EditBeforeConnecting,
    /// A relay restarted after the edit.
    RelayRestarted,
    /// The same change comes over the relay's stream after the edit.
    SamePatchAfterTheEdit,
    /// LaunchDarkly's stream returns and nothing was replayed.
    ReturnWithoutReplay,
    /// One record that does not decode.
    DamagedRecord,
    /// The same, after `rc update --repair`.
    Repaired,
}

impl Done {
    const ALL: [Self; 9] = [
        Self::EditReadByDaemon,
        Self::EditReadByFile,
        Self::EditWhileConnected,
        Self::EditBeforeConnecting,
        Self::RelayRestarted,
        Self::SamePatchAfterTheEdit,
        Self::ReturnWithoutReplay,
        Self::DamagedRecord,
        Self::Repaired,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::EditReadByDaemon => "rc update, and an SDK in daemon mode on that Redis",
            Self::EditReadByFile => "rc update, and an SDK that reads that flag file",
            Self::EditWhileConnected => "rc update in the outage, and an SDK that stays connected to a relay",
            Self::EditBeforeConnecting => "rc update in the outage, and an SDK that connects to a relay afterwards",
            Self::RelayRestarted => "rc update in the outage, and the relay restarted",
            Self::SamePatchAfterTheEdit => "the same patch through the relay's stream, after the edit",
            Self::ReturnWithoutReplay => "LaunchDarkly's stream returns, nothing was replayed",
            Self::DamagedRecord => "one record with \"on\":\"off\", as the old tool wrote it",
            Self::Repaired => "rc update --repair of that record",
        }
    }
}

struct Row {
    done: Done,
    who: String,
    seen: String,
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// Adds what was seen. Only after it was asserted.
pub fn row(done: Done, who: &str, seen: impl Into<String>) {
    ROWS.lock().unwrap().push(Row { done, who: who.to_owned(), seen: seen.into() });
}

static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Adds a line below the table: something that was counted. Only after it was asserted.
pub fn note(line: String) {
    NOTES.lock().unwrap().push(line);
}

/// Prints the table and writes it to a file, if there is anything in it.
pub fn tell() {
    let mut rows = ROWS.lock().unwrap();
    let notes = NOTES.lock().unwrap();
    if rows.is_empty() && notes.is_empty() {
        return;
    }
    rows.sort_by(|one, other| (one.done, &one.who).cmp(&(other.done, &other.who)));
    let mut text = String::from("WHAT REACHES WHOM, as it was seen\n");
    for done in Done::ALL {
        writeln!(text, "\n{}", done.words()).unwrap();
        let these: Vec<&Row> = rows.iter().filter(|row| row.done == done).collect();
        if these.is_empty() {
            writeln!(text, "  NOT RUN").unwrap();
        }
        let width = these.iter().map(|row| row.who.len()).max().unwrap_or_default();
        for row in these {
            writeln!(text, "  {:<width$}  {}", row.who, row.seen).unwrap();
        }
    }
    for note in notes.iter() {
        write!(text, "\n{note}").unwrap();
    }
    println!("{text}");
    fs::write(target().join("what-reaches-whom.txt"), text).expect("the table on disk");
}

fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), Into::into)
}
