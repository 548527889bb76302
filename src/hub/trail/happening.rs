//! What is kept of event lines: of each class the latest few.

mod narrow;

use serde::{Deserialize, Serialize};

use crate::line::Line;
use crate::line::field;
use crate::line::field::Field;

use super::slice::Mark;
use super::text;
pub use narrow::{Adj, KernelSeconds};

/// An event and the line that told it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Happening {
    /// The line.
    pub mark: Mark,
    /// What it told.
    pub what: What,
}

/// What an event line tells. Numbers that the line does not have are `None`; kernel seconds (`kts`) are since boot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum What {
    /// `kmsg.oom`: the kernel killed for memory.
    Kill {
        /// `cgroup` or `guest`; `None` where the kernel did not say.
        scope: Option<Scope>,
        /// Who was killed.
        victim: Box<str>,
        /// Its `oom_score_adj`.
        adj: Option<Adj>,
        /// Its resident memory, KiB.
        rss_kb: Option<u32>,
        /// The kernel's clock.
        kts: Option<KernelSeconds>,
        /// The cgroup that met its limit; of a guest-wide kill the victim's. As long as that of the own cgroup is told.
        cgroup: Box<str>,
    },
    /// `oom`: a counter moved by so many kills.
    Counter {
        /// Whose.
        source: Source,
        /// By how much. A limit that was met and nothing killed ends nobody, and is not kept.
        delta: i64,
    },
    /// `top` of rank 1: the largest process.
    Largest {
        /// Its name.
        comm: Box<str>,
        /// Its resident memory, KiB.
        rss_kb: i64,
    },
    /// `agent`: the CI runner's own process.
    Agent {
        /// Whether it is the agent's worker, whose end is the normal end of a job.
        is_worker: bool,
        /// What became of it.
        state: AgentState,
        /// Its name.
        comm: Box<str>,
        /// How long its threads waited for a CPU, ms.
        wait_ms: Option<u32>,
    },
    /// `pressure`: a resource runs short.
    Pressure {
        /// memory, io or cpu.
        resource: Box<str>,
        /// psi, events, slope.
        kind: Box<str>,
        /// In tenths of a per cent.
        value: Option<u32>,
    },
    /// `disk`: a watched path fills up.
    Disk {
        /// The path.
        path: Box<str>,
        /// Tenths of a per cent.
        used: Option<u32>,
        /// Tenths of a per cent.
        inode_used: Option<u32>,
        /// It was writable before, and is not now.
        is_read_only: bool,
    },
    /// Another `kmsg.*`: the kernel says what explains a death.
    Kernel {
        /// Which.
        kind: Fault,
        /// The process or device that it is about.
        about: Box<str>,
        /// The kernel's clock.
        kts: Option<KernelSeconds>,
        /// The beginning of its message.
        says: Box<str>,
    },
    /// `gap`: the guest stood still, or its clock jumped.
    Gap {
        /// paused, unknown: that the clock was set ends nobody, and is not kept.
        kind: Box<str>,
        /// How long.
        ms: i64,
    },
    /// `degraded` of a sink: it stopped working; `error` is `ok` when it came back.
    Degraded {
        /// Which.
        what: Box<str>,
        /// Why.
        error: Box<str>,
    },
    /// `stop`: the run's own last word.
    Stop {
        /// Why it ends.
        reason: Box<str>,
        /// The code that the job ended with.
        job_exit: Option<i64>,
        /// The signal that ended it.
        job_signal: Option<u8>,
        /// The signal that it was told to end by.
        job_told: Option<u8>,
    },
    /// `phase`: the runner's life, told by its scripts.
    Phase {
        /// warming, ready, claimed, ended.
        phase: Box<str>,
        /// The code that the job ended with.
        job_exit: Option<i64>,
    },
}

/// How far an OOM kill reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Scope {
    /// The memory of the whole guest ran out.
    Guest,
    /// A cgroup met its limit.
    Cgroup,
}

/// Whose OOM counter moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Source {
    /// The watched cgroup's.
    Own,
    /// That of its topmost visible ancestor.
    Tree,
    /// The whole guest's.
    Vm,
}

/// What became of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum AgentState {
    /// It is there.
    Appeared,
    /// It is gone.
    Vanished,
    /// It waited for a CPU.
    Waited,
}

/// A kernel message that explains a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Fault {
    /// The kernel itself crashed.
    Panic,
    /// A CPU has not scheduled for many seconds.
    Lockup,
    /// RCU waits for a CPU that does not come.
    Rcu,
    /// A task has waited for minutes.
    Hung,
    /// A disk failed a request.
    Io,
    /// A file system found an error.
    Fs,
    /// The kernel could not get memory.
    Alloc,
    /// A process crashed.
    Segv,
    /// The balloon took memory from the guest.
    Balloon,
}

impl Fault {
    const NAMED: [(&'static str, Self); 9] = [
        ("kmsg.panic", Self::Panic),
        ("kmsg.lockup", Self::Lockup),
        ("kmsg.rcu", Self::Rcu),
        ("kmsg.hung", Self::Hung),
        ("kmsg.io", Self::Io),
        ("kmsg.fs", Self::Fs),
        ("kmsg.alloc", Self::Alloc),
        ("kmsg.segv", Self::Segv),
        ("kmsg.balloon", Self::Balloon),
    ];

    /// The event that tells it.
    #[must_use]
    pub fn event(self) -> &'static str {
        Self::NAMED.iter().find(|(_, fault)| *fault == self).map_or("kmsg", |(event, _)| event)
    }
}

/// The longest text that is kept of a line for what it says, bytes. What is compared is kept as long as its field is.
const TEXT_BYTES: usize = 96;

impl What {
    /// What this line tells; `None` for a record from before the run and for what no verdict needs.
    #[must_use]
    pub fn of(line: &Line<'_>) -> Option<Self> {
        let event = line.event.as_deref()?;
        if line.scaled(field::OLD) == Some(1) {
            return None;
        }
        let text = |of: &Field| short(text::of(line, of).unwrap_or_default());
        let number = |of: &Field| line.scaled(of);
        Some(match event {
            "kmsg.oom" => Self::Kill {
                scope: match line.text(field::SCOPE) {
                    Some("guest") => Some(Scope::Guest),
                    Some("cgroup") => Some(Scope::Cgroup),
                    _ => None,
                },
                victim: text(field::VICTIM_COMM),
                adj: number(field::VICTIM_ADJ).and_then(Adj::of),
                rss_kb: number(field::VICTIM_RSS).and_then(narrow),
                kts: number(field::KTS).and_then(KernelSeconds::of),
                // It is compared with the own path, which is told in so many bytes.
                cgroup: text::cut(line.text(field::CGROUP).unwrap_or_default(), field::CGROUP_PATH).into(),
            },
            "oom" => Self::Counter {
                source: source(line.text(field::SOURCE)?)?,
                delta: number(field::DELTA).filter(|delta| *delta > 0)?,
            },
            "top" if number(field::RANK) == Some(1) => {
                Self::Largest { comm: text(field::COMM), rss_kb: number(field::RSS)? }
            }
            "agent" => Self::Agent {
                is_worker: line.text(field::ROLE) == Some("worker"),
                state: agent_state(line.text(field::STATE)?)?,
                comm: text(field::COMM),
                wait_ms: number(field::WAIT).and_then(narrow),
            },
            "pressure" => Self::Pressure {
                resource: text(field::RESOURCE),
                kind: text(field::KIND),
                value: number(field::VALUE).and_then(narrow),
            },
            "disk" => Self::Disk {
                path: text(field::PATH),
                used: number(field::USED_PCT).and_then(narrow),
                inode_used: number(field::INODE_USED).and_then(narrow),
                is_read_only: number(field::READ_ONLY) == Some(1),
            },
            "gap" if line.text(field::KIND) != Some("clock") => {
                Self::Gap { kind: text(field::KIND), ms: number(field::MS)? }
            }
            // Of the rest no verdict needs to know.
            "degraded" if line.text(field::WHAT).is_some_and(|what| what.contains("sink.")) => {
                Self::Degraded { what: text(field::WHAT), error: text(field::ERROR) }
            }
            "stop" => Self::Stop {
                reason: text(field::REASON),
                job_exit: number(field::JOB_EXIT),
                job_signal: number(field::JOB_SIGNAL).and_then(|signal| u8::try_from(signal).ok()),
                job_told: number(field::JOB_TOLD).and_then(|signal| u8::try_from(signal).ok()),
            },
            "phase" => Self::Phase { phase: text::of(line, field::PHASE)?.into(), job_exit: number(field::JOB_EXIT) },
            _ => return Self::kernel(event, line),
        })
    }

    fn kernel(event: &str, line: &Line<'_>) -> Option<Self> {
        let (_, kind) = Fault::NAMED.iter().find(|(name, _)| *name == event)?;
        let about = text::of(line, field::COMM).or(text::of(line, field::DEV)).unwrap_or_default();
        Some(Self::Kernel {
            kind: *kind,
            about: short(about),
            kts: line.scaled(field::KTS).and_then(KernelSeconds::of),
            says: short(line.text(field::MSG).unwrap_or_default()),
        })
    }

    /// Of which class it is, and how many of that class are kept. What comes often in one class does not drive out what tells a death
    /// in another: a job's crashing tests the kernel's last words, the guest's count of kills the own cgroup's.
    fn class(&self) -> (u8, usize) {
        match self {
            Self::Kill { .. } => (0, 3),
            Self::Counter { source: Source::Own, .. } => (1, 1),
            Self::Counter { source: Source::Tree, .. } => (12, 1),
            Self::Counter { source: Source::Vm, .. } => (13, 1),
            Self::Largest { .. } => (2, 1),
            Self::Agent { state: AgentState::Waited, .. } => (3, 1),
            Self::Agent { .. } => (4, 3),
            Self::Pressure { .. } => (5, 3),
            Self::Disk { .. } => (6, 1),
            Self::Kernel { kind: Fault::Segv, .. } => (7, 2),
            Self::Kernel { kind: Fault::Hung | Fault::Io, .. } => (14, 2),
            Self::Kernel { kind: Fault::Alloc | Fault::Balloon, .. } => (15, 1),
            Self::Kernel { kind: Fault::Panic | Fault::Lockup | Fault::Rcu | Fault::Fs, .. } => (16, 2),
            Self::Gap { .. } => (8, 2),
            Self::Degraded { .. } => (9, 1),
            Self::Stop { .. } => (10, 1),
            Self::Phase { .. } => (11, 1),
        }
    }
}

/// Keeps a happening among those of its class, the latest of them; `all` stays in the order of the lines.
pub fn keep(all: &mut Vec<Happening>, new: Happening) {
    let (class, most) = new.what.class();
    let at = all.partition_point(|kept| kept.mark.seq < new.mark.seq);
    all.reserve_exact(1);
    all.insert(at, new);
    let mut of_class = all.iter().enumerate().filter(|(_, kept)| kept.what.class().0 == class).map(|(at, _)| at);
    let oldest = of_class.next();
    if let Some(oldest) = oldest.filter(|_| of_class.count() >= most) {
        all.remove(oldest);
    }
}

/// A number that is kept in less room; one that does not fit is none.
fn narrow(number: i64) -> Option<u32> {
    u32::try_from(number).ok()
}

fn short(text: &str) -> Box<str> {
    text::cut_at(text, TEXT_BYTES).into()
}

fn source(text: &str) -> Option<Source> {
    match text {
        "own" => Some(Source::Own),
        "tree" => Some(Source::Tree),
        "vm" => Some(Source::Vm),
        _ => None,
    }
}

fn agent_state(text: &str) -> Option<AgentState> {
    match text {
        "appeared" => Some(AgentState::Appeared),
        "vanished" => Some(AgentState::Vanished),
        "waited" => Some(AgentState::Waited),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::slice::Place;
    use super::*;

    fn what(event: &str) -> Option<What> {
        What::of(&Line::decode(&format!("RUNNER_VITALS ts= run=k3x9 seq=1 event={event}")).unwrap())
    }

    #[test]
    fn an_event_is_read() {
        assert_eq!(what("oom source=own delta=2"), Some(What::Counter { source: Source::Own, delta: 2 }));
        assert_eq!(what("gap kind=unknown ms=1205"), Some(What::Gap { kind: "unknown".into(), ms: 1205 }));
        assert!(matches!(
            what("kmsg.oom scope=guest victim.comm=hog kts=7"),
            Some(What::Kill { scope: Some(Scope::Guest), .. })
        ));
        assert!(matches!(what("kmsg.panic msg=x"), Some(What::Kernel { kind: Fault::Panic, .. })));
        assert!(matches!(what("phase phase=ended job.exit=3"), Some(What::Phase { job_exit: Some(3), .. })));
        for nothing in [
            "kmsg.oom old=1 scope=guest",
            "top rank=2 comm=x rss.kb=1",
            "oom delta=1",
            "oom source=own delta=0",
            "gap kind=clock ms=9",
            "newer x=1",
        ] {
            assert_eq!(what(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_common_does_not_drive_out_what_is_rare() {
        let mut all = Vec::new();
        let mut take = |seq, event: &str| {
            if let Some(what) = what(event) {
                keep(&mut all, Happening { mark: Mark::new(seq, None, Place::default()), what });
            }
        };
        for (seq, event) in (0..).zip(["kmsg.panic", "gap kind=paused ms=9", "oom source=own delta=1"]) {
            take(seq, event);
        }
        for seq in 10..20 {
            for event in ["kmsg.segv", "kmsg.io", "kmsg.hung", "kmsg.alloc", "kmsg.balloon", "gap kind=clock ms=9"] {
                take(seq, event);
            }
            take(seq, "oom source=tree delta=1");
            take(seq, "oom source=vm delta=1");
        }
        let kept: Vec<u64> = all.iter().map(|one| one.mark.seq).collect();
        assert_eq!(kept[..4], [0, 1, 2, 18], "{all:?}");
    }

    #[test]
    fn the_latest_of_each_class_are_kept_in_any_order() {
        let gap = |seq| Happening {
            mark: Mark::new(seq, None, Place::default()),
            what: What::Gap { kind: "unknown".into(), ms: 1 },
        };
        for order in [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]] {
            let mut all = vec![Happening { mark: gap(0).mark, what: What::Counter { source: Source::Vm, delta: 1 } }];
            for seq in order {
                keep(&mut all, gap(seq));
            }
            assert_eq!(all.iter().map(|kept| kept.mark.seq).collect::<Vec<_>>(), [0, 3, 4], "{order:?}");
        }
    }
}
