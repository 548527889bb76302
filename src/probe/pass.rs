//! One pass over every source: files that are kept open -> [`Sample`].

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::cgroup_files::CgroupFiles;
use super::kernel::{Buffer, KernelFile, Root, Trouble};
use super::sample::{Cgroup, Sample};
use super::source::cgroup::{Limit, MemoryEvents};
use super::source::pressure::{Pressure, Resource};
use super::source::stat::Stat;
use super::source::{Health, Id, cgroup, loadavg, meminfo, net, pressure, stat, vmstat};

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

    /// The event counters alone: those of the watched cgroup, and of its topmost visible ancestor.
    ///
    /// # Errors
    /// Why each of them cannot be read.
    pub fn read_events(&mut self) -> [Result<MemoryEvents, Trouble>; 2] {
        let files = [&self.cgroup.mem_events, &self.cgroup.tree_events];
        files.map(|file| file.read(&mut self.buffer).map(cgroup::parse_memory_events))
    }

    /// The files that become ready when one of those counters moves (v2 only).
    #[must_use]
    pub fn event_fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        let files = [&self.cgroup.mem_events, &self.cgroup.tree_events];
        files.map(|file| file.fd().filter(|_| !self.cgroup.is_v1))
    }

    /// What the limited level holds, into `sample`.
    pub fn read_held(&mut self, sample: &mut Sample) {
        let (files, cgroup) = (&self.cgroup, &mut sample.cgroup);
        let count = |file: &KernelFile, buffer: &mut Buffer| file.read(buffer).ok().and_then(cgroup::parse_count);
        cgroup.mem_current = count(&files.mem_current, &mut self.buffer);
        cgroup.mem_max = count(&files.mem_max, &mut self.buffer);
        let stat = files.mem_stat.read(&mut self.buffer).ok();
        cgroup.mem_stat = stat.map(cgroup::parse_memory_stat).unwrap_or_default();
    }

    /// The buffer, for what is read besides.
    pub fn buffer(&mut self) -> &mut Buffer {
        &mut self.buffer
    }

    /// CPU time and running tasks alone.
    pub fn read_stat(&mut self) -> Option<Stat> {
        self.stat.read(&mut self.buffer).ok().map(stat::parse)
    }

    /// The pressure on one resource alone.
    pub fn read_pressure(&mut self, resource: Resource) -> Option<Pressure> {
        let file = match resource {
            Resource::Memory => &self.psi_memory,
            Resource::Io => &self.psi_io,
            Resource::Cpu => &self.psi_cpu,
        };
        file.read(&mut self.buffer).ok().map(pressure::parse)
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
    cgroup.files_id = files.ids.selection;
    cgroup.counters_id = files.ids.counters;
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
    read_throttling(pass, files, cgroup);
    cgroup.pids_current = pass.take(Id::PidsCurrent, &files.pids_current, cgroup::parse_count);
    cgroup.pids_max = limit(pass.take(Id::PidsMax, &files.pids_max, cgroup::parse_limit));
    cgroup.pids_fail_own = pass.take(Id::PidsEvents, &files.pids_events_own, cgroup::parse_pids_events);
    cgroup.pids_fail = pass.take(Id::PidsEvents, &files.pids_events, cgroup::parse_pids_events);
}

/// One trouble among the levels is the source's; no level with a quota file is a source that is not there.
fn read_throttling(pass: &mut Pass, files: &CgroupFiles, cgroup: &mut Cgroup) {
    let none = files.selection.trouble.unwrap_or(Trouble::Absent(Errno::NOENT));
    let mut health = if files.cpu_stat.is_empty() { Err(none) } else { Ok(()) };
    cgroup.throttling.clear();
    for file in &files.cpu_stat {
        cgroup.throttling.push(pass.take(Id::CpuStat, file, cgroup::parse_throttling));
        health = health.and(pass.health.of(Id::CpuStat));
    }
    pass.health.set(Id::CpuStat, health);
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
