//! Every help text and every usage error, each as one page, so that a change of wording is seen by whoever reads the
//! change. After a change of wording: `INSTA_UPDATE=always cargo test --test all help`, then read the difference.

use std::fmt::Write as _;
use std::io;
use std::process::Stdio;

use crate::support::rc::Rc;

/// The verbs that are shown, in the order of the help.
const VERBS: [&str; 16] = [
    "update",
    "replay",
    "verify",
    "status",
    "flags",
    "show",
    "log",
    "undo",
    "doctor",
    "guard",
    "notify",
    "drill",
    "relay",
    "completions",
    "man",
    "help",
];

/// A page of runs: what was typed, and what came.
fn page<'l>(lines: impl IntoIterator<Item = &'l str>) -> String {
    let mut page = String::new();
    for line in lines {
        let ran = Rc::new().line(line).run();
        writeln!(page, "$ rc {line}\n{ran}").unwrap();
    }
    page
}

#[test]
fn all_help() {
    let deeper = ["relay config", "relay restart"];
    let lines: Vec<String> = VERBS.iter().chain(&deeper).map(|verb| format!("{verb} --help")).collect();
    insta::assert_snapshot!(page(["-h", "--help"].into_iter().chain(lines.iter().map(String::as_str))));
}

#[test]
fn the_verbs_are_those_that_are_shown() {
    let ran = Rc::new().line("--help").run().code(0);
    let listed = ran.stdout.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let listed: Vec<&str> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed, VERBS);
}

#[test]
fn topics() {
    insta::assert_snapshot!(page(["help exit-codes", "help environment"]));
}

#[test]
fn the_runbook_is_the_one_in_the_repository() {
    let ran = Rc::new().line("help runbook").run().code(0);
    assert_eq!(ran.stdout.trim_end(), include_str!("../docs/runbook.md").trim_end());
}

#[test]
fn help_of_a_verb_is_the_same_both_ways() {
    for verb in VERBS {
        let by_topic = Rc::new().args(["help", verb]).run().code(0);
        assert_eq!(by_topic.stdout, Rc::new().args([verb, "--help"]).run().code(0).stdout, "{verb}");
    }
}

#[test]
fn usage_errors() {
    insta::assert_snapshot!(page([
        "",
        "updaet",
        "--frobnicate",
        "update",
        "update -f checkout",
        "update -s off",
        "update -f checkout -s maybe",
        "update -f checkout -s",
        "update -f bad/key -s off",
        "update -f checkout -s off --serve true",
        "update -f checkout -s off --from edits.jsonl",
        "update -f checkout --resume 7c1f",
        "replay --on-conflict mine",
        "show",
        "log --csv --json",
        "log -n many",
        "completions csh",
        "help exit-code",
        "help nothing",
        "generate-relay-config --project shop -x",
        "update -f checkout -s off --timeout 2",
        "update -f checkout -s off -p sh/op",
    ]));
}

#[test]
fn usage_errors_end_with_two() {
    for line in ["", "updaet", "update", "update -f checkout -s maybe", "generate-relay-config", "help nothing"] {
        let ran = Rc::new().line(line).run().code(2);
        assert_eq!(ran.stdout, "", "rc {line}");
    }
}

/// The old tool's names and its capital letters are understood.
#[test]
fn old_names() {
    for (line, verb) in [("update-redis", "update"), ("playback", "replay"), ("update-ld-api", "replay")] {
        let old = Rc::new().args([line, "--help"]).run().code(0);
        assert_eq!(old.stdout, Rc::new().args([verb, "--help"]).run().code(0).stdout, "{line}");
        assert!(!VERBS.contains(&line), "{line} is not hidden");
    }
    for state in ["on", "Off", "OFF"] {
        let ran = Rc::new().args(["update", "-p", "a", "-e", "b", "-f", "c", "-s", state]).run();
        assert!(!ran.stderr.contains("invalid value"), "{ran}");
    }
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        Rc::new().args(["completions", shell]).run().code(0).out("update").out("dry-run");
    }
}

#[test]
fn manual_pages() {
    Rc::new().line("man").run().code(0).out(".TH rc 1").out("replay");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    Rc::new().args(["man", "--out"]).args([&out]).run().code(0).err(&format!("{} pages written", VERBS.len() + 1));
    let pages = std::fs::read_dir(&out).unwrap().count();
    assert_eq!(pages, VERBS.len() + 1);
    let update = std::fs::read_to_string(out.join("rc-update.1")).unwrap();
    assert!(update.contains("\\-\\-dry\\-run"), "{update}");
    Rc::new().args(["man", "--out", "/proc/nowhere"]).run().code(1).err("error: /proc/nowhere cannot be written");
}

#[test]
fn version() {
    let ran = Rc::new().line("--version").run().code(0);
    assert_eq!(ran.stdout, format!("rc {}\n", env!("CARGO_PKG_VERSION")));
}

/// Help needs no settings: it answers also where they are broken.
#[test]
fn help_beside_a_broken_env() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".env"), "REDIS_HOSTS=a b c\n").unwrap();
    Rc::new().home(home.path()).line("help environment").run().code(0).out("REDIS_HOSTS");
}

/// `rc help environment | head -1`: the reader has had enough, and that is nobody's mistake.
#[test]
fn a_closed_pipe_ends_quietly() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let folder = tempfile::tempdir().unwrap();
    let child = Rc::new().line("help environment").command(folder.path()).stdout(writer).spawn().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}

/// A full disk behind standard output is a failure: what was asked for is not there.
#[test]
fn a_full_disk_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Rc::new().line("help environment").command(folder.path());
    let ended = command.stdout(Stdio::from(full)).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&ended.stderr).starts_with("error: not everything could be printed\n  No space left")
    );
}

/// Colours in a file only where they are asked for.
#[test]
fn colours() {
    let plain = Rc::new().line("help").run().code(0);
    assert!(!plain.stdout.contains('\u{1b}'));
    let asked = Rc::new().line("--color always help update").run().code(0);
    assert!(asked.stdout.contains('\u{1b}'));
    let unwanted = Rc::new().env("NO_COLOR", "1").env("CLICOLOR_FORCE", "1").line("help").run().code(0);
    assert!(!unwanted.stdout.contains('\u{1b}'));
}

/// Nothing that a run leaves behind is in the way of a second one in the same process.
#[test]
fn twice_in_one_process() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["first", "second"] {
        let out = folder.path().join(name);
        let arguments = ["rc", "man", "--out"].map(Into::into).into_iter().chain([out.clone().into_os_string()]);
        let _ = relay_commander::run(arguments);
        assert!(out.join("rc.1").exists());
    }
}
