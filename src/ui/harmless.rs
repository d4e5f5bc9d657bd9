//! Foreign text made harmless. Reasons, names and keys come from stores, from LaunchDarkly and from colleagues; shown as
//! they are, they could move the cursor, recolour the terminal, retitle its window or reverse the reading direction of
//! the words around them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The longest piece of foreign text that [`excerpt`] lets through, in characters.
pub const EXCERPT_LENGTH_MAX: usize = 200;

/// Whether a character may be shown as it is.
fn is_harmless(character: char) -> bool {
    let reorders =
        matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // Nothing to see: two names that look the same and are not.
    let invisible = matches!(
        character,
        '\u{00ad}' | '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'..='\u{200d}'
            | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    );
    !character.is_control() && !reorders && !invisible
}

/// `text` on one line, with every control character, escape sequence, reordering mark and invisible character made
/// visible as `\n`, `\t` or `\u{1b}`.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if is_harmless(character) => shown.push(character),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
            }
        }
    }
    Cow::Owned(shown)
}

/// As [`harmless`], and no longer than [`EXCERPT_LENGTH_MAX`] characters; what was cut off is marked by `…`.
pub fn excerpt(text: &str) -> String {
    let mut characters = text.chars();
    let beginning: String = characters.by_ref().take(EXCERPT_LENGTH_MAX).collect();
    let end = if characters.next().is_some() { "…" } else { "" };
    format!("{}{end}", harmless(&beginning))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_text_is_left_alone() {
        let text = "Grüße, \"чек\" 東京 🎉 e\u{301}";
        assert!(matches!(harmless(text), Cow::Borrowed(shown) if shown == text));
    }

    #[test]
    fn bad_text_is_made_visible() {
        assert_eq!(harmless("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(harmless("a\r\nb\tc"), "a\\r\\nb\\tc");
        assert_eq!(harmless("user\u{202e}txt.exe"), "user\\u{202e}txt.exe");
        assert_eq!(harmless("\u{9b}31m\u{7f}\0"), "\\u{9b}31m\\u{7f}\\u{0}");
        assert_eq!(harmless("check\u{200b}out"), "check\\u{200b}out");
    }

    #[test]
    fn long_text_is_cut() {
        let shown = excerpt(&"x".repeat(1000));
        assert_eq!(shown.chars().count(), EXCERPT_LENGTH_MAX + 1);
        assert!(shown.ends_with('…'));
        assert_eq!(excerpt("short"), "short");
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_left(text in any::<String>()) {
            prop_assert!(harmless(&text).chars().all(is_harmless));
        }
    }
}
