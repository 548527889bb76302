//! `stopped`, `finished`, `outside_guest`, `no_vitals`, `inconclusive`: what is left when the other rules have spoken.

use crate::hub::trail::happening::{AgentState, What};
use crate::hub::trail::slice::{Last, Mark};

use super::super::ailing;
use super::super::case::{Case, Reason};
use super::super::cause::Cause;
use super::super::evidence::{Ending, Evidence, ToldJob};
use super::super::signals;
use super::super::units::{at, time};
use super::agent;
use super::outside::outside;
use super::wellness::{is_well, wellness};

/// So few samples are only the first ones.
pub(super) const FIRST_ONES: u32 = 2;

/// What ailed a guest when its last word came, though no cause has enough, may be why it came.
const AILED: i64 = 10;

/// Lines that are missing right before a last word may have told why it came.
const HOLE: i64 = 20;

/// The strongest of the other cases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worst {
    pub(super) cause: Cause,
    pub(super) score: i64,
    /// The one that had most before it gave points up to what explains the same better, and that many.
    pub(super) alone: (Cause, i64),
}

impl Worst {
    pub(super) fn of(cases: &[Case]) -> Self {
        let strongest = |of: fn(&Case) -> i64| {
            let found = cases.iter().max_by_key(|case| of(case));
            found.map_or((Cause::Inconclusive, 0), |case| (case.cause, of(case)))
        };
        let (cause, score) = strongest(|case| case.score);
        Self { cause, score, alone: strongest(|case| case.score + case.yielded) }
    }

    pub(super) fn has(self) -> String {
        format!("{} has {} of 100", self.cause.name(), self.score)
    }
}

/// That there are no samples is not sure where lines are broken.
const BROKEN: i64 = 49;

/// The ends, given the strongest of the other cases.
pub(crate) fn rules(evidence: &Evidence<'_>, worst: Worst) -> Vec<Case> {
    vec![
        stopped(evidence, worst),
        finished(evidence, worst),
        outside(evidence, worst),
        no_vitals(evidence),
        inconclusive(evidence),
    ]
}

/// A runner that is told to stop in the middle of trouble was given up because of it: then the trouble is the cause.
fn stopped(evidence: &Evidence<'_>, worst: Worst) -> Case {
    let mut case = Case::new(Cause::Stopped);
    match evidence.ending {
        Ending::Told(Some(job)) => {
            told_job(evidence, job, &mut case);
            calm(evidence, worst, 35, &mut case);
            if !job.did() {
                let says = format!(
                    "it ended {}, and not by that signal: it may have ended by itself",
                    how_it_ended(job.exit, job.signal)
                );
                case.less(0, says, &[evidence.end]);
                case.at_most(NOT_BY_IT);
            }
            case.less_for(HOLE, hole(evidence));
            case.less_for(20, evidence.lost_beginning().filter(|_| !job.did()));
        }
        Ending::Told(None) => {
            let reason = evidence.life.happenings.iter().find_map(|one| match &one.what {
                What::Stop { reason, .. } if one.mark == evidence.end => Some(reason.as_ref()),
                _ => None,
            });
            let says = match reason {
                Some("samples") => "the probe had taken as many samples as it was to (--samples)".to_owned(),
                Some("sigterm" | "sigint") | None => "its last line says that it was told to stop".to_owned(),
                Some(other) => {
                    format!("its last line says that it stopped, for a reason that is not known here: {other}")
                }
            };
            case.add(53, says, &[evidence.end]);
            calm(evidence, worst, 35, &mut case);
            case.less_for(20, evidence.lost_beginning());
            case.less_for(HOLE, hole(evidence));
        }
        Ending::Silence => {
            case.less(0, "its last line does not say that it was told to stop".to_owned(), &[evidence.end]);
        }
        Ending::Finished { .. } | Ending::Orphaned | Ending::Unread | Ending::Alive => {}
    }
    case.done()
}

/// What a job is worth that was told to end and did so another way.
const NOT_BY_IT: i64 = 74;

/// A job that was told to end, by the signal that `exec` passed on to it.
fn told_job(evidence: &Evidence<'_>, job: ToldJob, case: &mut Case) {
    let told = signals::named(job.told);
    let says = match job.did() {
        true => format!("the job was told to end, by signal {told}, and did"),
        false => format!("the job was told to end, by signal {told}, and ended"),
    };
    case.add(53, says, &[evidence.end]);
}

/// How a job ended, behind `the job ended`.
fn how_it_ended(exit: Option<i64>, signal: Option<i64>) -> String {
    match (exit, signal) {
        (_, Some(signal)) => format!("by signal {}", signals::named(signal)),
        (Some(exit), None) => match signals::of_code(exit) {
            Some(signal) => format!("with code {exit}, 128 and signal {}", signals::named(signal)),
            None => format!("with code {exit}"),
        },
        (None, None) => "in a way that is not told".to_owned(),
    }
}

/// That lines right before the last word are missing.
fn hole(evidence: &Evidence<'_>) -> Option<Reason> {
    let says = "lines right before the last one are missing: what they told is not known".to_owned();
    evidence.is_broken_at_the_end().then(|| Reason { says, lines: vec![evidence.end] })
}

fn finished(evidence: &Evidence<'_>, worst: Worst) -> Case {
    let mut case = Case::new(Cause::Finished);
    let (exit, signal) = match evidence.ending {
        Ending::Finished { exit, signal } => (exit, signal),
        Ending::Orphaned => return orphaned(evidence, case),
        Ending::Silence => return gone_after_its_job(evidence, case),
        Ending::Told(_) | Ending::Unread | Ending::Alive => return case,
    };
    let how = match (exit, signal) {
        (None, None) => "the job ended; its code is not told".to_owned(),
        _ => format!("the job ended {}", how_it_ended(exit, signal)),
    };
    case.add(58, how, &[evidence.end]);
    calm(evidence, worst, if exit == Some(0) { 40 } else { 30 }, &mut case);
    // Why a job failed can stand in the lines that are not there.
    if exit != Some(0) && evidence.is_short_end() {
        case.less_for(20, evidence.lost_beginning());
    }
    case.less_for(HOLE, hole(evidence));
    case.done()
}

/// Silence, and before it the agent had ended behind its worker, as one for a single job does: the guest is then removed. How the job
/// ended, nobody says.
fn gone_after_its_job(evidence: &Evidence<'_>, mut case: Case) -> Case {
    let Some((gone, worker, after)) = agent::ended_after_its_job(evidence) else {
        case.less(0, "its last line does not say that the job ended".to_owned(), &[evidence.end]);
        return case;
    };
    let before = evidence.age_ms(gone.line.mark).map_or_else(|| "shortly".to_owned(), time);
    let says = format!(
        "{} ended {} after its job, as one for a single job does, {before} before the last line",
        gone.comm,
        time(after)
    );
    case.add(55, says, &[worker.mark, gone.line.mark]);
    case.less(0, "no line tells how the job ended, nor that the guest was to go".to_owned(), &[evidence.end]);
    case.less(
        0,
        "whether the silence came from outside of the guest cannot be told: no job ran any more".to_owned(),
        &[],
    );
    case.done()
}

/// The process that the probe was to end with is gone. Where that is the job, the job ended; where it ran the job, it was killed, and the
/// job goes on without it. The agent tells which.
fn orphaned(evidence: &Evidence<'_>, mut case: Case) -> Case {
    let says = "the process that the probe was to end with is gone, and no line tells how the job ended";
    case.add(40, says.to_owned(), &[evidence.end]);
    let worker = evidence.life.happenings.iter().rev().find_map(|one| match &one.what {
        What::Agent { is_worker: true, state, .. } => Some((one.mark, *state)),
        _ => None,
    });
    let is_there = evidence.last_sample().filter(|last| last.last(Last::AgentState).is_some());
    match (worker, is_there) {
        (Some((gone, AgentState::Vanished)), _) => {
            case.add(20, "its worker had ended before".to_owned(), &[gone]);
        }
        (_, Some(last)) => {
            case.less(20, "the agent was there still, in the last sample".to_owned(), &[last.mark]);
        }
        _ => {}
    }
    case.less(0, "what ran the job may have been killed, with SIGKILL, and the job with it or not".to_owned(), &[]);
    case.done()
}

/// That there was no trouble, or none to speak of.
fn calm(evidence: &Evidence<'_>, worst: Worst, points: i64, case: &mut Case) {
    let has_samples = evidence.life.whole.as_ref().is_some_and(|whole| whole.samples > 0);
    if worst.score >= 42 || !has_samples {
        return;
    }
    let figures = wellness(evidence);
    let has_ended_well = evidence.ending.is_success();
    // What ailed a job that ended well did not end it.
    let ailments = if has_ended_well { Vec::new() } else { ailing::ailments(evidence) };
    let is_well = is_well(evidence) && ailments.is_empty();
    let says = if worst.score < Case::AILS && is_well {
        format!("nothing is seen that ailed it: {figures}")
    } else if worst.score < Case::AILS {
        format!("no cause has enough to be its end: {figures}")
    } else if has_ended_well {
        format!("what else there was did not keep the job from ending well ({}): {figures}", worst.has())
    } else {
        format!("what else there was is too weak to be its end ({}): {figures}", worst.has())
    };
    case.add(points, says, &evidence.lately_lines());
    for (nth, ailment) in ailments.into_iter().enumerate() {
        case.less_for(if nth == 0 { AILED } else { 0 }, Some(ailment.reason));
    }
}

fn no_vitals(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::NoVitals);
    let lines: &[Mark] = &[evidence.life.first, evidence.life.last];
    // Where the beginning is lost, it is not the first ones that are there; where lines are missing, they may be samples.
    let missing = evidence.life.missing();
    let is_whole = evidence.life.first.seq <= 1 && missing == 0;
    match evidence.life.whole.as_ref().map(|whole| whole.samples) {
        None if evidence.ending == Ending::Alive => case.less(0, "a sample may yet come".to_owned(), lines),
        None => {
            let says = match evidence.life.odd().impossible {
                0 => "there is no sample",
                _ => "there is no sample that counts",
            };
            case.add(if is_whole { 80 } else { 30 }, says.to_owned(), lines);
        }
        Some(samples) if samples <= FIRST_ONES && evidence.ending == Ending::Silence => {
            let points = if is_whole { 62 } else { 30 };
            case.add(points, format!("there {}, and then silence", are(samples)), lines);
        }
        Some(samples) => case.less(0, format!("there {}", are(samples)), lines),
    }
    if case.score > 0 && missing > 0 {
        case.less(0, format!("{} between them missing: samples perhaps", are_lines(missing)), lines);
    }
    if case.score > 0 && evidence.broken > 0 {
        case.at_most(BROKEN);
        case.less(0, format!("broken lines stand beside them, {} of them: samples perhaps", evidence.broken), &[]);
    }
    case.done()
}

fn are_lines(missing: u64) -> String {
    if missing == 1 { "1 line is".to_owned() } else { format!("{missing} lines are") }
}

fn are(samples: u32) -> String {
    if samples == 1 { "is 1 sample".to_owned() } else { format!("are {samples} samples") }
}

fn inconclusive(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::Inconclusive);
    let says = match evidence.looked {
        None if evidence.ending == Ending::Orphaned => {
            "the process that the probe was to end with is gone, and no line tells whether the job ended with it"
                .to_owned()
        }
        None => "no cause has enough on its side".to_owned(),
        Some(looked) if looked.is_asked => {
            let to = at(looked.at_ms);
            format!("lines were asked for up to {to}, when the next was not due yet: it seems to have lived then")
        }
        Some(looked) => {
            let now = at(looked.at_ms);
            format!("at {now} the next line was not due yet, or could be on its way: it seems to live")
        }
    };
    let says_why = evidence.looked.is_some() || evidence.ending == Ending::Orphaned;
    case.add(41, says, if says_why { std::slice::from_ref(&evidence.end) } else { &[] });
    case
}
