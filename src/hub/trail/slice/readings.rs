//! Which readings of samples are kept, and how.

use std::sync::LazyLock;

use crate::line::field::{self, Field};

macro_rules! readings {
    ($(#[$doc:meta])* $name:ident: $($(#[$row:meta])* $row_name:ident),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$row])* $row_name),+ }
        impl $name {
            pub(super) const COUNT: usize = [$($name::$row_name),+].len();
        }
    };
}

readings! {
    /// Readings of which the highest is kept: levels, and counts that only rise.
    High:
    /// `late.ms`, tenths.
    Late,
    /// `mem.current`, KiB.
    MemCurrent,
    /// `mem.max`, KiB.
    MemMax,
    /// `mem.high`, KiB.
    MemHigh,
    /// `mem.peak`, KiB.
    MemPeak,
    /// `mem.anon`, KiB.
    MemAnon,
    /// `mem.shmem`, KiB.
    MemShmem,
    /// `oom`.
    Oom,
    /// `oom_kill`.
    OomKill,
    /// `oom_group`.
    OomGroup,
    /// `tree.oom_kill`.
    TreeOomKill,
    /// `vm.oom_kill`.
    VmOomKill,
    /// `vm.refault`.
    Refault,
    /// `vm.allocstall`.
    AllocStall,
    /// `procs.blocked`.
    Blocked,
    /// `pids.used.pct`, tenths.
    PidsUsed,
    /// `pids.fail`.
    PidsFail,
    /// `disk.used.pct`, tenths.
    DiskUsed,
    /// `inode.used.pct`, tenths.
    InodeUsed,
    /// `tcp.retrans`.
    Retrans,
    /// `agent.wait.ms`.
    AgentWait,
    /// `sink.http.dropped`.
    HttpDropped,
    /// `sink.loki.dropped`.
    LokiDropped,
    /// `vm.mem.total.kb`.
    MemTotal,
}

readings! {
    /// Readings of which the lowest is kept.
    Low:
    /// `vm.mem.avail.kb`.
    MemAvail,
    /// `disk.avail.kb`.
    DiskAvail,
    /// `disk.used.pct`, tenths.
    DiskUsed,
    /// `inode.used.pct`, tenths.
    InodeUsed,
    /// `oom`.
    Oom,
    /// `oom_kill`.
    OomKill,
    /// `oom_group`.
    OomGroup,
    /// `vm.oom_kill`.
    VmOomKill,
}

readings! {
    /// Percentages of which the mean over the samples is kept, tenths.
    Mean:
    /// `cpu.busy.pct`.
    CpuBusy,
    /// `cpu.stall.pct`.
    CpuStall,
    /// `mem.stall.pct`.
    MemStall,
    /// `io.stall.pct`.
    IoStall,
    /// `cpu.steal.pct`.
    CpuSteal,
    /// `cpu.throttled.pct`.
    CpuThrottled,
    /// `cpu.iowait.pct`.
    CpuIowait,
}

readings! {
    /// Readings of which the last is kept.
    Last:
    /// `vm.mem.avail.kb`.
    MemAvail,
    /// `load1`, hundredths.
    Load1,
    /// `cpu.psi.some.avg10`, tenths.
    CpuPsi,
    /// `mem.psi.full.avg10`, tenths.
    MemPsiFull,
    /// `io.psi.some.avg10`, tenths.
    IoPsi,
    /// `agent.state`: its letter.
    AgentState,
}

/// Where a reading of the table goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goes {
    High(High),
    Low(Low),
    Mean(Mean),
    Last(Last),
    Burst,
}

/// Which readings are kept, and how. Bytes are kept as KiB: no verdict turns on less.
const KEPT: &[(&Field, &[Goes])] = &[
    (field::LATE, &[Goes::High(High::Late)]),
    (field::MEM_CURRENT, &[Goes::High(High::MemCurrent)]),
    (field::MEM_MAX, &[Goes::High(High::MemMax)]),
    (field::MEM_HIGH, &[Goes::High(High::MemHigh)]),
    (field::MEM_PEAK, &[Goes::High(High::MemPeak)]),
    (field::MEM_ANON, &[Goes::High(High::MemAnon)]),
    (field::MEM_SHMEM, &[Goes::High(High::MemShmem)]),
    (field::OOM, &[Goes::High(High::Oom), Goes::Low(Low::Oom)]),
    (field::OOM_KILL, &[Goes::High(High::OomKill), Goes::Low(Low::OomKill)]),
    (field::OOM_GROUP, &[Goes::High(High::OomGroup), Goes::Low(Low::OomGroup)]),
    (field::TREE_OOM_KILL, &[Goes::High(High::TreeOomKill)]),
    (field::VM_OOM_KILL, &[Goes::High(High::VmOomKill), Goes::Low(Low::VmOomKill)]),
    (field::VM_REFAULT, &[Goes::High(High::Refault)]),
    (field::VM_ALLOCSTALL, &[Goes::High(High::AllocStall)]),
    (field::PROCS_BLOCKED, &[Goes::High(High::Blocked)]),
    (field::PIDS_USED, &[Goes::High(High::PidsUsed)]),
    (field::PIDS_FAIL, &[Goes::High(High::PidsFail)]),
    (field::DISK_USED, &[Goes::High(High::DiskUsed), Goes::Low(Low::DiskUsed)]),
    (field::DISK_AVAIL, &[Goes::Low(Low::DiskAvail)]),
    (field::INODE_USED, &[Goes::High(High::InodeUsed), Goes::Low(Low::InodeUsed)]),
    (field::TCP_RETRANS, &[Goes::High(High::Retrans)]),
    (field::AGENT_WAIT, &[Goes::High(High::AgentWait)]),
    (field::SINK_HTTP_DROPPED, &[Goes::High(High::HttpDropped)]),
    (field::SINK_LOKI_DROPPED, &[Goes::High(High::LokiDropped)]),
    (field::VM_MEM_TOTAL, &[Goes::High(High::MemTotal)]),
    (field::VM_MEM_AVAIL, &[Goes::Low(Low::MemAvail), Goes::Last(Last::MemAvail)]),
    (field::CPU_BUSY, &[Goes::Mean(Mean::CpuBusy)]),
    (field::CPU_STALL, &[Goes::Mean(Mean::CpuStall)]),
    (field::MEM_STALL, &[Goes::Mean(Mean::MemStall)]),
    (field::IO_STALL, &[Goes::Mean(Mean::IoStall)]),
    (field::CPU_STEAL, &[Goes::Mean(Mean::CpuSteal)]),
    (field::CPU_THROTTLED, &[Goes::Mean(Mean::CpuThrottled)]),
    (field::CPU_IOWAIT, &[Goes::Mean(Mean::CpuIowait)]),
    (field::LOAD1, &[Goes::Last(Last::Load1)]),
    (field::CPU_PSI_SOME, &[Goes::Last(Last::CpuPsi)]),
    (field::MEM_PSI_FULL, &[Goes::Last(Last::MemPsiFull)]),
    (field::IO_PSI_SOME, &[Goes::Last(Last::IoPsi)]),
    (field::BURST, &[Goes::Burst]),
];

/// How the readings of a field are kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    pub(super) goes: &'static [Goes],
    /// Bytes become KiB.
    pub(super) shift: u32,
}

/// By the row of [`field::ALL`]: how its readings are kept.
static KEPT_BY_ROW: LazyLock<Vec<Kept>> = LazyLock::new(|| {
    let kept = |field: &&Field| Kept {
        goes: KEPT.iter().find(|(kept, _)| kept.key == field.key).map_or(&[][..], |(_, goes)| *goes),
        shift: if field.unit == field::Unit::Bytes { 10 } else { 0 },
    };
    field::ALL.iter().map(kept).collect()
});

/// How the readings of each field are kept, by its row in [`field::ALL`].
#[must_use]
pub fn kept() -> &'static [Kept] {
    &KEPT_BY_ROW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kept_field_is_in_the_table_once() {
        for (field, _) in KEPT {
            assert!(field::find(field.key).is_some());
            assert_eq!(KEPT.iter().filter(|(other, _)| other.key == field.key).count(), 1, "{}", field.key);
        }
    }
}
