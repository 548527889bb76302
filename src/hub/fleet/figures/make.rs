//! From the members of a fleet to its figures.

use std::collections::BTreeMap;

use crate::hub::trail::stage::Polls;

use super::super::counts::{Quantiles, Timeline, most_within};
use super::super::course::{self, Course};
use super::super::member::{Member, over_time};
use super::super::state::State;
use super::super::walk::{Job, Outcome};
use super::{BURST_MS, COLD_MS, Claims, Figures, Jobs, Key, STUCK_MS, Supply, Waits, WarmUps, Window};

/// A job that a runner has so soon after it became ready was there before, ms.
const AT_ONCE_MS: i64 = 1000;

/// No shorter time without a ready member is told, ms.
const DRY_MS: i64 = 1000;

/// A claim, its runner aside.
#[derive(Clone, Copy, Debug)]
struct Claim {
    claimed_ms: i64,
    queued_ms: Option<i64>,
    ready_ms: Option<i64>,
}

impl Claim {
    fn of(job: &Job) -> Option<Self> {
        let claimed_ms = job.claimed_ms?;
        let queued_ms = job.waited_ms.map(|ms| claimed_ms.saturating_sub(i64::from(ms)));
        Some(Self { claimed_ms, queued_ms, ready_ms: job.ready_ms })
    }

    /// When it was wanted, as far as that is known.
    fn asked_ms(&self) -> i64 {
        self.queued_ms.unwrap_or(self.claimed_ms)
    }
}

/// The figures of a fleet whose members these are, those that were heard of in the window.
#[must_use]
pub fn of_fleet(key: Key, members: &[&Member], window: Window) -> Figures {
    let first = members.iter().map(|member| member.first_ms).min().unwrap_or(window.to_ms);
    let span = Window { from_ms: first.max(window.from_ms), ..window };
    let to_ms = span.to_ms;
    let is_in = |at: i64| (span.from_ms..=to_ms).contains(&at);
    let mut states = BTreeMap::new();
    for member in members {
        *states.entry(member.state).or_insert(0) += 1;
    }
    let for_longer = |state: State, ms: i64| {
        members.iter().filter(|member| member.state == state && to_ms.saturating_sub(member.since_ms) > ms).count()
    };
    let mut deaths = BTreeMap::new();
    for cause in members.iter().filter_map(|member| member.died_of) {
        *deaths.entry(cause).or_insert(0) += 1;
    }
    let mut claims: Vec<Claim> = members.iter().flat_map(|member| &member.jobs).filter_map(Claim::of).collect();
    claims.retain(|claim| is_in(claim.claimed_ms));
    claims.sort_by_key(|claim| claim.claimed_ms);
    let claiming = |member: &&&Member| member.jobs.iter().any(|job| job.claimed_ms.is_some_and(is_in));
    let alive = || members.iter().filter(|member| member.state.is_alive());
    let in_state = |state: State| over_time(members.iter().copied(), &[state]);
    let over_time = course::Members {
        ready: in_state(State::Ready),
        warming: in_state(State::Warming),
        claimed: in_state(State::Claimed),
    };
    Figures {
        from_ms: span.from_ms,
        to_ms,
        runners: members.len(),
        members: states,
        stuck: for_longer(State::Warming, STUCK_MS),
        long_ready: for_longer(State::Ready, span.long_ready_ms),
        claims: claims_of(&claims, members.iter().filter(claiming).count(), span),
        warm_ups: warm_ups(members, is_in),
        waits: waits(&claims),
        supply: supply(members, &claims, &over_time.ready, span),
        course: course(&claims, &over_time, span),
        jobs: jobs(members, is_in),
        deaths,
        images: images(alive().map(|member| member.image.clone())),
        newest_image: alive()
            .filter(|member| member.image.is_some())
            .max_by_key(|member| member.first_ms)
            .and_then(|member| member.image.clone()),
        polls: members.iter().fold(Polls::default(), |sum, member| sum.plus(&member.polls)),
        polling: members.iter().filter(|member| member.polls.total() > 0).count(),
        unplaced: members.iter().map(|member| member.unplaced).sum(),
        key,
    }
}

fn claims_of(claims: &[Claim], runners: usize, span: Window) -> Claims {
    let times: Vec<i64> = claims.iter().map(|claim| claim.claimed_ms).collect();
    let peak = most_within(&times, 60_000);
    let asked = asked(claims);
    let span_ms = span.to_ms.saturating_sub(span.from_ms);
    let a_minute = |count: usize| i64::try_from(count).ok()?.checked_mul(6_000_000)?.checked_div(span_ms);
    Claims {
        count: claims.len(),
        runners,
        mean_hundredths: a_minute(claims.len()).filter(|_| span_ms >= 60_000),
        peak: peak.map_or(0, |(count, _)| count),
        peak_ms: peak.map(|(_, at)| at),
        asked_peak: most_within(&asked, 60_000).map_or(0, |(count, _)| count),
    }
}

fn asked(claims: &[Claim]) -> Vec<i64> {
    let mut asked: Vec<i64> = claims.iter().map(Claim::asked_ms).collect();
    asked.sort_unstable();
    asked
}

fn warm_ups(members: &[&Member], is_in: impl Fn(i64) -> bool) -> WarmUps {
    let all = || members.iter().flat_map(|member| &member.warm_ups).filter(|one| is_in(one.ready_ms));
    WarmUps {
        runners: members.iter().filter(|member| member.warm_ups.iter().any(|one| is_in(one.ready_ms))).count(),
        whole: Quantiles::of(all().filter_map(|one| one.whole_ms).collect()),
        boot: Quantiles::of(all().filter_map(|one| one.boot_ms).collect()),
        agent: Quantiles::of(all().filter_map(|one| one.agent_ms).collect()),
        before: Quantiles::of(all().filter_map(|one| one.before_ms).collect()),
        from_created: Quantiles::of(all().filter_map(|one| one.before_ms?.checked_add(one.whole_ms?)).collect()),
    }
}

fn waits(claims: &[Claim]) -> Waits {
    let waited = |claim: &Claim| u64::try_from(claim.claimed_ms.saturating_sub(claim.queued_ms?)).ok();
    let known: Vec<u64> = claims.iter().filter_map(waited).collect();
    Waits {
        cold: known.iter().filter(|ms| **ms > u64::from(COLD_MS)).count(),
        untold: claims.len() - known.len(),
        known: Quantiles::of(known),
    }
}

fn course(claims: &[Claim], members: &course::Members, span: Window) -> Course {
    let found_none = |claim: &&Claim| is_unmet(claim, &members.ready) || seems_unmet(claim, &members.ready);
    let times: Vec<i64> = claims.iter().map(|claim| claim.claimed_ms).collect();
    let unmet: Vec<i64> = claims.iter().filter(found_none).map(|claim| claim.claimed_ms).collect();
    Course::of((span.from_ms, span.to_ms), members, &times, &unmet)
}

fn supply(members: &[&Member], claims: &[Claim], ready: &Timeline, span: Window) -> Supply {
    let free = over_time(members.iter().copied(), &[State::Ready, State::Warming]);
    let first = ready.stretches(span.from_ms, span.to_ms).find(|(_, _, count)| *count > 0).map(|(from, _, _)| from);
    let from_ms = first.unwrap_or(span.to_ms);
    let mut gaps = ready.gaps(from_ms, span.to_ms);
    gaps.retain(|(_, ms)| *ms >= DRY_MS);
    let unmet: Vec<i64> = claims.iter().filter(|claim| is_unmet(claim, ready)).map(Claim::asked_ms).collect();
    let estimated: Vec<i64> = claims.iter().filter(|claim| seems_unmet(claim, ready)).map(Claim::asked_ms).collect();
    let asked = asked(claims);
    Supply {
        from_ms: first,
        least: ready.min(from_ms, span.to_ms).unwrap_or(0),
        mean_hundredths: ready.mean_hundredths(from_ms, span.to_ms).unwrap_or(0),
        most: ready.max(from_ms, span.to_ms).unwrap_or(0),
        free_hundredths: free.mean_hundredths(from_ms, span.to_ms).unwrap_or(0),
        dry: gaps.len(),
        dry_ms: gaps.iter().map(|(_, ms)| ms).sum(),
        dry_longest_ms: gaps.iter().map(|(_, ms)| *ms).max().unwrap_or(0),
        burst: most_within(&asked, BURST_MS).map_or(0, |(count, _)| count),
        burst_unmet: burst_around(&asked, unmet.iter().chain(&estimated)),
        unmet: unmet.len(),
        told: claims.iter().filter(|claim| claim.queued_ms.is_some()).count(),
        unmet_estimated: estimated.len(),
        untold: claims.iter().filter(|claim| claim.queued_ms.is_none()).count(),
    }
}

/// Its runner became ready only after it was queued, and in between there was a time when no other was.
fn is_unmet(claim: &Claim, ready: &Timeline) -> bool {
    claim
        .queued_ms
        .zip(claim.ready_ms)
        .is_some_and(|(queued, since)| since > queued && ready.min(queued, since).is_some_and(|least| least == 0))
}

fn seems_unmet(claim: &Claim, ready: &Timeline) -> bool {
    claim.queued_ms.is_none()
        && claim.ready_ms.is_some_and(|since| {
            claim.claimed_ms.saturating_sub(since) <= AT_ONCE_MS && ready.at(since.saturating_sub(1)) == 0
        })
}

/// The most jobs within a burst's time that one of these is among.
fn burst_around<'c>(asked: &[i64], unmet: impl Iterator<Item = &'c i64>) -> usize {
    let around = |at: &i64| {
        let first = asked.partition_point(|time| *time <= at.saturating_sub(BURST_MS));
        let behind = asked.partition_point(|time| *time < at.saturating_add(BURST_MS));
        let near = asked.get(first..behind).unwrap_or_default();
        most_within(near, BURST_MS).map_or(0, |(count, _)| count)
    };
    unmet.map(around).max().unwrap_or(0)
}

fn jobs(members: &[&Member], is_in: impl Fn(i64) -> bool) -> Jobs {
    let mut jobs = Jobs::default();
    let mut took = Vec::new();
    for (member, job) in members.iter().flat_map(|member| member.jobs.iter().map(move |job| (member, job))) {
        if job.outcome == Outcome::Running {
            jobs.running += 1;
            continue;
        }
        if !job.ended_ms.or(job.claimed_ms).is_some_and(&is_in) {
            continue;
        }
        jobs.ended += 1;
        let ends = job.claimed_ms.zip(job.ended_ms);
        let whole = ends.and_then(|(from, to)| u64::try_from(to.saturating_sub(from)).ok());
        match job.outcome {
            Outcome::Running => {}
            Outcome::Told(result) => *jobs.told.entry(result).or_insert(0) += 1,
            Outcome::Unknown(code) => {
                jobs.unknown += 1;
                jobs.unknown_failing += usize::from(code.is_some_and(|code| code != 0));
            }
            // Only the last of a runner's boots is what the diagnosis is of.
            Outcome::Died => match member.died_of.filter(|_| job.ended_ms >= Some(member.since_ms)) {
                Some(cause) => *jobs.died.entry(cause).or_insert(0) += 1,
                None => jobs.died_untold += 1,
            },
        }
        took.extend(whole.filter(|_| job.outcome != Outcome::Died));
    }
    jobs.took = Quantiles::of(took);
    jobs
}

fn images(all: impl Iterator<Item = Option<String>>) -> Vec<(Option<String>, usize)> {
    let mut counts: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for image in all {
        *counts.entry(image).or_insert(0) += 1;
    }
    let mut images: Vec<(Option<String>, usize)> = counts.into_iter().collect();
    images.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
    images
}
