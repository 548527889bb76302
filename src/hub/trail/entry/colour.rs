//! Colours around lines: logs that were written for a terminal.

use memchr::{memchr, memmem};

use crate::line::TAG;

const ESCAPE: u8 = 0x1b;

/// A line that has the tag, without the colours before it and at the end; `None` where there are none. What stands between is the line's.
pub(super) fn without(line: &[u8]) -> Option<Vec<u8>> {
    memchr(ESCAPE, line)?;
    let (head, own) = line.split_at_checked(memmem::find(line, TAG.as_bytes())?)?;
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = head;
    while let Some(at) = memchr(ESCAPE, rest) {
        let (before, sequence) = rest.split_at_checked(at)?;
        plain.extend_from_slice(before);
        rest = sequence.get(length(sequence)?..)?;
    }
    plain.extend_from_slice(rest);
    let mut end = own;
    while let Some(at) = memchr::memrchr(ESCAPE, end) {
        match end.split_at_checked(at) {
            Some((before, sequence)) if length(sequence) == Some(sequence.len()) => end = before,
            _ => break,
        }
    }
    plain.extend_from_slice(end);
    (plain.len() < line.len()).then_some(plain)
}

/// The length of the sequence that a text begins with: one that sets colours, or that clears to the end of the line; `None` of any other.
fn length(text: &[u8]) -> Option<usize> {
    let codes = text.strip_prefix(b"\x1b[")?;
    let end = codes.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':'))?;
    matches!(codes.get(end)?, b'm' | b'K').then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_before_the_tag_and_at_the_end_are_taken_off() {
        let plain = |text: &str| without(text.as_bytes()).map(|plain| String::from_utf8(plain).unwrap());
        for (text, expected) in [
            ("\u{1b}[32mRUNNER_VITALS a=1", Some("RUNNER_VITALS a=1")),
            ("\u{1b}[0m\u{1b}[38;5;12mRUNNER_VITALS a=1\u{1b}[0m\u{1b}[K", Some("RUNNER_VITALS a=1")),
            ("RUNNER_VITALS a=1\u{1b}[m", Some("RUNNER_VITALS a=1")),
            ("\u{1b}[36mrunner-1  | \u{1b}[0mRUNNER_VITALS a=1", Some("runner-1  | RUNNER_VITALS a=1")),
            ("x\u{1b}[1mRUNNER_VITALS a=1", Some("xRUNNER_VITALS a=1")),
            // Within the line they are of its text.
            ("RUNNER_VITALS a=\u{1b}[1mb\u{1b}[0m", Some("RUNNER_VITALS a=\u{1b}[1mb")),
            ("RUNNER_VITALS a=\u{1b}[1mb", None),
            // What moves the cursor, or is no whole sequence, is no colour.
            ("\u{1b}[2JRUNNER_VITALS a=1", None),
            ("\u{1b}[32RUNNER_VITALS a=1", None),
            ("\u{1b}]0;x\u{7}RUNNER_VITALS a=1", None),
            ("RUNNER_\u{1b}[1mVITALS a=1", None),
            ("RUNNER_VITALS a=1", None),
        ] {
            assert_eq!(plain(text).as_deref(), expected, "{text:?}");
        }
    }
}
