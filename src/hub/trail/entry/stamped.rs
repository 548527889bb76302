//! Behind the stamps of container runtimes, of `kubectl logs` and of `logcli`.

use std::borrow::Cow;

use super::{Entry, LABELS, Logged, Ours, Stream, is_ours, ours, time_ms};

/// `[pod/NAME/CONTAINER] LINE`, with a time or without.
pub(super) fn prefixed(line: &[u8]) -> Option<Entry<'_>> {
    let (head, rest) = split_at_byte(line.strip_prefix(b"[")?, b']')?;
    let pod = std::str::from_utf8(head).ok()?.strip_prefix("pod/")?.split('/').next()?;
    let rest = rest.strip_prefix(b" ")?;
    let (at_ms, line) = match split_at_byte(rest, b' ').filter(|_| !is_ours(rest)) {
        Some((at, line)) if is_time(at) => (bytes_ms(at), line),
        _ => (None, rest),
    };
    is_ours(line).then_some(Entry::Ours(Ours { line: Cow::Borrowed(line), pod: Some(Cow::Borrowed(pod)), at_ms }))
}

/// `TIME LINE`, `TIME stdout F LINE` or `TIME {labels} LINE`.
pub(super) fn timed(line: &[u8]) -> Option<Entry<'_>> {
    let (time, rest) = split_at_byte(line, b' ')?;
    if !is_time(time) {
        return None;
    }
    if is_ours(rest) {
        return Some(ours(rest).at(bytes_ms(time)));
    }
    if rest.first() == Some(&b'{') {
        let (labels, line) = rest.split_at_checked(labels_end(rest)?)?;
        let line = line.trim_ascii_start();
        let ours = || Ours { line: Cow::Borrowed(line), pod: label(labels).map(Cow::Owned), at_ms: bytes_ms(time) };
        return is_ours(line).then(|| Entry::Ours(ours()));
    }
    let (stream, rest) = match rest.strip_prefix(b"stdout ") {
        Some(rest) => (Stream::Stdout, rest),
        None => (Stream::Stderr, rest.strip_prefix(b"stderr ")?),
    };
    let (tags, text) = split_at_byte(rest, b' ')?;
    // Tags to come stand behind the first, with a colon between.
    let is_end = match tags.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let at = Cow::Borrowed(std::str::from_utf8(time).ok()?);
    Some(Entry::Logged(Logged { stream, at, text: Cow::Borrowed(text), is_end }))
}

fn bytes_ms(time: &[u8]) -> Option<i64> {
    time_ms(std::str::from_utf8(time).ok()?)
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

/// Something like `2026-06-04T12:00:00.123456789Z`.
pub(super) fn is_time(text: &[u8]) -> bool {
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', rest @ ..] = text else { return false };
    let ends = matches!(rest.last(), Some(b'Z' | b'0'..=b'9'));
    ends && text.len() <= 40
        && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'T' | b'Z' | b':' | b'.' | b'+' | b'-'))
}

pub(super) fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}
