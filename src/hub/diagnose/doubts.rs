//! What leaves any verdict open, whatever its rule says: how little is there, and lines that cannot be of one run.

use crate::hub::trail::life::Life;
use crate::hub::trail::slice::Mark;

use super::case::{Case, Reason};
use super::cause::Cause;
use super::evidence::{Ending, Evidence, Interval};
use super::units::{count, time};
use super::verdict::Confidence;

/// Something that leaves it open.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    /// It is no surer than this; `None` where it is only to be said.
    pub(super) at_most: Option<i64>,
    /// In a sentence.
    pub(super) reason: Reason,
}

/// Nothing is high, medium beside these.
const NOT_HIGH: i64 = Confidence::HIGH - 1;
const LOW: i64 = Confidence::MEDIUM - 1;

/// Fewer samples are none to be sure by.
const FEW: u32 = 3;

/// Samples of a shorter time are of one moment, ms.
const MOMENT_MS: i64 = 2000;

/// A line that cannot be, so short before the end, leaves open what the end was, ms.
const IMPOSSIBLE_MS: i64 = 60_000;

/// Time that is not accounted for, so short before the end, may have been the end's beginning, ms.
const STEP_MS: i64 = 60_000;

/// No probe writes more lines than these and so many a second: four samples in a burst, and what its limits let through.
const AT_ONCE: u64 = 50;
const A_SECOND: u64 = 20;

/// All that does.
pub(super) fn doubts(evidence: &Evidence<'_>, primary: &Case) -> Vec<Doubt> {
    let all = [
        few_samples(evidence, primary),
        assumed_interval(evidence, primary),
        behind_a_stop(evidence),
        contradicted(evidence),
        jumps(evidence.life),
        stepped(evidence, primary),
        impossible(evidence),
        cut(evidence),
        torn(evidence),
    ];
    all.into_iter().flatten().collect()
}

/// Whether samples say it, and not a line of its own.
const fn is_by_samples(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::MemoryThrash
            | Cause::CpuStarved
            | Cause::CpuStolen
            | Cause::CpuThrottled
            | Cause::IoStall
            | Cause::DiskFull
            | Cause::InodesFull
            | Cause::PidsExhausted
            | Cause::OutsideGuest
            | Cause::Stopped
            | Cause::Finished
    )
}

fn few_samples(evidence: &Evidence<'_>, primary: &Case) -> Option<Doubt> {
    // A job that ended with code 0 has, whatever there is besides.
    if !is_by_samples(primary.cause) || evidence.ending.is_success() {
        return None;
    }
    let whole = evidence.life.whole.as_deref()?;
    let lines = vec![whole.first, whole.mark];
    let doubt = |at_most, says| Some(Doubt { at_most: Some(at_most), reason: Reason { says, lines: lines.clone() } });
    if whole.samples < FEW && primary.cause == Cause::OutsideGuest {
        // Its rule says so.
        return None;
    }
    if whole.samples < FEW {
        let are = if whole.samples == 1 { "is" } else { "are" };
        let is_seen = matches!(primary.cause, Cause::Stopped | Cause::Finished);
        let at_most = if whole.samples == 1 && !is_seen { LOW } else { NOT_HIGH };
        return doubt(
            at_most,
            format!("there {are} {}: what it was like is hardly seen", count(whole.samples, "sample")),
        );
    }
    let span = whole.mark.at_ms()?.saturating_sub(whole.first.at_ms()?);
    let is_moment = (0..MOMENT_MS).contains(&span);
    if is_moment { doubt(NOT_HIGH, format!("all samples are of {}: that is one moment", time(span))) } else { None }
}

/// When its next line was due is not known.
fn assumed_interval(evidence: &Evidence<'_>, primary: &Case) -> Option<Doubt> {
    let is_asked = matches!(evidence.ending, Ending::Silence | Ending::Alive);
    if evidence.interval != Interval::Assumed || !is_asked {
        return None;
    }
    let says = format!(
        "no line tells how far apart its lines are: that the next was due after {} is assumed",
        time(evidence.interval_ms)
    );
    let at_most = (primary.cause == Cause::OutsideGuest).then_some(NOT_HIGH);
    Some(Doubt { at_most, reason: Reason { says, lines: vec![evidence.end] } })
}

/// Nobody writes behind its last word.
fn behind_a_stop(evidence: &Evidence<'_>) -> Option<Doubt> {
    let stop = evidence.early_stop?;
    let says =
        "a line says that it stopped, and lines of the run come behind it: not all of them are its own".to_owned();
    Some(Doubt { at_most: Some(LOW), reason: Reason { says, lines: vec![stop, evidence.life.last] } })
}

/// No line is written twice with other words.
fn contradicted(evidence: &Evidence<'_>) -> Option<Doubt> {
    let other = evidence.life.odd().others;
    let says = match other {
        0 => return None,
        1 => "1 line denies another of the run (its number with other words, or a second last word): not all of them are its own".to_owned(),
        other => format!(
            "{other} lines deny others of the run (their numbers with other words, or a second last word): not all of them are its own"
        ),
    };
    Some(Doubt { at_most: Some(LOW), reason: Reason { says, lines: vec![evidence.end] } })
}

/// More lines are missing than a probe can have written in the time.
fn jumps(life: &Life) -> Option<Doubt> {
    let marks = life.marks();
    let pairs = marks.iter().zip(marks.iter().skip(1));
    let jump = pairs.rev().find(|(from, to)| is_jump(life, **from, **to));
    let (from, to) = jump?;
    let says = format!(
        "its lines are numbered from {} on to {}, which is more than a probe writes in the time between: not all of them are its own",
        from.seq, to.seq
    );
    Some(Doubt { at_most: Some(LOW), reason: Reason { says, lines: vec![*from, *to] } })
}

/// Time near the end that its lines do not account for. A job that ended with code 0 did so all the same.
fn stepped(evidence: &Evidence<'_>, primary: &Case) -> Option<Doubt> {
    let step = evidence.step.filter(|step| evidence.is_within(step.to(), STEP_MS))?;
    // What is told behind a clock that was set needs nothing of before.
    let needs_it = primary.reasons.iter().flat_map(|reason| &reason.lines).any(|line| step.hides(*line));
    let at_most = (needs_it && !evidence.ending.is_success()).then_some(NOT_HIGH);
    Some(Doubt { at_most, reason: step.reason() })
}

fn is_jump(life: &Life, from: Mark, to: Mark) -> bool {
    let Some((from_ms, to_ms)) = from.at_ms().zip(to.at_ms()) else { return false };
    let seconds = u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0) / 1000;
    let most = AT_ONCE.saturating_add(seconds.saturating_mul(A_SECOND));
    to.seq.saturating_sub(from.seq) > most && !life.is_whole(from, to)
}

/// That some lines count for nothing. So many of them, or some of the last ones, leave open what the others say.
fn impossible(evidence: &Evidence<'_>) -> Option<Doubt> {
    let (life, odd) = (evidence.life, evidence.life.odd());
    let mark = odd.last_impossible?;
    let says = format!(
        "lines with readings that cannot be: {}, the last of them here; they count for nothing",
        odd.impossible
    );
    let is_many = u64::from(odd.impossible).saturating_mul(10) > life.lines;
    let at_most = (is_many || evidence.is_within(mark, IMPOSSIBLE_MS)).then_some(LOW);
    Some(Doubt { at_most, reason: Reason { says, lines: vec![mark] } })
}

/// That its last line need not be the last.
fn cut(evidence: &Evidence<'_>) -> Option<Doubt> {
    let says = "its source could not be read to its end: what came behind its last line is not known".to_owned();
    evidence.is_cut.then(|| Doubt { at_most: Some(LOW), reason: Reason { says, lines: vec![evidence.end] } })
}

/// That it spoke once more, and what it said is not known.
fn torn(evidence: &Evidence<'_>) -> Option<Doubt> {
    let heard = evidence.heard?;
    let says = "behind its last whole line there is a torn one, or one in another's text: it still spoke then, and what it said is not known";
    let at_most = if evidence.life.last.seq + 1 == heard.seq { NOT_HIGH } else { LOW };
    Some(Doubt { at_most: Some(at_most), reason: Reason { says: says.to_owned(), lines: vec![heard] } })
}
