//! What plays a relay's part: it follows LaunchDarkly's stream and writes into its store what comes. Every connection
//! begins with a `put`; what is lost on the way is made good by the next one. A relay whose store was away begins its
//! stream anew, as LaunchDarkly's Go SDK does. It must not know what the sequence is about.

use std::collections::VecDeque;

use serde_json::Map;
use serde_json::Value;

use super::super::steps::Pace;
use super::store::Store;
use crate::commands::drill::raw::Trouble;
use crate::drill::launchdarkly::SdkFlag;

/// What the stream sent.
#[derive(Debug, Clone)]
enum Sent {
    Put(Map<String, Value>),
    Flag(String, SdkFlag),
}

/// A relay.
#[derive(Debug)]
pub struct Relay {
    /// The store behind it, by number.
    pub store: usize,
    /// How fast it is.
    pub pace: Pace,
    /// Whether it has lost the stream by itself, while others have it.
    pub cut: bool,
    connected: bool,
    /// What it has heard and not written.
    heard: VecDeque<Sent>,
    /// It could not write, and begins anew when it can.
    failed: bool,
}

impl Relay {
    /// A relay that is connected, and has written everything.
    pub fn new(store: usize) -> Self {
        let heard = VecDeque::new();
        Self { store, pace: Pace::Slow, cut: false, connected: true, heard, failed: false }
    }

    /// The stream is there, or is not. `flags`: what LaunchDarkly sends first.
    pub fn connect(&mut self, stream: bool, flags: impl FnOnce() -> Map<String, Value>) {
        let connected = stream && !self.cut;
        if connected && !self.connected {
            self.heard.push_back(Sent::Put(flags()));
            self.failed = false;
        }
        self.connected = connected;
    }

    /// It starts anew: what it had not written is gone.
    pub fn restart(&mut self, flags: impl FnOnce() -> Map<String, Value>) {
        self.heard.clear();
        if self.connected {
            self.heard.push_back(Sent::Put(flags()));
            self.failed = false;
        }
    }

    /// The stream sends a flag.
    pub fn hears(&mut self, flag: &str, sent: &SdkFlag) {
        if self.connected {
            self.heard.push_back(Sent::Flag(flag.to_owned(), sent.clone()));
        }
    }

    /// Whether it would write if it were let to.
    pub fn has_something(&self) -> bool {
        !self.heard.is_empty() || (self.failed && self.connected)
    }

    /// Writes what it has heard. Returns what it did, in words; nothing where it changed nothing.
    ///
    /// # Errors
    /// Where the store fails although it is there.
    pub async fn write(
        &mut self,
        store: &mut Store,
        is_down: bool,
        flags: impl FnOnce() -> Map<String, Value>,
    ) -> Result<Vec<String>, Trouble> {
        if is_down {
            self.failed |= !self.heard.is_empty();
            self.heard.clear();
            return Ok(Vec::new());
        }
        if self.failed && self.connected {
            self.failed = false;
            self.heard.clear();
            self.heard.push_back(Sent::Put(flags()));
        }
        let mut did = Vec::new();
        while let Some(sent) = self.heard.pop_front() {
            match sent {
                Sent::Put(flags) => {
                    store.put(&flags).await?;
                    did.push("put: everything that LaunchDarkly has".to_owned());
                }
                Sent::Flag(flag, sent) => {
                    let version = match &sent {
                        SdkFlag::Record(record) => record.get("version").and_then(Value::as_u64).unwrap_or(0),
                        SdkFlag::Gone { version } => *version,
                    };
                    let gone = if matches!(sent, SdkFlag::Gone { .. }) { ", deleted" } else { "" };
                    let written = store.upsert(&flag, &sent).await?;
                    let fate = if written { "" } else { ": not higher than what stands there, refused" };
                    did.push(format!("patch: {flag} v{version}{gone}{fate}"));
                }
            }
        }
        Ok(did)
    }
}
