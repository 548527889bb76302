//! When a count last moved: between which two samples. The same in whatever order the samples come.

use serde::{Deserialize, Serialize};

use super::slice::Mark;

/// The last move of a count that only rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Moved {
    /// The first sample that has the highest count.
    pub to: Mark,
    /// The last sample that has less; `None` where no sample has.
    pub from: Option<Mark>,
    count: i64,
}

impl Moved {
    /// A count in one sample.
    #[must_use]
    pub(super) fn at(mark: Mark, count: i64) -> Self {
        Self { to: mark, from: None, count }
    }

    /// The same count where nothing is known of its move.
    #[must_use]
    pub(super) fn unmoved(self) -> Self {
        Self { from: None, ..self }
    }

    /// Takes what other samples have of the same count; `own_last` and `others_last` are the last of the samples of each.
    #[must_use]
    pub(super) fn with(self, other: Self, own_last: Mark, others_last: Mark) -> Self {
        // Who has less has less in all of its samples.
        match self.count.cmp(&other.count) {
            std::cmp::Ordering::Greater => Self { from: Mark::later(self.from, Some(others_last)), ..self },
            std::cmp::Ordering::Less => Self { from: Mark::later(other.from, Some(own_last)), ..other },
            std::cmp::Ordering::Equal => {
                let to = if other.to.seq < self.to.seq { other.to } else { self.to };
                Self { to, from: Mark::later(self.from, other.from), count: self.count }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::slice::Place;
    use super::*;

    #[test]
    fn the_last_move_is_found_in_any_order() {
        let samples = [(1, 0), (2, 0), (3, 4), (4, 5), (5, 5)];
        let mark = |seq| Mark::new(seq, None, Place::default());
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [3, 0, 4, 2, 1], [2, 4, 0, 3, 1]] {
            let mut all = order.map(|at| samples[at]).into_iter();
            let (first, count) = all.next().unwrap();
            let (mut moved, mut last) = (Moved::at(mark(first), count), first);
            for (seq, count) in all {
                moved = moved.with(Moved::at(mark(seq), count), mark(last), mark(seq));
                last = last.max(seq);
            }
            assert_eq!((moved.to.seq, moved.from.map(|from| from.seq)), (4, Some(3)), "{order:?}");
        }
    }
}
