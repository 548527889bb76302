//! Bytes to lines, of which only the beginning and the last few bytes are kept. Pure.

use memchr::memchr;

/// So much of a line is kept to look for secrets in, four times what is shown: a secret that begins in what is shown
/// is still seen whole.
pub const KEPT_BYTES: usize = 8 * 1024;

/// The last bytes of a longer line: whether a block of secret lines begins there.
const END_BYTES: usize = 128;

/// A line without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Its beginning, at most [`KEPT_BYTES`].
    pub head: &'a [u8],
    /// Its last bytes, when it is longer than that; they can overlap with the head.
    pub end: &'a [u8],
    /// Bytes left out behind the head, and NULs before it.
    pub cut_bytes: u64,
    /// What it takes in the file, without its newline.
    pub len: u64,
}

/// The line that has begun.
#[derive(Debug, Default)]
pub struct Splitter {
    head: Vec<u8>,
    end: Vec<u8>,
    len: u64,
}

impl Splitter {
    /// Takes the next bytes, and gives the lines that end in them.
    pub fn take(&mut self, bytes: &[u8], mut line: impl FnMut(Raw<'_>)) {
        let mut rest = bytes;
        while let Some(at) = memchr(b'\n', rest) {
            let (whole, next) = rest.split_at_checked(at).unwrap_or_default();
            self.push(whole);
            line(self.begun());
            self.clear();
            rest = next.get(1..).unwrap_or_default();
        }
        self.push(rest);
    }

    /// What has come of a line that has no newline yet.
    #[must_use]
    pub fn begun(&self) -> Raw<'_> {
        let kept = u64::try_from(self.head.len()).unwrap_or(u64::MAX);
        Raw { head: &self.head, end: &self.end, cut_bytes: self.len.saturating_sub(kept), len: self.len }
    }

    /// Whether a line has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.len > 0
    }

    /// Forgets it.
    pub fn clear(&mut self) {
        self.head.clear();
        self.end.clear();
        self.len = 0;
    }

    fn push(&mut self, bytes: &[u8]) {
        self.len += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // The hole that a truncated file was left with is no text.
        let text = if self.head.is_empty() { bytes.iter().position(|byte| *byte != 0) } else { Some(0) };
        let bytes = text.and_then(|text| bytes.get(text..)).unwrap_or_default();
        let room = KEPT_BYTES.saturating_sub(self.head.len());
        let (kept, left_out) = bytes.split_at_checked(room).unwrap_or((bytes, b""));
        self.head.extend_from_slice(kept);
        if left_out.is_empty() {
            return;
        }
        if self.end.is_empty() {
            self.end.extend_from_slice(self.head.get(self.head.len().saturating_sub(END_BYTES)..).unwrap_or_default());
        }
        self.end.extend_from_slice(left_out.get(left_out.len().saturating_sub(END_BYTES)..).unwrap_or_default());
        self.end.drain(..self.end.len().saturating_sub(END_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Bytes<'a> = &'a [u8];

    fn lines(chunks: &[Bytes]) -> (Vec<(Vec<u8>, u64)>, Vec<u8>) {
        let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
        chunks.iter().for_each(|chunk| splitter.take(chunk, |raw| lines.push((raw.head.to_vec(), raw.cut_bytes))));
        (lines, splitter.begun().head.to_vec())
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let cases: [(&[Bytes], &[Bytes], Bytes); 6] = [
            (&[b"a\nb\n"], &[b"a", b"b"], b""),
            (&[b"a", b"b", b"\nc"], &[b"ab"], b"c"),
            (&[b"\n\n"], &[b"", b""], b""),
            (&[b"\0\0", b"\0a\0b\n"], &[b"a\0b"], b""),
            (&[b"a\r\n"], &[b"a\r"], b""),
            (&[], &[], b""),
        ];
        for (chunks, expected, begun) in cases {
            let (lines, rest) = lines(chunks);
            assert_eq!(lines.iter().map(|(head, _)| head.as_slice()).collect::<Vec<_>>(), expected);
            assert_eq!(rest, begun);
        }
    }

    #[test]
    fn of_a_long_line_both_ends_are_kept_and_the_rest_is_counted() {
        let mut splitter = Splitter::default();
        let (megabyte, mut seen) = (vec![b'x'; 1 << 20], Vec::new());
        for _ in 0..3 {
            splitter.take(&megabyte, |_| panic!("no newline"));
            assert!(splitter.head.capacity() <= 2 * KEPT_BYTES && splitter.end.capacity() <= 1024);
        }
        splitter.take(b"END\nnext", |raw| seen.push((raw.head.len(), raw.end.to_vec(), raw.cut_bytes)));
        let (head, end, cut) = seen.pop().unwrap();
        assert_eq!((head, cut), (KEPT_BYTES, 3 * (1 << 20) + 3 - 8192));
        assert!(end.len() == END_BYTES && end.ends_with(b"xEND"));
        assert_eq!(splitter.begun().head, b"next");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(0), any::<u8>()], 0..300), at in any::<proptest::sample::Index>()) {
            let (head, tail) = bytes.split_at(at.index(bytes.len() + 1));
            prop_assert_eq!(lines(&[head, tail]), lines(&[&bytes]));
            let newlines = bytes.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(lines(&[&bytes]).0.len(), newlines);
        }
    }
}
