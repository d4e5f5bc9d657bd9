//! Carrying the plan out, in groups: what is about to be sent is noted and synced for a whole group, each flag of it is
//! sent and read again, and then the group's stores are told (`settling`). One request follows the other without a pause
//! (`launchdarkly::courier`); what they come to is decided meanwhile. Whatever is out of the ordinary ends the row of
//! requests, is seen through by itself, and a new row begins behind it. Interrupted anywhere, the next replay finds out by
//! reading.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::change::event::Happened;
use crate::change::override_::Ending;
use crate::commands::Context;
use crate::commands::replay::decide::Decided;
use crate::commands::replay::evidence::Evidence;
use crate::commands::replay::files::Files;
use crate::commands::replay::outcome::Done;
use crate::commands::replay::outcome::Outcome;
use crate::commands::replay::owed::Matter;
use crate::commands::replay::plan::Decision;
use crate::commands::replay::plan::Item;
use crate::commands::replay::plan::Left;
use crate::commands::replay::plan::Step;
use crate::commands::replay::remote;
use crate::commands::replay::second_look;
use crate::commands::replay::second_look::Meanwhile;
use crate::commands::replay::send::Sending;
use crate::commands::replay::send::Sent;
use crate::commands::replay::settling;
use crate::commands::replay::stores::Ground;
use crate::commands::replay::stores::Told;
use crate::commands::replay::words;
use crate::commands::survey::Stores;
use crate::error::Failure;
use crate::flag::instruction::Instruction;
use crate::launchdarkly::Client;
use crate::launchdarkly::Courier;
use crate::launchdarkly::client::PatchOptions;
use crate::launchdarkly::courier::Patched;
use crate::launchdarkly::courier::Patches;
use crate::playback::Syncing;
use crate::ui::time;

/// How many flags are noted with one sync, sent, and then settled together.
pub(super) const GROUP: usize = 64;

/// What was read of LaunchDarkly may be this old when it is acted upon, where nobody was asked meanwhile.
const FRESH: Duration = Duration::from_secs(60);

/// The same, where somebody was asked.
const FRESH_AFTER_QUESTIONS: Duration = Duration::from_secs(5);

/// What was read of the stores may be this old when it is acted upon. They are near, and colleagues work on them.
const STORES_FRESH: Duration = Duration::from_secs(1);

/// How many groups are on their way while one is seen through.
const AHEAD: usize = 2;

/// How often a row may end without an answer about the flag that it began with.
const ROWS_MAX: usize = 3;

/// After so many flags in a row that LaunchDarkly did not take without saying why, it is left alone.
const FAILING_MAX: u32 = 3;

/// What carrying out needs.
pub struct Means<'m> {
    /// LaunchDarkly.
    pub client: &'m Arc<Client>,
    /// Who asks it.
    pub courier: &'m Courier,
    /// The stores, and the guards beside them.
    pub ground: Ground<'m>,
    /// What relays show meanwhile.
    pub evidence: &'m Evidence,
    /// How patches are to be taken.
    pub options: PatchOptions,
    /// When LaunchDarkly was read.
    pub read_at: Instant,
    /// When the stores were read.
    pub seen_at: Instant,
    /// Whether somebody was asked since.
    pub asked: bool,
    /// Whether approvals are to be asked for.
    pub request_approval: bool,
}

/// Does it all, and tells what came of it. While LaunchDarkly is busy with one group, the stores are told of the one before
/// it, and the next one is made ready.
pub async fn carry_out(
    decided: Vec<Decided>,
    means: &Means<'_>,
    files: &mut Files<'_>,
    context: &Context<'_>,
) -> Vec<Done> {
    let mut done = Vec::with_capacity(decided.len());
    let mut run = Run { means, stopped: None, failing: 0, row: None, looked_at: means.seen_at };
    let mut rest = decided.into_iter();
    let mut ahead: VecDeque<Group> = VecDeque::new();
    for _ in 0..AHEAD {
        run.make_ready(&mut rest, &mut ahead, files).await;
    }
    while let Some(mut group) = ahead.pop_front() {
        let outcomes = run.see_through(&mut group, &mut ahead, files).await;
        run.make_ready(&mut rest, &mut ahead, files).await;
        done.extend(settling::note_and_tell(&group.decided, outcomes, means, files, context).await);
    }
    done
}

/// Flags that are noted, sent and settled together.
struct Group {
    decided: Vec<Decided>,
    /// What became of each in the stores since it was decided upon.
    meanwhile: Vec<Option<Meanwhile>>,
    /// Each as it is to be sent, if it is.
    sendings: Vec<Option<Result<Sending, Left>>>,
}

impl Group {
    /// What is to be sent, from `place` on: those that are not there any more as they were decided upon left out.
    fn to_send(&self, place: usize) -> impl Iterator<Item = (&Sending, &Item)> {
        let all = self.decided.iter().zip(&self.meanwhile).zip(&self.sendings).skip(place);
        all.filter_map(|((one, meanwhile), sending)| match (&one.step, meanwhile, sending) {
            (Step::Send(_), None, Some(Ok(sending))) => Some((sending, &one.item)),
            _ => None,
        })
    }

    /// The overrides about which something is to be done, from `place` on, each with where to note what became of it.
    fn acted_upon(&mut self, place: usize) -> impl Iterator<Item = (&mut Matter, &mut Option<Meanwhile>)> {
        let all = self.decided.iter_mut().zip(&mut self.meanwhile).skip(place);
        let acts = all.filter(|(one, _)| !matches!(one.step, Step::Leave(_)));
        acts.map(|(one, meanwhile)| (&mut one.item.matter, meanwhile))
    }
}

/// How far the sending has come.
struct Run<'m> {
    means: &'m Means<'m>,
    /// Why nothing is sent any more.
    stopped: Option<Failure>,
    /// How many flags in a row LaunchDarkly did not take.
    failing: u32,
    /// What is under way.
    row: Option<Patches>,
    /// When the stores were looked at for all that is ready.
    looked_at: Instant,
}

impl Run<'_> {
    /// Makes the next group ready: looks at the stores again where that is due, notes what is about to be sent, and adds it
    /// to what is under way.
    async fn make_ready(
        &mut self,
        rest: &mut impl Iterator<Item = Decided>,
        ahead: &mut VecDeque<Group>,
        files: &mut Files<'_>,
    ) {
        let decided: Vec<Decided> = rest.take(GROUP).collect();
        if decided.is_empty() {
            return;
        }
        let meanwhile = vec![None; decided.len()];
        let mut group = Group { decided, meanwhile, sendings: Vec::new() };
        if self.means.seen_at.elapsed() > STORES_FRESH {
            look_again(self.means.ground.stores, group.acted_upon(0)).await;
        }
        let mut before: Vec<(&_, Happened)> = Vec::new();
        for (one, meanwhile) in group.decided.iter().zip(&group.meanwhile) {
            if let Some(conflict) = one.decision.and_then(|decision| conflict(&one.item, decision)) {
                before.push((&one.item.matter.subject, conflict));
            }
            let sending = match &one.step {
                Step::Send(instructions) | Step::Request(instructions) if meanwhile.is_none() => {
                    Some(Sending::new(&one.item, instructions))
                }
                _ => None,
            };
            if let (Step::Send(_), Some(Ok(sending)), None) = (&one.step, &sending, &self.stopped) {
                before.push((&one.item.matter.subject, sending.attempted(&one.item)));
            }
            group.sendings.push(sending);
        }
        if let Err(error) = files.note(&before, Syncing::Now) {
            self.stopped = self.stopped.take().or(Some(error.into()));
        }
        match &mut self.row {
            Some(row) if self.stopped.is_none() => {
                group.to_send(0).for_each(|(sending, item)| row.add(sending.outgoing(item)));
            }
            _ => {}
        }
        ahead.push_back(group);
    }

    /// Gives what came of each flag of a group. `ahead` are the groups after it, which are on their way as well.
    async fn see_through(
        &mut self,
        group: &mut Group,
        ahead: &mut VecDeque<Group>,
        files: &mut Files<'_>,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(group.decided.len());
        for place in 0..group.decided.len() {
            let answer = self.answer(group, place, ahead).await;
            let Some(one) = group.decided.get(place) else { continue };
            let meanwhile = group.meanwhile.get_mut(place).and_then(Option::take);
            let sending = group.sendings.get_mut(place).and_then(Option::take);
            outcomes.push(match meanwhile {
                Some(meanwhile) => became(&one.item, meanwhile),
                None => self.one_flag(one, sending, answer, files).await,
            });
        }
        outcomes
    }

    /// LaunchDarkly's answer to the patch of the flag at `place`. `None` where none is sent, or not in a row: what was read
    /// of LaunchDarkly is old by now, and each flag is read again first.
    async fn answer(&mut self, group: &mut Group, place: usize, ahead: &mut VecDeque<Group>) -> Option<Patched> {
        // Each row either answers about this flag or has ended before it was sent; a new one begins with it. Every row that
        // is begun is asked: the answer that it was left with would be taken for that of the next flag.
        for row in 0..=ROWS_MAX {
            let is_sent = matches!(group.decided.get(place)?.step, Step::Send(_))
                && matches!(group.meanwhile.get(place), Some(None))
                && matches!(group.sendings.get(place), Some(Some(Ok(_))));
            if !is_sent {
                return None;
            }
            // What is under way is under way, whatever else has happened.
            if let Some(row) = &mut self.row {
                let (environment, flag) = &group.decided.get(place)?.item.matter.subject;
                if let Some(patched) = row.next(environment, flag).await {
                    return Some(patched);
                }
                self.row = None;
            }
            if self.stopped.is_some() || row == ROWS_MAX {
                return None;
            }
            self.begin_row(group, place, ahead).await?;
        }
        None
    }

    /// Sends everything that is ready, from `place` of `group` on. `None` where it is too old for that.
    async fn begin_row(&mut self, group: &mut Group, place: usize, ahead: &mut VecDeque<Group>) -> Option<()> {
        if self.looked_at.elapsed() > STORES_FRESH {
            let now = Instant::now();
            let later = ahead.iter_mut().flat_map(|group| group.acted_upon(0));
            look_again(self.means.ground.stores, group.acted_upon(place).chain(later)).await;
            self.looked_at = now;
        }
        let limit = if self.means.asked { FRESH_AFTER_QUESTIONS } else { FRESH };
        let read_until = self.means.read_at + limit;
        if Instant::now() >= read_until {
            return None;
        }
        let until = read_until.min(self.looked_at + STORES_FRESH);
        let mut row = self.means.courier.patch(self.means.client, self.means.options, until);
        let later = ahead.iter().flat_map(|group| group.to_send(0));
        group.to_send(place).chain(later).for_each(|(sending, item)| row.add(sending.outgoing(item)));
        self.row = Some(row);
        Some(())
    }

    async fn one_flag(
        &mut self,
        one: &Decided,
        sending: Option<Result<Sending, Left>>,
        answer: Option<Patched>,
        files: &mut Files<'_>,
    ) -> Outcome {
        let approval = match &one.step {
            Step::Send(_) => false,
            Step::Request(_) => true,
            Step::Settle { version, since: None } => return Outcome::Already { version: *version },
            Step::Settle { version, since: Some(since) } => {
                return Outcome::Had { version: *version, since: since.clone() };
            }
            Step::PutBack => return Outcome::Nothing,
            Step::Abandon(why) => return Outcome::Abandoned { why: why.clone() },
            Step::Leave(left) => return Outcome::Left(left.clone()),
        };
        if let (Some(failure), None) = (&self.stopped, &answer) {
            return Outcome::Left(Left::failed(failure.clone().while_doing("not sent any more")));
        }
        let sending = match sending {
            Some(Ok(sending)) => sending,
            Some(Err(left)) => return Outcome::Left(left),
            None => return Outcome::Left(Left::undecided("it was not made ready", words::command(&one.item, ""))),
        };
        if approval {
            return self.ask_for_approval(one, &sending, files).await;
        }
        let Means { client, options, .. } = *self.means;
        let sent = sending.see_through(&one.item, client, files, options, answer).await;
        self.failing = if matches!(sent, Sent::Failing(_)) { self.failing + 1 } else { 0 };
        match sent {
            Sent::Shown { version, more } => Outcome::Replayed { version, more },
            Sent::Had { version, since } => Outcome::Had { version, since },
            Sent::Left(left) => Outcome::Left(left),
            // LaunchDarkly's settings did not say so beforehand.
            Sent::NeedsApproval => self.needs_approval(one, files).await,
            Sent::Failing(failure) => {
                if self.failing >= FAILING_MAX {
                    self.stopped = Some(failure.clone());
                }
                Outcome::Left(Left::failed(failure))
            }
            Sent::Stop(failure) => {
                self.stopped = Some(failure.clone());
                Outcome::Left(Left::failed(failure))
            }
        }
    }

    async fn needs_approval(&self, one: &Decided, files: &mut Files<'_>) -> Outcome {
        let left = || Left::undecided("needs an approval", words::command(&one.item, "--request-approval"));
        match &one.step {
            Step::Send(instructions) if self.means.request_approval => match Sending::new(&one.item, instructions) {
                Err(left) => Outcome::Left(left),
                Ok(sending) => self.ask_for_approval(one, &sending, files).await,
            },
            _ => Outcome::Left(left()),
        }
    }

    /// Finds the approval request for this override, or makes one.
    async fn ask_for_approval(&self, one: &Decided, sending: &Sending, files: &mut Files<'_>) -> Outcome {
        let (item, client) = (&one.item, self.means.client);
        match remote::open_approval(client, &item.matter).await {
            Ok(None) => {}
            Ok(Some(open)) => return Outcome::Requested(open),
            Err(error) => return Outcome::Left(Left::failed(error.into())),
        }
        let subject = &item.matter.subject;
        if let Err(error) = files.note(&[(subject, Sending::asking(item))], Syncing::Now) {
            return Outcome::Left(Left::failed(error.into()));
        }
        match sending.request_approval(item, client).await {
            Ok(approval) => Outcome::Requested(approval),
            Err(error) => {
                if !error.may_have_happened() {
                    let why = error.to_string();
                    // Not noted, it may have been asked for: somebody looks in vain.
                    let _ = files.note(&[(subject, Happened::NotAsked { why })], Syncing::Later);
                }
                Outcome::Left(Left::failed(error.into()))
            }
        }
    }
}

/// Looks at the stores again, and notes what became of each override.
async fn look_again<'l>(stores: &Stores, overrides: impl Iterator<Item = (&'l mut Matter, &'l mut Option<Meanwhile>)>) {
    let (mut matters, slots): (Vec<&mut Matter>, Vec<&mut Option<Meanwhile>>) = overrides.unzip();
    for (slot, found) in slots.into_iter().zip(second_look::look(stores, &mut matters).await) {
        *slot = found.or(slot.take());
    }
}

/// What is noted of a decision. A conflict that was decided the same way before, and of which nothing came since, is not
/// noted again each time: replays may come every few minutes, from a timer.
fn conflict(item: &Item, decision: Decision) -> Option<Happened> {
    let noted = (words::conflict(item), decision.word().to_owned());
    let is_known = item.matter.conflict.as_ref() == Some(&noted);
    (!is_known).then_some(Happened::Conflict { told: noted.0, decision: Some(noted.1) })
}

/// What comes of an override that is not, any more, what was decided about.
fn became(item: &Item, meanwhile: Meanwhile) -> Outcome {
    match meanwhile {
        Meanwhile::Replayed(version) => Outcome::Before { version },
        Meanwhile::Ended(mark) => match (mark.ending, mark.version) {
            (Ending::Settled, Some(version)) => Outcome::Before { version },
            (ending, _) => {
                let (who, at) = (&mark.actor.user, time::short(mark.at, jiff::Timestamp::now()));
                Outcome::Abandoned { why: format!("{ending} by {who} {at}, while this was going on; not sent") }
            }
        },
        Meanwhile::Edited(now) => {
            let digits = now.change().map(|change| change.short()).unwrap_or_default();
            let why = format!("edited while this was going on: {} ({digits}); not sent", words::motive(&now.motive));
            Outcome::Left(Left::undecided(why, words::command(item, "")))
        }
        Meanwhile::Gone => {
            let why = "its override disappeared from the stores while this was going on; not sent";
            Outcome::Left(Left::undecided(why, words::command(item, "")))
        }
    }
}

/// Shows what LaunchDarkly says to it, without doing anything.
pub async fn rehearse(decided: &[Decided], client: &Client, options: PatchOptions) -> Vec<Done> {
    let mut done = Vec::with_capacity(decided.len());
    let mut stopped: Option<Failure> = None;
    for one in decided {
        let outcome = match (&one.step, &stopped) {
            (Step::Send(_) | Step::Request(_), Some(failure)) => {
                Outcome::Left(Left::failed(failure.clone().while_doing("not validated any more")))
            }
            (Step::Send(instructions), None) => validated(one, instructions, client, options, &mut stopped).await,
            (Step::Request(_), None) => Outcome::WouldRequest,
            (Step::Settle { version, since: None }, _) => Outcome::Already { version: *version },
            (Step::Settle { version, since: Some(since) }, _) => {
                Outcome::Had { version: *version, since: since.clone() }
            }
            (Step::PutBack, _) => Outcome::Nothing,
            (Step::Abandon(why), _) => Outcome::Abandoned { why: why.clone() },
            (Step::Leave(left), _) => Outcome::Left(left.clone()),
        };
        done.push(Done::of(&one.item, outcome, Told::default()));
    }
    done
}

async fn validated(
    one: &Decided,
    instructions: &[Instruction],
    client: &Client,
    options: PatchOptions,
    stopped: &mut Option<Failure>,
) -> Outcome {
    let sending = match Sending::new(&one.item, instructions) {
        Ok(sending) => sending,
        Err(left) => return Outcome::Left(left),
    };
    match sending.validate(&one.item, client, options).await {
        Ok(()) => Outcome::Valid,
        Err(error) => {
            let failure = Failure::from(error.clone());
            if error.is_outage() || failure.kind == crate::error::Kind::Credentials {
                *stopped = Some(failure.clone());
            }
            Outcome::Left(Left::failed(failure))
        }
    }
}
