//! Steps in words that a person can read. PURE.

use std::fmt;

use super::Cast;
use super::Deed;
use super::Event;
use super::FLAGS;
use super::OPERATORS;
use super::OnConflict;
use super::Pace;
use super::STORES;
use super::Typed;
use super::Verb;
use super::Wish;

/// The project and environment that everything happens in.
const PLACE: [&str; 4] = ["-p", "shop", "-e", "production"];

/// The key of a flag.
pub fn flag(number: usize) -> &'static str {
    FLAGS.get(number).map_or("?", |flag| flag.key)
}

fn store(number: usize) -> &'static str {
    STORES.get(number).copied().unwrap_or("?")
}

fn home(number: usize) -> String {
    format!("home {}", number + 1)
}

fn relay(number: usize) -> String {
    format!("relay {}", number + 1)
}

impl OnConflict {
    /// As it is typed.
    pub fn word(self) -> &'static str {
        match self {
            OnConflict::Override => "override",
            OnConflict::LaunchDarkly => "launchdarkly",
            OnConflict::Skip => "skip",
        }
    }
}

impl Wish {
    /// The line of a file of edits that asks for it.
    pub fn line(self, number: usize) -> String {
        let asked = match self {
            Wish::On => "\"state\":\"on\"".to_owned(),
            Wish::Off => "\"state\":\"off\"".to_owned(),
            Wish::Serve(variation) => format!("\"serve\":{}", value(number, variation)),
            Wish::Fallthrough(variation) => format!(
                "\"instructions\":[{{\"kind\":\"updateFallthroughVariationOrRollout\",\"variation\":{variation}}}]"
            ),
        };
        format!("{{\"project\":\"shop\",\"environment\":\"production\",\"flag\":\"{}\",{asked}}}", flag(number))
    }
}

/// The value of a variation, as JSON.
fn value(number: usize, variation: usize) -> &'static str {
    FLAGS.get(number).and_then(|flag| flag.values.get(variation)).copied().unwrap_or("null")
}

impl Verb {
    /// The words after `rc`. `file` is where the edits of a batch lie.
    pub fn words(&self, file: &str) -> Vec<String> {
        let mut words: Vec<&str> = Vec::new();
        match self {
            Verb::Update { flags, wish, record, despite_differences } => {
                words.push("update");
                words.extend(PLACE);
                words.extend(flags.iter().flat_map(|number| ["-f", flag(*number)]));
                match wish {
                    Wish::On => words.extend(["-s", "on"]),
                    Wish::Off => words.extend(["-s", "off"]),
                    Wish::Serve(variation) | Wish::Fallthrough(variation) => {
                        words.extend(["--serve", value(flags.first().copied().unwrap_or(0), *variation)]);
                    }
                }
                words.extend(record.then_some("--record"));
                words.extend(despite_differences.then_some("--despite-differences"));
            }
            Verb::Batch(_) => words.extend(["update", "--from", file]),
            Verb::Resume => words.extend(["update", "--resume"]),
            Verb::Undo { flag: number, yes } => {
                words.extend(["undo", flag(*number)]);
                words.extend(yes.then_some("--yes"));
            }
            Verb::Replay { flags, on_conflict, request_approval, dry_run } => {
                words.push("replay");
                words.extend(flags.iter().flat_map(|number| ["-f", flag(*number)]));
                words.extend(on_conflict.iter().flat_map(|what| ["--on-conflict", what.word()]));
                words.extend(request_approval.then_some("--request-approval"));
                words.extend(dry_run.then_some("--dry-run"));
            }
            Verb::Verify => words.push("verify"),
            Verb::Status => words.push("status"),
        }
        words.into_iter().map(ToOwned::to_owned).collect()
    }
}

impl fmt::Display for Cast {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let homes = OPERATORS.iter().zip(&self.homes).map(|(who, number)| format!("{who} in {}", home(*number)));
        let relays =
            self.relays.iter().enumerate().map(|(number, to)| format!("{} before {}", relay(number), store(*to)));
        let flags: Vec<&str> = FLAGS.iter().take(self.flags).map(|flag| flag.key).collect();
        let (homes, relays): (Vec<String>, Vec<String>) = (homes.collect(), relays.collect());
        write!(formatter, "{}; {}; {}", homes.join(", "), relays.join(", "), flags.join(", "))
    }
}

impl fmt::Display for Typed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = OPERATORS.get(self.who).copied().unwrap_or("?");
        write!(formatter, "{who}$ rc {}", self.verb.words("edits.jsonl").join(" "))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = match self {
            Event::ApiAway => "LaunchDarkly's API refuses connections.".to_owned(),
            Event::ApiFails { status, times } => {
                format!("LaunchDarkly's API will answer {status} to its next {times} requests.")
            }
            Event::AnswersLost { times } => {
                format!("LaunchDarkly will carry out its next {times} patches, and the answers will get lost.")
            }
            Event::ApiSlow => "LaunchDarkly's API answers slowly.".to_owned(),
            Event::ApiLimited => "LaunchDarkly's API takes few requests at a time.".to_owned(),
            Event::ApiBack => "LaunchDarkly's API is as it should be.".to_owned(),
            Event::StreamAway => "LaunchDarkly's stream ends.".to_owned(),
            Event::StreamBack => "LaunchDarkly's stream is back, and begins with everything (put).".to_owned(),
            Event::RelayCut(number) => format!("{} loses LaunchDarkly's stream.", relay(*number)),
            Event::RelayJoined(number) => format!("{} has LaunchDarkly's stream again (put).", relay(*number)),
            Event::RelayPace(number, Pace::Prompt) => format!("{} writes at once what it hears.", relay(*number)),
            Event::RelayPace(number, Pace::Slow) => format!("{} is slow.", relay(*number)),
            Event::RelayPace(number, Pace::Lagging) => format!("{} lags.", relay(*number)),
            Event::RelayCatchesUp(number) => format!("{} writes what it had heard.", relay(*number)),
            Event::RelayRestarted(number) => format!("{} starts anew (put).", relay(*number)),
            Event::StoreDown(number) => format!("The server of {} is down.", store(*number)),
            Event::StoreUp(number) => format!("The server of {} is up again.", store(*number)),
            Event::Parted { home: from, store: to } => {
                format!("{} does not reach {} any more.", home(*from), store(*to))
            }
            Event::PartedFromLaunchDarkly(from) => format!("{} does not reach LaunchDarkly any more.", home(*from)),
            Event::Healed(from) => format!("{} reaches everything again.", home(*from)),
            Event::Failover { store: number, back } => {
                format!("{} fails over, and holds what it held {back} steps ago.", store(*number))
            }
            Event::Flushed(number) => format!("{} is emptied.", store(*number)),
            Event::Evicted(number) => format!("{} evicts our overrides.", store(*number)),
            Event::Colleague { flag: number, deed } => format!("In LaunchDarkly, zoe {}.", deed.told(flag(*number))),
            Event::Approved(number) => format!("In LaunchDarkly, zoe agrees to what waits for {}.", flag(*number)),
            Event::Declined(number) => format!("In LaunchDarkly, zoe declines what waits for {}.", flag(*number)),
        };
        formatter.write_str(&told)
    }
}

impl Deed {
    fn told(self, flag: &str) -> String {
        match self {
            Deed::TurnOn => format!("turns {flag} on"),
            Deed::TurnOff => format!("turns {flag} off"),
            Deed::ToggleTwice => format!("turns {flag} the other way and back"),
            Deed::OffVariation(variation) => format!("gives {flag} the off variation {variation}"),
            Deed::OffVariationTwice => format!("gives {flag} another off variation, and then the old one again"),
            Deed::Fallthrough(variation) => format!("has the default rule of {flag} serve variation {variation}"),
            Deed::AddRule => format!("adds a rule to {flag}"),
            Deed::AddTarget => format!("adds a target to {flag}"),
            Deed::Describe => format!("describes {flag}"),
            Deed::AddVariation => format!("adds a variation to {flag}"),
            Deed::RemoveVariation => format!("removes a variation of {flag}, as far as one is free"),
            Deed::Archive => format!("archives {flag}"),
            Deed::Restore => format!("takes {flag} out of the archive"),
            Deed::Delete => format!("deletes {flag}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_as_they_are_typed() {
        let words = |verb: Verb| Typed { who: 1, verb, meanwhile: Vec::new() }.to_string();
        let update = Verb::Update { flags: vec![1], wish: Wish::Serve(2), record: true, despite_differences: false };
        assert_eq!(words(update), "bob$ rc update -p shop -e production -f tier --serve \"bronze\" --record");
        let replay = Verb::Replay {
            flags: vec![0],
            on_conflict: Some(OnConflict::Override),
            request_approval: false,
            dry_run: false,
        };
        assert_eq!(words(replay), "bob$ rc replay -f checkout --on-conflict override");
    }

    #[test]
    fn lines_of_a_batch_are_json() {
        for wish in [Wish::On, Wish::Serve(1), Wish::Fallthrough(0)] {
            let line: serde_json::Value = serde_json::from_str(&wish.line(1)).unwrap();
            assert_eq!(line["flag"], "tier");
        }
    }
}
