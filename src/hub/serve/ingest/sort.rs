//! A body's lines: which are ours, and which are broken. Pure.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::ours::envelope;
use super::rewrite::{Identity, rewritten};
use crate::hub::serve::auth::Sender;
use crate::hub::serve::out::Placed;
use crate::hub::serve::seen::Key;

/// Broken lines that an answer names; the rest of them is counted.
const BAD_TOLD: usize = 50;

/// Lines to bring out, each with its name.
pub type Good = Vec<(Key, Arc<Placed>)>;

/// What a body held, in its order.
#[derive(Debug, Default)]
pub struct Sorted {
    /// Lines to bring out, each with its name.
    pub good: Good,
    /// The first lines that are broken.
    pub bad: Vec<Bad>,
    /// How many more are broken.
    pub more_bad: usize,
    /// Which of the good ones are events of vitals, by their places.
    pub events: Vec<usize>,
}

/// A line that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// Which line of the body, counted from 1.
    pub line: usize,
    /// Why, without what it says.
    pub error: String,
}

/// Who sends, and when it came in.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Whose lines they are.
    pub sender: Arc<Sender>,
    /// How they say so.
    pub identity: Identity,
    /// By the hub's clock.
    pub received_at: SystemTime,
}

impl Sorted {
    /// Sorts a body's lines. Empty ones are none.
    #[must_use]
    pub fn of(body: &[u8], origin: &Origin) -> Self {
        let mut sorted = Self::default();
        for (at, line) in body.split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            match taken(line, origin) {
                Ok((good, is_event)) => {
                    if is_event {
                        sorted.events.push(sorted.good.len());
                    }
                    sorted.good.push(good);
                }
                Err(_) if sorted.bad.len() >= BAD_TOLD => sorted.more_bad += 1,
                Err(error) => sorted.bad.push(Bad { line: at + 1, error }),
            }
        }
        sorted
    }

    /// How many lines are broken.
    #[must_use]
    pub fn bad_count(&self) -> usize {
        self.bad.len() + self.more_bad
    }

    /// The memory that its lines hold, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let each = size_of::<Placed>() + 2 * size_of::<usize>();
        let lines: usize = self.good.iter().map(|(_, placed)| each + placed.line.capacity()).sum();
        let places = self.good.capacity() * size_of::<(Key, Arc<Placed>)>();
        lines + places + self.events.capacity() * size_of::<usize>()
    }
}

fn taken(line: &[u8], origin: &Origin) -> Result<((Key, Arc<Placed>), bool), String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("byte {}: not UTF-8", error.valid_up_to()))?;
    let envelope = envelope(text)?;
    let line = rewritten(text, &envelope, &origin.identity)?;
    let key = Key { tag: envelope.tag, run: envelope.run, seq: envelope.seq };
    let Origin { sender, received_at, .. } = origin;
    let placed = Placed { sender: Arc::clone(sender), received_at: *received_at, at: envelope.ts, line };
    Ok(((key, Arc::new(placed)), envelope.is_event))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin() -> Origin {
        let sender = Sender { name: "r1".to_owned(), fleet: None };
        let identity = Identity::new(&sender, None);
        Origin { sender: Arc::new(sender), identity, received_at: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn broken_lines_are_named_and_the_others_taken() {
        let body = b"RUNNER_VITALS ts= run=k3x9 seq=1\n\nnoise\nRUNNER_LOG ts= run=k3x9 seq=1 line=a\nRUNNER_VITALS \xff\nRUNNER_VITALS ts= run=k3x9 seq=2";
        let sorted = Sorted::of(body, &origin());
        let lines: Vec<&str> = sorted.good.iter().map(|(_, placed)| placed.line.as_str()).collect();
        assert_eq!(
            lines,
            [
                "RUNNER_VITALS ts= run=k3x9 seq=1 runner.name=r1",
                "RUNNER_LOG ts= run=k3x9 seq=1 runner.name=r1 line=a",
                "RUNNER_VITALS ts= run=k3x9 seq=2 runner.name=r1"
            ]
        );
        let bad = |line, error: &str| Bad { line, error: error.to_owned() };
        assert_eq!(sorted.bad, [bad(3, "neither a RUNNER_VITALS nor a RUNNER_LOG line"), bad(5, "byte 14: not UTF-8")]);
    }

    #[test]
    fn a_line_is_of_its_own_time_or_of_none() {
        let body = b"RUNNER_VITALS ts= run=k3x9 seq=1\nRUNNER_VITALS ts=1970-01-01T00:00:07.000Z run=k3x9 seq=2";
        let times: Vec<_> = Sorted::of(body, &origin()).good.iter().map(|(_, placed)| placed.at).collect();
        assert_eq!(times, [None, Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(7))]);
    }

    #[test]
    fn only_the_first_broken_lines_are_named() {
        let sorted = Sorted::of("x\n".repeat(1000).as_bytes(), &origin());
        assert_eq!((sorted.bad.len(), sorted.more_bad, sorted.bad_count()), (BAD_TOLD, 1000 - BAD_TOLD, 1000));
    }

    #[test]
    fn the_places_of_lines_are_counted_too() {
        let sorted = Sorted::of("RUNNER_VITALS ts= run=k3x9 seq=1 event=stop\n".repeat(5).as_bytes(), &origin());
        let lines: usize = sorted.good.iter().map(|(_, placed)| size_of::<Placed>() + placed.line.capacity()).sum();
        let places =
            sorted.good.capacity() * size_of::<(Key, Arc<Placed>)>() + sorted.events.capacity() * size_of::<usize>();
        assert!(sorted.good.capacity() > 5 && sorted.bytes() >= lines + places, "{} {lines} {places}", sorted.bytes());
    }

    proptest! {
        #[test]
        fn any_bytes_are_lines_or_not(body in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let sorted = Sorted::of(&body, &origin());
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            prop_assert_eq!(sorted.good.len() + sorted.bad_count(), lines);
        }
    }
}
