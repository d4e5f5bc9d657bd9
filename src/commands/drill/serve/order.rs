//! What is typed at the prompt of a simulated LaunchDarkly that runs: a line of words, and what it asks for. PURE.

use serde_json::Value;

use crate::drill::launchdarkly::Fault;
use crate::drill::launchdarkly::FaultKind;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::ui::nearest::did_you_mean;

/// Who changes flags where nobody is named.
const SOMEBODY: &str = "a colleague";

/// One of the two listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// The REST API.
    Api,
    /// The streams, and what SDKs poll.
    Stream,
}

impl Listener {
    /// As it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Listener::Api => "api",
            Listener::Stream => "stream",
        }
    }
}

/// What is done to a flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// It is turned on.
    On,
    /// It is turned off.
    Off,
    /// Everybody gets this value.
    Serve(Value),
    /// It is deleted, in all environments.
    Delete,
    /// Its open approval requests are approved and applied.
    Approve,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Nothing: an empty line.
    Nothing,
    /// A fault is set.
    Fault(Listener, Fault),
    /// Faults are taken back: of one listener, or of both.
    Clear(Option<Listener>),
    /// A colleague does something to a flag.
    Flag {
        /// What.
        deed: Deed,
        /// To which.
        flag: FlagKey,
        /// Where; none: in the only environment there is.
        environment: Option<Environment>,
        /// Who.
        member: String,
    },
    /// Delivery stands still, or goes on.
    Frozen(bool),
    /// The present moment gets a name.
    Moment(String),
    /// So many requests a window on each route; none: as many as wanted.
    Limit(Option<u64>),
    /// How things are.
    Status,
    /// The flags of an environment.
    Flags(Option<Environment>),
    /// What points a relay and `rc` here, again.
    Settings,
    /// What can be typed.
    Help,
    /// It ends.
    Quit,
}

/// What can be typed, for people.
pub const HELP: &str = "\
api WHAT            the API goes wrong
stream WHAT         streams and polls go wrong
    refuse  reset  close  silence  slow MS  garbage  web-page  clock MS
    401  403  429  503  ...         [retry-after SECONDS]
    half-event  old-put N|NAME      only streams
    behind it:  times N   on METHOD   at PATH   applied  (it is done, and its answer is lost)
clear [api|stream]  all of that is over
off FLAG  on FLAG  serve FLAG VALUE  delete FLAG  approve FLAG
    behind it:  as NAME   in PROJECT/ENVIRONMENT
freeze  thaw        streams stay open and send nothing; what was held back is sent
moment NAME         gives this moment a name, for old-put
limit N|off         requests that each route of the API takes in a window
status  flags  settings  help  quit";

const VERBS: [&str; 18] = [
    "api", "stream", "clear", "off", "on", "serve", "delete", "approve", "freeze", "thaw", "moment", "limit", "status",
    "flags", "settings", "help", "quit", "exit",
];

const FAULTS: [&str; 10] =
    ["refuse", "reset", "close", "silence", "slow", "garbage", "web-page", "clock", "half-event", "old-put"];

/// Reads a line.
///
/// # Errors
/// What cannot be meant, in words.
pub fn read(line: &str) -> Result<Order, String> {
    let mut words = Words { rest: line.split_whitespace().collect() };
    let Some(verb) = words.next() else { return Ok(Order::Nothing) };
    let order = match verb {
        "api" => fault(Listener::Api, &mut words)?,
        "stream" => fault(Listener::Stream, &mut words)?,
        "clear" => Order::Clear(listener(&mut words)?),
        "off" | "on" | "serve" | "delete" | "approve" => flag(verb, &mut words)?,
        "freeze" => Order::Frozen(true),
        "thaw" => Order::Frozen(false),
        "moment" => Order::Moment(words.wanted("moment", "a name")?.to_owned()),
        "limit" => match words.wanted("limit", "a number, or off")? {
            "off" => Order::Limit(None),
            number => Order::Limit(Some(whole(number)?)),
        },
        "status" => Order::Status,
        "flags" => Order::Flags(words.next().map(environment).transpose()?),
        "settings" => Order::Settings,
        "help" | "?" => Order::Help,
        "quit" | "exit" => Order::Quit,
        other => {
            return Err(format!("{other:?} is no command here{}; help lists them", did_you_mean(other, VERBS)));
        }
    };
    match words.next() {
        Some(word) => Err(format!("{word:?} is one word too many after {verb}")),
        None => Ok(order),
    }
}

struct Words<'l> {
    rest: std::collections::VecDeque<&'l str>,
}

impl<'l> Words<'l> {
    fn next(&mut self) -> Option<&'l str> {
        self.rest.pop_front()
    }

    fn wanted(&mut self, after: &str, what: &str) -> Result<&'l str, String> {
        self.next().ok_or_else(|| format!("{after} wants {what}"))
    }
}

fn listener(words: &mut Words<'_>) -> Result<Option<Listener>, String> {
    match words.next() {
        None | Some("all") => Ok(None),
        Some("api") => Ok(Some(Listener::Api)),
        Some("stream") => Ok(Some(Listener::Stream)),
        Some(other) => Err(format!("clear takes api or stream, or nothing for both, and not {other:?}")),
    }
}

fn whole(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no whole number"))
}

fn environment(text: &str) -> Result<Environment, String> {
    text.parse().map_err(|_| format!("{text:?} is no environment: PROJECT/ENVIRONMENT"))
}

fn fault(listener: Listener, words: &mut Words<'_>) -> Result<Order, String> {
    let what = words.wanted(listener.word(), "what goes wrong: refuse, silence, 503, ...; help lists them")?;
    let milliseconds = |words: &mut Words<'_>, sign: bool| -> Result<i64, String> {
        let text = words.wanted(what, "milliseconds")?;
        let number: i64 = text.parse().map_err(|_| format!("{text:?} are no milliseconds"))?;
        if number < 0 && !sign { Err(format!("{text:?} are no milliseconds")) } else { Ok(number) }
    };
    let kind = match what {
        "refuse" => FaultKind::Refuse,
        "reset" => FaultKind::Reset,
        "close" => FaultKind::Close,
        "silence" => FaultKind::BlackHole,
        "slow" => FaultKind::Slow { milliseconds: milliseconds(words, false)?.unsigned_abs() },
        "garbage" => FaultKind::Garbage,
        "web-page" => FaultKind::WebPage,
        "clock" => FaultKind::ClockSkew { milliseconds: milliseconds(words, true)? },
        "half-event" => FaultKind::HalfEvent,
        "old-put" => {
            let past = words.wanted(what, "how many changes ago, or the name of a moment")?;
            let changes_ago = past.parse().ok();
            FaultKind::OldPut { changes_ago, moment: changes_ago.is_none().then(|| past.to_owned()) }
        }
        number if number.starts_with(|c: char| c.is_ascii_digit()) => {
            let status = number.parse().map_err(|_| format!("{number:?} is no status of HTTP"))?;
            FaultKind::Status { status, retry_after: None }
        }
        other => return Err(format!("{other:?} is nothing that goes wrong here{}", did_you_mean(other, FAULTS))),
    };
    limited(Fault::new(kind), words).map(|fault| Order::Fault(listener, fault))
}

/// What stands behind a fault.
fn limited(mut fault: Fault, words: &mut Words<'_>) -> Result<Fault, String> {
    while let Some(word) = words.next() {
        match word {
            "times" => {
                let number = whole(words.wanted(word, "a number")?)?;
                fault.times =
                    Some(u32::try_from(number).ok().filter(|times| *times > 0).ok_or("times wants 1 or more")?);
            }
            "on" => fault.method = Some(words.wanted(word, "a method, such as PATCH")?.to_uppercase()),
            "at" => fault.path = Some(words.wanted(word, "a path, such as /all or */checkout")?.to_owned()),
            "applied" => fault.applied = true,
            "retry-after" => {
                let seconds = whole(words.wanted(word, "seconds")?)?;
                match &mut fault.kind {
                    FaultKind::Status { retry_after, .. } => *retry_after = Some(seconds),
                    _ => return Err("retry-after stands behind a status, such as 429".to_owned()),
                }
            }
            other => return Err(format!("{other:?} does not limit a fault: times, on, at, applied do")),
        }
    }
    Ok(fault)
}

fn flag(verb: &str, words: &mut Words<'_>) -> Result<Order, String> {
    let key = words.wanted(verb, "the key of a flag")?;
    let flag = key.parse().map_err(|_| format!("{key:?} is no key of a flag"))?;
    let deed = match verb {
        "on" => Deed::On,
        "off" => Deed::Off,
        "delete" => Deed::Delete,
        "approve" => Deed::Approve,
        _ => {
            let text = words.wanted(verb, "a value behind the flag")?;
            // Without quotes it is a text all the same, as for rc update --serve.
            Deed::Serve(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())))
        }
    };
    let (mut place, mut member) = (None, SOMEBODY.to_owned());
    while let Some(word) = words.next() {
        match word {
            "as" => words.wanted(word, "a name")?.clone_into(&mut member),
            "in" => place = Some(environment(words.wanted(word, "PROJECT/ENVIRONMENT")?)?),
            other => return Err(format!("{other:?} says neither who (as NAME) nor where (in PROJECT/ENVIRONMENT)")),
        }
    }
    Ok(Order::Flag { deed, flag, environment: place, member })
}

/// A fault as it is typed, and what is left of its count.
pub fn told(fault: &Fault) -> String {
    let mut words = vec![match &fault.kind {
        FaultKind::Refuse => "refuse".to_owned(),
        FaultKind::Reset => "reset".to_owned(),
        FaultKind::Close => "close".to_owned(),
        FaultKind::BlackHole => "silence".to_owned(),
        FaultKind::Status { status, retry_after: None } => status.to_string(),
        FaultKind::Status { status, retry_after: Some(seconds) } => format!("{status} retry-after {seconds}"),
        FaultKind::Slow { milliseconds } => format!("slow {milliseconds}"),
        FaultKind::Garbage => "garbage".to_owned(),
        FaultKind::WebPage => "web-page".to_owned(),
        FaultKind::HalfEvent => "half-event".to_owned(),
        FaultKind::OldPut { changes_ago, moment } => {
            format!("old-put {}", moment.clone().or(changes_ago.map(|ago| ago.to_string())).unwrap_or_default())
        }
        FaultKind::ClockSkew { milliseconds } => format!("clock {milliseconds}"),
    }];
    words.extend(fault.times.map(|times| format!("times {times}")));
    words.extend(fault.method.as_ref().map(|method| format!("on {method}")));
    words.extend(fault.path.as_ref().map(|path| format!("at {path}")));
    words.extend(fault.applied.then(|| "applied".to_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(line: &str) -> Fault {
        match read(line) {
            Ok(Order::Fault(_, fault)) => fault,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn faults_as_they_are_typed() {
        assert_eq!(fault("api refuse"), Fault::new(FaultKind::Refuse));
        let status = Fault::status(503).times(3).on("PATCH", "/api/v2/flags/*");
        assert_eq!(fault("api 503 times 3 on patch at /api/v2/flags/*"), status);
        let lost = Fault::new(FaultKind::Reset).after_applying();
        assert_eq!(fault("  api   reset applied "), lost);
        assert_eq!(fault("stream silence"), Fault::new(FaultKind::BlackHole));
        let ago = FaultKind::OldPut { changes_ago: Some(5), moment: None };
        assert_eq!(fault("stream old-put 5"), Fault::new(ago));
        let named = FaultKind::OldPut { changes_ago: None, moment: Some("before".to_owned()) };
        assert_eq!(fault("stream old-put before times 1"), Fault::new(named).times(1));
        assert_eq!(fault("api clock -90000").kind, FaultKind::ClockSkew { milliseconds: -90_000 });
        let refused = FaultKind::Status { status: 429, retry_after: Some(2) };
        assert_eq!(fault("api 429 retry-after 2").kind, refused);
    }

    #[test]
    fn what_is_told_can_be_typed() {
        for line in [
            "refuse",
            "reset",
            "close",
            "silence",
            "slow 250",
            "garbage",
            "web-page",
            "half-event",
            "old-put 5",
            "old-put before",
            "clock -500",
            "503 times 2 on PATCH at /api/*",
            "429 retry-after 2",
            "reset applied",
        ] {
            assert_eq!(told(&fault(&format!("stream {line}"))), line);
        }
    }

    #[test]
    fn flags_and_the_rest() {
        let order = |deed, environment: Option<&str>, member: &str| {
            let environment = environment.map(|text| text.parse().unwrap());
            Ok(Order::Flag { deed, flag: "checkout".parse().unwrap(), environment, member: member.to_owned() })
        };
        assert_eq!(read("off checkout as carol"), order(Deed::Off, None, "carol"));
        assert_eq!(read("on checkout in shop/staging"), order(Deed::On, Some("shop/staging"), SOMEBODY));
        assert_eq!(read("serve checkout bronze"), order(Deed::Serve(json!("bronze")), None, SOMEBODY));
        assert_eq!(read("serve checkout 2"), order(Deed::Serve(json!(2)), None, SOMEBODY));
        assert_eq!(read("approve checkout as rita"), order(Deed::Approve, None, "rita"));
        assert_eq!(read(""), Ok(Order::Nothing));
        assert_eq!(read("clear"), Ok(Order::Clear(None)));
        assert_eq!(read("clear stream"), Ok(Order::Clear(Some(Listener::Stream))));
        assert_eq!(read("limit 6"), Ok(Order::Limit(Some(6))));
        assert_eq!(read("limit off"), Ok(Order::Limit(None)));
        assert_eq!(read("moment before-it"), Ok(Order::Moment("before-it".to_owned())));
        assert_eq!(read("quit"), Ok(Order::Quit));
    }

    #[track_caller]
    fn wrong(line: &str, expected: &str) {
        assert_eq!(read(line).unwrap_err(), expected);
    }

    #[test]
    fn what_cannot_be_meant() {
        wrong("stauts", "\"stauts\" is no command here; did you mean status?; help lists them");
        wrong("api refus", "\"refus\" is nothing that goes wrong here; did you mean refuse?");
        wrong("api", "api wants what goes wrong: refuse, silence, 503, ...; help lists them");
        wrong("api slow -3", "\"-3\" are no milliseconds");
        wrong("api 503 times none", "\"none\" is no whole number");
        wrong("api 503 times 0", "times wants 1 or more");
        wrong("api refuse retry-after 2", "retry-after stands behind a status, such as 429");
        wrong("off", "off wants the key of a flag");
        wrong("off checkout carol", "\"carol\" says neither who (as NAME) nor where (in PROJECT/ENVIRONMENT)");
        wrong("thaw now", "\"now\" is one word too many after thaw");
        wrong("clear everything", "clear takes api or stream, or nothing for both, and not \"everything\"");
    }

    #[test]
    fn help_names_every_command() {
        let named: Vec<&str> = HELP.split_whitespace().collect();
        for verb in VERBS.iter().filter(|verb| **verb != "exit") {
            assert!(named.contains(verb), "{verb}");
        }
        for fault in FAULTS {
            assert!(named.contains(&fault), "{fault}");
        }
        assert!(HELP.lines().all(|line| line.len() <= 100));
    }
}
