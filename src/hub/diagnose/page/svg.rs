//! A chart as SVG: frame, marks, curves, the label of each curve beside its end.
//!
//! All lengths are whole tenths, so that the same trail gives the same bytes. Each drawing has a title and a description in words.

use crate::hub::trail::film::view::{Axis, Lane, View};

use super::charts::Chart;
use super::curve::{Curve, Look};
use super::markup::Markup;
use super::ticks;

/// Left and right end of what is drawn in, tenths.
const LEFT: i64 = 700;
const RIGHT: i64 = 6900;
/// Where labels begin.
const LABELS: i64 = 7020;
/// Top and bottom of a chart.
const TOP: i64 = 310;
const BOTTOM: i64 = 1710;
/// Where what is marked has its name: above that, or above the name of something else.
const NAMES: [i64; 2] = [TOP - 50, TOP - 190];
/// The height of a lane of events, and of the axis below everything.
const LANE: i64 = 180;
const BELOW: i64 = 220;
/// How close labels can be.
const LABEL: i64 = 160;
/// The width of a letter, about.
const LETTER: i64 = 75;
/// A curve of so few spots has a dot at each.
const DOTTED: usize = 80;
/// One of so many is drawn thin, or it would be an area.
const DENSE: usize = 600;

/// The end of the runner on an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    /// The last line.
    pub(super) from: i64,
    /// When the next was due; the same as `from` where none was.
    pub(super) to: i64,
    /// What it was, in a word or two.
    pub(super) label: &'static str,
}

/// Names of the drawings of a page: each its own number.
#[derive(Debug, Default)]
pub(super) struct Numbers(u32);

impl Numbers {
    pub(super) fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

/// Draws a chart that has curves.
pub(super) fn chart(chart: &Chart, view: &View, death: Death, number: u32) -> Markup {
    let highest = chart.curves.iter().map(|curve| curve.highest).max().unwrap_or(1);
    let (top, step) = chart.unit.scale(highest);
    let mut svg = open(BOTTOM + BELOW, number, chart.title, &description(chart, &view.axis));
    let y = |value: i64| {
        let share = i128::from(value.clamp(0, top)) * i128::from(BOTTOM - TOP) / i128::from(top.max(1));
        BOTTOM - i64::try_from(share).unwrap_or(0)
    };
    shade(&mut svg, &view.axis, death, BOTTOM);
    for nth in 0..=8 {
        let value = step * nth;
        if value <= top {
            line(&mut svg, "<path class=\"grid\" d=\"M", (LEFT, y(value)), (RIGHT, y(value)));
            text(&mut svg, "<text class=\"end\" x=\"", LEFT - 60, y(value) + 40, &chart.unit.tick(value));
        }
    }
    along(&mut svg, &view.axis, BOTTOM);
    events(&mut svg, view, death);
    for curve in &chart.curves {
        stroke(&mut svg, curve, &view.axis, y);
    }
    labels(&mut svg, chart, y);
    svg.tag("</svg>\n");
    svg
}

/// Draws the lanes of what happened, one each; `None` where nothing did.
pub(super) fn lanes(view: &View, death: Death, number: u32) -> Option<Markup> {
    let lanes: Vec<Lane> = Lane::ALL.into_iter().filter(|lane| view.lane(*lane).next().is_some()).collect();
    let bottom = TOP + LANE * i64::try_from(lanes.len()).ok()?;
    let total = |lane| view.lane(lane).fold(0_u64, |sum, marks| sum + u64::from(marks.count));
    let told: Vec<String> = lanes.iter().map(|lane| format!("{}: {}", name(*lane), total(*lane))).collect();
    if lanes.is_empty() {
        return None;
    }
    let mut svg = open(bottom + BELOW, number, "Events", &told.join(", "));
    shade(&mut svg, &view.axis, death, bottom);
    along(&mut svg, &view.axis, bottom);
    for (nth, lane) in lanes.into_iter().enumerate() {
        let y = TOP + LANE * i64::try_from(nth).ok()?;
        line(&mut svg, "<path class=\"grid\" d=\"M", (LEFT, y + LANE), (RIGHT, y + LANE));
        text(&mut svg, "<text class=\"end\" x=\"", LEFT - 60, y + 130, name(lane));
        svg.tag("<path class=\"mark\" d=\"");
        for marks in view.lane(lane) {
            if let Some(x) = x(&view.axis, marks.position) {
                svg.tag("M").tenths(x - 20).tag(",").tenths(y + 40).tag("h4v11h-4z");
            }
        }
        svg.tag("\"/>");
        text(&mut svg, "<text x=\"", LABELS, y + 130, &total(lane).to_string());
    }
    svg.tag("</svg>\n");
    Some(svg)
}

const fn name(lane: Lane) -> &'static str {
    match lane {
        Lane::Oom => "oom",
        Lane::Kernel => "kernel",
        Lane::Pressure => "pressure",
        Lane::Agent => "agent",
        Lane::Disk => "disk",
        Lane::Gap => "gap",
        Lane::Degraded => "degraded",
        Lane::Stop => "stop",
    }
}

fn open(height: i64, number: u32, title: &str, description: &str) -> Markup {
    let mut svg = Markup::default();
    svg.tag("<svg role=\"img\" viewBox=\"0 0 960 ").tenths(height).tag("\" aria-labelledby=\"t");
    svg.number(number).tag(" d").number(number).tag("\"><title id=\"t").number(number).tag("\">");
    svg.text(title).tag("</title><desc id=\"d").number(number).tag("\">").text(description).tag("</desc>\n");
    svg
}

/// What a chart shows, in words.
fn description(chart: &Chart, axis: &Axis) -> String {
    let of = |curve: &Curve| {
        let [lowest, highest, last] = [curve.lowest, curve.highest, curve.last].map(|value| chart.unit.figure(value));
        format!("{}: lowest {lowest}, highest {highest}, last {last}", curve.name)
    };
    let curves: Vec<String> = chart.curves.iter().map(of).collect();
    format!("{}. {}", curves.join("; "), ticks::caption(axis))
}

fn x(axis: &Axis, position: i64) -> Option<i64> {
    Some(LEFT + axis.part(position, RIGHT - LEFT)?)
}

/// The time in which it died, shaded and named.
fn shade(svg: &mut Markup, axis: &Axis, death: Death, bottom: i64) {
    let Some((from, to)) = x(axis, death.from).zip(x(axis, death.to)) else { return };
    // It is seen however short it is.
    let width = (to - from).max(20);
    svg.tag("<rect class=\"death\" x=\"").tenths(from).tag("\" y=\"").tenths(TOP);
    svg.tag("\" width=\"").tenths(width).tag("\" height=\"").tenths(bottom - TOP).tag("\"/>");
    line(svg, "<path class=\"died\" d=\"M", (from, TOP - 20), (from, bottom));
    text(svg, "<text class=\"end died\" x=\"", from + width, NAMES.first().copied().unwrap_or(TOP), death.label);
}

/// The axis below.
fn along(svg: &mut Markup, axis: &Axis, bottom: i64) {
    line(svg, "<path class=\"axis\" d=\"M", (LEFT, bottom), (RIGHT, bottom));
    for (position, label) in ticks::along(axis) {
        if let Some(x) = x(axis, position) {
            line(svg, "<path class=\"grid\" d=\"M", (x, TOP), (x, bottom + 40));
            text(svg, "<text class=\"middle\" x=\"", x, bottom + 170, &label);
        }
    }
}

/// What happened, as dashed lines through the chart; pressure is often told and has ticks along its top.
fn events(svg: &mut Markup, view: &View, death: Death) {
    // Names stand where there is room: left of that of the end, and beside each other.
    let width = |text: &str| LETTER * i64::try_from(text.len()).unwrap_or(0);
    let end = x(&view.axis, death.to).unwrap_or(RIGHT) - width(death.label);
    let mut named: Vec<(i64, i64, i64)> = NAMES.first().map(|row| (*row, end, RIGHT)).into_iter().collect();
    for lane in Lane::ALL {
        let bottom = match lane {
            Lane::Pressure | Lane::Degraded => TOP + 80,
            // The end is shaded.
            Lane::Stop => continue,
            _ => BOTTOM,
        };
        let mut marks = view.lane(lane).filter_map(|marks| x(&view.axis, marks.position)).peekable();
        let Some(first) = marks.peek().copied() else { continue };
        let place = (first - 10, first + width(name(lane)));
        let is_free =
            |row: &i64| named.iter().all(|(other, from, to)| other != row || place.1 < *from || place.0 > *to);
        if let Some(row) = NAMES.into_iter().find(is_free) {
            named.push((row, place.0, place.1));
            text(svg, "<text class=\"named\" x=\"", first, row, name(lane));
        }
        svg.tag("<path class=\"event\" d=\"");
        for x in marks {
            svg.tag("M").tenths(x).tag(",").tenths(TOP).tag("V").tenths(bottom);
        }
        svg.tag("\"/>");
    }
}

fn stroke(svg: &mut Markup, curve: &Curve, axis: &Axis, y: impl Fn(i64) -> i64) {
    svg.tag("<path class=\"curve ").tag(class(curve.look));
    svg.tag(if curve.spots() > DENSE { " dense\" d=\"" } else { "\" d=\"" });
    for stroke in &curve.strokes {
        let mut begin = "M";
        for spot in stroke {
            if let Some(x) = x(axis, spot.position) {
                svg.tag(begin).tenths(x).tag(",").tenths(y(spot.value));
                begin = "L";
            }
        }
    }
    svg.tag("\"/>");
    if curve.spots() <= DOTTED && curve.look != Look::Limit {
        for spot in curve.strokes.iter().flatten() {
            if let Some(x) = x(axis, spot.position) {
                svg.tag("<circle class=\"").tag(class(curve.look)).tag("\" cx=\"").tenths(x);
                svg.tag("\" cy=\"").tenths(y(spot.value)).tag("\" r=\"2\"/>");
            }
        }
    }
}

/// Beside the end of each curve what it is, and its figures; pushed apart where they would meet.
fn labels(svg: &mut Markup, chart: &Chart, y: impl Fn(i64) -> i64) {
    let mut curves: Vec<&Curve> = chart.curves.iter().collect();
    curves.sort_by_key(|curve| y(curve.last));
    let mut places: Vec<i64> = Vec::new();
    for curve in &curves {
        let lowest = places.last().map_or(TOP, |last| last + LABEL);
        places.push(y(curve.last).max(lowest));
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
pub(super) fn label(chart: &Chart, curve: &Curve) -> String {
    let [last, highest] = [curve.last, curve.highest].map(|value| chart.unit.figure(value));
    let peak = if last == highest { String::new() } else { format!(", peak {highest}") };
    format!("{} {last}{peak}", curve.name)
}

pub(super) const fn class(look: Look) -> &'static str {
    match look {
        Look::First => "c1",
        Look::Second => "c2",
        Look::Third => "c3",
        Look::Limit => "limit",
    }
}

fn line(svg: &mut Markup, open: &'static str, from: (i64, i64), to: (i64, i64)) {
    svg.tag(open).tenths(from.0).tag(",").tenths(from.1).tag("L").tenths(to.0).tag(",").tenths(to.1).tag("\"/>");
}

fn text(svg: &mut Markup, open: &'static str, x: i64, y: i64, text: &str) {
    svg.tag(open).tenths(x).tag("\" y=\"").tenths(y).tag("\">").text(text).tag("</text>\n");
}
