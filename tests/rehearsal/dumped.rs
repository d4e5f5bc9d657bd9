//! Everything that a Redis holds, to the byte: to be compared before and after.

use std::collections::BTreeMap;

use crate::support::redis::RedisServer;

/// The exact content of each key, and when it expires, by name.
pub type Dump = BTreeMap<String, (Vec<u8>, i64)>;

/// Dumps all keys of a server's first database.
pub fn dump(server: &RedisServer) -> Dump {
    let mut connection = connection(server);
    let names: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    let mut dump = Dump::new();
    for name in names {
        let content: Option<Vec<u8>> = redis::cmd("DUMP").arg(&name).query(&mut connection).unwrap();
        let expires: i64 = redis::cmd("PEXPIRETIME").arg(&name).query(&mut connection).unwrap();
        if let Some(content) = content {
            dump.insert(name, (content, expires));
        }
    }
    dump
}

fn connection(server: &RedisServer) -> redis::Connection {
    redis::Client::open(format!("unix://{}", server.socket().display())).unwrap().get_connection().unwrap()
}

/// Fills it with what somebody might have there: keys of every kind, one that expires, and those whose names are near.
pub fn fill(server: &RedisServer) {
    for command in [
        "SET rc-drillx:features not-yours",
        "SET rc-drill mine",
        "HSET rc-drill/web:features a 1",
        "HSET invoices 4711 paid",
        "SADD people anna bob",
        "ZADD scores 1 anna 2 bob",
        "RPUSH queue a b c",
        "XADD events * what happened",
        "SET session:1 secret EX 86400",
        "SETBIT bits 7 1",
    ] {
        server.run(&command.split_whitespace().collect::<Vec<_>>());
    }
}
