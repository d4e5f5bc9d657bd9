//! Compare-and-set by one Lua script: a step of its own for the server, which compares the bytes of the one field and
//! not, as `WATCH` does, of the whole hash. It must not decide what to do where scripts are forbidden.

use std::sync::LazyLock;

use redis::Cmd;
use redis::Pipeline;
use redis::Script;
use redis::ServerError;
use redis::Value;

use crate::store::StoreError;
use crate::store::WriteOutcome;
use crate::store::redis::batch::Prepared;
use crate::store::redis::batch::entries;
use crate::store::redis::connection::Connections;
use crate::store::redis::keys::Keys;
use crate::store::redis::refusal;

const TEXT: &str = include_str!("replace.lua");

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(TEXT));

/// Groups that go out together: more would keep the server's answer from coming within its deadline.
pub(super) const GROUPS_AT_ONCE: usize = 4;

/// What became of one group.
pub(super) type GroupAnswer = Result<Vec<WriteOutcome>, ServerError>;

/// Sends groups, of which each is one step. `own_keys` says whether overrides and log are written too.
///
/// # Errors
/// [`StoreError::Unknown`] if they were sent and the answer never came.
pub(super) async fn replace(
    connections: &Connections,
    keys: &Keys,
    groups: &[&[Prepared<'_>]],
    own_keys: bool,
) -> Result<Vec<GroupAnswer>, StoreError> {
    let mut pipeline = redis::pipe();
    for group in groups {
        pipeline.add_command(command("EVALSHA", SCRIPT.get_hash(), keys, group, own_keys));
    }
    let values = connections.tell(&pipeline).await?;
    let unknown_script = |value: &Value| matches!(value, Value::ServerError(error) if error.code() == "NOSCRIPT");
    if !values.iter().any(unknown_script) {
        return Ok(groups.iter().zip(values).map(|(group, value)| outcomes(group, value, own_keys)).collect());
    }
    // Not loaded yet, or flushed since: `EVAL` loads it for those that follow. Only what was refused is sent again.
    let mut again = Pipeline::new();
    for (group, _) in groups.iter().zip(&values).filter(|(_, value)| unknown_script(value)) {
        again.add_command(match again.is_empty() {
            true => command("EVAL", TEXT, keys, group, own_keys),
            false => command("EVALSHA", SCRIPT.get_hash(), keys, group, own_keys),
        });
    }
    let mut repeated = connections.tell(&again).await?.into_iter();
    let answer = |(group, value): (&&[Prepared<'_>], Value)| {
        let value = if unknown_script(&value) { repeated.next().unwrap_or(Value::Nil) } else { value };
        outcomes(group, value, own_keys)
    };
    Ok(groups.iter().zip(values).map(answer).collect())
}

/// The command as it would be sent, with nothing to write: to find out whether it is permitted.
pub(super) fn trial(keys: &Keys, own_keys: bool) -> [Cmd; 2] {
    [command("EVALSHA", SCRIPT.get_hash(), keys, &[], own_keys), command("EVAL", TEXT, keys, &[], own_keys)]
}

/// Whether the answer means that scripts cannot be used here, by ACL or because they are switched off.
pub(super) fn is_forbidden(error: &ServerError) -> bool {
    let forbidden = matches!(refusal::missing(error),
        Some(refusal::Missing::Command(command)) if command == "eval" || command == "evalsha");
    forbidden || refusal::is_unknown_command(error) || error.code() == "NOSCRIPT"
}

fn command(name: &str, script: &str, keys: &Keys, group: &[Prepared<'_>], own_keys: bool) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script);
    if own_keys {
        command.arg(4).arg(&keys.features).arg(&keys.overrides).arg(&keys.ended).arg(&keys.log);
    } else {
        command.arg(1).arg(&keys.features);
    }
    command.arg(group.len());
    for one in group {
        command.arg(one.write.flag.as_str());
    }
    let (entries, belongs) = entries(group);
    command.arg(entries.len());
    for entry in entries {
        add_list(&mut command, entry);
    }
    for (one, entry) in group.iter().zip(belongs) {
        for text in [one.before(), one.after(), one.override_before()] {
            command.arg(i32::from(text.is_some())).arg(text.unwrap_or_default());
        }
        match &one.override_text {
            Some(text) => command.arg("p").arg(text),
            None if one.ends() => command.arg("e").arg(""),
            None => command.arg("k").arg(""),
        };
        add_list(&mut command, &one.ended);
        command.arg(entry);
    }
    command
}

fn add_list(command: &mut Cmd, list: &[String]) {
    command.arg(list.len());
    for item in list {
        command.arg(item);
    }
}

fn outcomes(group: &[Prepared<'_>], value: Value, own_keys: bool) -> GroupAnswer {
    let Value::Array(answers) = value else {
        return match value {
            Value::ServerError(error) => Err(error),
            other => Ok(vec![strange(&other); group.len()]),
        };
    };
    let outcome = |position: usize| match answers.get(position) {
        Some(Value::Int(0)) => WriteOutcome::Written { colleagues_see: own_keys },
        Some(Value::Int(1)) => WriteOutcome::RecordChanged,
        Some(Value::Int(2)) => WriteOutcome::OverrideChanged,
        other => strange(other.unwrap_or(&Value::Nil)),
    };
    Ok((0..group.len()).map(outcome).collect())
}

/// An answer that our script does not give: what was written is not known.
fn strange(value: &Value) -> WriteOutcome {
    WriteOutcome::Failed(StoreError::Unknown {
        address: "the store".to_owned(),
        problem: format!("an answer that makes no sense: {value:?}"),
    })
}
