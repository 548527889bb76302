//! How much may come: so much a second in the long run, and so much at once. Pure.

use std::time::Duration;

/// What may come, of whatever it is: lines, tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// So many a second, in the long run.
    pub a_second: u32,
    /// So many at once, after a rest.
    pub burst: u32,
}

/// More has come: how long whoever sent it shall wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch {
    /// Until it would be taken.
    pub wait: Duration,
}

/// What may still come now.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Thousandths of what comes.
    left: u64,
    /// The latest that it was filled at. Whole: what a moment leaves over is not lost to the next.
    filled_ms: u64,
}

impl Bucket {
    /// Nothing has come yet at `now`, from any fixed moment on.
    pub(super) fn full(pace: Pace, now: Duration) -> Self {
        Self { left: u64::from(pace.burst) * 1000, filled_ms: millis(now) }
    }

    /// Lets this many come, or says how long to wait. Who was overtaken on the way here is paid for no second time.
    pub(super) fn take(&mut self, count: usize, pace: Pace, now: Duration) -> Result<(), TooMuch> {
        self.left = self.left_at(pace, now);
        self.filled_ms = self.filled_ms.max(millis(now));
        let wanted = u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(1000);
        match self.left.checked_sub(wanted) {
            Some(left) => self.left = left,
            None => return Err(TooMuch { wait: Duration::from_millis((wanted - self.left).div_ceil(rate(pace))) }),
        }
        Ok(())
    }

    /// Whether as much may come as ever at `now`: as if nothing had come yet.
    pub(super) fn is_full(&self, pace: Pace, now: Duration) -> bool {
        self.left_at(pace, now) == u64::from(pace.burst) * 1000
    }

    /// When it was last filled: milliseconds, on the clock of its users.
    pub(super) fn filled_ms(&self) -> u64 {
        self.filled_ms
    }

    fn left_at(&self, pace: Pace, now: Duration) -> u64 {
        let came = millis(now).saturating_sub(self.filled_ms).saturating_mul(rate(pace));
        self.left.saturating_add(came).min(u64::from(pace.burst) * 1000)
    }
}

/// Thousandths a millisecond.
fn rate(pace: Pace) -> u64 {
    u64::from(pace.a_second.max(1))
}

/// Whole milliseconds of this time.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { a_second: 10, burst: 20 };
    const T0: Duration = Duration::from_secs(100);

    #[test]
    fn no_time_is_paid_twice() {
        let mut bucket = Bucket::full(PACE, T0);
        assert_eq!(bucket.take(20, PACE, T0), Ok(()));
        let later = T0 + Duration::from_secs(1);
        assert_eq!(bucket.take(10, PACE, later), Ok(()));
        for _ in 0..10 {
            for now in [T0, later] {
                assert!(bucket.take(1, PACE, now).is_err());
            }
        }
    }

    #[test]
    fn no_time_is_lost_to_who_comes_too_often() {
        let mut bucket = Bucket::full(PACE, T0);
        assert_eq!(bucket.take(20, PACE, T0), Ok(()));
        let took = (1..=5000).filter(|i| bucket.take(1, PACE, T0 + Duration::from_micros(200) * *i).is_ok());
        assert_eq!(took.count(), 10, "in a second");
    }
}
