//! The figures of a fleet. `docs/FLEET.md` has each with its formula.

mod make;

use std::collections::BTreeMap;

use crate::hub::diagnose::cause::Cause;
use crate::hub::trail::stage::{JobResult, Polls};

use super::counts::Quantiles;
use super::course::Course;
use super::state::State;

pub use make::of_fleet;

/// Who is warming for longer is stuck, ms.
pub const STUCK_MS: i64 = 600_000;

/// A claim that waited longer was a cold start, ms.
pub const COLD_MS: u32 = 10_000;

/// Jobs that come within so long are a burst, ms.
pub const BURST_MS: i64 = 10_000;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// From when on, ms since 1970.
    pub from_ms: i64,
    /// Up to when: now.
    pub to_ms: i64,
    /// Who is ready for longer is told, ms.
    pub long_ready_ms: i64,
}

/// A fleet: runners of one environment and one fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `runner.env`.
    pub env: Option<String>,
    /// `runner.fleet`.
    pub fleet: Option<String>,
}

/// The figures of a fleet.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Whose.
    pub key: Key,
    /// What they are of: from the first line in the window, ms since 1970.
    pub from_ms: i64,
    /// Up to now.
    pub to_ms: i64,
    /// How many runners were heard of in that span.
    pub runners: usize,
    /// Of these how many are what now.
    pub members: BTreeMap<State, usize>,
    /// Warming for longer than [`STUCK_MS`].
    pub stuck: usize,
    /// Ready for longer than is usual.
    pub long_ready: usize,
    /// Jobs that were taken.
    pub claims: Claims,
    /// From boot to ready.
    pub warm_ups: WarmUps,
    /// How long jobs waited.
    pub waits: Waits,
    /// How many were ready when.
    pub supply: Supply,
    /// Jobs that ended.
    pub jobs: Jobs,
    /// What runners died of, with a job or without.
    pub deaths: BTreeMap<Cause, usize>,
    /// Who is there, by image, the most first.
    pub images: Vec<(Option<String>, usize)>,
    /// The image of the runner that is there and came last: an estimate of the one that is to be.
    pub newest_image: Option<String>,
    /// What came of polls.
    pub polls: Polls,
    /// Runners that told polls.
    pub polling: usize,
    /// Stages that could not be placed.
    pub unplaced: u64,
    /// How it went from step to step.
    pub course: Course,
}

impl Figures {
    /// How many runners are that now.
    #[must_use]
    pub fn members_in(&self, state: State) -> usize {
        self.members.get(&state).copied().unwrap_or(0)
    }
}

/// Jobs that were taken.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// How many.
    pub count: usize,
    /// By how many runners.
    pub runners: usize,
    /// A minute, hundredths; `None` where the span is shorter than one.
    pub mean_hundredths: Option<i64>,
    /// The most in a minute.
    pub peak: usize,
    /// When that minute began.
    pub peak_ms: Option<i64>,
    /// The most that were queued in a minute, where the dispatcher said when: what was asked for and not what could be had.
    pub asked_peak: usize,
}

/// From boot to ready.
#[derive(Clone, Debug, Default)]
pub struct WarmUps {
    /// By how many runners.
    pub runners: usize,
    /// All of it; where the guest was up before its runner only the agent's part.
    pub whole: Option<Quantiles>,
    /// From the guest's boot to its first word.
    pub boot: Option<Quantiles>,
    /// From there to ready.
    pub agent: Option<Quantiles>,
    /// Before all of it, from the runner's creation to its boot, where its creator said when that was.
    pub before: Option<Quantiles>,
    /// Both together, from creation to ready.
    pub from_created: Option<Quantiles>,
}

/// How long jobs waited.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// Of those whose wait is known.
    pub known: Option<Quantiles>,
    /// Of these how many waited longer than [`COLD_MS`].
    pub cold: usize,
    /// Claims of which nothing says when they were queued.
    pub untold: usize,
}

/// How many were ready when.
#[derive(Clone, Debug, Default)]
pub struct Supply {
    /// From the first that was ready on.
    pub from_ms: Option<i64>,
    /// The fewest that were ready.
    pub least: i64,
    /// The mean, hundredths.
    pub mean_hundredths: i64,
    /// The most.
    pub most: i64,
    /// The mean of all without a job, warming or ready, hundredths.
    pub free_hundredths: i64,
    /// How often the last ready one was taken before the next was ready.
    pub dry: usize,
    /// For how long in all, ms.
    pub dry_ms: i64,
    /// For how long at most, ms.
    pub dry_longest_ms: i64,
    /// The most jobs within [`BURST_MS`].
    pub burst: usize,
    /// The most jobs within [`BURST_MS`] of which one found no ready member.
    pub burst_unmet: usize,
    /// Claims of which it is known when they were queued, and that found no ready member then.
    pub unmet: usize,
    /// Of so many.
    pub told: usize,
    /// The others of which it seems so: their runner had them at once when it became ready, and no other was. An estimate.
    pub unmet_estimated: usize,
    /// Of so many.
    pub untold: usize,
}

/// Jobs that ended.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    /// Those that run.
    pub running: usize,
    /// Those that ended in the span.
    pub ended: usize,
    /// How long they took, where both ends are known.
    pub took: Option<Quantiles>,
    /// As the agent said.
    pub told: BTreeMap<JobResult, usize>,
    /// How is not known.
    pub unknown: usize,
    /// Of these those whose agent ended with another code than 0.
    pub unknown_failing: usize,
    /// By what their runners died of.
    pub died: BTreeMap<Cause, usize>,
    /// Those whose runner began again under them, and nothing says why.
    pub died_untold: usize,
}

impl Jobs {
    /// Those that ended so, as the agent said.
    #[must_use]
    pub fn told_as(&self, result: JobResult) -> usize {
        self.told.get(&result).copied().unwrap_or(0)
    }

    /// Those whose runners died.
    #[must_use]
    pub fn died(&self) -> usize {
        self.died.values().sum::<usize>() + self.died_untold
    }
}
