//! What LaunchDarkly's audit log says about a replay: who, when, why and which changes. PURE.
//!
//! The ids of changes stand in it in full, so that a later replay, from any machine, finds its own work there.

use std::fmt::Write as _;

use crate::change::edit::Motive;
use crate::change::id::ChangeId;

/// The longest comment, in characters. LaunchDarkly documents no limit; a few changes need a tenth of this.
pub const COMMENT_LENGTH_MAX: usize = 3_400;
/// The most characters of a reason.
const REASON_LENGTH_MAX: usize = 400;
/// The most characters of what, who, where and which incident, each.
const NAME_LENGTH_MAX: usize = 80;

/// A comment such as `rc: off by anna@bastion 2026-10-20T02:14Z, INC-4821, "double charges" (changes 0199…, 0199…)`.
/// `what` says in few words what is done. Where there are too many changes, the newest (last) ones are named.
pub fn comment(what: &str, motive: &Motive, changes: &[ChangeId]) -> String {
    let mut text = format!(
        "rc: {} by {}@{} {}",
        harmless(what, NAME_LENGTH_MAX),
        harmless(&motive.actor.user, NAME_LENGTH_MAX),
        harmless(&motive.actor.host, NAME_LENGTH_MAX),
        motive.at.strftime("%Y-%m-%dT%H:%MZ"),
    );
    // Writing to a string cannot fail.
    if let Some(incident) = &motive.incident {
        let _ = write!(text, ", {}", harmless(incident, NAME_LENGTH_MAX));
    }
    if let Some(reason) = &motive.reason {
        let _ = write!(text, ", \"{}\"", harmless(reason, REASON_LENGTH_MAX).replace('"', "'"));
    }
    text + &named(changes, COMMENT_LENGTH_MAX)
}

/// The ids in brackets; `room` is what the whole comment may have, of which names and reason take a known part.
fn named(changes: &[ChangeId], room: usize) -> String {
    const ID_LENGTH: usize = 38;
    let most = (room - REASON_LENGTH_MAX - 4 * NAME_LENGTH_MAX - 100) / ID_LENGTH;
    let older = changes.len().saturating_sub(most);
    let ids = changes[older..].iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (changes.len(), older) {
        (0, _) => String::new(),
        (1, _) => format!(" (change {ids})"),
        (_, 0) => format!(" (changes {ids})"),
        _ => format!(" (changes {ids} and {older} older)"),
    }
}

/// Without control characters and those that turn the direction of text, and not longer than `length` characters.
fn harmless(text: &str, length: usize) -> String {
    let turns = |character: char| matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut kept: String = text.trim().chars().filter(|&character| !turns(character)).take(length + 1).collect();
    kept = kept.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    if kept.chars().count() > length {
        kept = kept.chars().take(length - 1).chain(['…']).collect();
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::change::id::Actor;

    fn motive(user: &str, reason: Option<&str>, incident: Option<&str>) -> Motive {
        Motive {
            actor: Actor { user: user.to_owned(), host: "bastion".to_owned() },
            at: "2026-10-20T02:14:07Z".parse().unwrap(),
            reason: reason.map(str::to_owned),
            incident: incident.map(str::to_owned),
            expires: None,
        }
    }

    #[test]
    fn a_comment_says_who_when_why_and_which_changes() {
        let ids: Vec<ChangeId> = ["0199f00d-0000-7000-8000-000000007c1f", "0199f00d-0000-7000-8000-00000000e90a"]
            .iter()
            .map(|id| id.parse().unwrap())
            .collect();
        assert_eq!(
            comment("off", &motive("anna", Some("double \"charges\""), Some("INC-4821")), &ids),
            "rc: off by anna@bastion 2026-10-20T02:14Z, INC-4821, \"double 'charges'\" (changes \
             0199f00d-0000-7000-8000-000000007c1f, 0199f00d-0000-7000-8000-00000000e90a)"
        );
        assert_eq!(
            comment("on", &motive("anna", None, None), &ids[..1]),
            "rc: on by anna@bastion 2026-10-20T02:14Z (change 0199f00d-0000-7000-8000-000000007c1f)"
        );
    }

    proptest! {
        #[test]
        fn a_comment_is_short_harmless_and_names_the_newest_change(
            what in "\\PC{0,200}", user in any::<String>(), reason in any::<String>(), count in 1_usize..150,
        ) {
            let ids: Vec<ChangeId> = (0..count).map(|_| ChangeId::new()).collect();
            let text = comment(&what, &motive(&user, Some(&reason), Some(&reason)), &ids);
            prop_assert!(text.chars().count() <= COMMENT_LENGTH_MAX, "{}", text.chars().count());
            let harmful = |character: char| character.is_control() || character == '\u{202e}';
            prop_assert!(!text.chars().any(harmful));
            prop_assert!(text.contains(&ids[count - 1].to_string()));
            // An override names at most 64 changes (change::override_): all of them must be found again.
            prop_assert!(count > 64 || ids.iter().all(|id| text.contains(&id.to_string())));
        }
    }
}
