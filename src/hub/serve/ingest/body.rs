//! A request's body as text, in bounded memory: a buffer is held as large as it is made, before it is.

use std::io::Read as _;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt as _;

use crate::hub::serve::budget::{Held, Spent};

/// The largest body, before and after inflation.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// What a body has room for at first, unless it says that it is shorter.
const STEP_BYTES: usize = 32 * 1024;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
}

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// 415: neither plain text nor gzip of it.
    Unsupported(&'static str),
    /// 413: larger than [`MAX_BODY_BYTES`].
    TooLarge,
    /// 408: it did not come in time.
    TooSlow,
    /// 503: the memory for bodies is spent.
    Busy,
    /// 400: it broke off, or is not gzip.
    Broken(&'static str),
}

impl From<Spent> for BodyError {
    fn from(Spent: Spent) -> Self {
        Self::Busy
    }
}

/// What the headers say of the body.
///
/// # Errors
/// `Unsupported` and `TooLarge`.
pub fn encoding(headers: &HeaderMap) -> Result<Encoding, BodyError> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_ascii_lowercase());
    if !text(CONTENT_TYPE).is_some_and(|kind| is_plain_text(&kind)) {
        return Err(BodyError::Unsupported("Content-Type is to be text/plain in UTF-8"));
    }
    let length = text(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(BodyError::TooLarge);
    }
    match text(CONTENT_ENCODING).as_deref().map(str::trim) {
        None | Some("identity") => Ok(Encoding::Identity),
        Some("gzip" | "x-gzip") => Ok(Encoding::Gzip),
        Some(_) => Err(BodyError::Unsupported("Content-Encoding is to be gzip or none")),
    }
}

fn is_plain_text(kind: &str) -> bool {
    let mut parts = kind.split(';').map(str::trim);
    parts.next() == Some("text/plain")
        && parts.all(|parameter| match parameter.split_once('=') {
            Some(("charset", set)) => matches!(set.trim_matches('"'), "utf-8" | "us-ascii"),
            _ => true,
        })
}

/// Reads a body to its end, all that it takes held.
///
/// # Errors
/// When it is too large, too slow, breaks off, or there is no memory for it.
pub async fn read(body: Body, patience: Duration, held: &mut Held) -> Result<Vec<u8>, BodyError> {
    tokio::time::timeout(patience, collect(body, held)).await.map_err(|_| BodyError::TooSlow)?
}

async fn collect(mut body: Body, held: &mut Held) -> Result<Vec<u8>, BodyError> {
    // Content-Length, where it is given.
    let length = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken("it broke off"))?;
        let Some(chunk) = frame.data_ref() else { continue };
        append(&mut bytes, chunk, length, held)?;
    }
    Ok(bytes)
}

/// Adds a piece to a text that becomes so long, if that is known. Room is made when a piece needs it: who only says how long it
/// will be has none.
fn append(text: &mut Vec<u8>, piece: &[u8], length: Option<usize>, held: &mut Held) -> Result<(), BodyError> {
    let needed = text.len() + piece.len();
    if needed > MAX_BODY_BYTES {
        return Err(BodyError::TooLarge);
    }
    if needed > text.capacity() {
        let most = length.map_or(MAX_BODY_BYTES, |length| length.min(MAX_BODY_BYTES));
        let room = (2 * text.capacity()).max(STEP_BYTES).min(most).max(needed);
        held.more(room - text.capacity())?;
        text.reserve_exact(room - text.len());
    }
    text.extend_from_slice(piece);
    Ok(())
}

/// Lets a body pass that nobody wants, as far as a body goes: a connection closed before it is read would take the answer
/// with it.
pub async fn discard(mut body: Body, patience: Duration) {
    let passing = async {
        let mut passed = 0;
        while let Some(Ok(frame)) = body.frame().await {
            passed += frame.data_ref().map_or(0, bytes::Bytes::len);
            if passed > MAX_BODY_BYTES {
                break;
            }
        }
    };
    // In time or not, what is left closes the connection.
    let _ = tokio::time::timeout(patience, passing).await;
}

/// The body as it was before it was packed, all that it takes held. Stops at the bound, however much there would be.
///
/// # Errors
/// When it is too large or not of its form, or there is no memory for it.
pub fn unpacked(bytes: Vec<u8>, encoding: Encoding, held: &mut Held) -> Result<Vec<u8>, BodyError> {
    if encoding == Encoding::Identity {
        return Ok(bytes);
    }
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    let mut packed = MultiGzDecoder::new(&*bytes);
    loop {
        let count = packed.read(&mut piece).map_err(|_| BodyError::Broken("it is not gzip"))?;
        match piece.get(..count) {
            None | Some([]) => break,
            Some(piece) => append(&mut text, piece, None, held)?,
        }
    }
    let packed = bytes.capacity();
    drop(bytes);
    held.keep(held.bytes().saturating_sub(packed));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::io::Write as _;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::HttpBody;
    use bytes::Bytes;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use hyper::body::{Frame, SizeHint};
    use proptest::prelude::*;

    use super::*;
    use crate::hub::serve::budget::Budget;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_text_and_gzip_of_it_are_taken() {
        const TEXT: (&str, &str) = ("content-type", "Text/Plain; Charset=\"UTF-8\"");
        let cases: [(&[(&str, &str)], _); 8] = [
            (&[TEXT], Ok(Encoding::Identity)),
            (&[("content-type", "text/plain")], Ok(Encoding::Identity)),
            (&[TEXT, ("content-encoding", "GZIP")], Ok(Encoding::Gzip)),
            (&[TEXT, ("content-length", "262144")], Ok(Encoding::Identity)),
            (&[TEXT, ("content-length", "262145")], Err(BodyError::TooLarge)),
            (
                &[TEXT, ("content-encoding", "zstd")],
                Err(BodyError::Unsupported("Content-Encoding is to be gzip or none")),
            ),
            (&[], Err(BodyError::Unsupported("Content-Type is to be text/plain in UTF-8"))),
            (
                &[("content-type", "text/plain; charset=latin1")],
                Err(BodyError::Unsupported("Content-Type is to be text/plain in UTF-8")),
            ),
        ];
        for (pairs, expected) in cases {
            assert_eq!(encoding(&headers(pairs)), expected, "{pairs:?}");
        }
    }

    /// Inflated by itself, with room enough.
    fn inflated(bytes: Vec<u8>) -> Result<Vec<u8>, BodyError> {
        unpacked(bytes, Encoding::Gzip, &mut Budget::new(1 << 20).hold())
    }

    /// A body that comes in pieces, and what it says of its length.
    struct Coming(VecDeque<Bytes>, SizeHint);

    impl HttpBody for Coming {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }

        fn size_hint(&self) -> SizeHint {
            self.1
        }
    }

    /// So many pieces of 1,000 bytes.
    fn coming(pieces: usize, length: Option<u64>) -> Body {
        let piece = Bytes::from_static(&[b'a'; 1000]);
        Body::new(Coming(vec![piece; pieces].into(), length.map_or_else(SizeHint::default, SizeHint::with_exact)))
    }

    #[tokio::test]
    async fn a_body_is_held_as_large_as_its_buffer() {
        for (pieces, length, size) in [
            (200, Some(200_000), 200_000),
            (200, None, 8 * STEP_BYTES),
            (20, None, STEP_BYTES),
            (262, None, MAX_BODY_BYTES),
            (1, Some(1 << 40), STEP_BYTES),
            (40, Some(1 << 40), 2 * STEP_BYTES),
            (2, Some(2000), 2000),
            (3, Some(0), 3000),
            (0, Some(200_000), 0),
            (0, None, 0),
        ] {
            let budget = Budget::new(1 << 20);
            let mut held = budget.hold();
            let bytes = read(coming(pieces, length), Duration::MAX, &mut held).await.unwrap();
            assert_eq!(bytes.len(), pieces * 1000);
            assert_eq!((bytes.capacity(), budget.held()), (size, size), "{pieces} {length:?}");
        }
    }

    #[tokio::test]
    async fn no_buffer_is_made_that_is_not_held() {
        let budget = Budget::new(100_000);
        for length in [Some(200_000), None] {
            let read = read(coming(200, length), Duration::MAX, &mut budget.hold()).await;
            assert_eq!((read, budget.held()), (Err(BodyError::Busy), 0), "{length:?}");
        }
        let mut held = budget.hold();
        let packed = gzip(&[b'a'; 200_000]);
        assert_eq!(unpacked(packed, Encoding::Gzip, &mut held), Err(BodyError::Busy));
        assert_eq!(held.bytes(), 2 * STEP_BYTES, "it is inflated as far as there is room");
    }

    #[test]
    fn a_text_is_held_in_place_of_what_it_was_packed_in() {
        let mut held = Budget::new(1 << 20).hold();
        let packed = gzip(&[b'a'; 200_000]);
        held.more(packed.capacity()).unwrap();
        let text = unpacked(packed, Encoding::Gzip, &mut held).unwrap();
        assert_eq!((text.len(), text.capacity(), held.bytes()), (200_000, MAX_BODY_BYTES, MAX_BODY_BYTES));
    }

    #[test]
    fn a_bomb_is_stopped_at_the_bound() {
        assert_eq!(inflated(gzip(&vec![b'a'; MAX_BODY_BYTES])).unwrap().len(), MAX_BODY_BYTES);
        assert_eq!(inflated(gzip(&vec![b'a'; MAX_BODY_BYTES + 1])), Err(BodyError::TooLarge));
        let bomb = gzip(&vec![0; 64 * 1024 * 1024]);
        assert!(bomb.len() < MAX_BODY_BYTES);
        assert_eq!(inflated(bomb), Err(BodyError::TooLarge));
    }

    #[test]
    fn members_are_joined_and_torn_ones_told() {
        let two = [gzip(b"one\n"), gzip(b"two\n")].concat();
        assert_eq!(inflated(two.clone()).unwrap(), b"one\ntwo\n");
        for wrong in [&two[..two.len() - 1], b"", b"RUNNER_VITALS"] {
            assert_eq!(inflated(wrong.to_vec()), Err(BodyError::Broken("it is not gzip")));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_cost_bounded_memory(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            if let Ok(text) = inflated([gzip(b"x"), bytes].concat()) {
                prop_assert!(text.len() <= MAX_BODY_BYTES);
            }
        }
    }
}
