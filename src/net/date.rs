//! Times in headers: `Date`, and `Retry-After` in both its forms. RFC 9110, 5.6.7 and 10.2.3.
//!
//! Of the three forms of a date only the one is read that servers may send; the other two have been obsolete since 1997.

use std::time::{Duration, SystemTime};

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, and nothing else.
#[must_use]
pub fn parse_http_date(text: &str) -> Option<SystemTime> {
    let (day_name, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let [day, month, year, time, zone] = [(); 5].map(|()| words.next().unwrap_or_default());
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let has_form = words.next().is_none() && DAYS.contains(&day_name) && zone == "GMT";
    let has_widths = day.len() == 2 && year.len() == 4 && time.len() == 8;
    if !has_form || !has_widths {
        return None;
    }
    // A wrong name of the day is the server's own affair; a wrong date is refused there.
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

/// Reads `Retry-After`: seconds, or a date that is counted from `now`, which is the server's own time where it is known.
#[must_use]
pub fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has is a long time all the same.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    parse_http_date(text).map(|date| date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_read_to_the_second() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 04 Jun 2026 12:00:00 GMT", Some(1_780_574_400)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Wed, 29 Feb 2023 00:00:00 GMT", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun Nov  6 08:49:37 1994", None),
            ("Sun, 06 Nov 1994 08:49:37 UTC", None),
            ("Sun, 6 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT x", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("Sun, -1 Nov 1994 08:49:37 GMT", None),
            ("", None),
        ] {
            let time = seconds.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(parse_http_date(text), time, "{text}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("-1", None),
            ("1.5", None),
            ("+1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse_retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC*|[A-Za-z, 0-9:]{0,40}", seconds in 0_u64..253_402_300_800) {
            let _ = (parse_http_date(&text), parse_retry_after(&text, SystemTime::UNIX_EPOCH));
            let text = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            prop_assert!(parse_http_date(&text.to_string()).is_none());
        }
    }
}
