//! What a guest was like at its end, as figures, and whether they are those of a guest that was well.

use crate::hub::trail::slice::Mean;

use super::super::evidence::{Evidence, is_exhausted};
use super::super::units::{pct, size, time};

/// Whether the figures are those of a guest that nobody would call busy or short of anything. Tenths.
pub(super) fn is_well(evidence: &Evidence<'_>) -> bool {
    let is_under = |of, tenths| evidence.worst_mean(of).is_none_or(|mean| mean < tenths);
    let has_memory = evidence.lowest_memory().is_none_or(|(lowest, total)| lowest >= total / 10);
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
    if evidence.tells_stalls() {
        let of = |mean| pct(evidence.worst_mean(mean).unwrap_or(0));
        says.push(format!(
            "tasks waited {} for a CPU, {} for memory, {} for disks",
            of(Mean::CpuStall),
            of(Mean::MemStall),
            of(Mean::IoStall)
        ));
    }
    if let Some(late) = evidence.late_ms() {
        says.push(format!("the probe at most {} late", time(late)));
    }
    if says.is_empty() {
        says.push("no figure tells how it was".to_owned());
    }
    says.join("; ")
}
