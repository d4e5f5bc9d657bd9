//! The guard that replays by itself: rounds of `rc replay`'s own code beside it, with a playback of the guard's own, and what
//! came of each as alarms. What needs a decision is left to a person.

use std::collections::BTreeSet;
use std::path::Path;

use super::Arguments;
use crate::change::id::Actor;
use crate::change::signing::Keys;
use crate::commands::Context;
use crate::commands::replay::lease::Ends;
use crate::commands::replay::rounds;
use crate::commands::replay::rounds::Pace;
use crate::commands::replay::rounds::Round;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::FlagKey;
use crate::guard::alarm::AlarmKind;
use crate::guard::alarm::AlarmName;
use crate::guard::alarm::Alarms;
use crate::settings::GlobalArguments;
use crate::settings::Settings;
use crate::ui::output::Output;
use crate::ui::prompt::Prompter;

/// The folder below the guard's own in which it writes down what it replays.
const PLAYBACK: &str = "replays";

/// What replaying by itself needs.
pub struct Replaying {
    settings: Settings,
    typed: GlobalArguments,
    /// Nothing is sent but what these have signed. `None`: whatever stands in the stores.
    only_signed: Option<Keys>,
    flags: Vec<FlagKey>,
    every: std::time::Duration,
    alarms: Alarms,
}

impl Replaying {
    /// As it was told to. Where `only_signed` is given, nothing is sent but what these keys have signed.
    pub fn new(
        arguments: &Arguments,
        context: &Context<'_>,
        state: &Path,
        actor: Actor,
        alarms: Alarms,
        only_signed: Option<Keys>,
    ) -> Self {
        let settings =
            Settings { playback: state.join(PLAYBACK), actor, yes: false, no_input: true, ..context.settings.clone() };
        let (flags, every) = (arguments.replay_flag.clone(), arguments.replay_every);
        Self { settings, typed: context.typed.clone(), only_signed, flags, every, alarms }
    }

    async fn round(&self, ends: &Ends) -> Result<Round, Failure> {
        let (output, _, _) = Output::captured();
        let prompter = Prompter::new(&output, false, true);
        let context = Context { settings: &self.settings, typed: &self.typed, output: &output, prompter };
        rounds::round(&self.flags, &context, "rc guard", self.only_signed.as_ref(), ends).await
    }

    /// Tells what came of a round. `stand` are the alarms about what is left.
    fn tell(&self, round: &Result<Round, Failure>, stand: &mut BTreeSet<AlarmName>) {
        let failed = AlarmName { kind: AlarmKind::ReplayFailed, environment: None, flag: None };
        let round = match round {
            Ok(round) => round,
            // LaunchDarkly is away: that is told of its stream.
            Err(failure) if failure.kind == Kind::Unreachable => return,
            Err(failure) => {
                let words: Vec<&str> = [&failure.message]
                    .into_iter()
                    .chain(&failure.causes)
                    .chain(&failure.hints)
                    .map(String::as_str)
                    .collect();
                self.alarms.raise(failed, format!("what is owed is not replayed: {}", words.join(": ")));
                return;
            }
        };
        self.alarms.clear(&failed);
        let name = |kind, (environment, flag): &(_, FlagKey)| {
            let environment: &crate::flag::key::Environment = environment;
            AlarmName { kind, environment: Some(environment.to_string()), flag: Some(flag.clone()) }
        };
        for (subject, version) in &round.sent {
            let told = format!("{} replayed: LaunchDarkly has it as v{version}", subject.1);
            self.alarms.tell_once(name(AlarmKind::OverrideReplayed, subject), told);
        }
        let mut left = BTreeSet::new();
        for (subject, why) in &round.left {
            let name = name(AlarmKind::ReplayWaits, subject);
            self.alarms.raise(name.clone(), format!("{} is owed to LaunchDarkly and was not sent: {why}", subject.1));
            left.insert(name);
        }
        for (subject, why) in &round.doubtful {
            let name = name(AlarmKind::OverrideUnsigned, subject);
            let told = "is owed to LaunchDarkly and was not sent, since this guard's keys do not vouch for it";
            self.alarms.raise(name.clone(), format!("{} {told}: {why}", subject.1));
            left.insert(name);
        }
        if !round.is_busy {
            stand.difference(&left).for_each(|name| self.alarms.clear(name));
            *stand = left;
        }
    }
}

/// Replays again and again, until it is told to end: then what is under way is seen through, and nothing more is sent. Without
/// anything to replay it waits for that alone.
pub async fn rounds(replaying: Option<&Replaying>, mut ends: Ends) {
    let Some(replaying) = replaying else {
        let _ = ends.wait_for(|ends| *ends).await;
        return;
    };
    let mut pace = Pace::new(replaying.every);
    let mut stand = BTreeSet::new();
    while !*ends.borrow() {
        let round = replaying.round(&ends).await;
        if *ends.borrow() {
            return;
        }
        replaying.tell(&round, &mut stand);
        let moved =
            round.is_ok_and(|round| !round.sent.is_empty() || (round.left.is_empty() && round.doubtful.is_empty()));
        let _ = tokio::time::timeout(pace.wait(moved, fastrand::f64()), ends.wait_for(|ends| *ends)).await;
    }
}
