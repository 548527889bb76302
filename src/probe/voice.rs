//! Says things: one function a kind of line, each kind within its limit.

use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime};

use crate::line::field::{self, Field, Kind};
use crate::line::{Encoder, LineBuilder, RunId};

use super::cgroup_files::Selection;
use super::config::{Adjusted, Config, Fields};
use super::event::{Agreement, Counter, Kill, Limiter, Told};
use super::guest::Guest;
use super::kernel::Trouble;
use super::report::{self, Keys, Readings};
use super::sink::stdout::{Closed, Stdout};
use super::source::Health;
use super::source::fault::{self, Fault};
use super::source::kmsg::Scope;

/// The line of each kind of fault, and the count of those held back.
const FAULTS: [(fault::Kind, Kind, &Field); fault::Kind::ALL.len()] = [
    (fault::Kind::Hung, Kind::KmsgHung, field::SUPPRESSED_KMSG_HUNG),
    (fault::Kind::Lockup, Kind::KmsgLockup, field::SUPPRESSED_KMSG_LOCKUP),
    (fault::Kind::Rcu, Kind::KmsgRcu, field::SUPPRESSED_KMSG_RCU),
    (fault::Kind::Io, Kind::KmsgIo, field::SUPPRESSED_KMSG_IO),
    (fault::Kind::Fs, Kind::KmsgFs, field::SUPPRESSED_KMSG_FS),
    (fault::Kind::Alloc, Kind::KmsgAlloc, field::SUPPRESSED_KMSG_ALLOC),
    (fault::Kind::Segv, Kind::KmsgSegv, field::SUPPRESSED_KMSG_SEGV),
    (fault::Kind::Balloon, Kind::KmsgBalloon, field::SUPPRESSED_KMSG_BALLOON),
    (fault::Kind::Panic, Kind::KmsgPanic, field::SUPPRESSED_KMSG_PANIC),
];

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
}

/// Makes the lines of a run and writes them.
#[derive(Debug)]
pub struct Voice {
    encoder: Encoder,
    stdout: Stdout,
    is_closed: bool,
    limits: Limits,
}

/// How many lines of each kind may be written.
#[derive(Debug)]
struct Limits {
    about: Limiter,
    oom: Limiter,
    kmsg_oom: Limiter,
    /// One for each kind of fault, in their order.
    faults: [Limiter; fault::Kind::ALL.len()],
    kmsg_lost: Limiter,
    degraded: Limiter,
    config: Limiter,
}

impl Voice {
    /// A voice whose first line is `seq=1`.
    #[must_use]
    pub fn new(run: RunId, stdout: Stdout) -> Self {
        let limits = Limits {
            about: Limiter::per_hour(12),
            oom: Limiter::per_minute(20),
            kmsg_oom: Limiter::per_minute(20),
            faults: [Limiter::per_minute(6); fault::Kind::ALL.len()],
            kmsg_lost: Limiter::per_minute(6),
            degraded: Limiter::per_minute(6),
            config: Limiter::per_minute(20),
        };
        Self { encoder: Encoder::new(run), stdout, is_closed: false, limits }
    }

    /// Where the lines go.
    pub fn stdout(&mut self) -> &mut Stdout {
        &mut self.stdout
    }

    /// Where the lines go, to wait for.
    #[must_use]
    pub fn stdout_fd(&self) -> BorrowedFd<'_> {
        self.stdout.fd()
    }

    /// Lines that stdout could not take.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.stdout.dropped()
    }

    /// Whether nobody reads any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The readings of one moment.
    pub fn sample(&mut self, readings: &Readings<'_>, fields: Fields, paths: &[String]) {
        self.line(Kind::Sample, |line, _| readings.put(line, fields, paths));
    }

    /// The first line.
    pub fn start(&mut self, about: About<'_>) {
        self.line(Kind::Start, |line, _| {
            put_version(line, about);
            report::put_guest(line, about.guest);
            line.number(field::VM_MEM_TOTAL, about.mem_total_kb);
            report::put_selection(line, about.selection);
            put_support(line, about);
            line.list(field::CAPS, about.guest.caps.iter().copied());
            report::put_health(line, about.health);
            report::put_runner(line, &about.config.runner);
        });
    }

    /// The short of it.
    pub fn about(&mut self, about: About<'_>, now: Duration) {
        if !self.limits.about.allows(now) {
            return;
        }
        self.line(Kind::About, |line, limits| {
            put_version(line, about);
            report::put_level(line, about.selection);
            put_support(line, about);
            report::put_health(line, about.health);
            report::put_runner(line, &about.config.runner);
            limits.put(line);
        });
    }

    /// The last line.
    pub fn stop(&mut self, reason: &str, samples: u64, mem_peak: Option<u64>) {
        let dropped = self.dropped();
        self.line(Kind::Stop, |line, limits| {
            line.text(field::REASON, Some(reason))
                .number(field::SAMPLES, Some(samples))
                .number(field::MEM_PEAK, mem_peak)
                .number(field::SINK_STDOUT_DROPPED, Some(dropped));
            limits.put(line);
        });
    }

    /// An OOM counter moved, by so many kills.
    pub fn oom(&mut self, counter: Counter, kills: u64, kmsg: Agreement, now: Duration) {
        if !self.limits.oom.allows(now) {
            return;
        }
        self.line(Kind::Oom, |line, limits| {
            line.text(field::SOURCE, Some(counter.name()))
                .number(field::DELTA, Some(kills))
                .text(field::KMSG, Some(kmsg.name()))
                .number(field::SUPPRESSED, Some(limits.oom.suppressed()));
        });
    }

    /// The kernel killed a process for memory.
    pub fn kill(&mut self, kill: &Kill, now: Duration) {
        if !self.limits.kmsg_oom.allows(now) {
            return;
        }
        self.line(Kind::KmsgOom, |line, limits| {
            line.number(field::OLD, kill.is_old.then_some(1_u64))
                .text(field::SCOPE, kill.scope.map(Scope::name))
                .text(field::VICTIM_COMM, Some(&kill.comm))
                .number(field::VICTIM_PID, Some(kill.pid))
                .number(field::VICTIM_RSS, kill.rss_kb)
                .number(field::VICTIM_ADJ, kill.adj)
                .text(field::CGROUP, kill.cgroup.as_ref())
                .number(field::SUPPRESSED, Some(limits.kmsg_oom.suppressed()))
                .number(field::KTS, Some(kill.time_us / 1_000_000))
                .text(field::MSG, Some(&kill.text));
        });
    }

    /// A kernel message that explains a death.
    pub fn fault(&mut self, fault: &Fault<'_>, told: Told<'_>, now: Duration) {
        let limiter = FAULTS.iter().zip(&mut self.limits.faults).find(|((kind, ..), _)| *kind == fault.kind);
        let Some(((_, kind, _), limiter)) = limiter else { return };
        if !limiter.allows(now) {
            return;
        }
        let suppressed = limiter.suppressed();
        self.line(*kind, |line, _| {
            line.number(field::OLD, told.is_old.then_some(1_u64))
                .text(field::COMM, fault.comm)
                .text(field::DEV, fault.dev)
                .number(field::SUPPRESSED, Some(suppressed))
                .number(field::KTS, Some(told.time_us / 1_000_000))
                .text(field::MSG, Some(told.text));
        });
    }

    /// So many records of the kernel were overwritten unread.
    pub fn lost(&mut self, count: u64, now: Duration) {
        if !self.limits.kmsg_lost.allows(now) {
            return;
        }
        self.line(Kind::KmsgLost, |line, limits| {
            line.number(field::COUNT, Some(count)).number(field::SUPPRESSED, Some(limits.kmsg_lost.suppressed()));
        });
    }

    /// These stopped working, changed their trouble, or came back. Gives whether it could be told now.
    pub fn degraded(&mut self, what: impl AsRef<[u8]>, trouble: Option<Trouble>, now: Duration) -> bool {
        self.degraded_with(|line| _ = line.text(field::WHAT, Some(what)), trouble, now)
    }

    /// The same of several sources, by their names.
    pub fn all_degraded<'w>(
        &mut self,
        what: impl Iterator<Item = &'w str> + Clone,
        trouble: Option<Trouble>,
        now: Duration,
    ) -> bool {
        self.degraded_with(|line| _ = line.list(field::WHAT, what), trouble, now)
    }

    fn degraded_with(
        &mut self,
        put: impl FnOnce(&mut LineBuilder<'_>),
        trouble: Option<Trouble>,
        now: Duration,
    ) -> bool {
        // What is held back is not lost: the caller comes again with it.
        if !self.limits.degraded.has_room(now) || !self.limits.degraded.allows(now) {
            return false;
        }
        self.line(Kind::Degraded, |line, limits| {
            put(line);
            line.text(field::ERROR, Some(trouble.map_or("ok", Trouble::text)))
                .number(field::SUPPRESSED, Some(limits.degraded.suppressed()));
        });
        true
    }

    /// A setting was clamped or ignored.
    pub fn config(&mut self, Adjusted { key, given, used }: &Adjusted, now: Duration) {
        if !self.limits.config.allows(now) {
            return;
        }
        self.line(Kind::Config, |line, limits| {
            line.text(field::KEY, Some(key))
                .text(field::GIVEN, Some(given))
                .text(field::USED, Some(used))
                .number(field::SUPPRESSED, Some(limits.config.suppressed()));
        });
    }

    /// Gives what was said a moment to get out.
    pub fn finish(self, patience: Duration) {
        self.stdout.finish(patience);
    }

    fn line(&mut self, kind: Kind, put: impl FnOnce(&mut LineBuilder<'_>, &Limits)) {
        let mut line = self.encoder.begin(kind, SystemTime::now());
        put(&mut line, &self.limits);
        if let Err(Closed) = self.stdout.write(line.finish()) {
            self.is_closed = true;
        }
    }
}

impl Limits {
    fn put(&self, line: &mut LineBuilder<'_>) {
        let kinds: [(&Field, &Limiter); 5] = [
            (field::SUPPRESSED_OOM, &self.oom),
            (field::SUPPRESSED_KMSG_OOM, &self.kmsg_oom),
            (field::SUPPRESSED_KMSG_LOST, &self.kmsg_lost),
            (field::SUPPRESSED_DEGRADED, &self.degraded),
            (field::SUPPRESSED_CONFIG, &self.config),
        ];
        for (field, limiter) in kinds {
            line.number(field, Some(limiter.suppressed()));
        }
        for ((_, _, field), limiter) in FAULTS.iter().zip(&self.faults) {
            line.number(field, Some(limiter.suppressed()));
        }
    }
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
