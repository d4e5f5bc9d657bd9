//! Our strict check against LaunchDarkly's own reader, the one that a relay uses for its store: what one reads the other
//! reads, on records that are sound, damaged and hostile. And what a relay writes for a record that it read means to us
//! what the record meant.
//!
//! We are stricter on purpose where readers would not agree with each other: what is no JSON to Go's own parser, says a
//! thing twice, or goes beyond what most readers can hold is refused, although the relay's reader reads it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;
use std::thread;

use libtest_mimic::Trial;
use relay_commander::flag::check::readable;
use relay_commander::flag::record::Record;
use relay_commander::flag::record::RecordError;

use crate::generated::AN_ESCAPE;
use crate::generated::DEEP_NESTING;
use crate::generated::Generated;
use crate::generated::Generator;
use crate::generated::HUGE_NUMBER;
use crate::parts::Part;
use crate::parts::Sdk;
use crate::parts::trial;
use crate::reach::note;

/// How many records are compared.
const RECORDS: usize = 20_000;

/// The highest version that every reader holds exactly.
const VERSION_MAX: u64 = 1 << 53;

/// The most differences that are shown.
const SHOWN_MAX: usize = 10;

pub fn trials() -> Vec<Trial> {
    let go = [Part::Sdk(Sdk::Go)];
    vec![
        trial("records::what_one_reads_the_other_reads", &go, what_one_reads_the_other_reads),
        trial("records::what_a_relay_writes_means_the_same", &go, what_a_relay_writes_means_the_same),
        trial("records::what_a_relay_does_not_keep", &go, what_a_relay_does_not_keep),
    ]
}

/// What LaunchDarkly's reader makes of a record.
struct Read {
    version: i64,
    /// Go's own parser takes it for JSON.
    is_json: bool,
    /// The record as a relay writes it again.
    written: Vec<u8>,
}

/// Reads records as a relay reads its store; the error where it would not.
fn as_a_relay_reads<'r>(records: impl Iterator<Item = &'r [u8]>) -> Vec<Result<Read, String>> {
    let mut command = Sdk::Go.command().expect("tests without their parts are not run");
    let mut child = command.arg("read").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = Vec::new();
    for record in records {
        input.extend(u32::try_from(record.len()).unwrap().to_be_bytes());
        input.extend(record);
    }
    let mut stdin = child.stdin.take().expect("is piped");
    // It answers while it reads, so both go on at once.
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it can be waited for");
    writer.join().unwrap().expect("it reads everything");
    assert!(output.status.success(), "{:?}", output.status);
    let mut rest = &output.stdout[..];
    let mut answers = Vec::new();
    while let Some((letter, after)) = rest.split_first() {
        let (version, after) = after.split_first_chunk().expect("a version");
        let (length, after) = after.split_first_chunk().expect("a length");
        let (bytes, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        rest = after;
        answers.push(match letter {
            b'r' | b'n' => {
                Ok(Read { version: i64::from_be_bytes(*version), is_json: *letter == b'r', written: bytes.to_vec() })
            }
            _ => Err(String::from_utf8_lossy(bytes).into_owned()),
        });
    }
    answers
}

/// What we make of a record.
enum Ours {
    Read(Record),
    /// LaunchDarkly's reader would not take it, we say.
    Unreadable(String),
    /// Nobody ought to take it: no JSON, or a key that stands twice.
    NoRecord(RecordError),
}

fn as_we_read(bytes: &[u8]) -> Ours {
    match Record::parse(bytes) {
        Err(error) => Ours::NoRecord(error),
        Ok(record) => match readable(&record) {
            Ok(()) => Ours::Read(record),
            Err(unreadable) => Ours::Unreadable(unreadable.to_string()),
        },
    }
}

fn shown(generated: &Generated) -> String {
    format!("{}: {}", generated.what, generated.bytes.escape_ascii())
}

/// Whether we may refuse what the relay's reader reads.
fn may_be_stricter(record: &Generated, error: &RecordError, theirs: &Read) -> bool {
    let beyond_most_readers = [HUGE_NUMBER, DEEP_NESTING, AN_ESCAPE].contains(&record.what);
    !theirs.is_json || beyond_most_readers || matches!(error, RecordError::DuplicateKey(_))
}

/// Whether both took the same version from it. One beyond a double is never edited: it would run over in Go.
fn same_version(ours: &Record, theirs: &Read) -> bool {
    ours.version() > VERSION_MAX || ours.version() == theirs.version.max(0).unsigned_abs()
}

fn what_one_reads_the_other_reads() {
    let records: Vec<Generated> = Generator::new().take(RECORDS).collect();
    let theirs = as_a_relay_reads(records.iter().map(|record| &record.bytes[..]));
    assert_eq!(theirs.len(), records.len());
    let (mut both, mut neither, mut differences) = (0, 0, Vec::new());
    // By kind of damage: how many of them the relay's reader reads and we do not.
    let mut stricter: BTreeMap<&str, usize> = BTreeMap::new();
    for (record, theirs) in records.iter().zip(&theirs) {
        let difference = match (as_we_read(&record.bytes), theirs) {
            (Ours::Read(ours), Ok(theirs)) if same_version(&ours, theirs) => {
                both += 1;
                continue;
            }
            (Ours::Unreadable(_) | Ours::NoRecord(_), Err(_)) => {
                neither += 1;
                continue;
            }
            (Ours::NoRecord(error), Ok(theirs)) if may_be_stricter(record, &error, theirs) => {
                *stricter.entry(record.what).or_default() += 1;
                continue;
            }
            (Ours::Read(ours), Ok(theirs)) => format!("version {} to us, {} to Go", ours.version(), theirs.version),
            (Ours::Read(_), Err(error)) => format!("Go refuses it: {error}"),
            (Ours::Unreadable(error), Ok(_)) => format!("we refuse it: {error}"),
            (Ours::NoRecord(error), Ok(_)) => format!("we refuse it: {error}"),
        };
        differences.push(format!("{difference}: {}", shown(record)));
    }
    let told = differences.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<&str>>().join("\n");
    assert!(differences.is_empty(), "{} of {RECORDS} records differ\n{told}", differences.len());
    // A comparison in which one side is empty would prove nothing.
    assert!(both > RECORDS / 4 && neither > RECORDS / 4, "read by both: {both}, by neither: {neither}");
    note(format!(
        "{RECORDS} generated records: {both} read by the relay's reader and by us, {neither} by neither; {} by the \
         relay's reader alone, which are no JSON, say a thing twice or go beyond most readers: {stricter:?}",
        stricter.values().sum::<usize>()
    ));
}

fn what_a_relay_writes_means_the_same() {
    let records: Vec<Generated> = Generator::new().sound().take(RECORDS / 4).collect();
    let theirs = as_a_relay_reads(records.iter().map(|record| &record.bytes[..]));
    let mut reordered = 0;
    for (record, theirs) in records.iter().zip(theirs) {
        let Ours::Read(ours) = as_we_read(&record.bytes) else { panic!("{}", shown(record)) };
        let written = theirs.unwrap_or_else(|error| panic!("{error}: {}", shown(record))).written;
        let Ours::Read(rewritten) = as_we_read(&written) else { panic!("{}", written.escape_ascii()) };
        if ours.is_tombstone() {
            assert!(rewritten.is_tombstone(), "{}", written.escape_ascii());
            continue;
        }
        assert!(ours.same_value(&rewritten), "{}\nas the relay writes it:\n{}", shown(record), written.escape_ascii());
        assert!(rewritten.same_value(&ours), "{}", shown(record));
        reordered += usize::from(ours != rewritten);
    }
    assert!(reordered > 0, "a relay that changes no byte would prove nothing");
    note(format!("{} sound records, written again as a relay writes them, mean the same to us", records.len()));
}

/// Values that come out of a relay as others. Nothing of ours makes such records; a difference between stores and
/// LaunchDarkly that has this cause is a real one.
fn what_a_relay_does_not_keep() {
    let cases = [
        // Whole numbers run over at 64 bits, and are doubles.
        ("18446744073709551617", "1"),
        ("9223372036854775808", "-9223372036854775808"),
        ("9007199254740993", "9007199254740992"),
        // A character beyond 16 bits that is written as two escapes.
        (r#""\ud83d\ude00""#, "\"\u{fffd}\u{fffd}\""),
    ];
    let records: Vec<String> = cases.iter().map(|(value, _)| format!("{{\"variations\":[{value}]}}")).collect();
    let theirs = as_a_relay_reads(records.iter().map(String::as_bytes));
    for ((value, expected), theirs) in cases.iter().zip(theirs) {
        let written = String::from_utf8(theirs.expect("it is read").written).unwrap();
        assert!(written.contains(&format!("\"variations\":[{expected}]")), "{value} is written as {written}");
    }
}
