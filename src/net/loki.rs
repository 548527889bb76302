//! Loki's push: a request's body, and what its answers mean. Pure.
//!
//! A line that is sent again is stored once when its time, its labels and its metadata are the same too: whoever sends
//! keeps them. Loki reports the error of a request's last stream only, so a body has one.
//!
//! Source: <https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs>.

/// A line and when it was.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Nanoseconds since 1970-01-01 UTC, distinct within a stream.
    pub at_ns: u64,
    /// The line, without its newline.
    pub line: &'a str,
    /// Structured metadata: what belongs to the line and is no label.
    pub metadata: &'a [(&'a str, &'a str)],
}

/// What an answer to a push means for what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored.
    Stored,
    /// Never to be sent again: what was good of it is stored, the rest never will be.
    Final,
    /// To be sent again, the same bytes.
    Retry,
}

/// One stream with its entries, oldest first, as JSON.
///
/// Labels and metadata name each key once; one with an empty value is none to Loki, and is left out.
#[must_use]
pub fn body(labels: &[(String, String)], entries: &[Entry<'_>]) -> Vec<u8> {
    let room: usize = entries.iter().map(|entry| entry.line.len() + ROOM_PER_ENTRY_BYTES).sum();
    let mut json = Vec::with_capacity(room + ROOM_PER_ENTRY_BYTES);
    json.extend_from_slice(b"{\"streams\":[{\"stream\":");
    put_object(&mut json, labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    json.extend_from_slice(b",\"values\":[");
    for (at, entry) in entries.iter().enumerate() {
        json.extend_from_slice(if at == 0 { b"[" } else { b",[" });
        put_string(&mut json, &entry.at_ns.to_string());
        json.push(b',');
        put_string(&mut json, entry.line);
        if entry.metadata.iter().any(|(_, value)| !value.is_empty()) {
            json.push(b',');
            put_object(&mut json, entry.metadata.iter().copied());
        }
        json.push(b']');
    }
    json.extend_from_slice(b"]}]}");
    json
}

/// What this status means.
///
/// Judged are the bytes: an answer that says nothing of them, but of the way there or of the sender, leaves them good.
///
/// | status | is | so |
/// | --- | --- | --- |
/// | 200, 204 | stored | stored |
/// | 260 and any other 2xx | the tenant is blocked, nothing is stored: an operator's will, with a 2xx so that nobody tries on | final |
/// | 400 | too old, too new, too long, no JSON: the good entries are in | final |
/// | 413 | too large: the same bytes always will be. Smaller ones may pass: send in halves where there is more than one line | final |
/// | 422 | nothing in it | final |
/// | 401, 403, 407 | the sender is not let in (yet, or with this token any more): the next try reads its credentials anew | retry |
/// | 408, 425, 429, 5xx | later. A 429 can have stored a part: sent again it is stored once | retry |
/// | any other 4xx | no Loki listens there | final |
/// | 1xx, 3xx, anything else | not Loki's answer, but of something before it; a redirect is not followed, for it would take the credentials elsewhere | retry |
#[must_use]
pub fn verdict(status: u16) -> Verdict {
    match status {
        200 | 204 => Verdict::Stored,
        401 | 403 | 407 | 408 | 425 | 429 => Verdict::Retry,
        200..=299 | 400..=499 => Verdict::Final,
        _ => Verdict::Retry,
    }
}

/// Whether a stream label can have this name: `[a-zA-Z_][a-zA-Z0-9_]*`, and not one of Loki's own, which begin with `__`.
#[must_use]
pub fn is_label_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.starts_with(|first: char| !first.is_ascii_digit())
        && !name.starts_with("__")
}

/// What an entry needs beside its line: its time, some metadata, a few escapes.
const ROOM_PER_ENTRY_BYTES: usize = 160;

/// An object of those pairs that have a value.
fn put_object<'a>(json: &mut Vec<u8>, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    json.push(b'{');
    for (at, (name, value)) in pairs.filter(|(_, value)| !value.is_empty()).enumerate() {
        if at > 0 {
            json.push(b',');
        }
        put_string(json, name);
        json.push(b':');
        put_string(json, value);
    }
    json.push(b'}');
}

/// A string as RFC 8259 section 7 has it: what must be escaped is, all else stays as it is.
fn put_string(json: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let hex = |digit: u8| HEX.get(usize::from(digit)).copied().unwrap_or(b'0');
    json.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => json.extend_from_slice(&[b'\\', byte]),
            b'\n' => json.extend_from_slice(b"\\n"),
            b'\r' => json.extend_from_slice(b"\\r"),
            b'\t' => json.extend_from_slice(b"\\t"),
            ..0x20 => json.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]),
            _ => json.push(byte),
        }
    }
    json.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Every second character is one of the first 128, where all that is escaped is.
    fn text() -> impl Strategy<Value = String> {
        vec(prop_oneof![any::<char>(), (0..=127_u8).prop_map(char::from)], 0..40).prop_map(String::from_iter)
    }

    fn parsed(labels: &[(String, String)], entries: &[Entry<'_>]) -> Value {
        serde_json::from_slice(&body(labels, entries)).unwrap()
    }

    #[test]
    fn a_body_is_one_stream_with_its_entries() {
        let labels = [("job".to_owned(), "vitals".to_owned()), ("fleet".to_owned(), String::new())];
        let first = Entry { at_ns: 1_780_574_400_123_000_041, line: "A b=\"c\"", metadata: &[] };
        let second = Entry { at_ns: u64::MAX, line: "", metadata: &[("runner", "r-1"), ("boot", "")] };
        let text = String::from_utf8(body(&labels, &[first, second])).unwrap();
        assert_eq!(
            text,
            r#"{"streams":[{"stream":{"job":"vitals"},"values":[["1780574400123000041","A b=\"c\""],["18446744073709551615","",{"runner":"r-1"}]]}]}"#
        );
        assert_eq!(parsed(&[], &[]), json!({"streams": [{"stream": {}, "values": []}]}));
    }

    #[test]
    fn every_character_of_one_byte_survives() {
        let line: String = (0..=127_u8).map(char::from).collect();
        let json = parsed(&[], &[Entry { at_ns: 0, line: &line, metadata: &[("k", &line)] }]);
        let entry = &json["streams"][0]["values"][0];
        assert_eq!((entry[1].as_str(), entry[2]["k"].as_str()), (Some(line.as_str()), Some(line.as_str())));
    }

    #[test]
    fn a_status_is_judged() {
        use Verdict::{Final, Retry, Stored};
        for (statuses, expected) in [
            (&[200, 204][..], Stored),
            (&[201, 202, 206, 260, 299], Final),
            (&[400, 404, 405, 410, 413, 414, 415, 422, 431, 499], Final),
            (&[401, 403, 407, 408, 425, 429], Retry),
            (&[500, 501, 502, 503, 504, 599], Retry),
            (&[0, 100, 199, 301, 302, 307, 308, 600, u16::MAX], Retry),
        ] {
            for status in statuses {
                assert_eq!(verdict(*status), expected, "{status}");
            }
        }
    }

    #[test]
    fn a_label_has_a_name_that_loki_takes() {
        for (name, is_one) in [
            ("fleet", true),
            ("_a9", true),
            ("Fleet_2", true),
            ("", false),
            ("9a", false),
            ("a.b", false),
            ("a-b", false),
            ("é", false),
            ("__name__", false),
        ] {
            assert_eq!(is_label_name(name), is_one, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_put_is_what_is_parsed(
            label in text(),
            lines in vec((any::<u64>(), text(), text(), text()), 0..5),
        ) {
            let metadata: Vec<_> = lines.iter().map(|(_, _, key, value)| [(key.as_str(), value.as_str())]).collect();
            let entries: Vec<Entry<'_>> = lines.iter().zip(&metadata)
                .map(|((at_ns, line, _, _), metadata)| Entry { at_ns: *at_ns, line, metadata })
                .collect();
            let expected: Vec<Value> = lines.iter().map(|(at_ns, line, key, value)| {
                if value.is_empty() { json!([at_ns.to_string(), line]) } else { json!([at_ns.to_string(), line, {key: value}]) }
            }).collect();
            let stream = if label.is_empty() { json!({}) } else { json!({"l": label}) };
            prop_assert_eq!(
                parsed(&[("l".to_owned(), label)], &entries),
                json!({"streams": [{"stream": stream, "values": expected}]})
            );
        }
    }
}
