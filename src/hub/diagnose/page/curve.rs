//! A reading as lines to be drawn: from columns to strokes, broken where the run has a gap.

use crate::hub::trail::film::column::Column;
use crate::hub::trail::film::view::Scale;

/// How a curve looks: a colour and a dash each, so that either alone tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    First,
    Second,
    Third,
    /// What the others must stay below.
    Limit,
}

/// A place in a drawing: where on its axis, and the figure there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) position: i64,
    pub(crate) value: i64,
}

/// A reading in time.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) look: Look,
    /// Each from left to right.
    pub(crate) strokes: Vec<Vec<Spot>>,
    pub(crate) lowest: i64,
    pub(crate) highest: i64,
    pub(crate) last: i64,
}

impl Curve {
    /// The readings themselves, extremes and all; `None` where there is none. What is further apart than `gap` is not joined.
    pub(crate) fn of<'c>(
        name: &'static str,
        look: Look,
        columns: impl Iterator<Item = &'c Column>,
        gap: i64,
    ) -> Option<Self> {
        let mut strokes = Strokes::new(gap);
        let mut last = None;
        for column in columns {
            strokes.begin(column.first.position);
            for spot in spots(column) {
                strokes.push(spot);
            }
            last = Some(column.last.value);
        }
        strokes.done(name, look, last?)
    }

    /// By how much a count rises: a second where time is counted, else a line. Between two columns it is a mean; where the count
    /// went back there is nothing.
    pub(crate) fn rise<'c>(
        name: &'static str,
        look: Look,
        columns: impl Iterator<Item = &'c Column>,
        gap: i64,
        scale: Scale,
    ) -> Option<Self> {
        let mut strokes = Strokes::new(gap);
        let mut before: Option<&Column> = None;
        let mut last = None;
        for column in columns {
            let from = before.replace(column).map(|before| before.last);
            let Some(from) = from else { continue };
            let (rise, span) = (column.last.value.checked_sub(from.value), column.last.position - from.position);
            let Some(rise) = rise.filter(|rise| *rise >= 0 && span > 0) else { continue };
            let value = match scale {
                Scale::Time => rise.saturating_mul(1000) / span,
                Scale::Lines => rise / span,
            };
            strokes.begin(from.position);
            for position in [from.position, column.last.position] {
                strokes.push(Spot { position, value });
            }
            last = Some(value);
        }
        strokes.done(name, look, last?)
    }

    /// How many spots it has.
    pub(crate) fn spots(&self) -> usize {
        self.strokes.iter().map(Vec::len).sum()
    }
}

/// The first, the lowest and the highest, and the last of a column.
fn spots(column: &Column) -> impl Iterator<Item = Spot> {
    let (first, last) = (column.first, column.last);
    let middle = first.position.midpoint(last.position);
    let between =
        [column.low, column.high].into_iter().filter(move |value| *value != first.value && *value != last.value);
    let last_spot = (last.seq != first.seq).then_some(Spot { position: last.position, value: last.value });
    std::iter::once(Spot { position: first.position, value: first.value })
        .chain(between.map(move |value| Spot { position: middle, value }))
        .chain(last_spot)
}

struct Strokes {
    gap: i64,
    all: Vec<Vec<Spot>>,
}

impl Strokes {
    fn new(gap: i64) -> Self {
        Self { gap, all: Vec::new() }
    }

    /// What comes next begins here: a new stroke where that is far from the last.
    fn begin(&mut self, position: i64) {
        let last = self.all.last().and_then(|stroke| stroke.last());
        if last.is_none_or(|last| position.saturating_sub(last.position) > self.gap) {
            self.all.push(Vec::new());
        }
    }

    fn push(&mut self, spot: Spot) {
        if let Some(stroke) = self.all.last_mut() {
            stroke.push(spot);
        }
    }

    fn done(self, name: &'static str, look: Look, last: i64) -> Option<Curve> {
        let values = || self.all.iter().flatten().map(|spot| spot.value);
        let (lowest, highest) = values().min().zip(values().max())?;
        Some(Curve { name, look, strokes: self.all, lowest, highest, last })
    }
}

#[cfg(test)]
mod tests {
    use crate::hub::trail::film::column::Point;

    use super::*;

    fn columns(points: &[(i64, i64)]) -> Vec<Column> {
        let point = |(at, (position, value)): (usize, &(i64, i64))| Point {
            seq: at as u64,
            position: *position,
            value: *value,
        };
        points.iter().enumerate().map(point).map(Column::of).collect()
    }

    #[test]
    fn extremes_within_a_column_are_drawn() {
        let mut column = Column::of(Point { seq: 1, position: 10, value: 5 });
        column.take(Point { seq: 2, position: 11, value: 99 });
        column.take(Point { seq: 3, position: 12, value: 6 });
        let curve = Curve::of("x", Look::First, [column].iter(), 5).unwrap();
        let drawn: Vec<(i64, i64)> = curve.strokes[0].iter().map(|spot| (spot.position, spot.value)).collect();
        assert_eq!(drawn, [(10, 5), (11, 99), (12, 6)]);
        assert_eq!((curve.lowest, curve.highest, curve.last), (5, 99, 6));
    }

    #[test]
    fn a_gap_breaks_a_curve() {
        let columns = columns(&[(0, 1), (5, 2), (100, 3)]);
        let curve = Curve::of("x", Look::First, columns.iter(), 10).unwrap();
        assert_eq!(curve.strokes.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        assert!(Curve::of("x", Look::First, [].iter(), 10).is_none());
    }

    #[test]
    fn a_count_is_drawn_by_its_rise() {
        let columns = columns(&[(0, 100), (1000, 350), (2000, 10), (3000, 10)]);
        let curve = Curve::rise("x", Look::First, columns.iter(), 10_000, Scale::Time).unwrap();
        assert_eq!((curve.highest, curve.last, curve.spots()), (250, 0, 4));
        assert!(Curve::rise("x", Look::First, columns[..1].iter(), 10, Scale::Time).is_none());
    }
}
