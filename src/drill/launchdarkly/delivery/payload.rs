//! PURE. Everything that SDKs of an environment get, as text: the body of a poll, and the `put` of a stream. Must not know
//! where it was read.

use std::sync::Arc;

use axum::body::Bytes;
use serde_json::Value;
use sha2::Digest;
use sha2::Sha256;

use super::event::is_delivered;
use crate::drill::launchdarkly::account::filter::PayloadFilter;
use crate::drill::launchdarkly::account::flag::text;
use crate::drill::launchdarkly::account::record::record_of;

/// What stands before the body in a `put`, and after it.
const PUT_BEFORE: &str = "event: put\ndata: {\"path\":\"/\",\"data\":";
const PUT_AFTER: &str = "}\n\n";

/// What an environment holds at some moment.
#[derive(Debug)]
pub struct Contents {
    pub environment: String,
    pub filter: Option<PayloadFilter>,
    pub flags: Vec<Arc<Value>>,
    pub segments: Vec<Arc<Value>>,
}

impl Contents {
    /// The records of the flags, by key.
    pub fn flags(&self) -> impl Iterator<Item = (&str, Value)> {
        self.flags.iter().filter_map(|flag| Some((text(flag, "key"), self.record(flag)?)))
    }

    fn record(&self, flag: &Value) -> Option<Value> {
        is_delivered(flag, self.filter.as_ref()).then(|| record_of(flag, &self.environment)).flatten()
    }

    /// The flag's record.
    pub fn flag(&self, key: &str) -> Option<Value> {
        self.record(self.flags.iter().find(|flag| text(flag, "key") == key)?)
    }

    /// The segment's record.
    pub fn segment(&self, key: &str) -> Option<&Value> {
        self.segments.iter().find(|segment| text(segment, "key") == key).map(Arc::as_ref)
    }

    /// All of it.
    pub fn payload(&self) -> Payload {
        let mut text = String::from(PUT_BEFORE);
        text.push_str("{\"flags\":");
        push_object(&mut text, self.flags());
        text.push_str(",\"segments\":");
        push_object(&mut text, self.segments.iter().map(|segment| (key_of(segment), segment)));
        text.push('}');
        let body_end = text.len();
        text.push_str(PUT_AFTER);
        let put = Bytes::from(text);
        let body = put.slice(PUT_BEFORE.len()..body_end);
        Payload { tag: entity_tag(&body), put, body }
    }
}

fn key_of(segment: &Value) -> &str {
    text(segment, "key")
}

fn push_object<V: std::fmt::Display>(text: &mut String, members: impl Iterator<Item = (impl AsRef<str>, V)>) {
    text.push('{');
    for (index, (key, value)) in members.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        text.push_str(&format!("{comma}{}:{value}", Value::from(key.as_ref())));
    }
    text.push('}');
}

/// What is sent. All who get it share it.
#[derive(Debug, Clone)]
pub struct Payload {
    /// As the event of a stream.
    pub put: Bytes,
    /// As the body of a poll: `{"flags": {…}, "segments": {…}}`.
    pub body: Bytes,
    /// Stands for the body in `ETag`.
    pub tag: String,
}

/// What stands for a body in `ETag`: another body has another one.
pub fn entity_tag(body: &[u8]) -> String {
    let sum: [u8; 32] = Sha256::digest(body).into();
    let digits: String = sum[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::drill::launchdarkly::account::flag::complete_configuration;
    use crate::drill::launchdarkly::account::flag::new_flag;

    fn flag(key: &str) -> Arc<Value> {
        let mut flag = new_flag("shop", key, &[json!("a\nb"), json!(2)], 0);
        complete_configuration(&mut flag, ["shop", "production", key], 0);
        flag.into()
    }

    #[test]
    fn body_and_put() {
        let mut archived = flag("old").as_ref().clone();
        archived["archived"] = json!(true);
        let contents = Contents {
            environment: "production".to_owned(),
            filter: None,
            flags: vec![flag("checkout"), archived.into()],
            segments: vec![json!({ "key": "testers", "version": 3 }).into()],
        };
        let payload = contents.payload();
        let body: Value = serde_json::from_slice(&payload.body).unwrap();
        assert_eq!(body["flags"], json!({ "checkout": record_of(&flag("checkout"), "production") }));
        assert_eq!(body["segments"], json!({ "testers": { "key": "testers", "version": 3 } }));
        let put = String::from_utf8(payload.put.to_vec()).unwrap();
        let data = put.strip_prefix("event: put\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains('\n'), "an event's data is one line: {data}");
        assert_eq!(serde_json::from_str::<Value>(data).unwrap(), json!({ "path": "/", "data": body }));
        assert_eq!(contents.flag("old"), None);
        let filter = PayloadFilter { flags: vec!["nothing".to_owned()], tags: Vec::new() };
        let part = Contents { filter: Some(filter), ..contents }.payload();
        assert_ne!(part.tag, payload.tag);
        assert!(String::from_utf8(part.body.to_vec()).unwrap().starts_with("{\"flags\":{},"));
    }
}
