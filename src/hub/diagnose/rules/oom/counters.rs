//! What the kernel's counts of kills say of one kill: when it was, and whose counts moved with it.
//!
//! Only what moved with a kill says something of it: a runner can survive one of its own limit and die an hour later of
//! another's.

use crate::hub::trail::happening::{Happening, Source, What};
use crate::hub::trail::moved::Moved;
use crate::hub::trail::slice::{High, Low, Mark, Slice};

use super::super::super::cause::Cause;
use super::super::super::evidence::Evidence;
use super::{is_guest_short, own_or_group};

/// The lines of one kill come within so long of each other, ms.
pub(super) const TOGETHER_MS: u64 = 3000;

/// The last kill that the counts have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) kind: Cause,
    /// The line that tells it, else the first sample that counts it.
    pub(super) mark: Mark,
    /// The last sample that does not count it: the kill was in between.
    pub(super) after: Option<Mark>,
    /// Whether a count says whose it was.
    pub(super) is_known: bool,
}

/// A count of [`KILLS`](crate::hub::trail::life::KILLS): whose, and the how-manieth.
#[derive(Clone, Copy)]
struct Count(Source, usize);

const OWN: Count = Count(Source::Own, 0);
const TREE: Count = Count(Source::Tree, 1);
const GUEST: Count = Count(Source::Vm, 2);

/// Finds it.
pub(super) fn last(evidence: &Evidence<'_>) -> Option<Counted> {
    let told = evidence.life.happenings.iter().rev().find(|one| is_of(one, None)).map(|one| one.mark);
    let moves = evidence.life.kills.iter().flatten().filter_map(|moved| Some((moved.to, moved.from?)));
    let moved = moves.max_by_key(|(to, from)| (to.seq, from.seq));
    let (mark, after) = match (told, moved) {
        (Some(told), Some((to, from))) if is_of_move(told, from, to) => (told, Some(from)),
        (Some(told), Some((to, from))) if told.seq < to.seq => (to, Some(from)),
        (Some(told), _) => (told, evidence.last_sample().map(|last| last.mark).filter(|last| last.seq < told.seq)),
        (None, moved) => moved.map(|(to, from)| (to, Some(from)))?,
    };
    let (kind, is_known) = if moved_with(evidence, OWN, mark) {
        (of_own(evidence, mark), true)
    } else if !moved_with(evidence, TREE, mark) && is_guest_short(evidence) {
        (Cause::GuestOom, true)
    } else if may_be_own(evidence, mark) {
        (own_or_group(evidence, mark), false)
    } else {
        (Cause::SidecarOom, true)
    };
    Some(Counted { kind, mark, after, is_known })
}

/// Whether the count of the own cgroup moved with this kill.
pub(super) fn own_moved_with(evidence: &Evidence<'_>, mark: Mark) -> bool {
    moved_with(evidence, OWN, mark)
}

/// When the count of the guest's kills last moved.
pub(super) fn of_guest(evidence: &Evidence<'_>) -> Option<Moved> {
    let Count(_, nth) = GUEST;
    evidence.life.kills.get(nth).copied().flatten()
}

fn is_of(one: &Happening, of: Option<Source>) -> bool {
    matches!(&one.what, What::Counter { source, delta } if *delta > 0 && of.is_none_or(|of| of == *source))
}

/// A line tells it of that kill, or the kill is between the samples in which the count last moved.
fn moved_with(evidence: &Evidence<'_>, count: Count, mark: Mark) -> bool {
    let Count(source, nth) = count;
    let is_told = evidence.life.happenings.iter().any(|one| is_of(one, Some(source)) && is_together(one.mark, mark));
    let moved = evidence.life.kills.get(nth).copied().flatten().and_then(|moved| Some((moved.to, moved.from?)));
    is_told || moved.is_some_and(|(to, from)| is_of_move(mark, from, to))
}

/// Whether the own cgroup lost a process, and no sample is there that would tell that it was before this kill.
fn may_be_own(evidence: &Evidence<'_>, mark: Mark) -> bool {
    let has_lost = evidence.last_sample().and_then(|last| last.high(High::OomKill)) > Some(0);
    let has_before = evidence.life.whole.as_ref().is_some_and(|whole| whole.first.seq < mark.seq);
    has_lost && !has_before
}

/// Whether a line is of a move of a count: between the samples that have it, or close behind.
fn is_of_move(mark: Mark, from: Mark, to: Mark) -> bool {
    from.seq < mark.seq && mark.seq <= to.seq || is_together(to, mark)
}

/// Whether two lines can be of one kill.
pub(super) fn is_together(one: Mark, other: Mark) -> bool {
    match one.at_ms().zip(other.at_ms()) {
        Some((one, other)) => one.abs_diff(other) <= TOGETHER_MS,
        None => one.seq.abs_diff(other.seq) <= 10,
    }
}

/// Whether the count of limits met is higher in the first samples behind a line than in those before it; `None` where it was
/// not read.
pub(super) fn has_met_limit(evidence: &Evidence<'_>, mark: Mark) -> Option<bool> {
    let recent = &evidence.life.recent;
    let behind = recent.iter().find(|slice| slice.mark.seq >= mark.seq)?;
    let before = recent.iter().rfind(|slice| slice.mark.seq < mark.seq).and_then(|slice| slice.high(High::Oom));
    let within = Some(behind).filter(|slice| slice.first.seq < mark.seq).and_then(|slice| slice.low(Low::Oom));
    let before = before.or(within).or(evidence.life.whole.as_ref()?.low(Low::Oom))?;
    Some(behind.high(High::Oom)? > before)
}

/// Whether the count of groups that were killed whole is higher in the first samples behind a line than in those before it.
pub(super) fn groups_moved_with(evidence: &Evidence<'_>, mark: Mark) -> bool {
    let recent = &evidence.life.recent;
    let behind = recent.iter().find(|slice| slice.mark.seq >= mark.seq);
    let before = recent.iter().filter(|slice| slice.mark.seq < mark.seq).filter_map(groups).next_back();
    let Some(count) = behind.and_then(|behind| behind.high(High::OomGroup)) else { return false };
    match before {
        Some(before) => count > before,
        // Of long ago, or all there is: only samples with another count tell.
        None => evidence.rise(High::OomGroup, Low::OomGroup) > Some(0),
    }
}

/// The count of groups that were killed whole; `None` where it was not read. It is printed over 0 only, and stands in one file with
/// `oom_kill`.
fn groups(slice: &Slice) -> Option<i64> {
    slice.high(High::OomGroup).or(slice.high(High::OomKill).map(|_| 0))
}

/// Whether the first samples behind a line count groups that were killed whole, and neither an earlier sample nor the run's beginning
/// tells whether that was before.
pub(super) fn may_be_group(evidence: &Evidence<'_>, mark: Mark) -> bool {
    let recent = &evidence.life.recent;
    let behind = recent.iter().find(|slice| slice.mark.seq >= mark.seq);
    let has_before = recent.iter().any(|slice| slice.mark.seq < mark.seq && groups(slice).is_some());
    let has_beginning = evidence.about().is_some_and(|about| about.began.is_some());
    !has_before && !has_beginning && behind.and_then(|behind| behind.high(High::OomGroup)) > Some(0)
}

/// The own cgroup lost a process: by its own limit, or as part of a guest that ran out.
fn of_own(evidence: &Evidence<'_>, mark: Mark) -> Cause {
    // cgroup v1 does not count limits that were met.
    let is_of_limit = has_met_limit(evidence, mark) == Some(true) || !is_guest_short(evidence);
    if is_of_limit { own_or_group(evidence, mark) } else { Cause::GuestOom }
}
