//! What can be asked for: states, values, files of edits, repairs, rehearsals.

use std::fs;

use serde_json::Value;
use serde_json::json;

use super::stage::FEATURES;
use super::stage::OFF;
use super::stage::Stage;
use super::stage::changed;
use super::stage::fill;
use super::stage::flags;
use super::stage::record;

const HERE: &str = "update -p shop -e production";

#[test]
fn a_variation_for_everybody() {
    let stage = Stage::with_stores(2);
    let serve = |value: &str| stage.rc(&format!("{HERE} -f pricing-tier --serve")).args([value]).run();
    let off_variation = |index: u64| {
        for store in 0..2 {
            let stands: Value = serde_json::from_str(&stage.record(store, "pricing-tier")).unwrap();
            assert_eq!((&stands["on"], &stands["offVariation"]), (&json!(false), &json!(index)));
        }
    };
    // Bare text, JSON, and JSON that is spaced in another way.
    serve("gold").code(0).out("Everybody gets \"gold\"").out("DONE: pricing-tier serves \"gold\"");
    off_variation(0);
    serve("\"silver\"").code(0).out("Everybody gets \"silver\"");
    off_variation(1);
    serve("{ \"tier\" : \"bronze\" }").code(0).out("{\"tier\":\"bronze\"}");
    off_variation(2);
    let before = stage.record(0, "pricing-tier");
    serve("purple").code(2).err("gold").err("silver").err("bronze");
    assert_eq!(stage.record(0, "pricing-tier"), before);
    assert_eq!(stage.playback_files().len(), 3);
    // Each store's own record, and everything that was not asked for as it was.
    let stands = stage.record(0, "pricing-tier");
    let (_, original) = flags().swap_remove(1);
    let expected =
        changed(&changed(&original, "\"on\":true", "\"on\":false"), "\"offVariation\":1", "\"offVariation\":2");
    assert_eq!(stands, changed(&expected, "\"version\":30", "\"version\":33"));
}

#[test]
fn a_value_that_is_another_variation_elsewhere() {
    let stage = Stage::with_stores(2);
    let other = changed(&record("checkout", 42, true), "[true,false]", "[false,true]");
    stage.servers[1].run(&["HSET", FEATURES, "checkout", &other]);
    let ran = stage.run(&format!("{HERE} -f checkout --serve false")).code(3);
    ran.err("another variation").err("eu-1").err("us-1").err("Nothing was written");
    stage.is_untouched();
}

#[test]
fn an_off_variation_of_null() {
    let stage = Stage::with_stores(1);
    let without = changed(&record("checkout", 42, true), "\"offVariation\":1", "\"offVariation\":null");
    stage.servers[0].run(&["HSET", FEATURES, "checkout", &without]);
    stage.run(OFF).code(0).out("no off variation (null): everybody gets the default that the code itself passes");
}

#[test]
fn dependants_are_named() {
    let stage = Stage::with_stores(1);
    let needs = |key: &str, on: bool| {
        let needs = "\"prerequisites\":[{\"key\":\"checkout\",\"variation\":0}]";
        changed(&record(key, 1, on), "\"prerequisites\":[]", needs)
    };
    for (key, on) in [("express-pay", true), ("gift-wrap", true), ("was-never-on", false)] {
        stage.servers[0].run(&["HSET", FEATURES, key, &needs(key, on)]);
    }
    let ran = stage.run(OFF).code(0).out("express-pay and gift-wrap").nowhere("was-never-on");
    ran.out("2 flags that are on have checkout as a prerequisite and change with it");
}

#[test]
fn a_file_of_edits() {
    let stage = Stage::with_stores(2);
    let staging = "ld:shop:staging";
    for server in &stage.servers {
        fill(server, staging, &flags());
    }
    let lines = concat!(
        "{\"flag\":\"checkout\",\"state\":\"off\"}\n\n",
        "{\"project\":\"shop\",\"environment\":\"staging\",\"flag\":\"checkout\",\"state\":\"Off\"}\n",
        "{\"flag\":\"pricing-tier\",\"serve\":\"silver\"}\n",
        "{\"flag\":\"refunds\",\"instructions\":[{\"kind\":\"turnFlagOff\"},{\"kind\":\"updateOffVariation\",\"variation\":0}]}\n",
    );
    let file = stage.home.path().join("edits.jsonl");
    fs::write(&file, lines).unwrap();
    stage.run(&format!("{HERE} --from edits.jsonl")).code(0).out("DONE: 4 flags are as asked for");
    for store in 0..2 {
        stage.has(store, "checkout", 43, false);
        stage.has(store, "pricing-tier", 31, false);
        stage.has(store, "refunds", 6, false);
        let other = stage.servers[store].run(&["HGET", &format!("{staging}:features"), "checkout"]);
        assert_eq!(other, record("checkout", 43, false));
    }
    assert_eq!(stage.playback_files().len(), 1, "a batch is one change");
    stage.run("update --from edits.jsonl -p shop -e production").code(0).out("already");
    // Standard input.
    let on = "{\"flag\":\"checkout\",\"state\":\"on\"}\n{\"flag\":\"refunds\",\"state\":\"on\"}";
    stage.rc(&format!("{HERE} --from -")).stdin(on).run().code(0).out("2 flags");
    stage.has(1, "checkout", 44, true);
    // What is no edit is named by its line, before anything is written.
    let wrong = "{\"flag\":\"checkout\",\"state\":\"off\"}\n{\"flag\":\"refunds\",\"state\":\"of\"}\n";
    let ran = stage.rc(&format!("{HERE} --from -")).stdin(wrong).run().code(2);
    ran.err("standard input, line 2").err("\"of\" is neither on nor off").err("Nothing was written");
    stage.run(&format!("{HERE} --from nowhere.jsonl")).code(2).err("nowhere.jsonl");
    stage.rc(&format!("{HERE} --from -")).stdin("").run().code(2).err("no edits");
    stage.has(1, "checkout", 44, true);
}

/// Of a batch nothing is written if one flag cannot be.
#[test]
fn a_batch_of_which_one_cannot_be_written() {
    let stage = Stage::with_stores(2);
    stage.servers[0].run(&["HSET", FEATURES, "gone", r#"{"key":"gone","version":9,"deleted":true}"#]);
    stage.servers[1].run(&["HSET", FEATURES, "gone", r#"{"key":"gone","version":9,"deleted":true}"#]);
    let ran = stage.run(&format!("{HERE} -f checkout -f nothing-such -f refunds -f gone -s off")).code(1);
    ran.err("there is no flag nothing-such").err("gone").err("Nothing was written, for none of the 4 flags");
    stage.run(&format!("{HERE} -f checkout -f gone -s off")).code(3).err("gone is deleted");
    stage.is_untouched();
    stage.has(0, "checkout", 42, true);
}

/// A flag of a batch that is so already is no part of the change: LaunchDarkly is not told of it.
#[test]
fn a_batch_of_which_one_is_so_already() {
    let stage = Stage::with_stores(1);
    stage.servers[0].run(&["HSET", FEATURES, "refunds", &record("refunds", 5, false)]);
    stage.run(&format!("{HERE} -f checkout -f refunds -s off")).code(0).out("refunds").out("already so");
    let first: Value = serde_json::from_str(stage.only_file().lines().next().unwrap()).unwrap();
    assert!(!first.to_string().contains("refunds"), "{first}");
    assert_eq!(stage.record(0, "refunds"), record("refunds", 5, false));
    // Begun by one change, and the other by none: nothing new is recorded for the one that is so already.
    stage.run(&format!("{HERE} -f checkout -f refunds -s off")).code(0).out("Nothing was written");
    assert_eq!(stage.playback_files().len(), 1);
}

#[test]
fn recorded_although_it_is_so() {
    let stage = Stage::with_stores(2);
    let on = format!("{HERE} -f checkout -s on --record");
    stage.run(&on).code(0).out("v42 -> v43").out("DONE: checkout is on in 2 of 2 stores");
    stage.has(0, "checkout", 43, true);
    assert_eq!(stage.override_(0, "checkout")["insisted"], json!(["on"]));
    assert_eq!(stage.playback_files().len(), 1);
    stage.run(&on).code(0);
    assert_eq!(stage.playback_files().len(), 1, "owed already");
}

/// The old tool's own damage: `on` as a text.
#[test]
fn every_copy_is_repaired() {
    let stage = Stage::with_stores(2);
    let old_tools = changed(&record("checkout", 43, true), "\"on\":true", "\"on\":\"off\"");
    for server in &stage.servers {
        server.run(&["HSET", FEATURES, "checkout", &old_tools]);
    }
    let ran = stage.run(&format!("{OFF} --repair")).code(0).out("v43 -> v44 (mended)");
    ran.out("DONE: checkout is off in 2 of 2 stores");
    assert_eq!(stage.record(1, "checkout"), record("checkout", 44, false));
    // Mended as what it is not, just as well.
    for server in &stage.servers {
        server.line("DEL ld:shop:production:relaycommander:overrides");
        server.run(&["HSET", FEATURES, "checkout", &old_tools]);
    }
    stage.run(&format!("{HERE} -f checkout -s on --repair")).code(0).out("(mended)");
    stage.has(0, "checkout", 44, true);
}

#[test]
fn a_rehearsal_writes_nothing() {
    let stage = Stage::with_stores(2);
    let ran = stage.run(&format!("{OFF} --dry-run")).code(0).out("v42 -> v43");
    ran.out("NOTHING WAS WRITTEN (--dry-run)").nowhere("DONE");
    stage.run(&format!("{HERE} -f nothing-such -s off --dry-run")).code(1);
    stage.is_untouched();
    stage.has(0, "checkout", 42, true);
    for server in &stage.servers {
        server.freeze();
    }
    stage.run(&format!("{OFF} --dry-run --prefix ld:shop:production --timeout 300ms")).code(7).nowhere("Recorded");
    for server in &stage.servers {
        server.thaw();
    }
    stage.is_untouched();
}

#[test]
fn nothing_to_resume() {
    let stage = Stage::with_stores(1);
    stage.run("update --resume").code(2).err("nothing to resume");
    stage.run("update --resume 7c1f").code(2).err("7c1f");
    stage.run(OFF).code(0);
    stage.run(&format!("update --resume {}", stage.digits())).code(0).out("already");
    stage.run("update --resume -f checkout").code(2);
}

/// Reason, incident and expiry stand in the record and in the store.
#[test]
fn why_and_until_when() {
    let stage = Stage::with_stores(1);
    let line = format!("{OFF} --incident INC-4821 --expires 2h --as bob --reason");
    stage.rc(&line).args(["double charges"]).run().code(0);
    let own = stage.override_(0, "checkout");
    let motive = &own["motive"];
    assert_eq!((&motive["reason"], &motive["incident"]), (&json!("double charges"), &json!("INC-4821")), "{own}");
    assert!(motive["expires"].is_string(), "{own}");
    assert_eq!(motive["actor"]["user"], "bob");
    let line = stage.only_file();
    assert!(line.contains("double charges") && line.contains("INC-4821"), "{line}");
    stage.run(&format!("{OFF} --expires yesterday-ish")).code(2).err("--expires");
    let colour = format!("{OFF} --reason");
    stage.rc(&colour).args(["a\u{1b}[2Jb"]).run().code(2).nowhere("\u{1b}");
}

#[test]
fn for_programs() {
    let stage = Stage::with_stores(2);
    stage.servers[1].run(&["HDEL", FEATURES, "checkout"]);
    let ran = stage.run(&format!("{OFF} --json")).code(5);
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(answer["exit_code"], 5);
    assert_eq!(answer["dry_run"], false);
    let change = &answer["changes"][0];
    assert!(change["id"].as_str().unwrap().ends_with(&stage.digits()));
    assert_eq!(change["file"], stage.playback_files()[0].display().to_string());
    let edit = &answer["edits"][0];
    assert_eq!((&edit["environment"], &edit["flag"]), (&json!("shop/production"), &json!("checkout")));
    assert_eq!(edit["instructions"], json!([{"kind": "turnFlagOff"}]));
    assert_eq!(edit["dependants"], json!([]));
    let (eu, us) = (&edit["targets"][0], &edit["targets"][1]);
    assert_eq!(
        *eu,
        json!({"store": "eu-1", "prefix": "ld:shop:production", "outcome": "written", "version_before": 42,
            "version_after": 43, "relays": []})
    );
    assert_eq!((&us["store"], &us["outcome"]), (&json!("us-1"), &json!("missing")));
    // A refusal leaves standard output to no half document.
    let ran = stage.run("update -p shop -e production -f nothing-such -s off --json").code(1);
    println!("{ran}");
    let ran = stage.run(&format!("{HERE} -f refunds -s off --dry-run --json")).code(0);
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&answer["dry_run"], &answer["changes"]), (&json!(true), &json!([])));
    assert_eq!(answer["edits"][0]["targets"][0]["outcome"], "would-be-written");
}

/// What is typed again and cannot be taken is not dropped without a word.
#[test]
fn an_expiry_for_what_is_overridden_already() {
    let stage = Stage::with_stores(1);
    stage.run(OFF).code(0);
    let ran = stage.run(&format!("{OFF} --expires 2h")).code(0);
    ran.err("--expires was not taken").err("With --record, --expires is.").out("already");
    assert_eq!(stage.override_(0, "checkout")["motive"]["expires"], serde_json::Value::Null);
    stage.run(&format!("{OFF} --expires 2h --record")).code(0).out("v43 -> v44");
    let override_ = stage.override_(0, "checkout");
    assert!(override_["motive"]["expires"].is_string() && override_["revision"] == 2, "{override_}");
    // What is no other time is finished as ever.
    let expires = override_["motive"]["expires"].as_str().unwrap();
    stage.run(&format!("{OFF} --expires {expires} --record")).code(0).out("already");
    assert_eq!(stage.override_(0, "checkout")["revision"], 2);
}
