//! What is now, as a page: no script, nothing from elsewhere, and what guests say goes through one function (`Markup::text`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::hub::diagnose::page::markup::Markup;
use crate::hub::diagnose::page::sheet::{BEGIN, STYLE};
use crate::hub::diagnose::units::at;
use crate::hub::fleet::figures::Key;
use crate::hub::fleet::state::State;

use super::now::{Deaf, FleetNow, Named, Now};
use super::tally::{CAUSES, STATUSES, Times};

/// Members of a fleet that are named.
pub const NAMED: usize = 50;

/// The page. Each runner's report is below `runners/`, beside it.
#[must_use]
pub fn html(now: &Now, named: &BTreeMap<Key, Vec<Named>>) -> String {
    let mut page = Markup::default();
    page.tag(BEGIN).tag("<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Fleets</title>\n");
    page.tag("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.tag("<meta name=\"color-scheme\" content=\"light dark\">\n<style>\n")
        .tag(STYLE)
        .tag("</style>\n</head>\n<body>\n");
    page.tag("<h1>Fleets at ").text(&at(now.at_ms)).tag("</h1>\n");
    if let Some(Deaf { since_ms, why }) = now.deaf {
        page.tag("<p><strong>Logs cannot be read since ").text(&at(since_ms)).tag(": ").text(why);
        page.tag(".</strong> Whom they tell of stands here as it was then, and is not taken to be lost. ");
        page.tag("The hub's own log says more.</p>\n");
    }
    if now.left_out > 0 {
        page.tag("<p><strong>")
            .number(now.left_out)
            .tag(" requests of runners were left out: there was no room for more members</strong></p>\n");
    }
    if now.fleets.is_empty() {
        page.tag("<p>Nobody is there.</p>\n");
    }
    for fleet in &now.fleets {
        section(&mut page, fleet, named.get(&fleet.key).map_or(&[], Vec::as_slice), now.at_ms);
    }
    page.tag("<footer>\n<p>Made by <code>vitals-hub serve</code> ").text(env!("CARGO_PKG_VERSION"));
    page.tag(". Counts are since it began. All times are the hub's clock, UTC.</p>\n</footer>\n</body>\n</html>\n");
    page.take()
}

fn section(page: &mut Markup, fleet: &FleetNow, named: &[Named], now_ms: i64) {
    let text = |told: &Option<String>, none: &str| told.clone().unwrap_or_else(|| none.to_owned());
    page.tag("<section>\n<h2>").text(&text(&fleet.key.fleet, "no fleet")).tag(" <span class=\"fleet\">");
    page.text(&text(&fleet.key.env, "no env")).tag("</span></h2>\n");
    table(page, "Members", |row| {
        for state in State::ALL {
            row(state.name(), &fleet.members.get(&state).copied().unwrap_or(0).to_string());
        }
        row("warming for over 10 min", &fleet.stuck.to_string());
    });
    table(page, "Jobs", |row| {
        row("running", &fleet.running.to_string());
        row("members that take jobs", &fleet.capacity.to_string());
        row("of these with one", &fleet.utilisation_pct.map_or_else(|| "-".to_owned(), |pct| format!("{pct} %")));
        row("claimed", &fleet.tally.claims.to_string());
        for (status, count) in STATUSES.into_iter().zip(fleet.tally.jobs) {
            row(status, &count.to_string());
        }
        row("waited, mean", &mean(&fleet.tally.waits));
        row("took, mean", &mean(&fleet.tally.took));
        row("warm-up, mean", &mean(&fleet.tally.warm_ups));
    });
    table(page, "Deaths, by what event lines told last", |row| {
        for (cause, count) in CAUSES.into_iter().zip(fleet.tally.deaths) {
            row(cause, &count.to_string());
        }
    });
    if let Some(roll) = &fleet.roll {
        table(page, "Roll", |row| {
            row("image", &roll.image);
            row("with it", &roll.current.to_string());
            row("with another", &roll.stale.to_string());
            row("being rolled", &roll.rolling.value().to_string());
            row("may be", &roll.cap.map_or_else(|| "-".to_owned(), |cap| cap.to_string()));
        });
    }
    if let Some(deficit) = &fleet.deficit {
        table(page, "Plan", |row| {
            row("target", &deficit.target.to_string());
            row("warm floor", &deficit.floor.to_string());
            row("warm deficit", &deficit.deficit.to_string());
        });
    }
    members(page, fleet, named, now_ms);
    page.tag("</section>\n");
}

fn table(page: &mut Markup, caption: &'static str, rows: impl FnOnce(&mut dyn FnMut(&str, &str))) {
    page.tag("<div class=\"wide\"><table>\n<caption>").tag(caption).tag("</caption>\n<tbody>\n");
    rows(&mut |what, value| {
        page.tag("<tr><th scope=\"row\">").text(what).tag("</th><td class=\"figure\">").text(value).tag("</td></tr>\n");
    });
    page.tag("</tbody>\n</table></div>\n");
}

fn members(page: &mut Markup, fleet: &FleetNow, named: &[Named], now_ms: i64) {
    let all: usize = fleet.members.values().sum();
    if all > named.len() {
        page.tag("<p class=\"note\">").number(i128::try_from(named.len()).unwrap_or(0)).tag(" of ");
        page.number(i128::try_from(all).unwrap_or(0))
            .tag(" members by name: those in trouble, then those that are what they are the longest.</p>\n");
    }
    page.tag(
        "<div class=\"wide\"><table>\n<caption>Members by name</caption>\n<thead><tr><th scope=\"col\">runner</th>",
    );
    page.tag("<th scope=\"col\">is</th><th scope=\"col\">since</th><th scope=\"col\">for</th></tr></thead>\n<tbody>\n");
    for member in named {
        page.tag("<tr><th scope=\"row\">");
        match path_segment(&member.name) {
            Some(segment) => {
                page.tag("<a href=\"runners/").text(&segment).tag("\">").text(&member.name).tag("</a></th><td")
            }
            None => page.text(&member.name).tag("</th><td"),
        };
        page.tag(if member.is_trouble { " class=\"high\"" } else { "" }).tag("><code>").text(member.state.name());
        page.tag("</code></td><td class=\"time\">").text(&at(member.since_ms)).tag("</td><td class=\"figure\">");
        page.text(&span(now_ms.saturating_sub(member.since_ms))).tag("</td></tr>\n");
    }
    page.tag("</tbody>\n</table></div>\n");
}

fn mean(times: &Times) -> String {
    times.mean_ms().map_or_else(|| "-".to_owned(), |ms| span(i64::try_from(ms).unwrap_or(i64::MAX)))
}

fn span(ms: i64) -> String {
    let seconds = u64::try_from(ms / 1000).unwrap_or(0);
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}

/// RFC 3986, 2.1: all but the unreserved characters. `None` of what leads elsewhere: to a browser `%2E%2E` is `..` too.
///
/// Source: <https://url.spec.whatwg.org/#double-dot-path-segment>.
fn path_segment(text: &str) -> Option<String> {
    let segment = text.bytes().fold(String::with_capacity(text.len()), |mut segment, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => segment.push(char::from(byte)),
            // A string takes all that is written.
            _ => drop(write!(segment, "%{byte:02X}")),
        }
        segment
    });
    (!matches!(text, "" | "." | "..")).then_some(segment)
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Clock, Live};
    use super::*;
    use crate::hub::fleet::file::FleetFile;

    #[test]
    fn that_logs_cannot_be_read_is_told_while_it_is_so() {
        let mut live = Live::new(FleetFile::default(), 0);
        let page = |live: &Live| html(&live.now(65_000), &live.named(65_000, NAMED));
        let says = "Logs cannot be read since 1970-01-01T00:00:05.000Z: ";
        live.tail_failed("one", 5000);
        live.tail_failed("another", 9000);
        assert!(page(&live).contains(&format!("{says}another.")), "{}", page(&live));
        live.tail_read(10_000);
        assert!(!page(&live).contains("cannot be read"));
    }

    #[test]
    fn what_guests_say_makes_no_element() {
        let page = |text: &str| {
            let file = format!(
                "[[fleet]]\nfleet = '{text}'\nimage = '{text}'\ntarget = 3\nwarm_floor = 1\n[[fleet]]\nfleet = 'empty'\n"
            );
            let mut live = Live::new(toml::from_str::<FleetFile>(&file).unwrap(), 0);
            let line = format!("RUNNER_VITALS ts= run=k3x9 seq=1 runner.fleet=\"{text}\" event=phase phase=ready");
            live.take(&Batch { name: text, events: vec![&line], sample: None, clock: Clock::Received }, 5000);
            html(&live.now(65_000), &live.named(65_000, NAMED))
        };
        let evil = "</title><script>alert(1)</script>&amp;<img src=x onerror=y>/../\u{202e}";
        let (bad, plain) = (page(evil), page("x"));
        assert_eq!(bad.matches('<').count(), plain.matches('<').count());
        assert!(bad.contains("&lt;script&gt;alert(1)") && !bad.contains('\u{202e}'), "{bad}");
        assert!(bad.contains("href=\"runners/%3C%2Ftitle%3E%3Cscript%3E"), "{bad}");
        assert!(page("...").contains("<a href=\"runners/...\">...</a>"));
        for folded in [".", ".."] {
            assert!(page(folded).contains(&format!("<th scope=\"row\">{folded}</th>")), "a browser goes elsewhere");
        }
        assert!(plain.contains("<td class=\"figure\">1m</td>") && plain.contains("<h2>empty"), "{plain}");
    }
}
