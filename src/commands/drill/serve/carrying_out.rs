//! Carries out what was typed at the prompt, by the hand on the simulated LaunchDarkly, and says what came of it.

use serde_json::Value;
use serde_json::json;

use super::order::Deed;
use super::order::Listener;
use super::order::Order;
use super::order::told;
use crate::commands::drill::stage::shape;
use crate::drill::launchdarkly::Control;
use crate::drill::launchdarkly::Limits;
use crate::drill::launchdarkly::ListenerControl;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::ui::nearest::did_you_mean;
use crate::ui::table::Table;
use crate::ui::words::count;
use crate::ui::words::list;

/// How many flags are listed.
const FLAGS_MAX: usize = 100;

/// Carries out `order`, which is about the simulated LaunchDarkly itself. What it says is for people.
///
/// # Errors
/// Why it could not be done, in words.
pub async fn carry_out(control: &Control, order: Order) -> Result<String, String> {
    match order {
        Order::Fault(listener, fault) => {
            of(control, listener).fault(fault).await.map_err(|error| error.to_string())?;
            Ok(listener_told(control, listener))
        }
        Order::Clear(listener) => {
            let both = [Listener::Api, Listener::Stream];
            for listener in both.into_iter().filter(|one| listener.is_none_or(|wanted| wanted == *one)) {
                of(control, listener).clear_faults().await.map_err(|error| error.to_string())?;
            }
            Ok(status(control))
        }
        Order::Flag { deed, flag, environment, member } => {
            let environment = place(control, environment)?;
            change(control, &environment, &flag, &deed, &member)
        }
        Order::Frozen(true) => {
            control.freeze();
            Ok("Nothing is sent on the streams until thaw.".to_owned())
        }
        Order::Frozen(false) => {
            control.thaw();
            Ok("What was held back is sent.".to_owned())
        }
        Order::Moment(name) => {
            control.name_moment(&name);
            Ok(format!("Back to here: stream old-put {name}"))
        }
        Order::Limit(route) => {
            control.limit(Limits { route, ..Limits::default() });
            Ok(limits(&control.limits()))
        }
        Order::Flags(environment) => Ok(flags(control, &place(control, environment)?)),
        // What is not about the simulated LaunchDarkly is not brought here.
        Order::Status | Order::Nothing | Order::Settings | Order::Help | Order::Quit => Ok(status(control)),
    }
}

fn of(control: &Control, listener: Listener) -> ListenerControl {
    match listener {
        Listener::Api => control.api(),
        Listener::Stream => control.stream(),
    }
}

/// The environment that is meant: the one that was named, or the only one.
fn place(control: &Control, named: Option<Environment>) -> Result<Environment, String> {
    let all: Vec<Environment> = control.environments().into_iter().map(|keys| keys.environment).collect();
    let names = || all.iter().map(ToString::to_string).collect::<Vec<_>>();
    match (named, all.as_slice()) {
        (Some(named), _) if all.contains(&named) => Ok(named),
        (Some(named), _) => Err(format!("there is no {named} here, but {}", list(&names()))),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err("there is no environment here".to_owned()),
        (None, _) => Err(format!("in which environment? in {}", names().join(", in "))),
    }
}

fn change(
    control: &Control,
    environment: &Environment,
    flag: &FlagKey,
    deed: &Deed,
    member: &str,
) -> Result<String, String> {
    let whole = control.flag(environment, flag).map_err(|_| {
        let known = control.flag_keys(environment);
        format!(
            "there is no flag {flag} in {environment}{}",
            did_you_mean(flag.as_str(), known.iter().map(String::as_str))
        )
    })?;
    let patched = |instructions: &[Value]| {
        let patched = control.colleague_patches(environment, flag, instructions, member, "");
        patched.map(drop).map_err(|problem| problem.to_string())
    };
    match deed {
        Deed::On => patched(&[json!({ "kind": "turnFlagOn" })])?,
        Deed::Off => patched(&[json!({ "kind": "turnFlagOff" })])?,
        Deed::Serve(value) => {
            let variation = variation(&whole, value)?;
            let served = json!({ "kind": "updateOffVariation", "variationId": variation });
            patched(&[served, json!({ "kind": "turnFlagOff" })])?;
        }
        Deed::Delete => {
            control.delete_flag(environment, flag, member).map_err(|problem| problem.to_string())?;
            return Ok(format!("{flag} is gone from every environment of {}.", environment.project));
        }
        Deed::Approve => {
            let open = control.open_approvals(environment, flag);
            if open.is_empty() {
                return Err(format!("no approval is asked for {flag} in {environment}"));
            }
            for id in &open {
                control.colleague_reviews(id, "approve", member).map_err(|problem| problem.to_string())?;
                control.colleague_applies(id, member).map_err(|problem| problem.to_string())?;
            }
        }
    }
    Ok(format!("{flag}, {environment}: {}, by {member}.", flag_told(control, environment, flag)))
}

/// The id of the variation with this value.
fn variation(flag: &Value, value: &Value) -> Result<String, String> {
    let all = flag.get("variations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let found = all.iter().find(|variation| variation.get("value") == Some(value));
    let id = found.and_then(|variation| variation.get("_id")).and_then(Value::as_str);
    id.map(ToOwned::to_owned).ok_or_else(|| {
        let values: Vec<String> =
            all.iter().filter_map(|variation| variation.get("value")).map(Value::to_string).collect();
        format!("{value} is none of its values: {}", list(&values))
    })
}

/// `off v43`.
fn flag_told(control: &Control, environment: &Environment, flag: &FlagKey) -> String {
    let (Ok(whole), Ok(configuration)) = (control.flag(environment, flag), control.configuration(environment, flag))
    else {
        return "not there".to_owned();
    };
    let variations = whole.get("variations").and_then(Value::as_array).into_iter().flatten();
    let values: Vec<Value> = variations.filter_map(|variation| variation.get("value").cloned()).collect();
    shape(&configuration, &values)
}

fn flags(control: &Control, environment: &Environment) -> String {
    let keys = control.flag_keys(environment);
    let mut table = Table::indented(2);
    for key in keys.iter().take(FLAGS_MAX) {
        if let Ok(flag) = key.parse() {
            table.row([key.clone(), flag_told(control, environment, &flag)]);
        }
    }
    let more = keys.len().saturating_sub(FLAGS_MAX);
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    format!("{environment}, {}\n{table}{more}", count(keys.len(), "flag"))
}

/// How things are, on a few lines.
pub fn status(control: &Control) -> String {
    let mut lines = vec![listener_told(control, Listener::Api), listener_told(control, Listener::Stream)];
    if control.limits().route.is_some() || control.limits().account.is_some() {
        lines.push(limits(&control.limits()));
    }
    let mut open = Table::indented(2);
    for streams in control.streams() {
        let filter = streams.filter.map(|filter| format!("filter {filter}")).unwrap_or_default();
        open.row([count(streams.streams, "stream"), streams.path.to_owned(), streams.environment, filter]);
    }
    if !open.is_empty() {
        lines.push(open.to_string());
    }
    if control.is_frozen() {
        lines.push("frozen: nothing is sent on the streams until thaw".to_owned());
    }
    lines.join("\n")
}

/// `api     well, 14 requests`, or what goes wrong.
fn listener_told(control: &Control, listener: Listener) -> String {
    let hand = of(control, listener);
    let faults: Vec<String> = hand.faults().iter().map(told).collect();
    let wrong = if faults.is_empty() { "well".to_owned() } else { faults.join("; ") };
    format!("{:<6}  {wrong}  ({} so far)", listener.word(), count(hand.received_count(), "request"))
}

fn limits(limits: &Limits) -> String {
    let window = limits.window_milliseconds;
    match limits.route {
        Some(route) => format!(
            "limit   {} in {window} ms, on each route of the API",
            count(usize::try_from(route).unwrap_or(usize::MAX), "request")
        ),
        None => "limit   none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::order;
    use super::*;
    use crate::drill::launchdarkly::Options;
    use crate::drill::launchdarkly::Role;
    use crate::drill::launchdarkly::Running;
    use crate::drill::launchdarkly::Seed;
    use crate::drill::launchdarkly::SimulatedLaunchDarkly;

    async fn running() -> Running {
        let tiers = json!({ "on": true, "version": 30, "fallthrough": { "variation": 0 }, "offVariation": 0 });
        let seed = Seed::new()
            .project("shop")
            .environment("production")
            .boolean_flag("checkout", true, 42)
            .flag("pricing-tier", json!(["gold", "silver"]), tiers)
            .token("api-1", Role::Writer, "rc");
        SimulatedLaunchDarkly::start(Options { seed, listener: None }).await.unwrap()
    }

    async fn typed(running: &Running, line: &str) -> Result<String, String> {
        carry_out(&running.control, order::read(line).unwrap()).await
    }

    #[tokio::test]
    async fn what_goes_wrong_is_in_force_and_told() {
        let running = running().await;
        assert_eq!(typed(&running, "api 503 times 2").await.unwrap(), "api     503 times 2  (0 requests so far)");
        assert_eq!(typed(&running, "stream silence").await.unwrap(), "stream  silence  (0 requests so far)");
        assert_eq!(running.control.faults().len(), 1);
        let cleared = typed(&running, "clear stream").await.unwrap();
        assert!(cleared.contains("api     503 times 2") && cleared.contains("stream  well"), "{cleared}");
        typed(&running, "clear").await.unwrap();
        assert!(running.control.faults().is_empty());
        let error = typed(&running, "stream old-put nowhere").await.unwrap_err();
        assert!(error.contains("no moment has the name \"nowhere\""), "{error}");
        typed(&running, "freeze").await.unwrap();
        assert!(running.control.is_frozen());
        assert!(typed(&running, "status").await.unwrap().contains("frozen"));
        typed(&running, "thaw").await.unwrap();
        assert!(!running.control.is_frozen());
        typed(&running, "limit 6").await.unwrap();
        assert_eq!(running.control.limits().route, Some(6));
    }

    #[tokio::test]
    async fn what_colleagues_do() {
        let running = running().await;
        let told = typed(&running, "off checkout as carol").await.unwrap();
        assert_eq!(told, "checkout, shop/production: off v43, by carol.");
        let told = typed(&running, "serve pricing-tier silver").await.unwrap();
        assert_eq!(told, "pricing-tier, shop/production: \"silver\" v31, by a colleague.");
        assert!(typed(&running, "flags").await.unwrap().contains("checkout      off v43"));
        let error = typed(&running, "off chekout").await.unwrap_err();
        assert_eq!(error, "there is no flag chekout in shop/production; did you mean checkout?");
        let error = typed(&running, "serve pricing-tier brass").await.unwrap_err();
        assert_eq!(error, "\"brass\" is none of its values: \"gold\" and \"silver\"");
        let error = typed(&running, "off checkout in shop/staging").await.unwrap_err();
        assert_eq!(error, "there is no shop/staging here, but shop/production");
        let error = typed(&running, "approve checkout").await.unwrap_err();
        assert_eq!(error, "no approval is asked for checkout in shop/production");
        typed(&running, "delete checkout").await.unwrap();
        assert!(typed(&running, "on checkout").await.is_err());
    }
}
