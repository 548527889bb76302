//! `io_stall`, `disk_full`, `inodes_full`, `pids_exhausted`: what is not to be had.

use crate::hub::trail::happening::{Fault, What};
use crate::hub::trail::slice::{High, Last, Low, Mark, Mean};

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

/// It is never surer: what is behind a disk is not seen from inside.
const SUREST: i64 = 88;

/// What a limit of processes that is met is worth where nothing counts refused forks.
const UNTOLD: i64 = 30;

/// What a full disk can have where no line tells how much of it is left.
const ROOM_UNTOLD: i64 = 49;

/// What failed requests and hung tasks can be worth while neither the agent nor most tasks wait for disks.
const NOBODY_WAITS: i64 = 49;

pub(crate) fn io_stall(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::IoStall);
    let lines = evidence.lately_lines();
    let is_told = evidence.tells_stalls(Last::IoPsi);
    let waits = if is_told { evidence.worst_mean(Mean::IoStall) } else { evidence.present_or_last(Last::IoPsi) };
    match waits {
        Some(waits) if waits >= STALL => {
            let of = if is_told { "all tasks" } else { "some task" };
            let points = if is_told { 52 + (waits - STALL) / 20 } else { 42 };
            case.add(points, format!("{of} waited for disks {} of the time", pct(waits)), &lines);
        }
        Some(waits) => case.less(0, format!("tasks waited for disks {} of the time", pct(waits)), &lines),
        // That it is not there means none only where the kernel's table of CPUs was read.
        None => match evidence.worst_mean(Mean::CpuBusy).and(evidence.worst_mean(Mean::CpuIowait)) {
            Some(wait) => {
                case.less(0, format!("CPUs idle with input or output under way {}", pct(wait)), &lines);
            }
            None => case.less(0, "nothing tells how long tasks waited for disks".to_owned(), &[]),
        },
    }
    let is_stuck = evidence.last_sample().and_then(|last| last.last(Last::AgentState)) == Some(i64::from(b'D'));
    if is_stuck {
        let blocked = evidence.high(High::Blocked);
        let blocked = blocked.map_or_else(String::new, |tasks| format!("; at most {} waited so", count(tasks, "task")));
        case.add(15, format!("the agent waits uninterruptibly{blocked}"), &lines);
    }
    if let Some(told) = evidence.within(35_000).find(|one| is_pressure(one, "io", "psi")) {
        case.add(8, "a pressure trigger of the disks fired".to_owned(), &[told.mark]);
    }
    if let Some((hung, about)) = told(evidence, Fault::Hung) {
        case.add(15, format!("the kernel says that {about} hangs"), &[hung]);
    }
    if let Some((failed, about)) = told(evidence, Fault::Io) {
        case.add(30, format!("the disk {about} failed a request"), &[failed]);
    }
    // An empty drive fails requests all day, and nobody waits for it.
    let is_waited_for = is_stuck || waits.is_some_and(|waits| waits >= STALL);
    case.at_most(if is_waited_for { SUREST } else { NOBODY_WAITS });
    case.done()
}

/// The kernel's last word on what waits for disks, within two minutes. Several of one fault say it once.
fn told<'e>(evidence: &Evidence<'e>, of: Fault) -> Option<(Mark, &'e str)> {
    let mut told = evidence.within(120_000).filter(|one| ring::is_of_this_run(evidence, one));
    told.find_map(|one| match &one.what {
        What::Kernel { kind, about, .. } if *kind == of => Some((one.mark, about.as_ref())),
        _ => None,
    })
}

pub(crate) fn disk_full(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::DiskFull);
    let Some(last) = evidence.life.recent.last() else { return case };
    let Some(used) = last.high(High::DiskUsed) else {
        case.less(0, "no reading of disks".to_owned(), &[]);
        return case;
    };
    let figure = format!("the fullest watched path was {} full", pct(used));
    let avail = last.low(Low::DiskAvail);
    let figure = avail.map_or_else(|| figure.clone(), |avail| format!("{figure}, {} available", size(avail)));
    // A point of a large disk is room enough for hours.
    if used < FULL || avail.is_some_and(|avail| avail > 64 << 10) {
        case.less(0, figure, &[last.mark]);
        return case.done();
    }
    case.add(60, figure + &path(evidence, |used, _| used), &[last.mark]);
    was_it_always(evidence, Low::DiskUsed, &mut case);
    if avail.is_none() {
        case.less(0, "no line tells how much of it is left".to_owned(), &[last.mark]);
        case.at_most(ROOM_UNTOLD);
    }
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
    // The last line can be torn.
    let Some(used) = last.high(High::PidsUsed).or_else(|| evidence.high(High::PidsUsed)) else {
        case.less(0, "no limit of processes was told".to_owned(), &[]);
        return case;
    };
    let (refused, ever) = (evidence.growth(High::PidsFail), evidence.ever(High::PidsFail));
    // The count is printed over 0 only.
    let is_told = evidence.about().and_then(|about| about.tells_refused_forks) == Some(true);
    let (points, refusals) = match (refused, ever) {
        (_, Some(0)) => (0, "no refused fork told".to_owned()),
        (None, None) if is_told => (0, "no refused fork told".to_owned()),
        (None, None) => (UNTOLD, "and no line tells whether forks were refused".to_owned()),
        (Some(refused), _) => (if refused > 0 { 70 } else { 48 }, format!("{} refused lately", count(refused, "fork"))),
        (None, Some(ever)) => (48, format!("{} refused since the run began", count(ever, "fork"))),
    };
    let figure = format!("{} of the processes that there may be, {refusals}", pct(used));
    if used < 990 || points == 0 {
        case.less(0, figure, &[last.mark]);
        return case.done();
    }
    case.add(points, figure, &evidence.lately_lines());
    case.done()
}
