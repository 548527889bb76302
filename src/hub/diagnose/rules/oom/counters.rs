//! What the kernel's counts of kills say of one kill: when it was, and whose counts moved with it.
//!
//! Only what moved with a kill says something of it: a runner can survive one of its own limit and die an hour later of
//! another's.

use crate::hub::trail::happening::{Happening, Source, What};
use crate::hub::trail::slice::{High, Low, Mark};

use super::super::super::cause::Cause;
use super::super::super::evidence::Evidence;
use super::{is_guest_short, own_or_group};

/// The lines of one kill come within so long of each other, ms.
const TOGETHER_MS: i64 = 3000;

/// The last kill that the counts have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) kind: Cause,
    /// The line that tells it, else a sample that counts it.
    pub(super) mark: Mark,
    /// It was before the latest minute, and when is not known.
    pub(super) is_old: bool,
}

/// The readings of a count.
#[derive(Clone, Copy)]
struct Count(Source, High, Low);

const OWN: Count = Count(Source::Own, High::OomKill, Low::OomKill);
const TREE: Count = Count(Source::Tree, High::TreeOomKill, Low::TreeOomKill);
const VM: Count = Count(Source::Vm, High::VmOomKill, Low::VmOomKill);

/// Finds it.
pub(super) fn last(evidence: &Evidence<'_>) -> Option<Counted> {
    let told = evidence.life.happenings.iter().rev().find(|one| is_of(one, None)).map(|one| (one.mark, false));
    let (mark, is_old) = told.or_else(|| rise_in_samples(evidence))?;
    let kind = if moved_with(evidence, OWN, mark) {
        of_own(evidence, mark)
    } else if !moved_with(evidence, TREE, mark) && is_guest_short(evidence) {
        Cause::GuestOom
    } else {
        Cause::SidecarOom
    };
    Some(Counted { kind, mark, is_old })
}

/// Whether the count of the own cgroup moved with this kill.
pub(super) fn own_moved_with(evidence: &Evidence<'_>, mark: Mark) -> bool {
    moved_with(evidence, OWN, mark)
}

/// Where no line tells it: the samples between which a count rose last.
fn rise_in_samples(evidence: &Evidence<'_>) -> Option<(Mark, bool)> {
    let recent = &evidence.life.recent;
    let risen = [OWN, TREE, VM].into_iter().filter(|Count(_, high, low)| evidence.rise(*high, *low) > Some(0));
    let marks = risen.filter_map(|Count(_, high, low)| {
        let rise = (0..recent.len()).rev().find_map(|at| {
            let slice = recent.get(at)?;
            let before = at.checked_sub(1).and_then(|at| recent.get(at)?.high(high)).or(slice.low(low))?;
            (slice.high(high)? > before).then_some((slice.mark, false))
        });
        rise.or(recent.first().map(|slice| (slice.first, true)))
    });
    marks.max_by_key(|(mark, _)| mark.seq)
}

fn is_of(one: &Happening, of: Option<Source>) -> bool {
    matches!(&one.what, What::Counter { source, delta } if *delta > 0 && of.is_none_or(|of| of == *source))
}

fn moved_with(evidence: &Evidence<'_>, count: Count, mark: Mark) -> bool {
    let Count(source, high, low) = count;
    let is_close = |one: &Happening| match one.mark.at_ms().zip(mark.at_ms()) {
        Some((one, mark)) => one.abs_diff(mark) <= TOGETHER_MS.unsigned_abs(),
        None => one.mark.seq.abs_diff(mark.seq) <= 10,
    };
    let is_told = evidence.life.happenings.iter().any(|one| is_of(one, Some(source)) && is_close(one));
    is_told || rose_at(evidence, high, low, mark) == Some(true)
}

/// Whether a count is higher in the first samples behind a line than in those before it; `None` where it was not read.
fn rose_at(evidence: &Evidence<'_>, high: High, low: Low, mark: Mark) -> Option<bool> {
    let recent = &evidence.life.recent;
    let behind = recent.iter().find(|slice| slice.mark.seq >= mark.seq)?;
    let before = recent.iter().rfind(|slice| slice.mark.seq < mark.seq).and_then(|slice| slice.high(high));
    let within = Some(behind).filter(|slice| slice.first.seq < mark.seq).and_then(|slice| slice.low(low));
    let before = before.or(within).or(evidence.life.whole.as_ref()?.low(low))?;
    Some(behind.high(high)? > before)
}

/// The own cgroup lost a process: by its own limit, or as part of a guest that ran out.
fn of_own(evidence: &Evidence<'_>, mark: Mark) -> Cause {
    // cgroup v1 does not count limits that were met.
    let has_met_limit = rose_at(evidence, High::Oom, Low::Oom, mark) == Some(true) || !is_guest_short(evidence);
    if has_met_limit { own_or_group(evidence) } else { Cause::GuestOom }
}
