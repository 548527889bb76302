//! `kernel_fault`, `agent_crashed`, `network_lost`, `paused`: the guest itself, its agent, its way out, its time.

use crate::hub::trail::happening::{AgentState, Fault, Happening, What};
use crate::hub::trail::slice::{High, Last, Mean};

use super::super::case::Case;
use super::super::cause::Cause;
use super::super::evidence::{Ending, Evidence, is_exhausted};
use super::super::ring;
use super::super::units::{count, pct, size, time};
use super::oom;

/// An agent for a single job ends this soon after its worker.
const AFTER_ITS_JOB_MS: i64 = 60_000;

pub(crate) fn kernel_fault(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::KernelFault);
    for one in evidence.within(60_000).filter(|one| ring::is_of_this_run(evidence, one)) {
        let What::Kernel { kind, about, says, .. } = &one.what else { continue };
        let points = match kind {
            Fault::Panic => 90,
            Fault::Lockup => 65,
            // RCU also waits for CPUs that the host does not run.
            Fault::Rcu | Fault::Fs => 45,
            Fault::Balloon | Fault::Alloc => 20,
            // A disk is another rule, a process that crashed is not the kernel.
            Fault::Hung | Fault::Io | Fault::Segv => continue,
        };
        let about = if about.is_empty() { String::new() } else { format!(" about {about}") };
        // Several of one fault say it once.
        let points = if case.score == 0 { points } else { 5 };
        case.add(points, format!("the kernel told {}{about}: {says}", kind.event()), &[one.mark]);
    }
    if case.score == 0 {
        let kmsg = evidence.about().and_then(|about| about.kmsg.as_deref()).unwrap_or("unknown");
        case.less(0, format!("no line of the last minute tells of a fault of the kernel (kmsg {kmsg})"), &[]);
    } else if evidence.ending == Ending::Silence {
        case.add(8, "silence follows".to_owned(), &[evidence.end]);
    }
    case.done()
}

pub(crate) fn agent_crashed(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::AgentCrashed);
    let happenings = &evidence.life.happenings;
    let agent = happenings.iter().rev().find_map(|one| match &one.what {
        What::Agent {
            is_worker: false, state: state @ (AgentState::Vanished | AgentState::Appeared), comm, ..
        } => Some((one, *state, comm)),
        _ => None,
    });
    let Some((gone, AgentState::Vanished, comm)) = agent else {
        case.less(0, still_there(evidence, agent.is_some()), &[]);
        return case;
    };
    let after = evidence.age_ms(gone.mark).unwrap_or(0);
    let is_ended = !matches!(evidence.ending, Ending::Silence | Ending::Alive) && after <= 30_000;
    let worker = happenings.iter().rev().find_map(|one| match &one.what {
        What::Agent { is_worker: true, state, .. } if one.mark.seq < gone.mark.seq => Some((one.mark, *state)),
        _ => None,
    });
    let is_mid_job = worker.is_some_and(|(_, state)| state != AgentState::Vanished);
    let has_crashed = happenings.iter().any(|one| is_crash_of(one, gone, comm));
    if let Some((ended, AgentState::Vanished)) = worker
        && let Some(after) = gone.mark.at_ms().zip(ended.at_ms()).map(|(gone, ended)| gone.saturating_sub(ended))
        && after <= AFTER_ITS_JOB_MS
        && !has_crashed
    {
        let says = format!("{comm} ended {} after its job, as one for a single job does", time(after.max(0)));
        case.less(0, says, &[ended, gone.mark]);
        return case;
    }
    let points = match (is_ended, is_mid_job) {
        // A single-shot agent ends after its job, and the rest is told to stop then.
        (true, false) => 30,
        (true, true) => 60,
        (false, false) => 62,
        (false, true) => 76,
    };
    case.add(points, format!("{comm} vanished {} before the end", time(after)), &[gone.mark]);
    if let Some((there, _)) = worker.filter(|_| is_mid_job) {
        case.add(0, "its worker was still there".to_owned(), &[there]);
        if !has_crashed && !evidence.life.is_whole(there, gone.mark) {
            case.less(0, "lines are missing that would tell whether its worker had ended".to_owned(), &[]);
            case.at_most(60);
        }
    }
    for one in happenings.iter().filter(|one| is_crash_of(one, gone, comm)) {
        case.add(20, format!("the kernel says that {comm} crashed"), &[one.mark]);
    }
    if let Some(oom) = oom::oom(evidence)
        && oom.mark.at_ms().zip(gone.mark.at_ms()).is_none_or(|(killed, gone)| (gone - killed).abs() <= 15_000)
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
        None if was_told => "the agent was there until the end".to_owned(),
        None if evidence.life.first.seq > 1 => "no line that is there tells of the agent's end".to_owned(),
        None => "no line tells of the agent's end".to_owned(),
    }
}

/// The kernel's word of a crash of that process, or of one of its threads, around the time that it was missed.
fn is_crash_of(one: &Happening, gone: &Happening, comm: &str) -> bool {
    let What::Kernel { kind: Fault::Segv, about, .. } = &one.what else { return false };
    let is_then = one.mark.at_ms().zip(gone.mark.at_ms()).is_none_or(|(at, gone)| (gone - at).abs() <= 15_000);
    // The kernel keeps 15 bytes of a name.
    is_then && !about.is_empty() && (comm.starts_with(about.as_ref()) || about.starts_with(comm))
}

/// `network_lost`: what the guest sent did not arrive, while it was well.
pub(crate) fn network_lost(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::NetworkLost);
    let lines = evidence.lately_lines();
    let dropped = evidence.growth(High::HttpDropped) + evidence.growth(High::LokiDropped);
    if dropped > 0 {
        case.add(45, format!("its network sinks could not send {} lately", count(dropped, "line")), &lines);
    }
    if let Some((one, error)) = failed_sink(evidence) {
        case.add(20, format!("a network sink failed: {error}"), &[one.mark]);
    }
    let (sent_again, span) = (evidence.growth(High::Retrans), evidence.lately_ms());
    let each_second = sent_again.saturating_mul(1000) / span;
    let figure = format!("{} sent again in {}", count(sent_again, "TCP segment"), time(span));
    let is_told = evidence.about().and_then(|about| about.tells_retrans) != Some(false);
    match each_second {
        _ if !is_told => case.less(0, "the guest does not tell of TCP segments sent again".to_owned(), &[]),
        5.. if sent_again >= 20 => case.add(25, figure, &lines),
        1.. if sent_again >= 10 => case.add(12, figure, &lines),
        _ => case.less(0, figure, &lines),
    }
    if case.score > 0 && evidence.ending == Ending::Silence {
        case.add(8, "silence follows".to_owned(), &[evidence.end]);
    }
    case.at_most(88);
    case.done()
}

fn failed_sink<'e>(evidence: &Evidence<'e>) -> Option<(&'e Happening, &'e str)> {
    evidence.within(120_000).find_map(|one| match &one.what {
        What::Degraded { what, error } if what.contains("sink.http") || what.contains("sink.loki") => {
            (error.as_ref() != "ok").then_some((one, error.as_ref()))
        }
        _ => None,
    })
}

/// `paused`: nothing ran and nothing wanted to, so it was not starved but stopped. Told by the clocks, or by what the kernel
/// counted across the gap.
pub(crate) fn paused(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::Paused);
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
        let how = if is_sure { "the clocks prove it" } else { "and no task waited for a CPU" };
        let points = points + if is_sure { 10 } else { 0 };
        if points > case.score {
            case.score = 0;
            case.add(points, format!("nothing ran for {}, {how}", time(*ms)), &[one.mark]);
        }
    }
    if case.score == 0 {
        let late = evidence.high(High::Late).unwrap_or(0) / 10;
        case.less(0, format!("the probe was at most {} late", time(late)), &evidence.lately_lines());
    }
    case.done()
}

/// Whether the time around a gap was one in which nobody wanted a CPU: a starved guest is busy.
fn was_calm(evidence: &Evidence<'_>) -> bool {
    evidence.tells_stalls() && evidence.worst_mean(Mean::CpuStall) < 500 && evidence.worst_mean(Mean::CpuSteal) < 100
}

/// What the guest was like at its end, as figures.
pub(crate) fn wellness(evidence: &Evidence<'_>) -> String {
    let mut says = Vec::new();
    if let Some((lowest, total)) = evidence.lowest_memory() {
        let least = if is_exhausted(lowest, total) { "at the lowest" } else { "at least" };
        says.push(format!("{least} {} of {} memory available", size(lowest), size(total)));
    }
    if evidence.lately().is_some() {
        says.push(format!("CPUs busy {}", pct(evidence.worst_mean(Mean::CpuBusy))));
    }
    if evidence.tells_stalls() {
        let of = |mean| pct(evidence.worst_mean(mean));
        says.push(format!(
            "tasks waited {} for a CPU, {} for memory, {} for disks",
            of(Mean::CpuStall),
            of(Mean::MemStall),
            of(Mean::IoStall)
        ));
    }
    if let Some(late) = evidence.high(High::Late) {
        says.push(format!("the probe at most {} late", time(late / 10)));
    }
    says.join("; ")
}
