//! What the scenes look at: LaunchDarkly's own account, the store raw, what arrived, and what SDKs of each kind see.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use tokio::time::sleep;

use super::Stage;
use super::words::shape;
use crate::commands::drill::judgement::Step;
use crate::commands::drill::operator::Operator;
use crate::commands::drill::raw::Trouble;
use crate::commands::drill::raw::playback;
use crate::commands::drill::sdks::Sdk;
use crate::drill::launchdarkly::Received;
use crate::flag::key::FlagKey;

/// How often is looked again at what is waited for.
const STEP: Duration = Duration::from_millis(10);

/// # Errors
/// Where it is none, in words.
pub fn flag_key(flag: &str) -> Result<FlagKey, Trouble> {
    flag.parse().map_err(|error| format!("{flag}: {error}"))
}

impl Stage {
    /// LaunchDarkly's flag in the words of [`shape`].
    ///
    /// # Errors
    /// Where LaunchDarkly has no such flag.
    pub fn launchdarkly(&self, flag: &str) -> Result<String, Trouble> {
        let key = flag_key(flag)?;
        let configuration = self.control().configuration(&self.environment, &key).map_err(|why| why.to_string())?;
        let whole = self.control().flag(&self.environment, &key).map_err(|why| why.to_string())?;
        let variations = whole.get("variations").and_then(Value::as_array).into_iter().flatten();
        let values: Vec<Value> = variations.filter_map(|variation| variation.get("value").cloned()).collect();
        Ok(shape(&configuration, &values))
    }

    /// The store's flag in the words of [`shape`].
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn stored(&mut self, flag: &str) -> Result<String, Trouble> {
        let content = self.store.content().await?;
        let Some(text) = content.records.get(flag) else { return Ok("not there".to_owned()) };
        let record: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let values = record.get("variations").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(shape(&record, &values))
    }

    /// [`Stage::stored`], once it is as expected, or once the relay has had its time.
    ///
    /// # Errors
    /// Where the store cannot be read, or the relay cannot write it.
    pub async fn stored_when(&mut self, flag: &str, expected: &str) -> Result<String, Trouble> {
        let since = Instant::now();
        loop {
            let saw = self.stored(flag).await?;
            if saw == expected || self.is_over(since)? {
                return Ok(saw);
            }
            sleep(STEP).await;
        }
    }

    /// Whether the relay has had its time since then.
    ///
    /// # Errors
    /// It has, and says what went wrong.
    fn is_over(&self, since: Instant) -> Result<bool, Trouble> {
        let over = since.elapsed() > self.relay.patience();
        match self.relay.trouble() {
            Some(trouble) if over => Err(trouble),
            _ => Ok(over),
        }
    }

    /// How many of LaunchDarkly's flags stand in the store as LaunchDarkly would send them: `8 of 8`.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn as_launchdarkly_has_them(&mut self) -> Result<String, Trouble> {
        let theirs = self.control().sdk_flags(&self.environment).map_err(|why| why.to_string())?;
        let content = self.store.content().await?;
        let ours = |key: &String| serde_json::from_str::<Value>(content.records.get(key)?).ok();
        let exactly = !self.relay.is_named();
        let same_as = |ours: &Value, theirs: &Value| if exactly { ours == theirs } else { says(ours, theirs) };
        let same = theirs.iter().filter(|(key, flag)| ours(key).is_some_and(|ours| same_as(&ours, flag))).count();
        Ok(format!("{same} of {}", theirs.len().max(content.records.len())))
    }

    /// Whether two texts of a record are the same: to the byte, but by value where a real relay has written one of them. It
    /// writes records anew each time, with the keys of JSON values in any order.
    pub fn same_record(&self, one: Option<&String>, other: Option<&String>) -> bool {
        let read = |text: Option<&String>| serde_json::from_str::<Value>(text?).ok();
        if self.relay.is_named() { read(one) == read(other) } else { one == other }
    }

    /// [`Stage::as_launchdarkly_has_them`], once it is as expected, or once the relay has had its time.
    ///
    /// # Errors
    /// Where the store cannot be read, or the relay cannot write it.
    pub async fn as_launchdarkly_has_them_when(&mut self, expected: &str) -> Result<String, Trouble> {
        let since = Instant::now();
        loop {
            let saw = self.as_launchdarkly_has_them().await?;
            if saw == expected || self.is_over(since)? {
                return Ok(saw);
            }
            sleep(STEP).await;
        }
    }

    /// What an SDK of this kind sees of a flag, in the words of [`shape`].
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn sees(&mut self, sdk: Sdk, flag: &str) -> Result<String, Trouble> {
        let key = flag_key(flag)?;
        Ok(match sdk {
            Sdk::Connected => self.sdks.held(false, &key),
            Sdk::ConnectedLate => self.sdks.held(true, &key),
            Sdk::New => self.sdks.fresh(&key).await,
            Sdk::Polling { held } => self.sdks.polled(&key, held).await,
            Sdk::Daemon => self.stored(flag).await?,
        })
    }

    /// Waits until an SDK of this kind sees what is expected, at most as long as the relay may take, and notes that with how
    /// long it was `since` then. What is seen already is noted at once.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn sdk(
        &mut self,
        step: &mut Step,
        sdk: Sdk,
        (flag, expected): (&str, &str),
        since: Instant,
    ) -> Result<Duration, Trouble> {
        let began = Instant::now();
        let saw = loop {
            let saw = self.sees(sdk, flag).await?;
            if saw == expected || self.is_over(began)? {
                break saw;
            }
            sleep(STEP).await;
        };
        let after = since.elapsed();
        step.check_after(format!("{}: {flag}", sdk.told()), expected, saw, after);
        Ok(after)
    }

    /// Waits until the relay says this of its stream from LaunchDarkly, and notes it.
    ///
    /// # Errors
    /// Where the relay says what went wrong.
    pub async fn relay_when(&mut self, step: &mut Step, expected: &str, since: Instant) -> Result<Duration, Trouble> {
        let began = Instant::now();
        let saw = loop {
            let saw = self.sdks.stream_of_the_relay().await;
            if saw == expected || self.is_over(began)? {
                break saw;
            }
            sleep(STEP).await;
        };
        let after = since.elapsed();
        step.check_after("the relay's stream from LaunchDarkly", expected, saw, after);
        Ok(after)
    }

    /// The flags that were patched through LaunchDarkly's API since `number`, with how often where that is more than
    /// once: `checkout, refunds x2`.
    pub fn patched_since(&self, number: u64) -> Vec<String> {
        let received = self.control().received();
        let is_patch = |request: &&Received| {
            request.number >= number
                && request.method == "PATCH"
                && request.status == Some(200)
                && !request.path.contains("dryRun")
        };
        let mut counts = BTreeMap::<String, usize>::new();
        for patch in received.iter().filter(is_patch) {
            let path = patch.path.split('?').next().unwrap_or_default();
            *counts.entry(path.rsplit('/').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let often = |count| if count > 1 { format!(" x{count}") } else { String::new() };
        counts.into_iter().map(|(flag, count)| format!("{flag}{}", often(count))).collect()
    }

    /// The number that LaunchDarkly's next request will have.
    pub fn next_request(&self) -> u64 {
        self.control().received().last().map_or(0, |request| request.number + 1)
    }

    /// What waits in an operator's playback, by flag and instruction, oldest first.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn waiting(operator: &Operator) -> Result<Vec<String>, Trouble> {
        Ok(playback::read(operator.home())?.told())
    }
}

/// Whether a record says what LaunchDarkly's says: every value that LaunchDarkly sends is in it. A relay writes records anew
/// and adds defaults.
fn says(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => theirs.iter().all(|(name, theirs)| match ours.get(name) {
            Some(ours) => says(ours, theirs),
            None => is_default(theirs),
        }),
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| says(ours, theirs))
        }
        (Value::Number(ours), Value::Number(theirs)) => ours.as_f64() == theirs.as_f64(),
        _ => ours == theirs,
    }
}

/// What a relay may leave out.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_relay_writes_anew_says_the_same() {
        let theirs =
            json!({ "key": "a", "on": true, "version": 2, "rules": [{ "id": "r", "weight": 1.0 }], "old": [] });
        let ours = json!({ "version": 2, "key": "a", "on": true, "rules": [{ "id": "r", "weight": 1, "more": 0 }] });
        assert!(says(&ours, &theirs));
        assert!(!says(&json!({ "key": "a", "version": 2, "rules": [] }), &theirs));
        assert!(!says(&json!({ "key": "a", "on": false, "version": 2, "rules": [] }), &theirs));
    }
}
