//! What /proc says of a running process.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// USER_HZ: a tick of /proc/PID/stat, on every architecture that the probe is built for.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of all threads, to the nanosecond, as it was when each of them last stopped running
/// (/proc/PID/task/TID/schedstat).
pub(crate) fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a running process");
    // A thread may end meanwhile.
    let of_task = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
        Some(Duration::from_nanos(ns.expect("nanoseconds")))
    };
    let cpu = tasks.flatten().filter_map(of_task).sum();
    assert!(cpu > Duration::ZERO, "this kernel does not tell CPU time in /proc/PID/schedstat");
    cpu
}

/// CPU time of a process and of the children that it has waited for, in ticks (/proc/PID/stat).
pub(crate) fn cpu_with_children(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    let (_, behind_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    // Behind the name stands the third field; utime, stime, cutime and cstime are the 14th to 17th.
    let ticks = behind_name.split(' ').skip(11).take(4).map(|ticks| ticks.parse::<u32>().expect("ticks"));
    TICK * ticks.sum::<u32>()
}

/// CPU time of this process, all its threads.
pub(crate) fn own_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).expect("a time over zero")
}

/// The clock that all processes share.
pub(crate) fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).expect("a time over zero")
}

/// Open files.
pub(crate) fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("a running process").count()
}

/// Threads.
pub(crate) fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).expect("a running process").count()
}

/// The most memory that was ever resident, in KiB.
pub(crate) fn peak_resident_kb(pid: u32) -> u32 {
    kb(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// The memory that is locked, in KiB, also what of it was never touched.
#[cfg(feature = "tls")]
pub(crate) fn locked_kb(pid: u32) -> u32 {
    kb(&format!("/proc/{pid}/status"), "VmLck:")
}

/// What this process holds of its own, in KiB: heap and stacks, counted page by page, which VmRSS is not.
pub(crate) fn own_memory_kb() -> u32 {
    kb("/proc/self/smaps_rollup", "Anonymous:")
}

fn kb(path: &str, key: &str) -> u32 {
    let text = fs::read_to_string(path).expect("a running process");
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_suffix("kB"));
    value.and_then(|value| value.trim().parse().ok()).expect(key)
}
