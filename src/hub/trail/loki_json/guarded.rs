//! A bound on the texts of a document, before JSON is made of it.

use std::io::{self, Read};

/// The longest text in a document: a line that a collector let grow and its escapes.
pub(super) const TEXT_BYTES: usize = 1 << 20;

/// Lets no text grow without bound: JSON gives it only whole.
pub(super) struct Guarded<R> {
    from: R,
    /// How long the text is that it is in, and whether a backslash came last.
    in_text: Option<(usize, bool)>,
}

impl<R> Guarded<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, in_text: None }
    }
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        for byte in buffer.get(..count).unwrap_or_default() {
            self.in_text = match (self.in_text, byte) {
                (None, b'"') => Some((0, false)),
                (None, _) | (Some((_, false)), b'"') => None,
                (Some((len, true)), _) => Some((len + 1, false)),
                (Some((len, false)), byte) => Some((len + 1, *byte == b'\\')),
            };
            if self.in_text.is_some_and(|(len, _)| len > TEXT_BYTES) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a text of over 1 MiB"));
            }
        }
        Ok(count)
    }
}
