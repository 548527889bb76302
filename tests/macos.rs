//! The real binary on a real Mac.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "macos")]

#[allow(dead_code, reason = "shared with the tests of Linux, which use all of it")]
#[path = "support/probe.rs"]
mod probe;

use std::process::{Command, Stdio};
use std::time::Instant;

use probe::{PATIENCE, Probe, command};
use runner_vitals::line::Reading;
use runner_vitals::line::field::{self, Field};
use rustix::process::Signal;

/// What a Mac has of the contract.
const TOLD: [&Field; 6] =
    [field::VM_MEM_TOTAL, field::VM_MEM_AVAIL, field::CPU_BUSY, field::LOAD1, field::LOAD5, field::LOAD15];

/// And what it has not.
const EMPTY: [&Field; 10] = [
    field::MEM_CURRENT,
    field::MEM_PEAK,
    field::MEM_MAX,
    field::MEM_SWAP,
    field::OOM,
    field::OOM_KILL,
    field::CPU_PSI_SOME,
    field::MEM_PSI_SOME,
    field::MEM_PSI_FULL,
    field::IO_PSI_SOME,
];

#[test]
fn a_phase_is_one_line_of_the_same_boot() {
    let (lines, status) = Probe::start(&["phase", "claimed", "--waited", "1500"]).finish();
    assert!(status.success() && lines.len() == 1);
    assert_eq!(lines[0].text_of(field::PHASE).as_deref(), Some("claimed"));
    assert!(lines[0].scaled(field::UPTIME).is_some_and(|ms| ms > 0), "{}", lines[0].text);
    let (others, _) = Probe::start(&["--once"]).finish();
    assert_eq!(lines[0].text_of(field::BOOT_ID), others[0].text_of(field::BOOT_ID));
}

#[test]
fn it_says_what_a_mac_feels() {
    let (lines, status) = Probe::start(&["--interval", "1", "--samples", "3"]).finish();
    assert!(status.success());
    let start = &lines[0];
    assert_eq!(start.text_of(field::GUEST_OS).as_deref(), Some("darwin"));
    for field in [field::GUEST_ARCH, field::GUEST_KERNEL, field::BOOT_ID] {
        assert!(start.text_of(field).is_some_and(|text| !text.is_empty()), "{}: {}", field.key, start.text);
    }
    assert_eq!(start.text_of(field::PSI).as_deref(), Some("unsupported"));
    assert_eq!(start.text_of(field::PROTECT).as_deref(), Some("qos"));
    assert_eq!(start.text_of(field::TRIGGERS).as_deref(), Some("memorystatus"));
    let supports = start.text_of(field::SUPPORTS).unwrap();
    assert_eq!(supports, "vm.compressed.kb,vm.pageout,vm.decompress,net.rx.kb,net.tx.kb");
    let samples: Vec<_> = lines.iter().filter(|line| line.is(None)).collect();
    assert_eq!(samples.len(), 3, "{:?}", lines.iter().map(|line| &line.text).collect::<Vec<_>>());
    for sample in &samples {
        for field in TOLD {
            assert!(sample.scaled(field).is_some(), "{}: {}", field.key, sample.text);
        }
        for field in EMPTY {
            assert!(matches!(sample.line().get(field), Some(Reading::Unread)), "{}: {}", field.key, sample.text);
        }
        assert!(matches!(sample.scaled(field::MEM_PRESSURE_LEVEL), Some(1 | 2 | 4)), "{}", sample.text);
    }
    let last = samples[2];
    assert!(last.scaled(field::VM_MEM_AVAIL) < last.scaled(field::VM_MEM_TOTAL));
    assert!(matches!(last.text_of(field::DISK_PATH).as_deref(), Some("/System/Volumes/Data" | "/")), "{}", last.text);
    assert_eq!(lines.last().unwrap().text_of(field::REASON).as_deref(), Some("samples"));
}

#[test]
fn sigterm_and_sigint_bring_a_last_sample_and_the_reason() {
    for (signal, reason) in [(Signal::TERM, "sigterm"), (Signal::INT, "sigint")] {
        let probe = Probe::start(&["--interval", "60"]);
        probe.next_of(None);
        probe.signal(signal);
        let (lines, status) = probe.finish();
        assert!(status.success());
        let [.., sample, stop] = &lines[..] else { panic!("{} lines", lines.len()) };
        assert!(sample.is(None), "{}", sample.text);
        assert_eq!(stop.text_of(field::REASON).as_deref(), Some(reason));
    }
}

#[test]
fn it_ends_with_the_process_that_it_watches() {
    let mut other = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let probe = Probe::start(&["--interval", "60", "--exit-with", &other.id().to_string()]);
    probe.next_of(None);
    // Nobody has waited for it: a zombie has ended.
    drop(other.stdin.take());
    let began = Instant::now();
    let (lines, status) = probe.finish();
    assert!(status.success() && began.elapsed() < PATIENCE);
    assert_eq!(lines.last().unwrap().text_of(field::REASON).as_deref(), Some("parent_exit"));
    other.wait().unwrap();
}

/// As when the job was shorter than it takes to start the probe.
#[test]
fn of_a_process_that_has_ended_before_it_there_is_one_sample() {
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let (lines, status) = Probe::start(&["--interval", "60", "--exit-with", &ended.id().to_string()]).finish();
    assert!(status.success());
    assert!(lines.iter().all(|line| line.line().event.as_deref() != Some("config")), "it is as set");
    let [start, .., sample, stop] = &lines[..] else { panic!("{} lines", lines.len()) };
    assert!(start.is(Some("start")) && sample.is(None), "{}", sample.text);
    assert_eq!(stop.text_of(field::REASON).as_deref(), Some("parent_exit"));
}

/// The agent is this program under another name.
#[test]
fn the_agent_is_found_by_its_name_and_its_end_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vitals-agent");
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_runner-vitals")).arg(&path).status().unwrap().success());
    let mut agent = Command::new(&path).args(["--interval", "60"]).stdout(Stdio::null()).spawn().unwrap();
    let pid = i64::from(agent.id());
    let probe = Probe::start(&["--interval", "1", "--agent", "vitals-agent"]);
    let appeared = probe.next_of(Some("agent"));
    assert_eq!((appeared.text_of(field::STATE).as_deref(), appeared.scaled(field::PID)), (Some("appeared"), Some(pid)));
    let sample = probe.next_of(None);
    assert!(sample.scaled(field::AGENT_RSS).is_some_and(|rss| rss > 100), "{}", sample.text);
    assert!(matches!(sample.text_of(field::AGENT_STATE).as_deref(), Some("R" | "S")), "{}", sample.text);
    agent.kill().unwrap();
    let vanished = probe.next_of(Some("agent"));
    assert_eq!(vanished.text_of(field::STATE).as_deref(), Some("vanished"));
    agent.wait().unwrap();
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    let mut child = command(&["--interval", "1"]).spawn().unwrap();
    drop(child.stdout.take());
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it runs on");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert!(status.success(), "{status}");
}

#[test]
fn what_is_for_linux_is_told() {
    let (lines, status) = Probe::start(&["--once", "--cgroup", "/a"]).finish();
    assert!(status.success());
    assert!(lines.iter().any(|line| line.text_of(field::KEY).as_deref() == Some("--cgroup")));
    let status = command(&["exec", "--", "true"]).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(64));
}
