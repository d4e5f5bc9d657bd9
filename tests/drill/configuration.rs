//! The stream by which relays with automatic configuration learn of environments and payload filters.

use relay_commander::drill::launchdarkly::PayloadFilter;
use serde_json::Value;
use serde_json::json;

use super::listening::Stream;
use super::listening::ask;
use super::support::Shop;
use super::support::environment;
use super::support::seed;

const RELAY: &str = "rel-all-0001";
const ONE: &str = "rel-one-0002";
const PATH: &str = "/relay_auto_config?rpacProtocolVersion=2";
const ID: &str = "0123456789abcdef01234567";

fn web() -> PayloadFilter {
    PayloadFilter { flags: vec!["web-*".to_owned()], tags: Vec::new() }
}

async fn open() -> Shop {
    let seed = seed().environment("production").sdk_key("sdk-production").client_side_id(ID);
    let seed = seed.expiring_sdk_key("sdk-before", 4_000_000_000_000).payload_filter("web", web());
    Shop::with(seed.relay_key(RELAY, &["proj/*:env/*"]).relay_key(ONE, &["proj/shop:env/production"])).await
}

fn environments(put: &Value) -> Vec<&str> {
    let environments = put["data"]["environments"].as_object().unwrap();
    let mut keys: Vec<&str> = environments.values().map(|one| one["envKey"].as_str().unwrap()).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn all_that_the_relay_may_have_comes_first() {
    let shop = open().await;
    let put = Stream::open(&shop, PATH, RELAY).await.event().await;
    assert_eq!((put.name.as_str(), &put.data()["path"]), ("put", &json!("/")));
    assert_eq!(environments(&put.data()), ["guarded", "production", "staging"]);
    let put = Stream::open(&shop, PATH, ONE).await.event().await.data();
    assert_eq!(environments(&put), ["production"]);
    let mut shown = put["data"]["environments"][ID].clone();
    assert!(shown["mobKey"].as_str().unwrap().starts_with("mob-"));
    shown["mobKey"] = Value::Null;
    let expected = json!({
        "envID": ID, "envKey": "production", "envName": "Production", "mobKey": null,
        "projKey": "shop", "projName": "Shop",
        "sdkKey": {
            "value": "sdk-production", "expiring": { "value": "sdk-before", "timestamp": 4_000_000_000_000_i64 },
        },
        "defaultTtl": 0, "secureMode": false, "version": 1,
    });
    assert_eq!(shown, expected);
    let filters: Vec<&Value> = put["data"]["filters"].as_object().unwrap().values().collect();
    assert_eq!(filters, [&json!({ "projKey": "shop", "key": "web", "version": 1 })]);
    let first_protocol = Stream::open(&shop, "/relay_auto_config", ONE).await.event().await.data();
    assert_eq!(first_protocol["data"].get("filters"), None);
    for wrong in ["rel-wrong", "", "sdk-production"] {
        assert_eq!(ask(&shop, PATH, wrong).await.status().as_u16(), 401, "{wrong}");
    }
}

#[tokio::test]
async fn changes_of_environments_and_filters() {
    let shop = open().await;
    let control = shop.control();
    let (mut all, mut one) = (Stream::open(&shop, PATH, RELAY).await, Stream::open(&shop, PATH, ONE).await);
    all.event().await;
    one.event().await;
    let expires = 4_100_000_000_000;
    control.reset_sdk_key(&environment("production"), "sdk-new", Some(expires)).unwrap();
    for stream in [&mut all, &mut one] {
        let event = stream.event().await;
        assert_eq!((event.name.as_str(), &event.data()["path"]), ("patch", &json!(format!("/environments/{ID}"))));
        let data = &event.data()["data"];
        let key = json!({ "value": "sdk-new", "expiring": { "value": "sdk-production", "timestamp": expires } });
        assert_eq!((&data["sdkKey"], &data["version"]), (&key, &json!(2)));
    }
    control.add_environment(&environment("canary"), Some("sdk-canary")).unwrap();
    let event = all.event().await;
    assert_eq!((event.name.as_str(), &event.data()["data"]["envKey"]), ("patch", &json!("canary")));
    let path = event.data()["path"].clone();
    let mut flags = Stream::open(&shop, "/all", "sdk-canary").await;
    assert_eq!(flags.event().await.data()["data"]["flags"]["checkout"]["on"], false);
    control.remove_environment(&environment("canary")).unwrap();
    let event = all.event().await;
    assert_eq!((event.name.as_str(), event.data()), ("delete", json!({ "path": path, "version": 2 })));
    assert_eq!(flags.next().await, None, "its environment is gone");
    control.add_environment(&environment("canary"), None).unwrap();
    assert_eq!(all.event().await.data()["data"]["version"], 3, "higher than that of the deletion");

    control.set_payload_filter("shop", "web", Some(PayloadFilter::default())).unwrap();
    let event = one.event().await;
    assert!(event.data()["path"].as_str().unwrap().starts_with("/filters/"), "it heard nothing of canary");
    assert_eq!(event.data()["data"], json!({ "projKey": "shop", "key": "web", "version": 2 }));
    control.set_payload_filter("shop", "web", None).unwrap();
    assert_eq!(one.event().await.data()["version"], 3);
    control.reconnect_relays();
    assert_eq!(one.event().await.name, "reconnect");
}
