//! The nearest names to one that does not exist, for "did you mean".

/// The most names that are offered.
pub const NEAREST_COUNT_MAX: usize = 3;

/// The names nearest to `wanted`, best first, at most [`NEAREST_COUNT_MAX`]; none that is not near. Near is: a few
/// letters wrong, missing, too many or swapped, another case or other separators, or one name within the other.
pub fn nearest<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let wanted = folded(wanted);
    let errors_max = (wanted.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let candidate = folded(name);
            // A name within the other comes after names that are merely misspelt.
            let contained = wanted.len() >= 3 && (candidate.contains(&wanted) || wanted.contains(&candidate));
            let difference = candidate.len().abs_diff(wanted.len());
            // Cheap before dear: the distance of two names is at least the difference of their lengths.
            let errors = if difference > errors_max { usize::MAX } else { strsim::osa_distance(&wanted, &candidate) };
            match errors {
                errors if errors <= errors_max => Some((errors, name)),
                _ if contained && candidate.len() >= 3 => Some((1_000 + difference, name)),
                _ => None,
            }
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(NEAREST_COUNT_MAX).map(|(_, name)| name).collect()
}

fn folded(name: &str) -> String {
    name.chars().filter(|letter| !matches!(letter, '-' | '_' | '.' | ' ')).flat_map(char::to_lowercase).collect()
}

/// `; did you mean a or b?`, or nothing where no name is near.
pub fn did_you_mean<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let near = nearest(wanted, names);
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", super::words::choice(&near)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] = ["checkout", "checkout-v2", "search", "new-tax", "express_pay", "x"];

    #[track_caller]
    fn case(wanted: &str, expected: &[&str]) {
        assert_eq!(nearest(wanted, NAMES), expected, "{wanted}");
    }

    #[test]
    fn misspelt() {
        case("chekcout", &["checkout"]);
        case("checkout_v2", &["checkout-v2", "checkout"]);
        case("CHECKOUT", &["checkout", "checkout-v2"]);
        case("expresspay", &["express_pay"]);
        case("tax", &["new-tax"]);
        case("zzzzzz", &[]);
        case("", &["x"]);
    }

    #[test]
    fn asked() {
        assert_eq!(did_you_mean("serach", NAMES), "; did you mean search?");
        assert_eq!(did_you_mean("zzzz", NAMES), "");
    }
}
