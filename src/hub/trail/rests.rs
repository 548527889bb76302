//! What is left of lines that are torn, or glued to another's text: when their run still spoke, and nothing else.
//!
//! Nothing that such a line says is believed: what prints before the tag can print behind it too. But a run whose next line this can be,
//! by its number and its time, in the same file and of the same Pod, had not fallen silent yet.

use std::collections::HashMap;

use memchr::memmem;

use super::book::{Origin, Writer, at_ms};
use super::life::Life;
use super::slice::{Mark, Place};
use crate::line::{Line, RunId, TAG};

/// Of so many runs the rests are kept: 4 MiB. Those of more are counted with the broken lines alone.
const RUNS: usize = 1 << 16;

/// A line can come so much later than its number says, ms: it waited, or others between are lost.
const LATE_MS: i64 = 30_000;

/// The time between two lines of a run that does not say it, ms.
const INTERVAL_MS: i64 = 5000;

/// Without a clock the number alone says which is the next: it is no further than this.
const NEAR: u64 = 20;

/// How a line begins that a log of the runner was followed for: what it quotes was said, and is no rest.
const QUOTES: &[u8] = b"RUNNER_LOG ";

/// The tag, the time, the run and the number take no more of a line.
const HEAD_BYTES: usize = 128;

/// The latest rest of each run in each source.
#[derive(Debug, Default)]
pub(super) struct Rests {
    latest: HashMap<(Origin, RunId, u32), Rest>,
}

/// The head of a line that is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rest {
    at_ms: Option<i64>,
    /// `None` where it is torn itself.
    seq: Option<u64>,
    place: Place,
}

impl Rests {
    /// Takes a line of a log that has the tag somewhere and is no line of ours.
    pub(super) fn take(&mut self, text: &[u8], origin: Origin, place: Place) {
        if memmem::find(text, QUOTES).is_some() {
            return;
        }
        let Some((run, rest)) = memmem::rfind(text, TAG.as_bytes()).and_then(|at| head(text.get(at..)?, place)) else {
            return;
        };
        let key = (origin, run, place.source);
        let is_later = |old: &Rest| (old.at_ms, old.seq) < (rest.at_ms, rest.seq);
        let is_known = self.latest.contains_key(&key);
        if if is_known { self.latest.get(&key).is_some_and(is_later) } else { self.latest.len() < RUNS } {
            self.latest.insert(key, rest);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.latest.is_empty()
    }

    /// The rest behind the last line of a run that can be one of its next lines.
    pub(super) fn behind(&self, writer: Writer, life: &Life) -> Option<Mark> {
        let last = life.last;
        let rest = self.latest.get(&(writer.origin, writer.run, last.place.source))?;
        let seq = rest.seq.unwrap_or(last.seq.saturating_add(1));
        let further = seq.checked_sub(last.seq).filter(|further| *further > 0)?;
        let is_next = match (last.at_ms(), rest.at_ms) {
            (Some(from), Some(to)) => {
                let interval_ms = life.interval_ms().unwrap_or(INTERVAL_MS).max(INTERVAL_MS);
                let most = i64::try_from(further).unwrap_or(i64::MAX).saturating_mul(interval_ms);
                (from..=from.saturating_add(most).saturating_add(LATE_MS)).contains(&to)
            }
            (None, None) => rest.seq.is_some() && further <= NEAR,
            _ => false,
        };
        is_next.then(|| Mark::new(seq, rest.at_ms, rest.place))
    }
}

/// What stands whole at the beginning of a line: a run has four characters, and behind a number there is a space.
fn head(text: &[u8], place: Place) -> Option<(RunId, Rest)> {
    let text = text.get(..HEAD_BYTES).unwrap_or(text);
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(text.get(..error.valid_up_to())?).ok()?,
    };
    let mut words = text.split(' ');
    let (tag, ts, run, seq) = (words.next()?, words.next()?, words.next()?, words.next().unwrap_or_default());
    let is_whole = words.next().is_some() && seq.starts_with("seq=");
    let head = format!("{tag} {ts} {run} {}", if is_whole { seq } else { "seq=0" });
    let line = Line::decode(&head).ok()?;
    Some((line.run, Rest { at_ms: at_ms(&line), seq: is_whole.then_some(line.seq), place }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_whole_in_a_head_is_read_and_no_more() {
        let of = |text: &str| head(text.as_bytes(), Place::default()).map(|(_, rest)| (rest.at_ms, rest.seq));
        let ts = "ts=1970-01-01T00:00:01.500Z";
        for (text, found) in [
            (format!("RUNNER_VITALS {ts} run=k3x9 seq=12 vm.m"), Some((Some(1500), Some(12)))),
            (format!("RUNNER_VITALS {ts} run=k3x9 seq=12 "), Some((Some(1500), Some(12)))),
            // The number, and what else stands at the end, can have lost its end.
            (format!("RUNNER_VITALS {ts} run=k3x9 seq=12"), Some((Some(1500), None))),
            (format!("RUNNER_VITALS {ts} run=k3x9 se"), Some((Some(1500), None))),
            ("RUNNER_VITALS ts= run=k3x9 seq=12 x".to_owned(), Some((None, Some(12)))),
            (format!("RUNNER_VITALS {ts} run=k3x9"), Some((Some(1500), None))),
            (format!("RUNNER_VITALS {ts} run=k3"), None),
            ("RUNNER_VITALS ts=1970-01-01T00:0".to_owned(), None),
            (format!("RUNNER_VITALSX {ts} run=k3x9 seq=12 "), None),
            (format!("RUNNER_LOG {ts} run=k3x9 seq=12 "), Some((Some(1500), Some(12)))),
        ] {
            assert_eq!(of(&text), found, "{text}");
        }
    }

    #[test]
    fn the_rests_of_a_crowd_are_bounded() {
        let mut rests = Rests::default();
        for nth in 0..u64::try_from(RUNS).unwrap() + 100 {
            let line = format!("xRUNNER_VITALS ts= run={} seq=7 ", RunId::from_random(nth).as_str());
            rests.take(line.as_bytes(), Origin::default(), Place::default());
        }
        assert_eq!(rests.latest.len(), RUNS);
    }
}
