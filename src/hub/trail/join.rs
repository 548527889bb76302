//! Lines of one run that stand in several files, and lines of several runners whose runs have one name.
//!
//! A run has four characters, so of some thousand two have the same. Under the name of a runner or a Pod, and within a file, it is
//! one run; in another file it is the same run where its lines fit: logs are rotated, and given twice.

use std::collections::HashMap;

use crate::line::RunId;

use super::book::{Book, Origin, Writer};
use super::life::Life;
use super::slice::{Mark, Place};

/// Clocks are set, and guests stand still: two lines can be so much further apart than their numbers say, ms.
const CLOCKS_MS: i64 = 600_000;

/// The time between two lines where the run does not say it, ms.
const INTERVAL_MS: i64 = 5000;

/// With so many runs of one name, the latest met, a line of another file is compared: more are made up, and each line would be
/// compared with all.
const TRIED: u16 = 32;

/// Which of the runs of one name a file's lines are of.
#[derive(Clone, Debug, Default)]
pub(super) struct Twins {
    by_file: HashMap<(RunId, u32), u16>,
    /// How many there are.
    count: HashMap<RunId, u16>,
    /// That of the latest line: the next is likely of the same.
    latest: Option<((RunId, u32), u16)>,
}

impl Twins {
    /// The run of a line that nobody's name is with: that of its file, else the first that it fits.
    pub(super) fn of(&mut self, run: RunId, mark: Mark, fits: impl Fn(u16) -> bool) -> u16 {
        let at = (run, mark.place.source);
        if let Some((latest, twin)) = self.latest
            && latest == at
        {
            return twin;
        }
        let count = self.count.entry(run).or_default();
        let twin = *self.by_file.entry(at).or_insert_with(|| {
            let known = (count.saturating_sub(TRIED)..*count).find(|twin| fits(*twin));
            known.unwrap_or_else(|| {
                let new = *count;
                *count = count.saturating_add(1);
                new
            })
        });
        self.latest = Some((at, twin));
        twin
    }

    /// The run that such a line of this place was taken for.
    pub(super) fn known(&self, run: RunId, place: Place) -> Option<u16> {
        self.by_file.get(&(run, place.source)).copied()
    }
}

/// Whether a line can be of this run: its time is in the order of its number, and no further away than that.
pub(super) fn fits(life: &Life, mark: Mark) -> bool {
    let interval_ms = life.interval_ms().unwrap_or(INTERVAL_MS).max(INTERVAL_MS);
    let follows = |earlier: Mark, later: Mark| {
        let Some((from, to)) = earlier.at_ms().zip(later.at_ms()) else { return true };
        let numbers = later.seq - earlier.seq;
        let most = i64::try_from(numbers).unwrap_or(i64::MAX).saturating_mul(interval_ms).saturating_add(CLOCKS_MS);
        // The same line has the same time.
        if numbers == 0 { from == to } else { (-CLOCKS_MS..=most).contains(&to.saturating_sub(from)) }
    };
    if mark.seq <= life.first.seq {
        follows(mark, life.first)
    } else if mark.seq >= life.last.seq {
        follows(life.last, mark)
    } else {
        follows(life.first, mark) && follows(mark, life.last)
    }
}

/// Gives lines without a name to the run that names itself: its `start` line does.
pub(super) fn adopt(book: &mut Book) {
    let mut unnamed: Vec<Writer> = book.lives.keys().filter(|writer| writer.name == 0).copied().collect();
    if unnamed.is_empty() {
        return;
    }
    let owners = Owners::of(book);
    unnamed.sort_by_key(|writer| writer.twin);
    let mut adopted: HashMap<Writer, Vec<u16>> = HashMap::new();
    for writer in unnamed {
        let Some(owner) = owners.find(book, writer) else { continue };
        if let Some(life) = book.lives.remove(&writer)
            && let Some(own) = book.lives.get_mut(&owner)
        {
            own.change(|own| own.fold(&life.life()));
            adopted.entry(owner).or_default().push(writer.twin);
        }
    }
    for (owner, twins) in adopted {
        if let Some(own) = book.lives.get_mut(&owner) {
            own.change(|own| own.unnamed = twins.into());
        }
    }
}

/// The runs that name themselves.
#[derive(Default)]
struct Owners {
    by_run: HashMap<(Origin, RunId), Vec<Writer>>,
    /// Those of no origin by a file that they stand in; `None` where several of one run do.
    by_file: HashMap<(RunId, u32), Option<Writer>>,
}

impl Owners {
    fn of(book: &Book) -> Self {
        let mut owners = Self::default();
        for (writer, kept) in book.lives.iter().filter(|(writer, _)| writer.name != 0) {
            owners.by_run.entry((writer.origin, writer.run)).or_default().push(*writer);
            if writer.origin == Origin::default() {
                for file in files(&kept.life()) {
                    let only = owners.by_file.entry((writer.run, file)).or_insert(Some(*writer));
                    *only = only.filter(|only| only == writer);
                }
            }
        }
        owners
    }

    /// The only run with this name whose lines these are: by its Pod, by its file, or because they fit.
    fn find(&self, book: &Book, writer: Writer) -> Option<Writer> {
        let life = book.lives.get(&writer)?.life();
        let all = self.by_run.get(&(writer.origin, writer.run))?;
        if let [only] = all.as_slice()
            && writer.origin != Origin::default()
        {
            return Some(*only);
        }
        if writer.origin != Origin::default() {
            return None;
        }
        self.of_files(writer.run, files(&life)).or_else(|| {
            // Of so many it would be chance that only one fits.
            let tried = Some(all).filter(|all| all.len() <= usize::from(TRIED))?;
            let mut fit =
                tried.iter().filter(|own| book.lives.get(own).is_some_and(|own| fits(&own.life(), life.first)));
            fit.next().copied().filter(|_| fit.next().is_none())
        })
    }

    /// The only one that stands in one of these files.
    fn of_files(&self, run: RunId, files: [u32; 2]) -> Option<Writer> {
        let mut found = None;
        for only in files.iter().filter_map(|file| self.by_file.get(&(run, *file))) {
            let only = (*only)?;
            if found.is_some_and(|found| found != only) {
                return None;
            }
            found = Some(only);
        }
        found
    }
}

/// Where its first and its last line stand.
fn files(life: &Life) -> [u32; 2] {
    [life.first.place.source, life.last.place.source]
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::book::Book;
    use super::super::read;
    use super::super::runners::Runner;
    use super::*;

    /// A line each five seconds.
    fn lines(run: &str, seqs: std::ops::RangeInclusive<u64>, began_s: u64, first: &str) -> String {
        let line = |seq: u64| {
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(began_s + seq * 5);
            let at = humantime::format_rfc3339_millis(at);
            let more = if seq == 1 { first } else { "cpu.busy.pct=1.0" };
            format!("RUNNER_VITALS ts={at} run={run} seq={seq} {more}\n")
        };
        seqs.map(line).collect()
    }

    fn runners(files: &[(&str, String)]) -> Vec<(String, u64, u64)> {
        let mut book = Book::default();
        for (name, text) in files {
            let source = book.source(name);
            read::read(text.as_bytes(), source, &mut book).unwrap();
        }
        let lines = |runner: &Runner| runner.runs.iter().map(|(_, life)| life.lines).sum();
        let repeats = |runner: &Runner| runner.runs.iter().map(|(_, life)| u64::from(life.repeats)).sum();
        book.into_runners().0.iter().map(|runner| (runner.name.clone(), lines(runner), repeats(runner))).collect()
    }

    fn told(runners: &[(String, u64, u64)]) -> Vec<(&str, u64, u64)> {
        runners.iter().map(|(name, lines, repeats)| (name.as_str(), *lines, *repeats)).collect()
    }

    #[test]
    fn runs_of_one_name_in_two_files_are_two() {
        let (a, b) = (lines("k3x9", 1..=50, 1000, ""), lines("k3x9", 1..=40, 900_000, ""));
        assert_eq!(told(&runners(&[("a.log", a.clone()), ("b.log", b.clone())])), [("a", 50, 0), ("b", 40, 0)]);
        let start = |name: &str| format!("event=start runner.name={name} boot.id={name}");
        let (a, b) = (lines("k3x9", 1..=50, 1000, &start("r-1")), lines("k3x9", 1..=40, 900_000, &start("r-2")));
        assert_eq!(told(&runners(&[("a.log", a), ("b.log", b)])), [("r-1", 50, 0), ("r-2", 40, 0)]);
    }

    /// Of two thousand files with runs of one name each line is compared with a few.
    #[test]
    fn a_line_is_compared_with_few_runs_of_its_name() {
        let (mut twins, run) = (Twins::default(), RunId::from_random(7));
        let compared = Cell::new(0_usize);
        for source in 0..2000 {
            let twin = twins.of(run, Mark::new(1, None, Place { source, line: 1 }), |_| {
                compared.set(compared.get() + 1);
                false
            });
            assert_eq!(u32::from(twin), source);
        }
        assert!(compared.get() <= 2000 * usize::from(TRIED), "{}", compared.get());
        // The latest are those that a rotated log goes on from.
        let place = Place { source: 2000, line: 1 };
        assert_eq!(twins.of(run, Mark::new(1, None, place), |twin| twin == 1999), 1999);
        assert_eq!(twins.known(run, place), Some(1999));
    }

    #[test]
    fn of_many_runs_of_a_name_each_has_the_lines_of_its_file() {
        let file = |nth: u64| {
            let start = format!("event=start runner.name=r-{nth:02}");
            (format!("{nth}.log"), lines("k3x9", 1..=20, 1_000_000 * (nth + 1), &start))
        };
        for (nth, count) in [(39, 40), (0, 41)] {
            let mut files: Vec<(String, String)> = (0..40).map(file).collect();
            // The rest of a rotated log: that of the latest is found, that of the first of so many is nobody's.
            files.push(("more.log".to_owned(), lines("k3x9", 21..=40, 1_000_000 * (nth + 1), "")));
            let files: Vec<(&str, String)> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
            let all = runners(&files);
            assert_eq!(all.len(), count, "{all:?}");
            let is_right = |lines: u64| lines == 20 || lines == 40 && count == 40;
            assert!(all.iter().all(|(_, lines, repeats)| *repeats == 0 && is_right(*lines)), "{all:?}");
        }
    }

    #[test]
    fn a_log_that_was_rotated_or_is_there_twice_is_one_run() {
        let whole = lines("k3x9", 1..=60, 1000, "");
        let (one, two) = (lines("k3x9", 1..=30, 1000, ""), lines("k3x9", 31..=60, 1000, ""));
        for (files, repeats) in [
            (vec![("a.log.1", one.clone()), ("a.log", two.clone())], 0),
            (vec![("a.log", two.clone()), ("a.log.1", one.clone())], 0),
            (vec![("a", whole.clone()), ("b", whole.clone())], 60),
            (vec![("a", whole.clone()), ("b", two.clone())], 30),
            (vec![("a", lines("k3x9", 1..=45, 1000, "")), ("b", two.clone())], 15),
        ] {
            let found = runners(&files);
            assert_eq!((found.len(), found[0].1, found[0].2), (1, 60, repeats), "{files:?}");
        }
        let one = lines("k3x9", 1..=30, 1000, "event=start runner.name=r-1");
        assert_eq!(told(&runners(&[("a.log.1", one), ("a.log", two)])), [("r-1", 60, 0)]);
    }
}
