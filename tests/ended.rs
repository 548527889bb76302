//! What `vitals-hub fleet` holds of guests that are over: a process of its own, so that nothing else is in the figure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(all(feature = "hub", target_os = "linux"))]

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use runner_vitals::hub::fleet::file::FleetFile;
use runner_vitals::hub::fleet::look::{Settings, look_at};
use runner_vitals::hub::trail::{Book, read};
use runner_vitals::line::RunId;

/// A quarter of those of a day on which 600 are there at a time and each lives for five minutes.
const GUESTS: u64 = 43_200;

/// All of that day then have 211 MiB.
const BYTES_A_GUEST: usize = 1280;

const T0_MS: u64 = 1_780_531_200_000;

#[test]
fn a_guest_that_is_over_is_held_in_little_room() {
    let mut book = Book::of_stages();
    let source = book.source("-");
    // What a reading takes by itself.
    read::read(guest(0).as_bytes(), source, &mut book).unwrap();
    let before = resident_bytes();
    for nth in 1..GUESTS {
        read::read(guest(nth).as_bytes(), source, &mut book).unwrap();
    }
    let settings = Settings { at_ms: None, window_ms: 86_400_000, long_ready_ms: 3_600_000, forgiven_ms: 21_600_000 };
    let (runners, _) = book.into_closed();
    let seen = look_at(runners, &FleetFile::default(), settings, i64::MAX);
    let figures = &seen.fleets[0].figures;
    assert_eq!((figures.runners, figures.jobs.ended), (43_200, 43_200));
    let each = (resident_bytes() - before) / usize::try_from(GUESTS).unwrap();
    println!("{each} bytes a guest");
    assert!(each <= BYTES_A_GUEST, "{each} bytes a guest, {BYTES_A_GUEST} are allowed");
}

/// The most that was ever resident.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let row = status.lines().find_map(|row| row.strip_prefix("VmHWM:")).unwrap();
    row.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// The lines of a guest that has one job.
fn guest(nth: u64) -> String {
    let mut text = String::new();
    let who = format!(
        "boot.id=00000000-0000-4000-8000-{nth:012} runner.name=tuist-runner-{:03}-{:05} runner.fleet=linux-4 runner.env=prod runner.image=registry.example/runner:1",
        nth % 600,
        nth / 600
    );
    let mut line = |after_s: u64, run: u64, seq: u64, rest: &str| {
        let at = UNIX_EPOCH + Duration::from_millis(T0_MS + nth * 500 + after_s * 1000);
        let run = RunId::from_random(run);
        let at = humantime::format_rfc3339_millis(at);
        writeln!(text, "RUNNER_VITALS ts={at} run={} seq={seq} {rest} {who}", run.as_str()).unwrap();
    };
    line(0, nth * 5, 1, "event=start interval.ms=3000 guest.cpus=4");
    for (at, (after_s, phase)) in (1..).zip([
        (1, "warming uptime.ms=6000"),
        (30, "ready uptime.ms=35000"),
        (60, "claimed uptime.ms=65000 job.nr=1 waited.ms=900 waited.from=queued"),
        (297, "ended uptime.ms=302000 job.nr=1 job.exit=0 job.result=success"),
    ]) {
        line(after_s, nth * 5 + at, 1, &format!("event=phase phase={phase}"));
    }
    for seq in 2..10 {
        line(
            seq * 30,
            nth * 5,
            seq,
            "vm.mem.total.kb=8000000 vm.mem.avail.kb=5000000 oom_kill=0 vm.oom_kill=0 load1=1.40",
        );
    }
    line(299, nth * 5, 10, "event=stop reason=sigterm");
    text
}
