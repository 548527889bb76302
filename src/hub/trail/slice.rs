//! What is kept of samples: of one, or of many folded into one, in the same room and in any order.

mod counted;
mod mark;
mod readings;

pub use counted::Counted;
pub use mark::{Mark, Place};
pub use readings::{High, Kept, Last, Low, Mean, kept};

use serde::{Deserialize, Serialize};

use crate::line::Line;
use crate::line::field;
use readings::Goes;

/// One sample, or several folded: extremes, sums and last values. Folding gives the same in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Slice {
    /// The last of its samples.
    pub mark: Mark,
    /// The first of its samples.
    pub first: Mark,
    /// How many samples it is of.
    pub samples: u32,
    /// How many of them were taken because of an event.
    pub bursts: u32,
    high: [i32; High::COUNT],
    low: [i32; Low::COUNT],
    /// Sums, by whole tenths.
    mean: [u32; Mean::COUNT],
    /// How many samples had `cpu.busy.pct`: the first of a run has not.
    busy_samples: u32,
    last: [i32; Last::COUNT],
}

/// What the highest, the lowest and the last of no reading are.
const UNREAD_HIGH: i32 = i32::MIN;
const UNREAD_LOW: i32 = i32::MAX;

impl Slice {
    /// A sample without readings.
    #[must_use]
    pub fn new(mark: Mark) -> Self {
        Self {
            mark,
            first: mark,
            samples: 1,
            bursts: 0,
            high: [UNREAD_HIGH; High::COUNT],
            low: [UNREAD_LOW; Low::COUNT],
            mean: [0; Mean::COUNT],
            busy_samples: 0,
            last: [UNREAD_HIGH; Last::COUNT],
        }
    }

    /// The readings of a sample that was decoded.
    #[must_use]
    pub fn of(mark: Mark, line: &Line<'_>) -> Self {
        let mut slice = Self::new(mark);
        for (field, kept) in field::ALL.iter().zip(kept()) {
            if let Some(value) = line.scaled(field) {
                slice.keep(*kept, value);
            }
        }
        slice.keep_agent_state(line.text(field::AGENT_STATE).unwrap_or_default());
        slice
    }

    /// Says which line it is, where that was not known before its readings.
    pub fn is_at(&mut self, mark: Mark) {
        self.mark = mark;
        self.first = mark;
    }

    /// Keeps a reading, in units of its last decimal.
    pub fn keep(&mut self, kept: Kept, value: i64) {
        let value = clamped(value >> kept.shift);
        for goes in kept.goes {
            match *goes {
                Goes::High(at) => put(&mut self.high, at as usize, value),
                Goes::Low(at) => put(&mut self.low, at as usize, value),
                Goes::Last(at) => put(&mut self.last, at as usize, value),
                Goes::Burst => self.bursts = 1,
                Goes::Mean(at) => {
                    put(&mut self.mean, at as usize, u32::try_from(value).unwrap_or(0));
                    self.busy_samples |= u32::from(at == Mean::CpuBusy);
                }
            }
        }
    }

    /// Keeps the letter of `agent.state`.
    pub fn keep_agent_state(&mut self, state: &str) {
        put(&mut self.last, Last::AgentState as usize, state.bytes().next().map_or(UNREAD_HIGH, i32::from));
    }

    /// Takes another slice of the same run into this one.
    pub fn fold(&mut self, other: &Self) {
        if other.mark.seq >= self.mark.seq {
            self.mark = other.mark;
            self.last = other.last;
        }
        if other.first.seq < self.first.seq {
            self.first = other.first;
        }
        self.samples = self.samples.saturating_add(other.samples);
        self.bursts = self.bursts.saturating_add(other.bursts);
        self.busy_samples = self.busy_samples.saturating_add(other.busy_samples);
        merge(&mut self.high, &other.high, i32::max);
        merge(&mut self.low, &other.low, i32::min);
        merge(&mut self.mean, &other.mean, u32::saturating_add);
    }

    /// The highest of a reading; `None` when it was never there.
    #[must_use]
    pub fn high(&self, of: High) -> Option<i64> {
        self.high.get(of as usize).copied().filter(|value| *value != UNREAD_HIGH).map(i64::from)
    }

    /// The lowest of a reading; `None` when it was never there.
    #[must_use]
    pub fn low(&self, of: Low) -> Option<i64> {
        self.low.get(of as usize).copied().filter(|value| *value != UNREAD_LOW).map(i64::from)
    }

    /// The last of a reading; `None` when it was never there.
    #[must_use]
    pub fn last(&self, of: Last) -> Option<i64> {
        self.last.get(of as usize).copied().filter(|value| *value != UNREAD_HIGH).map(i64::from)
    }

    /// The mean of a percentage, tenths; `None` of `cpu.busy.pct` where no sample had it. Another that was never there is 0: it is
    /// printed over 0 only.
    #[must_use]
    pub fn mean(&self, of: Mean) -> Option<i64> {
        let samples = if of == Mean::CpuBusy { self.busy_samples } else { self.samples };
        i64::from(self.sum(of)).checked_div(i64::from(samples))
    }

    /// Whether any sample had a percentage over 0, however many had not.
    #[must_use]
    pub fn has(&self, of: Mean) -> bool {
        self.sum(of) > 0
    }

    fn sum(&self, of: Mean) -> u32 {
        self.mean.get(of as usize).copied().unwrap_or(0)
    }
}

fn clamped(value: i64) -> i32 {
    // The ends are what stands for no reading.
    i32::try_from(value.clamp(i64::from(UNREAD_HIGH) + 1, i64::from(UNREAD_LOW) - 1)).unwrap_or(0)
}

fn put<T>(values: &mut [T], at: usize, value: T) {
    if let Some(slot) = values.get_mut(at) {
        *slot = value;
    }
}

fn merge<T: Copy>(own: &mut [T], other: &[T], with: impl Fn(T, T) -> T) {
    for (own, other) in own.iter_mut().zip(other) {
        *own = with(*own, *other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::field::Field;

    fn sample(seq: u64, avail_kb: i64, late: i64) -> Slice {
        let mut slice = Slice::new(Mark::new(seq, Some(1000), Place::default()));
        let kept = |field: &Field| kept()[field::ALL.iter().position(|one| one.key == field.key).unwrap()];
        slice.keep(kept(field::VM_MEM_AVAIL), avail_kb);
        slice.keep(kept(field::LATE), late);
        slice.keep(kept(field::CPU_STALL), 500);
        slice
    }

    #[test]
    fn folding_is_the_same_in_any_order() {
        let samples = [sample(1, 10, 7), sample(2, 5, 9), sample(3, 8, 1)];
        let fold = |order: [usize; 3]| {
            let mut whole = samples[order[0]];
            whole.fold(&samples[order[1]]);
            whole.fold(&samples[order[2]]);
            whole
        };
        for order in [[0, 2, 1], [1, 0, 2], [2, 1, 0]] {
            assert_eq!(fold(order), fold([0, 1, 2]));
        }
        let whole = fold([0, 1, 2]);
        assert_eq!((whole.low(Low::MemAvail), whole.last(Last::MemAvail)), (Some(5), Some(8)));
        assert_eq!((whole.high(High::Late), whole.mean(Mean::CpuStall)), (Some(9), Some(500)));
        assert_eq!(
            (whole.mean(Mean::CpuBusy), whole.has(Mean::CpuStall), whole.has(Mean::MemStall)),
            (None, true, false)
        );
        assert_eq!(whole.high(High::Retrans), None);
    }
}
