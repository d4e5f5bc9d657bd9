//! Changing a flag: what a patch asks for, whether the caller may, what stands in its way, and what it does to versions
//! and the audit log. One way for everybody: API, colleagues in the dashboard, applied approvals.
//!
//! A change is made whole or not at all, and one that changes nothing leaves no trace.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use super::Account;
use super::Project;
use super::audit::Entry;
use super::flag::check;
use super::flag::complete_rule;
use super::flag::edit_list;
use super::flag::version;
use super::identity::BYPASS;
use super::identity::Caller;
use super::instruction::Bench;
use super::instruction::Reach;
use super::instruction::kind_of;
use super::json_patch;
use super::news::News;
use crate::drill::launchdarkly::answer::Problem;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    Semantic { environment: Option<&'a str>, instructions: &'a [Value] },
    Json(&'a [Value]),
    Delete,
}

/// A change of one flag.
#[derive(Debug, Clone, Copy)]
pub struct Patch<'a> {
    pub project: &'a str,
    pub flag: &'a str,
    pub change: Change<'a>,
    pub comment: &'a str,
    pub caller: &'a Caller,
    /// Validated in full, and not kept.
    pub dry_run: bool,
    /// Goes through although scheduled changes or approval requests will fail.
    pub ignore_conflicts: bool,
    /// It comes out of an approval request that was approved.
    pub approved: bool,
    pub now: i64,
}

/// What became of it.
#[derive(Debug)]
pub struct Patched {
    /// The flag afterwards (of a dry run: as it would be; deleted: as it was).
    pub flag: Arc<Value>,
}

/// What a change would do, before anybody is asked.
struct Plan {
    after: Value,
    /// Environment (none: the flag itself) and the action that a role must allow.
    actions: Vec<(Option<String>, &'static str)>,
    verb: &'static str,
    deleted: bool,
}

impl Account {
    /// Makes the change.
    pub fn patch(&mut self, patch: &Patch<'_>) -> Result<Patched, Problem> {
        let project = self.project(patch.project)?;
        let before = Arc::clone(project.flag(patch.flag)?);
        let mut plan = plan(project, &before, patch)?;
        permit(project, &before, patch, &plan)?;
        if !patch.ignore_conflicts {
            self.refuse_conflicts(patch, &plan)?;
        }
        if plan.deleted {
            return self.delete(patch, plan, before);
        }
        check(&plan.after)?;
        let changed = move_versions(&before, &mut plan.after, patch.now);
        let after = Arc::new(plan.after);
        if patch.dry_run || !changed {
            let flag = if patch.dry_run { after } else { before };
            return Ok(Patched { flag });
        }
        let environment = plan.actions.iter().find_map(|(environment, _)| environment.clone());
        let project = self.project_mut(patch.project)?;
        project.flags.insert(patch.flag.to_owned(), Arc::clone(&after));
        let place = project.place(&after, environment.as_deref());
        let mut entry = Entry::new(patch.now, place, distinct(&plan.actions), plan.verb, patch.caller.clone());
        entry.comment = patch.comment.to_owned();
        entry.before = Some(Arc::clone(&before));
        entry.after = Some(Arc::clone(&after));
        if let Change::Json(operations) = patch.change {
            entry.delta = Some(json!(operations));
        }
        self.audit.add(entry);
        self.tell(patch, Some(before), Some(Arc::clone(&after)));
        Ok(Patched { flag: after })
    }

    fn delete(&mut self, patch: &Patch<'_>, plan: Plan, before: Arc<Value>) -> Result<Patched, Problem> {
        if patch.dry_run {
            return Ok(Patched { flag: before });
        }
        let project = self.project_mut(patch.project)?;
        project.remove_flag(patch.flag);
        let place = project.place(&before, None);
        let mut entry = Entry::new(patch.now, place, distinct(&plan.actions), plan.verb, patch.caller.clone());
        entry.comment = patch.comment.to_owned();
        entry.before = Some(Arc::clone(&before));
        self.audit.add(entry);
        self.approvals.retain(|_, request| request.project != patch.project || request.flag != patch.flag);
        self.scheduled.retain(|one| one.project != patch.project || one.flag != patch.flag);
        self.tell(patch, Some(Arc::clone(&before)), None);
        Ok(Patched { flag: before })
    }

    fn tell(&mut self, patch: &Patch<'_>, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        let (project, key) = (patch.project.to_owned(), patch.flag.to_owned());
        self.news.push(News::Flag { project, key, before, after });
    }

    /// A scheduled change or a pending approval request that is about the same thing would fail: refused.
    fn refuse_conflicts(&self, patch: &Patch<'_>, plan: &Plan) -> Result<(), Problem> {
        let same = |environment: &str, instructions: &[Value]| {
            instructions.iter().filter_map(|instruction| kind_of(instruction).ok()).any(|kind| {
                plan.actions
                    .iter()
                    .any(|(place, action)| place.as_deref() == Some(environment) && *action == kind.action)
            })
        };
        let scheduled = self.scheduled.iter().any(|one| {
            one.project == patch.project && one.flag == patch.flag && same(&one.environment, &one.instructions)
        });
        if scheduled {
            return Err(Problem::invalid("the change would cause a pending scheduled change to fail"));
        }
        let requested = self.approvals.values().any(|one| {
            one.is_open()
                && one.project == patch.project
                && one.flag == patch.flag
                && same(&one.environment, &one.instructions)
        });
        if requested {
            return Err(Problem::invalid("the change would cause a pending approval request to fail"));
        }
        Ok(())
    }
}

fn distinct(actions: &[(Option<String>, &'static str)]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for (_, action) in actions {
        if !names.contains(action) {
            names.push(action);
        }
    }
    names
}

fn plan(project: &Project, before: &Value, patch: &Patch<'_>) -> Result<Plan, Problem> {
    let mut after = before.clone();
    match patch.change {
        Change::Delete => {
            Ok(Plan { after, actions: vec![(None, "deleteFlag")], verb: "deleted the flag", deleted: true })
        }
        Change::Json(operations) => {
            json_patch::apply(&mut after, operations)?;
            for (_, configuration) in after.get_mut("environments").and_then(Value::as_object_mut).into_iter().flatten()
            {
                if let Some(fields) = configuration.as_object_mut() {
                    edit_list(fields, "rules", |rules| rules.iter_mut().for_each(complete_rule));
                }
            }
            let actions = json_patch::actions(before, &after);
            Ok(Plan { after, actions, verb: "updated the flag", deleted: false })
        }
        Change::Semantic { environment, instructions } => {
            if instructions.is_empty() {
                return Err(Problem::invalid("Invalid request body: 'instructions' must not be empty"));
            }
            if let Some(key) = environment {
                project.environment(key)?;
            }
            let mut actions = Vec::new();
            let mut verbs = Vec::new();
            let mut bench = Bench { flag: &mut after, environment, flags: &project.flags, now: patch.now };
            for instruction in instructions {
                let kind = kind_of(instruction)?;
                bench.apply(instruction)?;
                let place = if kind.reach == Reach::Environment { environment.map(str::to_owned) } else { None };
                actions.push((place, kind.action));
                verbs.push(kind.verb);
            }
            let deleted = actions.iter().any(|(_, action)| *action == "deleteFlag");
            let verb = if let [verb] = verbs.as_slice() { verb } else { "updated the flag" };
            Ok(Plan { after, actions, verb, deleted })
        }
    }
}

/// The caller's role, then required approvals (of dry runs too).
fn permit(project: &Project, before: &Value, patch: &Patch<'_>, plan: &Plan) -> Result<(), Problem> {
    for (environment, action) in &plan.actions {
        let resource =
            format!("proj/{}:env/{}:flag/{}", project.key, environment.as_deref().unwrap_or("*"), patch.flag);
        if patch.approved {
            continue;
        }
        patch.caller.must(action, &resource)?;
        let Some(environment) = environment.as_ref().and_then(|key| project.environments.get(key)) else { continue };
        if environment.needs_approval(before) && !patch.caller.may(BYPASS, &resource) {
            return Err(Problem::approval_required(action));
        }
    }
    Ok(())
}

/// Counts versions up where something really changed: in every environment if the flag itself did. Says whether anything
/// did.
fn move_versions(before: &Value, after: &mut Value, now: i64) -> bool {
    let fields = before.as_object().into_iter().flatten().chain(after.as_object().into_iter().flatten());
    let flag_changed =
        fields.filter(|(name, _)| *name != "environments").any(|(name, _)| before.get(name) != after.get(name));
    if flag_changed {
        let number = after.get("_version").and_then(Value::as_u64).unwrap_or(0);
        after["_version"] = json!(number + 1);
    }
    let mut changed = flag_changed;
    for (environment, configuration) in
        after.get_mut("environments").and_then(Value::as_object_mut).into_iter().flatten()
    {
        let old = before.get("environments").and_then(|all| all.get(environment));
        if flag_changed || old != Some(&*configuration) {
            let number = version(before, environment) + 1;
            configuration["version"] = json!(number);
            configuration["lastModified"] = json!(now);
            changed = true;
        }
    }
    changed
}
