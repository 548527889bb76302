//! Every source of a sample, read in one pass, and how each of them fares.

pub mod cgroup;
pub mod disk;
pub mod kmsg;
pub mod loadavg;
pub mod meminfo;
pub mod net;
pub mod pressure;
pub mod stat;
pub(super) mod text;
pub mod vmstat;

use rustix::io::Errno;

use super::cgroup_files::CgroupFiles;
use super::kernel::{Buffer, KernelFile, Root, Trouble};
use super::sample::{Cgroup, Sample};
use cgroup::Limit;

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

/// The guest's own files, kept open.
#[derive(Debug)]
pub struct Sources {
    buffer: Buffer,
    health: Health,
    meminfo: KernelFile,
    stat: KernelFile,
    loadavg: KernelFile,
    vmstat: KernelFile,
    psi_cpu: KernelFile,
    psi_memory: KernelFile,
    psi_io: KernelFile,
    net_dev: KernelFile,
    net_snmp: KernelFile,
    /// The watched cgroup's files; the slow thread makes a new set when they changed.
    pub cgroup: Box<CgroupFiles>,
}

impl Sources {
    /// Opens what there is.
    #[must_use]
    pub fn open(root: &Root, cgroup: Box<CgroupFiles>) -> Self {
        let open = |path: &str| KernelFile::open(root, path);
        Self {
            buffer: Buffer::default(),
            health: Health::default(),
            meminfo: open("/proc/meminfo"),
            stat: open("/proc/stat"),
            loadavg: open("/proc/loadavg"),
            vmstat: open("/proc/vmstat"),
            psi_cpu: open("/proc/pressure/cpu"),
            psi_memory: open("/proc/pressure/memory"),
            psi_io: open("/proc/pressure/io"),
            net_dev: open("/proc/net/dev"),
            net_snmp: open("/proc/net/snmp"),
            cgroup,
        }
    }

    /// How each source fared in the last pass.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Notes how the disks fared, which are read elsewhere.
    pub fn set_disk_health(&mut self, health: Result<(), Trouble>) {
        self.health.set(Id::Disk, health);
    }

    /// Every file that a pass reads.
    pub fn files(&self) -> impl Iterator<Item = &KernelFile> {
        let guest = [&self.meminfo, &self.stat, &self.loadavg, &self.vmstat, &self.psi_cpu, &self.psi_memory];
        let guest = guest.into_iter().chain([&self.psi_io, &self.net_dev, &self.net_snmp]);
        guest.chain(self.cgroup.files()).filter(|file| file.is_open())
    }

    /// Whether the watched cgroup is gone, so that its files have to be opened anew.
    #[must_use]
    pub fn cgroup_is_gone(&self) -> bool {
        self.cgroup.selection.is_gone
            || self.health.iter().any(|(_, health)| matches!(health, Err(Trouble::Absent(Errno::NODEV))))
    }

    /// Reads everything but the disks into `sample`. Allocates nothing, opens nothing.
    pub fn read(&mut self, sample: &mut Sample) {
        let mut pass = Pass { buffer: &mut self.buffer, health: &mut self.health };
        sample.meminfo = pass.take(Id::Meminfo, &self.meminfo, some(meminfo::parse)).unwrap_or_default();
        sample.stat = pass.take(Id::Stat, &self.stat, some(stat::parse)).unwrap_or_default();
        sample.loadavg = pass.take(Id::Loadavg, &self.loadavg, loadavg::parse);
        sample.vmstat = pass.take(Id::Vmstat, &self.vmstat, some(vmstat::parse)).unwrap_or_default();
        let psi = some(pressure::parse);
        sample.cpu_pressure = pass.take(Id::PsiCpu, &self.psi_cpu, &psi).unwrap_or_default();
        sample.memory_pressure = pass.take(Id::PsiMemory, &self.psi_memory, &psi).unwrap_or_default();
        sample.io_pressure = pass.take(Id::PsiIo, &self.psi_io, &psi).unwrap_or_default();
        sample.net = pass.take(Id::NetDev, &self.net_dev, net::parse_dev);
        sample.tcp_retrans = pass.take(Id::NetSnmp, &self.net_snmp, net::parse_tcp_retrans);
        read_cgroup(&mut pass, &self.cgroup, &mut sample.cgroup);
    }
}

fn read_cgroup(pass: &mut Pass, files: &CgroupFiles, cgroup: &mut Cgroup) {
    cgroup.files_id = files.id;
    let limit = |limit: Option<Limit>| limit.and_then(Limit::at);
    cgroup.mem_current = pass.take(Id::MemoryCurrent, &files.mem_current, cgroup::parse_count);
    cgroup.mem_peak = pass.take(Id::MemoryPeak, &files.mem_peak, cgroup::parse_count);
    cgroup.mem_max = limit(pass.take(Id::MemoryMax, &files.mem_max, cgroup::parse_limit));
    cgroup.mem_high = limit(pass.take(Id::MemoryHigh, &files.mem_high, cgroup::parse_limit));
    let swap = pass.take(Id::MemorySwap, &files.mem_swap, cgroup::parse_count);
    cgroup.mem_swap = if files.is_v1 { swap_of_memsw(swap, cgroup.mem_current) } else { swap };
    cgroup.mem_stat = pass.take(Id::MemoryStat, &files.mem_stat, some(cgroup::parse_memory_stat)).unwrap_or_default();
    let events = some(cgroup::parse_memory_events);
    cgroup.events = pass.take(Id::MemoryEvents, &files.mem_events, &events).unwrap_or_default();
    cgroup.tree_oom_kill = pass.take(Id::TreeEvents, &files.tree_events, &events).and_then(|events| events.oom_kill);
    cgroup.throttling.clear();
    for file in &files.cpu_stat {
        cgroup.throttling.push(pass.take(Id::CpuStat, file, cgroup::parse_throttling));
    }
    cgroup.pids_current = pass.take(Id::PidsCurrent, &files.pids_current, cgroup::parse_count);
    cgroup.pids_max = limit(pass.take(Id::PidsMax, &files.pids_max, cgroup::parse_limit));
    cgroup.pids_fail = pass.take(Id::PidsEvents, &files.pids_events, cgroup::parse_pids_events);
}

/// v1 counts memory and swap together. The two files are read at two moments: less than nothing is nothing.
fn swap_of_memsw(memsw: Option<u64>, mem: Option<u64>) -> Option<u64> {
    Some(memsw?.saturating_sub(mem?))
}

/// A parser that finds nothing at all did not understand the file.
fn some<T: Default + PartialEq>(parse: fn(&[u8]) -> T) -> impl Fn(&[u8]) -> Option<T> {
    move |text| Some(parse(text)).filter(|value| *value != T::default())
}

/// One pass over the files: what every read needs, and where its outcome goes.
struct Pass<'a> {
    buffer: &'a mut Buffer,
    health: &'a mut Health,
}

impl Pass<'_> {
    fn take<T>(&mut self, id: Id, file: &KernelFile, parse: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let reading = file.read(self.buffer).and_then(|text| parse(text).ok_or(Trouble::Garbled));
        self.health.set(id, reading.as_ref().map(|_| ()).map_err(|trouble| *trouble));
        reading.ok()
    }
}
