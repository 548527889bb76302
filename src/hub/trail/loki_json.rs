//! The JSON that Loki's query API answers with, read as it comes: its entries are never all in memory.
//!
//! Source: <https://grafana.com/docs/loki/latest/reference/loki-http-api/#query-logs-within-a-range-of-time>. Streams may come in
//! any order and newest first. Several documents may follow each other.

mod guarded;
mod value;
mod walk;

use std::io::{self, Read};

use serde::de::{DeserializeSeed, IgnoredAny};

use super::book::{Book, Origin};
use super::entry::{Entry, bare, entry, is_ours, time_ms};
use super::slice::Place;
use guarded::Guarded;
use value::Value;
use walk::Walk;

/// What a document has in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Entries of all streams, ours or not.
    pub entries: u64,
    /// The time of the oldest, nanoseconds since 1970; `None` where no entry has one, as those of a metric have not.
    pub oldest_ns: Option<u64>,
    /// The time of the newest.
    pub newest_ns: Option<u64>,
    /// It has the figures of a metric query, and no lines.
    pub is_metric: bool,
}

/// What is wrong with the answer to a metric query.
const METRIC: &str = "the answer to a query for figures; one for lines is needed";

/// Whether a text that begins so is an answer of Loki, and not lines that are JSON each.
#[must_use]
pub fn is_answer(head: &[u8]) -> bool {
    let first_key = head.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    let keys = [&b"\"status\""[..], b"\"data\"", b"\"streams\"", b"\"resultType\""];
    first_key.is_some_and(|text| keys.iter().any(|key| text.starts_with(key)))
}

/// Reads all documents of a source.
///
/// # Errors
/// What reading gave, or where a document is no JSON. What was read before it is in the book.
pub fn read(from: impl Read, source: u32, book: &mut Book) -> io::Result<()> {
    let guarded = Guarded::new(io::BufReader::with_capacity(64 << 10, from));
    let mut json = serde_json::Deserializer::from_reader(io::BufReader::with_capacity(64 << 10, guarded));
    let mut taker = Taker { book, place: Place { source, line: 0 }, step: 1, page: Page::default() };
    // Whatever follows is tried as a document: its own error says what is wrong.
    while let Err(error) = json.end() {
        if error.is_io() {
            return Err(error.into());
        }
        Walk { taker: &mut taker, origin: Origin::default() }.deserialize(&mut json)?;
    }
    if taker.page.is_metric && taker.page.oldest_ns.is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, METRIC));
    }
    Ok(())
}

/// Takes a document that is there as a whole, and says what it has. Its entries have no place but their source: where they
/// come from they are found by their run and number.
///
/// # Errors
/// When it is no JSON, or not the way that Loki answers. Of what is no JSON nothing is taken.
pub fn take(document: &[u8], source: u32, book: &mut Book) -> io::Result<Page> {
    serde_json::from_slice::<IgnoredAny>(document)?;
    let mut taker = Taker { book, place: Place { source, line: 0 }, step: 0, page: Page::default() };
    Walk { taker: &mut taker, origin: Origin::default() }
        .deserialize(&mut serde_json::Deserializer::from_slice(document))?;
    Ok(taker.page)
}

/// Brings entries into the book.
struct Taker<'b> {
    book: &'b mut Book,
    /// Of the latest entry.
    place: Place,
    /// How much further on the next is.
    step: u32,
    page: Page,
}

impl Taker<'_> {
    fn take(&mut self, value: &Value, origin: Origin) {
        self.place.line = self.place.line.saturating_add(self.step);
        self.page.entries += 1;
        if let Some(at) = value.at_ns {
            self.page.oldest_ns = Some(self.page.oldest_ns.map_or(at, |oldest| oldest.min(at)));
            self.page.newest_ns = self.page.newest_ns.max(Some(at));
        }
        let broken = self.book.broken.len();
        // Of an order in which the parts of a line follow each other nothing is known here.
        let text;
        let found = match entry(value.line.as_bytes()) {
            Entry::Logged(logged) if logged.is_end => {
                text = logged.text;
                bare(&text).at(time_ms(&logged.at))
            }
            Entry::Logged(logged) if is_ours(&logged.text) => Entry::Part,
            Entry::Logged(_) => Entry::Other,
            found => found,
        };
        match found {
            Entry::Ours(ours) => {
                // The collector's word goes before what stands in the text, which its guest can have written.
                let is_told = origin != Origin::default();
                let origin = ours.pod.filter(|_| !is_told).map_or(origin, |pod| self.book.origin(Some(&pod)));
                let at_ms = value.at_ns.and_then(|ns| i64::try_from(ns / 1_000_000).ok());
                self.book.take_at(&ours.line, origin, self.place, ours.at_ms.or(at_ms));
            }
            Entry::Part | Entry::Logged(_) => self.book.is_part(value.line.as_bytes(), origin, self.place),
            Entry::Mention => self.book.mention(value.line.as_bytes(), origin, self.place),
            Entry::Other => self.book.counts.passed_over += 1,
        }
        // By that it is found in Loki.
        if let Some((broken, at)) = self.book.broken.get_mut(broken).zip(value.at_ns) {
            broken.error = format!("entry of {}: {}", at_ns(at), broken.error);
        }
    }
}

/// Nanoseconds since 1970 as `2026-06-04T12:00:00.123456789Z`. 64 bits of them end in the year 2554.
#[must_use]
pub fn at_ns(ns: u64) -> String {
    humantime::format_rfc3339_nanos(std::time::UNIX_EPOCH + std::time::Duration::from_nanos(ns)).to_string()
}

#[cfg(test)]
mod tests {
    use super::guarded::TEXT_BYTES;
    use super::*;

    fn read_text(text: &str) -> (Book, io::Result<()>) {
        let mut book = Book::default();
        let source = book.source("loki");
        let read = super::super::read::read(text.as_bytes(), source, &mut book);
        (book, read)
    }

    #[test]
    fn an_answer_is_read_by_streams() {
        let text = r#"{"status":"success","data":{"resultType":"streams","result":[
            {"stream":{"namespace":"n","pod":"runner-1"},"values":[["2","RUNNER_VITALS ts= run=aaaa seq=2",{"k":"v"}],["1","RUNNER_VITALS ts= run=aaaa seq=1"]]},
            {"stream":{"pod":"runner-2"},"values":[["1","hello"],["1","RUNNER_VITALS ts= run=aaaa seq=1"]]}],
            "stats":{"summary":{"x":1.5,"y":null,"z":true}}}} "#;
        let (book, read) = read_text(&format!("{text}\n{text}"));
        read.unwrap();
        assert_eq!((book.counts.ours, book.counts.passed_over), (6, 2));
        let (runners, _) = book.into_runners();
        let names: Vec<&str> = runners.iter().map(|runner| runner.name.as_str()).collect();
        assert_eq!(names, ["runner-1", "runner-2"]);
        assert_eq!((runners[0].runs[0].1.lines, runners[0].runs[0].1.repeats), (2, 2));
    }

    #[test]
    fn parts_of_lines_are_told_and_not_taken_for_lines() {
        let text = r#"{"data":{"result":[{"stream":{"pod":"r"},"values":[
            ["9","2026-06-04T12:00:00Z stdout F 0000 load1=0.30"],
            ["8","2026-06-04T12:00:00Z stdout P RUNNER_VITALS ts= run=aaaa seq=2 vm.mem.avail.kb=18"],
            ["7","2026-06-04T12:00:00Z stdout F RUNNER_VITALS ts= run=aaaa seq=1 load1=0.30"]]}]}}"#;
        let (book, read) = read_text(text);
        read.unwrap();
        assert_eq!((book.counts.ours, book.counts.broken, book.counts.passed_over), (1, 1, 1));
        assert_eq!(
            book.broken[0].error,
            "entry of 1970-01-01T00:00:00.000000008Z: it is a part of a line, and the rest does not follow"
        );
    }

    #[test]
    fn what_is_no_document_is_an_error_and_what_was_read_stays() {
        let text = r#"{"data":{"result":[{"stream":{},"values":[["1","RUNNER_VITALS ts= run=aaaa seq=1"],["#;
        let (book, read) = read_text(text);
        assert!(read.is_err());
        assert_eq!(book.counts.ours, 1);
        assert!(read_text("{\"status\":1} x").1.is_err());
        let deep = format!("{{\"data\":{}", "[".repeat(10_000));
        assert!(read_text(&deep).1.is_err());
    }

    #[test]
    fn a_page_says_what_it_has() {
        let text = r#"{"status":"success","data":{"resultType":"streams","result":[
            {"stream":{"pod":"r"},"values":[["1780574400000000002","RUNNER_VITALS ts= run=aaaa seq=2"],["1780574400000000001","RUNNER_VITALS ts= run=aaaa"]]},
            {"stream":{"pod":"q"},"values":[["1780574400000000009","x"],[7,"x"]]}]}}"#;
        let mut book = Book::default();
        let source = book.source("http://loki/");
        let page = take(text.as_bytes(), source, &mut book).unwrap();
        let times = (Some(1_780_574_400_000_000_001), Some(1_780_574_400_000_000_009));
        assert_eq!((page.entries, page.oldest_ns, page.newest_ns), (4, times.0, times.1));
        assert_eq!((book.counts.ours, book.counts.passed_over), (1, 2));
        assert_eq!(book.broken[0].place, Place { source, line: 0 });
        let says = "entry of 2026-06-04T12:00:00.000000001Z: byte 13: ";
        assert!(book.broken[0].error.starts_with(says), "{}", book.broken[0].error);
        // Half of an answer is none.
        assert!(take(&text.as_bytes()[..text.len() - 3], source, &mut book).is_err());
        assert_eq!(book.counts.ours, 1);
        let metric =
            r#"{"data":{"resultType":"matrix","result":[{"metric":{},"values":[[1780574400.1,"5"],[[1],"5"]]}]}}"#;
        let page = take(metric.as_bytes(), source, &mut book).unwrap();
        assert_eq!((page.entries, page.oldest_ns, page.is_metric), (2, None, true));
        assert_eq!(read_text(metric).1.unwrap_err().to_string(), METRIC);
        assert_eq!(at_ns(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn a_text_without_an_end_is_not_kept() {
        let text = format!("{{\"status\":\"{}\"}}", "x".repeat(2 * TEXT_BYTES));
        assert!(read_text(&text).1.unwrap_err().to_string().contains("1 MiB"));
    }
}
