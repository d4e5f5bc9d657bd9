//! How a sequence ends: every outage is over, everybody replays with one answer to all conflicts until nothing moves any
//! more, and then everybody verifies. What is still owed then must be said; after that it is given up, and LaunchDarkly,
//! stores and playback must agree.

use std::collections::BTreeSet;

use super::judge::Broken;
use super::judge::Rule;
use super::judge::accounts;
use super::judge::accounts::Accounts;
use super::judge::accounts::Report;
use super::judge::claims::difference;
use super::judge::edition::Edition;
use super::play::Ended;
use super::play::Play;
use super::steps::Deed;
use super::steps::Event;
use super::steps::FLAGS;
use super::steps::OnConflict;
use super::steps::Pace;
use super::steps::Story;
use super::steps::Typed;
use super::steps::Verb;
use super::world;
use super::world::playback;
use crate::error::ExitCode;

/// After so many rounds in which something still moved, it does not come to rest.
const ROUNDS_MAX: usize = 7;

/// The number of the steps in which a story comes to rest.
const ENDING: usize = 1_000;

impl Play {
    /// Brings everything to rest, and has the judge look at what came of it.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn ending(&mut self, story: &Story) -> Result<(), Ended> {
        self.told.part("everything is up again");
        self.heal(story).await?;
        self.told.part("everybody replays until nothing moves");
        self.step = ENDING;
        let outlook = self.outlook.clone();
        self.rounds(story, story.last_word).await?;
        if story.last_word == OnConflict::Override {
            let agreed = |flag: &str| {
                let needs = FLAGS.iter().any(|one| one.key == flag && one.needs_approval);
                story.agreed_to || !needs
            };
            outlook.check(&self.ledger, agreed, ENDING)?;
        }
        let reports = self.verify_everywhere(story).await?;
        self.account(story, &reports)?;
        if reports.iter().any(|report| report.code != 0) {
            self.told.part("what is still owed is given up");
            self.rounds(story, OnConflict::LaunchDarkly).await?;
            self.undo_what_is_owed().await?;
        }
        // What LaunchDarkly has had ends when LaunchDarkly's own data path shows that: its next version, and a put. That
        // may look like a record of ours, by value; the one after it does not.
        for last in [false, true] {
            self.told.part("LaunchDarkly goes on");
            self.go_on(story).await?;
            match self.at_rest(story) {
                Err(broken) if last => return Err(broken.into()),
                Err(_) => {}
                Ok(()) => break,
            }
        }
        self.agree(story).await
    }

    async fn go_on(&mut self, story: &Story) -> Result<(), Ended> {
        let described = (0..story.cast.flags).map(|flag| Event::Colleague { flag, deed: Deed::Describe });
        let restarted = (0..story.cast.relays.len()).map(Event::RelayRestarted);
        self.events(&described.chain(restarted).collect::<Vec<_>>()).await?;
        self.rest().await?;
        self.rounds(story, OnConflict::LaunchDarkly).await
    }

    async fn heal(&mut self, story: &Story) -> Result<(), Ended> {
        let mut events = vec![Event::ApiBack];
        events.extend((0..story.cast.stores).map(Event::StoreUp));
        events.extend((0..story.cast.home_count()).map(Event::Healed));
        for relay in 0..story.cast.relays.len() {
            events.extend([Event::RelayPace(relay, Pace::Slow), Event::RelayJoined(relay)]);
        }
        events.push(Event::StreamBack);
        self.events(&events).await?;
        self.rest().await?;
        // A relay that finds its store empty fills it.
        for (relay, store) in story.cast.relays.iter().enumerate() {
            if self.contents.get(*store).is_some_and(|content| !content.initialised) {
                self.event(&Event::RelayRestarted(relay)).await?;
            }
        }
        self.rest().await
    }

    /// One operator of each home.
    fn one_of_each_home(story: &Story) -> Vec<usize> {
        let mut homes = BTreeSet::new();
        let first = |(who, home): (usize, &usize)| homes.insert(*home).then_some(who);
        story.cast.homes.iter().enumerate().filter_map(first).collect()
    }

    async fn rounds(&mut self, story: &Story, on_conflict: OnConflict) -> Result<(), Ended> {
        for round in 0..ROUNDS_MAX {
            let said = |play: &Self| play.ledger.all().map(|(_, said)| said.len()).sum::<usize>();
            let before = (said(self), self.contents.clone(), self.files()?);
            let mut all_done = true;
            for who in Self::one_of_each_home(story) {
                let verb = Verb::Replay {
                    flags: Vec::new(),
                    on_conflict: Some(on_conflict),
                    // What was declined is asked for again only if somebody wants that.
                    request_approval: round == 0,
                    dry_run: false,
                };
                let ran = self.command(&Typed { who, verb, meanwhile: Vec::new() }).await?;
                all_done &= ran.is_some_and(|ran| ran.code == ExitCode::Done);
                self.rest().await?;
            }
            if all_done {
                return Ok(());
            }
            if let Some(flag) =
                (0..story.cast.flags).find(|flag| FLAGS.get(*flag).is_some_and(|one| one.needs_approval))
            {
                let event = if story.agreed_to { Event::Approved(flag) } else { Event::Declined(flag) };
                self.event(&event).await?;
                self.rest().await?;
            }
            if before == (said(self), self.contents.clone(), self.files()?) {
                return Ok(());
            }
        }
        let evidence = format!("after {ROUNDS_MAX} rounds of replays something still moves");
        Err(Broken::new(Rule::AtRest, evidence).into())
    }

    /// How many events each file of each home tells of.
    fn files(&self) -> Result<Vec<(String, usize, bool)>, Ended> {
        let mut files = Vec::new();
        for home in 0..self.world.cast().home_count() {
            for filed in playback::read(&world::home(self.world.folder(), home))? {
                files.push((filed.change, filed.events.len(), filed.moved));
            }
        }
        Ok(files)
    }

    async fn verify_everywhere(&mut self, story: &Story) -> Result<Vec<Report>, Ended> {
        let mut reports = Vec::new();
        for who in Self::one_of_each_home(story) {
            if let Some(ran) = self.command(&Typed { who, verb: Verb::Verify, meanwhile: Vec::new() }).await? {
                reports.push(Report { code: ran.code.number(), words: format!("{}\n{}", ran.out, ran.talk) });
            }
        }
        Ok(reports)
    }

    fn account(&mut self, story: &Story, reports: &[Report]) -> Result<(), Ended> {
        let mut filed = Vec::new();
        for home in 0..story.cast.home_count() {
            filed.push(playback::read(&world::home(self.world.folder(), home))?);
        }
        let said = Accounts {
            homes: &filed,
            ledger: &self.ledger,
            editions: &self.editions,
            contents: &self.contents,
            reports,
            typed: &self.typed,
        };
        accounts::check(&said)?;
        let looks = self.looks(0);
        let named: BTreeSet<String> = filed.iter().flat_map(|filed| playback::flags(filed)).collect();
        for flag in FLAGS.iter().filter(|flag| named.contains(flag.key)) {
            // By value: a version that is behind without more is brought by LaunchDarkly's next change.
            let Some(why) = difference(&looks, &self.ledger, flag.key, false) else { continue };
            if !reports.iter().any(|report| report.tells_of(flag.key)) {
                return Err(Broken::new(Rule::AtRest, format!("nobody is told: {why}")).into());
            }
        }
        Ok(())
    }

    async fn undo_what_is_owed(&mut self) -> Result<(), Ended> {
        for (flag, of) in FLAGS.iter().enumerate() {
            let texts = self.contents.iter().filter_map(|content| content.overrides.get(of.key));
            let is_owed = texts.filter_map(|text| Edition::parse(text).ok()).any(|edition| edition.is_owed());
            if is_owed {
                let verb = Verb::Undo { flag, yes: true };
                self.command(&Typed { who: 0, verb, meanwhile: Vec::new() }).await?;
                self.rest().await?;
            }
        }
        Ok(())
    }

    /// Everything is given up or done: nothing may be left over.
    fn at_rest(&self, story: &Story) -> Result<(), Broken> {
        let looks = self.looks(0);
        for flag in FLAGS.iter().take(story.cast.flags) {
            if let Some(why) = difference(&looks, &self.ledger, flag.key, true) {
                return Err(Broken::new(Rule::AtRest, why));
            }
            // One that LaunchDarkly has had, and whose flag it has no more, has nothing to hold and nothing to end it.
            let gone = self.ledger.newest(flag.key).is_some_and(|said| said.record.is_none());
            let stays = |text: &str| gone && Edition::parse(text).is_ok_and(|edition| !edition.is_owed());
            let left = looks.iter().find_map(|look| {
                let text = look.content.overrides.get(flag.key).filter(|text| !stays(text))?;
                Some((look.store, text))
            });
            if let Some((store, text)) = left {
                let evidence = format!("{store} still has an override of {}: {text}", flag.key);
                return Err(Broken::new(Rule::AtRest, evidence));
            }
        }
        Ok(())
    }

    async fn agree(&mut self, story: &Story) -> Result<(), Ended> {
        for (number, report) in self.verify_everywhere(story).await?.iter().enumerate() {
            if report.code != 0 {
                let evidence = format!("verify still ends with {} in home {}", report.code, number + 1);
                return Err(Broken::new(Rule::AtRest, evidence).into());
            }
        }
        Ok(())
    }
}
