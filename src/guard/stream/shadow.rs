//! What a guard that only looks on would have sent. PURE: two lists of events, and the difference in words.

use bytes::Bytes;

use crate::guard::stream::event::EVENT_LENGTH_MAX;
use crate::guard::stream::event::Piece;
use crate::guard::stream::event::Splitter;
use crate::guard::stream::state::Told;
use crate::guard::stream::state::told;

/// The most events that are told one by one.
const TOLD_MAX: usize = 20;

/// What would have been sent in place of what was, in words; `None` where that is the same.
pub fn difference(did: &[Bytes], would: &[Bytes]) -> Option<String> {
    if did == would {
        return None;
    }
    let more: Vec<&Bytes> = would.iter().filter(|event| !did.contains(event)).collect();
    let less: Vec<&Bytes> = did.iter().filter(|event| !would.contains(event)).collect();
    let mut parts = Vec::new();
    if !more.is_empty() {
        parts.push(format!("would have sent {}", list(&more)));
    }
    if !less.is_empty() {
        parts.push(format!("would not have passed on {}", list(&less)));
    }
    (!parts.is_empty()).then(|| parts.join(", and "))
}

fn list(events: &[&Bytes]) -> String {
    let mut told: Vec<String> = events.iter().take(TOLD_MAX).map(|bytes| described(bytes)).collect();
    if let Some(more) = events.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        told.push(format!("{more} more"));
    }
    told.join(", ")
}

fn described(bytes: &Bytes) -> String {
    let pieces = Splitter::new(EVENT_LENGTH_MAX).push(bytes).unwrap_or_default();
    let [Piece::Event(event)] = pieces.as_slice() else { return "something".to_owned() };
    match told(event) {
        Ok(Told::Put(state)) => format!("a put of {} flags", state.flag_count()),
        Ok(Told::Item(name, item)) => {
            let what = if item.text().is_some() { "a patch" } else { "a delete" };
            format!("{what} of {}/{} with version {}", name.0.section(), name.1, item.version())
        }
        Ok(Told::Other) | Err(_) => format!("a {} event", event.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::stream::event::written;

    #[test]
    fn differences_are_told_in_words() {
        let patch = written("patch", &[br#"{"path":"/flags/a","data":{"version":7}}"#]);
        let delete = written("delete", &[br#"{"path":"/flags/a","version":8}"#]);
        let put = written("put", &[br#"{"path":"/","data":{"flags":{"a":{"version":7}}}}"#]);
        let one = std::slice::from_ref(&patch);
        assert_eq!(difference(one, one), None);
        assert_eq!(difference(&[], one).unwrap(), "would have sent a patch of flags/a with version 7");
        assert_eq!(
            difference(&[put], &[patch, delete]).unwrap(),
            "would have sent a patch of flags/a with version 7, a delete of flags/a with version 8, \
             and would not have passed on a put of 1 flags"
        );
        let other = written("reconnect", &[b"x"]);
        assert_eq!(difference(&[], &vec![other; 22]).unwrap().matches("reconnect").count(), TOLD_MAX);
    }
}
