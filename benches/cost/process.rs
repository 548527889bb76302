//! What /proc says of a running process.

use std::fs;
use std::time::Duration;

/// USER_HZ: the ticks of /proc/PID/stat, 100 on every architecture that the probe is built for.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of all threads, to the nanosecond (/proc/PID/task/TID/schedstat); right while they sleep.
pub(crate) fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a running process");
    let of_task = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|ns| ns.parse().ok()).map(Duration::from_nanos)
    };
    let cpu = tasks.flatten().filter_map(of_task).sum();
    assert!(cpu > Duration::ZERO, "this kernel has no /proc/PID/schedstat");
    cpu
}

/// CPU time of a process and of the children that it has waited for, in ticks of 10 ms (/proc/PID/stat).
pub(crate) fn cpu_with_children(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    let (_, behind_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    // The state is the third field of all; utime, stime, cutime and cstime are the 14th to 17th.
    let ticks = behind_name.split(' ').skip(11).take(4).map(|ticks| ticks.parse::<u32>().expect("ticks"));
    TICK * ticks.sum::<u32>()
}

/// Open files and threads.
pub(crate) fn files_and_threads(pid: u32) -> (usize, usize) {
    let entries = |dir: &str| fs::read_dir(format!("/proc/{pid}/{dir}")).expect("a running process").count();
    (entries("fd"), entries("task"))
}

/// The most memory that was ever resident, in KiB.
pub(crate) fn peak_resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    peak.and_then(|peak| peak.trim().parse().ok()).expect("VmHWM")
}
