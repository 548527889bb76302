//! Reads, computes and has a line written. From the third sample on it allocates nothing and opens nothing.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::line::RunId;

use super::cgroup_files::{self, CgroupFiles};
use super::config::{Adjusted, Config};
use super::event::{OomJoiner, Told};
use super::guest::{self, Guest};
use super::kernel::{KernelFile, Root, Trouble};
use super::levels::Target;
use super::rate::{self, Totals};
use super::report::Readings;
use super::sample::Sample;
use super::sink::stdout::Stdout;
use super::slow::{self, Slow, Work};
use super::source::disk::Fullest;
use super::source::{Health, Sources, kmsg};
use super::voice::{About, Voice};
use super::watch::kmsg::{Event, Kmsg};

/// How often the short of the start line is repeated.
const ABOUT_EVERY: Duration = Duration::from_secs(300);

/// How long the last lines may take to get out.
const LAST_WORDS: Duration = Duration::from_millis(60);

/// The slow thread's pace at least: no disk fills between two samples that are closer.
const DISK_PACE: Duration = Duration::from_secs(1);

/// The state of a run.
#[derive(Debug)]
pub struct Sampler {
    config: Config,
    guest: Guest,
    voice: Voice,
    sources: Sources,
    slow: Option<Slow>,
    /// Paths that are watched, as lines show them.
    watched: Vec<String>,
    kmsg: Result<Kmsg, Trouble>,
    joiner: OomJoiner,
    /// What has been told of each source and watched path, so that only changes are told again.
    told: Health,
    told_disks: Vec<Option<Trouble>>,
    before: Sample,
    now: Sample,
    totals: Totals,
    started: Instant,
    samples: u64,
    about_at: Duration,
}

impl Sampler {
    /// Opens everything, takes the baseline and writes the `start` line.
    #[must_use]
    pub fn start(config: Config, run: RunId, stdout: Stdout) -> Self {
        let started = Instant::now();
        let root = Root::new(config.root.clone().unwrap_or_else(|| "/".into()));
        let files = Box::new(CgroupFiles::open(&root, cgroup_files::select(&root, &config.target), 0));
        let watched = watched(&root, &config);
        let pace = config.interval.max(DISK_PACE);
        let work = Work { root: root.clone(), target: config.target.clone(), watched: watched.clone(), pace };
        let slow = Slow::start(work, &files).ok();
        let uptime_us = root.read("/proc/uptime").ok().and_then(|text| guest::uptime_us(&text));
        let mut sampler = Self {
            guest: Guest::read(&root, uptime_us),
            voice: Voice::new(run, stdout),
            kmsg: Kmsg::open(&root, uptime_us.unwrap_or(0)),
            sources: Sources::open(&root, files),
            slow,
            watched: watched.iter().map(|path| path.display().to_string()).collect(),
            joiner: OomJoiner::default(),
            told: Health::default(),
            told_disks: vec![None; watched.len()],
            before: Sample::default(),
            now: Sample::default(),
            totals: Totals::default(),
            started,
            samples: 0,
            about_at: ABOUT_EVERY,
            config,
        };
        sampler.baseline();
        sampler.told = sampler.sources.health().clone();
        sampler.tell_about(Voice::start);
        for adjusted in sampler.config.adjusted.clone() {
            sampler.tell_config(&adjusted);
        }
        if let Target::OfPid(pid) = sampler.config.target
            && sampler.sources.cgroup.selection.path.is_none()
        {
            let (key, used) = ("cgroup-of".to_owned(), "none".to_owned());
            sampler.tell_config(&Adjusted { key, given: pid.to_string(), used });
        }
        sampler
    }

    /// The run's own clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Samples taken so far.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// What says the lines.
    pub fn voice(&mut self) -> &mut Voice {
        &mut self.voice
    }

    /// Where the lines go, to wait for.
    #[must_use]
    pub fn stdout_fd(&self) -> BorrowedFd<'_> {
        self.voice.stdout_fd()
    }

    /// The kernel's messages, where they can be read.
    #[must_use]
    pub fn kmsg(&self) -> Option<&Kmsg> {
        self.kmsg.as_ref().ok()
    }

    /// Every file that a sample reads.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.files().map(KernelFile::path)
    }

    /// Reads everything and writes a sample line. `due` is the earliest due time that it serves.
    pub fn sample(&mut self, due: Duration) {
        self.take_new_files();
        self.read();
        self.totals = self.totals.advanced(&self.now);
        let span = self.now.at.saturating_sub(self.before.at);
        let late = self.elapsed().saturating_sub(due);
        let readings = Readings {
            sample: &self.now,
            rates: &rate::rates(&self.before, &self.now, span),
            totals: &self.totals,
            late_ms_x10: u64::try_from(late.as_micros() / 100).ok(),
            span_ms: told_span_ms(span, self.config.interval),
            stdout_dropped: self.voice.dropped(),
        };
        let disk_path = self.now.disk.disk.and_then(|(at, _)| self.watched.get(at));
        self.voice.sample(&readings, self.config.fields, disk_path.map(String::as_str));
        self.samples += 1;
        std::mem::swap(&mut self.before, &mut self.now);
        self.tell_health();
        if self.elapsed() >= self.about_at {
            self.tell_about(Voice::about);
        }
    }

    /// Reads what the kernel has said; whether there may be more.
    pub fn read_kmsg(&mut self) -> bool {
        let now = self.elapsed();
        let Ok(kmsg) = &mut self.kmsg else { return false };
        let (voice, joiner) = (&mut self.voice, &mut self.joiner);
        let read = kmsg.read(|event| match event {
            Event::Lost(count) => voice.lost(count, now),
            Event::Record { text, time_us, is_old } => {
                let Some(record) = kmsg::parse_oom(text) else { return };
                let kills = joiner.take(record, Told { time_us, text, is_old }, now);
                kills.iter().flatten().for_each(|kill| voice.kill(kill, now));
            }
        });
        read.unwrap_or_else(|trouble| {
            self.kmsg = Err(trouble);
            self.voice.degraded("kmsg", Some(trouble), now);
            false
        })
    }

    /// Tells the kill that was announced and whose record did not come.
    pub fn tell_overdue_kill(&mut self) {
        let now = self.elapsed();
        if let Some(kill) = self.joiner.overdue(now) {
            self.voice.kill(&kill, now);
        }
    }

    /// When that is to be asked again; `None` while none is awaited.
    #[must_use]
    pub fn kill_overdue_in(&self) -> Option<Duration> {
        self.joiner.overdue_in(self.elapsed())
    }

    /// Tells that a setting is not used as given.
    pub fn tell_config(&mut self, adjusted: &Adjusted) {
        self.voice.config(adjusted, self.elapsed());
    }

    /// Tells what is left and why the run ends, and gives that a moment to get out.
    pub fn stop(mut self, reason: &str) {
        self.read_kmsg();
        if let Some(kill) = self.joiner.rest() {
            self.voice.kill(&kill, self.started.elapsed());
        }
        self.voice.stop(reason, self.samples, self.before.cgroup.mem_peak);
        self.voice.finish(LAST_WORDS);
    }

    /// The first reading, from which the first percentages are taken.
    fn baseline(&mut self) {
        self.read();
        self.totals = self.totals.advanced(&self.now);
        std::mem::swap(&mut self.before, &mut self.now);
    }

    fn read(&mut self) {
        self.now.at = self.elapsed();
        self.sources.read(&mut self.now);
        let disks = self.slow.as_mut().map_or(Err(Trouble::NO_THREAD), Slow::disks);
        self.sources.set_disk_health(disks.as_ref().map(|_| ()).map_err(|trouble| *trouble));
        self.now.disk = disks.ok().flatten().map_or(Fullest::default(), |disks| disks.fullest);
        if self.sources.cgroup_is_gone()
            && let Some(slow) = &self.slow
        {
            slow.ask_for_files();
        }
    }

    fn take_new_files(&mut self) {
        let Some(files) = self.slow.as_mut().and_then(Slow::new_files) else { return };
        let is_other = files.selection != self.sources.cgroup.selection;
        self.sources.cgroup = files;
        if is_other {
            self.tell_about(Voice::about);
        }
    }

    /// Tells which sources and watched paths changed how they fare.
    fn tell_health(&mut self) {
        let now = self.started.elapsed();
        for (id, health) in self.sources.health().iter() {
            if health != self.told.of(id) {
                self.told.set(id, health);
                self.voice.degraded(id.name(), health.err(), now);
            }
        }
        let Some(Ok(Some(disks))) = self.slow.as_mut().map(Slow::disks) else { return };
        for ((path, told), trouble) in self.watched.iter().zip(&mut self.told_disks).zip(&disks.troubles) {
            if told != trouble {
                *told = *trouble;
                self.voice.degraded(path, *trouble, now);
            }
        }
    }

    fn tell_about(&mut self, tell: fn(&mut Voice, About<'_>)) {
        self.about_at = self.elapsed() + ABOUT_EVERY;
        let standstill = Readings {
            sample: &self.before,
            rates: &rate::standstill(&self.before),
            totals: &self.totals,
            late_ms_x10: None,
            span_ms: None,
            stdout_dropped: 0,
        };
        let about = About {
            guest: &self.guest,
            config: &self.config,
            selection: &self.sources.cgroup.selection,
            health: self.sources.health(),
            kmsg: self.kmsg.as_ref().err().copied(),
            supports: &standstill.supports(),
            mem_total_kb: self.before.meminfo.total_kb,
        };
        tell(&mut self.voice, about);
    }
}

/// The usual paths and those that were set. A captured tree has no disks: there only the latter.
fn watched(root: &Root, config: &Config) -> Vec<PathBuf> {
    let usual = if root.is_live() { slow::default_watched() } else { Vec::new() };
    usual.into_iter().chain(config.watch.iter().cloned()).collect()
}

/// The span of the percentages, where it is more than 5 % off the interval.
fn told_span_ms(span: Duration, interval: Duration) -> Option<u64> {
    let off = span.abs_diff(interval);
    if off > interval / 20 { u64::try_from(span.as_millis()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_when_it_is_not_the_interval() {
        let ms = Duration::from_millis;
        assert_eq!(told_span_ms(ms(1050), ms(1000)), None);
        assert_eq!(told_span_ms(ms(1051), ms(1000)), Some(1051));
        assert_eq!(told_span_ms(ms(200), ms(3000)), Some(200));
    }
}
