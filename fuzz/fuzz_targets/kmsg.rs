//! Records of `/dev/kmsg`, one a line, to the `kmsg.oom` lines of the kills that they tell: each decodes to what was
//! joined.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use runner_vitals::line::field::{self, Field, Kind};
use runner_vitals::line::{Encoder, Line, MAX_LINE_BYTES, RunId};
use runner_vitals::probe::event::{Kill, OomJoiner, Told};
use runner_vitals::probe::source::kmsg::{Scope, parse, parse_oom, unescape};

fuzz_target!(|records: &[u8]| {
    let (mut joiner, mut encoder) = (OomJoiner::default(), Encoder::new(RunId::from_random(0)));
    let (mut told, mut killed) = (0, 0);
    let mut text = Vec::new();
    for record in records.split_inclusive(|byte| *byte == b'\n').filter_map(parse) {
        unescape(record.text, &mut text);
        assert!(text.len() <= record.text.len());
        let Some(oom) = parse_oom(&text) else { continue };
        told += 1;
        // Two records within the patience of a choice, never three.
        let (now, as_told) =
            (Duration::from_millis(600 * told), Told { time_us: record.time_us, text: &text, is_old: told % 2 == 0 });
        let kills = joiner.overdue(now).into_iter().chain(joiner.take(oom, as_told, now).into_iter().flatten());
        for kill in kills.collect::<Vec<_>>() {
            killed += 1;
            check_line(&mut encoder, &kill);
        }
    }
    if let Some(kill) = joiner.rest() {
        killed += 1;
        check_line(&mut encoder, &kill);
    }
    assert!(killed <= told, "{killed} kills of {told} records");
});

fn check_line(encoder: &mut Encoder, kill: &Kill) {
    let mut line = encoder.begin(Kind::KmsgOom, SystemTime::UNIX_EPOCH);
    line.text(field::SCOPE, kill.scope.map(Scope::name))
        .text(field::VICTIM_COMM, Some(&kill.comm))
        .number(field::VICTIM_PID, Some(kill.pid))
        .number(field::VICTIM_RSS, kill.rss_kb)
        .number(field::VICTIM_ADJ, kill.adj)
        .text(field::CGROUP, kill.cgroup.as_ref())
        .number(field::KTS, Some(kill.time_us / 1_000_000))
        .text(field::MSG, Some(&kill.text));
    let bytes = line.finish();
    assert!(bytes.len() <= MAX_LINE_BYTES);
    let line = Line::decode(str::from_utf8(bytes).expect("UTF-8")).expect("what is encoded decodes");
    let clamped = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX));
    assert_eq!(line.event.as_deref(), Some("kmsg.oom"));
    assert_eq!(line.scaled(field::VICTIM_PID), clamped(kill.pid));
    assert_eq!(line.scaled(field::VICTIM_RSS), kill.rss_kb.and_then(clamped));
    assert_eq!(line.scaled(field::VICTIM_ADJ), kill.adj);
    let is_same = |field: &Field, bytes: &[u8]| {
        let (shown, whole) = (line.text(field).expect("a text"), String::from_utf8_lossy(bytes));
        shown == whole || shown.strip_suffix('…').is_some_and(|head| whole.starts_with(head))
    };
    assert!(is_same(field::VICTIM_COMM, kill.comm.as_ref()) && is_same(field::MSG, kill.text.as_ref()));
    assert!(kill.cgroup.as_ref().is_none_or(|cgroup| is_same(field::CGROUP, cgroup.as_ref())));
}
