//! What could fail on the day, looked at without changing anything. Rights are tried by queueing each command in a
//! transaction that is then discarded: the server checks rights when it queues, in every version that has ACLs.

use std::collections::BTreeMap;

use redis::Cmd;
use redis::ServerError;
use redis::Value;

use crate::store::Finding;
use crate::store::Grade;
use crate::store::StoreError;
use crate::store::redis::RedisStore;
use crate::store::redis::acl::acl_rule;
use crate::store::redis::connection::Connections;
use crate::store::redis::keys::Keys;
use crate::store::redis::refusal::Asked;
use crate::store::redis::refusal::missing;
use crate::store::redis::script;

/// From this share of `maxmemory` on, in percent, a store is said to be almost full.
const ALMOST_FULL_PERCENT: u64 = 95;

/// Looks at one server; see [`crate::store::Store::examine`].
pub(super) async fn examine(store: &RedisStore, prefixes: &[String]) -> Vec<Finding> {
    let mut question = redis::pipe();
    question.cmd("ACL").arg("WHOAMI").cmd("INFO");
    let mut values = match store.connections.ask(&question).await {
        Ok(values) => values.into_iter(),
        Err(error) => return vec![not_reached(&error)],
    };
    let whoami = values.next();
    let mut findings = Vec::new();
    match values.next() {
        Some(Value::BulkString(text)) => {
            let info = read_info(&String::from_utf8_lossy(&text));
            findings.push(reach(&info));
            findings.push(login(store, whoami));
            findings.extend([replica(&info), eviction(&info), persistence(&info)]);
        }
        Some(Value::ServerError(error)) if ["NOAUTH", "LOADING"].contains(&error.code()) => {
            return vec![not_reached(&store.refused(&error, "info", None).await)];
        }
        _ => {
            findings.push(good("reach", "answers".to_owned()));
            findings.push(login(store, whoami));
            let told = "INFO is not permitted: replica, eviction and persistence are not known".to_owned();
            let way_out = format!("ACL SETUSER {} +info", user_of(store));
            findings.push(finding(Grade::Notice, "reach", told, Some(way_out)));
        }
    }
    for prefix in prefixes {
        findings.extend(rights(store, prefix).await);
        findings.extend(lasting_lease(store, prefix).await);
    }
    findings
}

/// A right to replay that never ends, if one stands there. Asked with a command that nothing else needs: where it is not
/// permitted, nothing is said.
async fn lasting_lease(store: &RedisStore, prefix: &str) -> Option<Finding> {
    let key = Keys::new(prefix).lease;
    let mut question = redis::pipe();
    question.cmd("PTTL").arg(&key);
    let answer = store.connections.ask(&question).await.ok()?.pop()?;
    if !matches!(answer, Value::Int(-1)) {
        return None;
    }
    let told = format!("{key} has no expiry: it looks as if somebody were replaying for ever, and blocks every replay");
    let way_out = format!("if nobody is replaying (rc status names the holder): redis-cli DEL '{key}'");
    Some(finding(Grade::Bad, "lease", told, Some(way_out)))
}

/// The primary of a replica, if it says which.
pub(super) async fn primary_of(connections: &Connections) -> Option<String> {
    let mut question = redis::pipe();
    question.cmd("INFO").arg("replication");
    let Ok(values) = connections.ask(&question).await else { return None };
    let Some(Value::BulkString(text)) = values.into_iter().next() else { return None };
    primary(&read_info(&String::from_utf8_lossy(&text)))
}

/// The first right to write under `keys` that is missing; `None` if none is, or if that cannot be found out.
pub(super) async fn first_missing_right(store: &RedisStore, keys: &Keys) -> Option<StoreError> {
    let rights = tried(store, keys).await?;
    let missing = rights.iter().find(|right| right.needed && right.error.is_some())?;
    Some(missing.asked(store, &store.shown_address()).refused(missing.error.as_ref()?))
}

/// One right, and what the server said to it.
struct Right {
    command: &'static str,
    key: Option<String>,
    /// Whether there is no other way.
    needed: bool,
    error: Option<ServerError>,
}

impl Right {
    fn asked<'a>(&'a self, store: &'a RedisStore, address: &'a str) -> Asked<'a> {
        Asked { address, user: store.connections.username(), command: self.command, key: self.key.as_deref() }
    }
}

async fn tried(store: &RedisStore, keys: &Keys) -> Option<Vec<Right>> {
    let mut commands: Vec<(&'static str, Option<&str>, bool, Cmd)> = Vec::new();
    let mut try_on = |command: &'static str, key: &'static str, arguments: &[&str], needed: bool| {
        let name = match key {
            "initialised" => Some(keys.initialised.as_str()),
            "features" => Some(keys.features.as_str()),
            "overrides" => Some(keys.overrides.as_str()),
            "ended" => Some(keys.ended.as_str()),
            "log" => Some(keys.log.as_str()),
            "segments" => Some(keys.segments.as_str()),
            "guards" => Some(keys.guards.as_str()),
            _ => None,
        };
        let mut cmd = redis::cmd(command);
        if let Some(name) = name {
            cmd.arg(name);
        }
        for argument in arguments {
            cmd.arg(argument);
        }
        commands.push((command, name, needed, cmd));
    };
    try_on("exists", "initialised", &[], true);
    try_on("hlen", "features", &[], true);
    try_on("hmget", "features", &["f"], true);
    try_on("hgetall", "features", &[], true);
    try_on("hscan", "features", &["0"], true);
    try_on("hset", "features", &["f", "v"], true);
    try_on("hmget", "overrides", &["f"], true);
    try_on("hset", "overrides", &["f", "v"], true);
    try_on("hdel", "overrides", &["f"], true);
    try_on("hset", "ended", &["f", "v"], true);
    try_on("hscan", "ended", &["0"], true);
    try_on("xadd", "log", &["*", "f", "v"], true);
    try_on("xrevrange", "log", &["+", "-"], true);
    try_on("scan", "", &["0"], false);
    try_on("hgetall", "segments", &[], false);
    try_on("getrange", "guards", &["0", "1"], false);
    try_on("set", "guards", &["v"], false);
    let mut follow = redis::cmd("xread");
    follow.arg("BLOCK").arg(1).arg("STREAMS").arg(&keys.log).arg("0-0");
    commands.push(("xread", Some(&keys.log), false, follow));
    let [evalsha, eval] = script::trial(keys, true);
    commands.push(("evalsha", None, false, evalsha));
    commands.push(("eval", None, false, eval));

    let mut question = redis::pipe();
    question.cmd("MULTI");
    for (.., command) in &commands {
        question.add_command(command.clone());
    }
    question.cmd("DISCARD");
    let values = store.connections.dedicated().await.ok()?.exchange(&question).await.ok()?;
    if !matches!(values.first(), Some(Value::Okay)) {
        return None;
    }
    let right = |((command, key, needed, _), value): ((&'static str, Option<&str>, bool, Cmd), Value)| {
        let error = match value {
            // Only a missing right is meant here: a full or read-only server is told of elsewhere.
            Value::ServerError(error) if missing(&error).is_some() => Some(error),
            Value::ServerError(error) if command.starts_with("eval") && error.code() == "ERR" => Some(error),
            _ => None,
        };
        Right { command, key: key.map(str::to_owned), needed, error }
    };
    Some(commands.into_iter().zip(values.into_iter().skip(1)).map(right).collect())
}

async fn rights(store: &RedisStore, prefix: &str) -> Vec<Finding> {
    let keys = Keys::new(prefix);
    let rule = acl_rule(user_of(store), prefix);
    let Some(rights) = tried(store, &keys).await else {
        let told =
            format!("whether all that is needed is permitted on {prefix} is not known: MULTI and DISCARD are not");
        return vec![finding(Grade::Notice, "rights", told, Some(rule))];
    };
    let address = store.shown_address();
    let lacks = |right: &Right| right.error.is_some();
    let ours = |right: &Right| right.key.as_deref().is_some_and(|key| key.contains(":relaycommander:"));
    let told = |right: &Right| match right.error.as_ref().map(|error| right.asked(store, &address).refused(error)) {
        Some(StoreError::Forbidden { what, .. }) => what,
        _ => right.command.to_uppercase(),
    };
    let ours_forbidden = rights.iter().any(|right| ours(right) && right.needed && lacks(right));
    let mut findings = Vec::new();
    if rights.iter().any(|right| right.needed && !ours(right) && lacks(right)) {
        let missing: Vec<String> = rights.iter().filter(|right| right.needed && lacks(right)).map(told).collect();
        let told = format!("not permitted: {}", missing.join(", "));
        return vec![finding(Grade::Bad, "rights", told, Some(rule))];
    }
    if let Some(right) = rights.iter().find(|right| ours(right) && right.needed && lacks(right)) {
        let told = format!(
            "not permitted: {}; only records can be changed, colleagues and guards will not see overrides",
            told(right)
        );
        findings.push(finding(Grade::Bad, "rights", told, Some(rule.clone())));
    }
    let lesser = |right: &&Right| !right.needed && lacks(right) && !(ours(right) && ours_forbidden);
    for right in rights.iter().filter(lesser) {
        findings.push(lesser_right(store, &keys, right));
    }
    if findings.is_empty() {
        findings.push(good("rights", format!("all that is needed is permitted on {prefix}")));
    }
    findings
}

/// A right that there is another way without, or that only a guard needs.
fn lesser_right(store: &RedisStore, keys: &Keys, right: &Right) -> Finding {
    let name = right.command.to_uppercase();
    let told = match right.command {
        "scan" => "SCAN is not permitted: prefixes cannot be listed".to_owned(),
        "xread" => "XREAD is not permitted: a guard looks every second instead of at once".to_owned(),
        "set" => "SET is not permitted: a guard cannot announce itself here".to_owned(),
        "getrange" => "GETRANGE is not permitted: what guards announce here cannot be read".to_owned(),
        "hgetall" => "segments may not be read: while LaunchDarkly is away a guard serves nothing from here".to_owned(),
        _ => format!("{name} is not permitted: writes take the slower way by WATCH"),
    };
    let user = user_of(store);
    let way_out = match right.command {
        "hgetall" => format!("ACL SETUSER {user} ~{}", keys.segments),
        command => format!("ACL SETUSER {user} +{command}"),
    };
    finding(Grade::Notice, "rights", told, Some(way_out))
}

fn reach(info: &BTreeMap<String, String>) -> Finding {
    let version = |name: &str| info.get(name).map(String::as_str);
    let told = match (version("valkey_version"), version("redis_version")) {
        (Some(valkey), _) => format!("answers; Valkey {valkey}"),
        (None, Some(redis)) => format!("answers; Redis {redis}"),
        (None, None) => "answers".to_owned(),
    };
    good("reach", told)
}

fn login(store: &RedisStore, whoami: Option<Value>) -> Finding {
    let told = match whoami {
        Some(Value::BulkString(name)) => format!("logged in as {}", String::from_utf8_lossy(&name)),
        Some(Value::SimpleString(name)) => format!("logged in as {name}"),
        _ => format!("logged in as {} (by our settings)", user_of(store)),
    };
    good("login", told)
}

fn replica(info: &BTreeMap<String, String>) -> Finding {
    match info.get("role").map(String::as_str) {
        Some("master") => good("replica", "a primary: takes writes".to_owned()),
        Some("slave" | "replica") => {
            let primary = primary(info);
            let of = primary.as_ref().map(|primary| format!(" of {primary}")).unwrap_or_default();
            let way_out = match primary {
                Some(primary) => format!("name {primary} in REDIS_HOSTS instead"),
                None => "name its primary in REDIS_HOSTS instead".to_owned(),
            };
            finding(Grade::Bad, "replica", format!("a replica{of}: takes no writes"), Some(way_out))
        }
        _ => finding(Grade::Notice, "replica", "does not say whether it is a primary".to_owned(), None),
    }
}

fn primary(info: &BTreeMap<String, String>) -> Option<String> {
    Some(format!("{}:{}", info.get("master_host")?, info.get("master_port")?))
}

fn eviction(info: &BTreeMap<String, String>) -> Finding {
    let number = |name: &str| info.get(name).and_then(|value| value.parse::<u64>().ok());
    let limit = number("maxmemory").unwrap_or(0);
    let policy = info.get("maxmemory_policy").map_or("not known", String::as_str);
    let used = number("used_memory").unwrap_or(0);
    if limit == 0 {
        return good("eviction", format!("no memory limit (policy {policy})"));
    }
    if policy.starts_with("allkeys") {
        let told = format!("policy {policy} removes whole environments and overrides when memory is short");
        let way_out =
            "CONFIG SET maxmemory-policy noeviction (or volatile-lru: our keys and the relay's do not expire)";
        return finding(Grade::Bad, "eviction", told, Some(way_out.to_owned()));
    }
    if used.saturating_mul(100) / limit >= ALMOST_FULL_PERCENT {
        let told = format!("almost full ({used} of {limit} bytes, policy {policy}): writes will be refused");
        return finding(Grade::Bad, "eviction", told, Some("raise maxmemory".to_owned()));
    }
    good("eviction", format!("policy {policy} keeps flags and overrides"))
}

fn persistence(info: &BTreeMap<String, String>) -> Finding {
    if info.get("aof_enabled").is_some_and(|value| value == "1") {
        return good("persistence", "append-only file: overrides survive a restart".to_owned());
    }
    let way_out = Some("CONFIG SET appendonly yes".to_owned());
    let unsaved = info.get("rdb_changes_since_last_save").map_or("an unknown number of", String::as_str);
    let told = format!(
        "snapshots at most: a restart may lose an override that was just written ({unsaved} changes are not saved yet)"
    );
    finding(Grade::Notice, "persistence", told, way_out)
}

fn not_reached(error: &StoreError) -> Finding {
    let way_out = match error {
        StoreError::Credentials { .. } => {
            Some("RC_REDIS_USER, RC_REDIS_PASSWORD, or the address in REDIS_HOSTS".to_owned())
        }
        StoreError::Forbidden { way_out, .. } => Some(way_out.clone()),
        _ => None,
    };
    let subject = if matches!(error, StoreError::Credentials { .. }) { "login" } else { "reach" };
    finding(Grade::Bad, subject, error.to_string(), way_out)
}

fn user_of(store: &RedisStore) -> &str {
    store.connections.username().unwrap_or("default")
}

fn good(subject: &str, told: String) -> Finding {
    finding(Grade::Good, subject, told, None)
}

fn finding(grade: Grade, subject: &str, told: String, way_out: Option<String>) -> Finding {
    Finding { grade, subject: subject.to_owned(), told, way_out }
}

/// The answer to `INFO`: lines of `name:value`, with headings and empty lines between them.
fn read_info(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::Grade;
    use super::eviction;
    use super::read_info;

    #[track_caller]
    fn case(info: &str, grade: Grade) {
        let finding = eviction(&read_info(info));
        assert_eq!(finding.grade, grade, "{info}: {}", finding.told);
    }

    #[test]
    fn what_would_drop_records_is_bad() {
        case("# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", Grade::Good);
        case("maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\nused_memory:1\r\n", Grade::Bad);
        case("maxmemory:1000\r\nmaxmemory_policy:volatile-lru\r\nused_memory:1\r\n", Grade::Good);
        case("maxmemory:1000\r\nmaxmemory_policy:noeviction\r\nused_memory:990\r\n", Grade::Bad);
        case("maxmemory:1000\r\nmaxmemory_policy:noeviction\r\nused_memory:10\r\n", Grade::Good);
    }
}
