//! How a world begins: the flags that LaunchDarkly has, and the homes of the operators. It must not know what happens in it.

use std::fs;
use std::path::Path;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::BYSTANDER;
use super::PATIENCE;
use super::TOKEN;
use super::Wires;
use super::home;
use super::trouble;
use super::wire::Wire;
use crate::commands::drill::operator::Operator;
use crate::commands::drill::raw::Trouble;
use crate::commands::drill::sequences::lane::Lane;
use crate::commands::drill::sequences::steps::Cast;
use crate::commands::drill::sequences::steps::FLAGS;
use crate::commands::drill::sequences::steps::OPERATORS;
use crate::commands::drill::sequences::steps::STORES;
use crate::drill::launchdarkly::Seed;

/// The operators in their homes.
pub(super) fn settle(lane: &Lane, cast: &Cast, wires: &[Wires], folder: &Path) -> Result<Vec<Operator>, Trouble> {
    for (number, wires) in wires.iter().enumerate() {
        let database = lane.database();
        let store = |(label, wire): (&&str, &Wire)| format!("{label}=unix://{}?db={database}", wire.address());
        let stores: Vec<String> = STORES.iter().zip(&wires.stores).map(store).collect();
        let setting = if stores.is_empty() {
            format!("RC_STORES={}=file://{}", STORES[0], folder.join("flags.json").display())
        } else {
            format!("REDIS_HOSTS={}", stores.join(","))
        };
        let home = home(folder, number);
        fs::create_dir(&home).map_err(trouble)?;
        let dot_env = format!(
            "{setting}\nLD_API_URL=http://{}\nLD_API_KEY={TOKEN}\nRC_TIMEOUT={PATIENCE}\nRC_API_TIMEOUT={PATIENCE}\n",
            wires.launchdarkly.address()
        );
        fs::write(home.join(".env"), dot_env).map_err(trouble)?;
    }
    let operator = |(who, number): (&&'static str, &usize)| Operator::at(who, &home(folder, *number)).replaying_alone();
    Ok(OPERATORS.iter().zip(&cast.homes).map(operator).collect())
}

/// The account: one environment, in which flags with the tag `money` need an approval.
pub(super) fn seed() -> Result<Seed, Trouble> {
    let flags = FLAGS.iter().map(|flag| {
        let values: Vec<Value> = flag.values.iter().filter_map(|value| serde_json::from_str(value).ok()).collect();
        let tags = if flag.needs_approval { json!(["money"]) } else { json!([]) };
        let configuration =
            json!({ "on": true, "version": flag.version, "fallthrough": { "variation": 0 }, "offVariation": 1 });
        let whole = json!({ "variations": values, "tags": tags, "environments": { "production": configuration } });
        (flag.key.to_owned(), whole)
    });
    let bystander = json!({ "variations": [{ "text": "Grüße", "size": 1.5 }, { "text": "", "size": 0 }] });
    let flags = flags.chain([(BYSTANDER.to_owned(), bystander)]);
    let document = json!({
        "projects": { "shop": {
            "environments": { "production": {
                "approvalSettings": { "required": true, "requiredApprovalTags": ["money"], "minNumApprovals": 1 },
            } },
            "flags": flags.collect::<Map<String, Value>>(),
        } },
        "tokens": { TOKEN: { "name": "rc", "role": "writer", "service": true, "member": "rc" } },
    });
    Seed::from_json(&document.to_string()).map_err(trouble)
}
