//! What a runner is, and when: the states that a life goes through.

/// What a runner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Up, and its agent not ready yet.
    Warming,
    /// It waits for a job.
    Ready,
    /// It has one.
    Claimed,
    /// Its job, or itself without one, has ended.
    Ended,
    /// It fell silent without a last word, or longer than is forgiven.
    Lost,
    /// It is up; what it does is not told.
    Untold,
}

impl State {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 6] = [Self::Warming, Self::Ready, Self::Claimed, Self::Ended, Self::Lost, Self::Untold];

    /// Those that count as there.
    pub const ALIVE: [Self; 4] = [Self::Warming, Self::Ready, Self::Claimed, Self::Untold];

    /// The name that outputs and documentation use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warming => "warming",
            Self::Ready => "ready",
            Self::Claimed => "claimed",
            Self::Ended => "ended",
            Self::Lost => "lost",
            Self::Untold => "untold",
        }
    }

    /// Whether it counts as there.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::ALIVE.contains(&self)
    }
}

/// From when to when it was what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// What.
    pub state: State,
    /// Since when, ms since 1970.
    pub from_ms: i64,
    /// Until when.
    pub to_ms: i64,
}
