//! OOM kills: whose memory ran out, and whether that was the end.

mod counters;

use crate::hub::trail::happening::{AgentState, Happening, Scope, What};
use crate::hub::trail::slice::{High, Low, Mark};

use super::super::case::Case;
use super::super::cause::Cause;
use super::super::evidence::{Ending, Evidence, is_exhausted};
use super::super::ring;
use super::super::units::{pct, size, time};
use counters::Counted;

/// A kill so long before silence is part of it: the death of what was killed takes as long.
const FATAL_MS: i64 = 15_000;

/// A kill so long before a runner is told to stop may be why: a platform takes as long to see that a job is gone.
const TOLD_MS: i64 = 60_000;

/// A count that rose so much later than the last message rose for another kill: samples lag behind.
const LATER_MS: i64 = 30_000;

/// A stop this soon after a kill was on its way before it.
const TOO_SOON_MS: i64 = 1000;

/// `actions/runner` gives the processes of a job this `oom_score_adj` or more: the kernel takes them first, and the runner lives.
const MEANT_TO_DIE: i16 = 500;

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
    /// It was before the latest minute, and when is not known.
    pub(crate) is_old: bool,
    /// How many kills the counters have.
    pub(crate) kills: i64,
}

#[derive(Debug)]
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
    let kills = evidence.rise(High::VmOomKill, Low::VmOomKill).unwrap_or(0);
    let kills = kills.max(evidence.rise(High::OomKill, Low::OomKill).unwrap_or(0));
    let Some(told) = told else {
        let Counted { kind, mark, is_old } = counted?;
        let is_proven = kind != Cause::SidecarOom || is_surely_anothers(evidence, mark);
        return Some(Oom { kind, mark, victim: None, is_proven, is_old, kills: kills.max(1) });
    };
    let What::Kill { scope, victim, adj, rss_kb, cgroup, .. } = &told.what else { return None };
    let (kind, is_whose_known) = match scope {
        Some(Scope::Guest) => (Cause::GuestOom, true),
        Some(Scope::Cgroup) => of_cgroup(evidence, cgroup, told.mark),
        None => (counted.map_or(Cause::GuestOom, |counted| counted.kind), true),
    };
    let has_start = evidence.about().is_some_and(|about| about.boot_ms.is_some());
    Some(Oom {
        kind,
        mark: told.mark,
        victim: Some(Victim { comm: victim, adj: *adj, rss_kb: *rss_kb, cgroup }),
        is_proven: is_whose_known && (has_start || counted.is_some()),
        is_old: false,
        kills: kills.max(1),
    })
}

/// Whether the counts rose for another kill, long behind the last message of one: that of the later is lost.
fn is_another(evidence: &Evidence<'_>, told: &Happening, counted: Counted) -> bool {
    let later = counted.mark.at_ms().zip(told.mark.at_ms()).map(|(counted, told)| counted.saturating_sub(told));
    !counted.is_old && later.is_some_and(|later| later > LATER_MS.max(3 * evidence.interval_ms))
}

/// Whether a kill happened while the run was there.
fn is_kill_of_this_run(evidence: &Evidence<'_>, one: &Happening) -> bool {
    let has_beginning = evidence.about().is_some_and(|about| about.boot_ms.is_some());
    matches!(one.what, What::Kill { .. })
        && ring::is_of_this_run(evidence, one)
        && (has_beginning || !is_denied_by_counters(evidence, one))
}

/// Samples before and after it have the same count of kills.
fn is_denied_by_counters(evidence: &Evidence<'_>, one: &Happening) -> bool {
    let is_between = evidence.life.first.seq < one.mark.seq
        && evidence.last_sample().is_some_and(|last| last.mark.seq > one.mark.seq);
    let is_counted =
        evidence.life.happenings.iter().any(|other| matches!(&other.what, What::Counter { delta, .. } if *delta > 0));
    is_between && !is_counted && evidence.rise(High::VmOomKill, Low::VmOomKill) == Some(0)
}

fn own_or_group(evidence: &Evidence<'_>) -> Cause {
    let is_group = evidence.about().is_some_and(|about| about.is_oom_group)
        || evidence.life.whole.as_ref().is_some_and(|whole| whole.high(High::OomGroup) > Some(0));
    if is_group { Cause::OomGroup } else { Cause::CgroupOom }
}

/// A limit was met: the own one, that of an ancestor, or another's; and whether that is known.
fn of_cgroup(evidence: &Evidence<'_>, cgroup: &str, mark: Mark) -> (Cause, bool) {
    // In a namespace of its own a cgroup has another name than in the kernel's messages.
    let own = evidence.about().and_then(|about| about.cgroup_path.as_deref()).filter(|own| !is_of_namespace(own));
    match own {
        Some(own) if is_in(own, cgroup) => (own_or_group(evidence), true),
        // That of a cgroup below it: its kills count there too.
        Some(own) if is_in(cgroup, own) => (Cause::SidecarOom, true),
        _ if counters::own_moved_with(evidence, mark) => (own_or_group(evidence), true),
        Some(_) => (Cause::SidecarOom, true),
        // The name of the own cgroup is not known: its counter says whether it was meant.
        None if was_never_killed_in(evidence, mark) => (Cause::SidecarOom, true),
        None => (own_or_group(evidence), false),
    }
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
/// that says so can be lost, and where the guest had so much room before that it did not run out in between.
fn is_surely_anothers(evidence: &Evidence<'_>, mark: Mark) -> bool {
    let has_before = evidence.life.whole.as_ref().is_some_and(|whole| whole.first.seq < mark.seq);
    let had_room = evidence.lowest_memory().is_some_and(|(lowest, total)| lowest > total / 2);
    has_before && had_room && was_never_killed_in(evidence, mark)
}

fn is_guest_short(evidence: &Evidence<'_>) -> bool {
    evidence.lowest_memory().is_some_and(|(lowest, total)| lowest < total / 10)
}

/// `guest_oom`, `cgroup_oom`, `sidecar_oom` or `oom_group`: one rule, four causes.
pub(crate) fn rule(evidence: &Evidence<'_>, cause: Cause) -> Case {
    let mut case = Case::new(cause);
    match oom(evidence) {
        Some(oom) if oom.kind == cause => killed(evidence, &oom, &mut case),
        Some(oom) => case.less(0, format!("the kernel's last kill was another: {}", oom.kind.name()), &[oom.mark]),
        None => not_killed(evidence, &mut case),
    }
    if case.score == 0 {
        match cause {
            Cause::GuestOom => guest_ran_out(evidence, &mut case),
            Cause::CgroupOom => cgroup_ran_out(evidence, &mut case),
            _ => {}
        }
    }
    case.done()
}

fn killed(evidence: &Evidence<'_>, oom: &Oom<'_>, case: &mut Case) {
    let (points, how) = fatality(evidence, oom);
    let age = evidence.age_ms(oom.mark).map_or_else(|| "shortly".to_owned(), time);
    let age = if oom.is_old { format!("over {age}") } else { age };
    let who = oom.victim.as_ref().map_or_else(
        || "an OOM counter rose: the kernel killed for memory".to_owned(),
        |victim| {
            let rss = victim.rss_kb.map_or_else(String::new, |kb| format!(", {} resident", size(i64::from(kb))));
            let cgroup = if victim.cgroup.is_empty() { String::new() } else { format!(" in {}", victim.cgroup) };
            format!("the kernel killed {}{rss}{cgroup}, for memory", victim.comm)
        },
    );
    let often = if oom.kills > 1 { format!("; {} kills in all", oom.kills) } else { String::new() };
    case.add(points, format!("{who}, {age} before the end{often}: {how}"), &[oom.mark]);
    if !oom.is_proven {
        case.at_most(60);
        case.less(0, "not all lines are there that would tell when it was and whose limit was met".to_owned(), &[]);
    }
    if let Some((lowest, total)) = evidence.lowest_memory() {
        case.add(0, format!("at the lowest {} of {} were available in the guest", size(lowest), size(total)), &[]);
    }
}

const SURVIVED: (i64, &str) = (20, "the runner survived it");

/// How far a kill was the end, and in words.
fn fatality(evidence: &Evidence<'_>, oom: &Oom<'_>) -> (i64, &'static str) {
    let age = evidence.age_ms(oom.mark);
    let is_within = |ms| evidence.is_within(oom.mark, ms);
    let is_meant = oom.victim.as_ref().and_then(|victim| victim.adj).is_some_and(|adj| adj >= MEANT_TO_DIE);
    if took_the_agent(evidence, oom) {
        return (92, "it took the agent");
    }
    if oom.is_old {
        return SURVIVED;
    }
    match evidence.ending {
        Ending::Silence if is_within(FATAL_MS.max(3 * evidence.interval_ms)) => (90, "silence follows"),
        Ending::Unread if is_within(FATAL_MS) => (80, "and then nobody read on"),
        Ending::Silence | Ending::Unread if is_within(TOLD_MS) => (55, "silence follows some time after"),
        Ending::Alive if is_within(FATAL_MS) => (40, "whether the runner survived it is not seen yet"),
        Ending::Told if is_meant => {
            (30, "a process that is meant to be killed first, as those of a job are: the runner lives on")
        }
        Ending::Told if age.is_some_and(|age| age < TOO_SOON_MS) => {
            (40, "too short before it was told to stop to be why")
        }
        Ending::Told if is_within(TOLD_MS) => (72, "and then it was told to stop"),
        Ending::Finished { signal: Some(9), .. } | Ending::Finished { exit: Some(137), .. } if is_within(FATAL_MS) => {
            (92, "and the job ended by SIGKILL")
        }
        Ending::Finished { exit, signal } if (exit.unwrap_or(0) != 0 || signal.is_some()) && is_within(FATAL_MS) => {
            (72, "and the job failed")
        }
        _ => SURVIVED,
    }
}

/// The victim was the agent, or the agent vanished right then.
fn took_the_agent(evidence: &Evidence<'_>, oom: &Oom<'_>) -> bool {
    let is_back = |mark: Mark| {
        evidence.life.happenings.iter().any(|one| {
            one.mark.seq > mark.seq
                && matches!(&one.what, What::Agent { is_worker: false, state: AgentState::Appeared, .. })
        })
    };
    evidence.life.happenings.iter().any(|one| match &one.what {
        What::Agent { is_worker: false, state: AgentState::Vanished, comm, .. } => {
            let is_then = one.mark.seq >= oom.mark.seq
                && one
                    .mark
                    .at_ms()
                    .zip(oom.mark.at_ms())
                    .is_none_or(|(gone, killed)| gone.saturating_sub(killed) <= FATAL_MS);
            let is_it = oom
                .victim
                .as_ref()
                .is_none_or(|victim| victim.comm == comm.as_ref() || victim.adj.unwrap_or(0) < MEANT_TO_DIE);
            is_then && is_it && !is_back(one.mark)
        }
        _ => false,
    })
}

fn not_killed(evidence: &Evidence<'_>, case: &mut Case) {
    let says = match evidence.rise(High::VmOomKill, Low::VmOomKill) {
        Some(0) => "the guest's count of kills (vm.oom_kill) did not move".to_owned(),
        _ => "no line tells of a kill".to_owned(),
    };
    let memory = evidence.lowest_memory().map_or_else(String::new, |(lowest, total)| {
        format!("; at least {} of {} were available", size(lowest), size(total))
    });
    case.less(0, says + &memory, &evidence.lately_lines());
}

/// Silence in a guest without memory, though no kill was told: a panic, or a probe that went first.
fn guest_ran_out(evidence: &Evidence<'_>, case: &mut Case) {
    let Some(last) = evidence.last_sample() else { return };
    if evidence.ending != Ending::Silence {
        return;
    }
    let (Some(avail), Some(total)) = (last.low(Low::MemAvail), last.high(High::MemTotal)) else { return };
    let figure = format!("{} of {} were available in the last sample", size(avail), size(total));
    let slope = evidence.within(10_000).find(|one| is_pressure(one, "memory", "slope"));
    if is_exhausted(avail, total) {
        case.add(62, format!("{figure}, and silence follows"), &[last.mark]);
        if let Some(slope) = slope {
            case.add(6, "what was left would be gone in seconds".to_owned(), &[slope.mark]);
        }
    } else if let Some(slope) = slope.filter(|_| avail < total / 4) {
        case.add(
            52,
            format!("{figure}, what was left would be gone in seconds, and silence follows"),
            &[slope.mark, last.mark],
        );
    }
}

/// The same for the own cgroup, where what is in it cannot be dropped.
fn cgroup_ran_out(evidence: &Evidence<'_>, case: &mut Case) {
    let Some(last) = evidence.last_sample() else { return };
    let (Some(max), Some(anon)) = (last.high(High::MemMax), last.high(High::MemAnon)) else { return };
    let held = anon + last.high(High::MemShmem).unwrap_or(0);
    if evidence.ending != Ending::Silence || max <= 0 || held < max / 10 * 9 {
        return;
    }
    let figure = format!("{} of {} that the cgroup may have cannot be dropped", size(held), size(max));
    case.add(60, format!("{figure}, and silence follows ({} used)", pct(held * 1000 / max)), &[last.mark]);
}

pub(crate) fn is_pressure(one: &Happening, of: &str, by: &str) -> bool {
    matches!(&one.what, What::Pressure { resource, kind, .. } if resource.as_ref() == of && kind.as_ref() == by)
}
