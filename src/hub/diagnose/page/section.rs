//! A runner: the verdict in large words, why, what to change, the charts, what it was not, the raw lines.

use crate::hub::trail::Read;
use crate::hub::trail::film::view::{Scale, View};

use super::super::beside::Beside;
use super::super::evidence::Ending;
use super::super::text;
use super::super::units::{count, time};
use super::super::verdict::{Hue, Other, Said, Verdict};
use super::charts;
use super::frame::{self, Numbers};
use super::markup::Markup;
use super::svg::{self, Death};
use super::{Part, raw, ticks};

/// The section of a runner, the `nth` of the page.
pub(super) fn section(part: &Part, nth: u32, read: &Read, numbers: &mut Numbers) -> Markup {
    let mut html = Markup::default();
    let verdict = &part.verdict;
    let tone = match verdict.hue() {
        Hue::Calm => " calm",
        Hue::Neutral => " neutral",
        Hue::Trouble(_) => "",
    };
    html.tag("<section class=\"runner")
        .tag(tone)
        .tag("\" id=\"runner-")
        .number(nth)
        .tag("\" aria-labelledby=\"h")
        .number(nth)
        .tag("\">\n");
    head(&mut html, verdict, nth);
    let last_seq = part.reel.raw_lines().into_keys().next_back().unwrap_or_default();
    let links = Links { nth, last_seq, read };
    html.tag("<h3>Why</h3>\n<ul>\n");
    for said in &verdict.because {
        says(&mut html, said, links);
    }
    html.tag("</ul>\n");
    but(&mut html, verdict, links);
    contributing(&mut html, &verdict.contributing, links);
    beside(&mut html, &verdict.beside);
    ruled_out(&mut html, &verdict.ruled_out);
    change(&mut html, verdict);
    for (left, (view, death)) in (1..=part.reel.views.len()).rev().zip(part.reel.views.iter().zip(&part.deaths)) {
        let extent = if left > 1 { Extent::End } else { Extent::Whole };
        drawings(&mut html, part, view, *death, extent, numbers);
    }
    raw::lines(&mut html, part, nth, read);
    html.tag("</section>\n");
    html
}

/// Where what is cited leads.
#[derive(Clone, Copy)]
struct Links<'r> {
    nth: u32,
    /// The last of the raw lines below.
    last_seq: u64,
    read: &'r Read,
}

fn head(html: &mut Markup, verdict: &Verdict, nth: u32) {
    html.tag("<header class=\"").tag(class(verdict.hue())).tag("\">\n<p class=\"name\">").text(&verdict.runner);
    if let Some(fleet) = &verdict.fleet {
        html.tag(" <span class=\"fleet\">of ").text(fleet).tag("</span>");
    }
    html.tag("</p>\n<h2 id=\"h").number(nth).tag("\">").text(verdict.about()).tag("</h2>\n");
    html.tag("<p class=\"sure\"><code>").text(verdict.word()).tag("</code> <strong>");
    html.text(verdict.confidence.name())
        .tag(" confidence</strong> ")
        .number(verdict.score)
        .tag(" of 100</p>\n<p class=\"when\">");
    html.text(&text::death(verdict))
        .tag("</p>\n<p class=\"trail\">")
        .text(&text::trail(verdict))
        .tag("</p>\n</header>\n");
}

/// How a verdict looks; the words stand there too.
pub(super) const fn class(hue: Hue) -> &'static str {
    match hue {
        Hue::Calm => "calm",
        Hue::Neutral => "low",
        Hue::Trouble(confidence) => confidence.name(),
    }
}

fn says(html: &mut Markup, said: &Said, links: Links<'_>) {
    html.tag("<li>").text(&said.says);
    cited(html, said, links);
    html.tag("</li>\n");
}

/// Leads to the raw lines below.
fn cited(html: &mut Markup, said: &Said, links: Links<'_>) {
    let first = said.lines.first();
    for line in &said.lines {
        // What is left of a torn line is no line below.
        let is_below = line.seq <= links.last_seq;
        if is_below {
            html.tag(" <a href=\"#line-").number(links.nth).tag("-").number(line.seq).tag("\">");
        } else {
            html.tag(" ");
        }
        if first.is_some_and(|first| first.seq != line.seq && first.place.source == line.place.source) {
            html.tag("to ").number(text::nth(line.place, line.seq));
        } else {
            html.text(&text::place(links.read, line.place, line.seq));
        }
        html.tag(if is_below { "</a>" } else { "" });
    }
}

fn but(html: &mut Markup, verdict: &Verdict, links: Links<'_>) {
    if verdict.but.is_empty() {
        return;
    }
    html.tag("<h3>What leaves it open</h3>\n<ul>\n");
    for said in &verdict.but {
        says(html, said, links);
    }
    html.tag("</ul>\n");
}

fn change(html: &mut Markup, verdict: &Verdict) {
    if verdict.change.is_empty() {
        return;
    }
    html.tag("<h3>What to change</h3>\n<ul>\n");
    for change in &verdict.change {
        html.tag("<li>").text(change).tag("</li>\n");
    }
    html.tag("</ul>\n");
}

fn beside(html: &mut Markup, all: &[Beside]) {
    if all.is_empty() {
        return;
    }
    html.tag("<h3>Beside it</h3>\n<ul>\n");
    for one in all {
        html.tag("<li>").text(&one.says()).tag("</li>\n");
    }
    html.tag("</ul>\n");
}

fn contributing(html: &mut Markup, others: &[Other], links: Links<'_>) {
    if others.is_empty() {
        return;
    }
    html.tag("<h3>What else there was</h3>\n<ul>\n");
    for other in others {
        html.tag("<li><code>").text(other.cause.name()).tag("</code> (").number(other.score).tag(" of 100)\n<ul>\n");
        for said in &other.because {
            says(html, said, links);
        }
        html.tag("</ul>\n</li>\n");
    }
    html.tag("</ul>\n");
}

/// How much of a run is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    End,
    Whole,
}

fn drawings(html: &mut Markup, part: &Part, view: &View, death: Death, extent: Extent, numbers: &mut Numbers) {
    html.tag("<h3>");
    match (view.axis.scale, extent) {
        (Scale::Lines, _) => html.tag("By its lines"),
        (Scale::Time, Extent::End) => html.tag("The last ten minutes"),
        (Scale::Time, Extent::Whole) => {
            html.tag("The whole run, ").text(&time(death.from.saturating_sub(view.axis.from)))
        }
    };
    html.tag("</h3>\n<p class=\"note\">").text(&ticks::caption(&view.axis));
    html.tag(". Dashed lines through a chart are events: oom, kernel, agent, disk, gap; ticks along its top are pressure and ");
    html.tag("degraded. The shaded end is ");
    html.tag(match part.verdict.ending {
        Ending::Alive => "where its next line is due.",
        Ending::Silence => "when it fell silent.",
        _ => "when it ended.",
    });
    if view.outside > 0 && extent == Extent::Whole {
        html.tag(" Not drawn: ").text(&count(view.outside, "sample")).tag(" whose clock was elsewhere.");
    }
    html.tag("</p>\n");
    match svg::lanes(view, death, numbers.next()) {
        Some(svg) => html
            .tag("<figure>\n<figcaption>Events</figcaption>\n<div class=\"chart\">")
            .add(&svg)
            .tag("</div>\n</figure>\n"),
        None => html.tag("<p class=\"untold\">Events: none.</p>\n"),
    };
    for chart in charts::charts(view, &part.reel, &part.tells) {
        let drawing = (!chart.curves.is_empty()).then(|| svg::chart(&chart, view, death, numbers.next()));
        frame::figure(html, &chart, drawing.as_ref());
    }
}

fn ruled_out(html: &mut Markup, others: &[Other]) {
    if others.is_empty() {
        return;
    }
    html.tag("<h3>What it was not</h3>\n<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">not</th>");
    html.tag("<th scope=\"col\">because</th></tr></thead>\n<tbody>\n");
    for (says, causes) in text::alike(others) {
        html.tag("<tr><th scope=\"row\">");
        for (at, cause) in causes.iter().enumerate() {
            html.tag(if at == 0 { "<code>" } else { " <code>" }).text(cause).tag("</code>");
        }
        html.tag("</th><td>").text(&says).tag("</td></tr>\n");
    }
    html.tag("</tbody>\n</table></div>\n");
}
