//! What stands before a line of ours in a log: the stamps of container runtimes and collectors.
//!
//! Containerd and CRI-O (`TIME stdout F LINE`), Docker's json-file, `kubectl logs --timestamps` and `--prefix`, `logcli` in its default
//! form (`TIME {labels} LINE`) and as jsonl.

use std::borrow::Cow;

use memchr::memmem;

use crate::line::TAG;

/// What a line of a log is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A line with our tag first, whole or broken, and the Pod that a collector says it is of.
    Ours(Cow<'a, [u8]>, Option<Cow<'a, str>>),
    /// Another's, which has our tag somewhere.
    Mention,
    /// Another's.
    Other,
}

/// The labels that name a Pod or a runner, the surest first.
pub const LABELS: [&str; 5] = ["pod", "pod_name", "k8s_pod_name", "runner_name", "runner"];

/// Looks at a line of a log, without its newline.
#[must_use]
pub fn entry(line: &[u8]) -> Entry<'_> {
    if is_ours(line) {
        return Entry::Ours(Cow::Borrowed(line), None);
    }
    let found = match line.first() {
        Some(b'{') => json(line),
        Some(b'[') => prefixed(line),
        Some(b'0'..=b'9') => stamped(line),
        _ => None,
    };
    found.unwrap_or_else(|| if memmem::find(line, TAG.as_bytes()).is_some() { Entry::Mention } else { Entry::Other })
}

/// Whether it begins with our tag.
fn is_ours(line: &[u8]) -> bool {
    line.strip_prefix(TAG.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b' '))
}

/// `[pod/NAME/CONTAINER] LINE`, with a time or without.
fn prefixed(line: &[u8]) -> Option<Entry<'_>> {
    let (head, rest) = split_at_byte(line.strip_prefix(b"[")?, b']')?;
    let pod = std::str::from_utf8(head).ok()?.strip_prefix("pod/")?.split('/').next()?;
    let rest = rest.strip_prefix(b" ")?;
    let line = if is_ours(rest) { rest } else { split_at_byte(rest, b' ').filter(|(at, _)| is_time(at))?.1 };
    is_ours(line).then_some(Entry::Ours(Cow::Borrowed(line), Some(Cow::Borrowed(pod))))
}

/// `TIME LINE`, `TIME stdout F LINE` or `TIME {labels} LINE`.
fn stamped(line: &[u8]) -> Option<Entry<'_>> {
    let (time, rest) = split_at_byte(line, b' ')?;
    if !is_time(time) {
        return None;
    }
    if is_ours(rest) {
        return Some(Entry::Ours(Cow::Borrowed(rest), None));
    }
    if rest.first() == Some(&b'{') {
        let (labels, line) = rest.split_at_checked(labels_end(rest)?)?;
        let line = line.trim_ascii_start();
        return is_ours(line).then(|| Entry::Ours(Cow::Borrowed(line), label(labels).map(Cow::Owned)));
    }
    let runtimes = [&b"stdout F "[..], b"stderr F ", b"stdout P ", b"stderr P "];
    let line = runtimes.iter().find_map(|runtime| rest.strip_prefix(*runtime))?;
    is_ours(line).then_some(Entry::Ours(Cow::Borrowed(line), None))
}

/// The length of `{key="value", …}`.
fn labels_end(text: &[u8]) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'}' if !is_quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The surest label of `{key="value", …}`.
fn label(labels: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(labels).ok()?.strip_prefix('{')?.strip_suffix('}')?;
    let value = |key: &str| {
        let pair = text.split(',').map(str::trim).find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))?;
        pair.strip_prefix('"')?.strip_suffix('"')
    };
    LABELS.iter().find_map(|key| value(key)).map(str::to_owned)
}

/// `{"line": …, "labels": …}` of logcli, `{"log": …}` of Docker.
fn json(line: &[u8]) -> Option<Entry<'_>> {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).ok()?;
    let labels = object.remove("labels");
    let serde_json::Value::String(text) = object.remove("line").or_else(|| object.remove("log"))? else { return None };
    let text = text.strip_suffix('\n').map(str::to_owned).unwrap_or(text);
    if !is_ours(text.as_bytes()) {
        return None;
    }
    let pod = LABELS.iter().find_map(|key| labels.as_ref()?.get(key)?.as_str()).map(str::to_owned);
    Some(Entry::Ours(Cow::Owned(text.into_bytes()), pod.map(Cow::Owned)))
}

/// Something like `2026-06-04T12:00:00.123456789Z`.
fn is_time(text: &[u8]) -> bool {
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', rest @ ..] = text else { return false };
    let ends = matches!(rest.last(), Some(b'Z' | b'0'..=b'9'));
    ends && text.len() <= 40
        && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'T' | b'Z' | b':' | b'.' | b'+' | b'-'))
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "RUNNER_VITALS ts= run=k3x9 seq=1";

    fn ours(text: &str) -> Option<Option<String>> {
        match entry(text.as_bytes()) {
            Entry::Ours(line, pod) if line.as_ref() == LINE.as_bytes() => Some(pod.map(Cow::into_owned)),
            _ => None,
        }
    }

    #[test]
    fn what_stands_before_a_line_is_taken_off() {
        let cases = [
            (LINE.to_owned(), None),
            (format!("2026-06-04T12:00:00.123456789Z stdout F {LINE}"), None),
            (format!("2026-06-04T12:00:00+02:00 stderr F {LINE}"), None),
            (format!("2026-06-04T12:00:00Z {LINE}"), None),
            (format!("[pod/runner-7/main] {LINE}"), Some("runner-7")),
            (format!("[pod/runner-7/main] 2026-06-04T12:00:00Z {LINE}"), Some("runner-7")),
            (format!("2026-06-04T12:00:00Z {{app=\"a}}b\", pod=\"runner-7\"}} {LINE}"), Some("runner-7")),
            (format!("{{\"log\":\"{LINE}\\n\",\"stream\":\"stdout\",\"time\":\"x\"}}"), None),
            (
                format!("{{\"labels\":{{\"pod\":\"runner-7\",\"n\":1}},\"line\":\"{LINE}\",\"timestamp\":\"x\"}}"),
                Some("runner-7"),
            ),
        ];
        for (text, pod) in cases {
            assert_eq!(ours(&text), Some(pod.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn a_tag_that_is_not_first_makes_no_line() {
        let cases = [
            format!("echo {LINE}"),
            format!("50 %{LINE}"),
            format!("RUNNER_LOG ts= run=k3x9 seq=1 line=\"{LINE}\""),
            format!("2026-06-04T12:00:00Z stdout F say: {LINE}"),
            format!("yesterday stdout F {LINE}"),
            format!("{{\"log\":\"x {LINE}\"}}"),
            format!("{{\"log\":\"x\\n{LINE}\"}}"),
            format!("{{\"line\":[\"{LINE}\"]}}"),
            format!("[pod/a] echo {LINE}"),
            "RUNNER_VITALSX".to_owned(),
        ];
        for text in cases {
            assert_eq!(entry(text.as_bytes()), Entry::Mention, "{text}");
        }
        assert_eq!(entry(b"hello"), Entry::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(head in "[\\[{0-9]?", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = entry(&[head.as_bytes(), &bytes].concat());
        }
    }
}
