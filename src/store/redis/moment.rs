//! What a Redis holds at one moment: some flags with what belongs to them, or everything that a relay would read. One
//! transaction that only reads, so that a record is never taken together with an override from before or after it.
//!
//! A server that is out of memory takes no transaction, and rights may forbid them. Then the overrides are read before and
//! after all else: whoever writes an override changes it and its record in one step, so what stands between two equal
//! readings of an override stood beside it.

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
use crate::store::redis::refusal::code;
use crate::store::redis::refusal::missing;
use crate::store::redis::scan;
use crate::store::redis::transaction::texts;

/// The most flags that are read in one transaction: the server does nothing else meanwhile.
const FLAGS_AT_ONCE: usize = 256;

/// How often what is read without a transaction is read again because it changed meanwhile.
const ATTEMPTS_MAX: usize = 8;

/// How long the answer with everything may take: some 40 MB over a slow line.
const WHOLE_WITHIN: Duration = Duration::from_secs(15);

/// Commands that are answered at one moment, each with the key that it is about.
#[derive(Default)]
struct Questions<'k> {
    all: Vec<(&'static str, &'k str, Cmd)>,
    /// Which of them asks for overrides: what it reads must stand for as long as the others read.
    of_overrides: Option<usize>,
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

    /// What was asked last is the question for overrides.
    fn that_was_of_overrides(&mut self) {
        self.of_overrides = self.all.len().checked_sub(1);
    }

    /// Without a transaction, with the question for overrides once more at the end.
    fn pipeline_without_transaction(&self) -> Pipeline {
        let mut pipeline = Pipeline::new();
        let again = self.of_overrides.and_then(|place| self.all.get(place));
        for (_, _, command) in self.all.iter().chain(again) {
            pipeline.add_command(command.clone());
        }
        pipeline
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
            for hash in [own_keys.then_some(&keys.overrides), Some(&keys.features)].into_iter().flatten() {
                let question = questions.ask("HMGET", hash);
                flags.iter().for_each(|flag| {
                    question.arg(flag.as_str());
                });
                if *hash == keys.overrides {
                    questions.that_was_of_overrides();
                }
            }
        }
        if !marks.is_empty() {
            let question = questions.ask("HMGET", &keys.ended);
            marks.iter().for_each(|(change, flag)| {
                question.arg(ended_field(*change, flag));
            });
        }
        let mut answers = taken_apart(&questions, self.connections.ask(&questions.pipeline()).await?);
        if matches!(&answers, Err(refused) if is_about_transactions(refused)) {
            answers = self.without_transaction(&questions).await?;
        }
        let answers = match answers {
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
        let mut overrides = if own_keys { texts(answers.next()).into_iter() } else { Vec::new().into_iter() };
        let mut records = texts(answers.next()).into_iter();
        let mut found = marks_by_flag(&marks, texts(answers.next()));
        for flag in flags {
            let record = records.next().flatten().map(cut);
            let override_ = overrides.next().flatten().map(stored_override);
            let marks = found.remove(flag).unwrap_or_else(|| Some(Vec::new()));
            moment.reading.flags.insert(flag.clone(), FlagReading { record, override_, marks });
        }
        Ok(true)
    }

    async fn without_transaction<'k>(
        &self,
        questions: &Questions<'k>,
    ) -> Result<Result<Vec<Value>, Refused<'k>>, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            let values = self.connections.ask(&questions.pipeline_without_transaction()).await?;
            match answered(questions, values) {
                Answered::All(answers) => return Ok(Ok(answers)),
                Answered::Refused(refused) => return Ok(Err(refused)),
                Answered::Changed => {}
            }
        }
        Err(self.changes_all_the_time())
    }

    fn changes_all_the_time(&self) -> StoreError {
        let problem = format!("its overrides changed {ATTEMPTS_MAX} times in a row while they were read");
        StoreError::Other { address: self.shown_address(), problem }
    }

    pub(super) async fn read_whole(&self, prefix: &str) -> Result<Whole, StoreError> {
        let keys = Keys::new(prefix);
        self.check_size(&keys).await?;
        let mut connection = self.connections.dedicated().await?;
        let (mut own_keys, mut in_transaction) = (true, true);
        for _ in 0..ATTEMPTS_MAX {
            let mut questions = Questions::default();
            questions.ask("EXISTS", &keys.initialised);
            if own_keys {
                questions.ask("HGETALL", &keys.overrides);
                questions.that_was_of_overrides();
            }
            questions.ask("HGETALL", &keys.features);
            questions.ask("HGETALL", &keys.segments);
            let pipeline = if in_transaction { questions.pipeline() } else { questions.pipeline_without_transaction() };
            let answer = connection.exchange_within(&pipeline, WHOLE_WITHIN).await;
            let values = answer.map_err(|lost| lost.unreachable(self.shown_address()))?;
            let answer = if in_transaction {
                taken_apart(&questions, values).map_or_else(Answered::Refused, Answered::All)
            } else {
                answered(&questions, values)
            };
            match answer {
                Answered::All(answers) => return Ok(whole(answers, own_keys)),
                Answered::Changed => {}
                Answered::Refused(refused) if in_transaction && is_about_transactions(&refused) => {
                    in_transaction = false;
                }
                Answered::Refused(refused) if own_keys && is_about_ours(&refused, &keys) => own_keys = false,
                Answered::Refused(refused) => {
                    return Err(self.refused(&refused.error, refused.command, refused.key).await);
                }
            }
        }
        Err(self.changes_all_the_time())
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

/// What came of questions without a transaction.
enum Answered<'k> {
    All(Vec<Value>),
    /// Overrides were others at the end than at the beginning.
    Changed,
    Refused(Refused<'k>),
}

fn answered<'k>(questions: &Questions<'k>, mut values: Vec<Value>) -> Answered<'k> {
    for (place, value) in values.iter().enumerate() {
        if let Value::ServerError(error) = value {
            let (command, key) =
                questions.all.get(place).map_or(("HMGET", None), |(command, key, _)| (*command, Some(*key)));
            return Answered::Refused(Refused { error: error.clone(), command, key });
        }
    }
    if let Some(place) = questions.of_overrides {
        let last = values.pop();
        if last.as_ref() != values.get(place) {
            return Answered::Changed;
        }
    }
    Answered::All(values)
}

fn whole(answers: Vec<Value>, own_keys: bool) -> Whole {
    let mut answers = answers.into_iter();
    let initialised = number(answers.next()) > 0;
    let read = |(flag, bytes): (String, Vec<u8>)| Some((flag.parse().ok()?, stored_override(bytes)));
    let overrides = if own_keys { by_name(answers.next()) } else { BTreeMap::new() };
    let overrides = overrides.into_iter().filter_map(read).collect();
    let (flags, segments) = (by_name(answers.next()), by_name(answers.next()));
    Whole { initialised, flags, segments, overrides, strange: Vec::new() }
}

/// Whether it is the transaction that was refused, and not what is asked in it.
fn is_about_transactions(refused: &Refused<'_>) -> bool {
    code(&refused.error) == "OOM"
        || matches!(missing(&refused.error), Some(Missing::Command(name)) if name == "multi" || name == "exec")
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
