//! What Loki is asked: a query and a stretch of time, as text that means nothing else.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::entry::LABELS;
use super::super::loki_json::at_ns;
use crate::line::TAG;

/// A query and its stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// LogQL: a log query.
    pub query: String,
    /// From this time on, nanoseconds since 1970.
    pub from_ns: u64,
    /// Up to this time, which is no part of it.
    pub to_ns: u64,
}

impl Question {
    /// The parameters of a request for the newest lines before `end_ns`, without its path.
    #[must_use]
    pub(super) fn parameters(&self, end_ns: u64, lines: u64) -> String {
        let mut parameters = String::from("direction=backward&query=");
        percent_encoded(&self.query, &mut parameters);
        let _ = write!(parameters, "&start={}&end={end_ns}&limit={lines}", self.from_ns);
        parameters
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} to {}", self.query, at_ns(self.from_ns), at_ns(self.to_ns))
    }
}

/// The query for the lines of all runners, whatever brought them: collectors as they are set up here, the hub and the probe give them this
/// label.
pub const OF_ALL: &str = r#"{job="runner-vitals"} |= "RUNNER_VITALS""#;

/// The query for the lines of a Pod, whatever its name holds, where it is a label of streams.
#[must_use]
pub fn of_pod(name: &str) -> String {
    format!("{{pod={}}} |= {}", quoted(name), quoted(TAG))
}

/// The query for what another finds of one runner: the lines that a label says are of it, and those that no label says of whom they are.
/// Those of the others of them are left to whoever reads what they say.
#[must_use]
pub fn of_runner(query: &str, name: &str) -> String {
    let all = |value: &str, joint: &str| {
        let pairs: Vec<String> = LABELS.iter().map(|label| format!("{label}={}", quoted(value))).collect();
        pairs.join(joint)
    };
    format!("{query} | {} or ({})", all(name, " or "), all("", " and "))
}

/// A string as LogQL takes it, which is Go's: quotes, backslashes and control characters are escaped.
///
/// Source: <https://go.dev/ref/spec#String_literals>.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// RFC 3986, 2.1: all but the unreserved characters.
fn percent_encoded(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
            _ => {
                let _ = write!(into, "%{byte:02X}");
            }
        }
    }
}

/// Nanoseconds since 1970; what is before or does not fit is the first or the last of them.
#[must_use]
pub fn since_1970_ns(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Reads a time of RFC 3339: `2026-06-04T12:00:00Z`, with a fraction, or with another offset than `Z`.
///
/// # Errors
/// When it is none.
pub fn parse_time(text: &str) -> Result<SystemTime, String> {
    let wrong = || "expected a time like 2026-06-04T12:00:00Z or 2026-06-04T14:00:00+02:00".to_owned();
    let (local, east) = match text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)) {
        Some((local, offset)) if offset.starts_with(['+', '-']) => {
            (format!("{local}Z"), Some(parse_offset(offset).ok_or_else(wrong)?))
        }
        _ => (text.to_owned(), None),
    };
    let at = humantime::parse_rfc3339(&local).map_err(|_| wrong())?;
    match east {
        None => Ok(at),
        Some((true, offset)) => at.checked_sub(offset).ok_or_else(wrong),
        Some((false, offset)) => at.checked_add(offset).ok_or_else(wrong),
    }
}

/// `+02:00`: whether it is to the east, and how far.
fn parse_offset(text: &str) -> Option<(bool, Duration)> {
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let number = |text: &str, most: u64| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| is_plain && *number <= most)
    };
    let minutes = number(hours, 23)? * 60 + number(minutes, 59)?;
    Some((text.starts_with('+'), Duration::from_secs(minutes * 60)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pods_name_stays_a_name() {
        assert_eq!(of_pod("runner-7"), r#"{pod="runner-7"} |= "RUNNER_VITALS""#);
        assert_eq!(of_pod("\"} or {a=\"\\\n"), "{pod=\"\\\"} or {a=\\\"\\\\\\u000a\"} |= \"RUNNER_VITALS\"");
    }

    #[test]
    fn a_runner_is_asked_for_within_a_query() {
        assert_eq!(
            of_runner(r#"{a="b"} |= "x""#, "r\"1"),
            concat!(
                r#"{a="b"} |= "x" | pod="r\"1" or pod_name="r\"1" or k8s_pod_name="r\"1" or runner_name="r\"1" or runner="r\"1""#,
                r#" or (pod="" and pod_name="" and k8s_pod_name="" and runner_name="" and runner="")"#
            )
        );
    }

    #[test]
    fn a_request_holds_the_query_as_it_is() {
        let question = Question { query: "{a=\"b c\"} |= `ü&x=1`".to_owned(), from_ns: 5, to_ns: 9 };
        assert_eq!(
            question.parameters(7, 3),
            "direction=backward&query=%7Ba%3D%22b%20c%22%7D%20%7C%3D%20%60%C3%BC%26x%3D1%60&start=5&end=7&limit=3"
        );
    }

    #[test]
    fn a_time_is_read_with_its_offset() {
        let utc = humantime::parse_rfc3339("2026-06-04T12:00:00.5Z").unwrap();
        for text in ["2026-06-04T12:00:00.5Z", "2026-06-04T14:00:00.5+02:00", "2026-06-04T08:30:00.5-03:30"] {
            assert_eq!(parse_time(text), Ok(utc), "{text}");
        }
        for text in ["", "yesterday", "2026-06-04", "2026-06-04T12:00:00", "2026-06-04T12:00:00+2:00", "Z+24:00"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        assert!(parse_time("2026-06-04T12:00:00+24:00").is_err());
        assert_eq!(since_1970_ns(utc), 1_780_574_400_500_000_000);
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC*|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[-+Z:0-9é]{0,6}") {
            let _ = parse_time(&text);
        }

        #[test]
        fn a_quoted_text_ends_where_it_ends(text in any::<String>()) {
            // JSON's strings are read the same way.
            let read: String = serde_json::from_str(&quoted(&text)).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
