//! No more runs under one name than a runner can have: a name that is given to one guest after another, or a guest that makes up runs,
//! would fill the memory.
//!
//! Kept are the latest with samples, of which the end is told, and the latest of those without, which scripts write. A run of which
//! lines came without its name is kept: nobody would know whose those are.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::book::{Origin, Writer};
use super::life::Life;

/// How many runs of a name are kept, with samples and without.
const RUNS: usize = 64;

/// The runs under each name, and of each origin those without one.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    by_name: HashMap<(Origin, u32), Crowd>,
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
        lives: &HashMap<Writer, Box<Life>>,
        is_needed: impl Fn(Writer) -> bool,
    ) -> Vec<Writer> {
        let key = (writer.origin, writer.name);
        if key == (Origin::default(), 0) {
            return Vec::new();
        }
        let crowd = self.by_name.entry(key).or_default();
        let is_full = crowd.writers.len() >= crowd.full_at.max(4 * RUNS);
        // What comes now is not judged by its first line.
        let gone = if is_full { crowd.thin_out(lives, is_needed) } else { Vec::new() };
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
        lives: &HashMap<Writer, Box<Life>>,
        is_needed: impl Fn(Writer) -> bool,
    ) -> Vec<Writer> {
        let full = self.by_name.values_mut().filter(|crowd| crowd.writers.len() > RUNS);
        full.flat_map(|crowd| crowd.thin_out(lives, &is_needed)).collect()
    }

    /// How many runs are left out of those under each name.
    pub(super) fn left_out(&self) -> impl Iterator<Item = (Origin, u32, u64)> {
        let left_out = self.by_name.iter().filter(|(_, crowd)| crowd.left_out > 0);
        left_out.map(|((origin, name), crowd)| (*origin, *name, crowd.left_out))
    }
}

impl Crowd {
    fn thin_out(&mut self, lives: &HashMap<Writer, Box<Life>>, is_needed: impl Fn(Writer) -> bool) -> Vec<Writer> {
        let life = |writer: &Writer| lives.get(writer);
        self.writers.sort_by_cached_key(|writer| {
            let at = life(writer).and_then(|life| life.last.at_ms());
            Reverse((at, writer.run.as_str().to_owned()))
        });
        let (mut with_samples, mut without) = (0, 0);
        let mut gone = Vec::new();
        self.writers.retain(|writer| {
            let has_samples = life(writer).is_some_and(|life| life.whole.is_some());
            let kept = if has_samples { &mut with_samples } else { &mut without };
            *kept += 1;
            let stays = *kept <= RUNS || is_needed(*writer);
            if !stays {
                gone.push(*writer);
            }
            stays
        });
        self.left_out = self.left_out.saturating_add(u64::try_from(gone.len()).unwrap_or(u64::MAX));
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
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(nth * 100 + seq);
        let at = humantime::format_rfc3339_millis(at);
        let run: String = [nth / 1000, nth / 100, nth / 10, nth].iter().map(|digit| (digit % 10).to_string()).collect();
        book.take(
            format!("RUNNER_VITALS ts={at} run={run} seq={seq} {rest}").as_bytes(),
            Origin::default(),
            Place::default(),
        );
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

    #[test]
    fn a_run_that_says_its_name_once_is_kept_and_so_is_one_with_samples() {
        let mut book = Book::default();
        for nth in 0..300 {
            take(&mut book, nth, 1, "event=start runner.name=r");
            take(&mut book, nth, 2, "load1=0.10");
        }
        let (runners, _) = book.into_runners();
        assert_eq!((runners.len(), runners[0].runs.len(), runners[0].left_out), (1, 300, 0), "none is nobody's");
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
