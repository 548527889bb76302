//! When the lines of a run were written: by the guest's clock, and by that of who logged them.

use super::Life;
use crate::hub::trail::slice::Mark;

/// The interval of a probe that does not say it, at the least, ms.
const SHORT_MS: i64 = 1000;

impl Life {
    /// The time between two due samples; estimated where neither `start` nor `about` is there.
    #[must_use]
    pub fn interval_ms(&self) -> Option<i64> {
        let told = self.about.as_ref().and_then(|about| about.interval_ms);
        told.or_else(|| {
            let whole = self.whole.as_ref()?;
            let due = i64::from(whole.samples.saturating_sub(whole.bursts)) - 1;
            let span = whole.mark.at_ms()?.saturating_sub(whole.first.at_ms()?);
            (due > 0 && span > 0).then(|| span / due)
        })
    }

    /// From when to when its lines came by the clock of who logged them, milliseconds since 1970. `None` where that is not known, where
    /// they are hardly any samples, or where they came much closer together than they were taken: all at once, some time later.
    #[must_use]
    pub fn logged_ms(&self) -> Option<(i64, i64)> {
        let (first, last) = self.came.span_ms(self.last_sample.as_ref()?.mark)?;
        let whole = self.whole.as_ref()?;
        let due = i64::from(whole.samples.saturating_sub(whole.bursts)) - 1;
        let interval_ms = self.about.as_ref().and_then(|about| about.interval_ms).unwrap_or(SHORT_MS);
        let is_as_taken = last.saturating_sub(first) >= due.saturating_mul(interval_ms) / 2;
        (due > 0 && is_as_taken).then_some((first, last))
    }

    /// By how much the guest's clock was ahead of that clock at the end, ms; `None` where it is not known.
    #[must_use]
    pub fn ahead_ms(&self) -> Option<i64> {
        self.logged_ms()?;
        self.came.ahead_ms()
    }

    /// When a line was written by the clock of who logged the last ones, where that is known; else by the guest's.
    #[must_use]
    pub fn logged_at_ms(&self, mark: Mark) -> Option<i64> {
        match mark.at_ms() {
            Some(at) => Some(at.saturating_sub(self.ahead_ms().unwrap_or(0))),
            None => self.logged_ms().filter(|_| mark.seq >= self.last.seq).map(|(_, last)| last),
        }
    }

    /// By how much the guest's clock was set between two lines, ms.
    #[must_use]
    pub fn set_ms(&self, from: Mark, to: Mark) -> i64 {
        self.set.between_ms(from, to)
    }

    /// From its first line to its last, milliseconds since 1970; `None` without a sample or without a clock.
    #[must_use]
    pub fn span_ms(&self) -> Option<(i64, i64)> {
        self.whole.as_ref().and_then(|_| self.first.at_ms().zip(self.last.at_ms()))
    }
}
