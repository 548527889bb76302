//! What the kernel's averages are made of now: an average that falls since an earlier load is not one of this moment.

use crate::hub::trail::slice::Last;

use super::evidence::Evidence;

impl Evidence<'_> {
    /// What an average over ten seconds (`avg10`) was made of lately, tenths of a per cent: an average that falls since an
    /// earlier load is not one now. The kernel folds in a new value each 2 s, by e^(-2/10), 1677 of 2048.
    #[must_use]
    pub fn present(&self, of: Last) -> Option<i64> {
        Some(implied(self.steps(of, 2000)?, 1677).clamp(0, 1000))
    }

    /// The same; where there are too few samples to compute it, the average itself.
    #[must_use]
    pub fn present_or_last(&self, of: Last) -> Option<i64> {
        self.present(of).or_else(|| self.last_sample()?.last(of))
    }

    /// How many tasks wanted to run lately, hundredths: what `load1` was made of. The kernel folds in a new value each 5 s, by
    /// e^(-5/60), 1884 of 2048.
    #[must_use]
    pub fn runnable(&self) -> Option<i64> {
        Some(implied(self.steps(Last::Load1, 5000)?, 1884).max(0))
    }

    /// An average before the latest samples and now, and how often it was made anew in between.
    fn steps(&self, of: Last, step_ms: i64) -> Option<Averages> {
        let base = self.earlier.last().or(self.life.recent.first())?;
        let last = self.last_sample()?;
        let span = last.mark.at_ms()?.saturating_sub(base.mark.at_ms()?);
        let steps = span.saturating_add(step_ms / 2) / step_ms;
        if steps < 1 {
            return None;
        }
        Some(Averages { old: base.last(of)?, new: last.last(of)?, steps: steps.min(200) })
    }
}

#[derive(Clone, Copy)]
struct Averages {
    old: i64,
    new: i64,
    steps: i64,
}

/// The constant value that makes an exponential average go from the old to the new one.
fn implied(of: Averages, kept_of_2048: i64) -> i64 {
    const ONE: i64 = 1 << 20;
    let kept = (0..of.steps).fold(ONE, |kept, _| kept * kept_of_2048 / 2048);
    (of.new * ONE - of.old * kept) / (ONE - kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_tells_what_it_was_made_of() {
        // load1 of 1.00 that goes to 2.52 in 10 s: 0.9199 of it stays each 5 s, so some 11 tasks ran.
        assert_eq!(implied(Averages { old: 100, new: 252, steps: 2 }, 1884), 1088);
        assert_eq!(implied(Averages { old: 800, new: 800, steps: 3 }, 1677), 800);
        assert!(implied(Averages { old: 800, new: 655, steps: 1 }, 1677).abs() <= 1, "it only falls: nothing now");
    }
}
