//! Who has the right to replay right now, as the stores say, for those who only look: `rc status` and `rc verify`. It reads
//! and never writes.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::SignedDuration;
use jiff::Timestamp;
use tokio::time::timeout;

use super::STORE_WITHIN;
use crate::change::lease::Lease;
use crate::change::target::Target;
use crate::commands::overview::EnvironmentView;
use crate::commands::survey;
use crate::commands::survey::Stores;
use crate::flag::key::Environment;
use crate::ui::harmless::harmless;
use crate::ui::time;

/// How long after its time a lease may stand before that is said: clocks differ.
const OVERDUE_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// Somebody who has the right to replay an environment.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Where that stands.
    pub target: Target,
    /// Who it is; `None` where this program does not understand it.
    pub lease: Option<Lease>,
}

/// Those who have it, by environment, as far as stores answer.
pub async fn look(stores: &Stores, views: &[EnvironmentView<'_>]) -> BTreeMap<Environment, Holder> {
    let all = views.iter().flat_map(|view| {
        let targets = view.targets.iter().flatten().filter(|target| target.reading.is_ok());
        targets.map(move |target| (&view.environment, &target.chosen.target))
    });
    let asked = all.filter_map(|(environment, target)| {
        let store = survey::store_of(stores, target)?;
        Some(async move {
            let text = timeout(STORE_WITHIN, store.lease(&target.prefix)).await.ok()?.ok()??;
            Some((environment.clone(), Holder { target: target.clone(), lease: Lease::parse(&text) }))
        })
    });
    let mut found = BTreeMap::new();
    for (environment, holder) in join_all(asked).await.into_iter().flatten() {
        found.entry(environment).or_insert(holder);
    }
    found
}

impl Holder {
    /// `anna on bastion (rc replay), since 02:14Z, at least until 02:15Z`.
    pub fn in_words(&self, now: Timestamp) -> String {
        let Some(lease) = &self.lease else {
            return format!("somebody, with a program that this one does not understand (in {})", self.target.store);
        };
        let Lease { actor, by, since, until, .. } = lease;
        let is_overdue = now > until.saturating_add(OVERDUE_AFTER).unwrap_or(Timestamp::MAX);
        let until = match is_overdue {
            true => format!(
                "and was to be renewed by {}, which did not happen: if it stays, rc doctor says how it ends",
                time::short(*until, now)
            ),
            false => format!("at least until {}", time::clock(*until)),
        };
        let (user, host, by) = (harmless(&actor.user), harmless(&actor.host), harmless(by));
        format!("{user} on {host} ({by}), since {}, {until}", time::short(*since, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::id::Actor;
    use crate::change::lease::LEASE_FORMAT;

    #[test]
    fn what_is_said_of_a_holder() {
        let since: Timestamp = "2026-11-23T02:14:07Z".parse().unwrap();
        let lease = Lease {
            token: "t".to_owned(),
            format: LEASE_FORMAT,
            actor: Actor { user: "anna".to_owned(), host: "bastion".to_owned() },
            by: "rc replay".to_owned(),
            since,
            until: since + SignedDuration::from_secs(90),
            home: None,
        };
        let target = Target { store: "eu-1".to_owned(), prefix: "p".to_owned() };
        let holder = Holder { target, lease: Some(lease) };
        let said = |seconds| holder.in_words(since + SignedDuration::from_secs(seconds));
        assert_eq!(said(30), "anna on bastion (rc replay), since 02:14Z, at least until 02:15:37Z");
        assert!(said(149).contains("at least until"), "clocks differ");
        assert!(said(151).contains("rc doctor"), "{}", said(151));
        let strange = Holder { lease: None, ..holder };
        assert!(strange.in_words(since).contains("in eu-1"));
    }
}
