//! Lines that deny another of the run: not all of them are its own. Only what is kept of lines tells that.

use super::super::happening::{self, Happening, What};
use super::super::slice::{Mark, Slice};
use super::Life;

impl Life {
    /// Whether a line of this number is kept that has another time.
    pub(super) fn is_another(&self, mark: Mark) -> bool {
        let is = |own: &Mark| own.seq == mark.seq && own.at_ms() != mark.at_ms();
        let slices = self.recent.iter().chain(self.whole.as_deref()).chain(self.last_sample.as_deref());
        [self.first, self.last].iter().any(is)
            || slices.flat_map(|slice| [&slice.first, &slice.mark]).any(is)
            || self.happenings.iter().any(|one| is(&one.mark))
    }

    /// Counts a line that denies another.
    pub(super) fn denies(&mut self, does: bool) {
        if does {
            let odd = self.odd.get_or_insert_default();
            odd.others = odd.others.saturating_add(1);
        }
    }

    /// Keeps what happened. A run has one last word.
    pub(super) fn keep_happening(&mut self, new: Happening) {
        let is_stop = |one: &Happening| matches!(one.what, What::Stop { .. });
        self.denies(is_stop(&new) && self.happenings.iter().any(|one| is_stop(one) && one.mark.seq != new.mark.seq));
        happening::keep(&mut self.happenings, new);
    }

    /// Whether the line of a sample's number is an event, or the last sample with other readings.
    pub(super) fn has_other_readings(&self, sample: &Slice) -> bool {
        let is_other = |last: &Slice| {
            // Where it stands does not tell it from another.
            let mut same = *sample;
            same.is_at(last.mark);
            last.mark.seq == sample.mark.seq && same != *last
        };
        self.last_sample.as_deref().is_some_and(is_other)
            || self.happenings.iter().any(|one| one.mark.seq == sample.mark.seq)
    }

    /// Whether the line of an event's number is the last sample, or told another one.
    pub(super) fn has_happened_otherwise(&self, seq: u64, what: Option<&What>) -> bool {
        self.last_sample.as_ref().is_some_and(|last| last.mark.seq == seq)
            || self.happenings.iter().any(|one| one.mark.seq == seq && Some(&one.what) != what)
    }
}
