//! What ailed a guest right before its end: enough to be said, and too little to be a verdict. Silence behind it is not surely of outside.
//!
//! The rules look at means over the latest samples; here the very last one counts by itself too, and what the kernel told meanwhile.

use crate::hub::trail::happening::{AgentState, Fault, Happening, What};
use crate::hub::trail::slice::{High, Last, Low, Mean, Slice};

use super::case::Reason;
use super::cause::Cause;
use super::evidence::{Evidence, held_at_limit, is_exhausted};
use super::ring;
use super::units::{pct, size, time};

/// Something that ailed it.
#[derive(Clone, Debug)]
pub(super) struct Ailment {
    /// Whose rule weighs it too.
    pub(super) of: Cause,
    /// What it takes from the sureness that it was well, of 100.
    pub(super) points: i64,
    /// In a sentence.
    pub(super) reason: Reason,
}

/// So long before the end an event is right before it, ms; three intervals where those are longer.
const NEAR_MS: i64 = 15_000;

/// A fault of the kernel can take so long to end a guest, ms.
const FAULT_MS: i64 = 60_000;

/// A network that failed so long ago may have failed since, ms.
const NETWORK_MS: i64 = 120_000;

/// All that ailed it.
pub(super) fn ailments(evidence: &Evidence<'_>) -> Vec<Ailment> {
    let mut all = Vec::new();
    if let Some(last) = evidence.last_sample() {
        let mut add = |of, points, says| {
            all.push(Ailment { of, points, reason: Reason { says, lines: vec![last.mark] } });
        };
        memory(evidence, last, &mut add);
        waits(evidence, last, &mut add);
        agent(evidence, last, &mut add);
    }
    for told in evidence.within(NETWORK_MS).filter_map(|one| of_event(evidence, one)) {
        // Of several alike the latest, which is met first.
        if all.iter().all(|other| other.reason.says != told.reason.says) {
            all.push(told);
        }
    }
    all
}

/// Memory that is nearly out, of the guest or of the own cgroup.
fn memory(evidence: &Evidence<'_>, last: &Slice, add: &mut impl FnMut(Cause, i64, String)) {
    let lowest = evidence.lately().and_then(|lately| lately.low(Low::MemAvail));
    if let Some((avail, total)) = lowest.zip(last.high(High::MemTotal)).filter(|(avail, total)| *avail < total / 10) {
        let points = if is_exhausted(avail, total) { 35 } else { 15 };
        let says = format!("at the lowest {} of {} were available in the latest samples", size(avail), size(total));
        add(Cause::GuestOom, points, says);
    }
    if let Some((held, max)) = held_at_limit(last) {
        add(Cause::CgroupOom, 15, format!("{} of the cgroup's {} cannot be dropped", size(held), size(max)));
    }
    let full = last.last(Last::MemPsiFull);
    let stall = last.mean(Mean::MemStall).max(evidence.worst_mean(Mean::MemStall)).max(full);
    if let Some(stall) = stall.filter(|stall| *stall >= 100) {
        add(Cause::MemoryThrash, 10, format!("all tasks waited for memory {} of the time", pct(stall)));
    }
}

/// Time that nobody had: of disks, of the host, of the probe itself.
fn waits(evidence: &Evidence<'_>, last: &Slice, add: &mut impl FnMut(Cause, i64, String)) {
    let of_last = |of| last.mean(of).max(evidence.worst_mean(of));
    if let Some(stall) = of_last(Mean::IoStall).filter(|stall| *stall >= 600) {
        add(Cause::IoStall, 10, format!("all tasks waited for disks {} of the time", pct(stall)));
    }
    if let Some(steal) = of_last(Mean::CpuSteal).filter(|steal| *steal >= 100) {
        add(Cause::CpuStolen, 10, format!("the host took {} of the CPUs", pct(steal)));
    }
    if let Some(late) = evidence.late_ms().filter(|late| *late >= 1000) {
        add(Cause::CpuStarved, 10, format!("the probe itself was {} late", time(late)));
    }
    if let Some(used) = last.high(High::PidsUsed).filter(|used| *used >= 990) {
        add(Cause::PidsExhausted, 10, format!("{} of the processes that there may be were there", pct(used)));
    }
}

/// The agent, as the last sample has it.
fn agent(evidence: &Evidence<'_>, last: &Slice, add: &mut impl FnMut(Cause, i64, String)) {
    let state = last.last(Last::AgentState).and_then(|state| u8::try_from(state).ok());
    match state {
        Some(b'D') => add(Cause::IoStall, 10, "the agent waits uninterruptibly in the last sample".to_owned()),
        Some(state @ (b'Z' | b'X' | b'x')) => {
            let says = format!("the agent is dead (state {}) in the last sample", char::from(state));
            add(Cause::AgentCrashed, 25, says);
        }
        None if evidence.samples_had_agent() && !evidence.is_last_torn() => {
            let says = "the agent is not in the last sample, and was in earlier ones";
            add(Cause::AgentCrashed, 20, says.to_owned());
        }
        _ => {}
    }
}

fn of_event(evidence: &Evidence<'_>, one: &Happening) -> Option<Ailment> {
    let is_near = evidence.is_within(one.mark, NEAR_MS.max(3 * evidence.interval_ms));
    let (of, points, says) = match &one.what {
        // The level of macOS that says that all is well again.
        What::Pressure { kind, value, .. } if kind.as_ref() == "level" && value.is_some_and(|value| value <= 10) => {
            return None;
        }
        What::Pressure { resource, kind, .. } if is_near => {
            let (of, what) = match resource.as_ref() {
                "io" => (Cause::IoStall, "disks"),
                "cpu" => (Cause::CpuStarved, "CPUs"),
                _ => (Cause::MemoryThrash, "memory"),
            };
            (of, 15, format!("{what} ran short right before the end: a pressure line says so ({kind})"))
        }
        What::Kernel { kind, about, .. } if ring::is_of_this_run(evidence, one) => {
            let (of, points, within_ms) = match kind {
                Fault::Hung | Fault::Io => (Cause::IoStall, 15, FAULT_MS),
                Fault::Panic | Fault::Lockup | Fault::Rcu | Fault::Fs => (Cause::KernelFault, 15, FAULT_MS),
                Fault::Alloc | Fault::Balloon => (Cause::KernelFault, 12, FAULT_MS),
                Fault::Segv => (Cause::AgentCrashed, 10, NEAR_MS),
            };
            if !evidence.is_within(one.mark, within_ms) {
                return None;
            }
            let about = if about.is_empty() { String::new() } else { format!(" about {about}") };
            (of, points, format!("the kernel told {}{about} shortly before the end", kind.event()))
        }
        // Where the counts deny it, it is no case of its own.
        What::Kill { victim, .. } if evidence.is_within(one.mark, FAULT_MS) && ring::is_of_this_run(evidence, one) => {
            (Cause::GuestOom, 15, format!("the kernel told that it killed {victim} shortly before the end"))
        }
        What::Gap { ms, .. } if evidence.is_within(one.mark, FAULT_MS) => {
            (Cause::Paused, 10, format!("the probe did not run for {} within the last minute", time(*ms)))
        }
        What::Degraded { error, .. } if error.as_ref() != "ok" => {
            (Cause::NetworkLost, 10, format!("a network sink failed: {error}"))
        }
        What::Disk { path, used, is_read_only, .. } if is_near => {
            let used = used.map(i64::from).filter(|used| *used >= 990);
            let says = match (used, is_read_only) {
                (_, true) => format!("{path} was made read-only right before the end"),
                (Some(used), false) => format!("{path} was {} full right before the end", pct(used)),
                (None, false) => return None,
            };
            (Cause::DiskFull, 10, says)
        }
        What::Agent { state: AgentState::Waited, .. } if is_near => {
            (Cause::CpuStarved, 10, "the agent waited over a second for a CPU right before the end".to_owned())
        }
        _ => return None,
    };
    Some(Ailment { of, points, reason: Reason { says, lines: vec![one.mark] } })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::clock::Clock;
    use super::*;
    use crate::hub::trail::Book;
    use crate::hub::trail::book::Origin;
    use crate::hub::trail::slice::Place;

    #[test]
    fn what_is_alike_ails_once_whatever_stands_between() {
        let mut book = Book::default();
        for (seq, resource) in ["io", "memory", "io"].iter().enumerate() {
            let ts = format!("2026-06-04T12:00:0{seq}.000Z");
            let line = format!("RUNNER_VITALS ts={ts} run=k3x9 seq={seq} event=pressure resource={resource} kind=psi");
            book.take(line.as_bytes(), Origin::default(), Place::default());
        }
        let (runners, _) = book.into_runners();
        let evidence = Evidence::of(&runners[0], 0, &Clock::new(SystemTime::UNIX_EPOCH, None)).unwrap();
        let says: Vec<(String, u64)> = ailments(&evidence)
            .into_iter()
            .map(|one| (one.reason.says, one.reason.lines.iter().map(|mark| mark.seq).sum()))
            .collect();
        let short = |what: &str| format!("{what} ran short right before the end: a pressure line says so (psi)");
        assert_eq!(says, [(short("disks"), 2), (short("memory"), 1)]);
    }
}
