//! What a runner's polls of its dispatcher came to, as its script counts them.

use serde::{Deserialize, Serialize};

use crate::line::Line;
use crate::line::field::{self, Field};

use super::MOST_MS;

/// What came of a runner's polls of its dispatcher since its script began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Polls {
    /// How many ended so, in the order of [`POLL_FIELDS`].
    pub counts: [u64; POLL_FIELDS.len()],
    /// Time that they took, ms.
    pub sum_ms: u64,
    /// Time that the longest took, ms.
    pub max_ms: u64,
}

/// The fields that count polls.
pub const POLL_FIELDS: [&Field; 7] = [
    field::POLL_SERVED,
    field::POLL_NO_WORK,
    field::POLL_EMPTY,
    field::POLL_LOST_RACE,
    field::POLL_POD_IN_USE,
    field::POLL_DRAIN,
    field::POLL_ERROR,
];

impl Polls {
    pub(super) fn of(line: &Line<'_>) -> Self {
        let number = |field: &Field, most: u64| {
            let told = line.scaled(field).and_then(|told| u64::try_from(told).ok());
            told.filter(|told| *told <= most).unwrap_or(0)
        };
        Self {
            counts: POLL_FIELDS.map(|field| number(field, u32::MAX.into())),
            sum_ms: number(field::POLL_SUM, MOST_MS),
            max_ms: number(field::POLL_MAX, MOST_MS),
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut counts = self.counts;
        for (own, other) in counts.iter_mut().zip(other.counts) {
            *own = own.saturating_add(other);
        }
        Self { counts, sum_ms: self.sum_ms.saturating_add(other.sum_ms), max_ms: self.max_ms.max(other.max_ms) }
    }
}
