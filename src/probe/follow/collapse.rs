//! Blocks of lines that come again and again become one line with a count. Pure.
//!
//! A block is of one to [`MOST_LINES`] lines. When the last so many lines of a file are those before them once more, line
//! by line, they are left out and counted. The first block is told as it came; what followed is told as the last line of
//! the last block, with the count: when other lines come, when the file is quiet for [`QUIET`], and every [`AT_LATEST`]
//! in between. Lines that could be the beginning of a repeat wait for the rest of it, no longer than [`QUIET`].

use std::collections::VecDeque;
use std::time::Duration;

/// The longest block.
pub const MOST_LINES: usize = 6;

/// After so much time without a line, what waits is told.
pub const QUIET: Duration = Duration::from_secs(1);

/// A count does not wait longer than this.
pub const AT_LATEST: Duration = Duration::from_secs(10);

/// A line to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<T> {
    /// The line.
    pub line: T,
    /// How many more times it came since it was last told, it and the lines of its block; 0 for a line of its own.
    pub repeats: u64,
    /// Of how many lines the block is.
    pub block: usize,
}

/// The last lines of one file.
#[derive(Debug)]
pub struct Collapse<T> {
    /// Keys of the last lines, the newest last.
    keys: VecDeque<u64>,
    /// Lines that are as those so many lines before them, each in its turn, and no whole block yet.
    held: Vec<T>,
    /// How many lines before: bit n for n + 1 lines. One bit while a block repeats.
    distances: u32,
    /// The last line of the last block that was left out and counted, and since when it waits to be told.
    counted: Option<(T, Duration)>,
    count: u64,
    block: usize,
    /// When the last line came.
    came_at: Duration,
}

/// Any distance.
const ANY: u32 = (1 << MOST_LINES) - 1;

impl<T> Default for Collapse<T> {
    fn default() -> Self {
        Self {
            keys: VecDeque::new(),
            held: Vec::new(),
            distances: ANY,
            counted: None,
            count: 0,
            block: 0,
            came_at: Duration::ZERO,
        }
    }
}

impl<T> Collapse<T> {
    /// Takes the next line, by what makes it the same as another, and tells what can be told.
    pub fn take(&mut self, key: u64, line: T, now: Duration, mut tell: impl FnMut(Told<T>)) {
        self.came_at = now;
        if self.distances & self.same(key) == 0 {
            self.release(&mut tell);
        }
        let distances = self.distances & self.same(key);
        self.keys.push_back(key);
        if self.keys.len() > MOST_LINES {
            self.keys.pop_front();
        }
        if distances == 0 {
            return tell(Told { line, repeats: 0, block: 0 });
        }
        self.distances = distances;
        self.held.push(line);
        let block = self.held.len();
        // A shorter one would have been complete before.
        if distances & bit(block) != 0 {
            self.block = block;
            self.distances = bit(block);
            self.count += 1;
            let since = self.counted.take().map_or(now, |(_, since)| since);
            self.counted = self.held.pop().map(|last| (last, since));
            self.held.clear();
        }
        if self.counted.as_ref().is_some_and(|(_, since)| now.saturating_sub(*since) >= AT_LATEST) {
            self.tell_count(&mut tell);
        }
    }

    /// Tells what has waited long enough.
    pub fn rest(&mut self, now: Duration, mut tell: impl FnMut(Told<T>)) {
        if now.saturating_sub(self.came_at) < QUIET {
            return;
        }
        if self.held.is_empty() { self.tell_count(&mut tell) } else { self.release(&mut tell) }
    }

    /// Tells all that waits: no more lines come, or they have nothing to do with these.
    pub fn finish(&mut self, mut tell: impl FnMut(Told<T>)) {
        self.release(&mut tell);
        self.keys.clear();
    }

    /// The distances at which the same line stands.
    fn same(&self, key: u64) -> u32 {
        let newest_first = self.keys.iter().rev().zip(1..);
        newest_first.filter(|(other, _)| **other == key).map(|(_, distance)| bit(distance)).sum()
    }

    fn release(&mut self, tell: &mut impl FnMut(Told<T>)) {
        self.tell_count(tell);
        self.held.drain(..).for_each(|line| tell(Told { line, repeats: 0, block: 0 }));
        self.distances = ANY;
    }

    fn tell_count(&mut self, tell: &mut impl FnMut(Told<T>)) {
        if let Some((line, _)) = self.counted.take() {
            tell(Told { line, repeats: std::mem::take(&mut self.count), block: self.block });
        }
    }
}

fn bit(distance: usize) -> u32 {
    let shift = u32::try_from(distance.saturating_sub(1)).unwrap_or(u32::MAX);
    1_u32.checked_shl(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of these lines, a letter a line; a count stands behind the line that it is told with.
    fn told(lines: &str) -> String {
        let (mut collapse, mut told) = (Collapse::default(), String::new());
        for line in lines.chars() {
            collapse.take(u64::from(line), line, Duration::ZERO, |line| put(&mut told, &line));
        }
        collapse.finish(|line| put(&mut told, &line));
        told
    }

    fn put(text: &mut String, told: &Told<char>) {
        text.push(told.line);
        if told.repeats > 0 {
            text.push_str(&format!("({}x{})", told.repeats, told.block));
        }
    }

    #[test]
    fn blocks_that_repeat_become_one_line() {
        let cases = [
            ("abc", "abc"),
            ("aab", "aa(1x1)b"),
            ("aaaab", "aa(3x1)b"),
            ("ababab", "abb(2x2)"),
            ("abcabcabcd", "abcc(2x3)d"),
            ("abcdefabcdefx", "abcdeff(1x6)x"),
            ("abcdefgabcdefg", "abcdefgabcdefg"),
            // The beginning of a repeat that does not come about.
            ("abcabd", "abcabd"),
            ("abababac", "abb(2x2)ac"),
            ("abcab", "abcab"),
            // The nearer one does not hold, the farther does.
            ("abacabacx", "abacc(1x4)x"),
            ("aabaab", "aa(1x1)bb(1x3)"),
        ];
        for (lines, expected) in cases {
            assert_eq!(told(lines), expected, "{lines}");
        }
    }

    #[test]
    fn nothing_waits_long() {
        let (mut collapse, mut text) = (Collapse::default(), String::new());
        let at = Duration::from_millis;
        collapse.take(1, 'a', at(0), |line| put(&mut text, &line));
        collapse.take(1, 'a', at(100), |line| put(&mut text, &line));
        collapse.rest(at(1000), |line| put(&mut text, &line));
        assert_eq!(text, "a");
        collapse.rest(at(1100), |line| put(&mut text, &line));
        assert_eq!(text, "aa(1x1)");
        // It goes on after that, and is told from time to time.
        (0..=201).for_each(|step| collapse.take(1, 'a', at(2000 + 100 * step), |line| put(&mut text, &line)));
        assert_eq!(text, "aa(1x1)a(101x1)a(101x1)");
        collapse.take(2, 'b', at(30_000), |line| put(&mut text, &line));
        collapse.take(1, 'a', at(30_000), |line| put(&mut text, &line));
        assert!(text.ends_with('b'), "it may be the beginning of a block: {text}");
        collapse.rest(at(31_000), |line| put(&mut text, &line));
        assert!(text.ends_with("ba"), "{text}");
    }

    proptest! {
        /// Each line is told or counted, and they can be put together again.
        #[test]
        fn nothing_is_lost(lines in "[abc]{0,40}") {
            let (mut collapse, mut again) = (Collapse::default(), String::new());
            let mut most = 0;
            let mut put = |told: Told<char>| {
                let block: String = again.chars().rev().take(told.block).collect::<Vec<_>>().into_iter().rev().collect();
                match told.repeats {
                    0 => again.push(told.line),
                    repeats => (0..repeats).for_each(|_| again.push_str(&block)),
                }
                assert!(again.ends_with(told.line));
            };
            for line in lines.chars() {
                collapse.take(u64::from(line), line, Duration::ZERO, &mut put);
                most = most.max(collapse.held.len());
            }
            collapse.finish(&mut put);
            prop_assert!(most < MOST_LINES);
            prop_assert_eq!(again, lines);
        }
    }
}
