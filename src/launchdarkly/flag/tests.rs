use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::flag::aspect::Aspect;
use crate::flag::record::Record;

fn read(body: &Value) -> Result<RemoteFlag, FlagReadError> {
    RemoteFlag::read(body.to_string().as_bytes(), &"production".parse().unwrap(), &"alternate.page".parse().unwrap())
}

/// The sample of LaunchDarkly's own description (tag "Feature flags"), as launchdarkly.md 4.1 has it.
fn sample() -> Value {
    json!({
        "key": "alternate.page", "name": "Alternate page", "kind": "boolean", "_version": 2,
        "creationDate": 1_418_684_722_483_i64, "temporary": false, "tags": ["ops"], "archived": false,
        "variations": [
            {"_id": "e432f62b-55f6-49dd-a02f-eb24acf39d05", "value": true},
            {"_id": "a00bf58d-d252-476c-b915-15a74becacb4", "value": false, "name": "off"},
        ],
        "environments": {"production": {
            "on": true, "archived": false, "salt": "YWx0ZXJuYXRlLnBhZ2U=", "sel": "45501b9314dc4641841af774cb038b96",
            "lastModified": 1_469_326_565_348_i64, "version": 61,
            "targets": [{"values": ["user-key-123abc"], "variation": 0, "contextKind": "user"}],
            "contextTargets": [
                {"values": [], "variation": 0, "contextKind": "user"},
                {"values": ["org-key-123abc"], "variation": 0, "contextKind": "organization"},
            ],
            "rules": [{"_id": "f3ea72d0", "variation": 0, "clauses": [
                {"_id": "6b81968e", "attribute": "groups", "op": "in", "values": ["Top Customers"],
                 "contextKind": "user", "negate": false},
            ], "trackEvents": false, "ref": "7325", "description": "x", "disabled": false}],
            "fallthrough": {"rollout": {"variations": [
                {"variation": 0, "weight": 60_000}, {"variation": 1, "weight": 40_000},
            ], "contextKind": "user"}},
            "offVariation": 1, "prerequisites": [], "_site": {"href": "/x", "type": "text/html"},
            "_environmentName": "Production", "trackEvents": false, "trackEventsFallthrough": false,
        }},
    })
}

#[test]
fn the_documented_sample_is_read() {
    let flag = read(&sample()).unwrap();
    assert_eq!(
        (flag.version, flag.archived, flag.temporary, &flag.tags[..]),
        (61, false, Some(false), &["ops".to_owned()][..])
    );
    assert_eq!(flag.last_modified.unwrap().to_string(), "2016-07-24T02:16:05.348Z");
    assert_eq!(flag.variation_ids[1].as_deref(), Some("a00bf58d-d252-476c-b915-15a74becacb4"));
    assert_eq!(flag.variation_names, [None, Some("off".to_owned())]);
    let record = json!({
        "key": "alternate.page", "on": true, "version": 61, "offVariation": 1, "variations": [true, false],
        "targets": [{"variation": 0, "values": ["user-key-123abc"]}],
        "contextTargets": [
            {"contextKind": "user", "variation": 0, "values": []},
            {"contextKind": "organization", "variation": 0, "values": ["org-key-123abc"]},
        ],
        "rules": [{"id": "f3ea72d0", "variation": 0, "clauses": [
            {"contextKind": "user", "attribute": "groups", "op": "in", "values": ["Top Customers"], "negate": false},
        ], "trackEvents": false}],
        "fallthrough": {"rollout": {"variations": [
            {"variation": 0, "weight": 60_000}, {"variation": 1, "weight": 40_000},
        ]}},
    });
    assert_eq!(flag.configuration, Configuration::of_record(&Record::parse(record.to_string().as_bytes()).unwrap()));
}

#[test]
fn what_decides_must_be_there() {
    let without = |path: &str| {
        let mut body = sample();
        let (parent, name) = path.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
        read(&body)
    };
    for path in [
        "/key",
        "/variations",
        "/environments/production/on",
        "/environments/production/version",
        "/variations/0/value",
        "/environments/production/rules/0/clauses/0/op",
    ] {
        assert!(matches!(without(path), Err(FlagReadError::Unusable(_))), "{path}");
    }
    assert!(matches!(without("/environments/production"), Err(FlagReadError::NoEnvironment(_))));
    assert!(matches!(without("/environments"), Err(FlagReadError::NoEnvironment(_))));
    for path in [
        "/name",
        "/tags",
        "/variations/0/_id",
        "/environments/production/rules",
        "/environments/production/fallthrough",
    ] {
        assert!(without(path).is_ok(), "{path}");
    }
    let mut other = sample();
    other["key"] = json!("another");
    assert!(matches!(read(&other), Err(FlagReadError::Unusable(_))));
    let mut text = sample();
    text["environments"]["production"]["on"] = json!("off");
    assert!(matches!(read(&text), Err(FlagReadError::Unusable(_))));
    let environment = "production".parse().unwrap();
    let html = RemoteFlag::read(b"<html>", &environment, &"x".parse().unwrap());
    assert_eq!(html, Err(FlagReadError::NotJson));
}

#[test]
fn a_guarded_rollout_is_known_for_what_it_is() {
    let mut body = sample();
    body["environments"]["production"]["fallthrough"]["rollout"]["experimentAllocation"] =
        json!({"type": "measuredRollout", "defaultVariation": 0, "canReshuffle": false});
    let flag = read(&body).unwrap();
    assert_eq!(flag.configuration.fallthrough, Serve::Measured);
    assert!(flag.configuration.differs(&flag.configuration).contains(&Aspect::Fallthrough));
}

#[test]
fn archived_anywhere_is_archived() {
    for path in ["/archived", "/environments/production/archived"] {
        let mut body = sample();
        *body.pointer_mut(path).unwrap() = json!(true);
        assert!(read(&body).unwrap().archived);
    }
}

fn serve() -> BoxedStrategy<Serve> {
    let rollout =
        (any::<bool>(), 0..3_usize, any::<bool>(), proptest::option::of(0..99_i64), 0..=100_000_i64, any::<bool>());
    let rollout = rollout.prop_map(|(experiment, kind, by_name, seed, weight, untracked)| Serve::Rollout {
        experiment,
        context_kind: ["user", "org", "device"][kind].to_owned(),
        bucket_by: if by_name && !experiment { "name" } else { "key" }.to_owned(),
        seed,
        shares: [(0, weight, untracked && experiment), (1, 100_000 - weight, false)]
            .into_iter()
            .filter(|share| share.1 != 0)
            .map(|(variation, weight, untracked)| Share { variation, weight, untracked })
            .collect(),
    });
    prop_oneof![(0..3_i64).prop_map(Serve::Variation), rollout, Just(Serve::Nothing)].boxed()
}

fn clause() -> BoxedStrategy<Clause> {
    let parts =
        (0..4_usize, any::<bool>(), prop_oneof![Just(json!(1)), Just(json!("a")), Just(json!(2.5))], any::<bool>());
    parts
        .prop_map(|(kind, reference, value, negate)| Clause {
            context_kind: [None, Some("user"), Some("org"), Some("")][kind].map(str::to_owned),
            attribute: if kind == 3 {
                ""
            } else if reference {
                "/a/b"
            } else {
                "name"
            }
            .to_owned(),
            op: if kind == 3 { "segmentMatch" } else { "in" }.to_owned(),
            values: vec![JsonValue(value)],
            negate,
        })
        .boxed()
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let rule = (proptest::collection::vec(clause(), 0..3), serve()).prop_map(|(clauses, serve)| (clauses, serve));
    let targets = proptest::collection::btree_map(
        (prop_oneof![Just("user".to_owned()), Just("org".to_owned())], 0..3_i64),
        proptest::collection::btree_set("[a-c]{1,2}", 1..4),
        0..4,
    );
    let prerequisites = proptest::collection::btree_map("[a-z]{1,3}", 0..3_i64, 0..3);
    let rules = proptest::collection::vec(rule, 0..3);
    (any::<bool>(), proptest::option::of(0..3_i64), serve(), targets, rules, prerequisites).prop_map(
        |(on, off_variation, fallthrough, targets, rules, prerequisites)| Configuration {
            on,
            off_variation,
            fallthrough,
            targets,
            rules: rules
                .into_iter()
                .enumerate()
                .map(|(place, (clauses, serve))| Rule { id: format!("rule-{place}"), clauses, serve, disabled: false })
                .collect(),
            prerequisites,
            variations: vec![JsonValue(json!("gold")), JsonValue(json!({"a": 1})), JsonValue(json!(null))],
        },
    )
}

/// Writes a configuration down in both forms, naively; `whim` chooses among spellings that mean the same.
struct Writer {
    rest: bool,
    whim: u64,
}

impl Writer {
    fn whim(&mut self) -> bool {
        self.whim = self.whim.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.whim >> 63 == 1
    }

    fn serve(&mut self, serve: &Serve) -> Value {
        match serve {
            Serve::Variation(variation) => json!({"variation": variation}),
            Serve::Nothing => json!({}),
            Serve::Measured => unreachable!("not generated"),
            Serve::Rollout { experiment, context_kind, bucket_by, seed, shares } => {
                let untracked = if self.rest { "_untracked" } else { "untracked" };
                let mut list = Vec::new();
                for share in shares {
                    let mut written = json!({"variation": share.variation, "weight": share.weight});
                    if share.untracked || self.whim() {
                        written[untracked] = json!(share.untracked);
                    }
                    list.push(written);
                }
                if self.whim() {
                    list.push(json!({"variation": 2, "weight": 0}));
                }
                let mut rollout = json!({"variations": list});
                if context_kind != "user" || self.whim() {
                    rollout["contextKind"] = json!(context_kind);
                }
                if bucket_by != "key" || self.whim() {
                    rollout["bucketBy"] = json!(bucket_by);
                }
                if seed.is_some() || self.whim() {
                    rollout["seed"] = json!(seed);
                }
                match (self.rest, experiment) {
                    (true, true) => {
                        rollout["experimentAllocation"] = json!({"defaultVariation": 0, "canReshuffle": true})
                    }
                    (false, true) => rollout["kind"] = json!("experiment"),
                    (false, false) if self.whim() => rollout["kind"] = json!("rollout"),
                    _ => {}
                }
                json!({"rollout": rollout})
            }
        }
    }

    fn rules(&mut self, rules: &[Rule]) -> Vec<Value> {
        let id = if self.rest { "_id" } else { "id" };
        let mut written = Vec::new();
        for rule in rules {
            let mut one = self.serve(&rule.serve);
            one[id] = json!(rule.id);
            one["clauses"] = rule.clauses.iter().map(|clause| self.clause(clause)).collect();
            one["trackEvents"] = json!(self.whim());
            written.push(one);
            if self.rest && self.whim() {
                let clause = json!({"attribute": "x", "op": "in", "values": [1], "negate": false});
                written.push(json!({"_id": "asleep", "disabled": true, "variation": 0, "clauses": [clause]}));
            }
        }
        written
    }

    fn clause(&mut self, clause: &Clause) -> Value {
        let mut written = json!({"op": clause.op, "attribute": clause.attribute});
        written["values"] = clause.values.iter().map(|value| value.0.clone()).collect();
        if clause.op == "segmentMatch" {
            // Counts for nothing there, whatever it is.
            written["attribute"] = json!(if self.whim() { "segmentMatch" } else { "" });
            written["contextKind"] = json!(if self.whim() { "user" } else { "" });
        } else if let Some(kind) = &clause.context_kind {
            written["contextKind"] = json!(kind);
        }
        if clause.negate || self.whim() {
            written["negate"] = json!(clause.negate);
        }
        if self.rest {
            written["_id"] = json!("c1");
        }
        written
    }

    fn configuration(&mut self, configuration: &Configuration) -> Value {
        let (mut users, mut contexts) = (Vec::new(), Vec::new());
        for ((kind, variation), keys) in &configuration.targets {
            if kind == "user" {
                users.push(json!({"variation": variation, "values": keys}));
                contexts.push(json!({"contextKind": "user", "variation": variation, "values": []}));
            } else {
                contexts.push(json!({"contextKind": kind, "variation": variation, "values": keys}));
            }
        }
        let prerequisites =
            configuration.prerequisites.iter().map(|(key, variation)| json!({"key": key, "variation": variation}));
        let mut written = json!({
            "on": configuration.on, "version": 7, "fallthrough": self.serve(&configuration.fallthrough),
            "targets": users, "contextTargets": contexts, "rules": self.rules(&configuration.rules),
            "prerequisites": prerequisites.collect::<Vec<_>>(),
        });
        if configuration.off_variation.is_some() || self.whim() {
            written["offVariation"] = json!(configuration.off_variation);
        }
        for name in ["targets", "contextTargets", "rules", "prerequisites"] {
            if written[name] == json!([]) && self.whim() {
                written[name] = Value::Null;
            }
        }
        written
    }
}

proptest! {
    #[test]
    fn both_forms_of_a_configuration_compare_equal(meant in configuration(), whim in any::<u64>()) {
        let values: Vec<Value> = meant.variations.iter().map(|value| value.0.clone()).collect();

        let mut sdk = Writer { rest: false, whim }.configuration(&meant);
        sdk["variations"] = json!(values);
        let stored = Configuration::of_record(&Record::parse(sdk.to_string().as_bytes()).unwrap());

        let here = Writer { rest: true, whim: whim.rotate_left(17) }.configuration(&meant);
        let variations: Vec<Value> = values.iter().map(|value| json!({"_id": "x", "value": value})).collect();
        let rest = json!({"key": "alternate.page", "variations": variations, "environments": {"production": here}});
        let mut remote = read(&rest).unwrap().configuration;

        prop_assert!(stored.differs(&remote).is_empty(), "{:?}\n{stored:#?}\n{remote:#?}", stored.differs(&remote));
        remote.rules.retain(|rule| !rule.disabled);
        // Both readers end with it, so a clause without a kind is told as one of users.
        let meant = meant.normalised();
        prop_assert_eq!(&stored, &meant);
        prop_assert_eq!(&remote, &meant);
    }

    #[test]
    fn any_json_is_read_or_refused(body in "\\PC{0,40}|[\\[\\]{}\",:a-z0-9]{0,60}") {
        let environment = "production".parse().unwrap();
        let outcome = RemoteFlag::read(body.as_bytes(), &environment, &"x".parse().unwrap());
        prop_assert!(outcome.is_err());
    }
}
