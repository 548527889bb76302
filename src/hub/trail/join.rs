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

/// Which of the runs of one name a file's lines are of.
#[derive(Clone, Debug, Default)]
pub(super) struct Twins {
    by_file: HashMap<(RunId, u32), u16>,
    /// That of the latest line: the next is likely of the same.
    latest: Option<((RunId, u32), u16)>,
}

impl Twins {
    /// The run of a line that nobody's name is with: that of its file, else the first that it fits.
    pub(super) fn of(&mut self, run: RunId, mark: Mark, life: impl Fn(u16) -> Option<bool>) -> u16 {
        let at = (run, mark.place.source);
        if let Some((latest, twin)) = self.latest
            && latest == at
        {
            return twin;
        }
        let first = || (0..u16::MAX).find(|twin| life(*twin) != Some(false)).unwrap_or_default();
        let twin = *self.by_file.entry(at).or_insert_with(first);
        self.latest = Some((at, twin));
        twin
    }

    /// The run that such a line of this place was taken for.
    pub(super) fn known(&self, run: RunId, place: Place) -> u16 {
        self.by_file.get(&(run, place.source)).copied().unwrap_or_default()
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
    let mut named: HashMap<(Origin, RunId), Vec<Writer>> = HashMap::new();
    for writer in book.lives.keys().filter(|writer| writer.name != 0) {
        named.entry((writer.origin, writer.run)).or_default().push(*writer);
    }
    let unnamed: Vec<Writer> = book.lives.keys().filter(|writer| writer.name == 0).copied().collect();
    for writer in unnamed {
        let Some(owners) = named.get(&(writer.origin, writer.run)) else { continue };
        let Some(owner) = owner(book, owners, writer) else { continue };
        if let Some(life) = book.lives.remove(&writer)
            && let Some(own) = book.lives.get_mut(&owner)
        {
            own.fold(&life);
            own.unnamed.push(writer.twin);
        }
    }
}

/// The only run with this name whose lines these are: by its Pod, by its file, or because they fit.
fn owner(book: &Book, owners: &[Writer], writer: Writer) -> Option<Writer> {
    let life = book.lives.get(&writer)?;
    let only = |is_one: &dyn Fn(&Life) -> bool| {
        let mut found = owners.iter().filter(|owner| book.lives.get(owner).is_some_and(|own| is_one(own)));
        found.next().copied().filter(|_| found.next().is_none())
    };
    if writer.origin != Origin::default() {
        return only(&|_| true);
    }
    let files = |life: &Life| [life.first.place.source, life.last.place.source];
    only(&|own| files(own).iter().any(|file| files(life).contains(file))).or_else(|| only(&|own| fits(own, life.first)))
}

#[cfg(test)]
mod tests {
    use super::super::book::Book;
    use super::super::read;
    use super::super::runners::Runner;

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
        let repeats = |runner: &Runner| runner.runs.iter().map(|(_, life)| life.repeats).sum();
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
