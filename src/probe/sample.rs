//! What was read at one instant: plain data, every reading an `Option`.

use std::time::Duration;

use super::processes::watched::AgentReading;
use super::source::cgroup::{MemoryEvents, MemoryStat, Throttling};
use super::source::darwin::Compression;
use super::source::disk::Fullest;
use super::source::loadavg::Loadavg;
use super::source::meminfo::Meminfo;
use super::source::net::NetDev;
use super::source::pressure::Pressure;
use super::source::stat::Stat;
use super::source::vmstat::Vmstat;

/// The readings of one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When, on the monotonic clock since the run began.
    pub at: Duration,
    /// The whole guest's memory.
    pub meminfo: Meminfo,
    /// CPU time and blocked tasks.
    pub stat: Stat,
    /// Load averages.
    pub loadavg: Option<Loadavg>,
    /// Event counters of the whole guest.
    pub vmstat: Vmstat,
    /// The level of memory pressure as macOS tells it: 1 normal, 2 warn, 4 critical.
    pub pressure_level: Option<u64>,
    /// What macOS does for want of memory.
    pub compression: Compression,
    /// Pressure on the CPUs.
    pub cpu_pressure: Pressure,
    /// Pressure on memory.
    pub memory_pressure: Pressure,
    /// Pressure on input and output.
    pub io_pressure: Pressure,
    /// Network traffic.
    pub net: Option<NetDev>,
    /// TCP segments sent again.
    pub tcp_retrans: Option<u64>,
    /// The watched cgroup.
    pub cgroup: Cgroup,
    /// The CI runner's own process.
    pub agent: Option<AgentReading>,
    /// Room on the watched paths.
    pub disk: Fullest,
}

/// The readings of the watched cgroup and its levels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Which set of files they are from: rates are not taken across two sets.
    pub files_id: u32,
    /// Which cgroups the OOM counters are of.
    pub counters_id: u32,
    /// Used memory in bytes.
    pub mem_current: Option<u64>,
    /// The most that was used.
    pub mem_peak: Option<u64>,
    /// The limit; `None` too when there is none.
    pub mem_max: Option<u64>,
    /// The soft limit; `None` too when there is none.
    pub mem_high: Option<u64>,
    /// Used swap in bytes.
    pub mem_swap: Option<u64>,
    /// What the memory is used for.
    pub mem_stat: MemoryStat,
    /// OOM counters of the watched cgroup.
    pub events: MemoryEvents,
    /// `oom_kill` of the topmost visible ancestor, where that is another cgroup.
    pub tree_oom_kill: Option<u64>,
    /// Quota periods: the watched cgroup, then its limited ancestors.
    pub throttling: Vec<Option<Throttling>>,
    /// Tasks.
    pub pids_current: Option<u64>,
    /// Their limit; `None` too when there is none.
    pub pids_max: Option<u64>,
    /// Forks refused at the level of that limit.
    pub pids_fail: Option<u64>,
    /// Forks refused in the watched cgroup: up to 6.10 the kernel counts there, from 6.11 on at the limit.
    pub pids_fail_own: Option<u64>,
}
