//! LaunchDarkly changes the same as an override: what the guard's clients get of it, by default and where LaunchDarkly is to
//! win (`--on-conflict`), and that its turning a flag off wins either way.

use serde_json::Value;

use super::process::Guard;
use super::process::KEY;
use super::process::Plan;
use super::scripted::Scripted;
use super::wire::Wire;
use crate::support::rc::Rc;
use crate::support::shop::PREFIX;
use crate::support::shop::flag;

/// LaunchDarkly's flag: on, and three values of which it gives the first; off, by default the second.
fn tier(version: u64, on: bool, off_variation: usize) -> String {
    let values = r#"["gold","silver","bronze"]"#;
    let text = flag("tier", version).values(values).text();
    text.replace("\"offVariation\":1", &format!("\"offVariation\":{off_variation}"))
        .replace("\"on\":true", &format!("\"on\":{on}"))
}

fn put(record: &str) -> String {
    format!("event: put\ndata: {{\"path\":\"/\",\"data\":{{\"flags\":{{\"tier\":{record}}},\"segments\":{{}}}}}}\n\n")
}

fn patch(record: &str) -> String {
    format!("event: patch\ndata: {{\"path\":\"/flags/tier\",\"data\":{record}}}\n\n")
}

/// What a client holds of the flag, by the rule of SDKs: a `put` always counts, a patch only with a higher version.
struct Client {
    wire: Wire,
    holds: (u64, bool, u64),
}

impl Client {
    #[track_caller]
    fn of(guard: &Guard) -> Self {
        let mut client = Self { wire: Wire::stream(guard.address, "/all", KEY), holds: (0, false, 0) };
        client.take();
        client
    }

    #[track_caller]
    fn take(&mut self) {
        let text = self.wire.text();
        let data = text.lines().find_map(|line| line.strip_prefix("data:")).unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        let is_put = data["path"] == "/";
        let record = if is_put { &data["data"]["flags"]["tier"] } else { &data["data"] };
        let number = |name: &str| record[name].as_u64().unwrap();
        let said = (number("version"), record["on"].as_bool().unwrap(), number("offVariation"));
        if is_put || said.0 > self.holds.0 {
            self.holds = said;
        }
    }

    /// Takes events until it holds this version, whether it is on and off variation; it must have held nothing else on the
    /// way than what it had before.
    #[track_caller]
    fn comes_to(&mut self, wanted: (u64, bool, u64)) {
        let before = self.holds;
        while self.holds != wanted {
            assert_eq!(self.holds, before, "and not {wanted:?}");
            self.take();
        }
    }
}

/// A guard with these words on its command line, on the flag at version 42.
fn stage(line: &str) -> (Scripted, Plan) {
    let upstream = Scripted::streaming(put(&tier(42, true, 1)));
    let plan = Plan::new(&upstream).line(line);
    plan.redis().fill(PREFIX, &[("tier", &tier(42, true, 1))]);
    (upstream, plan)
}

#[track_caller]
fn update(plan: &Plan, what: &str) {
    let line = format!("update -p shop -e production -f tier {what} --yes --relay-config ld-relay.conf");
    Rc::new().home(plan.home()).line(&line).run().code(0);
}

/// Waits until the flag is held as `word` says, and only this alarm stands.
#[track_caller]
fn wait_for_word(guard: &Guard, word: &str, alarm: &str) {
    guard.wait_for_status(|status| {
        let alarms = status["alarms"].as_array().unwrap();
        status["streams"][0]["overrides"]["tier"] == word
            && alarms.len() == 1
            && alarms[0]["kind"] == alarm
            && alarms[0]["flag"] == "tier"
    });
    guard.wait_for_told(&format!("\"{alarm}\""));
}

/// Whether the override still stands in the store: whatever is served, it is owed until somebody decides.
fn is_owed(plan: &Plan) -> bool {
    let key = format!("{PREFIX}:relaycommander:overrides");
    plan.redis().run(&["HGET", &key, "tier"]).contains("updateOffVariation")
}

#[test]
fn by_default_the_override_holds_and_the_conflict_is_alarmed() {
    let (upstream, plan) = stage("");
    let guard = plan.start();
    let mut client = Client::of(&guard);
    update(&plan, "--serve bronze");
    client.comes_to((43, false, 2));
    upstream.send(patch(&tier(43, true, 0)).as_bytes());
    client.comes_to((44, false, 2));
    wait_for_word(&guard, "held-in-conflict", "conflict");
    assert_eq!(Client::of(&guard).holds, (44, false, 2));
    // Decided in LaunchDarkly, by taking it back: nobody is in conflict any more.
    upstream.send(patch(&tier(44, true, 1)).as_bytes());
    client.comes_to((45, false, 2));
    guard.wait_for_status(|status| status["alarms"].as_array().unwrap().is_empty());
    assert!(is_owed(&plan));
}

#[test]
fn where_launchdarkly_is_to_win_its_value_goes_through_and_the_override_stays_owed() {
    let (upstream, plan) = stage("--on-conflict launchdarkly");
    let guard = plan.start();
    let mut client = Client::of(&guard);
    update(&plan, "--serve bronze");
    client.comes_to((43, false, 2));
    // Something else in the flag is no conflict: the override holds here too.
    let elsewhere = |record: String| record.replace("\"salt\":\"s\"", "\"salt\":\"t\"");
    upstream.send(patch(&elsewhere(tier(43, true, 1))).as_bytes());
    client.comes_to((44, false, 2));
    // Under a version that is below what everybody has; no patch could say it.
    let theirs = elsewhere(tier(44, true, 0));
    upstream.script({
        let first = put(&theirs).into_bytes();
        move |_| super::scripted::Reply::Stream(first.clone())
    });
    upstream.send(patch(&theirs).as_bytes());
    client.comes_to((44, true, 0));
    wait_for_word(&guard, "given-way", "given-way");
    assert_eq!(Client::of(&guard).holds, (44, true, 0));
    // Neither LaunchDarkly's return nor another guard brings the override back.
    upstream.cut();
    upstream.wait_for_requests(2);
    upstream.wait_for_held(1);
    upstream.send(patch(&elsewhere(tier(45, true, 0))).as_bytes());
    client.comes_to((45, true, 0));
    let address = guard.address;
    guard.kill();
    let guard = plan.start_at(address);
    assert!(Client::of(&guard).holds.1, "on, as LaunchDarkly has it");
    wait_for_word(&guard, "given-way", "given-way");
    assert!(is_owed(&plan));
}

#[test]
fn launchdarklys_off_wins_either_way() {
    for line in ["", "--on-conflict launchdarkly"] {
        let (upstream, plan) = stage(line);
        let guard = plan.start();
        let mut client = Client::of(&guard);
        update(&plan, "-s off");
        client.comes_to((43, false, 1));
        update(&plan, "-s on");
        client.comes_to((44, true, 1));
        upstream.send(patch(&tier(43, false, 1)).as_bytes());
        client.comes_to((43, false, 1));
        wait_for_word(&guard, "given-way", "given-way");
        assert_eq!(Client::of(&guard).holds, (43, false, 1), "{line}");
        // What has gone by is not sent again, and nothing comes back by itself.
        while let Some(event) = client.wire.event_within(std::time::Duration::from_millis(1_500)) {
            let event = String::from_utf8(event).unwrap();
            assert!(event.contains("\"on\":false"), "{line}: {event}");
        }
    }
}
