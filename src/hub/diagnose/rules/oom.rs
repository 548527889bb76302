//! OOM kills: whose memory ran out, and whether that was the end.

mod counters;
mod fatal;
mod group;
mod untold;

use crate::hub::trail::happening::{Adj, Happening, Scope, What};
use crate::hub::trail::slice::{High, Low, Mark};

use super::super::case::Case;
use super::super::cause::Cause;
use super::super::evidence::Evidence;
use super::super::ring;
use super::super::units::{at, size};
use counters::{Counted, TOGETHER_MS};
use fatal::fatality;
use untold::{cgroup_ran_out, count_stood, guest_ran_out, not_killed};

/// A kill so long before silence is part of it: the death of what was killed takes as long.
const FATAL_MS: i64 = 15_000;

/// A kill that is taken for another cgroup's though it may be the own one's has at most so much.
const NOT_ITS: i64 = 49;

/// A kill that may be of another kind, since lines are missing, has at most so much.
const OPEN: i64 = 60;

/// A count that rose so much later than the last message rose for another kill, where samples are missing that would tell.
const LATER_MS: i64 = 30_000;

/// The last kill that the lines tell of.
#[derive(Debug)]
pub(crate) struct Oom<'e> {
    pub(crate) kind: Cause,
    /// The line that tells it.
    pub(crate) mark: Mark,
    /// Who was killed, where the kernel's message is there.
    pub(crate) victim: Option<Victim<'e>>,
    /// A counter moved, or the message is of this run for sure.
    pub(crate) is_proven: bool,
    /// Where it begins: where only counts tell it, the last sample that does not have it; of a group the first line of it.
    pub(crate) from: Option<Mark>,
    /// How many kills the counters have.
    pub(crate) kills: i64,
    /// What it may be instead, and why that is open.
    open: Option<(Cause, String)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Victim<'e> {
    pub(crate) comm: &'e str,
    pub(crate) adj: Option<i16>,
    pub(crate) rss_kb: Option<u32>,
    pub(crate) cgroup: &'e str,
}

/// Finds the last kill.
pub(crate) fn oom<'e>(evidence: &Evidence<'e>) -> Option<Oom<'e>> {
    let counted = counters::last(evidence);
    let told = evidence.life.happenings.iter().rev().find(|one| is_kill_of_this_run(evidence, one));
    let told = told.filter(|told| !counted.is_some_and(|counted| is_another(evidence, told, counted)));
    let told = told.map(|last| own_before(evidence, last).unwrap_or(last));
    let kills = evidence.rise(High::VmOomKill, Low::VmOomKill).unwrap_or(0);
    let kills = kills.max(evidence.rise(High::OomKill, Low::OomKill).unwrap_or(0));
    let Some(told) = told else {
        let Counted { kind, mark, after, is_known } = counted?;
        let is_proven = is_known && (kind != Cause::SidecarOom || is_surely_anothers(evidence, mark, after));
        let open = open(evidence, kind, mark, after);
        return Some(Oom { kind, mark, victim: None, is_proven, from: after, kills: kills.max(1), open });
    };
    let What::Kill { scope, victim, adj, rss_kb, cgroup, .. } = &told.what else { return None };
    let (kind, is_whose_known) = match scope {
        Some(Scope::Guest) => (Cause::GuestOom, true),
        Some(Scope::Cgroup) => of_cgroup(evidence, cgroup, told.mark),
        None => (counted.map_or(Cause::GuestOom, |counted| counted.kind), true),
    };
    let has_start = evidence.about().is_some_and(|about| about.began.is_some());
    let victim = Victim { comm: victim, adj: adj.map(Adj::get), rss_kb: *rss_kb, cgroup };
    let group = (kind == Cause::OomGroup).then(|| group::of(evidence, told.mark, cgroup));
    Some(Oom {
        kind,
        mark: told.mark,
        victim: Some(group.as_ref().and_then(|group| group.largest(&victim)).unwrap_or(victim)),
        is_proven: is_whose_known && (has_start || counted.is_some()),
        from: group.map(|group| group.first),
        kills: kills.max(1),
        open: open(evidence, kind, told.mark, None).filter(|(other, _)| *other == Cause::OomGroup),
    })
}

/// The own kill, or the guest's, right before one that names another cgroup: that is what takes the runner, also where a neighbour meets its
/// limit just then.
fn own_before<'e>(evidence: &Evidence<'e>, last: &Happening) -> Option<&'e Happening> {
    let is_right_before = |one: &Happening| {
        let before = last.mark.at_ms().zip(one.mark.at_ms()).map(|(last, one)| last.saturating_sub(one));
        before.is_some_and(|before| (0..=FATAL_MS).contains(&before))
    };
    let is_own = |one: &&Happening| {
        one.mark.seq < last.mark.seq
            && is_right_before(one)
            && is_kill_of_this_run(evidence, one)
            && !is_by_path_anothers(evidence, one)
    };
    is_by_path_anothers(evidence, last).then(|| evidence.life.happenings.iter().rev().find(is_own)).flatten()
}

/// Whether a message names a cgroup whose limit is none of the run's.
fn is_by_path_anothers(evidence: &Evidence<'_>, one: &Happening) -> bool {
    let What::Kill { scope: Some(Scope::Cgroup), cgroup, .. } = &one.what else { return false };
    own_path(evidence).is_some_and(|own| !is_in(own, cgroup))
}

/// What a kill may be instead, where lines are not there that would tell.
fn open(evidence: &Evidence<'_>, kind: Cause, mark: Mark, after: Option<Mark>) -> Option<(Cause, String)> {
    match kind {
        Cause::SidecarOom if !is_seen_whole(evidence, mark, after) => {
            let says =
                "lines between the samples around the kill are missing: the guest's memory may have run out in between";
            Some((Cause::GuestOom, says.to_owned()))
        }
        Cause::CgroupOom if counters::may_be_group(evidence, mark) => {
            let says = "a sample behind the kill counts a group that was killed whole (oom_group), and none shows that it was before";
            Some((Cause::OomGroup, says.to_owned()))
        }
        _ => None,
    }
}

/// Whether all lines from the last sample that does not count a kill to the first that does are there.
fn is_seen_whole(evidence: &Evidence<'_>, mark: Mark, after: Option<Mark>) -> bool {
    after.is_some_and(|after| evidence.life.is_whole(after, mark))
}

/// Whether the counts rose for another kill, behind the last message of one: that of the later is lost.
fn is_another(evidence: &Evidence<'_>, told: &Happening, counted: Counted) -> bool {
    let later = counted.mark.at_ms().zip(told.mark.at_ms()).map(|(counted, told)| counted.saturating_sub(told));
    // Two samples behind the message differ. The kernel counts a moment after it has said so.
    let is_behind = counted.after.is_some_and(|after| after.seq > told.mark.seq);
    let at_least = if is_behind { TOGETHER_MS.cast_signed() } else { LATER_MS.max(3 * evidence.interval_ms) };
    later.is_some_and(|later| later > at_least)
}

/// Whether a kill happened while the run was there.
fn is_kill_of_this_run(evidence: &Evidence<'_>, one: &Happening) -> bool {
    let has_beginning = evidence.about().is_some_and(|about| about.began.is_some());
    matches!(one.what, What::Kill { .. })
        && ring::is_of_this_run(evidence, one)
        && (has_beginning || !is_denied_by_counters(evidence, one))
}

/// Samples before and after it have the same count of kills.
fn is_denied_by_counters(evidence: &Evidence<'_>, one: &Happening) -> bool {
    let has_before = counters::of_guest(evidence).is_some_and(|count| count.to.seq < one.mark.seq);
    let has_behind =
        evidence.last_sample().is_some_and(|last| last.mark.seq > one.mark.seq && last.high(High::VmOomKill).is_some());
    let is_counted =
        evidence.life.happenings.iter().any(|other| matches!(&other.what, What::Counter { delta, .. } if *delta > 0));
    has_before && has_behind && !is_counted && evidence.rise(High::VmOomKill, Low::VmOomKill) == Some(0)
}

fn own_or_group(evidence: &Evidence<'_>, mark: Mark) -> Cause {
    // The kernel counts groups since the cgroup was made, so only a count that rose is of this run.
    let is_group =
        evidence.about().is_some_and(|about| about.is_oom_group) || counters::groups_moved_with(evidence, mark);
    if is_group { Cause::OomGroup } else { Cause::CgroupOom }
}

/// A limit was met: the own one, that of an ancestor, or another's; and whether that is known.
fn of_cgroup(evidence: &Evidence<'_>, cgroup: &str, mark: Mark) -> (Cause, bool) {
    match own_path(evidence) {
        Some(own) if is_in(own, cgroup) => (own_or_group(evidence, mark), true),
        // That of a cgroup below it: its kills count there too.
        Some(own) if is_in(cgroup, own) => (Cause::SidecarOom, true),
        _ if counters::own_moved_with(evidence, mark) => (own_or_group(evidence, mark), true),
        None if counters::has_met_limit(evidence, mark) == Some(true) => (own_or_group(evidence, mark), false),
        Some(_) => (Cause::SidecarOom, true),
        // The name of the own cgroup is not known: its counter says whether it was meant.
        None if was_never_killed_in(evidence, mark) => (Cause::SidecarOom, true),
        None => (own_or_group(evidence, mark), false),
    }
}

/// The own cgroup by the name that the kernel's messages have for it. In a namespace of its own it has another.
fn own_path<'e>(evidence: &'e Evidence<'_>) -> Option<&'e str> {
    evidence.about().and_then(|about| about.cgroup_path.as_deref()).filter(|own| !is_of_namespace(own))
}

/// Whether a path begins where a namespace does, and not where the guest does. The root of the guest has that name too.
fn is_of_namespace(path: &str) -> bool {
    path == "/" || path.starts_with("/..")
}

/// Whether a limit of `cgroup` is also one of `own`: it is that cgroup or an ancestor.
fn is_in(own: &str, cgroup: &str) -> bool {
    own.strip_prefix(cgroup).is_some_and(|rest| rest.is_empty() || cgroup == "/" || rest.starts_with('/'))
}

/// A sample behind the kill says that the own cgroup never lost a process.
fn was_never_killed_in(evidence: &Evidence<'_>, mark: Mark) -> bool {
    let last = evidence.last_sample().filter(|last| last.mark.seq > mark.seq);
    last.and_then(|last| last.high(High::OomKill)) == Some(0)
}

/// Only the guest's counter moved. That another cgroup was meant is sure where the own one never lost a process, since the line
/// that says so can be lost, and where the guest had so much room before that it did not run out in between: of what no line is there,
/// room before and behind says nothing.
fn is_surely_anothers(evidence: &Evidence<'_>, mark: Mark, after: Option<Mark>) -> bool {
    let has_before = evidence.life.whole.as_ref().is_some_and(|whole| whole.first.seq < mark.seq);
    let had_room = evidence.lowest_memory().is_some_and(|(lowest, total)| lowest > total / 2);
    has_before && had_room && is_seen_whole(evidence, mark, after) && was_never_killed_in(evidence, mark)
}

fn is_guest_short(evidence: &Evidence<'_>) -> bool {
    evidence.lowest_memory().is_some_and(|(lowest, total)| lowest < total / 10)
}

/// `guest_oom`, `cgroup_oom`, `sidecar_oom` or `oom_group`, given the last kill: one rule, four causes.
pub(crate) fn rule(evidence: &Evidence<'_>, oom: Option<&Oom<'_>>, cause: Cause) -> Case {
    let mut case = Case::new(cause);
    match oom {
        Some(oom) if oom.kind == cause => killed(evidence, oom, &mut case),
        Some(oom) => match oom.open.as_ref().filter(|(other, _)| *other == cause) {
            Some((_, says)) => case.add(fatality(evidence, oom).0.min(NOT_ITS), says.clone(), &[oom.mark]),
            None => case.less(0, format!("the kernel's last kill was another: {}", oom.kind.name()), &[oom.mark]),
        },
        None => {}
    }
    if case.score == 0 {
        match cause {
            Cause::GuestOom => guest_ran_out(evidence, &mut case),
            Cause::CgroupOom => cgroup_ran_out(evidence, &mut case),
            _ => {}
        }
    }
    match (oom, case.score) {
        (None, 0) => not_killed(evidence, &mut case),
        (None, _) => {
            let says =
                format!("{}; a kernel that panics, or a guest that dies first, tells none", count_stood(evidence));
            case.less(0, says, &evidence.lately_lines());
        }
        (Some(_), _) => {}
    }
    case.done()
}

fn killed(evidence: &Evidence<'_>, oom: &Oom<'_>, case: &mut Case) {
    let (points, how) = fatality(evidence, oom);
    let before = evidence.before(oom.mark);
    let often = if oom.kills > 1 { format!(" ({} kills in all)", oom.kills) } else { String::new() };
    let lines: Vec<Mark> = oom.from.into_iter().filter(|from| *from != oom.mark).chain([oom.mark]).collect();
    case.add(points, format!("{}, {before}{often}; {how}", who(oom)), &lines);
    let is_wide = |after: Mark| {
        let window = oom.mark.at_ms().zip(after.at_ms()).map(|(to, from)| to.saturating_sub(from));
        window.is_some_and(|window| window > FATAL_MS.max(3 * evidence.interval_ms))
    };
    if oom.from.is_some_and(is_wide) {
        case.at_most(60);
        case.less(0, "when it was is not known better: the samples in between are not there".to_owned(), &lines);
    }
    if !oom.is_proven {
        case.at_most(60);
        case.less(0, "not all lines are there that would tell when it was and whose limit was met".to_owned(), &[]);
    }
    if let Some((_, says)) = &oom.open {
        case.at_most(OPEN);
        case.less(0, says.clone(), &lines);
    }
    if oom.kind == Cause::SidecarOom {
        may_be_own(evidence, oom, case);
    }
    let unseen = unseen_peak(evidence, oom.kind);
    if let Some((lowest, total)) = evidence.lowest_memory().filter(|_| unseen.is_none() || oom.kind != Cause::GuestOom)
    {
        case.add(0, format!("at the lowest {} of {} were available in the guest", size(lowest), size(total)), &[]);
    }
    if let Some(unseen) = unseen {
        let why = match is_peak_behind(evidence, oom) {
            true => "and its peak is no higher behind the kill: the limit of a cgroup above or below it may be the one",
            false => "the peak came between two of them",
        };
        case.less(0, format!("{unseen}: {why}"), &evidence.lately_lines());
    }
}

/// What speaks for the own limit where another's is taken for the one that was met, and no path says so.
fn may_be_own(evidence: &Evidence<'_>, oom: &Oom<'_>, case: &mut Case) {
    let is_by_path = oom.victim.is_some_and(|victim| !victim.cgroup.is_empty()) && own_path(evidence).is_some();
    if is_by_path {
        return;
    }
    if let Some((peak, max)) = evidence.peak_and_limit().filter(|(peak, max)| *max > 0 && *peak >= max / 100 * 99) {
        let says = format!("the own cgroup's peak was {} of {}: its own limit may be the one", size(peak), size(max));
        case.less(0, says, &evidence.lately_lines());
        case.at_most(NOT_ITS);
    } else if !oom.is_proven && !was_never_killed_in(evidence, oom.mark) {
        case.less(0, "no sample behind it tells that the own cgroup lost no process".to_owned(), &[]);
        case.at_most(NOT_ITS);
    }
}

/// What the samples show of memory that ran out, where they do not show that it did.
fn unseen_peak(evidence: &Evidence<'_>, kind: Cause) -> Option<String> {
    match kind {
        Cause::GuestOom => {
            let (lowest, total) = evidence.lowest_memory().filter(|(lowest, total)| *lowest > total / 4)?;
            Some(format!("no sample has less than {} of {} available", size(lowest), size(total)))
        }
        Cause::CgroupOom | Cause::OomGroup => {
            let (peak, max) = evidence.peak_and_limit().filter(|(peak, max)| *peak < max / 10 * 9)?;
            Some(format!("the own cgroup had {} of {} at most in any sample", size(peak), size(max)))
        }
        _ => None,
    }
}

/// Whether a sample behind the kill has the kernel's own count of the peak, so that it was not missed.
fn is_peak_behind(evidence: &Evidence<'_>, oom: &Oom<'_>) -> bool {
    let behind = evidence.last_sample().filter(|last| last.mark.seq >= oom.mark.seq);
    oom.kind != Cause::GuestOom && behind.is_some_and(|last| last.high(High::MemPeak).is_some())
}

/// Who was killed and when, as far as that is told.
fn who(oom: &Oom<'_>) -> String {
    let when = |mark: Mark| mark.at_ms().map_or_else(|| format!("line {}", mark.seq), at);
    let Some(victim) = &oom.victim else {
        let to = when(oom.mark);
        return match oom.from {
            Some(after) => {
                format!("an OOM counter rose: the kernel killed for memory between {} and {to}", when(after))
            }
            None => format!("an OOM counter rose: the kernel killed for memory, told at {to}"),
        };
    };
    let rss = victim.rss_kb.map_or_else(String::new, |kb| format!(" ({} resident)", size(i64::from(kb))));
    if oom.kind == Cause::OomGroup {
        let group = if victim.cgroup.is_empty() { "the group" } else { victim.cgroup };
        let when = when(oom.mark);
        return format!(
            "the kernel killed all of {group}, the largest of it {}{rss}, for memory at {when} (memory.oom.group)",
            victim.comm
        );
    }
    let cgroup = if victim.cgroup.is_empty() { String::new() } else { format!(" in {}", victim.cgroup) };
    format!("the kernel killed {}{rss}{cgroup} for memory at {}", victim.comm, when(oom.mark))
}

pub(crate) fn is_pressure(one: &Happening, of: &str, by: &str) -> bool {
    matches!(&one.what, What::Pressure { resource, kind, .. } if resource.as_ref() == of && kind.as_ref() == by)
}
