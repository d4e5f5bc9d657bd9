//! When what a stream knows is kept in the guard's folder: soon after it has changed, not at every change, and beside
//! everything else. What the texts look like is said in `cache`.

use std::time::Duration;
use std::time::Instant;

use indexmap::IndexMap;
use jiff::Timestamp;

use crate::guard::cache::Seen;
use crate::guard::cache::state_text;
use crate::guard::folder::Keeper;
use crate::guard::keys::Digest;
use crate::guard::stream::content::Content;
use crate::guard::stream::flags::Flags;

/// How soon after the last time something is kept again.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// The same where there is much to be kept.
const KEEP_MUCH_EVERY: Duration = Duration::from_secs(20);

/// So many flags are much.
const MUCH: usize = 2_000;

/// How often it is noted that nothing has changed.
const SEEN_EVERY: Duration = Duration::from_secs(60);

/// What is to be kept, and what was when.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    changed: bool,
    kept: Option<Instant>,
    told: bool,
    seen: Option<Instant>,
}

/// The file of a stream's last state.
pub(super) fn state_file(id: &Digest) -> String {
    format!("{}.put", id.hex())
}

/// The file of what was seen last.
pub(super) fn seen_file(id: &Digest) -> String {
    format!("{}.seen", id.hex())
}

/// The file of an automatic configuration.
pub(super) fn sealed_file(id: &Digest) -> String {
    format!("{}.sealed", id.hex())
}

impl Keeping {
    /// LaunchDarkly said something that changes what is kept.
    pub(super) fn changed(&mut self) {
        self.changed = true;
    }

    /// The stores told something.
    pub(super) fn stores_told(&mut self) {
        self.told = true;
    }

    /// Keeps what is to be kept, if it is time.
    pub(super) fn keep(
        &mut self,
        content: &Content,
        is_up: bool,
        keeper: &Keeper,
        id: Digest,
        (now, at): (Instant, Timestamp),
    ) {
        let much = matches!(content, Content::Flags(flags) if flags.size() > MUCH);
        let every = if much { KEEP_MUCH_EVERY } else { KEEP_EVERY };
        let is_over = |then: Option<Instant>, every: Duration| {
            then.is_none_or(|then| now.saturating_duration_since(then) >= every)
        };
        if self.changed && is_over(self.kept, every) && state(content, keeper, id, at) {
            self.changed = false;
            self.kept = Some(now);
        }
        let Content::Flags(flags) = content else { return };
        let is_worth_it = is_up || flags.stores_heard();
        if (self.told || (is_worth_it && is_over(self.seen, SEEN_EVERY))) && seen(flags, is_up, keeper, id, at) {
            self.told = false;
            self.seen = Some(now);
        }
    }

    /// Keeps what is to be kept, now.
    pub(super) fn keep_now(
        &mut self,
        content: &Content,
        is_up: bool,
        keeper: &Keeper,
        id: Digest,
        (now, at): (Instant, Timestamp),
    ) {
        (self.kept, self.seen) = (None, None);
        self.keep(content, is_up, keeper, id, (now, at));
    }
}

/// Whether it will be kept.
fn state(content: &Content, keeper: &Keeper, id: Digest, at: Timestamp) -> bool {
    match content {
        Content::Flags(flags) => {
            let Some(last) = flags.last().cloned() else { return true };
            let place = content.place().cloned();
            let as_of = flags.as_of().unwrap_or(at);
            keeper.keep(state_file(&id), move || state_text(as_of, place.as_ref(), &last.to_put(&IndexMap::new())))
        }
        Content::Configuration(configuration) => match configuration.sealed() {
            Some(sealed) => keeper.keep(sealed_file(&id), move || sealed),
            None => true,
        },
    }
}

fn seen(flags: &Flags, is_up: bool, keeper: &Keeper, id: Digest, at: Timestamp) -> bool {
    let seen = Seen {
        stream: if is_up { Some(at) } else { flags.as_of() },
        stores: flags.stores_heard().then_some(at),
        overrides: flags.overrides().clone(),
    };
    keeper.keep(seen_file(&id), move || serde_json::to_vec(&seen).unwrap_or_default())
}
