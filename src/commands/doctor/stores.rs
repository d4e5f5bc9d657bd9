//! The stores: what each says of itself, and whether all that we do is permitted there.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::finding::Findings;
use super::finding::Part;
use super::known;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::store::Grade;

/// Looks at every store, all at once. Whether any store answered at all.
pub(super) async fn examine(
    surroundings: &Surroundings,
    views: &[EnvironmentView<'_>],
    findings: &mut Findings,
) -> bool {
    let prefixes: Vec<Vec<String>> =
        surroundings.stores.iter().map(|store| prefixes(surroundings, views, store.label())).collect();
    let found =
        join_all(surroundings.stores.iter().zip(&prefixes).map(|(store, prefixes)| store.examine(prefixes))).await;
    for (store, found) in surroundings.stores.iter().zip(found) {
        for one in found {
            let address = "is it up, and is its address right as seen from here? The settings name it as ";
            let silent = one.grade == Grade::Bad && one.subject == "reach";
            let way_out = one.way_out.or_else(|| silent.then(|| format!("{address}{}", store.address())));
            findings.add(one.grade, Part::Stores, store.label(), &one.subject, one.told, way_out);
        }
        if let Some(Err(error)) = surroundings.prefixes.get(store.label()) {
            // Told by the examination already where the store did not answer at all.
            if !is_silence(error) {
                findings.note(Part::Stores, store.label(), "prefixes", error.to_string(), None);
            }
        }
    }
    let answered = |label: &str| match surroundings.prefixes.get(label) {
        Some(Err(error)) => !is_silence(error),
        _ => true,
    };
    surroundings.stores.iter().any(|store| answered(store.label()))
}

/// Whether a store did not answer at all.
pub(super) fn is_silence(error: &crate::store::StoreError) -> bool {
    matches!(error, crate::store::StoreError::Unreachable { .. } | crate::store::StoreError::Unknown { .. })
}

/// The prefixes of a store whose rights matter: those of known environments, else all that there are.
fn prefixes(surroundings: &Surroundings, views: &[EnvironmentView<'_>], label: &str) -> Vec<String> {
    let named: BTreeSet<String> = known(views)
        .map(|(_, target)| &target.chosen.target)
        .filter(|target| target.store == label)
        .map(|target| target.prefix.clone())
        .collect();
    if !named.is_empty() {
        return named.into_iter().collect();
    }
    match surroundings.prefixes.get(label) {
        Some(Ok(found)) => found.iter().map(|found| found.prefix.clone()).collect(),
        _ => Vec::new(),
    }
}
