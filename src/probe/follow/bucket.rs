//! How many lines a sidecar may send: so many a second, and more at once after a quiet time.

use std::time::Duration;

/// Lines a second, over time.
pub const LINES_PER_SECOND: u64 = 50;

/// Lines at once.
pub const BURST_LINES: u64 = 500;

/// What one line costs: the bucket fills by the millisecond.
const LINE: u64 = 1000;

/// The bucket, and what it held back.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    level: u64,
    filled_at: Duration,
    suppressed: u64,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub const fn new(now: Duration) -> Self {
        Self { level: BURST_LINES * LINE, filled_at: now, suppressed: 0 }
    }

    /// Whether a line may go now; one that may not is counted.
    pub fn allows(&mut self, now: Duration) -> bool {
        self.fill(now);
        let left = self.level.checked_sub(LINE);
        self.level = left.unwrap_or(self.level);
        self.suppressed += u64::from(left.is_none());
        left.is_some()
    }

    /// Counts lines that went with one that was held back.
    pub const fn suppress(&mut self, lines: u64) {
        self.suppressed = self.suppressed.saturating_add(lines);
    }

    /// Whether a line could go now.
    pub fn has_room(&mut self, now: Duration) -> bool {
        self.fill(now);
        self.level >= LINE
    }

    /// Lines held back so far.
    #[must_use]
    pub const fn suppressed(&self) -> u64 {
        self.suppressed
    }

    fn fill(&mut self, now: Duration) {
        let elapsed_ms = u64::try_from(now.saturating_sub(self.filled_at).as_millis()).unwrap_or(u64::MAX);
        if elapsed_ms > 0 {
            self.level = self.level.saturating_add(elapsed_ms.saturating_mul(LINES_PER_SECOND)).min(BURST_LINES * LINE);
            self.filled_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_a_pace() {
        let mut bucket = Bucket::new(Duration::ZERO);
        let mut passed = |ms: u64, lines: usize| {
            let now = Duration::from_millis(ms);
            (0..lines).filter(|_| bucket.allows(now)).count()
        };
        assert_eq!(passed(0, 600), 500);
        assert_eq!(passed(19, 10), 0);
        assert_eq!(passed(20, 10), 1);
        assert_eq!(passed(1020, 100), 50);
        assert_eq!(passed(1000, 10), 0, "a clock that steps back gives nothing");
        assert_eq!(passed(1_000_000, 1000), 500);
        assert_eq!(bucket.suppressed(), 100 + 10 + 9 + 50 + 10 + 500);
    }
}
