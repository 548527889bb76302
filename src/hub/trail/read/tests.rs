//! Texts and what is none, lines in parts and without an end.

use super::blocks::BLOCK_BYTES;
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
    let tar = |magic: &[u8]| [b"a.log".as_slice(), &[0; 252], magic, &[0; 248], lines.as_bytes(), &[0; 512]].concat();
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
