//! What a rule says: how strongly, for which reasons, or what speaks against it.

use crate::hub::trail::slice::Mark;

use super::cause::Cause;

/// A cause and what was found for and against it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The cause.
    pub cause: Cause,
    /// 0 to 100: how far the lines say that it ended the runner.
    pub score: i64,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What speaks against it, with its figure.
    pub against: Vec<Reason>,
    /// Points that it gave up to what explains the same better: it ailed the guest all the same.
    pub yielded: i64,
}

/// A sentence with its figure, and the lines that it is of: the first and the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The sentence.
    pub says: String,
    /// The lines.
    pub lines: Vec<Mark>,
}

impl Case {
    pub(super) fn new(cause: Cause) -> Self {
        Self { cause, score: 0, reasons: Vec::new(), against: Vec::new(), yielded: 0 }
    }

    /// What has so much is a trouble, though maybe not enough of one to be a cause: it contributed.
    pub(super) const AILS: i64 = 20;

    /// Whether it is a trouble that contributed.
    pub(super) fn ails(&self) -> bool {
        self.cause.is_trouble() && self.score >= Self::AILS
    }

    /// A reason that is worth so many points.
    pub(super) fn add(&mut self, points: i64, says: String, lines: &[Mark]) {
        self.score += points;
        self.reasons.push(Reason { says, lines: lines.to_vec() });
    }

    /// What speaks against it costs so many points.
    pub(super) fn less(&mut self, points: i64, says: String, lines: &[Mark]) {
        self.score -= points;
        self.against.push(Reason { says, lines: lines.to_vec() });
    }

    /// The same, where there is something to say.
    pub(super) fn less_for(&mut self, points: i64, reason: Option<Reason>) {
        if let Some(reason) = reason {
            self.score -= points;
            self.against.push(reason);
        }
    }

    /// It cannot be surer than this.
    pub(super) fn at_most(&mut self, score: i64) {
        self.score = self.score.min(score);
    }

    pub(super) fn done(mut self) -> Self {
        self.score = self.score.clamp(0, 100);
        self
    }
}
