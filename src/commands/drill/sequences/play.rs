//! Plays a story: has its commands typed, lets happen what happens meanwhile, lets relays write, and has the judge look
//! after everything. It decides nothing that the story has not decided.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;

use super::judge::Broken;
use super::judge::Rule;
use super::judge::edition::Edition;
use super::judge::edition::Editions;
use super::judge::ledger::By;
use super::judge::ledger::Ledger;
use super::judge::ledger::Said;
use super::judge::outlook::Outlook;
use super::judge::patches;
use super::judge::patches::Patched;
use super::judge::records;
use super::judge::records::Segment;
use super::steps::Event;
use super::steps::OnConflict;
use super::steps::Pace;
use super::steps::STORES;
use super::steps::Story;
use super::steps::Typed;
use super::steps::Verb;
use super::steps::What;
use super::told::Told;
use super::world::World;
use super::world::playback;
use super::world::store::Content;
use super::world::wire::Stop;
use crate::commands::drill::operator::Operator;
use crate::commands::drill::operator::Ran;
use crate::commands::drill::raw::Trouble;
use crate::drill::launchdarkly::SdkFlag;

/// How long a command may take. Replays wait for LaunchDarkly several times, and others may be played at the same time.
const COMMAND_MAX: Duration = Duration::from_secs(240);

/// Why a story was not played to its end.
#[derive(Debug)]
pub enum Ended {
    /// A rule was broken.
    Broken(Broken),
    /// The drill's own trouble.
    Trouble(Trouble),
}

impl From<Broken> for Ended {
    fn from(broken: Broken) -> Self {
        Ended::Broken(broken)
    }
}

impl From<Trouble> for Ended {
    fn from(trouble: Trouble) -> Self {
        Ended::Trouble(trouble)
    }
}

/// A story that is being played.
pub struct Play {
    /// The world.
    pub world: World,
    /// What LaunchDarkly has said.
    pub ledger: Ledger,
    /// The overrides that were seen in stores.
    pub editions: Editions,
    /// What happened, for people.
    pub told: Told,
    /// What was typed, in order.
    pub typed: Vec<Verb>,
    /// Who has the last word, by a naive model.
    pub outlook: Outlook,
    /// Whether a store has lost anything.
    pub lost: bool,
    /// The step that is played.
    pub step: usize,
    /// What every store held when it was looked at last.
    pub contents: Vec<Content>,
    /// The commands that are running, the innermost last.
    pub(super) running: Vec<Running>,
    /// The number of the newest command.
    commands: u64,
    /// Stops of a command that waits for another one to end.
    pub(super) waiting: VecDeque<Stop>,
    /// The newest change of every approval request that was made and not declined since.
    pub(super) requests: Vec<String>,
    /// How many requests of LaunchDarkly's API were looked at for that.
    pub(super) looked_at: u64,
}

/// A command that is running.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    pub(super) number: u64,
    /// Whether `--on-conflict override` was typed.
    decided: bool,
    /// The ended marks that it could read when it began.
    ended: Vec<(String, u64)>,
    /// Whether anything else happened meanwhile.
    pub(super) disturbed: bool,
    /// Whether something other than a relay's writing was it.
    pub(super) interrupted: bool,
    /// Whether a connection of it broke.
    pub(super) cut: bool,
    /// Whether it changed anything.
    pub(super) did: bool,
}

impl Play {
    /// Everything as it is at the beginning.
    ///
    /// # Errors
    /// Where a store cannot be read.
    pub async fn begin(mut world: World) -> Result<Self, Trouble> {
        let mut ledger = Ledger::default();
        for (flag, record) in world.flags() {
            let version = record.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
            ledger.add(&flag, Said { version, record: Some(record), by: By::Beginning, command: 0, step: 0 });
        }
        let contents = world.contents().await?;
        Ok(Self {
            world,
            ledger,
            editions: Editions::default(),
            told: Told::default(),
            typed: Vec::new(),
            outlook: Outlook::default(),
            lost: false,
            step: 0,
            contents,
            running: Vec::new(),
            commands: 0,
            waiting: VecDeque::new(),
            requests: Vec::new(),
            looked_at: 0,
        })
    }

    /// Plays the steps.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn steps(&mut self, story: &Story) -> Result<(), Ended> {
        for step in &story.steps {
            self.step = step.number;
            self.told.step(step.number);
            match &step.what {
                What::Typed(typed) => drop(self.command(typed).await?),
                What::Event(event) => self.event(event).await?,
            }
            self.rest().await?;
        }
        Ok(())
    }

    /// After each step: relays that are not behind write, and what stands now is remembered.
    pub(super) async fn rest(&mut self) -> Result<(), Ended> {
        self.hear(&By::Colleague).await?;
        self.relays_write(Pace::Slow).await?;
        let contents = self.contents.clone();
        self.world.remember(&contents);
        Ok(())
    }

    /// Has a command typed, and judges what it claims. Returns how it ended; `None`: it was killed.
    pub(super) fn command<'p>(
        &'p mut self,
        typed: &'p Typed,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Ran>, Ended>> + 'p>> {
        Box::pin(async move {
            let Some(operator) = self.world.operators.get(typed.who).cloned() else {
                return Err(Ended::Trouble(format!("there is no operator {}", typed.who)));
            };
            self.told.say(typed.to_string());
            self.typed.push(typed.verb.clone());
            self.ours().await?;
            let words = words(typed, &operator)?;
            let before = self.contents.clone();
            self.commands += 1;
            let number = self.commands;
            self.running.push(Running {
                number,
                decided: matches!(typed.verb, Verb::Replay { on_conflict: Some(OnConflict::Override), .. }),
                ended: if matches!(typed.verb, Verb::Replay { .. }) { self.over(typed.who)? } else { Vec::new() },
                ..Running::default()
            });
            let ran = match timeout(COMMAND_MAX, self.run(typed, &operator, &words, number)).await {
                Ok(ran) => ran?,
                Err(_) => {
                    let evidence = format!("{typed} did not end within {} s", COMMAND_MAX.as_secs());
                    return Err(Broken::new(Rule::Ends, evidence).into());
                }
            };
            if ran.is_none() {
                self.told.say("  KILLED");
            }
            if let Some(ran) = &ran {
                self.told.ran(ran);
            }
            let heard = self.hear_ours().await;
            let looked = self.ours().await;
            let run = self.running.pop().unwrap_or_default();
            heard?;
            looked?;
            self.follow(typed, ran.as_ref(), &run, &before);
            self.asked_once()?;
            if let Some(ran) = &ran {
                self.claims(typed, ran, &run)?;
            }
            Ok(ran)
        })
    }

    /// Several things happen at once.
    pub(super) async fn events(&mut self, events: &[Event]) -> Result<(), Ended> {
        for event in events {
            self.one_event(event).await?;
        }
        self.look().await
    }

    /// Something happens.
    pub(super) async fn event(&mut self, event: &Event) -> Result<(), Ended> {
        self.one_event(event).await?;
        self.look().await
    }

    async fn one_event(&mut self, event: &Event) -> Result<(), Ended> {
        self.told.say(event.to_string());
        self.take_note_of(event);
        let by = match event {
            Event::Approved(flag) => By::Approval { changes: self.asked_for(*flag) },
            _ => By::Colleague,
        };
        for line in self.world.happens(event).await? {
            self.told.say(format!("  {line}"));
        }
        self.hear(&by).await
    }

    /// The changes that all approval requests about a flag name in their comments.
    fn asked_for(&self, flag: usize) -> Vec<String> {
        let key = super::steps::FLAGS.get(flag).map_or("?", |flag| flag.key);
        let path = format!("/flags/{key}/environments/");
        let received = self.world.control().received();
        let requests = received.iter().filter(|request| {
            request.method == "POST" && request.path.contains(&path) && request.path.ends_with("/approval-requests")
        });
        requests.flat_map(|request| changes_in(&request.body)).collect()
    }

    /// Takes note of what LaunchDarkly says since the last time. `by` made it say so.
    async fn hear(&mut self, by: &By) -> Result<(), Ended> {
        for (flag, version) in self.world.changed()? {
            let by = if *by == (By::Replay { changes: Vec::new() }) { self.last_patch(&flag) } else { by.clone() };
            let Some(sent) = self.world.sdk_flag(&flag) else { continue };
            self.world.relays_hear(&flag, &sent);
            let record = match sent {
                SdkFlag::Record(record) => Some(record),
                SdkFlag::Gone { .. } => None,
            };
            let running = self.running.last().cloned().unwrap_or_default();
            let is_ours = matches!(by, By::Replay { .. });
            if matches!(by, By::Approval { .. }) {
                self.outlook.over(&flag);
            }
            let command = running.number;
            self.ledger.add(&flag, Said { version, record, by, command, step: self.step });
            if is_ours {
                self.told.say(format!("  LaunchDarkly has taken a patch: {flag} v{version}"));
                self.outlook.over(&flag);
                let (ledger, editions) = (&self.ledger, &self.editions);
                if let Some(running) = self.running.last_mut() {
                    running.did = true;
                }
                let ended = &running.ended;
                patches::check(&Patched { flag: &flag, ledger, editions, decided: running.decided, ended })?;
            }
        }
        Ok(())
    }

    /// What LaunchDarkly says now was made by the command that runs.
    pub(super) async fn hear_ours(&mut self) -> Result<(), Ended> {
        self.hear(&By::Replay { changes: Vec::new() }).await
    }

    /// The patch of a flag that LaunchDarkly received last.
    fn last_patch(&self, flag: &str) -> By {
        let received = self.world.control().received();
        let is_it = |path: &str| {
            let path = path.split('?').next().unwrap_or_default();
            path.rsplit('/').next() == Some(flag)
        };
        let patch = received
            .iter()
            .rev()
            .find(|request| request.method == "PATCH" && is_it(&request.path) && !request.path.contains("dryRun=true"));
        By::Replay { changes: patch.map(|patch| changes_in(&patch.body)).unwrap_or_default() }
    }

    /// Looks at the stores: what changed since the last look was done by the commands that run, and is judged.
    pub(super) async fn ours(&mut self) -> Result<(), Ended> {
        let now = self.world.contents().await?;
        for ((before, after), store) in self.contents.iter().zip(&now).zip(STORES) {
            if before == after {
                continue;
            }
            if let Some(running) = self.running.last_mut() {
                running.did = true;
            }
            let (ledger, editions) = (&self.ledger, &self.editions);
            records::check(&Segment { store, before, after, ledger, editions })?;
        }
        self.learn(&now);
        self.contents = now;
        Ok(())
    }

    /// Looks at the stores after somebody else has written.
    async fn look(&mut self) -> Result<(), Ended> {
        let now = self.world.contents().await?;
        self.learn(&now);
        self.contents = now;
        Ok(())
    }

    fn learn(&mut self, contents: &[Content]) {
        for (store, (known, content)) in self.contents.iter().zip(contents).enumerate() {
            let new = content.overrides.iter().filter(|(flag, text)| known.overrides.get(*flag) != Some(text));
            for edition in new.filter_map(|(_, text)| Edition::parse(text).ok()) {
                let stood = known.records.get(&edition.flag).filter(|_| !known.overrides.contains_key(&edition.flag));
                if let Some(found) = stood.and_then(|text| serde_json::from_str(text).ok()) {
                    self.editions.meet(&edition, &found);
                }
                let before = known.overrides.get(&edition.flag).and_then(|text| Edition::parse(text).ok());
                self.editions.came(store, &edition, before.as_ref());
                self.editions.learn(&edition);
            }
        }
    }

    /// Relays that are at least as fast as this write what they have heard.
    pub(super) async fn relays_write(&mut self, pace: Pace) -> Result<(), Ended> {
        let may = |of: Pace| of == Pace::Prompt || (of == Pace::Slow && pace == Pace::Slow);
        let busy = self.world.busy(|relay| may(relay.pace));
        if busy.is_empty() {
            return Ok(());
        }
        self.ours().await?;
        for relay in busy {
            for line in self.world.relay_writes(relay).await? {
                self.told.say(format!("  {line}"));
            }
        }
        if let Some(running) = self.running.last_mut() {
            running.disturbed = true;
        }
        self.look().await
    }

    /// What an operator could know now to be over, as `change/flag` with the revision that ended: by the marks in the stores
    /// that he reaches, and by his own playback.
    fn over(&self, who: usize) -> Result<Vec<(String, u64)>, Trouble> {
        let reaches = self.world.reaches(self.world.home_of(who));
        let mut marks = BTreeMap::<String, u64>::new();
        for (content, _) in self.contents.iter().zip(reaches).filter(|(_, reached)| *reached) {
            for (key, text) in &content.ended {
                let mark: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
                let revision = mark.get("revision").and_then(serde_json::Value::as_u64).unwrap_or(0);
                let known = marks.entry(key.clone()).or_default();
                *known = revision.max(*known);
            }
        }
        if self.lost {
            // What a store has forgotten is in force again there.
            return Ok(marks.into_iter().collect());
        }
        for filed in playback::read(self.world.operators.get(who).map_or(Path::new(""), Operator::home))? {
            for (number, flag) in filed.flags.iter().enumerate() {
                if filed.is_over(number) {
                    marks.insert(format!("{}/{flag}", filed.change), u64::MAX);
                }
            }
        }
        Ok(marks.into_iter().collect())
    }
}

/// The words of a command; the edits of a batch are put into the operator's home.
fn words(typed: &Typed, operator: &Operator) -> Result<Vec<String>, Trouble> {
    let file = operator.home().join("edits.jsonl");
    if let Verb::Batch(edits) = &typed.verb {
        let lines: Vec<String> = edits.iter().map(|(flag, wish)| wish.line(*flag)).collect();
        std::fs::write(&file, lines.join("\n")).map_err(|error| error.to_string())?;
    }
    Ok(typed.verb.words(&file.display().to_string()))
}

/// The ids of changes in the comment of a request's body.
pub(super) fn changes_in(body: &str) -> Vec<String> {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let comment = body.get("comment").and_then(serde_json::Value::as_str).unwrap_or_default();
    let Some(at) = comment.rfind("(change") else { return Vec::new() };
    let ids = comment.get(at..).unwrap_or_default();
    let words = ids.split(|letter: char| !(letter.is_ascii_hexdigit() || letter == '-'));
    words.filter(|word| word.len() == 36).map(ToOwned::to_owned).collect()
}
