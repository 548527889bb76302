//! Which lines of one runner are out already, for each way out: repeats are known by tag, `run` and `seq`.
//!
//! A run counts its lines, so 64 of them share a block of bits. What was not touched for ten minutes is forgotten; a
//! runner that makes up runs and numbers forgets its own oldest sooner, and that is counted. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::line::{RunId, Tag};

/// How many ways out there can be.
pub const WAYS: usize = 3;

/// How long a line is remembered at least, unless its runner has too many.
pub const REMEMBERED: Duration = Duration::from_mins(10);

/// Blocks that one runner may hold: 260,000 lines in a row.
const OWN_BLOCKS: usize = 4096;

/// Blocks that all runners may hold together, about 50 MiB.
const ALL_BLOCKS: usize = 400_000;

/// What names a line of one runner for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Of vitals or of a followed log: each counts for itself.
    pub tag: Tag,
    /// The process that wrote it.
    pub run: RunId,
    /// The how-manieth line of that process.
    pub seq: u64,
}

/// The blocks that all memories hold.
#[derive(Clone, Debug, Default)]
pub struct Blocks(Arc<AtomicUsize>);

/// What is out of one runner.
#[derive(Debug)]
pub struct Seen {
    blocks: HashMap<(Tag, RunId, u64), Block>,
    all: Blocks,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// By way: a bit for each of 64 lines.
    out: [u64; WAYS],
    touched_s: u32,
}

impl Seen {
    /// Nothing is out yet.
    #[must_use]
    pub fn new(all: Blocks) -> Self {
        Self { blocks: HashMap::new(), all }
    }

    /// Whether this line is not out by a way.
    #[must_use]
    pub fn is_missing(&self, key: Key, way: usize) -> bool {
        let (place, bit) = place(key);
        let out = self.blocks.get(&place).and_then(|block| block.out.get(way));
        out.is_none_or(|out| out & bit == 0)
    }

    /// Remembers that a line is out by a way; gives how many younger than ten minutes were forgotten for it.
    ///
    /// `now` counts from any fixed moment on.
    pub fn mark(&mut self, key: Key, way: usize, now: Duration) -> usize {
        let (place, bit) = place(key);
        let now_s = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let forgotten = if self.blocks.contains_key(&place) { 0 } else { self.make_room(now_s) };
        let blocks = &mut self.blocks;
        let all = &self.all;
        let block = blocks.entry(place).or_insert_with(|| {
            all.0.fetch_add(1, Ordering::Relaxed);
            Block::default()
        });
        block.touched_s = now_s;
        if let Some(out) = block.out.get_mut(way) {
            *out |= bit;
        }
        forgotten
    }

    /// Forgets what was not touched for [`REMEMBERED`].
    pub fn forget_old(&mut self, now: Duration) {
        let now_s = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        self.retain(|block| is_young(block, now_s));
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    fn make_room(&mut self, now_s: u32) -> usize {
        let is_full = self.blocks.len() >= OWN_BLOCKS || self.all.0.load(Ordering::Relaxed) >= ALL_BLOCKS;
        if !is_full || self.blocks.is_empty() {
            return 0;
        }
        self.retain(|block| is_young(block, now_s));
        let left = self.blocks.len();
        if left < OWN_BLOCKS && self.all.0.load(Ordering::Relaxed) < ALL_BLOCKS {
            return 0;
        }
        // A quarter at once, so that not every line looks through all of them.
        let mut times: Vec<u32> = self.blocks.values().map(|block| block.touched_s).collect();
        times.sort_unstable();
        let oldest = times.get(left / 4).copied().unwrap_or(now_s);
        let mut to_go = left / 4 + 1;
        self.retain(|block| {
            let goes = to_go > 0 && block.touched_s <= oldest;
            to_go -= usize::from(goes);
            !goes
        });
        left - self.blocks.len()
    }

    fn retain(&mut self, mut keeps: impl FnMut(&Block) -> bool) {
        let before = self.blocks.len();
        self.blocks.retain(|_, block| keeps(block));
        let gone = before - self.blocks.len();
        if gone > 0 {
            // Anew: a table marks the places of what is gone, and grows when marks have taken its room.
            self.blocks = std::mem::take(&mut self.blocks).into_iter().collect();
        }
        self.all.0.fetch_sub(gone, Ordering::Relaxed);
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.blocks.len(), Ordering::Relaxed);
    }
}

fn is_young(block: &Block, now_s: u32) -> bool {
    u64::from(now_s.saturating_sub(block.touched_s)) <= REMEMBERED.as_secs()
}

fn place(key: Key) -> ((Tag, RunId, u64), u64) {
    ((key.tag, key.run, key.seq / 64), 1 << (key.seq % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn key(run: u64, seq: u64) -> Key {
        Key { tag: Tag::Vitals, run: RunId::from_random(run), seq }
    }

    const T0: Duration = Duration::from_secs(1000);

    #[test]
    fn a_line_is_out_by_way_tag_run_and_number() {
        let mut seen = Seen::new(Blocks::default());
        seen.mark(key(1, 64), 0, T0);
        assert_eq!([0, 1, 2].map(|way| seen.is_missing(key(1, 64), way)), [false, true, true]);
        for other in [key(1, 63), key(1, 65), key(2, 64), Key { tag: Tag::Log, ..key(1, 64) }] {
            assert!(seen.is_missing(other, 0), "{other:?}");
        }
        seen.mark(key(1, u64::MAX), 2, T0);
        assert!(!seen.is_missing(key(1, u64::MAX), 2));
    }

    #[test]
    fn ten_minutes_are_remembered_and_no_more() {
        let all = Blocks::default();
        let mut seen = Seen::new(all.clone());
        seen.mark(key(1, 1), 0, T0);
        seen.forget_old(T0 + REMEMBERED);
        assert!(!seen.is_missing(key(1, 1), 0));
        seen.forget_old(T0 + REMEMBERED + Duration::from_secs(1));
        assert!(seen.is_empty());
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_runner_that_makes_up_lines_forgets_its_own_oldest() {
        let all = Blocks::default();
        let mut seen = Seen::new(all.clone());
        let mut forgotten = 0;
        for i in 0..3 * u64::try_from(OWN_BLOCKS).unwrap() {
            forgotten += seen.mark(key(1, i * 64), 0, T0 + Duration::from_millis(i));
            assert!(seen.blocks.len() <= OWN_BLOCKS);
            assert!(!seen.is_missing(key(1, i * 64), 0));
        }
        assert_eq!(forgotten + seen.blocks.len(), 3 * OWN_BLOCKS, "each is remembered or counted");
        assert_eq!(all.0.load(Ordering::Relaxed), seen.blocks.len());
        drop(seen);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn when_all_are_full_whoever_has_lines_gives_up_his_own() {
        let all = Blocks::default();
        all.0.store(ALL_BLOCKS, Ordering::Relaxed);
        let mut seen = Seen::new(all);
        for i in 0..1000 {
            seen.mark(key(1, i * 64), 0, T0);
            assert!(!seen.is_missing(key(1, i * 64), 0), "at least the newest");
            assert!(seen.blocks.len() <= 2);
        }
    }

    #[test]
    fn what_is_forgotten_leaves_no_room_behind() {
        let mut seen = Seen::new(Blocks::default());
        let blocks = u64::try_from(OWN_BLOCKS).unwrap();
        for i in 0..blocks {
            seen.mark(key(1, i * 64), 0, T0);
        }
        let full = seen.blocks.capacity();
        for i in blocks..20 * blocks {
            seen.mark(key(1, i * 64), 0, T0);
            assert!(seen.blocks.capacity() <= full, "{i}: {} of {full}", seen.blocks.capacity());
        }
        seen.forget_old(T0 + REMEMBERED + Duration::from_secs(1));
        assert_eq!(seen.blocks.capacity(), 0);
    }

    proptest! {
        #[test]
        fn it_is_a_set(lines in proptest::collection::vec((0_u64..3, 0_u64..300, 0_usize..WAYS), 0..400)) {
            let mut seen = Seen::new(Blocks::default());
            let mut model = HashSet::new();
            for (run, seq, way) in lines {
                prop_assert_eq!(seen.is_missing(key(run, seq), way), !model.contains(&(run, seq, way)));
                seen.mark(key(run, seq), way, T0);
                model.insert((run, seq, way));
            }
        }
    }
}
