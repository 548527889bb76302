//! When samples are due, and why a run ends: what the loops of all platforms share. Pure.

use std::time::Duration;

use super::watch::supervisor::JobEnd;

/// From the baseline to the first sample, so that the first percentages are real.
pub const FIRST_SPAN: Duration = Duration::from_millis(200);

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was told to by SIGTERM.
    Sigterm,
    /// It was told to by SIGINT.
    Sigint,
    /// The process that it was to end with has ended.
    ParentExit,
    /// The job that it was started beside has ended.
    JobExit(JobEnd),
    /// Nobody reads its lines any more.
    StdoutClosed,
    /// It has taken the samples that were asked for.
    Samples,
}

impl Reason {
    /// As the `stop` line has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sigterm => "sigterm",
            Self::Sigint => "sigint",
            Self::ParentExit => "parent_exit",
            Self::JobExit(_) => "job_exit",
            Self::StdoutClosed => "stdout_closed",
            Self::Samples => "samples",
        }
    }

    /// How the job ended, where that is the reason.
    #[must_use]
    pub const fn job(self) -> Option<JobEnd> {
        match self {
            Self::JobExit(job) => Some(job),
            _ => None,
        }
    }
}

/// When samples are due: on a grid, so that lateness never adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    due: Duration,
    interval: Duration,
}

impl Schedule {
    /// The first one is due then, the others at each interval behind it.
    #[must_use]
    pub const fn new(first: Duration, interval: Duration) -> Self {
        Self { due: first, interval }
    }

    /// The earliest due time that is not served yet.
    #[must_use]
    pub const fn due(&self) -> Duration {
        self.due
    }

    /// Serves all that was due until `now`: what was missed is skipped, not made up for.
    pub fn serve(&mut self, now: Duration) {
        let late = now.saturating_sub(self.due);
        let missed = late.as_nanos() / self.interval.as_nanos().max(1);
        let steps = u32::try_from(missed).unwrap_or(u32::MAX - 1) + 1;
        self.due = self.due.saturating_add(self.interval.saturating_mul(steps));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_stay_on_the_grid() {
        let ms = Duration::from_millis;
        let mut schedule = Schedule::new(ms(200), ms(1000));
        for (served_at, next) in
            [(200, 1200), (1203, 2200), (2200, 3200), (3200, 4200), (50_000, 50_200), (50_200, 51_200)]
        {
            schedule.serve(ms(served_at));
            assert_eq!(schedule.due(), ms(next), "served at {served_at}");
        }
    }
}
