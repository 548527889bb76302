//! How sure a verdict is, in a word and a colour.

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Below 50 of 100.
    Low,
    /// From 50.
    Medium,
    /// From 75.
    High,
}

impl Confidence {
    pub(super) const HIGH: i64 = 75;
    pub(super) const MEDIUM: i64 = 50;

    /// Of a score.
    #[must_use]
    pub fn of(score: i64) -> Self {
        match score {
            Self::HIGH.. => Self::High,
            Self::MEDIUM.. => Self::Medium,
            _ => Self::Low,
        }
    }

    /// The word that outputs use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// How a verdict is coloured: what is no trouble does not look like one, however sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hue {
    /// It went as it should.
    Calm,
    /// Nothing of the guest's ended it: its job failed, what ended it came from outside, or nothing is known.
    Neutral,
    /// A trouble, so sure.
    Trouble(Confidence),
}
