//! Would every reader accept this record? One that LaunchDarkly's Go reader does not accept takes the whole
//! environment down, so nothing that this module refuses is ever written. What the flag means is not its business.

use crate::flag::json::Json;
use crate::flag::model;
use crate::flag::model::FLAG;
use crate::flag::model::Field;
use crate::flag::model::SEGMENT;
use crate::flag::model::Shape;
use crate::flag::record::Record;

/// The most characters of a text from a record that a message repeats.
const SHOWN_MAX: usize = 40;

/// What a reader would stumble over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {problem}", if path.is_empty() { "the record".to_owned() } else { format!("\"{path}\"") })]
pub struct Unreadable {
    /// Where it stands, such as `on` or `rules[0].clauses[1].op`.
    pub path: String,
    /// What is wrong, in words: `is the text "off", not true or false`.
    pub problem: String,
}

/// The verdict of the reader that LaunchDarkly's relay uses (`go-server-sdk-evaluation`, `ldmodel/model_unmarshal.go`).
///
/// That reader asks for types only: it misses nothing that is absent, passes over what it does not know, takes any
/// number for a whole one (and cuts it off), and reads null only in some places. Where a [`Record`] is stricter (a key
/// twice, text after the end, a number beyond a double, half a surrogate pair), it has refused already.
///
/// # Errors
/// The first thing that this reader would not read. One such record makes a relay answer 500 for the whole environment.
pub fn readable(record: &Record) -> Result<(), Unreadable> {
    match record.verdict() {
        Some(verdict) => verdict,
        None => readable_tree(&record.tree()?),
    }
}

/// The same for the record of a segment, which the relay reads beside the flags.
///
/// # Errors
/// The first thing that the relay's reader would not read.
pub fn readable_segment(record: &Record) -> Result<(), Unreadable> {
    check(&SEGMENT, &record.tree()?)
}

/// The record with some top-level values replaced or added, as [`Record::with`] does it, if every reader would accept the
/// result. All else in it was accepted before, so only what is new is looked into.
///
/// # Errors
/// The first thing that a reader would not read, of the record or of what is new in it.
pub(crate) fn edited(record: &Record, values: &[(&str, String)]) -> Result<Record, Unreadable> {
    readable(record)?;
    for (name, raw) in values {
        let not_json = |error: serde_json::Error| Unreadable {
            path: (*name).to_owned(),
            problem: format!("would not be JSON: {error}"),
        };
        let value: Json<'_> = serde_json::from_str(raw).map_err(not_json)?;
        if let Some(key) = value.duplicate() {
            return Err(Unreadable { path: (*name).to_owned(), problem: format!("would have {key:?} twice") });
        }
        if let Shape::Object { fields, .. } = &FLAG
            && let Some(shape) = shape_of(fields, name)
        {
            check(shape, &value).map_err(|inner| within(name, inner))?;
        }
    }
    Ok(record.with(values).judged(Ok(())))
}

/// The same for a record that was looked into already.
pub(crate) fn readable_tree(tree: &Json<'_>) -> Result<(), Unreadable> {
    check(&FLAG, tree)
}

fn check(shape: &Shape, value: &Json<'_>) -> Result<(), Unreadable> {
    if !model::fits(shape, Some(value)) {
        let problem = format!("is {}, not {}", shown(value), expected(shape));
        return Err(Unreadable { path: String::new(), problem });
    }
    match (shape, value) {
        (Shape::List { of, .. }, Json::List(items)) => items
            .iter()
            .enumerate()
            .try_for_each(|(place, item)| check(of, item).map_err(|inner| within(&format!("[{place}]"), inner))),
        (
            Shape::Object { fields, .. } | Shape::ObjectIfThere(fields) | Shape::Rollout(fields),
            Json::Object(members),
        ) => members.iter().try_for_each(|(name, value)| match shape_of(fields, name) {
            Some(shape) => check(shape, value).map_err(|inner| within(name, inner)),
            None => Ok(()),
        }),
        _ => Ok(()),
    }
}

fn shape_of(fields: &'static [Field], name: &str) -> Option<&'static Shape> {
    fields.iter().find(|(known, _)| *known == name).map(|(_, shape)| shape)
}

fn within(outer: &str, inner: Unreadable) -> Unreadable {
    let dot = if inner.path.is_empty() || inner.path.starts_with('[') { "" } else { "." };
    Unreadable { path: format!("{outer}{dot}{}", inner.path), problem: inner.problem }
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Text | Shape::TargetKind => "a text",
        Shape::TextOrNull => "a text or null",
        Shape::Bool => "true or false",
        Shape::Whole | Shape::WholeIfThere => "a number",
        Shape::WholeOrNull | Shape::Moment => "a number or null",
        Shape::Any => "a value",
        Shape::List { nullable: false, .. } => "a list",
        Shape::List { nullable: true, .. } => "a list or null",
        Shape::Object { nullable: false, .. } => "an object",
        Shape::Object { nullable: true, .. } | Shape::ObjectIfThere(_) | Shape::Rollout(_) => "an object or null",
    }
}

fn shown(value: &Json<'_>) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => format!("the number {number}"),
        Json::Text(text) if text.chars().nth(SHOWN_MAX).is_some() => {
            format!("the text {:?}...", text.chars().take(SHOWN_MAX).collect::<String>())
        }
        Json::Text(text) => format!("the text {text:?}"),
        Json::List(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        match readable(&Record::parse(text.as_bytes()).unwrap()) {
            Ok(()) => "none".to_owned(),
            Err(unreadable) => unreadable.to_string(),
        }
    }

    #[test]
    fn what_is_spliced_in_is_looked_into() {
        let record = Record::parse(br#"{"on":true,"version":7}"#).unwrap();
        let verdict = |name: &str, raw: &str| match edited(&record, &[(name, raw.to_owned())]) {
            Ok(edited) => readable(&Record::parse(edited.text().as_bytes()).unwrap())
                .map_or_else(|error| error.to_string(), |()| edited.text().to_owned()),
            Err(unreadable) => unreadable.to_string(),
        };
        assert_eq!(verdict("on", "false"), r#"{"on":false,"version":7}"#);
        assert_eq!(verdict("on", r#""off""#), r#""on" is the text "off", not true or false"#);
        assert_eq!(verdict("rules", r#"[{"clauses":7}]"#), r#""rules[0].clauses" is the number 7, not a list or null"#);
        assert_eq!(verdict("unknown", r#"{"a":1,"a":1}"#), r#""unknown" would have "a" twice"#);
        assert!(verdict("on", "false,").starts_with(r#""on" would not be JSON"#));
        let damaged = Record::parse(br#"{"on":"off"}"#).unwrap();
        assert!(edited(&damaged, &[("version", "8".to_owned())]).is_err());
    }

    #[test]
    fn says_where_and_what_in_plain_words() {
        for (text, expected) in [
            (r#"{"on":"off"}"#, r#""on" is the text "off", not true or false"#),
            (r#"{"on":null}"#, r#""on" is null, not true or false"#),
            (r#"{"fallthrough":null}"#, r#""fallthrough" is null, not an object"#),
            (r#"{"version":"7"}"#, r#""version" is the text "7", not a number"#),
            (r#"{"samplingRatio":null}"#, r#""samplingRatio" is null, not a number"#),
            (r#"{"targets":[{"values":["a",1]}]}"#, r#""targets[0].values[1]" is the number 1, not a text"#),
            (r#"{"rules":[{"clauses":[{},{"op":null}]}]}"#, r#""rules[0].clauses[1].op" is null, not a text"#),
            (
                r#"{"fallthrough":{"rollout":{"variations":null}}}"#,
                r#""fallthrough.rollout.variations" is null, not a list"#,
            ),
            (r#"{"prerequisites":[[]]}"#, r#""prerequisites[0]" is a list, not an object"#),
            (r#"{"clientSideAvailability":[]}"#, r#""clientSideAvailability" is a list, not an object or null"#),
        ] {
            assert_eq!(problem(text), expected, "{text}");
        }
    }

    #[test]
    fn takes_what_go_takes() {
        for text in [
            "{}",
            r#"{"unknown":{"on":"off"},"rules":[{"unknown":0}]}"#,
            r#"{"variations":[null,{"on":"off"},[1]],"version":1.5,"offVariation":null}"#,
            r#"{"prerequisites":null,"targets":null,"contextTargets":null,"rules":null,"variations":null}"#,
            r#"{"rules":[{"variation":null,"rollout":null,"clauses":[{"attribute":null,"values":null}]}]}"#,
            r#"{"fallthrough":{"rollout":{"variations":[],"bucketBy":null,"seed":null}}}"#,
            r#"{"clientSideAvailability":null,"debugEventsUntilDate":null,"migration":null}"#,
            r#"{"key":"$deleted","deleted":true,"version":7}"#,
        ] {
            assert_eq!(problem(text), "none", "{text}");
        }
    }

    #[test]
    fn segments_are_read_as_go_reads_them() {
        let verdict = |text: &str| match readable_segment(&Record::parse(text.as_bytes()).unwrap()) {
            Ok(()) => "none".to_owned(),
            Err(unreadable) => unreadable.to_string(),
        };
        for text in [
            r#"{"key":"a","included":null,"includedContexts":[{"contextKind":"org","values":["x"]}],"rules":[{"id":"r","weight":null,"bucketBy":null,"clauses":[]}],"unbounded":true,"generation":null,"version":1.5}"#,
            r#"{"on":"this is no flag","key":"$deleted","deleted":true,"version":7}"#,
        ] {
            assert_eq!(verdict(text), "none", "{text}");
        }
        for (text, expected) in [
            (r#"{"included":[1]}"#, r#""included[0]" is the number 1, not a text"#),
            (r#"{"rules":[{"weight":"1"}]}"#, r#""rules[0].weight" is the text "1", not a number or null"#),
            (
                r#"{"excludedContexts":[{"values":{}}]}"#,
                r#""excludedContexts[0].values" is an object, not a list or null"#,
            ),
            (r#"{"version":null}"#, r#""version" is null, not a number"#),
        ] {
            assert_eq!(verdict(text), expected, "{text}");
        }
    }

    #[test]
    fn judges_an_edited_record_anew() {
        let healthy = Record::parse(br#"{"on":true}"#).unwrap();
        let broken = healthy.with(&[("on", "\"off\"".to_owned())]);
        assert!(readable(&broken).is_err());
        assert!(readable(&Record::parse(broken.text().as_bytes()).unwrap()).is_err());
        assert!(readable(&broken.with(&[("on", "false".to_owned())])).is_ok());
    }

    #[test]
    fn repeats_only_the_beginning_of_a_long_text() {
        let long = "x".repeat(1000);
        assert!(problem(&format!("{{\"on\":\"{long}\"}}")).len() < 100);
    }
}
