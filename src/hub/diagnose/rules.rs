//! The rules, one a cause: from the evidence to a score with its reasons. `docs/VERDICTS.md` says why each threshold is what it is.

mod agent;
mod cpu;
mod ends;
mod memory;
mod oom;
mod outside;
mod storage;
mod system;
mod wellness;

use super::case::Case;
use super::cause::Cause;
use super::evidence::{Ending, Evidence};
use ends::Worst;

/// What ails a runner that lives has not ended it so far; nor did it end one whose job ended well.
const SO_FAR: i64 = 40;

/// What every rule says, the strongest first; of equals the one that [`Cause`] names first.
#[must_use]
pub fn cases(evidence: &Evidence<'_>) -> Vec<Case> {
    let oom = oom::oom(evidence);
    let oom = oom.as_ref();
    let mut cases = vec![
        oom::rule(evidence, oom, Cause::GuestOom),
        oom::rule(evidence, oom, Cause::CgroupOom),
        oom::rule(evidence, oom, Cause::SidecarOom),
        oom::rule(evidence, oom, Cause::OomGroup),
        memory::thrash(evidence),
        cpu::starved(evidence),
        cpu::stolen(evidence),
        cpu::throttled(evidence),
        storage::io_stall(evidence),
        storage::disk_full(evidence),
        storage::inodes_full(evidence),
        storage::pids_exhausted(evidence),
        system::kernel_fault(evidence),
        system::agent_crashed(evidence),
        system::network_lost(evidence),
        system::paused(evidence),
    ];
    match evidence.ending {
        Ending::Alive => {
            cases.iter_mut().filter(|case| !tells_an_end(case.cause)).for_each(|case| case.at_most(SO_FAR));
        }
        ending if ending.is_success() => cases.iter_mut().for_each(|case| case.at_most(SO_FAR)),
        _ => {}
    }
    let worst = Worst::of(&cases);
    cases.extend(ends::rules(evidence, worst));
    cases.sort_by(|a, b| b.score.cmp(&a.score).then(a.cause.cmp(&b.cause)));
    cases
}

/// Whether it can be that a runner is gone of this while its guest still writes lines: its agent is.
const fn tells_an_end(cause: Cause) -> bool {
    matches!(cause, Cause::GuestOom | Cause::CgroupOom | Cause::SidecarOom | Cause::OomGroup | Cause::AgentCrashed)
}
