//! What stands around lines in logs changes no verdict.

use runner_vitals::hub::diagnose::verdict::Verdict;

use crate::support::{fixture, verdict};
use crate::trails::TRAILS;

/// All of a verdict but where its lines stand.
fn told(verdict: &Verdict) -> impl PartialEq + std::fmt::Debug + use<> {
    let because: Vec<String> = verdict.because.iter().map(|said| said.says.clone()).collect();
    (verdict.cause, verdict.score, because, verdict.lines, verdict.missing, verdict.last_ms, verdict.change.clone())
}

/// As a runtime logs a text that it reads in parts of so many bytes, the job's own output in the other stream between them.
fn in_parts(text: &str, bytes: usize, part: impl Fn(&str, &str, bool) -> String) -> String {
    let mut log = String::new();
    for line in text.lines() {
        let mut rest = line;
        while rest.len() > bytes {
            let (first, behind) = rest.split_at(bytes);
            log += &part("stdout", first, false);
            log += &part("stderr", "RUNNER_VITALS says the job", rest.len() % 2 == 0);
            rest = behind;
        }
        log += &part("stdout", rest, true);
    }
    log
}

#[test]
fn lines_in_parts_are_whole_again() {
    let cri = |stream: &str, text: &str, is_end: bool| {
        format!("2026-11-24T18:42:53.123456789Z {stream} {} {text}\n", if is_end { "F" } else { "P" })
    };
    let docker = |stream: &str, text: &str, is_end: bool| {
        let text = if is_end { format!("{text}\n") } else { text.to_owned() };
        serde_json::json!({ "log": text, "stream": stream, "time": "2026-11-24T18:42:53.1Z" }).to_string() + "\n"
    };
    for (name, ..) in TRAILS {
        let text = fixture(name);
        if !text.is_ascii() {
            continue;
        }
        let plain = told(&verdict(&text));
        for bytes in [7, 64, 1000] {
            assert_eq!(told(&verdict(&in_parts(&text, bytes, cri))), plain, "{name} {bytes}");
            assert_eq!(told(&verdict(&in_parts(&text, bytes, docker))), plain, "{name} {bytes}");
        }
    }
}
