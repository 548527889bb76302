//! Asks the system for everything that a sample has, into rooms that stay: it allocates only where a list of interfaces or
//! processes is longer than any before it. What is asked for once, when the probe starts ([`guest`]), is not of a sample.

use std::ffi::{CStr, c_int};
use std::io;

use rustix::io::Errno;

use super::agents::Reading;
use crate::probe::guest::Guest;
use crate::probe::kernel::Trouble;
use crate::probe::processes::watched::AgentReading;
use crate::probe::raw::{self, Host};
use crate::probe::sample::Sample;
use crate::probe::source::darwin::host::{self, CpuClock, VM_STATISTICS_BYTES};
use crate::probe::source::darwin::process::{self, KINFO_BYTES, TASK_INFO_BYTES};
use crate::probe::source::darwin::{self, interfaces};
use crate::probe::source::meminfo::Meminfo;
use crate::probe::source::process::Process;
use crate::probe::source::{Health, Id};

/// Bytes of the integers in which Mach counts.
const INTEGER_BYTES: usize = 4;

/// `CPU_STATE_MAX`.
const CPU_STATES: usize = 4;

/// Enough for the longest value that is read by its name, a UUID.
const VALUE_BYTES: usize = 64;

/// More than any list has that is read here: 6,000 processes.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What this system has; all other sources are those of Linux.
const SOURCES: [Id; 6] = [Id::Meminfo, Id::Stat, Id::Loadavg, Id::Vmstat, Id::NetDev, Id::Disk];

/// The system, as it is asked.
#[derive(Debug)]
pub struct Reader {
    host: Host,
    page_bytes: u64,
    cpu: CpuClock,
    list: Vec<u8>,
    processes: Vec<Process>,
}

impl Default for Reader {
    fn default() -> Self {
        let (host, page_bytes) = (Host::this(), raw::kernel_page_bytes());
        Self { host, page_bytes, cpu: CpuClock::default(), list: Vec::new(), processes: Vec::new() }
    }
}

/// How the sources fare before the first reading: those of Linux are absent.
#[must_use]
pub fn first_health() -> Health {
    let mut health = Health::default();
    for id in Id::ALL.iter().filter(|id| !SOURCES.contains(id)) {
        health.set(*id, Err(Trouble::Absent(Errno::NOENT)));
    }
    health
}

/// What does not change while the guest runs.
#[must_use]
pub fn guest() -> Guest {
    let system = rustix::system::uname();
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let uptime = std::time::Duration::try_from(uptime).unwrap_or_default();
    Guest {
        os: Some(system.sysname().to_string_lossy().to_lowercase()),
        arch: Some(system.machine().to_string_lossy().into_owned()),
        kernel: Some(system.release().to_string_lossy().into_owned()),
        cpus: value(c"hw.logicalcpu", darwin::parse_u32).ok(),
        boot_id: value(c"kern.bootsessionuuid", darwin::parse_text).ok(),
        uptime_ms: u64::try_from(uptime.as_millis()).ok(),
        caps: Vec::new(),
    }
}

impl Reader {
    /// Reads all but the agent and the disks, and notes how each source fared.
    pub fn read(&mut self, sample: &mut Sample, health: &mut Health) {
        let memory = self.read_memory(sample);
        health.set(Id::Meminfo, memory);
        health.set(Id::Vmstat, memory);
        sample.pressure_level = value(c"kern.memorystatus_vm_pressure_level", host::parse_pressure_level).ok();
        let ticks = self.cpu_ticks();
        sample.stat.cpu = ticks.ok().map(|ticks| self.cpu.advance(ticks));
        health.set(Id::Stat, ticks.map(drop));
        let loadavg = value(c"vm.loadavg", host::parse_loadavg);
        sample.loadavg = loadavg.ok();
        health.set(Id::Loadavg, loadavg.map(drop));
        let net = self.net();
        sample.net = net.ok();
        health.set(Id::NetDev, net.map(drop));
    }

    /// The level of memory pressure alone.
    #[must_use]
    pub fn pressure_level(&self) -> Option<u64> {
        value(c"kern.memorystatus_vm_pressure_level", host::parse_pressure_level).ok()
    }

    /// All processes. Empty when they could not be listed.
    pub fn processes(&mut self) -> &[Process] {
        let mut name = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_ALL];
        let bytes = list(&mut name, &mut self.list).unwrap_or_default();
        self.processes.clear();
        self.processes.extend(process::parse_all(bytes));
        &self.processes
    }

    /// The process of this number; `None` when it could not be asked for.
    #[must_use]
    pub fn process(&self, pid: u32) -> Option<Reading> {
        let mut name = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, c_int::try_from(pid).ok()?];
        let mut bytes = [0; KINFO_BYTES];
        match raw::sysctl(&mut name, &mut bytes) {
            Ok(0) => Some(Reading::None),
            Ok(count) => process::parse(bytes.get(..count)?).map(Reading::Process),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => Some(Reading::None),
            Err(_) => None,
        }
    }

    /// What a sample says of the agent.
    #[must_use]
    pub fn agent(&self, process: &Process) -> AgentReading {
        let mut bytes = [0; TASK_INFO_BYTES];
        let count = c_int::try_from(process.pid).ok().and_then(|pid| raw::task_info(pid, &mut bytes));
        let task = count.and_then(|count| bytes.get(..count)).and_then(process::parse_task_info);
        AgentReading {
            state: process::state(process, task),
            rss_kb: task.map(|task| task.rss_kb),
            ..AgentReading::default()
        }
    }

    fn read_memory(&self, sample: &mut Sample) -> Result<(), Trouble> {
        let total_kb = value(c"hw.memsize", darwin::parse_u64).map(|bytes| bytes / 1024);
        let vm = self.vm_statistics();
        let swap = value(c"vm.swapusage", host::parse_swap_kb).ok();
        let vm_of = vm.unwrap_or_default();
        sample.meminfo = Meminfo {
            total_kb: total_kb.ok(),
            avail_kb: vm_of.avail_kb(self.page_bytes, total_kb.ok()),
            swap_total_kb: swap.map(|(total, _)| total),
            swap_free_kb: swap.map(|(_, free)| free),
        };
        sample.compression = vm_of.compression(self.page_bytes);
        total_kb.and(vm.map(drop))
    }

    fn vm_statistics(&self) -> Result<host::VmStatistics, Trouble> {
        let mut integers = [0; VM_STATISTICS_BYTES / INTEGER_BYTES];
        let count = self.host.vm_statistics(&mut integers).ok_or(Trouble::Broken(Errno::IO))?;
        let bytes = integers.map(i32::to_le_bytes);
        let bytes = bytes.get(..count).ok_or(Trouble::Garbled)?.as_flattened();
        Ok(host::parse_vm_statistics(bytes))
    }

    fn cpu_ticks(&self) -> Result<host::CpuTicks, Trouble> {
        let mut integers = [0; CPU_STATES];
        let count = self.host.cpu_load(&mut integers).ok_or(Trouble::Broken(Errno::IO))?;
        let bytes = integers.map(i32::to_le_bytes);
        let bytes = bytes.get(..count).ok_or(Trouble::Garbled)?.as_flattened();
        host::parse_cpu_ticks(bytes).ok_or(Trouble::Garbled)
    }

    fn net(&mut self) -> Result<crate::probe::source::net::NetDev, Trouble> {
        let mut name = [libc::CTL_NET, libc::PF_ROUTE, 0, 0, libc::NET_RT_IFLIST2, 0];
        let bytes = list(&mut name, &mut self.list).map_err(|error| Trouble::of_io(&error))?;
        interfaces::parse(bytes).ok_or(Trouble::Garbled)
    }
}

/// A list that may grow between the question for its length and that for itself, in a room that grows with it.
fn list<'room>(name: &mut [c_int], room: &'room mut Vec<u8>) -> io::Result<&'room [u8]> {
    let wanted = raw::sysctl_len(name)?;
    let wanted = (wanted + wanted / 8).min(MOST_BYTES);
    if room.len() < wanted {
        room.resize(wanted, 0);
    }
    let count = raw::sysctl(name, room)?;
    Ok(room.get(..count).unwrap_or_default())
}

fn value<T>(name: &CStr, parse: impl Fn(&[u8]) -> Option<T>) -> Result<T, Trouble> {
    let mut bytes = [0; VALUE_BYTES];
    let count = raw::sysctl_by_name(name, &mut bytes).map_err(|error| Trouble::of_io(&error))?;
    bytes.get(..count).and_then(parse).ok_or(Trouble::Garbled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells_everything() {
        let (mut reader, mut sample, mut health) = (Reader::default(), Sample::default(), first_health());
        reader.read(&mut sample, &mut health);
        for id in SOURCES {
            assert_eq!(health.of(id), Ok(()), "{}", id.name());
        }
        let meminfo = sample.meminfo;
        assert!(meminfo.total_kb > Some(1 << 20) && meminfo.avail_kb > Some(0) && meminfo.avail_kb < meminfo.total_kb);
        assert!(sample.compression.compressed_kb.is_some() && sample.compression.decompressions.is_some());
        assert!(sample.pressure_level.is_some() && sample.loadavg.is_some() && sample.net.is_some());
        assert!(reader.page_bytes == 4096 || reader.page_bytes == 16_384);
        let guest = guest();
        assert!(guest.cpus > Some(0) && guest.boot_id.is_some_and(|id| id.len() == 36));
    }

    #[test]
    fn this_process_is_among_all() {
        let mut reader = Reader::default();
        let own = std::process::id();
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
        let listed = reader.processes().iter().copied().find(|process| process.pid == own).unwrap();
        assert_eq!(Some(listed.ppid), parent);
        let Some(Reading::Process(read)) = reader.process(own) else { panic!("not there") };
        assert_eq!((read.pid, read.starttime_ticks), (own, listed.starttime_ticks));
        let since_1970 = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let age = since_1970.saturating_sub(std::time::Duration::from_micros(read.starttime_ticks));
        assert!(age < std::time::Duration::from_secs(3600), "{age:?}");
        let agent = reader.agent(&read);
        assert_eq!(agent.state, Some(b'R'), "it is running just now");
        assert!(agent.rss_kb > Some(100));
        assert!(matches!(reader.process(u32::try_from(i32::MAX).unwrap()), Some(Reading::None)));
    }

    #[test]
    fn the_rooms_for_lists_stay() {
        let mut reader = Reader::default();
        let rooms = |reader: &mut Reader| {
            reader.processes();
            reader.net().unwrap();
            (reader.list.as_ptr(), reader.processes.as_ptr())
        };
        // What else runs here makes the lists longer now and then.
        let before = rooms(&mut reader);
        let stayed = (0..20).map(|_| rooms(&mut reader)).filter(|after| *after == before).count();
        assert!(stayed > 0);
    }

    #[test]
    fn cpu_time_goes_on() {
        let mut reader = Reader::default();
        let (mut before, mut now, mut health) = (Sample::default(), Sample::default(), first_health());
        reader.read(&mut before, &mut health);
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_millis(300) {
            std::hint::spin_loop();
        }
        reader.read(&mut now, &mut health);
        let rates = crate::probe::rate::rates(&before, &now, began.elapsed());
        assert!(rates.cpu_busy_pct_x10.is_some_and(|busy| busy > 0 && busy <= 1000), "{rates:?}");
    }
}
