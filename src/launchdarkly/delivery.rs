//! What LaunchDarkly delivers to SDKs: one flag, as it says it to whoever holds an environment's SDK key (the way in which
//! PHP's SDK asks, launchdarkly.md 4.3). That is LaunchDarkly's data path and not its API: the two fail and come back apart.
//! It asks once and never waits for a better answer, and must not know what the answer is good for.

use std::fmt;
use std::time::Duration;

use reqwest::Method;

use crate::flag::key::FlagKey;
use crate::flag::record::RECORD_LENGTH_MAX;
use crate::flag::record::Record;
use crate::launchdarkly::address::Address;
use crate::launchdarkly::api_error::ApiError;
use crate::launchdarkly::client::ClientOptions;
use crate::launchdarkly::exchange::Body;
use crate::launchdarkly::exchange::Exchange;
use crate::launchdarkly::exchange::Fault;
use crate::launchdarkly::token::Token;

/// Why a flag was not told. None of them says anything about the flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The SDK key is none that it knows.
    #[error("{origin} refuses the SDK key ({status})")]
    KeyRefused {
        /// Whom was asked.
        origin: String,
        /// 401 or 403.
        status: u16,
    },
    /// It answers something else than a flag.
    #[error("{origin} {problem}")]
    Unusable {
        /// Whom was asked.
        origin: String,
        /// What it answered.
        problem: String,
    },
    /// No answer.
    #[error("no answer from {origin}: {problem}")]
    Away {
        /// Whom was asked.
        origin: String,
        /// What went wrong.
        problem: String,
    },
}

/// LaunchDarkly's data path for one environment, which its SDK key stands for.
pub struct Delivery {
    exchange: Exchange,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Delivery").field("origin", &self.origin()).finish_non_exhaustive()
    }
}

impl Delivery {
    /// For the environment of `key`, at `base`, such as `https://sdk.launchdarkly.com`; nothing is sent yet. `deadline` is
    /// for each whole exchange, name resolution included. The process must have a TLS provider installed before the first
    /// question.
    ///
    /// # Errors
    /// [`ApiError::Configuration`] where the base cannot be used: plain HTTP to another machine, among others.
    pub fn new(base: &str, key: Token, deadline: Duration) -> Result<Self, ApiError> {
        let address = Address::parse(base)?;
        let options = ClientOptions { base: base.to_owned(), deadline, ..ClientOptions::new(key) };
        Ok(Self { exchange: Exchange::with_delivery(address, options) })
    }

    /// Scheme, host and port, as shown in messages.
    pub fn origin(&self) -> String {
        self.exchange.address().origin()
    }

    /// The flag as SDKs get it at this moment; `None` where they get none. The record may be anything that is a JSON
    /// object.
    ///
    /// # Errors
    /// [`DeliveryError`].
    pub async fn flag(&self, flag: &FlagKey) -> Result<Option<Record>, DeliveryError> {
        let origin = self.origin();
        let unusable = |problem: String| DeliveryError::Unusable { origin: origin.clone(), problem };
        let url = self.exchange.address().below(&["sdk", "flags", flag.as_str()], &[]);
        let url = url.map_err(|error| unusable(format!("was not asked: {error}")))?;
        let answer = self.exchange.run(Method::GET, url, &Body::None, RECORD_LENGTH_MAX).await;
        let answer = answer.map_err(|fault| self.told(fault))?;
        match answer.status {
            200 => Record::parse(&answer.body)
                .map(Some)
                .map_err(|error| unusable(format!("answers with no flag: it is {error}"))),
            404 => Ok(None),
            status @ (401 | 403) => Err(DeliveryError::KeyRefused { origin, status }),
            status => Err(unusable(format!("answers {status}"))),
        }
    }

    fn told(&self, fault: Fault) -> DeliveryError {
        let origin = self.origin();
        let away = |problem: String| DeliveryError::Away { origin: origin.clone(), problem };
        let unusable = |problem: String| DeliveryError::Unusable { origin: origin.clone(), problem };
        match fault {
            Fault::Unsent(problem) | Fault::Broken(problem) => away(problem),
            Fault::Late => away(format!("nothing within {} ms", self.exchange.options().deadline.as_millis())),
            Fault::TooLarge => unusable(format!("answers with more than {RECORD_LENGTH_MAX} bytes")),
            Fault::Redirected(elsewhere) => {
                unusable(format!("sends elsewhere, to {elsewhere}, where the key does not go"))
            }
            Fault::Configuration(error) => unusable(format!("was not asked: {error}")),
        }
    }
}
