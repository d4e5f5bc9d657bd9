//! A JSON document as a tree that borrows from its text: the one shape in which this module looks into a record.
//! Unlike `serde_json::Value` it keeps a key that stands twice (so that it can be refused) and copies no text that has
//! no escapes. It knows nothing of flags.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::Number;
use serde_json::Value;

/// Up to this many members an object is searched from the front; above it a map is made, so that a hostile record
/// with a million keys costs no more than its length.
const SEARCHED_MEMBERS_MAX: usize = 24;

/// A JSON value.
#[derive(Debug, Clone)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Members<'a>),
}

/// The members of an object in the order in which they stand, twice if they stand there twice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// The number as every reader takes it: a double. (`serde_json` refuses text that is none while reading.)
pub(crate) fn double(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}

/// Equality by value of two documents: objects unordered, numbers as doubles.
pub(crate) fn same_value(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => double(one) == double(other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_value(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| same_value(one, other)))
        }
        (one, other) => one == other,
    }
}

impl<'a> Json<'a> {
    /// The value as an object.
    pub(crate) fn object(&self) -> Option<&Members<'a>> {
        match self {
            Json::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The value as a list.
    pub(crate) fn list(&self) -> Option<&[Json<'a>]> {
        match self {
            Json::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value as text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as a number.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Json::Number(number) => Some(double(number)),
            _ => None,
        }
    }

    /// The value as a truth value.
    pub(crate) fn bool(&self) -> Option<bool> {
        match self {
            Json::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A key that stands twice in one object, at any depth.
    pub(crate) fn duplicate(&self) -> Option<&str> {
        match self {
            Json::List(items) => items.iter().find_map(Json::duplicate),
            Json::Object(members) => {
                members.duplicate().or_else(|| members.0.iter().find_map(|(_, value)| value.duplicate()))
            }
            _ => None,
        }
    }

    /// Equality by value: objects unordered, numbers as doubles.
    pub(crate) fn same_value(&self, other: &Self) -> bool {
        match (self, other) {
            (Json::Null, Json::Null) => true,
            (Json::Bool(one), Json::Bool(other)) => one == other,
            (Json::Number(one), Json::Number(other)) => double(one) == double(other),
            (Json::Text(one), Json::Text(other)) => one == other,
            (Json::List(one), Json::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.same_value(other))
            }
            (Json::Object(one), Json::Object(other)) => one.0.len() == other.0.len() && one.agrees(other),
            _ => false,
        }
    }

    /// The same value as `serde_json` has it.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => Value::Number(number.clone()),
            Json::Text(text) => Value::String(text.clone().into_owned()),
            Json::List(items) => Value::Array(items.iter().map(Json::to_value).collect()),
            Json::Object(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.to_owned(), value.to_value())).collect())
            }
        }
    }
}

impl<'a> Members<'a> {
    /// The members in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// The member of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// Whether every member that stands in both has the same value in both, and none of `self` is missing in `other`.
    fn agrees(&self, other: &Self) -> bool {
        self.pairs(other, |_, mine, theirs| theirs.is_some_and(|theirs| mine.same_value(theirs)))
    }

    /// Whether `holds` is true of every member, given what `other` has under the same name.
    pub(crate) fn pairs(
        &self,
        other: &Self,
        mut holds: impl FnMut(&str, &Json<'a>, Option<&Json<'a>>) -> bool,
    ) -> bool {
        if other.0.len() <= SEARCHED_MEMBERS_MAX {
            return self.iter().all(|(name, mine)| holds(name, mine, other.get(name)));
        }
        let theirs: HashMap<&str, &Json<'a>> = other.iter().collect();
        self.iter().all(|(name, mine)| holds(name, mine, theirs.get(name).copied()))
    }

    fn duplicate(&self) -> Option<&str> {
        if self.0.len() <= SEARCHED_MEMBERS_MAX {
            let before = |place: usize, name: &str| self.0.iter().take(place).any(|(other, _)| other == name);
            return self.iter().enumerate().find(|(place, (name, _))| before(*place, name)).map(|(_, (name, _))| name);
        }
        let mut names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some(*one),
            _ => None,
        })
    }
}

/// The name of a member, borrowed where it has no escapes.
#[derive(Deserialize)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((Name(name), value)) = object.next_entry()? {
            members.push((name, value));
        }
        Ok(Json::Object(Members(members)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any JSON value, small, with names that collide now and then.
    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1000i64..1000).prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9f64..1e9).prop_map(Value::from),
            "[a-z\"\\\\\n\u{e9}\u{1F600}/]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-d\"]{1,2}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn tree(text: &str) -> Json<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn finds_a_key_that_stands_twice_at_any_depth() {
        assert_eq!(tree(r#"{"a":1,"b":[{"c":2,"d":{"e":1,"\u0065":2}}]}"#).duplicate(), Some("e"));
        assert_eq!(tree(r#"{"a":{"a":{"a":1}}}"#).duplicate(), None);
        let many: Vec<String> = (0..1000).map(|number| format!("\"key {number}\":0")).collect();
        assert_eq!(tree(&format!("{{{}}}", many.join(","))).duplicate(), None);
        assert_eq!(tree(&format!("{{{},\"key 7\":1}}", many.join(","))).duplicate(), Some("key 7"));
    }

    #[test]
    fn compares_large_objects_by_name() {
        let forward: Vec<String> = (0..100).map(|number| format!("\"k{number}\":{number}")).collect();
        let backward: Vec<String> = (0..100).rev().map(|number| format!("\"k{number}\":{number}.0")).collect();
        let forward = format!("{{{}}}", forward.join(","));
        let backward = format!("{{{}}}", backward.join(","));
        assert!(tree(&forward).same_value(&tree(&backward)));
        assert!(!tree(&forward).same_value(&tree(&backward.replace("50.0", "50.5"))));
    }

    proptest! {
        #[test]
        fn holds_what_serde_json_holds(value in any_value()) {
            let text = value.to_string();
            prop_assert_eq!(tree(&text).to_value(), value.clone());
            prop_assert!(tree(&text).same_value(&tree(&text)));
            prop_assert!(same_value(&value, &value));
        }

        #[test]
        fn both_comparisons_agree(one in any_value(), other in any_value()) {
            let (first, second) = (one.to_string(), other.to_string());
            prop_assert_eq!(tree(&first).same_value(&tree(&second)), same_value(&one, &other));
        }
    }
}
