//! The rights that RelayCommander needs in a Redis, in one place: what is printed for people, what is tried by
//! `examine`, and what the tests run with.

/// The commands that are used on keys and without keys, without `|` for whole commands.
pub(super) const COMMANDS: [&str; 23] = [
    "exists",
    "hlen",
    "hmget",
    "hgetall",
    "hscan",
    "hset",
    "hdel",
    "xadd",
    "xrevrange",
    "xread",
    "set",
    "getrange",
    "evalsha",
    "eval",
    "watch",
    "unwatch",
    "multi",
    "exec",
    "discard",
    "scan",
    "info",
    "select",
    "acl|whoami",
];

/// The command that gives a user the least rights with which all of RelayCommander's store commands work, for Redis 6
/// and later and for Valkey. `prefix` may be a pattern, such as `ld:*`. `PASSWORD` stands for the password.
///
/// Without `evalsha` and `eval` writes take the way of `watch`, `multi` and `exec`, and the other way round; without
/// `{prefix}:relaycommander:*` the record alone is written, and colleagues and guards do not see the override. Only a
/// guard needs `{prefix}:segments` (which is read and never written) and `xread` (without it, it looks every second). `set`
/// and `getrange` are for guards (without them nobody learns of one) and for the right to replay (without them two replays
/// may run at once).
pub fn acl_rule(user: &str, prefix: &str) -> String {
    let commands: Vec<String> = COMMANDS.iter().map(|command| format!("+{command}")).collect();
    format!(
        "ACL SETUSER {user} on >PASSWORD ~{prefix}:features ~{prefix}:segments ~{prefix}:$inited ~{prefix}:relaycommander:* {}",
        commands.join(" ")
    )
}
