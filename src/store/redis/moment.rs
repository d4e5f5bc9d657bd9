//! What a Redis holds at one moment: some flags with what belongs to them, or everything that a relay would read. One
//! transaction that only reads, so that a record is never taken together with an override from before or after it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use redis::Cmd;
use redis::Pipeline;
use redis::ServerError;
use redis::Value;

use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::flag::key::FlagKey;
use crate::store::FlagReading;
use crate::store::Reading;
use crate::store::StoreError;
use crate::store::following::Moment;
use crate::store::following::Whole;
use crate::store::redis::RedisStore;
use crate::store::redis::keys::Keys;
use crate::store::redis::keys::ended_field;
use crate::store::redis::reading::FIELDS_MAX;
use crate::store::redis::reading::cut;
use crate::store::redis::reading::stored_override;
use crate::store::redis::refusal::Missing;
use crate::store::redis::refusal::missing;
use crate::store::redis::scan;
use crate::store::redis::transaction::texts;

/// The most flags that are read in one transaction: the server does nothing else meanwhile.
const FLAGS_AT_ONCE: usize = 256;

/// How long the answer with everything may take: some 40 MB over a slow line.
const WHOLE_WITHIN: Duration = Duration::from_secs(15);

/// Commands that are answered at one moment, each with the key that it is about.
#[derive(Default)]
struct Questions<'k> {
    all: Vec<(&'static str, &'k str, Cmd)>,
}

impl<'k> Questions<'k> {
    fn ask(&mut self, command: &'static str, key: &'k str) -> &mut Cmd {
        let mut cmd = redis::cmd(command);
        cmd.arg(key);
        self.all.push((command, key, cmd));
        // Just pushed.
        let last = self.all.len() - 1;
        &mut self.all[last].2
    }

    fn pipeline(&self) -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("MULTI");
        for (_, _, command) in &self.all {
            pipeline.add_command(command.clone());
        }
        pipeline.cmd("EXEC");
        pipeline
    }
}

/// An answer that is an error, and what it is to: a command and its key.
struct Refused<'k> {
    error: ServerError,
    command: &'static str,
    key: Option<&'k str>,
}

impl RedisStore {
    pub(super) async fn read_moment(
        &self,
        prefix: &str,
        flags: &[FlagKey],
        marks: &[(ChangeId, FlagKey)],
    ) -> Result<Moment, StoreError> {
        let keys = Keys::new(prefix);
        let mut moment = Moment { reading: Reading { own_keys: true, ..Reading::default() }, override_count: 0 };
        let mut parts = flags.chunks(FLAGS_AT_ONCE);
        // Without flags the heads are read all the same.
        let mut next = Some(parts.next().unwrap_or_default());
        while let Some(part) = next {
            if !self.read_part(&keys, part, marks, &mut moment).await? {
                // Once more, without what is forbidden.
                continue;
            }
            next = parts.next();
        }
        Ok(moment)
    }

    /// Reads some flags into `moment`; false if our own keys turned out to be forbidden.
    async fn read_part(
        &self,
        keys: &Keys,
        flags: &[FlagKey],
        marks: &[(ChangeId, FlagKey)],
        moment: &mut Moment,
    ) -> Result<bool, StoreError> {
        let own_keys = moment.reading.own_keys;
        let here: BTreeSet<&FlagKey> = flags.iter().collect();
        let marks: Vec<&(ChangeId, FlagKey)> =
            marks.iter().filter(|(_, flag)| own_keys && here.contains(flag)).collect();
        let mut questions = Questions::default();
        questions.ask("EXISTS", &keys.initialised);
        questions.ask("HLEN", &keys.features);
        if own_keys {
            questions.ask("HLEN", &keys.overrides);
        }
        if !flags.is_empty() {
            for hash in [Some(&keys.features), own_keys.then_some(&keys.overrides)].into_iter().flatten() {
                let question = questions.ask("HMGET", hash);
                flags.iter().for_each(|flag| {
                    question.arg(flag.as_str());
                });
            }
        }
        if !marks.is_empty() {
            let question = questions.ask("HMGET", &keys.ended);
            marks.iter().for_each(|(change, flag)| {
                question.arg(ended_field(*change, flag));
            });
        }
        let answers = match taken_apart(&questions, self.connections.ask(&questions.pipeline()).await?) {
            Ok(answers) => answers,
            Err(refused) if own_keys && is_about_ours(&refused, keys) => {
                moment.reading.own_keys = false;
                return Ok(false);
            }
            Err(refused) => return Err(self.refused(&refused.error, refused.command, refused.key).await),
        };
        let mut answers = answers.into_iter();
        moment.reading.initialised = number(answers.next()) > 0;
        moment.reading.flag_count = number(answers.next());
        if own_keys {
            moment.override_count = number(answers.next());
        }
        if flags.is_empty() {
            return Ok(true);
        }
        let mut records = texts(answers.next()).into_iter();
        let mut overrides = if own_keys { texts(answers.next()).into_iter() } else { Vec::new().into_iter() };
        let mut found = marks_by_flag(&marks, texts(answers.next()));
        for flag in flags {
            let record = records.next().flatten().map(cut);
            let override_ = overrides.next().flatten().map(stored_override);
            let marks = found.remove(flag).unwrap_or_else(|| Some(Vec::new()));
            moment.reading.flags.insert(flag.clone(), FlagReading { record, override_, marks });
        }
        Ok(true)
    }

    pub(super) async fn read_whole(&self, prefix: &str) -> Result<Whole, StoreError> {
        let keys = Keys::new(prefix);
        self.check_size(&keys).await?;
        let mut connection = self.connections.dedicated().await?;
        let mut own_keys = true;
        loop {
            let mut questions = Questions::default();
            questions.ask("EXISTS", &keys.initialised);
            let hashes = [Some(&keys.features), Some(&keys.segments), own_keys.then_some(&keys.overrides)];
            for hash in hashes.into_iter().flatten() {
                questions.ask("HGETALL", hash);
            }
            let answer = connection.exchange_within(&questions.pipeline(), WHOLE_WITHIN).await;
            let answer = answer.map_err(|lost| lost.unreachable(self.shown_address()))?;
            let mut answers = match taken_apart(&questions, answer) {
                Ok(answers) => answers.into_iter(),
                Err(refused) if own_keys && is_about_ours(&refused, &keys) => {
                    own_keys = false;
                    continue;
                }
                Err(refused) => return Err(self.refused(&refused.error, refused.command, refused.key).await),
            };
            let initialised = number(answers.next()) > 0;
            let (flags, segments) = (by_name(answers.next()), by_name(answers.next()));
            let read = |(flag, bytes): (String, Vec<u8>)| Some((flag.parse().ok()?, stored_override(bytes)));
            let overrides = by_name(answers.next()).into_iter().filter_map(read).collect();
            return Ok(Whole { initialised, flags, segments, overrides, strange: Vec::new() });
        }
    }

    /// Refuses what is larger than any environment, before the server has to give it away.
    async fn check_size(&self, keys: &Keys) -> Result<(), StoreError> {
        let mut question = redis::pipe();
        question.cmd("HLEN").arg(&keys.features).cmd("HLEN").arg(&keys.segments);
        for (value, key) in self.connections.ask(&question).await?.into_iter().zip([&keys.features, &keys.segments]) {
            match value {
                Value::Int(count) if usize::try_from(count).unwrap_or(usize::MAX) > FIELDS_MAX => {
                    return Err(self.too_many(key));
                }
                Value::ServerError(error) => return Err(self.refused(&error, "hlen", Some(key)).await),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The answers of a transaction, or the first that is an error.
fn taken_apart<'k>(questions: &Questions<'k>, values: Vec<Value>) -> Result<Vec<Value>, Refused<'k>> {
    let of = |error: ServerError, place: usize| {
        let (command, key) =
            questions.all.get(place).map_or(("MULTI", None), |(command, key, _)| (*command, Some(*key)));
        Refused { error, command, key }
    };
    let mut values = values;
    let last = values.pop();
    for (place, value) in values.iter().enumerate() {
        if let Value::ServerError(error) = value {
            // The first answer is that to MULTI.
            return Err(of(error.clone(), place.wrapping_sub(1)));
        }
    }
    match last {
        Some(Value::Array(answers)) => {
            let refused = answers.iter().enumerate().find_map(|(place, answer)| match answer {
                Value::ServerError(error) => Some(of(error.clone(), place)),
                _ => None,
            });
            refused.map_or(Ok(answers), Err)
        }
        Some(Value::ServerError(error)) => Err(Refused { error, command: "EXEC", key: None }),
        // Nothing is watched, so the server has no reason to answer otherwise.
        _ => Ok(Vec::new()),
    }
}

fn is_about_ours(refused: &Refused<'_>, keys: &Keys) -> bool {
    let ours = [&keys.overrides, &keys.ended];
    missing(&refused.error) == Some(Missing::Key) && refused.key.is_some_and(|key| ours.iter().any(|own| *own == key))
}

fn number(value: Option<Value>) -> u64 {
    match value {
        Some(Value::Int(number)) => u64::try_from(number).unwrap_or_default(),
        _ => 0,
    }
}

fn by_name(value: Option<Value>) -> BTreeMap<String, Vec<u8>> {
    let Some(Value::Array(values)) = value else { return BTreeMap::new() };
    let name = |(name, value): (Vec<u8>, Vec<u8>)| (String::from_utf8_lossy(&name).into_owned(), cut(value));
    scan::pairs(values).into_iter().map(name).collect()
}

/// Marks by flag; `None` for a flag of which one cannot be read.
type Marks = BTreeMap<FlagKey, Option<Vec<(ChangeId, EndedMark)>>>;

fn marks_by_flag(asked: &[&(ChangeId, FlagKey)], answers: Vec<Option<Vec<u8>>>) -> Marks {
    let mut marks = Marks::new();
    for ((change, flag), answer) in asked.iter().zip(answers) {
        let known = marks.entry(flag.clone()).or_insert_with(|| Some(Vec::new()));
        let Some(bytes) = answer else { continue };
        match (serde_json::from_slice::<EndedMark>(&bytes), known.as_mut()) {
            (Ok(mark), Some(known)) => known.push((*change, mark)),
            _ => *known = None,
        }
    }
    marks
}
