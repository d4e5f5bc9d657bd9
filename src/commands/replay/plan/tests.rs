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

fn entry(author: &str) -> AuditEntry {
    AuditEntry {
        at: "2026-10-20T03:00:00Z".parse().unwrap(),
        title: String::new(),
        comment: String::new(),
        author: author.to_owned(),
        actions: vec!["updateOn".to_owned()],
    }
}

#[test]
fn a_version_that_moved_needs_the_audit_log() {
    let off = override_(&[Instruction::TurnFlagOff]);
    let needs = |now: &RemoteFlag| {
        let course = course(&off, Some(now), &Told::default());
        needs_the_audit_log(&off, Some(now), &course)
    };
    assert!(!needs(&remote(&sample::flag(42, true, 1, 0))));
    assert!(needs(&remote(&sample::flag(44, true, 1, 0))), "changed and changed back");
    assert!(needs(&remote(&sample::flag(44, true, 1, 2))), "changed elsewhere: LaunchDarkly may have had it");
    assert!(!needs(&remote(&sample::flag(43, false, 1, 0))), "already so");
}

/// A replay was cut off after LaunchDarkly had its patch, and before anybody noted it.
#[test]
fn what_launchdarkly_has_had_is_not_sent_again() {
    let off = override_(&[Instruction::TurnFlagOff]);
    let told = Told { delivered: Some(1), since: Some(entry("carol")), ..Told::default() };
    for record in [sample::flag(44, true, 1, 0), sample::flag(44, true, 1, 2)] {
        let found = course(&off, Some(&remote(&record)), &told);
        assert_eq!(found, Course::Had { version: 43, version_now: 44, since: Box::new(entry("carol")) });
    }
    let so = course(&off, Some(&remote(&sample::flag(43, false, 1, 0))), &told);
    assert_eq!(so, Course::Already { version: 43 });
    let unexplained = Told { since: None, ..told };
    assert!(matches!(
        course(&off, Some(&remote(&sample::flag(44, true, 1, 0))), &unexplained),
        Course::ChangedBack { .. }
    ));
}

#[test]
fn a_flag_that_is_gone_or_archived() {
    let off = override_(&[Instruction::TurnFlagOff]);
    assert_eq!(course(&off, None, &Told::default()), Course::Gone { archived: false });
    let archived = RemoteFlag { archived: true, ..remote(&sample::flag(43, true, 1, 0)) };
    assert_eq!(course(&off, Some(&archived), &Told::default()), Course::Gone { archived: true });
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
