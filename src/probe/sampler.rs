//! Reads, computes and has a line written. From the third sample on it allocates nothing and opens nothing.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::line::RunId;

use super::cgroup_files::{self, CgroupFiles, Ids};
use super::config::{Adjusted, Config};
use super::event::{self, Agreement, OomJoiner, Told};
use super::guest::{self, Guest};
use super::kernel::{KernelFile, Root, Trouble};
use super::levels::Target;
use super::pass::Sources;
use super::rate::{self, Totals};
use super::report::Readings;
use super::sample::Sample;
use super::sink::stdout::Stdout;
use super::slow::{self, Exchanged, Slow, UsualPaths, Work};
use super::source::disk::Fullest;
use super::source::kmsg::OomRecord;
use super::source::{Health, Id, fault, kmsg};
use super::voice::{About, Voice};
use super::watch::kmsg::{Event, Kmsg};

/// How often the short of the start line is repeated.
const ABOUT_EVERY: Duration = Duration::from_secs(300);

/// How many times as many records as are read at one wake-up are read to find a kill that was counted.
const KMSG_WAKES: usize = 8;

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
    kmsg: Result<Kmsg, Trouble>,
    joiner: OomJoiner,
    /// Kills that the kernel's messages told since the last sample.
    kills_told: u64,
    /// What has been told of each source and watched path, so that only changes are told again.
    told: Health,
    told_disks: Vec<Option<Trouble>>,
    told_hung: bool,
    told_kmsg: bool,
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
        let selection = cgroup_files::select(&root, &config.target);
        let files = Box::new(CgroupFiles::open(&root, selection, Ids::default()));
        let work = Work {
            root: root.clone(),
            target: config.target.clone(),
            usual_paths: if root.is_live() { UsualPaths::Watched } else { UsualPaths::LeftOut },
            watch: config.watch.clone(),
            pace: config.interval.max(DISK_PACE),
        };
        let slow = Slow::start(work, &files).ok();
        let uptime_us = root.read("/proc/uptime").ok().and_then(|text| guest::uptime_us(&text));
        let mut sampler = Self {
            guest: Guest::read(&root, uptime_us),
            voice: Voice::new(run, stdout),
            kmsg: Kmsg::open(&root, uptime_us),
            sources: Sources::open(&root, files),
            slow,
            joiner: OomJoiner::default(),
            kills_told: 0,
            told: Health::default(),
            told_disks: Vec::with_capacity(slow::MOST_USUAL_PATHS + config.watch.len()),
            told_hung: false,
            told_kmsg: false,
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
        sampler.told_kmsg = sampler.kmsg.is_err();
        sampler.tell_about(Voice::start);
        for adjusted in sampler.config.adjusted.clone() {
            sampler.tell_config(&adjusted);
        }
        sampler.tell_target();
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
        let disks = self.slow.as_mut().and_then(|slow| slow.disks().ok());
        let paths = disks.map_or(&[][..], |disks| &disks.paths);
        self.voice.sample(&readings, self.config.fields, paths);
        self.samples += 1;
        self.tell_oom();
        std::mem::swap(&mut self.before, &mut self.now);
        self.tell_health();
        if self.elapsed() >= self.about_at {
            let now = self.elapsed();
            self.tell_about(|voice, about| voice.about(about, now));
        }
    }

    /// Reads what the kernel has said; whether there may be more.
    pub fn read_kmsg(&mut self) -> bool {
        let now = self.elapsed();
        let Ok(kmsg) = &mut self.kmsg else { return false };
        let (voice, joiner, kills_told) = (&mut self.voice, &mut self.joiner, &mut self.kills_told);
        let read = kmsg.read(|event| match event {
            Event::Lost(count) => voice.lost(count, now),
            Event::Record { text, time_us, is_old } => {
                let told = Told { time_us, text, is_old };
                if let Some(record) = kmsg::parse_oom(text) {
                    // Each record: of a group kill the kernel counts and tells the first victim twice.
                    *kills_told += u64::from(!is_old && matches!(record, OomRecord::Killed(_)));
                    let kills = joiner.take(record, told, now);
                    kills.iter().flatten().for_each(|kill| voice.kill(kill, now));
                } else if let Some(fault) = fault::parse(text) {
                    voice.fault(&fault, told, now);
                }
            }
        });
        read.unwrap_or_else(|trouble| {
            self.kmsg = Err(trouble);
            false
        })
    }

    /// What comes from the kernel from now on is new, although the ring was not read to its end.
    pub fn end_look_back(&mut self) {
        if let Ok(kmsg) = &mut self.kmsg {
            kmsg.end_look_back();
        }
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

    /// Tells that the cgroup that was asked for is not in view, or not yet.
    fn tell_target(&mut self) {
        let given = match &self.config.target {
            Target::Own => return,
            Target::OfPid(pid) => pid.to_string(),
            Target::Path(path) => path.display().to_string(),
        };
        if self.sources.cgroup.selection.mem_level.is_none() {
            let used = "nothing, until it is in view".to_owned();
            self.tell_config(&Adjusted { key: self.config.target_key.to_owned(), given, used });
        }
    }

    /// Tells the OOM counters that moved, each held against the kernel's messages.
    fn tell_oom(&mut self) {
        let moved = event::moved(&self.before, &self.now);
        let Some(most) = moved.map(|(_, kills)| kills).max() else {
            // A kill that was told is counted by now.
            self.kills_told = 0;
            return;
        };
        // The kernel counts first and prints then. Not for ever: others may be flooding the ring.
        let _ = (0..KMSG_WAKES).find(|_| !self.read_kmsg());
        let now = self.elapsed();
        let told = self.kmsg.is_ok().then_some(self.kills_told);
        for (counter, kills) in event::moved(&self.before, &self.now) {
            self.voice.oom(counter, kills, Agreement::of(kills, told), now);
        }
        // What is over was printed behind this sample's reading: the next one counts it.
        self.kills_told = self.kills_told.saturating_sub(most);
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
        self.now.disk = disks.map_or(Fullest::default(), |disks| disks.fullest);
        if self.sources.cgroup_is_gone()
            && let Some(slow) = &self.slow
        {
            slow.ask_for_files();
        }
    }

    fn take_new_files(&mut self) {
        let Some(slow) = &mut self.slow else { return };
        let ids = self.sources.cgroup.ids;
        if slow.exchange(&mut self.sources.cgroup) == Exchanged::Yes && ids != self.sources.cgroup.ids {
            self.about_at = self.elapsed();
        }
    }

    /// Tells which sources and watched paths changed how they fare. What cannot be told now is told later.
    fn tell_health(&mut self) {
        let now = self.started.elapsed();
        for &id in Id::ALL {
            let health = self.sources.health().of(id);
            if health == self.told.of(id) {
                continue;
            }
            // All that changed to the same in one line.
            let same =
                self.sources.health().iter().filter(|(id, other)| *other == health && self.told.of(*id) != health);
            if !self.voice.all_degraded(same.map(|(id, _)| id.name()), health.err(), now) {
                return;
            }
            for (id, _) in self.sources.health().iter().filter(|(_, other)| *other == health) {
                self.told.set(id, health);
            }
        }
        if let Some(trouble) = self.kmsg.as_ref().err().filter(|_| !self.told_kmsg) {
            self.told_kmsg = self.voice.degraded("kmsg", Some(*trouble), now);
        }
        self.tell_disks(now);
    }

    fn tell_disks(&mut self, now: Duration) {
        let Some(slow) = &mut self.slow else { return };
        if slow.disks().is_err() {
            if let Some(path) = slow.hung_path().filter(|_| !self.told_hung) {
                self.told_hung = self.voice.degraded(path, Some(Trouble::Hung), now);
            }
            return;
        }
        let Ok(disks) = slow.disks() else { return };
        self.told_hung = false;
        self.told_disks.resize(disks.paths.len(), None);
        for ((path, told), trouble) in disks.paths.iter().zip(&mut self.told_disks).zip(&disks.troubles) {
            if told != trouble && self.voice.degraded(path, *trouble, now) {
                *told = *trouble;
            }
        }
    }

    fn tell_about(&mut self, tell: impl FnOnce(&mut Voice, About<'_>)) {
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

/// The span of the percentages, where it is more than 5 % off the interval.
fn told_span_ms(span: Duration, interval: Duration) -> Option<u64> {
    let off = span.abs_diff(interval);
    if off > interval / 20 { u64::try_from(span.as_millis()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// What a sampler writes in a captured tree that is not there: every line, with nothing read.
    fn lines(act: impl FnOnce(&mut Sampler)) -> Vec<String> {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let stdout = Stdout::new(std::fs::File::from(std::os::fd::OwnedFd::from(writer))).unwrap();
        let root = tempfile::tempdir().unwrap();
        let args = super::super::config::Args { root: Some(root.path().to_owned()), ..Default::default() };
        let mut sampler = Sampler::start(Config::new(args, |_| None), RunId::from_random(1), stdout);
        act(&mut sampler);
        sampler.stop("samples");
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_short_of_the_start_is_repeated_twelve_times_an_hour_at_most() {
        let lines = lines(|sampler| {
            for _ in 0..20 {
                sampler.about_at = Duration::ZERO;
                sampler.sample(Duration::ZERO);
            }
        });
        let abouts: Vec<&String> = lines.iter().filter(|line| line.contains(" event=about ")).collect();
        assert_eq!(abouts.len(), 12);
        assert!(abouts[0].contains(" psi=unknown ") && abouts[0].contains(" absent=meminfo,stat,"), "{}", abouts[0]);
    }

    /// The kernel counts and tells the first victim of a group kill twice; one line a victim, and nothing is missing.
    #[test]
    fn a_group_kill_agrees_with_its_count() {
        let captured =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/captures/oom-group/after/kmsg"));
        let captured = captured.unwrap();
        let mut reads = vec![Err(rustix::io::Errno::AGAIN)];
        reads.extend(captured.lines().filter(|line| line.contains("oom") || line.contains("Killed")).map(Ok));
        let lines = lines(|sampler| {
            sampler.kmsg = Ok(Kmsg::scripted(&reads));
            assert!(!sampler.read_kmsg(), "the look-back is over");
            sampler.before.vmstat.oom_kill = Some(0);
            sampler.now.vmstat.oom_kill = Some(7);
            sampler.tell_oom();
        });
        assert_eq!(lines.iter().filter(|line| line.contains(" event=kmsg.oom ")).count(), 6);
        let told = lines.iter().find(|line| line.contains(" event=oom ")).unwrap();
        assert!(told.contains(" source=vm delta=7 kmsg=agrees"), "{told}");
    }

    #[test]
    fn a_guest_where_nothing_can_be_read_still_gets_its_lines() {
        let lines = lines(|sampler| sampler.sample(Duration::ZERO));
        assert!(lines[0].contains(" event=start ") && lines[0].contains(" kmsg=absent "), "{}", lines[0]);
        assert!(lines[1].contains(" mem.current= ") && lines[1].contains(" vm.mem.total.kb= "), "{}", lines[1]);
        assert!(lines[2].contains(" event=stop "), "{}", lines[2]);
    }

    #[test]
    fn a_span_is_told_when_it_is_not_the_interval() {
        let ms = Duration::from_millis;
        assert_eq!(told_span_ms(ms(1050), ms(1000)), None);
        assert_eq!(told_span_ms(ms(1051), ms(1000)), Some(1051));
        assert_eq!(told_span_ms(ms(200), ms(3000)), Some(200));
    }
}
