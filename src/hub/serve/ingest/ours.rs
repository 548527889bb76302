//! Which lines are ours, and what names them. Pure.

use std::time::SystemTime;

use crate::line::{DecodeError, Line, MAX_LINE_BYTES, RunId, Tag};

/// What stands before the pairs of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Vitals or log.
    pub tag: Tag,
    /// When it was written, by the guest's clock.
    pub ts: Option<SystemTime>,
    /// Which process wrote it.
    pub run: RunId,
    /// The how-manieth of that process it is.
    pub seq: u64,
    /// An event of vitals.
    pub is_event: bool,
}

/// Reads a whole line, without its newline.
///
/// # Errors
/// Says what is wrong with it; nothing of the line stands in the error.
pub fn envelope(text: &str) -> Result<Envelope, String> {
    if text.len() >= MAX_LINE_BYTES {
        return Err(format!("longer than {MAX_LINE_BYTES} bytes"));
    }
    Tag::of(text).ok_or("neither a RUNNER_VITALS nor a RUNNER_LOG line")?;
    let Line { tag, ts, run, seq, event, .. } = Line::decode(text).map_err(told)?;
    Ok(Envelope { tag, ts, run, seq, is_event: tag == Tag::Vitals && event.is_some() })
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(error: DecodeError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tags_are_ours_and_nothing_else() {
        for (text, tag) in [
            ("RUNNER_VITALS ts= run=k3x9 seq=7 load1=0.30", Tag::Vitals),
            ("RUNNER_LOG ts= run=k3x9 seq=7 file=Worker.log line=\"a b\"", Tag::Log),
        ] {
            let run = RunId::parse("k3x9").unwrap();
            assert_eq!(envelope(text), Ok(Envelope { tag, ts: None, run, seq: 7, is_event: false }));
        }
        for text in [
            "",
            "x",
            "RUNNER_VITALSX ts= run=k3x9 seq=7",
            "RUNNER_LOGS ts= run=k3x9 seq=7",
            " RUNNER_LOG ts= run=k3x9 seq=7",
        ] {
            assert!(envelope(text).unwrap_err().starts_with("neither"), "{text}");
        }
        for text in ["RUNNER_LOG", "RUNNER_LOG ts= run=k3x9 seq=7 x", "RUNNER_VITALS ts= run=k3x9"] {
            assert!(envelope(text).unwrap_err().starts_with("byte "), "{text}");
        }
        let long = format!("RUNNER_LOG ts= run=k3x9 seq=7 line={}", "x".repeat(MAX_LINE_BYTES));
        assert_eq!(envelope(&long).unwrap_err(), "longer than 4096 bytes");
    }
}
