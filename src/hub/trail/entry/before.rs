//! What tools for people put before lines: `docker compose logs`, `stern`, `journalctl`.
//!
//! All of it up to the tag has to be theirs, so that a line that somebody printed with words before it stays what somebody said.

use memchr::memmem;

use super::is_ours;
use super::stamped::{is_time, split_at_byte};
use crate::line::TAG;

/// The line behind what such a tool put before it, and the container or Pod that it names.
pub(super) fn strip(line: &[u8]) -> Option<(&[u8], Option<&str>)> {
    let (head, line) = line.split_at_checked(memmem::find(line, TAG.as_bytes())?)?;
    if !is_ours(line) {
        return None;
    }
    let head = std::str::from_utf8(head).ok()?.strip_suffix(' ')?;
    if let Some(name) = compose(head).or_else(|| stern(head)) {
        return Some((line, Some(name)));
    }
    // Whose the line is, no journal says: the host has several units, and a unit several runs.
    is_journal(head).then_some((line, None))
}

/// `NAME-1  |`, with a time behind it or without.
fn compose(head: &str) -> Option<&str> {
    let (name, rest) = head.split_once(' ')?;
    let rest = rest.trim_start_matches(' ').strip_prefix('|')?;
    let is_whole = rest.is_empty() || rest.strip_prefix(' ').is_some_and(|time| is_time(time.as_bytes()));
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (is_whole && is_name).then_some(name)
}

/// `POD CONTAINER`, with the namespace before and a time behind, or without.
fn stern(head: &str) -> Option<&str> {
    let words = match head.rsplit_once(' ') {
        Some((words, time)) if is_time(time.as_bytes()) => words,
        _ => head,
    };
    let mut words = words.split(' ').rev();
    let (container, pod) = (words.next()?, words.next()?);
    let is_alone = words.next().is_none_or(is_label) && words.next().is_none();
    // A Pod of a controller has its name and more; that of an ordinary word is none, for a job prints two words before the tag too.
    (is_alone && is_label(container) && pod.contains('-') && pod.split('.').all(is_label)).then_some(pod)
}

/// A label of a DNS name: RFC 1123.
fn is_label(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(is_inside) && !text.starts_with('-') && !text.ends_with('-')
}

/// `Nov 28 12:00:00 HOST UNIT[PID]:`, or with a time of ISO 8601.
fn is_journal(head: &str) -> bool {
    let Some(said) = head.strip_suffix("]:") else { return false };
    let Some((before, pid)) = said.rsplit_once('[') else { return false };
    let is_pid = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<&str> = before.split(' ').filter(|word| !word.is_empty()).collect();
    let is_then = match words.as_slice() {
        [time, _, _] => is_time(time.as_bytes()),
        [month, day, time, _, _] => {
            MONTHS.contains(month) && day.parse::<u8>().is_ok_and(|day| (1..=31).contains(&day)) && is_clock(time)
        }
        _ => false,
    };
    is_pid && is_then
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `12:00:00`, with a fraction or without.
fn is_clock(text: &str) -> bool {
    let is_clock = |text: &[u8]| {
        text.len() == 8
            && text.iter().zip(b"00:00:00").all(|(byte, like)| match like {
                b':' => byte == like,
                _ => byte.is_ascii_digit(),
            })
    };
    match split_at_byte(text.as_bytes(), b'.') {
        Some((clock, fraction)) => is_clock(clock) && fraction.iter().all(u8::is_ascii_digit),
        None => is_clock(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "RUNNER_VITALS ts= run=k3x9 seq=1";

    #[test]
    fn what_tools_put_before_a_line_is_taken_off() {
        for (head, name) in [
            ("runner-1  | ", Some("runner-1")),
            ("my_app.runner-1 | ", Some("my_app.runner-1")),
            ("runner-1  | 2026-06-04T12:00:00.123456789Z ", Some("runner-1")),
            ("runner-7-abcde main ", Some("runner-7-abcde")),
            ("ci runner-7-abcde main ", Some("runner-7-abcde")),
            ("runner-7.example main 2026-06-04T12:00:00.123456789+02:00 ", Some("runner-7.example")),
            ("Nov 28 12:00:00 host-1 runner.service[123]: ", None),
            ("Nov  8 12:00:00.123456 host.example run-job.sh[9]: ", None),
            ("2026-11-28T12:00:00+0000 host unit[123]: ", None),
            ("2026-11-28T12:00:00.123456+00:00 host unit[123]: ", None),
        ] {
            assert_eq!(strip(format!("{head}{LINE}").as_bytes()), Some((LINE.as_bytes(), name)), "{head}");
        }
    }

    #[test]
    fn words_before_a_line_make_it_what_somebody_said() {
        for head in [
            "",
            " ",
            "+ echo ",
            "echo ",
            "please echo ",
            "a b c ",
            "- - ",
            "x | ",
            "a b | ",
            "grep -F ",
            "stdout F ",
            "runner-1 | yesterday ",
            "runner-1 || ",
            "a-1 b c d ",
            "a-1 b: ",
            "Nov 28 12:00:00 host unit: ",
            "Now 28 12:00:00 host unit[1]: ",
            "Nov 32 12:00:00 host unit[1]: ",
            "Nov 28 noon host unit[1]: ",
            "Nov 28 12:00:00 host unit[x]: ",
            "Nov 28 12:00:00 host unit[1]: say ",
            "runner-1  |",
        ] {
            let is_said = strip(format!("{head}{LINE}").as_bytes()).is_none();
            assert_eq!(is_said, head != "x | ", "{head:?}");
        }
        assert_eq!(strip(b"runner-1  | RUNNER_VITALSX"), None);
    }
}
