//! What stands before a line of ours in a log: the stamps of container runtimes and collectors.
//!
//! Containerd and CRI-O (`TIME stdout F LINE`), Docker's json-file, `kubectl logs --timestamps` and `--prefix`, `logcli` in its default
//! form (`TIME {labels} LINE`) and as jsonl; `docker compose logs`, `stern` and `journalctl` (`before`).

mod before;
mod colour;
mod wrapped;

pub use wrapped::TEXTS;

use std::borrow::Cow;

use memchr::memmem;

use super::loki::question::parse_time;
use crate::line::TAG;

/// What a line of a log is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A line with our tag first, whole or broken.
    Ours(Ours<'a>),
    /// What a container runtime took from a stream: a line, or a part of one. [`bare`] says what a whole one is.
    Logged(Logged<'a>),
    /// A part of a line of ours that a collector passed on as an entry of its own: it means nothing.
    Part,
    /// Another's, which has our tag somewhere.
    Mention,
    /// Another's.
    Other,
}

/// A line of ours with what a collector or a runtime says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ours<'a> {
    /// Without a newline.
    pub line: Cow<'a, [u8]>,
    /// The Pod that it is of.
    pub pod: Option<Cow<'a, str>>,
    /// When it came, milliseconds since 1970 by their clock.
    pub at_ms: Option<i64>,
}

/// A line or a part of one with what the runtime says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged<'a> {
    /// Where it was written.
    pub stream: Stream,
    /// When the runtime read it, as it wrote that.
    pub at: Cow<'a, str>,
    /// Without a newline.
    pub text: Cow<'a, [u8]>,
    /// It is a line, or the last part of one.
    pub is_end: bool,
}

/// A stream of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The first.
    Stdout,
    /// The second.
    Stderr,
}

/// The labels that name a Pod or a runner, the surest first.
pub const LABELS: [&str; 5] = ["pod", "pod_name", "k8s_pod_name", "runner_name", "runner"];

/// Looks at a line of a log, without its newline.
#[must_use]
pub fn entry(line: &[u8]) -> Entry<'_> {
    match colour::without(line) {
        Some(plain) => whole(&plain).into_owned(),
        None => whole(line),
    }
}

fn whole(line: &[u8]) -> Entry<'_> {
    if is_ours(line) {
        return ours(line);
    }
    let found = match line.first() {
        Some(b'{') => wrapped::json(line),
        Some(b'[') => prefixed(line),
        Some(b'0'..=b'9') => stamped(line),
        _ => None,
    };
    found.unwrap_or_else(|| match others(line) {
        Entry::Mention => behind(line).unwrap_or(Entry::Mention),
        other => other,
    })
}

impl Entry<'_> {
    fn into_owned(self) -> Entry<'static> {
        let owned = |text: Cow<'_, [u8]>| Cow::Owned(text.into_owned());
        let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Entry::Ours(Ours { line, pod, at_ms }) => {
                Entry::Ours(Ours { line: owned(line), pod: pod.map(text), at_ms })
            }
            Entry::Logged(Logged { stream, at, text: part, is_end }) => {
                Entry::Logged(Logged { stream, at: text(at), text: owned(part), is_end })
            }
            Entry::Part => Entry::Part,
            Entry::Mention => Entry::Mention,
            Entry::Other => Entry::Other,
        }
    }

    /// The same, which came at this time where nothing else says when.
    #[must_use]
    pub fn at(self, at_ms: Option<i64>) -> Self {
        match self {
            Entry::Ours(ours) => Entry::Ours(Ours { at_ms: ours.at_ms.or(at_ms), ..ours }),
            other => other,
        }
    }
}

/// Milliseconds since 1970 of a time as runtimes and collectors write it.
#[must_use]
pub fn time_ms(text: &str) -> Option<i64> {
    let since = parse_time(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

/// A line of which nobody says anything.
fn ours(line: &[u8]) -> Entry<'_> {
    Entry::Ours(Ours { line: Cow::Borrowed(line), ..Ours::default() })
}

/// Looks at a line of which nothing is to be taken off any more.
#[must_use]
pub fn bare(line: &[u8]) -> Entry<'_> {
    if let Some(plain) = colour::without(line) {
        return if is_ours(&plain) { ours(&plain).into_owned() } else { others(&plain).into_owned() };
    }
    if is_ours(line) { ours(line) } else { others(line) }
}

fn others(line: &[u8]) -> Entry<'_> {
    if memmem::find(line, TAG.as_bytes()).is_some() { Entry::Mention } else { Entry::Other }
}

/// Whether it begins with our tag.
pub(super) fn is_ours(line: &[u8]) -> bool {
    line.strip_prefix(TAG.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b' '))
}

/// Behind what a tool for people put before it.
fn behind(line: &[u8]) -> Option<Entry<'_>> {
    let (line, name) = before::strip(line)?;
    Some(Entry::Ours(Ours { line: Cow::Borrowed(line), pod: name.map(Cow::Borrowed), at_ms: None }))
}

/// `[pod/NAME/CONTAINER] LINE`, with a time or without.
fn prefixed(line: &[u8]) -> Option<Entry<'_>> {
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
fn stamped(line: &[u8]) -> Option<Entry<'_>> {
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
            Entry::Ours(ours) if ours.line.as_ref() == LINE.as_bytes() => Some(ours.pod.map(Cow::into_owned)),
            Entry::Logged(logged) if logged.is_end && logged.text.as_ref() == LINE.as_bytes() => Some(None),
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
            (format!("runner-1  | {LINE}"), Some("runner-1")),
            (format!("\u{1b}[36mrunner-1  | \u{1b}[0m{LINE}\u{1b}[0m"), Some("runner-1")),
            (format!("\u{1b}[32m{LINE}"), None),
            (format!("2026-06-04T12:00:00Z \u{1b}[32m{LINE}\u{1b}[0m"), None),
            (format!("{{\"date\":1.5,\"message\":\"\\u001b[32m{LINE}\\u001b[0m\"}}"), None),
            (format!("{{\"log\":{{\"level\":\"info\"}},\"message\":\"{LINE}\"}}"), None),
            (format!("{{\"MESSAGE\":\"{LINE}\",\"_PID\":\"7\"}}"), None),
            // The journal gives bytes where a text has colours.
            (format!("{{\"MESSAGE\":{:?}}}", format!("\u{1b}[32m{LINE}\u{1b}[0m").as_bytes()), None),
            (format!("{{\"msg\":\"{LINE}\\n\",\"kubernetes\":{{\"pod_name\":\"runner-7\"}}}}"), Some("runner-7")),
            (format!("{{\"body\":\"{LINE}\"}}"), None),
            (format!("2026-06-04T12:00:00+0000 host unit[7]: {LINE}"), None),
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
    fn who_logs_a_line_says_when_it_came() {
        for text in [
            format!("2026-06-04T12:00:00.5Z {LINE}"),
            format!("2026-06-04T14:00:00.5+02:00 stdout F {LINE}"),
            format!("[pod/runner-7/main] 2026-06-04T12:00:00.500Z {LINE}"),
            format!("2026-06-04T12:00:00.5Z {{pod=\"runner-7\"}} {LINE}"),
            format!("{{\"log\":\"{LINE}\\n\",\"stream\":\"stdout\",\"time\":\"2026-06-04T12:00:00.5Z\"}}"),
            format!("{{\"labels\":{{}},\"line\":\"{LINE}\",\"timestamp\":\"2026-06-04T12:00:00.5Z\"}}"),
        ] {
            let at_ms = match entry(text.as_bytes()) {
                Entry::Ours(ours) => ours.at_ms,
                Entry::Logged(logged) => time_ms(&logged.at),
                found => panic!("{found:?}"),
            };
            assert_eq!(at_ms, Some(1_780_574_400_500), "{text}");
        }
        assert!(matches!(entry(LINE.as_bytes()), Entry::Ours(Ours { at_ms: None, .. })));
    }

    #[test]
    fn a_tag_that_is_not_first_makes_no_line() {
        let cases = [
            format!("+ echo {LINE}"),
            format!("echo {LINE}"),
            format!("50 %{LINE}"),
            format!("RUNNER_LOG ts= run=k3x9 seq=1 line=\"{LINE}\""),
            format!("2026-06-04T12:00:00Z stdout F say: {LINE}"),
            format!("yesterday stdout F {LINE}"),
            format!("{{\"log\":\"x {LINE}\"}}"),
            format!("{{\"log\":\"x\\n{LINE}\"}}"),
            format!("{{\"line\":[\"{LINE}\"]}}"),
            format!("{{\"said\":\"{LINE}\"}}"),
            format!("{{\"message\":\"x {LINE}\"}}"),
            format!("{{\"MESSAGE\":[256],\"x\":\"{LINE}\"}}"),
            format!("x \u{1b}[32m{LINE}"),
            format!("\u{1b}[2J{LINE}"),
            format!("[pod/a] echo {LINE}"),
            // As stern would, were that a Pod.
            format!("please echo {LINE}"),
            format!("\u{1b}[36mplease\u{1b}[0m \u{1b}[96mecho\u{1b}[0m {LINE}"),
            "RUNNER_VITALSX".to_owned(),
        ];
        for text in cases {
            let found = match entry(text.as_bytes()) {
                Entry::Logged(logged) => bare(&logged.text) == Entry::Mention,
                found => found == Entry::Mention,
            };
            assert!(found, "{text}");
        }
        assert_eq!(entry(b"hello"), Entry::Other);
    }

    #[test]
    fn a_part_of_a_line_is_told_from_one() {
        let logged = |text: &str| match entry(text.as_bytes()) {
            Entry::Logged(Logged { stream, at, text, is_end }) => {
                Some((stream, at.into_owned(), String::from_utf8(text.into_owned()).unwrap(), is_end))
            }
            _ => None,
        };
        let time = "2026-06-04T12:00:00.1Z";
        for (text, stream, part, is_end) in [
            (format!("{time} stdout P RUNNER_V"), Stream::Stdout, "RUNNER_V", false),
            (format!("{time} stderr F ITALS ts="), Stream::Stderr, "ITALS ts=", true),
            (format!("{time} stdout F:new x"), Stream::Stdout, "x", true),
            (format!("{time} stdout F "), Stream::Stdout, "", true),
            (format!("{{\"log\":\"RUN\",\"stream\":\"stdout\",\"time\":\"{time}\"}}"), Stream::Stdout, "RUN", false),
            (
                format!("{{\"log\":\"a\\n\",\"stream\":\"stderr\",\"attrs\":{{}},\"time\":\"{time}\"}}"),
                Stream::Stderr,
                "a",
                true,
            ),
        ] {
            assert_eq!(logged(&text), Some((stream, time.to_owned(), part.to_owned(), is_end)), "{text}");
        }
        // Collectors take the newline off, and some say that it was none.
        let collected = |more: &str| format!("{{\"log\":\"{LINE}\",\"stream\":\"stdout\",\"time\":\"x\",{more}}}");
        assert_eq!(ours(&collected("\"date\":1")), Some(None));
        for part in ["\"logtag\":\"P\"", "\"_p\":\"P\""] {
            assert_eq!(entry(collected(part).as_bytes()), Entry::Part);
        }
        assert_eq!(ours(&collected("\"_p\":\"F\"")), Some(None));
        for none in [format!("{time} stdout X {LINE}"), format!("{time} stdin F {LINE}")] {
            assert_eq!(entry(none.as_bytes()), Entry::Mention, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(head in "[\\[{0-9]?", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = entry(&[head.as_bytes(), &bytes].concat());
        }
    }
}
