//! The journal as comma separated values (RFC 4180, but with plain line ends): a line for each flag of each change.
//! Spreadsheets take a cell that begins with `=`, `+`, `-` or `@` for a formula, also when it is quoted; reasons are typed
//! by anybody, so such a cell gets an apostrophe in front.

use super::entries::ChangeTold;
use super::entries::EditTold;
use super::entries::Journal;
use crate::ui::harmless::harmless;

/// The columns.
const COLUMNS: [&str; 14] = [
    "time",
    "user",
    "host",
    "project",
    "environment",
    "flag",
    "what",
    "outcome",
    "reason",
    "incident",
    "expires",
    "change",
    "kind",
    "source",
];

/// The heading and all lines, without a line end at the end.
pub(super) fn text(journal: &Journal) -> String {
    let mut lines = vec![COLUMNS.join(",")];
    let edits = journal.changes.iter().flat_map(|change| change.edits.iter().map(move |edit| (change, edit)));
    lines.extend(edits.map(|(change, edit)| line(change, edit)));
    lines.join("\n")
}

fn line(change: &ChangeTold, edit: &EditTold) -> String {
    let source = match &change.file {
        Some(file) => file.display().to_string(),
        None => format!("log of {}", change.stores.iter().map(String::as_str).collect::<Vec<_>>().join(" ")),
    };
    let time = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let cells: [String; COLUMNS.len()] = [
        time(change.at),
        change.user.clone(),
        change.host.clone(),
        edit.environment.project.to_string(),
        edit.environment.key.to_string(),
        edit.flag.to_string(),
        edit.what.clone(),
        edit.outcome.clone(),
        change.reason.clone().unwrap_or_default(),
        change.incident.clone().unwrap_or_default(),
        time(change.expires),
        change.change.to_string(),
        change.kind.clone(),
        source,
    ];
    cells.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",")
}

fn cell(text: &str) -> String {
    let text = harmless(text);
    let formula = text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    let text = if formula { format!("'{text}") } else { text.into_owned() };
    if text.contains([',', '"', '\n', '\r']) || text.trim() != text {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells() {
        #[track_caller]
        fn case(text: &str, expected: &str) {
            assert_eq!(cell(text), expected);
        }
        case("double charges", "double charges");
        case("a, b", "\"a, b\"");
        case("say \"no\"", "\"say \"\"no\"\"\"");
        case("two\nlines", "two\\nlines");
        case("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\"");
        case("+1", "'+1");
        case(" =1", "' =1");
        case("-off", "'-off");
        case("@SUM(1,2)", "\"'@SUM(1,2)\"");
        case("\t=1", "\\t=1");
        case("on -> off", "on -> off");
    }
}
