//! What LaunchDarkly's answers come to.

use super::*;
use crate::change::sample;

fn override_(instructions: &[Instruction]) -> Override {
    sample::override_of(&sample::flag(42, true, 1, 0), instructions, sample::change(1))
}

fn remote(record: &crate::flag::record::Record) -> RemoteFlag {
    let configuration = Configuration::of_record(record);
    RemoteFlag {
        name: String::new(),
        configuration,
        version: record.version(),
        archived: false,
        deprecated: false,
        temporary: None,
        variation_ids: Vec::new(),
        variation_names: Vec::new(),
        last_modified: None,
        tags: Vec::new(),
    }
}

fn log(actions: &[&str]) -> AuditLog {
    let entry = |action: &&str| AuditEntry {
        at: "2026-10-20T03:00:00Z".parse().unwrap(),
        title: String::new(),
        comment: String::new(),
        author: "carol".to_owned(),
        actions: vec![(*action).to_owned()],
    };
    AuditLog { entries: actions.iter().map(entry).collect(), complete: true }
}

#[test]
fn a_version_that_moved_is_explained_by_the_audit_log_alone() {
    let off = override_(&[Instruction::TurnFlagOff]);
    let now = remote(&sample::flag(44, true, 1, 0));
    let sent = |audit: Option<&AuditLog>| matches!(course(&off, Some(&now), audit), Course::Send { .. });
    assert!(!sent(None));
    assert!(sent(Some(&log(&["updateDescription", "updateTags"]))));
    assert!(sent(Some(&log(&["updateDescription", "updateTags", "updateOn"]))), "that was before");
    assert!(!sent(Some(&log(&["updateOn", "updateOn"]))));
    assert!(!sent(Some(&log(&["updateDescription"]))), "one version is not accounted for");
    assert!(!sent(Some(&log(&[]))));
}

#[test]
fn a_flag_that_is_gone_or_archived() {
    let off = override_(&[Instruction::TurnFlagOff]);
    assert_eq!(course(&off, None, None), Course::Gone { archived: false });
    let archived = RemoteFlag { archived: true, ..remote(&sample::flag(43, true, 1, 0)) };
    assert_eq!(course(&off, Some(&archived), None), Course::Gone { archived: true });
}

#[test]
fn in_few_words_what_everybody_gets() {
    let on = Configuration::of_record(&sample::flag(42, true, 1, 0));
    let serve = override_(&[Instruction::TurnFlagOff, Instruction::UpdateOffVariation { variation: 2 }]);
    assert_eq!(wish_in_words(&serve), "\"c\"");
    assert_eq!(in_few_words(&on, &serve), "on");
    let off = override_(&[Instruction::TurnFlagOff]);
    assert_eq!(wish_in_words(&off), "off");
    let rule = override_(&[Instruction::UpdateFallthroughVariationOrRollout { variation: 1 }]);
    assert_eq!((in_few_words(&on, &rule), wish_in_words(&rule)), ("\"a\"".to_owned(), "\"b\"".to_owned()));
}
