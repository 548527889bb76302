//! The largest of the processes that it is fed, in a room of their own: kept without allocating, when memory has just
//! run out. What feeds it: the OOM killer's table of tasks, or a look through `/proc`.

use super::fixed::Fixed;

/// How many are told.
pub const MOST: usize = 5;

/// A process's name as it came; one byte more than a line prints, so that a cut shows.
pub type Comm = Fixed<65>;

/// One process and the memory that it holds.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Its process id, in the namespace of whoever told it.
    pub pid: u64,
    /// Its resident memory in KiB.
    pub rss_kb: u64,
    /// Its `oom_score_adj`; `None` where nobody told it.
    pub adj: Option<i64>,
    /// Its name.
    pub comm: Comm,
}

/// The `N` largest, by resident memory.
#[derive(Clone, Copy, Debug)]
pub struct Largest<const N: usize = MOST>([Option<Task>; N]);

impl<const N: usize> Default for Largest<N> {
    fn default() -> Self {
        Self([None; N])
    }
}

impl<const N: usize> Largest<N> {
    /// Takes one more; of two that are as large, the first comes first.
    pub fn take(&mut self, task: Task) {
        let place = self.0.iter().position(|kept| kept.as_ref().is_none_or(|kept| kept.rss_kb < task.rss_kb));
        let Some(behind) = place.and_then(|place| self.0.get_mut(place..)) else { return };
        behind.rotate_right(1);
        if let Some(free) = behind.first_mut() {
            *free = Some(task);
        }
    }

    /// Those kept, the largest first.
    pub fn iter(&self) -> impl Iterator<Item = &Task> + Clone {
        self.0.iter().flatten()
    }

    /// Those kept, the largest first, to say more of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Task> {
        self.0.iter_mut().flatten()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_in_order() {
        for (fed, kept) in [
            (&[][..], &[][..]),
            (&[7], &[7]),
            (&[1, 2, 3, 4], &[4, 3, 2]),
            (&[4, 3, 2, 1], &[4, 3, 2]),
            (&[0, 9, 0, 9], &[9, 9, 0]),
        ] {
            let mut largest = Largest::<3>::default();
            fed.iter()
                .for_each(|rss_kb| largest.take(Task { pid: 1, rss_kb: *rss_kb, adj: None, comm: Fixed::of(b"") }));
            assert_eq!(largest.iter().map(|task| task.rss_kb).collect::<Vec<_>>(), kept, "{fed:?}");
            assert_eq!(largest.is_empty(), fed.is_empty());
        }
    }

    #[test]
    fn of_two_as_large_the_first_comes_first() {
        let mut largest = Largest::<3>::default();
        for (pid, rss_kb) in [(1, 5), (2, 5), (3, 9), (4, 5)] {
            largest.take(Task { pid, rss_kb, adj: None, comm: Fixed::of(b"") });
        }
        assert_eq!(largest.iter().map(|task| task.pid).collect::<Vec<_>>(), [3, 1, 2]);
    }
}
