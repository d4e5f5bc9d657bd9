//! From LaunchDarkly's return to full agreement.

use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use super::super::judgement::Step;
use super::super::raw::Trouble;
use super::super::sdks::Sdk;
use super::super::stage::Stage;
use super::super::stage::all_of;
use super::super::stage::flag_key;
use super::super::stage::listed;
use super::Played;
use super::outage::OVERRIDDEN;
use crate::drill::launchdarkly::Limits;

/// Who works in LaunchDarkly itself.
const CAROL: &str = "carol";

/// Requests of one kind that LaunchDarkly takes in a window of half a second, in the step with a rate limit.
const LIMIT: u64 = 6;

/// What colleagues do in LaunchDarkly's own pages, which somebody always reaches.
pub fn meanwhile<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        step.tell("carol, in LaunchDarkly: a new rule for search-v2; everybody gets \"silver\" of pricing-tier.");
        let on = variation(stage, "search-v2", 0)?;
        let rule = json!({ "kind": "addRule", "variationId": on, "clauses": [
            { "contextKind": "user", "attribute": "country", "op": "in", "negate": false, "values": ["NO"] },
        ] });
        carol(stage, "search-v2", &[rule], "Norway first")?;
        let silver = variation(stage, "pricing-tier", 1)?;
        let silver = json!({ "kind": "updateOffVariation", "variationId": silver });
        carol(stage, "pricing-tier", &[silver, json!({ "kind": "turnFlagOff" })], "margin fix")?;
        step.check("LaunchDarkly: search-v2", "on v90, 1 rule", search(stage)?);
        step.check("LaunchDarkly: pricing-tier", "\"silver\" v31", stage.launchdarkly("pricing-tier")?);
        step.check("store: search-v2", "off v90", stage.stored("search-v2").await?);
        step.check("store: pricing-tier", "\"bronze\" v31", stage.stored("pricing-tier").await?);
        Ok(())
    })
}

/// The dangerous moment without a guard.
pub fn wiped<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let since = Instant::now();
        for listener in [stage.control().api(), stage.control().stream()] {
            listener.clear_faults().await.map_err(|error| error.to_string())?;
        }
        step.tell("LaunchDarkly answers again. The relay connects, and the first message of the stream, a put,");
        step.tell("replaces every record in the store before anybody replays. No guard is there to hold them.");
        step.tell("Times count from LaunchDarkly's return.");
        let saw = stage.as_launchdarkly_has_them_when("8 of 8").await?;
        let wiped = since.elapsed();
        stage.measure("LaunchDarkly's return, until everything in its store is replaced", wiped);
        stage.sdk(step, Sdk::ConnectedLate, ("checkout", "on v42"), since).await?;
        let verify = stage.anna(step, &["verify"]).await;
        let content = stage.store.content().await?;
        step.check_after("store: flags as LaunchDarkly's", "8 of 8", saw, wiped);
        step.check("store: checkout, ON AGAIN", "on v42", stage.stored("checkout").await?);
        for sdk in [Sdk::Connected, Sdk::New, Sdk::Polling { held: 43 }] {
            stage.sdk(step, sdk, ("checkout", "on v42"), since).await?;
        }
        step.check("store: overrides still known", "all 6", all_of(&OVERRIDDEN, content.overrides));
        step.check("exit code of verify", 6, verify.code.number());
        Ok(())
    })
}

/// What needs no decision is sent, with nobody to ask.
pub fn replay<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let limits = Limits { route: Some(LIMIT), window_milliseconds: 500, ..Limits::default() };
        stage.control().limit(limits);
        step.tell(format!("LaunchDarkly takes {LIMIT} requests of a kind in half a second, and refuses more."));
        step.tell("Its streams are slower than its API: what is changed now is not sent yet.");
        stage.control().freeze();
        let first = stage.next_request();
        let ran = stage.anna(step, &["replay"]).await;
        stage.control().limit(Limits::default());
        step.check("exit code", 6, ran.code.number());
        let patched = ["checkout", "express-pay", "search-v2"];
        step.check("LaunchDarkly: patches, one for each", "all 3", all_of(&patched, stage.patched_since(first)));
        step.check("LaunchDarkly: checkout", "off v43", stage.launchdarkly("checkout")?);
        step.check("LaunchDarkly: express-pay (bob's)", "off v18", stage.launchdarkly("express-pay")?);
        step.check("LaunchDarkly: search-v2, merged", "off v91, 1 rule", search(stage)?);
        step.check("LaunchDarkly: new-tax, nets out", "on v9", stage.launchdarkly("new-tax")?);
        step.check("LaunchDarkly: promo, undone", "off v12", stage.launchdarkly("promo")?);
        step.check("LaunchDarkly: pricing-tier, conflict", "\"silver\" v31", stage.launchdarkly("pricing-tier")?);
        step.check("LaunchDarkly: refunds, approval", "on v5", stage.launchdarkly("refunds")?);
        step.check("comment on checkout", "anna, double charges", comment(stage, first));
        let asked = stage.next_request().saturating_sub(first);
        step.check("more requests than a window takes", "yes", if asked > LIMIT { "yes" } else { "no" });
        step.check("refused twice in a row", "never", refusals(stage, first));
        Ok(())
    })
}

/// LaunchDarkly's own stream brings what was replayed into the store.
pub fn sent_out<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let since = Instant::now();
        stage.control().thaw();
        step.tell("LaunchDarkly's stream sends each change. The relay writes it where its version is higher, and broadcasts it to every SDK that is connected. Times count from LaunchDarkly's sending.");
        let broadcast = stage.sdk(step, Sdk::Connected, ("checkout", "off v43"), since).await?;
        stage.measure("LaunchDarkly's own change, until a connected SDK has it", broadcast);
        stage.sdk(step, Sdk::ConnectedLate, ("checkout", "off v43"), since).await?;
        step.check("store: checkout", "off v43", stage.stored_when("checkout", "off v43").await?);
        step.check("store: express-pay", "off v18", stage.stored_when("express-pay", "off v18").await?);
        step.check("store: search-v2", "off v91", stage.stored_when("search-v2", "off v91").await?);
        for sdk in [Sdk::New, Sdk::Polling { held: 42 }] {
            stage.sdk(step, sdk, ("checkout", "off v43"), since).await?;
        }
        Ok(())
    })
}

/// Where LaunchDarkly wants an approval, one is requested, once.
pub fn approval_requested<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let first = stage.next_request();
        let asked = stage.anna(step, &["replay", "-f", "refunds", "--request-approval"]).await;
        let again = stage.anna(step, &["replay", "-f", "refunds", "--request-approval"]).await;
        step.check("exit codes", "6 6", format!("{} {}", asked.code.number(), again.code.number()));
        step.check("LaunchDarkly: open requests", 1, open(stage)?.len());
        step.check("LaunchDarkly: refunds", "on v5", stage.launchdarkly("refunds")?);
        step.check("LaunchDarkly: patches", "none", listed(stage.patched_since(first)));
        Ok(())
    })
}

/// A colleague approves and applies; the next replay only settles.
pub fn approval_given<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let first = stage.next_request();
        for id in open(stage)? {
            stage.control().colleague_reviews(&id, "approve", CAROL).map_err(|error| error.to_string())?;
            stage.control().colleague_applies(&id, CAROL).map_err(|error| error.to_string())?;
        }
        step.tell("carol approves and applies it in LaunchDarkly, whose stream sends it out.");
        stage.stored_when("refunds", "off v6").await?;
        let ran = stage.anna(step, &["replay", "-f", "refunds"]).await;
        step.check("exit code", 0, ran.code.number());
        step.check("LaunchDarkly: refunds", "off v6", stage.launchdarkly("refunds")?);
        step.check("LaunchDarkly: open requests", 0, open(stage)?.len());
        step.check("LaunchDarkly: patches", "none", listed(stage.patched_since(first)));
        step.check("store: refunds", "off v6", stage.stored("refunds").await?);
        let waits = Stage::waiting(&stage.anna)?.into_iter().filter(|file| file.contains("refunds"));
        step.check("anna's playback: refunds", "none", listed(waits));
        Ok(())
    })
}

/// Stays owed until somebody decides.
pub fn conflict<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let undecided = stage.anna(step, &["replay", "-f", "pricing-tier"]).await;
        let between = stage.launchdarkly("pricing-tier")?;
        let decided = stage.anna(step, &["replay", "-f", "pricing-tier", "--on-conflict", "override"]).await;
        step.check("exit codes", "6 0", format!("{} {}", undecided.code.number(), decided.code.number()));
        step.check("LaunchDarkly: before the decision", "\"silver\" v31", between);
        step.check("LaunchDarkly: after it", "\"bronze\" v32", stage.launchdarkly("pricing-tier")?);
        Ok(())
    })
}

/// Nothing is owed any more, here and at the colleague's, and nothing is sent twice.
pub fn nothing_owed<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        stage.as_launchdarkly_has_them_when("8 of 8").await?;
        step.tell("LaunchDarkly's stream has sent out what was left.");
        let first = stage.next_request();
        let anna = stage.anna(step, &["replay"]).await;
        let bob = stage.bob(step, &["replay"]).await;
        step.check("exit codes", "0 0", format!("{} {}", anna.code.number(), bob.code.number()));
        step.check("LaunchDarkly: patches", "none", listed(stage.patched_since(first)));
        step.check("anna's playback", "none", listed(Stage::waiting(&stage.anna)?));
        step.check("bob's playback", "none", listed(Stage::waiting(&stage.bob)?));
        step.check("store: flags as LaunchDarkly's", "8 of 8", stage.as_launchdarkly_has_them().await?);
        Ok(())
    })
}

/// All agree.
pub fn agreement<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let anna = stage.anna(step, &["verify"]).await;
        let bob = stage.bob(step, &["verify"]).await;
        step.check("exit codes", "0 0", format!("{} {}", anna.code.number(), bob.code.number()));
        step.check("store: flags as LaunchDarkly's", "8 of 8", stage.as_launchdarkly_has_them().await?);
        Ok(())
    })
}

/// What LaunchDarkly has is undone there.
pub fn undo_refused<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        let before = stage.store.content().await?;
        let ran = stage.anna(step, &["undo", "checkout"]).await;
        let content = stage.store.content().await?;
        step.check("exit code", 3, ran.code.number());
        step.check("LaunchDarkly: checkout", "off v43", stage.launchdarkly("checkout")?);
        step.check("store", "as before", if content == before { "as before" } else { "changed" });
        Ok(())
    })
}

/// LaunchDarkly has the word again: what is changed there reaches the store, and no override stands against it.
pub fn over<'p>(stage: &'p mut Stage, step: &'p mut Step) -> Played<'p> {
    Box::pin(async move {
        step.tell(
            "carol, in LaunchDarkly, turns on again what was off: the incident is over. The stream sends it out.",
        );
        let since = Instant::now();
        for flag in ["checkout", "express-pay", "pricing-tier", "refunds", "search-v2"] {
            carol(stage, flag, &[json!({ "kind": "turnFlagOn" })], "the incident is over")?;
        }
        stage.as_launchdarkly_has_them_when("8 of 8").await?;
        let first = stage.next_request();
        let anna = stage.anna(step, &["replay"]).await;
        let bob = stage.bob(step, &["verify"]).await;
        let content = stage.store.content().await?;
        step.check("exit codes", "0 0", format!("{} {}", anna.code.number(), bob.code.number()));
        step.check("LaunchDarkly: patches", "none", listed(stage.patched_since(first)));
        step.check("LaunchDarkly: checkout", "on v44", stage.launchdarkly("checkout")?);
        step.check("store: checkout", "on v44", stage.stored("checkout").await?);
        step.check("store: flags as LaunchDarkly's", "8 of 8", stage.as_launchdarkly_has_them().await?);
        step.check("store: overrides", "none", listed(content.overrides));
        step.check("store: says that it was filled", "yes", if content.initialised { "yes" } else { "no" });
        let banner = stage.same_record(content.records.get("banner"), stage.before.records.get("banner"));
        step.check("store: banner, which nobody touched", "same", if banner { "same" } else { "changed" });
        for sdk in [Sdk::Connected, Sdk::ConnectedLate, Sdk::New, Sdk::Polling { held: 43 }] {
            stage.sdk(step, sdk, ("checkout", "on v44"), since).await?;
        }
        Ok(())
    })
}

fn carol(stage: &Stage, flag: &str, instructions: &[Value], comment: &str) -> Result<u64, Trouble> {
    let patched = stage.control().colleague_patches(&stage.environment, &flag_key(flag)?, instructions, CAROL, comment);
    patched.map_err(|error| error.to_string())
}

fn variation(stage: &Stage, flag: &str, index: usize) -> Result<String, Trouble> {
    stage.control().variation_id(&stage.environment, &flag_key(flag)?, index).map_err(|error| error.to_string())
}

fn open(stage: &Stage) -> Result<Vec<String>, Trouble> {
    Ok(stage.control().open_approvals(&stage.environment, &flag_key("refunds")?))
}

/// LaunchDarkly's search-v2 with the number of its rules.
fn search(stage: &Stage) -> Result<String, Trouble> {
    let configuration = stage.control().configuration(&stage.environment, &flag_key("search-v2")?);
    let configuration = configuration.map_err(|error| error.to_string())?;
    let rules = configuration.get("rules").and_then(Value::as_array).map_or(0, Vec::len);
    Ok(format!("{}, {}", stage.launchdarkly("search-v2")?, crate::ui::words::count(rules, "rule")))
}

/// Which of the words that matter stand in the comment of checkout's patch.
fn comment(stage: &Stage, first: u64) -> String {
    let received = stage.control().received();
    let patch = received
        .iter()
        .find(|request| request.number >= first && request.method == "PATCH" && request.path.contains("/checkout"));
    let body = patch.map(|patch| patch.json()).unwrap_or_default();
    let comment = body.get("comment").and_then(Value::as_str).unwrap_or_default();
    listed(["anna", "double charges"].into_iter().filter(|word| comment.contains(word)).map(ToOwned::to_owned))
}

/// `never`, or the request that was refused again right after it had been refused.
fn refusals(stage: &Stage, first: u64) -> String {
    let received = stage.control().received();
    let since: Vec<_> = received.iter().filter(|request| request.number >= first).collect();
    let twice = since.windows(2).find(|pair| {
        matches!(pair, [one, other] if one.status == Some(429) && other.status == Some(429) && one.path == other.path)
    });
    twice
        .and_then(|pair| pair.last())
        .map_or("never".to_owned(), |request| format!("{} {}", request.method, request.path))
}
