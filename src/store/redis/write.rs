//! Which way writes take: by script, else by transaction; with our own keys, else the record alone. It goes down these
//! steps only for a missing right, never for anything else that went wrong.

use redis::ServerError;

use crate::change::recorded::Recorded;
use crate::change::target::Target;
use crate::store::StoreError;
use crate::store::WriteOutcome;
use crate::store::redis::RedisStore;
use crate::store::redis::batch::Prepared;
use crate::store::redis::batch::groups;
use crate::store::redis::examine;
use crate::store::redis::keys::Keys;
use crate::store::redis::refusal::Missing;
use crate::store::redis::refusal::missing;
use crate::store::redis::script;
use crate::store::redis::transaction;

/// The way that writes take on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    by_script: bool,
    own_keys: bool,
}

impl Way {
    /// The next way down, if `error` is a missing right that it does without.
    fn down(self, error: &ServerError) -> Option<Self> {
        if self.by_script && script::is_forbidden(error) {
            return Some(Self { by_script: false, ..self });
        }
        if self.own_keys && missing(error) == Some(Missing::Key) {
            return Some(Self { own_keys: false, ..self });
        }
        None
    }
}

/// What has come of the writes so far, in the order in which they were asked for.
type Outcomes = Vec<Option<WriteOutcome>>;

impl RedisStore {
    /// Does the writes for `target`, in order; see [`crate::store::Store::replace`].
    pub(super) async fn write(&self, target: &Target, recorded: &Recorded<'_>) -> Vec<WriteOutcome> {
        let writes = recorded.for_target(target);
        let keys = Keys::new(&target.prefix);
        let mut outcomes: Outcomes = vec![None; writes.len()];
        let mut prepared = Vec::with_capacity(writes.len());
        for (position, write) in writes.into_iter().enumerate() {
            match Prepared::new(position, write) {
                Ok(one) => prepared.push(one),
                Err(problem) => {
                    let address = self.shown_address();
                    outcomes[position] = Some(WriteOutcome::Failed(StoreError::Other { address, problem }));
                }
            }
        }
        self.write_groups(&keys, &prepared, &mut outcomes).await;
        let ended = |one: &&Prepared<'_>| {
            one.ends() && matches!(outcomes[one.position], Some(WriteOutcome::Written { colleagues_see: true }))
        };
        if let Some(newest) = prepared.iter().filter(ended).filter_map(newest_mark).max() {
            self.sweep_ended(&keys, newest).await;
        }
        let not_tried = || {
            WriteOutcome::Failed(StoreError::Other {
                address: self.shown_address(),
                problem: "not tried, because a write before it failed".to_owned(),
            })
        };
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(not_tried)).collect()
    }

    async fn write_groups(&self, keys: &Keys, prepared: &[Prepared<'_>], outcomes: &mut Outcomes) {
        let groups = groups(prepared);
        let mut way = Way { by_script: true, own_keys: true };
        let mut waiting: &[&[Prepared<'_>]] = &groups;
        while let Some(first) = waiting.first() {
            // One group alone finds out which way there is; what follows goes out together.
            let at_once = if waiting.len() == groups.len() { 1 } else { script::GROUPS_AT_ONCE.min(waiting.len()) };
            let (sent, left) = waiting.split_at(if way.by_script { at_once } else { 1 });
            let answers = match way.by_script {
                true => script::replace(&self.connections, keys, sent, way.own_keys).await,
                false => self.by_transaction(keys, first, way.own_keys).await.map(|answer| vec![answer]),
            };
            let answers = match answers {
                Ok(answers) => answers,
                // The server is gone: what was sent may be done, what was not sent is not.
                Err(error) => return self.lost(sent, left, &error, outcomes),
            };
            let mut next_way = None;
            for (group, answer) in sent.iter().zip(answers) {
                match answer {
                    Ok(answers) => note(group, answers, outcomes),
                    Err(error) => match way.down(&error) {
                        Some(down) if at_once == 1 || !way.by_script => next_way = Some(down),
                        _ => self.failed(keys, group, &error, outcomes).await,
                    },
                }
            }
            match next_way {
                Some(down) => way = down,
                None => waiting = left,
            }
        }
        if !way.own_keys {
            self.only_ours_is_forbidden(keys, prepared, outcomes);
        }
    }

    async fn by_transaction(
        &self,
        keys: &Keys,
        group: &[Prepared<'_>],
        own_keys: bool,
    ) -> Result<script::GroupAnswer, StoreError> {
        let mut connection = self.connections.dedicated().await?;
        transaction::replace(self, &mut connection, keys, group, own_keys).await
    }

    /// Nothing of this group was written, for one reason.
    async fn failed(&self, keys: &Keys, group: &[Prepared<'_>], error: &ServerError, outcomes: &mut Outcomes) {
        let mut refused = self.refused(error, "hset", Some(&keys.features)).await;
        if matches!(refused, StoreError::Forbidden { .. })
            && let Some(precise) = examine::first_missing_right(self, keys).await
        {
            refused = precise;
        }
        note(group, vec![WriteOutcome::Failed(refused); group.len()], outcomes);
    }

    fn lost(&self, sent: &[&[Prepared<'_>]], left: &[&[Prepared<'_>]], error: &StoreError, outcomes: &mut Outcomes) {
        for group in sent {
            note(group, vec![WriteOutcome::Failed(error.clone()); group.len()], outcomes);
        }
        let problem = match error {
            StoreError::Unknown { problem, .. } | StoreError::Unreachable { problem, .. } => problem.clone(),
            other => other.to_string(),
        };
        let unreachable = StoreError::Unreachable { address: self.shown_address(), problem };
        for group in left {
            note(group, vec![WriteOutcome::Failed(unreachable.clone()); group.len()], outcomes);
        }
    }

    /// A write of which nothing concerns the record was not done where our own keys are forbidden.
    fn only_ours_is_forbidden(&self, keys: &Keys, prepared: &[Prepared<'_>], outcomes: &mut Outcomes) {
        for one in prepared.iter().filter(|one| one.is_only_ours()) {
            if matches!(outcomes[one.position], Some(WriteOutcome::Written { .. })) {
                let address = self.shown_address();
                let user = self.connections.username();
                let asked = super::Asked { address: &address, user, command: "hset", key: Some(&keys.overrides) };
                outcomes[one.position] = Some(WriteOutcome::Failed(asked.forbidden(&Missing::Key)));
            }
        }
    }
}

fn note(group: &[Prepared<'_>], answers: Vec<WriteOutcome>, outcomes: &mut Outcomes) {
    for (one, answer) in group.iter().zip(answers) {
        outcomes[one.position] = Some(answer);
    }
}

fn newest_mark(one: &Prepared<'_>) -> Option<jiff::Timestamp> {
    use crate::change::recorded::OverrideWrite;
    match &one.write.override_after {
        OverrideWrite::End(marks) => marks.iter().map(|(_, mark)| mark.at).max(),
        _ => None,
    }
}
