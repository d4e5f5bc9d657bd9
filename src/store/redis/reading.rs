//! What a Redis holds: some flags in one round trip, or everything, or what is ours. It reads and judges nothing:
//! bytes that are no record are returned as they are.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use redis::Pipeline;
use redis::ServerError;
use redis::Value;

use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::RECORD_LENGTH_MAX;
use crate::store::FlagReading;
use crate::store::LogEntry;
use crate::store::PrefixFound;
use crate::store::Reading;
use crate::store::StoreError;
use crate::store::StoredOverride;
use crate::store::redis::RedisStore;
use crate::store::redis::following::log_entry;
use crate::store::redis::following::one_per_flag;
use crate::store::redis::keys;
use crate::store::redis::keys::Keys;
use crate::store::redis::marks;
use crate::store::redis::refusal::Missing;
use crate::store::redis::refusal::missing;
use crate::store::redis::scan;
use crate::store::redis::scan::Walked;
use crate::store::redis::transaction::texts;

/// Up to this many fields a hash is read in one piece: one moment, and the server is not held up.
const AT_ONCE_MAX: u64 = 2_000;

/// The most flags, overrides or ended marks that are read.
pub(super) const FIELDS_MAX: usize = 200_000;

/// The most steps of a search for prefixes: some ten million keys.
const PREFIX_STEPS_MAX: usize = 5_000;

/// The most prefixes that are listed.
const PREFIXES_MAX: usize = 2_000;

/// How long a search for prefixes may take in all.
const PREFIXES_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

impl RedisStore {
    pub(super) async fn read_flags(&self, prefix: &str, flags: &[FlagKey]) -> Result<Reading, StoreError> {
        let keys = Keys::new(prefix);
        let mut question = head(&keys);
        if !flags.is_empty() {
            for hash in [&keys.features, &keys.overrides] {
                question.cmd("HMGET").arg(hash);
                for flag in flags {
                    question.arg(flag.as_str());
                }
            }
        }
        if let [flag] = flags {
            // No round trip more.
            question.add_command(marks::along(&keys, flag));
        }
        let mut values = self.connections.ask(&question).await?.into_iter();
        let mut reading = self.reading_head(&keys, &mut values).await?;
        if flags.is_empty() {
            return Ok(reading);
        }
        let records = match values.next() {
            Some(Value::ServerError(error)) => return Err(self.refused(&error, "hmget", Some(&keys.features)).await),
            value => texts(value),
        };
        let overrides = self.ours_or_nothing(&keys.overrides, values.next(), &mut reading.own_keys).await?;
        let mut records = records.into_iter();
        let mut overrides = texts(overrides).into_iter();
        for flag in flags {
            let record = records.next().flatten().map(cut);
            let override_ = overrides.next().flatten().map(stored_override);
            let marks = values.next().and_then(marks::read_along);
            reading.flags.insert(flag.clone(), FlagReading { record, override_, marks });
        }
        Ok(reading)
    }

    pub(super) async fn read_everything(&self, prefix: &str) -> Result<Reading, StoreError> {
        let keys = Keys::new(prefix);
        let mut values = self.connections.ask(&head(&keys)).await?.into_iter();
        let mut reading = self.reading_head(&keys, &mut values).await?;
        let records = match self.whole_hash(&keys.features, reading.flag_count).await? {
            Ok(records) => records,
            Err(error) => return Err(self.refused(&error, "hgetall", Some(&keys.features)).await),
        };
        reading.flag_count = records.len() as u64;
        for (field, value) in records {
            match flag_key(&field) {
                Some(flag) => reading.flags.entry(flag).or_default().record = Some(cut(value)),
                None => reading.strange_fields.push(String::from_utf8_lossy(&field).into_owned()),
            }
        }
        reading.strange_fields.sort();
        match self.overrides_if_permitted(&keys).await? {
            None => reading.own_keys = false,
            Some(overrides) => {
                for (flag, override_) in overrides {
                    reading.flags.entry(flag).or_default().override_ = Some(override_);
                }
            }
        }
        Ok(reading)
    }

    pub(super) async fn visit_records(
        &self,
        prefix: &str,
        visit: &mut (dyn FnMut(&FlagKey, &[u8]) + Send),
    ) -> Result<(), StoreError> {
        let key = Keys::new(prefix).features;
        let take = |pairs: Vec<(Vec<u8>, Vec<u8>)>| {
            for (field, record) in pairs {
                if let Some(flag) = flag_key(&field) {
                    visit(&flag, &record);
                }
            }
        };
        self.walked(scan::visit(&self.connections, &key, FIELDS_MAX, take).await?, &key).await.map(|_| ())
    }

    /// All that a walk through a hash found, if it came to the end.
    pub(super) async fn walked<T>(&self, walked: Walked<T>, key: &str) -> Result<Vec<T>, StoreError> {
        match walked {
            Walked::All(found) => Ok(found),
            Walked::TooMany(_) => Err(self.too_many(key)),
            Walked::Refused(error) => Err(self.refused(&error, "hscan", Some(key)).await),
        }
    }

    pub(super) async fn read_segments(&self, prefix: &str) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let key = Keys::new(prefix).segments;
        let segments = self.walked(scan::hash(&self.connections, &key, None, FIELDS_MAX).await?, &key).await?;
        let named = |(field, record): (Vec<u8>, Vec<u8>)| (String::from_utf8_lossy(&field).into_owned(), record);
        Ok(segments.into_iter().map(named).collect())
    }

    pub(super) async fn read_overrides(&self, prefix: &str) -> Result<BTreeMap<FlagKey, StoredOverride>, StoreError> {
        let keys = Keys::new(prefix);
        // Where our keys are forbidden nobody can have left an override here.
        Ok(self.overrides_if_permitted(&keys).await?.unwrap_or_default())
    }

    /// The flags that are overridden: the names of the fields alone, as long as the hash is not a large one.
    pub(super) async fn read_overridden(&self, prefix: &str) -> Result<Vec<FlagKey>, StoreError> {
        let keys = Keys::new(prefix);
        let Some(count) = self.count_of_overrides(&keys).await? else { return Ok(Vec::new()) };
        if count > AT_ONCE_MAX {
            return Ok(self.read_overrides(prefix).await?.into_keys().collect());
        }
        let mut question = redis::pipe();
        question.cmd("HKEYS").arg(&keys.overrides);
        match self.connections.ask(&question).await?.pop() {
            // A user who may read the hash and not list its names.
            Some(Value::ServerError(_)) => Ok(self.read_overrides(prefix).await?.into_keys().collect()),
            value => Ok(texts(value).into_iter().flatten().filter_map(|field| flag_key(&field)).collect()),
        }
    }

    /// The environments that overrides name. Their texts are read, and of each only that.
    pub(super) async fn read_environments(&self, prefix: &str) -> Result<BTreeSet<Environment>, StoreError> {
        #[derive(serde::Deserialize)]
        struct Named {
            environment: Environment,
        }
        let keys = Keys::new(prefix);
        let Some(count) = self.count_of_overrides(&keys).await? else { return Ok(BTreeSet::new()) };
        let fields = match self.whole_hash(&keys.overrides, count).await? {
            Ok(fields) => fields,
            Err(error) => return Err(self.refused(&error, "hgetall", Some(&keys.overrides)).await),
        };
        let named = |text: Vec<u8>| serde_json::from_slice::<Named>(&text).ok().map(|named| named.environment);
        Ok(fields.into_values().filter_map(named).collect())
    }

    /// What is `expected` is measured while the others are searched for: both questions go out together.
    pub(super) async fn find_prefixes(&self, expected: &[String]) -> Result<Vec<PrefixFound>, StoreError> {
        let pattern = format!("*{}", keys::FEATURES);
        let search = scan::names(&self.connections, &pattern, PREFIX_STEPS_MAX);
        let search = tokio::time::timeout(PREFIXES_WITHIN, search);
        let (names, measured) = futures_util::join!(search, self.measure(expected.to_vec()));
        let names = match names {
            Ok(Ok(Walked::All(names))) => names,
            Ok(Ok(Walked::Refused(error))) => return Err(self.refused(&error, "scan", None).await),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(Walked::TooMany(_))) => {
                let problem = "it holds too many keys to look for prefixes: name the prefix".to_owned();
                return Err(StoreError::Other { address: self.shown_address(), problem });
            }
            // It holds many keys, or is slow: that cannot be told apart.
            Err(_) => {
                let seconds = PREFIXES_WITHIN.as_secs();
                let problem =
                    format!("it did not list its keys within {seconds} s to look for prefixes: name the prefix");
                return Err(StoreError::Other { address: self.shown_address(), problem });
            }
        };
        let mut prefixes: Vec<String> = names
            .into_iter()
            .filter_map(|name| String::from_utf8(name).ok())
            .filter_map(|name| name.strip_suffix(keys::FEATURES).map(str::to_owned))
            .collect();
        prefixes.sort();
        prefixes.dedup();
        if prefixes.len() > PREFIXES_MAX {
            return Err(self.too_many(&pattern));
        }
        let mut found = measured?;
        found.retain(|found| prefixes.contains(&found.prefix));
        prefixes.retain(|prefix| !found.iter().any(|found| found.prefix == *prefix));
        found.extend(self.measure(prefixes).await?);
        found.sort_by(|one, other| one.prefix.cmp(&other.prefix));
        Ok(found)
    }

    /// How many flags each prefix has. What is no hash is none of a relay's, and what may not be read is none of ours.
    async fn measure(&self, prefixes: Vec<String>) -> Result<Vec<PrefixFound>, StoreError> {
        if prefixes.is_empty() {
            return Ok(Vec::new());
        }
        let mut question = redis::pipe();
        for prefix in &prefixes {
            let keys = Keys::new(prefix);
            question.cmd("HLEN").arg(&keys.features).cmd("EXISTS").arg(&keys.initialised);
        }
        let mut values = self.connections.ask(&question).await?.into_iter();
        let mut found = Vec::new();
        for prefix in prefixes {
            let (flags, initialised) = (values.next(), values.next());
            if let Some(Value::Int(flags)) = flags {
                let initialised = matches!(initialised, Some(Value::Int(1)));
                found.push(PrefixFound { prefix, flag_count: u64::try_from(flags).unwrap_or_default(), initialised });
            }
        }
        Ok(found)
    }

    pub(super) async fn read_log(&self, prefix: &str, count: usize) -> Result<Vec<LogEntry>, StoreError> {
        let keys = Keys::new(prefix);
        let mut question = redis::pipe();
        question.cmd("XREVRANGE").arg(&keys.log).arg("+").arg("-").arg("COUNT").arg(count.min(FIELDS_MAX));
        let entries = match self.connections.ask(&question).await?.pop() {
            Some(Value::Array(entries)) => entries,
            Some(Value::ServerError(error)) if missing(&error) == Some(Missing::Key) => Vec::new(),
            Some(Value::ServerError(error)) => return Err(self.refused(&error, "xrevrange", Some(&keys.log)).await),
            _ => Vec::new(),
        };
        let entries: Vec<LogEntry> = entries.into_iter().filter_map(log_entry).collect();
        let mut log: Vec<LogEntry> = entries.into_iter().rev().flat_map(one_per_flag).collect();
        let surplus = log.len().saturating_sub(count);
        log.drain(..surplus);
        Ok(log)
    }

    async fn reading_head(&self, keys: &Keys, values: &mut impl Iterator<Item = Value>) -> Result<Reading, StoreError> {
        let mut reading = Reading { own_keys: true, ..Reading::default() };
        for (command, key) in [("exists", &keys.initialised), ("hlen", &keys.features)] {
            match values.next() {
                Some(Value::Int(number)) if command == "exists" => reading.initialised = number > 0,
                Some(Value::Int(number)) => reading.flag_count = u64::try_from(number).unwrap_or_default(),
                Some(Value::ServerError(error)) => return Err(self.refused(&error, command, Some(key)).await),
                other => return Err(self.makes_no_sense(command, &other)),
            }
        }
        Ok(reading)
    }

    /// The overrides, or `None` where our own keys are forbidden.
    async fn overrides_if_permitted(
        &self,
        keys: &Keys,
    ) -> Result<Option<BTreeMap<FlagKey, StoredOverride>>, StoreError> {
        let Some(count) = self.count_of_overrides(keys).await? else { return Ok(None) };
        let fields = match self.whole_hash(&keys.overrides, count).await? {
            Ok(fields) => fields,
            Err(error) => return Err(self.refused(&error, "hgetall", Some(&keys.overrides)).await),
        };
        let read = |(field, value): (Vec<u8>, Vec<u8>)| Some((flag_key(&field)?, stored_override(value)));
        Ok(Some(fields.into_iter().filter_map(read).collect()))
    }

    /// How many overrides there are, or `None` where our own keys are forbidden.
    async fn count_of_overrides(&self, keys: &Keys) -> Result<Option<u64>, StoreError> {
        let mut question = redis::pipe();
        question.cmd("HLEN").arg(&keys.overrides);
        let mut permitted = true;
        match self
            .ours_or_nothing(&keys.overrides, self.connections.ask(&question).await?.pop(), &mut permitted)
            .await?
        {
            Some(Value::Int(count)) => Ok(Some(u64::try_from(count).unwrap_or_default())),
            _ if !permitted => Ok(None),
            other => Err(self.makes_no_sense("HLEN", &other)),
        }
    }

    /// What was read from a key of ours; nothing, and a note of it, where that key is forbidden.
    async fn ours_or_nothing(
        &self,
        key: &str,
        value: Option<Value>,
        permitted: &mut bool,
    ) -> Result<Option<Value>, StoreError> {
        match value {
            Some(Value::ServerError(error)) if missing(&error) == Some(Missing::Key) => {
                *permitted = false;
                Ok(None)
            }
            Some(Value::ServerError(error)) => Err(self.refused(&error, "hmget", Some(key)).await),
            other => Ok(other),
        }
    }

    /// A whole hash of about `count` fields, each once. A large one is walked through, and walked through again if it
    /// was replaced meanwhile (a relay's reset deletes it first).
    async fn whole_hash(
        &self,
        key: &str,
        count: u64,
    ) -> Result<Result<BTreeMap<Vec<u8>, Vec<u8>>, ServerError>, StoreError> {
        const WALKS_MAX: usize = 3;
        if count == 0 {
            return Ok(Ok(BTreeMap::new()));
        }
        if count <= AT_ONCE_MAX {
            let mut question = redis::pipe();
            question.cmd("HGETALL").arg(key);
            return match self.connections.ask(&question).await?.pop() {
                Some(Value::Array(values)) => Ok(Ok(scan::pairs(values).into_iter().collect())),
                Some(Value::ServerError(error)) => Ok(Err(error)),
                other => Err(self.makes_no_sense("HGETALL", &other)),
            };
        }
        for _ in 0..WALKS_MAX {
            let fields: BTreeMap<_, _> = match scan::hash(&self.connections, key, None, FIELDS_MAX).await? {
                Walked::All(fields) => fields.into_iter().collect(),
                Walked::TooMany(_) => return Err(self.too_many(key)),
                Walked::Refused(error) => return Ok(Err(error)),
            };
            let mut question = redis::pipe();
            question.cmd("HLEN").arg(key);
            let now = self.connections.ask(&question).await?.pop();
            if now == i64::try_from(fields.len()).ok().map(Value::Int) {
                return Ok(Ok(fields));
            }
        }
        Err(StoreError::Other {
            address: self.shown_address(),
            problem: format!("{key} changed all the time while it was read"),
        })
    }

    pub(super) fn too_many(&self, what: &str) -> StoreError {
        StoreError::Damaged {
            address: self.shown_address(),
            problem: format!("{what} is more than can be read (limit: {FIELDS_MAX} entries, {PREFIXES_MAX} prefixes)"),
        }
    }

    fn makes_no_sense(&self, command: &str, answer: &Option<Value>) -> StoreError {
        let answer: String = format!("{answer:?}").chars().take(80).collect();
        StoreError::Other {
            address: self.shown_address(),
            problem: format!("{command} gave an answer that makes no sense: {answer}"),
        }
    }
}

fn head(keys: &Keys) -> Pipeline {
    let mut question = redis::pipe();
    question.cmd("EXISTS").arg(&keys.initialised).cmd("HLEN").arg(&keys.features);
    question
}

fn flag_key(field: &[u8]) -> Option<FlagKey> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// A record that is too long is not kept whole: one byte more than is allowed is enough for `flag::record` to refuse it,
/// without stopping those that are healthy.
pub(super) fn cut(mut record: Vec<u8>) -> Vec<u8> {
    record.truncate(RECORD_LENGTH_MAX + 1);
    record
}

pub(super) fn stored_override(bytes: Vec<u8>) -> StoredOverride {
    match String::from_utf8(bytes) {
        Ok(text) => StoredOverride::read(text),
        Err(error) => StoredOverride {
            text: String::from_utf8_lossy(error.as_bytes()).into_owned(),
            parsed: Err("it is not UTF-8".to_owned()),
        },
    }
}
