//! When to sample faster, and how much of that there may be. Pure: the caller brings the clock.
//!
//! An event that means trouble begins a burst: samples every 250 ms while the trouble lasts, for 30 s at most. A burst
//! that ran its full time is followed by as long a rest, so that a guest that is in trouble for hours does not fill its
//! log with it. An OOM is what deaths are made of: it breaks the rest, and lines are kept back for it.

use std::time::Duration;

/// From one sample of a burst to the next.
pub const STEP: Duration = Duration::from_millis(250);

/// How long a burst lasts at most, and then the rest.
const LONGEST: Duration = Duration::from_secs(30);

/// How long trouble counts as lasting after it was last seen: pressure triggers speak once a window, of 2 s at most.
const LASTS: Duration = Duration::from_millis(2500);

/// What began a burst, or goes on in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A resource runs short.
    Pressure,
    /// The kernel kills, or is about to.
    Oom,
}

/// Two samples are at least so far apart: in less the kernel's own ticks say nothing.
pub const APART: Duration = Duration::from_millis(50);

/// The bursts of a run.
#[derive(Debug, Default)]
pub struct Bursts {
    current: Option<Burst>,
    rests_until: Duration,
    sampled_at: Duration,
    /// When there was the last OOM.
    oom_at: Option<Duration>,
    minute: Window,
    hour: Window,
    suppressed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Burst {
    began: Duration,
    trouble_at: Duration,
    next: Duration,
}

/// Lines of bursts in a window of time.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began: Duration,
    lines: u32,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Lines of bursts a minute and an hour at most, and how many of them are kept for OOMs.
const A_MINUTE: (u32, u32) = (120, 40);
const AN_HOUR: (u32, u32) = (1200, 400);

impl Bursts {
    /// There is trouble now. Gives whether something begins with it: a burst, or OOMs in one.
    pub fn trouble(&mut self, cause: Cause, now: Duration) -> bool {
        let is_oom = cause == Cause::Oom;
        let is_first_oom = is_oom && !self.is_in_oom(now);
        if is_oom {
            self.oom_at = Some(now);
        }
        let soon = now.max(self.sampled_at + APART);
        match &mut self.current {
            Some(burst) => {
                burst.trouble_at = now;
                if is_oom {
                    burst.next = burst.next.min(soon);
                }
                if is_first_oom {
                    burst.began = now;
                }
                is_first_oom
            }
            None if !is_oom && now < self.rests_until => false,
            None => {
                self.current = Some(Burst { began: now, trouble_at: now, next: soon });
                true
            }
        }
    }

    fn is_in_oom(&self, now: Duration) -> bool {
        self.oom_at.is_some_and(|at| now.saturating_sub(at) <= LASTS)
    }

    /// When the next sample of a burst is due; `None` outside of one.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.current.map(|burst| burst.next)
    }

    /// Whether such a sample may be written now. The caller takes it, or goes without; either way the next is set.
    pub fn take(&mut self, now: Duration) -> bool {
        if self.current.is_none() {
            return false;
        }
        let cause = if self.is_in_oom(now) { Cause::Oom } else { Cause::Pressure };
        let is_allowed =
            self.minute.has_room(MINUTE, A_MINUTE, cause, now) && self.hour.has_room(HOUR, AN_HOUR, cause, now);
        if is_allowed {
            self.minute.lines += 1;
            self.hour.lines += 1;
        } else {
            self.suppressed += 1;
        }
        self.sampled(now);
        is_allowed
    }

    /// A sample was taken now, of whatever kind: the next of the burst is a step later, or the burst is over.
    pub fn sampled(&mut self, now: Duration) {
        self.sampled_at = now;
        let Some(burst) = &mut self.current else { return };
        burst.next = now + STEP;
        let is_full = burst.next.saturating_sub(burst.began) > LONGEST;
        if is_full {
            self.rests_until = now + LONGEST;
        }
        if is_full || burst.next.saturating_sub(burst.trouble_at) > LASTS {
            self.current = None;
        }
    }

    /// Samples of bursts that were not written, since the run began.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }
}

impl Window {
    fn has_room(&mut self, long: Duration, (most, kept): (u32, u32), cause: Cause, now: Duration) -> bool {
        if now.saturating_sub(self.began) >= long {
            *self = Self { began: now, lines: 0 };
        }
        self.lines < if cause == Cause::Oom { most } else { most - kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Lines written from `from` for so long, in steps of 10 ms, with trouble told once a second while `lasts` says so.
    fn lines(bursts: &mut Bursts, from: Duration, long: Duration, lasts: impl Fn(Duration) -> Option<Cause>) -> u32 {
        let mut written = 0;
        let mut now = from;
        while now < from + long {
            if now.as_millis().is_multiple_of(1000)
                && let Some(cause) = lasts(now)
            {
                bursts.trouble(cause, now);
            }
            if bursts.due().is_some_and(|due| due <= now) {
                written += u32::from(bursts.take(now));
            }
            now += ms(10);
        }
        written
    }

    #[test]
    fn trouble_is_sampled_at_once_and_every_250_ms_until_it_is_over() {
        let mut bursts = Bursts::default();
        assert!(bursts.due().is_none() && !bursts.take(ms(5)));
        assert!(bursts.trouble(Cause::Pressure, ms(1000)));
        assert_eq!(bursts.due(), Some(ms(1000)));
        assert!(bursts.take(ms(1003)));
        assert_eq!(bursts.due(), Some(ms(1253)));
        assert!(!bursts.trouble(Cause::Pressure, ms(1300)), "it goes on");
        // The last trouble was at 1300: with 2.5 s to it.
        assert_eq!(lines(&mut bursts, ms(1310), ms(10_000), |_| None), 10);
        assert!(bursts.due().is_none());
    }

    #[test]
    fn a_due_sample_serves_the_burst_too() {
        let mut bursts = Bursts::default();
        bursts.trouble(Cause::Pressure, ms(1000));
        bursts.sampled(ms(1000));
        assert_eq!(bursts.due(), Some(ms(1250)));
    }

    #[test]
    fn a_burst_is_30_s_long_and_then_there_is_a_rest() {
        let mut bursts = Bursts::default();
        let minute = lines(&mut bursts, ms(0), MINUTE, |_| Some(Cause::Pressure));
        // 30 s at 4 a second are 120, but 40 are kept.
        assert_eq!(minute, 80);
        let hour = lines(&mut bursts, MINUTE, HOUR - MINUTE, |_| Some(Cause::Pressure)) + minute;
        assert_eq!(hour, 800);
        assert!(bursts.suppressed() > 0);
        // The window of that minute may have begun a little before.
        let ooms = lines(&mut bursts, HOUR - MINUTE, ms(59_000), |_| Some(Cause::Oom));
        assert!((110..=120).contains(&ooms), "{ooms}");
    }

    #[test]
    fn an_oom_breaks_the_rest_and_uses_what_is_kept_for_it() {
        let mut bursts = Bursts::default();
        assert_eq!(lines(&mut bursts, ms(0), ms(40_000), |_| Some(Cause::Pressure)), 80);
        assert!(bursts.due().is_none());
        assert!(!bursts.trouble(Cause::Pressure, ms(41_000)));
        assert!(bursts.trouble(Cause::Oom, ms(41_000)));
        assert!(bursts.take(ms(41_000)));
        // For each at once, but not on top of another sample.
        bursts.trouble(Cause::Oom, ms(41_010));
        assert_eq!(bursts.due(), Some(ms(41_050)));
        bursts.trouble(Cause::Oom, ms(41_100));
        assert_eq!(bursts.due(), Some(ms(41_050)));
        assert_eq!(lines(&mut bursts, ms(41_100), ms(18_000), |_| Some(Cause::Oom)), 39);
    }

    #[test]
    fn what_is_kept_for_ooms_is_not_spent_on_what_follows_one() {
        let mut bursts = Bursts::default();
        assert!(bursts.trouble(Cause::Oom, ms(0)));
        let after_one = lines(&mut bursts, ms(0), ms(40_000), |_| Some(Cause::Pressure));
        assert!((80..=91).contains(&after_one), "{after_one}");
        assert!(bursts.trouble(Cause::Oom, ms(41_000)) && bursts.take(ms(41_000)));
    }
}
