//! `docs/facts.md`, held against these tests: what it names is there, in the versions that it names. It needs no parts.

use libtest_mimic::Trial;

use crate::parts::trial;

const FACTS: &str = include_str!("../../docs/facts.md");
const LOCKS: [&str; 3] =
    [include_str!("go/go.mod"), include_str!("node/package.json"), include_str!("python/requirements.in")];

/// `others`: the names of all other tests.
pub fn trials(others: Vec<String>) -> Vec<Trial> {
    vec![
        trial("facts::every_test_is_there", &[], move || every_test_is_there(&others)),
        trial("facts::every_version_is_locked", &[], every_version_is_locked),
    ]
}

fn every_test_is_there(others: &[String]) {
    let code = FACTS.split('`').skip(1).step_by(2);
    let named: Vec<&str> = code.filter(|code| code.contains("::")).collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let begin = name.trim_end_matches('*');
        assert!(others.iter().any(|other| other.starts_with(begin)), "{name} is no test");
    }
}

fn every_version_is_locked() {
    let locks = LOCKS.concat();
    let versions: Vec<&str> = FACTS
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .map(|word| word.trim_matches('.'))
        .filter(|word| word.matches('.').count() == 2)
        .collect();
    assert!(versions.len() > 6, "{versions:?}");
    for version in versions {
        // The relay is no package: what it is made of is in go.mod, with its own version in words.
        assert!(locks.contains(version), "{version} is in no lock file");
    }
}
