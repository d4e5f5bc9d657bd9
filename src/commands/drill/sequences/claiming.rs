//! Puts together what the judge of claims needs to know of a command that has ended.

use super::judge::claims;
use super::judge::claims::Claim;
use super::judge::claims::Look;
use super::play::Ended;
use super::play::Play;
use super::play::Running;
use super::steps::STORES;
use super::steps::Typed;
use super::steps::Verb;
use super::world;
use super::world::playback;
use crate::commands::drill::operator::Ran;

impl Play {
    /// The stores as they are, for somebody at a home.
    pub(super) fn looks(&self, home: usize) -> Vec<Look<'_>> {
        let reached = self.world.reaches(home);
        let look = |((content, reached), store)| Look { store, content, reached };
        self.contents.iter().zip(reached).zip(STORES).map(look).collect()
    }

    /// Judges what a command claimed.
    pub(super) fn claims(&mut self, typed: &Typed, ran: &Ran, run: &Running) -> Result<(), Ended> {
        let home = self.world.home_of(typed.who);
        // Only one claim is about the playback.
        let filed = match typed.verb {
            Verb::Verify => playback::read(&world::home(self.world.folder(), home))?,
            _ => Vec::new(),
        };
        let recorded = playback::flags(&filed);
        claims::check(&Claim {
            verb: &typed.verb,
            code: ran.code.number(),
            words: &format!("{}\n{}", ran.out, ran.talk),
            quiet: !run.disturbed,
            cut: run.cut,
            did: run.did,
            stores: self.looks(home),
            ledger: &self.ledger,
            editions: &self.editions,
            api: self.world.reaches_launchdarkly(home),
            api_is_well: self.world.api_is_well(),
            recorded: &recorded,
            waiting: filed.iter().any(|filed| !filed.moved),
        })
        .map_err(Ended::from)
    }
}
