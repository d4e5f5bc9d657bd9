//! From what was typed to edits: what each flag is to do, in instructions. Values are turned into variations by what the
//! stores hold; nothing is decided about targets here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use crate::change::edit::Edit;
use crate::change::event::EditIndex;
use crate::commands::Context;
use crate::commands::survey::TargetView;
use crate::commands::update::Arguments;
use crate::commands::update::State;
use crate::commands::update::wanted;
use crate::commands::update::wanted::Defaults;
use crate::commands::update::wanted::Wanted;
use crate::commands::update::wanted::Wish;
use crate::error::Failure;
use crate::flag::instruction::Instruction;
use crate::flag::key::Environment;
use crate::flag::record::Record;
use crate::flag::wish;
use crate::flag::wish::ServeError;

/// What was typed, before any store was looked at.
///
/// # Errors
/// Where no environment is named, a flag stands twice, or a line of the file is no edit.
pub fn wanted(arguments: &Arguments, context: &Context<'_>) -> Result<Vec<Wanted>, Failure> {
    if let Some(path) = &arguments.from {
        return from(path, context);
    }
    let environment = context.settings.required_environment()?;
    let wish = match (arguments.state, &arguments.serve) {
        (Some(state), _) => Wish::State(state == State::On),
        (None, Some(value)) => Wish::Serve(value.clone()),
        (None, None) => return Err(Failure::usage("what is the flag to do? Give -s on, -s off or --serve VALUE")),
    };
    let mut wanted: Vec<Wanted> = Vec::new();
    for flag in &arguments.flag {
        if wanted.iter().any(|other| other.flag == *flag) {
            return Err(Failure::usage(format!("the flag {flag} is given twice")));
        }
        wanted.push(Wanted { environment: environment.clone(), flag: flag.clone(), wish: wish.clone() });
    }
    Ok(wanted)
}

fn from(path: &Path, context: &Context<'_>) -> Result<Vec<Wanted>, Failure> {
    let defaults =
        Defaults { project: context.settings.project.clone(), environment: context.settings.environment.clone() };
    let refused = |error: wanted::FromError| Failure::usage(error.to_string()).hint("Nothing was written.");
    if path == Path::new("-") {
        return wanted::from_lines("standard input", io::stdin().lock(), &defaults).map_err(refused);
    }
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    wanted::from_lines(&name, file, &defaults).map_err(refused)
}

/// The edits, given what the targets of their environments hold.
///
/// # Errors
/// `--serve` where the value is not one of the flag's, names another variation in another store, or where no store
/// tells the flag's values.
pub fn edits(wanted: &[Wanted], views: &BTreeMap<Environment, Vec<TargetView>>) -> Result<Vec<Edit>, Failure> {
    let edit = |(_, wanted): (EditIndex, &Wanted)| {
        let instructions = match &wanted.wish {
            Wish::State(on) => wish::instructions_for_state(*on),
            Wish::Instructions(instructions) => instructions.clone(),
            Wish::Serve(value) => serve(wanted, value, views.get(&wanted.environment).map_or(&[], Vec::as_slice))?,
        };
        Ok(Edit { environment: wanted.environment.clone(), flag: wanted.flag.clone(), instructions })
    };
    wanted.iter().enumerate().map(edit).collect()
}

/// The instructions that give everybody `value`. All stores must agree on which variation that is: an index is all that
/// is written down.
fn serve(wanted: &Wanted, value: &str, views: &[TargetView]) -> Result<Vec<Instruction>, Failure> {
    let mut found: Option<(Vec<Instruction>, String)> = None;
    let mut refused: Option<ServeError> = None;
    for view in views {
        let Some(bytes) = view.flag(&wanted.flag).and_then(|reading| reading.record) else { continue };
        let Ok(record) = Record::parse(&bytes) else { continue };
        match (wish::instructions_to_serve(&record, value), &found) {
            (Ok(instructions), None) => found = Some((instructions, view.chosen.target.to_string())),
            (Ok(instructions), Some((first, _))) if instructions == *first => {}
            (Ok(_), Some((_, first))) => {
                return Err(Failure::refused(format!(
                    "{value} is another variation of {} in {} than in {first}",
                    wanted.flag, view.chosen.target
                ))
                .hint("Nothing was written. rc show tells each store's variations."));
            }
            (Err(error), _) => refused = Some(error),
        }
    }
    match (found, refused) {
        (Some((instructions, _)), _) => Ok(instructions),
        (None, Some(error)) => Err(Failure::from(error).while_doing(format!("{} cannot serve that", wanted.flag))),
        // A flag that nobody has is refused by the plan, with the nearest names.
        (None, None) if views.iter().any(|view| view.reading.is_ok()) => Ok(wish::instructions_for_state(false)),
        (None, None) => {
            let silent = views.iter().find_map(|view| view.reading.as_ref().err()).cloned();
            Err(silent.map_or_else(|| Failure::usage("no store tells the flag's values"), Failure::from))
        }
    }
}
