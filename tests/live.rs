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

/// 10,000 members in 64 MiB: with as much for the load they keep under 128.
const BYTES_A_MEMBER: usize = (64 << 20) / 10_000;

const T0: i64 = 1_780_574_400_000;

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let row = status.lines().find_map(|row| row.strip_prefix("RssAnon:")).unwrap();
    row.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Each has some of every event there is, a full name, and as many jobs as are kept.
#[test]
fn a_member_is_held_in_little_room() {
    let mut live = Live::new(FleetFile::default(), T0);
    let before = resident_bytes();
    let count = MEMBERS / 50;
    for nth in 0..count {
        let name = format!("runner-{nth:04}-{}", "x".repeat(40));
        for seq in 0..45_u64 {
            let run = RunId::from_random(seq * 41 + 5);
            let head = |run: RunId| {
                format!(
                    "RUNNER_VITALS ts=2026-06-04T12:{seq:02}:00.000Z run={} seq={seq} runner.name={name} runner.env=production runner.fleet=linux-x64-large runner.image=registry.example/runner:2026-06-04",
                    run.as_str()
                )
            };
            let phase = ["ready", "claimed", "ended"][usize::try_from(seq % 3).unwrap()];
            let probe = RunId::parse("k3x9").unwrap();
            let long = "m".repeat(200);
            let mut events = vec![
                format!("{} event=phase phase={phase} boot.id=b uptime.ms={}", head(run), (seq + 1) * 60_000),
                format!(
                    "{} event=about boot.id=fde637d9-fe92-4fa8-a3de-c055e757ace2 interval.ms=5000 mem.level=/x psi=on kmsg=on",
                    head(probe)
                ),
            ];
            for (at, event) in [
                "kmsg.oom scope=guest victim.comm=node cgroup=/x",
                "oom source=own delta=1",
                "kmsg.io dev=vda",
                "agent state=vanished role=agent comm=Runner.Listener",
                "disk path=/",
                "gap kind=paused ms=9",
                "pressure resource=cpu kind=psi",
            ]
            .iter()
            .enumerate()
            {
                events.push(
                    format!("{} event={event} msg={long}", head(probe))
                        .replace(&format!("seq={seq} "), &format!("seq={} ", seq * 10 + u64::try_from(at).unwrap())),
                );
            }
            let sample = format!("{} load1=0.10", head(probe));
            let batch = Batch {
                name: &name,
                events: events.iter().map(String::as_str).collect(),
                sample: Some(Sample { text: &sample, run: probe, seq, at_ms: None }),
                clock: Clock::Received,
            };
            live.take(&batch, T0 + i64::try_from(seq).unwrap() * 60_000);
        }
    }
    assert_eq!(live.now(T0).members, count);
    let each = (resident_bytes() - before) / count;
    println!("{each} bytes a member");
    assert!(each <= BYTES_A_MEMBER, "{each} bytes a member, {BYTES_A_MEMBER} are allowed");
}
