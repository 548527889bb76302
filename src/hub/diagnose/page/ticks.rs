//! Where the marks of an axis stand and what is written beside them.

use crate::hub::trail::film::view::{Axis, Scale};

use super::super::units::at;

/// What a chart's figures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Tenths of a per cent, drawn from 0 to 100.
    Percent,
    /// KiB.
    Kib,
    /// Milliseconds.
    Ms,
    /// So many things.
    Count,
}

/// The most that is drawn of any figure: forged ones are larger than any machine.
const HIGHEST: i64 = 1 << 50;

impl Unit {
    /// The top of an axis that holds this figure, and the step of its marks.
    pub(crate) fn scale(self, highest: i64) -> (i64, i64) {
        let highest = highest.clamp(1, HIGHEST);
        match self {
            Self::Percent => (highest.max(1000), highest.max(1000) / 4),
            Self::Kib => up_to(highest, powers_of_two()),
            Self::Ms => up_to(highest.max(10), one_two_five()),
            Self::Count => up_to(highest.max(4), one_two_five()),
        }
    }

    /// A figure beside its mark.
    pub(crate) fn tick(self, value: i64) -> String {
        match self {
            Self::Percent => format!("{} %", value / 10),
            Self::Kib => kib(value),
            Self::Ms => ms(value),
            Self::Count => value.to_string(),
        }
    }

    /// A figure in a text.
    pub(crate) fn figure(self, value: i64) -> String {
        match self {
            Self::Percent => super::super::units::pct(value),
            Self::Kib => super::super::units::size(value),
            Self::Ms => super::super::units::time(value),
            Self::Count => value.to_string(),
        }
    }
}

/// The first step of which four or fewer reach the highest, and where the axis ends then.
fn up_to(highest: i64, mut steps: impl Iterator<Item = i64>) -> (i64, i64) {
    let step = steps.find(|step| highest <= step * 4).unwrap_or(HIGHEST);
    // A line along the very top would be hidden by the frame.
    let top = (highest + highest / 20 + 1).max(step);
    (top, step)
}

fn powers_of_two() -> impl Iterator<Item = i64> {
    (0..50).map(|power| 1 << power)
}

fn one_two_five() -> impl Iterator<Item = i64> {
    (0..15).flat_map(|power| [1, 2, 5].map(|of| of * 10_i64.pow(power)))
}

fn kib(value: i64) -> String {
    match value {
        0 => "0".to_owned(),
        ..1024 => format!("{value} KiB"),
        1024..1_048_576 => format!("{} MiB", value >> 10),
        1_048_576..1_073_741_824 => format!("{} GiB", value >> 20),
        _ => format!("{} TiB", value >> 30),
    }
}

fn ms(value: i64) -> String {
    match value {
        0 => "0".to_owned(),
        ..1000 => format!("{value} ms"),
        _ if value % 1000 == 0 => format!("{} s", value / 1000),
        _ => format!("{}.{} s", value / 1000, value % 1000 / 100),
    }
}

/// Steps of time: what clocks count by.
const TIME_STEPS_MS: [i64; 24] = [
    1,
    10,
    100,
    200,
    500,
    1000,
    2000,
    5000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    604_800_000,
];

/// How many marks an axis has room for.
const ALONG: i64 = 7;

/// Where on an axis marks stand, with what they say.
pub(crate) fn along(axis: &Axis) -> Vec<(i64, String)> {
    let span = axis.to.saturating_sub(axis.from).max(1);
    let fits = |step: &i64| span / step <= ALONG;
    let step = match axis.scale {
        Scale::Time => TIME_STEPS_MS.into_iter().find(fits),
        Scale::Lines => one_two_five().find(fits),
    };
    // What spans years has no step of its own.
    let step = step.unwrap_or(span / ALONG + 1);
    let first = axis.from.div_euclid(step).saturating_add(1).saturating_mul(step);
    let marks = (0..=ALONG).map(|nth| first.saturating_add(nth.saturating_mul(step)));
    marks.take_while(|mark| *mark <= axis.to).map(|mark| (mark, label(axis, mark, step))).collect()
}

fn label(axis: &Axis, mark: i64, step: i64) -> String {
    if axis.scale == Scale::Lines {
        return mark.to_string();
    }
    let whole = at(mark);
    // 2026-06-04T12:00:00.123Z
    let (date, clock) = whole.split_once('T').unwrap_or(("", whole.as_str()));
    let clock = match step {
        ..1000 => clock.get(..clock.len().min(12)),
        1000..60_000 => clock.get(..8),
        _ => clock.get(..5),
    };
    let day = date.get(date.len().saturating_sub(5)..).unwrap_or_default();
    match clock {
        None => whole,
        Some(_) if step >= 86_400_000 => date.to_owned(),
        Some(clock) if axis.to.saturating_sub(axis.from) > 86_400_000 => format!("{day} {clock}"),
        Some(clock) => clock.to_owned(),
    }
}

/// What an axis counts, in words.
pub(crate) fn caption(axis: &Axis) -> String {
    match axis.scale {
        Scale::Lines => "lines of the run: its clock is of no use".to_owned(),
        Scale::Time => {
            let day = |ms| at(ms).split('T').next().unwrap_or_default().to_owned();
            match (day(axis.from), day(axis.to)) {
                (from, to) if from == to => format!("UTC, {from}"),
                (from, to) => format!("UTC, {from} to {to}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(from: i64, to: i64) -> Vec<String> {
        along(&Axis { scale: Scale::Time, from, to }).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn marks_of_time_stand_where_clocks_count() {
        let day = 86_400_000;
        let cases = [
            ((1_500, 4_500), 6, "00:00:02.000"),
            ((999, 15_000), 7, "00:00:02"),
            ((0, 3_600_000), 6, "00:10"),
            ((0, 2 * day), 4, "01-01 12:00"),
            ((0, 20 * day), 2, "1970-01-08"),
        ];
        for ((from, to), count, first) in cases {
            let labels = time(from, to);
            assert_eq!((labels.len(), labels[0].as_str()), (count, first), "{from} to {to}: {labels:?}");
        }
        assert_eq!(caption(&Axis { scale: Scale::Time, from: 0, to: day }), "UTC, 1970-01-01 to 1970-01-02");
    }

    #[test]
    fn an_axis_holds_its_figures() {
        assert_eq!(Unit::Percent.scale(3), (1000, 250));
        assert_eq!(Unit::Kib.scale(223_620), (234_802, 65_536));
        assert_eq!(Unit::Ms.scale(9), (11, 5));
        assert_eq!([Unit::Count.scale(0), Unit::Count.scale(7)], [(5, 1), (8, 2)]);
        assert_eq!([Unit::Kib.tick(65_536), Unit::Kib.tick(0), Unit::Ms.tick(1500)], ["64 MiB", "0", "1.5 s"]);
    }

    proptest! {
        #[test]
        fn any_axis_has_marks_within_it(from: i64, to: i64, is_time: bool) {
            let axis = Axis { scale: if is_time { Scale::Time } else { Scale::Lines }, from, to: to.max(from) };
            let marks = along(&axis);
            prop_assert!(marks.len() <= 8);
            prop_assert!(marks.iter().all(|(mark, _)| (axis.from..=axis.to).contains(mark)));
            caption(&axis);
        }

        #[test]
        fn any_figure_has_its_axis(value: i64) {
            for unit in [Unit::Percent, Unit::Kib, Unit::Ms, Unit::Count] {
                let (top, step) = unit.scale(value);
                prop_assert!(step > 0 && top / step <= 8 && top >= value.min(HIGHEST));
                unit.tick(top);
                unit.figure(value);
            }
        }
    }
}
