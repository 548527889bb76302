//! From a stream of bytes to the book: lines, or one of Loki's answers, whichever it is. One pass, bounded memory.

mod blocks;
mod head;

use std::io::{self, Read};
use std::sync::mpsc;
use std::thread;

use memchr::{memchr, memrchr};

use super::book::{Book, Origin};
use super::entry::{Entry, bare, entry, is_ours, time_ms};
use super::loki_json;
use super::parts::Parts;
use super::slice::Place;
use blocks::{Block, blocks_of};
use head::{GZIP, no_text, with_head};

/// The longest line that is looked at: a line of ours in JSON, its labels beside it.
const LINE_BYTES: usize = 64 << 10;

/// Blocks that are read ahead while one is looked at.
const AHEAD: usize = 2;

/// Reads a source to its end, one that gzip made too.
///
/// # Errors
/// What reading gave. What was read before it is in the book.
pub fn read(from: impl Read + Send, source: u32, book: &mut Book) -> io::Result<()> {
    let read = unpacked(from, source, book);
    if read.is_err() {
        book.cut.insert(source);
    }
    read
}

fn unpacked(mut from: impl Read + Send, source: u32, book: &mut Book) -> io::Result<()> {
    let (head, from) = with_head(&mut from);
    if head.starts_with(GZIP) {
        return plain(flate2::read::MultiGzDecoder::new(from), source, book);
    }
    plain(from, source, book)
}

/// UTF-8 as some editors begin it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn plain(mut from: impl Read + Send, source: u32, book: &mut Book) -> io::Result<()> {
    let (head, mut from) = with_head(&mut from);
    let mut head = head.as_slice();
    if let Some(why) = no_text(head) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    if let Some(behind) = head.strip_prefix(BYTE_ORDER_MARK) {
        head = behind;
        from.read_exact(&mut [0; BYTE_ORDER_MARK.len()])?;
    }
    if loki_json::is_answer(head) {
        return loki_json::read(from, source, book);
    }
    lines(from, source, book)
}

/// Reads blocks on a thread of its own, so that waiting for them and looking at them go side by side.
fn lines(from: impl Read + Send, source: u32, book: &mut Book) -> io::Result<()> {
    let (blocks, taken) = mpsc::sync_channel(AHEAD);
    thread::scope(|scope| {
        let reader = scope.spawn(move || blocks_of(from, &blocks));
        let mut lines = Lines { source, line: 0, parts: Parts::default() };
        for block in taken {
            lines.take(&block, book);
        }
        lines.end(book);
        match reader.join() {
            Ok(ended) => ended.map(|overlong| book.counts.overlong += overlong),
            Err(_) => Err(io::Error::other("the reader failed")),
        }
    })
}

/// Where the reading is.
struct Lines {
    source: u32,
    line: u32,
    parts: Parts,
}

impl Lines {
    fn take(&mut self, block: &Block, book: &mut Book) {
        self.line = self.line.saturating_add(block.skipped_lines);
        let mut rest = block.bytes.as_slice();
        while !rest.is_empty() {
            let end = memchr(b'\n', rest);
            let (line, behind) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or_default();
            rest = behind.get(1..).unwrap_or_default();
            let line = if end.is_none() { without_torn(line) } else { line };
            self.line = self.line.saturating_add(1);
            self.one(line, book);
        }
    }

    fn one(&mut self, line: &[u8], book: &mut Book) {
        if line.len() > LINE_BYTES {
            book.counts.overlong += 1;
            return;
        }
        if line.is_empty() {
            return;
        }
        let (source, line_nr) = (self.source, self.line);
        match entry(line.strip_suffix(b"\r").unwrap_or(line)) {
            Entry::Logged(logged) => {
                let at = logged.at.clone();
                let taken = self.parts.take(logged, line_nr);
                if let Some((text, line)) = taken.lost {
                    book.is_part(&text, Origin::default(), Place { source, line });
                }
                if let Some((text, line)) = taken.whole {
                    let found = match bare(text.strip_suffix(b"\r").unwrap_or(&text)) {
                        ours @ Entry::Ours(_) => ours.at(time_ms(&at)),
                        other => other,
                    };
                    one(found, &text, Place { source, line }, book);
                }
            }
            found => one(found, line, Place { source, line: line_nr }, book),
        }
    }

    /// A part at the end is torn like a line that nothing ends.
    fn end(self, book: &mut Book) {
        for (text, line) in self.parts.rest() {
            let whole = if is_ours(&text) { without_torn(&text) } else { &text };
            one(bare(whole), whole, Place { source: self.source, line }, book);
        }
    }
}

/// A last line that nothing ends, without its last word: who died while writing left half a number, which looks like a whole one.
/// What ends in a quote or a brace is whole.
fn without_torn(line: &[u8]) -> &[u8] {
    match line.last() {
        Some(b'"' | b'}') | None => line,
        Some(_) => line.get(..memrchr(b' ', line).unwrap_or(0)).unwrap_or_default(),
    }
}

/// Takes what was found in a text.
fn one(entry: Entry<'_>, text: &[u8], place: Place, book: &mut Book) {
    match entry {
        Entry::Ours(ours) => {
            let origin = ours.pod.map_or(Origin::default(), |pod| book.origin(Some(&pod)));
            book.take_at(&ours.line, origin, place, ours.at_ms);
        }
        Entry::Mention => book.mention(text, Origin::default(), place),
        Entry::Other => book.counts.passed_over += 1,
        Entry::Part | Entry::Logged(_) => book.is_part(text, Origin::default(), place),
    }
}

#[cfg(test)]
mod tests;
