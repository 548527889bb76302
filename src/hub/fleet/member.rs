//! A runner as a member of its fleet: what it is now, what it was when, its jobs, and what it died of.

use std::time::{Duration, UNIX_EPOCH};

use crate::hub::diagnose::cause::Cause;
use crate::hub::diagnose::{clock, verdict};
use crate::hub::trail::Runner;
use crate::hub::trail::happening::What;
use crate::hub::trail::life::Life;
use crate::hub::trail::stage::{Phase, Polls, Stages};

use super::counts::Timeline;
use super::place::{self, Boot};
use super::state::{Span, State};
use super::walk::{Job, Outcome, Walk, WarmUp};

/// No silence of a heartbeat is shorter, ms: lines come late.
const SILENT_MS: i64 = 60_000;

/// `ready` that was not told so many times is silence.
const BEATS: i64 = 3;

/// Whose probe goes on for so long after its job ended is ready for another, ms.
const GOES_ON_MS: i64 = 60_000;

/// The interval of a probe that does not say it, ms.
const INTERVAL_MS: i64 = 5000;

/// When a runner is looked at, and what is made of silence.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The time that is now, ms since 1970; later lines are not there yet.
    pub at_ms: i64,
    /// Who has no reason to write is taken to be what it said last, for so long.
    pub forgiven_ms: i64,
    /// How long it is silent, by the clock of who receives its lines; `None`: from its last line to `at_ms`.
    pub silent_ms: Option<i64>,
}

/// A runner as a member of its fleet.
#[derive(Clone, Debug)]
pub struct Member {
    /// What it is called.
    pub name: String,
    /// `runner.env`.
    pub env: Option<String>,
    /// `runner.fleet`.
    pub fleet: Option<String>,
    /// `runner.image`.
    pub image: Option<String>,
    /// What it is.
    pub state: State,
    /// Since when, ms since 1970.
    pub since_ms: i64,
    /// Its first line, of whichever run, or its boot.
    pub first_ms: i64,
    /// Its last line.
    pub heard_ms: i64,
    /// What it was when, up to now.
    pub spans: Vec<Span>,
    /// Its jobs.
    pub jobs: Vec<Job>,
    /// Its boots' ways to ready.
    pub warm_ups: Vec<WarmUp>,
    /// What came of its polls.
    pub polls: Polls,
    /// What it died of, where it did.
    pub died_of: Option<Cause>,
    /// Stages that could not be placed: without a time, or too many.
    pub unplaced: u64,
}

impl Member {
    /// Looks at a runner. `None` where none of its lines has a time, or none is there yet.
    #[must_use]
    pub fn of(runner: &Runner, clock: Clock) -> Option<Self> {
        let lives = || runner.runs.iter().map(|(_, life)| life.as_ref());
        let told = || lives().filter_map(|life| life.stages.as_deref());
        let (boots, untimed) = place::place(told().flat_map(Stages::sorted), clock.at_ms);
        let mut walk = Walk::through(&boots);
        let created = lives().filter_map(|life| life.about.as_ref()?.member.as_ref()?.created_ms).min();
        if let Some((warm, created)) = walk.warm_ups.first_mut().zip(created) {
            warm.before_ms = before(warm, created);
        }
        let probes = || lives().filter(|life| life.stages.is_none()).filter_map(|life| Probe::of(life, clock.at_ms));
        let probe = probes().max_by_key(|probe| probe.heard_ms);
        let told_ms = boots.iter().map(|boot| boot.heard_ms).max();
        let heard_ms = told_ms.max(probe.map(|probe| probe.heard_ms))?;
        if walk.now.is_none() {
            walk.now = Some((State::Untold, probe.map_or(heard_ms, |probe| probe.first_ms)));
        }
        let died_of = end(&mut walk, &boots, probe, heard_ms, clock, runner);
        let (state, since_ms) = walk.now?;
        walk.end_span(clock.at_ms);
        walk.shrink();
        let first = walk.spans.first().map(|span| span.from_ms);
        let first = probes().map(|probe| probe.first_ms).chain(first).min();
        let about = |get: fn(&Life) -> Option<&str>| latest(runner, get);
        Some(Self {
            name: runner.name.clone(),
            env: about(|life| life.about.as_ref()?.member.as_ref()?.env.as_deref()),
            fleet: about(|life| life.about.as_ref()?.fleet.as_deref()),
            image: about(|life| life.about.as_ref()?.member.as_ref()?.image.as_deref()),
            state,
            since_ms,
            first_ms: first.unwrap_or(since_ms),
            heard_ms,
            spans: walk.spans,
            jobs: walk.jobs,
            warm_ups: walk.warm_ups,
            polls: told().fold(Polls::default(), |sum, stages| sum.plus(&stages.polls())),
            died_of,
            unplaced: told().fold(untimed, |sum, stages| sum.saturating_add(stages.given_up)),
        })
    }
}

/// How many of these were in one of these states when.
pub fn over_time<'m>(members: impl Iterator<Item = &'m Member>, states: &[State]) -> Timeline {
    let spans = members.flat_map(|member| &member.spans).filter(|span| states.contains(&span.state));
    Timeline::of(spans.map(|span| (span.from_ms, span.to_ms)))
}

/// How much two clocks may differ, ms.
const CLOCKS_MS: i64 = 1000;

/// From creation to boot; `None` where the clocks contradict each other.
fn before(warm: &WarmUp, created_ms: i64) -> Option<u64> {
    let booted = warm.ready_ms.saturating_sub(i64::try_from(warm.whole_ms.unwrap_or(0)).ok()?);
    let before = booted.saturating_sub(created_ms);
    if (-CLOCKS_MS..0).contains(&before) { Some(0) } else { u64::try_from(before).ok() }
}

/// What the last run of the probe says.
#[derive(Clone, Copy, Debug)]
struct Probe {
    first_ms: i64,
    heard_ms: i64,
    interval_ms: i64,
    /// It had its last word, and the code of the job with it where it knows that.
    stop: Option<Option<u8>>,
}

impl Probe {
    fn of(life: &Life, until_ms: i64) -> Option<Self> {
        let (first_ms, last_ms) = life.first.at_ms().zip(life.last.at_ms())?;
        if first_ms > until_ms {
            return None;
        }
        let stop = life.happenings.iter().rev().find_map(|one| match &one.what {
            What::Stop { job_exit, .. } if one.mark.seq == life.last.seq && last_ms <= until_ms => {
                Some(job_exit.and_then(|code| u8::try_from(code).ok()))
            }
            _ => None,
        });
        let interval_ms = life.interval_ms().unwrap_or(INTERVAL_MS).clamp(100, 3_600_000);
        Some(Self { first_ms, heard_ms: last_ms.min(until_ms), interval_ms, stop })
    }
}

/// How a life goes on after the last stage: what it died of where it did.
fn end(
    walk: &mut Walk,
    boots: &[Boot],
    probe: Option<Probe>,
    heard_ms: i64,
    clock: Clock,
    runner: &Runner,
) -> Option<Cause> {
    let (state, since_ms) = walk.now?;
    let silent_ms = clock.silent_ms.unwrap_or_else(|| clock.at_ms.saturating_sub(heard_ms));
    // Only the probe's own silence and last word say something, and only where they are of the latest.
    let probe = probe.filter(|probe| probe.heard_ms >= since_ms);
    if state == State::Ended {
        let goes_on = probe.filter(|probe| probe.stop.is_none() && probe.heard_ms >= since_ms + GOES_ON_MS);
        if let Some(probe) = goes_on {
            walk.was(State::Ready);
            return silence(walk, clock::forgiven_ms(probe.interval_ms), heard_ms, silent_ms, runner);
        }
        return None;
    }
    if let Some(probe) = probe {
        return match probe.stop {
            None => silence(walk, clock::forgiven_ms(probe.interval_ms), heard_ms, silent_ms, runner),
            Some(code) if matches!(state, State::Claimed | State::Untold) => {
                stopped(walk, (probe.heard_ms, clock.at_ms), code, runner)
            }
            Some(_) => silence(walk, clock.forgiven_ms, heard_ms, silent_ms, runner),
        };
    }
    let beat = boots.last().and_then(|boot| boot.stages.last()).filter(|last| last.stage.phase == Phase::Ready);
    let forgiven = match beat.and_then(|last| last.stage.beat_ms) {
        Some(beat) => (i64::from(beat) * BEATS).max(SILENT_MS),
        None => clock.forgiven_ms,
    };
    silence(walk, forgiven, heard_ms, silent_ms, runner)
}

/// Who is silent for longer than is forgiven is lost from its last line on.
fn silence(walk: &mut Walk, forgiven_ms: i64, heard_ms: i64, silent_ms: i64, runner: &Runner) -> Option<Cause> {
    if silent_ms <= forgiven_ms {
        return None;
    }
    let now_ms = heard_ms.saturating_add(silent_ms);
    let cause = cause(runner, now_ms);
    walk.close_jobs(Some(heard_ms), Outcome::Died);
    walk.turn(State::Lost, heard_ms);
    Some(cause.unwrap_or(Cause::NoVitals))
}

/// Its probe was told to end, or ended with the job: unless there was trouble the job has ended, and how is not known.
fn stopped(walk: &mut Walk, (at_ms, now_ms): (i64, i64), code: Option<u8>, runner: &Runner) -> Option<Cause> {
    let cause = cause(runner, now_ms);
    let died = cause
        .filter(|cause| !matches!(cause, Cause::Finished | Cause::Stopped | Cause::Inconclusive | Cause::NoVitals));
    let outcome = if died.is_some() { Outcome::Died } else { Outcome::Unknown(code) };
    walk.close_jobs(Some(at_ms), outcome);
    walk.turn(State::Ended, at_ms);
    died
}

/// What a runner that is over at a time died of: of its jobs the last.
fn cause(runner: &Runner, now_ms: i64) -> Option<Cause> {
    let now = Duration::from_millis(u64::try_from(now_ms).ok()?);
    let clock = clock::Clock::new(UNIX_EPOCH.checked_add(now)?, None);
    let last = (runner.runs.len() > 1).then(|| runner.clone().last_life());
    verdict::judge(last.as_ref().unwrap_or(runner), &clock).map(|verdict| verdict.cause)
}

/// What the latest of a runner's runs says.
fn latest(runner: &Runner, get: fn(&Life) -> Option<&str>) -> Option<String> {
    let mut lives: Vec<&Life> = runner.runs.iter().map(|(_, life)| life.as_ref()).collect();
    lives.sort_by_key(|life| life.last.at_ms());
    lives.iter().rev().find_map(|life| get(life)).map(str::to_owned)
}
