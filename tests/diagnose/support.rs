//! What the tests have in common: trails in, verdicts out.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use runner_vitals::hub::diagnose::clock::Clock;
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::verdict::{Verdict, judge};
use runner_vitals::hub::diagnose::{Args, Code, Format, LokiArgs, run};
use runner_vitals::hub::trail::{Book, read};

/// 2030-01-01: long after every trail is over.
pub(crate) fn later() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000)
}

/// The same as a clock.
pub(crate) fn over() -> Clock {
    Clock::new(later(), None)
}

/// The folder of the captured trails.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/trail")
}

/// A captured trail.
pub(crate) fn fixture(name: &str) -> String {
    std::fs::read_to_string(folder().join(name).with_extension("log")).unwrap()
}

/// The verdicts on everything in a text.
pub(crate) fn verdicts(bytes: &[u8]) -> Vec<Verdict> {
    verdicts_at(bytes, &over())
}

fn verdicts_at(bytes: &[u8], clock: &Clock) -> Vec<Verdict> {
    let mut book = Book::default();
    let source = book.source("trail.log");
    read::read(bytes, source, &mut book).unwrap();
    let (runners, _) = book.into_runners();
    runners.iter().filter_map(|runner| judge(runner, clock)).collect()
}

/// The verdict on the only runner in a text.
pub(crate) fn verdict(text: &str) -> Verdict {
    verdict_at(text, &over())
}

/// The same at a time.
pub(crate) fn verdict_at(text: &str, clock: &Clock) -> Verdict {
    let mut all = verdicts_at(text.as_bytes(), clock);
    assert_eq!(all.len(), 1, "{} runners", all.len());
    all.remove(0)
}

/// What the program prints, on stdout and stderr, and its code.
pub(crate) fn printed(format: Format, all: bool, input: &[u8], look: Look) -> (String, String, Code) {
    printed_at(later(), format, all, input, look)
}

/// The same at a time.
pub(crate) fn printed_at(
    now: SystemTime,
    format: Format,
    all: bool,
    input: &[u8],
    look: Look,
) -> (String, String, Code) {
    let args = Args { files: Vec::new(), loki: LokiArgs::default(), runner: None, all, format, html: None };
    let (mut out, mut log) = (Vec::new(), Vec::new());
    let code = run(&args, now, input, &mut out, &mut log, look);
    (String::from_utf8(out).unwrap(), String::from_utf8(log).unwrap(), code)
}
