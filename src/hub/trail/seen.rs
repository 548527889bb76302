//! Which lines of a run have been seen, in bounded room: repeats are told from lines that come late, and lines that are
//! missing are counted.

use serde::{Deserialize, Serialize};

/// How many stretches between missing lines are kept apart.
const STRETCHES: usize = 32;

/// The sequence numbers that were seen, as stretches, the lowest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct SeenSeqs {
    stretches: Vec<(u64, u64)>,
    /// Lines that were missing between stretches that are no longer kept apart.
    given_up: u64,
}

impl SeenSeqs {
    /// Notes a line; `false` when it was seen before, or is so late that this cannot be told.
    pub fn note(&mut self, seq: u64) -> bool {
        let at = self.stretches.partition_point(|(_, end)| *end < seq);
        if self.stretches.get(at).is_some_and(|(start, _)| *start <= seq) {
            return false;
        }
        let joins_left =
            at.checked_sub(1).and_then(|left| self.stretches.get(left)).is_some_and(|(_, end)| end + 1 == seq);
        let joins_right = self.stretches.get(at).is_some_and(|(start, _)| seq.checked_add(1) == Some(*start));
        match (joins_left, joins_right) {
            (true, true) => {
                let (_, end) = self.stretches.remove(at);
                self.set_end(at - 1, end);
            }
            (true, false) => self.set_end(at - 1, seq),
            (false, true) => {
                if let Some((start, _)) = self.stretches.get_mut(at) {
                    *start = seq;
                }
            }
            (false, false) => self.insert(at, seq),
        }
        true
    }

    /// Lines that are missing between the first and the last that were seen.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let gaps = self.stretches.iter().zip(self.stretches.iter().skip(1));
        gaps.fold(self.given_up, |sum, ((_, end), (start, _))| sum.saturating_add(start - end - 1))
    }

    /// Whether this line was seen.
    #[must_use]
    pub fn has(&self, seq: u64) -> bool {
        self.stretches.iter().any(|(start, end)| (*start..=*end).contains(&seq))
    }

    /// Whether every line from one to another was seen, as far as that is still known.
    #[must_use]
    pub fn is_whole(&self, from: u64, to: u64) -> bool {
        self.given_up == 0 && self.stretches.iter().any(|(start, end)| *start <= from && to <= *end)
    }

    /// Whether every line from one to another was seen, but for those between stretches that are no longer kept apart.
    #[must_use]
    pub fn has_all(&self, from: u64, to: u64) -> bool {
        self.stretches.iter().any(|(start, end)| *start <= from && to <= *end)
    }

    /// Takes what was seen elsewhere.
    pub fn fold(&mut self, other: &Self) {
        let (own, given_up) = (std::mem::take(&mut self.stretches), self.given_up.saturating_add(other.given_up));
        let mut all: Vec<(u64, u64)> = own.into_iter().chain(other.stretches.iter().copied()).collect();
        all.sort_unstable();
        for (start, end) in all {
            match self.stretches.last_mut() {
                Some((_, last)) if start <= last.saturating_add(1) => *last = end.max(*last),
                _ => self.stretches.push((start, end)),
            }
        }
        self.given_up = given_up;
        while self.stretches.len() > STRETCHES {
            self.join_lowest();
        }
    }

    fn set_end(&mut self, at: usize, seq: u64) {
        if let Some((_, end)) = self.stretches.get_mut(at) {
            *end = seq;
        }
    }

    /// A stretch of one line. The two lowest become one when there are too many: what is between them is given up.
    fn insert(&mut self, at: usize, seq: u64) {
        self.stretches.insert(at, (seq, seq));
        if self.stretches.len() > STRETCHES {
            self.join_lowest();
        }
    }

    fn join_lowest(&mut self) {
        let (start, end) = self.stretches.remove(0);
        if let Some(next) = self.stretches.first_mut() {
            self.given_up = self.given_up.saturating_add(next.0 - end - 1);
            next.0 = start;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeats_are_told_and_missing_lines_counted() {
        let mut seen = SeenSeqs::default();
        let news = [5, 3, 4, 4, 9, 7, 8, 3].map(|seq| seen.note(seq));
        assert_eq!(news, [true, true, true, false, true, true, true, false]);
        assert_eq!(seen.missing(), 1);
        assert!(seen.has(5) && !seen.has(6) && seen.has(9));
        assert!(seen.is_whole(3, 5) && seen.is_whole(7, 9) && !seen.is_whole(5, 7) && !seen.is_whole(3, 9));
        assert!(seen.note(u64::MAX) && seen.note(0));
    }

    #[test]
    fn its_room_is_bounded() {
        let mut seen = SeenSeqs::default();
        for seq in (0..10_000).map(|n| n * 2) {
            assert!(seen.note(seq));
        }
        assert_eq!((seen.stretches.len(), seen.missing()), (STRETCHES, 9999));
        assert!(!seen.note(1), "too late to be told from a repeat");
    }

    proptest! {
        #[test]
        fn it_is_a_set_while_there_is_room(seqs in proptest::collection::vec(0_u64..60, 0..200)) {
            let (mut seen, mut all) = (SeenSeqs::default(), BTreeSet::new());
            for seq in seqs {
                prop_assert_eq!(seen.note(seq), all.insert(seq));
            }
            if let (Some(first), Some(last)) = (all.first(), all.last()) {
                prop_assert_eq!(seen.missing(), last - first + 1 - all.len() as u64);
            }
        }
    }
}
