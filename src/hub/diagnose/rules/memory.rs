//! `memory_thrash`: everything waits for memory and nothing is killed.

use crate::hub::trail::slice::{High, Last, Mean};

use super::super::case::Case;
use super::super::cause::Cause;
use super::super::evidence::{Evidence, is_exhausted};
use super::super::units::{count, pct, size};
use super::oom::is_pressure;

/// All tasks wait for memory this part of the time: a stream of files through a full cgroup has 16 %, on an emulated CPU up to
/// 30 %, a working set that does not fit 45 % and more. Tenths.
const STALL: i64 = 400;

/// The same where only the kernel's average over ten seconds is there, which takes that long to rise. Tenths.
const AVERAGE: i64 = 300;

pub(crate) fn thrash(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::MemoryThrash);
    let lines = evidence.lately_lines();
    if evidence.tells_stalls(Last::MemPsiFull) {
        let stall = evidence.worst_mean(Mean::MemStall).unwrap_or(0);
        let figure = format!("all tasks waited for memory {} of the last samples' time (mem.stall.pct)", pct(stall));
        if stall < STALL / 2 {
            case.less(0, figure, &lines);
            return case.done();
        }
        case.add(if stall >= STALL { 62 + (stall - STALL) / 25 } else { 42 }, figure, &lines);
    } else if let Some(present) = evidence.present_or_last(Last::MemPsiFull) {
        let figure = format!("all tasks waited for memory some {} of the time, by the average over 10 s", pct(present));
        if present < AVERAGE {
            case.less(0, figure, &lines);
            return case.done();
        }
        case.add(58, figure, &lines);
    } else {
        without_pressure(evidence, &mut case);
        return case.done();
    }
    if let Some((current, high)) = evidence.at_high() {
        let figure = format!("its cgroup had {} and is slowed down from {} on (mem.high)", size(current), size(high));
        case.add(0, figure, &lines);
    }
    if let Some(told) = evidence.within(35_000).find(|one| is_pressure(one, "memory", "psi")) {
        case.add(5, "a pressure trigger of memory fired".to_owned(), &[told.mark]);
    }
    case.done()
}

/// Pressure is not to be had: what is left are the kernel's counts of reclaim.
fn without_pressure(evidence: &Evidence<'_>, case: &mut Case) {
    let memory = evidence.last_sample().and_then(|last| Some((last.last(Last::MemAvail)?, last.high(High::MemTotal)?)));
    let Some((avail, total)) = memory else { return };
    let (stalls, refaults) = (evidence.growth(High::AllocStall), evidence.growth(High::Refault));
    let mut figure = format!("{} of {} available", size(avail), size(total));
    if let Some(stalls) = stalls {
        figure += &format!(", {} had to wait", count(stalls, "allocation"));
    }
    if let Some(refaults) = refaults {
        figure += &format!(", {} read again", count(refaults, "page"));
    }
    if stalls.is_none() && refaults.is_none() {
        figure += "; no line tells how tasks waited for it";
    }
    if is_exhausted(avail, total) && stalls > Some(0) && refaults > Some(1000) {
        case.add(48, figure, &evidence.lately_lines());
    } else {
        case.less(0, figure, &evidence.lately_lines());
    }
}
