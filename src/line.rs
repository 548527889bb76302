//! The line: the one thing that the guest and the operator's side share.
//!
//! `RUNNER_VITALS ts=… run=… seq=… [event=…] key=value …`: logfmt as Grafana Loki's parser reads it. Here are
//! its limits and its encoder and decoder; the keys are in [`field`]. It knows no kernel file and does no I/O.

mod decode;
mod encode;
pub mod field;
pub mod fields_doc;

pub use decode::{DecodeError, Line, Problem, Reading};
pub use encode::{Encoder, LineBuilder, Number};

/// The bare word that every line of vitals begins with.
pub const TAG: &str = "RUNNER_VITALS";

/// The longest line, its newline included: what a pipe takes in one piece (Linux `PIPE_BUF`).
pub const MAX_LINE_BYTES: usize = 4096;

/// What one process that writes lines is called: four base-36 digits.
///
/// With `seq` it names a line for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId([u8; 4]);

impl RunId {
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
