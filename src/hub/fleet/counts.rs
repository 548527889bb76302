//! Counts over time, and the few statistics that figures are made of. Whole numbers all through.

/// A count as figures have them.
#[must_use]
pub fn so_many(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How many there were when: each count holds from its time on.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    points: Vec<(i64, i64)>,
}

impl Timeline {
    /// Of times from when to when something was there.
    pub fn of(spans: impl Iterator<Item = (i64, i64)>) -> Self {
        let mut points: Vec<(i64, i64)> =
            spans.filter(|(from, to)| from < to).flat_map(|(from, to)| [(from, 1), (to, -1)]).collect();
        points.sort_unstable();
        // Steps become counts where they are: members are many.
        let mut count = 0;
        for (_, step) in &mut points {
            count += *step;
            *step = count;
        }
        points.dedup_by(|later, kept| {
            let is_one = later.0 == kept.0;
            if is_one {
                kept.1 = later.1;
            }
            is_one
        });
        points.shrink_to_fit();
        Self { points }
    }

    /// How many there were at a time.
    #[must_use]
    pub fn at(&self, at_ms: i64) -> i64 {
        self.before_index(self.points.partition_point(|(at, _)| *at <= at_ms))
    }

    /// The stretches of equal counts between two times.
    pub fn stretches(&self, from_ms: i64, to_ms: i64) -> impl Iterator<Item = (i64, i64, i64)> {
        let first = self.points.partition_point(|(at, _)| *at <= from_ms);
        let inner = self.points.iter().skip(first).take_while(move |(at, _)| *at < to_ms).copied();
        let starts = std::iter::once((from_ms, self.before_index(first))).chain(inner);
        let ends = self.points.iter().skip(first).take_while(move |(at, _)| *at < to_ms).map(|(at, _)| *at);
        starts.zip(ends.chain([to_ms])).map(|((from, count), to)| (from, to, count)).filter(|(from, to, _)| from < to)
    }

    /// The lowest count between two times.
    #[must_use]
    pub fn min(&self, from_ms: i64, to_ms: i64) -> Option<i64> {
        self.stretches(from_ms, to_ms).map(|(_, _, count)| count).min()
    }

    /// The highest.
    #[must_use]
    pub fn max(&self, from_ms: i64, to_ms: i64) -> Option<i64> {
        self.stretches(from_ms, to_ms).map(|(_, _, count)| count).max()
    }

    /// The mean over the time, hundredths.
    #[must_use]
    pub fn mean_hundredths(&self, from_ms: i64, to_ms: i64) -> Option<i64> {
        let span = to_ms.checked_sub(from_ms).filter(|span| *span > 0)?;
        let area: i128 =
            self.stretches(from_ms, to_ms).map(|(from, to, count)| i128::from(to - from) * i128::from(count)).sum();
        i64::try_from(area * 100 / i128::from(span)).ok()
    }

    /// The times without any, each behind one with some: when it began and how long it lasted.
    #[must_use]
    pub fn gaps(&self, from_ms: i64, to_ms: i64) -> Vec<(i64, i64)> {
        let mut had = false;
        let mut gaps = Vec::new();
        for (from, to, count) in self.stretches(from_ms, to_ms) {
            if count == 0 && had {
                gaps.push((from, to - from));
            }
            had = count > 0;
        }
        gaps
    }

    fn before_index(&self, index: usize) -> i64 {
        index.checked_sub(1).and_then(|last| self.points.get(last)).map_or(0, |(_, count)| *count)
    }
}

/// What is said of many times: by nearest rank, so that each is one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// Of how many.
    pub count: usize,
    /// Half are at most this, ms.
    pub p50_ms: u64,
    /// 95 of 100 are.
    pub p95_ms: u64,
    /// All are.
    pub max_ms: u64,
}

impl Quantiles {
    /// `None` of none.
    #[must_use]
    pub fn of(mut all: Vec<u64>) -> Option<Self> {
        all.sort_unstable();
        let rank = |percent: usize| all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { count: all.len(), p50_ms: rank(50)?, p95_ms: rank(95)?, max_ms: rank(100)? })
    }
}

/// The most times within any stretch of so long, and when that began.
#[must_use]
pub fn most_within(sorted: &[i64], within_ms: i64) -> Option<(usize, i64)> {
    let mut first = 0;
    let mut most: Option<(usize, i64)> = None;
    for (at, time) in sorted.iter().enumerate() {
        while sorted.get(first).is_some_and(|began| time - began >= within_ms) {
            first += 1;
        }
        let count = at + 1 - first;
        if most.is_none_or(|(most, _)| count > most) {
            most = Some((count, sorted.get(first).copied().unwrap_or(*time)));
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_hold_from_their_time_on() {
        let all = Timeline::of([(10, 20), (15, 30), (40, 50), (60, 60)].into_iter());
        assert_eq!([5, 10, 15, 20, 30, 45, 60].map(|at| all.at(at)), [0, 1, 2, 1, 0, 1, 0]);
        assert_eq!((all.min(10, 30), all.max(0, 60), all.min(16, 16)), (Some(1), Some(2), None));
        assert_eq!(all.mean_hundredths(10, 30), Some(125));
        assert_eq!(all.gaps(0, 60), [(30, 10), (50, 10)]);
        assert_eq!(Timeline::default().mean_hundredths(0, 10), Some(0));
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let of = |count: u64| Quantiles::of((1..=count).rev().collect());
        assert_eq!(of(0), None);
        assert_eq!(of(1), Some(Quantiles { count: 1, p50_ms: 1, p95_ms: 1, max_ms: 1 }));
        assert_eq!(of(20), Some(Quantiles { count: 20, p50_ms: 10, p95_ms: 19, max_ms: 20 }));
        assert_eq!(of(100).map(|all| all.p95_ms), Some(95));
    }

    #[test]
    fn the_most_within_a_stretch_are_found_wherever_it_begins() {
        assert_eq!(most_within(&[], 10), None);
        assert_eq!(most_within(&[0, 9, 10, 18, 19, 40], 10), Some((3, 9)));
        assert_eq!(most_within(&[0, 10], 10), Some((1, 0)), "a stretch ends before it is over");
    }
}
