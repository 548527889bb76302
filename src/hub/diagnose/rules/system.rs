//! `kernel_fault`, `agent_crashed`, `network_lost`, `paused`: the guest itself, its agent, its way out, its time.

use std::cmp::Reverse;

use crate::hub::trail::happening::{AgentState, Fault, Happening, What};
use crate::hub::trail::slice::{High, Last, Mark, Mean};

use super::super::case::Case;
use super::super::cause::Cause;
use super::super::evidence::{Ending, Evidence};
use super::super::ring;
use super::super::units::{count, pct, time};
use super::agent::{self, Agent};
use super::oom;

pub(crate) fn kernel_fault(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::KernelFault);
    let told = evidence.within(60_000).filter(|one| ring::is_of_this_run(evidence, one));
    let mut faults: Vec<(i64, String, Mark)> = told.filter_map(fault).collect();
    // The worst counts whole, whatever came with it.
    faults.sort_by_key(|(points, ..)| Reverse(*points));
    for (points, says, mark) in faults {
        case.add(if case.score == 0 { points } else { 5 }, says, &[mark]);
    }
    if case.score == 0 {
        let kmsg = evidence.about().and_then(|about| about.kmsg.as_deref()).unwrap_or("unknown");
        let says = format!(
            "no line of the last minute tells of a panic, a lockup, an RCU stall, a broken file system, a failed allocation or a balloon (kmsg {kmsg})"
        );
        case.less(0, says, &[]);
    } else if evidence.ending == Ending::Silence {
        case.add(8, "silence follows".to_owned(), &[evidence.end]);
    }
    case.done()
}

/// What a fault of the kernel is worth, and in words.
fn fault(one: &Happening) -> Option<(i64, String, Mark)> {
    let What::Kernel { kind, about, says, .. } = &one.what else { return None };
    let points = match kind {
        Fault::Panic => 90,
        Fault::Lockup => 65,
        // RCU also waits for CPUs that the host does not run.
        Fault::Rcu | Fault::Fs => 45,
        Fault::Balloon | Fault::Alloc => 20,
        // A disk is another rule, a process that crashed is not the kernel.
        Fault::Hung | Fault::Io | Fault::Segv => return None,
    };
    let about = if about.is_empty() { String::new() } else { format!(" about {about}") };
    Some((points, format!("the kernel told {}{about}: {says}", kind.event()), one.mark))
}

pub(crate) fn agent_crashed(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::AgentCrashed);
    let happenings = &evidence.life.happenings;
    let agent = agent::agent(evidence);
    let Agent::Gone(gone) = agent else {
        case.less(0, still_there(evidence, matches!(agent, Agent::There)), &[]);
        return case;
    };
    let (mark, comm) = (gone.line.mark, gone.comm);
    let after = evidence.age_ms(mark).unwrap_or(0);
    let is_ended = !matches!(evidence.ending, Ending::Silence | Ending::Alive) && after <= 30_000;
    let is_mid_job = gone.worker.is_some_and(|worker| worker.state != AgentState::Vanished);
    let has_crashed = happenings.iter().any(|one| gone.has_crashed(one));
    if let Some((_, worker, after)) = agent::ended_after_its_job(evidence) {
        let says = format!("{comm} ended {} after its job, as one for a single job does", time(after));
        case.less(0, says, &[worker.mark, mark]);
        return case;
    }
    let points = match (is_ended, is_mid_job) {
        // A single-shot agent ends after its job, and the rest is told to stop then.
        (true, false) => 30,
        (true, true) => 60,
        (false, false) => 62,
        (false, true) => 76,
    };
    case.add(points, format!("{comm} vanished {}", evidence.before(mark)), &[mark]);
    if let Some(worker) = gone.worker.filter(|_| is_mid_job) {
        case.add(0, "its worker was still there".to_owned(), &[worker.mark]);
        if !has_crashed && !evidence.life.is_whole(worker.mark, mark) {
            case.less(0, "lines are missing that would tell whether its worker had ended".to_owned(), &[]);
            case.at_most(60);
        }
    }
    for one in happenings.iter().filter(|one| gone.has_crashed(one)) {
        case.add(20, format!("the kernel says that {comm} crashed"), &[one.mark]);
    }
    if let Some(oom) = oom::oom(evidence)
        && oom.mark.at_ms().zip(mark.at_ms()).is_none_or(|(killed, gone)| killed.abs_diff(gone) <= 15_000)
    {
        case.less(40, "the kernel had just killed for memory".to_owned(), &[oom.mark]);
    }
    case.done()
}

/// What speaks against the agent's end, with the figure that there is.
fn still_there(evidence: &Evidence<'_>, was_told: bool) -> String {
    let state = evidence.last_sample().and_then(|last| last.last(Last::AgentState));
    match state.and_then(|state| u32::try_from(state).ok()).and_then(char::from_u32) {
        Some(state) => format!("the agent was there in the last sample, in state {state}"),
        None if was_told => "the last line that tells of the agent says that it was there".to_owned(),
        None if evidence.life.first.seq > 1 => "no line that is there tells of the agent's end".to_owned(),
        None => "no line tells of the agent's end".to_owned(),
    }
}

/// `network_lost`: what the guest sent did not arrive, while it was well.
pub(crate) fn network_lost(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::NetworkLost);
    let lines = evidence.lately_lines();
    let dropped = [High::HttpDropped, High::LokiDropped].into_iter().filter_map(|of| evidence.growth(of)).sum::<i64>();
    if dropped > 0 {
        case.add(45, format!("its network sinks could not send {} lately", count(dropped, "line")), &lines);
    }
    if let Some((one, error)) = failed_sink(evidence) {
        case.add(20, format!("a network sink failed: {error}"), &[one.mark]);
    }
    sent_again(evidence, &mut case);
    if case.score > 0 && evidence.ending == Ending::Silence {
        case.add(8, "silence follows".to_owned(), &[evidence.end]);
    }
    case.at_most(88);
    case.done()
}

/// TCP segments that had to be sent again. A count that was never there is zero where the guest says that it can tell.
fn sent_again(evidence: &Evidence<'_>, case: &mut Case) {
    let (lines, span) = (evidence.lately_lines(), evidence.lately_ms());
    let is_told = evidence.about().and_then(|about| about.tells_retrans);
    if is_told == Some(false) {
        return case.less(0, "the guest does not tell of TCP segments sent again".to_owned(), &[]);
    }
    let is_zero = is_told == Some(true) && evidence.ever(High::Retrans).is_none();
    let Some(sent_again) = evidence.growth(High::Retrans).or(is_zero.then_some(0)) else {
        return case.less(0, "no line tells how many TCP segments were sent again lately".to_owned(), &[]);
    };
    let figure = format!("{} sent again in {}", count(sent_again, "TCP segment"), time(span));
    match sent_again.saturating_mul(1000) / span {
        5.. if sent_again >= 20 => case.add(25, figure, &lines),
        1.. if sent_again >= 10 => case.add(12, figure, &lines),
        _ => case.less(0, figure, &lines),
    }
}

fn failed_sink<'e>(evidence: &Evidence<'e>) -> Option<(&'e Happening, &'e str)> {
    evidence.within(120_000).find_map(|one| match &one.what {
        What::Degraded { what, error } if what.contains("sink.http") || what.contains("sink.loki") => {
            (error.as_ref() != "ok").then_some((one, error.as_ref()))
        }
        _ => None,
    })
}

/// What a pause is worth that more was heard after.
const NOT_SURE: i64 = 74;

/// A pause so long before the last line is followed by nothing.
const NEXT_TO_THE_END_MS: i64 = 15_000;

/// `paused`: nothing ran and nothing wanted to, so it was not starved but stopped. Told by the clocks, or by what the kernel
/// counted across the gap.
pub(crate) fn paused(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::Paused);
    let mut is_last = false;
    for one in evidence.within(60_000) {
        let What::Gap { kind, ms } = &one.what else { continue };
        let is_sure = kind.as_ref() == "paused";
        if !is_sure && (kind.as_ref() != "unknown" || !was_calm(evidence)) {
            continue;
        }
        let points = match ms {
            10_000.. => 66,
            5_000.. => 55,
            3_000.. => 42,
            _ => 20,
        };
        let says = match is_sure {
            true => format!("nothing ran for {}, the clocks prove it", time(*ms)),
            false => {
                let waited = pct(evidence.worst_mean(Mean::CpuStall).unwrap_or(0));
                format!("the probe did not run for {}, and tasks waited for a CPU {waited} of the time only", time(*ms))
            }
        };
        let points = points + if is_sure { 10 } else { 0 };
        if points > case.score {
            case.score = 0;
            case.add(points, says, &[one.mark]);
            is_last = evidence.is_within(one.mark, NEXT_TO_THE_END_MS.max(3 * evidence.interval_ms));
        }
    }
    // What went on after it for longer was not ended by it for sure.
    if !is_last {
        case.at_most(NOT_SURE);
    }
    if case.score == 0 {
        match evidence.late_ms() {
            Some(late) => {
                case.less(0, format!("the probe was at most {} late", time(late)), &evidence.lately_lines());
            }
            None => case.less(0, "no line tells how late the probe was".to_owned(), &[]),
        }
    }
    case.done()
}

/// Whether the time around a gap was one in which nobody wanted a CPU: a starved guest is busy.
fn was_calm(evidence: &Evidence<'_>) -> bool {
    let is_under = |of, tenths| evidence.worst_mean(of).is_some_and(|mean| mean < tenths);
    // That no steal is there means none only where the kernel's table of CPUs was read.
    let is_read = evidence.worst_mean(Mean::CpuBusy).is_some();
    is_read && evidence.tells_stalls(Last::CpuPsi) && is_under(Mean::CpuStall, 500) && is_under(Mean::CpuSteal, 100)
}
