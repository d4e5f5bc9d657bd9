//! The questions that `rc` asks somebody at a terminal, and what becomes of each answer.

use std::fs;

use serde_json::Value;

use crate::support::rc::Rc;
use crate::support::terminal::Terminal;
use crate::update::stage::OFF;
use crate::update::stage::Stage;

const CRITICAL: &str = "[environment.\"shop/production\"]\ncritical = true\n";
const QUESTION: &str = "shop/production is critical. Change checkout? [y/N]";

fn critical() -> Stage {
    let stage = Stage::with_stores(1);
    fs::write(stage.home.path().join("relaycommander.toml"), CRITICAL).unwrap();
    stage
}

fn at_terminal(stage: &Stage, rc: &Rc) -> Terminal {
    Terminal::start(rc, stage.home.path())
}

#[test]
fn a_critical_environment_is_asked_about_before_anything_is_written() {
    let stage = critical();
    let (code, shown) = at_terminal(&stage, &stage.rc(OFF)).answer(QUESTION, "n\n").end();
    assert_eq!(code, 3, "{shown}");
    assert!(shown.contains("nothing was written"), "{shown}");
    stage.has(0, "checkout", 42, true);
    assert!(!stage.home.path().join("playback").exists(), "nothing was recorded either");
    // Just enter, and the end of input (Ctrl-D), are no.
    for answer in ["\n", "\u{4}"] {
        let (code, shown) = at_terminal(&stage, &stage.rc(OFF)).answer(QUESTION, answer).end();
        assert_eq!(code, 3, "{shown}");
        stage.has(0, "checkout", 42, true);
    }
    let (code, shown) = at_terminal(&stage, &stage.rc(OFF)).answer(QUESTION, "y\n").end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("DONE: checkout is off in 1 of 1 store"), "{shown}");
    stage.has(0, "checkout", 43, false);
}

#[test]
fn without_a_terminal_a_critical_environment_wants_a_yes_beforehand() {
    let stage = critical();
    stage.run(OFF).code(3).err("shop/production is critical").err("--yes");
    stage.has(0, "checkout", 42, true);
    stage.rc(OFF).args(["--yes"]).run().code(0);
    stage.has(0, "checkout", 43, false);
}

#[test]
fn no_input_asks_nobody_at_a_terminal_either() {
    let stage = critical();
    let (code, shown) = at_terminal(&stage, &stage.rc(OFF).args(["--no-input"])).end();
    assert_eq!(code, 3, "{shown}");
    assert!(!shown.contains("[y/N]"), "{shown}");
    stage.has(0, "checkout", 42, true);
}

#[test]
fn a_colleagues_change_is_undone_only_after_a_yes() {
    let stage = Stage::with_stores(1);
    stage.rc(OFF).env("RC_ACTOR", "anna").args(["--incident", "INC-4821"]).run().code(0);
    let bob = || stage.rc("undo checkout").env("RC_ACTOR", "bob");
    let (code, shown) = at_terminal(&stage, &bob()).answer("Undo it? [y/N]", "no\n").end();
    assert_eq!(code, 3, "{shown}");
    stage.has(0, "checkout", 43, false);
    let (code, shown) = at_terminal(&stage, &bob()).answer("Undo it? [y/N]", "yes\n").end();
    assert_eq!(code, 0, "{shown}");
    stage.has(0, "checkout", 42, true);
    assert_eq!(stage.override_(0, "checkout"), Value::Null);
}
