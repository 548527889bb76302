//! What a server answers with: a status, two dates, a body; the first two bytes are the status.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use runner_vitals::net::date::{parse_http_date, parse_retry_after};
use runner_vitals::probe::sink::network::http::{Verdict, judge};

const LINES: u64 = 7;

fuzz_target!(|answer: &[u8]| {
    let Some((status, body)) = answer.split_first_chunk::<2>() else { return };
    for status in [u16::from_be_bytes(*status), 400] {
        match judge(status, body, LINES) {
            Verdict::Out { bad } => assert!(bad <= LINES && matches!(status, 204 | 400)),
            Verdict::Refused => assert!((400..500).contains(&status)),
            _ => assert_ne!(status, 400),
        }
    }
    let Ok(text) = std::str::from_utf8(body) else { return };
    if let Some(date) = parse_http_date(text) {
        assert_eq!(parse_retry_after(text, date), Some(Duration::ZERO));
        assert!(date >= SystemTime::UNIX_EPOCH || text.contains(" 1"));
    }
    let _ = parse_retry_after(text, SystemTime::UNIX_EPOCH);
});
