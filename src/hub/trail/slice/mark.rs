//! What names a line, and where and when it was.

use std::num::NonZeroI64;

use serde::{Deserialize, Serialize};

/// No time.
const NO_TIME: i64 = i64::MIN;

/// Where a line stood in what was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Place {
    /// Which source, in the order in which they were read.
    pub source: u32,
    /// Its line, from 1; of a JSON document the entry. 0 where lines have no place but the source, as in Loki.
    pub line: u32,
}

/// What names a line within its run, and where and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Mark {
    /// The how-manieth line of its run.
    pub seq: u64,
    at: At,
    /// Where it stood.
    pub place: Place,
}

impl Mark {
    /// Of two lines the one with the higher number.
    #[must_use]
    pub(in super::super) fn later(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).max_by_key(|mark| mark.seq)
    }

    /// A line's mark; `at_ms` in milliseconds since 1970, `None` where the guest's clock was unusable.
    #[must_use]
    pub fn new(seq: u64, at_ms: Option<i64>, place: Place) -> Self {
        Self { seq, at: At::new(at_ms), place }
    }

    /// When it was written, by the guest's clock.
    #[must_use]
    pub fn at_ms(&self) -> Option<i64> {
        self.at.ms()
    }
}

/// A time or none, so that no mark at all takes no more room than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Option<i64>", into = "Option<i64>")]
struct At(NonZeroI64);

impl From<Option<i64>> for At {
    fn from(ms: Option<i64>) -> Self {
        Self::new(ms)
    }
}

impl From<At> for Option<i64> {
    fn from(at: At) -> Self {
        at.ms()
    }
}

impl At {
    /// The last of all milliseconds is no time of any line.
    fn new(ms: Option<i64>) -> Self {
        Self(NonZeroI64::new(ms.unwrap_or(NO_TIME) ^ i64::MAX).unwrap_or(NonZeroI64::MIN))
    }

    fn ms(self) -> Option<i64> {
        Some(self.0.get() ^ i64::MAX).filter(|ms| *ms != NO_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_keeps_any_time_and_none_takes_no_room() {
        for at in [None, Some(0), Some(-1), Some(1), Some(1_780_000_000_000), Some(i64::MAX - 1), Some(i64::MIN + 1)] {
            assert_eq!(Mark::new(7, at, Place::default()).at_ms(), at);
        }
        assert_eq!(size_of::<Option<Mark>>(), size_of::<Mark>());
    }
}
