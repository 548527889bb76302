//! What is kept of one run: bounded, and the same in whatever order its lines come.

mod denied;

use serde::{Deserialize, Serialize};

use crate::line::Line;

use super::about::About;
use super::book::Writer;
use super::came::{Came, Set};
use super::happening::{Happening, What};
use super::moved::Moved;
use super::seen::SeenSeqs;
use super::slice::{High, Last, Mark, Slice};
use super::stage::Stages;

/// Samples of so long are folded into one slice.
const SLICE_MS: i64 = 12_000;

/// How many slices are kept, the latest: a minute where samples are close, else as many samples.
const SLICES: usize = 5;

/// The interval of a probe that does not say it, at the least, ms.
const SHORT_MS: i64 = 1000;

/// The counts of kills: of the own cgroup, of its topmost visible ancestor, of the guest.
pub const KILLS: [High; 3] = [High::OomKill, High::TreeOomKill, High::VmOomKill];

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
}

impl Life {
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
        self.keep_kills(KILLS.map(|count| Some(Moved::at(sample.mark, sample.high(count)?))), sample.mark);
        match &mut self.whole {
            Some(whole) => whole.fold(sample),
            None => self.whole = Some(Box::new(*sample)),
        }
        if self.last_sample.as_ref().is_none_or(|last| last.mark.seq < sample.mark.seq) {
            self.last_sample = Some(Box::new(*sample));
        }
        keep_recent(&mut self.recent, sample);
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
        if let Some(last) = &other.last_sample {
            self.keep_kills(other.kills, last.mark);
        }
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
        for slice in &other.recent {
            keep_recent(&mut self.recent, slice);
        }
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

    /// The time between two due samples; estimated where neither `start` nor `about` is there.
    #[must_use]
    pub fn interval_ms(&self) -> Option<i64> {
        let told = self.about.as_ref().and_then(|about| about.interval_ms);
        told.or_else(|| {
            let whole = self.whole.as_ref()?;
            let due = i64::from(whole.samples.saturating_sub(whole.bursts)) - 1;
            let span = whole.mark.at_ms()?.saturating_sub(whole.first.at_ms()?);
            (due > 0 && span > 0).then(|| span / due)
        })
    }

    /// From when to when its lines came by the clock of who logged them, milliseconds since 1970. `None` where that is not known, where
    /// they are hardly any samples, or where they came much closer together than they were taken: all at once, some time later.
    #[must_use]
    pub fn logged_ms(&self) -> Option<(i64, i64)> {
        let (first, last) = self.came.span_ms(self.last_sample.as_ref()?.mark)?;
        let whole = self.whole.as_ref()?;
        let due = i64::from(whole.samples.saturating_sub(whole.bursts)) - 1;
        let interval_ms = self.about.as_ref().and_then(|about| about.interval_ms).unwrap_or(SHORT_MS);
        let is_as_taken = last.saturating_sub(first) >= due.saturating_mul(interval_ms) / 2;
        (due > 0 && is_as_taken).then_some((first, last))
    }

    /// By how much the guest's clock was ahead of that clock at the end, ms; `None` where it is not known.
    #[must_use]
    pub fn ahead_ms(&self) -> Option<i64> {
        self.logged_ms()?;
        self.came.ahead_ms()
    }

    /// When a line was written by the clock of who logged the last ones, where that is known; else by the guest's.
    #[must_use]
    pub fn logged_at_ms(&self, mark: Mark) -> Option<i64> {
        match mark.at_ms() {
            Some(at) => Some(at.saturating_sub(self.ahead_ms().unwrap_or(0))),
            None => self.logged_ms().filter(|_| mark.seq >= self.last.seq).map(|(_, last)| last),
        }
    }

    /// By how much the guest's clock was set between two lines, ms.
    #[must_use]
    pub fn set_ms(&self, from: Mark, to: Mark) -> i64 {
        self.set.between_ms(from, to)
    }

    /// From its first line to its last, milliseconds since 1970; `None` without a sample or without a clock.
    #[must_use]
    pub fn span_ms(&self) -> Option<(i64, i64)> {
        self.whole.as_ref().and_then(|_| self.first.at_ms().zip(self.last.at_ms()))
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

    /// Takes when the counts of kills moved in other samples, of which this is the last.
    fn keep_kills(&mut self, others: [Option<Moved>; KILLS.len()], others_last: Mark) {
        for (own, other) in self.kills.iter_mut().zip(others) {
            *own = match (*own, other, &self.last_sample) {
                (Some(own), Some(other), Some(last)) => Some(own.with(other, last.mark, others_last)),
                (own, other, _) => own.or(other),
            };
        }
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

/// Folds a sample, or what is already folded, into the slice of its time; the oldest slice gives way.
///
/// Slices are in the order of the lines and not of the clock, which can jump.
fn keep_recent(recent: &mut Vec<Slice>, new: &Slice) {
    let time = |slice: &Slice| match slice.mark.at_ms() {
        Some(at) => (true, at.div_euclid(SLICE_MS)),
        // Without a clock some lines are a slice.
        None => (false, i64::try_from(slice.mark.seq / 8).unwrap_or(i64::MAX)),
    };
    // The usual: it is the next of the latest.
    if let Some(last) = recent.last_mut().filter(|last| time(last) == time(new) && last.mark.seq < new.mark.seq) {
        return last.fold(new);
    }
    match recent.iter().position(|slice| time(slice) == time(new)) {
        Some(at) => {
            if let Some(slice) = recent.get_mut(at) {
                slice.fold(new);
            }
        }
        None => {
            recent.reserve_exact(1);
            recent.push(*new);
        }
    }
    recent.sort_by_key(|slice| slice.mark.seq);
    if recent.len() > SLICES {
        recent.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::super::about::OfMember;
    use super::super::book::Book;
    use super::super::slice::Place;
    use super::*;

    /// 4 KiB, and of the 64 MiB that all may use besides the part of one in a hundred thousand.
    const BOUND: usize = (4 << 10) + (64 << 20) / 100_000;

    /// What a run holds.
    fn bytes(life: &Life) -> usize {
        // What stands between quotes.
        let texts = |all: String| all.split('"').skip(1).step_by(2).map(str::len).sum::<usize>();
        let slices =
            life.recent.capacity() + usize::from(life.whole.is_some()) + usize::from(life.last_sample.is_some());
        size_of::<Life>()
            + slices * size_of::<Slice>()
            + life.happenings.capacity() * size_of::<Happening>()
            + life
                .about
                .as_ref()
                .map_or(0, |about| size_of::<About>() + about.member.as_ref().map_or(0, |_| size_of::<OfMember>()))
            + texts(format!("{:?} {:?}", life.about, life.happenings))
    }

    /// With some of everything that is ever kept; who dies of one thing has a third of the events.
    #[test]
    fn a_run_of_any_length_is_kept_in_bounded_room() {
        let mut book = Book::default();
        let mut seq = 0;
        let mut take = |rest: &str| {
            seq += 1;
            let at = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seq));
            let line = format!("RUNNER_VITALS ts={at} run=k3x9 seq={seq} {rest}");
            book.take(line.as_bytes(), Default::default(), Place::default());
        };
        take(
            "event=start boot.id=fde637d9-fe92-4fa8-a3de-c055e757ace2 interval.ms=1000 cgroup.path=/kubepods/burstable/pod1/x",
        );
        for _ in 0..200 {
            take("vm.mem.avail.kb=1 cpu.busy.pct=1.0");
            for event in [
                "kmsg.oom victim.comm=node cgroup=/kubepods/pod1",
                "oom source=own delta=1",
                "oom source=tree delta=1",
                "oom source=vm delta=1",
                "top rank=1 comm=x rss.kb=1",
            ] {
                take(&format!("event={event}"));
            }
            for event in [
                "agent role=agent state=waited",
                "agent state=vanished",
                "pressure resource=cpu kind=psi",
                "disk path=/",
            ] {
                take(&format!("event={event}"));
            }
            for event in [
                "kmsg.io dev=vda msg=x",
                "kmsg.segv msg=x",
                "kmsg.panic msg=x",
                "kmsg.balloon msg=x",
                "gap kind=unknown ms=1",
                "degraded what=sink.http error=y",
                "stop reason=sigterm",
                "phase phase=ended",
            ] {
                take(&format!("event={event}"));
            }
        }
        let (runners, _) = book.into_runners();
        let life = &runners[0].runs[0].1;
        assert_eq!((life.recent.len(), life.happenings.len(), life.lines), (SLICES, 27, 3601));
        assert!(
            bytes(life) <= BOUND,
            "{} bytes: {} a slice, {} a happening",
            bytes(life),
            size_of::<Slice>(),
            size_of::<Happening>()
        );
    }

    /// Every text of every line is as long as a line can be: 10 KiB a run, so that 10,000 of them keep to 4 KiB each and 64 MiB.
    #[test]
    fn no_text_of_a_line_is_kept_longer_than_its_field_allows() {
        let mut book = Book::default();
        let mut seq = 0;
        let mut take = |rest: &str| {
            seq += 1;
            let line = format!("RUNNER_VITALS ts= run=k3x9 seq={seq} {rest} runner.name=r");
            book.take(line.as_bytes(), Default::default(), Place::default());
        };
        let long = "x".repeat(3800);
        for of in ["boot.id", "runner.fleet", "mem.level", "psi", "kmsg", "cgroup.path", "cpu.quota"] {
            take(&format!("event=start {of}={long}"));
        }
        for event in [
            "kmsg.oom victim.comm=node cgroup=",
            "kmsg.oom cgroup=/x victim.comm=",
            "top rank=1 rss.kb=1 comm=",
            "agent state=vanished comm=",
            "agent state=waited comm=",
            "pressure kind=psi resource=",
            "pressure resource=cpu kind=",
            "disk path=",
            "gap ms=1 kind=",
            "kmsg.io msg=x dev=",
            "kmsg.segv comm=x msg=",
            "kmsg.panic msg=",
            "kmsg.balloon msg=",
            "degraded what=sink.http error=",
            "degraded error=x what=sink.",
            "stop reason=",
            "phase phase=",
        ] {
            for _ in 0..3 {
                take(&format!("event={event}{long}"));
            }
        }
        assert_eq!(book.counts.broken, 0);
        let (runners, _) = book.into_runners();
        let life = &runners[0].runs[0].1;
        assert!(bytes(life) <= 10 << 10, "{} bytes", bytes(life));
    }

    #[test]
    fn a_name_is_kept_as_long_as_one_can_be() {
        let mut book = Book::default();
        let long = "x".repeat(3800);
        assert_eq!(book.origin(Some(&long)), Default::default(), "no Pod is called so");
        assert_ne!(book.origin(Some(&"x".repeat(253))), Default::default());
        book.take(
            format!("RUNNER_VITALS ts= run=k3x9 seq=1 load1=0.10 runner.name={long}").as_bytes(),
            Default::default(),
            Place::default(),
        );
        book.take(
            format!("RUNNER_VITALS ts= run=k3x9 seq=2 event=about runner.name={long}").as_bytes(),
            Default::default(),
            Place::default(),
        );
        assert_eq!(book.counts.broken, 0, "{:?}", book.broken);
        let (runners, _) = book.into_runners();
        assert_eq!((runners.len(), runners[0].name.len()), (1, 253));
        assert_eq!((runners[0].runs[0].1.lines, runners[0].runs.len()), (2, 1), "{:?}", runners[0].runs);
    }
}
