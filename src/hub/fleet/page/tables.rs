//! The tables of a fleet's section.

use crate::hub::diagnose::page::markup::Markup;
use crate::hub::diagnose::units::time;

use super::super::counts::{Quantiles, so_many};
use super::super::figures::Figures;
use super::super::look::Plan;
use super::super::sizing::{Advice, Size};
use super::super::text;

/// A row with a bar.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) count: usize,
}

/// A table whose rows have bars: each its share of all.
pub(super) fn bars(html: &mut Markup, caption: &'static str, [name, count]: [&'static str; 2], bars: &[Bar]) {
    let all: usize = bars.iter().map(|bar| bar.count).sum();
    html.tag("<div class=\"wide\"><table>\n<caption>").tag(caption).tag("</caption>\n<thead><tr><th scope=\"col\">");
    html.tag(name).tag("</th><th scope=\"col\">which is</th><th scope=\"col\">").tag(count);
    html.tag("</th><th scope=\"col\" class=\"bar\">of all</th></tr></thead>\n<tbody>\n");
    for bar in bars {
        html.tag("<tr><th scope=\"row\"><code>").text(&bar.name).tag("</code></th><td>").text(&bar.about);
        html.tag("</td><td class=\"figure\">").number(so_many(bar.count)).tag(", ").text(&text::share(bar.count, all));
        let share = (bar.count * 1000).checked_div(all).and_then(|share| i64::try_from(share).ok()).unwrap_or(0);
        html.tag(
            "</td><td class=\"bar\"><svg viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
        );
        html.tag("<rect class=\"back\" width=\"100\" height=\"8\"/><rect width=\"").tenths(share);
        html.tag("\" height=\"8\"/></svg></td></tr>\n");
    }
    html.tag("</tbody>\n</table></div>\n");
}

/// How long what took.
pub(super) fn times(html: &mut Markup, figures: &Figures) {
    let warm = &figures.warm_ups;
    let rows: [(&'static str, Option<&Quantiles>); 7] = [
        ("warm-up, from boot to ready", warm.whole.as_ref()),
        ("of it to the first word", warm.boot.as_ref()),
        ("of it from there to ready", warm.agent.as_ref()),
        ("before boot, from creation", warm.before.as_ref()),
        ("from creation to ready", warm.from_created.as_ref()),
        ("a job's wait, where it is told", figures.waits.known.as_ref()),
        ("a job, from claim to end", figures.jobs.took.as_ref()),
    ];
    html.tag("<div class=\"wide\"><table class=\"figures\">\n<thead><tr><th scope=\"col\">what</th>");
    html.tag("<th scope=\"col\">of</th><th scope=\"col\">p50</th><th scope=\"col\">p95</th>");
    html.tag("<th scope=\"col\">longest</th></tr></thead>\n<tbody>\n");
    for (what, quantiles) in rows {
        html.tag("<tr><th scope=\"row\">").tag(what).tag("</th>");
        match quantiles {
            None => {
                html.tag("<td>not told</td><td></td><td></td><td></td>");
            }
            Some(of) => {
                html.tag("<td class=\"figure\">").number(so_many(of.count)).tag("</td>");
                for ms in [of.p50_ms, of.p95_ms, of.max_ms] {
                    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
                    html.tag("<td class=\"figure\">").text(&time(ms)).tag("</td>");
                }
            }
        }
        html.tag("</tr>\n");
    }
    html.tag("</tbody>\n</table></div>\n");
}

/// What follows from the fleet file.
pub(super) fn plan(html: &mut Markup, plan: &Plan) {
    let mut rows: Vec<(&'static str, String)> = Vec::new();
    let spec = &plan.spec;
    let given = [
        ("target", spec.target),
        ("min", spec.min),
        ("max", spec.max),
        ("warm floor", spec.warm_floor),
        ("replicas", spec.replicas),
        ("of 100 rolled at once", spec.max_concurrent_percent),
    ];
    rows.extend(given.into_iter().filter_map(|(what, value)| Some((what, value?.to_string()))));
    rows.extend(plan.deficit.as_ref().map(|deficit| ("warm deficit", text::deficit(deficit))));
    rows.push(("size that is advised", text::advice(plan)));
    if let Advice::Size(size) = &plan.advice {
        rows.extend(numbers(size));
    }
    rows.extend(plan.idle.as_ref().map(|idle| ("idle", text::idle(idle))));
    html.tag("<div class=\"wide\"><table class=\"figures\">\n<tbody>\n");
    for (what, says) in rows {
        html.tag("<tr><th scope=\"row\">").tag(what).tag("</th><td>").text(&says).tag("</td></tr>\n");
    }
    html.tag("</tbody>\n</table></div>\n");
}

fn numbers(of: &Size) -> [(&'static str, String); 6] {
    [
        ("C, jobs in a minute at most", of.peak.to_string()),
        ("W, warm-up, p95", time(of.warm_up_ms)),
        ("R, reaper interval", time(of.reaper_ms)),
        ("by rate, ceil(C (W + R))", of.by_rate.to_string()),
        ("headroom for a burst that was not met", of.headroom.to_string()),
        ("claims that found no ready member", format!("{} of {}", of.unmet, of.claims)),
    ]
}
