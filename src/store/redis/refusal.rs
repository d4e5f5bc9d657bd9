//! What a Redis' error answers mean to the one who asked. It knows the server's words (Redis 6 and later, Valkey) and
//! turns them into [`StoreError`]s with a way out; it must not ask anything itself.

use redis::ServerError;

use crate::store::StoreError;

/// Which right is missing, as far as the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// This command, in lower case.
    Command(String),
    /// One of the keys that were named.
    Key,
}

/// The first known code in an error, also where a script wraps it (`ERR Error running script …: WRONGTYPE …`).
pub(super) fn code(error: &ServerError) -> &str {
    const KNOWN: [&str; 9] =
        ["NOPERM", "READONLY", "LOADING", "OOM", "WRONGTYPE", "NOAUTH", "MASTERDOWN", "MISCONF", "NOREPLICAS"];
    let details = error.details().unwrap_or_default();
    if !KNOWN.contains(&error.code())
        && let Some(inner) = KNOWN.into_iter().find(|known| names_code(details, known))
    {
        return inner;
    }
    error.code()
}

fn names_code(details: &str, known: &str) -> bool {
    details.split([' ', ':']).any(|word| word.trim_start_matches('-') == known)
}

/// The right that is missing, if the answer says that one is.
pub(super) fn missing(error: &ServerError) -> Option<Missing> {
    let details = error.details().unwrap_or_default();
    let in_script = details.contains("ACL failure in script");
    // "The user executing the script can't …" is how versions before 7 say it.
    if code(error) != "NOPERM" && !in_script && !details.contains("The user executing the script") {
        return None;
    }
    if details.contains(" key") && !details.contains("the '") {
        return Some(Missing::Key);
    }
    let command = details.split_once('\'').and_then(|(_, rest)| rest.split_once('\'')).map(|(name, _)| name);
    Some(Missing::Command(command.unwrap_or("the command").to_ascii_lowercase()))
}

/// Whether the server does not know the command at all (renamed away, switched off).
pub(super) fn is_unknown_command(error: &ServerError) -> bool {
    error.details().unwrap_or_default().to_ascii_lowercase().starts_with("unknown command")
}

/// What was asked, for the answer to a missing right.
pub(super) struct Asked<'a> {
    /// The server's address.
    pub(super) address: &'a str,
    /// The user that logged in.
    pub(super) user: Option<&'a str>,
    /// The command, in lower case.
    pub(super) command: &'a str,
    /// The key, if there was one.
    pub(super) key: Option<&'a str>,
}

impl Asked<'_> {
    /// What `error` means as an answer to this.
    pub(super) fn refused(&self, error: &ServerError) -> StoreError {
        let address = self.address.to_owned();
        let words = format!("{} {}", error.code(), error.details().unwrap_or_default()).trim_end().to_owned();
        let about = self
            .key
            .map_or_else(|| self.command.to_uppercase(), |key| format!("{} on {key}", self.command.to_uppercase()));
        if let Some(missing) = missing(error) {
            return self.forbidden(&missing);
        }
        match code(error) {
            "NOAUTH" | "WRONGPASS" => StoreError::Credentials { address, problem: words },
            "READONLY" => StoreError::ReadOnly { address, primary: None },
            "LOADING" => StoreError::Unreachable { address, problem: "is still loading its data after a start".to_owned() },
            "MASTERDOWN" => {
                StoreError::Unreachable { address, problem: "is a replica that has lost its primary".to_owned() }
            }
            "OOM" => StoreError::Other {
                address,
                problem: "it did not take the write: it is out of memory (maxmemory is reached, and its policy removes nothing)"
                    .to_owned(),
            },
            "MISCONF" => StoreError::Other {
                address,
                problem: format!("it takes no writes, because it cannot save its data ({words})"),
            },
            "NOREPLICAS" => StoreError::Other {
                address,
                problem: format!("it takes no writes without enough replicas ({words})"),
            },
            "WRONGTYPE" => {
                StoreError::Damaged { address, problem: format!("{about}: the key holds another type of data") }
            }
            _ => StoreError::Other { address, problem: format!("{about}: {words}") },
        }
    }

    /// The right that is missing, with the rule that gives it.
    pub(super) fn forbidden(&self, missing: &Missing) -> StoreError {
        let command = match missing {
            Missing::Command(command) if command != "the command" => command.as_str(),
            _ => self.command,
        };
        let user = self.user.unwrap_or("default");
        let name = command.to_uppercase();
        let (what, way_out) = match (missing, self.key) {
            (Missing::Key, Some(key)) => (format!("{name} on {key}"), format!("ACL SETUSER {user} ~{key}")),
            (_, Some(key)) => {
                (format!("{name} on {key}"), format!("ACL SETUSER {user} +{} ~{key}", command.replace(' ', "|")))
            }
            (_, None) => (name, format!("ACL SETUSER {user} +{}", command.replace(' ', "|"))),
        };
        StoreError::Forbidden { address: self.address.to_owned(), what, way_out }
    }
}
