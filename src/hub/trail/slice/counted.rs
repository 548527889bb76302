//! Which counts of a run samples have: one that is not there was 0, or was not read.

use serde::{Deserialize, Serialize};

use super::{High, Slice};

/// Counts since the run began, which are printed over 0 only.
const COUNTS: [High; 7] = [
    High::Refault,
    High::AllocStall,
    High::PidsFail,
    High::Retrans,
    High::AgentWait,
    High::HttpDropped,
    High::LokiDropped,
];

/// Which of the counts since the run began are there, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Counted(u8);

impl Counted {
    /// Whether this one is.
    #[must_use]
    pub fn has(self, of: High) -> bool {
        COUNTS.iter().position(|count| *count == of).is_some_and(|at| self.0 & (1 << at) != 0)
    }

    /// Those of both.
    #[must_use]
    pub(in super::super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Slice {
    /// Which counts are there.
    #[must_use]
    pub(in super::super) fn counted(&self) -> Counted {
        let bits = (0..).zip(COUNTS).map(|(at, count)| u8::from(self.high(count).is_some()) << at);
        Counted(bits.fold(0, |all, bit| all | bit))
    }
}
