//! One replay after another without anybody to ask, for a guard and for `rc replay --watch`: what is sent in each round is
//! what needs no decision, and how long is waited between them. It must not know who listens.

use std::time::Duration;

use super::Arguments;
use super::How;
use super::OnConflict;
use super::lease::Ends;
use super::outcome::Outcome;
use super::owed::Subject;
use super::report::Report;
use super::report_of;
use crate::change::signing::Keys;
use crate::commands::Context;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::flag::key::FlagKey;

/// How many times the wait is doubled at most.
const DOUBLINGS_MAX: u32 = 3;

/// What came of one round.
#[derive(Debug)]
pub struct Round {
    /// What LaunchDarkly has, with its version.
    pub sent: Vec<(Subject, u64)>,
    /// What stays owed: why, and what to do.
    pub left: Vec<(Subject, String)>,
    /// What stays owed since no key vouches for it: why, and what to do.
    pub doubtful: Vec<(Subject, String)>,
    /// Somebody else is at it.
    pub is_busy: bool,
    pub(super) report: Report,
}

/// Replays what needs no decision, of these flags or of all; where `only_signed` is given, only what these keys have signed.
/// `context` must have nobody to ask, and a playback of its own: of its history the newest is kept. Once it is told to
/// end, what is under way is seen through, nothing more is sent, and the right to replay is given back.
///
/// # Errors
/// Where nothing could be replayed at all.
pub async fn round(
    flags: &[FlagKey],
    context: &Context<'_>,
    by: &'static str,
    only_signed: Option<&Keys>,
    ends: &Ends,
) -> Result<Round, Failure> {
    let arguments = Arguments {
        flag: flags.to_vec(),
        dry_run: false,
        on_conflict: OnConflict::Skip,
        request_approval: false,
        break_scheduled: false,
        watch: false,
    };
    report_of(&arguments, context, How { by, knocks: true, only_signed, owns_history: true, ends: Some(ends) })
        .await
        .map(Round::of)
}

impl Round {
    pub(super) fn of(report: Report) -> Self {
        let (mut sent, mut left, mut doubtful) = (Vec::new(), Vec::new(), Vec::new());
        for done in &report.done {
            match &done.outcome {
                Outcome::Replayed { version, .. } => sent.push((done.subject.clone(), *version)),
                Outcome::Left(_) if report.others.contains(&done.subject.0) => {}
                Outcome::Left(reason) => {
                    let next = reason.next.as_ref().map(|next| format!(": {next}")).unwrap_or_default();
                    let list = if reason.doubtful { &mut doubtful } else { &mut left };
                    list.push((done.subject.clone(), format!("{}{next}", reason.why)));
                }
                Outcome::Requested(approval) => {
                    let page = approval.link.as_ref().unwrap_or(&approval.id);
                    left.push((done.subject.clone(), format!("waits for an approval: {page}")));
                }
                _ => {}
            }
        }
        Self { sent, left, doubtful, is_busy: !report.others.is_empty(), report }
    }

    /// Whether LaunchDarkly has everything.
    pub fn is_all(&self) -> bool {
        self.left.is_empty()
            && self.doubtful.is_empty()
            && !self.is_busy
            && self.report.strays.iter().all(|stray| stray.code() == ExitCode::Done)
    }
}

/// How long is waited between rounds: as long as was asked for, and longer each time that nothing moved although
/// something is owed. Up to half of it is taken off by chance, so that not all come at once when LaunchDarkly is back. Pure.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    doublings: u32,
}

impl Pace {
    /// Every so often.
    pub fn new(every: Duration) -> Self {
        Self { every, doublings: 0 }
    }

    /// The wait before the next round. `moved`: something was sent, or nothing is owed. `chance` is in 0..1.
    pub fn wait(&mut self, moved: bool, chance: f64) -> Duration {
        if moved {
            self.doublings = 0;
        }
        let full = self.every * 2_u32.pow(self.doublings);
        if !moved {
            self.doublings = DOUBLINGS_MAX.min(self.doublings + 1);
        }
        full.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_gets_nowhere_asks_less_often() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(second);
        let waits: Vec<Duration> = (0..5).map(|_| pace.wait(false, 0.0)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 8].map(Duration::from_secs));
        assert_eq!(pace.wait(true, 0.0), second);
        assert_eq!(pace.wait(false, 1.0), second / 2);
        assert!((0..100).map(|_| fastrand::f64()).all(|chance| (0.0..1.0).contains(&chance)));
    }
}
