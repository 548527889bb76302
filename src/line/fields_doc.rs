//! `docs/FIELDS.md`, made of the table of fields.

use std::fmt::Write as _;

use super::field::{self, Field, Kind};
use super::{LOG_TAG, MAX_LINE_BYTES, Tag};

/// The whole page, as it should stand in `docs/FIELDS.md`.
#[must_use]
pub fn page() -> String {
    let mut page = format!(
        "# Fields\n\n\
         Made from `src/line/field.rs` by `cargo run --example fields > docs/FIELDS.md`; a test holds it current.\n\n\
         Every line is `RUNNER_VITALS ts=… run=… seq=…`, for an event `event=…`, then the fields below, at most\n\
         {MAX_LINE_BYTES} bytes with its newline. `ts` is UTC, just before the write; `run` names the process that wrote, `seq`\n\
         counts its lines: a gap is a lost line. Loki turns every `.` of a key into `_`. Lines of followed logs begin with\n\
         `RUNNER_LOG` instead, with a `seq` of their own.\n\n\
         A key printed \"always, empty when unread\" is there in every line of its kind: `mem.peak=` means that there was no\n\
         reading, never zero. A key printed \"over 0\" is left out while it is zero; `supports` of the `start` and `about` lines\n\
         lists those that this guest can tell, so a listed key that is missing is zero, any other unknown.\n"
    );
    for kind in Kind::ALL {
        section(&mut page, kind);
    }
    page
}

fn section(page: &mut String, kind: Kind) {
    let title = match (kind.tag(), kind.event()) {
        (_, Some(event)) => format!("`event={event}`"),
        (Tag::Vitals, None) => "Samples (no `event`)".to_owned(),
        (Tag::Log, None) => format!("`{LOG_TAG}`"),
    };
    // Writing into a String cannot fail.
    let _ = write!(
        page,
        "\n## {title}\n\n{}\n\n| key | unit | printed | meaning |\n| --- | --- | --- | --- |\n",
        kind.about()
    );
    for field in field::ALL.iter().copied().filter(|field| field.kinds.contains(&kind)) {
        row(page, field);
    }
}

fn row(page: &mut String, Field { key, unit, print, about, .. }: &Field) {
    let _ = writeln!(page, "| `{key}` | {} | {} | {about} |", unit.name(), print.name());
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_in_docs_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/FIELDS.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == super::page(), "docs/FIELDS.md is stale: cargo run --example fields > docs/FIELDS.md");
    }
}
