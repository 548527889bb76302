//! The causes that a verdict can name. `docs/VERDICTS.md` has them in words.

/// What ended a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The guest's memory ran out.
    GuestOom,
    /// The runner's own cgroup met its limit.
    CgroupOom,
    /// Another cgroup of the guest met its limit.
    SidecarOom,
    /// The same as the runner's own, and all of the cgroup was killed at once.
    OomGroup,
    /// Tasks waited for memory, all of them much of the time.
    MemoryThrash,
    /// The workload left no CPU.
    CpuStarved,
    /// The host took the CPUs.
    CpuStolen,
    /// The quota was used up.
    CpuThrottled,
    /// Everything waited for disks.
    IoStall,
    /// A watched path had no room.
    DiskFull,
    /// A watched path had no inodes.
    InodesFull,
    /// There could be no more processes.
    PidsExhausted,
    /// The kernel failed.
    KernelFault,
    /// The agent ended and was not told to.
    AgentCrashed,
    /// What the guest sent was lost.
    NetworkLost,
    /// The guest stood still.
    Paused,
    /// The probe was told to stop.
    Stopped,
    /// The job ended.
    Finished,
    /// Silence that nothing in the guest explains.
    OutsideGuest,
    /// There are no samples, or only the first ones.
    NoVitals,
    /// Nothing says enough.
    Inconclusive,
}

impl Cause {
    /// Every cause, in the order of the documentation.
    pub const ALL: [Self; 21] = [
        Self::GuestOom,
        Self::CgroupOom,
        Self::SidecarOom,
        Self::OomGroup,
        Self::MemoryThrash,
        Self::CpuStarved,
        Self::CpuStolen,
        Self::CpuThrottled,
        Self::IoStall,
        Self::DiskFull,
        Self::InodesFull,
        Self::PidsExhausted,
        Self::KernelFault,
        Self::AgentCrashed,
        Self::NetworkLost,
        Self::Paused,
        Self::Stopped,
        Self::Finished,
        Self::OutsideGuest,
        Self::NoVitals,
        Self::Inconclusive,
    ];

    /// Whether it is something that ailed the runner, and not an end or the lack of one.
    #[must_use]
    pub const fn is_trouble(self) -> bool {
        !matches!(self, Self::Stopped | Self::Finished | Self::OutsideGuest | Self::NoVitals | Self::Inconclusive)
    }

    /// The name that outputs and documentation use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GuestOom => "guest_oom",
            Self::CgroupOom => "cgroup_oom",
            Self::SidecarOom => "sidecar_oom",
            Self::OomGroup => "oom_group",
            Self::MemoryThrash => "memory_thrash",
            Self::CpuStarved => "cpu_starved",
            Self::CpuStolen => "cpu_stolen",
            Self::CpuThrottled => "cpu_throttled",
            Self::IoStall => "io_stall",
            Self::DiskFull => "disk_full",
            Self::InodesFull => "inodes_full",
            Self::PidsExhausted => "pids_exhausted",
            Self::KernelFault => "kernel_fault",
            Self::AgentCrashed => "agent_crashed",
            Self::NetworkLost => "network_lost",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
            Self::OutsideGuest => "outside_guest",
            Self::NoVitals => "no_vitals",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// What it means, in a sentence.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::GuestOom => "the guest's memory ran out",
            Self::CgroupOom => "the runner's own cgroup met its memory limit",
            Self::SidecarOom => "another cgroup of the guest met its memory limit",
            Self::OomGroup => "the runner's cgroup met its memory limit and was killed whole",
            Self::MemoryThrash => "tasks waited for memory",
            Self::CpuStarved => "the workload left no CPU for the runner",
            Self::CpuStolen => "the host took the guest's CPUs",
            Self::CpuThrottled => "the CPU quota was used up",
            Self::IoStall => "tasks waited for disks",
            Self::DiskFull => "a watched path had no room left",
            Self::InodesFull => "a watched path had no inodes left",
            Self::PidsExhausted => "no more processes could be started",
            Self::KernelFault => "the guest's kernel failed",
            Self::AgentCrashed => "the runner's agent ended, and no line tells why it should",
            Self::NetworkLost => "what the guest sent did not arrive",
            Self::Paused => "the guest stood still, as one that its host stops",
            Self::Stopped => "it was told to stop",
            Self::Finished => "the job ended",
            Self::OutsideGuest => "silence that nothing in the guest explains: look outside of it",
            Self::NoVitals => "there are no samples, or only the first ones",
            Self::Inconclusive => "the lines do not say",
        }
    }
}
