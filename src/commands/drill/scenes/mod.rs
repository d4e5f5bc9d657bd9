//! The steps of the rehearsal, in order: what is done, and what must then be seen. Each expectation is written down here
//! as a value, and looked at by other means than the commands: the store raw, LaunchDarkly's own account, files as they
//! are. Each step goes on from where the one before ended.

mod outage;
mod restart;
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
    pub play: Play,
}

/// See [`Scene::play`].
pub type Play = for<'p> fn(&'p mut Stage, &'p mut Step) -> Played<'p>;

/// The steps: those of every rehearsal, and with `relay`, those that take a real relay.
pub fn all(relay: bool) -> Vec<Scene> {
    let scene = |title: &'static str, play: Play| Scene { title, play };
    let mut scenes = vec![
        scene("Normal running", outage::normal),
        scene("LaunchDarkly goes away", outage::begins),
        scene("The kill switch", outage::kill_switch),
        scene("What each kind of SDK sees", outage::who_sees_it),
        scene("The same command again", outage::again),
        scene("A colleague changes two flags", outage::colleague),
        scene("A flag off and on again", outage::off_and_on),
        scene("Two flags as one change", outage::batch),
        scene("A change and its undo", outage::undo),
        scene("Status in the outage", outage::status),
        scene("Verify in the outage", outage::verify),
        scene("Replay in the outage", outage::replay),
    ];
    if relay {
        scenes.push(scene("A relay started anew", restart::in_the_outage));
    }
    scenes.extend([
        scene("Meanwhile in LaunchDarkly", return_::meanwhile),
        scene("LaunchDarkly is back first", return_::wiped),
        scene("Replay, under a rate limit", return_::replay),
        scene("LaunchDarkly sends it out", return_::sent_out),
        scene("An approval is requested", return_::approval_requested),
        scene("The approval is given", return_::approval_given),
        scene("The conflict is decided", return_::conflict),
        scene("Nothing is owed any more", return_::nothing_owed),
        scene("Verify agrees", return_::agreement),
        scene("Undo after the replay", return_::undo_refused),
        scene("The incident is over", return_::over),
    ]);
    scenes
}
