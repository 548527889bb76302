//! What happened in a fleet, counted: these only rise.

use crate::hub::fleet::walk::{Job, Outcome};
use crate::hub::trail::stage::{JobResult, MOST_MS, POLL_FIELDS, Polls};

/// What the last event lines before a death told: an OOM kill.
pub const OOM: &str = "oom_told";

/// That the kernel failed.
pub const KERNEL: &str = "kernel_told";

/// That the runner's agent was gone.
pub const AGENT: &str = "agent_told";

/// Nothing of these.
pub const SILENT: &str = "silent";

/// What is told of deaths; of several things the first.
pub const CAUSES: [&str; 4] = [KERNEL, OOM, AGENT, SILENT];

/// Upper ends of the buckets of times, seconds; what is longer is behind the last.
pub const SECONDS: [f64; 15] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 21600.0];

/// How jobs end, in the order of [`Tally::jobs`].
pub const STATUSES: [&str; 6] = ["success", "failure", "cancelled", "skipped", "unknown", "died"];

/// What happened in a fleet.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Jobs that were taken.
    pub claims: u64,
    /// How long they had waited since they were queued, where that was told.
    pub waits: Times,
    /// From boot to ready; where the guest was up before its runner the agent's part.
    pub warm_ups: Times,
    /// Jobs that ended, by [`STATUSES`].
    pub jobs: [u64; STATUSES.len()],
    /// From claim to end, where both were told.
    pub took: Times,
    /// Members that died, by [`CAUSES`].
    pub deaths: [u64; CAUSES.len()],
    /// Polls by outcome, in the order of [`POLL_FIELDS`].
    pub polls: [u64; POLL_FIELDS.len()],
    /// Time that they took, ms.
    pub poll_sum_ms: u64,
}

/// Times by how long they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many are in each bucket of [`SECONDS`], the last for what is longer.
    pub buckets: [u64; SECONDS.len() + 1],
    /// All together, ms.
    pub sum_ms: u64,
}

impl Times {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The mean, ms; `None` of none.
    #[must_use]
    pub fn mean_ms(&self) -> Option<u64> {
        self.sum_ms.checked_div(self.count())
    }

    /// Takes a time; one that is none, over [`MOST_MS`], is not taken.
    fn take(&mut self, ms: u64) {
        if ms > MOST_MS {
            return;
        }
        let at = BOUNDS_MS.partition_point(|bound| *bound < ms);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }
}

/// [`SECONDS`] in ms.
const BOUNDS_MS: [u64; SECONDS.len()] = [
    1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_200_000, 1_800_000, 3_600_000,
    7_200_000, 21_600_000,
];

impl Tally {
    pub(super) fn claim(&mut self, waited_ms: Option<u32>) {
        self.claims += 1;
        if let Some(ms) = waited_ms {
            self.waits.take(ms.into());
        }
    }

    pub(super) fn job(&mut self, job: &Job) {
        let status = match job.outcome {
            Outcome::Told(JobResult::Success) => 0,
            Outcome::Told(JobResult::Failure) => 1,
            Outcome::Told(JobResult::Cancelled) => 2,
            Outcome::Told(JobResult::Skipped) => 3,
            Outcome::Unknown(_) | Outcome::Running => 4,
            Outcome::Died => 5,
        };
        if let Some(count) = self.jobs.get_mut(status) {
            *count += 1;
        }
        let took = job.claimed_ms.zip(job.ended_ms).and_then(|(from, to)| u64::try_from(to.saturating_sub(from)).ok());
        if let Some(ms) = took.filter(|_| job.outcome != Outcome::Died) {
            self.took.take(ms);
        }
    }

    pub(super) fn warm_up(&mut self, whole_ms: Option<u64>) {
        whole_ms.into_iter().for_each(|ms| self.warm_ups.take(ms));
    }

    pub(super) fn death(&mut self, cause: &'static str) {
        for (count, _) in self.deaths.iter_mut().zip(CAUSES).filter(|(_, known)| *known == cause) {
            *count += 1;
        }
    }

    /// Takes what polls have risen by.
    pub(super) fn polls(&mut self, now: &Polls, before: &Polls) {
        for (own, (now, before)) in self.polls.iter_mut().zip(now.counts.iter().zip(before.counts)) {
            *own = own.saturating_add(now.saturating_sub(before));
        }
        self.poll_sum_ms = self.poll_sum_ms.saturating_add(now.sum_ms.saturating_sub(before.sum_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_bucket_of_its_upper_end() {
        for (seconds, ms) in SECONDS.into_iter().zip(BOUNDS_MS) {
            assert!((seconds * 1000.0 - f64::from(u32::try_from(ms).unwrap())).abs() < f64::EPSILON);
        }
        let mut times = Times::default();
        [0, 1000, 1001, 21_600_000, 21_600_001, MOST_MS].into_iter().for_each(|ms| times.take(ms));
        assert_eq!((times.buckets[0], times.buckets[1], times.buckets[14], times.buckets[15]), (2, 1, 1, 2));
        let all = (6, 2001 + 2 * 21_600_000 + 1 + MOST_MS);
        assert_eq!((times.count(), times.sum_ms), all);
        [MOST_MS + 1, u64::MAX].into_iter().for_each(|ms| times.take(ms));
        assert_eq!((times.count(), times.sum_ms), all, "what is no time spoils no sum");
    }
}
