//! Figures as a person reads them, and texts of others made harmless.

use std::fmt::Write as _;

/// Tenths of a per cent: `12.5 %`.
pub(super) fn pct(tenths: i64) -> String {
    format!("{}.{} %", tenths / 10, (tenths % 10).abs())
}

/// KiB: `12 KiB`, `186 MiB`, `7.6 GiB`.
pub(super) fn size(kib: i64) -> String {
    match kib {
        ..1024 => format!("{kib} KiB"),
        1024..1_048_576 => format!("{} MiB", kib / 1024),
        _ => format!("{}.{} GiB", kib / 1_048_576, kib % 1_048_576 * 10 / 1_048_576),
    }
}

/// A number of things: `1 line`, `2 lines`.
pub(super) fn count(number: impl Into<i128>, thing: &str) -> String {
    match number.into() {
        1 => format!("1 {thing}"),
        number => format!("{number} {thing}s"),
    }
}

/// Milliseconds: `250 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`.
pub(crate) fn time(ms: i64) -> String {
    match ms {
        ..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// Milliseconds since 1970 as `2026-06-04T12:00:00.123Z`; of what has no such form where it is.
pub(crate) fn at(ms: i64) -> String {
    let none = || if ms < 0 { "a time before 1970" } else { "a time beyond the year 9999" }.to_owned();
    rfc_3339(ms).unwrap_or_else(none)
}

/// Milliseconds since 1970 as `2026-06-04T12:00:00.123Z`; `None` of what has no such form.
pub(crate) fn rfc_3339(ms: i64) -> Option<String> {
    let since = u64::try_from(ms).ok().map(std::time::Duration::from_millis);
    // humantime writes four digits of a year.
    let since = since.filter(|since| since.as_secs() < 253_402_300_800)?;
    std::time::UNIX_EPOCH.checked_add(since).map(|at| humantime::format_rfc3339_millis(at).to_string())
}

/// A text in which nothing is left that a terminal obeys or that changes how the rest reads: control characters, C1 codes,
/// marks of direction and other invisible ones stand there as `\u{…}`.
pub(crate) fn harmless(text: impl Into<String> + AsRef<str>) -> String {
    // The usual, of which there is much where runners are many.
    if text.as_ref().bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
    let text = text.as_ref();
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() || is_invisible(c) => {
                let _ = write!(clean, "\\u{{{:x}}}", u32::from(c));
            }
            c => clean.push(c),
        }
    }
    clean
}

const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([pct(1000), pct(5)], ["100.0 %", "0.5 %"]);
        assert_eq!([size(12), size(190_464), size(8_000_000)], ["12 KiB", "186 MiB", "7.6 GiB"]);
        assert_eq!(
            [time(250), time(3250), time(250_000), time(7_500_000)],
            ["250 ms", "3.2 s", "4 min 10 s", "2 h 5 min"]
        );
        let last_ms = 253_402_300_799_999;
        assert_eq!([at(0), at(last_ms)], ["1970-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"]);
        assert_eq!([at(-1), at(last_ms + 1)], ["a time before 1970", "a time beyond the year 9999"]);
        assert_eq!([rfc_3339(-1), rfc_3339(last_ms + 1), rfc_3339(i64::MAX)], [None, None, None]);
    }

    #[test]
    fn nothing_active_is_left_in_a_text() {
        assert_eq!(harmless("a\u{1b}[31mb\u{9b}c\u{202e}d\n"), "a\\u{1b}[31mb\\u{9b}c\\u{202e}d\\u{a}");
        assert_eq!(harmless("Größe 行"), "Größe 行");
    }
}
