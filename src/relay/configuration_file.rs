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
//! | a section or key that is not known | error | – | passed over and noted: newer relays know more |
//! | `-` in a name | `_`, which no name has | part of the name | passed over |

use gix_config::parse::EventRef;
use gix_config::parse::Events;
use gix_config::value::normalize;

use crate::relay::configuration::CONFIGURATION_LENGTH_MAX;
use crate::relay::configuration::ConfigurationError;
use crate::relay::configuration::NotKnown;
use crate::relay::configuration_settings::Setting;
use crate::relay::configuration_settings::Settings;
use crate::relay::vocabulary;

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
    let mut reader =
        Reader { name, line: 1, header_line: 0, header: String::new(), setting: None, raw: None, settings };
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
    /// That header, as written.
    header: String,
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
                self.header = match subsection_name {
                    Some(subsection) => format!("[{name} {:?}]", subsection.to_string()),
                    None => format!("[{name}]"),
                };
                if !vocabulary::has_section(&section) {
                    self.note_not_known(&section, None);
                }
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
                let section = setting.section.clone();
                if vocabulary::has_section(&section) && !vocabulary::has_key(&section, &key.to_string()) {
                    self.note_not_known(&section, Some(key.to_string()));
                }
            }
            EventRef::KeyValueSeparator => self.raw = Some(String::new()),
            EventRef::Value(part) | EventRef::ValueNotDone(part) | EventRef::ValueDone(part) => {
                // A key without `=` has an empty value event, but no value.
                if let Some(raw) = &mut self.raw {
                    raw.push_str(&part.to_string());
                }
            }
            EventRef::Comment { .. } | EventRef::Newline(_) | EventRef::Whitespace(_) => {}
        }
        Ok(())
    }

    fn note_not_known(&mut self, section: &str, key: Option<String>) {
        let place = format!("{}:{}", self.name, self.line);
        let like = key.as_deref().and_then(|key| vocabulary::like(section, key));
        self.settings.note_not_known(NotKnown { place, section: self.header.clone(), key, like });
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use crate::relay::cache_time::CacheTime;
    use crate::relay::configuration::AutoConfig;
    use crate::relay::configuration::Database;
    use crate::relay::configuration::NotKnown;
    use crate::relay::configuration::RelayConfiguration;

    fn read(text: &str) -> RelayConfiguration {
        RelayConfiguration::from_file(text, "ld-relay.conf").unwrap()
    }

    fn refusal(text: &str) -> String {
        RelayConfiguration::from_file(text, "ld-relay.conf").unwrap_err().to_string()
    }

    const FULL: &str = r#"
# a comment
[Main]
    streamUri = https://stream.example   ; another
    PORT = 8031
    logLevel = "debug"
    maxClientConnectionTime = 5m
[redis]
    Host = "redis-a"
    localTtl = 1m30s
    tls = yes
[Environment "Shop \"A\" \\ Production"]
    sdkKey = "sdk-a#b;c"
    prefix = ld:shop:\
production
    projKey = shop
    envId = 5f
    ttl = 1m
[environment "b"]
    prefix=x # behind it
    prefix=ld:b
    secureMode
[Filters "shop"]
    keys = web , app
[SomethingNewer]
    anything = 1
"#;

    #[test]
    fn a_full_file() {
        for text in [FULL.to_owned(), FULL.replace('\n', "\r\n"), format!("\u{feff}{FULL}")] {
            let configuration = read(&text);
            let names: Vec<_> = configuration.environments.iter().map(|found| found.name.as_str()).collect();
            assert_eq!(names, ["Shop \"A\" \\ Production", "b"]);
            let first = &configuration.environments[0];
            assert_eq!(first.sdk_key.as_ref().unwrap().tail(), "a#b;c");
            assert_eq!(first.prefix.as_deref(), Some("ld:shop:production"));
            assert_eq!(first.env_id.as_deref(), Some("5f"));
            assert_eq!(configuration.environments[1].prefix.as_deref(), Some("ld:b"));
            assert_eq!(configuration.environments[1].sdk_key, None);
            assert_eq!(configuration.filters["shop"], ["web", "app"]);
            let redis = configuration.redis().unwrap();
            assert_eq!((redis.host.as_str(), redis.port, redis.tls), ("redis-a", 6379, true));
            assert_eq!(configuration.cache_time, CacheTime::For(Duration::from_secs(90)));
            assert_eq!(configuration.port, 8031);
            assert_eq!(configuration.stream_uri.as_deref(), Some("https://stream.example/"));
            assert_eq!(configuration.max_client_connection_time, Some(Duration::from_secs(300)));
            assert_eq!(configuration.auto_config, None);
            let not_known = |found: &NotKnown| (found.place.clone(), found.section.clone(), found.key.clone());
            let not_known: Vec<_> = configuration.not_known.iter().map(not_known).collect();
            assert_eq!(not_known, [("ld-relay.conf:25".to_owned(), "[SomethingNewer]".to_owned(), None)]);
        }
    }

    #[test]
    fn what_is_not_written_has_the_relays_default() {
        let configuration = read("");
        assert_eq!(configuration.database, Database::Memory);
        assert_eq!((configuration.cache_time, configuration.cache_time_is_given), (CacheTime::default(), false));
        assert_eq!((configuration.port, configuration.init_timeout), (8030, Duration::from_secs(10)));
        assert_eq!(read("[Redis]\nlocalTtl = -1s").database, Database::Memory);
        assert_eq!(read("[Redis]\nport = 7\nlocalTtl = -1s").cache_time, CacheTime::Endless);
        assert_eq!(read("[Redis]\nhost=r\nlocalTtl = 0s").cache_time, CacheTime::Zero);
        assert_eq!(read("[Consul]\nhost = c\nlocalTtl=1s").cache_time, CacheTime::For(Duration::from_secs(1)));
        assert_eq!(
            read("[DynamoDB]\nenabled = true\ntableName = t").database,
            Database::DynamoDb { table_name: Some("t".to_owned()) }
        );
        assert_eq!(read("[OfflineMode]\nfileDataSource = /a.tar.gz").offline.unwrap().file, "/a.tar.gz");
        let auto = AutoConfig { env_datastore_prefix: None, has_cache: true };
        assert_eq!(read("[AutoConfig]\nkey=rel\ncacheKey=c").auto_config, Some(auto));
    }

    #[test]
    fn what_the_relay_refuses_is_refused_with_its_line() {
        for (text, message) in [
            ("sdkKey = x\n[Main]\n", "ld-relay.conf:1: a key stands before the first section"),
            ("\n[Main]\n[Environment.a]\n", "ld-relay.conf:3: a section's name has a dot in it"),
            ("[Main] port = 3\n", "ld-relay.conf:1: a key stands on the line of its section"),
            ("[Environment \"a\"]\n\n# x\nprefix = a\\qb\n", "ld-relay.conf:4: is not a section header"),
            ("[Environment \"a\"]\nsdk_key = a\n", "ld-relay.conf:2: is not a section header"),
            ("[Environment \"a\"]\nprefix = \"a\n", "ld-relay.conf:2: is not a section header"),
            ("[Environment \"a\"]\nsdkKey\n", "ld-relay.conf:2: sdkkey has no value"),
            ("[Environment \"a\"]\nsdkKey = a b\n", "ld-relay.conf:2: an SDK key is a single line"),
            ("[Main\n", "ld-relay.conf:1: is not a section header"),
            ("[Main]\nport = 0\n", "ld-relay.conf:2: port is no port"),
            ("[Redis]\nhost=a\n\nlocalTtl = 30\n", "ld-relay.conf:4: localttl: \"30\" is not a duration"),
            ("[Redis]\nhost=a\nurl=redis://b\n", "ld-relay.conf:3: Redis has a URL and also a host"),
            ("[Redis]\nurl=http://b\n", "ld-relay.conf: the URL of Redis is neither redis:// nor"),
            ("[Redis]\ntls=maybe\n", "ld-relay.conf:2: tls is neither true nor false"),
            ("[Redis]\nhost=a\n[Consul]\nhost=b\n", "ld-relay.conf: names more than one database"),
            ("[AutoConfig]\nkey=a\n[Environment \"a\"]\n", "ld-relay.conf: has environments and automatic"),
            ("[OfflineMode]\nfileDataSource=a\n[Environment \"a\"]\n", "ld-relay.conf: has offline mode and another"),
            ("[Filters \"p\"]\nkeys = a,,b\n", "ld-relay.conf:2: a payload filter's key is empty"),
        ] {
            let refused = refusal(text);
            assert!(refused.starts_with(message), "{text:?}: {refused}");
        }
        assert!(refusal(&"#".repeat(2_000_000)).contains("longer than"));
    }

    #[test]
    fn what_no_relay_knows_is_noted_with_what_was_meant() {
        let configuration = read("[Main]\nstreamUrl = https://x\n[Environment \"a\"]\nsdkKeys = b\nxyz = 1\n");
        let noted: Vec<_> = configuration.not_known.iter().map(|found| (found.key.as_deref(), found.like)).collect();
        assert_eq!(
            noted,
            [(Some("streamUrl"), Some("streamUri")), (Some("sdkKeys"), Some("sdkKey")), (Some("xyz"), None)]
        );
        assert_eq!(configuration.not_known[1].section, "[Environment \"a\"]");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fall(text in "(\\[(Main|Redis|Environment|Filters)( \"[a-z\\\\\"]{0,3}\")?\\]|(url|port|keys|prefix|localTtl) ?=? ?\\PC{0,8}|[\\\\\"#;\n\r ]){0,12}") {
            let _ = RelayConfiguration::from_file(&text, "x");
        }

        #[test]
        fn a_quoted_prefix_is_read_as_it_was_meant(prefix in "[ -~\u{e4}]{1,20}") {
            let quoted = prefix.replace('\\', "\\\\").replace('"', "\\\"");
            let configuration = read(&format!("[Environment \"e\"]\nprefix = \"{quoted}\"\nprojKey = p\n"));
            prop_assert_eq!(configuration.environments[0].prefix.as_deref(), Some(prefix.as_str()));
            prop_assert_eq!(configuration.environments[0].proj_key.as_deref(), Some("p"));
        }
    }
}
