//! Settings as an operator meets them: what is wrong is named with its place, and ends with 2 before anything is asked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::support::rc::Rc;

fn home(dot_env: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".env"), dot_env).unwrap();
    home
}

fn status(home: &Path) -> Rc {
    Rc::new().home(home).line("status")
}

#[test]
fn a_broken_line_is_named_and_not_shown() {
    let home = home("REDIS_HOSTS=127.0.0.1:1\nLD_API_KEY=api-hunter2 x\n");
    status(home.path()).run().code(2).err("/.env, line 2, is not NAME=VALUE").nowhere("hunter2");
}

#[test]
fn a_home_further_up() {
    let home = home("REDIS_HOSTS=127.0.0.1:1\nRC_TIMEOUT=soon\n");
    let below = home.path().join("a/b");
    fs::create_dir_all(&below).unwrap();
    status(&below).run().code(2).err("RC_TIMEOUT in").err("is \"soon\", not a time such as 2s or 500ms");
    // What is typed goes before it, what is exported too.
    status(&below).env("RC_TIMEOUT", "later").run().code(2).err("error: RC_TIMEOUT is \"later\"");
    status(&below).env("RC_TIMEOUT", "later").args(["--timeout", "never"]).run().code(2).err("--timeout is \"never\"");
}

#[test]
fn a_home_that_everybody_can_write() {
    let home = home("REDIS_HOSTS=127.0.0.1:1\n");
    let dot_env = home.path().join(".env");
    fs::set_permissions(&dot_env, fs::Permissions::from_mode(0o666)).unwrap();
    status(home.path()).run().code(2).err("can be written by everybody").err("chmod o-w ");
}

#[test]
fn unknown_names() {
    let bad = home("REDIS_HOSTS=127.0.0.1:1\nRC_PROJET=shop\n");
    let ran = status(bad.path()).run().code(2);
    ran.err(".env has an unknown setting RC_PROJET; did you mean RC_PROJECT?");
    let good = home("REDIS_HOSTS=127.0.0.1:1\nRC_TIMEOUT=soon\n");
    let ran = status(good.path()).env("RC_REDIS_PASWORD", "hunter2").env("RC_TIMEOUT", "2").run().code(2);
    ran.nowhere("hunter2");
    fs::write(good.path().join("relaycommander.toml"), "timeot = \"2s\"\n").unwrap();
    status(good.path()).run().code(2).err("relaycommander.toml has an unknown setting timeot; did you mean timeout?");
}

#[test]
fn passwords_are_never_shown() {
    for hosts in ["redis://:hunter2@a:x", "redis://:hunter2@a,redis://:hunter2@a", "mysql://:hunter2@a"] {
        Rc::new().env("REDIS_HOSTS", hosts).line("-v status").run().code(2).nowhere("hunter2");
    }
    Rc::new().env("LD_API_URL", "http://:hunter2@app.example.com").line("status").run().code(2).nowhere("hunter2");
}

#[test]
fn a_token_goes_nowhere_in_the_clear() {
    let ran = Rc::new().env("LD_API_URL", "http://app.example.com").line("status").run();
    ran.code(2).err("LD_API_URL is http://app.example.com: plain http is only for this machine");
}

/// The whole of what is printed, so that a change of its form is seen.
#[test]
fn as_the_operator_sees_it() {
    let home = home("REDIS_HOSTS=127.0.0.1:1\nRC_REDIS_DB=one\n");
    let ran = status(home.path()).args(["--timeout", "1s"]).run();
    assert_eq!(
        ran.redacted(),
        "------- stderr\nerror: RC_REDIS_DB in [home]/.env is \"one\", not the number of a database\n[exit code 2]\n"
    );
}

/// Input that nobody reads disturbs nobody, and settings are resolved without waiting for anything.
#[test]
fn nothing_is_waited_for() {
    let ran = Rc::new().env("REDIS_HOSTS", "no.such.host.invalid,a:x").stdin("y\n".repeat(100_000));
    let ran = ran.deadline(Duration::from_secs(30)).line("status").run().code(2).err("the port is not a number");
    assert!(ran.took < Duration::from_secs(20), "{ran}");
}
