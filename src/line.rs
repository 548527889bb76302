//! The line: the one thing that the guest and the operator's side share.
//!
//! `RUNNER_VITALS ts=… run=… seq=… [event=…] key=value …`: logfmt as Grafana Loki's parser reads it. Lines of followed
//! logs have another tag, `RUNNER_LOG`. Here are the limits, the encoder and the decoder; the keys are in [`field`]. It
//! knows no kernel file and does no I/O.

mod decode;
mod encode;
pub mod field;
pub mod fields_doc;
pub mod scan;

pub use decode::{DecodeError, Line, Problem, Reading};
pub use encode::{Encoder, LineBuilder, Number, head};

/// The bare word that every line of vitals begins with.
pub const TAG: &str = "RUNNER_VITALS";

/// The bare word that every line of a followed log begins with.
pub const LOG_TAG: &str = "RUNNER_LOG";

/// The longest line, its newline included: what a pipe takes in one piece (Linux `PIPE_BUF`).
pub const MAX_LINE_BYTES: usize = 4096;

/// Which of the two kinds of trail a line belongs to, each with a count of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tag {
    /// What the guest feels: [`TAG`].
    Vitals,
    /// What a followed log says: [`LOG_TAG`].
    Log,
}

impl Tag {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Vitals, Self::Log];

    /// The word that begins the line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vitals => TAG,
            Self::Log => LOG_TAG,
        }
    }

    /// The tag that a line begins with; `None` where it is not one of ours. The rest of the line is not looked at.
    #[must_use]
    pub fn of(line: &str) -> Option<Self> {
        let is_at_start = |tag: &Self| {
            let rest = line.strip_prefix(tag.as_str());
            rest.is_some_and(|rest| matches!(rest.as_bytes(), [] | [b' ' | b'\n', ..]))
        };
        Self::ALL.into_iter().find(is_at_start)
    }
}

/// What one process that writes lines is called: four base-36 digits.
///
/// With `seq` it names a line for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId([u8; 4]);

impl RunId {
    /// What no process is called: it is read from no line.
    pub const NONE: Self = Self(*b"----");

    const DIGITS: [u8; 36] = *b"0123456789abcdefghijklmnopqrstuvwxyz";

    /// The id that these random bits stand for.
    #[must_use]
    pub fn from_random(bits: u64) -> Self {
        let mut left = bits;
        Self([(); 4].map(|()| {
            let digit = usize::try_from(left % 36).ok().and_then(|at| Self::DIGITS.get(at)).copied();
            left /= 36;
            digit.unwrap_or(b'0')
        }))
    }

    /// Reads four base-36 digits; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: [u8; 4] = text.as_bytes().try_into().ok()?;
        digits.iter().all(|digit| Self::DIGITS.contains(digit)).then_some(Self(digits))
    }

    /// The four digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("0000")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_whole_word_at_the_start() {
        let cases = [
            ("RUNNER_VITALS ts=", Some(Tag::Vitals)),
            ("RUNNER_VITALS", Some(Tag::Vitals)),
            ("RUNNER_LOG ts=", Some(Tag::Log)),
            ("RUNNER_LOG\n", Some(Tag::Log)),
            ("RUNNER_LOGS ts=", None),
            ("RUNNER_VITALS_LOG ts=", None),
            (" RUNNER_LOG ts=", None),
            ("", None),
        ];
        for (line, tag) in cases {
            assert_eq!(Tag::of(line), tag, "{line:?}");
        }
    }
}
