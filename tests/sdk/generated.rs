//! Flag records, made up: sound ones with everything that a flag may have, and the same damaged in one place, by a rule that
//! has a name. What a damaged record deserves is not said here: that is what two readers are asked.
//!
//! The same records each time for the same `PROPTEST_RNG_SEED`.

use std::fmt::Write as _;

use proptest::prelude::RngExt;
use proptest::test_runner::Config;
use proptest::test_runner::TestRng;
use proptest::test_runner::TestRunner;

/// A record, and what was done to it.
pub struct Generated {
    pub bytes: Vec<u8>,
    pub what: &'static str,
}

/// Damages that leave JSON, by its grammar, of which readers have a right to take less.
pub const HUGE_NUMBER: &str = "a huge number";
pub const DEEP_NESTING: &str = "deep nesting";
pub const AN_ESCAPE: &str = "an escape somewhere";

/// An endless source of them.
pub struct Generator {
    random: TestRng,
    sound: bool,
}

/// JSON with its odd spellings: a scalar is its text.
#[derive(Debug, Clone)]
enum Node {
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::List(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    out.push_str(if number > 0 { "," } else { "" });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (number, (name, value)) in members.iter().enumerate() {
                    write!(out, "{}\"{name}\":", if number > 0 { "," } else { "" }).unwrap();
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// How many nodes there are, this one included.
    fn count(&self) -> usize {
        1 + match self {
            Self::Text(_) => 0,
            Self::List(items) => items.iter().map(Self::count).sum(),
            Self::Object(members) => members.iter().map(|(_, value)| value.count()).sum::<usize>(),
        }
    }

    /// The node with this number, in the order in which they are written.
    fn at(&mut self, number: usize) -> Option<&mut Self> {
        let mut left = number;
        let mut here = self;
        'down: loop {
            if left == 0 {
                return Some(here);
            }
            left -= 1;
            let children: Vec<&mut Node> = match here {
                Self::Text(_) => return None,
                Self::List(items) => items.iter_mut().collect(),
                Self::Object(members) => members.iter_mut().map(|(_, value)| value).collect(),
            };
            for child in children {
                let count = child.count();
                if left < count {
                    here = child;
                    continue 'down;
                }
                left -= count;
            }
            return None;
        }
    }
}

fn text(text: impl Into<String>) -> Node {
    Node::Text(text.into())
}

fn object(members: Vec<(&str, Node)>) -> Node {
    Node::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// What may stand anywhere, and is of the right type only now and then.
const OTHERS: [&str; 26] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "-0",
    "1.5",
    "-7.9",
    "1e2",
    "1E+2",
    "25e-1",
    "0.0",
    "1e-400",
    "\"\"",
    "\"off\"",
    "\"on\"",
    "\"1\"",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "[\"a\"]",
    "{\"key\":1}",
    "[{\"variation\":0}]",
    "9007199254740993",
];

/// Numbers that are none in JSON, or that no double holds.
const NO_NUMBERS: [&str; 14] =
    ["007", "1.", ".5", "-.5", "+1", "1e", "1e+", "-", "0x10", "1e400", "-1e999", "NaN", "Infinity", "1_000"];

const UNKNOWN: [&str; 5] = ["_debug", "On", "ON", "on ", "flagVersion"];

impl Generator {
    /// Sound records and damaged ones.
    pub fn new() -> Self {
        let mut runner = TestRunner::new(Config::default());
        Self { random: runner.new_rng(), sound: false }
    }

    /// Sound ones alone.
    pub fn sound(mut self) -> Self {
        self.sound = true;
        self
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit)
    }

    /// True in one of so many cases.
    fn one_in(&mut self, cases: usize) -> bool {
        self.below(cases) == 0
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    fn bool(&mut self) -> Node {
        text(self.one_of(&["true", "false"]))
    }

    fn number(&mut self) -> Node {
        let number = self.below(5);
        text(number.to_string())
    }

    fn string(&mut self) -> Node {
        text(self.one_of(&[
            "\"anna\"",
            "\"bob\"",
            "\"country\"",
            "\"/a/b\"",
            "\"user\"",
            "\"\"",
            "\"NZ\"",
            "\"\\u00e9t\\u00e9\"",
            "\"a\\\"b\\\\c\\/d\\n\"",
            "\"ü 漢字 😀\"",
            "\"\\u0000\"",
        ]))
    }

    fn list(&mut self, most: usize, mut item: impl FnMut(&mut Self) -> Node) -> Node {
        let count = self.below(most + 1);
        Node::List((0..count).map(|_| item(self)).collect())
    }

    /// Any value, as a flag's variation may be.
    fn value(&mut self, depth: usize) -> Node {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => self.bool(),
            1 => text(self.one_of(&["0", "-12", "3.75", "1e3", "12345678901", "null"])),
            2 | 3 => self.string(),
            4 => self.list(3, |this| this.value(depth - 1)),
            _ => {
                let names = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"];
                let count = if self.one_in(4) { names.len() } else { self.below(4) };
                Node::Object(names[..count].iter().map(|name| ((*name).to_owned(), self.value(depth - 1))).collect())
            }
        }
    }

    /// The members, of which optional ones are left out now and then, in an order of their own now and then.
    fn members(&mut self, mut members: Vec<(&str, Node)>) -> Node {
        members.retain(|_| !self.one_in(8));
        if self.one_in(4) && members.len() > 1 {
            let (one, other) = (self.below(members.len()), self.below(members.len()));
            members.swap(one, other);
        }
        object(members)
    }

    fn rollout(&mut self) -> Node {
        let shares = self.list(3, |this| {
            let members = vec![("variation", this.number()), ("weight", text("50000")), ("untracked", this.bool())];
            this.members(members)
        });
        let members = vec![
            ("kind", text(self.one_of(&["\"rollout\"", "\"experiment\"", "\"other\""]))),
            ("contextKind", self.string()),
            ("variations", shares),
            ("bucketBy", if self.one_in(3) { text("null") } else { self.string() }),
            ("seed", if self.one_in(3) { text("null") } else { self.number() }),
        ];
        self.members(members)
    }

    fn served(&mut self) -> Vec<(&'static str, Node)> {
        match self.below(4) {
            0 => vec![("rollout", self.rollout())],
            1 => vec![("variation", text("null")), ("rollout", self.rollout())],
            2 => vec![("variation", self.number()), ("rollout", text("null"))],
            _ => vec![("variation", self.number())],
        }
    }

    fn clause(&mut self) -> Node {
        let members = vec![
            ("contextKind", self.string()),
            ("attribute", if self.one_in(6) { text("null") } else { self.string() }),
            ("op", text(self.one_of(&["\"in\"", "\"matches\"", "\"segmentMatch\"", "\"noSuchOp\"", "\"before\""]))),
            ("values", self.list(3, |this| this.value(1))),
            ("negate", self.bool()),
        ];
        self.members(members)
    }

    fn rule(&mut self) -> Node {
        let mut members = self.served();
        members.push(("id", self.string()));
        members.push(("clauses", self.list(2, Self::clause)));
        members.push(("trackEvents", self.bool()));
        self.members(members)
    }

    fn target(&mut self) -> Node {
        let members =
            vec![("contextKind", self.string()), ("variation", self.number()), ("values", self.list(3, Self::string))];
        self.members(members)
    }

    fn prerequisite(&mut self) -> Node {
        let members = vec![("key", self.string()), ("variation", self.number())];
        self.members(members)
    }

    /// A record that every reader takes.
    fn record(&mut self) -> Node {
        let availability = vec![("usingMobileKey", self.bool()), ("usingEnvironmentId", self.bool())];
        let served = self.served();
        let ratio = vec![("checkRatio", self.number())];
        let members = vec![
            ("key", self.string()),
            ("on", self.bool()),
            ("prerequisites", self.list(2, Self::prerequisite)),
            ("targets", self.list(2, Self::target)),
            ("contextTargets", self.list(2, Self::target)),
            ("rules", self.list(2, Self::rule)),
            ("fallthrough", self.members(served)),
            ("offVariation", if self.one_in(4) { text("null") } else { self.number() }),
            ("variations", self.list(3, |this| this.value(2))),
            ("clientSideAvailability", if self.one_in(5) { text("null") } else { self.members(availability) }),
            ("clientSide", self.bool()),
            ("salt", self.string()),
            ("trackEvents", self.bool()),
            ("trackEventsFallthrough", self.bool()),
            ("debugEventsUntilDate", text(self.one_of(&["null", "0", "1790000000000"]))),
            ("version", text(self.one_of(&["1", "42", "2147483648", "7.9", "1e3", "0", "-3"]))),
            ("deleted", if self.one_in(12) { text("true") } else { text("false") }),
            ("migration", if self.one_in(4) { text("null") } else { self.members(ratio) }),
            ("samplingRatio", self.number()),
            ("excludeFromSummaries", self.bool()),
            ("_unknown", self.value(2)),
        ];
        self.members(members)
    }

    /// A node anywhere in the record, replaced.
    fn replace(&mut self, record: &mut Node, by: Node) {
        let number = self.below(record.count());
        if let Some(node) = record.at(number) {
            *node = by;
        }
    }

    /// The members of an object anywhere in the record.
    fn members_of<'n>(&mut self, record: &'n mut Node) -> Option<&'n mut Vec<(String, Node)>> {
        let number = self.below(record.count());
        match record.at(number) {
            Some(Node::Object(members)) => Some(members),
            _ => None,
        }
    }

    /// Damages the record as JSON; the name of what was done.
    fn damage(&mut self, record: &mut Node) -> &'static str {
        match self.below(9) {
            0..=3 => {
                let other = text(self.one_of(&OTHERS));
                self.replace(record, other);
                "another value"
            }
            4 => {
                let number = text(self.one_of(&NO_NUMBERS));
                self.replace(record, number);
                "no number"
            }
            5 => {
                // Go counts whole numbers in 64 bits and lets them run over; nobody else does.
                let digits = "9".repeat(16 + self.below(400));
                self.replace(record, text(digits));
                HUGE_NUMBER
            }
            6 => {
                let (name, value) = (self.one_of(&UNKNOWN), self.value(2));
                if let Some(members) = self.members_of(record) {
                    members.push((name.to_owned(), value));
                }
                "an unknown property"
            }
            7 => {
                let other = text(self.one_of(&OTHERS));
                if let Some(members) = self.members_of(record)
                    && let Some((name, value)) = members.last().cloned()
                {
                    let value = if name.len() % 2 == 0 { value } else { other };
                    members.push((name, value));
                }
                "a property twice"
            }
            _ => {
                let depth = 1 + self.below(200);
                let (open, close) = if self.one_in(2) { ("[", "]") } else { ("{\"a\":", "}") };
                let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                self.replace(record, text(nested));
                DEEP_NESTING
            }
        }
    }

    /// Damages the bytes.
    fn damage_bytes(&mut self, bytes: &mut Vec<u8>) -> &'static str {
        let place = self.below(bytes.len().max(1));
        let insert = |bytes: &mut Vec<u8>, piece: &[u8]| {
            bytes.splice(place..place, piece.iter().copied());
        };
        match self.below(11) {
            0 => {
                bytes.truncate(place);
                "cut off"
            }
            1 => {
                bytes.splice(0..0, *b"\xef\xbb\xbf");
                "a byte order mark"
            }
            2 => {
                let garbage = self.one_of(&["x", "}", "{}", ",", "null", " \n\t", "\0"]);
                bytes.extend(garbage.bytes());
                "text after the end"
            }
            3 => {
                insert(bytes, &[0x80 | self.below(128) as u8]);
                "not UTF-8"
            }
            4 => {
                let piece = self.one_of(&["\n", "\t", "\0", "\x0b", "\x0c", "\u{a0}", "\r"]);
                insert(bytes, piece.as_bytes());
                "white space or a control character somewhere"
            }
            5 => {
                let piece = self.one_of(&["\\", "\\u12", "\\ud83d", "\\ud83d\\ude00", "\\x", "\\/", "\\u0022"]);
                insert(bytes, piece.as_bytes());
                AN_ESCAPE
            }
            6 => {
                let piece = self.one_of(&[",", ":", "{", "}", "[", "]", "\"", "'", "/**/", "-", "e", "."]);
                insert(bytes, piece.as_bytes());
                "a sign somewhere"
            }
            7 => {
                bytes.remove(place.min(bytes.len() - 1));
                "a byte less"
            }
            8 => {
                let byte = self.below(256) as u8;
                if let Some(old) = bytes.get_mut(place) {
                    *old = byte;
                }
                "another byte"
            }
            9 => {
                *bytes = self.one_of(&["", " ", "null", "[]", "\"{}\"", "{", "{}", "[{}]", "1", "{\"on\"}"]).into();
                "no record at all"
            }
            _ => {
                let text = String::from_utf8_lossy(bytes).replacen("\"on\"", "\"o\\u006e\"", 1);
                *bytes = text.replacen(":true", ":tru", 1).into_bytes();
                "a word cut short"
            }
        }
    }
}

impl Iterator for Generator {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        let mut record = self.record();
        let how = if self.sound { 0 } else { self.below(4) };
        let mut what = if matches!(how, 1 | 2) { self.damage(&mut record) } else { "sound" };
        let mut written = String::new();
        record.write(&mut written);
        let mut bytes = written.into_bytes();
        if how == 3 {
            what = self.damage_bytes(&mut bytes);
        }
        Some(Generated { bytes, what })
    }
}
