//! The steps of the rehearsal, in order: what is done, and what must then be seen. Each expectation is written down here
//! as a value, and looked at by other means than the commands: the store raw, LaunchDarkly's own account, files as they
//! are. Each step goes on from where the one before ended.

mod outage;
mod return_;

use futures_util::future::LocalBoxFuture;

use super::judgement::Step;
use super::raw::Trouble;
use super::stage::Stage;

/// A step that is being played: an error is the drill's own trouble.
pub type Played<'p> = LocalBoxFuture<'p, Result<(), Trouble>>;

/// A step to play.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// Its title.
    pub title: &'static str,
    /// Plays it.
    pub play: for<'p> fn(&'p mut Stage, &'p mut Step) -> Played<'p>,
}

/// All steps.
pub const ALL: [Scene; 22] = [
    Scene { title: "Normal running", play: outage::normal },
    Scene { title: "LaunchDarkly goes away", play: outage::begins },
    Scene { title: "The kill switch", play: outage::kill_switch },
    Scene { title: "The same command again", play: outage::again },
    Scene { title: "A colleague changes two flags", play: outage::colleague },
    Scene { title: "A flag off and on again", play: outage::off_and_on },
    Scene { title: "Two flags as one change", play: outage::batch },
    Scene { title: "A change and its undo", play: outage::undo },
    Scene { title: "Status in the outage", play: outage::status },
    Scene { title: "Verify in the outage", play: outage::verify },
    Scene { title: "Replay in the outage", play: outage::replay },
    Scene { title: "Meanwhile in LaunchDarkly", play: return_::meanwhile },
    Scene { title: "LaunchDarkly is back first", play: return_::wiped },
    Scene { title: "Replay, under a rate limit", play: return_::replay },
    Scene { title: "LaunchDarkly sends it out", play: return_::sent_out },
    Scene { title: "An approval is requested", play: return_::approval_requested },
    Scene { title: "The approval is given", play: return_::approval_given },
    Scene { title: "The conflict is decided", play: return_::conflict },
    Scene { title: "Nothing is owed any more", play: return_::nothing_owed },
    Scene { title: "Verify agrees", play: return_::agreement },
    Scene { title: "Undo after the replay", play: return_::undo_refused },
    Scene { title: "The incident is over", play: return_::over },
];
