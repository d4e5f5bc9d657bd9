//! Finds a few flags in the data of a `put` event while it streams by. Such an event holds every flag of an environment
//! and may have 20 MB; with a relay per store, keeping them all to read one record each would cost a gigabyte. So the
//! JSON is walked byte by byte and only the wanted records are kept. Pure.
//!
//! The data is `{"path":"/","data":{"flags":{KEY:RECORD,…},"segments":{…}}}` (launchdarkly.md 7.1).

use std::collections::BTreeMap;

use crate::flag::key::FlagKey;
use crate::flag::record::RECORD_LENGTH_MAX;
use crate::relay::served::Served;

/// The way to the object that holds the flags.
const WAY: [&[u8]; 2] = [b"data", b"flags"];

/// Longer keys than any flag's are not kept.
const KEY_KEPT_MAX: usize = 512;

/// Nesting beyond this is nobody's flag.
const DEPTH_MAX: usize = 256;

/// What is being read just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Between tokens, or in a number or a word.
    Open,
    Text,
    /// Behind a backslash in a text.
    Escape,
}

/// Walks the data of one `put`.
#[derive(Debug)]
pub(super) struct PutScanner {
    wanted: Vec<FlagKey>,
    within: Within,
    /// Open objects and arrays.
    depth: usize,
    /// How many steps of [`WAY`] are open; the objects of the way are at depths 1 to `way + 1`.
    way: usize,
    /// Whether the next text, at the innermost object of the way, is a key.
    key_comes: bool,
    /// The key being read or last read there, raw.
    key: Vec<u8>,
    /// Whether the value that comes is the next step of the way.
    step_comes: bool,
    /// The record being kept.
    keeping: Option<(FlagKey, Vec<u8>)>,
    found: BTreeMap<FlagKey, Served>,
    ended: bool,
}

impl PutScanner {
    pub(super) fn new(wanted: &[FlagKey]) -> Self {
        Self {
            wanted: wanted.to_vec(),
            within: Within::Open,
            depth: 0,
            way: 0,
            key_comes: false,
            key: Vec::new(),
            step_comes: false,
            keeping: None,
            found: BTreeMap::new(),
            ended: false,
        }
    }

    /// Takes the next piece of the data.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        bytes.iter().try_for_each(|byte| self.take(*byte))
    }

    /// What was found, once all data is in.
    pub(super) fn finish(self) -> Result<BTreeMap<FlagKey, Served>, String> {
        if !self.ended {
            return Err("its JSON ends in the middle".to_owned());
        }
        Ok(self.found)
    }

    fn on_way(&self) -> bool {
        self.depth == self.way + 1
    }

    fn take(&mut self, byte: u8) -> Result<(), String> {
        match self.within {
            Within::Text => self.take_in_text(byte),
            Within::Escape => {
                self.within = Within::Text;
                self.keep(byte)?;
                self.note_key(byte);
                Ok(())
            }
            Within::Open => self.take_open(byte),
        }
    }

    fn take_in_text(&mut self, byte: u8) -> Result<(), String> {
        self.keep(byte)?;
        match byte {
            b'"' => {
                self.within = Within::Open;
                if self.on_way() && self.key_comes {
                    self.key_comes = false;
                }
                return Ok(());
            }
            b'\\' => self.within = Within::Escape,
            _ => {}
        }
        self.note_key(byte);
        Ok(())
    }

    fn take_open(&mut self, byte: u8) -> Result<(), String> {
        if byte.is_ascii_whitespace() {
            return self.keep(byte);
        }
        if self.ended {
            return Err("something follows its JSON".to_owned());
        }
        if self.depth == 0 && byte != b'{' {
            return Err("its data is no JSON object".to_owned());
        }
        match byte {
            b'"' => {
                self.within = Within::Text;
                self.step_comes = false;
                if self.on_way() && self.key_comes {
                    self.key.clear();
                }
                self.keep(byte)
            }
            b'{' | b'[' => self.open(byte),
            b'}' | b']' => self.close(byte),
            b':' if self.on_way() => {
                self.key_ended();
                Ok(())
            }
            b',' if self.on_way() => {
                self.record_ended()?;
                self.key_comes = true;
                self.step_comes = false;
                Ok(())
            }
            _ => {
                self.step_comes = false;
                self.keep(byte)
            }
        }
    }

    fn open(&mut self, byte: u8) -> Result<(), String> {
        self.keep(byte)?;
        if self.depth >= DEPTH_MAX {
            return Err("its JSON is nested too deeply".to_owned());
        }
        self.depth += 1;
        if byte == b'{' && (self.step_comes || self.depth == 1) {
            if self.step_comes {
                self.way += 1;
            }
            self.key_comes = true;
        }
        self.step_comes = false;
        Ok(())
    }

    fn close(&mut self, byte: u8) -> Result<(), String> {
        if self.on_way() {
            self.record_ended()?;
            self.way = self.way.saturating_sub(1);
            // Behind a value nothing but a comma can bring the next key.
            self.key_comes = false;
        } else {
            self.keep(byte)?;
        }
        self.depth = self.depth.checked_sub(1).ok_or("its JSON closes more than it opens")?;
        self.ended = self.depth == 0;
        Ok(())
    }

    /// A colon in the innermost object of the way: its value comes.
    fn key_ended(&mut self) {
        if WAY.get(self.way).is_some_and(|step| *step == self.key.as_slice()) {
            self.step_comes = true;
        } else if self.way == WAY.len() {
            let key = self.wanted.iter().find(|key| key.as_str().as_bytes() == self.key.as_slice());
            self.keeping = key.map(|key| (key.clone(), Vec::new()));
        }
    }

    fn record_ended(&mut self) -> Result<(), String> {
        let Some((key, bytes)) = self.keeping.take() else { return Ok(()) };
        let served =
            Served::parse(&bytes).map_err(|problem| format!("its record of {key} is not readable: {problem}"))?;
        self.found.insert(key, served);
        Ok(())
    }

    fn keep(&mut self, byte: u8) -> Result<(), String> {
        if let Some((_, bytes)) = &mut self.keeping {
            if bytes.len() >= RECORD_LENGTH_MAX {
                return Err("one of its records is too long".to_owned());
            }
            bytes.push(byte);
        }
        Ok(())
    }

    fn note_key(&mut self, byte: u8) {
        if self.key_comes && self.on_way() && self.key.len() < KEY_KEPT_MAX {
            self.key.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    fn keys(names: &[&str]) -> Vec<FlagKey> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn scan(text: &str, wanted: &[&str], piece: usize) -> Result<BTreeMap<FlagKey, Served>, String> {
        let mut scanner = PutScanner::new(&keys(wanted));
        for bytes in text.as_bytes().chunks(piece.max(1)) {
            scanner.push(bytes)?;
        }
        scanner.finish()
    }

    #[test]
    fn a_record_is_found_as_it_stands() {
        let text = r#"{"path":"/","data":{"segments":{"a":{"version":9}},"flags":{"x":{"data":{"flags":{"a":1}}},
            "a": { "key":"a","v\"}":"}{,:\\" , "version":62,"variations":[{"flags":[1,{}]}] } ,"b":{}}},"more":1}"#;
        for piece in 1..40 {
            let found = scan(text, &["a", "nowhere"], piece).unwrap();
            assert_eq!(found.len(), 1);
            let served = &found[&"a".parse().unwrap()];
            assert_eq!(served.version, 62);
            assert_eq!(
                served.text.trim(),
                r#"{ "key":"a","v\"}":"}{,:\\" , "version":62,"variations":[{"flags":[1,{}]}] }"#
            );
        }
    }

    #[test]
    fn what_is_no_put_is_said() {
        for text in ["", "[]", "1", "{", r#"{"data":{"flags":{"a":{"#, "{}}", "{}{}", r#"{"data":{"flags":{"a":"x"}}}"#]
        {
            assert!(scan(text, &["a"], 3).is_err(), "{text}");
        }
        assert_eq!(scan("{}", &["a"], 1).unwrap(), BTreeMap::new());
        assert_eq!(scan(r#"{"data":"flags","flags":{"a":{"version":1}}}"#, &["a"], 1).unwrap(), BTreeMap::new());
        assert_eq!(scan(r#"{"data":[{"flags":{"a":{"version":1}}}]}"#, &["a"], 1).unwrap(), BTreeMap::new());
        assert!(scan(&"{\"a\":".repeat(1000), &["a"], 7).unwrap_err().contains("deeply"));
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-d\"\\\\{}:,\u{e9} ]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("(data|flags|a|b|\\PC{0,3})", inner), 0..5)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The whole document read by serde is the model.
        #[test]
        fn the_same_is_found_as_by_reading_all(
            flags in prop::collection::btree_map("[a-e]", prop::collection::btree_map("[a-z]{1,3}", anything(), 0..4), 0..5),
            rest in anything(), before: bool, pretty: bool, piece in 1_usize..60,
        ) {
            let mut data = json!({});
            if before { data["other"] = rest.clone(); }
            data["flags"] = json!(flags);
            data["segments"] = rest.clone();
            let document = json!({"path": "/", "rest": rest, "data": data});
            let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
            let found = scan(&text, &["a", "c"], piece).unwrap();
            let expected: BTreeMap<String, Value> =
                flags.iter().filter(|(key, _)| ["a", "c"].contains(&key.as_str())).map(|(key, value)| (key.clone(), json!(value))).collect();
            let found: BTreeMap<String, Value> = found.into_iter()
                .map(|(key, served)| (key.to_string(), serde_json::from_str(&served.text).unwrap())).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_bytes_make_it_fall(bytes in prop::collection::vec(prop_oneof![Just(b'{'), Just(b'}'), Just(b'"'), Just(b':'), Just(b','), any::<u8>()], 0..200)) {
            let mut scanner = PutScanner::new(&keys(&["a"]));
            if scanner.push(&bytes).is_ok() { let _ = scanner.finish(); }
        }
    }
}
