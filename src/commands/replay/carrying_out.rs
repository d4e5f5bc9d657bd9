//! Carrying the plan out, in groups: what is about to be sent is noted and synced for a whole group, each flag of it is
//! sent and read again, and then the group's stores are told (`settling`). Interrupted anywhere, the next replay finds out
//! by reading.

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
use crate::commands::replay::plan::Decision;
use crate::commands::replay::plan::Item;
use crate::commands::replay::plan::Left;
use crate::commands::replay::plan::Step;
use crate::commands::replay::second_look;
use crate::commands::replay::second_look::Meanwhile;
use crate::commands::replay::send::Sending;
use crate::commands::replay::send::Sent;
use crate::commands::replay::settling;
use crate::commands::replay::stores::Told;
use crate::commands::replay::words;
use crate::commands::survey::Stores;
use crate::error::Failure;
use crate::flag::instruction::Instruction;
use crate::launchdarkly::Client;
use crate::launchdarkly::client::PatchOptions;
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

/// After so many flags in a row that LaunchDarkly did not take without saying why, it is left alone.
const FAILING_MAX: u32 = 3;

/// What carrying out needs.
pub struct Means<'m> {
    /// LaunchDarkly.
    pub client: &'m Client,
    /// The stores.
    pub stores: &'m Stores,
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

/// Does it all, and tells what came of it.
pub async fn carry_out(
    decided: Vec<Decided>,
    means: &Means<'_>,
    files: &mut Files<'_>,
    context: &Context<'_>,
) -> Vec<Done> {
    let mut done = Vec::with_capacity(decided.len());
    let mut run = Run { means, stopped: None, failing: 0, seen_at: means.seen_at };
    let mut rest = decided.into_iter().peekable();
    while rest.peek().is_some() {
        let mut group: Vec<Decided> = rest.by_ref().take(GROUP).collect();
        let outcomes = run.one_group(&mut group, files).await;
        done.extend(settling::note_and_tell(&group, outcomes, means, files, context).await);
    }
    done
}

/// How far the sending has come.
struct Run<'m> {
    means: &'m Means<'m>,
    /// Why nothing is sent any more.
    stopped: Option<Failure>,
    /// How many flags in a row LaunchDarkly did not take.
    failing: u32,
    /// When the stores were looked at.
    seen_at: Instant,
}

impl Run<'_> {
    /// Sends what is to be sent of a group, and gives what came of each.
    async fn one_group(&mut self, group: &mut [Decided], files: &mut Files<'_>) -> Vec<Outcome> {
        let mut meanwhile: Vec<Option<Meanwhile>> = vec![None; group.len()];
        self.look_again(group, &mut meanwhile).await;
        let mut sendings: Vec<Option<Result<Sending, Left>>> = Vec::with_capacity(group.len());
        let mut before: Vec<(&_, Happened)> = Vec::new();
        for (one, meanwhile) in group.iter().zip(&meanwhile) {
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
            sendings.push(sending);
        }
        if let Err(error) = files.note(&before, Syncing::Now) {
            self.stopped = self.stopped.take().or(Some(error.into()));
        }
        let mut outcomes = Vec::with_capacity(group.len());
        for (place, sending) in sendings.into_iter().enumerate() {
            if self.seen_at.elapsed() > STORES_FRESH
                && let (Some(left), Some(meanwhile)) = (group.get_mut(place..), meanwhile.get_mut(place..))
            {
                self.look_again(left, meanwhile).await;
            }
            let Some(one) = group.get(place) else { continue };
            outcomes.push(match meanwhile.get_mut(place).and_then(Option::take) {
                Some(meanwhile) => became(&one.item, meanwhile),
                None => self.one_flag(one, sending, files).await,
            });
        }
        outcomes
    }

    /// Looks at the stores again, where what was seen of them is old by now and something is to be done about it.
    async fn look_again(&mut self, group: &mut [Decided], meanwhile: &mut [Option<Meanwhile>]) {
        if self.seen_at.elapsed() <= STORES_FRESH {
            return;
        }
        let acts = |one: &Decided| !matches!(one.step, Step::Leave(_));
        let (mut places, mut matters) = (Vec::new(), Vec::new());
        for (place, one) in group.iter_mut().enumerate().filter(|(_, one)| acts(one)) {
            places.push(place);
            matters.push(&mut one.item.matter);
        }
        for (place, found) in places.into_iter().zip(second_look::look(self.means.stores, &mut matters).await) {
            if let Some(slot) = meanwhile.get_mut(place) {
                *slot = found.or(slot.take());
            }
        }
        self.seen_at = Instant::now();
    }

    async fn one_flag(
        &mut self,
        one: &Decided,
        sending: Option<Result<Sending, Left>>,
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
        if let Some(failure) = &self.stopped {
            return Outcome::Left(Left::failed(failure.clone().while_doing("not sent any more")));
        }
        let sending = match sending {
            Some(Ok(sending)) => sending,
            Some(Err(left)) => return Outcome::Left(left),
            None => return Outcome::Left(Left::undecided("it was not made ready", words::command(&one.item, ""))),
        };
        if approval {
            return self.ask_for_approval(one, &sending).await;
        }
        let limit = if self.means.asked { FRESH_AFTER_QUESTIONS } else { FRESH };
        let stale = self.means.read_at.elapsed() > limit;
        let sent = sending.send(&one.item, self.means.client, files, self.means.options, stale).await;
        self.failing = if matches!(sent, Sent::Failing(_)) { self.failing + 1 } else { 0 };
        match sent {
            Sent::Shown { version, more } => Outcome::Replayed { version, more },
            Sent::Had { version, since } => Outcome::Had { version, since },
            Sent::Left(left) => Outcome::Left(left),
            // LaunchDarkly's settings did not say so beforehand.
            Sent::NeedsApproval => self.needs_approval(one).await,
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

    async fn needs_approval(&self, one: &Decided) -> Outcome {
        let left = || Left::undecided("needs an approval", words::command(&one.item, "--request-approval"));
        match &one.step {
            Step::Send(instructions) if self.means.request_approval => match Sending::new(&one.item, instructions) {
                Err(left) => Outcome::Left(left),
                Ok(sending) => self.ask_for_approval(one, &sending).await,
            },
            _ => Outcome::Left(left()),
        }
    }

    async fn ask_for_approval(&self, one: &Decided, sending: &Sending) -> Outcome {
        match sending.request_approval(&one.item, self.means.client).await {
            Ok(approval) => Outcome::Requested(approval),
            Err(error) => Outcome::Left(Left::failed(error.into())),
        }
    }
}

/// What is noted of a decision. A conflict that was left the same way before is not noted again each time.
fn conflict(item: &Item, decision: Decision) -> Option<Happened> {
    let told = words::conflict(item);
    let is_known = decision == Decision::Skip && item.matter.conflict.as_ref() == Some(&told);
    (!is_known).then(|| Happened::Conflict { told, decision: Some(decision.word().to_owned()) })
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
