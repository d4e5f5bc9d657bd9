//! Guards that announce themselves: a key each, which expires, and a hash that names them, so that finding them costs
//! nothing where a server has millions of keys. It must not know what they say.

use redis::Value;

use crate::store::StoreError;
use crate::store::following::ANNOUNCED_FOR;
use crate::store::following::Announcement;
use crate::store::redis::RedisStore;
use crate::store::redis::keys::Keys;
use crate::store::redis::refusal::Missing;
use crate::store::redis::refusal::missing;
use crate::store::redis::scan;

/// From this number of names on, those that have fallen silent are looked for and removed.
const NAMES_KEPT: i64 = 32;

/// The most guards that are asked for at once.
const NAMES_MAX: usize = 1_000;

/// The longest announcement, in bytes, that is read; a longer one comes cut off, and cannot be understood.
const TEXT_LENGTH_MAX: usize = 1024 * 1024;

impl RedisStore {
    pub(super) async fn write_announcement(&self, prefix: &str, announcement: &Announcement) -> Result<(), StoreError> {
        let keys = Keys::new(prefix);
        let key = keys.guard(&announcement.name);
        let mut write = redis::pipe();
        write.cmd("SET").arg(&key).arg(&announcement.text).arg("EX").arg(ANNOUNCED_FOR.as_secs());
        write.cmd("HSET").arg(&keys.guards).arg(&announcement.name).arg("");
        write.cmd("HLEN").arg(&keys.guards);
        let values = self.connections.tell(&write).await?;
        for (value, (command, key)) in
            values.iter().zip([("set", &key), ("hset", &keys.guards), ("hlen", &keys.guards)])
        {
            if let Value::ServerError(error) = value {
                return Err(self.refused(error, command, Some(key)).await);
            }
        }
        if matches!(values.last(), Some(Value::Int(names)) if *names > NAMES_KEPT) {
            self.forget_silent_guards(&keys).await;
        }
        Ok(())
    }

    pub(super) async fn remove_announcement(&self, prefix: &str, name: &str) -> Result<(), StoreError> {
        let keys = Keys::new(prefix);
        let mut write = redis::pipe();
        write.cmd("HDEL").arg(&keys.guards).arg(name);
        match self.connections.tell(&write).await?.pop() {
            Some(Value::ServerError(error)) => Err(self.refused(&error, "hdel", Some(&keys.guards)).await),
            _ => Ok(()),
        }
    }

    pub(super) async fn read_announcements(&self, prefix: &str) -> Result<Vec<Announcement>, StoreError> {
        let found = self.names_and_texts(&Keys::new(prefix)).await?;
        let standing = |(name, text): (String, Option<String>)| Some(Announcement { name, text: text? });
        Ok(found.into_iter().filter_map(standing).collect())
    }

    /// All names, and what those say that have not fallen silent.
    async fn names_and_texts(&self, keys: &Keys) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let mut question = redis::pipe();
        question.cmd("HGETALL").arg(&keys.guards);
        let names = match self.connections.ask(&question).await?.pop() {
            Some(Value::Array(values)) => scan::pairs(values),
            // Where our own keys are forbidden no guard can have announced itself.
            Some(Value::ServerError(error)) if missing(&error) == Some(Missing::Key) => Vec::new(),
            Some(Value::ServerError(error)) => return Err(self.refused(&error, "hgetall", Some(&keys.guards)).await),
            _ => Vec::new(),
        };
        let name = |(name, _): (Vec<u8>, Vec<u8>)| String::from_utf8(name).ok();
        let names: Vec<String> = names.into_iter().filter_map(name).take(NAMES_MAX).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut question = redis::pipe();
        for name in &names {
            question.cmd("GETRANGE").arg(keys.guard(name)).arg(0).arg(TEXT_LENGTH_MAX - 1);
        }
        let mut found = Vec::with_capacity(names.len());
        for (name, value) in names.into_iter().zip(self.connections.ask(&question).await?) {
            match value {
                Value::BulkString(text) => {
                    // Of a key that is not there the server gives an empty part.
                    let text = String::from_utf8_lossy(&text).into_owned();
                    found.push((name, Some(text).filter(|text| !text.is_empty())));
                }
                Value::ServerError(error) => {
                    return Err(self.refused(&error, "getrange", Some(&keys.guard(&name))).await);
                }
                _ => found.push((name, None)),
            }
        }
        Ok(found)
    }

    /// That it fails spoils nothing: the next one will do it.
    async fn forget_silent_guards(&self, keys: &Keys) {
        let Ok(found) = self.names_and_texts(keys).await else { return };
        let silent: Vec<String> = found.into_iter().filter(|(_, text)| text.is_none()).map(|(name, _)| name).collect();
        if !silent.is_empty() {
            let mut write = redis::pipe();
            write.cmd("HDEL").arg(&keys.guards).arg(silent);
            let _ = self.connections.tell(&write).await;
        }
    }
}
