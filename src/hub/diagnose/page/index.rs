//! All runners: a row each by the time of its last line, and what became of how many.

use std::io::{self, Write};

use super::super::table::{self, Row};
use super::super::units::at;
use super::markup::Markup;
use super::{Part, SECTIONS, section};

/// Writes the table and the totals. Rows of runners that have a section lead there.
pub(super) fn write(rows: &[Row], parts: &[Part], most: usize, out: &mut impl Write) -> io::Result<()> {
    let mut html = Markup::default();
    html.tag("<section class=\"index\">\n<h1>").text(&table::heading(rows)).tag("</h1>\n");
    totals(&mut html, rows);
    if most == 0 {
        html.tag("<p class=\"note\">A page of one runner has its charts: name it with <code>--runner</code>.</p>\n");
    } else if rows.len() > parts.len() {
        html.tag("<p class=\"note\">The ")
            .number(i128::try_from(SECTIONS).unwrap_or_default())
            .tag(" whose last lines are the latest have a section each below. ");
        html.tag("Another has a page of its own when it is named with <code>--runner</code>.</p>\n");
    }
    html.tag("<div class=\"wide rows\"><table>\n<caption>By the time of their last line</caption>\n<thead><tr>");
    html.tag("<th scope=\"col\">last line</th><th scope=\"col\">runner</th><th scope=\"col\">cause</th>");
    html.tag("<th scope=\"col\">confidence</th><th scope=\"col\">why</th></tr></thead>\n<tbody>\n");
    // Parts are in the same order, the last of the rows.
    let mut linked = (1_u32..).zip(parts).peekable();
    for row in rows {
        html.tag("<tr><td class=\"time\">")
            .text(&row.last_ms.map_or_else(|| "-".to_owned(), at))
            .tag("</td><th scope=\"row\">");
        let has_section =
            |(_, part): &(u32, &Part)| row.last_ms == part.verdict.ended_ms() && row.runner == part.verdict.runner;
        match linked.next_if(has_section) {
            Some((nth, _)) => html.tag("<a href=\"#runner-").number(nth).tag("\">").text(&row.runner).tag("</a>"),
            None => html.text(&row.runner),
        };
        html.tag("</th><td class=\"").tag(section::class(row.hue)).tag("\"><code>").text(row.word);
        html.tag("</code></td><td>").text(row.confidence.name()).tag(", ").number(row.score).tag("</td><td>");
        html.text(&row.says).tag("</td></tr>\n");
        out.write_all(html.take().as_bytes())?;
    }
    html.tag("</tbody>\n</table></div>\n</section>\n");
    out.write_all(html.take().as_bytes())
}

fn totals(html: &mut Markup, rows: &[Row]) {
    html.tag(
        "<div class=\"wide\"><table>\n<caption>What became of them</caption>\n<thead><tr><th scope=\"col\">runners</th>",
    );
    html.tag("<th scope=\"col\">cause</th><th scope=\"col\">which is</th></tr></thead>\n<tbody>\n");
    for (word, about, count) in table::totals(rows) {
        html.tag("<tr><td class=\"figure\">")
            .number(i128::try_from(count).unwrap_or_default())
            .tag("</td><th scope=\"row\"><code>");
        html.text(word).tag("</code></th><td>").text(about).tag("</td></tr>\n");
    }
    html.tag("</tbody>\n</table></div>\n");
}
