//! `rc man`: the manual, made from the same doc comments as the help.

use std::path::Path;
use std::path::PathBuf;

use clap_mangen::Man;

use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::ui::output::Output;
use crate::ui::words::count;

/// Print the manual page
///
/// To read it:  rc man | man -l -
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Write the pages of all commands into this folder instead
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

/// Prints `rc.1`, or writes all pages.
///
/// # Errors
/// Where the folder cannot be written to.
pub fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let mut command = super::command();
    command.build();
    let Some(folder) = &arguments.out else {
        output.data(page(command)?.trim_end());
        return Ok(ExitCode::Done);
    };
    std::fs::create_dir_all(folder).map_err(|error| not_written(folder, &error))?;
    let verbs: Vec<clap::Command> = command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
    let pages = verbs.len() + 1;
    write(&folder.join("rc.1"), command)?;
    for verb in verbs {
        let name = format!("rc-{}", verb.get_name());
        write(&folder.join(format!("{name}.1")), verb.display_name(name))?;
    }
    output.say(&format!("{} written to {}", count(pages, "page"), folder.display()));
    Ok(ExitCode::Done)
}

fn write(path: &Path, command: clap::Command) -> Result<(), Failure> {
    std::fs::write(path, page(command)?).map_err(|error| not_written(path, &error))
}

fn page(command: clap::Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::new(Kind::Other, "the manual page could not be made").cause(error.to_string()))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn not_written(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Other, format!("{} cannot be written", path.display())).cause(error.to_string())
}
