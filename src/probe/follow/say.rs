//! What the sidecar says, as lines: within its rate, and with what it held back.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, SystemTime};

use crate::line::field::{self, Kind, Unit};
use crate::line::{Encoder, RunId, head};

use super::bucket::Bucket;
use super::split::Raw;

/// So much of a line is told.
pub const SHOWN_BYTES: usize = 2048;

/// What stands at the end of a line that was cut.
const CUT: &str = "…";

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Of a clock that never steps back.
    pub now: Duration,
    /// What the lines say it is.
    pub wall: SystemTime,
}

/// The text of a line as it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Its beginning.
    pub line: String,
    /// Bytes that were left out.
    pub cut_bytes: u64,
}

/// What became of a file or of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The line has no newline yet.
    Unfinished,
    /// The file is not under its name any more, nor under another that matches.
    Removed,
    /// Another file is under its name.
    Replaced,
    /// The file has become shorter, or other bytes stand where it was read.
    Truncated,
    /// Bytes were passed over.
    Skipped,
    /// A private key had no end.
    Unclosed,
    /// It cannot be followed.
    Unreadable,
    /// There are more files than can be followed.
    Unfollowed,
}

/// What one line says.
#[derive(Clone, Debug, Default)]
pub struct Said<'a> {
    /// The file that it is about.
    pub file: Option<&'a OsStr>,
    /// What became of it.
    pub note: Option<Note>,
    /// What it says.
    pub text: Option<&'a Text>,
    /// How many more times it came.
    pub repeats: u64,
    /// It and how many lines in all.
    pub block: usize,
    /// Bytes of the file that were passed over so far.
    pub skipped_bytes: u64,
    /// Files that are not followed.
    pub unfollowed: usize,
    /// What is wrong.
    pub error: Option<String>,
}

/// Makes the lines of the sidecar.
#[derive(Debug)]
pub struct Voice {
    encoder: Encoder,
    bucket: Bucket,
    /// Of the lines held back so many were told of.
    told: u64,
}

impl Voice {
    /// A voice whose first line is `seq=1`.
    #[must_use]
    pub fn new(run: RunId) -> Self {
        Self { encoder: Encoder::new(run), bucket: Bucket::new(Duration::ZERO), told: 0 }
    }

    /// Says it, unless there is too much to say: then it is counted.
    pub fn say(&mut self, said: &Said<'_>, at: Moment, emit: &mut dyn FnMut(&[u8])) {
        if self.bucket.allows(at.now) {
            self.line(said, at, emit);
        } else {
            // A line that stands for others takes them along.
            let block = u64::try_from(said.block).unwrap_or(u64::MAX).max(1);
            self.bucket.suppress(said.repeats.saturating_mul(block));
        }
    }

    /// Tells what was held back and not told of yet, once there is room for a line.
    pub fn rest(&mut self, at: Moment, emit: &mut dyn FnMut(&[u8])) {
        if self.owes() && self.bucket.has_room(at.now) {
            self.say(&Said::default(), at, emit);
        }
    }

    /// The same at the end, room or not.
    pub fn finish(&mut self, at: Moment, emit: &mut dyn FnMut(&[u8])) {
        if self.owes() {
            self.line(&Said::default(), at, emit);
        }
    }

    fn owes(&self) -> bool {
        self.bucket.suppressed() > self.told
    }

    fn line(&mut self, said: &Said<'_>, at: Moment, emit: &mut dyn FnMut(&[u8])) {
        self.told = self.bucket.suppressed();
        let block = if said.block > 1 { u64::try_from(said.block).ok() } else { None };
        let mut line = self.encoder.begin(Kind::Log, at.wall);
        line.text(field::ERROR, said.error.as_ref())
            .text(field::FILE, said.file.map(OsStr::as_bytes))
            .text(field::NOTE, said.note.map(Note::name))
            .number(field::REPEATS, Some(said.repeats))
            .number(field::REPEATS_LINES, block)
            .number(field::CUT, said.text.map(|text| text.cut_bytes))
            .number(field::SKIPPED, Some(said.skipped_bytes))
            .number(field::UNFOLLOWED, u64::try_from(said.unfollowed).ok())
            .number(field::SUPPRESSED, Some(self.told))
            .text(field::LINE, said.text.map(|text| &text.line));
        emit(line.finish());
    }
}

impl Note {
    /// As lines have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished",
            Self::Removed => "removed",
            Self::Replaced => "replaced",
            Self::Truncated => "truncated",
            Self::Skipped => "skipped",
            Self::Unclosed => "unclosed",
            Self::Unreadable => "unreadable",
            Self::Unfollowed => "unfollowed",
        }
    }
}

impl Text {
    /// What is told of a masked line: as much as fits.
    #[must_use]
    pub fn of(masked: &[u8], raw: Raw<'_>, nuls: u64) -> Self {
        let text = String::from_utf8_lossy(masked);
        let Unit::Text(width) = field::LINE.unit else { return Self::default() };
        let left_out = raw.cut_bytes + nuls;
        if raw.end.is_empty() && text.len() <= SHOWN_BYTES && head(&text, width).len() == text.len() {
            return Self { line: text.into_owned(), cut_bytes: left_out };
        }
        let shown = text.get(..text.floor_char_boundary(SHOWN_BYTES)).unwrap_or_default();
        let shown = head(shown, width - CUT.len());
        let cut = u64::try_from(text.len() - shown.len()).unwrap_or(u64::MAX);
        Self { line: [shown, CUT].concat(), cut_bytes: left_out.saturating_add(cut) }
    }
}

#[cfg(test)]
mod tests {
    use crate::line::Line;

    use super::*;

    fn text(masked: &[u8]) -> Text {
        Text::of(masked, Raw { head: b"", end: b"", cut_bytes: 0, len: 0 }, 0)
    }

    #[test]
    fn a_line_is_cut_where_it_is_too_long_or_too_wide() {
        let whole = Text { line: "x".repeat(2048), cut_bytes: 0 };
        assert_eq!(text(&[b'x'; 2048]), whole);
        assert_eq!(text(&[b'x'; 2050]), Text { line: whole.line + "…", cut_bytes: 2 });
        assert_eq!(text("é".repeat(1500).as_bytes()).cut_bytes, 3000 - 2048);
        let wide = text(&[b'"'; 2000]);
        assert_eq!((wide.line.chars().count(), wide.cut_bytes), (1535, 2000 - 1534));
        assert_eq!(text(b"a\xffb"), Text { line: "a\u{fffd}b".to_owned(), cut_bytes: 0 });
    }

    #[test]
    fn the_widest_line_is_told_whole() {
        let mut voice = Voice::new(RunId::from_random(0));
        for byte in [b'\\', 1, b'"', b' ', b'x', 0xff] {
            let text = text(&[byte; 4000]);
            let name = "\u{1}".repeat(255);
            let said = Said {
                file: Some(OsStr::new(&name)),
                note: Some(Note::Unfinished),
                text: Some(&text),
                repeats: u64::MAX,
                block: 6,
                skipped_bytes: u64::MAX,
                unfollowed: 9999,
                error: Some("x".repeat(256)),
            };
            let at = Moment { now: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
            voice.say(&said, at, &mut |line| {
                let line = Line::decode(str::from_utf8(line).unwrap()).unwrap();
                assert_eq!(line.text(field::LINE), Some(&*text.line));
            });
        }
    }
}
