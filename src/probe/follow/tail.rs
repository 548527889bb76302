//! One followed file: where it was read to, and what became of it.

use std::ffi::{OsStr, OsString};
use std::hash::RandomState;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

use super::collapse::{Collapse, Told};
use super::glob::{Found, Id};
use super::key::key;
use super::mask::{Masked, Masker};
use super::read::{OpenError, Source};
use super::say::{Note, Said, Text};
use super::split::{Raw, Splitter};

/// A read at a time.
pub const CHUNK_BYTES: usize = 16 * 1024;

/// Of what was read before, so much has to stand there still: other bytes mean another text in the same file.
pub const CONTEXT_BYTES: usize = 32;

/// A reader further behind than this goes ahead: the last lines are what matters.
pub const MOST_BEHIND_BYTES: u64 = 1024 * 1024;

/// Where it goes on then, before the end.
pub const AHEAD_BYTES: u64 = 64 * 1024;

/// What lies before the first line that is told is looked through for the beginning of a private key.
const LOOK_BACK_BYTES: u64 = 64 * 1024;

/// After so much time without a byte, a line without a newline is told.
const UNFINISHED_AFTER: Duration = Duration::from_secs(2);

/// And not again before, when it grows on.
const UNFINISHED_EVERY: Duration = Duration::from_secs(30);

/// Whether the file is still to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Here,
    /// Not since then.
    Gone(Duration),
}

/// An open file that is followed.
#[derive(Debug)]
pub struct Tail {
    /// Which file it is.
    pub id: Id,
    /// Where it was last.
    pub path: PathBuf,
    /// How lines name it.
    pub name: OsString,
    /// Whether it is still to be found.
    pub presence: Presence,
    source: Source,
    /// The next byte to read.
    at: u64,
    /// The last bytes before it.
    context: Vec<u8>,
    /// Where the line begins that has begun.
    line_at: u64,
    /// Lines that begin before this are not told.
    told_from: u64,
    splitter: Splitter,
    masker: Masker,
    collapse: Collapse<Text>,
    hasher: RandomState,
    skipped_bytes: u64,
    /// When it was last read, or opened.
    grew_at: Duration,
    /// Of the line that has begun, so many bytes were told, then.
    told_begun: Option<(u64, Duration)>,
}

impl Tail {
    /// Opens a file whose lines are told from this place on.
    ///
    /// # Errors
    /// When it cannot be opened, or is another file by now.
    pub fn open(found: &Found, from: u64, now: Duration) -> Result<Self, OpenError> {
        let source = Source::open(&found.path, found.id)?;
        let mut tail = Self {
            id: found.id,
            path: found.path.clone(),
            name: found.name.clone(),
            presence: Presence::Here,
            source,
            at: 0,
            context: Vec::with_capacity(CONTEXT_BYTES),
            line_at: 0,
            told_from: 0,
            splitter: Splitter::default(),
            masker: Masker::default(),
            collapse: Collapse::default(),
            hasher: RandomState::new(),
            skipped_bytes: 0,
            grew_at: now,
            told_begun: None,
        };
        tail.go_to(from);
        Ok(tail)
    }

    /// Reads once, if there is something to read. Gives how many bytes that were.
    ///
    /// # Errors
    /// As fstat(2) and pread(2) have it.
    pub fn step(&mut self, room: &mut [u8], now: Duration, say: &mut dyn FnMut(&Said<'_>)) -> Result<usize, Errno> {
        let size = self.source.size()?;
        if size < self.at {
            self.start_anew(say);
        }
        if size.saturating_sub(self.at) > MOST_BEHIND_BYTES {
            self.skip(size.saturating_sub(AHEAD_BYTES), say);
        }
        if size == self.at {
            return Ok(0);
        }
        let before = u64::try_from(self.context.len()).unwrap_or(0);
        let Some(count) = self.source.read_at(room, self.at.saturating_sub(before))? else { return Ok(0) };
        let read = room.get(..count).unwrap_or_default();
        match read.strip_prefix(&*self.context) {
            Some(new) if !new.is_empty() => {
                self.take(new, now, say);
                Ok(count)
            }
            // The rest is not in memory yet: a read that begins there asks for it.
            Some(_) => self.read_on(room, now, say),
            None if count < self.context.len() => Ok(0),
            None => {
                self.start_anew(say);
                Ok(count)
            }
        }
    }

    /// Tells what has waited long enough: a line that has begun, a count of repeats.
    pub fn rest(&mut self, now: Duration, say: &mut dyn FnMut(&Said<'_>)) {
        let (name, skipped) = (&self.name, self.skipped_bytes);
        self.collapse.rest(now, |told| say(&said(name, skipped, &told)));
        if now.saturating_sub(self.grew_at) < UNFINISHED_AFTER {
            return;
        }
        let is_due = self.told_begun.is_none_or(|(_, at)| now.saturating_sub(at) >= UNFINISHED_EVERY);
        if is_due && self.tell_begun(say) {
            self.told_begun = Some((self.splitter.begun().len, now));
        }
    }

    /// Tells all that waits: the file is not followed any more, or what follows has nothing to do with it.
    pub fn finish(&mut self, say: &mut dyn FnMut(&Said<'_>)) {
        let (name, skipped) = (&self.name, self.skipped_bytes);
        self.collapse.finish(|told| say(&said(name, skipped, &told)));
        self.tell_begun(say);
    }

    /// Says something about the file.
    pub fn note(&self, note: Note, say: &mut dyn FnMut(&Said<'_>)) {
        say(&Said { note: Some(note), ..said_of(&self.name, self.skipped_bytes) });
    }

    /// Counts what will never be read.
    pub fn give_up(&mut self, say: &mut dyn FnMut(&Said<'_>)) {
        let left = self.source.size().unwrap_or(self.at).saturating_sub(self.at);
        if left > 0 {
            self.skipped_bytes += left;
            self.note(Note::Skipped, say);
        }
    }

    /// Whether there is something to read.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.source.size().is_ok_and(|size| size > self.at)
    }

    /// How long it has not grown.
    #[must_use]
    pub fn idle(&self, now: Duration) -> Duration {
        now.saturating_sub(self.grew_at)
    }

    /// Where to go on when it is opened again, and how far it was read.
    #[must_use]
    pub fn place(&self) -> (u64, u64) {
        (self.line_at, self.at)
    }

    fn read_on(&mut self, room: &mut [u8], now: Duration, say: &mut dyn FnMut(&Said<'_>)) -> Result<usize, Errno> {
        let count = self.source.read_at(room, self.at)?.unwrap_or(0);
        let new = room.get(..count).unwrap_or_default();
        if !new.is_empty() {
            self.take(new, now, say);
        }
        Ok(count)
    }

    /// Takes the next bytes of the file.
    fn take(&mut self, new: &[u8], now: Duration, say: &mut dyn FnMut(&Said<'_>)) {
        self.at += u64::try_from(new.len()).unwrap_or(u64::MAX);
        self.grew_at = now;
        self.context.extend_from_slice(new.get(new.len().saturating_sub(CONTEXT_BYTES)..).unwrap_or_default());
        self.context.drain(..self.context.len().saturating_sub(CONTEXT_BYTES));
        let Self { splitter, masker, collapse, hasher, line_at, told_from, told_begun, name, .. } = self;
        let skipped = self.skipped_bytes;
        let mut masked_line = Vec::new();
        splitter.take(new, |raw| {
            let is_told = *line_at >= *told_from;
            *line_at += raw.len + 1;
            *told_begun = None;
            masked_line.clear();
            let Masked { nuls, was_unclosed } = masker.line(raw, &mut masked_line);
            if !is_told {
                return;
            }
            if was_unclosed {
                say(&Said { note: Some(Note::Unclosed), ..said_of(name, skipped) });
            }
            let text = Text::of(&masked_line, raw, nuls);
            collapse.take(key(&text.line, hasher), text, now, |told| say(&said(name, skipped, &told)));
        });
    }

    /// Tells the line that has begun, unless just that was told. Gives whether it did.
    fn tell_begun(&mut self, say: &mut dyn FnMut(&Said<'_>)) -> bool {
        let raw: Raw<'_> = self.splitter.begun();
        let is_told = self.told_begun.is_some_and(|(len, _)| len == raw.len);
        if !self.splitter.has_begun() || is_told || self.line_at < self.told_from {
            return false;
        }
        let mut masked_line = Vec::new();
        let Masked { nuls, .. } = self.masker.begun(raw, &mut masked_line);
        let text = Text::of(&masked_line, raw, nuls);
        let note = Some(Note::Unfinished);
        say(&Said { note, text: Some(&text), ..said_of(&self.name, self.skipped_bytes) });
        true
    }

    fn start_anew(&mut self, say: &mut dyn FnMut(&Said<'_>)) {
        self.finish(say);
        self.note(Note::Truncated, say);
        // Somebody may be in the middle of writing a key.
        self.masker.interrupted();
        self.go_to(0);
    }

    fn skip(&mut self, to: u64, say: &mut dyn FnMut(&Said<'_>)) {
        self.finish(say);
        self.skipped_bytes += to.saturating_sub(self.at);
        self.note(Note::Skipped, say);
        self.masker.forget();
        self.go_to(to);
    }

    /// Goes on there with nothing in hand.
    fn go_to(&mut self, from: u64) {
        self.at = from.saturating_sub(LOOK_BACK_BYTES);
        (self.line_at, self.told_from) = (self.at, from);
        self.context.clear();
        self.splitter.clear();
        self.told_begun = None;
    }
}

fn said<'a>(name: &'a OsStr, skipped_bytes: u64, told: &'a Told<Text>) -> Said<'a> {
    let Told { line, repeats, block } = told;
    Said { text: Some(line), repeats: *repeats, block: *block, ..said_of(name, skipped_bytes) }
}

fn said_of(name: &OsStr, skipped_bytes: u64) -> Said<'_> {
    Said { file: Some(name), skipped_bytes, ..Said::default() }
}
