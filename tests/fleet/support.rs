//! What the tests have in common: made trails in, members and fleets out.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use runner_vitals::hub::fleet::file::FleetFile;
use runner_vitals::hub::fleet::look::{Fleet, Seen, Settings, look_at};
use runner_vitals::hub::fleet::member::{Clock, Member};
use runner_vitals::hub::trail::{Book, Runner, read};
use runner_vitals::line::RunId;

/// Noon of a day, ms since 1970.
pub(crate) const NOON: i64 = 1_780_574_400_000;

pub(crate) const HOUR: i64 = 3_600_000;

/// The usual settings, seen at no given time.
pub(crate) const USUAL: Settings =
    Settings { at_ms: None, window_ms: 24 * HOUR, long_ready_ms: HOUR, forgiven_ms: 6 * HOUR };

/// A trail that is being made. Times are ms from noon on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    pub(crate) text: String,
    runs: u64,
}

impl Trail {
    pub(crate) fn line(&mut self, run: u64, seq: u64, at_ms: i64, rest: &str) {
        let run = RunId::from_random(run);
        let run = run.as_str();
        writeln!(self.text, "RUNNER_VITALS ts={} run={run} seq={seq} {rest}", ts(at_ms)).unwrap();
    }

    /// A phase line of a runner that says who it is.
    pub(crate) fn phase(&mut self, who: &str, at_ms: i64, phase: &str) -> &mut Self {
        self.runs += 1;
        self.line(self.runs, 1, at_ms, &format!("event=phase phase={phase} {who}"));
        self
    }

    /// The lines of a probe from one time to another, a sample each `every_ms`.
    pub(crate) fn probe(&mut self, who: &str, (from_ms, to_ms): (i64, i64), every_ms: i64) -> (u64, u64) {
        self.runs += 1;
        let run = self.runs;
        self.line(run, 1, from_ms, &format!("event=start interval.ms={every_ms} {who}"));
        let samples = (to_ms - from_ms) / every_ms;
        for nth in 1..=samples {
            let rest = "vm.mem.total.kb=8000000 vm.mem.avail.kb=7000000 cpu.busy.pct=3.0 load1=0.10 late.ms=0.1";
            self.line(run, nth as u64 + 1, from_ms + nth * every_ms, rest);
        }
        (run, samples as u64 + 2)
    }
}

/// A time in the form of `ts`.
pub(crate) fn ts(at_ms: i64) -> String {
    let at = u64::try_from(NOON + at_ms).unwrap();
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at)).to_string()
}

/// The runners of a text, their phases kept together.
pub(crate) fn runners(text: &str) -> Vec<Runner> {
    book(text).into_runners().0
}

/// What is read of a text.
pub(crate) fn book(text: &str) -> Book {
    let mut book = Book::of_stages();
    let source = book.source("trail.log");
    read::read(text.as_bytes(), source, &mut book).unwrap();
    assert_eq!(book.broken, []);
    book
}

/// The only runner of a text, at a time.
pub(crate) fn member(text: &str, at_ms: i64) -> Member {
    let runners = runners(text);
    assert_eq!(runners.len(), 1, "{runners:#?}");
    Member::of(&runners[0], Clock { at_ms: NOON + at_ms, forgiven_ms: 6 * HOUR, silent_ms: None }).unwrap()
}

/// All fleets of a text, with a fleet file; a year later by the clock.
pub(crate) fn seen(text: &str, file: &str, settings: Settings) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleets.toml");
    std::fs::write(&path, file).unwrap();
    let file = FleetFile::read(&path).unwrap();
    look_at(book(text).into_closed().0, &file, settings, NOON + 365 * 24 * HOUR)
}

/// The only fleet of a text, at a time.
pub(crate) fn fleet(text: &str, file: &str, at_ms: i64) -> Fleet {
    let mut seen = seen(text, file, Settings { at_ms: Some(NOON + at_ms), ..USUAL });
    assert_eq!(seen.fleets.len(), 1, "{:#?}", seen.fleets);
    seen.fleets.remove(0)
}
