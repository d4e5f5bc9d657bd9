//! Stores as the rest of the program uses them. What needs a recorded write is tested inside the crate, with the
//! conformance suite (`src/store/conformance.rs`): only the crate can make one.

use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use futures_util::future::join_all;
use relay_commander::store::Deadlines;
use relay_commander::store::Store;
use relay_commander::store::redis::RedisAddress;
use relay_commander::store::redis::RedisOptions;
use relay_commander::store::redis::RedisStore;

use crate::support::redis::RedisServer;

const PREFIX: &str = "ld:shop:production";

fn open(url: &str, wait: Duration) -> RedisStore {
    let deadlines = Deadlines { connect: wait, answer: wait };
    RedisStore::new(RedisAddress::parse(url).unwrap(), RedisOptions::new(deadlines))
}

#[tokio::test]
async fn one_dead_host_of_three_costs_its_own_deadline() {
    const WAIT: Duration = Duration::from_millis(500);
    let servers: Vec<RedisServer> = (0..3).map(|_| RedisServer::with().tcp().start()).collect();
    for server in &servers {
        server.fill(PREFIX, &[("a", "{}")]);
    }
    servers[1].freeze();
    let stores: Vec<RedisStore> = servers
        .iter()
        .enumerate()
        .map(|(at, server)| open(&server.url(), if at == 1 { WAIT } else { 40 * WAIT }))
        .collect();
    let begun = Instant::now();
    let readings = join_all(stores.iter().map(|store| store.read(PREFIX, &[]))).await;
    assert!(begun.elapsed() < 20 * WAIT, "{:?}", begun.elapsed());
    let [Ok(first), Err(dead), Ok(third)] = &readings[..] else { panic!("{readings:?}") };
    assert!(first.initialised && third.initialised);
    assert_eq!((first.flag_count, third.flag_count), (1, 1));
    assert_eq!(dead.to_string(), format!("127.0.0.1:{} did not answer within 0.5 s", servers[1].port()));
    servers[1].thaw();
}

/// The environment cannot be changed within a process, so this test runs itself once more with another one.
#[test]
fn the_systems_authorities_are_trusted_as_ssl_cert_file_names_them() {
    const URL: &str = "RC_TEST_REDIS_URL";
    if let Ok(url) = std::env::var(URL) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(open(&url, Duration::from_secs(20)).read(PREFIX, &[]));
        let answer = answer.map(|reading| reading.flag_count);
        println!("answered {answer:?}");
        return;
    }
    let server = RedisServer::with().tls().start();
    server.fill(PREFIX, &[("a", "{}")]);
    let other = RedisServer::with().tls().start();
    let folder = tempfile::tempdir().unwrap();
    let answer = |authority: &str| {
        let file = folder.path().join("authority.pem");
        std::fs::write(&file, authority).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "store::the_systems_authorities_are_trusted_as_ssl_cert_file_names_them"])
            .env(URL, server.url())
            .env("SSL_CERT_FILE", &file)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let trusted = answer(server.authority_pem());
    assert!(trusted.contains("answered Ok(1)"), "{trusted}");
    let distrusted = answer(other.authority_pem());
    assert!(distrusted.contains("answered Err(Credentials"), "{distrusted}");
}
