//! `outside_guest`: silence that nothing in the guest explains. Whatever ailed it right before makes that less sure.

use crate::hub::trail::slice::Last;

use super::super::ailing::{self, Ailment};
use super::super::case::Case;
use super::super::cause::Cause;
use super::super::evidence::{Ending, Evidence};
use super::super::units::time;
use super::agent::{self, Agent};
use super::ends::{FIRST_ONES, Worst};
use super::wellness::{is_well, wellness};

/// What silence is worth behind an agent that had ended, or that is not there: what was outside met no job.
const WITHOUT_AGENT: i64 = 49;

/// Silence in a guest that was well. Lines that are missing hide what came before it.
pub(super) fn outside(evidence: &Evidence<'_>, worst: Worst) -> Case {
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
        Ending::Told(_) | Ending::Orphaned | Ending::Finished { .. } => {
            case.less(0, "it had a last word".to_owned(), &[evidence.end]);
            return case;
        }
    }
    let ailments = ailing::ailments(evidence);
    let was_well = worst.alone.1 < Case::AILS && ailments.is_empty() && is_well(evidence);
    let before = if was_well { "silence, and before it the guest was well" } else { "silence, and before it" };
    case.add(84, format!("{before}: {}", wellness(evidence)), &evidence.lately_lines());
    ailed(worst, ailments, &mut case);
    without_its_agent(evidence, &mut case);
    if evidence.is_short_end() {
        case.less_for(20, evidence.lost_beginning());
    }
    if samples <= FIRST_ONES {
        case.less(40, "there are hardly any samples".to_owned(), &[]);
    }
    if evidence.is_broken_at_the_end() {
        case.less(20, "lines right before the last one are missing".to_owned(), &[evidence.end]);
    }
    if ![Last::CpuPsi, Last::MemPsiFull, Last::IoPsi].into_iter().any(|of| evidence.tells_stalls(of)) {
        case.less(15, "nothing tells how long tasks waited".to_owned(), &[]);
    }
    let same = "from inside, a power-off, a reboot or a SIGKILL of the probe alone leave the same silence";
    case.less(0, same.to_owned(), &[]);
    case.done()
}

/// What other rules have above what ails nobody, and what is no case of its own: of one cause whichever is more.
fn ailed(worst: Worst, ailments: Vec<Ailment>, case: &mut Case) {
    let (cause, alone) = worst.alone;
    let of_rule = (alone - Case::AILS).max(0);
    let of_lines: i64 = ailments.iter().filter(|one| one.of == cause).map(|one| one.points).sum();
    if alone >= Case::AILS {
        let says = match alone > worst.score {
            true => format!("not all was well: {}, though something explains it better", cause.name()),
            false => format!("not all was well: {}", cause.name()),
        };
        case.less(of_rule, says, &[]);
    }
    case.score -= (of_lines - of_rule).max(0);
    for Ailment { of, points, reason } in ailments {
        case.less_for(if of == cause { 0 } else { points }, Some(reason));
    }
}

/// Where the agent had ended, or its job had, the silence met nothing that anybody waited for.
fn without_its_agent(evidence: &Evidence<'_>, case: &mut Case) {
    if let Agent::Gone(gone) = agent::agent(evidence) {
        let before = evidence.age_ms(gone.line.mark).map_or_else(|| "shortly".to_owned(), time);
        case.less(0, format!("{} had ended {before} before the last line", gone.comm), &[gone.line.mark]);
        return case.at_most(WITHOUT_AGENT);
    }
    if let Some((worker, before)) = agent::worker_has_ended(evidence) {
        let says = format!("its job had ended {} before: {} was gone", time(before), worker.comm);
        case.less(20, says, &[worker.mark]);
    }
}
