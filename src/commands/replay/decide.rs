//! Deciding what becomes of each override: beforehand by options, else by asking whoever sits at the terminal. Without
//! one, what needs a decision stays owed.

use crate::commands::Context;
use crate::commands::replay::Arguments;
use crate::commands::replay::OnConflict;
use crate::commands::replay::plan;
use crate::commands::replay::plan::Course;
use crate::commands::replay::plan::Decision;
use crate::commands::replay::plan::Item;
use crate::commands::replay::plan::Left;
use crate::commands::replay::plan::Step;
use crate::commands::replay::words;
use crate::commands::signing::Vouched;
use crate::error::Failure;
use crate::flag::instruction::Instruction;
use crate::launchdarkly::approval::Approval;
use crate::launchdarkly::approval::ReviewStatus;
use crate::ui::prompt::Choice;
use crate::ui::prompt::NotGiven;
use crate::ui::words::count;
use crate::ui::words::list_some;

/// The most names in a question.
const NAMES_MAX: usize = 5;

const CHOICES: [Choice; 3] = [
    Choice { letter: 'o', word: "override" },
    Choice { letter: 'l', word: "launchdarkly" },
    Choice { letter: 's', word: "skip" },
];

/// An override with what is done about it.
#[derive(Debug)]
pub struct Decided {
    /// The override, and LaunchDarkly's flag.
    pub item: Item,
    /// What is done.
    pub step: Step,
    /// What was decided where LaunchDarkly says otherwise, to be recorded.
    pub decision: Option<Decision>,
}

/// Decides about everything, and has the whole of it agreed to.
///
/// Where `only_signed`, nothing is sent for which no key vouches.
///
/// # Errors
/// Where somebody was asked whether to go on and said no.
pub async fn decide(
    items: Vec<Item>,
    arguments: &Arguments,
    context: &Context<'_>,
    only_signed: bool,
) -> Result<Vec<Decided>, Failure> {
    let mut decided = Vec::with_capacity(items.len());
    for item in items {
        let decision = if item.needs_decision() { Some(conflict(&item, arguments, context).await) } else { None };
        let step = match step(&item, decision) {
            step if only_signed => unless_doubtful(&item, step),
            step => step,
        };
        decided.push(Decided { item, step, decision });
    }
    about_gone(&mut decided, arguments, context).await;
    about_approvals(&mut decided, arguments, context).await;
    about_only_filed(&mut decided, arguments, context).await;
    if !arguments.dry_run {
        agree(&decided, context).await?;
    }
    Ok(decided)
}

async fn conflict(item: &Item, arguments: &Arguments, context: &Context<'_>) -> Decision {
    if let Some(decision) = Decision::of(arguments.on_conflict) {
        return decision;
    }
    if arguments.dry_run || !context.prompter.can_ask() {
        return Decision::Skip;
    }
    context.output.say(&words::conflict(item));
    match context.prompter.choose(context.output, &CHOICES).await {
        Ok(0) => Decision::Override,
        Ok(1) => Decision::LaunchDarkly,
        Ok(_) | Err(_) => Decision::Skip,
    }
}

/// What is done, as far as nobody has to be asked. Where an approval is needed, or a flag is gone, that is left to be
/// asked about.
pub fn step(item: &Item, decision: Option<Decision>) -> Step {
    let flag = &item.matter.subject.1;
    match &item.course {
        Course::Send { instructions, .. } => send_or_request(item, instructions),
        Course::Already { version } => Step::Settle { version: *version, since: None },
        Course::Had { version, version_now, since } => {
            let since = format!("v{version_now} since: {}", words::entry_in_words(since));
            Step::Settle { version: *version, since: Some(since) }
        }
        Course::Nothing => Step::PutBack,
        Course::Conflict { .. } | Course::ChangedBack { .. } => match (decision, item.instructions()) {
            (Some(Decision::Override), Some(instructions)) => send_or_request(item, instructions),
            (Some(Decision::Override), None) => Step::Leave(Left::undecided(
                "the override names a variation that LaunchDarkly's flag has no more",
                words::command(item, "--on-conflict launchdarkly"),
            )),
            (Some(Decision::LaunchDarkly), _) => Step::Abandon("LaunchDarkly's word was chosen".to_owned()),
            (Some(Decision::Skip) | None, _) => {
                let why = if matches!(item.course, Course::ChangedBack { .. }) {
                    "changed in LaunchDarkly and changed back"
                } else {
                    "conflict"
                };
                Step::Leave(Left::undecided(why, words::command(item, "--on-conflict override|launchdarkly")))
            }
        },
        Course::Gone { archived } => {
            let why = if *archived {
                "archived in LaunchDarkly"
            } else {
                "LaunchDarkly has no such flag, or does not show it to this token"
            };
            Step::Leave(Left::undecided(why, words::command(item, "--on-conflict launchdarkly")))
        }
        Course::Waits => Step::Leave(waits(item.approval.as_ref())),
        Course::Failed(failure) => {
            Step::Leave(Left::failed(failure.clone().while_doing(format!("{flag} was not replayed"))))
        }
    }
}

/// The step, unless it is one for an override for which no key vouches: that is left to a person, and said before anything
/// else is said of it. What tells only the stores something is not held up, nor what a person has asked an approval for.
fn unless_doubtful(item: &Item, step: Step) -> Step {
    let is_vouched_for = item.vouched == Vouched::For;
    let concerns_launchdarkly = match &step {
        Step::Send(_) | Step::Request(_) | Step::Abandon(_) => true,
        Step::Leave(left) => !left.waits && left.failure.is_none(),
        Step::Settle { .. } | Step::PutBack => false,
    };
    if is_vouched_for && matches!(step, Step::Send(_) | Step::Request(_)) && may_be_an_old_one(item) {
        let why = "changed in LaunchDarkly since, and its audit log could not be read, which tells whether this was sent before";
        return Step::Leave(Left::undecided(why, words::command(item, "")));
    }
    if is_vouched_for || !concerns_launchdarkly {
        return step;
    }
    let why = item.vouched.doubt().unwrap_or("it has no signature");
    Step::Leave(Left { doubtful: true, ..Left::undecided(why, words::command(item, "")) })
}

/// Whether LaunchDarkly may have had this override: whoever writes a store can put back what has ended.
fn may_be_an_old_one(item: &Item) -> bool {
    item.audit.is_none() && plan::needs_the_audit_log(&item.matter.override_, item.now.as_ref(), &item.course)
}

fn send_or_request(item: &Item, instructions: &[Instruction]) -> Step {
    match item.reviewers {
        Some(_) => Step::Request(instructions.to_vec()),
        None => Step::Send(instructions.to_vec()),
    }
}

/// How an approval request stands.
pub fn waits(approval: Option<&Approval>) -> Left {
    let why = match approval.map(|approval| &approval.review) {
        Some(ReviewStatus::Approved) => "approved, and not applied yet: apply it",
        Some(ReviewStatus::Declined) => "the approval was declined",
        Some(_) => "waits for a reviewer",
        None => "waits for an approval",
    };
    let next = approval.and_then(|approval| approval.link.clone());
    Left { why: why.to_owned(), next, failure: None, waits: true, doubtful: false }
}

fn names(items: &[&Item]) -> String {
    let names: Vec<String> = items.iter().map(|item| item.matter.subject.1.to_string()).collect();
    list_some(&names, NAMES_MAX)
}

/// Flags that are gone in LaunchDarkly: their overrides are given up on a yes.
async fn about_gone(decided: &mut [Decided], arguments: &Arguments, context: &Context<'_>) {
    let is_gone = |decided: &Decided| matches!(decided.item.course, Course::Gone { .. });
    let gone: Vec<&Item> = decided.iter().filter(|one| is_gone(one)).map(|one| &one.item).collect();
    if gone.is_empty() || matches!(arguments.on_conflict, OnConflict::Override | OnConflict::Skip) {
        return;
    }
    let beforehand = arguments.on_conflict == OnConflict::Launchdarkly;
    let question = format!(
        "{} gone in LaunchDarkly, or not visible to this token. Give the override up?",
        words::are(&names(&gone), gone.len())
    );
    // `--yes` is for what was asked for. Giving a switch up, perhaps for want of a right, has a word of its own.
    let may_ask = !arguments.dry_run && context.prompter.can_ask();
    if !beforehand && (!may_ask || context.prompter.consent(context.output, &question).await.is_err()) {
        return;
    }
    for one in decided.iter_mut().filter(|one| is_gone(one)) {
        one.step = Step::Abandon("the flag is gone in LaunchDarkly".to_owned());
    }
}

async fn about_approvals(decided: &mut [Decided], arguments: &Arguments, context: &Context<'_>) {
    let wants = |one: &Decided| matches!(one.step, Step::Request(_));
    let wanting: Vec<&Item> = decided.iter().filter(|one| wants(one)).map(|one| &one.item).collect();
    if wanting.is_empty() || arguments.request_approval {
        return;
    }
    let question = format!("Ask for approval of {}?", names(&wanting));
    if !arguments.dry_run && context.prompter.consent(context.output, &question).await.is_ok() {
        return;
    }
    for one in decided.iter_mut().filter(|one| wants(one)) {
        let declined = one.item.approval.as_ref().filter(|approval| approval.review == ReviewStatus::Declined);
        let why = match declined {
            Some(approval) => waits(Some(approval)).why,
            None => "needs an approval".to_owned(),
        };
        one.step = Step::Leave(Left::undecided(why, words::command(&one.item, "--request-approval")));
    }
}

/// Where our keys are forbidden in the stores, nobody but the playback knows whether it was replayed from elsewhere.
async fn about_only_filed(decided: &mut [Decided], arguments: &Arguments, context: &Context<'_>) {
    let asks = |one: &Decided| one.item.matter.only_filed && matches!(one.step, Step::Send(_) | Step::Request(_));
    let asking: Vec<&Item> = decided.iter().filter(|one| asks(one)).map(|one| &one.item).collect();
    if asking.is_empty() {
        return;
    }
    let question = format!(
        "Only the playback knows of {}: our keys are forbidden in the stores, so others may have replayed or undone it. Send it?",
        names(&asking)
    );
    if !arguments.dry_run && context.prompter.consent(context.output, &question).await.is_ok() {
        return;
    }
    for one in decided.iter_mut().filter(|one| asks(one)) {
        let why = "only the playback knows of it (our keys are forbidden in the stores)";
        one.step = Step::Leave(Left::undecided(why, words::command(&one.item, "--yes")));
    }
}

/// One question for all of it, on a terminal.
async fn agree(decided: &[Decided], context: &Context<'_>) -> Result<(), Failure> {
    let counted = |wanted: fn(&Step) -> bool| decided.iter().filter(|one| wanted(&one.step)).count();
    let parts = [
        (counted(|step| matches!(step, Step::Send(_))), "patch"),
        (counted(|step| matches!(step, Step::Request(_))), "approval request"),
    ];
    let given_up = counted(|step| matches!(step, Step::Abandon(_)));
    let sent: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, noun)| count(*number, noun)).collect();
    let is_doubtful =
        |one: &&Decided| one.item.vouched.doubt().is_some() && matches!(one.step, Step::Send(_) | Step::Request(_));
    let doubtful = match decided.iter().filter(is_doubtful).count() {
        0 => String::new(),
        number => format!(" ({number} NOT SIGNED WITH YOUR KEY: see above)"),
    };
    let question = match (sent.is_empty(), given_up) {
        (true, 0) => return Ok(()),
        (true, given_up) => format!("Give {} up?", count(given_up, "override")),
        (false, 0) => format!("Send {}{doubtful}?", sent.join(", ")),
        (false, given_up) => format!("Send {}{doubtful}, give {} up?", sent.join(", "), count(given_up, "override")),
    };
    match context.prompter.consent(context.output, &question).await {
        Ok(_) | Err(NotGiven::NobodyToAsk) => Ok(()),
        Err(refused) => Err(Failure::from(refused).hint("Nothing was sent, and nothing is lost: rc replay")),
    }
}
