//! Whether a trail is over: a run whose next line is not due yet has not fallen silent. Pure: the time is an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// So much later than it is due a line can come: it waits for a collector, or in a queue behind others, ms. Where lines are further
/// apart it is two of their intervals.
const SLACK_MS: i64 = 30_000;

/// A guest's clock can be so much ahead. One that is further ahead says nothing about now, ms.
const AHEAD_MS: i64 = 600_000;

/// For how long behind its last line a run is not silent yet, ms: its next is not due, or can be on its way.
#[must_use]
pub fn forgiven_ms(interval_ms: i64) -> i64 {
    interval_ms.saturating_add(interval_ms.saturating_mul(2).max(SLACK_MS))
}

/// When it is looked, and up to when lines were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    now_ms: i64,
    to_ms: Option<i64>,
}

/// Up to when a trail was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// From when on the next line is missing, if it did not come.
    pub over_ms: i64,
    /// Lines of after that were not asked for.
    pub is_asked: bool,
}

impl Clock {
    /// It is this time, and lines were asked for up to another, where one was named.
    #[must_use]
    pub fn new(now: SystemTime, to: Option<SystemTime>) -> Self {
        Self { now_ms: since_1970_ms(now), to_ms: to.map(since_1970_ms) }
    }

    /// Up to when a trail was looked at whose end is not seen: its next line, an interval after its last, may yet come. `None`
    /// where it is over, or where nothing tells when its last line was, `last_ms`.
    #[must_use]
    pub fn before_the_end(&self, last_ms: Option<i64>, interval_ms: i64) -> Option<Looked> {
        let last_ms = last_ms?;
        let is_near = |at_ms: i64| last_ms <= at_ms.saturating_add(AHEAD_MS);
        // Files can have later lines than Loki was asked for.
        let to_ms = self.to_ms.filter(|to| *to < self.now_ms && is_near(*to));
        let at_ms = to_ms.unwrap_or(self.now_ms);
        let over_ms = last_ms.saturating_add(forgiven_ms(interval_ms));
        (at_ms <= over_ms && is_near(at_ms)).then_some(Looked { at_ms, over_ms, is_asked: to_ms.is_some() })
    }
}

fn since_1970_ms(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_over_when_its_next_line_is_long_due() {
        let at = |s: u64| UNIX_EPOCH + Duration::from_secs(s);
        let looked = |now: u64, to: Option<u64>, interval_ms| {
            let found = Clock::new(at(now), to.map(at)).before_the_end(Some(1_000_000), interval_ms);
            found.map(|looked| (looked.at_ms / 1000, looked.over_ms / 1000, looked.is_asked))
        };
        for (now, to, interval_ms, expected) in [
            (1003, None, 5000, Some((1003, 1035, false))),
            (1035, None, 5000, Some((1035, 1035, false))),
            (1036, None, 5000, None),
            (1170, None, 60_000, Some((1170, 1180, false))),
            // The guest's clock is ahead a little, or is no clock.
            (500, None, 5000, Some((500, 1035, false))),
            (399, None, 5000, None),
            // Lines of after that were not asked for.
            (9000, Some(1010), 5000, Some((1010, 1035, true))),
            (9000, Some(1100), 5000, None),
            (9000, Some(990), 5000, Some((990, 1035, true))),
            (1003, Some(2000), 5000, Some((1003, 1035, false))),
            // Those of a file all the same.
            (9000, Some(10), 5000, None),
        ] {
            assert_eq!(looked(now, to, interval_ms), expected, "{now} {to:?} {interval_ms}");
        }
        assert_eq!(Clock::new(at(5), None).before_the_end(None, 5000), None);
    }
}
