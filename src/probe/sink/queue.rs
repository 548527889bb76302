//! What waits for one network sink: whole lines, bounded in bytes, the oldest give way and are counted.
//!
//! Two lanes: vitals, and the log lines that are followed, which go only when no vitals wait or are on their way. What was taken
//! out to be sent still counts against its lane until it is settled, so that the bound holds for all that is kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use super::lines::{Batch, Lines};

/// The most vitals that wait: eight minutes of lines at one a second.
pub const VITALS_BYTES: usize = 256 * 1024;

/// The most log lines that wait.
pub const LOG_BYTES: usize = 64 * 1024;

/// What a line is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The probe's own lines.
    Vitals,
    /// Lines of log files that are followed.
    Logs,
}

/// Whether there is a lane for the log lines too, which costs its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// Log files are followed.
    Logs,
    /// There are none.
    Nothing,
}

/// The queue of one sink, shared by the sampler and the network thread.
#[derive(Debug)]
pub struct Queue {
    lanes: Mutex<Lanes>,
    dropped: AtomicU64,
}

/// The queue was in use: nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

#[derive(Debug)]
struct Lanes {
    vitals: Waiting,
    logs: Waiting,
}

/// Lines of one lane.
#[derive(Debug)]
struct Waiting {
    lines: Lines,
    /// Taken out, and not settled yet.
    taken_bytes: usize,
    most_bytes: usize,
}

impl Queue {
    /// An empty queue. The room for vitals is in memory already: they come when there may be none.
    #[must_use]
    pub fn new(follows: Follows) -> Self {
        let log_bytes = if follows == Follows::Logs { LOG_BYTES } else { 0 };
        let lanes = Lanes { vitals: Waiting::new(VITALS_BYTES), logs: Waiting::new(log_bytes) };
        Self { lanes: Mutex::new(lanes), dropped: AtomicU64::new(0) }
    }

    /// Puts a line that came then behind the others, without waiting and without allocating.
    ///
    /// # Errors
    /// [`Busy`] while somebody else has the queue: the line is to be tried again.
    pub fn try_push(&self, lane: Lane, came: Duration, line: &[u8]) -> Result<(), Busy> {
        self.try_with(lane, |waiting| waiting.push(came, line))
    }

    /// The same with all of `lines`, which are empty then. They have come when they did.
    ///
    /// # Errors
    /// As [`Queue::try_push`].
    pub fn try_append(&self, lane: Lane, lines: &mut Lines) -> Result<(), Busy> {
        self.try_with(lane, |waiting| {
            let most_bytes = waiting.most_bytes.saturating_sub(waiting.taken_bytes);
            waiting.lines.append(lines, most_bytes)
        })
    }

    /// Puts a line there, waiting for the queue, which nobody keeps for long. Not for the sampler.
    pub fn push(&self, lane: Lane, came: Duration, line: &[u8]) {
        let lost = self.lock().of(lane).push(came, line);
        self.count_dropped(lost);
    }

    /// Moves the oldest lines of a lane behind what is in `batch`, `most_bytes` of text at most, but one line at least.
    /// Whether any waited.
    pub fn take(&self, lane: Lane, batch: &mut Batch, most_bytes: usize) -> bool {
        let mut lanes = self.lock();
        let waiting = lanes.of(lane);
        let before = waiting.lines.bytes();
        waiting.lines.take(batch, most_bytes);
        waiting.taken_bytes += before - waiting.lines.bytes();
        before > 0
    }

    /// Whether lines of a lane wait or are on their way.
    #[must_use]
    pub fn is_busy(&self, lane: Lane) -> bool {
        let mut lanes = self.lock();
        let waiting = lanes.of(lane);
        !waiting.lines.is_empty() || waiting.taken_bytes > 0
    }

    /// All that was taken of this lane is out, or given up: its room is free again.
    pub fn settle(&self, lane: Lane) {
        self.lock().of(lane).taken_bytes = 0;
    }

    /// Lines that waiting could not keep, and those that [`Queue::count_dropped`] added.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts lines that were given up elsewhere.
    pub fn count_dropped(&self, lines: u64) {
        if lines > 0 {
            self.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Gives up what of a lane waits and what was taken, and counts it. For the end.
    pub fn give_up(&self, lane: Lane, taken_lines: u64) {
        // Counted before anybody can see that nothing waits any more.
        let mut lanes = self.lock();
        let waiting = lanes.of(lane);
        waiting.taken_bytes = 0;
        self.count_dropped(waiting.lines.clear() + taken_lines);
    }

    /// As somebody does who is starved with the queue in hand.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop {
        struct Held<'q>(#[allow(dead_code, reason = "it is held")] MutexGuard<'q, Lanes>);
        impl Drop for Held<'_> {
            fn drop(&mut self) {}
        }
        Held(self.lock())
    }

    /// Does this with a lane, and counts the lines that it says were lost.
    fn try_with(&self, lane: Lane, act: impl FnOnce(&mut Waiting) -> u64) -> Result<(), Busy> {
        let mut lanes = match self.lanes.try_lock() {
            Ok(lanes) => lanes,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(Busy),
        };
        self.count_dropped(act(lanes.of(lane)));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    const fn of(&mut self, lane: Lane) -> &mut Waiting {
        match lane {
            Lane::Vitals => &mut self.vitals,
            Lane::Logs => &mut self.logs,
        }
    }
}

impl Waiting {
    fn new(most_bytes: usize) -> Self {
        Self { lines: Lines::new(most_bytes), taken_bytes: 0, most_bytes }
    }

    /// Gives how many lines were lost for it.
    fn push(&mut self, came: Duration, line: &[u8]) -> u64 {
        let most_bytes = self.most_bytes.saturating_sub(self.taken_bytes);
        self.lines.push(came, line.iter().copied(), most_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(queue: &Queue, lane: Lane, most_bytes: usize) -> Option<String> {
        let mut batch = Batch::default();
        let text = |batch: &Batch| batch.lines().flat_map(|(_, line)| line).copied().collect();
        queue.take(lane, &mut batch, most_bytes).then(|| String::from_utf8(text(&batch)).unwrap())
    }

    fn push(queue: &Queue, lane: Lane, line: &str) {
        queue.try_push(lane, Duration::ZERO, line.as_bytes()).unwrap();
    }

    #[test]
    fn each_lane_has_its_own_and_lines_stay_whole() {
        let queue = Queue::new(Follows::Logs);
        assert_eq!((taken(&queue, Lane::Vitals, 100), queue.is_busy(Lane::Vitals)), (None, false));
        push(&queue, Lane::Logs, "log\n");
        ["first\n", "second\n", "third\n"].into_iter().for_each(|line| push(&queue, Lane::Vitals, line));
        assert_eq!(taken(&queue, Lane::Vitals, 14).as_deref(), Some("first\nsecond\n"));
        assert_eq!(taken(&queue, Lane::Vitals, 1).as_deref(), Some("third\n"), "one at least");
        assert_eq!(taken(&queue, Lane::Logs, 100).as_deref(), Some("log\n"));
        assert_eq!((taken(&queue, Lane::Logs, 100), queue.dropped()), (None, 0));
        assert!(queue.is_busy(Lane::Vitals), "they are on their way");
        queue.settle(Lane::Vitals);
        assert!(!queue.is_busy(Lane::Vitals) && queue.is_busy(Lane::Logs));
    }

    #[test]
    fn the_oldest_give_way_and_are_counted_but_not_what_is_on_its_way() {
        let queue = Queue::new(Follows::Nothing);
        // A KiB each, with what is kept of it besides.
        let line = |number: u32| format!("{number:01007}\n");
        (0..256).for_each(|number| push(&queue, Lane::Vitals, &line(number)));
        assert_eq!(queue.dropped(), 0, "it is just full");
        push(&queue, Lane::Vitals, &line(256));
        assert_eq!(queue.dropped(), 1);
        let batch = taken(&queue, Lane::Vitals, 128 * 1008).unwrap();
        assert!(batch.starts_with(&line(1)) && batch.len() == 128 * 1008);
        (257..257 + 200).for_each(|number| push(&queue, Lane::Vitals, &line(number)));
        assert_eq!(queue.dropped(), 201, "what was taken still counts");
        queue.settle(Lane::Vitals);
        assert!(taken(&queue, Lane::Vitals, 1).unwrap().starts_with(&line(457 - 128)), "the newest 128 KiB are there");
        queue.give_up(Lane::Vitals, 1);
        assert_eq!((queue.dropped(), taken(&queue, Lane::Vitals, 1)), (201 + 128, None));
    }

    #[test]
    fn without_a_lane_a_line_is_counted() {
        let queue = Queue::new(Follows::Nothing);
        queue.push(Lane::Logs, Duration::ZERO, b"log\n");
        assert_eq!((queue.dropped(), taken(&queue, Lane::Logs, 1)), (1, None));
    }

    #[test]
    fn a_queue_in_use_is_not_waited_for() {
        let queue = Queue::new(Follows::Nothing);
        let kept = queue.lock();
        assert_eq!(queue.try_push(Lane::Vitals, Duration::ZERO, b"a\n"), Err(Busy));
        drop(kept);
        assert_eq!(queue.try_push(Lane::Vitals, Duration::ZERO, b"a\n"), Ok(()));
    }

    proptest! {
        /// Whatever comes and goes: lines stay whole and in order, the bound holds, and each is taken or counted.
        #[test]
        fn nothing_is_lost_unseen(steps in proptest::collection::vec((1_usize..4096, any::<bool>(), 1_usize..200_000), 1..400)) {
            let queue = Queue::new(Follows::Nothing);
            let (mut pushed, mut seen, mut last) = (0_u64, 0_u64, 0_u64);
            for (width, takes, most_bytes) in steps {
                pushed += 1;
                push(&queue, Lane::Vitals, &format!("{pushed:0width$}\n"));
                let lanes = queue.lock();
                prop_assert!(lanes.vitals.lines.bytes() + lanes.vitals.taken_bytes <= VITALS_BYTES);
                drop(lanes);
                if let Some(batch) = takes.then(|| taken(&queue, Lane::Vitals, most_bytes)).flatten() {
                    for line in batch.lines() {
                        let number: u64 = line.parse().unwrap();
                        prop_assert!(number > last);
                        (last, seen) = (number, seen + 1);
                    }
                    queue.settle(Lane::Vitals);
                }
            }
            queue.give_up(Lane::Vitals, 0);
            prop_assert_eq!(pushed, seen + queue.dropped());
        }
    }
}
