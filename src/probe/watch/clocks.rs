//! The system's clocks held against each other: whether the guest stood still, or its clock was set.

use std::time::Duration;

use rustix::time::ClockId;

/// A jump shorter than this is told by nothing: clocks are read one after the other, and adjusted in small steps.
const SHORTEST: Duration = Duration::from_secs(1);

/// The clocks at one moment (clock_gettime(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Time since boot, without time in suspend.
    monotonic: Duration,
    /// Time since boot, all of it.
    boottime: Duration,
    /// Time since 1970, as it is set.
    realtime: Duration,
}

/// What happened between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The clock was set: so many milliseconds forward, or back.
    Clock(i64),
    /// The guest was suspended for so many milliseconds.
    Paused(i64),
    /// For so many milliseconds nothing ran here that should have.
    Unknown(i64),
}

impl Clocks {
    /// Reads them.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic: read(ClockId::Monotonic), boottime: since_boot(), realtime: read(ClockId::Realtime) }
    }

    /// Reads them, beside the clock of [`std::time::Instant`], which stands still in suspend there; `CLOCK_MONOTONIC` does not.
    #[cfg(target_os = "macos")]
    #[must_use]
    pub fn beside(awake: Duration) -> Self {
        Self { monotonic: awake, boottime: since_boot(), realtime: read(ClockId::Realtime) }
    }

    /// What happened since `before`, when the sample due now comes so `late`; samples are an `interval` apart.
    #[must_use]
    pub fn gaps(&self, before: &Self, late: Duration, interval: Duration) -> [Option<Gap>; 2] {
        let ran = self.monotonic.saturating_sub(before.monotonic);
        let passed = self.boottime.saturating_sub(before.boottime);
        let suspended = passed.saturating_sub(ran);
        let still = if suspended >= SHORTEST {
            Some(Gap::Paused(ms(suspended)))
        } else {
            (late >= interval.max(SHORTEST)).then_some(Gap::Unknown(ms(late)))
        };
        let expected = before.realtime.saturating_add(passed);
        let off = ms(self.realtime) - ms(expected);
        let was_set = self.realtime.abs_diff(expected) >= SHORTEST;
        [still, was_set.then_some(Gap::Clock(off))]
    }
}

impl Gap {
    /// As the line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clock(_) => "clock",
            Self::Paused(_) => "paused",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Its milliseconds.
    #[must_use]
    pub const fn ms(self) -> i64 {
        match self {
            Self::Clock(ms) | Self::Paused(ms) | Self::Unknown(ms) => ms,
        }
    }
}

/// Time since boot, that in suspend included: a clock that nobody sets.
#[cfg(target_os = "linux")]
#[must_use]
pub fn since_boot() -> Duration {
    read(ClockId::Boottime)
}

/// Time since boot, that in suspend included: a clock that nobody sets.
#[cfg(target_os = "macos")]
#[must_use]
pub fn since_boot() -> Duration {
    read(ClockId::Monotonic)
}

fn read(clock: ClockId) -> Duration {
    Duration::try_from(rustix::time::clock_gettime(clock)).unwrap_or_default()
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The clocks after they all went on from 10 s by so many milliseconds each.
    fn after(monotonic: u64, boottime: u64, realtime: u64) -> Clocks {
        let at = |ms| Duration::from_millis(10_000 + ms);
        Clocks { monotonic: at(monotonic), boottime: at(boottime), realtime: at(realtime) }
    }

    #[test]
    fn each_kind_of_gap_is_told_from_the_others() {
        let interval = Duration::from_secs(3);
        for (clocks, late_ms, expected) in [
            (after(3000, 3000, 3000), 0, [None, None]),
            (after(3000, 3000, 3900), 900, [None, None]),
            (after(9000, 9000, 9000), 6000, [Some(Gap::Unknown(6000)), None]),
            (after(5900, 5900, 5900), 2900, [None, None]),
            (after(3000, 23_000, 23_000), 0, [Some(Gap::Paused(20_000)), None]),
            (after(3000, 3000, 63_000), 0, [None, Some(Gap::Clock(60_000))]),
            (after(3000, 3000, 0), 0, [None, Some(Gap::Clock(-3000))]),
            (after(3000, 23_000, 3000), 0, [Some(Gap::Paused(20_000)), Some(Gap::Clock(-20_000))]),
        ] {
            assert_eq!(clocks.gaps(&after(0, 0, 0), Duration::from_millis(late_ms), interval), expected, "{clocks:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_did_not_stand_still_just_now() {
        let before = Clocks::now();
        assert_eq!(Clocks::now().gaps(&before, Duration::ZERO, Duration::from_secs(1)), [None, None]);
    }
}
