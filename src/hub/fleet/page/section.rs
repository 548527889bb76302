//! A fleet on the page: what stands out in large words, then its figures.

use crate::hub::diagnose::cause::Cause;
use crate::hub::diagnose::page::frame::{self, Numbers};
use crate::hub::diagnose::page::markup::Markup;
use crate::hub::diagnose::units::{at, time};
use crate::hub::trail::stage::JobResult;

use super::super::counts::so_many;
use super::super::figures::{Figures, Jobs};
use super::super::look::Fleet;
use super::super::notice::{self, Notice, Weight};
use super::super::roll::Roll;
use super::super::state::State;
use super::super::text;
use super::drawing;
use super::tables::{self, Bar};

/// The section of a fleet, the `nth` of the page.
pub(super) fn section(fleet: &Fleet, nth: u32, numbers: &mut Numbers) -> Markup {
    let mut html = Markup::default();
    let figures = &fleet.figures;
    html.tag("<section class=\"runner\" id=\"fleet-")
        .number(nth)
        .tag("\" aria-labelledby=\"h")
        .number(nth)
        .tag("\">\n");
    head(&mut html, figures, &notice::of(fleet), nth);
    html.tag("<h3>Members</h3>\n");
    tables::bars(&mut html, "What its runners are now", ["state", "runners"], &members(figures));
    if figures.runners > 0 {
        drawings(&mut html, fleet, numbers);
    }
    html.tag("<h3>Times</h3>\n");
    tables::times(&mut html, figures);
    paragraph(&mut html, "Waits: ", &text::waits(figures));
    if figures.polls.total() > 0 {
        paragraph(&mut html, "Polls: ", &text::polls(figures));
    }
    html.tag("<h3>Jobs</h3>\n");
    tables::bars(&mut html, "How the jobs ended", ["outcome", "jobs"], &outcomes(&figures.jobs));
    if figures.deaths.is_empty() {
        html.tag("<p class=\"untold\">Deaths: none.</p>\n");
    } else {
        html.tag("<h3>Deaths</h3>\n");
        let about = |(cause, count): (&Cause, &usize)| Bar {
            name: cause.name().to_owned(),
            about: cause.about().to_owned(),
            count: *count,
        };
        let deaths: Vec<Bar> = figures.deaths.iter().map(about).collect();
        tables::bars(&mut html, "What runners died of, with a job or without", ["cause", "runners"], &deaths);
    }
    if figures.images.iter().any(|(image, _)| image.is_some()) {
        html.tag("<h3>Images</h3>\n");
        tables::bars(
            &mut html,
            "Of the members that are there",
            ["image", "members"],
            &images(figures, fleet.roll.as_ref()),
        );
    }
    if let Some(roll) = &fleet.roll {
        paragraph(&mut html, "Roll ", &text::roll(roll));
    }
    if let Some(plan) = &fleet.plan {
        html.tag("<h3>With the fleet file</h3>\n");
        tables::plan(&mut html, plan);
    }
    if figures.unplaced > 0 {
        html.tag("<p class=\"note\">Left out: ").number(figures.unplaced);
        html.tag(" phase lines without a time, or too many of one runner.</p>\n");
    }
    html.tag("</section>\n");
    html
}

fn head(html: &mut Markup, figures: &Figures, notices: &[Notice], nth: u32) {
    html.tag("<header class=\"").tag(class(notices)).tag("\">\n<p class=\"name\">").text(&text::name(&figures.key));
    html.tag("</p>\n<h2 id=\"h").number(nth).tag("\">");
    html.text(notices.first().map_or("nothing stands out", |first| first.says.as_str())).tag("</h2>\n");
    if notices.len() > 1 {
        html.tag("<ul>\n");
        for notice in notices.iter().skip(1) {
            html.tag("<li>").text(&notice.says).tag("</li>\n");
        }
        html.tag("</ul>\n");
    }
    let span = time(figures.to_ms.saturating_sub(figures.from_ms).max(0));
    html.tag("<p class=\"trail\">").number(so_many(figures.runners)).tag(" runners, ");
    html.text(&at(figures.from_ms))
        .tag(" to ")
        .text(&at(figures.to_ms))
        .tag(" (")
        .text(&span)
        .tag(")</p>\n</header>\n");
}

/// How a fleet looks; the words stand there too.
pub(super) fn class(notices: &[Notice]) -> &'static str {
    match notices.iter().map(|notice| notice.weight).min() {
        Some(Weight::High) => "high",
        Some(Weight::Medium) => "medium",
        Some(Weight::Low) => "low",
        None => "calm",
    }
}

fn members(figures: &Figures) -> Vec<Bar> {
    let about = |state: State| match state {
        State::Warming if figures.stuck > 0 => {
            format!("up, the agent not ready yet; {} for over 10 min", figures.stuck)
        }
        State::Warming => "up, the agent not ready yet".to_owned(),
        State::Ready if figures.long_ready > 0 => format!("waits for a job; {} for long", figures.long_ready),
        State::Ready => "waits for a job".to_owned(),
        State::Claimed => "has a job".to_owned(),
        State::Ended => "is over".to_owned(),
        State::Lost => "fell silent".to_owned(),
        State::Untold => "is up, and tells no phase".to_owned(),
    };
    let bar =
        |state: State| Bar { name: state.name().to_owned(), about: about(state), count: figures.members_in(state) };
    State::ALL.map(bar).into()
}

fn drawings(html: &mut Markup, fleet: &Fleet, numbers: &mut Numbers) {
    let figures = &fleet.figures;
    html.tag("<h3>Over time</h3>\n<p class=\"note\">").text(&drawing::caption(figures)).tag("</p>\n");
    for (chart, drawing) in drawing::charts(fleet, numbers) {
        frame::figure(html, &chart, Some(&drawing));
    }
    paragraph(html, "Claims: ", &text::claims(figures));
    paragraph(html, "Ready: ", &text::supply(figures));
}

fn outcomes(jobs: &Jobs) -> Vec<Bar> {
    let bar = |name: &str, about: &str, count| Bar { name: name.to_owned(), about: about.to_owned(), count };
    let mut bars: Vec<Bar> = JobResult::ALL.map(|one| bar(one.name(), "as its agent says", jobs.told_as(one))).into();
    let unknown = format!("how is not told; {} with a code other than 0", jobs.unknown_failing);
    bars.push(bar("unknown", &unknown, jobs.unknown));
    bars.push(bar("died", "its runner died", jobs.died()));
    bars.push(bar("running", "not over", jobs.running));
    bars
}

fn images(figures: &Figures, roll: Option<&Roll>) -> Vec<Bar> {
    let about = |image: &Option<String>| match (image, roll) {
        (None, _) | (_, None) => "",
        (Some(image), Some(roll)) if *image == roll.image => "the one that is to be",
        _ => "stale",
    };
    let bar = |(image, count): &(Option<String>, usize)| Bar {
        name: image.clone().unwrap_or_else(|| "not told".to_owned()),
        about: about(image).to_owned(),
        count: *count,
    };
    figures.images.iter().map(bar).collect()
}

fn paragraph(html: &mut Markup, what: &'static str, says: &str) {
    html.tag("<p><strong>").tag(what).tag("</strong>").text(says).tag("</p>\n");
}
