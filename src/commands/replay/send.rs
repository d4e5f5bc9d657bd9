//! Sending one override: the patch, what comes back, and what LaunchDarkly shows after it. Only what LaunchDarkly shows
//! counts. An answer that never came is found out by reading, never by sending again. What is about to be sent is on
//! disk before it is.

use crate::change::event::Happened;
use crate::commands::replay::files::Files;
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
use crate::launchdarkly::comment::comment;
use crate::launchdarkly::flag::RemoteFlag;
use crate::launchdarkly::patch;
use crate::launchdarkly::patch::PatchRequest;
use crate::playback::Syncing;

/// How often one flag is sent: after that it is left for the next replay.
const ATTEMPTS_MAX: usize = 4;

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
    /// It stays owed.
    Left(Left),
    /// LaunchDarkly wants an approval.
    NeedsApproval,
    /// Nothing more can be sent.
    Stop(Failure),
}

/// One flag on its way.
#[derive(Debug)]
pub struct Sending<'s> {
    /// The override.
    pub item: &'s Item,
    /// What is sent.
    pub instructions: Vec<Instruction>,
    /// LaunchDarkly's flag when that was decided.
    pub now: RemoteFlag,
    /// The request.
    pub request: PatchRequest,
}

impl<'s> Sending<'s> {
    /// Puts it into LaunchDarkly's words.
    ///
    /// # Errors
    /// Where a variation cannot be named any more.
    pub fn new(item: &'s Item, instructions: Vec<Instruction>) -> Result<Self, Left> {
        let Some(now) = item.now.clone() else {
            return Err(Left::undecided("LaunchDarkly's flag was not read", words::command(item, "")));
        };
        let request = request(item, &instructions, &now)?;
        Ok(Self { item, instructions, now, request })
    }

    /// What is noted before it is sent.
    pub fn attempted(&self) -> Happened {
        let (environment, flag) = &self.item.matter.subject;
        Happened::Attempted {
            revision: self.item.matter.override_.revision,
            request: self.request.described(environment, flag),
        }
    }

    /// Sends it, and reads what LaunchDarkly shows then. The first attempt must have been noted. `stale`: what was read
    /// is old by now, so it is read again first.
    pub async fn send(mut self, client: &Client, files: &mut Files<'_>, options: PatchOptions, stale: bool) -> Sent {
        let (environment, flag) = &self.item.matter.subject;
        let mut again = stale;
        for attempt in 0..ATTEMPTS_MAX {
            if again {
                match self.decide_again(client).await {
                    Ok(None) => {}
                    Ok(Some(sent)) => return sent,
                    Err(error) => return stopped_or_left(error),
                }
                let noted = files.note(&[(&self.item.matter.subject, self.attempted())], Syncing::Now);
                if let Err(error) = noted {
                    return Sent::Stop(error.into());
                }
            }
            again = true;
            match client.patch(environment, flag, &self.request, options).await {
                Ok(_) => return self.shown(client).await,
                Err(ApiError::ScheduledConflict { .. }) => {
                    let why =
                        "it would break a change that is scheduled, or an approval that is asked for, in LaunchDarkly";
                    return Sent::Left(Left::undecided(why, words::command(self.item, "--break-scheduled")));
                }
                Err(ApiError::ApprovalRequired { .. }) => return Sent::NeedsApproval,
                Err(error) => match after(&error) {
                    After::Again if attempt + 1 < ATTEMPTS_MAX => {}
                    After::Again | After::Left => return Sent::Left(Left::failed(error.into())),
                    After::Stop => return Sent::Stop(error.into()),
                },
            }
        }
        Sent::Left(Left::undecided("LaunchDarkly's flag changes again and again", words::command(self.item, "")))
    }

    /// What LaunchDarkly shows once it has taken the patch.
    async fn shown(&self, client: &Client) -> Sent {
        let override_ = &self.item.matter.override_;
        match remote::flag(client, &self.item.matter).await {
            Ok(now) => match plan::course(override_, now.as_ref(), None) {
                Course::Already { version } => Sent::Shown { version, more: version > self.now.version + 1 },
                _ => Sent::Left(Left::undecided(
                    "LaunchDarkly accepted the patch, and shows something else now",
                    words::command(self.item, ""),
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

    /// Reads LaunchDarkly's flag again. `None`: it is sent, as now decided.
    async fn decide_again(&mut self, client: &Client) -> Result<Option<Sent>, ApiError> {
        let override_ = &self.item.matter.override_;
        let now = remote::flag(client, &self.item.matter).await?;
        let undecided = |why: &str| Some(Sent::Left(Left::undecided(why, words::command(self.item, ""))));
        let instructions = match plan::course(override_, now.as_ref(), None) {
            Course::Already { version } => {
                return Ok(Some(Sent::Shown { version, more: version > self.now.version + 1 }));
            }
            Course::Send { instructions, .. } => instructions,
            Course::Conflict { instructions: Some(instructions), .. } | Course::ChangedBack { instructions, .. }
                if now.as_ref().is_some_and(|now| self.is_as_decided(now)) =>
            {
                instructions
            }
            Course::Failed(failure) => return Ok(Some(Sent::Left(Left::failed(failure)))),
            _ => return Ok(undecided("LaunchDarkly's flag was changed while this was going on")),
        };
        let Some(now) = now else { return Ok(undecided("LaunchDarkly has no such flag any more")) };
        match request(self.item, &instructions, &now) {
            Ok(request) => {
                self.request = request;
                self.instructions = instructions;
                self.now = now;
                Ok(None)
            }
            Err(left) => Ok(Some(Sent::Left(left))),
        }
    }

    /// Whether LaunchDarkly's flag is, in what the override touches, the one that was decided upon.
    fn is_as_decided(&self, now: &RemoteFlag) -> bool {
        let differs = now.configuration.differs(&self.now.configuration);
        let mut touched = self.item.matter.override_.instructions.iter().map(Instruction::aspect);
        !differs.contains(&Aspect::Variations) && !touched.any(|aspect| differs.contains(&aspect))
    }

    /// Has LaunchDarkly validate it without doing it.
    pub async fn validate(&self, client: &Client, options: PatchOptions) -> Result<(), ApiError> {
        let (environment, flag) = &self.item.matter.subject;
        client.patch(environment, flag, &self.request, PatchOptions { dry_run: true, ..options }).await.map(drop)
    }

    /// Finds the approval request for this override, or makes one.
    pub async fn request_approval(&self, client: &Client) -> Result<Approval, ApiError> {
        if let Some(open) = remote::open_approval(client, &self.item.matter).await? {
            return Ok(open);
        }
        let (environment, flag) = &self.item.matter.subject;
        match client.request_approval(environment, flag, &self.request, &self.request.comment).await {
            // It may have been made all the same: there must not be two.
            Err(error) if error.may_have_happened() => {
                remote::open_approval(client, &self.item.matter).await?.ok_or(error)
            }
            answered => answered,
        }
    }
}

fn request(item: &Item, instructions: &[Instruction], now: &RemoteFlag) -> Result<PatchRequest, Left> {
    let override_ = &item.matter.override_;
    let comment = comment(&plan::wish_in_words(override_), &override_.motive, &override_.changes);
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
        ApiError::Unauthorized { .. } | ApiError::Forbidden { .. } | ApiError::RateLimited { .. } => After::Stop,
        _ => After::Left,
    }
}

fn stopped_or_left(error: ApiError) -> Sent {
    let stops = error.is_outage()
        || matches!(error, ApiError::Unauthorized { .. } | ApiError::Forbidden { .. } | ApiError::RateLimited { .. });
    if stops { Sent::Stop(error.into()) } else { Sent::Left(Left::failed(error.into())) }
}
