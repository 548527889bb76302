//! The captured trails, each with its cause.

use runner_vitals::hub::diagnose::cause::Cause::{self, *};
use runner_vitals::hub::diagnose::verdict::Confidence;

use crate::support::{folder, verdict};

/// A scenario of `tests/microvm/scenario.rs`, its primary cause, and what else is right to say of a part of its trail.
///
/// Every probe was told to stop in the end but those of guests that died. Where the trouble lasted until then, it is the cause.
pub(crate) const TRAILS: [(&str, Cause, &[Cause]); 27] = [
    ("cgroup-none", GuestOom, &[]),
    ("cgroup-v1", CgroupOom, &[MemoryThrash]),
    // A parallel build is no trouble.
    ("cpu-busy", Stopped, &[]),
    ("cpu-quota", CpuThrottled, &[]),
    ("cpu-starve", CpuStarved, &[]),
    ("disk-full", DiskFull, &[]),
    ("held", Paused, &[]),
    ("idle", Stopped, &[]),
    ("inodes-full", InodesFull, &[]),
    ("livelock", MemoryThrash, &[GuestOom]),
    ("oom-adj", GuestOom, &[]),
    ("oom-cgroup", CgroupOom, &[]),
    ("oom-group", OomGroup, &[CgroupOom, MemoryThrash]),
    ("oom-guest-fast", GuestOom, &[]),
    ("oom-guest", GuestOom, &[]),
    ("oom-sidecar", SidecarOom, &[]),
    // Page cache that fills a cgroup is none either.
    ("page-cache", Stopped, &[]),
    // The kernel panics instead of killing: the last lines show memory at its end, and silence.
    ("panic-on-oom", GuestOom, &[MemoryThrash]),
    // Its clocks stood still with it: nobody inside can know.
    ("paused", Stopped, &[]),
    ("pids-full", PidsExhausted, &[]),
    ("power-cut", OutsideGuest, &[]),
    ("power-off", OutsideGuest, &[]),
    ("psi-off", GuestOom, &[]),
    ("reboot", OutsideGuest, &[]),
    // Told to stop right behind a kill of a process that was meant to be killed first.
    ("sigterm", Stopped, &[GuestOom]),
    // The file is read through the page cache as fast as the one CPU can: memory is not short, the CPU is.
    ("thrash-files", CpuStarved, &[IoStall]),
    ("thrash-high", MemoryThrash, &[]),
];

#[test]
fn every_captured_trail_has_its_cause() {
    let mut files: Vec<String> =
        std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, TRAILS.map(|(name, ..)| format!("{name}.log")));
    for (name, cause, _) in TRAILS {
        let verdict = verdict(&crate::support::fixture(name));
        assert_eq!(verdict.cause, cause, "{name}: {verdict:#?}");
        assert!(verdict.confidence >= Confidence::Medium, "{name}");
    }
}

#[test]
fn those_that_were_well_are_surely_so() {
    for name in ["idle", "cpu-busy", "page-cache", "paused", "sigterm", "power-cut", "power-off", "reboot"] {
        assert_eq!(verdict(&crate::support::fixture(name)).confidence, Confidence::High, "{name}");
    }
}

#[test]
fn a_verdict_says_when_by_what_and_what_it_was_not() {
    let verdict = verdict(&crate::support::fixture("power-cut"));
    assert_eq!((verdict.last_ms, verdict.next_due_ms), (Some(1_795_547_064_205), Some(1_795_547_065_205)));
    let out = verdict.ruled_out.iter().find(|other| other.cause == GuestOom).unwrap();
    assert!(out.because[0].says.contains("did not move; at least 185 MiB of 218 MiB"), "{out:?}");
    let verdict = crate::support::verdict(&crate::support::fixture("oom-cgroup"));
    assert_eq!(verdict.because[0].lines[0].place.line, 21, "the kernel's own word");
    assert!(verdict.change[0].contains("peak was 64 MiB of 64 MiB, so 96 MiB"), "{:?}", verdict.change);
}
