//! The papers, held against the program: paths that they name exist, commands that they tell people to type are
//! commands, and what `ARCHITECTURE.md` says is nowhere is nowhere.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Those of the papers at the root, and the runbook.
fn papers() -> Vec<(String, String)> {
    let entries = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| name.ends_with(".md")).collect();
    names.push("docs/runbook.md".to_owned());
    names.sort();
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// Every path into the repository that a text names.
fn paths(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let words = text.split(|c: char| !is_part(c)).map(|word| word.trim_matches('.'));
    let folders = ["src/", "tests/", "docs/", "scripts/", "benches/", "fuzz/", "deploy/", "examples/"];
    words.filter(|word| folders.iter().any(|folder| word.starts_with(folder))).map(str::to_owned).collect()
}

#[test]
fn paths_exist() {
    let mut missing = Vec::new();
    for (name, text) in papers() {
        missing.extend(
            paths(&text).into_iter().filter(|path| !root().join(path).exists()).map(|path| format!("{name}: {path}")),
        );
    }
    assert!(missing.is_empty(), "these do not exist:\n{}", missing.join("\n"));
    assert!(paths(&read("ARCHITECTURE.md")).len() > 50, "ARCHITECTURE.md names its files");
}

/// The map names every module of `src/`, and everything in `src/commands/` that is no verb.
#[test]
fn the_map_is_whole() {
    let map = paths(&read("ARCHITECTURE.md"));
    let verbs: Vec<String> =
        relay_commander::commands::command().get_subcommands().map(|verb| verb.get_name().replace('-', "_")).collect();
    let mut missing = Vec::new();
    for folder in ["src", "src/commands"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let relative = path.strip_prefix(root()).unwrap().display().to_string();
            let is_verb = folder == "src/commands" && (verbs.contains(&stem) || stem == "relay_config");
            let is_on_it = map
                .iter()
                .any(|known| known.trim_end_matches('/') == relative || known.starts_with(&format!("{relative}/")));
            // error.rs and its folder are one module.
            let is_folder_of_a_file = path.is_dir() && path.with_extension("rs").exists();
            if !is_verb && !is_on_it && !is_folder_of_a_file {
                missing.push(relative);
            }
        }
    }
    assert!(missing.is_empty(), "not on the map in ARCHITECTURE.md: {}", missing.join(", "));
}

/// The words of a command line, as a shell splits them: comments, pipes and redirections end it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut begun) = (String::new(), None, false);
    for c in line.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.push(c),
            None if c == '"' || c == '\'' => (quote, begun) = (Some(c), true),
            None if c.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            None if matches!(c, '#' | '|' | '>' | ';' | '&') && !begun => return words,
            None => {
                word.push(c);
                begun = true;
            }
        }
    }
    assert!(quote.is_none(), "a quote is open: {line}");
    if begun {
        words.push(word);
    }
    words
}

/// The commands of `rc` that a text tells people to type: lines of code blocks that begin with it, and code within
/// sentences.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            let line = line.trim_start().trim_start_matches("$ ");
            found.extend(line.starts_with("rc ").then(|| line.to_owned()));
        } else {
            let code = line.split('`').skip(1).step_by(2);
            found.extend(code.filter(|code| code.starts_with("rc ")).map(str::to_owned));
        }
    }
    found
}

#[test]
fn commands_can_be_typed() {
    let mut wrong = Vec::new();
    for (name, text) in papers() {
        for line in commands(&text) {
            // `rc show ...` and `rc completions bash|zsh` within sentences stand for several.
            if line.contains("...") || line.contains('…') || line.contains("a|b") {
                continue;
            }
            let line = line.split('|').next().unwrap_or_default();
            let parsed = relay_commander::commands::command().try_get_matches_from(words(line));
            if let Err(error) = parsed
                && error.use_stderr()
                && !names_a_verb(line)
            {
                wrong.push(format!("{name}: {line}\n{error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "these cannot be typed:\n{}", wrong.join("\n"));
    assert!(commands(&read("docs/runbook.md")).len() > 30, "the runbook has commands");
}

/// `rc update` in a sentence is the name of a verb, not a whole command line.
fn names_a_verb(line: &str) -> bool {
    let words = words(line);
    let command = relay_commander::commands::command();
    words.len() == 2 && command.find_subcommand(&words[1]).is_some_and(|verb| !verb.is_hide_set())
}

/// The runbook is read on terminals, and over serial lines.
#[test]
fn the_runbook_is_plain() {
    for (number, line) in read("docs/runbook.md").lines().enumerate() {
        assert!(line.is_ascii() && line.len() <= 100, "line {}: {} characters", number + 1, line.chars().count());
    }
}

/// Lines of code of all files below a folder or a file, without comments; whole files of tests are left out.
fn code(place: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = vec![root().join(place)];
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            rest.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") && !is_test(&path) {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            let text = fs::read_to_string(&path).unwrap();
            let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
            let lines = program.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::to_owned);
            found.extend(lines.map(|line| (name.clone(), line)));
        }
    }
    found
}

fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    ["tests", "sample", "samples", "conformance", "address_tests"].contains(&stem.as_ref())
}

/// What ARCHITECTURE.md says is not there, beyond what `tests/architecture.rs` looks for.
#[test]
fn what_is_absent() {
    #[track_caller]
    fn nowhere(place: &str, word: &str, but: &[&str]) {
        let excepted = |name: &str| but.iter().any(|but| name.starts_with(but));
        let found = code(place).into_iter().filter(|(name, line)| line.contains(word) && !excepted(name));
        let found: Vec<String> = found.map(|(name, line)| format!("{name}: {}", line.trim())).collect();
        assert!(found.is_empty(), "{word} stands in\n{}", found.join("\n"));
    }
    for place in ["src/flag", "src/change"] {
        for word in ["::now(", "now_v7", "std::fs", "std::net", "std::io", "tokio", "async ", "Instant", "SystemTime"] {
            nowhere(place, word, &["src/change/id.rs"]);
        }
    }
    nowhere("src", "api/v2", &["src/launchdarkly/", "src/drill/"]);
    nowhere("src/drill", "flag::patch", &[]);
    nowhere("src/drill", "crate::launchdarkly", &[]);
    nowhere(
        "src",
        "reqwest::",
        &[
            "src/launchdarkly/",
            "src/relay/",
            "src/notification/",
            "src/guard/stream/upstream.rs",
            "src/guard/stream/body.rs",
        ],
    );
    nowhere("src", "use redis::", &["src/store/redis/", "src/commands/drill/"]);
    nowhere("src", "redis::Client", &["src/store/redis/", "src/commands/drill/"]);
}

#[test]
fn splitting_lines() {
    assert_eq!(
        words("rc update -f a --reason \"two words\"  # why"),
        ["rc", "update", "-f", "a", "--reason", "two words"]
    );
    assert_eq!(words("rc log --csv > a.csv"), ["rc", "log", "--csv"]);
    assert_eq!(commands("see `rc log`, `ls`\n\n    $ rc status\n    ls\n"), ["rc log", "rc status"]);
    assert_eq!(paths("in `src/lib.rs`, (docs/x.md). mysrc/a"), ["src/lib.rs", "docs/x.md"]);
}
