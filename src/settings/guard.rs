//! The settings of a guard: where it listens, where LaunchDarkly's stream is, what it keeps where.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use super::SettingsError;
use super::launchdarkly_url;
use super::layers::Layers;
use super::parsed;
use super::table;
use super::with_default;

/// The longest name of a guard, in bytes.
const NAME_LENGTH_MAX: usize = 64;

/// How a guard tells what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogForm {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// How a guard runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardSettings {
    /// LaunchDarkly's stream, without a slash at the end.
    pub stream_url: String,
    /// Where relays come.
    pub listen: Option<SocketAddr>,
    /// Where status and metrics are asked for.
    pub admin: Option<SocketAddr>,
    /// The guard's folder. It need not exist.
    pub state: PathBuf,
    /// What the guard is called, if it was given a name.
    pub name: Option<String>,
    /// The file of its certificate.
    pub tls_cert: Option<PathBuf>,
    /// The file of the certificate's key.
    pub tls_key: Option<PathBuf>,
    /// How it tells what happens.
    pub log: LogForm,
}

pub(super) fn read(layers: &Layers, folder: &Path) -> Result<GuardSettings, SettingsError> {
    let path = |setting| Ok::<_, SettingsError>(layers.find(setting)?.map(|found| found.path(&found.value)));
    Ok(GuardSettings {
        stream_url: with_default(layers, &table::LD_STREAM_URL, launchdarkly_url)?,
        listen: parsed(layers, &table::RC_LISTEN, address)?,
        admin: parsed(layers, &table::RC_ADMIN, address)?,
        state: path(&table::RC_STATE)?.unwrap_or_else(|| folder.join(table::RC_STATE.default)),
        name: parsed(layers, &table::RC_GUARD_NAME, name)?,
        tls_cert: path(&table::RC_TLS_CERT)?,
        tls_key: path(&table::RC_TLS_KEY)?,
        log: with_default(layers, &table::RC_LOG, log)?,
    })
}

/// Reads an address to listen at: an IP address and a port, which may be 0.
///
/// # Errors
/// What is wrong, as a fragment that follows the name of the setting.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    local
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| format!("is {text:?}, not an address and a port such as 127.0.0.1:8031 or 0.0.0.0:8031"))
}

/// Reads the name of a guard, which becomes part of a key in stores.
///
/// # Errors
/// What is wrong, as a fragment that follows the name of the setting.
pub fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=NAME_LENGTH_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(format!("is {text:?}, not made of 1 to {NAME_LENGTH_MAX} letters, digits, '.', '_' or '-'"))
}

fn log(text: &str) -> Result<LogForm, String> {
    match text {
        "text" => Ok(LogForm::Text),
        "json" => Ok(LogForm::Json),
        _ => Err(format!("is {text:?}, neither text nor json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names() {
        assert_eq!(address(" 127.0.0.1:8031 ").unwrap().to_string(), "127.0.0.1:8031");
        assert_eq!(address("localhost:0").unwrap().to_string(), "127.0.0.1:0");
        assert_eq!(address("[::]:8031").unwrap().to_string(), "[::]:8031");
        assert!(address("8031").unwrap_err().contains("127.0.0.1:8031"));
        assert_eq!(name("eu-1.a_b").unwrap(), "eu-1.a_b");
        for wrong in ["", "a b", "a:b", &"x".repeat(65)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
