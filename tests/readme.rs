//! The README, held against the program: its runbook is run as written, its rights are all the rights that the program is
//! given here, its tables are the program's own.

use std::fs;

use relay_commander::drill::launchdarkly::Options;
use relay_commander::drill::launchdarkly::Role;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::drill::launchdarkly::SimulatedLaunchDarkly;
use relay_commander::error::ExitCode;
use relay_commander::store::redis::acl_rule;

use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

fn readme() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

/// The lines of the code block that follows a heading.
fn block_after(heading: &str) -> Vec<String> {
    let readme = readme();
    let section = readme.split_once(&format!("\n## {heading}\n")).expect("the heading is there").1;
    section
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.starts_with("    "))
        .map(|line| line.trim().to_owned())
        .collect()
}

/// The command that the README tells people to type in Redis.
fn acl_line() -> String {
    let readme = readme();
    readme.lines().map(str::trim).find(|line| line.starts_with("ACL SETUSER")).expect("the ACL line").to_owned()
}

/// The actions of the role that the README tells people to make.
fn role_actions() -> Vec<String> {
    let readme = readme();
    let role = readme.split_once("```json\n").unwrap().1.split_once("```").unwrap().0;
    let role: serde_json::Value = serde_json::from_str(role).unwrap();
    let actions = role.as_array().unwrap().iter().flat_map(|statement| statement["actions"].as_array().unwrap());
    actions.map(|action| action.as_str().unwrap().to_owned()).collect()
}

const RECORD: &str = r#"{"key":"feature_flag","on":true,"prerequisites":[],"targets":[],"contextTargets":[],"rules":[],"fallthrough":{"variation":0},"offVariation":1,"variations":[true,false],"clientSide":false,"salt":"s","trackEvents":false,"trackEventsFallthrough":false,"debugEventsUntilDate":null,"version":42,"deleted":false}"#;

/// The runbook as typed, with no more rights in Redis and in LaunchDarkly than the README names.
#[test]
fn the_runbook_runs_as_written() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let actions = role_actions();
    let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
    let seed = Seed::new().project("project").environment("environment").boolean_flag("feature_flag", true, 42).token(
        "api-readme-0001",
        Role::with_actions(&actions),
        "anna@example.com",
    );
    let launchdarkly = runtime.block_on(SimulatedLaunchDarkly::start(Options { seed, listener: None })).unwrap();
    let redis = RedisServer::with().tcp().start();
    redis.fill("ld:project:environment", &[("feature_flag", RECORD)]);
    let line = acl_line().replace("PASSWORD", "secret").replace("ld:shop:production", "ld:project:environment");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(redis.run(&words).trim(), "OK");

    let home = tempfile::tempdir().unwrap();
    let settings = format!(
        "REDIS_HOSTS=redis://rc:secret@127.0.0.1:{}\nLD_API_KEY=api-readme-0001\nLD_API_URL={}\n",
        redis.port(),
        launchdarkly.base_url
    );
    fs::write(home.path().join(".env"), settings).unwrap();
    let lines = block_after("Runbook");
    let mut typed = 0;
    for line in &lines {
        let command = line.split('#').next().unwrap_or_default().trim();
        if let Some(arguments) = command.strip_prefix("rc ") {
            let ran = Rc::new().home(home.path()).line(arguments).args(["--no-input"]).run();
            assert_eq!(ran.code, Some(0), "{line}\n{}\n{}", ran.stdout, ran.stderr);
            typed += 1;
        } else {
            assert!(command == "cat .env" || command == "ls playback/", "{command}: not run here");
        }
    }
    assert_eq!(typed, 4, "update, status, replay, verify");
    let replayed = fs::read_dir(home.path().join("playback/replayed")).unwrap().count();
    assert_eq!(replayed, 1, "LaunchDarkly has it");
}

#[test]
fn the_acl_line_is_what_the_program_needs() {
    assert_eq!(acl_line(), acl_rule("rc", "ld:shop:production"));
}

#[test]
fn the_exit_codes_are_the_programs_own() {
    let readme = readme();
    for code in ExitCode::ALL {
        let row = format!("| {} | {} |", code.number(), code.meaning());
        assert!(readme.contains(&row), "{row}");
    }
}

#[test]
fn the_settings_that_are_named_exist() {
    let readme = readme();
    let known = Rc::new().line("help environment").run().stdout;
    let words = readme.split(|c: char| !(c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()));
    let named: Vec<&str> =
        words.filter(|word| ["RC_", "LD_", "REDIS_", "RELAY_"].iter().any(|start| word.starts_with(start))).collect();
    assert!(named.len() > 8, "{named:?}");
    for name in named {
        assert!(known.contains(name), "{name} is no setting");
    }
}
