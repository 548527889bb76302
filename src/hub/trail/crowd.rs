//! No more runs under one name than a runner can have: a name that is given to one guest after another, or a guest that makes up runs,
//! would fill the memory.
//!
//! Kept are the latest with samples, of which the end is told, and the latest of those without, which scripts write. Lines of a run that
//! came without its name, as most do where its `start` line alone has it, stay and go with it. Runs that nobody names have no bound but
//! their number: each is a runner.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::book::{Origin, Writer};
use super::kept::Kept;
use crate::line::RunId;

/// How many runs of a name are kept, with samples and without.
const RUNS: usize = 64;

/// The runs under each name, and of each origin those without one.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    by_name: HashMap<(Origin, u32), Crowd>,
    /// How often a run within an origin says a name: its lines without one stay and go with it.
    named: HashMap<(Origin, RunId), u32>,
}

#[derive(Debug, Default)]
struct Crowd {
    writers: Vec<Writer>,
    /// With so many it is looked at again.
    full_at: usize,
    left_out: u64,
}

impl Crowds {
    /// Takes a run that was not there; says which are to go.
    pub(super) fn take(
        &mut self,
        writer: Writer,
        lives: &HashMap<Writer, Kept>,
        unnamed: impl Fn(Writer) -> Option<Writer>,
    ) -> Vec<Writer> {
        let key = (writer.origin, writer.name);
        if key == (Origin::default(), 0) {
            return Vec::new();
        }
        let Self { by_name, named } = self;
        let crowd = by_name.entry(key).or_default();
        let is_full = crowd.writers.len() >= crowd.full_at.max(4 * RUNS);
        // What comes now is not judged by its first line.
        let gone = if is_full { crowd.thin_out(lives, unnamed, named) } else { Vec::new() };
        if writer.name != 0 && writer.origin != Origin::default() {
            *named.entry((writer.origin, writer.run)).or_default() += 1;
        }
        // Nearly all names have one.
        if crowd.writers.is_empty() {
            crowd.writers.reserve_exact(1);
        }
        crowd.writers.push(writer);
        gone
    }

    /// What is too many when all is read.
    pub(super) fn rest(
        &mut self,
        lives: &HashMap<Writer, Kept>,
        unnamed: impl Fn(Writer) -> Option<Writer>,
    ) -> Vec<Writer> {
        let Self { by_name, named } = self;
        let full = by_name.values_mut().filter(|crowd| crowd.writers.len() > RUNS);
        full.flat_map(|crowd| crowd.thin_out(lives, &unnamed, named)).collect()
    }

    /// How many runs are left out of those under each name.
    pub(super) fn left_out(&self) -> impl Iterator<Item = (Origin, u32, u64)> {
        let left_out = self.by_name.iter().filter(|(_, crowd)| crowd.left_out > 0);
        left_out.map(|((origin, name), crowd)| (*origin, *name, crowd.left_out))
    }
}

impl Crowd {
    fn thin_out(
        &mut self,
        lives: &HashMap<Writer, Kept>,
        unnamed: impl Fn(Writer) -> Option<Writer>,
        named: &mut HashMap<(Origin, RunId), u32>,
    ) -> Vec<Writer> {
        // Some went with their names.
        self.writers.retain(|writer| lives.contains_key(writer));
        let both = |writer: &Writer| [Some(*writer), unnamed(*writer)].into_iter().flatten();
        let parts = |writer: &Writer| both(writer).filter_map(|writer| lives.get(&writer));
        self.writers.sort_by_cached_key(|writer| {
            let at = parts(writer).filter_map(|kept| kept.life().last.at_ms()).max();
            Reverse((at, writer.run.as_str().to_owned()))
        });
        let (mut with_samples, mut without) = (0, 0);
        let mut gone = Vec::new();
        self.writers.retain(|writer| {
            if writer.name == 0 && named.contains_key(&(writer.origin, writer.run)) {
                return true;
            }
            let has_samples = parts(writer).any(|kept| kept.life().whole.is_some());
            let kept = if has_samples { &mut with_samples } else { &mut without };
            *kept += 1;
            let stays = *kept <= RUNS;
            if !stays {
                self.left_out = self.left_out.saturating_add(1);
                gone.extend(both(writer));
            }
            stays
        });
        for writer in gone.iter().filter(|writer| writer.name != 0) {
            let key = (writer.origin, writer.run);
            if let Some(count) = named.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    named.remove(&key);
                }
            }
        }
        self.full_at = 2 * self.writers.len();
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::super::Book;
    use super::super::slice::Place;
    use super::*;

    fn take(book: &mut Book, nth: u64, seq: u64, rest: &str) {
        take_of(book, Origin::default(), nth, seq, rest);
    }

    fn take_of(book: &mut Book, origin: Origin, nth: u64, seq: u64, rest: &str) {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(nth * 100 + seq);
        let at = humantime::format_rfc3339_millis(at);
        let run: String = [nth / 1000, nth / 100, nth / 10, nth].iter().map(|digit| (digit % 10).to_string()).collect();
        book.take(format!("RUNNER_VITALS ts={at} run={run} seq={seq} {rest}").as_bytes(), origin, Place::default());
    }

    #[test]
    fn of_a_crowd_under_one_name_the_latest_are_kept_and_the_rest_counted() {
        for order in [(0..3000).collect::<Vec<u64>>(), (0..3000).rev().collect()] {
            let mut book = Book::default();
            for nth in order {
                take(&mut book, nth, 1, "load1=0.10 runner.name=r");
                take(&mut book, nth, 2, "load1=0.10 runner.name=r");
                assert!(book.lives.len() <= 4 * RUNS, "{}", book.lives.len());
            }
            let (runners, _) = book.into_runners();
            let [runner] = runners.as_slice() else { panic!("{} runners", runners.len()) };
            assert_eq!((runner.runs.len(), runner.left_out, runner.runs_in_all()), (RUNS, 2936, 3000));
            assert_eq!((runner.runs[0].0.as_str(), runner.runs[63].0.as_str()), ("2936", "2999"));
            assert!(runner.runs.iter().all(|(_, life)| life.lines == 2));
        }
    }

    /// Newest first as well: a run that is let go does not come back with its lines that have no name.
    #[test]
    fn a_crowd_that_says_its_name_in_start_lines_alone_is_bounded() {
        for order in [(0..3000).collect::<Vec<u64>>(), (0..3000).rev().collect()] {
            for pod in [None, Some("pod-1")] {
                let is_back = order[0] > 0;
                let mut book = Book::default();
                let origin = book.origin(pod);
                for nth in &order {
                    let lines = [(1, "event=start runner.name=r"), (2, "load1=0.10"), (3, "load1=0.10")];
                    for at in 0..3 {
                        let (seq, rest) = lines[if is_back { 2 - at } else { at }];
                        take_of(&mut book, origin, *nth, seq, rest);
                    }
                    assert!(book.lives.len() <= 2 * 4 * RUNS + 2, "{}", book.lives.len());
                }
                let (runners, _) = book.into_runners();
                assert_eq!(
                    (runners.len(), runners[0].runs.len(), runners[0].runs_in_all()),
                    (1, RUNS, 3000),
                    "{pod:?}"
                );
                assert_eq!((runners[0].runs[0].0.as_str(), runners[0].runs[63].0.as_str()), ("2936", "2999"));
                assert!(runners[0].runs.iter().all(|(_, life)| life.lines == 3));
            }
        }
    }

    #[test]
    fn a_run_that_says_its_name_once_is_kept_and_so_is_one_with_samples() {
        let mut book = Book::default();
        for nth in 0..300 {
            take(&mut book, nth, 1, "event=start runner.name=r");
            take(&mut book, nth, 2, "load1=0.10");
        }
        let (runners, _) = book.into_runners();
        assert_eq!((runners.len(), runners[0].runs.len(), runners[0].left_out), (1, RUNS, 236), "none is nobody's");
        assert!(runners[0].runs.iter().all(|(_, life)| life.lines == 2));
        // Among what its scripts tell it is the one that dies.
        for pod in [None, Some("pod-1")] {
            let mut book = Book::default();
            let origin = book.origin(pod);
            take_of(&mut book, origin, 0, 1, "event=start runner.name=r");
            take_of(&mut book, origin, 0, 2, "load1=0.10");
            for nth in 1..600 {
                take_of(&mut book, origin, nth, 1, "event=phase phase=ready runner.name=r");
            }
            let (runners, _) = book.into_runners();
            assert_eq!((runners.len(), runners[0].runs.len(), runners[0].left_out), (1, RUNS + 1, 535));
            assert_eq!((runners[0].together().runs, runners[0].runs[0].1.lines), (vec![0], 2));
        }
        let mut book = Book::default();
        take(&mut book, 0, 1, "load1=0.10 runner.name=r");
        for nth in 1..600 {
            take(&mut book, nth, 1, "event=phase phase=ready runner.name=r");
        }
        let (runners, _) = book.into_runners();
        assert_eq!((runners[0].runs.len(), runners[0].left_out), (RUNS + 1, 535));
        assert_eq!(runners[0].together().runs, [0]);
    }
}
