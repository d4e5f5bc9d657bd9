//! What the stream of a relay's automatic configuration is about: what LaunchDarkly told, and what was kept of it, sealed
//! under the key that the relay presents. No connection and no clock of its own.

use bytes::Bytes;

use crate::guard::auto_configuration::AutoConfiguration;
use crate::guard::auto_configuration::LearntKeys;
use crate::guard::auto_configuration::Taken;
use crate::guard::seal;
use crate::guard::stream::event::EVENT_LENGTH_MAX;
use crate::guard::stream::event::Event;
use crate::guard::stream::event::Piece;
use crate::guard::stream::event::Splitter;
use crate::guard::stream::state::NotUnderstood;
use crate::ui::secret::Secret;

/// What the sealed text is about.
const ABOUT: &[u8] = b"automatic configuration";

/// A relay's automatic configuration.
#[derive(Debug)]
pub struct Configuration {
    /// The key by which relays ask for it.
    secret: Secret,
    known: Option<AutoConfiguration>,
    seen_live: bool,
}

/// What an event comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What all relays get because of it.
    pub send: Vec<Bytes>,
    /// Whether the environments, or their keys, are others now.
    pub changed: bool,
    /// Whether LaunchDarkly wants its stream to be opened anew.
    pub reconnect: bool,
}

impl Configuration {
    /// Nothing is known yet.
    pub fn new(secret: Secret) -> Self {
        Self { secret, known: None, seen_live: false }
    }

    /// Takes what was kept on disk, if the secret opens it and nothing newer is known. Says whether it was taken.
    pub fn remember(&mut self, sealed: &[u8]) -> bool {
        if self.known.is_some() {
            return false;
        }
        let Ok(put) = seal::open(self.secret.expose().as_bytes(), ABOUT, sealed) else { return false };
        let pieces = Splitter::new(EVENT_LENGTH_MAX).push(&put).unwrap_or_default();
        let [Piece::Event(event)] = pieces.as_slice() else { return false };
        let mut kept = AutoConfiguration::default();
        if kept.take(event) != Ok(Taken::Changed) {
            return false;
        }
        self.known = Some(kept);
        true
    }

    /// What is to be kept on disk.
    pub fn sealed(&self) -> Option<Vec<u8>> {
        // Without random numbers nothing is kept; the guard works on.
        seal::seal(self.secret.expose().as_bytes(), ABOUT, &self.known.as_ref()?.to_put()).ok()
    }

    /// Takes an event of LaunchDarkly's.
    ///
    /// # Errors
    /// See [`AutoConfiguration::take`].
    pub fn event(&mut self, event: &Event) -> Result<Outcome, NotUnderstood> {
        let is_put = event.name == "put";
        // Before the first `put` a change changes nothing; and what is not known must not pass for a configuration without
        // environments: a relay would drop all that it has.
        let mut unknown = AutoConfiguration::default();
        let taken = self.known.as_mut().unwrap_or(&mut unknown).take(event)?;
        if is_put && taken == Taken::Changed {
            self.known.get_or_insert(unknown);
            self.seen_live = true;
        }
        // The word to reconnect is for whoever has the stream, and that is the guard: its relays get the new `put`.
        let send = if taken == Taken::Reconnect { Vec::new() } else { vec![event.bytes.clone()] };
        let changed = taken == Taken::Changed && self.known.is_some();
        Ok(Outcome { send, changed, reconnect: taken == Taken::Reconnect })
    }

    /// The first event of a new relay.
    pub fn first(&self) -> Option<Bytes> {
        self.known.as_ref().map(AutoConfiguration::to_put)
    }

    /// The environments, with their keys.
    pub fn environments(&self) -> Vec<LearntKeys> {
        self.known.as_ref().map(AutoConfiguration::environments).unwrap_or_default()
    }

    /// Whether it came over LaunchDarkly's stream since this guard began.
    pub fn seen_live(&self) -> bool {
        self.seen_live
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::stream::event::written;

    fn event(name: &str, data: &str) -> Event {
        match Splitter::new(1 << 20).push(&written(name, &[data.as_bytes()])).unwrap().pop() {
            Some(Piece::Event(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    const PUT: &str = r#"{"path":"/","data":{"environments":{"e1":{"envID":"e1","projKey":"shop","envKey":"production","sdkKey":{"value":"sdk-1"},"version":1}},"filters":{}}}"#;

    #[test]
    fn only_the_same_key_gets_it_back() {
        let mut live = Configuration::new(Secret::new("rel-1"));
        assert_eq!(live.first(), None);
        let put = event("put", PUT);
        let outcome = live.event(&put).unwrap();
        assert_eq!(outcome, Outcome { send: vec![put.bytes.clone()], changed: true, reconnect: false });
        let sealed = live.sealed().unwrap();
        assert!(!sealed.windows(4).any(|part| part == b"sdk-"));
        let mut other = Configuration::new(Secret::new("rel-2"));
        assert!(!other.remember(&sealed));
        let mut again = Configuration::new(Secret::new("rel-1"));
        assert!(again.remember(&sealed) && !again.seen_live());
        assert_eq!(again.first(), Some(put.bytes));
        assert_eq!(again.environments()[0].key, "sdk-1");
        assert!(!live.remember(&sealed), "what came live is newer");
    }

    #[test]
    fn what_begins_with_nonsense_is_nothing_and_not_an_empty_configuration() {
        for nonsense in [event("put", "{"), event("put", r#"{"path":"/","data":{}}"#), event("put", "null")] {
            let mut live = Configuration::new(Secret::new("rel-1"));
            assert!(live.event(&nonsense).is_err(), "{nonsense:?}");
            assert_eq!((live.first(), live.sealed(), live.seen_live()), (None, None, false), "{nonsense:?}");
        }
        // LaunchDarkly wants the stream to be opened anew before it told anything.
        let mut live = Configuration::new(Secret::new("rel-1"));
        let outcome = live.event(&event("reconnect", "{}")).unwrap();
        assert_eq!(outcome, Outcome { send: Vec::new(), changed: false, reconnect: true });
        assert_eq!((live.first(), live.sealed()), (None, None), "a relay would drop every environment");
    }

    #[test]
    fn the_word_to_reconnect_is_for_the_guard() {
        let mut live = Configuration::new(Secret::new("rel-1"));
        live.event(&event("put", PUT)).unwrap();
        let outcome = live.event(&event("reconnect", "{}")).unwrap();
        assert_eq!(outcome, Outcome { send: Vec::new(), changed: false, reconnect: true });
        let unknown = event("something", "{}");
        assert_eq!(live.event(&unknown).unwrap().send, [unknown.bytes]);
        assert!(live.event(&event("put", "{}")).is_err());
        assert_eq!(live.environments().len(), 1);
    }
}
