//! `stopped`, `finished`, `outside_guest`, `no_vitals`, `inconclusive`: what is left when the other rules have spoken.

use crate::hub::trail::slice::Mark;

use super::super::case::Case;
use super::super::cause::Cause;
use super::super::evidence::{Ending, Evidence};
use super::super::units::at;
use super::system::wellness;

/// So few samples are only the first ones.
const FIRST_ONES: u32 = 2;

/// That there are no samples is not sure where lines are broken.
const BROKEN: i64 = 49;

/// The ends, given the strongest of the other cases.
pub(crate) fn rules(evidence: &Evidence<'_>, worst: i64) -> Vec<Case> {
    vec![
        stopped(evidence, worst),
        finished(evidence, worst),
        outside(evidence, worst),
        no_vitals(evidence),
        inconclusive(evidence),
    ]
}

/// A runner that is told to stop in the middle of trouble was given up because of it: then the trouble is the cause.
fn stopped(evidence: &Evidence<'_>, worst: i64) -> Case {
    let mut case = Case::new(Cause::Stopped);
    match evidence.ending {
        Ending::Told => {
            case.add(53, "its last line says that it was told to stop".to_owned(), &[evidence.end]);
            calm(evidence, worst, 35, &mut case);
            let before = evidence.life.first.seq.saturating_sub(1);
            if before > 0 {
                let why =
                    format!("{before} lines before these are not there: a kill or a trouble in them is not known");
                case.less(20, why, &[evidence.life.first]);
            }
        }
        Ending::Silence => case.less(0, "no line says that it was told to stop".to_owned(), &[evidence.end]),
        Ending::Finished { .. } | Ending::Unread | Ending::Alive => {}
    }
    case.done()
}

fn finished(evidence: &Evidence<'_>, worst: i64) -> Case {
    let mut case = Case::new(Cause::Finished);
    let Ending::Finished { exit, signal } = evidence.ending else {
        if evidence.ending == Ending::Silence {
            case.less(0, "no line says that the job ended".to_owned(), &[evidence.end]);
        }
        return case;
    };
    let how = match (exit, signal) {
        (_, Some(signal)) => format!("the job ended by signal {signal}"),
        (Some(exit), None) => format!("the job ended with code {exit}"),
        (None, None) => "the job ended; its code is not told".to_owned(),
    };
    case.add(58, how, &[evidence.end]);
    calm(evidence, worst, if exit == Some(0) { 40 } else { 30 }, &mut case);
    case.done()
}

fn calm(evidence: &Evidence<'_>, worst: i64, points: i64, case: &mut Case) {
    let has_samples = evidence.life.whole.as_ref().is_some_and(|whole| whole.samples > 0);
    if worst < 42 && has_samples {
        case.add(
            points,
            format!("nothing else was near to ending it: {}", wellness(evidence)),
            &evidence.lately_lines(),
        );
    }
}

/// Silence in a guest that was well. Lines that are missing hide what came before it.
fn outside(evidence: &Evidence<'_>, worst: i64) -> Case {
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
        Ending::Told | Ending::Finished { .. } => {
            case.less(0, "it had a last word".to_owned(), &[evidence.end]);
            return case;
        }
    }
    case.add(84, format!("silence, and before it: {}", wellness(evidence)), &evidence.lately_lines());
    if worst > 20 {
        case.less(worst - 20, "not all was well".to_owned(), &[]);
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
    case.done()
}

fn no_vitals(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::NoVitals);
    let lines: &[Mark] = &[evidence.life.first, evidence.life.last];
    match evidence.life.whole.as_ref().map(|whole| whole.samples) {
        None if evidence.ending == Ending::Alive => case.less(0, "a sample may yet come".to_owned(), lines),
        None => case.add(80, "there is no sample".to_owned(), lines),
        Some(samples) if samples <= FIRST_ONES && evidence.ending == Ending::Silence => {
            // Where the beginning is lost, it is not the first ones that are there.
            let points = if evidence.life.first.seq <= 1 { 62 } else { 30 };
            case.add(points, format!("there are {samples} samples, and then silence"), lines);
        }
        Some(samples) => case.less(0, format!("there are {samples} samples"), lines),
    }
    if case.score > 0 && evidence.broken > 0 {
        case.at_most(BROKEN);
        case.less(0, format!("broken lines stand beside them, {} of them: samples perhaps", evidence.broken), &[]);
    }
    case.done()
}

fn inconclusive(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::Inconclusive);
    let (says, lines) = match evidence.looked {
        None => ("no cause has enough on its side".to_owned(), Vec::new()),
        Some(looked) if looked.is_asked => {
            let says = format!("lines were asked for up to {}, when the next was not due yet", at(looked.at_ms));
            (format!("{says}: it seems to have lived then"), vec![evidence.end])
        }
        Some(looked) => {
            let says = format!("at {} the next line was not due yet, or could be on its way", at(looked.at_ms));
            (format!("{says}: it seems to live"), vec![evidence.end])
        }
    };
    case.add(41, says, &lines);
    case
}
