//! Which relays stand before which target. Stores and relays are paired by label, else by the address that a relay names in
//! its status; then the prefix tells the environment. Pure.

use std::collections::BTreeSet;

use crate::change::target::Target;
use crate::relay::status::EnvironmentStatus;
use crate::relay::status::RelayStatus;

/// A store, as far as pairing goes.
#[derive(Debug, Clone)]
pub struct StorePlace {
    /// Its label.
    pub label: String,
    /// Host and port, in lower case, as `redis-a:6379`; several where it is known by several names.
    pub addresses: Vec<String>,
}

/// A relay, as far as pairing goes.
#[derive(Debug, Clone, Copy)]
pub struct RelayPlace<'a> {
    /// Its label.
    pub label: &'a str,
    /// What it says of itself, if it answered.
    pub status: Option<&'a RelayStatus>,
}

/// How a relay was found to belong to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PairedBy {
    /// Both have the same label.
    Label,
    /// The relay's status names the store's address.
    Address,
}

/// A relay that stands before a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving<'a> {
    /// The relay's label.
    pub relay: String,
    /// How it was found.
    pub by: PairedBy,
    /// The environment of the relay that has the target's prefix. `None` where the relay did not answer: it is then paired
    /// by label, and whether it serves this prefix is not known.
    pub environment: Option<&'a EnvironmentStatus>,
}

/// The relays before each of `targets`, in the same order. A relay whose label is a store's belongs to that store
/// whatever address it names: addresses look different from different places.
pub fn pair<'a>(targets: &[Target], stores: &[StorePlace], relays: &[RelayPlace<'a>]) -> Vec<Vec<Serving<'a>>> {
    let labels: BTreeSet<&str> = stores.iter().map(|store| store.label.as_str()).collect();
    targets
        .iter()
        .map(|target| {
            let addresses =
                stores.iter().find(|store| store.label == target.store).map(|store| store.addresses.as_slice());
            relays
                .iter()
                .flat_map(|relay| serving(target, addresses.unwrap_or_default(), relay, labels.contains(relay.label)))
                .collect()
        })
        .collect()
}

fn serving<'a>(
    target: &Target,
    addresses: &[String],
    relay: &RelayPlace<'a>,
    label_is_a_store: bool,
) -> Vec<Serving<'a>> {
    let by_label = relay.label == target.store;
    if label_is_a_store && !by_label {
        return Vec::new();
    }
    let by = if by_label { PairedBy::Label } else { PairedBy::Address };
    let of = |environment| Serving { relay: relay.label.to_owned(), by, environment };
    let Some(status) = relay.status else {
        return if by_label { vec![of(None)] } else { Vec::new() };
    };
    let here = |environment: &&EnvironmentStatus| {
        let store = &environment.store;
        let same_address =
            || store.address().is_some_and(|at| addresses.iter().any(|address| same_place(&at, address)));
        store.prefix.as_deref() == Some(target.prefix.as_str()) && (by_label || same_address())
    };
    status.environments.iter().filter(here).map(|environment| of(Some(environment))).collect()
}

/// Equal addresses; the names of this machine count as one.
fn same_place(one: &str, other: &str) -> bool {
    fn plain(address: &str) -> String {
        let address = address.to_lowercase();
        match address.rsplit_once(':') {
            Some(("localhost" | "127.0.0.1" | "[::1]", port)) => format!("localhost:{port}"),
            _ => address,
        }
    }
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    fn status(server: &str, prefixes: &[&str]) -> RelayStatus {
        let environments: serde_json::Map<String, Value> = prefixes
            .iter()
            .map(|prefix| {
                let store = json!({"database": "redis", "dbServer": server, "dbPrefix": prefix});
                (format!("env {prefix}"), json!({ "dataStoreStatus": store }))
            })
            .collect();
        RelayStatus::parse(json!({ "environments": environments }).to_string().as_bytes()).unwrap()
    }

    fn stores() -> Vec<StorePlace> {
        let store = |label: &str, address: &str| StorePlace { label: label.into(), addresses: vec![address.into()] };
        vec![store("eu-1", "redis-eu:6379"), store("us-1", "redis-us:6379"), store("here", "127.0.0.1:7000")]
    }

    fn shown(targets: &[(&str, &str)], relays: &[(&str, Option<&RelayStatus>)]) -> Vec<Vec<String>> {
        let targets: Vec<_> =
            targets.iter().map(|(store, prefix)| Target { store: (*store).into(), prefix: (*prefix).into() }).collect();
        let relays: Vec<_> = relays.iter().map(|(label, status)| RelayPlace { label, status: *status }).collect();
        let show = |serving: &Serving<'_>| {
            let environment = serving.environment.map_or("?", |environment| environment.key.as_str());
            format!("{} {:?} {environment}", serving.relay, serving.by)
        };
        pair(&targets, &stores(), &relays).iter().map(|all| all.iter().map(show).collect()).collect()
    }

    #[test]
    fn by_label_then_by_address() {
        let inside = status("redis://10.0.0.1:6379", &["p", "p/web"]);
        let us = status("redis://user:xxxxx@REDIS-US", &["p"]);
        let local = status("redis://localhost:7000", &["p"]);
        let relays = [("eu-1", Some(&inside)), ("relay-x", Some(&us)), ("relay-y", Some(&local)), ("us-1", None)];
        assert_eq!(
            shown(
                &[("eu-1", "p"), ("eu-1", "p/web"), ("us-1", "p"), ("here", "p"), ("here", "q"), ("nowhere", "p")],
                &relays
            ),
            [
                vec!["eu-1 Label env p"],
                vec!["eu-1 Label env p/web"],
                vec!["relay-x Address env p", "us-1 Label ?"],
                vec!["relay-y Address env p"],
                vec![],
                vec![],
            ]
        );
    }

    #[test]
    fn a_label_wins_over_an_address() {
        let points_at_us = status("redis://redis-us:6379", &["p"]);
        let found = shown(&[("eu-1", "p"), ("us-1", "p")], &[("eu-1", Some(&points_at_us))]);
        assert_eq!(found, [vec!["eu-1 Label env p"], vec![]]);
        assert_eq!(shown(&[("eu-1", "p")], &[("relay-z", None)]), [vec![""; 0]], "silent, and no label tells");
    }
}
