//! Any lines of a log: a token is never seen, whatever stands around it, and masking makes little more of a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::follow::mask::{Behind, MASK, Masker, scan};
use runner_vitals::probe::follow::split::Splitter;

/// Bodies of tokens; the one with dots is a JWT's.
const SECRETS: [&str; 4] = [
    "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
    "xoxb-123456789012-abcdefghij",
    "glpat-AbCdEfGhIjKlMnOpQrSt",
];

fuzz_target!(|text: &[u8]| {
    for secret in SECRETS {
        let (before, behind) = text.split_at(text.len() / 2);
        let line = [before, b" ", secret.as_bytes(), b" ", behind].concat();
        assert!(!has(&masked(&line), secret));
        assert!(lines(&line).iter().all(|line| !has(line, secret)));
    }
    let all: usize = lines(text).iter().map(|line| line.len()).sum();
    assert!(all <= (text.len() + 1) * (MASK.len() + 1));
});

fn masked(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    scan(text, Behind::Nothing, &mut out);
    out
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut splitter, mut masker, mut lines) = (Splitter::default(), Masker::default(), Vec::new());
    splitter.take(text, |raw| {
        let mut out = Vec::new();
        masker.line(raw, &mut out);
        lines.push(out);
    });
    let mut begun = Vec::new();
    masker.begun(splitter.begun(), &mut begun);
    lines.push(begun);
    lines
}

fn has(text: &[u8], secret: &str) -> bool {
    text.windows(secret.len()).any(|window| window == secret.as_bytes())
}
