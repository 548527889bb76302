//! How a fleet fared from step to step of its span: what the page draws. As many steps as a screen has room for.

use super::counts::Timeline;

/// No course has more steps.
const STEPS: i64 = 120;

/// Steps that clocks count by, ms.
const STEPS_MS: [i64; 13] = [
    1000, 5000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000, 21_600_000,
    86_400_000,
];

/// All steps of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// How long a step is, ms; the first and the last can be shorter.
    pub step_ms: i64,
    /// Each.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// When it began, ms since 1970.
    pub from_ms: i64,
    /// When it ended.
    pub to_ms: i64,
    /// The fewest that were ready.
    pub ready_least: i64,
    /// The most that were.
    pub ready_most: i64,
    /// The most that were warming.
    pub warming: i64,
    /// The most that had a job.
    pub claimed: i64,
    /// Jobs that were taken.
    pub claims: usize,
    /// Of these those that found no ready member, estimates included.
    pub unmet: usize,
}

/// How many members were what when.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// Ready.
    pub ready: Timeline,
    /// Warming.
    pub warming: Timeline,
    /// With a job.
    pub claimed: Timeline,
}

impl Course {
    /// The course between two times; `claims` and those `unmet` by the time at which they were taken, sorted.
    #[must_use]
    pub fn of((from_ms, to_ms): (i64, i64), members: &Members, claims: &[i64], unmet: &[i64]) -> Self {
        let span = to_ms.saturating_sub(from_ms);
        let step_ms = STEPS_MS.into_iter().find(|step| span / step < STEPS).unwrap_or(span / STEPS + 1);
        let mut steps = Vec::new();
        let mut from = from_ms;
        while from < to_ms {
            let to = from.div_euclid(step_ms).saturating_add(1).saturating_mul(step_ms).min(to_ms);
            let within = |times: &[i64]| {
                // What was taken at the very end is of the last step.
                let until = if to == to_ms { to.saturating_add(1) } else { to };
                times.partition_point(|at| *at < until) - times.partition_point(|at| *at < from)
            };
            steps.push(Step {
                from_ms: from,
                to_ms: to,
                ready_least: members.ready.min(from, to).unwrap_or(0),
                ready_most: members.ready.max(from, to).unwrap_or(0),
                warming: members.warming.max(from, to).unwrap_or(0),
                claimed: members.claimed.max(from, to).unwrap_or(0),
                claims: within(claims),
                unmet: within(unmet),
            });
            from = to;
        }
        Self { step_ms, steps }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_stand_where_clocks_count_and_hold_all_claims() {
        let members = Members { ready: Timeline::of([(70_000, 130_000)].into_iter()), ..Members::default() };
        let course = Course::of((50_000, 19_000_000), &members, &[50_000, 299_999, 300_000, 19_000_000], &[300_000]);
        assert_eq!((course.step_ms, course.steps.len()), (300_000, 64));
        let steps: Vec<(i64, i64, usize, usize)> =
            course.steps.iter().map(|one| (one.from_ms, one.ready_most, one.claims, one.unmet)).collect();
        assert_eq!(steps[..3], [(50_000, 1, 2, 0), (300_000, 0, 1, 1), (600_000, 0, 0, 0)]);
        assert_eq!(steps.last().map(|step| step.2), Some(1));
        assert_eq!(course.steps[0].ready_least, 0);
        assert_eq!(Course::of((5, 5), &members, &[], &[]).steps, []);
    }

    proptest! {
        #[test]
        fn no_span_has_too_many_steps(from in -1_i64 << 50..1 << 50, span in 0..1_i64 << 50) {
            let course = Course::of((from, from + span), &Members::default(), &[], &[]);
            prop_assert!(course.steps.len() <= 122);
            prop_assert_eq!(course.steps.iter().map(|step| step.to_ms - step.from_ms).sum::<i64>(), span);
        }
    }
}
