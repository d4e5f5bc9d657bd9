//! Compare-and-set by `WATCH`, `MULTI` and `EXEC`, for servers where scripts are forbidden. `WATCH` guards the whole
//! hash, so any other flag's change is a reason to look again: the number of attempts is bounded. It must not decide
//! when this way is taken.

use redis::Pipeline;
use redis::ServerError;
use redis::Value;

use crate::store::StoreError;
use crate::store::WriteOutcome;
use crate::store::redis::RedisStore;
use crate::store::redis::batch::Prepared;
use crate::store::redis::batch::entries;
use crate::store::redis::connection::Dedicated;
use crate::store::redis::keys::Keys;

/// How often a group is tried before others are said to write all the time.
pub(super) const ATTEMPTS_MAX: usize = 16;

/// About how many entries the log keeps.
const LOG_LENGTH: usize = 10_000;

/// What one attempt came to.
enum Attempt {
    Done(Vec<WriteOutcome>),
    /// Somebody wrote in between; nothing was written.
    Disturbed,
    Refused(ServerError),
}

/// Writes one group. `own_keys` says whether overrides and log are written too.
///
/// # Errors
/// [`StoreError`] where the server could not be asked, or did not answer ([`StoreError::Unknown`] once `EXEC` was sent).
pub(super) async fn replace(
    store: &RedisStore,
    connection: &mut Dedicated,
    keys: &Keys,
    group: &[Prepared<'_>],
    own_keys: bool,
) -> Result<Result<Vec<WriteOutcome>, ServerError>, StoreError> {
    for _ in 0..ATTEMPTS_MAX {
        match attempt(store, connection, keys, group, own_keys).await? {
            Attempt::Done(outcomes) => return Ok(Ok(outcomes)),
            Attempt::Refused(error) => return Ok(Err(error)),
            Attempt::Disturbed => {}
        }
    }
    let failed = WriteOutcome::Failed(StoreError::Other {
        address: store.shown_address(),
        problem: format!("nothing was written: others wrote in between, {ATTEMPTS_MAX} times in a row"),
    });
    Ok(Ok(vec![failed; group.len()]))
}

async fn attempt(
    store: &RedisStore,
    connection: &mut Dedicated,
    keys: &Keys,
    group: &[Prepared<'_>],
    own_keys: bool,
) -> Result<Attempt, StoreError> {
    let question = watch_and_read(keys, group, own_keys);
    let values = connection.exchange(&question).await.map_err(|lost| lost.unreachable(store.shown_address()))?;
    if let Some(error) = first_error(&values) {
        return Ok(Attempt::Refused(error));
    }
    #[cfg(test)]
    store.between_read_and_write().await;
    let mut values = values.into_iter().skip(1);
    let records = texts(values.next());
    let overrides = texts(values.next());

    let mut outcomes = Vec::with_capacity(group.len());
    for (position, one) in group.iter().enumerate() {
        let is =
            |found: &[Option<Vec<u8>>], wanted: Option<&[u8]>| found.get(position).and_then(Option::as_deref) == wanted;
        outcomes.push(match (is(&records, one.before()), !own_keys || is(&overrides, one.override_before())) {
            (false, _) => WriteOutcome::RecordChanged,
            (true, false) => WriteOutcome::OverrideChanged,
            (true, true) => WriteOutcome::Written { colleagues_see: own_keys },
        });
    }
    let written = |outcome: &WriteOutcome| matches!(outcome, WriteOutcome::Written { .. });
    let chosen: Vec<bool> = outcomes.iter().map(written).collect();
    let transaction = multi(keys, group, &chosen, own_keys);
    let Some(transaction) = transaction else {
        // What is watched would spoil the next group's attempt; that the answer is lost spoils nothing here.
        let _ = connection.exchange(redis::pipe().cmd("UNWATCH")).await;
        return Ok(Attempt::Done(outcomes));
    };
    let mut values = connection.exchange(&transaction).await.map_err(|lost| lost.unknown(store.shown_address()))?;
    match values.pop() {
        Some(Value::Nil) => Ok(Attempt::Disturbed),
        Some(Value::Array(answers)) => Ok(match first_error(&answers) {
            // `WATCH` and reading have ruled out all that is known to fail here.
            Some(error) => Attempt::Done(partly(store, outcomes, &error)),
            None => Attempt::Done(outcomes),
        }),
        Some(Value::ServerError(aborted)) => Ok(Attempt::Refused(first_error(&values).unwrap_or(aborted))),
        other => Err(StoreError::Unknown {
            address: store.shown_address(),
            problem: format!("EXEC answered something that makes no sense: {other:?}"),
        }),
    }
}

/// Watches what is compared and reads it. That the ended marks and the log are read too finds out, before anything is
/// written, whether they can be: in a transaction one failing command does not stop the others.
fn watch_and_read(keys: &Keys, group: &[Prepared<'_>], own_keys: bool) -> Pipeline {
    let mut question = Pipeline::new();
    question.cmd("WATCH").arg(&keys.features);
    if own_keys {
        question.arg(&keys.overrides);
    }
    let hashes = [Some(&keys.features), own_keys.then_some(&keys.overrides)];
    for hash in hashes.into_iter().flatten() {
        question.cmd("HMGET").arg(hash);
        for one in group {
            question.arg(one.write.flag.as_str());
        }
    }
    if own_keys {
        question.cmd("HLEN").arg(&keys.ended);
        question.cmd("XREVRANGE").arg(&keys.log).arg("+").arg("-").arg("COUNT").arg(1);
    }
    question
}

/// The chosen writes of a group in one transaction, the record of each last; `None` if there is nothing to write.
fn multi(keys: &Keys, group: &[Prepared<'_>], chosen: &[bool], own_keys: bool) -> Option<Pipeline> {
    let mut transaction = Pipeline::new();
    transaction.cmd("MULTI");
    if own_keys {
        add_to_log(&mut transaction, keys, group, chosen);
    }
    for (one, _) in group.iter().zip(chosen).filter(|(_, chosen)| **chosen) {
        let flag = one.write.flag.as_str();
        if own_keys && !one.ended.is_empty() {
            transaction.cmd("HSET").arg(&keys.ended).arg(&one.ended);
        }
        match &one.override_text {
            Some(text) if own_keys => {
                transaction.cmd("HSET").arg(&keys.overrides).arg(flag).arg(text);
            }
            None if own_keys && one.ends() => {
                transaction.cmd("HDEL").arg(&keys.overrides).arg(flag);
            }
            _ => {}
        }
        if let Some(after) = one.after() {
            transaction.cmd("HSET").arg(&keys.features).arg(flag).arg(after);
        }
    }
    let empty = transaction.len() == 1;
    transaction.cmd("EXEC");
    (!empty).then_some(transaction)
}

fn add_to_log(transaction: &mut Pipeline, keys: &Keys, group: &[Prepared<'_>], chosen: &[bool]) {
    let (entries, belongs) = entries(group);
    for (number, entry) in entries.iter().enumerate() {
        let mine = group.iter().zip(chosen).zip(&belongs).filter(|((_, chosen), of)| **chosen && **of == number + 1);
        let flags: Vec<&str> = mine.map(|((one, _), _)| one.write.flag.as_str()).collect();
        if !flags.is_empty() {
            transaction.cmd("XADD").arg(&keys.log).arg("MAXLEN").arg("~").arg(LOG_LENGTH).arg("*");
            transaction.arg("flag").arg(flags.join(" ")).arg(entry);
        }
    }
}

fn first_error(values: &[Value]) -> Option<ServerError> {
    values.iter().find_map(|value| match value {
        Value::ServerError(error) => Some(error.clone()),
        _ => None,
    })
}

/// The values of an `HMGET`.
pub(super) fn texts(value: Option<Value>) -> Vec<Option<Vec<u8>>> {
    let Some(Value::Array(values)) = value else { return Vec::new() };
    let text = |value| match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    };
    values.into_iter().map(text).collect()
}

fn partly(store: &RedisStore, outcomes: Vec<WriteOutcome>, error: &ServerError) -> Vec<WriteOutcome> {
    let problem = format!("a part of the transaction failed: {} {}", error.code(), error.details().unwrap_or_default());
    let unknown = WriteOutcome::Failed(StoreError::Unknown { address: store.shown_address(), problem });
    let outcome = |outcome| if matches!(outcome, WriteOutcome::Written { .. }) { unknown.clone() } else { outcome };
    outcomes.into_iter().map(outcome).collect()
}
