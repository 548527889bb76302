//! From values to the bytes of a line. Allocates once, when the encoder is made.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use super::field::{Field, Kind, Print, Unit};
use super::{MAX_LINE_BYTES, RunId};

/// Time from 1970 to the year 10000, which RFC 3339 cannot say any more.
const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);

/// What stands at the end of a text that was cut.
const CUT: &str = "…";

/// A number as a line prints it: `scaled` counts units of the field's last decimal.
///
/// `12.5 %` of a field with one decimal is 125.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The value times ten to the power of the field's decimals.
    pub scaled: i64,
}

impl From<u64> for Number {
    /// Numbers over 2^63 - 1 are printed as that: the format has 64 bits with a sign.
    fn from(value: u64) -> Self {
        Self { scaled: i64::try_from(value).unwrap_or(i64::MAX) }
    }
}

impl From<i64> for Number {
    /// The one number without a positive twin becomes the next one, so that every reader can negate it.
    fn from(scaled: i64) -> Self {
        Self { scaled: scaled.max(-i64::MAX) }
    }
}

/// Makes the lines of one run: holds its id, its count and the one buffer.
///
/// Each tag is counted by itself: lines of logs take an encoder of their own.
#[derive(Debug)]
pub struct Encoder {
    buf: Vec<u8>,
    run: RunId,
    seq: u64,
}

impl Encoder {
    /// An encoder whose first line is `seq=1`.
    #[must_use]
    pub fn new(run: RunId) -> Self {
        Self { buf: Vec::with_capacity(MAX_LINE_BYTES), run, seq: 0 }
    }

    /// Begins a line of this kind, written at `now`. Whatever was begun before is gone.
    pub fn begin(&mut self, kind: Kind, now: SystemTime) -> LineBuilder<'_> {
        self.seq += 1;
        self.buf.clear();
        self.buf.extend_from_slice(kind.tag().as_str().as_bytes());
        self.buf.extend_from_slice(b" ts=");
        put_time(&mut self.buf, now);
        self.buf.extend_from_slice(b" run=");
        self.buf.extend_from_slice(self.run.as_str().as_bytes());
        self.buf.extend_from_slice(b" seq=");
        put_decimal(&mut self.buf, self.seq, 0);
        if let Some(event) = kind.event() {
            self.buf.extend_from_slice(b" event=");
            self.buf.extend_from_slice(event.as_bytes());
        }
        LineBuilder { buf: &mut self.buf }
    }
}

/// A line that is being written; [`LineBuilder::finish`] gives its bytes.
///
/// A pair that would not fit any more is left out whole, so a line never passes [`MAX_LINE_BYTES`].
#[derive(Debug)]
pub struct LineBuilder<'a> {
    buf: &'a mut Vec<u8>,
}

impl<'a> LineBuilder<'a> {
    /// Writes a number, or what the field's [`Print`] says of an absent one.
    pub fn number(&mut self, field: &Field, value: Option<impl Into<Number>>) -> &mut Self {
        let value = value.map(Into::into);
        match (field.print, value) {
            (Print::OverZero, Some(Number { scaled: 0 }) | None) | (Print::Known, None) => self,
            (Print::Contract, None) => self.pair(field, |_| {}),
            (_, Some(Number { scaled })) => self.pair(field, |buf| {
                if scaled < 0 {
                    buf.push(b'-');
                }
                put_decimal(buf, scaled.unsigned_abs(), field.unit.decimals().unwrap_or(0));
            }),
        }
    }

    /// Writes a text of any bytes: quoted where need be, cut to the field's width, invalid UTF-8 replaced.
    pub fn text(&mut self, field: &Field, value: Option<impl AsRef<[u8]>>) -> &mut Self {
        let Unit::Text(cap) = field.unit else { return self };
        match (field.print, value) {
            (Print::Contract, None) => self.pair(field, |_| {}),
            (_, None) => self,
            (_, Some(text)) => self.pair(field, |buf| put_text(buf, text.as_ref(), cap)),
        }
    }

    /// Writes words joined by commas; nothing when there are none. A word is one of ours: it needs no quotes.
    pub fn list<'w>(&mut self, field: &Field, words: impl Iterator<Item = &'w str> + Clone) -> &mut Self {
        let Unit::Text(cap) = field.unit else { return self };
        if words.clone().next().is_none() {
            return self;
        }
        debug_assert!(
            words.clone().all(|word| word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'='))
        );
        let len = words.clone().map(|word| word.len() + 1).sum::<usize>() - 1;
        self.pair(field, |buf| {
            let mut left = cap - CUT.len();
            for (i, word) in words.enumerate() {
                let comma = usize::from(i > 0);
                if len > cap && word.len() + comma > left {
                    buf.extend_from_slice(CUT.as_bytes());
                    break;
                }
                left = left.saturating_sub(word.len() + comma);
                buf.extend_from_slice(if i > 0 { b"," } else { b"" });
                buf.extend_from_slice(word.as_bytes());
            }
        })
    }

    /// The line, its newline included.
    #[must_use]
    pub fn finish(self) -> &'a [u8] {
        self.buf.push(b'\n');
        self.buf
    }

    fn pair(&mut self, field: &Field, put_value: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let widest = match field.unit {
            Unit::Text(cap) => cap + "\"\"".len(),
            _ => "-9223372036854775807.".len(),
        };
        let before = self.buf.len();
        if before + " =\n".len() + field.key.len() + widest > MAX_LINE_BYTES {
            return self;
        }
        self.buf.push(b' ');
        self.buf.extend_from_slice(field.key.as_bytes());
        self.buf.push(b'=');
        put_value(self.buf);
        self
    }
}

/// The longest beginning of `text` that a field of this width holds whole, however much of it has to be escaped.
#[must_use]
pub fn head(text: &str, width: usize) -> &str {
    let mut left = width;
    let end = text.char_indices().find(|(_, c)| match left.checked_sub(escaped_len(*c)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    let end = end.map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default()
}

/// Bytes that a character takes between quotes.
const fn escaped_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        '\0'..='\x1f' | '\x7f' => 6,
        c => c.len_utf8(),
    }
}

/// UTC, RFC 3339, milliseconds; nothing for a clock outside the years 1970 to 9999.
fn put_time(buf: &mut Vec<u8>, time: SystemTime) {
    let before = buf.len();
    let in_range = time >= SystemTime::UNIX_EPOCH && time < SystemTime::UNIX_EPOCH + YEAR_10000;
    if !in_range || write!(buf, "{}", humantime::format_rfc3339_millis(time)).is_err() {
        buf.truncate(before);
    }
}

fn put_decimal(buf: &mut Vec<u8>, scaled: u64, decimals: u8) {
    let unit = 10_u64.pow(u32::from(decimals));
    // Writing into memory with room to spare cannot fail.
    let _ = match decimals {
        0 => write!(buf, "{scaled}"),
        _ => write!(buf, "{}.{:0width$}", scaled / unit, scaled % unit, width = usize::from(decimals)),
    };
}

fn put_text(buf: &mut Vec<u8>, text: &[u8], cap: usize) {
    let quoted = text.is_empty() || text.iter().any(|byte| matches!(byte, 0..=b' ' | b'=' | b'"' | 0x7f));
    if quoted {
        buf.push(b'"');
    }
    let start = buf.len();
    let mut cut_at = start;
    for chunk in text.utf8_chunks() {
        let replacement = if chunk.invalid().is_empty() { None } else { Some(char::REPLACEMENT_CHARACTER) };
        for c in chunk.valid().chars().chain(replacement) {
            put_char(buf, c, quoted);
            if buf.len() - start > cap {
                buf.truncate(cut_at);
                buf.extend_from_slice(CUT.as_bytes());
                if quoted {
                    buf.push(b'"');
                }
                return;
            }
            if buf.len() - start + CUT.len() <= cap {
                cut_at = buf.len();
            }
        }
    }
    if quoted {
        buf.push(b'"');
    }
}

fn put_char(buf: &mut Vec<u8>, c: char, quoted: bool) {
    let escape: &[u8] = match c {
        '"' => b"\\\"",
        '\\' if quoted => b"\\\\",
        '\n' => b"\\n",
        '\r' => b"\\r",
        '\t' => b"\\t",
        '\0'..='\x1f' | '\x7f' => {
            let _ = write!(buf, "\\u{:04x}", u32::from(c));
            return;
        }
        _ => {
            buf.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
    };
    buf.extend_from_slice(escape);
}

#[cfg(test)]
mod tests {
    use super::super::Line;
    use super::super::field::{self, Field, Kind, Print, Unit};
    use super::*;

    fn line(put: impl FnOnce(&mut LineBuilder)) -> String {
        let mut encoder = Encoder::new(RunId::parse("k3x9").unwrap());
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_780_574_400_123);
        let mut line = encoder.begin(Kind::Sample, now);
        put(&mut line);
        String::from_utf8(line.finish().to_vec()).unwrap()
    }

    const HEAD: &str = "RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=k3x9 seq=1";

    #[test]
    fn numbers_follow_the_table() {
        let cases: [(&Field, Option<i64>, &str); 9] = [
            (field::MEM_CURRENT, Some(7), " mem.current=7"),
            (field::MEM_CURRENT, None, " mem.current="),
            (field::CPU_BUSY, Some(5), " cpu.busy.pct=0.5"),
            (field::LOAD1, Some(1203), " load1=12.03"),
            (field::CPU_STEAL, Some(0), ""),
            (field::CPU_STEAL, None, ""),
            (field::VM_OOM_KILL, Some(0), " vm.oom_kill=0"),
            (field::VM_OOM_KILL, None, ""),
            (field::VICTIM_ADJ, Some(-1000), " victim.adj=-1000"),
        ];
        for (field, value, printed) in cases {
            assert_eq!(line(|line| _ = line.number(field, value)), format!("{HEAD}{printed}\n"));
        }
    }

    const COMM: &Field = &Field { unit: Unit::Text(8), ..*field::VICTIM_COMM };

    #[test]
    fn texts_are_quoted_escaped_and_cut() {
        let cases: [(&[u8], &str); 12] = [
            (b"node", "node"),
            (b"", "\"\""),
            (b"a b", "\"a b\""),
            (b"a=b", "\"a=b\""),
            (b"a\"b", "\"a\\\"b\""),
            (b"a\\b", "a\\b"),
            (b"\\ ", "\"\\\\ \""),
            (b"\n\r\t", "\"\\n\\r\\t\""),
            (b"\x01", "\"\\u0001\""),
            (b"\x7f", "\"\\u007f\""),
            (b"\xffa", "\u{fffd}a"),
            ("abcdéfgh".as_bytes(), "abcd…"),
        ];
        for (text, printed) in cases {
            assert_eq!(line(|line| _ = line.text(COMM, Some(text))), format!("{HEAD} victim.comm={printed}\n"));
        }
        assert_eq!(line(|line| _ = line.text(COMM, None::<&str>)), format!("{HEAD}\n"));
        let contract = &Field { print: Print::Contract, ..*COMM };
        assert_eq!(line(|line| _ = line.text(contract, None::<&str>)), format!("{HEAD} victim.comm=\n"));
    }

    #[test]
    fn a_text_that_just_fits_is_whole() {
        assert!(line(|line| _ = line.text(COMM, Some("12345678"))).ends_with("=12345678\n"));
        assert!(line(|line| _ = line.text(COMM, Some("123456789"))).ends_with("=12345…\n"));
        assert!(line(|line| _ = line.text(COMM, Some("ééééé"))).ends_with("=éé…\n"));
    }

    #[test]
    fn a_head_is_as_wide_as_the_line_shows_it() {
        let cases =
            [("", 0, ""), ("a b", 2, "a "), ("a\" b", 2, "a"), ("a\" b", 3, "a\""), ("é é", 1, ""), ("\u{1} ", 5, "")];
        for (text, width, expected) in cases {
            assert_eq!(head(text, width), expected, "{text:?} in {width}");
        }
        let roomy = &Field { unit: Unit::Text(64), ..*COMM };
        for text in ["a b\"c\\d\n\t\r\u{7f}\u{1} e…é", "= = = ="] {
            for width in 6..32 {
                let head = head(text, width);
                let printed = line(|line| _ = line.text(roomy, Some(head)));
                assert_eq!(Line::decode(&printed).unwrap().text(roomy), Some(head), "whole in the line");
                let shown = printed.len() - HEAD.len() - " victim.comm=\"\"\n".len();
                let next = text.get(head.len()..).and_then(|rest| rest.chars().next());
                assert!(shown <= width, "{head:?} in {width}");
                assert!(next.is_none_or(|c| shown + escaped_len(c) > width), "{head:?} could be longer in {width}");
            }
        }
    }

    #[test]
    fn lines_of_logs_have_their_own_tag() {
        let mut encoder = Encoder::new(RunId::from_random(0));
        let line = encoder.begin(Kind::Log, SystemTime::UNIX_EPOCH).finish();
        assert_eq!(line, b"RUNNER_LOG ts=1970-01-01T00:00:00.000Z run=0000 seq=1\n");
    }

    #[test]
    fn lists_are_cut_between_words() {
        let list = |words: &[&str]| line(|line| _ = line.list(COMM, words.iter().copied()));
        assert_eq!(list(&[]), format!("{HEAD}\n"));
        assert_eq!(list(&["ab", "cd", "ef"]), format!("{HEAD} victim.comm=ab,cd,ef\n"));
        assert_eq!(list(&["ab", "cd", "efg"]), format!("{HEAD} victim.comm=ab,cd…\n"));
    }

    #[test]
    fn a_clock_outside_1970_to_9999_costs_the_time_only() {
        for wrong in [SystemTime::UNIX_EPOCH - Duration::from_secs(1), SystemTime::UNIX_EPOCH + YEAR_10000] {
            let mut encoder = Encoder::new(RunId::from_random(0));
            assert_eq!(encoder.begin(Kind::Start, wrong).finish(), b"RUNNER_VITALS ts= run=0000 seq=1 event=start\n");
        }
    }
}
