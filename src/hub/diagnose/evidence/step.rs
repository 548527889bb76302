//! Time between two lines that the lines between them cannot fill, and that no line tells of: a clock that was set, or a guest that
//! stood still. Pure.

use crate::hub::trail::happening::What;
use crate::hub::trail::life::Life;
use crate::hub::trail::slice::{High, Mark};

use super::super::case::Reason;
use super::super::units::time;

/// Lines can be so much later than they are due, ms; three intervals where those are longer.
const LATE_MS: i64 = 5000;

/// A clock that goes back by less is kept right little by little, ms.
const BACK_MS: i64 = 2000;

/// Between two kept lines that are further apart a line can have told what is no longer kept.
const FAR: u64 = 100;

/// The last of them.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Step {
    from: Mark,
    to: Mark,
    /// What passed between the two by their times, ms.
    passed_ms: i64,
    /// What the lines between them fill, ms.
    filled_ms: i64,
    /// No line between them is missing, or the time went back: then it was the clock, most likely.
    is_clock: bool,
}

impl Step {
    /// Finds it; `end` can be a line behind the last whole one.
    pub(in super::super) fn last(life: &Life, end: Mark, interval_ms: i64) -> Option<Self> {
        // Only the last of several is kept with its place.
        if life.set.total_ms != life.set.last_ms {
            return None;
        }
        let mut marks = life.marks();
        marks.extend(Some(end).filter(|end| end.seq > life.last.seq));
        let mut pairs = marks.iter().zip(marks.iter().skip(1)).rev();
        pairs.find_map(|(from, to)| Self::between(life, *from, *to, interval_ms))
    }

    fn between(life: &Life, from: Mark, to: Mark, interval_ms: i64) -> Option<Self> {
        let lines = to.seq.checked_sub(from.seq).filter(|lines| *lines <= FAR)?;
        let passed_ms = to.at_ms()?.saturating_sub(from.at_ms()?).saturating_sub(life.set_ms(from, to));
        let filled_ms = interval_ms.saturating_mul(i64::try_from(lines).unwrap_or(i64::MAX));
        let told = life.happenings.iter().filter(|one| (from.seq + 1..=to.seq).contains(&one.mark.seq));
        let told_ms = told.fold(0_i64, |sum, one| match one.what {
            What::Gap { ms, .. } => sum.saturating_add(ms),
            _ => sum,
        });
        let late_ms = life.whole.as_ref().and_then(|whole| whole.high(High::Late)).unwrap_or(0) / 10;
        let most_ms = filled_ms.saturating_add(told_ms).saturating_add(late_ms);
        let is_back = passed_ms < -BACK_MS;
        let is_step = is_back || passed_ms > most_ms.saturating_add(LATE_MS.max(interval_ms.saturating_mul(3)));
        let is_clock = is_back || life.is_whole(from, to);
        is_step.then_some(Self { from, to, passed_ms, filled_ms, is_clock })
    }

    /// By how much the clock was set between two lines, as far as this step says, ms.
    pub(in super::super) fn set_ms(&self, from: Mark, to: Mark) -> i64 {
        let is_between = self.is_clock && from.seq <= self.from.seq && self.to.seq <= to.seq;
        if is_between { self.passed_ms.saturating_sub(self.filled_ms) } else { 0 }
    }

    /// Whether when a line was, or what was before it, is not known for it.
    pub(in super::super) const fn hides(&self, mark: Mark) -> bool {
        !self.is_clock || mark.seq <= self.from.seq
    }

    /// The line behind it.
    pub(in super::super) const fn to(&self) -> Mark {
        self.to
    }

    /// In a sentence.
    pub(in super::super) fn reason(&self) -> Reason {
        let passed = time(self.passed_ms.saturating_abs());
        let says = if self.passed_ms < 0 {
            format!(
                "its clock went back by {passed} and no line tells why: how long before the end something was is counted by the lines"
            )
        } else if self.is_clock {
            format!(
                "{passed} are between two lines that follow each other, and no line tells why: its clock was set, or it stood still; they are not counted"
            )
        } else {
            format!(
                "{passed} are between two lines, more than those that are missing between them fill: it stood still, or its clock was set"
            )
        };
        Reason { says, lines: vec![self.from, self.to] }
    }
}
