//! When lines came, by the clock of who logged them: a collector, a container runtime, a hub, or a server that the guest asked for the
//! time. A guest's own clock can be off, and by it a runner that lives looks dead, or one that died looks alive.

use serde::{Deserialize, Serialize};

use super::slice::Mark;
use crate::line::{Line, field};

/// What stands for no time.
const NONE: i64 = i64::MIN;

/// The first and the last line of a run of which it is known when they came. In 32 bytes: runs are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Option<Times>", into = "Option<Times>")]
pub(super) struct Came {
    first_seq: u32,
    last_seq: u32,
    first_ms: i64,
    last_ms: i64,
    /// How much later than that the guest's clock said it was, at the last.
    ahead_ms: i64,
}

/// The same in the order of its fields; most runs have none.
type Times = (u32, u32, i64, i64, i64);

impl From<Option<Times>> for Came {
    fn from(times: Option<Times>) -> Self {
        times.map_or_else(Self::default, |(first_seq, last_seq, first_ms, last_ms, ahead_ms)| Self {
            first_seq,
            last_seq,
            first_ms,
            last_ms,
            ahead_ms,
        })
    }
}

impl From<Came> for Option<Times> {
    fn from(came: Came) -> Self {
        let Came { first_seq, last_seq, first_ms, last_ms, ahead_ms } = came;
        (first_ms != NONE).then_some((first_seq, last_seq, first_ms, last_ms, ahead_ms))
    }
}

impl Default for Came {
    fn default() -> Self {
        Self { first_seq: 0, last_seq: 0, first_ms: NONE, last_ms: NONE, ahead_ms: NONE }
    }
}

impl Came {
    /// Takes when a line came. What came again came first.
    pub(super) fn take(&mut self, mark: Mark, at_ms: i64) {
        let seq = seq(mark);
        let is_none = self.first_ms == NONE;
        if is_none || (seq, at_ms) < (self.first_seq, self.first_ms) {
            (self.first_seq, self.first_ms) = (seq, at_ms);
        }
        if is_none || seq > self.last_seq || (seq == self.last_seq && at_ms < self.last_ms) {
            (self.last_seq, self.last_ms) = (seq, at_ms);
            self.ahead_ms = mark.at_ms().map_or(NONE, |guests| guests.saturating_sub(at_ms));
        }
    }

    /// Takes what another source had of the same run.
    pub(super) fn fold(&mut self, other: &Self) {
        if other.first_ms == NONE {
            return;
        }
        let is_none = self.first_ms == NONE;
        if is_none || (other.first_seq, other.first_ms) < (self.first_seq, self.first_ms) {
            (self.first_seq, self.first_ms) = (other.first_seq, other.first_ms);
        }
        if is_none || (other.last_seq, self.last_ms) > (self.last_seq, other.last_ms) {
            (self.last_seq, self.last_ms, self.ahead_ms) = (other.last_seq, other.last_ms, other.ahead_ms);
        }
    }

    /// From when to when lines came, where that is known of the last lines of a run: of this sample at least.
    pub(super) fn span_ms(&self, last_sample: Mark) -> Option<(i64, i64)> {
        (self.first_ms != NONE && self.last_seq >= seq(last_sample)).then_some((self.first_ms, self.last_ms))
    }

    /// By how much the guest's clock was ahead at the last of them; `None` where it was unusable.
    pub(super) fn ahead_ms(&self) -> Option<i64> {
        (self.ahead_ms != NONE).then_some(self.ahead_ms)
    }
}

/// How often a guest's clock was set, as far as the run tells it (`gap`). In 24 bytes: runs are many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Set {
    /// The last line that tells it; 0 where none does.
    seq: u32,
    /// By how much the last time, ms; back is negative.
    pub last_ms: i64,
    /// By how much in all, ms.
    pub total_ms: i64,
}

impl Set {
    /// Takes a line that tells it, each once.
    pub(super) fn take(&mut self, mark: Mark, line: &Line<'_>) {
        if line.text(field::KIND) == Some("clock")
            && let Some(ms) = line.scaled(field::MS)
        {
            self.fold(&Self { seq: seq(mark).max(1), last_ms: ms, total_ms: ms });
        }
    }

    /// Takes what another source had of the same run.
    pub(super) fn fold(&mut self, other: &Self) {
        if self.seq != other.seq {
            let total_ms = self.total_ms.saturating_add(other.total_ms);
            *self = Self { total_ms, ..if self.seq < other.seq { *other } else { *self } };
        }
    }

    /// By how much between two lines, where it was set once.
    pub(super) fn between_ms(&self, from: Mark, to: Mark) -> i64 {
        if (seq(from).saturating_add(1)..=seq(to)).contains(&self.seq) { self.last_ms } else { 0 }
    }
}

/// A run of four billion lines is none.
fn seq(mark: Mark) -> u32 {
    u32::try_from(mark.seq).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::slice::Place;
    use super::*;

    #[test]
    fn the_first_and_the_last_are_kept_in_any_order() {
        let line = |seq: u64, guests: i64, at_ms: i64| (Mark::new(seq, Some(guests), Place::default()), at_ms);
        let lines = [line(1, 100, 50), line(2, 110, 61), line(3, 120, 70), line(3, 120, 99)];
        let whole = Came { first_seq: 1, last_seq: 3, first_ms: 50, last_ms: 70, ahead_ms: 50 };
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
            let mut came = Came::default();
            order.iter().for_each(|at| came.take(lines[*at].0, lines[*at].1));
            assert_eq!(came, whole);
            let (mut one, mut other) = (Came::default(), Came::default());
            order[..2].iter().for_each(|at| one.take(lines[*at].0, lines[*at].1));
            order[2..].iter().for_each(|at| other.take(lines[*at].0, lines[*at].1));
            one.fold(&other);
            one.fold(&Came::default());
            assert_eq!(one, whole, "{order:?}");
        }
        assert_eq!((whole.span_ms(lines[2].0), whole.ahead_ms()), (Some((50, 70)), Some(50)));
        assert_eq!(whole.span_ms(line(4, 130, 80).0), None, "the last is not known");
        assert_eq!(Came::default().span_ms(lines[0].0), None);
    }
}
