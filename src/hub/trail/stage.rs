//! What is kept of `phase` lines: the stages of a runner's life. Bounded, and the same in whatever order the lines come.
//!
//! Each phase line is a run of its own and its only line, so a run would be a great room for it. A `ready` that is told again and again
//! stays one stage.

use std::hash::{DefaultHasher, Hasher as _};
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::line::Line;
use crate::line::field;

mod polls;

pub use polls::{POLL_FIELDS, Polls};

/// How many stages of a runner are kept, the latest; some more between two clearings.
const STAGES: usize = 4096;

/// How many more there may be until the oldest are given up.
const SLACK: usize = 512;

/// How many boots of a runner have their polls apart, the latest.
const BOOTS: usize = 8;

/// Two tellings of one `ready` can differ by so much in when it began, ms: a script's clock may have whole seconds.
const SAME_READY_MS: u64 = 2500;

/// The longest time that a line can tell of polls and waits, and the longest that is counted: 30 days. Behind it is what no clock measured.
pub const MOST_MS: u64 = 30 * 24 * 3_600_000;

/// A phase of a runner's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
pub enum Phase {
    /// The guest is up, its agent not ready yet.
    Warming,
    /// It waits for a job.
    Ready,
    /// It has one.
    Claimed,
    /// The job ended, or the runner without one.
    Ended,
}

/// How a job ended, as its agent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
pub enum JobResult {
    /// It did what it was to do.
    Success,
    /// It did not.
    Failure,
    /// Somebody ended it.
    Cancelled,
    /// There was nothing to do.
    Skipped,
}

impl JobResult {
    /// All of them, in the order of outputs.
    pub const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Cancelled, Self::Skipped];

    /// The word that lines and outputs use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

/// A wait and what it counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Waited {
    /// So long since the job was queued, ms.
    Queued(u32),
    /// So long since the runner was ready, ms.
    Ready(u32),
}

/// A phase that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Stage {
    /// Which.
    pub phase: Phase,
    /// When, by the guest's clock, ms since 1970; `None` where that was unusable.
    pub at_ms: Option<i64>,
    /// When, since boot.
    pub uptime_ms: Option<u64>,
    /// Which boot; 0 where none is told.
    pub boot: u64,
    /// When it was told last, by the guest's clock.
    pub heard_ms: Option<i64>,
    /// When it was told again for the first time, since it began: the time between two tellings; `None` where it was not.
    pub beat_ms: Option<u32>,
    /// How long what was waited.
    pub waited: Option<Waited>,
    /// `job.nr`.
    pub job_nr: Option<NonZeroU64>,
    /// `job.exit`.
    pub job_exit: Option<u8>,
    /// `job.result`.
    pub job_result: Option<JobResult>,
    /// Of which line: repeats have the same.
    line: u64,
}

/// The stages of a runner's life, in the order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Stages {
    all: Vec<Stage>,
    /// Stages that were given up, the earliest.
    pub given_up: u64,
    polls: Vec<(u64, Polls)>,
}

impl Stages {
    /// Takes a phase line; one that tells no phase that is known here is left out.
    pub fn take(&mut self, line: &Line<'_>, at_ms: Option<i64>) {
        let Some(stage) = Stage::of(line, at_ms) else { return };
        self.keep_polls(stage.boot, Polls::of(line));
        self.keep(stage);
    }

    /// Takes what another source had of the same runner.
    pub fn fold(&mut self, other: &Self) {
        self.given_up = self.given_up.max(other.given_up);
        for (boot, polls) in &other.polls {
            self.keep_polls(*boot, *polls);
        }
        for stage in &other.all {
            self.keep(*stage);
        }
    }

    /// Keeps the latest of them, each once, and no more than so many.
    pub(super) fn keep_latest(&mut self, most: usize) {
        if self.all.len() > most {
            sort(&mut self.all);
            self.all.dedup_by_key(|stage| stage.line);
            let over = self.all.len().saturating_sub(most);
            self.all.drain(..over);
            self.given_up = self.given_up.saturating_add(over as u64);
        }
        self.all.shrink_to_fit();
    }

    /// The stages, each once, by the guest's clock.
    #[must_use]
    pub fn sorted(&self) -> Vec<Stage> {
        let mut all = self.all.clone();
        sort(&mut all);
        all.dedup_by_key(|stage| stage.line);
        all
    }

    /// Whether a boot was told to have ended since a time, as far as the times are known: one that stays says it of each job.
    pub(super) fn has_ended(&self, boot_id: &str, since_ms: Option<i64>) -> bool {
        let boot = number((boot_id, 1));
        let is_since = |stage: &Stage| stage.at_ms.zip(since_ms).is_none_or(|(at, since)| at >= since);
        self.all.iter().any(|stage| stage.phase == Phase::Ended && stage.boot == boot && is_since(stage))
    }

    /// What came of all polls.
    #[must_use]
    pub fn polls(&self) -> Polls {
        self.polls.iter().fold(Polls::default(), |sum, (_, polls)| sum.plus(polls))
    }

    fn keep(&mut self, stage: Stage) {
        let is_same = |kept: &&mut Stage| kept.line == stage.line || kept.is_told_again(&stage);
        match self.all.iter_mut().rev().find(is_same) {
            Some(kept) if kept.line == stage.line => return,
            Some(kept) => return kept.tell_again(&stage),
            None => {}
        }
        self.all.push(stage);
        if self.all.len() > STAGES + SLACK {
            sort(&mut self.all);
            let most = self.all.len() - STAGES;
            self.all.drain(..most);
            self.given_up = self.given_up.saturating_add(most as u64);
        }
    }

    /// Counts only rise while a script runs, so the highest are the latest.
    fn keep_polls(&mut self, boot: u64, polls: Polls) {
        if polls.total() == 0 {
            return;
        }
        match self.polls.iter_mut().find(|(kept, _)| *kept == boot) {
            Some((_, kept)) if kept.total() < polls.total() => *kept = polls,
            Some(_) => {}
            None => {
                self.polls.push((boot, polls));
                if self.polls.len() > BOOTS {
                    let (_, oldest) = self.polls.remove(0);
                    if let Some((_, next)) = self.polls.first_mut() {
                        *next = next.plus(&oldest);
                    }
                }
            }
        }
    }
}

impl Stage {
    fn of(line: &Line<'_>, at_ms: Option<i64>) -> Option<Self> {
        let phase = match line.text(field::PHASE)? {
            "warming" => Phase::Warming,
            "ready" => Phase::Ready,
            "claimed" => Phase::Claimed,
            "ended" => Phase::Ended,
            _ => return None,
        };
        let told = line.text(field::JOB_RESULT);
        let job_result = told.and_then(|told| JobResult::ALL.into_iter().find(|one| one.name() == told));
        let waited_ms = line.scaled(field::WAITED).map(|ms| ms.max(0)).filter(|ms| ms.unsigned_abs() <= MOST_MS);
        let waited_ms = waited_ms.and_then(|ms| u32::try_from(ms).ok());
        let waited = waited_ms.map(|ms| match line.text(field::WAITED_FROM) {
            Some("queued") => Waited::Queued(ms),
            _ => Waited::Ready(ms),
        });
        let told = Self {
            phase,
            at_ms,
            uptime_ms: line.scaled(field::UPTIME).and_then(|ms| u64::try_from(ms).ok()),
            boot: line.text(field::BOOT_ID).map_or(0, |boot| number((boot, 1))),
            heard_ms: at_ms,
            beat_ms: None,
            waited,
            job_nr: line.scaled(field::JOB_NR).and_then(|nr| NonZeroU64::new(u64::try_from(nr).ok()?)),
            job_exit: line.scaled(field::JOB_EXIT).and_then(|code| u8::try_from(code).ok()),
            job_result,
            // Not when it came: one without a time is placed by that.
            line: number((line.run, line.seq, line.ts)),
        };
        Some(told.begun())
    }

    /// A `ready` that is told again as it was when it began.
    fn begun(self) -> Self {
        let (Phase::Ready, Some(Waited::Ready(ms))) = (self.phase, self.waited) else { return self };
        Self {
            at_ms: self.at_ms.map(|at| at.saturating_sub(i64::from(ms))),
            uptime_ms: self.uptime_ms.map(|uptime| uptime.saturating_sub(u64::from(ms))),
            beat_ms: (ms > 0).then_some(ms),
            waited: None,
            ..self
        }
    }

    /// A number that stands for the line that told it, within this process; repeats have the same.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    fn is_told_again(&self, other: &Self) -> bool {
        self.phase == Phase::Ready
            && other.phase == Phase::Ready
            && self.boot == other.boot
            && match (self.uptime_ms.zip(other.uptime_ms), self.at_ms.zip(other.at_ms)) {
                (Some((a, b)), _) => a.abs_diff(b) <= SAME_READY_MS,
                (None, Some((a, b))) => a.abs_diff(b) <= SAME_READY_MS,
                (None, None) => false,
            }
    }

    fn tell_again(&mut self, other: &Self) {
        self.heard_ms = self.heard_ms.max(other.heard_ms);
        self.beat_ms = match (self.beat_ms, other.beat_ms) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        // Told at its beginning it is the surest.
        if self.beat_ms.is_some() && other.beat_ms.is_none() {
            (self.at_ms, self.uptime_ms, self.line) = (other.at_ms, other.uptime_ms, other.line);
        }
    }
}

/// Those without a time first: they are the first to be given up.
fn sort(all: &mut [Stage]) {
    all.sort_by_key(|stage| (stage.at_ms, stage.line));
}

/// A number that stands for something within this process.
fn number(of: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
