//! The simulated LaunchDarkly as a process of its own, for tests in other languages: `simulated-launchdarkly SEED.json`.
//!
//! Prints one line of JSON once it can be used: `{"api": URL, "stream": URL, "control": URL}`. Ends when its standard
//! input is closed, so that it never outlives the test that started it, or on SIGTERM. `docs/drill.md` says what a seed
//! is, and what can be done under the control URL.

#![allow(clippy::print_stdout, reason = "a program for tests, which read what it prints")]

use std::error::Error;
use std::io::Read;

use relay_commander::drill::launchdarkly::Options;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::drill::launchdarkly::SimulatedLaunchDarkly;
use serde_json::json;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else {
        return Err("usage: simulated-launchdarkly SEED.json".into());
    };
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let mut terminated = signal(SignalKind::terminate())?;
    let running = SimulatedLaunchDarkly::start(Options { seed: Seed::from_json(&text)?, listener: None }).await?;
    let urls = json!({ "api": running.base_url, "stream": running.stream_url, "control": running.control_url });
    println!("{urls}");
    tokio::select! {
        _ = closed() => {}
        _ = terminated.recv() => {}
    }
    running.stop().await;
    Ok(())
}

/// Is there once the standard input is closed. The thread that waits for it ends with the process.
fn closed() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        // Whatever comes is of no interest; an error is an end too.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        // An error says that nobody waits any more.
        let _ = sender.send(());
    });
    receiver
}
