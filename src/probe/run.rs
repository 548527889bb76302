//! The sampler: one thread that waits for a due time or an event, reads, and writes a line.
//!
//! From the third sample on it allocates nothing and opens nothing; whatever can hang is on the [`super::slow`] thread.

use std::fs::File;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags};
use rustix::process::Pid;
use rustix::time::Timespec;

use crate::line::field::{self, Field, Kind};
use crate::line::{Encoder, LineBuilder, RunId};

use super::cgroup_files::{self, CgroupFiles};
use super::config::{Adjusted, Config};
use super::event::{Kill, Limiter, OomJoiner, Told};
use super::kernel::{KernelFile, Root, Trouble};
use super::rate::{self, Rates, Totals};
use super::report::{self, Guest, Readings};
use super::sample::Sample;
use super::sink::stdout::{Closed, Stdout};
use super::slow::{self, Slow, Work};
use super::source::disk::Fullest;
use super::source::{Health, Id, Sources, kmsg};
use super::watch::kmsg::{Event, Kmsg};
use super::watch::parent::{self, Watched};
use super::watch::signals::Signals;

/// From the baseline to the first sample, so that the first percentages are real.
const FIRST_SPAN: Duration = Duration::from_millis(200);

/// How often the short of the start line is repeated.
const ABOUT_EVERY: Duration = Duration::from_secs(300);

/// How long the last lines may take to get out.
const LAST_WORDS: Duration = Duration::from_millis(60);

/// The slow thread's pace at least: a disk does not fill between two samples of a burst.
const DISK_PACE: Duration = Duration::from_secs(1);

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was told to by SIGTERM.
    Sigterm,
    /// It was told to by SIGINT.
    Sigint,
    /// The process that it was to end with has ended.
    ParentExit,
    /// Nobody reads its lines any more.
    StdoutClosed,
    /// It has taken the samples that were asked for.
    Samples,
}

impl Reason {
    /// As the `stop` line has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sigterm => "sigterm",
            Self::Sigint => "sigint",
            Self::ParentExit => "parent_exit",
            Self::StdoutClosed => "stdout_closed",
            Self::Samples => "samples",
        }
    }
}

/// When samples are due: on a grid, so that lateness never adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    due: Duration,
    interval: Duration,
}

impl Schedule {
    /// The first one is due then, the others at each interval behind it.
    #[must_use]
    pub const fn new(first: Duration, interval: Duration) -> Self {
        Self { due: first, interval }
    }

    /// The earliest due time that is not served yet.
    #[must_use]
    pub const fn due(&self) -> Duration {
        self.due
    }

    /// Serves all that was due until `now`: what was missed is skipped, not made up for.
    pub fn serve(&mut self, now: Duration) {
        let late = now.saturating_sub(self.due);
        let missed = late.as_nanos() / self.interval.as_nanos().max(1);
        let steps = u32::try_from(missed).unwrap_or(u32::MAX - 1) + 1;
        self.due = self.due.saturating_add(self.interval.saturating_mul(steps));
    }
}

/// Lines of each kind that may be written a minute.
#[derive(Debug)]
struct Limits {
    kmsg_oom: Limiter,
    kmsg_lost: Limiter,
    degraded: Limiter,
    config: Limiter,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            kmsg_oom: Limiter::per_minute(20),
            kmsg_lost: Limiter::per_minute(6),
            degraded: Limiter::per_minute(6),
            config: Limiter::per_minute(20),
        }
    }
}

/// What has been told of a source, so that only changes are told again.
#[derive(Debug)]
struct ToldHealth {
    sources: Health,
    disks: Vec<Option<Trouble>>,
}

/// Makes the lines of a run.
#[derive(Debug)]
pub struct Sampler {
    config: Config,
    guest: Guest,
    out: Out,
    sources: Sources,
    slow: Option<Slow>,
    /// Paths that are watched, as lines show them.
    watched: Vec<String>,
    kmsg: Result<Kmsg, Trouble>,
    joiner: OomJoiner,
    limits: Limits,
    told: ToldHealth,
    before: Sample,
    now: Sample,
    totals: Totals,
    started: Instant,
    schedule: Schedule,
    samples: u64,
    about_at: Duration,
}

/// The encoder and where its lines go.
#[derive(Debug)]
struct Out {
    encoder: Encoder,
    stdout: Stdout,
    is_closed: bool,
}

impl Out {
    fn line(&mut self, kind: Kind, put: impl FnOnce(&mut LineBuilder<'_>)) {
        let mut line = self.encoder.begin(kind, SystemTime::now());
        put(&mut line);
        if let Err(Closed) = self.stdout.write(line.finish()) {
            self.is_closed = true;
        }
    }
}

/// Runs until it is told to end, and says why.
///
/// # Errors
/// When not even the descriptors to wait for can be had.
pub fn run(config: Config, run: RunId, stdout: File, signals: &Signals) -> std::io::Result<Reason> {
    let watched = watched_process(&config);
    let mut sampler = Sampler::start(config, run, Stdout::new(stdout)?);
    if let Err(given) = &watched {
        let used = "none".to_owned();
        let adjusted = Adjusted { key: "exit-with".to_owned(), given: given.to_string(), used };
        sampler.tell_config(&[adjusted]);
    }
    let watched = watched.ok().flatten();
    let reason = loop {
        if let Some(reason) = sampler.serve() {
            break reason;
        }
        if let Some(reason) = sampler.wait(signals, watched.as_ref()) {
            break reason;
        }
    };
    sampler.stop(reason);
    Ok(reason)
}

/// The process whose end is the probe's: as set, else the parent when started in the background.
fn watched_process(config: &Config) -> Result<Option<Watched>, u32> {
    match config.exit_with {
        Some(given) => {
            let pid = i32::try_from(given).ok().and_then(Pid::from_raw);
            pid.and_then(Watched::of).map(Some).ok_or(given)
        }
        None if parent::started_in_background() => Ok(rustix::process::getppid().and_then(Watched::of)),
        None => Ok(None),
    }
}

impl Sampler {
    /// Opens everything, takes the baseline and writes the `start` line.
    #[must_use]
    pub fn start(config: Config, run: RunId, stdout: Stdout) -> Self {
        let started = Instant::now();
        let root = Root::new(config.root.clone().unwrap_or_else(|| "/".into()));
        let files = Box::new(CgroupFiles::open(&root, cgroup_files::select(&root, &config.target), 0));
        let usual = if root.is_live() { slow::default_watched() } else { Vec::new() };
        let watched: Vec<_> = usual.into_iter().chain(config.watch.clone()).collect();
        let work = Work {
            root: root.clone(),
            target: config.target.clone(),
            watched: watched.clone(),
            pace: config.interval.max(DISK_PACE),
        };
        let slow = Slow::start(work, &files).ok();
        let uptime_us = uptime_us(&root);
        let kmsg = Kmsg::open(&root, uptime_us.unwrap_or(0));
        let mut sampler = Self {
            guest: guest(&root, uptime_us),
            out: Out { encoder: Encoder::new(run), stdout, is_closed: false },
            sources: Sources::open(&root, files),
            slow,
            told: ToldHealth { sources: Health::default(), disks: vec![None; watched.len()] },
            watched: watched.iter().map(|path| path.display().to_string()).collect(),
            kmsg,
            joiner: OomJoiner::default(),
            limits: Limits::default(),
            before: Sample::default(),
            now: Sample::default(),
            totals: Totals::default(),
            started,
            schedule: Schedule::new(FIRST_SPAN, config.interval),
            samples: 0,
            about_at: ABOUT_EVERY,
            config,
        };
        sampler.baseline();
        sampler.tell_start();
        sampler.tell_config(&sampler.config.adjusted.clone());
        sampler.read_kmsg();
        sampler
    }

    /// Writes what is due now. Gives a reason when the run is over.
    pub fn serve(&mut self) -> Option<Reason> {
        let elapsed = self.started.elapsed();
        if elapsed >= self.schedule.due() {
            self.sample();
            self.schedule.serve(elapsed);
            if elapsed >= self.about_at {
                self.tell_about();
            }
        }
        if let Some(kill) = self.joiner.overdue(self.started.elapsed()) {
            self.tell_kill(&kill);
        }
        let enough = self.config.samples.is_some_and(|samples| self.samples >= samples);
        match (self.out.is_closed, enough) {
            (true, _) => Some(Reason::StdoutClosed),
            (false, true) => Some(Reason::Samples),
            (false, false) => None,
        }
    }

    /// Reads everything and writes a sample line.
    pub fn sample(&mut self) {
        self.take_new_files();
        self.read();
        self.totals = self.totals.advanced(&self.now);
        let span = self.now.at.saturating_sub(self.before.at);
        let rates = rate::rates(&self.before, &self.now, span);
        let elapsed = self.started.elapsed();
        let late = elapsed.saturating_sub(self.schedule.due());
        let readings = Readings {
            sample: &self.now,
            rates: &rates,
            totals: &self.totals,
            late_ms_x10: u64::try_from(late.as_micros() / 100).ok(),
            span_ms: told_span_ms(span, self.config.interval),
            stdout_dropped: self.out.stdout.dropped(),
        };
        let disk_path = self.now.disk.disk.and_then(|(at, _)| self.watched.get(at));
        let fields = self.config.fields;
        self.out.line(Kind::Sample, |line| readings.put(line, fields, disk_path.map(String::as_str)));
        self.samples += 1;
        self.tell_health();
        std::mem::swap(&mut self.before, &mut self.now);
        if self.sources.cgroup_is_gone()
            && let Some(slow) = &self.slow
        {
            slow.ask_for_files();
        }
    }

    /// Every file that a sample reads.
    pub fn files(&self) -> impl Iterator<Item = &std::path::Path> {
        self.sources.files().map(KernelFile::path)
    }

    /// Writes a last sample and the `stop` line, and gives both a moment to get out.
    pub fn stop(mut self, reason: Reason) {
        self.read_kmsg();
        if let Some(kill) = self.joiner.rest() {
            self.tell_kill(&kill);
        }
        if reason != Reason::Samples {
            self.sample();
        }
        let (samples, mem_peak, limits) = (self.samples, self.before.cgroup.mem_peak, &self.limits);
        let dropped = self.out.stdout.dropped();
        self.out.line(Kind::Stop, |line| {
            line.text(field::REASON, Some(reason.name()))
                .number(field::SAMPLES, Some(samples))
                .number(field::MEM_PEAK, mem_peak)
                .number(field::SINK_STDOUT_DROPPED, Some(dropped));
            limits.put(line);
        });
        self.out.stdout.finish(LAST_WORDS);
    }

    /// The first reading, from which the first percentages are taken.
    fn baseline(&mut self) {
        self.read();
        self.totals = self.totals.advanced(&self.now);
        std::mem::swap(&mut self.before, &mut self.now);
    }

    fn read(&mut self) {
        self.now.at = self.started.elapsed();
        self.sources.read(&mut self.now);
        let disks = self.slow.as_mut().map(Slow::disks);
        self.sources.set_disk_health(match &disks {
            Some(Err(trouble)) => Err(*trouble),
            Some(Ok(_)) => Ok(()),
            None => Err(Trouble::Hung),
        });
        self.now.disk = match disks {
            Some(Ok(Some(disks))) => disks.fullest,
            _ => Fullest::default(),
        };
    }

    fn take_new_files(&mut self) {
        let Some(files) = self.slow.as_mut().and_then(Slow::new_files) else { return };
        let level_changed = files.selection != self.sources.cgroup.selection;
        self.sources.cgroup = files;
        if level_changed {
            self.tell_about();
        }
    }

    /// Waits for the next due time or event. Gives a reason when that event ends the run.
    fn wait(&mut self, signals: &Signals, watched: Option<&Watched>) -> Option<Reason> {
        let nothing = signals.fd();
        let poll_fd = |fd, events| PollFd::from_borrowed_fd(fd, events);
        let stdout_events = if self.out.stdout.may_try() { PollFlags::OUT } else { PollFlags::empty() };
        // What is not there is replaced by the signals, asked for nothing.
        let or_nothing = |fd: Option<_>| match fd {
            Some(fd) => poll_fd(fd, PollFlags::IN),
            None => poll_fd(nothing, PollFlags::empty()),
        };
        let mut fds = [
            poll_fd(nothing, PollFlags::IN),
            or_nothing(watched.and_then(Watched::fd)),
            or_nothing(self.kmsg.as_ref().ok().and_then(Kmsg::fd)),
            poll_fd(self.out.stdout.fd(), stdout_events),
        ];
        let timeout = self.timeout(watched);
        let timeout = Timespec::try_from(timeout).unwrap_or_default();
        let came = rustix::event::poll(&mut fds, Some(&timeout));
        let [signal, process, kmsg, stdout] = fds.map(|fd| fd.revents());
        if came.is_err() {
            return None;
        }
        if !signal.is_empty()
            && let Some(reason) = signals.next().and_then(reason_of)
        {
            return Some(reason);
        }
        if !process.is_empty() || watched.is_some_and(Watched::is_gone) {
            return Some(Reason::ParentExit);
        }
        if !kmsg.is_empty() {
            self.read_kmsg();
        }
        let reader_gone = stdout.intersects(PollFlags::ERR | PollFlags::HUP);
        if reader_gone || self.out.stdout.flush().is_err() {
            return Some(Reason::StdoutClosed);
        }
        None
    }

    /// How long nothing has to be done.
    fn timeout(&self, watched: Option<&Watched>) -> Duration {
        let due = self.schedule.due().saturating_sub(self.started.elapsed());
        let retry = self.out.stdout.not_before().map(|at| at.saturating_duration_since(Instant::now()));
        let ask = watched.and_then(Watched::ask_again_in);
        let overdue = self.joiner.overdue_in(self.started.elapsed());
        [retry, ask, overdue].into_iter().flatten().fold(due, Duration::min)
    }

    fn read_kmsg(&mut self) {
        let Ok(kmsg) = &mut self.kmsg else { return };
        let now = self.started.elapsed();
        let (out, joiner, limits) = (&mut self.out, &mut self.joiner, &mut self.limits);
        let read = kmsg.read(|event| match event {
            Event::Lost(count) => tell_lost(out, limits, now, count),
            Event::Record { text, time_us, is_old } => {
                let Some(record) = kmsg::parse_oom(text) else { return };
                let kills = joiner.take(record, Told { time_us, text, is_old }, now);
                kills.iter().flatten().for_each(|kill| tell_kill(out, limits, now, kill));
            }
        });
        if let Err(trouble) = read {
            self.kmsg = Err(trouble);
            self.tell_degraded("kmsg", trouble.text());
        }
    }

    fn tell_kill(&mut self, kill: &Kill) {
        tell_kill(&mut self.out, &mut self.limits, self.started.elapsed(), kill);
    }

    fn tell_config(&mut self, adjusted: &[Adjusted]) {
        for Adjusted { key, given, used } in adjusted {
            let limiter = &mut self.limits.config;
            if limiter.allows(self.started.elapsed()) {
                let suppressed = limiter.suppressed();
                self.out.line(Kind::Config, |line| {
                    line.text(field::KEY, Some(key))
                        .text(field::GIVEN, Some(given))
                        .text(field::USED, Some(used))
                        .number(field::SUPPRESSED, Some(suppressed));
                });
            }
        }
    }

    /// Tells which sources changed how they fare.
    fn tell_health(&mut self) {
        for &id in Id::ALL {
            let now = self.sources.health().of(id);
            if now != self.told.sources.of(id) {
                self.told.sources.set(id, now);
                self.tell_degraded(id.name(), now.map_or_else(Trouble::text, |()| "ok"));
            }
        }
        for at in 0..self.watched.len() {
            let disks = self.slow.as_mut().and_then(|slow| slow.disks().ok().flatten());
            let now = disks.and_then(|disks| disks.troubles.get(at).copied()).flatten();
            let told = self.told.disks.get_mut(at);
            if let Some(told) = told
                && *told != now
            {
                *told = now;
                let path = self.watched.get(at).cloned().unwrap_or_default();
                self.tell_degraded(&path, now.map_or("ok", Trouble::text));
            }
        }
    }

    fn tell_degraded(&mut self, what: &str, error: &str) {
        let limiter = &mut self.limits.degraded;
        if limiter.allows(self.started.elapsed()) {
            let suppressed = limiter.suppressed();
            self.out.line(Kind::Degraded, |line| {
                line.text(field::WHAT, Some(what))
                    .text(field::ERROR, Some(error))
                    .number(field::SUPPRESSED, Some(suppressed));
            });
        }
    }

    fn tell_start(&mut self) {
        self.told.sources = self.sources.health().clone();
        let supports = self.supports();
        let Self { out, guest, config, sources, before, kmsg, .. } = self;
        out.line(Kind::Start, |line| {
            line.text(field::PROBE_VERSION, Some(env!("CARGO_PKG_VERSION")));
            report::put_guest(line, guest);
            line.text(field::BOOT_ID, guest.boot_id.as_ref())
                .number(field::UPTIME, guest.uptime_ms)
                .number(field::VM_MEM_TOTAL, before.meminfo.total_kb)
                .number(field::INTERVAL, interval_ms(config));
            report::put_selection(line, &sources.cgroup.selection);
            put_words(line, sources, kmsg, &supports);
            line.list(field::CAPS, guest.caps.iter().copied());
            report::put_health(line, sources.health());
            report::put_runner(line, &config.runner);
        });
    }

    fn tell_about(&mut self) {
        self.about_at = self.started.elapsed() + ABOUT_EVERY;
        let supports = self.supports();
        let Self { out, guest, config, sources, kmsg, limits, .. } = self;
        out.line(Kind::About, |line| {
            line.text(field::PROBE_VERSION, Some(env!("CARGO_PKG_VERSION")))
                .text(field::BOOT_ID, guest.boot_id.as_ref())
                .number(field::INTERVAL, interval_ms(config));
            report::put_level(line, &sources.cgroup.selection);
            put_words(line, sources, kmsg, &supports);
            report::put_runner(line, &config.runner);
            limits.put(line);
        });
    }

    /// The keys printed only over zero that this guest can tell: those that have a reading over a span of nothing.
    fn supports(&self) -> Vec<&'static str> {
        let mut earlier = self.before.clone();
        if let Some(cpu) = &mut earlier.stat.cpu {
            cpu.idle = cpu.idle.saturating_sub(1);
        }
        let rates: Rates = rate::rates(&earlier, &self.before, Duration::from_secs(1));
        let (sample, totals) = (&self.before, &self.totals);
        let readings = Readings { sample, rates: &rates, totals, late_ms_x10: None, span_ms: None, stdout_dropped: 0 };
        readings.supports()
    }
}

impl Limits {
    fn put(&self, line: &mut LineBuilder<'_>) {
        let kinds: [(&Field, &Limiter); 4] = [
            (field::SUPPRESSED_KMSG_OOM, &self.kmsg_oom),
            (field::SUPPRESSED_KMSG_LOST, &self.kmsg_lost),
            (field::SUPPRESSED_DEGRADED, &self.degraded),
            (field::SUPPRESSED_CONFIG, &self.config),
        ];
        for (field, limiter) in kinds {
            line.number(field, Some(limiter.suppressed()));
        }
    }
}

fn put_words(line: &mut LineBuilder<'_>, sources: &Sources, kmsg: &Result<Kmsg, Trouble>, supports: &[&'static str]) {
    line.text(field::PSI, Some(report::psi_word(sources.health())))
        .text(field::KMSG, Some(report::kmsg_word(kmsg.as_ref().err().copied())))
        .list(field::SUPPORTS, supports.iter().copied());
}

fn tell_kill(out: &mut Out, limits: &mut Limits, now: Duration, kill: &Kill) {
    if !limits.kmsg_oom.allows(now) {
        return;
    }
    let suppressed = limits.kmsg_oom.suppressed();
    out.line(Kind::KmsgOom, |line| {
        line.number(field::OLD, kill.is_old.then_some(1_u64))
            .text(field::SCOPE, kill.scope.map(kmsg::Scope::name))
            .text(field::VICTIM_COMM, Some(&kill.comm))
            .number(field::VICTIM_PID, Some(kill.pid))
            .number(field::VICTIM_RSS, kill.rss_kb)
            .number(field::VICTIM_ADJ, kill.adj)
            .text(field::CGROUP, kill.cgroup.as_ref())
            .number(field::KTS, Some(kill.time_us / 1_000_000))
            .number(field::SUPPRESSED, Some(suppressed))
            .text(field::MSG, Some(&kill.text));
    });
}

fn tell_lost(out: &mut Out, limits: &mut Limits, now: Duration, count: u64) {
    if !limits.kmsg_lost.allows(now) {
        return;
    }
    let suppressed = limits.kmsg_lost.suppressed();
    out.line(Kind::KmsgLost, |line| {
        line.number(field::COUNT, Some(count)).number(field::SUPPRESSED, Some(suppressed));
    });
}

fn reason_of(signal: Signal) -> Option<Reason> {
    match signal {
        Signal::SIGTERM => Some(Reason::Sigterm),
        Signal::SIGINT => Some(Reason::Sigint),
        _ => None,
    }
}

fn interval_ms(config: &Config) -> Option<u64> {
    u64::try_from(config.interval.as_millis()).ok()
}

/// The span of the percentages, where it is more than 5 % off the interval.
fn told_span_ms(span: Duration, interval: Duration) -> Option<u64> {
    let off = span.abs_diff(interval);
    if off > interval / 20 { u64::try_from(span.as_millis()).ok() } else { None }
}

/// /proc/uptime: seconds since boot with two decimals.
fn uptime_us(root: &Root) -> Option<u64> {
    let text = String::from_utf8(root.read("/proc/uptime").ok()?).ok()?;
    let (seconds, hundredths) = text.split(' ').next()?.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + hundredths.parse::<u64>().ok()? * 10_000)
}

fn guest(root: &Root, uptime_us: Option<u64>) -> Guest {
    let uname = rustix::system::uname();
    let word = |word: &std::ffi::CStr| word.to_string_lossy().into_owned();
    let line = |path| root.read(path).ok().map(|text| String::from_utf8_lossy(text.trim_ascii()).into_owned());
    let stat = root.read("/proc/stat").map(|text| super::source::stat::parse(&text));
    Guest {
        os: word(uname.sysname()).to_lowercase(),
        arch: word(uname.machine()),
        kernel: word(uname.release()),
        cpus: stat.ok().map(|stat| stat.cpus).filter(|cpus| *cpus > 0),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        uptime_ms: uptime_us.map(|us| us / 1000),
        caps: report::caps(&root.read("/proc/self/status").unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_stay_on_the_grid() {
        let ms = Duration::from_millis;
        let mut schedule = Schedule::new(ms(200), ms(1000));
        for (served_at, next) in
            [(200, 1200), (1203, 2200), (2199, 2200 + 1000), (3200, 4200), (50_000, 50_200), (50_200, 51_200)]
        {
            schedule.serve(ms(served_at));
            assert_eq!(schedule.due(), ms(next), "served at {served_at}");
        }
    }

    #[test]
    fn a_span_is_told_when_it_is_not_the_interval() {
        let ms = Duration::from_millis;
        assert_eq!(told_span_ms(ms(1050), ms(1000)), None);
        assert_eq!(told_span_ms(ms(1051), ms(1000)), Some(1051));
        assert_eq!(told_span_ms(ms(200), ms(3000)), Some(200));
    }
}
