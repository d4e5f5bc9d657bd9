//! What is said before anything is written: what was typed and is not taken, and what is not signed although somebody here, or
//! before, signs. It decides nothing.

use crate::change::edit::ChangeKind;
use crate::change::recorded::OverrideWrite;
use crate::change::signing::Keys;
use crate::change::update::Planned;
use crate::commands::Context;
use crate::commands::signing::Vouched;
use crate::commands::update::Arguments;
use crate::commands::update::undertaking::Ground;
use crate::commands::update::undertaking::Part;
use crate::commands::update::undertaking::Undertaking;
use crate::ui::words::list;
use crate::ui::words::list_some;

/// The most flags that are named.
const NAMES_MAX: usize = 5;

/// Says it.
pub(super) fn tell(
    arguments: &Arguments,
    context: &Context<'_>,
    keys: Option<&Keys>,
    undertakings: &[Undertaking],
    grounds: &[Ground],
) {
    warn_of_what_is_not_taken(arguments, context, undertakings);
    if let Some(told) = unsigned(keys, undertakings, grounds) {
        context.output.warn(&told);
    }
}

/// A flag that is overridden so already keeps who, why and until when of that override; what was typed anew is not dropped
/// without a word.
fn warn_of_what_is_not_taken(arguments: &Arguments, context: &Context<'_>, undertakings: &[Undertaking]) {
    let motive = &arguments.motive;
    let typed = [
        ("--reason", motive.reason.is_some()),
        ("--incident", motive.incident.is_some()),
        ("--expires", arguments.expires.is_some()),
    ];
    let typed: Vec<&str> = typed.into_iter().filter(|(_, typed)| *typed).map(|(name, _)| name).collect();
    let is_old =
        |undertaking: &&Undertaking| undertaking.file.is_some() || undertaking.change.kind == ChangeKind::Adopted;
    let old: Vec<String> =
        undertakings.iter().filter(is_old).map(|undertaking| undertaking.change.id.short()).collect();
    let anew = arguments.expires.as_ref().map_or("Undo it first to say it anew.", |_| "With --record, --expires is.");
    if !typed.is_empty() && !old.is_empty() {
        context.output.warn(&format!(
            "{} not taken: the flag is overridden so already, by change {}, which keeps its own. {anew}",
            if typed.len() == 1 { format!("{} was", list(&typed)) } else { format!("{} were", list(&typed)) },
            list(&old),
        ));
    }
}

/// What is not signed, if anything. A guard that replays by itself leaves it to a person.
fn unsigned(keys: Option<&Keys>, undertakings: &[Undertaking], grounds: &[Ground]) -> Option<String> {
    let parts = undertakings.iter().flat_map(|undertaking| &undertaking.parts);
    let with_ground = parts.filter_map(|part| Some((part, grounds.get(part.ground)?)));
    let unsigned = with_ground.filter(|(part, ground)| match keys {
        Some(keys) => is_not_signed_with(keys, part, ground),
        None => loses_its_signature(part, ground),
    });
    let names: Vec<String> = unsigned.map(|(_, ground)| ground.edit.flag.to_string()).collect();
    if names.is_empty() {
        return None;
    }
    let names = list_some(&names, NAMES_MAX);
    Some(match keys {
        Some(_) => format!(
            "{names}: not signed with your key, since what is in force there already was not. Whoever can write the store may have \
             made that: rc show tells what it is. A guard leaves its replay to a person (rc replay). To have it signed: rc undo, \
             and then this again."
        ),
        None => format!(
            "{names}: was signed, and is no more, since no key is known here (RC_SIGNING_KEY_FILE). A guard leaves its replay to a \
             person (rc replay)."
        ),
    })
}

/// Whether what the edit comes to, written now or in force already, is not signed.
fn is_not_signed_with(keys: &Keys, part: &Part, ground: &Ground) -> bool {
    let written = part.plan.writes().filter_map(|planned| match &planned.write.override_after {
        OverrideWrite::Put(own) => Some(&**own),
        OverrideWrite::Keep | OverrideWrite::End(_) => None,
    });
    let standing = part.plan.targets.iter().filter_map(|(_, planned)| match planned {
        Planned::AlreadySo { explained_by, .. } => explained_by.as_deref(),
        _ => None,
    });
    let (environment, flag) = (&ground.edit.environment, &ground.edit.flag);
    written.chain(standing).any(|own| Vouched::by(Some(keys), own, environment, flag).doubt().is_some())
}

fn loses_its_signature(part: &Part, ground: &Ground) -> bool {
    let was_signed = ground.standing.in_force().is_some_and(|own| own.signature.is_some());
    let is_unsigned = |own: &OverrideWrite| matches!(own, OverrideWrite::Put(own) if own.signature.is_none());
    was_signed && part.plan.writes().any(|planned| is_unsigned(&planned.write.override_after))
}
