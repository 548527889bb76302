//! How far a kill was the end of the runner.

use crate::hub::trail::slice::{High, Last, Low, Mark, Slice};

use super::super::super::cause::Cause;
use super::super::super::evidence::{Ending, Evidence, held_at_limit};
use super::super::agent::{self, Agent, Gone};
use super::{FATAL_MS, Oom};

/// A kill so long before a runner is told to stop may be why: a platform takes as long to see that a job is gone.
const TOLD_MS: i64 = 60_000;

/// A stop this soon after a kill was on its way before it.
const TOO_SOON_MS: i64 = 1000;

/// `actions/runner` gives the processes of a job this `oom_score_adj` or more: the kernel takes them first, and the runner lives.
const MEANT_TO_DIE: i16 = 500;

const SURVIVED: (i64, &str) = (20, "its lines go on behind it");

/// What silence behind a kill is worth where samples in between show that the runner went on.
const WENT_ON: (i64, &str) =
    (55, "samples behind it show the agent there and memory to be had, and then silence follows");

/// How far a kill was the end, and in words.
pub(super) fn fatality(evidence: &Evidence<'_>, oom: &Oom<'_>) -> (i64, &'static str) {
    let age = evidence.age_ms(oom.mark);
    let is_within = |ms| evidence.is_within(oom.mark, ms);
    let is_meant = oom.victim.as_ref().and_then(|victim| victim.adj).is_some_and(|adj| adj >= MEANT_TO_DIE);
    let gone = match agent::agent(evidence) {
        Agent::Gone(gone) => Some(gone),
        Agent::Untold | Agent::There => None,
    };
    if gone.is_some_and(|gone| took_the_agent(oom, &gone)) {
        return (92, "it took the agent");
    }
    if gone.is_some_and(|gone| was_over_before(oom, &gone)) {
        return (40, "its job had ended before, and the agent ended after it, as one for a single job does");
    }
    let has_gone_on = gone.is_none() && went_on(evidence, oom.mark);
    match evidence.ending {
        ending if ending.is_success() => (20, "and the job ended with code 0 all the same"),
        Ending::Silence if is_within(FATAL_MS.max(3 * evidence.interval_ms)) && has_gone_on => WENT_ON,
        Ending::Silence if is_within(FATAL_MS.max(3 * evidence.interval_ms)) => (90, "silence follows"),
        Ending::Orphaned if is_within(FATAL_MS) => (74, "and then what started the probe was gone"),
        Ending::Unread if is_within(FATAL_MS) && has_gone_on => {
            (WENT_ON.0, "samples behind it show the agent there and memory to be had, and then nobody read on")
        }
        Ending::Unread if is_within(FATAL_MS) => (80, "and then nobody read on"),
        Ending::Silence if is_within(TOLD_MS) => (55, "silence follows some time after"),
        Ending::Unread if is_within(TOLD_MS) => (55, "and some time after nobody read on"),
        Ending::Alive if is_within(FATAL_MS) => (40, "whether the runner survived it is not seen yet"),
        Ending::Told(_) if is_meant => {
            (30, "it is one of those that are to be killed first, as a job's are, so that the runner lives on")
        }
        Ending::Told(None) if age.is_some_and(|age| age < TOO_SOON_MS) => {
            (40, "too short before it was told to stop to be why")
        }
        Ending::Told(Some(_)) if is_within(FATAL_MS) => (72, "and the job ended, which was told to"),
        Ending::Told(None) if is_within(TOLD_MS) => (72, "and then it was told to stop"),
        Ending::Finished { signal: Some(9), .. } | Ending::Finished { exit: Some(137), .. } if is_within(FATAL_MS) => {
            (92, "and the job ended by SIGKILL")
        }
        Ending::Finished { exit, signal } if (exit.unwrap_or(0) != 0 || signal.is_some()) && is_within(FATAL_MS) => {
            (72, "and the job failed")
        }
        Ending::Finished { exit: None, signal: None } if is_within(FATAL_MS) => {
            (60, "and the job ended; its code is not told")
        }
        _ => SURVIVED,
    }
}

/// The victim was the agent; or the agent vanished right behind a kill for the memory that was its own too, and not because its work
/// was done.
fn took_the_agent(oom: &Oom<'_>, gone: &Gone<'_>) -> bool {
    let mark = gone.line.mark;
    let after = mark.at_ms().zip(oom.mark.at_ms()).map(|(gone, killed)| gone.saturating_sub(killed));
    if mark.seq < oom.mark.seq || after.is_some_and(|after| after > FATAL_MS) {
        return false;
    }
    let victim = oom.victim.as_ref();
    if victim.is_some_and(|victim| agent::is_same(victim.comm, gone.comm)) {
        return true;
    }
    let is_meant = victim.and_then(|victim| victim.adj).is_some_and(|adj| adj >= MEANT_TO_DIE);
    oom.kind != Cause::SidecarOom && !is_meant && gone.after_its_worker().is_none()
}

/// The agent's worker had ended before the kill, and the agent ended after that as it should: what was killed is neither of them.
fn was_over_before(oom: &Oom<'_>, gone: &Gone<'_>) -> bool {
    let Some((worker, _)) = gone.after_its_worker() else { return false };
    // Where only counts tell it, the kill can have been at any time behind the last sample that does not have it.
    let killed = match (&oom.victim, oom.from) {
        (None, None) => return false,
        (_, from) => from.unwrap_or(oom.mark),
    };
    let is_either = oom
        .victim
        .as_ref()
        .is_some_and(|victim| [gone.comm, worker.comm].into_iter().any(|comm| agent::is_same(victim.comm, comm)));
    worker.mark.seq < killed.seq && !is_either
}

/// Two samples or more behind the kill, the last of them with the agent there and memory to be had.
fn went_on(evidence: &Evidence<'_>, killed: Mark) -> bool {
    let Some(last) = evidence.last_sample() else { return false };
    let is_there = last
        .last(Last::AgentState)
        .is_some_and(|state| !matches!(u8::try_from(state), Ok(b'Z' | b'X' | b'x') | Err(_)));
    let has_memory =
        last.low(Low::MemAvail).zip(last.high(High::MemTotal)).is_some_and(|(avail, total)| avail >= total / 10);
    is_there && has_memory && has_room(evidence, last) && samples_behind(evidence, killed) >= 2
}

/// Whether the own cgroup has room below its limit, or no sample ever had one. Of what cannot be dropped nothing is known where it is not
/// told.
fn has_room(evidence: &Evidence<'_>, last: &Slice) -> bool {
    let Some(max) = last.high(High::MemMax) else { return evidence.ever(High::MemMax).is_none() };
    let is_told = last.high(High::MemAnon).and(last.high(High::MemShmem)).is_some();
    let is_below = last.high(High::MemCurrent).is_some_and(|current| current < max / 10 * 9);
    is_below || is_told && held_at_limit(last).is_none()
}

/// How many samples are behind a line, at least.
fn samples_behind(evidence: &Evidence<'_>, mark: Mark) -> u32 {
    let behind = evidence.life.recent.iter().filter(|slice| slice.mark.seq > mark.seq);
    behind
        .map(|slice| {
            if slice.first.seq > mark.seq {
                return slice.samples;
            }
            // Some of its samples are before it, and at least the last is not. Two are behind it where that was so much later that
            // another was due, however late.
            let late = slice.high(High::Late).unwrap_or(0) / 10;
            let later = slice.mark.at_ms().zip(mark.at_ms()).map_or(0, |(last, mark)| last.saturating_sub(mark));
            if slice.samples >= 3 && later > evidence.interval_ms.saturating_add(late) { 2 } else { 1 }
        })
        .sum()
}
