//! What the lines of another probe show that ran beside the one that is judged, in the same runner.

use super::cause::Cause;
use super::units::at;
use super::verdict::Verdict;

/// What the run of another probe shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The run.
    pub run: String,
    /// The primary cause by its lines.
    pub cause: Cause,
    /// What that is called: its name, or that it lives.
    pub word: &'static str,
    /// 0 to 100.
    pub score: i64,
    /// Its last line, milliseconds since 1970.
    pub last_ms: Option<i64>,
}

impl Beside {
    pub(super) fn of(verdict: &Verdict) -> Self {
        let (cause, word) = (verdict.cause, verdict.word());
        Self { run: verdict.run.clone(), cause, word, score: verdict.score, last_ms: verdict.ended_ms() }
    }

    /// In a sentence.
    #[must_use]
    pub fn says(&self) -> String {
        let last = self.last_ms.map_or_else(|| "an unknown time".to_owned(), at);
        format!("run {} of another probe: {} ({} of 100), its last line at {last}", self.run, self.word, self.score)
    }
}
