//! The fleets of whoever sends: the lines that tell what a runner is, and the time of its samples, on their way past.

pub mod metrics;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::hub::fleet::figures::Key;
use crate::hub::fleet::file::FleetFile;
use crate::hub::live::now::{Named, Now};
use crate::hub::live::one::Sample;
use crate::hub::live::{Batch, Clock, Live};
use crate::hub::trail::tail::Tail;
use crate::line::Tag;

use super::ingest::sort::Good;

/// How often it is looked who is silent.
pub const TICK: Duration = Duration::from_secs(5);

/// The fleets, and who looks at them.
#[derive(Debug)]
pub struct Fleets {
    live: Mutex<Live>,
}

impl Fleets {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(file: FleetFile, now: SystemTime) -> Self {
        Self { live: Mutex::new(Live::new(file, since_1970_ms(now))) }
    }

    /// Takes the lines of one runner that came at `now`; `events` are the places of its event lines.
    pub fn take(&self, lines: &Good, events: &[usize], now: SystemTime) {
        let Some((_, first)) = lines.first() else { return };
        let is_sample = |at: usize| events.binary_search(&at).is_err();
        let mut samples = lines.iter().enumerate().filter(|(at, (key, _))| key.tag == Tag::Vitals && is_sample(*at));
        let sample = samples.next_back().map(|(_, (key, placed))| Sample {
            text: &placed.line,
            run: key.run,
            seq: key.seq,
            at_ms: placed.at.map(since_1970_ms),
        });
        let told = events.iter().filter_map(|at| lines.get(*at)).map(|(_, placed)| placed.line.as_str()).collect();
        let batch = Batch { name: &first.sender.name, events: told, sample, clock: Clock::Received };
        self.lock().take(&batch, since_1970_ms(now));
    }

    /// Loki could not be read at `now`.
    pub fn tail_failed(&self, why: &'static str, now: SystemTime) {
        self.lock().tail_failed(why, since_1970_ms(now));
    }

    /// Whether that is so.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.lock().is_deaf()
    }

    /// Loki was read, and what it brought is taken next.
    pub fn tail_read(&self, now: SystemTime) {
        self.lock().tail_read(since_1970_ms(now));
    }

    /// Takes what a reading of Loki brought at `now`.
    pub fn take_tail(&self, tail: &Tail, now: SystemTime) {
        for runner in tail.runners() {
            let sample =
                runner.sample.map(|(text, head)| Sample { text, run: head.run, seq: head.seq, at_ms: head.at_ms });
            let batch = Batch { name: runner.name, events: runner.events, sample, clock: Clock::Theirs };
            self.lock().take(&batch, since_1970_ms(now));
        }
    }

    /// Looks at who is silent; whether more are to be looked at.
    pub fn tick(&self, now: SystemTime) -> bool {
        self.lock().tick(since_1970_ms(now))
    }

    /// What is now.
    #[must_use]
    pub fn now(&self, now: SystemTime) -> Now {
        self.lock().now(since_1970_ms(now))
    }

    /// What is now, and of each fleet at most so many members by name.
    #[must_use]
    pub fn named(&self, now: SystemTime, most: usize) -> (Now, BTreeMap<Key, Vec<Named>>) {
        let (live, now_ms) = (self.lock(), since_1970_ms(now));
        (live.now(now_ms), live.named(now_ms, most))
    }

    /// Takes a changed fleet file.
    pub fn take_file(&self, file: FleetFile) {
        self.lock().take_file(file);
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn since_1970_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
