//! A run's charts as SVG, in a [`super::frame`]: what happened is marked, and the end is shaded.

use crate::hub::trail::film::view::{Axis, Lane, View};

use super::frame::{
    BELOW, BOTTOM, Chart, LABELS, LEFT, RIGHT, TOP, along, description, grid, labels, line, open, stroke, text, x,
};
use super::markup::Markup;

/// Where what is marked has its name: above that, or above the name of something else.
const NAMES: [i64; 2] = [TOP - 50, TOP - 190];
/// The height of a lane of events.
const LANE: i64 = 180;
/// The width of a letter, about.
const LETTER: i64 = 75;

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

/// Draws a chart that has curves.
pub(super) fn chart(chart: &Chart, view: &View, death: Death, number: u32) -> Markup {
    let highest = chart.curves.iter().map(|curve| curve.highest).max().unwrap_or(1);
    let (top, step) = chart.unit.scale(highest);
    let mut svg = open(BOTTOM + BELOW, number, chart.title, &description(chart, &view.axis));
    shade(&mut svg, &view.axis, death, BOTTOM);
    grid(&mut svg, chart.unit, (top, step));
    along(&mut svg, &view.axis, BOTTOM);
    events(&mut svg, view, death);
    for curve in &chart.curves {
        stroke(&mut svg, curve, &view.axis, top);
    }
    labels(&mut svg, chart, top);
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
