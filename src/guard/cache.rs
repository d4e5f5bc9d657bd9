//! What is kept of a stream between two runs of the guard, as it stands on disk. PURE: text from values and back. It must
//! not know where it is kept.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use sha2::Digest as _;

use crate::change::override_::Override;
use crate::flag::key::FlagKey;
use crate::guard::auto_configuration::Learnt;
use crate::guard::stream::event::Piece;
use crate::guard::stream::event::Splitter;
use crate::guard::stream::state::State;
use crate::guard::stream::state::Told;
use crate::guard::stream::state::told;

/// The format that is written and read.
const FORMAT: u32 = 1;

/// Of which environment a stream is, where an automatic configuration told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPlace {
    /// The environment.
    pub environment: Learnt,
    /// The payload filter.
    pub filter: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    format: u32,
    as_of: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<KeptPlace>,
    /// SHA-256 of what follows.
    sum: String,
}

/// LaunchDarkly's last state of an environment, as it was kept.
#[derive(Debug)]
pub struct KeptState {
    /// When it was LaunchDarkly's.
    pub as_of: Timestamp,
    /// Of which environment it is.
    pub place: Option<KeptPlace>,
    /// The state.
    pub state: State,
}

/// The text of a state: a line about it, and the `put` that tells it.
pub fn state_text(as_of: Timestamp, place: Option<&KeptPlace>, put: &[u8]) -> Vec<u8> {
    let header = Header { format: FORMAT, as_of, place: place.cloned(), sum: sum(put) };
    // A struct of texts and numbers can always be written.
    let mut text = serde_json::to_vec(&header).unwrap_or_default();
    text.push(b'\n');
    text.extend_from_slice(put);
    text
}

/// Reads a state; `None` where it is not whole, or of another format.
pub fn read_state(text: Vec<u8>) -> Option<KeptState> {
    let text = Bytes::from(text);
    let end = memchr::memchr(b'\n', &text)?;
    let header: Header = serde_json::from_slice(text.get(..end)?).ok()?;
    let put = text.slice(end + 1..);
    if header.format != FORMAT || header.sum != sum(&put) {
        return None;
    }
    let pieces = Splitter::new(put.len()).push(&put).ok()?;
    let [Piece::Event(event)] = pieces.as_slice() else { return None };
    let Ok(Told::Put(state)) = told(event) else { return None };
    Some(KeptState { as_of: header.as_of, place: header.place, state })
}

fn sum(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    sha2::Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The little that changes while a state does not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// When LaunchDarkly's stream was last seen to be up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Timestamp>,
    /// When the stores' word on the overrides was last known to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stores: Option<Timestamp>,
    /// The overrides then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<FlagKey, Override>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::stream::event::written;
    use crate::guard::stream::item::Kind;

    fn text() -> Vec<u8> {
        let place = KeptPlace {
            environment: Learnt {
                id: "e1".to_owned(),
                project: "shop".to_owned(),
                environment: "production".to_owned(),
            },
            filter: Some("web".to_owned()),
        };
        let put = written("put", &[br#"{"path":"/","data":{"flags":{"a":{"version":7}},"segments":{}}}"#]);
        state_text(Timestamp::UNIX_EPOCH, Some(&place), &put)
    }

    #[test]
    fn a_state_is_read_as_it_was_kept() {
        let kept = read_state(text()).unwrap();
        assert_eq!(kept.as_of, Timestamp::UNIX_EPOCH);
        assert_eq!(kept.place.unwrap().environment.project, "shop");
        assert_eq!(kept.state.item(&(Kind::Flag, "a".into())).version(), 7);
    }

    #[test]
    fn what_is_not_whole_is_not_read() {
        let text = text();
        let first_line = text.iter().position(|byte| *byte == b'\n').unwrap();
        for end in 0..text.len() {
            assert!(read_state(text[..end].to_vec()).is_none(), "cut at {end}");
        }
        for place in first_line + 1..text.len() {
            let mut damaged = text.clone();
            damaged[place] ^= 1;
            assert!(read_state(damaged).is_none(), "byte {place}");
        }
    }
}
