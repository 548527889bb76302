//! The raw lines: those that are cited, and the last ones; where some lie between, how many.

use crate::hub::trail::Read;
use crate::hub::trail::film::LAST_LINES;

use super::super::text;
use super::super::units::count;
use super::Part;
use super::markup::Markup;

/// The lines of a runner, the `nth` of the page.
pub(super) fn lines(html: &mut Markup, part: &Part, nth: u32, read: &Read) {
    let lines = part.reel.raw_lines();
    let (there, told) = (part.reel.lines, part.verdict.lines);
    html.tag("<h3>The lines behind it</h3>\n<p class=\"note\">");
    html.number(i128::try_from(lines.len()).unwrap_or_default())
        .tag(" of the ")
        .text(&count(told, "line"))
        .tag(" of run <code>");
    html.text(&part.verdict.run).tag("</code>: those cited above, and the last ");
    html.number(i128::try_from(LAST_LINES).unwrap_or_default()).tag(".");
    if there != told {
        html.tag(" <strong>The input had changed when it was read again for this page: ").number(there);
        html.tag(" lines were there then.</strong>");
    }
    html.tag("</p>\n<ol class=\"raw\">\n");
    let mut due = None;
    for (seq, raw) in lines {
        if let Some(due) = due.filter(|due| *due < seq) {
            html.tag("<li class=\"between\">")
                .text(&count(seq - due, "line"))
                .tag(" between: not shown here, or not there</li>\n");
        }
        due = seq.checked_add(1);
        html.tag("<li id=\"line-").number(nth).tag("-").number(seq).tag("\" class=\"");
        html.tag(if raw.is_cited { "cited" } else { "" }).tag(if raw.is_event { " event" } else { "" });
        html.tag("\"><span class=\"place\">").text(&text::place(read, raw.place, seq)).tag(if raw.is_cited {
            " cited"
        } else {
            ""
        });
        html.tag("</span> <code>").text(&raw.text).tag("</code></li>\n");
    }
    html.tag("</ol>\n");
}
