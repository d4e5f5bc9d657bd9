//! The keys with which overrides are signed, from the file that the settings name; and how an override stands to them, in
//! words. It must not know what is done about one that is not signed.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::change::override_::Override;
use crate::change::signing::Keys;
use crate::change::signing::Signed;
use crate::error::Failure;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::settings::Settings;
use crate::ui::output::Output;

/// The longest file of keys, in bytes.
const LENGTH_MAX: u64 = 64 * 1024;

/// How old the newest edit of an override may be where nobody looks at what is sent. Who writes a store can put back what was
/// signed once and has ended; so what was signed does not stay good for ever.
const GOOD_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a key file is made with.
const MADE_WITH: &str = "openssl rand -hex 32";

/// The keys; `None` where no file is named.
///
/// # Errors
/// The file cannot be read, others could have read or written it, or it holds no key that is long enough. The way out is
/// told. Then no key of it is used.
pub fn keys(settings: &Settings) -> Result<Option<Keys>, Failure> {
    settings.signing_key_file.as_deref().map(read).transpose()
}

/// The keys. A file that cannot be used is told, and nothing more: what is not signed is less than what is, and a switch is
/// not held up by it.
pub fn keys_or_told(settings: &Settings, output: &Output, then: &str) -> Option<Keys> {
    or_told(keys(settings), output, then)
}

/// As [`keys_or_told`], for what [`keys`] gave.
pub fn or_told(keys: Result<Option<Keys>, Failure>, output: &Output, then: &str) -> Option<Keys> {
    keys.unwrap_or_else(|failure| {
        let hints = failure.hints.join("  ");
        output.warn(&format!("{}; {then}. {hints}", failure.message));
        None
    })
}

fn read(path: &Path) -> Result<Keys, Failure> {
    let shown = path.display();
    let failed = |problem: &str, way_out: String| {
        Failure::usage(format!("the signing key file (RC_SIGNING_KEY_FILE) {shown} {problem}")).hint(way_out)
    };
    let make = || format!("To make one:  (umask 077; {MADE_WITH} > {shown})   and give it to everybody who signs");
    let unreadable = |error: std::io::Error| failed(&format!("cannot be read: {error}"), make());
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(failed("is no file", make()));
    }
    let mode = metadata.mode() & 0o7777;
    // Its group may read it: a guard has an account of its own, and a mounted secret belongs to a group.
    if mode & 0o027 != 0 {
        let who = if mode & 0o020 != 0 && mode & 0o007 == 0 {
            "its group can write it"
        } else {
            "everybody on this machine can get at it"
        };
        let problem = format!("has mode {mode:04o}: {who}, so what it signs proves nothing");
        return Err(failed(&problem, format!("chmod 600 {shown}   and make a new key, if others may have read it")));
    }
    let mut text = String::new();
    file.take(LENGTH_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > LENGTH_MAX {
        return Err(failed("is longer than 64 KiB, which no file of keys is", make()));
    }
    Keys::parse(&text).map_err(|error| failed(&error.to_string(), make()))
}

/// Whether the keys that are known here vouch for an override.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Vouched {
    /// There are no keys here, or it is not from a store.
    #[default]
    Unasked,
    /// They do.
    For,
    /// They do not: why, in words.
    Not(&'static str),
}

impl Vouched {
    /// What the keys say about an override of this flag.
    pub fn by(keys: Option<&Keys>, override_: &Override, environment: &Environment, flag: &FlagKey) -> Self {
        match keys.map(|keys| keys.verify(override_, environment, flag)) {
            None => Vouched::Unasked,
            Some(Signed::Yes) => Vouched::For,
            Some(Signed::No) => Vouched::Not("it has no signature"),
            Some(Signed::Otherwise) => Vouched::Not("its signature is not of your key, or it was changed since"),
        }
    }

    /// The same, where nobody looks at what is sent: then what was signed long ago is doubtful, too.
    #[must_use]
    pub fn unattended(self, override_: &Override, now: Timestamp) -> Self {
        let made = override_.change().and_then(|change| change.made_at_ms());
        let now = u64::try_from(now.as_millisecond()).unwrap_or(u64::MAX);
        let age = now.saturating_sub(made.unwrap_or_default());
        match self {
            Vouched::For if u128::from(age) > GOOD_FOR.as_millis() => {
                Vouched::Not("it was signed more than 7 days ago")
            }
            vouched => vouched,
        }
    }

    /// Why they do not.
    pub fn doubt(self) -> Option<&'static str> {
        match self {
            Vouched::Not(why) => Some(why),
            Vouched::For | Vouched::Unasked => None,
        }
    }

    /// Whether they do, as JSON has it.
    pub fn is_signed(self) -> Option<bool> {
        match self {
            Vouched::Unasked => None,
            Vouched::For => Some(true),
            Vouched::Not(_) => Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::change::sample;
    use crate::flag::instruction::Instruction;

    const KEY: &str = "5f0c9bd2a1e84b7c8a3d6e90f1b2c3d45f0c9bd2a1e84b7c8a3d6e90f1b2c3d4";

    fn refusal(text: &str, mode: u32) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        match read(&path) {
            Ok(keys) => format!("{keys:?}"),
            Err(failure) => {
                assert!(!failure.to_string().contains(KEY));
                format!("{} / {}", failure.message, failure.hints.join(" "))
            }
        }
    }

    #[test]
    fn what_a_key_file_must_be() {
        assert_eq!(refusal(KEY, 0o600), "Keys(1 + 0)");
        assert_eq!(refusal(&format!("# of 2026\n{KEY}\n\n {KEY}x \r\n"), 0o440), "Keys(1 + 1)");
        assert!(refusal(KEY, 0o644).contains("mode 0644: everybody on this machine can get at it"));
        assert!(refusal(KEY, 0o620).contains("its group can write it"));
        assert!(refusal(KEY, 0o602).contains("/ chmod 600 "));
        assert!(refusal("", 0o600).contains("holds no key / To make one:  (umask 077; openssl rand -hex 32 > "));
        assert!(refusal("\n  \n# nothing but words that are long enough to be one\n", 0o600).contains("holds no key"));
        assert!(refusal(&format!("{KEY}\n{}", &KEY[..31]), 0o600).contains("line 2 is shorter than a key may be (32"));
        assert!(refusal(&format!("{KEY} {KEY}"), 0o600).contains("line 1 has spaces in it"));
        assert!(refusal(&format!("{KEY}\n").repeat(17), 0o600).contains("holds more than 16 keys"));
        assert!(refusal(&"x".repeat(65 * 1024), 0o600).contains("longer than 64 KiB"));
        assert!(read(Path::new("/nowhere/key")).unwrap_err().message.contains("/nowhere/key cannot be read: No such"));
        assert!(read(Path::new("/")).unwrap_err().message.contains("is no file"));
    }

    #[test]
    fn what_was_signed_long_ago_is_for_a_person() {
        let keys = Keys::parse(KEY).unwrap();
        let base = sample::flag(42, true, 1, 0);
        let own = keys.sign(sample::override_of(&base, &[Instruction::TurnFlagOff], sample::change(1)));
        let (environment, flag) = (own.environment.clone(), own.flag.clone());
        let made = i64::try_from(sample::change(1).made_at_ms().unwrap()).unwrap();
        let after = |days: i64| Timestamp::from_millisecond(made + days * 86_400_000).unwrap();
        let vouched = Vouched::by(Some(&keys), &own, &environment, &flag);
        assert_eq!(vouched, Vouched::For);
        let later = |days: i64| vouched.unattended(&own, after(days));
        assert_eq!([later(0), later(7), later(-1)], [Vouched::For; 3]);
        assert_eq!(later(8).doubt(), Some("it was signed more than 7 days ago"));
        let unsigned = sample::override_of(&base, &[Instruction::TurnFlagOff], sample::change(1));
        let vouched = Vouched::by(Some(&keys), &unsigned, &environment, &flag).unattended(&unsigned, after(8));
        assert_eq!((vouched.doubt(), vouched.is_signed()), (Some("it has no signature"), Some(false)));
        assert_eq!(Vouched::by(None, &own, &environment, &flag).is_signed(), None);
    }
}
