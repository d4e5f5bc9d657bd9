//! A relay's automatic configuration as LaunchDarkly's stream tells it: which environments there are, and their keys
//! (launchdarkly.md 7.4). PURE. It holds SDK keys, so it is never shown; on disk it is kept sealed.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::guard::stream::event::Event;
use crate::guard::stream::event::written;
use crate::guard::stream::state::NotUnderstood;

/// The sections that are known.
const ENVIRONMENTS: &str = "environments";
const FILTERS: &str = "filters";

/// An environment that a relay learns of, without its keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, Deserialize)]
pub struct Learnt {
    /// Its client-side id.
    pub id: String,
    /// The project's key.
    pub project: String,
    /// The environment's key.
    pub environment: String,
}

/// An environment with its keys.
#[derive(Clone, PartialEq, Eq)]
pub struct LearntKeys {
    /// Which.
    pub environment: Learnt,
    /// Its SDK key.
    pub key: String,
    /// The key before it, and when that expires.
    pub expiring: Option<(String, Timestamp)>,
}

impl fmt::Debug for LearntKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LearntKeys").field("environment", &self.environment).finish_non_exhaustive()
    }
}

/// What an event of the stream comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Something is different now.
    Changed,
    /// Nothing is.
    Nothing,
    /// The stream is to be opened anew.
    Reconnect,
}

/// Everything that the stream told.
#[derive(Clone, Default)]
pub struct AutoConfiguration {
    environments: IndexMap<String, Entry>,
    filters: IndexMap<String, Entry>,
    /// Sections that this program does not know.
    others: Vec<(String, String)>,
    /// LaunchDarkly's own `put`, as long as it says just that.
    put: Option<Bytes>,
}

impl fmt::Debug for AutoConfiguration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AutoConfiguration").field("environments", &self.environments.len()).finish()
    }
}

#[derive(Clone)]
struct Entry {
    version: u64,
    /// `None`: deleted.
    text: Option<String>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    version: Option<u64>,
}

#[derive(Deserialize)]
struct Put<'a> {
    #[serde(borrow, default)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: IndexMap<String, &'a RawValue>,
}

#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    version: u64,
}

impl AutoConfiguration {
    /// Takes an event.
    ///
    /// # Errors
    /// [`NotUnderstood`]: it is none that LaunchDarkly sends. Nothing was taken of it. The problem has no key in it.
    pub fn take(&mut self, event: &Event) -> Result<Taken, NotUnderstood> {
        // What a parser has to say may quote what it read, and here that may be a key.
        let wrong = || NotUnderstood { event: event.name.clone(), problem: "it is not of the known form".to_owned() };
        match event.name.as_str() {
            "put" => {
                let put: Put<'_> = serde_json::from_slice(&event.data).map_err(|_| wrong())?;
                if !matches!(put.path.as_deref(), None | Some("" | "/")) {
                    return Ok(Taken::Nothing);
                }
                // Without that section a relay would take it that there is no environment any more.
                if !put.data.contains_key(ENVIRONMENTS) {
                    return Err(wrong());
                }
                *self = Self::of_sections(put.data).map_err(|_| wrong())?;
                self.put = Some(event.bytes.clone());
                Ok(Taken::Changed)
            }
            "patch" | "delete" => {
                let change: Change<'_> = serde_json::from_slice(&event.data).map_err(|_| wrong())?;
                let entry = match (event.name.as_str(), change.data, change.version) {
                    ("patch", Some(data), _) => entry(data).map_err(|_| wrong())?,
                    ("delete", _, Some(version)) => Entry { version, text: None },
                    _ => return Err(wrong()),
                };
                Ok(self.change(&change.path, entry))
            }
            "reconnect" => Ok(Taken::Reconnect),
            _ => Ok(Taken::Nothing),
        }
    }

    fn of_sections(sections: IndexMap<String, &RawValue>) -> Result<Self, serde_json::Error> {
        let mut read = Self::default();
        for (section, raw) in sections {
            let place = match section.as_str() {
                ENVIRONMENTS => &mut read.environments,
                FILTERS => &mut read.filters,
                _ => {
                    read.others.push((section, raw.get().to_owned()));
                    continue;
                }
            };
            let members: Option<IndexMap<String, &RawValue>> = serde_json::from_str(raw.get())?;
            for (id, raw) in members.unwrap_or_default() {
                place.insert(id, entry(raw)?);
            }
        }
        Ok(read)
    }

    /// Takes one entry, only if its version is higher, as a relay does.
    fn change(&mut self, path: &str, entry: Entry) -> Taken {
        let place = match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
            Some((ENVIRONMENTS, id)) => Some((&mut self.environments, id)),
            Some((FILTERS, id)) => Some((&mut self.filters, id)),
            _ => None,
        };
        let Some((place, id)) = place else { return Taken::Nothing };
        if place.get(id).is_some_and(|known| known.version >= entry.version) {
            return Taken::Nothing;
        }
        place.insert(id.to_owned(), entry);
        self.put = None;
        Taken::Changed
    }

    /// The event that tells all of it.
    pub fn to_put(&self) -> Bytes {
        if let Some(put) = &self.put {
            return put.clone();
        }
        let section = |entries: &IndexMap<String, Entry>| {
            let there = entries.iter().filter_map(|(id, entry)| Some((id, entry.text.as_ref()?)));
            let members: Vec<String> = there.map(|(id, text)| format!("{}:{text}", quoted(id))).collect();
            format!("{{{}}}", members.join(","))
        };
        let mut sections = vec![
            format!("{}:{}", quoted(ENVIRONMENTS), section(&self.environments)),
            format!("{}:{}", quoted(FILTERS), section(&self.filters)),
        ];
        sections.extend(self.others.iter().map(|(name, text)| format!("{}:{text}", quoted(name))));
        written("put", &[b"{\"path\":\"/\",\"data\":{", sections.join(",").as_bytes(), b"}}"])
    }

    /// The environments, with their keys. One that cannot be read is left out: a relay would pass over it too.
    pub fn environments(&self) -> Vec<LearntKeys> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Environment {
            proj_key: String,
            env_key: String,
            sdk_key: Keys,
        }
        #[derive(Deserialize)]
        struct Keys {
            value: String,
            expiring: Option<Expiring>,
        }
        #[derive(Deserialize)]
        struct Expiring {
            #[serde(default)]
            value: String,
            #[serde(default)]
            timestamp: i64,
        }
        let read = |(id, entry): (&String, &Entry)| {
            let environment: Environment = serde_json::from_str(entry.text.as_deref()?).ok()?;
            let expiring = environment.sdk_key.expiring.filter(|expiring| !expiring.value.is_empty());
            Some(LearntKeys {
                environment: Learnt { id: id.clone(), project: environment.proj_key, environment: environment.env_key },
                key: environment.sdk_key.value,
                expiring: expiring
                    .and_then(|expiring| Some((expiring.value, Timestamp::from_millisecond(expiring.timestamp).ok()?))),
            })
        };
        self.environments.iter().filter_map(read).collect()
    }
}

fn entry(raw: &RawValue) -> Result<Entry, serde_json::Error> {
    let Version { version } = serde_json::from_str(raw.get())?;
    Ok(Entry { version, text: Some(raw.get().to_owned()) })
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::stream::event::Piece;
    use crate::guard::stream::event::Splitter;

    fn event(name: &str, data: &str) -> Event {
        let bytes = written(name, &[data.as_bytes()]);
        match Splitter::new(1 << 20).push(&bytes).unwrap().pop() {
            Some(Piece::Event(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    const ENVIRONMENT: &str = r#"{"envID":"e1","envKey":"production","envName":"Production","mobKey":"mob-1","projKey":"shop","projName":"Shop","sdkKey":{"value":"sdk-new","expiring":{"value":"sdk-old","timestamp":1000}},"defaultTtl":0,"secureMode":false,"version":3}"#;

    fn put() -> Event {
        event(
            "put",
            &format!(
                r#"{{"path":"/","data":{{"environments":{{"e1":{ENVIRONMENT}}}, "filters":{{"f":{{"projKey":"shop","key":"web","version":1}}}},"later":[1]}}}}"#
            ),
        )
    }

    fn taken(event: &Event) -> AutoConfiguration {
        let mut configuration = AutoConfiguration::default();
        assert_eq!(configuration.take(event), Ok(Taken::Changed));
        configuration
    }

    #[test]
    fn environments_and_keys_are_learnt() {
        let configuration = taken(&put());
        assert_eq!(configuration.to_put(), put().bytes, "LaunchDarkly's own, as long as it says just that");
        let [learnt] = configuration.environments().try_into().unwrap();
        assert_eq!(learnt.environment.project, "shop");
        assert_eq!(learnt.key, "sdk-new");
        assert_eq!(learnt.expiring, Some(("sdk-old".to_owned(), Timestamp::from_second(1).unwrap())));
        let shown = format!("{configuration:?} {learnt:?}");
        assert!(!shown.contains("sdk-") && !shown.contains("mob-"), "{shown}");
    }

    #[test]
    fn changes_are_taken_by_version_and_told_with_the_rest() {
        let mut configuration = taken(&put());
        let patch = |id: &str, version: u64| {
            let text =
                ENVIRONMENT.replace("\"version\":3", &format!("\"version\":{version}")).replace("sdk-new", "sdk-newer");
            event("patch", &format!(r#"{{"path":"/environments/{id}","data":{text}}}"#))
        };
        assert_eq!(configuration.take(&patch("e1", 3)), Ok(Taken::Nothing));
        assert_eq!(configuration.take(&patch("e1", 4)), Ok(Taken::Changed));
        assert_eq!(configuration.take(&patch("e2", 1)), Ok(Taken::Changed));
        assert_eq!(configuration.take(&event("delete", r#"{"path":"/filters/f","version":2}"#)), Ok(Taken::Changed));
        let again = taken(&match Splitter::new(1 << 20).push(&configuration.to_put()).unwrap().pop() {
            Some(Piece::Event(event)) => event,
            other => panic!("{other:?}"),
        });
        let keys: Vec<String> = again.environments().into_iter().map(|learnt| learnt.key).collect();
        assert_eq!(keys, ["sdk-newer", "sdk-newer"]);
        assert!(again.filters.is_empty() && again.others.len() == 1);
        assert_eq!(
            configuration.take(&event("delete", r#"{"path":"/environments/e1","version":5}"#)),
            Ok(Taken::Changed)
        );
        assert_eq!(configuration.environments().len(), 1);
        assert_eq!(configuration.take(&patch("e1", 5)), Ok(Taken::Nothing), "deleted under that version");
    }

    #[test]
    fn what_is_not_understood_shows_no_key() {
        let mut configuration = taken(&put());
        for (name, data) in [
            ("put", r#"{"path":"/","data":{"environments":"sdk-secret"}}"#),
            ("put", r#"{"path":"/","data":"sdk-secret"#),
            ("patch", r#"{"path":"/environments/e1","data":"sdk-secret"}"#),
            ("patch", r#"{"path":"/environments/e1"}"#),
            ("delete", r#"{"path":"/environments/e1"}"#),
        ] {
            let error = configuration.take(&event(name, data)).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert_eq!(configuration.environments().len(), 1);
        assert_eq!(configuration.take(&event("reconnect", "{}")), Ok(Taken::Reconnect));
        assert_eq!(configuration.take(&event("patch", r#"{"path":"/other/x","data":{}}"#)), Ok(Taken::Nothing));
    }
}
