//! Every source of a sample: a parser a kernel file, pure; their names, and how each of them fares.

pub mod cgroup;
pub mod darwin;
pub mod disk;
pub mod fault;
pub mod kmsg;
pub mod loadavg;
pub mod meminfo;
pub mod net;
pub mod pressure;
pub mod process;
pub mod stat;
pub mod task_table;
pub(super) mod text;
pub mod vmstat;

use super::kernel::Trouble;

macro_rules! sources {
    ($($name:ident $text:literal)+) => {
        /// One source, by the name that lines give it: the file's, in its v2 spelling.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Id { $(#[doc = $text] $name),+ }

        impl Id {
            /// Every source.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name in lines.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

sources! {
    Meminfo "meminfo"
    Stat "stat"
    Loadavg "loadavg"
    Vmstat "vmstat"
    PsiCpu "psi.cpu"
    PsiMemory "psi.memory"
    PsiIo "psi.io"
    NetDev "net.dev"
    NetSnmp "net.snmp"
    MemoryCurrent "memory.current"
    MemoryPeak "memory.peak"
    MemoryMax "memory.max"
    MemoryHigh "memory.high"
    MemorySwap "memory.swap"
    MemoryStat "memory.stat"
    MemoryEvents "memory.events"
    TreeEvents "tree.memory.events"
    CpuStat "cpu.stat"
    PidsCurrent "pids.current"
    PidsMax "pids.max"
    PidsEvents "pids.events"
    Disk "disk"
}

/// How each source fared when it was last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health(Vec<Result<(), Trouble>>);

impl Default for Health {
    fn default() -> Self {
        Self(vec![Ok(()); Id::ALL.len()])
    }
}

impl Health {
    /// How this source fared.
    ///
    /// # Errors
    /// Its trouble, where it has one.
    pub fn of(&self, id: Id) -> Result<(), Trouble> {
        self.iter().find(|(other, _)| *other == id).map_or(Ok(()), |(_, health)| health)
    }

    /// Every source with how it fared.
    pub fn iter(&self) -> impl Iterator<Item = (Id, Result<(), Trouble>)> + Clone {
        Id::ALL.iter().copied().zip(self.0.iter().copied())
    }

    /// Notes how a source fared.
    pub fn set(&mut self, id: Id, health: Result<(), Trouble>) {
        let mut slots = Id::ALL.iter().zip(&mut self.0);
        if let Some((_, slot)) = slots.find(|(other, _)| **other == id) {
            *slot = health;
        }
    }
}
