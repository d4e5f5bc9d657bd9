//! The account of the rehearsal's LaunchDarkly: one environment, in which flags with the tag `money` need an approval.

use serde_json::Value;
use serde_json::json;

use crate::drill::launchdarkly::Seed;
use crate::drill::launchdarkly::SeedError;

/// Its project, and its environment.
pub const PROJECT: &str = "shop";
/// See [`PROJECT`].
pub const ENVIRONMENT: &str = "production";

/// The token of both operators. It opens nothing but the simulated LaunchDarkly.
pub const TOKEN: &str = "api-drill";

/// The SDK key of the environment; likewise.
pub const SDK_KEY: &str = "sdk-d0000000-0000-4000-8000-000000000001";

/// All its flags, by name.
pub const FLAGS: [&str; 8] =
    ["banner", "checkout", "express-pay", "new-tax", "pricing-tier", "promo", "refunds", "search-v2"];

fn boolean(on: bool, version: u64) -> Value {
    json!({ "variations": [true, false], "environments": { ENVIRONMENT: { "on": on, "version": version } } })
}

/// What it begins with.
///
/// # Errors
/// Where this page is wrong.
pub fn seed() -> Result<Seed, SeedError> {
    let mut refunds = boolean(true, 5);
    refunds["tags"] = json!(["money"]);
    let banner = json!({
        "variations": [{ "text": "Grüße", "size": 1.5 }, { "text": "", "size": 0 }],
        "environments": { ENVIRONMENT: { "on": true, "version": 3 } },
    });
    let pricing = json!({
        "variations": ["gold", "silver", "bronze"],
        "environments": { ENVIRONMENT: {
            "on": true, "version": 30, "fallthrough": { "variation": 0 }, "offVariation": 0,
        } },
    });
    let document = json!({
        "projects": { PROJECT: {
            "environments": { ENVIRONMENT: {
                "sdkKey": SDK_KEY,
                "approvalSettings": { "required": true, "requiredApprovalTags": ["money"], "minNumApprovals": 1 },
            } },
            "flags": {
                "banner": banner,
                "checkout": boolean(true, 42),
                "express-pay": boolean(true, 17),
                "new-tax": boolean(true, 9),
                "pricing-tier": pricing,
                "promo": boolean(false, 12),
                "refunds": refunds,
                "search-v2": boolean(true, 89),
            },
        } },
        "tokens": { TOKEN: { "name": "rc", "role": "writer", "service": true, "member": "rc" } },
    });
    Seed::from_json(&document.to_string())
}
