//! Files, stdin and Loki into the book, and what is told of them.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::hub::trail::entry::TEXTS;
use crate::hub::trail::loki::{Fault, Loki, LokiError, Question, Settings};
use crate::hub::trail::loki_json::at_ns;
use crate::hub::trail::{self, Book, read};

use super::units::harmless;

/// How far Loki was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it, or it was not asked.
    Whole,
    /// The newest lines.
    Partly(Fault),
    /// Not at all.
    Nothing(Fault),
}

/// A file, or the end of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// It is read from the first line behind this byte on; 0: from its beginning.
    pub from_byte: u64,
    /// So much of it is read.
    pub bytes: u64,
}

/// How far Loki is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The newest of so many answers.
    pub pages: u64,
    /// No longer than to this time.
    pub until: Option<Instant>,
}

impl Bounds {
    /// All of it, however long that takes.
    pub(crate) const NONE: Self = Self { pages: u64::MAX, until: None };
}

/// Reads parts of files. What is not read of them, or cannot be, the book says.
pub(crate) fn read_parts(parts: &[Part], book: &mut Book) {
    for part in parts {
        let name = part.path.display().to_string();
        let read = open_part(part).and_then(|from| {
            let source = match part.from_byte {
                0 => book.source(&name),
                byte => book.source(&format!("{name} from byte {byte} on")),
            };
            read::read(from, source, book)
        });
        match read {
            Err(error) => drop(book.partial.get_or_insert(format!("{name}: {error}"))),
            Ok(()) if part.from_byte > 0 => {
                let why = format!("{name}: its first {} bytes were not read: there are too many", part.from_byte);
                book.partial.get_or_insert(why);
            }
            Ok(()) => {}
        }
    }
}

fn open_part(part: &Part) -> io::Result<impl Read + Send + use<>> {
    let mut file = File::open(&part.path)?;
    let Some(before) = part.from_byte.checked_sub(1) else { return Ok(io::BufReader::new(file.take(part.bytes))) };
    // Where the byte before ends a line, the first is whole.
    file.seek(SeekFrom::Start(before))?;
    let mut from = io::BufReader::new(file.take(part.bytes.saturating_add(1)));
    io::BufRead::skip_until(&mut from, b'\n')?;
    Ok(from)
}

/// Reads everything that was named; what could not be read is told.
pub(crate) fn read(files: &[PathBuf], stdin: impl Read + Send, book: &mut Book, log: &mut impl Write) {
    let mut failed = Vec::new();
    let mut stdin = Some(stdin);
    let only_stdin = [PathBuf::from("-")];
    for path in if files.is_empty() { &only_stdin[..] } else { files } {
        if path.as_os_str() == "-" {
            // Named twice it is at its end the second time.
            if let Some(stdin) = stdin.take() {
                let source = book.source("stdin");
                failed.extend(read::read(stdin, source, book).err().map(|error| ("stdin".to_owned(), error)));
            }
        } else {
            file(path, book, &mut failed);
        }
    }
    for (name, error) in &failed {
        let why = format!("{name}: {error}");
        let _ = writeln!(log, "vitals-hub: {}", harmless(&why));
        book.partial.get_or_insert(why);
    }
}

/// Reads what Loki has; what goes wrong with that is told, and where only a part was read the book says so.
pub(crate) fn ask(
    settings: &Settings,
    question: &Question,
    bounds: Bounds,
    book: &mut Book,
    log: &mut impl Write,
) -> Asked {
    let mut tell = |says: &str| {
        let _ = writeln!(log, "vitals-hub: {}", harmless(says));
    };
    let mut failed = |error: &LokiError| {
        tell(&error.to_string());
        Asked::Nothing(error.fault)
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let why = error.to_string();
            return failed(&LokiError { url: settings.url.clone(), fault: Fault::Unavailable, why });
        }
    };
    let mut loki = match Loki::new(settings) {
        Ok(loki) => loki,
        Err(error) => return failed(&error),
    };
    let reading = runtime.block_on(async {
        let reading = loki.read_pages(question, bounds.pages, book, &mut tell);
        match bounds.until {
            None => Ok(reading.await),
            Some(until) => tokio::time::timeout_at(until.into(), reading).await,
        }
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    let Ok(reading) = reading else {
        let why = format!("{}: all that is there could not be read in time", settings.url);
        tell(&why);
        book.partial = Some(why);
        return if book.counts.ours > 0 {
            Asked::Partly(Fault::Unavailable)
        } else {
            Asked::Nothing(Fault::Unavailable)
        };
    };
    if reading.is_cut {
        let why = format!("{}: only the newest {} lines that it has were read", settings.url, reading.entries);
        tell(&why);
        book.partial = Some(why);
    }
    let Some((error, end_ns)) = reading.failure else { return Asked::Whole };
    let before =
        if reading.pages > 0 { format!("lines before {} were not read: ", at_ns(end_ns)) } else { String::new() };
    tell(&format!("{before}{error}"));
    book.partial = Some(format!("{before}{error}"));
    if reading.pages > 0 { Asked::Partly(error.fault) } else { Asked::Nothing(error.fault) }
}

/// A file, or all files below a folder in the order of their names.
fn file(path: &Path, book: &mut Book, failed: &mut Vec<(String, io::Error)>) {
    let name = path.display().to_string();
    let read = match fs::metadata(path) {
        Ok(found) if found.is_dir() => folder(path, book, failed),
        Ok(_) => File::open(path).and_then(|file| {
            let source = book.source(&name);
            read::read(file, source, book)
        }),
        Err(error) => Err(error),
    };
    failed.extend(read.err().map(|error| (name, error)));
}

fn folder(path: &Path, book: &mut Book, failed: &mut Vec<(String, io::Error)>) -> io::Result<()> {
    let entries: io::Result<Vec<fs::DirEntry>> = fs::read_dir(path)?.collect();
    let mut entries = entries?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // A link is not followed: it could lead back here.
        if entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_file()) {
            file(&entry.path(), book, failed);
        }
    }
    Ok(())
}

/// Tells what in the input was not taken.
pub(crate) fn tell(read: &trail::Read, log: &mut impl Write) -> io::Result<()> {
    for broken in &read.broken {
        writeln!(log, "vitals-hub: {}: {}", harmless(read.place(broken.place)), broken.error)?;
    }
    let counts = read.counts;
    let named = u64::try_from(read.broken.len()).unwrap_or(u64::MAX);
    if counts.broken > named {
        writeln!(log, "vitals-hub: {} more lines are broken", counts.broken - named)?;
    }
    if counts.overlong > 0 {
        writeln!(log, "vitals-hub: {} lines are too long to be ours", counts.overlong)?;
    }
    if counts.mentions > 0 {
        let first =
            read.first_mention.map_or_else(String::new, |place| format!("; the first is {}", read.place(place)));
        let (lines, them) = match counts.mentions {
            1 => ("1 line was".to_owned(), "it"),
            mentions => (format!("{mentions} lines were"), "them"),
        };
        writeln!(
            log,
            "vitals-hub: {lines} not taken: RUNNER_VITALS stands behind other text in {them}, as in what a job printed{}. \
             If a tool put that text there, have it print lines as they are (stern -o raw, journalctl -o cat)",
            harmless(first)
        )?;
    }
    if counts.in_json > 0 {
        writeln!(
            log,
            "vitals-hub: {} of them are JSON: a line is looked for in {}, and has to begin there",
            counts.in_json,
            TEXTS.join(", ")
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use crate::net::client::Matcher;
    use crate::url::Url;

    use super::*;

    /// One answer of a whole page, and none to what is asked next.
    fn answer_once(listener: &TcpListener) {
        let (mut guest, _) = listener.accept().unwrap();
        let entry = |seq: u64| format!("[\"{}\",\"RUNNER_VITALS ts= run=k3x9 seq={seq}\"]", 6000 - seq);
        let entries: Vec<String> = (1..=5000).map(entry).collect();
        let body = format!("{{\"data\":{{\"result\":[{{\"stream\":{{}},\"values\":[{}]}}]}}}}", entries.join(","));
        assert!(guest.read(&mut [0; 4096]).unwrap() > 0);
        write!(guest, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        // It is kept until who asks has enough.
        while guest.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
    }

    #[test]
    fn no_longer_than_a_time_is_waited_for_and_what_came_until_then_is_taken() {
        let question = Question { query: "{a=\"b\"}".to_owned(), from_ns: 0, to_ns: 10_000 };
        for (answers, asked) in [(0, Asked::Nothing(Fault::Unavailable)), (1, Asked::Partly(Fault::Unavailable))] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
            let (tenant, credentials, ca_file, proxies) = (None, None, None, Matcher::from_env());
            let within = Duration::from_secs(600);
            let settings = Settings { url, tenant, credentials, ca_file, proxies, within };
            let (mut book, mut log) = (Book::default(), Vec::new());
            std::thread::scope(|scope| {
                (0..answers).for_each(|_| drop(scope.spawn(|| answer_once(&listener))));
                let bounds = Bounds { pages: 9, until: Instant::now().checked_add(Duration::from_secs(2)) };
                assert_eq!(ask(&settings, &question, bounds, &mut book, &mut log), asked);
            });
            assert_eq!(book.counts.ours, answers * 5000);
            assert!(book.partial.is_some_and(|why| why.contains("could not be read in time")));
            assert!(String::from_utf8(log).unwrap().contains("could not be read in time"));
        }
    }

    #[test]
    fn the_end_of_a_file_begins_with_a_whole_line_and_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let line = |seq: u32| format!("RUNNER_VITALS ts= run=k3x9 seq={seq}\n");
        let text: String = (1..=3).map(line).collect();
        fs::write(&path, &text).unwrap();
        let (one, all) = (line(1).len() as u64, text.len() as u64);
        for (from_byte, ours, is_partial) in [(0, 3, false), (1, 2, true), (one, 2, true), (one + 1, 1, true)] {
            let mut book = Book::default();
            read_parts(&[Part { path: path.clone(), from_byte, bytes: all - from_byte }], &mut book);
            let found = (book.counts.ours, book.counts.broken, book.partial.is_some());
            assert_eq!(found, (ours, 0, is_partial), "from byte {from_byte}");
        }
        let mut book = Book::default();
        read_parts(&[Part { path: path.with_file_name("b.log"), from_byte: 0, bytes: 1 }], &mut book);
        assert!(book.partial.unwrap().contains("b.log: No such file"));
    }

    #[test]
    fn lines_with_the_tag_behind_other_text_are_told_as_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "hello\nx: y RUNNER_VITALS ts= run=k3x9 seq=1\nx: y RUNNER_VITALS ts= run=k3x9 seq=2\n")
            .unwrap();
        let mut book = Book::default();
        read(std::slice::from_ref(&path), io::empty(), &mut book, &mut io::sink());
        let mut told = Vec::new();
        tell(&book.into_runners().1, &mut told).unwrap();
        assert_eq!(
            String::from_utf8(told).unwrap(),
            format!(
                "vitals-hub: 2 lines were not taken: RUNNER_VITALS stands behind other text in them, as in what a job \
                 printed; the first is {}:2. If a tool put that text there, have it print lines as they are \
                 (stern -o raw, journalctl -o cat)\n",
                path.display()
            )
        );
    }
}
