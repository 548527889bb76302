//! What is kept of one run: bounded, and the same in whatever order its lines come.

mod clocks;
mod denied;
mod kills;
mod recent;

pub use kills::KILLS;

use serde::{Deserialize, Serialize};

use crate::line::Line;

use super::about::About;
use super::book::Writer;
use super::came::{Came, Set};
use super::happening::{Happening, What};
use super::moved::Moved;
use super::seen::SeenSeqs;
use super::slice::{Counted, High, Last, Mark, Slice};
use super::stage::Stages;
use kills::PerKill;

/// One run: the lines of one process that writes them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Life {
    /// The first line that is there.
    pub first: Mark,
    /// The last line that is there.
    pub last: Mark,
    /// Lines that are there, each once.
    pub lines: u64,
    /// Lines that came again, or too late to be told from such.
    pub repeats: u32,
    /// What the run says of itself; `None` when no `start` and no `about` line is there.
    pub about: Option<Box<About>>,
    /// All samples as one; `None` without a sample.
    pub whole: Option<Box<Slice>>,
    /// The last sample.
    pub last_sample: Option<Box<Slice>>,
    /// The latest samples, some seconds a slice, in the order of their lines.
    pub recent: Vec<Slice>,
    /// The latest events of each class, in the order of their lines.
    pub happenings: Vec<Happening>,
    /// The phases that scripts told of the runner, where the book keeps those together.
    pub stages: Option<Box<Stages>>,
    /// The counts that samples had which are no longer among the latest.
    pub had: Counted,
    /// When the counts of [`KILLS`] last moved; `None` for one that was never read.
    pub kills: [Option<Moved>; KILLS.len()],
    /// How often the guest's clock was set.
    pub set: Set,
    /// It is over and well: its samples say nothing that is asked for, and are not kept.
    pub(super) is_done: bool,
    /// A line came since the book looked through its runs.
    pub(super) is_new: bool,
    seen: SeenSeqs,
    came: Came,
    odd: Option<Box<Odd>>,
    /// Who wrote it.
    pub(super) writer: Writer,
    /// The twins of lines without a name that are its own.
    pub(super) unnamed: Box<[u16]>,
}

/// What few runs have; apart, since runs are many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Odd {
    /// Lines that deny another of the run: of the same number and not the same, or a second last word. Only what is kept of lines tells
    /// that: the times of the ends and of those of the latest minute that begin or end a slice, the last sample, and what happened.
    pub others: u32,
    /// Those of its lines that no kernel can have given: all but their times is left out.
    pub impossible: u32,
    /// The last of them.
    pub last_impossible: Option<Mark>,
    /// What is left of a later line than the last one: torn, or glued to another's text. That it still spoke is all that it says.
    pub heard: Option<Mark>,
    /// The last samples that have the counts of [`KILLS`], where these are not the last sample.
    last_of_kills: PerKill,
}

impl Life {
    /// Forgets what happened up to a time, milliseconds since 1970: it is told of another life.
    pub(super) fn forget_before(&mut self, began_ms: i64) {
        let is_before = |mark: Mark| mark.at_ms().is_some_and(|at_ms| at_ms <= began_ms);
        self.happenings.retain(|one| !is_before(one.mark));
        for moved in self.kills.iter_mut().flatten().filter(|moved| is_before(moved.to)) {
            *moved = moved.unmoved();
        }
    }

    /// A run of which this is the first line to be met.
    #[must_use]
    pub(super) fn new(writer: Writer, mark: Mark) -> Self {
        Self {
            first: mark,
            last: mark,
            lines: 0,
            repeats: 0,
            about: None,
            whole: None,
            last_sample: None,
            recent: Vec::new(),
            happenings: Vec::new(),
            stages: None,
            had: Counted::default(),
            kills: [None; KILLS.len()],
            is_done: false,
            is_new: true,
            seen: SeenSeqs::default(),
            set: Set::default(),
            came: Came::default(),
            odd: None,
            writer,
            unnamed: Box::default(),
        }
    }

    /// Takes a sample.
    pub fn sample(&mut self, sample: &Slice) {
        // One that goes on behind its last word is not over: somebody else wrote that.
        self.is_done &= sample.mark.seq < self.last.seq;
        if !self.note(sample.mark) {
            self.denies(self.is_another(sample.mark) || self.has_other_readings(sample));
            return;
        }
        if self.is_done {
            return;
        }
        let moved = KILLS.map(|count| Some(Moved::at(sample.mark, sample.high(count)?)));
        let last_of = self.keep_kills(moved, moved.map(|moved| Some(moved?.to)));
        match &mut self.whole {
            Some(whole) => whole.fold(sample),
            None => self.whole = Some(Box::new(*sample)),
        }
        if self.last_sample.as_ref().is_none_or(|last| last.mark.seq < sample.mark.seq) {
            self.last_sample = Some(Box::new(*sample));
        }
        self.keep_last_of(last_of);
        self.had = self.had.with(recent::keep(&mut self.recent, sample));
    }

    /// Takes an event line.
    pub fn event(&mut self, mark: Mark, line: &Line<'_>) {
        let what = What::of(line);
        if !self.note(mark) {
            self.denies(self.is_another(mark) || self.has_happened_otherwise(mark.seq, what.as_ref()));
            return;
        }
        match line.event.as_deref() {
            Some("start") => self.about.get_or_insert_default().start(mark, line),
            Some("gap") => self.set.take(mark, line),
            // Scripts say of the runner what they know with each phase.
            Some("about" | "phase") => self.about.get_or_insert_default().about(line),
            _ => {}
        }
        if let Some(what) = what {
            self.keep_happening(Happening { mark, what });
        }
    }

    /// Takes a phase line, a run of its own, among those of its runner.
    pub(super) fn stage(&mut self, mark: Mark, line: &Line<'_>) {
        let at_ms = mark.at_ms();
        let is_latest = self.lines == 0 || at_ms >= self.last.at_ms();
        if self.lines == 0 || at_ms < self.first.at_ms() {
            self.first = mark;
        }
        (self.lines, self.is_new) = (self.lines + 1, true);
        let about = self.about.get_or_insert_default();
        if is_latest {
            self.last = mark;
            about.about(line);
            if let Some(what) = What::of(line) {
                self.happenings = vec![Happening { mark, what }];
            }
        }
        self.stages.get_or_insert_default().take(line, at_ms);
    }

    /// Takes a line of which nothing is believed but its time.
    pub(super) fn impossible(&mut self, mark: Mark) {
        let is_another = self.is_another(mark);
        if !self.note(mark) {
            self.denies(is_another);
        } else {
            let odd = self.odd.get_or_insert_default();
            odd.impossible = odd.impossible.saturating_add(1);
            odd.last_impossible = Mark::later(odd.last_impossible, Some(mark));
        }
    }

    /// Takes when a line came, milliseconds since 1970 by the clock of who logged it.
    pub(super) fn came(&mut self, mark: Mark, at_ms: i64) {
        self.came.take(mark, at_ms);
    }

    /// It still spoke then, behind its last line.
    pub(super) fn heard(&mut self, mark: Mark) {
        self.odd.get_or_insert_default().heard = Some(mark);
    }

    /// What few runs have.
    #[must_use]
    pub fn odd(&self) -> Odd {
        self.odd.as_deref().copied().unwrap_or_default()
    }

    /// Takes what another source had of the same run.
    pub fn fold(&mut self, other: &Self) {
        for mark in other.marks() {
            self.denies(self.is_another(mark));
        }
        for mark in [other.first, other.last] {
            self.widen(mark);
        }
        self.lines += other.lines;
        self.repeats = self.repeats.saturating_add(other.repeats);
        if let Some(other) = &other.odd {
            let odd = self.odd.get_or_insert_default();
            odd.impossible = odd.impossible.saturating_add(other.impossible);
            odd.last_impossible = Mark::later(odd.last_impossible, other.last_impossible);
            odd.others = odd.others.saturating_add(other.others);
        }
        if let Some(about) = &other.about {
            self.about.get_or_insert_default().fold(about);
        }
        let last_of = self.keep_kills(other.kills, other.last_of_kills());
        match (&mut self.whole, &other.whole) {
            (Some(own), Some(other)) => own.fold(other),
            (own @ None, Some(other)) => *own = Some(other.clone()),
            (_, None) => {}
        }
        if let Some(last) = &other.last_sample
            && self.last_sample.as_ref().is_none_or(|own| own.mark.seq < last.mark.seq)
        {
            self.last_sample = Some(last.clone());
        }
        self.keep_last_of(last_of);
        for slice in &other.recent {
            self.had = self.had.with(recent::keep(&mut self.recent, slice));
        }
        self.had = self.had.with(other.had);
        for happening in &other.happenings {
            self.keep_happening(happening.clone());
        }
        if let Some(stages) = &other.stages {
            self.stages.get_or_insert_default().fold(stages);
        }
        self.seen.fold(&other.seen);
        self.came.fold(&other.came);
        self.set.fold(&other.set);
    }

    /// Lines that are missing between the first and the last.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.seen.missing()
    }

    /// Whether all lines from one to another are there, as far as that is known.
    #[must_use]
    pub fn is_whole(&self, from: Mark, to: Mark) -> bool {
        self.seen.is_whole(from.seq, to.seq)
    }

    /// Whether all lines from one to another are there, but for those of long ago of which that is no longer known.
    #[must_use]
    pub fn has_all(&self, from: Mark, to: Mark) -> bool {
        self.seen.has_all(from.seq, to.seq)
    }

    /// Whether lines right before the last one are missing.
    #[must_use]
    pub fn is_broken_at_the_end(&self) -> bool {
        self.last.seq.checked_sub(1).is_some_and(|before| self.lines > 1 && !self.seen.has(before))
    }

    /// Whether lines from this one on to the last are missing.
    #[must_use]
    pub fn is_broken_since(&self, mark: Mark) -> bool {
        !self.seen.has_all(mark.seq, self.last.seq)
    }

    /// The lines of it that are kept by their times, in the order of their numbers.
    #[must_use]
    pub fn marks(&self) -> Vec<Mark> {
        let slices = self.recent.iter().chain(self.whole.as_deref()).chain(self.last_sample.as_deref());
        let ends = slices.flat_map(|slice| [slice.first, slice.mark]).chain([self.first, self.last]);
        let mut marks: Vec<Mark> = ends.chain(self.happenings.iter().map(|one| one.mark)).collect();
        marks.sort_by_key(|mark| mark.seq);
        marks.dedup_by_key(|mark| mark.seq);
        marks
    }

    /// Whether it ever saw the CI runner's own process.
    #[must_use]
    pub fn saw_agent(&self) -> bool {
        let is_agent = |one: &Happening| matches!(one.what, What::Agent { .. });
        self.whole.as_ref().is_some_and(|whole| whole.high(High::AgentWait).is_some())
            || self.last_sample.as_ref().is_some_and(|last| last.last(Last::AgentState).is_some())
            || self.happenings.iter().any(is_agent)
    }

    /// Notes a line; `false` when it was there before.
    fn note(&mut self, mark: Mark) -> bool {
        self.is_new = true;
        if !self.seen.note(mark.seq) {
            self.repeats = self.repeats.saturating_add(1);
            return false;
        }
        self.lines += 1;
        self.widen(mark);
        true
    }

    fn widen(&mut self, mark: Mark) {
        if mark.seq < self.first.seq {
            self.first = mark;
        }
        if mark.seq > self.last.seq {
            self.last = mark;
        }
    }
}

#[cfg(test)]
mod tests;
