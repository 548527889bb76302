//! One reading in one column: the lowest, the highest, the first and the last, in any order of its samples.

/// The room that a column takes.
pub const COLUMN_BYTES: usize = size_of::<Option<Column>>();

/// A reading of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The line that it stood in.
    pub seq: u64,
    /// Where on the axis.
    pub position: i64,
    /// The reading.
    pub value: i64,
}

/// What is kept of the samples in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The lowest.
    pub low: i64,
    /// The highest.
    pub high: i64,
    /// That of the first line.
    pub first: Point,
    /// That of the last line.
    pub last: Point,
}

impl Column {
    /// Of one sample.
    #[must_use]
    pub const fn of(point: Point) -> Self {
        Self { low: point.value, high: point.value, first: point, last: point }
    }

    /// Takes another sample.
    pub fn take(&mut self, point: Point) {
        self.low = self.low.min(point.value);
        self.high = self.high.max(point.value);
        if point.seq < self.first.seq {
            self.first = point;
        }
        if point.seq > self.last.seq {
            self.last = point;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_the_same_in_any_order() {
        let points = [(1, 5), (2, 900), (3, -3), (4, 7)].map(|(seq, value)| Point { seq, position: 0, value });
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut column = Column::of(points[order[0]]);
            for nth in &order[1..] {
                column.take(points[*nth]);
            }
            assert_eq!((column.low, column.high, column.first, column.last), (-3, 900, points[0], points[3]));
        }
    }
}
