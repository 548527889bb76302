//! What stands before lines, and what is none.

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
