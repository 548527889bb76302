//! The table of fields: every key that may stand in a line, with its unit, its lines and its meaning.
//!
//! It is the only place where a key is spelled. The encoder takes from it how a value is printed and
//! when it is left out, the decoder what a value must look like, and `docs/FIELDS.md` is made of it.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::Tag;

/// How a value is written, and in what unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A whole number of things.
    Count,
    /// Whole bytes.
    Bytes,
    /// Whole KiB.
    Kib,
    /// Whole milliseconds.
    Ms,
    /// Milliseconds with one decimal.
    MsTenths,
    /// Whole seconds.
    Seconds,
    /// Per cent with one decimal.
    Percent,
    /// A plain number with two decimals: loads, CPUs.
    Hundredths,
    /// Text of at most this many bytes as it stands in the line, between its quotes.
    Text(usize),
}

impl Unit {
    /// Decimals that a number of this unit is printed with; `None` for text.
    #[must_use]
    pub const fn decimals(self) -> Option<u8> {
        match self {
            Self::Count | Self::Bytes | Self::Kib | Self::Ms | Self::Seconds => Some(0),
            Self::MsTenths | Self::Percent => Some(1),
            Self::Hundredths => Some(2),
            Self::Text(_) => None,
        }
    }

    /// The unit as documentation names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::Kib => "KiB",
            Self::Ms => "ms",
            Self::MsTenths => "ms, one decimal",
            Self::Seconds => "s",
            Self::Percent => "%, one decimal",
            Self::Hundredths => "two decimals",
            Self::Text(_) => "text",
        }
    }
}

/// When a field stands in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Print {
    /// Always; empty (`key=`) when the reading is absent.
    Contract,
    /// Whenever there is a reading, zero included.
    Known,
    /// Only when the reading is over zero; `supports` tells whether a missing one means zero.
    OverZero,
}

impl Print {
    /// The rule as documentation names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contract => "always, empty when unread",
            Self::Known => "when known",
            Self::OverZero => "over 0",
        }
    }
}

/// A kind of line: a sample, or one of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No `event` key: the readings of one moment.
    Sample,
    /// The first line of a run.
    Start,
    /// The short of `start`, every five minutes.
    About,
    /// The last line of a run that could still speak.
    Stop,
    /// An OOM counter moved.
    Oom,
    /// The kernel killed a process for memory.
    KmsgOom,
    /// A task has waited for input, output or a lock for minutes.
    KmsgHung,
    /// A CPU has not scheduled, or not taken interrupts, for many seconds.
    KmsgLockup,
    /// RCU waits for a CPU that does not come: it is starved, or the host stopped it.
    KmsgRcu,
    /// A disk failed a request.
    KmsgIo,
    /// A file system found an error, or went read-only.
    KmsgFs,
    /// The kernel could not get memory for itself.
    KmsgAlloc,
    /// A process crashed.
    KmsgSegv,
    /// The balloon took memory from the guest and could get no more.
    KmsgBalloon,
    /// The kernel itself crashed.
    KmsgPanic,
    /// The kernel's message ring overran the reader.
    KmsgLost,
    /// A resource runs short.
    Pressure,
    /// One of the largest processes.
    Top,
    /// A watched path fills up, or is read-only now.
    Disk,
    /// The CI runner's own process, or its worker.
    Agent,
    /// The guest stood still, or its clock jumped.
    Gap,
    /// The runner's life, told by its scripts.
    Phase,
    /// A source stopped working or came back.
    Degraded,
    /// A setting was clamped or ignored.
    Config,
    /// What a followed log says: a line of another tag.
    Log,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 25] = [
        Self::Sample,
        Self::Start,
        Self::About,
        Self::Stop,
        Self::Oom,
        Self::KmsgOom,
        Self::KmsgHung,
        Self::KmsgLockup,
        Self::KmsgRcu,
        Self::KmsgIo,
        Self::KmsgFs,
        Self::KmsgAlloc,
        Self::KmsgSegv,
        Self::KmsgBalloon,
        Self::KmsgPanic,
        Self::KmsgLost,
        Self::Pressure,
        Self::Top,
        Self::Disk,
        Self::Agent,
        Self::Gap,
        Self::Phase,
        Self::Degraded,
        Self::Config,
        Self::Log,
    ];

    /// The word that such a line begins with.
    #[must_use]
    pub const fn tag(self) -> Tag {
        match self {
            Self::Log => Tag::Log,
            _ => Tag::Vitals,
        }
    }

    /// The value of the `event` key; `None` for a sample and for a line of a log.
    #[must_use]
    pub const fn event(self) -> Option<&'static str> {
        match self {
            Self::Sample | Self::Log => None,
            Self::Start => Some("start"),
            Self::About => Some("about"),
            Self::Stop => Some("stop"),
            Self::Oom => Some("oom"),
            Self::KmsgOom => Some("kmsg.oom"),
            Self::KmsgHung => Some("kmsg.hung"),
            Self::KmsgLockup => Some("kmsg.lockup"),
            Self::KmsgRcu => Some("kmsg.rcu"),
            Self::KmsgIo => Some("kmsg.io"),
            Self::KmsgFs => Some("kmsg.fs"),
            Self::KmsgAlloc => Some("kmsg.alloc"),
            Self::KmsgSegv => Some("kmsg.segv"),
            Self::KmsgBalloon => Some("kmsg.balloon"),
            Self::KmsgPanic => Some("kmsg.panic"),
            Self::KmsgLost => Some("kmsg.lost"),
            Self::Pressure => Some("pressure"),
            Self::Top => Some("top"),
            Self::Disk => Some("disk"),
            Self::Agent => Some("agent"),
            Self::Gap => Some("gap"),
            Self::Phase => Some("phase"),
            Self::Degraded => Some("degraded"),
            Self::Config => Some("config"),
        }
    }

    /// What the line says, in a sentence.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Sample => "The readings of one moment, at each interval.",
            Self::Start => "The first line of a run: the guest, the settings, what can be read in it.",
            Self::About => "The short of `start`, every five minutes, for trails that lost their beginning.",
            Self::Stop => {
                "The last line of a run that could still speak. What the sinks give up behind it no line counts: it is what is \
                 missing of the numbers up to its `seq`."
            }
            Self::Oom => {
                "An OOM counter moved: told by the counters alone, so also where the kernel's messages are denied."
            }
            Self::KmsgOom => "The kernel killed a process for memory; one line a victim.",
            Self::KmsgHung => "A task has waited for input, output or a lock for minutes.",
            Self::KmsgLockup => "A CPU has not scheduled, or not taken interrupts, for many seconds.",
            Self::KmsgRcu => "RCU waits for a CPU that does not come: it is starved, or the host stopped it.",
            Self::KmsgIo => "A disk failed a request.",
            Self::KmsgFs => "A file system found an error, or went read-only.",
            Self::KmsgAlloc => "The kernel could not get memory for itself.",
            Self::KmsgSegv => "A process crashed.",
            Self::KmsgBalloon => "The balloon took memory from the guest and could get no more.",
            Self::KmsgPanic => "The kernel itself crashed.",
            Self::KmsgLost => "The kernel's message ring overran the reader.",
            Self::Pressure => "A resource runs short; samples come every 250 ms while that lasts, for 30 s at most.",
            Self::Top => "The five largest processes, a line each, with an OOM and when memory begins to run short.",
            Self::Disk => "A watched path crossed 90, 95 or 99 %, of room or of inodes, or went read-only.",
            Self::Agent => {
                "The CI runner's own process or its worker appeared, vanished, or waited over a second for a CPU in a span. Looked for every 5 s."
            }
            Self::Gap => "The guest stood still, or its clock jumped.",
            Self::Phase => {
                "A phase of the runner's life began, told by its scripts with `runner-vitals phase`: a run of its own, and its only line."
            }
            Self::Degraded => "Sources, sinks or a watched path stopped working, changed their trouble, or came back.",
            Self::Config => "A setting was clamped or ignored, or a default was used in its place.",
            Self::Log => "A line of a followed log with its secrets masked, or a note about that log.",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The key as it stands in the line.
    pub key: &'static str,
    /// How the value is written.
    pub unit: Unit,
    /// When it stands there.
    pub print: Print,
    /// The lines it can stand in.
    pub kinds: &'static [Kind],
    /// The widest number that a guest of 64 GiB prints; a text is as wide as its unit says.
    pub widest: &'static str,
    /// What it means and where it comes from.
    pub about: &'static str,
}

macro_rules! fields {
    ($($name:ident $key:literal $unit:expr, $print:ident, [$($kind:ident),+], $widest:literal, $about:literal;)+) => {
        $(
            #[doc = concat!("`", $key, "`: ", $about)]
            pub const $name: &Field = &Field {
                key: $key,
                unit: $unit,
                print: Print::$print,
                kinds: &[$(Kind::$kind),+],
                widest: $widest,
                about: $about,
            };
        )+
        /// Every field, in the order in which lines print them.
        pub const ALL: &[&Field] = &[$($name),+];
    };
}

use Unit::{Bytes, Count, Hundredths, Kib, Ms, MsTenths, Percent, Seconds, Text};

fields! {
    // The runner's life, told by its scripts.
    PHASE "phase" Text(8), Known, [Phase], "", "warming: the guest is up and its agent not ready yet; ready: it waits for a job; claimed: it has one; ended: the job ended, or the runner without one";
    WAITED "waited.ms" Ms, Known, [Phase], "31536000000", "claimed: how long the job waited; ready: how long the runner has been ready";
    WAITED_FROM "waited.from" Text(8), Known, [Phase], "", "what waited.ms counts from: queued (the dispatcher said when, by its own clock where it told the time), ready (the runner was)";
    QUEUED_TS "queued.ts" Text(24), Known, [Phase], "", "when the job was queued, as the dispatcher says; in the form of ts";
    JOB_NR "job.nr" Count, Known, [Phase], "99999999999999", "number of the job, counted on this runner from 1 on, or as its agent numbers it: tells them apart where it has several at once";
    POLL_SERVED "poll.served" Count, OverZero, [Phase], "999999999", "polls of the dispatcher, since its script began, that brought a job; a poll counts under one of poll.*";
    POLL_NO_WORK "poll.no_work" Count, OverZero, [Phase], "999999999", "polls that brought none, and no reason";
    POLL_EMPTY "poll.empty" Count, OverZero, [Phase], "999999999", "polls that brought none: the queue was empty";
    POLL_LOST_RACE "poll.lost_race" Count, OverZero, [Phase], "999999999", "polls that brought none: another runner was faster";
    POLL_POD_IN_USE "poll.pod_in_use" Count, OverZero, [Phase], "999999999", "polls that brought none: the dispatcher takes this runner to have a job already";
    POLL_DRAIN "poll.drain" Count, OverZero, [Phase], "999999999", "polls that told the runner to end";
    POLL_ERROR "poll.error" Count, OverZero, [Phase], "999999999", "polls that failed: no answer, no valid token, any other status";
    POLL_SUM "poll.sum.ms" Ms, OverZero, [Phase], "31536000000", "time that all these polls took, the server's own wait included; over their count it is the mean";
    POLL_MAX "poll.max.ms" Ms, OverZero, [Phase], "31536000000", "time that the longest of them took";
    JOB_RESULT "job.result" Text(16), Known, [Phase], "", "how the job ended, where the agent says: success, failure, cancelled, skipped";

    // Who writes and where.
    PROBE_VERSION "probe.version" Text(32), Known, [Start, About], "", "version of the probe";
    GUEST_OS "guest.os" Text(16), Known, [Start], "", "operating system, as `uname -s`, in lower case";
    GUEST_ARCH "guest.arch" Text(16), Known, [Start], "", "machine, as `uname -m`";
    GUEST_KERNEL "guest.kernel" Text(65), Known, [Start], "", "kernel release, as `uname -r`";
    GUEST_CPUS "guest.cpus" Count, Known, [Start], "256", "CPUs online: the `cpuN` rows of /proc/stat; macOS hw.logicalcpu";
    BOOT_ID "boot.id" Text(36), Known, [Start, About, Phase], "", "/proc/sys/kernel/random/boot_id; macOS kern.bootsessionuuid";
    UPTIME "uptime.ms" Ms, Known, [Start, Phase], "31536000000", "time since boot, /proc/uptime; macOS CLOCK_MONOTONIC";

    // The whole guest.
    VM_MEM_TOTAL "vm.mem.total.kb" Kib, Contract, [Sample, Start], "67108864", "/proc/meminfo MemTotal, read anew each time; macOS hw.memsize";
    VM_MEM_AVAIL "vm.mem.avail.kb" Kib, Contract, [Sample], "67108864", "/proc/meminfo MemAvailable; macOS: what is free, caches of files and what may be purged (host_statistics64: free_count less speculative_count, external_page_count, purgeable_count)";

    // What the start line says of the run.
    INTERVAL "interval.ms" Ms, Known, [Start, About], "60000", "time between two due samples";
    CGROUP "cgroup" Text(512), Known, [Start, KmsgOom], "", "start: version of the cgroup hierarchies in view: v2, v1, hybrid, none; kmsg.oom: the cgroup whose limit was met, of a guest-wide kill the victim's";
    CGROUP_PATH "cgroup.path" Text(256), Known, [Start], "", "the watched cgroup, as /proc/PID/cgroup names it; so are mem.level and cgroup";
    MEM_LEVEL "mem.level" Text(256), Known, [Start, About], "", "the cgroup that the `mem.*` readings are of: the limited one with the least headroom among the watched one and its visible ancestors, else the watched one";
    MEM_LIMIT "mem.limit" Text(20), Known, [Start, About], "", "the memory limit of that level in bytes; none, unknown";
    CPU_QUOTA "cpu.quota" Text(20), Known, [Start], "", "CPUs that the tightest quota allows, two decimals; none, unknown";
    PSI "psi" Text(16), Known, [Start, About], "", "pressure stall information: on, off (in the kernel), denied, unsupported, unknown (no /proc in view), broken";
    KMSG "kmsg" Text(8), Known, [Start, About, Oom], "", "start, about: the kernel's messages, /dev/kmsg: on, denied, absent, broken; oom: whether they tell the kills too: agrees, missing, unread";
    MEM_OOM_GROUP "mem.oom.group" Count, Known, [Start], "1", "memory.oom.group of the watched cgroup: 1, one kill takes all of it";
    CAPS "caps" Text(64), Known, [Start], "", "which of syslog, sys_resource, sys_nice and ipc_lock the probe has; none";
    SUPPORTS "supports" Text(512), Known, [Start, About], "", "the keys printed only over 0 that this guest can tell: one of them missing in a sample means zero";
    ABSENT "absent" Text(320), Known, [Start, About], "", "sources that this guest does not have";
    DENIED "denied" Text(320), Known, [Start, About], "", "sources that the probe may not read";
    BROKEN "broken" Text(320), Known, [Start, About], "", "sources that are there but could not be read or understood";
    PROTECT "protect" Text(48), Known, [Start], "", "protections obtained: mlock (mlock.touched: without the whole program, mlock.program: only that, mlock.part: a part of it), oom_score_adj:N, sched_fifo or nice:N; macOS qos (user-interactive); none";
    TRIGGERS "triggers" Text(64), Known, [Start], "", "what wakes it between samples: memory.events, tree.memory.events, kmsg, and pressure triggers with their window (memory:1s, io:1s, cpu:1s); macOS memorystatus; none";
    RUNNER_NAME "runner.name" Text(253), Known, [Start, About, Phase], "", "name of the runner, as set";
    RUNNER_FLEET "runner.fleet" Text(128), Known, [Start, About, Phase], "", "fleet of the runner, as set";
    RUNNER_ENV "runner.env" Text(64), Known, [Start, About, Phase], "", "environment of the runner, as set";
    RUNNER_IMAGE "runner.image" Text(256), Known, [Start, About, Phase], "", "image of the runner, as set";
    RUNNER_MEM_LIMIT "runner.mem.limit" Bytes, Known, [Start, About, Phase], "68719476736", "memory limit that the platform gave the runner from outside, as set";
    RUNNER_CREATED "runner.created.ts" Text(24), Known, [About, Phase], "", "when the runner was created, as set, by its creator's clock; in the form of ts";

    // The cgroup.
    MEM_CURRENT "mem.current" Bytes, Contract, [Sample], "68719476736", "memory.current; v1 memory.usage_in_bytes";
    MEM_PEAK "mem.peak" Bytes, Contract, [Sample, Stop], "68719476736", "memory.peak; v1 memory.max_usage_in_bytes";
    MEM_MAX "mem.max" Bytes, Contract, [Sample], "68719476736", "memory.max; v1 memory.limit_in_bytes; empty without a limit";
    MEM_SWAP "mem.swap" Bytes, Contract, [Sample], "68719476736", "memory.swap.current; v1 memory.memsw.usage_in_bytes less memory.usage_in_bytes";
    OOM "oom" Count, Contract, [Sample], "9999", "memory.events oom of the watched cgroup, as the kernel counts; v1: empty";
    OOM_KILL "oom_kill" Count, Contract, [Sample], "9999", "memory.events oom_kill of the watched cgroup, as the kernel counts; v1 memory.oom_control";
    CPU_BUSY "cpu.busy.pct" Percent, Contract, [Sample], "100.0", "/proc/stat: share of all CPUs that was not idle, in iowait or stolen; macOS HOST_CPU_LOAD_INFO: not idle";
    CPU_PSI_SOME "cpu.psi.some.avg10" Percent, Contract, [Sample], "100.0", "/proc/pressure/cpu";
    MEM_PSI_SOME "mem.psi.some.avg10" Percent, Contract, [Sample], "100.0", "/proc/pressure/memory";
    MEM_PSI_FULL "mem.psi.full.avg10" Percent, Contract, [Sample], "100.0", "/proc/pressure/memory";
    IO_PSI_SOME "io.psi.some.avg10" Percent, Contract, [Sample], "100.0", "/proc/pressure/io";
    LOAD1 "load1" Hundredths, Contract, [Sample], "999.99", "/proc/loadavg over 1 minute; macOS vm.loadavg";
    LOAD5 "load5" Hundredths, Contract, [Sample], "999.99", "/proc/loadavg over 5 minutes";
    LOAD15 "load15" Hundredths, Contract, [Sample], "999.99", "/proc/loadavg over 15 minutes";
    LATE "late.ms" MsTenths, Known, [Sample], "99999.9", "from the earliest due time not yet served to just before the write, skipped samples included; always there";
    SPAN "span.ms" Ms, Known, [Sample], "99999", "the span of the percentages, when it is not the interval (more than 5 % off)";
    MEM_USED "mem.used.pct" Percent, Known, [Sample], "100.0", "mem.current of mem.max; only with a limit";
    MEM_ANON "mem.anon" Bytes, Known, [Sample], "68719476736", "memory.stat anon; v1 total_rss";
    MEM_WS "mem.ws" Bytes, Known, [Sample], "68719476736", "working set: mem.current less memory.stat inactive_file";
    MEM_SHMEM "mem.shmem" Bytes, Known, [Sample], "68719476736", "memory.stat shmem: tmpfs and shared memory";
    MEM_HIGH "mem.high" Bytes, Known, [Sample], "68719476736", "memory.high; only where set";
    OOM_GROUP "oom_group" Count, OverZero, [Sample], "9999", "memory.events oom_group_kill of the watched cgroup, as the kernel counts (5.17 on)";
    TREE_OOM_KILL "tree.oom_kill" Count, OverZero, [Sample], "9999", "memory.events oom_kill of the topmost visible ancestor: the sidecars' too";
    VM_OOM_KILL "vm.oom_kill" Count, Known, [Sample], "9999", "/proc/vmstat oom_kill: the whole guest, as the kernel counts";
    VM_SWAP_USED "vm.swap.used.kb" Kib, Known, [Sample], "67108864", "/proc/meminfo SwapTotal less SwapFree; macOS vm.swapusage; only where swap exists";
    CPU_STEAL "cpu.steal.pct" Percent, OverZero, [Sample], "100.0", "/proc/stat: time that the host took; always 0 means unknown";
    CPU_IOWAIT "cpu.iowait.pct" Percent, OverZero, [Sample], "100.0", "/proc/stat: idle with input or output under way";
    CPU_THROTTLED "cpu.throttled.pct" Percent, OverZero, [Sample], "100.0", "cpu.stat nr_throttled of nr_periods: the watched cgroup and its limited ancestors, the worst";
    CPU_STALL "cpu.stall.pct" Percent, OverZero, [Sample], "100.0", "growth of `some total` in /proc/pressure/cpu, of the span";
    MEM_STALL "mem.stall.pct" Percent, OverZero, [Sample], "100.0", "growth of `full total` in /proc/pressure/memory, of the span";
    IO_STALL "io.stall.pct" Percent, OverZero, [Sample], "100.0", "growth of `full total` in /proc/pressure/io, of the span";
    VM_MAJFAULT "vm.majfault" Count, OverZero, [Sample], "99999999", "/proc/vmstat pgmajfault, since the run began";
    VM_REFAULT "vm.refault" Count, OverZero, [Sample], "9999999999", "/proc/vmstat workingset_refault*, since the run began";
    VM_ALLOCSTALL "vm.allocstall" Count, OverZero, [Sample], "99999999", "/proc/vmstat allocstall*, since the run began";
    VM_PGSCAN "vm.pgscan" Count, OverZero, [Sample], "9999999999", "/proc/vmstat pgscan_kswapd, _direct, _khugepaged and _proactive, since the run began";
    MEM_PRESSURE_LEVEL "mem.pressure.level" Count, Known, [Sample, Pressure], "4", "macOS kern.memorystatus_vm_pressure_level: 1 normal, 2 warn, 4 critical";
    VM_COMPRESSED "vm.compressed.kb" Kib, OverZero, [Sample], "67108864", "macOS host_statistics64 compressor_page_count: memory that holds what was compressed";
    VM_PAGEOUT "vm.pageout" Count, OverZero, [Sample], "9999999999", "macOS host_statistics64 pageouts and swapouts: pages written out, to their files and to swap, since the run began";
    VM_DECOMPRESS "vm.decompress" Count, OverZero, [Sample], "9999999999", "macOS host_statistics64 decompressions: pages that were compressed and came back, since the run began";
    PROCS_BLOCKED "procs.blocked" Count, OverZero, [Sample], "9999", "/proc/stat procs_blocked: tasks that wait for input or output";
    PIDS_USED "pids.used.pct" Percent, Known, [Sample], "100.0", "pids.current of pids.max, of the limited level with the least room; only with a limit";
    PIDS_FAIL "pids.fail" Count, OverZero, [Sample], "999999", "pids.events max, of that level or the watched cgroup: forks refused, since the run began";
    DISK_AVAIL "disk.avail.kb" Kib, Known, [Sample], "1073741824", "statvfs: room for the unprivileged at disk.path";
    DISK_USED "disk.used.pct" Percent, Known, [Sample], "100.0", "statvfs: used of used and available at disk.path, rounded up as df does";
    INODE_USED "inode.used.pct" Percent, Known, [Sample, Disk], "100.0", "statvfs: the same over inodes, the fullest of all watched paths; inode.path says which, where it is not disk.path";
    NET_RX "net.rx.kb" Kib, OverZero, [Sample], "9999999999", "/proc/net/dev without lo: received, since the run began; macOS NET_RT_IFLIST2";
    NET_TX "net.tx.kb" Kib, OverZero, [Sample], "9999999999", "/proc/net/dev without lo: sent, since the run began; macOS NET_RT_IFLIST2";
    TCP_RETRANS "tcp.retrans" Count, OverZero, [Sample], "99999999", "/proc/net/snmp Tcp RetransSegs, since the run began";
    AGENT_STATE "agent.state" Text(4), Known, [Sample], "", "the CI runner's own process: D if any of its threads waits uninterruptibly, else the state of its first thread (/proc/PID/stat); macOS: R if one of its threads runs, else S, T or Z";
    AGENT_WAIT "agent.wait.ms" Ms, Known, [Sample], "9999999", "time that its threads were ready to run and had no CPU, summed, since it was found (/proc/PID/task/*/schedstat, the first 64)";
    AGENT_RSS "agent.rss.kb" Kib, Known, [Sample], "9999999", "its resident memory (/proc/PID/statm)";
    SINK_STDOUT_DROPPED "sink.stdout.dropped" Count, OverZero, [Sample, Stop], "9999999", "lines that stdout could not take, since the run began";
    SINK_HTTP_DROPPED "sink.http.dropped" Count, OverZero, [Sample, Stop], "9999999", "lines that vitals endpoints could not take, since the run began: they waited too long, or were refused";
    SINK_LOKI_DROPPED "sink.loki.dropped" Count, OverZero, [Sample, Stop], "9999999", "the same of Loki; of a push that it refused, all lines count, also those that it took";
    CLOCK_OFFSET "clock.offset.ms" Ms, OverZero, [Sample, Stop], "-9999999999999", "how far the guest's clock is ahead of a server's Date, behind is negative; only over 1000 either way";
    BURST "burst" Count, OverZero, [Sample], "1", "1: taken because of an event, between two due samples";
    DISK_PATH "disk.path" Text(64), Known, [Sample], "", "the fullest watched path; another takes over when it is a point fuller";

    INODE_PATH "inode.path" Text(64), Known, [Sample], "", "the watched path that inode.used.pct is of, where it is not disk.path";

    // Events.
    OLD "old" Count, Known, [KmsgOom, KmsgHung, KmsgLockup, KmsgRcu, KmsgIo, KmsgFs, KmsgAlloc, KmsgSegv, KmsgBalloon, KmsgPanic], "1", "1: the record is from before the run began";
    SCOPE "scope" Text(8), Known, [KmsgOom], "", "guest: memory of the whole guest ran out; cgroup: a limit was met; left out where the kernel does not say";
    VICTIM_COMM "victim.comm" Text(64), Known, [KmsgOom], "", "name of the killed process";
    VICTIM_PID "victim.pid" Count, Known, [KmsgOom], "4194304", "its pid in the initial pid namespace, not the probe's";
    VICTIM_RSS "victim.rss.kb" Kib, Known, [KmsgOom], "67108864", "its resident memory: anon-rss, file-rss and shmem-rss";
    VICTIM_ADJ "victim.adj" Count, Known, [KmsgOom], "-1000", "its oom_score_adj (5.4 on)";
    SOURCE "source" Text(4), Known, [Oom], "", "whose counter: own (the watched cgroup), tree (its topmost visible ancestor: a sidecar, when own did not move), vm (the whole guest)";
    DELTA "delta" Count, Known, [Oom], "9999", "kills since the last sample; 0: the limit was met and nothing was killed";
    COMM "comm" Text(64), Known, [KmsgHung, KmsgLockup, KmsgAlloc, KmsgSegv, Top, Agent], "", "name of the process that it is about";
    ROLE "role" Text(8), Known, [Agent], "", "agent: the CI runner's own process; worker: its Runner.Worker, whose end is the normal end of a job";
    STATE "state" Text(16), Known, [Agent], "", "appeared, vanished, waited";
    RANK "rank" Count, Known, [Top], "5", "1 is the largest";
    PID "pid" Count, Known, [Top, Agent], "4194304", "its pid; of a `top` that the kernel told (from=kmsg) in the initial pid namespace";
    RSS "rss.kb" Kib, Known, [Top], "67108864", "its resident memory";
    ADJ "adj" Count, Known, [Top], "-1000", "its oom_score_adj";
    FROM "from" Text(8), Known, [Top], "", "kmsg: the kernel's own table at an OOM; proc: /proc; proc.part: as far as it could be read in 20 ms";
    WAIT "wait.ms" Ms, Known, [Agent], "9999999", "time that its threads were ready to run and had no CPU, summed, in the span since the last sample";
    RESOURCE "resource" Text(8), Known, [Pressure], "", "memory, io, cpu";
    KIND "kind" Text(8), Known, [Pressure, Gap], "", "pressure: psi (tasks wait), events (the watched cgroup meets its memory limit), slope (what is left will be gone in seconds), level (the level of macOS changed: mem.pressure.level); gap: clock (it was set), paused (the clocks prove it), unknown (nothing ran here: starved, or stopped from outside)";
    VALUE "value" Percent, Known, [Pressure], "100.0", "psi: share of the span since the last sample in which some task waited (io: all tasks); events: what cannot be dropped, of the limit; slope, level: what is left, of all or of the limit";
    MS "ms" Ms, Known, [Gap], "-99999999999", "how long; of a clock how far, back is negative";
    PATH "path" Text(256), Known, [Disk], "", "the watched path";
    AVAIL "avail.kb" Kib, Known, [Disk], "1073741824", "room for the unprivileged there";
    USED_PCT "used.pct" Percent, Known, [Disk], "100.0", "used of used and available there";
    READ_ONLY "read.only" Count, OverZero, [Disk], "1", "1: it was writable before, and is not now";
    DEV "dev" Text(64), Known, [KmsgIo, KmsgFs], "", "the device that it is about";
    WHAT "what" Text(320), Known, [Degraded], "", "the sources, a watched path, a sink (sink.http, sink.loki, sink.stdout), or the token of the sinks";
    ERROR "error" Text(256), Known, [Degraded, Log], "", "absent, denied or broken with the reason, of a sink the first; `ok` when it came back; a log: why it cannot be followed";
    KEY "key" Text(64), Known, [Config], "", "the setting";
    GIVEN "given" Text(128), Known, [Config], "", "what was given";
    USED "used" Text(128), Known, [Config], "", "what is used instead";
    COUNT "count" Count, Known, [KmsgLost], "999999999", "records lost";
    REASON "reason" Text(16), Known, [Stop], "", "sigterm, sigint, parent_exit, job_exit, stdout_closed, samples";
    JOB_EXIT "job.exit" Count, Known, [Stop, Phase], "255", "the code that the job ended with: that of `exec`, or what a script tells of its own";
    JOB_SIGNAL "job.signal" Count, Known, [Stop], "64", "the signal that ended it, in place of job.exit";
    JOB_TOLD "job.told" Count, Known, [Stop], "64", "the last of SIGTERM, SIGINT, SIGQUIT and SIGHUP that `exec` passed on to the job: it was told to end";
    JOB_MAXRSS "job.maxrss.kb" Kib, Known, [Stop], "67108864", "getrusage(2) ru_maxrss: the most memory resident in one process at a time, of the job and the children it waited for";
    SAMPLES "samples" Count, Known, [Stop], "999999999", "sample lines made in this run";
    FILE "file" Text(256), Known, [Log], "", "the followed file: its path from the first component on that the pattern left open";
    NOTE "note" Text(16), Known, [Log], "", "what became of the file or of this line: unfinished (no newline yet; it comes again, whole), removed (or renamed away), replaced (another file under its name), truncated, skipped (bytes were passed over), unclosed (a masked block had no end), unreadable, unfollowed (more files than can be followed)";
    REPEATS "repeats" Count, OverZero, [Log], "999999999", "so many more times came the lines before this one, and with it the last of them, timestamps aside";
    REPEATS_LINES "repeats.lines" Count, OverZero, [Log], "9", "of how many lines such a block is; left out for one";
    CUT "cut.bytes" Bytes, OverZero, [Log], "68719476736", "of this line so many bytes are left out";
    SKIPPED "skipped.bytes" Bytes, OverZero, [Log], "68719476736", "bytes of this file that were passed over, since it is followed";
    UNFOLLOWED "unfollowed" Count, OverZero, [Log], "99999", "files that match and are not followed: more than can be";
    SUPPRESSED "suppressed" Count, OverZero, [Oom, KmsgOom, KmsgHung, KmsgLockup, KmsgRcu, KmsgIo, KmsgFs, KmsgAlloc, KmsgSegv, KmsgBalloon, KmsgPanic, KmsgLost, Pressure, Top, Disk, Agent, Gap, Degraded, Config, Log], "999999999", "lines of this kind held back by its limit, since the run began";
    SUPPRESSED_OOM "suppressed.oom" Count, OverZero, [About, Stop], "999999999", "oom lines held back";
    SUPPRESSED_KMSG_OOM "suppressed.kmsg.oom" Count, OverZero, [About, Stop], "999999999", "kmsg.oom lines held back";
    SUPPRESSED_KMSG_HUNG "suppressed.kmsg.hung" Count, OverZero, [About, Stop], "999999999", "kmsg.hung lines held back";
    SUPPRESSED_KMSG_LOCKUP "suppressed.kmsg.lockup" Count, OverZero, [About, Stop], "999999999", "kmsg.lockup lines held back";
    SUPPRESSED_KMSG_RCU "suppressed.kmsg.rcu" Count, OverZero, [About, Stop], "999999999", "kmsg.rcu lines held back";
    SUPPRESSED_KMSG_IO "suppressed.kmsg.io" Count, OverZero, [About, Stop], "999999999", "kmsg.io lines held back";
    SUPPRESSED_KMSG_FS "suppressed.kmsg.fs" Count, OverZero, [About, Stop], "999999999", "kmsg.fs lines held back";
    SUPPRESSED_KMSG_ALLOC "suppressed.kmsg.alloc" Count, OverZero, [About, Stop], "999999999", "kmsg.alloc lines held back";
    SUPPRESSED_KMSG_SEGV "suppressed.kmsg.segv" Count, OverZero, [About, Stop], "999999999", "kmsg.segv lines held back";
    SUPPRESSED_KMSG_BALLOON "suppressed.kmsg.balloon" Count, OverZero, [About, Stop], "999999999", "kmsg.balloon lines held back";
    SUPPRESSED_KMSG_PANIC "suppressed.kmsg.panic" Count, OverZero, [About, Stop], "999999999", "kmsg.panic lines held back";
    SUPPRESSED_KMSG_LOST "suppressed.kmsg.lost" Count, OverZero, [About, Stop], "999999999", "kmsg.lost lines held back";
    SUPPRESSED_PRESSURE "suppressed.pressure" Count, OverZero, [About, Stop], "999999999", "pressure lines held back";
    SUPPRESSED_TOP "suppressed.top" Count, OverZero, [About, Stop], "999999999", "groups of top lines held back";
    SUPPRESSED_DISK "suppressed.disk" Count, OverZero, [About, Stop], "999999999", "disk lines held back";
    SUPPRESSED_AGENT "suppressed.agent" Count, OverZero, [About, Stop], "999999999", "agent lines held back";
    SUPPRESSED_GAP "suppressed.gap" Count, OverZero, [About, Stop], "999999999", "gap lines held back";
    SUPPRESSED_BURST "suppressed.burst" Count, OverZero, [About, Stop], "999999999", "samples of bursts that were not written: there are 120 a minute and 1,200 an hour at most";
    SUPPRESSED_DEGRADED "suppressed.degraded" Count, OverZero, [About, Stop], "999999999", "degraded lines held back";
    SUPPRESSED_CONFIG "suppressed.config" Count, OverZero, [About, Stop], "999999999", "config lines held back";
    KTS "kts" Seconds, Known, [KmsgOom, KmsgHung, KmsgLockup, KmsgRcu, KmsgIo, KmsgFs, KmsgAlloc, KmsgSegv, KmsgBalloon, KmsgPanic], "31536000", "the kernel's own clock when it wrote the record, seconds since boot";
    LINE "line" Text(3072), Known, [Log], "", "the line, secrets masked as ***: its first 2 KiB";
    MSG "msg" Text(1024), Known, [KmsgOom, KmsgHung, KmsgLockup, KmsgRcu, KmsgIo, KmsgFs, KmsgAlloc, KmsgSegv, KmsgBalloon, KmsgPanic], "", "the kernel's text";
}

/// The row of `key`, where the table has one.
#[must_use]
pub fn find(key: &str) -> Option<&'static Field> {
    // A reader asks for each key of each line.
    static BY_KEY: OnceLock<HashMap<&str, &Field>> = OnceLock::new();
    BY_KEY.get_or_init(|| ALL.iter().map(|field| (field.key, *field)).collect()).get(key).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that a collector is likely to use as a stream label: Loki renames or acts on them.
    const RESERVED: [&str; 13] = [
        "pod",
        "namespace",
        "container",
        "node",
        "app",
        "job",
        "instance",
        "cluster",
        "env",
        "fleet",
        "level",
        "service_name",
        "detected_level",
    ];

    fn folded(key: &str) -> String {
        key.replace('.', "_")
    }

    #[test]
    fn keys_are_well_formed_and_stay_distinct_in_loki() {
        let mut seen =
            std::collections::BTreeSet::from(["ts".to_owned(), "run".to_owned(), "seq".to_owned(), "event".to_owned()]);
        for field in ALL {
            let (head, rest) = field.key.split_at(1);
            assert!(head.chars().all(|c| c.is_ascii_lowercase()), "{}", field.key);
            assert!(
                rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.".contains(c)),
                "{}",
                field.key
            );
            assert!(!RESERVED.contains(&folded(field.key).as_str()), "{}", field.key);
            assert!(seen.insert(folded(field.key)), "{} is there twice once dots are folded", field.key);
        }
    }

    /// What a calm guest still prints of the over-zero keys: there is always some traffic and waiting.
    const CALM: [&Field; 6] = [CPU_STALL, IO_STALL, VM_MAJFAULT, PROCS_BLOCKED, NET_RX, NET_TX];

    fn width<'f>(fields: impl Iterator<Item = &'f Field>) -> usize {
        let head = "RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=k3x9 seq=9999999\n".len();
        let pair = |field: &Field| match field.unit {
            Text(cap) => " =\"\"".len() + field.key.len() + cap,
            _ => " =".len() + field.key.len() + field.widest.len(),
        };
        head + fields.map(pair).sum::<usize>()
    }

    fn of(kind: Kind) -> impl Iterator<Item = &'static Field> {
        ALL.iter().copied().filter(move |field| field.kinds.contains(&kind))
    }

    #[test]
    fn the_widest_lines_keep_their_bounds() {
        let contract = width(of(Kind::Sample).filter(|field| field.print == Print::Contract || *field == LATE));
        assert!(contract <= 400, "a contract line can be {contract} bytes wide");
        // span.ms is left out while samples are on time, few guests have swap or a soft limit, the path of a disk is short.
        // A guest is of one system: macOS has one key of its own here, and many that it has not.
        const NOT_CALM: [&Field; 5] = [SPAN, INODE_PATH, VM_SWAP_USED, MEM_HIGH, MEM_PRESSURE_LEVEL];
        let short_path = &Field { unit: Text(16), ..*DISK_PATH };
        let calm = of(Kind::Sample)
            .filter(|field| !NOT_CALM.contains(field) && (field.print != Print::OverZero || CALM.contains(field)))
            .map(|field| if field == DISK_PATH { short_path } else { field });
        let calm = width(calm);
        assert!(calm <= 800, "a calm full line can be {calm} bytes wide");
    }

    #[test]
    fn every_line_with_every_field_at_its_widest_fits() {
        for kind in Kind::ALL {
            assert!(width(of(kind)) <= super::super::MAX_LINE_BYTES, "{kind:?}: {} bytes", width(of(kind)));
        }
    }
}
