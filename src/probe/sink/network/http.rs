//! The vitals endpoint: a request's body, and what its answers mean. `docs/LINE.md`, "Over HTTP". Pure.

use std::fmt;
use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_core::Deserializer as _;
use serde_core::de::{Error, IgnoredAny, MapAccess, Visitor};

/// From here on a body is worth the work of packing it.
const PACKED_FROM_BYTES: usize = 1024;

/// What is sent, the same each time it is tried.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What it is: its type, and how it is packed.
    pub headers: HeaderMap,
    /// Packed when that is worth it.
    pub body: Bytes,
}

/// What an answer means for the lines that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are out, but for so many that never will be.
    Out {
        /// Of these lines.
        bad: u64,
    },
    /// None is out, and none ever will be.
    Refused,
    /// They are too many at once.
    TooLarge,
    /// The token is not right, or not any more.
    Unauthorized,
    /// To be tried again, the same bytes.
    Again,
    /// It is not the endpoint that answers. To be tried again: it may come back.
    Misrouted,
}

impl Prepared {
    /// Lines for a vitals endpoint.
    #[must_use]
    pub fn lines(lines: Vec<u8>) -> Self {
        Self::of(lines, HeaderValue::from_static("text/plain; charset=utf-8"))
    }

    /// A body of this type, packed when that is worth it.
    #[must_use]
    pub fn of(body: Vec<u8>, content_type: HeaderValue) -> Self {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, content_type);
        match packed(&body) {
            Some(packed) => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                Self { headers, body: packed.into() }
            }
            None => Self { headers, body: body.into() },
        }
    }
}

fn packed(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() <= PACKED_FROM_BYTES {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).ok()
}

/// What this answer means for so many lines.
#[must_use]
pub fn judge(status: u16, body: &[u8], lines: u64) -> Verdict {
    match status {
        204 => Verdict::Out { bad: 0 },
        // Also where it does not say which: none is to be sent again.
        400 => taken_lines(body).map_or(Verdict::Refused, |taken| Verdict::Out { bad: lines.saturating_sub(taken) }),
        401 => Verdict::Unauthorized,
        413 => Verdict::TooLarge,
        408 | 429 | 500..=599 => Verdict::Again,
        402..=499 => Verdict::Refused,
        _ => Verdict::Misrouted,
    }
}

/// How many lines `{"taken":7,"bad":[{"line":3,"error":"…"}]}` says it has taken; `None` where it is no such thing. The others
/// are not counted there: an answer need not name each.
fn taken_lines(body: &[u8]) -> Option<u64> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let taken = json.deserialize_map(Partial).ok()?;
    json.end().is_ok().then_some(taken)
}

/// Reads how many were taken, and keeps nothing else: the answer may be anybody's, and a tree of it is a hundred times as
/// large.
struct Partial;

impl<'de> Visitor<'de> for Partial {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer that tells which lines were bad")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut answer: A) -> Result<u64, A::Error> {
        let (mut taken, mut has_bad) = (None, false);
        while let Some(key) = answer.next_key::<String>()? {
            match key.as_str() {
                "taken" => taken = Some(answer.next_value()?),
                "bad" => {
                    // Of what has no size, only the number is kept.
                    answer.next_value::<Vec<IgnoredAny>>()?;
                    has_bad = true;
                }
                _ => _ = answer.next_value::<IgnoredAny>()?,
            }
        }
        taken.filter(|_| has_bad).ok_or_else(|| Error::custom("no such answer"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_means_one_thing() {
        let partial = br#"{"taken":1,"bad":[{"line":2,"error":"x"},{"line":3,"error":"y"}]}"#;
        for (status, body, verdict) in [
            (204, &b""[..], Verdict::Out { bad: 0 }),
            (400, partial, Verdict::Out { bad: 2 }),
            (400, br#"{"taken":3,"bad":[]}"#, Verdict::Out { bad: 0 }),
            (400, br#"{"taken":0,"bad":[1,2,3,4,5]}"#, Verdict::Out { bad: 3 }),
            (400, br#"{"taken":1,"bad":[{"line":2,"error":"x"}],"more_bad":1}"#, Verdict::Out { bad: 2 }),
            (400, br#"{"taken":9,"bad":[]}"#, Verdict::Out { bad: 0 }),
            (400, br#"{"bad":[[{"a":[null,"\u00e9",1.5]}]],"taken":2,"x":{"taken":[]}}"#, Verdict::Out { bad: 1 }),
            (400, br#"{"bad":[]}"#, Verdict::Refused),
            (400, br#"{"taken":1}"#, Verdict::Refused),
            (400, br#"{"taken":1,"bad":{}}"#, Verdict::Refused),
            (400, br#"{"taken":-1,"bad":[]}"#, Verdict::Refused),
            (400, br#"{"taken":1,"bad":[]} x"#, Verdict::Refused),
            (400, br#"[{"taken":1,"bad":[]}]"#, Verdict::Refused),
            (400, br#"{"taken":"x","bad":[]}"#, Verdict::Refused),
            (400, b"Bad Request", Verdict::Refused),
            (401, b"", Verdict::Unauthorized),
            (403, b"", Verdict::Refused),
            (404, b"", Verdict::Refused),
            (408, b"", Verdict::Again),
            (413, b"", Verdict::TooLarge),
            (415, b"", Verdict::Refused),
            (429, b"", Verdict::Again),
            (500, b"", Verdict::Again),
            (503, b"", Verdict::Again),
            (599, b"", Verdict::Again),
            (200, b"<html>", Verdict::Misrouted),
            (302, b"", Verdict::Misrouted),
            (307, b"", Verdict::Misrouted),
        ] {
            assert_eq!(judge(status, body, 3), verdict, "{status}");
        }
    }

    #[test]
    fn only_a_long_body_is_packed() {
        let short = Prepared::lines(vec![b'x'; 1024]);
        assert!(short.body.len() == 1024 && short.headers.get(CONTENT_ENCODING).is_none());
        let long = Prepared::lines(vec![b'x'; 1025]);
        assert_eq!(long.headers[CONTENT_ENCODING], "gzip");
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&long.body[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, vec![b'x'; 1025]);
    }

    proptest! {
        #[test]
        fn any_answer_has_a_meaning(status in 100_u16..1000, body in proptest::collection::vec(any::<u8>(), 0..200), lines in 0_u64..100) {
            if let Verdict::Out { bad } = judge(status, &body, lines) {
                prop_assert!(bad <= lines);
            }
        }

        #[test]
        fn any_json_has_a_meaning(body in "(\\{|\\}|\\[|\\]|\"taken\"|\"bad\"|:|,|[0-9]|null){0,60}") {
            let _ = judge(400, body.as_bytes(), 1);
        }
    }
}
