//! From stages to states: what a runner was when, and its jobs.
//!
//! A stage that is missing, told twice or late has its sense here: what is open when it can be open no longer has ended, and how is
//! not known.

use std::collections::HashSet;
use std::num::NonZeroU64;

use crate::hub::trail::stage::{JobResult, Phase, Stage, Waited};

use super::place::{Boot, Placed};
use super::state::{Span, State};

/// The guest was up before its runner, and what it says of its boot is of a machine with several, ms.
const BOOT_MOST_MS: u64 = 1_800_000;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It has not.
    Running,
    /// As the agent says.
    Told(JobResult),
    /// With a code, or nobody knows; a code is not how the job ended: an agent whose job failed ends with 0.
    Unknown(Option<u8>),
    /// Its runner died.
    Died,
}

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// When it was claimed; `None` where that was not told.
    pub claimed_ms: Option<i64>,
    /// When it ended, where that is known.
    pub ended_ms: Option<i64>,
    /// How long it had waited since it was queued, where the dispatcher said.
    pub waited_ms: Option<u32>,
    /// Since when its runner had been ready, where it was.
    pub ready_ms: Option<i64>,
    /// How it ended.
    pub outcome: Outcome,
    /// The lines that told its claim and its end ([`Stage::line`]); 0 where none did.
    pub told_by: [u64; 2],
}

/// From boot to ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmUp {
    /// When it was ready.
    pub ready_ms: i64,
    /// From the guest's boot to its first word, ms; `None` where it was up before its runner, or does not say.
    pub boot_ms: Option<u64>,
    /// From there to ready, ms; `None` where ready is the first word.
    pub agent_ms: Option<u64>,
    /// All of it, ms.
    pub whole_ms: Option<u64>,
    /// From the runner's creation to its boot, ms; where the guest was up before it, to its first word. Its creator's clock is another.
    pub before_ms: Option<u64>,
    /// Which boot it was ([`Stage::boot`]).
    pub boot: u64,
}

/// What the stages tell.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// States that ended, one after the other.
    pub spans: Vec<Span>,
    /// Jobs, in the order in which they were told first.
    pub jobs: Vec<Job>,
    /// Each boot's.
    pub warm_ups: Vec<WarmUp>,
    /// What it is, and since when.
    pub now: Option<(State, i64)>,
    /// Those of the jobs that run.
    open: Vec<(usize, Option<NonZeroU64>)>,
    /// Jobs of this boot that ended.
    done: HashSet<NonZeroU64>,
    /// The first word of this boot.
    first: Option<Stage>,
    is_warm: bool,
}

impl Walk {
    /// Walks through all boots.
    pub(super) fn through(boots: &[Boot]) -> Self {
        let mut walk = Self::default();
        let mut heard_ms = None;
        for boot in boots {
            walk.boot(boot, heard_ms);
            heard_ms = Some(boot.heard_ms);
        }
        walk
    }

    fn boot(&mut self, boot: &Boot, heard_ms: Option<i64>) {
        let Some(first) = boot.stages.first() else { return };
        if let Some(heard) = heard_ms {
            // The guest went away under it.
            let until = heard.min(first.at_ms);
            self.close_jobs(Some(until), Outcome::Died);
            self.end_span(until);
        }
        (self.first, self.is_warm) = (Some(first.stage), false);
        self.done.clear();
        if matches!(first.stage.phase, Phase::Warming | Phase::Ready) {
            let began = boot.boot_ms.filter(|_| tells_boot(&first.stage)).unwrap_or(first.at_ms);
            self.turn(State::Warming, began);
        }
        for placed in &boot.stages {
            self.take(placed);
        }
    }

    fn take(&mut self, placed: &Placed) {
        let Placed { at_ms, stage } = *placed;
        match stage.phase {
            Phase::Warming => {
                self.close_jobs(None, Outcome::Unknown(None));
                self.turn(State::Warming, at_ms);
            }
            Phase::Ready => {
                self.close_jobs(None, Outcome::Unknown(None));
                self.turn(State::Ready, at_ms);
                if !std::mem::replace(&mut self.is_warm, true) {
                    self.warm_ups.extend(self.first.map(|first| warm_up(&first, &stage, at_ms)));
                }
            }
            Phase::Claimed => self.claim(at_ms, &stage),
            Phase::Ended => self.end(at_ms, &stage),
        }
    }

    fn claim(&mut self, at_ms: i64, stage: &Stage) {
        let nr = stage.job_nr;
        if nr.is_some_and(|nr| self.done.contains(&nr) || self.open.iter().any(|(_, open)| *open == Some(nr))) {
            return;
        }
        if nr.is_none() {
            // One without a number is one at a time.
            self.close_jobs(None, Outcome::Unknown(None));
        }
        self.was_ready();
        let ready_ms = self.now.filter(|(state, _)| *state == State::Ready).map(|(_, since)| since);
        let waited_ms = match stage.waited {
            Some(Waited::Queued(ms)) => Some(ms),
            _ => None,
        };
        self.open.push((self.jobs.len(), nr));
        self.jobs.push(Job {
            claimed_ms: Some(at_ms),
            ended_ms: None,
            waited_ms,
            ready_ms,
            outcome: Outcome::Running,
            told_by: [stage.line(), 0],
        });
        if self.state() != Some(State::Claimed) {
            self.turn(State::Claimed, at_ms);
        }
    }

    fn end(&mut self, at_ms: i64, stage: &Stage) {
        let outcome = stage.job_result.map_or(Outcome::Unknown(stage.job_exit), Outcome::Told);
        if let Some(nr) = stage.job_nr
            && !self.done.insert(nr)
        {
            return;
        }
        let at = match stage.job_nr {
            Some(nr) => self.open.iter().position(|(_, open)| *open == Some(nr)),
            None => (!self.open.is_empty()).then_some(0),
        };
        let is_job = stage.job_nr.is_some() || stage.job_exit.is_some() || stage.job_result.is_some();
        match at {
            Some(at) => {
                let (job, _) = self.open.remove(at);
                if let Some(job) = self.jobs.get_mut(job) {
                    (job.ended_ms, job.outcome) = (Some(at_ms), outcome);
                    job.told_by[1] = stage.line();
                }
            }
            None if is_job => {
                self.was_ready();
                self.jobs.push(Job {
                    claimed_ms: None,
                    ended_ms: Some(at_ms),
                    waited_ms: None,
                    ready_ms: None,
                    outcome,
                    told_by: [0, stage.line()],
                });
            }
            None => {}
        }
        if self.open.is_empty() {
            self.turn(State::Ended, at_ms);
        }
    }

    /// Who takes a job after another, and does not say that it was ready in between, was.
    fn was_ready(&mut self) {
        if let Some((state @ State::Ended, _)) = &mut self.now {
            *state = State::Ready;
        }
    }

    /// What is open has ended so.
    pub(super) fn close_jobs(&mut self, at_ms: Option<i64>, outcome: Outcome) {
        for (job, _) in self.open.drain(..) {
            if let Some(job) = self.jobs.get_mut(job) {
                (job.ended_ms, job.outcome) = (at_ms, outcome);
            }
        }
    }

    /// It is something else from now on.
    pub(super) fn turn(&mut self, state: State, at_ms: i64) {
        if self.now.is_some_and(|(now, _)| now == state) {
            return;
        }
        self.end_span(at_ms);
        // Clocks of two boots can disagree.
        let since_ms = self.spans.last().map_or(at_ms, |last| at_ms.max(last.to_ms));
        self.now = Some((state, since_ms));
    }

    /// It was not what it was, but this.
    pub(super) fn was(&mut self, is: State) {
        if let Some((state, _)) = &mut self.now {
            *state = is;
        }
    }

    /// Ends what it is.
    pub(super) fn end_span(&mut self, at_ms: i64) {
        if let Some((state, from_ms)) = self.now.take()
            && at_ms > from_ms
        {
            self.spans.push(Span { state, from_ms, to_ms: at_ms });
        }
    }

    /// Keeps no room for more: members are many, and most have had one life.
    pub(super) fn shrink(&mut self) {
        self.spans.shrink_to_fit();
        self.jobs.shrink_to_fit();
        self.warm_ups.shrink_to_fit();
    }

    /// What it is.
    pub(super) fn state(&self) -> Option<State> {
        self.now.map(|(state, _)| state)
    }
}

/// Whether the time since boot at its first word is that of a guest that was booted for it.
fn tells_boot(first: &Stage) -> bool {
    first.uptime_ms.is_some_and(|uptime| uptime <= BOOT_MOST_MS)
}

fn warm_up(first: &Stage, ready: &Stage, ready_ms: i64) -> WarmUp {
    let boot_ms = first.uptime_ms.filter(|_| tells_boot(first));
    let by_uptime = first.uptime_ms.zip(ready.uptime_ms).and_then(|(from, to)| to.checked_sub(from));
    let by_clock = || first.at_ms.zip(ready.at_ms).and_then(|(from, to)| u64::try_from(to.saturating_sub(from)).ok());
    let agent_ms = by_uptime.or_else(by_clock).filter(|_| first.phase == Phase::Warming);
    let whole_ms = match (boot_ms, ready.uptime_ms) {
        (Some(_), Some(uptime)) => Some(uptime),
        _ => agent_ms,
    };
    let boot_ms = boot_ms.filter(|_| first.phase == Phase::Warming);
    WarmUp { ready_ms, boot_ms, agent_ms, whole_ms, before_ms: None, boot: first.boot }
}
