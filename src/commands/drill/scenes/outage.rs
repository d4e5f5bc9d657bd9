//! From normal running to the last moment of the outage.

use std::time::Instant;

use tokio::net::TcpStream;

use super::super::judgement::Step;
use super::super::raw::Content;
use super::super::sdks::Sdk;
use super::super::stage::Stage;
use super::super::stage::all_of;
use super::super::stage::listed;
use super::Played;
use crate::drill::launchdarkly::Fault;
use crate::drill::launchdarkly::FaultKind;
use crate::error::ExitCode;
use crate::ui::time::duration;

/// The longest that `rc status` may take, whatever is dead, in milliseconds.
const STATUS_WITHIN_MS: u128 = 3_000;

/// Every flag with an override at the end of the outage, by name.
pub const OVERRIDDEN: [&str; 6] = ["checkout", "express-pay", "new-tax", "pricing-tier", "refunds", "search-v2"];

/// What waits in Anna's playback from then on, oldest first.
const ANNAS: [&str; 4] = [
    "checkout turnFlagOff",
    "new-tax turnFlagOff",
    "new-tax turnFlagOn",
    "refunds turnFlagOff + search-v2 turnFlagOff",
];

/// Nothing is wrong, and everything says so.
pub fn normal<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        step.tell("The relay follows LaunchDarkly's stream and has filled the store; an SDK is connected to it.");
        let status = stage.anna(step, &["status"]).await;
        let verify = stage.anna(step, &["verify"]).await;
        step.check("store: flags as LaunchDarkly's", "8 of 8", stage.as_launchdarkly_has_them().await?);
        step.check("exit code of status", 0, status.code.number());
        step.check("exit code of verify", 0, verify.code.number());
        step.check("anna's playback", "none", listed(Stage::waiting(&stage.anna)?));
        step.check("the relay's stream from LaunchDarkly", "connected", stage.sdks.stream_of_the_relay().await);
        for sdk in [Sdk::Connected, Sdk::New, Sdk::Polling { held: 41 }] {
            step.check(format!("{}: checkout", sdk.told()), "on v42", stage.sees(sdk, "checkout").await?);
        }
        Ok(())
    })
}

/// Nobody listens any more where LaunchDarkly was: neither at its API nor at its streams.
pub fn begins<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let since = Instant::now();
        for listener in [stage.control().api(), stage.control().stream()] {
            listener.fault(Fault::new(FaultKind::Refuse)).await.map_err(|error| error.to_string())?;
        }
        step.tell(
            "LaunchDarkly refuses every connection and breaks those that were open (the simulated one is told to).",
        );
        let (api, stream) = (stage.launchdarkly_url().to_owned(), stage.stream_url().to_owned());
        step.check("a connection to LaunchDarkly's API", "refused", connection(&api).await);
        step.check("a connection to LaunchDarkly's streams", "refused", connection(&stream).await);
        stage.relay_when(step, "cut off", since).await?;
        step.check("store", "as before", same(&stage.before, &stage.store.content().await?));
        stage.sdk(step, Sdk::Connected, ("checkout", "on v42"), since).await?;
        Ok(())
    })
}

/// What comes of a connection to this URL.
async fn connection(url: &str) -> String {
    match TcpStream::connect(url.trim_start_matches("http://")).await {
        Ok(_) => "a connection".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// The one thing that all this is for.
pub fn kill_switch<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let typed = ["update", "-p", "shop", "-e", "production", "-f", "checkout", "-s", "off"];
        // What the relay has read lately it keeps for its cache time: it is asked right before.
        stage.sees(Sdk::New, "checkout").await?;
        stage.switched = Instant::now();
        let ran = stage.anna(step, &[&typed[..], &["--reason", "double charges"]].concat()).await;
        let content = stage.store.content().await?;
        step.check("exit code", stage.written().number(), ran.code.number());
        step.check("store: checkout", "off v43", stage.stored("checkout").await?);
        step.check(
            "store: checkout's other bytes",
            "unchanged",
            bytes(&stage.before, &content, &[("\"on\":true", "\"on\":false"), ("\"version\":42", "\"version\":43")]),
        );
        step.check("store: all else", "unchanged", others(&stage.before, &content, &["checkout"]));
        step.check("store: overrides that all see", "checkout", listed(content.overrides));
        step.check("anna's playback", "checkout turnFlagOff", listed(Stage::waiting(&stage.anna)?));
        Ok(())
    })
}

/// Who has it, and who does not: the relay broadcasts nothing that it did not hear from LaunchDarkly.
pub fn who_sees_it<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let (since, cache_time) = (stage.switched, duration(stage.relay.cache_time()));
        step.tell(format!(
            "SDKs look at checkout; times count from the kill switch. The relay's cache time: {cache_time}."
        ));
        stage.sdk(step, Sdk::Daemon, ("checkout", "off v43"), since).await?;
        let new = stage.sdk(step, Sdk::New, ("checkout", "off v43"), since).await?;
        stage.sdk(step, Sdk::Polling { held: 42 }, ("checkout", "off v43"), since).await?;
        stage.sdk(step, Sdk::Connected, ("checkout", "on v42"), since).await?;
        stage.measure("the kill switch, until an SDK that connects has it", new);
        stage.sdks.connect_late().await?;
        step.tell("One of them stays connected from now on. The one from before the outage is STILL ON.");
        let status = stage.anna_at_the_relay(step, &["status"]).await;
        step.check("exit code of status", 0, status.code.number());
        Ok(())
    })
}

/// Fear types everything twice.
pub fn again<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let before = stage.store.content().await?;
        let ran = update(stage, step, &["-f", "checkout", "-s", "Off"]).await;
        step.check("exit code", 0, ran.number());
        step.check("store", "as before", same(&before, &stage.store.content().await?));
        step.check("anna's playback", "checkout turnFlagOff", listed(Stage::waiting(&stage.anna)?));
        Ok(())
    })
}

/// From another machine, with another home, in the same store.
pub fn colleague<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let before = stage.store.content().await?;
        let words = ["update", "-p", "shop", "-e", "production", "-f"];
        let express = stage.bob(step, &[&words[..], &["express-pay", "-s", "off"]].concat()).await;
        let tier = stage.bob(step, &[&words[..], &["pricing-tier", "--serve", "bronze"]].concat()).await;
        let content = stage.store.content().await?;
        step.check("exit codes", twice(stage), format!("{} {}", express.code.number(), tier.code.number()));
        step.check("store: express-pay", "off v18", stage.stored("express-pay").await?);
        step.check("store: pricing-tier", "\"bronze\" v31", stage.stored("pricing-tier").await?);
        step.check("store: all else", "unchanged", others(&before, &content, &["express-pay", "pricing-tier"]));
        let overridden = ["checkout", "express-pay", "pricing-tier"];
        step.check("store: overrides that all see", "all 3", all_of(&overridden, content.overrides));
        let bobs = ["express-pay turnFlagOff", "pricing-tier turnFlagOff updateOffVariation"];
        step.check("bob's playback", "all 2", all_of(&bobs, Stage::waiting(&stage.bob)?));
        step.check("anna's playback", "checkout turnFlagOff", listed(Stage::waiting(&stage.anna)?));
        Ok(())
    })
}

/// Nets out to nothing, and must not be sent.
pub fn off_and_on<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let off = update(stage, step, &["-f", "new-tax", "-s", "off"]).await;
        let between = stage.stored("new-tax").await?;
        let on = update(stage, step, &["-f", "new-tax", "-s", "on"]).await;
        step.check("exit codes", twice(stage), format!("{} {}", off.number(), on.number()));
        step.check("store: new-tax in between", "off v10", between);
        step.check("store: new-tax", "on v11", stage.stored("new-tax").await?);
        Ok(())
    })
}

/// One change, one file.
pub fn batch<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let ran = update(stage, step, &["-f", "refunds", "-f", "search-v2", "-s", "off"]).await;
        step.check("exit code", stage.written().number(), ran.number());
        step.check("store: refunds", "off v6", stage.stored("refunds").await?);
        step.check("store: search-v2", "off v90", stage.stored("search-v2").await?);
        step.check("anna's playback, one file each", "all 4", all_of(&ANNAS, Stage::waiting(&stage.anna)?));
        Ok(())
    })
}

/// Back to LaunchDarkly's own record.
pub fn undo<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let on = update(stage, step, &["-f", "promo", "-s", "on"]).await;
        let between = stage.stored("promo").await?;
        let undone = stage.anna(step, &["undo", "promo"]).await;
        let content = stage.store.content().await?;
        step.check("exit codes", twice(stage), format!("{} {}", on.number(), undone.code.number()));
        step.check("store: promo in between", "on v13", between);
        step.check("store: promo", "off v12", stage.stored("promo").await?);
        let as_before = content.records.get("promo") == stage.before.records.get("promo");
        step.check("store: promo's bytes", "as at first", if as_before { "as at first" } else { "different" });
        step.check("store: promo's override", "undone", content.ended.get("promo").map_or("none", String::as_str));
        step.check("store: overrides in force", "all 6", all_of(&OVERRIDDEN, content.overrides));
        Ok(())
    })
}

/// One screen, in time.
pub fn status<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let ran = stage.anna(step, &["status"]).await;
        let named = OVERRIDDEN.into_iter().filter(|flag| ran.out.contains(flag)).map(ToOwned::to_owned);
        let quick = ran.took.as_millis() <= STATUS_WITHIN_MS;
        step.check("exit code", 0, ran.code.number());
        step.check("flags that it names", "all 6", all_of(&OVERRIDDEN, named));
        step.check("people that it names", "anna, bob", named_people(&ran.out));
        step.check("answers within 3 s", "yes", if quick { "yes" } else { "no" });
        Ok(())
    })
}

/// Without LaunchDarkly nobody can say that all agree.
pub fn verify<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let before = stage.store.content().await?;
        let ran = stage.anna(step, &["verify"]).await;
        step.check("exit code", 7, ran.code.number());
        step.check("store", "as before", same(&before, &stage.store.content().await?));
        Ok(())
    })
}

/// Refused, and nothing is lost by it.
pub fn replay<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let before = stage.store.content().await?;
        let ran = stage.anna(step, &["replay"]).await;
        let waiting = Stage::waiting(&stage.anna)?.into_iter().filter(|file| ANNAS.contains(&file.as_str()));
        step.check("exit code", 7, ran.code.number());
        step.check("store", "as before", same(&before, &stage.store.content().await?));
        step.check("anna's playback, her own files", "all 4", all_of(&ANNAS, waiting));
        Ok(())
    })
}

/// Two exit codes of commands that wrote everything.
fn twice(stage: &Stage) -> String {
    let code = stage.written().number();
    format!("{code} {code}")
}

/// Runs an update in Anna's home.
async fn update(stage: &Stage, step: &mut Step, words: &[&str]) -> ExitCode {
    let words = [&["update", "-p", "shop", "-e", "production"], words].concat();
    stage.anna(step, &words).await.code
}

fn named_people(text: &str) -> String {
    listed(["anna", "bob"].into_iter().filter(|name| text.contains(name)).map(ToOwned::to_owned))
}

/// `as before`, or the flags that differ.
fn same(before: &Content, now: &Content) -> String {
    if before == now { "as before".to_owned() } else { format!("changed: {}", differing(before, now)) }
}

/// `unchanged`, or what is not, the flags in `but` left aside.
fn others(before: &Content, now: &Content, but: &[&str]) -> String {
    let without = |content: &Content| {
        let mut content = content.clone();
        content.records.retain(|flag, _| !but.contains(&flag.as_str()));
        Content { records: content.records, initialised: content.initialised, ..Content::default() }
    };
    let (before, now) = (without(before), without(now));
    if before == now { "unchanged".to_owned() } else { format!("changed: {}", differing(&before, &now)) }
}

fn differing(before: &Content, now: &Content) -> String {
    let flags = before.records.keys().chain(now.records.keys()).collect::<std::collections::BTreeSet<_>>();
    let changed = flags.into_iter().filter(|flag| before.records.get(*flag) != now.records.get(*flag));
    listed(changed.cloned())
}

/// Whether checkout's text is the one before with just these replacements.
fn bytes(before: &Content, now: &Content, replaced: &[(&str, &str)]) -> &'static str {
    let expected = before
        .records
        .get("checkout")
        .map(|text| replaced.iter().fold(text.clone(), |text, (from, to)| text.replacen(from, to, 1)));
    if expected.is_some() && expected.as_ref() == now.records.get("checkout") { "unchanged" } else { "changed" }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn content(checkout: &str, banner: &str) -> Content {
        let records = [("checkout", checkout), ("banner", banner)];
        let records: BTreeMap<String, String> =
            records.into_iter().map(|(flag, text)| (flag.to_owned(), text.to_owned())).collect();
        Content { records, initialised: true, ..Content::default() }
    }

    #[test]
    fn changes_are_found() {
        let before = content("{\"on\":true,\"version\":42}", "{}");
        let after = content("{\"on\":false,\"version\":43}", "{}");
        let replaced = [("\"on\":true", "\"on\":false"), ("\"version\":42", "\"version\":43")];
        assert_eq!(bytes(&before, &after, &replaced), "unchanged");
        assert_eq!(bytes(&before, &content("{\"on\":false, \"version\":43}", "{}"), &replaced), "changed");
        assert_eq!(bytes(&before, &before, &replaced), "changed");
        assert_eq!(others(&before, &after, &["checkout"]), "unchanged");
        assert_eq!(others(&before, &content("", "{ }"), &["checkout"]), "changed: banner");
        assert_eq!(same(&before, &before), "as before");
        assert_eq!(same(&before, &after), "changed: checkout");
    }
}
