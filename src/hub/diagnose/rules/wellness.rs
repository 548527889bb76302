//! What a guest was like at its end, as figures, and whether they are those of a guest that was well.

use crate::hub::trail::slice::{Last, Mean};

use super::super::evidence::{Evidence, is_exhausted};
use super::super::units::{pct, size, time};

/// Whether the figures are those of a guest that nobody would call busy or short of anything. Tenths.
pub(super) fn is_well(evidence: &Evidence<'_>) -> bool {
    let is_under = |of, tenths| evidence.worst_mean(of).is_none_or(|mean| mean < tenths);
    let has_memory = evidence.lowest_memory().is_some_and(|(lowest, total)| lowest >= total / 10);
    has_memory
        && is_under(Mean::CpuBusy, 900)
        && is_under(Mean::CpuStall, 600)
        && is_under(Mean::MemStall, 100)
        && is_under(Mean::IoStall, 400)
        && is_under(Mean::CpuThrottled, 500)
}

/// What the guest was like at its end, as figures.
pub(super) fn wellness(evidence: &Evidence<'_>) -> String {
    let mut says = Vec::new();
    if let Some((lowest, total)) = evidence.lowest_memory() {
        let least = if is_exhausted(lowest, total) { "at the lowest" } else { "at least" };
        says.push(format!("{least} {} of {} memory available", size(lowest), size(total)));
    }
    if let Some(busy) = evidence.worst_mean(Mean::CpuBusy) {
        says.push(format!("CPUs busy {}", pct(busy)));
    }
    let waits = [
        ("a CPU", Mean::CpuStall, Last::CpuPsi),
        ("memory", Mean::MemStall, Last::MemPsiFull),
        ("disks", Mean::IoStall, Last::IoPsi),
    ];
    let waits = waits.into_iter().filter(|(_, _, last)| evidence.tells_stalls(*last));
    let waits = waits.filter_map(|(what, mean, _)| Some(format!("{} for {what}", pct(evidence.worst_mean(mean)?))));
    let waits: Vec<String> = waits.collect();
    if !waits.is_empty() {
        says.push(format!("tasks waited {}", waits.join(", ")));
    }
    if let Some(late) = evidence.late_ms() {
        says.push(format!("the probe at most {} late", time(late)));
    }
    if says.is_empty() {
        says.push("no figure tells how it was".to_owned());
    }
    says.join("; ")
}
