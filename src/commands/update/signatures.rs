//! What is written and not signed although somebody here or before signs: told, since a guard that replays by itself leaves
//! it to a person. It decides nothing.

use crate::change::recorded::OverrideWrite;
use crate::change::signing::Keys;
use crate::change::update::Planned;
use crate::change::update::PlannedWrite;
use crate::commands::signing::Vouched;
use crate::commands::update::undertaking::Ground;
use crate::commands::update::undertaking::Part;
use crate::commands::update::undertaking::Undertaking;
use crate::ui::words::list_some;

/// The most flags that are named.
const NAMES_MAX: usize = 5;

/// What is to be said of it, if anything.
pub(super) fn told(keys: Option<&Keys>, undertakings: &[Undertaking], grounds: &[Ground]) -> Option<String> {
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

fn writes(part: &Part) -> impl Iterator<Item = &PlannedWrite> {
    part.plan.writes()
}

/// Whether what the edit comes to, written now or in force already, is not signed.
fn is_not_signed_with(keys: &Keys, part: &Part, ground: &Ground) -> bool {
    let written = writes(part).filter_map(|planned| match &planned.write.override_after {
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
    was_signed && writes(part).any(|planned| is_unsigned(&planned.write.override_after))
}
