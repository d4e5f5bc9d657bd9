//! Counts and lists in words, in one place: `1 host`, `2 hosts`, `a, b and c`.

/// `1 host`, `2 hosts`, `0 hosts`. `noun` is the singular of a word whose plural takes an s (or `ies` for a y after a
/// consonant, or `es` after a hissing sound); numbers from 10,000 are grouped.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{} {}", grouped(number), plural(noun)) }
}

fn plural(noun: &str) -> String {
    if let Some(stem) = noun.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'i', 'o', 'u'])
    {
        return format!("{stem}ies");
    }
    if noun.ends_with(['s', 'x', 'z']) || noun.ends_with("ch") || noun.ends_with("sh") {
        return format!("{noun}es");
    }
    format!("{noun}s")
}

fn grouped(number: usize) -> String {
    let digits = number.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `a`, `a and b`, `a, b and c`.
pub fn list<Item: AsRef<str>>(items: &[Item]) -> String {
    joined(items, "and")
}

/// `a`, `a or b`, `a, b or c`.
pub fn choice<Item: AsRef<str>>(items: &[Item]) -> String {
    joined(items, "or")
}

fn joined<Item: AsRef<str>>(items: &[Item], word: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} {word} {}", first.join(", "), last.as_ref())
        }
    }
}

/// As [`list`], but at most `limit` items and then how many more: `a, b and 3 more`.
pub fn list_some<Item: AsRef<str>>(items: &[Item], limit: usize) -> String {
    if items.len() <= limit {
        return list(items);
    }
    let mut shown: Vec<String> = items.iter().take(limit).map(|item| item.as_ref().to_owned()).collect();
    shown.push(format!("{} more", grouped(items.len() - limit)));
    list(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        #[track_caller]
        fn case(number: usize, noun: &str, expected: &str) {
            assert_eq!(count(number, noun), expected);
        }
        case(0, "host", "0 hosts");
        case(1, "host", "1 host");
        case(2, "host", "2 hosts");
        case(2, "copy", "2 copies");
        case(2, "day", "2 days");
        case(2, "patch", "2 patches");
        case(2, "prefix", "2 prefixes");
        case(3012, "flag", "3012 flags");
        case(20_000, "flag", "20,000 flags");
        case(1_234_567, "flag", "1,234,567 flags");
    }

    #[test]
    fn lists() {
        assert_eq!(list::<&str>(&[]), "");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b"]), "a and b");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(choice(&["a", "b", "c"]), "a, b or c");
        assert_eq!(list_some(&["a", "b", "c"], 3), "a, b and c");
        assert_eq!(list_some(&["a", "b", "c", "d"], 2), "a, b and 2 more");
    }
}
