//! Tells the naive model of the last word what happened, and keeps count of the approvals that were asked for. It knows what
//! was typed and how it ended; it must not look into what the commands decided.

use serde_json::Value;

use super::super::operator::Ran;
use super::judge::Broken;
use super::judge::Rule;
use super::judge::edition::Edition;
use super::judge::edition::asks_for;
use super::play::Play;
use super::play::Running;
use super::play::changes_in;
use super::steps::Deed;
use super::steps::Event;
use super::steps::FLAGS;
use super::steps::OnConflict;
use super::steps::Typed;
use super::steps::Verb;
use super::steps::Wish;
use super::world::store::Content;
use crate::error::ExitCode;

impl Play {
    /// A command has ended.
    pub(super) fn follow(&mut self, typed: &Typed, ran: Option<&Ran>, run: &Running, before: &[Content]) {
        let code = ran.map(|ran| ran.code);
        if code.is_none() || run.cut || run.interrupted {
            self.outlook.lose_sight();
            return;
        }
        let done = code == Some(ExitCode::Done);
        match &typed.verb {
            Verb::Update { flags, wish, record, .. } if done => {
                let edits: Vec<(usize, Wish)> = flags.iter().map(|flag| (*flag, *wish)).collect();
                self.edited(&edits, *record, before);
            }
            Verb::Batch(edits) if done => self.edited(edits, false, before),
            Verb::Undo { flag, .. } if done => self.outlook.over(key(*flag)),
            Verb::Update { .. } | Verb::Batch(_) | Verb::Undo { .. } | Verb::Resume if run.did => {
                self.outlook.lose_sight();
            }
            Verb::Replay { dry_run: false, flags, on_conflict, .. } => {
                let gives_up = *on_conflict == Some(OnConflict::LaunchDarkly);
                // Of what waits for a reviewer, or was not meant, nothing is given up.
                let unclear = !flags.is_empty() || self.world.cast().flags > 2;
                if gives_up && unclear {
                    self.outlook.lose_sight();
                }
                self.outlook.replayed(&self.ledger, gives_up);
            }
            _ => {}
        }
    }

    fn edited(&mut self, edits: &[(usize, Wish)], record: bool, before: &[Content]) {
        for (flag, wish) in edits {
            let flag = key(*flag);
            let newest = |content: &Content| {
                let text = content.overrides.get(flag)?;
                Edition::parse(text).ok().map(|edition| edition.newest().to_owned())
            };
            let is_new = before.iter().zip(&self.contents).any(|(before, after)| newest(before) != newest(after));
            if !is_new {
                continue;
            }
            let mut bases = before.iter().map(|content| {
                let text = content.records.get(flag)?;
                serde_json::from_str::<Value>(text).ok()
            });
            let (Some(Some(base)), true) = (bases.next(), bases.all(|base| base == before_of(before, flag))) else {
                self.outlook.lose_sight();
                return;
            };
            self.outlook.edited(flag, &base, &asked(wish, &base), record);
        }
    }

    /// Something has happened that nobody typed.
    pub(super) fn take_note_of(&mut self, event: &Event) {
        self.lost |= matches!(event, Event::Failover { .. } | Event::Flushed(_) | Event::Evicted(_));
        let apart = matches!(event, Event::StoreDown(_) | Event::Parted { .. } | Event::PartedFromLaunchDarkly(_));
        let shifts = matches!(event, Event::Colleague { deed: Deed::RemoveVariation, .. });
        if self.lost || apart || shifts {
            self.outlook.lose_sight();
        }
        // Where several are agreed to at once, an older edit's may come last and undo the newer one: asking for that once
        // more is right.
        let undoes = matches!(event, Event::Approved(flag) if self.world.open_requests(*flag) > 1);
        if undoes || matches!(event, Event::Declined(_)) {
            self.requests.clear();
        }
    }

    /// Whether no approval was asked for twice, as far as nobody declined it in between.
    ///
    /// # Errors
    /// One was.
    pub(super) fn asked_once(&mut self) -> Result<(), Broken> {
        for request in self.world.control().received() {
            let is_one = request.method == "POST" && request.path.ends_with("/approval-requests");
            if request.number < self.looked_at || !is_one || request.status != Some(201) {
                continue;
            }
            let newest = changes_in(&request.body).pop().unwrap_or_default();
            if self.requests.contains(&newest) {
                let evidence = format!("a second request was made for change {newest}: {}", request.body);
                return Err(Broken::new(Rule::OneRequest, evidence));
            }
            self.requests.push(newest);
        }
        self.looked_at = self.world.control().received().last().map_or(0, |last| last.number + 1);
        Ok(())
    }
}

fn before_of(before: &[Content], flag: &str) -> Option<Value> {
    serde_json::from_str(before.first()?.records.get(flag)?).ok()
}

fn key(flag: usize) -> &'static str {
    FLAGS.get(flag).map_or("?", |flag| flag.key)
}

/// The fields of a record that a wish sets.
fn asked(wish: &Wish, base: &Value) -> Vec<(&'static str, Value)> {
    let place = |value: &str| {
        let value: Value = serde_json::from_str(value).ok()?;
        base.get("variations")?.as_array()?.iter().position(|one| *one == value)
    };
    let instructions = match wish {
        Wish::On => vec![serde_json::json!({ "kind": "turnFlagOn" })],
        Wish::Off => vec![serde_json::json!({ "kind": "turnFlagOff" })],
        Wish::Serve(variation) => {
            let values = FLAGS.iter().find(|flag| base.get("key").is_some_and(|key| key == flag.key));
            let value = values.and_then(|flag| flag.values.get(*variation)).copied().unwrap_or_default();
            vec![
                serde_json::json!({ "kind": "turnFlagOff" }),
                serde_json::json!({ "kind": "updateOffVariation", "variation": place(value) }),
            ]
        }
        Wish::Fallthrough(variation) => {
            vec![serde_json::json!({ "kind": "updateFallthroughVariationOrRollout", "variation": variation })]
        }
    };
    instructions.iter().filter_map(|instruction| asks_for(instruction).ok()).collect()
}
