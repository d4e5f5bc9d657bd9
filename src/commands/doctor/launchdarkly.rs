//! LaunchDarkly's API: does it answer, whose token is it, what may it do, who must agree. What a token may really do shows
//! only when it is done; here it is asked, and said whose word it is.

use super::finding::Findings;
use super::finding::Part;
use crate::commands::overview::EnvironmentView;
use crate::error::Failure;
use crate::launchdarkly::ApiError;
use crate::launchdarkly::Client;
use crate::launchdarkly::ClientOptions;
use crate::launchdarkly::Token;
use crate::launchdarkly::environment::ApprovalSettings;
use crate::launchdarkly::environment::RemoteEnvironment;
use crate::launchdarkly::identity::Reached;
use crate::launchdarkly::pacing::Patience;
use crate::settings::Settings;
use crate::store::Grade;
use crate::ui::harmless::excerpt;
use crate::ui::time;
use crate::ui::words::choice;
use crate::ui::words::count;

/// Clocks that differ by more are mentioned, in milliseconds.
const CLOCK_WRONG_MIN_MS: i64 = 2_000;

/// Looks at LaunchDarkly.
pub(super) async fn examine(settings: &Settings, views: &[EnvironmentView<'_>], findings: &mut Findings) {
    let Some(token) = &settings.launchdarkly.api_key else {
        let told = "LD_API_KEY is not set: changes can be made and recorded, and not be replayed";
        let way_out =
            "LD_API_KEY=api-... (or LD_API_KEY_FILE) in .env; role writer, or updateOn and the like".to_owned();
        findings.note(Part::LaunchDarkly, "api", "token", told, Some(way_out));
        return;
    };
    let client = Client::new(ClientOptions {
        base: settings.launchdarkly.api_url.clone(),
        deadline: settings.launchdarkly.timeout,
        patience: Patience::ONCE,
        ..ClientOptions::new(Token::new(token.expose()))
    });
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            findings.failure(Grade::Bad, Part::LaunchDarkly, "api", "address", &Failure::from(error));
            return;
        }
    };
    if !reach(&client, findings).await {
        return;
    }
    identity(&client, findings).await;
    for view in views {
        let name = view.environment.to_string();
        match client.environment(&view.environment).await {
            Ok(remote) => environment(&name, &remote, findings),
            Err(error) => findings.failure(Grade::Bad, Part::LaunchDarkly, &name, "", &Failure::from(error)),
        }
    }
}

/// Whether it answers and takes the token.
async fn reach(client: &Client, findings: &mut Findings) -> bool {
    let origin = client.origin();
    let reach = match client.reachable().await {
        Ok(reach) => reach,
        Err(error) => {
            findings.failure(Grade::Bad, Part::LaunchDarkly, &origin, "reach", &Failure::from(error));
            return false;
        }
    };
    if let Some(wrong) = reach.clock_wrong_by_ms.filter(|wrong| wrong.abs() >= CLOCK_WRONG_MIN_MS) {
        let side = if wrong > 0 { "ahead of" } else { "behind" };
        let by = time::duration(std::time::Duration::from_millis(wrong.unsigned_abs()));
        let told = format!("LaunchDarkly's is {by} {side} this machine's: times in records and comments will mislead");
        findings.note(Part::LaunchDarkly, &origin, "clock", told, Some("timedatectl set-ntp true".to_owned()));
    }
    match reach.answer {
        Reached::Answers => {
            findings.good(Part::LaunchDarkly, &origin, "reach", "answers, and takes the token");
            return true;
        }
        Reached::TokenRefused { status, told } => {
            let told = format!("answers, and refuses the token ({status}: {})", excerpt(&told));
            let way_out = "a valid access token in LD_API_KEY (not an SDK key)".to_owned();
            findings.bad(Part::LaunchDarkly, &origin, "token", told, Some(way_out));
        }
        Reached::Failing { problem } => {
            findings.bad(Part::LaunchDarkly, &origin, "reach", format!("failing: {}", excerpt(&problem)), None);
        }
        Reached::Unreachable { problem } => {
            let told = format!("no answer from here: {}", excerpt(&problem));
            let way_out = "an outage, or the way there: LD_API_URL, HTTPS_PROXY, the firewall".to_owned();
            findings.bad(Part::LaunchDarkly, &origin, "reach", told, Some(way_out));
        }
    }
    false
}

async fn identity(client: &Client, findings: &mut Findings) {
    let identity = match client.caller_identity().await {
        Ok(identity) => identity,
        Err(error) => {
            findings.failure(Grade::Notice, Part::LaunchDarkly, "token", "", &Failure::from(error));
            return;
        }
    };
    let name =
        identity.token_name.as_deref().map_or_else(|| "token".to_owned(), |name| format!("token {}", excerpt(name)));
    let Some(id) = &identity.token_id else {
        findings.note(Part::LaunchDarkly, &name, "role", "LaunchDarkly does not tell", None);
        return;
    };
    match client.token(id).await {
        Ok(described)
            if described.role.as_deref() == Some("reader")
                && described.custom_roles.is_empty()
                && !described.inline_role =>
        {
            let told = "reader, says LaunchDarkly: it can look and not change anything";
            findings.bad(
                Part::LaunchDarkly,
                &name,
                "role",
                told,
                Some("a token with role writer in LD_API_KEY".to_owned()),
            );
        }
        Ok(described) => {
            findings.good(
                Part::LaunchDarkly,
                &name,
                "role",
                format!("{}, says LaunchDarkly", excerpt(&described.in_words())),
            );
        }
        Err(ApiError::Forbidden { .. } | ApiError::NotFound { .. }) => {
            let told = "not told: the token may not read about tokens, which it need not";
            findings.note(Part::LaunchDarkly, &name, "role", told, None);
        }
        Err(error) => findings.failure(Grade::Notice, Part::LaunchDarkly, &name, "role", &Failure::from(error)),
    }
}

fn environment(name: &str, remote: &RemoteEnvironment, findings: &mut Findings) {
    let critical = if remote.critical { ", critical" } else { "" };
    findings.good(Part::LaunchDarkly, name, "", format!("can be read: {}{critical}", excerpt(&remote.name)));
    let Some(approval) =
        remote.approval.as_ref().filter(|approval| approval.required || !approval.required_tags.is_empty())
    else {
        findings.good(Part::LaunchDarkly, name, "approvals", "none needed");
        return;
    };
    let way_out = "rc replay --request-approval asks for them; whoever may agree should know".to_owned();
    findings.note(Part::LaunchDarkly, name, "approvals", in_words(approval), Some(way_out));
}

fn in_words(approval: &ApprovalSettings) -> String {
    let reviewers = count(usize::try_from(approval.min_approvals).unwrap_or(usize::MAX), "reviewer");
    let which = if approval.required_tags.is_empty() {
        "every change".to_owned()
    } else {
        format!("a change of a flag with tag {}", excerpt(&choice(&approval.required_tags)))
    };
    let own = if approval.can_review_own { ", who may be the one who asks" } else { "" };
    format!("{which} needs {reviewers}{own} ({})", excerpt(&approval.service))
}
