//! The drawings of a fleet: claims against ready members, and who was there.

use crate::hub::diagnose::page::curve::{Curve, Look, Spot};
use crate::hub::diagnose::page::frame::{self, BELOW, BOTTOM, Chart, Numbers};
use crate::hub::diagnose::page::markup::Markup;
use crate::hub::diagnose::page::ticks::{self, Unit};
use crate::hub::diagnose::units::time;
use crate::hub::trail::film::view::{Axis, Scale};

use super::super::counts::so_many;
use super::super::course::Step;
use super::super::figures::Figures;
use super::super::look::Fleet;

/// What the axis counts, and how long a step is.
pub(super) fn caption(figures: &Figures) -> String {
    format!("{}, in steps of {}", ticks::caption(&axis(figures)), time(figures.course.step_ms))
}

/// All drawings, each with what it says.
pub(super) fn charts(fleet: &Fleet, numbers: &mut Numbers) -> [(Chart, Markup); 2] {
    let figures = &fleet.figures;
    let target = fleet.plan.as_ref().and_then(|plan| plan.spec.target);
    let target = target.and_then(|target| curve("target", Look::Limit, figures, |_| target.into()));
    let step = time(figures.course.step_ms);
    let (claims, unmet) = (figures.claims.count, figures.course.steps.iter().map(|step| step.unmet).sum::<usize>());
    let against = Chart {
        title: "Claims against ready members",
        unit: Unit::Count,
        curves: curve("fewest ready", Look::Second, figures, |step| step.ready_least).into_iter().collect(),
        notes: vec![
            format!("bars: claims in {step}, {claims} in all"),
            format!("solid: those that found no ready member, estimates included, {unmet}"),
        ],
    };
    let there = Chart {
        title: "Members",
        unit: Unit::Count,
        curves: [
            curve("ready", Look::First, figures, |step| step.ready_most),
            curve("warming", Look::Second, figures, |step| step.warming),
            curve("with a job", Look::Third, figures, |step| step.claimed),
            target,
        ]
        .into_iter()
        .flatten()
        .collect(),
        notes: vec!["the most in each step".to_owned()],
    };
    let drawn =
        [draw(&against, figures, Bars::Claims, numbers.next()), draw(&there, figures, Bars::None, numbers.next())];
    let [first, second] = drawn;
    [(against, first), (there, second)]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bars {
    None,
    Claims,
}

fn axis(figures: &Figures) -> Axis {
    Axis { scale: Scale::Time, from: figures.from_ms, to: figures.to_ms.max(figures.from_ms.saturating_add(1)) }
}

/// A figure of each step, level within it.
fn curve(name: &'static str, look: Look, figures: &Figures, of: impl Fn(&Step) -> i64) -> Option<Curve> {
    let steps = &figures.course.steps;
    let values = || steps.iter().map(&of);
    let ends = |step: &Step| [step.from_ms, step.to_ms].map(|position| Spot { position, value: of(step) });
    Some(Curve {
        name,
        look,
        lowest: values().min()?,
        highest: values().max()?,
        last: values().next_back()?,
        strokes: vec![steps.iter().flat_map(ends).collect()],
    })
}

fn draw(chart: &Chart, figures: &Figures, bars: Bars, number: u32) -> Markup {
    let axis = axis(figures);
    let steps: &[Step] = if bars == Bars::Claims { &figures.course.steps } else { &[] };
    let claims = steps.iter().map(|step| so_many(step.claims)).max().unwrap_or(0);
    let highest = chart.curves.iter().map(|curve| curve.highest).max().unwrap_or(0).max(claims);
    let (top, step) = chart.unit.scale(highest);
    let mut says = frame::description(chart, &axis);
    if bars == Bars::Claims {
        says = format!("{}. At most {claims} in a step. {says}", chart.notes.join("; "));
    }
    let mut svg = frame::open(BOTTOM + BELOW, number, chart.title, &says);
    frame::grid(&mut svg, chart.unit, (top, step));
    frame::along(&mut svg, &axis, BOTTOM);
    for step in steps {
        bar(&mut svg, "<rect class=\"claims\" x=\"", &axis, step, (step.claims, top));
        bar(&mut svg, "<rect class=\"unmet\" x=\"", &axis, step, (step.unmet, top));
    }
    for curve in &chart.curves {
        frame::stroke(&mut svg, curve, &axis, top);
    }
    frame::labels(&mut svg, chart, top);
    svg.tag("</svg>\n");
    svg
}

fn bar(svg: &mut Markup, open: &'static str, axis: &Axis, step: &Step, (count, top): (usize, i64)) {
    let Some((from, to)) = frame::x(axis, step.from_ms).zip(frame::x(axis, step.to_ms)) else { return };
    if count == 0 {
        return;
    }
    let y = frame::y(so_many(count), top);
    // Bars that touch would be an area.
    let width = (to - from - 4).max(10);
    svg.tag(open).tenths(from).tag("\" y=\"").tenths(y).tag("\" width=\"").tenths(width);
    svg.tag("\" height=\"").tenths(BOTTOM - y).tag("\"/>\n");
}
