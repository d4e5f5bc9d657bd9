//! Approval requests for a flag's configuration: created, reviewed, applied. What they do to a flag is a patch like any
//! other. Must not know HTTP.

use serde_json::Value;
use serde_json::json;

use super::Account;
use super::flag::list;
use super::flag::text;
use super::identifier::fresh_object;
use super::identity::Caller;
use super::patch::Change;
use super::patch::Patch;
use super::patch::Patched;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::answer::link;

/// An approval request.
#[derive(Debug, Clone)]
pub struct ApprovalRequest {
    pub id: String,
    pub project: String,
    pub environment: String,
    pub flag: String,
    pub instructions: Vec<Value>,
    description: String,
    comment: String,
    notify: Vec<Value>,
    execution_date: Option<i64>,
    created: i64,
    version: u64,
    requestor: Caller,
    reviews: Vec<Value>,
    status: Status,
    applied: Option<(i64, Caller)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Pending,
    Completed,
    Failed,
}

/// Where a request belongs: project, flag, environment.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub project: &'a str,
    pub flag: &'a str,
    pub environment: &'a str,
}

impl Scope<'_> {
    fn resource(&self) -> String {
        format!("proj/{}:env/{}:flag/{}", self.project, self.environment, self.flag)
    }
}

impl ApprovalRequest {
    /// Neither carried out nor failed.
    pub fn is_open(&self) -> bool {
        self.status == Status::Pending
    }

    fn belongs(&self, scope: Scope<'_>) -> bool {
        self.project == scope.project && self.flag == scope.flag && self.environment == scope.environment
    }

    fn count(&self, kind: &str) -> usize {
        self.reviews.iter().filter(|review| text(review, "kind") == kind).count()
    }

    fn review_status(&self, needed: u64) -> &'static str {
        if self.count("decline") > 0 {
            "declined"
        } else if self.count("approve") as u64 >= needed.max(1) {
            "approved"
        } else {
            "pending"
        }
    }

    fn representation(&self, needed: u64) -> Value {
        let Self { project, flag, environment, id, .. } = self;
        let href = format!("/api/v2/projects/{project}/flags/{flag}/environments/{environment}/approval-requests");
        let status = match self.status {
            Status::Pending => "pending",
            Status::Completed => "completed",
            Status::Failed => "failed",
        };
        let mut shown = json!({
            "_id": id, "_version": self.version, "creationDate": self.created, "serviceKind": "launchdarkly",
            "requestorId": self.requestor.reviewer_id(), "description": self.description,
            "reviewStatus": self.review_status(needed), "allReviews": self.reviews, "notifyMemberIds": self.notify,
            "status": status, "instructions": self.instructions, "conflicts": [],
            "_links": {
                "self": link(format!("{href}/{id}")), "parent": link(&href),
                "apply": link(format!("{href}/{id}/apply")), "reviews": link(format!("{href}/{id}/reviews")),
                "site": { "href": format!("/approvals/{id}"), "type": "text/html" },
            },
        });
        if let Some(date) = self.execution_date {
            shown["executionDate"] = json!(date);
        }
        if let Some((date, caller)) = &self.applied {
            shown["appliedDate"] = json!(date);
            match caller {
                Caller::Token(token) if token.service => shown["appliedByServiceTokenId"] = json!(token.id),
                other => shown["appliedByMemberId"] = json!(other.member().id),
            }
        }
        shown
    }
}

impl Account {
    fn needed_approvals(&self, scope: Scope<'_>) -> u64 {
        let environment = self.project(scope.project).and_then(|project| project.environment(scope.environment));
        environment.map_or(1, |environment| environment.approval_number("minNumApprovals"))
    }

    fn known(&self, scope: Scope<'_>) -> Result<(), Problem> {
        let project = self.project(scope.project)?;
        project.flag(scope.flag)?;
        project.environment(scope.environment)?;
        Ok(())
    }

    /// The request as the API shows it.
    pub fn approval(&self, scope: Scope<'_>, id: &str) -> Result<Value, Problem> {
        let request = self.approvals.get(id).filter(|request| request.belongs(scope)).ok_or_else(Problem::not_found)?;
        Ok(request.representation(self.needed_approvals(scope)))
    }

    /// The requests of a flag in an environment.
    pub fn approvals_of(&self, scope: Scope<'_>) -> Result<Value, Problem> {
        self.known(scope)?;
        let needed = self.needed_approvals(scope);
        let requests = self.approvals.values().filter(|request| request.belongs(scope));
        let items: Vec<Value> = requests.map(|request| request.representation(needed)).collect();
        let Scope { project, flag, environment } = scope;
        let href = format!("/api/v2/projects/{project}/flags/{flag}/environments/{environment}/approval-requests");
        Ok(json!({ "items": items, "_links": { "self": link(href) } }))
    }

    /// Makes a request. Its instructions must be such that LaunchDarkly could carry them out now.
    pub fn request_approval(
        &mut self,
        scope: Scope<'_>,
        body: &Value,
        caller: &Caller,
        now: i64,
    ) -> Result<Value, Problem> {
        self.known(scope)?;
        caller.must("createApprovalRequest", &scope.resource())?;
        let description = text(body, "description");
        let instructions = list(body.get("instructions"));
        if description.is_empty() || instructions.is_empty() {
            return Err(Problem::invalid("Invalid request body: 'description' and 'instructions' are required"));
        }
        let trial = self.patch_of(scope, instructions, "", caller, now);
        self.patch(&Patch { dry_run: true, ..trial })?;
        let execution_date = body.get("executionDate").and_then(Value::as_i64);
        let request = ApprovalRequest {
            id: fresh_object(),
            project: scope.project.to_owned(),
            environment: scope.environment.to_owned(),
            flag: scope.flag.to_owned(),
            instructions: instructions.to_vec(),
            description: description.to_owned(),
            comment: text(body, "comment").to_owned(),
            notify: list(body.get("notifyMemberIds")).to_vec(),
            execution_date,
            created: now,
            version: 1,
            requestor: caller.clone(),
            reviews: Vec::new(),
            status: Status::Pending,
            applied: None,
        };
        let shown = request.representation(self.needed_approvals(scope));
        self.approvals.insert(request.id.clone(), request);
        Ok(shown)
    }

    /// `approve`, `decline` or `comment`. Answers with the request, applied already where it is to be at once.
    pub fn review(
        &mut self,
        scope: Scope<'_>,
        id: &str,
        body: &Value,
        caller: &Caller,
        now: i64,
    ) -> Result<Value, Problem> {
        self.approval(scope, id)?;
        caller.must("reviewApprovalRequest", &scope.resource())?;
        let kind = text(body, "kind");
        if !matches!(kind, "approve" | "decline" | "comment") {
            return Err(Problem::invalid("Invalid request body: 'kind' must be approve, decline or comment"));
        }
        let environment = self.project(scope.project)?.environment(scope.environment)?;
        let own_allowed = environment.approval_switch("canReviewOwnRequest");
        let apply_at_once = environment.approval_switch("autoApplyApprovedChanges");
        let needed = self.needed_approvals(scope);
        let request = self.approvals.get_mut(id).ok_or_else(Problem::not_found)?;
        if !request.is_open() {
            return Err(Problem::invalid("the approval request is already completed"));
        }
        if kind != "comment" && !own_allowed && request.requestor.reviewer_id() == caller.reviewer_id() {
            return Err(Problem::forbidden());
        }
        let mut review = json!({ "_id": fresh_object(), "kind": kind, "creationDate": now });
        match caller {
            Caller::Token(token) if token.service => review["serviceTokenId"] = json!(token.id),
            other => review["memberId"] = json!(other.member().id),
        }
        if !text(body, "comment").is_empty() {
            review["comment"] = json!(text(body, "comment"));
        }
        request.reviews.push(review);
        request.version += 1;
        if apply_at_once && kind == "approve" && request.review_status(needed) == "approved" {
            return self.carry_out(scope, id, "", caller, now).map(|(shown, _)| shown);
        }
        self.approval(scope, id)
    }

    /// Carries an approved request out.
    pub fn apply_approval(
        &mut self,
        scope: Scope<'_>,
        id: &str,
        comment: &str,
        caller: &Caller,
        now: i64,
    ) -> Result<(Value, Patched), Problem> {
        self.approval(scope, id)?;
        caller.must("applyApprovalRequest", &scope.resource())?;
        let declined_allowed =
            self.project(scope.project)?.environment(scope.environment)?.approval_switch("canApplyDeclinedChanges");
        let needed = self.needed_approvals(scope);
        let request = self.approvals.get(id).ok_or_else(Problem::not_found)?;
        if !request.is_open() {
            return Err(Problem::invalid("the approval request is already completed"));
        }
        match request.review_status(needed) {
            "approved" => {}
            "declined" if declined_allowed => {}
            status => return Err(Problem::invalid(format!("the approval request is {status}, not approved"))),
        }
        self.carry_out(scope, id, comment, caller, now)
    }

    fn carry_out(
        &mut self,
        scope: Scope<'_>,
        id: &str,
        comment: &str,
        caller: &Caller,
        now: i64,
    ) -> Result<(Value, Patched), Problem> {
        let request = self.approvals.get(id).ok_or_else(Problem::not_found)?;
        let (instructions, requested) = (request.instructions.clone(), request.comment.clone());
        let comment = if comment.is_empty() { requested.as_str() } else { comment };
        let patch = self.patch_of(scope, &instructions, comment, caller, now);
        let outcome = self.patch(&patch);
        let request = self.approvals.get_mut(id).ok_or_else(Problem::not_found)?;
        request.version += 1;
        match outcome {
            Ok(patched) => {
                request.status = Status::Completed;
                request.applied = Some((now, caller.clone()));
                Ok((self.approval(scope, id)?, patched))
            }
            Err(problem) => {
                request.status = Status::Failed;
                Err(problem)
            }
        }
    }

    fn patch_of<'a>(
        &self,
        scope: Scope<'a>,
        instructions: &'a [Value],
        comment: &'a str,
        caller: &'a Caller,
        now: i64,
    ) -> Patch<'a> {
        Patch {
            project: scope.project,
            flag: scope.flag,
            change: Change::Semantic { environment: Some(scope.environment), instructions },
            comment,
            caller,
            dry_run: false,
            ignore_conflicts: true,
            // Whoever may ask for, approve or apply a request need not be able to make the change himself.
            approved: true,
            now,
        }
    }
}
