//! From the bytes of a line to its values.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::time::SystemTime;

use super::field::{Field, Unit};
use super::{MAX_LINE_BYTES, RunId, Tag};

/// So many keys are quicker compared one by one: more than any line of ours has.
const FEW_KEYS: usize = 64;

/// A decoded line. Keys that the table does not know are kept: they may be newer than this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Vitals, or a line of a followed log.
    pub tag: Tag,
    /// When it was written, by the guest's clock; `None` where that clock was unusable.
    pub ts: Option<SystemTime>,
    /// Which process wrote it.
    pub run: RunId,
    /// The how-manieth line of that run it is, among those of its tag.
    pub seq: u64,
    /// The event; `None` for a sample and for a line of a log.
    pub event: Option<Cow<'a, str>>,
    pairs: Vec<(&'a str, Reading<'a>)>,
}

/// What stands behind a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<'a> {
    /// Nothing: the source could not be read.
    Unread,
    /// A value, unescaped; `""` is an empty one.
    Value(Cow<'a, str>),
}

/// Why a line could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The byte of the line at which it went wrong.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It begins with neither tag.
    NotOurs,
    /// It is longer than a line can be.
    TooLong,
    /// `ts`, `run` or `seq` is missing or malformed.
    Envelope,
    /// A key is malformed or has no `=`.
    Key,
    /// A key stands there twice.
    Repeated,
    /// A quote has no end, an escape is unknown, or something follows the closing quote.
    Quote,
    /// A value of the table is not a number of the field's form.
    Number,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.problem {
            Problem::NotOurs => "not a RUNNER_VITALS or RUNNER_LOG line",
            Problem::TooLong => "longer than 4096 bytes",
            Problem::Envelope => "ts, run or seq is missing or malformed",
            Problem::Key => "malformed key",
            Problem::Repeated => "a key twice",
            Problem::Quote => "malformed quoted value",
            Problem::Number => "not a number of the field's form",
        };
        write!(f, "byte {}: {what}", self.at)
    }
}

impl std::error::Error for DecodeError {}

impl<'a> Line<'a> {
    /// Decodes one line, with or without its newline.
    ///
    /// # Errors
    /// Says what is wrong and where; see [`Problem`].
    pub fn decode(text: &'a str) -> Result<Self, DecodeError> {
        let mut cursor = Cursor { text: text.strip_suffix('\n').unwrap_or(text), at: 0 };
        let tag = cursor.tag()?;
        if cursor.text.len() >= MAX_LINE_BYTES {
            return Err(DecodeError { at: MAX_LINE_BYTES, problem: Problem::TooLong });
        }
        let mut pairs = Vec::new();
        let mut many = HashSet::new();
        while let Some((at, key, reading)) = cursor.pair()? {
            if is_repeated(key, &pairs, &mut many) {
                return Err(DecodeError { at, problem: Problem::Repeated });
            }
            check_number(at, key, &reading)?;
            pairs.push((key, reading));
        }
        Self::with_envelope(tag, pairs).ok_or(DecodeError { at: tag.as_str().len(), problem: Problem::Envelope })
    }

    /// The reading of a field; `None` when its key is not there.
    #[must_use]
    pub fn get(&self, field: &Field) -> Option<&Reading<'a>> {
        self.pairs.iter().find(|(key, _)| *key == field.key).map(|(_, reading)| reading)
    }

    /// The text of a field; `None` when its key is not there or was not read.
    #[must_use]
    pub fn text(&self, field: &Field) -> Option<&str> {
        match self.get(field)? {
            Reading::Unread => None,
            Reading::Value(text) => Some(text),
        }
    }

    /// The number of a field in units of its last decimal; `None` when its key is not there or was not read.
    #[must_use]
    pub fn scaled(&self, field: &Field) -> Option<i64> {
        scaled(self.text(field)?, field.unit.decimals()?)
    }

    /// All pairs behind the envelope, in the order of the line.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a str, &Reading<'a>)> {
        self.pairs.iter().map(|(key, reading)| (*key, reading))
    }

    fn with_envelope(tag: Tag, mut pairs: Vec<(&'a str, Reading<'a>)>) -> Option<Self> {
        let mut take = |wanted: &str| {
            let at = pairs.iter().position(|(key, _)| *key == wanted)?;
            Some(pairs.remove(at).1)
        };
        let ts = match take("ts")? {
            Reading::Unread => None,
            Reading::Value(text) => Some(humantime::parse_rfc3339(&text).ok()?),
        };
        let Reading::Value(run) = take("run")? else { return None };
        let Reading::Value(seq) = take("seq")? else { return None };
        let event = match take("event") {
            None => None,
            Some(Reading::Value(event)) => Some(event),
            Some(Reading::Unread) => return None,
        };
        let (run, seq) = (RunId::parse(&run)?, u64::try_from(scaled(&seq, 0)?).ok()?);
        Some(Self { tag, ts, run, seq, event, pairs })
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, problem: Problem) -> DecodeError {
        DecodeError { at: self.at, problem }
    }

    fn tag(&mut self) -> Result<Tag, DecodeError> {
        let tag = Tag::of(self.text).filter(|tag| self.text.as_bytes().get(tag.as_str().len()) != Some(&b'\n'));
        let tag = tag.ok_or(self.error(Problem::NotOurs))?;
        self.at = tag.as_str().len();
        Ok(tag)
    }

    /// The next pair with its place; `None` at the end.
    fn pair(&mut self) -> Result<Option<(usize, &'a str, Reading<'a>)>, DecodeError> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(' ').len();
        let (at, rest) = (self.at, self.rest());
        if rest.is_empty() {
            return Ok(None);
        }
        let (key, value) = rest.split_once('=').ok_or(self.error(Problem::Key))?;
        if !is_key(key) {
            return Err(self.error(Problem::Key));
        }
        self.at += key.len() + 1;
        let reading = match value.strip_prefix('"') {
            Some(quoted) => self.quoted(quoted)?,
            None => self.bare(value)?,
        };
        Ok(Some((at, key, reading)))
    }

    fn bare(&mut self, value: &'a str) -> Result<Reading<'a>, DecodeError> {
        let word = value.split(' ').next().unwrap_or_default();
        if word.bytes().any(|byte| matches!(byte, 0..=b' ' | b'=' | b'"' | 0x7f)) {
            return Err(self.error(Problem::Quote));
        }
        self.at += word.len();
        Ok(if word.is_empty() { Reading::Unread } else { Reading::Value(Cow::Borrowed(word)) })
    }

    /// Reads on behind an opening quote, up to and with the closing one.
    fn quoted(&mut self, quoted: &'a str) -> Result<Reading<'a>, DecodeError> {
        let mut text = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    let after = quoted.get(at + 1..).unwrap_or_default();
                    self.at += at + 2;
                    let ends = after.is_empty() || after.starts_with(' ');
                    return if ends { Ok(Reading::Value(Cow::Owned(text))) } else { Err(self.error(Problem::Quote)) };
                }
                '\\' => text.push(unescaped(&mut chars).ok_or(self.error(Problem::Quote))?),
                '\0'..='\x1f' | '\x7f' => return Err(self.error(Problem::Quote)),
                c => text.push(c),
            }
        }
        Err(self.error(Problem::Quote))
    }
}

/// The character that an escape stands for, its backslash already read.
fn unescaped(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    match chars.next()?.1 {
        c @ ('"' | '\\') => Some(c),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'u' => {
            let mut code = 0;
            for _ in 0..4 {
                code = code * 16 + chars.next()?.1.to_digit(16)?;
            }
            char::from_u32(code)
        }
        _ => None,
    }
}

fn is_key(key: &str) -> bool {
    key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'))
        && key.starts_with(|first: char| first.is_ascii_lowercase())
}

/// Whether this key stands before; in a time that does not grow with the square of how many there are.
fn is_repeated<'a>(key: &'a str, pairs: &[(&'a str, Reading<'a>)], many: &mut HashSet<&'a str>) -> bool {
    if pairs.len() < FEW_KEYS {
        return pairs.iter().any(|(seen, _)| *seen == key);
    }
    if many.is_empty() {
        many.extend(pairs.iter().map(|(seen, _)| *seen));
    }
    !many.insert(key)
}

fn check_number(at: usize, key: &str, reading: &Reading<'_>) -> Result<(), DecodeError> {
    let Reading::Value(text) = reading else { return Ok(()) };
    match super::field::find(key).map(|field| field.unit) {
        None | Some(Unit::Text(_)) => Ok(()),
        Some(unit) => match scaled(text, unit.decimals().unwrap_or(0)) {
            Some(_) => Ok(()),
            None => Err(DecodeError { at, problem: Problem::Number }),
        },
    }
}

/// `12.5` with one decimal is 125. Just that many decimals, no sign but a minus, no exponent.
fn scaled(text: &str, decimals: u8) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match decimals {
        0 => (digits, ""),
        _ => digits.split_once('.')?,
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() != usize::from(decimals) || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let unit = 10_i64.checked_pow(u32::from(decimals))?;
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let value = whole.parse::<i64>().ok()?.checked_mul(unit)?.checked_add(fraction)?;
    Some(if text.starts_with('-') { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::super::field;
    use super::*;

    const HEAD: &str = "RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=k3x9 seq=41";

    fn problem(text: &str) -> Problem {
        Line::decode(text).unwrap_err().problem
    }

    #[test]
    fn a_line_is_read_whole() {
        let text =
            format!("{HEAD} event=kmsg.oom mem.peak= load1=0.30 victim.adj=-5 msg=\"a \\\"b\\\" \\u0001\" newer=1\n");
        let line = Line::decode(&text).unwrap();
        assert_eq!((line.run.as_str(), line.seq, line.event.as_deref()), ("k3x9", 41, Some("kmsg.oom")));
        assert_eq!(line.get(field::MEM_PEAK), Some(&Reading::Unread));
        assert_eq!(line.get(field::MEM_MAX), None);
        assert_eq!(line.scaled(field::LOAD1), Some(30));
        assert_eq!(line.scaled(field::VICTIM_ADJ), Some(-5));
        assert_eq!(line.text(field::MSG), Some("a \"b\" \u{1}"));
        assert_eq!(line.pairs().last(), Some(("newer", &Reading::Value("1".into()))));
    }

    #[test]
    fn a_line_of_a_log_is_told_by_its_tag() {
        let text = "RUNNER_LOG ts= run=k3x9 seq=7 file=Worker_20260604.log suppressed=3 line=\"RUNNER_VITALS oom=1\"\n";
        let line = Line::decode(text).unwrap();
        assert_eq!((line.tag, line.seq, line.event.as_deref()), (Tag::Log, 7, None));
        assert_eq!(line.text(field::FILE), Some("Worker_20260604.log"));
        assert_eq!(line.scaled(field::SUPPRESSED), Some(3));
        assert_eq!(line.text(field::LINE), Some("RUNNER_VITALS oom=1"));
        assert_eq!(Line::decode(HEAD).unwrap().tag, Tag::Vitals);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", Problem::NotOurs),
            ("RUNNER_VITALSX ts=", Problem::NotOurs),
            ("RUNNER_LOGS ts=", Problem::NotOurs),
            ("RUNNER_VITALS\nts= run=k3x9 seq=1", Problem::NotOurs),
            ("RUNNER_VITALS", Problem::Envelope),
            ("RUNNER_LOG", Problem::Envelope),
            ("RUNNER_VITALS ts=yesterday run=k3x9 seq=1", Problem::Envelope),
            ("RUNNER_VITALS ts= run=K3X9 seq=1", Problem::Envelope),
            ("RUNNER_VITALS ts= run=k3x9 seq=-1", Problem::Envelope),
            ("RUNNER_VITALS ts= run=k3x9 seq=+1", Problem::Envelope),
        ];
        for (text, expected) in cases {
            assert_eq!(problem(text), expected, "{text}");
        }
        let fits = format!("{HEAD} msg={}", "x".repeat(MAX_LINE_BYTES - HEAD.len() - " msg=\n".len()));
        assert!(Line::decode(&fits).is_ok());
        assert_eq!(problem(&format!("{fits}x")), Problem::TooLong);
        let cases = [
            (" bare", Problem::Key),
            (" Key=1", Problem::Key),
            (" =1", Problem::Key),
            (" load1=0.30 load1=0.30", Problem::Repeated),
            (" msg=\"open", Problem::Quote),
            (" msg=\"\\x41\"", Problem::Quote),
            (" msg=\"a\"b", Problem::Quote),
            (" msg=a\"b", Problem::Quote),
            (" load1=0.3", Problem::Number),
            (" load1=1e3", Problem::Number),
            (" mem.max=max", Problem::Number),
            (" mem.max=99999999999999999999", Problem::Number),
        ];
        for (pairs, expected) in cases {
            assert_eq!(problem(&format!("{HEAD}{pairs}")), expected, "{pairs}");
        }
    }

    #[test]
    fn a_key_is_found_again_among_many() {
        let many: String = (0..300).map(|at| format!(" k{at}=1")).collect();
        assert_eq!(Line::decode(&format!("{HEAD}{many}")).unwrap().pairs().count(), 300);
        for twice in ["k0", "k63", "k64", "k299"] {
            assert_eq!(problem(&format!("{HEAD}{many} {twice}=2")), Problem::Repeated, "{twice}");
        }
    }
}
