//! Bytes in a room of their own: kept without allocating, when memory has just run out.

use std::fmt;

/// An empty vector with room for so many bytes, all of it in memory already: a page that is missing when memory has run
/// out is waited for.
#[must_use]
pub fn resident(bytes: usize) -> Vec<u8> {
    let mut room = std::hint::black_box(vec![1; bytes]);
    room.clear();
    room
}

/// At most `N` bytes.
#[derive(Clone, Copy)]
pub struct Fixed<const N: usize> {
    room: [u8; N],
    len: usize,
}

impl<const N: usize> Fixed<N> {
    /// A copy of `bytes`; what does not fit is cut.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut room = [0; N];
        let len = bytes.len().min(N);
        room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Self { room, len }
    }
}

impl<const N: usize> AsRef<[u8]> for Fixed<N> {
    fn as_ref(&self) -> &[u8] {
        self.room.get(..self.len).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Debug for Fixed<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_ref().escape_ascii().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut() {
        for (bytes, kept) in [(&b""[..], &b""[..]), (b"ab", b"ab"), (b"abc", b"abc"), (b"abcd", b"abc")] {
            assert_eq!(Fixed::<3>::of(bytes).as_ref(), kept);
        }
    }
}
