//! Says things: one function a kind of line, each kind within its limit.

use std::time::{Duration, SystemTime};

use crate::line::field::{self, Field, Kind};
use crate::line::{Encoder, LineBuilder, RunId};

use super::cgroup_files::Selection;
use super::config::{Adjusted, Config, Fields};
use super::end::End;
use super::event::{AgentTold, Agreement, Counter, Kill, Limiter, Strain, Told};
use super::guest::Guest;
use super::kernel::Trouble;
use super::largest::Largest;
use super::protect::Protection;
use super::report::{self, Keys, Readings};
use super::sink::handover::Late;
use super::sink::mailbox;
use super::sink::outlets::Outlets;
use super::sink::stdout::Closed;
use super::source::Health;
use super::source::disk::Room;
use super::source::fault::{self, Fault};
use super::source::kmsg::Scope;
use super::watch::clocks::Gap;
use super::watch::supervisor::JobEnd;

/// How many lines of each limited kind may be written, and the count of those held back.
const LIMITS: [Limit; 20] = [
    Limit::new(Kind::About, None, Limiter::per_hour(12)),
    Limit::new(Kind::Oom, Some(field::SUPPRESSED_OOM), Limiter::per_minute(20)),
    Limit::new(Kind::KmsgOom, Some(field::SUPPRESSED_KMSG_OOM), Limiter::per_minute(20)),
    Limit::new(Kind::KmsgHung, Some(field::SUPPRESSED_KMSG_HUNG), Limiter::per_minute(6)),
    Limit::new(Kind::KmsgLockup, Some(field::SUPPRESSED_KMSG_LOCKUP), Limiter::per_minute(6)),
    Limit::new(Kind::KmsgRcu, Some(field::SUPPRESSED_KMSG_RCU), Limiter::per_minute(6)),
    Limit::new(Kind::KmsgIo, Some(field::SUPPRESSED_KMSG_IO), Limiter::per_minute(6)),
    Limit::new(Kind::KmsgFs, Some(field::SUPPRESSED_KMSG_FS), Limiter::per_minute(6)),
    Limit::new(Kind::KmsgAlloc, Some(field::SUPPRESSED_KMSG_ALLOC), Limiter::per_minute(6)),
    Limit::new(Kind::KmsgSegv, Some(field::SUPPRESSED_KMSG_SEGV), Limiter::per_minute(6)),
    Limit::new(Kind::KmsgBalloon, Some(field::SUPPRESSED_KMSG_BALLOON), Limiter::per_minute(6)),
    Limit::new(Kind::KmsgPanic, Some(field::SUPPRESSED_KMSG_PANIC), Limiter::per_minute(6)),
    Limit::new(Kind::KmsgLost, Some(field::SUPPRESSED_KMSG_LOST), Limiter::per_minute(6)),
    Limit::new(Kind::Pressure, Some(field::SUPPRESSED_PRESSURE), Limiter::per_minute(6)),
    // Of groups of lines.
    Limit::new(Kind::Top, Some(field::SUPPRESSED_TOP), Limiter::per_minute(4)),
    Limit::new(Kind::Disk, Some(field::SUPPRESSED_DISK), Limiter::per_minute(6)),
    Limit::new(Kind::Agent, Some(field::SUPPRESSED_AGENT), Limiter::per_minute(12)),
    Limit::new(Kind::Gap, Some(field::SUPPRESSED_GAP), Limiter::per_minute(6)),
    Limit::new(Kind::Degraded, Some(field::SUPPRESSED_DEGRADED), Limiter::per_minute(6)),
    Limit::new(Kind::Config, Some(field::SUPPRESSED_CONFIG), Limiter::per_minute(20)),
];

/// The limit of one kind of line.
#[derive(Clone, Copy, Debug)]
struct Limit {
    kind: Kind,
    /// Where it is told how many were held back.
    field: Option<&'static Field>,
    limiter: Limiter,
}

/// What the `start` and `about` lines say.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// What does not change while the guest runs.
    pub guest: &'a Guest,
    /// The settings.
    pub config: &'a Config,
    /// The watched cgroup.
    pub selection: &'a Selection,
    /// How the sources fare.
    pub health: &'a Health,
    /// What is wrong with the kernel's messages; `None` when they can be read.
    pub kmsg: Option<Trouble>,
    /// The keys printed only over zero that this guest can tell.
    pub supports: &'a Keys,
    /// `MemTotal`.
    pub mem_total_kb: Option<u64>,
    /// Which protections were obtained.
    pub protection: &'a Protection,
    /// What wakes the probe between samples.
    pub triggers: &'a [String],
    /// Samples of bursts that were not written.
    pub bursts_suppressed: u64,
}

/// Makes the lines of a run and writes them.
#[derive(Debug)]
pub struct Voice {
    encoder: Encoder,
    outlets: Outlets,
    is_closed: bool,
    limits: [Limit; LIMITS.len()],
}

impl Voice {
    /// A voice whose first line is `seq=1`.
    #[must_use]
    pub fn new(run: RunId, outlets: impl Into<Outlets>) -> Self {
        let outlets = outlets.into();
        Self { encoder: Encoder::new(run), outlets, is_closed: false, limits: LIMITS }
    }

    /// Where the lines go.
    #[must_use]
    pub fn outlets(&self) -> &Outlets {
        &self.outlets
    }

    /// The same, to change.
    pub fn outlets_mut(&mut self) -> &mut Outlets {
        &mut self.outlets
    }

    /// Whether nobody reads any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The readings of one moment.
    pub fn sample(&mut self, readings: &Readings<'_>, fields: Fields, paths: &[String]) {
        self.line(Kind::Sample, |line| readings.put(line, fields, paths));
    }

    /// The first line.
    pub fn start(&mut self, about: About<'_>) {
        self.line(Kind::Start, |line| {
            put_version(line, about);
            report::put_guest(line, about.guest);
            line.number(field::VM_MEM_TOTAL, about.mem_total_kb);
            report::put_selection(line, about.selection);
            put_support(line, about);
            line.list(field::CAPS, about.guest.caps.iter().copied());
            put_words(line, field::PROTECT, about.protection.words());
            put_words(line, field::TRIGGERS, about.triggers.iter().map(String::as_str));
            report::put_health(line, about.health);
            report::put_runner(line, &about.config.runner);
        });
    }

    /// The short of it.
    pub fn about(&mut self, about: About<'_>, now: Duration) {
        if self.allows(Kind::About, now).is_none() {
            return;
        }
        let limits = self.limits;
        self.line(Kind::About, |line| {
            put_version(line, about);
            report::put_level(line, about.selection);
            put_support(line, about);
            report::put_health(line, about.health);
            report::put_runner(line, &about.config.runner);
            report::put_created(line, &about.config.runner);
            put_suppressed(line, &limits, about.bursts_suppressed);
        });
    }

    /// The last line.
    pub fn stop(
        &mut self,
        reason: &str,
        job: Option<JobEnd>,
        samples: u64,
        mem_peak: Option<u64>,
        bursts_suppressed: u64,
    ) {
        let (tally, limits) = (self.outlets.tally(), self.limits);
        self.line(Kind::Stop, |line| {
            line.text(field::REASON, Some(reason));
            if let Some(JobEnd { end, maxrss_kb, told }) = job {
                match end {
                    End::Exit(code) => line.number(field::JOB_EXIT, Some(u64::from(code))),
                    End::Signal(signal) => line.number(field::JOB_SIGNAL, Some(u64::from(signal))),
                };
                line.number(field::JOB_TOLD, told.map(u64::from)).number(field::JOB_MAXRSS, Some(maxrss_kb));
            }
            line.number(field::SAMPLES, Some(samples)).number(field::MEM_PEAK, mem_peak);
            report::put_tally(line, &tally);
            put_suppressed(line, &limits, bursts_suppressed);
        });
    }

    /// An OOM counter moved, by so many kills.
    pub fn oom(&mut self, counter: Counter, kills: u64, kmsg: Agreement, now: Duration) {
        self.limited(Kind::Oom, now, |line, suppressed| {
            line.text(field::SOURCE, Some(counter.name()))
                .number(field::DELTA, Some(kills))
                .text(field::KMSG, Some(kmsg.name()))
                .number(field::SUPPRESSED, suppressed);
        });
    }

    /// The kernel killed a process for memory.
    pub fn kill(&mut self, kill: &Kill, now: Duration) {
        self.limited(Kind::KmsgOom, now, |line, suppressed| {
            line.number(field::OLD, kill.is_old.then_some(1_u64))
                .text(field::SCOPE, kill.scope.map(Scope::name))
                .text(field::VICTIM_COMM, Some(&kill.comm))
                .number(field::VICTIM_PID, Some(kill.pid))
                .number(field::VICTIM_RSS, kill.rss_kb)
                .number(field::VICTIM_ADJ, kill.adj)
                .text(field::CGROUP, kill.cgroup.as_ref())
                .number(field::SUPPRESSED, suppressed)
                .number(field::KTS, Some(kill.time_us / 1_000_000))
                .text(field::MSG, Some(&kill.text));
        });
    }

    /// A kernel message that explains a death.
    pub fn fault(&mut self, fault: &Fault<'_>, told: Told<'_>, now: Duration) {
        self.limited(kind_of(fault.kind), now, |line, suppressed| {
            line.number(field::OLD, told.is_old.then_some(1_u64))
                .text(field::COMM, fault.comm)
                .text(field::DEV, fault.dev)
                .number(field::SUPPRESSED, suppressed)
                .number(field::KTS, Some(told.time_us / 1_000_000))
                .text(field::MSG, Some(told.text));
        });
    }

    /// So many records of the kernel were overwritten unread.
    pub fn lost(&mut self, count: u64, now: Duration) {
        self.limited(Kind::KmsgLost, now, |line, suppressed| {
            line.number(field::COUNT, Some(count)).number(field::SUPPRESSED, suppressed);
        });
    }

    /// A resource runs short.
    pub fn pressure(&mut self, strain: Strain, now: Duration) {
        self.limited(Kind::Pressure, now, |line, suppressed| {
            line.text(field::RESOURCE, Some(strain.resource.name()))
                .text(field::KIND, Some(strain.sign.name()))
                .number(field::MEM_PRESSURE_LEVEL, strain.sign.level())
                .number(field::VALUE, strain.pct_x10)
                .number(field::SUPPRESSED, suppressed);
        });
    }

    /// The largest processes, a line each, from where.
    pub fn top(&mut self, largest: &Largest, from: &str, now: Duration) {
        let Some(suppressed) = self.allows(Kind::Top, now) else { return };
        for (rank, task) in (1_u64..).zip(largest.iter()) {
            self.line(Kind::Top, |line| {
                line.text(field::COMM, Some(&task.comm))
                    .number(field::RANK, Some(rank))
                    .number(field::PID, Some(task.pid))
                    .number(field::RSS, Some(task.rss_kb))
                    .number(field::ADJ, task.adj)
                    .text(field::FROM, Some(from))
                    .number(field::SUPPRESSED, Some(suppressed));
            });
        }
    }

    /// The agent or its worker appeared, vanished, or waited for a CPU. Gives whether that could be told now.
    pub fn agent(&mut self, told: &AgentTold, now: Duration) -> bool {
        self.limited(Kind::Agent, now, |line, suppressed| {
            line.text(field::COMM, Some(&told.process.comm))
                .text(field::ROLE, Some(told.role.name()))
                .text(field::STATE, Some(told.what.name()))
                .number(field::PID, Some(u64::from(told.process.pid)))
                .number(field::WAIT, told.wait_ms)
                .number(field::SUPPRESSED, suppressed);
        })
    }

    /// A watched path fills up, or cannot be written any more. Gives whether that could be told now.
    pub fn disk(&mut self, path: &str, room: Room, now: Duration) -> bool {
        self.limited(Kind::Disk, now, |line, suppressed| {
            line.text(field::PATH, Some(path))
                .number(field::AVAIL, Some(room.avail_kb))
                .number(field::USED_PCT, Some(room.used_pct_x10))
                .number(field::INODE_USED, room.inode_used_pct_x10)
                .number(field::READ_ONLY, room.is_read_only.then_some(1_u64))
                .number(field::SUPPRESSED, suppressed);
        })
    }

    /// The guest stood still, or its clock jumped.
    pub fn gap(&mut self, gap: Gap, now: Duration) {
        self.limited(Kind::Gap, now, |line, suppressed| {
            line.text(field::KIND, Some(gap.name()))
                .number(field::MS, Some(gap.ms()))
                .number(field::SUPPRESSED, suppressed);
        });
    }

    /// These stopped working, changed their trouble, or came back. Gives whether it could be told now.
    pub fn degraded(&mut self, what: impl AsRef<[u8]>, trouble: Option<Trouble>, now: Duration) -> bool {
        self.degraded_with(|line| _ = line.text(field::WHAT, Some(what)), trouble.map_or("ok", Trouble::text), now)
    }

    /// The same of several sources, by their names.
    pub fn all_degraded<'w>(
        &mut self,
        what: impl Iterator<Item = &'w str> + Clone,
        trouble: Option<Trouble>,
        now: Duration,
    ) -> bool {
        self.degraded_with(|line| _ = line.list(field::WHAT, what), trouble.map_or("ok", Trouble::text), now)
    }

    /// Sinks failed, or are well again. What cannot be told now is told with a later sample.
    pub fn sinks(&mut self, now: Duration) {
        while let Some(news) = self.outlets.news() {
            let error = mailbox::words(news.trouble);
            if !self.degraded_with(|line| _ = line.text(field::WHAT, Some(news.what)), error, now) {
                return;
            }
            self.outlets.was_told(news);
        }
    }

    fn degraded_with(
        &mut self,
        put: impl FnOnce(&mut LineBuilder<'_>),
        error: impl AsRef<[u8]>,
        now: Duration,
    ) -> bool {
        // What is held back is not lost: the caller comes again with it.
        let has_room = self.limits.iter().any(|limit| limit.kind == Kind::Degraded && limit.limiter.has_room(now));
        if has_room {
            self.limited(Kind::Degraded, now, |line, suppressed| {
                put(line);
                line.text(field::ERROR, Some(error)).number(field::SUPPRESSED, suppressed);
            });
        }
        has_room
    }

    /// A setting was clamped or ignored.
    pub fn config(&mut self, Adjusted { key, given, used }: &Adjusted, now: Duration) {
        self.limited(Kind::Config, now, |line, suppressed| {
            line.text(field::KEY, Some(key))
                .text(field::GIVEN, Some(given))
                .text(field::USED, Some(used))
                .number(field::SUPPRESSED, suppressed);
        });
    }

    /// As [`Outlets::finish`].
    pub fn finish(self, patience: Duration) -> Vec<Late> {
        self.outlets.finish(patience)
    }

    /// A line of a limited kind, unless it is held back; `put` gets how many were. Gives whether it was written.
    fn limited(&mut self, kind: Kind, now: Duration, put: impl FnOnce(&mut LineBuilder<'_>, Option<u64>)) -> bool {
        let suppressed = self.allows(kind, now);
        if suppressed.is_some() {
            self.line(kind, |line| put(line, suppressed));
        }
        suppressed.is_some()
    }

    /// Whether a line of this kind may be written now, and how many were held back; one that may not is counted.
    fn allows(&mut self, kind: Kind, now: Duration) -> Option<u64> {
        let limit = self.limits.iter_mut().find(|limit| limit.kind == kind)?;
        limit.limiter.allows(now).then_some(limit.limiter.suppressed())
    }

    fn line(&mut self, kind: Kind, put: impl FnOnce(&mut LineBuilder<'_>)) {
        let mut line = self.encoder.begin(kind, SystemTime::now());
        put(&mut line);
        if let Err(Closed) = self.outlets.write(line.finish()) {
            self.is_closed = true;
        }
    }
}

impl Limit {
    const fn new(kind: Kind, field: Option<&'static Field>, limiter: Limiter) -> Self {
        Self { kind, field, limiter }
    }
}

const fn kind_of(fault: fault::Kind) -> Kind {
    match fault {
        fault::Kind::Hung => Kind::KmsgHung,
        fault::Kind::Lockup => Kind::KmsgLockup,
        fault::Kind::Rcu => Kind::KmsgRcu,
        fault::Kind::Io => Kind::KmsgIo,
        fault::Kind::Fs => Kind::KmsgFs,
        fault::Kind::Alloc => Kind::KmsgAlloc,
        fault::Kind::Segv => Kind::KmsgSegv,
        fault::Kind::Balloon => Kind::KmsgBalloon,
        fault::Kind::Panic => Kind::KmsgPanic,
    }
}

fn put_suppressed(line: &mut LineBuilder<'_>, limits: &[Limit], bursts: u64) {
    for limit in limits {
        if let Some(field) = limit.field {
            line.number(field, Some(limit.limiter.suppressed()));
        }
    }
    line.number(field::SUPPRESSED_BURST, Some(bursts));
}

/// A list that says so when it is empty.
fn put_words<'w>(line: &mut LineBuilder<'_>, field: &Field, words: impl Iterator<Item = &'w str> + Clone) {
    match words.clone().next() {
        None => line.text(field, Some("none")),
        Some(_) => line.list(field, words),
    };
}

fn put_version(line: &mut LineBuilder<'_>, about: About<'_>) {
    line.text(field::PROBE_VERSION, Some(env!("CARGO_PKG_VERSION")))
        .text(field::BOOT_ID, about.guest.boot_id.as_ref())
        .number(field::INTERVAL, u64::try_from(about.config.interval.as_millis()).ok());
}

fn put_support(line: &mut LineBuilder<'_>, about: About<'_>) {
    line.text(field::PSI, Some(report::psi_word(about.health)))
        .text(field::KMSG, Some(report::kmsg_word(about.kmsg)))
        .list(field::SUPPORTS, about.supports.iter());
}
