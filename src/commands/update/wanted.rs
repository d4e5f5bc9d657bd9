//! What the operator asked for, before any store was looked at: from the command line or from a file of JSON lines.
//! Pure but for reading that file; it must not know what a flag holds.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use serde_json::Value;

use crate::flag::instruction::Instruction;
use crate::flag::key::Environment;
use crate::flag::key::EnvironmentKey;
use crate::flag::key::FlagKey;
use crate::flag::key::ProjectKey;

/// The most edits that one change may have.
pub const EDITS_MAX: usize = 50_000;

/// The largest file of edits, in bytes.
pub const FILE_LENGTH_MAX: u64 = 64 * 1024 * 1024;

/// What a flag is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Targeting on or off.
    State(bool),
    /// Everybody gets this value: as typed, or as JSON.
    Serve(String),
    /// As given.
    Instructions(Vec<Instruction>),
}

/// One flag, and what it is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where.
    pub environment: Environment,
    /// Which flag.
    pub flag: FlagKey,
    /// What it is to do.
    pub wish: Wish,
}

/// Why a file of edits was not taken; nothing of it was done.
#[derive(Debug, thiserror::Error)]
pub enum FromError {
    /// The file could not be read.
    #[error("{name}: {problem}")]
    Unreadable {
        /// The file, or `standard input`.
        name: String,
        /// What the system said.
        problem: String,
    },
    /// A line is not an edit.
    #[error("{name}, line {line}: {problem}")]
    Line {
        /// The file, or `standard input`.
        name: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// There is nothing in it.
    #[error("{name} holds no edits")]
    Empty {
        /// The file, or `standard input`.
        name: String,
    },
}

/// Where a line says nothing about it.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// `-p`.
    pub project: Option<ProjectKey>,
    /// `-e`.
    pub environment: Option<EnvironmentKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    project: Option<ProjectKey>,
    environment: Option<EnvironmentKey>,
    flag: FlagKey,
    state: Option<String>,
    serve: Option<Value>,
    instructions: Option<Vec<Instruction>>,
}

/// Reads `on` or `off`, in any case.
pub fn state(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("the state {text:?} is neither on nor off")),
    }
}

/// Reads edits, one JSON object a line; blank lines count for nothing.
///
/// # Errors
/// See [`FromError`]: the first line that is wrong, by its number.
pub fn from_lines(name: &str, input: impl Read, defaults: &Defaults) -> Result<Vec<Wanted>, FromError> {
    let mut text = String::new();
    let unreadable = |problem: String| FromError::Unreadable { name: name.to_owned(), problem };
    let length =
        input.take(FILE_LENGTH_MAX + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if length as u64 > FILE_LENGTH_MAX {
        return Err(unreadable(format!("it has more than {FILE_LENGTH_MAX} bytes")));
    }
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut lines_of: BTreeMap<(Environment, FlagKey), usize> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let wrong = |problem: String| FromError::Line { name: name.to_owned(), line: number, problem };
        if line.trim().is_empty() {
            continue;
        }
        let edit = edit(line, defaults).map_err(wrong)?;
        if let Some(first) = lines_of.insert((edit.environment.clone(), edit.flag.clone()), number) {
            return Err(wrong(format!("{} in {} stands in line {first} already", edit.flag, edit.environment)));
        }
        if wanted.len() == EDITS_MAX {
            return Err(wrong(format!("more than {EDITS_MAX} edits")));
        }
        wanted.push(edit);
    }
    if wanted.is_empty() {
        return Err(FromError::Empty { name: name.to_owned() });
    }
    Ok(wanted)
}

fn edit(line: &str, defaults: &Defaults) -> Result<Wanted, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let project = line.project.or_else(|| defaults.project.clone()).ok_or("no project; give it there or with -p")?;
    let key =
        line.environment.or_else(|| defaults.environment.clone()).ok_or("no environment; give it there or with -e")?;
    let wish = match (line.state, line.serve, line.instructions) {
        (Some(text), None, None) => Wish::State(state(&text)?),
        (None, Some(value), None) => Wish::Serve(value.to_string()),
        (None, None, Some(instructions)) if !instructions.is_empty() => Wish::Instructions(instructions),
        _ => return Err("give one of \"state\", \"serve\" and \"instructions\"".to_owned()),
    };
    Ok(Wanted { environment: Environment { project, key }, flag: line.flag, wish })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Wanted>, String> {
        let defaults =
            Defaults { project: Some("shop".parse().unwrap()), environment: Some("production".parse().unwrap()) };
        from_lines("edits.jsonl", text.as_bytes(), &defaults).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_is_an_edit_and_the_rest_is_the_default() {
        let wanted = read(concat!(
            "{\"flag\":\"a\",\"state\":\"Off\"}\n\n",
            "{\"project\":\"p\",\"environment\":\"e\",\"flag\":\"a\",\"serve\":\"silver\"}\n",
            "{\"flag\":\"b\",\"instructions\":[{\"kind\":\"updateOffVariation\",\"variation\":1}]}\n",
        ))
        .unwrap();
        assert_eq!(wanted[0].environment.to_string(), "shop/production");
        assert_eq!(wanted[0].wish, Wish::State(false));
        assert_eq!(wanted[1].environment.to_string(), "p/e");
        assert_eq!(wanted[1].wish, Wish::Serve("\"silver\"".to_owned()));
        assert_eq!(wanted[2].wish, Wish::Instructions(vec![Instruction::UpdateOffVariation { variation: 1 }]));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let case = |text: &str, told: &str| {
            let error = read(text).unwrap_err();
            assert!(error.contains(told), "{error}");
        };
        case(
            "{\"flag\":\"a\",\"state\":\"off\"}\n{\"flag\":\"a\",\"state\":\"on\"}",
            "line 2: a in shop/production stands in line 1",
        );
        case("{\"flag\":\"a\",\"state\":\"maybe\"}", "line 1: the state \"maybe\" is neither on nor off");
        case("{\"flag\":\"a\"}", "one of");
        case("{\"flag\":\"a\",\"state\":\"on\",\"serve\":1}", "one of");
        case("{\"flag\":\"../a\",\"state\":\"on\"}", "flag key");
        case("{\"flag\":\"a\",\"instructions\":[{\"kind\":\"deleteFlag\"}]}", "deleteFlag");
        case("{\"flag\":\"a\",\"state\":\"on\",\"shell\":\"rm\"}", "shell");
        case("\n\n", "holds no edits");
    }
}
