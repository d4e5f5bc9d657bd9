//! SDKs of every kind that gets its flags through a relay or from its store: connections of ours to whatever plays the
//! relay's part, opened as SDKs open theirs. It says what each sees; what it should see is for the scenes.

use std::time::Duration;

use serde_json::Value;

use super::raw::Trouble;
use super::stage::shape;
use crate::flag::key::FlagKey;
use crate::relay::address::RelayAddress;
use crate::relay::client::Deadlines;
use crate::relay::client::RelayClient;
use crate::relay::client::RelayError;
use crate::relay::judgement::cut_off;
use crate::relay::probe::Readiness;
use crate::relay::probe::Watch;
use crate::relay::sdk_key::SdkKey;
use crate::relay::served::Served;

/// How long a relay may take to send what an SDK begins with.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);

/// The kinds of SDKs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    /// It connected before the outage and stays connected. It keeps what it got, and takes what has a higher version.
    Connected,
    /// It connected in the outage, after the kill switch.
    ConnectedLate,
    /// It connects at the moment at which it is looked at.
    New,
    /// It asks for one flag now and then, as PHP does, and is told whether it changed since.
    Polling {
        /// The version that it holds.
        held: u64,
    },
    /// It reads the store itself.
    Daemon,
}

impl Sdk {
    /// In words.
    pub fn told(self) -> &'static str {
        match self {
            Sdk::Connected => "an SDK that stays connected",
            Sdk::ConnectedLate => "an SDK that connected in the outage",
            Sdk::New => "an SDK that connects now",
            Sdk::Polling { .. } => "an SDK that polls, as PHP does",
            Sdk::Daemon => "an SDK in daemon mode",
        }
    }
}

/// A client for relays.
///
/// # Errors
/// Where this program cannot make requests at all.
pub fn client() -> Result<RelayClient, Trouble> {
    RelayClient::new(Deadlines::default()).map_err(|error| error.to_string())
}

/// The SDKs that are connected, and the way to connect another.
#[derive(Debug)]
pub struct Sdks {
    client: RelayClient,
    relay: RelayAddress,
    key: SdkKey,
    flags: Vec<FlagKey>,
    connected: Watch,
    late: Option<Watch>,
}

impl Sdks {
    /// Connects the first one, and waits until it has its flags.
    ///
    /// # Errors
    /// Where the relay does not send them.
    pub async fn connect(client: RelayClient, url: &str, key: &str, flags: Vec<FlagKey>) -> Result<Self, Trouble> {
        let relay = RelayAddress::labelled("drill", url).map_err(|error| error.to_string())?;
        let key = SdkKey::parse(key).map_err(|error| error.to_string())?;
        let connected = Watch::open(&client, &relay, &key, None, &flags);
        begun(&connected, BEGINS_WITHIN).await?;
        Ok(Self { client, relay, key, flags, connected, late: None })
    }

    /// For questions to the relay itself.
    pub fn client(&self) -> &RelayClient {
        &self.client
    }

    /// Connects one that has not been there before.
    ///
    /// # Errors
    /// Where the relay sends it nothing.
    pub async fn connect_late(&mut self) -> Result<(), Trouble> {
        self.late = Some(self.another(BEGINS_WITHIN).await?);
        Ok(())
    }

    /// Connects those again whose relay was started anew; `within`: how long they try.
    ///
    /// # Errors
    /// Where the relay serves nobody until then.
    pub async fn connect_again(&mut self, within: Duration) -> Result<(), Trouble> {
        let until = tokio::time::Instant::now() + within;
        loop {
            match self.another(BEGINS_WITHIN).await {
                Ok(watch) => {
                    self.connected = watch;
                    break;
                }
                Err(trouble) if tokio::time::Instant::now() > until => return Err(trouble),
                // As SDKs do, but without their patience.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        if self.late.is_some() {
            self.late = Some(self.another(BEGINS_WITHIN).await?);
        }
        Ok(())
    }

    async fn another(&self, within: Duration) -> Result<Watch, Trouble> {
        let watch = Watch::open(&self.client, &self.relay, &self.key, None, &self.flags);
        begun(&watch, within).await?;
        Ok(watch)
    }

    /// What a connected SDK has of a flag: `off v43`.
    pub fn held(&self, late: bool, flag: &FlagKey) -> String {
        let watch = if late { self.late.as_ref() } else { Some(&self.connected) };
        match watch.and_then(|watch| watch.has(flag)) {
            Some(served) => of_served(served.as_ref()),
            None => "is not connected".to_owned(),
        }
    }

    /// What a new connection begins with, of this flag.
    pub async fn fresh(&self, flag: &FlagKey) -> String {
        match self.another(BEGINS_WITHIN).await {
            Ok(watch) => watch.has(flag).map_or("nothing".to_owned(), |served| of_served(served.as_ref())),
            Err(trouble) => trouble,
        }
    }

    /// What is answered to one that polls and holds this version: `off v43`, or that nothing changed since.
    pub async fn polled(&self, flag: &FlagKey, held: u64) -> String {
        match self.client.poll(&self.relay, &self.key, None, flag, Some(held)).await {
            Ok(polled) if polled.unchanged == Some(true) => format!("not changed since v{held}"),
            Ok(polled) => of_served(polled.served.as_ref()),
            Err(error) => error.to_string(),
        }
    }

    /// What the relay says of its connection to LaunchDarkly: `connected`, `cut off`.
    pub async fn stream_of_the_relay(&self) -> String {
        match self.client.status(&self.relay).await {
            Ok(status) => match status.environments.first().map(cut_off) {
                Some(None) => "connected".to_owned(),
                Some(Some(_)) => "cut off".to_owned(),
                None => "no environment".to_owned(),
            },
            Err(error) => error.to_string(),
        }
    }

    /// How the relay answers somebody who asks it for flags: `503`, `serves`.
    pub async fn answer_of_the_relay(&self, flag: &FlagKey) -> String {
        match self.client.poll(&self.relay, &self.key, None, flag, None).await {
            Ok(_) => "serves".to_owned(),
            Err(RelayError::Refused { status, .. }) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

async fn begun(watch: &Watch, within: Duration) -> Result<(), Trouble> {
    match watch.ready(within).await {
        Readiness::Ready => Ok(()),
        Readiness::NotYet => Err("gets nothing".to_owned()),
        Readiness::Broken(why) => Err(why.to_string()),
    }
}

/// A flag as it was served, in the words of [`shape`].
fn of_served(served: Option<&Served>) -> String {
    let Some(served) = served else { return "not there".to_owned() };
    let record: Value = serde_json::from_str(&served.text).unwrap_or_default();
    let values = record.get("variations").and_then(Value::as_array).cloned().unwrap_or_default();
    shape(&record, &values)
}
