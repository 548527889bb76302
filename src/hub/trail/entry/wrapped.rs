//! Lines that stand in JSON, an object a line: of `logcli`, Docker, `journalctl` and collectors.

use std::borrow::Cow;

use super::{Entry, LABELS, Logged, Ours, Stream, colour, is_ours, time_ms};

/// Where the line stands in an object.
pub const TEXTS: [&str; 6] = ["line", "log", "message", "msg", "MESSAGE", "body"];

/// Where collectors write when a line came, the surest first.
const TIMES: [&str; 4] = ["timestamp", "time", "@timestamp", "date"];

/// Where they write of which Pod it is.
const POD_IN: [&str; 2] = ["labels", "kubernetes"];

/// `{"line": …, "labels": …}` of logcli, `{"log": …}` of Docker and of collectors, `{"message": …}` of others.
pub(super) fn json(line: &[u8]) -> Option<Entry<'_>> {
    let mut object: Object = serde_json::from_slice(line).ok()?;
    if let Some(logged) = docker(&mut object) {
        return Some(Entry::Logged(logged));
    }
    let is_part = ["logtag", "_p"].iter().any(|key| object.get(*key).and_then(|tag| tag.as_str()) == Some("P"));
    let text = TEXTS.iter().find_map(|key| plain(&bytes(object.get(*key)?)?))?;
    if is_part {
        return Some(Entry::Part);
    }
    let pod = POD_IN.iter().filter_map(|key| object.get(*key));
    let pod =
        pod.flat_map(|within| LABELS.iter().filter_map(|key| within.get(key)?.as_str())).next().map(str::to_owned);
    let at_ms = TIMES.iter().find_map(|key| time_ms(object.get(*key)?.as_str()?));
    Some(Entry::Ours(Ours { line: Cow::Owned(text), pod: pod.map(Cow::Owned), at_ms }))
}

/// A text, or the bytes of one: the journal gives those where not all of it is printable UTF-8.
///
/// Source: <https://systemd.io/JOURNAL_EXPORT_FORMATS/#journal-json-format>.
fn bytes(value: &serde_json::Value) -> Option<Cow<'_, [u8]>> {
    match value {
        serde_json::Value::String(text) => Some(Cow::Borrowed(text.as_bytes())),
        serde_json::Value::Array(bytes) => {
            bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect::<Option<Vec<u8>>>().map(Cow::Owned)
        }
        _ => None,
    }
}

/// A line of ours without its newline and its colours.
fn plain(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = colour::without(text).unwrap_or_else(|| text.to_vec());
    is_ours(&text).then_some(text)
}

type Object = serde_json::Map<String, serde_json::Value>;

/// Docker's json-file has these keys and no others; a line ends with its newline, a part of one has none.
fn docker(object: &mut Object) -> Option<Logged<'static>> {
    if object.keys().any(|key| !matches!(key.as_str(), "log" | "stream" | "time" | "attrs")) {
        return None;
    }
    let stream = match object.get("stream")?.as_str()? {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    let at = object.get("time")?.as_str()?.to_owned();
    let serde_json::Value::String(mut text) = object.remove("log")? else { return None };
    let is_end = text.ends_with('\n');
    text.truncate(text.len() - usize::from(is_end));
    Some(Logged { stream, at: Cow::Owned(at), text: Cow::Owned(text.into_bytes()), is_end })
}
