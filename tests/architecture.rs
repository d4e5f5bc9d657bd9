//! The source, held against the rules of `ARCHITECTURE.md`: who imports whom, what is never written, how long things
//! may be. The text is looked at, with comments and strings blanked out, not the program: what cannot be seen in the
//! text is not checked.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// The most lines of program (tests not counted) that a file may have, and the exceptions with their reasons.
const FILE_LINES_MAX: usize = 400;
const LONGER_FILES: [(&str, &str); 0] = [];

/// The most lines that a function may have.
const FUNCTION_LINES_MAX: usize = 80;

/// Who may import what: a folder or file of `src/`, and the paths that it may name besides its own. What is not listed
/// here may not import anything.
const IMPORTS: [(&str, &[&str]); 15] = [
    ("flag", &[]),
    ("change", &["flag"]),
    ("playback", &["flag", "change"]),
    ("store", &["flag", "change", "ui::secret"]),
    ("launchdarkly", &["flag", "change", "ui::secret"]),
    ("relay", &["flag", "change", "ui::secret"]),
    ("notification", &["ui::secret"]),
    ("drill", &["flag", "change", "playback", "store", "launchdarkly", "relay"]),
    ("guard", &["flag", "change", "playback", "store", "launchdarkly", "relay", "ui::secret"]),
    ("ui", &[]),
    ("settings", &["flag::key", "change::id", "ui"]),
    ("error", &["flag", "change", "playback", "store", "launchdarkly", "relay", "drill", "guard", "settings", "ui"]),
    (
        "commands",
        &[
            "flag",
            "change",
            "playback",
            "store",
            "launchdarkly",
            "notification",
            "relay",
            "drill",
            "guard",
            "settings",
            "ui",
            "error",
        ],
    ),
    ("lib", &["commands", "settings", "ui", "error"]),
    ("main", &[]),
];

/// What the program never says, and why.
const BANNED: [(&str, &str); 11] = [
    ("todo!", "unfinished"),
    ("unimplemented!", "unfinished"),
    ("dbg!", "left behind"),
    (".unwrap()", "dies by a panic"),
    (".expect(", "dies by a panic"),
    ("panic!", "dies by a panic"),
    ("process::exit", "leaves in the middle: terminals and connections stay as they are"),
    ("println!", "printing belongs to ui/, and dies on a closed pipe"),
    ("print!", "printing belongs to ui/, and dies on a closed pipe"),
    ("set_var", "the environment of the process is read once and never changed"),
    ("unsafe", "nothing here needs it"),
];

/// What only some may say: the text, who, and why.
const RESERVED: [(&str, &[&str], &str); 3] = [
    ("Recorded::once", &["src/playback/"], "no store is written before the change is on disk"),
    ("env::", &["src/settings/process.rs", "src/main.rs", "src/bin/"], "settings are resolved in one place"),
    ("stdout()", &["src/ui/"], "only ui/ prints"),
];

/// A file of the source.
struct Source {
    /// Its path from the root of the repository.
    path: String,
    /// As it is.
    text: String,
    /// Comments and strings blanked out, tests cut out; line numbers kept.
    program: String,
}

impl Source {
    /// The folder or file of `src/` that it belongs to.
    fn module(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        inside.split_once('/').map_or(inside.trim_end_matches(".rs"), |(folder, _)| folder)
    }

    /// Where `word` stands in the program, by line counted from 1; whole words only, where it begins with a letter.
    fn lines_with(&self, word: &str) -> Vec<usize> {
        let has = |line: &str| {
            line.match_indices(word).any(|(place, _)| {
                let before = line[..place].chars().next_back();
                !word.starts_with(char::is_alphabetic) || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            })
        };
        self.program.lines().enumerate().filter(|(_, line)| has(line)).map(|(number, _)| number + 1).collect()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All files below `folder`; those of the program that are compiled for tests only are left out.
fn sources(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    files_below(&root().join(folder), &mut paths);
    paths.sort();
    let texts: Vec<(PathBuf, String)> =
        paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    let only_tests: Vec<PathBuf> = texts.iter().flat_map(|(path, text)| test_files(path, text)).collect();
    let read = |(path, text): (PathBuf, String)| {
        let program = without_tests(&blanked(&text));
        Source { path: path.strip_prefix(root()).unwrap().display().to_string(), text, program }
    };
    texts.into_iter().filter(|(path, _)| !only_tests.contains(path)).map(read).collect()
}

/// The text with comments, strings and characters blanked out; every line end stays.
fn blanked(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut result = String::with_capacity(text.len());
    let mut place = 0;
    while place < characters.len() {
        let end = end_of_blank(&characters, place);
        match end {
            Some(end) => {
                result.extend(characters[place..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
                place = end;
            }
            None => {
                result.push(characters[place]);
                place += 1;
            }
        }
    }
    result
}

/// Where the comment, string or character that begins here ends.
fn end_of_blank(characters: &[char], place: usize) -> Option<usize> {
    let at = |offset: usize| characters.get(place + offset).copied().unwrap_or('\0');
    let find = |from: usize, wanted: &str| {
        let wanted: Vec<char> = wanted.chars().collect();
        let found = characters[from..].windows(wanted.len()).position(|window| window == wanted);
        found.map_or(characters.len(), |offset| from + offset + wanted.len())
    };
    let in_word = place > 0 && (characters[place - 1].is_alphanumeric() || characters[place - 1] == '_');
    match at(0) {
        '/' if at(1) == '/' => Some(find(place, "\n") - 1),
        '/' if at(1) == '*' => Some(find(place + 2, "*/")),
        '"' => Some(end_of_string(characters, place + 1)),
        'r' if !in_word || characters[place - 1] == 'b' => {
            let hashes = characters[place + 1..].iter().take_while(|c| **c == '#').count();
            let closing = format!("\"{}", "#".repeat(hashes));
            (at(1 + hashes) == '"').then(|| find(place + 2 + hashes, &closing))
        }
        // A character, not a lifetime.
        '\'' if at(1) == '\\' => Some(find(place + 3, "'")),
        '\'' if at(2) == '\'' => Some(place + 3),
        _ => None,
    }
}

fn end_of_string(characters: &[char], mut place: usize) -> usize {
    while place < characters.len() {
        match characters[place] {
            '\\' => place += 2,
            '"' => return place + 1,
            _ => place += 1,
        }
    }
    characters.len()
}

/// The text with the items, fields and statements under `#[cfg(test)]` cut out; every line end stays.
fn without_tests(text: &str) -> String {
    let mut result = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            result.push_str(line);
            result.push('\n');
            continue;
        }
        result.push('\n');
        let margin = line.len() - line.trim_start().len();
        for line in lines.by_ref() {
            result.push('\n');
            // rustfmt ends what began at a margin with a line at that margin.
            let at_margin = line.len() - line.trim_start().len() == margin;
            if at_margin && line.trim_end().ends_with(['}', ';', ',']) {
                break;
            }
        }
    }
    result
}

/// The files that are compiled for tests only: those that `#[cfg(test)] mod name;` of another one names.
fn test_files(path: &Path, text: &str) -> Vec<PathBuf> {
    let folder = path.parent().unwrap();
    let below = match path.file_stem().unwrap().to_str().unwrap() {
        "mod" | "lib" | "main" => folder.to_owned(),
        stem => folder.join(stem),
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (number, _) in lines.iter().enumerate().filter(|(_, line)| **line == "#[cfg(test)]") {
        let mut named = None;
        for line in &lines[number + 1..] {
            if let Some(name) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
                named = Some(folder.join(name));
            }
            if let Some((_, name)) = line.strip_suffix(';').and_then(|line| line.split_once("mod ")) {
                found.push(named.unwrap_or_else(|| below.join(format!("{name}.rs"))));
                break;
            }
            if !line.starts_with("#[") {
                break;
            }
        }
    }
    found
}

#[track_caller]
fn assert_none(problems: &str, rule: &str) {
    assert!(problems.is_empty(), "{rule}\n{problems}");
}

/// The paths below the crate's root that a file names: `flag::key::FlagKey`; also where it says `super::` so often that
/// it comes out there.
fn imported(source: &Source) -> Vec<(usize, String)> {
    let inside = source.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = if inside == "lib" { 0 } else { inside.split('/').count() };
    let mut found = Vec::new();
    for (number, line) in source.program.lines().enumerate() {
        let mut rest = line;
        while let Some(place) = rest.find("crate::").into_iter().chain(rest.find("super::")).min() {
            let begins = !rest[..place].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            rest = &rest[place..];
            let mut levels = 0;
            while let Some(after) = rest.strip_prefix("super::") {
                rest = after;
                levels += 1;
            }
            let from_root = rest.strip_prefix("crate::");
            rest = from_root.unwrap_or(rest);
            if begins && (from_root.is_some() || levels >= depth) {
                let part = |c: &char| c.is_alphanumeric() || matches!(c, '_' | ':' | '{' | '*');
                found.push((number + 1, rest.chars().take_while(part).collect()));
            }
        }
    }
    found
}

#[test]
fn who_imports_whom() {
    let mut problems = String::new();
    for source in sources("src") {
        if source.path.starts_with("src/bin/") {
            continue;
        }
        let module = source.module();
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
            writeln!(problems, "{}: {module} is not in the table", source.path).unwrap();
            continue;
        };
        for (line, path) in imported(&source) {
            let below = |prefix: &str| path == prefix || path.starts_with(&format!("{prefix}::"));
            if !below(module) && !allowed.iter().any(|prefix| below(prefix)) {
                writeln!(problems, "{}:{line}: {module} must not know {path}", source.path).unwrap();
            }
        }
    }
    assert_none(&problems, "flag <- change <- { playback, store, launchdarkly, relay } <- drill <- commands <- lib");
}

#[test]
fn banned_words() {
    let mut problems = String::new();
    for source in sources("src") {
        for (word, why) in BANNED {
            for line in source.lines_with(word) {
                writeln!(problems, "{}:{line}: {word} ({why})", source.path).unwrap();
            }
        }
        for (word, allowed, why) in RESERVED {
            if !allowed.iter().any(|path| source.path.starts_with(path)) {
                for line in source.lines_with(word) {
                    writeln!(problems, "{}:{line}: {word} belongs to {} ({why})", source.path, allowed.join(", "))
                        .unwrap();
                }
            }
        }
    }
    assert_none(&problems, "what the program never says");
}

/// Marks of unfinished work, in comments and tests too. Written apart here, since this file is looked at as well.
#[test]
fn nothing_is_left_for_later() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("#[ig", "nore")];
    let mut problems = String::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (number, line) in source.text.lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(*mark)) {
                writeln!(problems, "{}:{}: {mark}", source.path, number + 1).unwrap();
            }
        }
    }
    assert_none(&problems, "nothing is left for later");
}

#[test]
fn lengths() {
    let mut problems = String::new();
    for source in sources("src") {
        let lines = source.program.lines().filter(|line| !line.trim().is_empty()).count();
        let excepted = LONGER_FILES.iter().any(|(path, _)| *path == source.path);
        if (lines > FILE_LINES_MAX) != excepted {
            writeln!(problems, "{}: {lines} lines, {FILE_LINES_MAX} allowed (excepted: {excepted})", source.path)
                .unwrap();
        }
        for (line, name, length) in functions(&source.program) {
            if length > FUNCTION_LINES_MAX {
                writeln!(problems, "{}:{line}: fn {name} has {length} lines", source.path).unwrap();
            }
        }
    }
    assert_none(&problems, &format!("a file has {FILE_LINES_MAX} lines of program, a function {FUNCTION_LINES_MAX}"));
}

/// Line, name and length of every function. rustfmt closes a function at the depth at which it began.
fn functions(program: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = program.lines().collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let words = line.trim_start();
        let Some(place) = words.find("fn ").filter(|place| *place == 0 || words[..*place].ends_with(' ')) else {
            continue;
        };
        let name: String = words[place + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let closing = format!("{}}}", " ".repeat(line.len() - words.len()));
        let end = lines[number..].iter().position(|line| {
            line.trim_end() == closing
                || line.trim_end().ends_with(';') && !line.starts_with(&format!("{} ", " ".repeat(closing.len() - 1)))
        });
        if let (Some(length), false) = (end, name.is_empty()) {
            found.push((number + 1, name, length + 1));
        }
    }
    found
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let mut problems = String::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let first = source.text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") || first.contains("to be written") {
            writeln!(problems, "{}", source.path).unwrap();
        }
    }
    assert_none(&problems, "a file opens with //! and what it is for");
}

#[test]
fn no_forgotten_test_file() {
    let all = fs::read_to_string(root().join("tests/all.rs")).unwrap();
    let mut problems = String::new();
    for entry in fs::read_dir(root().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_file = path.extension().is_some_and(|extension| extension == "rs") && name != "all";
        if (is_file || path.join("mod.rs").exists()) && !all.contains(&format!("mod {name};\n")) {
            writeln!(problems, "tests/{name}").unwrap();
        }
    }
    assert_none(&problems, "every file of tests/ is in tests/all.rs");
}

#[test]
fn no_folder_for_everything() {
    let mut problems = String::new();
    for source in sources("src") {
        for name in ["utils", "util", "helpers", "common", "manager", "misc"] {
            if source.path.split(['/', '.']).any(|part| part == name) {
                writeln!(problems, "{}", source.path).unwrap();
            }
        }
    }
    assert_none(&problems, "files are nouns of the domain");
}

#[test]
fn blanking() {
    let text = "let a = \"x // \\\" y\"; // todo!\nlet b = r#\"un\"wrap\"#; let c = '\"'; let d: &'static str;\n";
    let expected = format!(
        "let a = {};{}\nlet b = {}; let c = {}; let d: &'static str;\n",
        " ".repeat(11),
        " ".repeat(9),
        " ".repeat(12),
        " ".repeat(3)
    );
    assert_eq!(blanked(text), expected);
}

#[test]
fn cutting_tests_out() {
    let text = "a\n#[cfg(test)]\nmod tests {\n    b\n}\nc\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;\nd {\n    #[cfg(test)]\n    \
                fn e(\n        f,\n    ) {\n        g\n    }\n    h,\n    #[cfg(test)]\n    i: j,\n    k\n}\n";
    assert_eq!(without_tests(text).split_whitespace().collect::<Vec<_>>(), ["a", "c", "d", "{", "h,", "k", "}"]);
    assert_eq!(without_tests(text).lines().count(), text.lines().count());
    let found = test_files(
        Path::new("src/a/b.rs"),
        "#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;\n#[cfg(test)]\npub(crate) mod c;\n",
    );
    assert_eq!(found, [PathBuf::from("src/a/x.rs"), PathBuf::from("src/a/b/c.rs")]);
}

#[test]
fn finding_imports() {
    let of = |path: &str, program: &str| {
        let source = Source { path: path.to_owned(), text: String::new(), program: program.to_owned() };
        imported(&source).into_iter().map(|(_, path)| path).collect::<Vec<_>>()
    };
    assert_eq!(of("src/a/b.rs", "use crate::c::D;\nuse super::e;\nuse super::super::f::G;\n"), ["c::D", "f::G"]);
    assert_eq!(of("src/a/mod.rs", "use super::h;\nlet i = j::<crate::k::L>(crate::m::n());\n"), ["h", "k::L", "m::n"]);
    assert_eq!(of("src/o.rs", "pub(in super::p) fn q() { my_crate::r() }\n"), ["p"]);
}

#[test]
fn measuring_functions() {
    let text = "fn a() {\n    b\n}\nimpl C {\n    fn d(\n        e: F,\n    ) {\n        g;\n    }\n    fn h();\n}\n";
    let found: Vec<(usize, String, usize)> = functions(text);
    assert_eq!(found, [(1, "a".to_owned(), 3), (5, "d".to_owned(), 5), (10, "h".to_owned(), 1)]);
}
