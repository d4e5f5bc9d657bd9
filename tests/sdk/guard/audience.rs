//! Everybody who is connected: LaunchDarkly's SDKs and connections that miss nothing. What one has, all must have; and none
//! of them may have had anything else in between, or have lost its stream.

use serde_json::Value;

use super::eye::Eye;
use crate::watcher::Watcher;

/// Those who are connected.
pub struct Audience {
    /// SDKs that keep flags in memory.
    pub sdks: Vec<Watcher>,
    /// SDKs that fill the store and serve out of it; none where a relay does.
    pub paths: Vec<Watcher>,
    pub eyes: Vec<Eye>,
}

impl Audience {
    /// All watch these flags from now on.
    #[track_caller]
    pub fn watch(&mut self, flags: &[&str]) {
        for watcher in self.sdks.iter_mut().chain(&mut self.paths) {
            watcher.logs();
            flags.iter().for_each(|flag| watcher.watch(flag));
        }
    }

    /// Waits until the flag gives all of them this value.
    #[track_caller]
    pub fn have(&mut self, flag: &str, value: impl Into<Value>) {
        let value = value.into();
        self.eyes.iter().for_each(|eye| eye.wait(flag, &value));
        for watcher in self.sdks.iter_mut().chain(&mut self.paths) {
            watcher.wait(flag, value.clone());
        }
    }

    /// Asserts that a watched flag gave all of them these values, one after the other, and no others.
    #[track_caller]
    pub fn have_seen<V: Into<Value> + Clone>(&mut self, flag: &str, values: &[V]) {
        let values: Vec<Value> = values.iter().cloned().map(Into::into).collect();
        self.eyes.iter().for_each(|eye| eye.has_seen(flag, &values));
        for watcher in self.sdks.iter_mut().chain(&mut self.paths) {
            watcher.has_seen(flag, &values);
        }
    }

    /// Asserts that all of them were connected all the time.
    #[track_caller]
    pub fn have_stayed(&mut self) {
        self.eyes.iter().for_each(Eye::is_open);
        for watcher in self.sdks.iter_mut().chain(&mut self.paths) {
            assert_eq!(watcher.lost_streams(), [""; 0], "{} lost its stream", watcher.sdk);
        }
    }
}
