//! The flag model as a table: which properties a flag record has (and a segment's), and of which type LaunchDarkly's Go
//! reader takes them. The one source for `check` (would it be read?) and for `Record::same_value` (does it mean the same?).
//! Rules: go-server-sdk-evaluation v3, `ldmodel/model_unmarshal.go` and `model_marshal.go`, with go-jsonstream v3.

use crate::flag::json::Json;
use crate::flag::json::Members;

/// What a property must be, and what it is where it is absent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Text; absent is empty.
    Text,
    /// Text or null; absent and null are empty.
    TextOrNull,
    /// The kind of contexts of an individual target: text; absent and empty are `user`.
    TargetKind,
    /// true or false; absent is false.
    Bool,
    /// A number, cut down to a whole one; absent is 0.
    Whole,
    /// A number, cut down to a whole one; absent is nothing, which is not 0.
    WholeIfThere,
    /// A number, cut down to a whole one, or null; absent and null are nothing.
    WholeOrNull,
    /// A moment in milliseconds: a number or null; absent and null are 0.
    Moment,
    /// Any JSON value.
    Any,
    /// A list; absent is empty. Where `nullable`, null is empty too.
    List {
        /// What stands in it.
        of: &'static Shape,
        /// Whether null is read.
        nullable: bool,
    },
    /// An object; absent is one without members. Unknown members are read and thrown away.
    Object {
        /// Its members.
        fields: &'static [Field],
        /// Whether null is read, as an object without members.
        nullable: bool,
    },
    /// An object or null, where being there counts even without members: null is the empty object.
    ObjectIfThere(&'static [Field]),
    /// A rollout: an object or null. One without shares is none: the writer drops it whole.
    Rollout(&'static [Field]),
}

/// A property: its name and its shape.
pub(crate) type Field = (&'static str, Shape);

const fn list(of: &'static Shape) -> Shape {
    Shape::List { of, nullable: true }
}

const fn object(fields: &'static [Field]) -> Shape {
    Shape::Object { fields, nullable: false }
}

/// A whole flag record.
pub(crate) const FLAG: Shape = object(&[
    ("key", Shape::Text),
    ("on", Shape::Bool),
    ("prerequisites", list(&object(&[("key", Shape::Text), ("variation", Shape::Whole)]))),
    ("targets", list(&TARGET)),
    ("contextTargets", list(&TARGET)),
    ("rules", list(&RULE)),
    ("fallthrough", object(&[("variation", Shape::WholeOrNull), ("rollout", ROLLOUT)])),
    ("offVariation", Shape::WholeOrNull),
    ("variations", list(&Shape::Any)),
    (AVAILABILITY, AVAILABILITY_SHAPE),
    (CLIENT_SIDE, Shape::Bool),
    ("salt", Shape::Text),
    ("trackEvents", Shape::Bool),
    ("trackEventsFallthrough", Shape::Bool),
    ("debugEventsUntilDate", Shape::Moment),
    ("version", Shape::Whole),
    ("deleted", Shape::Bool),
    ("excludeFromSummaries", Shape::Bool),
    ("samplingRatio", Shape::WholeIfThere),
    ("migration", Shape::ObjectIfThere(&[("checkRatio", Shape::WholeIfThere)])),
]);

/// A whole segment record.
pub(crate) const SEGMENT: Shape = object(&[
    ("key", Shape::Text),
    ("version", Shape::Whole),
    ("generation", Shape::WholeOrNull),
    ("deleted", Shape::Bool),
    ("included", list(&Shape::Text)),
    ("excluded", list(&Shape::Text)),
    ("includedContexts", list(&SEGMENT_TARGET)),
    ("excludedContexts", list(&SEGMENT_TARGET)),
    ("rules", list(&SEGMENT_RULE)),
    ("salt", Shape::Text),
    ("unbounded", Shape::Bool),
    ("unboundedContextKind", Shape::Text),
]);

const SEGMENT_TARGET: Shape = object(&[("contextKind", Shape::Text), ("values", list(&Shape::Text))]);

const SEGMENT_RULE: Shape = object(&[
    ("id", Shape::Text),
    ("clauses", list(&CLAUSE)),
    ("weight", Shape::WholeOrNull),
    ("bucketBy", Shape::TextOrNull),
    ("rolloutContextKind", Shape::Text),
]);

const AVAILABILITY: &str = "clientSideAvailability";
const CLIENT_SIDE: &str = "clientSide";
const AVAILABILITY_SHAPE: Shape =
    Shape::Object { fields: &[("usingEnvironmentId", Shape::Bool), ("usingMobileKey", Shape::Bool)], nullable: true };

const TARGET: Shape =
    object(&[("contextKind", Shape::TargetKind), ("values", list(&Shape::Text)), ("variation", Shape::Whole)]);

const RULE: Shape = object(&[
    ("id", Shape::Text),
    ("variation", Shape::WholeOrNull),
    ("rollout", ROLLOUT),
    ("clauses", list(&CLAUSE)),
    ("trackEvents", Shape::Bool),
]);

const CLAUSE: Shape = object(&[
    ("contextKind", Shape::Text),
    ("attribute", Shape::TextOrNull),
    ("op", Shape::Text),
    ("values", list(&Shape::Any)),
    ("negate", Shape::Bool),
]);

const SHARE: Shape = object(&[("variation", Shape::Whole), ("weight", Shape::Whole), ("untracked", Shape::Bool)]);

const ROLLOUT: Shape = Shape::Rollout(&[
    ("kind", Shape::Text),
    ("contextKind", Shape::Text),
    ("variations", Shape::List { of: &SHARE, nullable: false }),
    ("bucketBy", Shape::TextOrNull),
    ("seed", Shape::WholeOrNull),
]);

/// Go's `int(float64)`: cut off after the point. Beyond 64 bits Go leaves it open; here it stays at the limit.
pub(crate) fn whole(number: f64) -> i64 {
    number as i64
}

/// Whether two records mean the same flag. What has a type that the model does not know is compared as it stands.
pub(crate) fn same_flag(one: &Json<'_>, other: &Json<'_>) -> bool {
    same(&FLAG, Some(one), Some(other)) && same_availability(one, other)
}

/// Whether both may be used by the same client-side SDKs. The old schema had only `clientSide`; where the new one is
/// there, `clientSide` does not count, and the writer makes it from the new one.
fn same_availability(one: &Json<'_>, other: &Json<'_>) -> bool {
    let (Some(one), Some(other)) = (one.object(), other.object()) else { return true };
    let set = |value: Option<&Json<'_>>| value.and_then(Json::bool).unwrap_or(false);
    let effective = |flag: &Members<'_>| match flag.get(AVAILABILITY).and_then(Json::object) {
        Some(explicit) => (set(explicit.get("usingMobileKey")), set(explicit.get("usingEnvironmentId"))),
        None => (true, set(flag.get(CLIENT_SIDE))),
    };
    let typed = |flag: &Members<'_>| {
        let explicit = flag.get(AVAILABILITY);
        explicit.is_none_or(|explicit| check_shape(&AVAILABILITY_SHAPE, explicit))
            && fits(&Shape::Bool, flag.get(CLIENT_SIDE))
    };
    if typed(one) && typed(other) {
        return effective(one) == effective(other);
    }
    [AVAILABILITY, CLIENT_SIDE].iter().all(|name| match (one.get(name), other.get(name)) {
        (Some(one), Some(other)) => one.same_value(other),
        (one, other) => one.is_none() && other.is_none(),
    })
}

fn check_shape(shape: &Shape, value: &Json<'_>) -> bool {
    let Shape::Object { fields, .. } = shape else { return true };
    let inside = |members: &Members<'_>| fields.iter().all(|(name, shape)| fits(shape, members.get(name)));
    fits(shape, Some(value)) && value.object().is_none_or(inside)
}

fn same(shape: &Shape, one: Option<&Json<'_>>, other: Option<&Json<'_>>) -> bool {
    if !fits(shape, one) || !fits(shape, other) {
        return match (one, other) {
            (Some(one), Some(other)) => one.same_value(other),
            _ => false,
        };
    }
    let number = |value: Option<&Json<'_>>| value.and_then(Json::number).map(whole);
    match shape {
        Shape::Text | Shape::TextOrNull => text(one) == text(other),
        Shape::TargetKind => target_kind(text(one)) == target_kind(text(other)),
        Shape::Bool => one.and_then(Json::bool).unwrap_or(false) == other.and_then(Json::bool).unwrap_or(false),
        Shape::Whole | Shape::Moment => number(one).unwrap_or(0) == number(other).unwrap_or(0),
        Shape::WholeIfThere | Shape::WholeOrNull => number(one) == number(other),
        Shape::Any => match (one, other) {
            (Some(one), Some(other)) => one.same_value(other),
            (one, other) => one.is_none() && other.is_none(),
        },
        Shape::List { of, .. } => {
            let (one, other) = (items(one), items(other));
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(of, Some(one), Some(other)))
        }
        Shape::Object { fields, .. } => same_members(fields, one, other),
        Shape::ObjectIfThere(fields) => one.is_some() == other.is_some() && same_members(fields, one, other),
        Shape::Rollout(fields) => match (has_shares(one), has_shares(other)) {
            (true, true) => same_members(fields, one, other),
            (one, other) => one == other,
        },
    }
}

/// The kind of contexts that an individual target means.
pub(crate) fn target_kind(kind: &str) -> &str {
    if kind.is_empty() { "user" } else { kind }
}

fn text<'tree>(value: Option<&'tree Json<'_>>) -> &'tree str {
    value.and_then(Json::text).unwrap_or_default()
}

fn items<'tree, 'text>(value: Option<&'tree Json<'text>>) -> &'tree [Json<'text>] {
    value.and_then(Json::list).unwrap_or_default()
}

/// Whether a rollout is one: an object with a list of shares that is not empty.
pub(crate) fn has_shares(rollout: Option<&Json<'_>>) -> bool {
    let shares = rollout.and_then(Json::object).and_then(|rollout| rollout.get("variations"));
    !items(shares).is_empty()
}

fn same_members(fields: &[Field], one: Option<&Json<'_>>, other: Option<&Json<'_>>) -> bool {
    let (one, other) = (one.and_then(Json::object), other.and_then(Json::object));
    let known = fields.iter().filter(|(name, _)| *name != AVAILABILITY && *name != CLIENT_SIDE);
    for (name, shape) in known {
        let mine = one.and_then(|members| members.get(name));
        let theirs = other.and_then(|members| members.get(name));
        if !same(shape, mine, theirs) {
            return false;
        }
    }
    let (Some(one), Some(other)) = (one, other) else { return true };
    one.pairs(other, |name, mine, theirs| {
        let known = fields.iter().any(|(known, _)| *known == name);
        known || theirs.is_none_or(|theirs| mine.same_value(theirs))
    })
}

/// Whether the value itself is of the type that the shape asks for; what stands inside it is not looked at.
pub(crate) fn fits(shape: &Shape, value: Option<&Json<'_>>) -> bool {
    let Some(value) = value else { return true };
    match (shape, value) {
        (Shape::Any, _)
        | (Shape::Text | Shape::TextOrNull | Shape::TargetKind, Json::Text(_))
        | (Shape::Bool, Json::Bool(_))
        | (Shape::Whole | Shape::WholeIfThere | Shape::WholeOrNull | Shape::Moment, Json::Number(_))
        | (Shape::List { .. }, Json::List(_))
        | (Shape::Object { .. } | Shape::ObjectIfThere(_) | Shape::Rollout(_), Json::Object(_)) => true,
        (shape, Json::Null) => match shape {
            Shape::TextOrNull | Shape::WholeOrNull | Shape::Moment | Shape::ObjectIfThere(_) | Shape::Rollout(_) => {
                true
            }
            Shape::List { nullable, .. } | Shape::Object { nullable, .. } => *nullable,
            _ => false,
        },
        _ => false,
    }
}
