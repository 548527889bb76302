//! `stopped`, `finished`, `outside_guest`, `no_vitals`, `inconclusive`: what is left when the other rules have spoken.

use crate::hub::trail::happening::{AgentState, What};
use crate::hub::trail::slice::{Last, Mark};

use super::super::case::Case;
use super::super::cause::Cause;
use super::super::evidence::{Ending, Evidence};
use super::super::signals;
use super::super::units::at;
use super::system::wellness;

/// So few samples are only the first ones.
const FIRST_ONES: u32 = 2;

/// What has so much is a trouble, though maybe not enough of one to be a cause.
const AILS: i64 = 20;

/// The strongest of the other cases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worst {
    pub(crate) cause: Cause,
    pub(crate) score: i64,
}

impl Worst {
    fn has(self) -> String {
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
        Ending::Told => {
            let has_taken_all = evidence.life.happenings.iter().any(|one| {
                matches!(&one.what, What::Stop { reason, .. } if one.mark == evidence.end && reason.as_ref() == "samples")
            });
            let says = match has_taken_all {
                true => "the probe had taken as many samples as it was to (--samples)",
                false => "its last line says that it was told to stop",
            };
            case.add(53, says.to_owned(), &[evidence.end]);
            calm(evidence, worst, 35, &mut case);
            case.less_for(20, evidence.lost_beginning());
        }
        Ending::Silence => case.less(0, "no line says that it was told to stop".to_owned(), &[evidence.end]),
        Ending::Finished { .. } | Ending::Orphaned | Ending::Unread | Ending::Alive => {}
    }
    case.done()
}

fn finished(evidence: &Evidence<'_>, worst: Worst) -> Case {
    let mut case = Case::new(Cause::Finished);
    let (exit, signal) = match evidence.ending {
        Ending::Finished { exit, signal } => (exit, signal),
        Ending::Orphaned => return orphaned(evidence, case),
        Ending::Silence => {
            case.less(0, "no line says that the job ended".to_owned(), &[evidence.end]);
            return case;
        }
        Ending::Told | Ending::Unread | Ending::Alive => return case,
    };
    let how = match (exit, signal) {
        (_, Some(signal)) => format!("the job ended by signal {}", signals::named(signal)),
        (Some(exit), None) => match signals::of_code(exit) {
            Some(signal) => format!("the job ended with code {exit}, 128 and signal {}", signals::named(signal)),
            None => format!("the job ended with code {exit}"),
        },
        (None, None) => "the job ended; its code is not told".to_owned(),
    };
    case.add(58, how, &[evidence.end]);
    calm(evidence, worst, if exit == Some(0) { 40 } else { 30 }, &mut case);
    // Why a job failed can stand in the lines that are not there.
    if exit != Some(0) && evidence.is_short_end() {
        case.less_for(20, evidence.lost_beginning());
    }
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
    let has_ended_well = matches!(evidence.ending, Ending::Finished { exit: Some(0), signal: None });
    let says = if worst.score < AILS {
        format!("nothing ailed it: {figures}")
    } else if has_ended_well {
        format!("what else there was did not keep the job from ending well ({}): {figures}", worst.has())
    } else {
        format!("what else there was is too weak to be its end ({}): {figures}", worst.has())
    };
    case.add(points, says, &evidence.lately_lines());
}

/// Silence in a guest that was well. Lines that are missing hide what came before it.
fn outside(evidence: &Evidence<'_>, worst: Worst) -> Case {
    let mut case = Case::new(Cause::OutsideGuest);
    let samples = evidence.life.whole.as_ref().map_or(0, |whole| whole.samples);
    match evidence.ending {
        Ending::Silence if samples > 0 => {}
        Ending::Unread => {
            case.add(56, "nobody read its lines any more: what took them is gone".to_owned(), &[evidence.end]);
            return case;
        }
        Ending::Silence => return case,
        Ending::Alive => {
            case.less(0, "its lines go on".to_owned(), &[evidence.end]);
            return case;
        }
        Ending::Told | Ending::Orphaned | Ending::Finished { .. } => {
            case.less(0, "it had a last word".to_owned(), &[evidence.end]);
            return case;
        }
    }
    let is_well = worst.score < AILS;
    let before = if is_well { "silence, and before it the guest was well" } else { "silence, and before it" };
    case.add(84, format!("{before}: {}", wellness(evidence)), &evidence.lately_lines());
    if !is_well {
        case.less(worst.score - AILS, format!("not all was well: {}", worst.has()), &[]);
    }
    if evidence.is_short_end() {
        case.less_for(20, evidence.lost_beginning());
    }
    if samples <= FIRST_ONES {
        case.less(40, "there are hardly any samples".to_owned(), &[]);
    }
    if evidence.is_broken_at_the_end() {
        case.less(20, "lines right before the last one are missing".to_owned(), &[evidence.end]);
    }
    if !evidence.tells_stalls() {
        case.less(15, "nothing tells how long tasks waited".to_owned(), &[]);
    }
    let same = "from inside, a power-off, a reboot or a SIGKILL of the probe alone leave the same silence";
    case.less(0, same.to_owned(), &[]);
    case.done()
}

fn no_vitals(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::NoVitals);
    let lines: &[Mark] = &[evidence.life.first, evidence.life.last];
    // Where the beginning is lost, it is not the first ones that are there.
    let is_whole = evidence.life.first.seq <= 1;
    match evidence.life.whole.as_ref().map(|whole| whole.samples) {
        None if evidence.ending == Ending::Alive => case.less(0, "a sample may yet come".to_owned(), lines),
        None => case.add(if is_whole { 80 } else { 30 }, "there is no sample".to_owned(), lines),
        Some(samples) if samples <= FIRST_ONES && evidence.ending == Ending::Silence => {
            let points = if is_whole { 62 } else { 30 };
            case.add(points, format!("there {}, and then silence", are(samples)), lines);
        }
        Some(samples) => case.less(0, format!("there {}", are(samples)), lines),
    }
    if case.score > 0 && evidence.broken > 0 {
        case.at_most(BROKEN);
        case.less(0, format!("broken lines stand beside them, {} of them: samples perhaps", evidence.broken), &[]);
    }
    case.done()
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
