//! `io_stall`, `disk_full`, `inodes_full`, `pids_exhausted`: what is not to be had.

use crate::hub::trail::happening::{Fault, What};
use crate::hub::trail::slice::{High, Last, Low, Mean};

use super::super::case::Case;
use super::super::cause::Cause;
use super::super::evidence::Evidence;
use super::super::ring;
use super::super::units::{count, pct, size};
use super::oom::is_pressure;

/// All tasks wait for disks this part of the time. Unpacking onto a slow disk has half. Tenths.
const STALL: i64 = 600;

/// A path this full has no room for the unprivileged, as far as rounding tells. Tenths.
const FULL: i64 = 995;

pub(crate) fn io_stall(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::IoStall);
    let lines = evidence.lately_lines();
    let is_told = evidence.tells_stalls();
    let waits = if is_told { Some(evidence.worst_mean(Mean::IoStall)) } else { evidence.present(Last::IoPsi) };
    match waits {
        Some(waits) if waits >= STALL => {
            let of = if is_told { "all tasks" } else { "some task" };
            let points = if is_told { 52 + (waits - STALL) / 20 } else { 42 };
            case.add(points, format!("{of} waited for disks {} of the time", pct(waits)), &lines);
        }
        Some(waits) => case.less(0, format!("tasks waited for disks {} of the time", pct(waits)), &lines),
        None => case.less(
            0,
            format!("CPUs idle with input or output under way {}", pct(evidence.worst_mean(Mean::CpuIowait))),
            &lines,
        ),
    }
    let is_stuck = evidence.last_sample().and_then(|last| last.last(Last::AgentState)) == Some(i64::from(b'D'));
    if is_stuck {
        let blocked = evidence.high(High::Blocked).unwrap_or(0);
        case.add(15, format!("the agent waits uninterruptibly; at most {} waited so", count(blocked, "task")), &lines);
    }
    if let Some(told) = evidence.within(35_000).find(|one| is_pressure(one, "io", "psi")) {
        case.add(8, "a pressure trigger of the disks fired".to_owned(), &[told.mark]);
    }
    for one in evidence.within(120_000).filter(|one| ring::is_of_this_run(evidence, one)) {
        match &one.what {
            What::Kernel { kind: Fault::Hung, about, .. } => {
                case.add(15, format!("the kernel says that {about} hangs"), &[one.mark]);
            }
            What::Kernel { kind: Fault::Io, about, .. } => {
                case.add(30, format!("the disk {about} failed a request"), &[one.mark]);
            }
            _ => {}
        }
    }
    case.at_most(88);
    case.done()
}

pub(crate) fn disk_full(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::DiskFull);
    let Some(last) = evidence.life.recent.last() else { return case };
    let Some(used) = last.high(High::DiskUsed) else {
        case.less(0, "no reading of disks".to_owned(), &[]);
        return case;
    };
    let figure = format!("the fullest watched path was {} full", pct(used));
    let (figure, avail) = match last.low(Low::DiskAvail) {
        Some(avail) => (format!("{figure}, {} available", size(avail)), avail),
        None => (figure, i64::MAX),
    };
    // A point of a large disk is room enough for hours.
    if used < FULL || avail > 64 << 10 {
        case.less(0, figure, &[last.mark]);
        return case.done();
    }
    case.add(60, figure + &path(evidence, |used, _| used), &[last.mark]);
    was_it_always(evidence, Low::DiskUsed, &mut case);
    case.done()
}

pub(crate) fn inodes_full(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::InodesFull);
    let Some(last) = evidence.life.recent.last() else { return case };
    let Some(used) = last.high(High::InodeUsed) else {
        case.less(0, "no reading of inodes".to_owned(), &[]);
        return case;
    };
    let figure = format!("of the fullest watched path {} of the inodes were in use", pct(used));
    if used < FULL {
        case.less(0, figure, &[last.mark]);
        return case.done();
    }
    case.add(62, figure + &path(evidence, |_, inodes| inodes), &[last.mark]);
    was_it_always(evidence, Low::InodeUsed, &mut case);
    case.done()
}

/// Which path crossed the mark, where a line says so.
fn path(evidence: &Evidence<'_>, of: impl Fn(Option<u32>, Option<u32>) -> Option<u32>) -> String {
    let path = evidence.life.happenings.iter().rev().find_map(|one| match &one.what {
        What::Disk { path, used, inode_used, .. } if of(*used, *inode_used).map(i64::from) >= Some(FULL) => Some(path),
        _ => None,
    });
    path.map_or_else(String::new, |path| format!(": {path}"))
}

/// An image that is mounted read-only is full from its first day, and harmless.
fn was_it_always(evidence: &Evidence<'_>, low: Low, case: &mut Case) {
    let lowest = evidence.life.whole.as_ref().and_then(|whole| whole.low(low));
    match lowest {
        Some(lowest) if lowest < FULL => case.add(8, format!("it was at {} before", pct(lowest)), &[]),
        _ => {
            case.less(15, "it was as full in every line that is there".to_owned(), &[]);
            case.at_most(48);
        }
    }
}

pub(crate) fn pids_exhausted(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::PidsExhausted);
    let Some(last) = evidence.last_sample() else { return case };
    let Some(used) = last.high(High::PidsUsed) else {
        case.less(0, "no limit of processes was told".to_owned(), &[]);
        return case;
    };
    let (refused, ever) = (evidence.growth(High::PidsFail), evidence.high(High::PidsFail).unwrap_or(0));
    let figure = format!("{} of the processes that there may be, {} refused lately", pct(used), count(refused, "fork"));
    if used < 990 || ever == 0 {
        case.less(0, figure, &[last.mark]);
        return case.done();
    }
    case.add(if refused > 0 { 70 } else { 48 }, figure, &evidence.lately_lines());
    case.done()
}
