//! The scenarios: what happens to a guest, and what has to hold while and after it does.

use std::time::Duration;

use runner_vitals::line::field::{self, Field};

/// What happens in a guest.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// In words, for the tables.
    pub(crate) about: &'static str,
    /// Words on the kernel's command line.
    pub(crate) boot: &'static str,
    /// Shell commands before the probe is started.
    pub(crate) set_up: &'static str,
    /// Flags of the probe besides its interval.
    pub(crate) flags: &'static str,
    /// What its launcher left the probe as `oom_score_adj`.
    pub(crate) oom_score_adj: i32,
    /// Shell commands that are the load; it ends by itself in `seconds`.
    pub(crate) load: &'static str,
    /// How long it is looked at; where the kernel kills, at most.
    pub(crate) seconds: u64,
    pub(crate) act: Act,
    pub(crate) holds: &'static [Bound],
}

/// What is done besides the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Nothing,
    /// The guest is given a command of which it dies.
    Dies(&'static str),
    /// The load kills the guest.
    Panics,
    /// QEMU gets a SIGKILL.
    PowerCut,
    /// QEMU gets a SIGSTOP, and so much later a SIGCONT.
    Held(Duration),
    /// QEMU stops the guest for so long, and its clocks with it.
    Paused(Duration),
    /// The probe gets a SIGTERM as soon as the kernel has killed for memory.
    Sigterm,
    /// The load may leave a guest that is not worth keeping.
    Spoils,
}

/// What has to hold. Those of an OOM are told apart by what the form may read and do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// No silence longer than 1.25 s, or a tenth more than the bare loop's. Of root, written straight to the port.
    Silence,
    /// Each kill is told within 250 ms; where the kernel's messages are denied, by the counter with the next sample.
    Told(Oom),
    /// Root's probe is not killed and goes on; another's last line was at most 300 ms old when it was.
    Outlives,
    /// The last sample has this value.
    Shows(&'static Field, &'static str),
    /// Some sample has a value over zero.
    OverZero(&'static Field),
    /// Some line of this event has this value.
    Says(&'static str, &'static Field, &'static str),
    /// None has it.
    NeverSays(&'static str, &'static Field, &'static str),
    /// The start line does not have this value.
    StartIsNot(&'static Field, &'static str),
    /// No sample has a value there, not even zero.
    Absent(&'static [&'static Field]),
    /// At the guest's death the last line was whole and at most 1.25 s old.
    LastLine,
    /// Lines go on within so long after the guest was held.
    Resumes(Duration),
    /// The `stop` line comes within so long after the signal.
    Stops(Duration),
}

/// How a kill has to be told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Oom {
    pub(crate) victim: &'static str,
    pub(crate) scope: &'static str,
    /// Whose counter moved.
    pub(crate) source: &'static str,
}

/// As what the probe runs, and where its lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) privilege: Privilege,
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// All capabilities.
    Root,
    /// A container's default capabilities, in namespaces of its own, without /dev/kmsg.
    Container,
    /// Uid 1000 and nothing.
    User,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Straight to the serial port.
    Direct,
    /// A pipe to an ordinary process that writes to the port, as an agent in the guest does.
    Pipe,
}

impl Form {
    pub(crate) const ROOT: Self = Self { privilege: Privilege::Root, output: Output::Direct };
    pub(crate) const USER: Self = Self { privilege: Privilege::User, output: Output::Direct };
    pub(crate) const CONTAINER: Self = Self { privilege: Privilege::Container, output: Output::Direct };
    pub(crate) const ROOT_PIPE: Self = Self { privilege: Privilege::Root, output: Output::Pipe };
    pub(crate) const CONTAINER_PIPE: Self = Self { privilege: Privilege::Container, output: Output::Pipe };

    /// All that the matrix has.
    pub(crate) const ALL: [Self; 5] = [Self::ROOT, Self::ROOT_PIPE, Self::CONTAINER, Self::CONTAINER_PIPE, Self::USER];

    pub(crate) fn name(self) -> String {
        format!("{:?} {:?}", self.privilege, self.output).to_lowercase()
    }
}

const IDLE: Scenario = Scenario {
    name: "idle",
    about: "nothing happens",
    boot: "",
    set_up: "",
    flags: "",
    oom_score_adj: 0,
    load: "",
    seconds: 6,
    act: Act::Nothing,
    holds: &[Bound::Silence],
};

const GUEST_OOM: Oom = Oom { victim: "hog", scope: "guest", source: "vm" };
const OWN_OOM: Oom = Oom { victim: "hog", scope: "cgroup", source: "own" };

/// All fields that only pressure files give.
const OF_PRESSURE: &[&Field] = &[
    field::CPU_PSI_SOME,
    field::MEM_PSI_SOME,
    field::MEM_PSI_FULL,
    field::IO_PSI_SOME,
    field::CPU_STALL,
    field::MEM_STALL,
    field::IO_STALL,
];

/// All fields that only cgroups give.
const OF_CGROUPS: &[&Field] = &[
    field::MEM_CURRENT,
    field::MEM_PEAK,
    field::MEM_MAX,
    field::MEM_SWAP,
    field::OOM,
    field::OOM_KILL,
    field::MEM_USED,
    field::MEM_ANON,
    field::CPU_THROTTLED,
    field::PIDS_USED,
];

/// Every scenario. Neighbours with the same command line share a guest where they leave it alive.
pub(crate) const ALL: &[Scenario] = &[
    IDLE,
    Scenario {
        name: "oom-guest",
        about: "guest OOM, 40 MB/s",
        load: "within hogs -- /disk/bin/load 25 hog 40",
        seconds: 25,
        holds: &[Bound::Says("top", field::COMM, "hog"), Bound::Silence, Bound::Told(GUEST_OOM)],
        ..IDLE
    },
    Scenario {
        name: "oom-guest-fast",
        about: "guest OOM, 400 MB/s",
        load: "within hogs -- /disk/bin/load 25 hog 400",
        seconds: 25,
        holds: &[Bound::Silence, Bound::Told(GUEST_OOM)],
        ..IDLE
    },
    Scenario {
        name: "oom-cgroup",
        about: "the job meets memory.max",
        set_up: "echo 64M >$runner/memory.max",
        load: "within runner -- /disk/bin/load 25 hog 20",
        seconds: 25,
        holds: &[Bound::Says("top", field::COMM, "hog"), Bound::Silence, Bound::Told(OWN_OOM)],
        ..IDLE
    },
    Scenario {
        name: "oom-sidecar",
        about: "a sidecar meets its memory.max",
        set_up: "echo 64M >$dind/memory.max",
        load: "within dind -- /disk/bin/load 25 hog 20",
        seconds: 25,
        holds: &[Bound::Silence, Bound::Told(Oom { source: "vm", ..OWN_OOM })],
        ..IDLE
    },
    Scenario {
        name: "thrash-high",
        about: "memory.high thrash",
        set_up: "echo 48M >$runner/memory.high",
        load: "within runner -- /disk/bin/load 10 hog 40",
        seconds: 10,
        holds: &[
            Bound::Says("pressure", field::RESOURCE, "memory"),
            Bound::Silence,
            Bound::Shows(field::MEM_HIGH, "50331648"),
            Bound::OverZero(field::MEM_STALL),
        ],
        ..IDLE
    },
    Scenario {
        name: "cpu-starve",
        about: "16 busy loops at nice -10",
        set_up: "within runner -- /disk/bin/load 40 agent 4 &",
        load: "sleep 2; within runner -- /disk/bin/load 12 busy 16 -10",
        seconds: 14,
        holds: &[
            Bound::Says("pressure", field::RESOURCE, "cpu"),
            Bound::Says("agent", field::STATE, "appeared"),
            Bound::Says("agent", field::STATE, "waited"),
            Bound::OverZero(field::AGENT_WAIT),
            Bound::Silence,
            Bound::OverZero(field::CPU_PSI_SOME),
        ],
        ..IDLE
    },
    Scenario {
        name: "cpu-busy",
        about: "a parallel build: two busy loops on the one CPU",
        load: "within runner -- /disk/bin/load 8 busy 2 0",
        seconds: 8,
        holds: &[
            Bound::Silence,
            Bound::OverZero(field::CPU_PSI_SOME),
            Bound::NeverSays("pressure", field::RESOURCE, "cpu"),
        ],
        ..IDLE
    },
    Scenario {
        name: "page-cache",
        about: "a build that reads much: page cache at memory.max",
        set_up: "echo 24M >$runner/memory.max",
        load: "within runner -- /disk/bin/load 10 stream /dev/vda",
        seconds: 10,
        holds: &[
            Bound::Silence,
            Bound::OverZero(field::MEM_USED),
            Bound::NeverSays("pressure", field::RESOURCE, "memory"),
        ],
        ..IDLE
    },
    Scenario {
        name: "cpu-quota",
        about: "a tenth of a CPU, and a busy loop in it",
        set_up: "echo '10000 100000' >$runner/cpu.max",
        load: "within runner -- /disk/bin/load 10 busy 1 0",
        seconds: 10,
        holds: &[Bound::Silence, Bound::OverZero(field::CPU_THROTTLED)],
        ..IDLE
    },
    Scenario {
        name: "disk-full",
        about: "a full disk",
        set_up: "mount -t tmpfs -o size=8m,nr_inodes=1000 tmpfs /watched",
        flags: "--watch /watched",
        load: "within runner -- /disk/bin/load 5 fill /watched",
        seconds: 5,
        holds: &[
            Bound::Says("disk", field::PATH, "/watched"),
            Bound::Silence,
            Bound::Shows(field::DISK_PATH, "/watched"),
            Bound::Shows(field::DISK_USED, "100.0"),
            Bound::Shows(field::DISK_AVAIL, "0"),
        ],
        ..IDLE
    },
    Scenario {
        name: "inodes-full",
        about: "no inodes left",
        set_up: "mount -t tmpfs -o size=8m,nr_inodes=1000 tmpfs /watched",
        flags: "--watch /watched",
        load: "within runner -- /disk/bin/load 5 inodes /watched",
        seconds: 5,
        holds: &[
            Bound::Says("disk", field::INODE_USED, "100.0"),
            Bound::Silence,
            Bound::Shows(field::INODE_USED, "100.0"),
        ],
        ..IDLE
    },
    Scenario {
        name: "pids-full",
        about: "as many processes as there may be",
        set_up: "echo 60 >$runner/pids.max",
        load: "within runner -- /disk/bin/load 6 forks",
        seconds: 6,
        holds: &[Bound::Silence, Bound::OverZero(field::PIDS_FAIL), Bound::Shows(field::PIDS_USED, "100.0")],
        ..IDLE
    },
    Scenario {
        name: "oom-group",
        about: "memory.oom.group=1: all of the job's cgroup is killed",
        set_up: "echo 64M >$runner/memory.max; echo 1 >$runner/memory.oom.group",
        load: "within runner -- /disk/bin/load 25 hog 20",
        seconds: 25,
        holds: &[Bound::Silence, Bound::Outlives],
        ..IDLE
    },
    Scenario {
        name: "oom-adj",
        about: "guest OOM, the probe started with oom_score_adj 1000",
        oom_score_adj: 1000,
        load: "within hogs -- /disk/bin/load 25 hog 40",
        seconds: 25,
        holds: &[Bound::Silence, Bound::Outlives],
        ..IDLE
    },
    Scenario {
        name: "sigterm",
        about: "SIGTERM in the middle of guest OOMs",
        load: "within hogs -a 500 -- /disk/bin/sh -c 'while :; do /disk/bin/load 15 hog 80; done'",
        seconds: 15,
        act: Act::Sigterm,
        holds: &[Bound::Stops(Duration::from_millis(500))],
        ..IDLE
    },
    Scenario {
        name: "held",
        about: "the host stops the guest for 20 s, its clocks go on",
        seconds: 23,
        act: Act::Held(Duration::from_secs(20)),
        holds: &[Bound::Says("gap", field::KIND, "unknown"), Bound::Resumes(Duration::from_millis(1250))],
        ..IDLE
    },
    Scenario {
        name: "paused",
        about: "the host stops the guest for 5 s, its clocks too",
        seconds: 8,
        act: Act::Paused(Duration::from_secs(5)),
        holds: &[Bound::Resumes(Duration::from_millis(1250))],
        ..IDLE
    },
    Scenario {
        name: "thrash-files",
        about: "a file larger than the memory, again and again",
        load: "within runner -- /disk/bin/load 12 files /dev/vda",
        seconds: 12,
        holds: &[Bound::Silence, Bound::OverZero(field::IO_PSI_SOME)],
        ..IDLE
    },
    Scenario {
        name: "livelock",
        about: "reclaim livelock, no kill",
        load: "within runner -- /disk/bin/load 20 livelock /dev/vda 8 4000",
        seconds: 20,
        act: Act::Spoils,
        holds: &[
            Bound::Says("pressure", field::RESOURCE, "memory"),
            Bound::Silence,
            Bound::OverZero(field::MEM_PSI_FULL),
        ],
        ..IDLE
    },
    Scenario {
        name: "psi-off",
        about: "guest OOM without PSI",
        boot: "psi=0",
        load: "within hogs -- /disk/bin/load 25 hog 40",
        seconds: 25,
        holds: &[
            Bound::Says("pressure", field::KIND, "slope"),
            Bound::Silence,
            Bound::Told(GUEST_OOM),
            Bound::StartIsNot(field::PSI, "on"),
            Bound::Absent(OF_PRESSURE),
        ],
        ..IDLE
    },
    Scenario {
        name: "cgroup-v1",
        about: "cgroup v1, the job meets its limit",
        boot: "CGROUPS=v1",
        set_up: "echo 64M >/sys/fs/cgroup/memory/runner/memory.limit_in_bytes",
        load: "within runner -- /disk/bin/load 25 hog 20",
        seconds: 25,
        holds: &[Bound::Silence, Bound::Told(OWN_OOM), Bound::Absent(&[field::OOM]), Bound::OverZero(field::OOM_KILL)],
        ..IDLE
    },
    Scenario {
        name: "cgroup-none",
        about: "guest OOM without any cgroup",
        boot: "CGROUPS=none",
        load: "within hogs -- /disk/bin/load 25 hog 40",
        seconds: 25,
        holds: &[Bound::Silence, Bound::Told(GUEST_OOM), Bound::Absent(OF_CGROUPS)],
        ..IDLE
    },
    Scenario {
        name: "power-off",
        about: "sysrq o",
        seconds: 4,
        act: Act::Dies("echo o >/proc/sysrq-trigger"),
        holds: &[Bound::LastLine],
        ..IDLE
    },
    Scenario {
        name: "reboot",
        about: "sysrq b",
        seconds: 4,
        act: Act::Dies("echo b >/proc/sysrq-trigger"),
        holds: &[Bound::LastLine],
        ..IDLE
    },
    Scenario {
        name: "panic-on-oom",
        about: "vm.panic_on_oom=1 and a guest OOM",
        set_up: "echo 1 >/proc/sys/vm/panic_on_oom",
        load: "within hogs -- /disk/bin/load 20 hog 40",
        seconds: 20,
        act: Act::Panics,
        holds: &[Bound::LastLine],
        ..IDLE
    },
    Scenario {
        name: "power-cut",
        about: "the host kills the guest",
        seconds: 4,
        act: Act::PowerCut,
        holds: &[Bound::LastLine],
        ..IDLE
    },
];

impl Scenario {
    /// Whether the kernel is meant to kill for memory in it.
    pub(crate) fn kills(&self) -> bool {
        self.holds.iter().any(|bound| matches!(bound, Bound::Told(_) | Bound::Outlives))
    }
}

/// The scenario of a name.
pub(crate) fn named(name: &str) -> &'static Scenario {
    ALL.iter().find(|scenario| scenario.name == name).unwrap_or_else(|| panic!("no scenario is called {name}"))
}
