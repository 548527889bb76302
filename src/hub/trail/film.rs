//! The lines of a few chosen runs once more, for drawing.
//!
//! What is kept of every run ([`super::life`]) says what happened and is too little to draw. So who draws chooses runs when all is
//! read, and the sources are read a second time ([`super::Book::again`]): by then it is known where a run begins and ends,
//! and each reading goes straight into its column of a fixed number ([`view`]), which keeps the lowest, the highest, the first
//! and the last. That is exact about extremes, the same in any order, and bounded: at most [`REEL_BYTES`] for a run of any length.

pub mod column;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;

use crate::line::{Line, MAX_LINE_BYTES, field};

use super::about::About;
use super::book::Writer;
use super::life::Life;
use super::possible;
use super::seen::SeenSeqs;
use super::slice::{Mark, Place};
use column::COLUMN_BYTES;
use view::{Axis, COLUMNS, TRACKS, View};

/// How many of a run's last lines are kept as they are.
pub const LAST_LINES: usize = 40;

/// On how many axes a run is kept at most: all of it, and its end.
const VIEWS: usize = 2;

/// The most that is kept of a run, less its cited lines, which a verdict has few of.
pub const REEL_BYTES: usize = VIEWS * TRACKS * COLUMNS * COLUMN_BYTES + LAST_LINES * MAX_LINE_BYTES;

/// The chosen runs.
#[derive(Clone, Debug, Default)]
pub struct Film {
    /// In the order in which they were chosen.
    pub reels: Vec<Reel>,
}

/// What is kept of one run.
#[derive(Clone, Debug)]
pub struct Reel {
    writer: Writer,
    unnamed: Box<[u16]>,
    about: Option<Box<About>>,
    /// Lines that came, each once.
    pub lines: u64,
    /// The run on each of its axes.
    pub views: Vec<View>,
    /// The path that `disk.used.pct` is of, by the last line that names one.
    pub disk_path: Option<Box<str>>,
    disk_path_seq: u64,
    seen: SeenSeqs,
    cited: BTreeSet<u64>,
    cited_lines: BTreeMap<u64, Raw>,
    last_lines: BTreeMap<u64, Raw>,
}

/// A line as it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Where.
    pub place: Place,
    /// The line, without what stood before its tag.
    pub text: Box<str>,
    /// It is an event.
    pub is_event: bool,
    /// It is among those that were asked for by their number.
    pub is_cited: bool,
}

impl Film {
    /// Whether a line can be of a chosen run: quick, and never wrongly no.
    pub(super) fn can_be(&self, text: &str) -> bool {
        let is_of = |reel: &Reel| memmem::find(text.as_bytes(), reel.writer.run.as_str().as_bytes()).is_some();
        // With an escape it need not stand there as it is.
        text.contains('\\') || self.reels.iter().any(is_of)
    }

    /// Takes a line of anybody's.
    pub(super) fn take(&mut self, writer: Writer, place: Place, text: &str, line: &Line<'_>) {
        if let Some(reel) = self.reels.iter_mut().find(|reel| reel.is_of(writer)) {
            reel.take(place, text, line);
        }
    }
}

impl Reel {
    /// For a run: the axes it is drawn on, at most two, and the lines to be kept as they are.
    #[must_use]
    pub fn new(life: &Life, axes: &[Axis], cited: impl IntoIterator<Item = u64>) -> Self {
        Self {
            writer: life.writer,
            unnamed: life.unnamed.clone(),
            about: life.about.clone(),
            lines: 0,
            views: axes.iter().take(VIEWS).copied().map(View::new).collect(),
            disk_path: None,
            disk_path_seq: 0,
            seen: SeenSeqs::default(),
            cited: cited.into_iter().collect(),
            cited_lines: BTreeMap::new(),
            last_lines: BTreeMap::new(),
        }
    }

    /// The last lines and the cited ones, in their order.
    #[must_use]
    pub fn raw_lines(&self) -> BTreeMap<u64, &Raw> {
        self.last_lines.iter().chain(&self.cited_lines).map(|(seq, raw)| (*seq, raw)).collect()
    }

    fn is_of(&self, writer: Writer) -> bool {
        let is_unnamed = writer.name == 0 && self.unnamed.contains(&writer.twin);
        writer == self.writer || is_unnamed && (writer.origin, writer.run) == (self.writer.origin, self.writer.run)
    }

    fn take(&mut self, place: Place, text: &str, line: &Line<'_>) {
        if !self.seen.note(line.seq) {
            return;
        }
        self.lines += 1;
        self.keep_raw(place, text, line);
        let mark = Mark::new(line.seq, super::book::at_ms(line), place);
        if !self.is_older(line) && possible::of(line).is_none() {
            for view in &mut self.views {
                view.take(mark, line);
            }
        }
        if let Some(path) = line.text(field::DISK_PATH)
            && line.event.is_none()
            && line.seq >= self.disk_path_seq
        {
            (self.disk_path, self.disk_path_seq) = (Some(path.into()), line.seq);
        }
    }

    /// Whether a line tells what the kernel had said before the run began.
    fn is_older(&self, line: &Line<'_>) -> bool {
        let kernel_ms = line.scaled(field::KTS).map(|seconds| seconds.saturating_mul(1000));
        let is_of_run = self.about.as_ref().zip(kernel_ms).and_then(|(about, ms)| about.is_of_run(ms));
        is_of_run == Some(false) || line.scaled(field::OLD) == Some(1)
    }

    fn keep_raw(&mut self, place: Place, text: &str, line: &Line<'_>) {
        let is_cited = self.cited.contains(&line.seq);
        let raw = || Raw { place, text: text.into(), is_event: line.event.is_some(), is_cited };
        if is_cited {
            self.cited_lines.insert(line.seq, raw());
        }
        let is_late = self.last_lines.first_key_value().is_none_or(|(first, _)| *first < line.seq);
        if is_late || self.last_lines.len() < LAST_LINES {
            self.last_lines.insert(line.seq, raw());
        }
        if self.last_lines.len() > LAST_LINES {
            self.last_lines.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Book;
    use super::super::read::read;
    use super::view::{Lane, Scale, Track};
    use super::*;

    /// The run of the runner `own` in a text, or of the only one, on one axis.
    fn reel(text: &str, cited: &[u64]) -> Reel {
        let (runners, told) = once(Book::default(), text).into_runners();
        let own = runners.iter().find(|runner| runner.name == "own").unwrap_or(&runners[0]);
        let (_, life) = &own.runs[own.together().runs[0]];
        let time = |mark: Mark| mark.at_ms().unwrap();
        let axis = Axis { scale: Scale::Time, from: time(life.first), to: time(life.last) + 1 };
        let reel = Reel::new(life, &[axis], cited.iter().copied());
        once(Book::again(&told, Film { reels: vec![reel] }), text).into_film().reels.remove(0)
    }

    fn once(mut book: Book, text: &str) -> Book {
        let source = book.source("log");
        read(text.as_bytes(), source, &mut book).unwrap();
        book
    }

    fn line(seq: u64, rest: &str) -> String {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_780_000_000 + seq);
        format!("RUNNER_VITALS ts={} run=k3x9 seq={seq} {rest}\n", humantime::format_rfc3339_millis(at))
    }

    #[test]
    fn a_reel_is_the_same_in_any_order_and_with_repeats() {
        let sample = |seq: u64| {
            line(seq, &format!("vm.mem.total.kb=900 vm.mem.avail.kb={} cpu.busy.pct={}.5", seq * 7 % 500, seq % 100))
        };
        let lines: Vec<String> = (1..3000)
            .map(|seq| if seq % 50 == 0 { line(seq, "event=oom source=own delta=1") } else { sample(seq) })
            .collect();
        let forth = reel(&lines.concat(), &[5]);
        let back: String = lines.iter().rev().chain(&lines).map(String::as_str).collect();
        let back = reel(&back, &[5]);
        assert_eq!((forth.views.clone(), forth.lines), (back.views, back.lines));
        let view = &forth.views[0];
        assert_eq!(view.lane(Lane::Oom).map(|marks| marks.count).sum::<u32>(), 59);
        let used = view.track(Track::GuestUsed);
        assert_eq!(
            used.map(|column| (column.low, column.high)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))),
            Some((401, 899))
        );
        let kept: Vec<u64> = forth.raw_lines().into_keys().collect();
        assert_eq!((kept.len(), kept[0], kept[1]), (LAST_LINES + 1, 5, 2960));
    }

    #[test]
    fn a_reel_is_of_its_run_alone() {
        let other = line(4, "cpu.busy.pct=99.0").replace("run=k3x9", "run=k3x8");
        let said = line(5, "cpu.busy.pct=98.0 runner.name=other");
        let own = line(1, "event=start runner.name=own") + &line(2, "cpu.busy.pct=1.0") + &line(3, "cpu.busy.pct=2.0");
        // Lines of the run without a name are of the only one that names itself; a second name leaves them to nobody.
        assert_eq!(reel(&(own.clone() + &other), &[]).lines, 3);
        let reel = reel(&(said + &own), &[]);
        assert_eq!(reel.lines, 1);
    }

    #[test]
    fn what_is_kept_of_a_run_is_bounded() {
        let all: String = (1..5000)
            .map(|seq| {
                line(
                    seq,
                    &format!(
                        "vm.mem.total.kb=9 vm.mem.avail.kb=1 mem.max=1 mem.current=1 disk.path={}",
                        "x".repeat(64)
                    ),
                )
            })
            .collect();
        let reel = reel(&all, &[]);
        let texts: usize = reel.raw_lines().values().map(|raw| raw.text.len()).sum();
        assert!(reel.raw_lines().len() == LAST_LINES && texts < LAST_LINES * MAX_LINE_BYTES);
        assert!(reel.views[0].track(Track::GuestUsed).count() <= COLUMNS);
        const { assert!(REEL_BYTES < 3 << 19, "12 of them stay below 20 MiB") };
    }
}
