//! What stands before a line of ours in a log: the stamps of container runtimes and collectors.
//!
//! Containerd and CRI-O (`TIME stdout F LINE`), Docker's json-file, `kubectl logs --timestamps` and `--prefix`, `logcli` in its default
//! form (`TIME {labels} LINE`) and as jsonl; `docker compose logs`, `stern` and `journalctl` (`before`).

mod before;
mod colour;
mod stamped;
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
        Some(b'[') => stamped::prefixed(line),
        Some(b'0'..=b'9') => stamped::timed(line),
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

#[cfg(test)]
mod tests;
