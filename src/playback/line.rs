//! One line of a playback file: a JSON object whose first field is a sum over all before it. PURE. It knows how lines
//! hang together and not what they say.
//!
//! A line is `{"sum":"<64 hex digits>",<rest>` and a newline. The sum is the SHA-256 of the previous line's 64 digits
//! (nothing for the first line) followed by `<rest>`, which is everything after the first comma up to the newline. So
//! the sum of each line stands for the whole file up to there, and a shell can check it: see `README.md`.

use std::fmt;

use sha2::Digest;
use sha2::Sha256;

/// The longest line, newline included, in bytes: a batch of some thousand edits with their records is one line.
pub(super) const LINE_LENGTH_MAX: usize = 256 * 1024 * 1024;

const HEAD: &str = "{\"sum\":\"";
const BETWEEN: &str = "\",";
const SUM_LENGTH: usize = 64;

/// The sum of a line: 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sum(String);

impl Sum {
    fn over(previous: Option<&Sum>, rest: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        if let Some(Sum(digits)) = previous {
            hasher.update(digits.as_bytes());
        }
        hasher.update(rest);
        let digits = b"0123456789abcdef";
        let mut text = String::with_capacity(SUM_LENGTH);
        for byte in hasher.finalize() {
            text.push(char::from(digits[usize::from(byte >> 4)]));
            text.push(char::from(digits[usize::from(byte & 15)]));
        }
        Self(text)
    }
}

/// Why a line is not one that follows the line before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineProblem {
    /// It does not begin with a sum.
    NoSum,
    /// The sum is another: this line, or the sum of the line before it, is not what was written.
    OtherSum,
    /// More than [`LINE_LENGTH_MAX`].
    TooLong,
}

impl fmt::Display for LineProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            LineProblem::NoSum => "it does not begin with a sum",
            LineProblem::OtherSum => "it does not match its sum",
            LineProblem::TooLong => "it is too long",
        })
    }
}

/// Makes a line of `payload`, a JSON object with at least one field, to follow the line whose sum is `previous`.
/// The newline is included.
pub(super) fn seal(previous: Option<&Sum>, payload: &str) -> (String, Sum) {
    let rest = payload.strip_prefix('{').unwrap_or(payload);
    let sum = Sum::over(previous, rest.as_bytes());
    let mut line = String::with_capacity(HEAD.len() + SUM_LENGTH + BETWEEN.len() + rest.len() + 1);
    for part in [HEAD, &sum.0, BETWEEN, rest, "\n"] {
        line.push_str(part);
    }
    (line, sum)
}

/// Checks a line (without its newline) against the sum of the line before it, and gives back its payload.
pub(super) fn unseal(previous: Option<&Sum>, line: &[u8]) -> Result<(String, Sum), LineProblem> {
    let (rest, sum) = check(previous, line)?;
    // What was summed up was text when it was written, so this fails only for a forged line.
    let rest = std::str::from_utf8(rest).map_err(|_| LineProblem::OtherSum)?;
    Ok((format!("{{{rest}"), sum))
}

/// As [`unseal`], for whoever wants to know only whether it is what was written: what was summed up, and the sum.
pub(super) fn check<'l>(previous: Option<&Sum>, line: &'l [u8]) -> Result<(&'l [u8], Sum), LineProblem> {
    if line.len() >= LINE_LENGTH_MAX {
        return Err(LineProblem::TooLong);
    }
    let (digits, rest) = line
        .strip_prefix(HEAD.as_bytes())
        .and_then(|after| after.split_at_checked(SUM_LENGTH))
        .and_then(|(digits, after)| Some((digits, after.strip_prefix(BETWEEN.as_bytes())?)))
        .ok_or(LineProblem::NoSum)?;
    let sum = Sum::over(previous, rest);
    if sum.0.as_bytes() != digits {
        return Err(LineProblem::OtherSum);
    }
    Ok((rest, sum))
}
