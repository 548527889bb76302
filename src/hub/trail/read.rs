//! From a stream of bytes to the book: lines, or one of Loki's answers, whichever it is. One pass, bounded memory.

use std::io::{self, Read};
use std::sync::mpsc;
use std::thread;

use memchr::{memchr, memmem, memrchr};

use super::book::{Book, Origin};
use super::entry::{Entry, bare, entry, is_ours, time_ms};
use super::loki_json;
use super::parts::Parts;
use super::slice::Place;
use crate::line::TAG;

/// How much is read at a time.
const BLOCK_BYTES: usize = 1 << 20;

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

/// How files begin that gzip made.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// What is wrong with a text that begins so, where it is none.
fn no_text(head: &[u8]) -> Option<String> {
    if head.starts_with(GZIP) {
        return Some("compressed by gzip twice: unpack it first".to_owned());
    }
    // POSIX and GNU both write so, behind the name and what else is of the first member.
    if head.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
        return Some("an archive of tar: unpack it first".to_owned());
    }
    if is_wide(head) {
        return Some(IS_WIDE.to_owned());
    }
    let (_, by) = PACKED.iter().find(|(magic, _)| head.starts_with(magic))?;
    Some(format!("compressed by {by}: unpack it first"))
}

/// Where in an archive of tar stands what.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// How files begin that are compressed otherwise than by gzip.
const PACKED: [(&[u8], &str); 6] = [
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
];

/// How UTF-16 begins, where it says so.
const WIDE: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// What is wrong with it.
const IS_WIDE: &str = "it is UTF-16: make it UTF-8 first (iconv -f UTF-16 -t UTF-8)";

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

/// Whether a text that begins so is UTF-16: it says so, or has our tag as that.
fn is_wide(head: &[u8]) -> bool {
    let tag: Vec<u8> = TAG.bytes().flat_map(|byte| [byte, 0]).collect();
    WIDE.iter().any(|mark| head.starts_with(mark))
        || memmem::find(head, tag.get(..tag.len() - 1).unwrap_or(&tag)).is_some()
}

/// How a source begins, and all of it.
fn with_head<R: Read>(from: &mut R) -> (Vec<u8>, impl Read + use<'_, R>) {
    let mut head = vec![0; 4096];
    let (filled, failed) = fill(from, &mut head);
    head.truncate(filled);
    (head.clone(), io::Cursor::new(head).chain(Failed(failed)).chain(from))
}

/// Why reading failed, where that is due.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
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

/// Sends whole lines, many at a time, and says how many were too long to be looked at.
fn blocks_of(mut from: impl Read, blocks: &mpsc::SyncSender<Block>) -> io::Result<u64> {
    let mut left: Vec<u8> = Vec::new();
    let (mut overlong, mut is_skipping) = (0, false);
    loop {
        let mut bytes = Vec::with_capacity(BLOCK_BYTES + left.len());
        bytes.append(&mut left);
        let read = from.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut bytes);
        // What came before it failed is there.
        let ended = !matches!(read, Ok(1..));
        let mut skipped_lines = 0;
        if is_skipping {
            let Some(end) = memchr(b'\n', &bytes) else {
                if ended {
                    return read.map(|_| overlong);
                }
                continue;
            };
            bytes.drain(..=end);
            (is_skipping, skipped_lines) = (false, 1);
        }
        if !ended {
            let whole = memrchr(b'\n', &bytes).map_or(0, |end| end + 1);
            left = bytes.split_off(whole);
            if left.len() > LINE_BYTES {
                (overlong, is_skipping) = (overlong + 1, true);
                left.clear();
            }
        }
        let is_sent = blocks.send(Block { skipped_lines, bytes }).is_ok();
        if ended || !is_sent {
            return read.map(|_| overlong);
        }
    }
}

/// Whole lines, behind so many that were too long.
struct Block {
    skipped_lines: u32,
    bytes: Vec<u8>,
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

/// Reads until the buffer is full, nothing more comes or reading fails.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book_of(bytes: &[u8]) -> Book {
        let mut book = Book::default();
        let source = book.source("log");
        read(bytes, source, &mut book).unwrap();
        book
    }

    #[test]
    fn lines_are_counted_by_what_they_are() {
        let text = "hello\nRUNNER_VITALS ts= run=k3x9 seq=1\r\n\nx RUNNER_VITALS\nRUNNER_VITALS ts= run=k3x9 seq=\nRUNNER_VITALS ts= run=k3x9 seq=2 load1=0.3";
        let book = book_of(text.as_bytes());
        let counts = book.counts;
        assert_eq!((counts.ours, counts.broken, counts.passed_over, counts.mentions), (2, 1, 2, 1));
        assert_eq!(
            (book.broken[0].place.line, book.broken[0].error.as_str()),
            (5, "byte 13: ts, run or seq is missing or malformed")
        );
    }

    #[test]
    fn a_line_in_parts_is_one() {
        let docker =
            |text: &str| format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"2026-06-04T12:00:00Z\"}}\n");
        let cri = |tag: &str, text: &str| format!("2026-06-04T12:00:00Z stdout {tag} {text}\n");
        for text in [
            [cri("P", "RUNNER_VITALS ts= run=k3x9 seq=1 vm.mem.avail.kb=18"), cri("F", "0000 load1=0.30")].concat(),
            [docker("RUNNER_VITALS ts= run=k3x9 seq=1 vm.mem.avail.kb=18"), docker("0000 load1=0.30\\n")].concat(),
            // The rest never came.
            cri("P", "RUNNER_VITALS ts= run=k3x9 seq=1 vm.mem.avail.kb=180000 load1=0.30 cpu.bus"),
        ] {
            let book = book_of(text.as_bytes());
            assert_eq!((book.counts.ours, book.counts.broken, book.counts.passed_over), (1, 0, 0), "{text}");
            let (runners, _) = book.into_runners();
            let whole = runners[0].runs[0].1.whole.clone().unwrap();
            assert_eq!(whole.low(super::super::slice::Low::MemAvail), Some(180_000), "{text}");
        }
        let backwards = [
            cri("F", "0000 load1=0.30").replace(":00Z", ":01Z"),
            cri("P", "RUNNER_VITALS ts= run=k3x9 seq=2 vm.mem.avail.kb=18"),
            cri("F", "RUNNER_VITALS ts= run=k3x9 seq=1 load1=0.30").replace("12:", "11:"),
        ];
        let book = book_of(backwards.concat().as_bytes());
        assert_eq!((book.counts.ours, book.counts.broken, book.broken[0].place.line), (1, 1, 2));
        assert_eq!(book.broken[0].error, "it is a part of a line, and the rest does not follow");
    }

    #[test]
    fn what_gzip_made_is_read_and_what_others_made_is_told() {
        use std::io::Write as _;
        let packed = |text: &str| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(text.as_bytes()).unwrap();
            gzip.finish().unwrap()
        };
        let lines = "RUNNER_VITALS ts= run=k3x9 seq=1\nRUNNER_VITALS ts= run=k3x9 seq=2\n";
        // Several in one file are one text.
        let book = book_of(&[packed(lines), packed("RUNNER_VITALS ts= run=k3x9 seq=3\n")].concat());
        assert_eq!((book.counts.ours, book.counts.broken), (3, 0));
        let answer = r#"{"data":{"result":[{"stream":{},"values":[["1","RUNNER_VITALS ts= run=aaaa seq=1"]]}]}}"#;
        assert_eq!(book_of(&packed(answer)).counts.ours, 1);
        let mut book = Book::default();
        let source = book.source("log.gz");
        let whole = packed(lines);
        assert!(read(&whole[..whole.len() - 8], source, &mut book).is_err(), "cut short");
        assert_eq!(book.counts.ours, 2, "what was read before is there");
        let error = read(&b"\x28\xb5\x2f\xfd..."[..], source, &mut book).unwrap_err();
        assert_eq!(error.to_string(), "compressed by zstd: unpack it first");
        let tar =
            |magic: &[u8]| [b"a.log".as_slice(), &[0; 252], magic, &[0; 248], lines.as_bytes(), &[0; 512]].concat();
        let gzip = |bytes: &[u8]| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(bytes).unwrap();
            gzip.finish().unwrap()
        };
        for (packed, says) in [
            (tar(b"ustar\x0000"), "an archive of tar: unpack it first"),
            (tar(b"ustar  \0"), "an archive of tar: unpack it first"),
            (gzip(&tar(b"ustar\x0000")), "an archive of tar: unpack it first"),
            (gzip(&gzip(lines.as_bytes())), "compressed by gzip twice: unpack it first"),
            (gzip(b"\x28\xb5\x2f\xfd..."), "compressed by zstd: unpack it first"),
        ] {
            let mut book = Book::default();
            let error = read(&packed[..], 0, &mut book).unwrap_err();
            assert_eq!((error.to_string().as_str(), book.counts.ours), (says, 0));
        }
    }

    #[test]
    fn a_wide_text_is_told() {
        let wide = |bytes: fn(u16) -> [u8; 2], text: &str| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let text = "hello\nRUNNER_VITALS ts= run=k3x9 seq=1\n";
        for marked in [text.to_owned(), format!("\u{feff}{text}")] {
            for bytes in [wide(u16::to_le_bytes, &marked), wide(u16::to_be_bytes, &marked)] {
                let error = read(&bytes[..], 0, &mut Book::default()).unwrap_err();
                assert!(error.to_string().starts_with("it is UTF-16: make it UTF-8 first"), "{error}");
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_line() {
        for text in [
            "RUNNER_VITALS ts= run=k3x9 seq=1\n",
            "{\"data\":{\"result\":[{\"stream\":{},\"values\":[[\"1\",\"RUNNER_VITALS ts= run=aaaa seq=1\"]]}]}}",
        ] {
            assert_eq!(book_of(format!("\u{feff}{text}").as_bytes()).counts.ours, 1, "{text}");
        }
        assert_eq!(book_of("\u{feff}".as_bytes()).counts.passed_over, 0);
    }

    #[test]
    fn half_a_number_at_the_end_is_none() {
        for (line, left) in [
            ("RUNNER_VITALS run=k3x9 seq=2 vm.mem.avail.kb=18", "RUNNER_VITALS run=k3x9 seq=2"),
            ("RUNNER_VITALS run=k3x9 seq=2 msg=\"a b\"", "RUNNER_VITALS run=k3x9 seq=2 msg=\"a b\""),
            ("{\"line\":\"RUNNER_VITALS seq=2\"}", "{\"line\":\"RUNNER_VITALS seq=2\"}"),
            ("RUNNER", ""),
            ("", ""),
        ] {
            assert_eq!(without_torn(line.as_bytes()), left.as_bytes());
        }
    }

    #[test]
    fn a_line_without_an_end_is_passed_over_in_bounded_room() {
        let mut text = vec![b'x'; 5 * BLOCK_BYTES];
        text.extend_from_slice(b"\nRUNNER_VITALS ts= run=k3x9\n");
        text.extend(vec![b'y'; LINE_BYTES + 1]);
        text.extend_from_slice(b"\nRUNNER_VITALS ts= run=k3x9 seq=2\n");
        let book = book_of(&text);
        assert_eq!((book.counts.ours, book.counts.overlong), (1, 2));
        assert_eq!(book.broken[0].place.line, 2);
    }

    #[test]
    fn a_line_over_the_edge_of_a_block_is_whole() {
        let line = b"RUNNER_VITALS ts= run=k3x9 seq=1\n";
        let mut text = vec![b'x'; BLOCK_BYTES - 10];
        text.push(b'\n');
        text.extend_from_slice(line);
        // The first line is longer than any that is looked at, but ends within its block.
        let book = book_of(&text);
        assert_eq!((book.counts.ours, book.counts.broken), (1, 0));
    }
}
