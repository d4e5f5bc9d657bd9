//! The simulated LaunchDarkly's API, driven by LaunchDarkly's own client for it: the client knows every call, its models
//! take every answer, and nothing in an answer is unknown to them.

use libtest_mimic::Trial;
use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::LimitAnswer;
use relay_commander::drill::launchdarkly::Limits;
use relay_commander::drill::launchdarkly::Role;
use serde_json::Value;
use serde_json::json;

use crate::api_client::ApiClient;
use crate::launchdarkly::LaunchDarkly;
use crate::launchdarkly::WRITER;
use crate::launchdarkly::environment;
use crate::launchdarkly::seed;
use crate::parts::Part;
use crate::parts::Sdk;
use crate::parts::trial;
use crate::reach::note;
use crate::stage::flags;

const READER: &str = "api-reader-0002";
const REVIEWER: &str = "api-reviewer-0003";

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 7] = [
        ("rest::who_asks_and_where", who_asks_and_where),
        ("rest::flags_are_read", flags_are_read),
        ("rest::a_semantic_patch", a_semantic_patch),
        ("rest::a_json_patch_with_a_test", a_json_patch_with_a_test),
        ("rest::approvals", approvals),
        ("rest::the_audit_log_by_pages", the_audit_log_by_pages),
        ("rest::refusals", refusals),
    ];
    tests.into_iter().map(|(name, test)| trial(name, &[Part::Sdk(Sdk::Python)], test)).collect()
}

fn begin() -> (LaunchDarkly, ApiClient) {
    let seed = seed(&flags())
        .environment("guarded")
        .approvals(1)
        .environment("staging")
        .token(READER, Role::Reader, "rita")
        .token(REVIEWER, Role::Writer, "bob");
    let launchdarkly = LaunchDarkly::of(seed);
    let client = ApiClient::of(launchdarkly.url(), WRITER);
    (launchdarkly, client)
}

fn flag(key: &str) -> Value {
    json!({ "project_key": "shop", "feature_flag_key": key })
}

fn turn(on: bool) -> Value {
    let kind = if on { "turnFlagOn" } else { "turnFlagOff" };
    json!({ "comment": "a test", "environmentKey": "production", "instructions": [{ "kind": kind }] })
}

fn who_asks_and_where() {
    let (_launchdarkly, client) = begin();
    client.call("OtherApi", "get_root", json!({})).send().is(200, "RootResponse");
    let versions = client.call("OtherApi", "get_versions", json!({})).send().is(200, "VersionsRep");
    assert_eq!(versions["currentVersion"], 20_240_415);
    let caller = client.call("OtherApi", "get_caller_identity", json!({})).send().is(200, "CallerIdentityRep");
    assert_eq!((&caller["authKind"], &caller["serviceToken"]), (&json!("token"), &json!(false)));
    let token = client.call("AccessTokensApi", "get_token", json!({ "id": caller["tokenId"] }));
    assert_eq!(token.send().is(200, "Token")["role"], "writer");
    let tokens = client.call("AccessTokensApi", "get_tokens", json!({})).send().is(200, "Tokens");
    assert_eq!(tokens["items"].as_array().unwrap().len(), 1, "one's own, and those of services");
    let projects = client.call("ProjectsApi", "get_projects", json!({})).send().is(200, "Projects");
    assert_eq!(projects["items"][0]["key"], "shop");
    client.call("ProjectsApi", "get_project", json!({ "project_key": "shop" })).send().is(200, "Project");
    let environments = client.call("EnvironmentsApi", "get_environments_by_project", json!({ "project_key": "shop" }));
    assert_eq!(environments.send().is(200, "Environments")["totalCount"], 3);
    let guarded = json!({ "project_key": "shop", "environment_key": "guarded" });
    let guarded = client.call("EnvironmentsApi", "get_environment", guarded).send().is(200, "Environment");
    assert_eq!(guarded["approvalSettings"]["required"], true);
    note(format!("the simulated LaunchDarkly's API was driven by {}", ApiClient::name()));
}

fn flags_are_read() {
    let (_launchdarkly, client) = begin();
    let one = json!({ "project_key": "shop", "feature_flag_key": "search", "env": "production" });
    let one = client.call("FeatureFlagsApi", "get_feature_flag", one).send().is(200, "FeatureFlag");
    let production = &one["environments"]["production"];
    assert_eq!((&production["on"], &production["version"]), (&json!(false), &json!(89)));
    assert_eq!(production["rules"][0]["clauses"][0]["values"], json!(["NZ"]));
    let all = json!({ "project_key": "shop", "filter": "filterEnv:production", "limit": 3, "summary": false });
    let all = client.call("FeatureFlagsApi", "get_feature_flags", all).send().is(200, "FeatureFlags");
    assert_eq!((all["items"].as_array().unwrap().len(), &all["totalCount"]), (3, &json!(flags().len())));
    assert!(all["items"][0]["environments"]["production"].is_object());
    assert!(all["_links"]["next"]["href"].as_str().unwrap().contains("offset=3"));
    let bare = client.call("FeatureFlagsApi", "get_feature_flags", json!({ "project_key": "shop" }));
    assert_eq!(bare.send().is(200, "FeatureFlags")["items"][0].get("environments"), None);
}

fn a_semantic_patch() {
    let (launchdarkly, client) = begin();
    let mut validated = flag("checkout");
    validated["dry_run"] = json!(true);
    let preview = client.call("FeatureFlagsApi", "patch_feature_flag", validated).semantic_patch(turn(false)).send();
    assert_eq!(preview.is(200, "FeatureFlag")["environments"]["production"]["on"], false);
    let unchanged = launchdarkly.control().configuration(&environment(), &"checkout".parse().unwrap()).unwrap();
    assert_eq!(unchanged["on"], true, "a dry run changes nothing");
    let patched = client.call("FeatureFlagsApi", "patch_feature_flag", flag("checkout")).semantic_patch(turn(false));
    let production = patched.send().is(200, "FeatureFlag")["environments"]["production"].clone();
    assert_eq!((&production["on"], &production["version"]), (&json!(false), &json!(43)));
    // In that state already: nothing happens, and it is no error.
    let again = client.call("FeatureFlagsApi", "patch_feature_flag", flag("checkout")).semantic_patch(turn(false));
    assert_eq!(again.send().is(200, "FeatureFlag")["environments"]["production"]["version"], 43);
    let gone = client.call("FeatureFlagsApi", "delete_feature_flag", flag("checkout")).send();
    assert_eq!(gone.is(204, "NoneType"), Value::Null);
    let gone = client.call("FeatureFlagsApi", "get_feature_flag", flag("checkout")).send();
    gone.refused("NotFoundException", 404, "not_found");
}

fn a_json_patch_with_a_test() {
    let (_launchdarkly, client) = begin();
    let patch = |version: u64| {
        let body = json!({ "comment": "a test", "patch": [
            { "op": "test", "path": "/environments/production/version", "value": version },
            { "op": "replace", "path": "/environments/production/on", "value": false },
        ] });
        let call = client.call("FeatureFlagsApi", "patch_feature_flag", flag("checkout"));
        call.model("patch_with_comment", "PatchWithComment", body).send()
    };
    assert_eq!(patch(42).is(200, "FeatureFlag")["environments"]["production"]["version"], 43);
    patch(42).refused("ConflictException", 409, "optimistic_locking_error");
}

fn approvals() {
    let (launchdarkly, mut client) = begin();
    let place = json!({ "project_key": "shop", "feature_flag_key": "refunds", "environment_key": "guarded" });
    let mut direct = turn(true);
    direct["environmentKey"] = json!("guarded");
    let refused = client.call("FeatureFlagsApi", "patch_feature_flag", flag("refunds")).semantic_patch(direct).send();
    refused.refused("ApiException", 405, "method_not_allowed");
    let body = json!({ "description": "a test", "instructions": [{ "kind": "turnFlagOn" }] });
    let request = client.call("ApprovalsApi", "post_approval_request_for_flag", place.clone());
    let request =
        request.model("create_flag_config_approval_request_request", "CreateFlagConfigApprovalRequestRequest", body);
    let request = request.send().is(201, "FlagConfigApprovalRequestResponse");
    assert_eq!((&request["reviewStatus"], &request["status"]), (&json!("pending"), &json!("pending")));
    let listed = client.call("ApprovalsApi", "get_approvals_for_flag", place.clone()).send();
    assert_eq!(listed.is(200, "FlagConfigApprovalRequestsResponse")["items"].as_array().unwrap().len(), 1);
    let mut one = place;
    one["id"] = request["_id"].clone();
    let early = client.call("ApprovalsApi", "post_approval_request_apply_for_flag", one.clone());
    let early = early.model("post_approval_request_apply_request", "PostApprovalRequestApplyRequest", json!({})).send();
    early.refused("BadRequestException", 400, "invalid_request");
    client.token(REVIEWER);
    let review = client.call("ApprovalsApi", "post_approval_request_review_for_flag", one.clone());
    let review = review.model(
        "post_approval_request_review_request",
        "PostApprovalRequestReviewRequest",
        json!({ "kind": "approve" }),
    );
    let reviewed = review.send().is(200, "FlagConfigApprovalRequestResponse");
    assert_eq!(reviewed["reviewStatus"], "approved");
    let apply = client.call("ApprovalsApi", "post_approval_request_apply_for_flag", one.clone());
    let body = json!({ "comment": "go" });
    let applied = apply.model("post_approval_request_apply_request", "PostApprovalRequestApplyRequest", body).send();
    assert_eq!(applied.is(200, "FlagConfigApprovalRequestResponse")["status"], "completed");
    let seen = client.call("ApprovalsApi", "get_approval_for_flag", one).send();
    assert_eq!(seen.is(200, "FlagConfigApprovalRequestResponse")["status"], "completed");
    let configuration =
        launchdarkly.control().configuration(&"shop/guarded".parse().unwrap(), &"refunds".parse().unwrap());
    assert_eq!(configuration.unwrap()["on"], true);
}

fn the_audit_log_by_pages() {
    let (launchdarkly, client) = begin();
    for number in 0..45 {
        let kind = if number % 2 == 0 { "turnFlagOff" } else { "turnFlagOn" };
        let instructions = [json!({ "kind": kind })];
        let key = "checkout".parse().unwrap();
        launchdarkly
            .control()
            .colleague_patches(&environment(), &key, &instructions, "carol", "back and forth")
            .unwrap();
    }
    let spec = "proj/shop:env/production:flag/checkout";
    let mut seen = Vec::new();
    let mut before = Value::Null;
    loop {
        let mut arguments = json!({ "spec": spec, "limit": 20 });
        if !before.is_null() {
            arguments["before"] = before.clone();
        }
        let page = client.call("AuditLogApi", "get_audit_log_entries", arguments).send();
        let page = page.is(200, "AuditLogEntryListingRepCollection");
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["_id"].clone()));
        before = items.last().unwrap()["date"].clone();
        if page["_links"].get("next").is_none() {
            break;
        }
        assert!(seen.len() < 100, "the pages do not end");
    }
    assert_eq!(seen.len(), 45);
    let one = client.call("AuditLogApi", "get_audit_log_entry", json!({ "id": seen[0] })).send();
    let one = one.is(200, "AuditLogEntryRep");
    assert_eq!((&one["comment"], &one["titleVerb"]), (&json!("back and forth"), &json!("turned off the flag")));
    assert_eq!(one["currentVersion"]["environments"]["production"]["on"], false);
}

fn refusals() {
    let (launchdarkly, mut client) = begin();
    let get = |client: &ApiClient, key: &str| client.call("FeatureFlagsApi", "get_feature_flag", flag(key)).send();
    get(&client, "no-such-flag").refused("NotFoundException", 404, "not_found");
    let nonsense = json!({ "environmentKey": "production", "instructions": [{ "kind": "turnFlagSideways" }] });
    let nonsense =
        client.call("FeatureFlagsApi", "patch_feature_flag", flag("checkout")).semantic_patch(nonsense).send();
    nonsense.refused("BadRequestException", 400, "invalid_request");
    let version = client.call("OtherApi", "get_versions", json!({})).version("19990101").send();
    version.refused("BadRequestException", 400, "invalid_request");
    client.token(READER);
    let patch = client.call("FeatureFlagsApi", "patch_feature_flag", flag("checkout")).semantic_patch(turn(false));
    patch.send().refused("ForbiddenException", 403, "forbidden");
    client.token("api-nobody");
    get(&client, "checkout").refused("UnauthorizedException", 401, "unauthorized");
    client.token(WRITER);
    launchdarkly.fault(Fault::status(503).times(1));
    let away = get(&client, "checkout");
    away.refused("ServiceException", 503, "service_unavailable");
    launchdarkly.control().limit(Limits { route: Some(1), answer: LimitAnswer::Reset, ..Limits::default() });
    let first = get(&client, "checkout");
    assert_eq!(first.header("x-ratelimit-route-remaining"), Some("0"));
    first.is(200, "FeatureFlag");
    let limited = get(&client, "checkout");
    assert!(limited.header("x-ratelimit-reset").is_some_and(|reset| reset.parse::<u64>().is_ok()), "{limited:?}");
    limited.refused("ApiException", 429, "rate_limited");
}
