//! `--html` of `fleet`: one self-contained page, as that of the diagnosis: who is there, claims against ready members over time, waits,
//! outcomes, deaths, images, and with a fleet file where a roll stands and how large the fleet is to be.
//!
//! What all pages have is [`crate::hub::diagnose::page`]'s. The same input gives the same bytes.

mod drawing;
mod section;
mod tables;

use std::io::{self, Write};
use std::path::Path;

use crate::hub::diagnose::page::draft::Draft;
use crate::hub::diagnose::page::frame::Numbers;
use crate::hub::diagnose::page::markup::Markup;
use crate::hub::diagnose::page::sheet::{self, PageError};
use crate::hub::diagnose::units::at;
use crate::hub::trail::Read;

use super::counts::so_many;
use super::look::Seen;
use super::notice;
use super::state::State;
use super::text;

const STYLE: &str = include_str!("page/fleet.css");

/// Writes the page into a file, whole or not at all.
pub(super) fn write(seen: &Seen, read: &Read, path: &Path) -> Result<(), PageError> {
    let written = Draft::beside(path).and_then(|mut draft| {
        html(seen, read, &mut draft)?;
        draft.keep()
    });
    written.map_err(|error| PageError::Written(path.to_owned(), error))
}

fn html(seen: &Seen, read: &Read, out: &mut impl Write) -> io::Result<()> {
    let mut page = Markup::default();
    let title = match seen.fleets.as_slice() {
        [only] => format!("{} at {}", text::name(&only.figures.key), at(seen.at_ms)),
        fleets => format!("{} fleets at {}", fleets.len(), at(seen.at_ms)),
    };
    sheet::head(&mut page, &title, STYLE, read);
    if let [_] = seen.fleets.as_slice() {
        page.tag("<h1 class=\"title\">How this fleet fares, at ").text(&at(seen.at_ms)).tag("</h1>\n");
    } else {
        index(&mut page, seen, &title);
    }
    if seen.left_out > 0 {
        page.tag("<p class=\"note\">Left out: ").number(so_many(seen.left_out));
        page.tag(" runners whose lines have no time, or none in this span.</p>\n");
    }
    out.write_all(page.take().as_bytes())?;
    let mut numbers = Numbers::default();
    for (nth, fleet) in (1..).zip(&seen.fleets) {
        out.write_all(section::section(fleet, nth, &mut numbers).take().as_bytes())?;
    }
    sheet::foot(&mut page, "fleet", read);
    out.write_all(page.take().as_bytes())
}

/// A row a fleet.
fn index(page: &mut Markup, seen: &Seen, title: &str) {
    page.tag("<section class=\"index\">\n<h1>").text(title).tag("</h1>\n<div class=\"wide\"><table>\n<thead><tr>");
    for head in ["fleet", "runners", "warming", "ready", "with a job", "claims", "died", "what stands out"] {
        page.tag("<th scope=\"col\">").tag(head).tag("</th>");
    }
    page.tag("</tr></thead>\n<tbody>\n");
    for (nth, fleet) in (1_u32..).zip(&seen.fleets) {
        let figures = &fleet.figures;
        page.tag("<tr><th scope=\"row\"><a href=\"#fleet-").number(nth).tag("\">").text(&text::name(&figures.key));
        page.tag("</a></th>");
        let counts = [
            figures.runners,
            figures.members_in(State::Warming),
            figures.members_in(State::Ready),
            figures.members_in(State::Claimed),
            figures.claims.count,
            figures.deaths.values().sum(),
        ];
        for count in counts {
            page.tag("<td class=\"figure\">").number(so_many(count)).tag("</td>");
        }
        let notices = notice::of(fleet);
        page.tag("<td class=\"says ").tag(section::class(&notices)).tag("\">");
        page.text(notices.first().map_or("nothing", |first| first.says.as_str())).tag("</td></tr>\n");
    }
    page.tag("</tbody>\n</table></div>\n</section>\n");
}
