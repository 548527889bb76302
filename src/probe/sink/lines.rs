//! Lines that wait, oldest first, each with when it came: one room of a fixed size, and nothing is allocated for a line.
//!
//! When a line came is told by a clock that nobody sets. What the line itself says is of one that somebody may have set
//! before it is sent.

use std::collections::VecDeque;
use std::time::Duration;

use crate::probe::fixed;

/// In front of each line: when it came, in nanoseconds, and how long it is.
const HEAD_BYTES: usize = 16;

/// What is kept of the room of a batch between two of them.
const KEPT_BYTES: usize = 8 * 1024;

/// Lines that wait.
#[derive(Debug)]
pub struct Lines {
    room: VecDeque<u8>,
}

/// Lines that were taken out, to be sent together.
#[derive(Debug, Default)]
pub struct Batch {
    text: Vec<u8>,
    marks: Vec<Mark>,
}

/// Of one line.
#[derive(Clone, Copy, Debug)]
struct Mark {
    came: Duration,
    bytes: usize,
}

impl Lines {
    /// None yet. Room for so many bytes is in memory already: lines come when there may be none.
    #[must_use]
    pub fn new(most_bytes: usize) -> Self {
        Self { room: VecDeque::from(fixed::resident(most_bytes)) }
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.room.is_empty()
    }

    /// The room that those which wait take, with what is kept of each besides.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.room.len()
    }

    /// Puts a line that came then behind the others, so that all take so many bytes at most. Allocates nothing within the
    /// room that there was from the start. Gives how many lines were lost for it: older ones, or this one where nothing older
    /// is left to give way.
    pub fn push(&mut self, came: Duration, line: impl ExactSizeIterator<Item = u8>, most_bytes: usize) -> u64 {
        let mut lost = 0;
        while self.room.len() + HEAD_BYTES + line.len() > most_bytes {
            lost += 1;
            if !self.forget_first() {
                return lost;
            }
        }
        let came_ns = u64::try_from(came.as_nanos()).unwrap_or(u64::MAX);
        let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
        self.room.extend(came_ns.to_ne_bytes());
        self.room.extend(bytes.to_ne_bytes());
        self.room.extend(line);
        lost
    }

    /// Puts all of `others` behind these, likewise. They have come when they did.
    pub fn append(&mut self, others: &mut Self, most_bytes: usize) -> u64 {
        let mut lost = 0;
        while let Some(Mark { came, bytes }) = others.first() {
            others.room.drain(..HEAD_BYTES);
            lost += self.push(came, others.room.drain(..bytes), most_bytes);
        }
        lost
    }

    /// Moves the oldest into a batch: so many bytes of text at most, but one line at least.
    pub fn take(&mut self, batch: &mut Batch, most_bytes: usize) {
        batch.text.reserve_exact(most_bytes.min(self.room.len()));
        let (mut left, least) = (most_bytes, batch.marks.len() + 1);
        while let Some(mark) = self.first().filter(|mark| mark.bytes <= left || batch.marks.len() < least) {
            left = left.saturating_sub(mark.bytes);
            self.room.drain(..HEAD_BYTES);
            batch.text.extend(self.room.drain(..mark.bytes));
            batch.marks.push(mark);
        }
    }

    /// Forgets all; gives how many that were.
    pub fn clear(&mut self) -> u64 {
        std::iter::from_fn(|| self.forget_first().then_some(1)).sum()
    }

    fn forget_first(&mut self) -> bool {
        let first = self.first();
        self.room.drain(..first.map_or(0, |mark| HEAD_BYTES + mark.bytes));
        first.is_some()
    }

    fn first(&self) -> Option<Mark> {
        let came = Duration::from_nanos(self.number(0)?);
        Some(Mark { came, bytes: usize::try_from(self.number(8)?).ok()? })
    }

    /// The number that begins at this byte.
    fn number(&self, from: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        for (byte, at) in bytes.iter_mut().zip(from..) {
            *byte = *self.room.get(at)?;
        }
        Some(u64::from_ne_bytes(bytes))
    }
}

impl Batch {
    /// The lines, oldest first, each with when it came.
    pub fn lines(&self) -> impl Iterator<Item = (Duration, &[u8])> {
        let mut rest = self.text.as_slice();
        self.marks.iter().map(move |mark| {
            let (line, behind) = rest.split_at_checked(mark.bytes).unwrap_or((rest, &[]));
            rest = behind;
            (mark.came, line)
        })
    }

    /// Forgets them, and most of the room that they took.
    pub fn clear(&mut self) {
        self.text.clear();
        self.marks.clear();
        self.text.shrink_to(KEPT_BYTES);
        self.marks.shrink_to(KEPT_BYTES / size_of::<Mark>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn taken(lines: &mut Lines, most_bytes: usize) -> Vec<(Duration, String)> {
        let mut batch = Batch::default();
        lines.take(&mut batch, most_bytes);
        batch.lines().map(|(came, line)| (came, String::from_utf8(line.to_vec()).unwrap())).collect()
    }

    #[test]
    fn each_line_keeps_when_it_came() {
        let mut first = Lines::new(1000);
        for (ms, line) in [(1, "a\n"), (2, ""), (3, "c\nd\n"), (4, "e")] {
            assert_eq!(first.push(at(ms), line.bytes(), 1000), 0);
        }
        let mut second = Lines::new(1000);
        second.push(at(9), b"z\n".iter().copied(), 1000);
        assert_eq!((second.append(&mut first, 1000), first.is_empty()), (0, true));
        let all = taken(&mut second, 1000);
        let expected = [(9, "z\n"), (1, "a\n"), (2, ""), (3, "c\nd\n"), (4, "e")];
        assert_eq!(all, expected.map(|(ms, line)| (at(ms), line.to_owned())));
        assert!(second.is_empty() && taken(&mut second, 1000).is_empty());
    }

    #[test]
    fn a_batch_is_bounded_and_has_one_line_at_least() {
        let mut lines = Lines::new(1000);
        (0..4).for_each(|ms| _ = lines.push(at(ms), b"1234\n".iter().copied(), 1000));
        let counts = [1, 11, 5].map(|most_bytes| taken(&mut lines, most_bytes).len());
        assert_eq!(counts, [1, 2, 1]);
    }

    #[test]
    fn the_oldest_give_way_and_the_room_never_grows() {
        let mut lines = Lines::new(100);
        let room = lines.room.capacity();
        let lost: u64 = (0..50).map(|ms| lines.push(at(ms), format!("{ms:03}\n").bytes(), 100)).sum();
        assert_eq!((lost, lines.bytes(), lines.room.capacity()), (45, 100, room));
        assert_eq!(lines.push(at(50), "x".repeat(85).bytes(), 100), 6, "all older ones, and itself");
        (0..3).for_each(|ms| _ = lines.push(at(ms), b"\n".iter().copied(), 100));
        assert_eq!((lines.clear(), lines.clear()), (3, 0));
    }
}
