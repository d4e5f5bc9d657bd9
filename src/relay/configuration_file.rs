//! Reads the text of an `ld-relay.conf`. It is git-config's syntax as the Go library gcfg (v1.2.3) reads it; gix-config
//! reads the real grammar, and what gcfg does otherwise is looked after here. Pure.
//!
//! | | gcfg | gix-config | here |
//! |---|---|---|---|
//! | key before the first section | error | dropped | error |
//! | `_` in a key or section | error | error | error |
//! | `[section.name]` | error | a subsection in lower case | error |
//! | key on the header's line | error | read | error |
//! | `\n`, `\t`, `\\` outside quotes | error | read | read: the relay that runs has no such file |
//! | `\` before another letter | error | error | error |
//! | byte order mark, CRLF | read | read | read |
//! | a section or key that is not known | error | – | passed over: newer relays know more |
//! | `-` in a name | `_`, which no name has | part of the name | passed over |

use gix_config::parse::EventRef;
use gix_config::parse::Events;
use gix_config::value::normalize;

use crate::relay::configuration::CONFIGURATION_LENGTH_MAX;
use crate::relay::configuration::ConfigurationError;
use crate::relay::configuration_settings::Setting;
use crate::relay::configuration_settings::Settings;

/// Reads all settings of `text` into `settings`.
pub(super) fn read(text: &str, name: &str, settings: &mut Settings) -> Result<(), ConfigurationError> {
    let wrong = |line: usize, problem: &str, way_out: &str| ConfigurationError {
        place: format!("{name}:{line}"),
        problem: problem.to_owned(),
        way_out: way_out.to_owned(),
    };
    if text.len() > CONFIGURATION_LENGTH_MAX {
        return Err(wrong(1, "is longer than 1 MiB", "name the relay's own configuration file"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let events = Events::from_bytes(text.as_bytes(), None).map_err(|error| {
        wrong(
            error.line_number(),
            "is not a section header, a key with a value, or a comment as git-config has them",
            "write [Environment \"name\"] and key = value lines; put a value with a backslash, a # or a ; in quotes",
        )
    })?;
    let mut reader = Reader { name, line: 1, header_line: 0, setting: None, raw: None, settings };
    for event in events.iter() {
        reader.take(&event)?;
        reader.line += event.to_bstr_lossy().iter().filter(|byte| **byte == b'\n').count();
    }
    reader.finish_setting()
}

struct Reader<'a> {
    name: &'a str,
    line: usize,
    /// The line of the last section header; 0 before the first.
    header_line: usize,
    /// The section we are in, with the key once that has been read.
    setting: Option<Setting>,
    /// The value's text so far, not yet unquoted.
    raw: Option<String>,
    settings: &'a mut Settings,
}

impl Reader<'_> {
    fn wrong(&self, problem: &str, way_out: &str) -> ConfigurationError {
        ConfigurationError {
            place: format!("{}:{}", self.name, self.line),
            problem: problem.to_owned(),
            way_out: way_out.to_owned(),
        }
    }

    fn take(&mut self, event: &EventRef<'_>) -> Result<(), ConfigurationError> {
        match event {
            EventRef::SectionHeader { name, separator, subsection_name } => {
                self.finish_setting()?;
                if separator.is_some_and(|separator| separator == ".") {
                    return Err(self.wrong("a section's name has a dot in it", "write [Environment \"name\"]"));
                }
                let section = name.to_string().to_ascii_lowercase();
                let subsection = subsection_name.map(ToString::to_string).unwrap_or_default();
                self.settings.open_section(&section, &subsection);
                self.setting = Some(Setting { section, subsection, ..Setting::default() });
                self.header_line = self.line;
            }
            EventRef::SectionValueName(key) => {
                self.finish_setting()?;
                if self.header_line == self.line {
                    return Err(self.wrong("a key stands on the line of its section", "put it on a line of its own"));
                }
                let place = format!("{}:{}", self.name, self.line);
                let Some(setting) = &mut self.setting else {
                    return Err(self.wrong("a key stands before the first section", "put it below [Main]"));
                };
                setting.key = key.to_string().to_ascii_lowercase();
                setting.place = place;
            }
            EventRef::KeyValueSeparator => self.raw = Some(String::new()),
            EventRef::Value(part) | EventRef::ValueNotDone(part) | EventRef::ValueDone(part) => {
                self.raw.get_or_insert_default().push_str(&part.to_string());
            }
            EventRef::Comment { .. } | EventRef::Newline(_) | EventRef::Whitespace(_) => {}
        }
        Ok(())
    }

    /// Hands on the setting that has been read so far, if there is one, and keeps its section.
    fn finish_setting(&mut self) -> Result<(), ConfigurationError> {
        let Some(setting) = &mut self.setting else { return Ok(()) };
        if setting.key.is_empty() {
            return Ok(());
        }
        setting.value = self.raw.take().map(|raw| normalize(raw.trim()).to_string());
        self.settings.apply(setting)?;
        setting.key.clear();
        Ok(())
    }
}
