//! From samples and facts to the fields of lines. Pure: what is printed, and when, is in the table of fields.

use crate::line::LineBuilder;
use crate::line::field::{self, Field, Print};

use super::cgroup_files::Selection;
use super::config::{Fields, Runner};
use super::guest::Guest;
use super::kernel::Trouble;
use super::rate::{Rates, Totals, avg10_pct_x10, used_pct_x10};
use super::sample::Sample;
use super::sink::outlets::Tally;
use super::source::{Health, Id};

/// All that a sample line is made of.
#[derive(Clone, Copy, Debug)]
pub struct Readings<'a> {
    /// What was read.
    pub sample: &'a Sample,
    /// What changed since the sample before.
    pub rates: &'a Rates,
    /// What came together since the run began.
    pub totals: &'a Totals,
    /// How late it is, in tenths of a millisecond.
    pub late_ms_x10: Option<u64>,
    /// The span of the percentages, where it is not the interval.
    pub span_ms: Option<u64>,
    /// What the sinks tell of themselves.
    pub sinks: Tally,
    /// What made the sample be taken.
    pub taken: Taken,
}

/// What made a sample be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was due.
    Due,
    /// An event, between two due samples.
    Burst,
}

/// Some keys of the table, kept without allocating.
#[derive(Clone, Copy, Debug)]
pub struct Keys([&'static str; field::ALL.len()], usize);

impl Default for Keys {
    fn default() -> Self {
        Self([""; field::ALL.len()], 0)
    }
}

impl Keys {
    /// The keys, in the order of the line.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.0.iter().copied().take(self.1)
    }
}

/// What is said of the probe itself: a guest does not tell it or not.
const SAY_THEMSELVES: [&Field; 4] =
    [field::SINK_STDOUT_DROPPED, field::SINK_HTTP_DROPPED, field::SINK_LOKI_DROPPED, field::BURST];

/// A field of the table with its reading.
type Pair = (&'static Field, Option<u64>);

impl Readings<'_> {
    /// Writes the fields of a sample.
    pub fn put(&self, line: &mut LineBuilder<'_>, fields: Fields, paths: &[String]) {
        let is_wanted =
            |field: &Field| fields == Fields::Full || field.print == Print::Contract || field == field::LATE;
        self.each(|(field, value)| {
            if is_wanted(field) {
                line.number(field, value);
            }
        });
        if fields == Fields::Full {
            let disk = self.sample.disk.disk.map(|(at, _)| at);
            let inode = self.sample.disk.inode.map(|(at, _)| at).filter(|at| Some(*at) != disk);
            let state = self.sample.agent.and_then(|agent| agent.state);
            line.number(field::CLOCK_OFFSET, self.sinks.clock_offset_ms);
            line.text(field::AGENT_STATE, state.map(|letter| [letter]));
            line.text(field::DISK_PATH, disk.and_then(|at| paths.get(at)))
                .text(field::INODE_PATH, inode.and_then(|at| paths.get(at)));
        }
    }

    /// The keys printed only over zero that have a reading here.
    #[must_use]
    pub fn supports(&self) -> Keys {
        let mut keys = Keys::default();
        self.each(|(field, value)| {
            let says_itself = SAY_THEMSELVES.contains(&field);
            let is_kept = field.print == Print::OverZero && value.is_some() && !says_itself;
            if is_kept && let Some(slot) = keys.0.get_mut(keys.1) {
                *slot = field.key;
                keys.1 += 1;
            }
        });
        keys
    }

    fn each(&self, mut put: impl FnMut(Pair)) {
        self.guest_and_cgroup().into_iter().for_each(&mut put);
        self.cpu_and_pressure().into_iter().for_each(&mut put);
        self.details().into_iter().for_each(&mut put);
        self.darwin().into_iter().for_each(&mut put);
        self.counts().into_iter().for_each(&mut put);
    }

    fn guest_and_cgroup(&self) -> [Pair; 8] {
        let Sample { meminfo, cgroup, .. } = self.sample;
        [
            (field::VM_MEM_TOTAL, meminfo.total_kb),
            (field::VM_MEM_AVAIL, meminfo.avail_kb),
            (field::MEM_CURRENT, cgroup.mem_current),
            (field::MEM_PEAK, cgroup.mem_peak),
            (field::MEM_MAX, cgroup.mem_max),
            (field::MEM_SWAP, cgroup.mem_swap),
            (field::OOM, cgroup.events.oom),
            (field::OOM_KILL, cgroup.events.oom_kill),
        ]
    }

    fn cpu_and_pressure(&self) -> [Pair; 10] {
        let Sample { cpu_pressure, memory_pressure, io_pressure, loadavg, .. } = self.sample;
        [
            (field::CPU_BUSY, self.rates.cpu_busy_pct_x10),
            (field::CPU_PSI_SOME, avg10_pct_x10(cpu_pressure.some)),
            (field::MEM_PSI_SOME, avg10_pct_x10(memory_pressure.some)),
            (field::MEM_PSI_FULL, avg10_pct_x10(memory_pressure.full)),
            (field::IO_PSI_SOME, avg10_pct_x10(io_pressure.some)),
            (field::LOAD1, loadavg.map(|load| load.load1_x100)),
            (field::LOAD5, loadavg.map(|load| load.load5_x100)),
            (field::LOAD15, loadavg.map(|load| load.load15_x100)),
            (field::LATE, self.late_ms_x10),
            (field::SPAN, self.span_ms),
        ]
    }

    fn details(&self) -> [Pair; 16] {
        let Sample { cgroup, vmstat, meminfo, .. } = self.sample;
        let working_set = cgroup.mem_current.zip(cgroup.mem_stat.inactive_file);
        [
            (field::MEM_USED, used_pct_x10(cgroup.mem_current, cgroup.mem_max)),
            (field::MEM_ANON, cgroup.mem_stat.anon),
            (field::MEM_WS, working_set.map(|(current, inactive_file)| current.saturating_sub(inactive_file))),
            (field::MEM_SHMEM, cgroup.mem_stat.shmem),
            (field::MEM_HIGH, cgroup.mem_high),
            (field::OOM_GROUP, cgroup.events.oom_group_kill),
            (field::TREE_OOM_KILL, cgroup.tree_oom_kill),
            (field::VM_OOM_KILL, vmstat.oom_kill),
            (field::VM_SWAP_USED, meminfo.swap_used_kb()),
            (field::CPU_STEAL, self.rates.cpu_steal_pct_x10),
            (field::CPU_IOWAIT, self.rates.cpu_iowait_pct_x10),
            (field::CPU_THROTTLED, self.rates.cpu_throttled_pct_x10),
            (field::CPU_STALL, self.rates.cpu_stall_pct_x10),
            (field::MEM_STALL, self.rates.mem_stall_pct_x10),
            (field::IO_STALL, self.rates.io_stall_pct_x10),
            (field::PROCS_BLOCKED, self.sample.stat.procs_blocked),
        ]
    }

    fn darwin(&self) -> [Pair; 4] {
        [
            (field::MEM_PRESSURE_LEVEL, self.sample.pressure_level),
            (field::VM_COMPRESSED, self.sample.compression.compressed_kb),
            (field::VM_PAGEOUT, self.totals.pageout.sum()),
            (field::VM_DECOMPRESS, self.totals.decompress.sum()),
        ]
    }

    fn counts(&self) -> [Pair; 18] {
        let Sample { cgroup, disk, agent, .. } = self.sample;
        let kib = |bytes: Option<u64>| bytes.map(|bytes| bytes / 1024);
        let room = disk.disk.map(|(_, room)| room);
        [
            (field::VM_MAJFAULT, self.totals.majfault.sum()),
            (field::VM_REFAULT, self.totals.refault.sum()),
            (field::VM_ALLOCSTALL, self.totals.allocstall.sum()),
            (field::VM_PGSCAN, self.totals.pgscan.sum()),
            (field::PIDS_USED, used_pct_x10(cgroup.pids_current, cgroup.pids_max)),
            (field::PIDS_FAIL, self.totals.pids_fail.iter().filter_map(|total| total.sum()).max()),
            (field::DISK_AVAIL, room.map(|room| room.avail_kb)),
            (field::DISK_USED, room.map(|room| room.used_pct_x10)),
            (field::INODE_USED, disk.inode.map(|(_, pct_x10)| pct_x10)),
            (field::NET_RX, kib(self.totals.net_rx_bytes.sum())),
            (field::NET_TX, kib(self.totals.net_tx_bytes.sum())),
            (field::TCP_RETRANS, self.totals.tcp_retrans.sum()),
            (field::AGENT_WAIT, agent.and_then(|agent| agent.wait_ns).map(|wait_ns| wait_ns / 1_000_000)),
            (field::AGENT_RSS, agent.and_then(|agent| agent.rss_kb)),
            (field::SINK_STDOUT_DROPPED, Some(self.sinks.stdout_dropped)),
            (field::SINK_HTTP_DROPPED, Some(self.sinks.http_dropped)),
            (field::SINK_LOKI_DROPPED, Some(self.sinks.loki_dropped)),
            (field::BURST, Some(u64::from(self.taken == Taken::Burst))),
        ]
    }
}

/// The words for the pressure files: on, off, denied, unsupported, unknown, broken.
#[must_use]
pub fn psi_word(health: &Health) -> &'static str {
    let of = [Id::PsiCpu, Id::PsiMemory, Id::PsiIo].map(|id| health.of(id));
    let trouble = of.iter().find_map(|health| health.err());
    match trouble {
        None => "on",
        Some(_) if of.iter().any(Result::is_ok) => "on",
        Some(Trouble::Denied(_)) => "denied",
        // Where /proc shows nothing at all, that says nothing of the kernel.
        Some(Trouble::Absent(_)) if health.of(Id::Meminfo).is_err() => "unknown",
        Some(trouble @ Trouble::Absent(_)) => {
            if trouble.is_no_file() {
                "unsupported"
            } else {
                "off"
            }
        }
        Some(_) => "broken",
    }
}

/// The words for the kernel's messages: on, denied, absent, broken.
#[must_use]
pub fn kmsg_word(trouble: Option<Trouble>) -> &'static str {
    match trouble {
        None => "on",
        Some(Trouble::Denied(_)) => "denied",
        Some(Trouble::Absent(_)) => "absent",
        Some(_) => "broken",
    }
}

/// Writes what `start` says of the guest.
pub fn put_guest(line: &mut LineBuilder<'_>, guest: &Guest) {
    line.text(field::GUEST_OS, guest.os.as_ref())
        .text(field::GUEST_ARCH, guest.arch.as_ref())
        .text(field::GUEST_KERNEL, guest.kernel.as_ref())
        .number(field::GUEST_CPUS, guest.cpus)
        .number(field::UPTIME, guest.uptime_ms);
}

/// Writes what `start` says of the watched cgroup.
pub fn put_selection(line: &mut LineBuilder<'_>, selection: &Selection) {
    line.text(field::CGROUP, Some(selection.version.name())).text(field::CGROUP_PATH, selection.path.as_ref());
    put_level(line, selection);
    line.text(field::CPU_QUOTA, Some(&selection.cpu_quota)).number(field::MEM_OOM_GROUP, selection.oom_group);
}

/// Writes which level the memory readings are of, and its limit.
pub fn put_level(line: &mut LineBuilder<'_>, selection: &Selection) {
    line.text(field::MEM_LEVEL, selection.mem_level.as_ref()).text(field::MEM_LIMIT, Some(&selection.mem_limit));
}

/// Writes which sources are absent, denied or broken.
pub fn put_health(line: &mut LineBuilder<'_>, health: &Health) {
    let of = |is_of: fn(Trouble) -> bool| {
        let troubled = health.iter().filter_map(|(id, health)| Some((id, health.err()?)));
        troubled.filter(move |(_, trouble)| is_of(*trouble)).map(|(id, _)| id.name())
    };
    line.list(field::ABSENT, of(|trouble| matches!(trouble, Trouble::Absent(_))))
        .list(field::DENIED, of(|trouble| matches!(trouble, Trouble::Denied(_))))
        .list(field::BROKEN, of(|trouble| matches!(trouble, Trouble::Broken(_) | Trouble::Garbled | Trouble::Hung)));
}

/// Writes what the sinks tell of themselves.
pub fn put_tally(line: &mut LineBuilder<'_>, tally: &Tally) {
    line.number(field::SINK_STDOUT_DROPPED, Some(tally.stdout_dropped))
        .number(field::SINK_HTTP_DROPPED, Some(tally.http_dropped))
        .number(field::SINK_LOKI_DROPPED, Some(tally.loki_dropped))
        .number(field::CLOCK_OFFSET, tally.clock_offset_ms);
}

/// Writes who the runner is, as far as that was set.
pub fn put_runner(line: &mut LineBuilder<'_>, runner: &Runner) {
    line.text(field::RUNNER_NAME, runner.name.as_ref())
        .text(field::RUNNER_FLEET, runner.fleet.as_ref())
        .text(field::RUNNER_ENV, runner.env.as_ref())
        .text(field::RUNNER_IMAGE, runner.image.as_ref())
        .number(field::RUNNER_MEM_LIMIT, runner.mem_limit_bytes);
}

/// Puts when the runner was created: for this the first line of a run has no room.
pub fn put_created(line: &mut LineBuilder<'_>, runner: &Runner) {
    line.text(field::RUNNER_CREATED, runner.created.map(|time| humantime::format_rfc3339_millis(time).to_string()));
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn every_sample_field_is_written_once_and_no_other() {
        let (sample, rates, totals) = (Sample::default(), Rates::default(), Totals::default());
        let readings = Readings {
            sample: &sample,
            rates: &rates,
            totals: &totals,
            late_ms_x10: None,
            span_ms: None,
            sinks: Tally::default(),
            taken: Taken::Due,
        };
        let mut written =
            vec![field::CLOCK_OFFSET.key, field::AGENT_STATE.key, field::DISK_PATH.key, field::INODE_PATH.key];
        readings.each(|(field, _)| written.push(field.key));
        let mut table: Vec<&str> = field::ALL
            .iter()
            .filter(|field| field.kinds.contains(&field::Kind::Sample))
            .map(|field| field.key)
            .collect();
        written.sort_unstable();
        table.sort_unstable();
        assert_eq!(written, table);
    }

    #[test]
    fn psi_is_told_in_one_word() {
        let with = |trouble: Option<Trouble>| {
            let mut health = Health::default();
            for id in [Id::PsiCpu, Id::PsiMemory, Id::PsiIo] {
                health.set(id, trouble.map_or(Ok(()), Err));
            }
            psi_word(&health)
        };
        assert_eq!(with(None), "on");
        assert_eq!(with(Some(Trouble::of(Errno::OPNOTSUPP))), "off");
        assert_eq!(with(Some(Trouble::of(Errno::NOENT))), "unsupported");
        assert_eq!(with(Some(Trouble::of(Errno::ACCESS))), "denied");
        assert_eq!(with(Some(Trouble::Garbled)), "broken");
    }
}
