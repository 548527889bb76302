//! A request's body as text, in bounded memory.

use std::io::Read as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt as _;

use crate::hub::serve::budget::{Held, Spent};

/// The largest body, before and after inflation.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

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

/// Reads a body to its end, each byte of it held.
///
/// # Errors
/// When it is too large, too slow, breaks off, or there is no memory for it.
pub async fn read(body: Body, patience: Duration, held: &mut Held) -> Result<Vec<u8>, BodyError> {
    tokio::time::timeout(patience, collect(body, held)).await.map_err(|_| BodyError::TooSlow)?
}

async fn collect(mut body: Body, held: &mut Held) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken("it broke off"))?;
        let Some(chunk) = frame.data_ref() else { continue };
        if bytes.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(BodyError::TooLarge);
        }
        held.more(chunk.len())?;
        bytes.extend_from_slice(chunk);
    }
    Ok(bytes)
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

/// The body as it was before it was packed. Stops one byte behind the bound, however much there would be.
///
/// # Errors
/// When it is too large or not of its form.
pub fn unpacked(bytes: Vec<u8>, encoding: Encoding) -> Result<Vec<u8>, BodyError> {
    if encoding == Encoding::Identity {
        return Ok(bytes);
    }
    let mut text = Vec::new();
    let bound = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX) + 1;
    let read = MultiGzDecoder::new(&*bytes).take(bound).read_to_end(&mut text);
    if text.len() > MAX_BODY_BYTES {
        return Err(BodyError::TooLarge);
    }
    read.map_err(|_| BodyError::Broken("it is not gzip"))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

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

    #[test]
    fn a_bomb_is_stopped_at_the_bound() {
        assert_eq!(unpacked(gzip(&vec![b'a'; MAX_BODY_BYTES]), Encoding::Gzip).unwrap().len(), MAX_BODY_BYTES);
        assert_eq!(unpacked(gzip(&vec![b'a'; MAX_BODY_BYTES + 1]), Encoding::Gzip), Err(BodyError::TooLarge));
        let bomb = gzip(&vec![0; 64 * 1024 * 1024]);
        assert!(bomb.len() < MAX_BODY_BYTES);
        assert_eq!(unpacked(bomb, Encoding::Gzip), Err(BodyError::TooLarge));
    }

    #[test]
    fn members_are_joined_and_torn_ones_told() {
        let two = [gzip(b"one\n"), gzip(b"two\n")].concat();
        assert_eq!(unpacked(two.clone(), Encoding::Gzip).unwrap(), b"one\ntwo\n");
        for wrong in [&two[..two.len() - 1], b"", b"RUNNER_VITALS"] {
            assert_eq!(unpacked(wrong.to_vec(), Encoding::Gzip), Err(BodyError::Broken("it is not gzip")));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_cost_bounded_memory(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            if let Ok(text) = unpacked([gzip(b"x"), bytes].concat(), Encoding::Gzip) {
                prop_assert!(text.len() <= MAX_BODY_BYTES);
            }
        }
    }
}
