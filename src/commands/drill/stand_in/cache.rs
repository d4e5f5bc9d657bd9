//! A relay's cache between its store and those who ask (launchdarkly.md 9.2): one entry for all things of a kind and one
//! for each thing that was asked for, each kept for the cache time after it was loaded, however often it is used. PURE:
//! the time comes in.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::commands::drill::raw::Kind;

/// The exact text of each record.
pub type Texts = Arc<BTreeMap<String, String>>;

/// The cache.
#[derive(Debug)]
pub struct Cache {
    time: Duration,
    all: HashMap<Kind, (Instant, Texts)>,
    single: HashMap<(Kind, String), (Instant, Option<String>)>,
}

impl Cache {
    /// An empty one, with this cache time.
    pub fn new(time: Duration) -> Self {
        Self { time, all: HashMap::new(), single: HashMap::new() }
    }

    fn fresh(&self, loaded: Instant, now: Instant) -> bool {
        now.saturating_duration_since(loaded) < self.time
    }

    /// All things of a kind, if they were loaded lately.
    pub fn all(&self, kind: Kind, now: Instant) -> Option<Texts> {
        let (loaded, texts) = self.all.get(&kind)?;
        self.fresh(*loaded, now).then(|| Arc::clone(texts))
    }

    /// One thing, if it was loaded lately; `Some(None)`: then it was not there.
    pub fn one(&self, kind: Kind, key: &str, now: Instant) -> Option<Option<String>> {
        let (loaded, text) = self.single.get(&(kind, key.to_owned()))?;
        self.fresh(*loaded, now).then(|| text.clone())
    }

    /// All things of a kind were read.
    pub fn keep_all(&mut self, kind: Kind, texts: &Texts, now: Instant) {
        self.all.insert(kind, (now, Arc::clone(texts)));
    }

    /// One thing was read.
    pub fn keep_one(&mut self, kind: Kind, key: &str, text: Option<String>, now: Instant) {
        self.single.insert((kind, key.to_owned()), (now, text));
    }

    /// LaunchDarkly sent everything of a kind: that is what is known now.
    pub fn replace(&mut self, kind: Kind, texts: &Texts, now: Instant) {
        self.single.retain(|(kept, _), _| *kept != kind);
        for (key, text) in texts.iter() {
            self.keep_one(kind, key, Some(text.clone()), now);
        }
        self.keep_all(kind, texts, now);
    }

    /// LaunchDarkly sent one thing. `stored`: its text, where the store took it.
    pub fn sent(&mut self, kind: Kind, key: &str, stored: Option<String>, now: Instant) {
        self.all.remove(&kind);
        match stored {
            Some(text) => self.keep_one(kind, key, Some(text), now),
            None => drop(self.single.remove(&(kind, key.to_owned()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(30);

    fn texts(pairs: &[(&str, &str)]) -> Texts {
        Arc::new(pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn kept_from_when_it_was_loaded_and_not_longer() {
        let start = Instant::now();
        let mut cache = Cache::new(TIME);
        cache.keep_all(Kind::Flags, &texts(&[("a", "1")]), start);
        cache.keep_one(Kind::Flags, "b", None, start);
        let almost = start + TIME - Duration::from_millis(1);
        assert_eq!(cache.all(Kind::Flags, almost), Some(texts(&[("a", "1")])));
        assert_eq!(cache.one(Kind::Flags, "b", almost), Some(None));
        assert_eq!(cache.all(Kind::Segments, almost), None);
        assert_eq!(cache.all(Kind::Flags, start + TIME), None, "using it does not keep it");
        assert_eq!(cache.one(Kind::Flags, "b", start + TIME), None);
    }

    #[test]
    fn what_launchdarkly_sends_takes_its_place() {
        let start = Instant::now();
        let mut cache = Cache::new(TIME);
        cache.keep_one(Kind::Flags, "gone", Some("0".to_owned()), start);
        cache.replace(Kind::Flags, &texts(&[("a", "1")]), start);
        assert_eq!(cache.one(Kind::Flags, "gone", start), None);
        assert_eq!(cache.one(Kind::Flags, "a", start), Some(Some("1".to_owned())));
        cache.sent(Kind::Flags, "a", Some("2".to_owned()), start);
        assert_eq!(cache.one(Kind::Flags, "a", start), Some(Some("2".to_owned())));
        assert_eq!(cache.all(Kind::Flags, start), None, "it is read anew");
        cache.sent(Kind::Flags, "a", None, start);
        assert_eq!(cache.one(Kind::Flags, "a", start), None, "the store knew better");
    }
}
