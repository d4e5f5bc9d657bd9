//! How the task of a stream attends to the relays that come to it: what their requests are answered with, and when each gets
//! its first event. The rules are those of `answer`; here they are given what is so, and what they say is done.

use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::guard::alarm::AlarmKind;
use crate::guard::answer;
use crate::guard::answer::Answer;
use crate::guard::answer::ConfigurationSituation;
use crate::guard::answer::First;
use crate::guard::answer::Overrides;
use crate::guard::answer::Situation;
use crate::guard::answer::StoresRead;
use crate::guard::answer::Upstream;
use crate::guard::keys::Vouch;
use crate::guard::serving::served;
use crate::guard::stream::actor::Actor;
use crate::guard::stream::actor::Reading;
use crate::guard::stream::content::Content;

/// How long a store may take to be read as a whole that is not known to answer: a relay that starts is to be ready within
/// 3 s.
const WHOLE_WITHIN: Duration = Duration::from_millis(1_500);

/// The same for one that answers: what is served must not be older than it, and a relay waits for 10 s (`initTimeout`).
const WHOLE_OF_ANSWERING_WITHIN: Duration = Duration::from_secs(6);

/// For so long what stores were read to hold is good enough for the next relay; what is written meanwhile is followed.
const WHOLE_GOOD_FOR: Duration = Duration::from_secs(5);

impl Actor {
    /// Answers the requests that can be answered.
    pub(super) fn answer(&mut self) {
        if self.asking.is_empty() {
            return;
        }
        let now = Instant::now();
        let vouch = self.vouch();
        // A stranger waits for LaunchDarkly's own word.
        let upstream = if vouch == Vouch::Nobody { self.side.upstream(now) } else { self.upstream(now) };
        let parts = self.plan.hub.parts();
        let shadow = parts.shadow;
        let refused_for = parts.refused_for;
        for attach in std::mem::take(&mut self.asking) {
            let waited = now.saturating_duration_since(attach.since);
            let answer = if shadow {
                answer::answer_in_shadow(upstream, waited)
            } else {
                answer::answer(vouch, upstream, waited, refused_for)
            };
            match answer {
                Answer::Wait if attach.answer.is_closed() => {}
                Answer::Wait => self.asking.push(attach),
                answer => {
                    let is_there = attach.answer.send(answer).is_ok();
                    if answer == Answer::Stream && is_there {
                        self.relays.attach(attach.relay, attach.line, attach.since);
                        self.touched = true;
                    }
                }
            }
        }
    }

    /// Gives the relays that wait their first event, as soon as that can be right.
    pub(super) fn give_first(&mut self) {
        let now = Instant::now();
        let Some(waited) = self.relays.waiting(now) else { return };
        let upstream = self.upstream(now);
        // What has no effect gives what LaunchDarkly has said on this connection, and nothing of its own.
        if self.plan.hub.parts().shadow && upstream != (Upstream::Up { put: true }) {
            return;
        }
        match &self.content {
            Content::Flags(flags) => {
                let stores = match (&self.whole, self.whole_at) {
                    (Some(_), _) => StoresRead::Asked,
                    (None, Some(at)) if now.saturating_duration_since(at) < WHOLE_GOOD_FOR => StoresRead::Yes,
                    (None, _) => StoresRead::No,
                };
                let overrides = flags.overrides_known(now);
                let situation = Situation { upstream, waited, overrides, seen_live: flags.seen_live(), stores };
                match answer::first(situation) {
                    First::Wait => {}
                    First::ReadStores => self.read_stores(),
                    First::Give => {
                        if self.give(now, |_, _| true) {
                            self.tell_if_stores_are_away(now);
                        }
                    }
                }
            }
            Content::Configuration(configuration) => {
                let seen_live = configuration.seen_live();
                let more =
                    if seen_live { Vec::new() } else { self.plan.hub.with_more_than(&configuration.environments()) };
                self.give(now, |relay, waited| {
                    let leaves_out = more.contains(&relay);
                    answer::gives_configuration(ConfigurationSituation { upstream, waited, seen_live, leaves_out })
                });
            }
        }
    }

    /// Gives what there is to the relays that wait, and for whom it is right; says whether there is something.
    fn give(&mut self, now: Instant, is_right: impl Fn(IpAddr, Duration) -> bool) -> bool {
        let Some(first) = self.content.first() else { return false };
        self.relays.give_first(&first, now, is_right);
        self.touched = true;
        true
    }

    fn tell_if_stores_are_away(&self, now: Instant) {
        let Content::Flags(flags) = &self.content else { return };
        if flags.overrides_known(now) != Overrides::Known {
            let told = format!(
                "no store of {} has told its overrides since this guard began: relays are served without knowing what \
                 was changed by rc meanwhile",
                self.content.name()
            );
            self.plan.hub.parts().alarms.raise(self.alarm(AlarmKind::StoresAway), told);
        }
    }

    fn read_stores(&mut self) {
        let Content::Flags(flags) = &self.content else { return };
        let (done, whole) = oneshot::channel();
        let last = flags.last().cloned();
        let stores = flags.stores();
        self.whole = Some(whole);
        tokio::spawn(async move {
            let readings = match stores {
                Some(stores) => stores.whole(WHOLE_OF_ANSWERING_WITHIN, WHOLE_WITHIN).await,
                None => Vec::new(),
            };
            let served = tokio::task::spawn_blocking(move || served(last.as_ref(), &readings)).await;
            if let Ok(served) = served {
                // The stream may have ended meanwhile.
                let _ = done.send(served);
            }
        });
    }

    /// What the stores hold, read because LaunchDarkly is away.
    pub(super) fn whole(&mut self, reading: Option<Reading>) {
        self.touched = true;
        let now = Instant::now();
        self.whole = None;
        self.whole_at = Some(now);
        // LaunchDarkly's own word, if it has come meanwhile, is newer than any of it.
        if let Some(reading) = reading
            && !matches!(self.side.upstream(now), Upstream::Up { put: true })
        {
            let out = self.content.restore(reading);
            self.relays.send(&out, now);
        }
    }

    /// LaunchDarkly's side; where it answers nobody, that is not waited for by each stream anew.
    fn upstream(&self, now: Instant) -> Upstream {
        match self.side.upstream(now) {
            Upstream::Asked(asked) if asked < answer::NAMED_PATIENCE && self.plan.hub.nobody_is_answered() => {
                Upstream::Away(answer::JUST_NOW)
            }
            upstream => upstream,
        }
    }
}
