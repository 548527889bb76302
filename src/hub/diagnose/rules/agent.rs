//! The agent's own end: whether it is gone, and whether its work was done.

use crate::hub::trail::happening::{AgentState, Fault, Happening, What};
use crate::hub::trail::slice::Mark;

use super::super::evidence::Evidence;

/// An agent for a single job ends this soon after its worker.
const AFTER_ITS_JOB_MS: i64 = 60_000;

/// An agent that vanished and is not back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone<'e> {
    /// The line that tells it.
    pub(super) line: &'e Happening,
    pub(super) comm: &'e str,
    /// What was told last of a worker before.
    pub(super) worker: Option<Worker<'e>>,
}

/// The agent's worker, whose end is the normal end of a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worker<'e> {
    pub(super) mark: Mark,
    pub(super) state: AgentState,
    pub(super) comm: &'e str,
}

/// What the last line about the agent tells.
#[derive(Clone, Copy, Debug)]
pub(super) enum Agent<'e> {
    /// No line tells that it came or went.
    Untold,
    There,
    Gone(Gone<'e>),
}

/// Finds it.
pub(super) fn agent<'e>(evidence: &Evidence<'e>) -> Agent<'e> {
    let mut latest = evidence.life.happenings.iter().rev();
    let last = latest.find_map(|one| match &one.what {
        What::Agent {
            is_worker: false, state: state @ (AgentState::Vanished | AgentState::Appeared), comm, ..
        } => Some((one, *state, comm)),
        _ => None,
    });
    let Some((line, state, comm)) = last else { return Agent::Untold };
    if state == AgentState::Appeared {
        return Agent::There;
    }
    let worker = latest.find_map(|one| match &one.what {
        What::Agent { is_worker: true, state, comm, .. } => Some(Worker { mark: one.mark, state: *state, comm }),
        _ => None,
    });
    Agent::Gone(Gone { line, comm, worker })
}

impl<'e> Gone<'e> {
    /// Its worker's end and how long before its own that was, ms, where it was so soon after it that it is the normal end of an agent for
    /// a single job.
    pub(super) fn after_its_worker(&self) -> Option<(Worker<'e>, i64)> {
        let worker = self.worker.filter(|worker| worker.state == AgentState::Vanished)?;
        let after = self.line.mark.at_ms()?.saturating_sub(worker.mark.at_ms()?);
        (after <= AFTER_ITS_JOB_MS).then_some((worker, after.max(0)))
    }

    /// The kernel's word of a crash of that process, or of one of its threads, around the time that it was missed.
    pub(super) fn has_crashed(&self, one: &Happening) -> bool {
        let What::Kernel { kind: Fault::Segv, about, .. } = &one.what else { return false };
        let is_then = one.mark.at_ms().zip(self.line.mark.at_ms()).is_none_or(|(at, gone)| gone.abs_diff(at) <= 15_000);
        is_then && is_same(about, self.comm)
    }
}

/// An agent that ended behind its worker, as one for a single job does, and how long behind it, ms. One that crashed did not.
pub(super) fn ended_after_its_job<'e>(evidence: &Evidence<'e>) -> Option<(Gone<'e>, Worker<'e>, i64)> {
    let Agent::Gone(gone) = agent(evidence) else { return None };
    let (worker, after) = gone.after_its_worker()?;
    let has_crashed = evidence.life.happenings.iter().any(|one| gone.has_crashed(one));
    (!has_crashed).then_some((gone, worker, after))
}

/// A worker whose end is the last that is told of one, and how long before the run's end that was, ms, where an agent for a single job
/// would follow it.
pub(super) fn worker_has_ended<'e>(evidence: &Evidence<'e>) -> Option<(Worker<'e>, i64)> {
    let worker = evidence.life.happenings.iter().rev().find_map(|one| match &one.what {
        What::Agent { is_worker: true, state, comm, .. } => Some(Worker { mark: one.mark, state: *state, comm }),
        _ => None,
    })?;
    let before = evidence.age_ms(worker.mark)?;
    (worker.state == AgentState::Vanished && before <= AFTER_ITS_JOB_MS).then_some((worker, before))
}

/// So many bytes of a name the kernel keeps.
const KEPT: usize = 15;

/// Whether two names can be of one process: they are the same, as far as the kernel keeps one.
pub(super) fn is_same(comm: &str, other: &str) -> bool {
    let kept = |name: &str| name.bytes().take(KEPT).collect::<Vec<u8>>();
    !comm.is_empty() && kept(comm) == kept(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_as_far_as_the_kernel_keeps_it() {
        for (comm, other, same) in [
            ("node", "node", true),
            ("Runner.Listener", "Runner.Listener.exe", true),
            ("java", "javac", false),
            ("Runner", "Runner.Listener", false),
            ("", "", false),
            ("", "node", false),
        ] {
            assert_eq!((is_same(comm, other), is_same(other, comm)), (same, same), "{comm} {other}");
        }
    }
}
