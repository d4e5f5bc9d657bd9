//! Our strict check against LaunchDarkly's own reader, the one that a relay uses for its store: what one reads the other
//! reads, on records that are sound, damaged and hostile. And what a relay writes for a record that it read means to us
//! what the record meant.
//!
//! We are stricter in one way, on purpose: what is no JSON, or says a thing twice, is refused, whatever Go makes of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;
use std::thread;

use libtest_mimic::Trial;
use relay_commander::flag::check::readable;
use relay_commander::flag::record::Record;
use relay_commander::flag::record::RecordError;

use crate::generated::Generated;
use crate::generated::Generator;
use crate::parts::Part;
use crate::parts::Sdk;
use crate::parts::trial;

/// How many records are compared.
const RECORDS: usize = 20_000;

/// The most differences that are shown.
const SHOWN_MAX: usize = 10;

pub fn trials() -> Vec<Trial> {
    let go = [Part::Sdk(Sdk::Go)];
    vec![
        trial("records::what_one_reads_the_other_reads", &go, what_one_reads_the_other_reads),
        trial("records::what_a_relay_writes_means_the_same", &go, what_a_relay_writes_means_the_same),
    ]
}

/// What LaunchDarkly's reader makes of a record.
struct Read {
    version: i64,
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
            b'r' => Ok(Read { version: i64::from_be_bytes(*version), written: bytes.to_vec() }),
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

fn what_one_reads_the_other_reads() {
    let records: Vec<Generated> = Generator::new().take(RECORDS).collect();
    let theirs = as_a_relay_reads(records.iter().map(|record| &record.bytes[..]));
    assert_eq!(theirs.len(), records.len());
    let (mut both, mut neither, mut differences) = (0, 0, Vec::new());
    // By kind of damage: how many of them Go reads and we do not.
    let mut stricter: BTreeMap<&str, usize> = BTreeMap::new();
    for (record, theirs) in records.iter().zip(&theirs) {
        match (as_we_read(&record.bytes), theirs) {
            (Ours::Read(ours), Ok(theirs)) if theirs.version.max(0).unsigned_abs() == ours.version() => both += 1,
            (Ours::Read(ours), Ok(theirs)) => differences.push(format!(
                "version {} to us, {} to Go: {}",
                ours.version(),
                theirs.version,
                shown(record)
            )),
            (Ours::Unreadable(_) | Ours::NoRecord(_), Err(_)) => neither += 1,
            (Ours::NoRecord(error), Ok(_)) if record.is_no_json || matches!(error, RecordError::DuplicateKey(_)) => {
                *stricter.entry(record.what).or_default() += 1;
            }
            (Ours::Read(_), Err(error)) => differences.push(format!("Go says {error:?}: {}", shown(record))),
            (Ours::Unreadable(error), Ok(_)) => differences.push(format!("we say {error:?}: {}", shown(record))),
            (Ours::NoRecord(error), Ok(_)) => differences.push(format!("we say {error:?}: {}", shown(record))),
        }
    }
    let mut told = String::new();
    for difference in differences.iter().take(SHOWN_MAX) {
        writeln!(told, "{difference}").unwrap();
    }
    assert!(differences.is_empty(), "{} of {RECORDS} records differ\n{told}", differences.len());
    // A comparison in which one side is empty would prove nothing.
    assert!(both > RECORDS / 4 && neither > RECORDS / 4, "read by both: {both}, by neither: {neither}");
    println!(
        "{RECORDS} records: {both} read by LaunchDarkly's reader and by us, {neither} by neither, {} that are no JSON or \
         say a thing twice read by Go alone {stricter:?}",
        stricter.values().sum::<usize>()
    );
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
}
