//! Walking through a large hash, or through all keys, in steps that do not hold the server up, with a limit on steps.

use redis::ServerError;
use redis::Value;

use crate::store::StoreError;
use crate::store::redis::connection::Connections;

/// How many entries one step looks at: a millisecond or two of the server.
const STEP: usize = 2_000;

/// What came of a walk.
pub(super) enum Walked<T> {
    /// To the end.
    All(Vec<T>),
    /// The limit came first.
    TooMany(Vec<T>),
    Refused(ServerError),
}

/// All fields and values of a hash, as pairs, at most about `fields_max` of them. `pattern` chooses fields.
pub(super) async fn hash(
    connections: &Connections,
    key: &str,
    pattern: Option<&str>,
    fields_max: usize,
) -> Result<Walked<(Vec<u8>, Vec<u8>)>, StoreError> {
    let mut found = Vec::new();
    let steps_max = fields_max / STEP + 1;
    let walked =
        walk(connections, "HSCAN", Some(key), pattern, steps_max, |values| found.extend(pairs(values))).await?;
    Ok(finish(walked, found))
}

/// Hands all fields and values of a hash to `take`, some at a time.
pub(super) async fn visit(
    connections: &Connections,
    key: &str,
    fields_max: usize,
    mut take: impl FnMut(Vec<(Vec<u8>, Vec<u8>)>),
) -> Result<Walked<()>, StoreError> {
    let steps_max = fields_max / STEP + 1;
    let walked = walk(connections, "HSCAN", Some(key), None, steps_max, |values| take(pairs(values))).await?;
    Ok(finish(walked, Vec::new()))
}

/// The names of keys that match `pattern`, after at most `steps_max` steps.
pub(super) async fn names(
    connections: &Connections,
    pattern: &str,
    steps_max: usize,
) -> Result<Walked<Vec<u8>>, StoreError> {
    let mut found = Vec::new();
    let walked = walk(connections, "SCAN", None, Some(pattern), steps_max, |values| {
        found.extend(values.into_iter().filter_map(bytes));
    })
    .await?;
    Ok(finish(walked, found))
}

/// The fields and values of a hash as `HGETALL` and `HSCAN` give them.
pub(super) fn pairs(values: Vec<Value>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut values = values.into_iter().filter_map(bytes);
    let mut pairs = Vec::with_capacity(values.size_hint().1.unwrap_or_default() / 2);
    while let (Some(field), Some(value)) = (values.next(), values.next()) {
        pairs.push((field, value));
    }
    pairs
}

enum End {
    Reached,
    TooFar,
    Refused(ServerError),
}

fn finish<T>(end: End, found: Vec<T>) -> Walked<T> {
    match end {
        End::Reached => Walked::All(found),
        End::TooFar => Walked::TooMany(found),
        End::Refused(error) => Walked::Refused(error),
    }
}

async fn walk(
    connections: &Connections,
    command: &str,
    key: Option<&str>,
    pattern: Option<&str>,
    steps_max: usize,
    mut take: impl FnMut(Vec<Value>),
) -> Result<End, StoreError> {
    let mut cursor = b"0".to_vec();
    for _ in 0..steps_max {
        let mut step = redis::pipe();
        step.cmd(command);
        if let Some(key) = key {
            step.arg(key);
        }
        step.arg(&cursor);
        if let Some(pattern) = pattern {
            step.arg("MATCH").arg(pattern);
        }
        step.arg("COUNT").arg(STEP);
        match connections.ask(&step).await?.pop() {
            Some(Value::ServerError(error)) => return Ok(End::Refused(error)),
            Some(Value::Array(mut parts)) if parts.len() == 2 => {
                if let Some(Value::Array(values)) = parts.pop() {
                    take(values);
                }
                cursor = parts.pop().and_then(bytes).unwrap_or_else(|| b"0".to_vec());
            }
            other => {
                return Err(StoreError::Other {
                    address: connections.address().to_string(),
                    problem: format!("{command} gave an answer that makes no sense: {other:?}"),
                });
            }
        }
        if cursor == b"0" {
            return Ok(End::Reached);
        }
    }
    Ok(End::TooFar)
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}
