//! What `vitals-hub serve` holds of the members of its fleets: a process of its own, so that nothing else is in the figure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(all(feature = "hub", target_os = "linux"))]

use std::fs;

use runner_vitals::hub::fleet::file::FleetFile;
use runner_vitals::hub::live::one::Sample;
use runner_vitals::hub::live::{Batch, Clock, Live, MEMBERS};
use runner_vitals::line::RunId;

/// Of one that tells all that is ever kept, in texts as long as they can be: all members together then have 240 MiB.
const BYTES_A_MEMBER: usize = 12 << 10;

const T0: i64 = 1_780_574_400_000;

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let row = status.lines().find_map(|row| row.strip_prefix("RssAnon:")).unwrap();
    row.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Texts are longer in the line than any field allows.
const LONG: usize = 300;

/// As many probes, phases, boots and last words as are kept, each with the longest texts that are kept of it.
#[test]
fn a_member_is_held_in_little_room() {
    let mut live = Live::new(FleetFile::default(), T0);
    let before = resident_bytes();
    let count = MEMBERS / 50;
    for nth in 0..count {
        let name = format!("{nth:04}-{}", "x".repeat(248));
        for seq in 1..=60_u64 {
            let now_ms = T0 + i64::try_from(seq).unwrap() * 60_000;
            let events = events(nth, seq);
            let batch = Batch {
                name: &name,
                events: events.iter().map(String::as_str).collect(),
                sample: Some(Sample { text: "", run: probe(seq), seq: seq * 10 + 9, at_ms: None }),
                clock: Clock::Received,
            };
            live.take(&batch, now_ms);
        }
    }
    assert_eq!(live.now(T0).members, count);
    let each = (resident_bytes() - before) / count;
    println!("{each} bytes a member");
    assert!(each <= BYTES_A_MEMBER, "{each} bytes a member, {BYTES_A_MEMBER} are allowed");
}

/// Two of them take turns.
fn probe(seq: u64) -> RunId {
    RunId::parse(["k3x8", "k3x9"][usize::try_from(seq % 2).unwrap()]).unwrap()
}

/// What a runner tells in the minute `seq`: a phase of a boot, and what its probe says of itself and of an end.
fn events(nth: usize, seq: u64) -> Vec<String> {
    let long = |of: char| format!("{nth:04}{}", of.to_string().repeat(LONG));
    let head = |run: RunId, seq: u64| {
        format!(
            "RUNNER_VITALS ts=2026-06-04T12:{:02}:00.000Z run={} seq={seq} runner.env={} runner.fleet={} runner.image={} runner.created.ts=2026-06-04T11:00:00Z",
            seq.min(59),
            run.as_str(),
            "e".repeat(LONG),
            "f".repeat(LONG),
            long('i'),
        )
    };
    let phase = ["ready", "claimed", "ended"][usize::try_from(seq % 3).unwrap()];
    let boot = format!("{:02}{}", seq / 3, long('b'));
    let polls = "poll.served=9 poll.no_work=9 poll.empty=9 poll.error=9 poll.sum.ms=999 poll.max.ms=99";
    let mut events = vec![
        format!(
            "{} event=phase phase={phase} boot.id={boot} uptime.ms={} waited.ms=700 waited.from=queued {polls}",
            head(RunId::from_random(seq * 41 + 5), 1),
            seq * 60_000
        ),
        format!(
            "{} event=start boot.id={boot} uptime.ms=9000 interval.ms=5000 guest.cpus=4 cgroup.path=/{} mem.level=/{} cpu.quota={} psi={} kmsg={}",
            head(probe(seq), seq * 10),
            long('c'),
            long('l'),
            long('q'),
            long('p'),
            long('k'),
        ),
    ];
    for at in 1..=5 {
        events.push(format!(
            "{} event=kmsg.oom scope=guest victim.comm={} victim.pid=7 cgroup=/{} kts=100.0 msg={}",
            head(probe(seq), seq * 10 + at),
            long('v'),
            long('g'),
            long('m'),
        ));
    }
    events
}
