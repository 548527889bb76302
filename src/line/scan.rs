//! Samples read fast: what a reader of millions of lines needs of them, without taking memory.
//!
//! It accepts no line that [`Line::decode`](super::Line::decode) does not, and gives up on whatever is not a plain sample: an event,
//! a quoted text, a malformed line. Those are few, and left to the decoder.

use super::field::{self, Field};
use super::{MAX_LINE_BYTES, RunId, TAG};

/// What names a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Milliseconds since 1970-01-01 UTC by the guest's clock; `None` where that was unusable.
    pub at_ms: Option<i64>,
    /// Which process wrote it.
    pub run: RunId,
    /// The how-manieth line of that run it is.
    pub seq: u64,
}

/// What stands behind a key of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A number in units of its last decimal.
    Number(i64),
    /// A text that needed no quotes.
    Text(&'a str),
}

/// Reads samples. It learns in which order the keys stand, since they nearly always do so again.
#[derive(Clone, Debug)]
pub struct Scanner {
    /// By the row of a field, one up: the row of the key that stood behind it last.
    after: Vec<usize>,
    /// By row: how it stands in a line.
    rows: Vec<Row>,
    /// The row of each key, by the key.
    by_key: std::collections::HashMap<&'static str, usize>,
}

#[derive(Clone, Debug)]
struct Row {
    /// The key with its `=`.
    key: String,
    /// Decimals of a number; `None` for a text.
    decimals: Option<u8>,
}

/// The row that stands for a key which the table does not have.
const UNKNOWN: usize = usize::MAX;

/// How many keys that the table does not have a sample may hold before it is left to the decoder.
const UNKNOWN_KEYS: usize = 8;

impl Default for Scanner {
    fn default() -> Self {
        let row = |field: &&Field| Row { key: format!("{}=", field.key), decimals: field.unit.decimals() };
        Self {
            after: (0..=field::ALL.len()).collect(),
            rows: field::ALL.iter().map(row).collect(),
            by_key: field::ALL.iter().enumerate().map(|(row, field)| (field.key, row)).collect(),
        }
    }
}

impl Scanner {
    /// Reads a sample, without its newline, and gives each reading with the row of its field in [`field::ALL`].
    ///
    /// `None` when it is anything else than a plain sample; what was given by then means nothing.
    pub fn sample<'a>(&mut self, text: &'a str, mut each: impl FnMut(usize, Found<'a>)) -> Option<Head> {
        if text.len() >= MAX_LINE_BYTES {
            return None;
        }
        let mut rest = text.strip_prefix(TAG)?;
        let mut head = HeadParts::default();
        let mut seen = Seen::default();
        let mut before = 0;
        while !rest.is_empty() {
            let pair = rest.strip_prefix(' ')?;
            let guess = self.after.get(before).copied().unwrap_or(UNKNOWN);
            let guessed = self.rows.get(guess).and_then(|row| Some((row, pair.strip_prefix(row.key.as_str())?)));
            let (row, decimals, value) = match guessed {
                Some((row, value)) => (guess, row.decimals, value),
                None => {
                    let (key, value) = key(pair)?;
                    if let Some(behind) = head.takes(key, value)? {
                        rest = behind;
                        continue;
                    }
                    let row = self.look_up(before, key);
                    seen.unknown(row, key)?;
                    (row, self.rows.get(row).and_then(|row| row.decimals), value)
                }
            };
            seen.known(row)?;
            before = row.wrapping_add(1);
            let (found, behind) = match decimals {
                Some(decimals) => number(value, decimals)?,
                None => word(value)?,
            };
            rest = behind;
            if let Some(found) = found.filter(|_| row != UNKNOWN) {
                each(row, found);
            }
        }
        head.whole()
    }

    /// The row of a key that was not where it stood last time.
    fn look_up(&mut self, before: usize, key: &str) -> usize {
        let row = self.by_key.get(key).copied().unwrap_or(UNKNOWN);
        if let Some(after) = self.after.get_mut(before) {
            *after = row;
        }
        row
    }
}

/// The keys that stood in a line.
#[derive(Default)]
struct Seen<'a> {
    rows: [u64; 4],
    unknown: [&'a str; UNKNOWN_KEYS],
    unknown_len: usize,
}

// Each row of the table has its bit.
const _: () = assert!(field::ALL.len() <= 256);

impl<'a> Seen<'a> {
    /// Notes a key of the table; `None` when it was there before.
    fn known(&mut self, row: usize) -> Option<()> {
        if row == UNKNOWN {
            return Some(());
        }
        let bits = self.rows.get_mut(row / 64)?;
        let bit = 1 << (row % 64);
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new.then_some(())
    }

    /// Notes another key; `None` when it was there before, or when there are too many to tell.
    fn unknown(&mut self, row: usize, key: &'a str) -> Option<()> {
        if row != UNKNOWN {
            return Some(());
        }
        if self.unknown.get(..self.unknown_len)?.contains(&key) {
            return None;
        }
        *self.unknown.get_mut(self.unknown_len)? = key;
        self.unknown_len += 1;
        Some(())
    }
}

#[derive(Default)]
struct HeadParts {
    at_ms: Option<Option<i64>>,
    run: Option<RunId>,
    seq: Option<u64>,
}

impl HeadParts {
    /// What is behind the pair where its key is of the envelope, else nothing. `None`: malformed, repeated, or an event.
    fn takes<'a>(&mut self, key: &str, value: &'a str) -> Option<Option<&'a str>> {
        if !matches!(key, "ts" | "run" | "seq" | "event") {
            return Some(None);
        }
        let (found, behind) = word(value)?;
        let text = match found {
            Some(Found::Text(text)) => text,
            _ => "",
        };
        match key {
            "ts" if self.at_ms.is_none() => self.at_ms = Some(if text.is_empty() { None } else { Some(at_ms(text)?) }),
            "run" if self.run.is_none() => self.run = Some(RunId::parse(text)?),
            "seq" if self.seq.is_none() => match number(text, 0)? {
                (Some(Found::Number(seq)), "") => self.seq = Some(u64::try_from(seq).ok()?),
                _ => return None,
            },
            _ => return None,
        }
        Some(Some(behind))
    }

    fn whole(self) -> Option<Head> {
        Some(Head { at_ms: self.at_ms?, run: self.run?, seq: self.seq? })
    }
}

/// A key and what is behind its `=`.
fn key(pair: &str) -> Option<(&str, &str)> {
    let end = pair.bytes().position(|byte| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'))?;
    let (key, value) = pair.split_at_checked(end)?;
    let is_key = key.bytes().next()?.is_ascii_lowercase();
    Some((key, value.strip_prefix('=')?)).filter(|_| is_key)
}

/// A bare text up to the next space, and what is behind it; nothing for an empty one.
fn word(value: &str) -> Option<(Option<Found<'_>>, &str)> {
    let end = value.bytes().position(|byte| matches!(byte, 0..=b' ' | b'=' | b'"' | 0x7f)).unwrap_or(value.len());
    let (text, behind) = value.split_at_checked(end)?;
    Some(((!text.is_empty()).then_some(Found::Text(text)), behind))
}

/// Digits that an i64 holds for sure.
const DIGITS: u8 = 18;

/// A number up to the next space, and what is behind it; nothing for an empty one. `12.5` with one decimal is 125: the
/// decoder's rule, in one pass. One of more digits than 18 is left to the decoder.
fn number(value: &str, decimals: u8) -> Option<(Option<Found<'_>>, &str)> {
    if value.is_empty() || value.starts_with(' ') {
        return Some((None, value));
    }
    let digits = value.strip_prefix('-').unwrap_or(value);
    let (mut number, mut count, mut point, mut len) = (0_i64, 0_u8, None, 0);
    for byte in digits.bytes() {
        match byte {
            b'0'..=b'9' => {
                number = number.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
                count = count.saturating_add(1);
            }
            b'.' if point.is_none() && count > 0 => point = Some(count),
            b' ' => break,
            _ => return None,
        }
        len += 1;
    }
    let behind = point.map_or(0, |point| count - point);
    if count > DIGITS || count == 0 || behind != decimals || point.is_some() != (decimals > 0) {
        return None;
    }
    let number = if digits.len() < value.len() { -number } else { number };
    Some((Some(Found::Number(number)), digits.get(len..)?))
}

/// `2026-06-04T12:00:00.123Z`, and nothing else: another form is left to the decoder.
fn at_ms(text: &str) -> Option<i64> {
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', i0, i1, b':', s0, s1, b'.', f0, f1, f2, b'Z'] =
        text.as_bytes()
    else {
        return None;
    };
    let year = digits(&[y0, y1, y2, y3])?;
    let (month, day) = (digits(&[m0, m1])?, digits(&[d0, d1])?);
    let (hour, minute, second) = (digits(&[h0, h1])?, digits(&[i0, i1])?, digits(&[s0, s1])?);
    if year < 1970 || !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_since_1970(year, month, day);
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + digits(&[f0, f1, f2])?)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant's days_from_civil, <https://howardhinnant.github.io/date_algorithms.html>, for years of our era.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::super::{Line, Reading};
    use super::*;

    const SAMPLE: &str = "RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=k3x9 seq=41 vm.mem.total.kb=8000000 mem.peak= cpu.busy.pct=12.5 load1=0.30 late.ms=1.4 agent.state=S disk.path=/ recv=x";

    /// What the decoder makes of the same line, in the form of the scanner.
    fn decoded(text: &str) -> Option<(Head, Vec<(&str, Found<'_>)>)> {
        let line = Line::decode(text).ok().filter(|line| line.event.is_none())?;
        let at_ms = line.ts.map(|ts| ts.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis());
        let head = Head { at_ms: at_ms.map(|ms| i64::try_from(ms).unwrap()), run: line.run, seq: line.seq };
        let mut found = Vec::new();
        for (key, reading) in line.pairs() {
            let (Some(field), Reading::Value(value)) = (field::find(key), reading) else { continue };
            let std::borrow::Cow::Borrowed(value) = value else { return None };
            found.push((key, line.scaled(field).map_or(Found::Text(value), Found::Number)));
        }
        Some((head, found))
    }

    fn scanned(text: &str) -> Option<(Head, Vec<(&str, Found<'_>)>)> {
        let mut found = Vec::new();
        let head = Scanner::default().sample(text, |row, value| found.push((field::ALL[row].key, value)))?;
        Some((head, found))
    }

    #[test]
    fn a_sample_is_read_as_the_decoder_reads_it() {
        assert!(scanned(SAMPLE).is_some());
        assert_eq!(scanned(SAMPLE), decoded(SAMPLE));
    }

    #[test]
    fn what_is_no_plain_sample_is_left_alone() {
        let head = "RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=k3x9 seq=41";
        assert!(scanned(head).is_some());
        for wrong in [
            " event=stop",
            " load1=0.3",
            " load1=.30",
            " load1=0.30 load1=0.30",
            " x=1 x=1",
            " Key=1",
            " x=\"a b\"",
            " x",
            "  x=1 ",
            " seq=42",
            " ts=",
        ] {
            assert_eq!(scanned(&format!("{head}{wrong}")), None, "{wrong}");
        }
        for wrong in
            ["", "RUNNER_VITALSX ts=", "RUNNER_VITALS", "RUNNER_VITALS ts=2026-02-29T12:00:00.123Z run=k3x9 seq=41"]
        {
            assert_eq!(scanned(wrong), None, "{wrong}");
        }
    }

    proptest! {
        /// Whatever a line became, the scanner says what the decoder says, or nothing.
        #[test]
        fn it_never_says_other_than_the_decoder(at in 0..SAMPLE.len(), with in "[ -~]{0,4}", keep in 0..4_usize) {
            let behind = (at + keep).min(SAMPLE.len());
            let text = format!("{}{with}{}", SAMPLE.get(..at).unwrap(), SAMPLE.get(behind..).unwrap());
            if let Some(found) = scanned(&text) {
                prop_assert_eq!(Some(found), decoded(&text));
            }
        }

        #[test]
        fn arbitrary_text_is_taken(text in "\\PC*") {
            let _ = scanned(&text);
        }

        #[test]
        fn a_time_is_what_humantime_reads(ms in 0_u64..4_102_444_800_000) {
            let text = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string();
            prop_assert_eq!(at_ms(&text), i64::try_from(ms).ok());
        }
    }
}
