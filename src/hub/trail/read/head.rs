//! How a source begins: that tells what it is.

use std::io::{self, Read};

use memchr::memmem;

use crate::line::TAG;

/// How a source begins, and all of it.
pub(super) fn with_head<R: Read>(from: &mut R) -> (Vec<u8>, impl Read + use<'_, R>) {
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

/// How files begin that gzip made.
pub(super) const GZIP: &[u8] = &[0x1f, 0x8b];

/// What is wrong with a text that begins so, where it is none.
pub(super) fn no_text(head: &[u8]) -> Option<String> {
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

/// Whether a text that begins so is UTF-16: it says so, or has our tag as that.
fn is_wide(head: &[u8]) -> bool {
    let tag: Vec<u8> = TAG.bytes().flat_map(|byte| [byte, 0]).collect();
    WIDE.iter().any(|mark| head.starts_with(mark))
        || memmem::find(head, tag.get(..tag.len() - 1).unwrap_or(&tag)).is_some()
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
