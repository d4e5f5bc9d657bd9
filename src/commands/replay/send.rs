//! Sending one override: the patch, what comes back, and what LaunchDarkly shows after it. Only what LaunchDarkly shows
//! counts. An answer that never came is found out by reading, never by sending again. What is about to be sent is on
//! disk before it is.

use crate::change::event::Happened;
use crate::commands::replay::files::Files;
use crate::commands::replay::history::Told;
use crate::commands::replay::plan;
use crate::commands::replay::plan::Course;
use crate::commands::replay::plan::Item;
use crate::commands::replay::plan::Left;
use crate::commands::replay::remote;
use crate::commands::replay::words;
use crate::error::Failure;
use crate::flag::aspect::Aspect;
use crate::flag::instruction::Instruction;
use crate::launchdarkly::ApiError;
use crate::launchdarkly::Client;
use crate::launchdarkly::approval::Approval;
use crate::launchdarkly::client::PatchOptions;
use crate::launchdarkly::client::Unread;
use crate::launchdarkly::comment::comment;
use crate::launchdarkly::courier::Outgoing;
use crate::launchdarkly::courier::Patched;
use crate::launchdarkly::flag::RemoteFlag;
use crate::launchdarkly::patch;
use crate::launchdarkly::patch::PatchRequest;
use crate::playback::Syncing;

/// How often one flag is sent: after that it is left for the next replay.
const ATTEMPTS_MAX: u32 = 4;

/// What came of it.
#[derive(Debug)]
pub enum Sent {
    /// LaunchDarkly shows it.
    Shown {
        /// LaunchDarkly's version.
        version: u64,
        /// LaunchDarkly counted more than our patch since it was read: somebody else changed the flag, too.
        more: bool,
    },
    /// LaunchDarkly has had it, and somebody changed it there since.
    Had {
        /// LaunchDarkly's version.
        version: u64,
        /// What was done since, in words.
        since: String,
    },
    /// It stays owed.
    Left(Left),
    /// LaunchDarkly wants an approval.
    NeedsApproval,
    /// LaunchDarkly did not do it and did not say why: it may be failing as a whole.
    Failing(Failure),
    /// Nothing more can be sent.
    Stop(Failure),
}

/// One flag on its way.
#[derive(Debug)]
pub struct Sending {
    /// LaunchDarkly's flag when that was decided.
    now: RemoteFlag,
    /// What LaunchDarkly's audit log said then.
    told: Told,
    /// The request.
    request: PatchRequest,
}

impl Sending {
    /// Puts it into LaunchDarkly's words.
    ///
    /// # Errors
    /// Where a variation cannot be named any more.
    pub fn new(item: &Item, instructions: &[Instruction]) -> Result<Self, Left> {
        let Some(now) = item.now.clone() else {
            return Err(Left::undecided("LaunchDarkly's flag was not read", words::command(item, "")));
        };
        let request = request(item, instructions, &now)?;
        Ok(Self { now, told: item.told.clone(), request })
    }

    /// What is noted before it is sent.
    pub fn attempted(&self, item: &Item) -> Happened {
        let (environment, flag) = &item.matter.subject;
        Happened::Attempted {
            revision: item.matter.override_.revision,
            request: self.request.described(environment, flag),
        }
    }

    /// As it is sent.
    pub fn outgoing(&self, item: &Item) -> Outgoing {
        let (environment, flag) = item.matter.subject.clone();
        Outgoing { environment, flag, request: self.request.clone() }
    }

    /// Reads what LaunchDarkly answered to the first attempt, which must have been noted, and sees the flag through: reads
    /// it again, decides again and sends again where that is right. Without an answer what was read of the flag is old by
    /// now: it is read again before anything is sent.
    pub async fn see_through(
        mut self,
        item: &Item,
        client: &Client,
        files: &mut Files<'_>,
        options: PatchOptions,
        first: Option<Patched>,
    ) -> Sent {
        let (environment, flag) = &item.matter.subject;
        let mut came = first;
        // Whether LaunchDarkly may have taken an earlier attempt.
        let mut unknown = false;
        for attempt in 1..=ATTEMPTS_MAX {
            let patched = match came.take() {
                Some(patched) => patched,
                None => {
                    match self.decide_again(item, client).await {
                        Ok(None) => {}
                        Ok(Some(sent)) => return sent,
                        Err(error) => return stopped_or_left(error, unknown),
                    }
                    let noted = files.note(&[(&item.matter.subject, self.attempted(item))], Syncing::Now);
                    if let Err(error) = noted {
                        return Sent::Stop(error.into());
                    }
                    client.patch_and_look(environment, flag, &self.request, options).await
                }
            };
            match patched {
                Ok(shown) => return self.shown(item, shown),
                Err(ApiError::ScheduledConflict { .. }) => {
                    let why =
                        "it would break a change that is scheduled, or an approval that is asked for, in LaunchDarkly";
                    return Sent::Left(Left::undecided(why, words::command(item, "--break-scheduled")));
                }
                Err(ApiError::ApprovalRequired { .. }) => return Sent::NeedsApproval,
                Err(error) => match after(&error) {
                    After::Again if attempt < ATTEMPTS_MAX => {
                        unknown = error.may_have_happened();
                        client.back_off(attempt, &error).await;
                    }
                    After::Again if matches!(error, ApiError::OptimisticLock { .. }) => {
                        return Sent::Left(Left::failed(error.into()));
                    }
                    After::Again if error.may_have_happened() => return self.look_at_last(item, client, error).await,
                    After::Again => return Sent::Failing(error.into()),
                    After::Left => return Sent::Left(Left::failed(error.into())),
                    After::Stop => return Sent::Stop(error.into()),
                },
            }
        }
        Sent::Left(Left::undecided("LaunchDarkly's flag changes again and again", words::command(item, "")))
    }

    /// Nothing more is sent, and LaunchDarkly may have taken the last attempt, which ended with `error`: it is read once more.
    async fn look_at_last(&mut self, item: &Item, client: &Client, error: ApiError) -> Sent {
        match self.decide_again(item, client).await {
            Ok(Some(sent)) => sent,
            Ok(None) => {
                let mut failure = Failure::from(error);
                failure.message.push_str("; read once more, LaunchDarkly does not show it");
                Sent::Failing(failure)
            }
            Err(error) => stopped_or_left(error, true),
        }
    }

    /// What LaunchDarkly shows once it has taken the patch.
    fn shown(&self, item: &Item, shown: Result<Unread, ApiError>) -> Sent {
        match remote::there(shown.and_then(|answer| answer.read())) {
            Ok(now) => match (plan::course(&item.matter.override_, now.as_ref(), &self.told), now) {
                (Course::Already { .. } | Course::Nothing, Some(now)) => self.has_it(&now),
                _ => Sent::Left(Left::undecided(
                    "LaunchDarkly accepted the patch, and shows something else now",
                    words::command(item, ""),
                )),
            },
            Err(error) => {
                let failure = Failure::from(error);
                Sent::Left(Left::failed(
                    failure.while_doing("LaunchDarkly accepted the patch, and what it shows now could not be read"),
                ))
            }
        }
    }

    /// LaunchDarkly shows what the override comes to.
    fn has_it(&self, now: &RemoteFlag) -> Sent {
        Sent::Shown { version: now.version, more: now.version > self.now.version.saturating_add(1) }
    }

    /// Reads LaunchDarkly's flag again. `None`: it is sent, as now decided.
    async fn decide_again(&mut self, item: &Item, client: &Client) -> Result<Option<Sent>, ApiError> {
        let override_ = &item.matter.override_;
        let now = remote::flag(client, &item.matter).await?;
        let unmoved = now.as_ref().is_some_and(|now| now.version == self.now.version);
        let (told, course) = if unmoved {
            (self.told.clone(), plan::course(override_, now.as_ref(), &self.told))
        } else {
            let (_, told, course) = remote::course(client, &item.matter, now.as_ref()).await;
            (told, course)
        };
        let undecided = |why: &str| Some(Sent::Left(Left::undecided(why, words::command(item, ""))));
        let instructions = match course {
            Course::Already { .. } | Course::Nothing => return Ok(now.as_ref().map(|now| self.has_it(now))),
            Course::Had { version, version_now, since } => {
                let since = format!("v{version_now} since: {}", words::entry_in_words(&since));
                return Ok(Some(Sent::Had { version, since }));
            }
            Course::Send { instructions, .. } => instructions,
            Course::Conflict { instructions: Some(instructions), .. }
                if now.as_ref().is_some_and(|now| self.is_as_decided(item, now)) =>
            {
                instructions
            }
            // What was decided was decided about that version.
            Course::ChangedBack { instructions, .. } if unmoved => instructions,
            Course::Failed(failure) => return Ok(Some(Sent::Left(Left::failed(failure)))),
            _ => return Ok(undecided("LaunchDarkly's flag was changed while this was going on")),
        };
        let Some(now) = now else { return Ok(undecided("LaunchDarkly has no such flag any more")) };
        match request(item, &instructions, &now) {
            Ok(request) => {
                *self = Self { now, told, request };
                Ok(None)
            }
            Err(left) => Ok(Some(Sent::Left(left))),
        }
    }

    /// Whether LaunchDarkly's flag is, in what the override touches, the one that was decided upon.
    fn is_as_decided(&self, item: &Item, now: &RemoteFlag) -> bool {
        let differs = now.configuration.differs(&self.now.configuration);
        let mut touched = item.matter.override_.instructions.iter().map(Instruction::aspect);
        !differs.contains(&Aspect::Variations) && !touched.any(|aspect| differs.contains(&aspect))
    }

    /// Has LaunchDarkly validate it without doing it.
    pub async fn validate(&self, item: &Item, client: &Client, options: PatchOptions) -> Result<(), ApiError> {
        let (environment, flag) = &item.matter.subject;
        client.patch(environment, flag, &self.request, PatchOptions { dry_run: true, ..options }).await.map(drop)
    }

    /// What is noted before an approval is asked for.
    pub fn asking(item: &Item) -> Happened {
        Happened::Asking { revision: item.matter.override_.revision }
    }

    /// Asks for an approval, which must have been noted and not be asked for already.
    pub async fn request_approval(&self, item: &Item, client: &Client) -> Result<Approval, ApiError> {
        let (environment, flag) = &item.matter.subject;
        match client.request_approval(environment, flag, &self.request, &self.request.comment).await {
            // It may have been made all the same: there must not be two.
            Err(error) if error.may_have_happened() => match remote::open_approval(client, &item.matter).await {
                Ok(Some(open)) => Ok(open),
                // Where that is not told either, it is as unknown as before.
                Ok(None) | Err(_) => Err(error),
            },
            answered => answered,
        }
    }
}

fn request(item: &Item, instructions: &[Instruction], now: &RemoteFlag) -> Result<PatchRequest, Left> {
    let override_ = &item.matter.override_;
    let comment = comment(&item.wish, &override_.motive, &override_.changes);
    // The indices mean LaunchDarkly's own list: reconcile has followed them there.
    patch::request(instructions, &now.configuration.variations, now, comment)
        .map_err(|error| Left::undecided(error.to_string(), words::command(item, "--on-conflict launchdarkly")))
}

/// What follows from a patch that was not taken.
enum After {
    /// Reading again tells.
    Again,
    /// This flag stays owed.
    Left,
    /// No other would fare better.
    Stop,
}

fn after(error: &ApiError) -> After {
    match error {
        ApiError::OptimisticLock { .. } => After::Again,
        error if error.may_have_happened() || error.is_outage() => After::Again,
        ApiError::Unauthorized { .. }
        | ApiError::Forbidden { .. }
        | ApiError::RateLimited { .. }
        | ApiError::NotPermitted { .. } => After::Stop,
        _ => After::Left,
    }
}

/// What follows where the flag could not be read again. `unknown`: LaunchDarkly may have taken the patch.
fn stopped_or_left(error: ApiError, unknown: bool) -> Sent {
    let stops = error.is_outage()
        || matches!(error, ApiError::Unauthorized { .. } | ApiError::Forbidden { .. } | ApiError::RateLimited { .. });
    let mut failure = Failure::from(error);
    if unknown {
        let problem = std::mem::take(&mut failure.message);
        failure.message = format!("whether LaunchDarkly has taken the patch is not known; {problem}");
    }
    if stops { Sent::Stop(failure) } else { Sent::Left(Left::failed(failure)) }
}
