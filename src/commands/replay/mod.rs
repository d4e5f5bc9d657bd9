//! `rc replay`: what is owed to LaunchDarkly, as a plan, and then done.

mod carrying_out;
mod decide;
pub(super) mod delivered;
mod evidence;
mod files;
mod history;
pub mod lease;
mod left_behind;
mod letting_go;
mod outcome;
pub(super) mod owed;
mod plan;
mod problem;
mod remote;
mod report;
pub(super) mod rounds;
mod second_look;
mod send;
mod settling;
mod stores;
mod strays;
mod watch;
mod words;

pub use remote::client;

use std::sync::Arc;
use std::time::Instant;

use clap::ValueEnum;
use jiff::Timestamp;

use super::Context;
use crate::change::merge;
use crate::change::override_::EndedMark;
use crate::change::signing::Keys;
use crate::commands::guards::Guards;
use crate::commands::overview;
use crate::commands::overview::EnvironmentView;
use crate::commands::overview::Scope;
use crate::commands::place::Surroundings;
use crate::commands::signing;
use crate::commands::signing::Vouched;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::FlagKey;
use crate::launchdarkly::Client;
use crate::launchdarkly::Courier;
use crate::launchdarkly::Permit;
use crate::launchdarkly::client::PatchOptions;
use crate::launchdarkly::pacing::Patience;
use crate::playback::Loaded;
use crate::ui::progress::Progress;
use crate::ui::words::list_some;
use carrying_out::Means;
use decide::Decided;
use delivered::Wanted;
use evidence::Evidence;
use files::Files;
use lease::Ends;
use lease::Kept;
use lease::Rights;
use lease::Taken;
use outcome::Done;
use outcome::Outcome;
use owed::Matter;
use owed::Owed;
use owed::Subject;
use plan::Item;
use plan::Left;
use problem::Problem;
use remote::Waits;
use report::Report;
use stores::Ground;
use stores::Told;

/// What becomes of a flag that LaunchDarkly changed in what an override touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnConflict {
    /// Ask; where nobody can be asked, leave it owed.
    Ask,
    /// Send the override all the same.
    #[value(alias = "ours")]
    Override,
    /// Give the override up in favour of what LaunchDarkly says.
    #[value(alias = "theirs")]
    Launchdarkly,
    /// Leave it owed.
    Skip,
}

/// Bring LaunchDarkly up to date with what was changed
///
/// Shows a plan of everything that is owed (or of -p -e -f only), asks once, and sends the net effect of each flag as
/// one patch. Without a terminal it sends what needs no decision and leaves the rest owed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these flags; may be given several times
    #[arg(short, long, value_name = "FLAG")]
    pub flag: Vec<FlagKey>,

    /// Show the plan, let LaunchDarkly validate it, and send nothing
    #[arg(long)]
    pub dry_run: bool,

    /// What to do where LaunchDarkly changed what an override touches
    #[arg(long, value_name = "WHAT", value_enum, ignore_case = true, default_value = "ask")]
    pub on_conflict: OnConflict,

    /// Request approval where LaunchDarkly wants one
    #[arg(long)]
    pub request_approval: bool,

    /// Send also where that breaks a change scheduled in LaunchDarkly
    #[arg(long)]
    pub break_scheduled: bool,

    /// Wait for LaunchDarkly and replay what needs no decision, again and again, until nothing is owed
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,
}

/// What follows where the keys cannot be read.
const UNKNOWN: &str = "whether what is owed was signed is not known";

/// The most flags that are named in a sentence.
const NAMES_MAX: usize = 5;

/// Runs it.
///
/// # Errors
/// Where nothing could be replayed at all: no stores, no token, no LaunchDarkly, another replay is running, or declined.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    if arguments.watch {
        return watch::run(&arguments, context).await;
    }
    let how = How { by: "rc replay", knocks: false, only_signed: None, owns_history: false, ends: None };
    let report = report_of(&arguments, context, how).await?;
    show_report(&report, context);
    Ok(report.code())
}

fn show_report(report: &Report, context: &Context<'_>) {
    if context.output.wants_json() {
        context.output.json(&report.json());
    } else if report.done.is_empty() && report.strays.is_empty() && report.problems.is_empty() {
        context.output.report("Nothing is owed to LaunchDarkly.");
    } else {
        let lines = report.lines();
        context.output.report(&format!("{lines}{}{}", if lines.is_empty() { "" } else { "\n\n" }, report.verdict()));
    }
}

/// Who replays, and how.
#[derive(Clone, Copy)]
struct How<'h> {
    /// Who has the right to replay meanwhile, as others read it.
    by: &'static str,
    /// Whether LaunchDarkly is asked once whether it answers, before it is asked about anything that is owed.
    knocks: bool,
    /// Nothing is sent but what these have signed.
    only_signed: Option<&'h Keys>,
    /// Whether the playback is the replayer's own, and nobody else looks after its history.
    owns_history: bool,
    /// Whether it was told to end: what is under way is seen through, and nothing more is sent.
    ends: Option<&'h Ends>,
}

async fn report_of(arguments: &Arguments, context: &Context<'_>, how: How<'_>) -> Result<Report, Failure> {
    let own_keys = match how.only_signed {
        Some(_) => None,
        None => signing::keys_or_told(context.settings, context.output, UNKNOWN),
    };
    let scope = Scope::typed(context, &arguments.flag)?;
    let playback = overview::playback(context)?;
    // A rehearsal writes nothing, so it may run beside a replay.
    let guard = if arguments.dry_run { None } else { Some(playback.lock_for_replay()?) };
    let loaded = playback.load_waiting()?;
    let surroundings = Surroundings::look(context).await?;
    let seen_at = Instant::now();
    let views = overview::look(context, &surroundings, &loaded, &scope).await;
    let guards = Guards::look(&surroundings.stores, overview::targets(&views)).await;
    let surroundings = &surroundings;
    let keys = how.only_signed.or(own_keys.as_ref());
    let run =
        Run { arguments, context, surroundings, views: &views, seen_at, loaded: &loaded, guards: &guards, keys, how };
    let owed = owed::owed(&views);
    if how.knocks && !owed.owed.is_empty() {
        remote::knock(context).await?;
    }
    let waits = Arc::new(Waits::default());
    let mut report = match &guard {
        Some(guard) => {
            let mut files = Files::new(&playback, guard);
            let mut report = waits.shown(context.output, run.replay(owed, &waits, &mut files)).await?;
            let (moved, failed) = files.sweep(&loaded);
            report.moved = moved;
            report.problems.extend(failed.into_iter().map(|error| Problem::of("a change", error.into())));
            // Where only some flags are looked at, it is not known of the others whether they stand.
            if how.owns_history
                && moved > 0
                && arguments.flag.is_empty()
                && let Err(error) = letting_go::let_go(&playback, guard, surroundings, &views)
            {
                report.problems.push(Problem::of("the history of what was replayed", error.into()));
            }
            report
        }
        None => waits.shown(context.output, run.rehearse(owed, &waits)).await?,
    };
    report.problems.extend(run.problems());
    left_behind::say(&mut report.done, context, run.surroundings, &views, &guards);
    Ok(report)
}

/// What all steps of a run look at.
struct Run<'r> {
    arguments: &'r Arguments,
    context: &'r Context<'r>,
    surroundings: &'r Surroundings,
    /// What the stores held, and when that was read.
    views: &'r [EnvironmentView<'r>],
    seen_at: Instant,
    loaded: &'r Loaded,
    guards: &'r Guards,
    /// What tells whose word an override is.
    keys: Option<&'r Keys>,
    how: How<'r>,
}

impl Run<'_> {
    /// Takes the right to replay, replays, and gives it back.
    async fn replay(&self, mut owed: Owed, waits: &Arc<Waits>, files: &mut Files<'_>) -> Result<Report, Failure> {
        let rights = Arc::new(Rights::default());
        let permit = rights.permit(self.context.settings, self.how.ends.cloned());
        let client = self.client(&owed, waits, Some(permit))?.map(Arc::new);
        let Taken { mut kept, others, unkept } = self.take_rights(&rights, &owed).await;
        for (environment, why) in unkept {
            self.context.output.say(&format!(
                "{environment}: no store keeps the right to replay ({why}). Nothing but this playback's own lock keeps another \
                 replay from the same at the same time; each flag is read in LaunchDarkly before and after it is sent."
            ));
        }
        let (left, mine): (Vec<Matter>, Vec<Matter>) =
            owed.owed.into_iter().partition(|matter| others.contains_key(&matter.subject.0));
        owed.owed = mine;
        let replayed = self.replay_held(owed, client, &mut kept, files).await;
        kept.give_back().await;
        let mut report = replayed?;
        for matter in left {
            let Some(failure) = others.get(&matter.subject.0) else { continue };
            let outcome = Outcome::Left(Left::failed(failure.clone()));
            report.done.push(Done::new(&matter, outcome, Told::default()));
        }
        report.others = others.into_keys().collect();
        Ok(report)
    }

    async fn take_rights(&self, rights: &Rights, owed: &Owed) -> Taken {
        let environments = owed.owed.iter().map(|matter| &matter.subject.0).collect();
        if self.context.settings.replays_alone {
            rights.take_unasked(&environments);
            return Taken::default();
        }
        rights.take(&environments, self.views, &self.surroundings.stores, self.context.settings, self.how.by).await
    }

    async fn replay_held(
        &self,
        owed: Owed,
        client: Option<Arc<Client>>,
        kept: &mut Kept,
        files: &mut Files<'_>,
    ) -> Result<Report, Failure> {
        let courier = client.as_ref().map(|_| Courier::start());
        let read_at = Instant::now();
        let Owed { owed, replayed, leftovers, strays, undone } = owed;
        let ground = Ground { stores: &self.surroundings.stores, guards: self.guards, keys: self.keys };
        let mut done = Vec::new();
        let (mut strays, evidence) = match client.as_ref().zip(courier.as_ref()) {
            Some((client, courier)) => {
                let left = leftovers.iter().map(|(matter, _)| matter);
                let all = owed.iter().chain(&replayed).chain(left);
                let subjects: Vec<Subject> = all.map(|matter| matter.subject.clone()).collect();
                let (items, evidence) = futures_util::join!(
                    self.read(client, courier, owed),
                    Evidence::open(self.context, self.surroundings, self.views, &subjects, self.guards)
                );
                // Colleagues' changes are adopted only once LaunchDarkly has answered: a replay that comes too early leaves
                // nothing behind.
                let items = items?;
                self.prepare(files, items.iter().map(|item| &item.matter), &leftovers)?;
                self.show(&items);
                let strays = strays::find_out(strays, Some(client.as_ref()), self.arguments, self.context).await;
                let decided =
                    decide::decide(items, self.arguments, self.context, self.how.only_signed.is_some()).await?;
                strays::note(&strays, self.loaded, files)?;
                let means = Means {
                    client,
                    courier,
                    ground,
                    evidence: &evidence,
                    options: self.options(),
                    read_at,
                    seen_at: self.seen_at,
                    asked: self.context.prompter.can_ask(),
                    request_approval: self.arguments.request_approval,
                };
                done = carrying_out::carry_out(decided, &means, files, self.context).await;
                // Nothing more is sent; stores are told by compare-and-set.
                kept.give_back().await;
                (strays, evidence)
            }
            None => {
                self.prepare(files, [], &leftovers)?;
                let strays = strays::find_out(strays, None, self.arguments, self.context).await;
                strays::note(&strays, self.loaded, files)?;
                (strays, Evidence::without_relays(self.context, self.surroundings, self.views))
            }
        };
        strays.extend(strays::note_undone(undone, self.loaded, files));
        self.wait_for_evidence(&mut done, ground, &evidence, files).await;
        evidence.ask(&settling::waiting(&replayed, &leftovers)).await;
        let held = (self.loaded, &mut *files);
        done.extend(settling::settle_replayed(&replayed, ground, &evidence, held, self.context).await);
        done.extend(settling::end_leftovers(&leftovers, ground, &evidence, files, self.context).await);
        for problem in evidence.problems() {
            self.context
                .output
                .say(&format!("{problem}: what it would show has to come by its stream. Nothing is lost."));
        }
        Ok(Report { done, strays, ..Report::default() })
    }

    fn prepare<'m>(
        &self,
        files: &mut Files<'_>,
        owed: impl IntoIterator<Item = &'m Matter>,
        leftovers: &'m [(Matter, EndedMark)],
    ) -> Result<(), Failure> {
        let left = leftovers.iter().map(|(matter, _)| matter);
        let matters: Vec<&Matter> = owed.into_iter().chain(left).collect();
        Ok(files.prepare(self.loaded, &matters)?)
    }

    /// What LaunchDarkly's data path shows within a moment ends overrides here and now.
    async fn wait_for_evidence(
        &self,
        done: &mut [Done],
        ground: Ground<'_>,
        evidence: &Evidence,
        files: &mut Files<'_>,
    ) {
        let held: Vec<Wanted<'_>> = done.iter().filter_map(settling::held).collect();
        if held.is_empty() {
            return;
        }
        evidence.wait(&held).await;
        settling::settle_shown(done, ground, evidence, files, self.context).await;
        settling::follow_guards(done, ground, files, self.context).await;
    }

    async fn rehearse(&self, owed: Owed, waits: &Arc<Waits>) -> Result<Report, Failure> {
        let client = self.client(&owed, waits, None)?.map(Arc::new);
        let strays = strays::find_out(owed.strays, client.as_deref(), self.arguments, self.context).await;
        let mut done = Vec::new();
        if let Some(client) = &client {
            let items = self.read(client, &Courier::start(), owed.owed).await?;
            self.show(&items);
            let decided: Vec<Decided> =
                decide::decide(items, self.arguments, self.context, self.how.only_signed.is_some()).await?;
            done = carrying_out::rehearse(&decided, client, self.options()).await;
        }
        Ok(Report { dry_run: true, done, strays, ..Report::default() })
    }

    fn options(&self) -> PatchOptions {
        PatchOptions { dry_run: false, ignore_conflicts: self.arguments.break_scheduled }
    }

    /// The connection to LaunchDarkly, where it has to be asked.
    fn client(&self, owed: &Owed, waits: &Arc<Waits>, permit: Option<Permit>) -> Result<Option<Client>, Failure> {
        if owed.owed.is_empty() && !strays::need_launchdarkly(&owed.strays) {
            return Ok(None);
        }
        let observer = remote::observer(waits);
        remote::client(self.context, Patience::REPLAY, Some(observer), permit).map(Some).map_err(|failure| {
            let names: Vec<String> = owed.owed.iter().map(|matter| matter.subject.1.to_string()).collect();
            if names.is_empty() { failure } else { failure.cause(format!("owed: {}", list_some(&names, NAMES_MAX))) }
        })
    }

    async fn read(&self, client: &Arc<Client>, courier: &Courier, matters: Vec<Matter>) -> Result<Vec<Item>, Failure> {
        let _progress = Progress::start(self.context.output, "reading from LaunchDarkly");
        let mut items = remote::read(client, courier, matters).await?;
        items.iter_mut().for_each(|item| item.vouched = self.vouched(&item.matter));
        Ok(items)
    }

    /// Whether the keys here vouch for what is in force. What only the playback knows of was read from this disk, and has no
    /// signature.
    fn vouched(&self, matter: &Matter) -> Vouched {
        if matter.only_filed {
            return Vouched::Unasked;
        }
        let (environment, flag) = &matter.subject;
        let vouched = Vouched::by(self.keys, &matter.override_, environment, flag);
        if self.how.only_signed.is_some() { vouched.unattended(&matter.override_, Timestamp::now()) } else { vouched }
    }

    fn show(&self, items: &[Item]) {
        if items.is_empty() {
            return;
        }
        let matters: Vec<&Matter> = items.iter().map(|item| &item.matter).collect();
        let mut environments = items.iter().map(|item| &item.matter.subject.0);
        let first = environments.next();
        let several = environments.any(|environment| Some(environment) != first);
        let place = if several { String::new() } else { first.map(|one| format!(" in {one}")).unwrap_or_default() };
        let heading = format!("LaunchDarkly: api up. {}{place}:", words::heading(&matters));
        self.context.output.report(&format!("{heading}\n\n{}\n", words::plan(items, several)));
    }

    /// What could not be looked at, and what has to be known beside the flags.
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (store, error) in overview::unseen(self.surroundings, self.views) {
            let failure = Failure::from(error.clone());
            let why = format!("{}; overrides that only it has are not seen", failure.message);
            problems.push(Problem { what: store.to_owned(), why, code: Some(failure.exit_code()) });
        }
        for view in self.views {
            if let Err(failure) = &view.targets {
                let why = format!("{}; what is owed there is not known", failure.message);
                let what = view.environment.to_string();
                problems.push(Problem { what, why, code: Some(failure.exit_code()) });
            }
            for (chosen, error) in view.silent() {
                let what = format!("{} of {}", chosen.target.store, view.environment);
                let failure = Failure::from(error.clone());
                let why = format!("{}; overrides that only it has are not seen", failure.message);
                problems.push(Problem { what, why, code: Some(failure.exit_code()) });
            }
            for situation in &view.situations {
                for (chosen, seen) in &situation.seen {
                    if let Some(Err(why)) = &seen.override_ {
                        let what = format!("the override of {} in {}", situation.flag, chosen.target.store);
                        problems.push(Problem { what, why: why.clone(), code: Some(Kind::Refused.exit_code()) });
                    }
                }
                for (target, lost) in merge::put_aside(&situation.said) {
                    let digits = lost.change().map(|change| change.short()).unwrap_or_default();
                    let what = format!("{} in {}", situation.flag, target.store);
                    let why = format!(
                        "{} ({digits}) lost to another edit, made on another side of a broken network; ask them",
                        words::motive(&lost.motive)
                    );
                    problems.push(Problem { what, why, code: None });
                }
            }
        }
        for damage in &self.loaded.damaged {
            let line = damage.line.map(|line| format!(", line {line}")).unwrap_or_default();
            let what = format!("{}{line}", damage.file.display());
            problems.push(Problem { what, why: damage.problem.clone(), code: Some(ExitCode::Failure) });
        }
        problems
    }
}
