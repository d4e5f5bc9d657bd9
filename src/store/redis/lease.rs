//! The right to replay, kept in a key that expires by the server's own clock: taken and renewed by compare-and-set, by a
//! script or, where scripts are forbidden, by `WATCH`. It uses no command that the rest of the store does not use: giving
//! the right back sets an empty text for a millisecond.

use std::time::Duration;

use redis::Value;

use crate::change::lease::LEASE_LENGTH_MAX;
use crate::store::LeaseWish;
use crate::store::StoreError;
use crate::store::redis::RedisStore;
use crate::store::redis::keys::Keys;
use crate::store::redis::script;

const SCRIPT: &str = include_str!("lease.lua");

/// How often a transaction is tried that somebody disturbed.
const ATTEMPTS_MAX: usize = 4;

impl RedisStore {
    pub(super) async fn write_lease(&self, prefix: &str, wish: &LeaseWish) -> Result<Option<String>, StoreError> {
        let key = Keys::new(prefix).lease;
        let mut question = redis::pipe();
        question.cmd("EVAL").arg(SCRIPT).arg(1).arg(&key).arg(LEASE_LENGTH_MAX);
        question.arg(&wish.text).arg(milliseconds(wish)).arg(&wish.over);
        match self.connections.tell(&question).await?.pop() {
            Some(Value::ServerError(error)) if script::is_forbidden(&error) => self.watched_lease(&key, wish).await,
            Some(Value::ServerError(error)) => Err(self.refused(&error, "eval", Some(&key)).await),
            Some(Value::BulkString(text)) => Ok(standing(&text)),
            other => Err(self.strange_lease(&other)),
        }
    }

    pub(super) async fn read_lease(&self, prefix: &str) -> Result<Option<String>, StoreError> {
        let key = Keys::new(prefix).lease;
        let mut question = redis::pipe();
        question.cmd("GETRANGE").arg(&key).arg(0).arg(LEASE_LENGTH_MAX - 1);
        match self.connections.ask(&question).await?.pop() {
            Some(Value::ServerError(error)) => Err(self.refused(&error, "getrange", Some(&key)).await),
            Some(Value::BulkString(text)) => Ok(standing(&text)),
            other => Err(self.strange_lease(&other)),
        }
    }

    async fn watched_lease(&self, key: &str, wish: &LeaseWish) -> Result<Option<String>, StoreError> {
        let mut connection = self.connections.dedicated().await?;
        for _ in 0..ATTEMPTS_MAX {
            let mut question = redis::pipe();
            question.cmd("WATCH").arg(key);
            question.cmd("GETRANGE").arg(key).arg(0).arg(LEASE_LENGTH_MAX - 1);
            let values = connection.exchange(&question).await.map_err(|lost| lost.unreachable(self.shown_address()))?;
            let text = match values.as_slice() {
                [Value::ServerError(error), _] => return Err(self.refused(error, "watch", Some(key)).await),
                [_, Value::ServerError(error)] => return Err(self.refused(error, "getrange", Some(key)).await),
                [_, Value::BulkString(text)] => text,
                other => return Err(self.strange_lease(&other)),
            };
            let is_named = |beginning: &String| text.starts_with(beginning.as_bytes());
            if !text.is_empty() && !wish.over.iter().any(is_named) {
                return Ok(standing(text));
            }
            let mut write = redis::pipe();
            write.cmd("MULTI");
            write.cmd("SET").arg(key).arg(&wish.text).arg("PX").arg(milliseconds(wish));
            write.cmd("EXEC");
            let mut values = connection.exchange(&write).await.map_err(|lost| lost.unknown(self.shown_address()))?;
            match values.pop() {
                Some(Value::Nil) => {}
                Some(Value::Array(_)) => return Ok(None),
                Some(Value::ServerError(aborted)) => {
                    let why = values.into_iter().find_map(|value| match value {
                        Value::ServerError(error) => Some(error),
                        _ => None,
                    });
                    return Err(self.refused(&why.unwrap_or(aborted), "set", Some(key)).await);
                }
                other => return Err(self.strange_lease(&other)),
            }
        }
        let problem = format!("{key} was written by somebody else {ATTEMPTS_MAX} times in a row");
        Err(StoreError::Other { address: self.shown_address(), problem })
    }

    fn strange_lease(&self, value: &dyn std::fmt::Debug) -> StoreError {
        let problem = format!("an answer about the right to replay that makes no sense: {value:?}");
        StoreError::Other { address: self.shown_address(), problem }
    }
}

/// At least one: the server takes no less.
fn milliseconds(wish: &LeaseWish) -> u64 {
    u64::try_from(wish.lasts.max(Duration::from_millis(1)).as_millis()).unwrap_or(u64::MAX)
}

fn standing(text: &[u8]) -> Option<String> {
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}
