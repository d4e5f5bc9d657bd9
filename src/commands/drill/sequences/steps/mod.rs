//! What can happen in a sequence: who takes part, who types what, what colleagues do in LaunchDarkly, and what goes wrong.
//! PURE data. It must not know how any of it is done; the words for people are in `words`, the dice in `generator`.

pub mod generator;
mod words;

/// A flag of the sequences' account.
#[derive(Debug)]
pub struct Flag {
    /// Its key.
    pub key: &'static str,
    /// Its values as JSON, in order.
    pub values: &'static [&'static str],
    /// LaunchDarkly's version of it at the beginning.
    pub version: u64,
    /// Whether LaunchDarkly wants an approval for its changes.
    pub needs_approval: bool,
}

/// The flags, of which a sequence uses the first one, two or three. All begin on.
pub const FLAGS: [Flag; 3] = [
    Flag { key: "checkout", values: &["true", "false"], version: 42, needs_approval: false },
    Flag { key: "tier", values: &["\"gold\"", "\"silver\"", "\"bronze\""], version: 30, needs_approval: false },
    Flag { key: "refunds", values: &["true", "false"], version: 5, needs_approval: true },
];

/// The operators, of whom a sequence has two to four.
pub const OPERATORS: [&str; 4] = ["anna", "bob", "cleo", "dan"];

/// The labels of the stores, of which a sequence has one to three.
pub const STORES: [&str; 3] = ["eu", "us", "ap"];

/// Who takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    /// How many of [`STORES`].
    pub stores: usize,
    /// The home of each of [`OPERATORS`] who takes part, by number; two may share one.
    pub homes: Vec<usize>,
    /// The store of each relay; two may share one.
    pub relays: Vec<usize>,
    /// How many of [`FLAGS`].
    pub flags: usize,
}

impl Cast {
    /// How many homes there are.
    pub fn home_count(&self) -> usize {
        self.homes.iter().max().map_or(0, |last| last + 1)
    }
}

/// A whole sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// What it was made from.
    pub seed: u64,
    /// Who takes part.
    pub cast: Cast,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// How conflicts are decided once all outages are over.
    pub last_word: OnConflict,
    /// Whether the reviewers agree to what is asked for at the end.
    pub agreed_to: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its place in the story that the seed gives, counted from 1: it keeps it when others are left out.
    pub number: usize,
    /// What happens.
    pub what: What,
}

/// What happens in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An operator types a command.
    Typed(Typed),
    /// Something else.
    Event(Event),
}

/// A command, and what happens while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// Who, by number.
    pub who: usize,
    /// What.
    pub verb: Verb,
    /// What happens meanwhile, in the order of the moments.
    pub meanwhile: Vec<Meanwhile>,
}

/// Something that happens while a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meanwhile {
    /// When: at the command's so many-th sight of the world, counted from 1. Each message to a store or to LaunchDarkly
    /// has two of them: before it goes out, and when its answer is there but not read yet.
    pub at: u16,
    /// What.
    pub what: Interjection,
}

/// What can happen while a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interjection {
    /// The process is killed.
    Killed,
    /// The connection that it is using breaks.
    Cut,
    /// Something else happens.
    Event(Event),
    /// Somebody types another command, which runs to its end.
    Typed(Box<Typed>),
}

/// What becomes of a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// The override is sent.
    Override,
    /// LaunchDarkly's word counts.
    LaunchDarkly,
    /// It stays owed.
    Skip,
}

/// What a flag is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// On.
    On,
    /// Off.
    Off,
    /// Everybody gets this variation, by number.
    Serve(usize),
    /// The default rule serves this variation, by number. Only in a batch.
    Fallthrough(usize),
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// `rc update` of some flags, all alike.
    Update {
        /// By number.
        flags: Vec<usize>,
        /// What they are to do.
        wish: Wish,
        /// With `--record`.
        record: bool,
        /// With `--despite-differences`.
        despite_differences: bool,
    },
    /// `rc update --from` a file.
    Batch(Vec<(usize, Wish)>),
    /// `rc update --resume`.
    Resume,
    /// `rc undo` of a flag.
    Undo {
        /// By number.
        flag: usize,
        /// With `--yes`: a colleague's as well.
        yes: bool,
    },
    /// `rc replay`.
    Replay {
        /// Only of these; none: of all.
        flags: Vec<usize>,
        /// `--on-conflict`.
        on_conflict: Option<OnConflict>,
        /// With `--request-approval`.
        request_approval: bool,
        /// With `--dry-run`.
        dry_run: bool,
    },
    /// `rc verify`.
    Verify,
    /// `rc status`.
    Status,
}

/// What happens without anybody typing a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// LaunchDarkly's API cannot be reached by anybody.
    ApiAway,
    /// It answers its next requests with an error.
    ApiFails {
        /// The status.
        status: u16,
        /// How many requests.
        times: u32,
    },
    /// It carries out its next patches, and the answers get lost.
    AnswersLost {
        /// How many patches.
        times: u32,
    },
    /// It answers slowly.
    ApiSlow,
    /// It takes only a few requests at a time.
    ApiLimited,
    /// It is as it should be again.
    ApiBack,
    /// LaunchDarkly's stream ends for all relays.
    StreamAway,
    /// It is back, and begins with everything.
    StreamBack,
    /// A relay loses LaunchDarkly's stream.
    RelayCut(usize),
    /// It has it again.
    RelayJoined(usize),
    /// How fast a relay writes into its store what the stream sends.
    RelayPace(usize, Pace),
    /// A relay writes what it has not written yet.
    RelayCatchesUp(usize),
    /// A relay starts anew.
    RelayRestarted(usize),
    /// A store's server is down.
    StoreDown(usize),
    /// It is up again, with what it held.
    StoreUp(usize),
    /// A home does not reach a store.
    Parted {
        /// By number.
        home: usize,
        /// By number.
        store: usize,
    },
    /// A home does not reach LaunchDarkly.
    PartedFromLaunchDarkly(usize),
    /// A home reaches everything again.
    Healed(usize),
    /// A store fails over to a replica that lags: it holds what it held some steps ago.
    Failover {
        /// By number.
        store: usize,
        /// How many steps.
        back: usize,
    },
    /// A store is emptied.
    Flushed(usize),
    /// Redis evicts our overrides from a store, and nothing else.
    Evicted(usize),
    /// A colleague changes a flag in LaunchDarkly.
    Colleague {
        /// By number.
        flag: usize,
        /// What he does.
        deed: Deed,
    },
    /// A reviewer agrees to what is asked for about a flag, and applies it.
    Approved(usize),
    /// A reviewer declines it.
    Declined(usize),
}

/// How fast a relay writes into its store what the stream sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Before whoever changed LaunchDarkly has his answer.
    Prompt,
    /// When the command that is running has ended.
    Slow,
    /// Only when it catches up.
    Lagging,
}

/// What a colleague does in LaunchDarkly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Turns the flag on.
    TurnOn,
    /// Turns it off.
    TurnOff,
    /// Turns it the other way and back.
    ToggleTwice,
    /// Chooses the off variation, by number.
    OffVariation(usize),
    /// Chooses another off variation and then the old one again.
    OffVariationTwice,
    /// Chooses what the default rule serves, by number.
    Fallthrough(usize),
    /// Adds a rule.
    AddRule,
    /// Adds a target.
    AddTarget,
    /// Changes the description.
    Describe,
    /// Adds a variation, which shifts nothing.
    AddVariation,
    /// Removes the first variation that nothing serves, which shifts those behind it.
    RemoveVariation,
    /// Archives the flag.
    Archive,
    /// Takes it out of the archive.
    Restore,
    /// Deletes it.
    Delete,
}
