//! What all drawings of a page have in common: the frame, the axes, curves, and the label of each curve beside its end.
//!
//! All lengths are whole tenths, so that the same input gives the same bytes. Each drawing has a title and a description in words.

use crate::hub::trail::film::view::Axis;

use super::curve::{Curve, Look};
use super::markup::Markup;
use super::ticks::{self, Unit};

/// Left and right end of what is drawn in, tenths.
pub(crate) const LEFT: i64 = 700;
pub(crate) const RIGHT: i64 = 6900;
/// Where labels begin.
pub(crate) const LABELS: i64 = 7020;
/// Top and bottom of a chart.
pub(crate) const TOP: i64 = 310;
pub(crate) const BOTTOM: i64 = 1710;
/// The height of the axis below everything.
pub(crate) const BELOW: i64 = 220;
/// How close labels can be.
const LABEL: i64 = 160;
/// A curve of so few spots has a dot at each.
const DOTTED: usize = 80;
/// One of so many is drawn thin, or it would be an area.
const DENSE: usize = 600;

/// A chart.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) curves: Vec<Curve>,
    /// What its curves are, and what is not told.
    pub(crate) notes: Vec<String>,
}

/// Names of the drawings of a page: each its own number.
#[derive(Debug, Default)]
pub(crate) struct Numbers(u32);

impl Numbers {
    pub(crate) fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

pub(crate) fn open(height: i64, number: u32, title: &str, description: &str) -> Markup {
    let mut svg = Markup::default();
    svg.tag("<svg role=\"img\" viewBox=\"0 0 960 ").tenths(height).tag("\" aria-labelledby=\"t");
    svg.number(number).tag(" d").number(number).tag("\"><title id=\"t").number(number).tag("\">");
    svg.text(title).tag("</title><desc id=\"d").number(number).tag("\">").text(description).tag("</desc>\n");
    svg
}

/// What a chart shows, in words.
pub(crate) fn description(chart: &Chart, axis: &Axis) -> String {
    let of = |curve: &Curve| {
        let [lowest, highest, last] = [curve.lowest, curve.highest, curve.last].map(|value| chart.unit.figure(value));
        format!("{}: lowest {lowest}, highest {highest}, last {last}", curve.name)
    };
    let curves: Vec<String> = chart.curves.iter().map(of).collect();
    format!("{}. {}", curves.join("; "), ticks::caption(axis))
}

/// Where on a drawing a position is; `None` outside of it.
pub(crate) fn x(axis: &Axis, position: i64) -> Option<i64> {
    Some(LEFT + axis.part(position, RIGHT - LEFT)?)
}

/// Where a figure is, on an axis that ends at `top`.
pub(crate) fn y(value: i64, top: i64) -> i64 {
    let share = i128::from(value.clamp(0, top)) * i128::from(BOTTOM - TOP) / i128::from(top.max(1));
    BOTTOM - i64::try_from(share).unwrap_or(0)
}

/// The marks of the axis at the left.
pub(crate) fn grid(svg: &mut Markup, unit: Unit, (top, step): (i64, i64)) {
    for nth in 0..=8 {
        let value = step * nth;
        if value <= top {
            line(svg, "<path class=\"grid\" d=\"M", (LEFT, y(value, top)), (RIGHT, y(value, top)));
            text(svg, "<text class=\"end\" x=\"", LEFT - 60, y(value, top) + 40, &unit.tick(value));
        }
    }
}

/// The axis below.
pub(crate) fn along(svg: &mut Markup, axis: &Axis, bottom: i64) {
    line(svg, "<path class=\"axis\" d=\"M", (LEFT, bottom), (RIGHT, bottom));
    for (position, label) in ticks::along(axis) {
        if let Some(x) = x(axis, position) {
            line(svg, "<path class=\"grid\" d=\"M", (x, TOP), (x, bottom + 40));
            text(svg, "<text class=\"middle\" x=\"", x, bottom + 170, &label);
        }
    }
}

/// A curve.
pub(crate) fn stroke(svg: &mut Markup, curve: &Curve, axis: &Axis, top: i64) {
    svg.tag("<path class=\"curve ").tag(class(curve.look));
    svg.tag(if curve.spots() > DENSE { " dense\" d=\"" } else { "\" d=\"" });
    for stroke in &curve.strokes {
        let mut begin = "M";
        for spot in stroke {
            if let Some(x) = x(axis, spot.position) {
                svg.tag(begin).tenths(x).tag(",").tenths(y(spot.value, top));
                begin = "L";
            }
        }
    }
    svg.tag("\"/>");
    if curve.spots() <= DOTTED && curve.look != Look::Limit {
        for spot in curve.strokes.iter().flatten() {
            if let Some(x) = x(axis, spot.position) {
                svg.tag("<circle class=\"").tag(class(curve.look)).tag("\" cx=\"").tenths(x);
                svg.tag("\" cy=\"").tenths(y(spot.value, top)).tag("\" r=\"2\"/>");
            }
        }
    }
}

/// Beside the end of each curve what it is, and its figures; pushed apart where they would meet.
pub(crate) fn labels(svg: &mut Markup, chart: &Chart, top: i64) {
    let mut curves: Vec<&Curve> = chart.curves.iter().collect();
    curves.sort_by_key(|curve| y(curve.last, top));
    let mut places: Vec<i64> = Vec::new();
    for curve in &curves {
        let lowest = places.last().map_or(TOP, |last| last + LABEL);
        places.push(y(curve.last, top).max(lowest));
    }
    // What was pushed out of the bottom pushes back.
    let mut highest = BOTTOM;
    for place in places.iter_mut().rev() {
        *place = (*place).min(highest);
        highest = *place - LABEL;
    }
    for (curve, place) in curves.into_iter().zip(places) {
        svg.tag("<path class=\"beside curve ")
            .tag(class(curve.look))
            .tag("\" d=\"M")
            .tenths(RIGHT + 40)
            .tag(",")
            .tenths(place);
        svg.tag("h24\"/>");
        text(svg, "<text class=\"beside\" x=\"", LABELS + 200, place + 40, &label(chart, curve));
    }
}

/// A curve's name and figures.
pub(crate) fn label(chart: &Chart, curve: &Curve) -> String {
    let [last, highest] = [curve.last, curve.highest].map(|value| chart.unit.figure(value));
    let peak = if last == highest { String::new() } else { format!(", peak {highest}") };
    format!("{} {last}{peak}", curve.name)
}

/// How a curve looks.
pub(crate) const fn class(look: Look) -> &'static str {
    match look {
        Look::First => "c1",
        Look::Second => "c2",
        Look::Third => "c3",
        Look::Limit => "limit",
    }
}

/// A straight line.
pub(crate) fn line(svg: &mut Markup, open: &'static str, from: (i64, i64), to: (i64, i64)) {
    svg.tag(open).tenths(from.0).tag(",").tenths(from.1).tag("L").tenths(to.0).tag(",").tenths(to.1).tag("\"/>");
}

/// A text, escaped.
pub(crate) fn text(svg: &mut Markup, open: &'static str, x: i64, y: i64, text: &str) {
    svg.tag(open).tenths(x).tag("\" y=\"").tenths(y).tag("\">").text(text).tag("</text>\n");
}

/// A drawing with what it shows above it; beside no drawing that says why there is none.
pub(crate) fn figure(html: &mut Markup, chart: &Chart, drawing: Option<&Markup>) {
    html.tag("<figure>\n<figcaption>").tag(chart.title).tag(" <span class=\"note\">");
    html.text(&chart.notes.join("; ")).tag("</span></figcaption>\n");
    if let Some(drawing) = drawing {
        html.tag("<div class=\"chart\">").add(drawing).tag("</div>\n");
        // Where a screen is too narrow for the labels beside the curves.
        html.tag("<p class=\"legend note\" aria-hidden=\"true\">");
        for curve in &chart.curves {
            html.tag("<span><span class=\"key ").tag(class(curve.look)).tag("\"></span>");
            html.text(&label(chart, curve)).tag("</span> ");
        }
        html.tag("</p>\n");
    }
    html.tag("</figure>\n");
}
