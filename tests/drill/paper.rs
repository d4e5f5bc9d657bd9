//! `docs/drill.md`, done as it says: `rc drill --serve` is started on the page's own seed, and every `curl` of the page is run
//! and prints what the page says.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use crate::support::rc::Rc;

const PAGE: &str = include_str!("../../docs/drill.md");

/// The blocks of the page that begin with this mark.
fn blocks(mark: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), None::<String>);
    for line in PAGE.lines() {
        if let Some(block) = &mut open {
            if line == "```" {
                found.extend(open.take());
            } else {
                block.push_str(line);
                block.push('\n');
            }
        } else if line.strip_prefix("```") == Some(mark) {
            open = Some(String::new());
        }
    }
    found
}

/// The process with its URLs. It is ended with the value.
struct Process {
    child: Child,
    urls: Value,
}

impl Process {
    fn start(folder: &Path) -> Self {
        let seed = folder.join("seed.json");
        std::fs::write(&seed, &blocks("json seed")[0]).unwrap();
        let rc = Rc::new().line("drill --serve --json --until-input-ends --from").args([seed]);
        let mut child = rc.command(folder).stdin(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, urls: serde_json::from_str(&line).unwrap() }
    }

    fn ended(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_examples_print_what_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    let mut ran = 0;
    for block in blocks("console") {
        let lines: Vec<&str> = block.lines().collect();
        for pair in lines.chunks(2) {
            let [command, expected] = pair else { panic!("a command without what it prints: {pair:?}") };
            let command = command.strip_prefix("$ ").unwrap();
            let output = Command::new("sh")
                .args(["-c", command])
                .env("CONTROL", process.urls["control"].as_str().unwrap())
                .env("no_proxy", "127.0.0.1")
                .output()
                .unwrap();
            assert!(output.status.success(), "{command}\n{output:?}");
            let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(printed, serde_json::from_str::<Value>(expected).unwrap(), "{command}");
            ran += 1;
        }
    }
    assert!(ran > 25, "{ran}");
    // It ends with whoever started it.
    drop(process.child.stdin.take());
    assert!(process.ended());
}

#[test]
fn it_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    let told = Command::new("kill").arg(process.child.id().to_string()).status().unwrap();
    assert!(told.success());
    assert!(process.ended());
}
