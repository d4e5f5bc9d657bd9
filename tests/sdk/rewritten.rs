//! Records as relays leave them: LaunchDarkly's Go SDK writes every record anew, and JSON variations in an order of keys
//! that is another one each time. Three stores then hold the same flag in three spellings, and it is still the same flag.

use std::collections::BTreeSet;

use libtest_mimic::Trial;

use crate::launchdarkly::LaunchDarkly;
use crate::launchdarkly::WRITER;
use crate::parts::Part;
use crate::parts::Sdk;
use crate::parts::trial;
use crate::stage::FlagFile;
use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;
use crate::support::shop;
use crate::support::shop::Flag;
use crate::support::shop::flag;
use crate::watcher::Watcher;

const LABELS: [&str; 3] = ["eu-1", "us-1", "ap-1"];

pub fn trials() -> Vec<Trial> {
    let go = [Part::Sdk(Sdk::Go)];
    vec![
        trial("rewritten::three_spellings_are_one_flag", &go, three_spellings_are_one_flag),
        trial("rewritten::an_edit_that_is_written_anew_is_still_ours", &go, an_edit_that_is_written_anew_is_still_ours),
    ]
}

/// A flag whose values have ten keys each.
fn theme() -> Flag {
    let keys = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"];
    let value = |number: usize| {
        let members: Vec<String> =
            keys.iter().map(|key| format!(r#""{key}":{{"a":{number},"b":[1.50,"x"]}}"#)).collect();
        format!("{{{}}}", members.join(","))
    };
    flag("theme", 12).values(&format!("[{},{}]", value(0), value(1)))
}

/// Has the Go SDK write the flags into the store, over what is there: what a relay does with LaunchDarkly's first event.
fn reset(redis: &RedisServer, flags: &[Flag]) {
    let file = FlagFile::with(flags);
    let source = file.source().into_redis(&redis.url(), shop::PREFIX);
    Watcher::ready(Sdk::Go, &source).evaluate("checkout").is(true, 0, "FALLTHROUGH");
}

/// Three stores with the shop's flags, each in its own spelling, and the home of an operator.
struct Regions {
    stores: Vec<RedisServer>,
    home: tempfile::TempDir,
}

impl Regions {
    fn filled(launchdarkly: Option<&LaunchDarkly>) -> Self {
        let stores: Vec<RedisServer> = LABELS.iter().map(|_| RedisServer::with().tcp().start()).collect();
        for store in &stores {
            reset(store, &flags());
        }
        let urls: Vec<String> = stores.iter().map(RedisServer::url).collect();
        let named: Vec<(&str, &str)> = LABELS.into_iter().zip(urls.iter().map(String::as_str)).collect();
        let home = shop::home(&named);
        if let Some(launchdarkly) = launchdarkly {
            let dot_env = home.path().join(".env");
            let stores = std::fs::read_to_string(&dot_env).unwrap();
            let text = format!("{stores}LD_API_URL={}\nLD_API_KEY={WRITER}\n", launchdarkly.url());
            std::fs::write(dot_env, text).unwrap();
        }
        let regions = Self { stores, home };
        assert_eq!(regions.spellings().len(), LABELS.len(), "the Go SDK wrote the same bytes twice: try again");
        regions
    }

    fn spellings(&self) -> BTreeSet<String> {
        let features = format!("{}:features", shop::PREFIX);
        self.stores.iter().map(|store| store.run(&["HGET", &features, "theme"])).collect()
    }

    fn rc(&self, line: &str) -> Ran {
        Rc::new().home(self.home.path()).line(line).run()
    }
}

fn flags() -> Vec<Flag> {
    vec![flag("checkout", 42), theme()]
}

fn three_spellings_are_one_flag() {
    let launchdarkly = LaunchDarkly::with(&flags());
    let regions = Regions::filled(Some(&launchdarkly));
    let shown = regions.rc("show theme -p shop -e production").code(0);
    assert!(!shown.to_string().contains("differ"), "{shown}");
    regions.rc("update -p shop -e production -f theme -s off").code(0).out("off in 3 of 3 stores");
    assert_eq!(regions.spellings().len(), LABELS.len(), "no byte changed that nobody asked to change");
    regions.rc("replay -p shop -e production --yes").code(0);
    regions.rc("verify -p shop -e production").code(0);
}

fn an_edit_that_is_written_anew_is_still_ours() {
    let regions = Regions::filled(None);
    regions.rc("update -p shop -e production -f theme -s off").code(0);
    let before = regions.spellings();
    // The edit comes back to each store as a relay writes it, such as when it arrived over the relay's own stream.
    let edited = theme().version(13).off();
    for store in &regions.stores {
        reset(store, &[flag("checkout", 42), edited.clone()]);
    }
    assert_eq!(before.intersection(&regions.spellings()).count(), 0, "every spelling is another one");
    let status = regions.rc("status").code(0).out("theme");
    assert!(!status.to_string().contains("NOT"), "the override is in force everywhere\n{status}");
    regions.rc("update -p shop -e production -f theme -s off").code(0).out("already");
    regions.rc("undo theme --yes").code(0);
    let records = regions.spellings();
    assert!(records.iter().all(|record| record.contains("\"on\":true") && record.contains("\"version\":12,")));
}
