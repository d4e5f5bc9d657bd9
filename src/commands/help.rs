//! `rc help`: a command's help, or a topic. Tables come from the rows that the code itself uses, so they cannot drift.

use crate::error::ExitCode;
use crate::error::Failure;
use crate::settings::table;
use crate::settings::table::Foreign;
use crate::settings::table::Setting;
use crate::ui::nearest::did_you_mean;
use crate::ui::output::Output;
use crate::ui::table::Table;

/// The runbook, as it stands in the repository.
const RUNBOOK: &str = include_str!("../../docs/runbook.md");

/// The topics beside the commands.
const TOPICS: [&str; 3] = ["exit-codes", "environment", "runbook"];

/// Explain a command, or a topic: exit-codes, environment, runbook
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A command, or exit-codes, environment, runbook
    pub topic: Option<String>,
}

/// Prints it.
///
/// # Errors
/// Where there is no such command or topic.
pub fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let mut command = super::command();
    command.build();
    let text = match arguments.topic.as_deref() {
        None => command.render_long_help().ansi().to_string(),
        Some("exit-codes") => exit_codes(),
        Some("environment") => environment(),
        Some("runbook") => RUNBOOK.to_owned(),
        Some(name) => match command.find_subcommand_mut(name) {
            Some(verb) => verb.render_long_help().ansi().to_string(),
            None => return Err(no_such_topic(name, &command)),
        },
    };
    output.data(text.trim_end());
    Ok(ExitCode::Done)
}

fn no_such_topic(name: &str, command: &clap::Command) -> Failure {
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(clap::Command::get_name);
    let near = did_you_mean(name, verbs.chain(TOPICS));
    Failure::usage(format!("there is no command or topic {name:?}{near}")).hint("All of them:  rc help")
}

fn exit_codes() -> String {
    let mut table = Table::new();
    for code in ExitCode::ALL {
        table.row([code.number().to_string(), code.meaning().to_owned()]);
    }
    format!(
        "{table}\n\nWhere several apply: if nothing was done 2, 3, 4 or 7; else the first of 6, 5, 8.\n\
         rc status is 0 whenever it could report; rc verify is 0 only in full agreement."
    )
}

fn environment() -> String {
    let mut text = String::from(
        "Options go before the environment, the environment before .env, .env before relaycommander.toml.\n\
         Both files stand in the home: the nearest folder, from the current one upwards, whose .env sets REDIS_HOSTS\n\
         or RC_STORES, or that holds relaycommander.toml. It must be yours (or root's) and not writable by all.\n\
         In .env, a value with a $ that is meant stands in single quotes.\n",
    );
    for setting in table::ALL {
        text.push_str(&format!("\n{}\n", described(setting)));
    }
    text.push_str("\n[environment.\"project/environment\"] in relaycommander.toml\n");
    text.push_str("    prefix        prefix of its keys in every store\n");
    text.push_str("    prefixes      prefix in single stores: prefixes = { eu-1 = \"launchdarkly\" }\n");
    text.push_str(
        "    sdk_key_file  file with its SDK key, for looking at what relays serve and LaunchDarkly delivers\n",
    );
    text.push_str("    critical      true: rc update asks first\n");
    text.push_str(&format!("\nThe relay's own variables, where rc runs beside it\n{}\n", foreign(table::RELAY)));
    text.push_str(&format!("\nOthers that matter\n{}\n", foreign(table::LIBRARIES)));
    text
}

fn described(setting: &Setting) -> String {
    let mut places = vec![setting.name.to_owned()];
    places.extend(setting.file_name());
    places.extend(setting.flag.map(|flag| format!("--{flag}")));
    places.extend(crate::settings::file::keys_of(setting).into_iter().map(|key| format!("{key} =")));
    let default =
        if setting.default.is_empty() { String::new() } else { format!("\n    default: {}", setting.default) };
    format!("{}\n{}{default}", places.join("  "), wrapped(setting.help, 4))
}

/// `text` in lines of at most 100 columns, each after `indent` spaces.
fn wrapped(text: &str, indent: usize) -> String {
    let margin = " ".repeat(indent);
    let mut lines = vec![margin.clone()];
    for word in text.split(' ') {
        let full = lines.last().is_some_and(|line| line.len() > indent && line.len() + 1 + word.len() > 100);
        if full {
            lines.push(margin.clone());
        }
        if let Some(line) = lines.last_mut() {
            if line.len() > indent {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

fn foreign(rows: &[Foreign]) -> Table {
    let mut table = Table::indented(4);
    for row in rows {
        table.row([row.name, row.help]);
    }
    table
}
