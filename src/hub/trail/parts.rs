//! Lines that a container runtime wrote in parts are put together again, each stream by itself, in bounded room.
//!
//! A part is what a read of the pipe gave: containerd cuts after 16 KiB, CRI-O wherever its buffer ends, also in a number. The rest
//! follows in the same stream, no earlier: in a log that is read backwards it does not, and then the part means nothing.

use std::borrow::Cow;
use std::time::SystemTime;

use super::entry::{Logged, Stream, is_ours};
use super::loki::question::parse_time;
use crate::line::MAX_LINE_BYTES;

/// The beginnings of lines whose rest has not come yet.
#[derive(Debug, Default)]
pub(super) struct Parts {
    stdout: Option<Held>,
    stderr: Option<Held>,
}

/// What has come of a line.
#[derive(Debug)]
struct Held {
    text: Vec<u8>,
    /// When its latest part was read.
    at: Option<SystemTime>,
    /// The line of the log in which it begins.
    line: u32,
}

/// What came of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken<'a> {
    /// A whole line, and the line of the log in which it begins.
    pub(super) whole: Option<(Cow<'a, [u8]>, u32)>,
    /// The beginning of a line of ours whose rest did not come.
    pub(super) lost: Option<(Vec<u8>, u32)>,
}

impl Parts {
    /// Takes what stands in a line of the log.
    pub(super) fn take<'a>(&mut self, logged: Logged<'a>, line: u32) -> Taken<'a> {
        let held = match logged.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        if held.is_none() && logged.is_end {
            return Taken { whole: Some((logged.text, line)), lost: None };
        }
        let at = parse_time(&logged.at).ok();
        let before = held.take();
        let (begun, lost) = match before {
            Some(before) if before.is_followed_by(at) => (Some(before), None),
            Some(before) => (None, is_ours(&before.text).then_some((before.text, before.line))),
            None => (None, None),
        };
        if logged.is_end && begun.is_none() {
            return Taken { whole: Some((logged.text, line)), lost };
        }
        let mut whole = begun.unwrap_or(Held { text: Vec::new(), at: None, line });
        whole.add(&logged.text, at);
        if logged.is_end {
            return Taken { whole: Some((Cow::Owned(whole.text), whole.line)), lost };
        }
        *held = Some(whole);
        Taken { whole: None, lost }
    }

    /// What is left when the log ends: beginnings, and the lines of the log in which they are.
    pub(super) fn rest(self) -> impl Iterator<Item = (Vec<u8>, u32)> {
        self.stdout.into_iter().chain(self.stderr).map(|held| (held.text, held.line))
    }
}

impl Held {
    /// Whether a part of this time can be the next.
    fn is_followed_by(&self, at: Option<SystemTime>) -> bool {
        self.at.zip(at).is_none_or(|(before, at)| before <= at)
    }

    /// Beyond the length that a line of ours has at most, it is none whatever follows.
    fn add(&mut self, text: &[u8], at: Option<SystemTime>) {
        let room = (MAX_LINE_BYTES + 1).saturating_sub(self.text.len());
        self.text.extend_from_slice(text.get(..room).unwrap_or(text));
        self.at = at.or(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Entry, entry};
    use super::*;

    fn joined(log: &str) -> (Vec<(String, u32)>, Vec<u32>, Vec<String>) {
        let (mut parts, mut whole, mut lost) = (Parts::default(), Vec::new(), Vec::new());
        for (line, text) in (1..).zip(log.lines()) {
            let Entry::Logged(logged) = entry(text.as_bytes()) else { panic!("{text}") };
            let taken = parts.take(logged, line);
            whole.extend(taken.whole.map(|(text, line)| (String::from_utf8(text.into_owned()).unwrap(), line)));
            lost.extend(taken.lost.map(|(_, line)| line));
        }
        (whole, lost, parts.rest().map(|(text, _)| String::from_utf8(text).unwrap()).collect())
    }

    #[test]
    fn parts_of_each_stream_become_lines() {
        let log = "2026-06-04T12:00:00.1Z stdout P a\n\
                   2026-06-04T12:00:00.12Z stderr P x\n\
                   2026-06-04T12:00:00.123Z stdout P b\n\
                   2026-06-04T12:00:01Z stdout F c\n\
                   2026-06-04T12:00:01Z stdout F d\n\
                   2026-06-04T12:00:02Z stderr F y\n\
                   2026-06-04T12:00:02Z stderr P z";
        let lines = [("abc", 1), ("d", 5), ("xy", 2)].map(|(text, line)| (text.to_owned(), line));
        assert_eq!(joined(log), (lines.to_vec(), vec![], vec!["z".to_owned()]));
    }

    #[test]
    fn what_was_read_earlier_is_not_the_rest() {
        let log = "2026-06-04T12:00:03Z stdout F c\n\
                   2026-06-04T12:00:02Z stdout P RUNNER_VITALS a\n\
                   2026-06-04T14:00:01+02:00 stdout F d";
        let lines = [("c", 1), ("d", 3)].map(|(text, line)| (text.to_owned(), line));
        assert_eq!(joined(log), (lines.to_vec(), vec![2], vec![]));
    }

    #[test]
    fn its_room_is_bounded() {
        let part = format!("2026-06-04T12:00:00Z stdout P {}\n", "x".repeat(3000));
        let (whole, _, rest) = joined(&part.repeat(50));
        assert_eq!((whole.len(), rest[0].len()), (0, MAX_LINE_BYTES + 1));
    }
}
