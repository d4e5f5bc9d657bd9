//! What `rc status` reports: the one object that `--json` prints. Times are in UTC (RFC 3339); `null` means "not known",
//! never "none". It must not know how anything was found out; `text` shows it to people.

use jiff::Timestamp;
use serde::Serialize;

/// The object. New fields may come; those that are here stay.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// When this was looked at.
    pub at: Option<Timestamp>,
    /// The home, as shown; `null` where there is none.
    pub home: Option<String>,
    /// LaunchDarkly, as seen from here and by relays.
    pub launchdarkly: LaunchDarkly,
    /// One entry for each copy of an environment in a store, and one for each store that told of none.
    pub targets: Vec<TargetReport>,
    /// One entry for each environment that anything names.
    pub environments: Vec<EnvironmentReport>,
    /// Records that make relays answer 500 for their whole environment; at most five for each target.
    pub damaged_records: Vec<DamagedRecord>,
    /// What is in the playback here and needs attention.
    pub playback: PlaybackReport,
    /// What LaunchDarkly has to be told.
    pub owed: Owed,
    /// What could not be looked at, and other things worth knowing.
    pub notes: Vec<String>,
}

/// See [`Report::launchdarkly`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct LaunchDarkly {
    /// Its API, asked from here.
    pub api: Api,
    /// Its stream, as guards and relays tell it.
    pub stream: Stream,
}

/// See [`LaunchDarkly::api`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct Api {
    /// How it stands.
    pub state: ApiState,
    /// In words.
    pub told: String,
}

/// Whether LaunchDarkly's API answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApiState {
    /// It answers and takes the token.
    Answers,
    /// It answers and does not take the token.
    TokenRefused,
    /// It answers, but not as it should.
    Failing,
    /// No answer from here.
    NoAnswer,
    /// Nobody asked it.
    #[default]
    NotAsked,
}

/// See [`LaunchDarkly::stream`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stream {
    /// How it stands.
    pub state: StreamState,
    /// Since when it is away, by the first who says so.
    pub since: Option<Timestamp>,
    /// The guards that say it is away.
    pub guards_cut_off: Vec<String>,
    /// The guards that say it is up.
    pub guards_connected: Vec<String>,
    /// The relays that say they are cut off.
    pub cut_off: Vec<String>,
    /// The relays that say they are connected. A connection that died without a word is believed in for 5 minutes. Those
    /// that hang on a guard are not here: they mean the guard.
    pub connected: Vec<String>,
    /// The relays that did not answer, or say nothing about it.
    pub silent: Vec<String>,
    /// In words.
    pub told: String,
}

/// LaunchDarkly's stream, by the word of relays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamState {
    /// All who say something are cut off.
    Away,
    /// All who say something are connected.
    Connected,
    /// Some are cut off and some are not.
    Mixed,
    /// Nobody told anything.
    #[default]
    NotKnown,
}

/// One copy of an environment in a store.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TargetReport {
    /// The store's label.
    pub store: String,
    /// The prefix of its keys; empty for a flag file, `null` for a store that told of none.
    pub prefix: Option<String>,
    /// The environment that it belongs to.
    pub environment: Option<String>,
    /// Whether it is the copy of a payload filter.
    pub filter_copy: bool,
    /// How many flags are there.
    pub flags: Option<u64>,
    /// Whether a relay has filled it; otherwise relays take it for empty.
    pub filled: Option<bool>,
    /// Why it could not be read.
    pub problem: Option<String>,
    /// The relays before it.
    pub relays: Vec<RelayReport>,
    /// The guards that announced themselves beside it.
    pub guards: Vec<GuardReport>,
    /// What they do for the relays before it.
    pub guard: GuardState,
    /// How many overrides that LaunchDarkly does not have yet are in force there.
    pub overrides: usize,
    /// What LaunchDarkly's return does to them.
    pub on_return: Option<Return>,
    /// The same in words.
    pub on_return_told: String,
}

/// A relay before a target.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RelayReport {
    /// Its label.
    pub relay: String,
    /// Its version, by its own word.
    pub version: Option<String>,
    /// `cut off`, `connected`, `connected to a guard`, `no answer`, or that it has given up.
    pub told: String,
    /// Whether it is cut off from LaunchDarkly, by its own word.
    pub cut_off: Option<bool>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The guard that it hangs on, where that is known.
    pub guard: Option<String>,
}

/// What guards do for the relays before a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardState {
    /// There is none.
    #[default]
    None,
    /// The relays hang on one.
    Holds,
    /// There is one, and a relay is not on it.
    NotOn,
    /// There is one; whether the relays are on it is not known.
    NotKnown,
    /// There is one that only looks on.
    LooksOn,
    /// There is one that writes overrides into the store again, and stands on no relay's stream.
    Watches,
}

/// A guard, by its own word.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GuardReport {
    /// Its name.
    pub guard: String,
    /// Its version; `null` where what it announced is not understood.
    pub version: Option<String>,
    /// Since when it runs.
    pub since: Option<Timestamp>,
    /// Whether it only looks on.
    pub shadow: bool,
    /// Whether it watches stores alone, and no relay can hang on it.
    pub only_stores: bool,
    /// Whether LaunchDarkly's stream is up, as it sees it.
    pub stream_up: Option<bool>,
    /// Since when.
    pub stream_since: Option<Timestamp>,
    /// How many relays hang on it for this environment.
    pub relays: usize,
    /// The overrides that it holds.
    pub holds: Vec<String>,
    /// The overrides that it holds although LaunchDarkly has another value since, and those that it does not hold.
    pub in_conflict: Vec<String>,
    /// Why what it announced is not understood.
    pub problem: Option<String>,
}

/// What LaunchDarkly's return does to overrides, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Return {
    /// Lost within about 30 s.
    Lost,
    /// The relay is connected already: lost at LaunchDarkly's next change of the flag, or when its stream begins anew.
    LostAtNextEvent,
    /// They may stay until LaunchDarkly changes the flag.
    MayStay,
    /// A guard holds them.
    Held,
    /// They stay: the relay never hears from LaunchDarkly.
    Stays,
}

/// One environment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EnvironmentReport {
    /// `project/environment`.
    pub environment: String,
    /// Why its targets are not known.
    pub problem: Option<String>,
    /// How its targets were found, where that is worth saying.
    pub told: Option<String>,
    /// Who has the right to replay it at the moment.
    pub replaying: Option<ReplayingReport>,
    /// The overrides there.
    pub overrides: Vec<OverrideReport>,
    /// Flags whose override is over, and whose SDKs may not have what LaunchDarkly has; as far as it said so in time.
    pub left_behind: Vec<LeftBehindReport>,
}

/// SDKs that may hold something else than LaunchDarkly has.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LeftBehindReport {
    /// The flag.
    pub flag: String,
    /// In words.
    pub told: String,
}

/// Somebody who is replaying an environment, or has the right to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReplayingReport {
    /// Who; `null` where a program that this one does not understand wrote it.
    pub user: Option<String>,
    /// On which machine.
    pub host: Option<String>,
    /// With what: `rc replay`, `rc guard`.
    pub by: Option<String>,
    /// The store that keeps the right.
    pub store: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Until when, if he does not renew it.
    pub until: Option<Timestamp>,
    /// In words.
    pub told: String,
}

/// One override, merged over all targets.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OverrideReport {
    /// The flag.
    pub flag: String,
    /// `in-force`, `awaiting-approval`, `replayed`.
    pub state: &'static str,
    /// What it comes to: `off`, `on`, or the value that everybody gets.
    pub comes_to: String,
    /// Where the record says so.
    pub in_force: Vec<String>,
    /// Where it should, and does not.
    pub not_in_force: Vec<String>,
    /// Where it could not be looked at.
    pub not_known: Vec<String>,
    /// Who made the newest edit.
    pub by: String,
    /// On which machine.
    pub host: String,
    /// When.
    pub when: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
    /// The incident.
    pub incident: Option<String>,
    /// The newest change: its last digits.
    pub change: String,
    /// All changes it is made of, in full.
    pub changes: Vec<String>,
    /// When somebody wanted to be reminded.
    pub expires: Option<Timestamp>,
    /// Whether that has passed.
    pub expired: bool,
    /// LaunchDarkly's version, once it has it.
    pub replayed_as: Option<u64>,
    /// The approval that it waits for.
    pub approval: Option<ApprovalReport>,
    /// Edits of others that lost to this one and will be put aside: by whom, where, which change.
    pub put_aside: Vec<String>,
    /// Whether a key here signed it as it is; `null` where there is none.
    pub signed: Option<bool>,
    /// What guards say of it, where they do not simply hold it.
    pub guards_say: Vec<String>,
    /// Which SDKs may not have what everybody should, and what heals that.
    pub left_behind: Vec<String>,
}

/// An approval request.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ApprovalReport {
    /// LaunchDarkly's id of it.
    pub request: String,
    /// A page for people.
    pub link: Option<String>,
    /// How it stands, as LaunchDarkly says; `null` where LaunchDarkly did not say it in time.
    pub told: Option<String>,
}

/// A record that relays cannot read.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DamagedRecord {
    /// The store's label.
    pub store: String,
    /// The prefix.
    pub prefix: String,
    /// The flag.
    pub flag: String,
    /// What is wrong with it.
    pub problem: String,
}

/// See [`Report::playback`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct PlaybackReport {
    /// The folder.
    pub folder: String,
    /// Why it could not be read.
    pub problem: Option<String>,
    /// Files that are damaged, or newer than this program.
    pub damaged: Vec<DamagedFile>,
    /// Changes that did not get everywhere.
    pub unfinished: Vec<UnfinishedChange>,
    /// Flags with a change here whose override is gone or ended: `rc replay` finds out what became of them.
    pub without_override: Vec<String>,
}

/// A playback file that is not as it was written, or that this program cannot read.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DamagedFile {
    /// The file's name.
    pub file: String,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
}

/// A change that did not get everywhere.
#[derive(Debug, Clone, Default, Serialize)]
pub struct UnfinishedChange {
    /// Its last digits.
    pub change: String,
    /// The flags.
    pub flags: Vec<String>,
    /// Where it is missing, or not known to be.
    pub targets: Vec<String>,
    /// What to type.
    pub next: String,
}

/// See [`Report::owed`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct Owed {
    /// How many flags.
    pub flags: usize,
    /// How many of them only the playback here tells of, since no store could be asked.
    pub by_playback_alone: usize,
    /// In words.
    pub told: String,
    /// What to type.
    pub next: Option<String>,
}
