//! Reads, computes and has a line written. From the third sample on it allocates nothing and opens nothing.

mod between;
mod tell;

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::line::RunId;

use super::agents::{self, Agents};
use super::cgroup_files::{self, CgroupFiles, Ids};
use super::config::{Adjusted, Config, Protect};
use super::disk_news::DiskNews;
use super::event::{OomJoiner, Told};
use super::guest::{self, Guest};
use super::kernel::{KernelFile, Root, Trouble};
use super::pass::Sources;
use super::protect::{self, LockLimit, Protection};
use super::rate::{self, Totals};
use super::report::{Readings, Taken};
use super::sample::Sample;
use super::sink::handover::Late;
use super::sink::outlets::Outlets;
use super::slow::{Exchanged, Slow, UsualPaths, Work};
use super::source::disk::Fullest;
use super::source::kmsg::OomRecord;
use super::source::task_table::TaskTable;
use super::source::{Health, fault, kmsg};
use super::voice::Voice;
use super::watch::clocks::Clocks;
use super::watch::kmsg::{Event, Kmsg};
use super::watch::supervisor::JobEnd;
use between::Between;

/// How long the last lines may take to get out.
const LAST_WORDS: Duration = Duration::from_millis(60);

/// In less the kernel's ticks say nothing.
const SHORT_SPAN: Duration = Duration::from_millis(100);

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
    table: TaskTable,
    /// Kills that the kernel's messages told since the last sample.
    kills_told: u64,
    /// What has been told of each source and watched path, so that only changes are told again.
    told: Health,
    disk_news: DiskNews,
    told_kmsg: bool,
    between: Between,
    agents: Box<Agents>,
    agent_watch: agents::Watch,
    clocks: Clocks,
    protection: Protection,
    /// What wakes it between samples, as the start line lists it.
    triggers: Vec<String>,
    /// The last sample, and the last before it that was not on the heels of another.
    before: Sample,
    older: Sample,
    now: Sample,
    totals: Totals,
    started: Instant,
    samples: u64,
    /// Of these, the ones that were due.
    due_samples: u64,
    is_ending: bool,
    about_at: Duration,
}

impl Sampler {
    /// Opens everything, takes the baseline and writes the `start` line.
    #[must_use]
    pub fn start(config: Config, run: RunId, outlets: impl Into<Outlets>) -> Self {
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
            agent: config.agent.clone(),
            below: agent_below(&config),
        };
        let slow = Slow::start(work, &files).ok();
        let uptime_us = root.read("/proc/uptime").ok().and_then(|text| guest::uptime_us(&text));
        let mut sampler = Self {
            guest: Guest::read(&root, uptime_us),
            voice: Voice::new(run, outlets),
            kmsg: Kmsg::open(&root, uptime_us),
            sources: Sources::open(&root, files),
            slow,
            joiner: OomJoiner::default(),
            table: TaskTable::new(),
            agents: Box::default(),
            agent_watch: agents::Watch::default(),
            kills_told: 0,
            told: Health::default(),
            disk_news: DiskNews::new(config.watch.len()),
            told_kmsg: false,
            between: Between::new(&root),
            clocks: Clocks::now(),
            protection: Protection::default(),
            triggers: Vec::new(),
            before: Sample::default(),
            older: Sample::default(),
            now: Sample::default(),
            totals: Totals::default(),
            started,
            samples: 0,
            due_samples: 0,
            is_ending: false,
            about_at: tell::ABOUT_EVERY,
            config,
        };
        sampler.baseline();
        sampler.told = sampler.sources.health().clone();
        sampler.told_kmsg = sampler.kmsg.is_err();
        sampler.begin_events();
        sampler.triggers = sampler.trigger_words();
        sampler.protect();
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

    /// Samples taken so far because they were due.
    #[must_use]
    pub fn due_samples(&self) -> u64 {
        self.due_samples
    }

    /// What says the lines.
    pub fn voice(&mut self) -> &mut Voice {
        &mut self.voice
    }

    /// Stdout, to wait for, where lines go there.
    #[must_use]
    pub fn stdout_fd(&self) -> Option<BorrowedFd<'_>> {
        self.voice.outlets().stdout_fd()
    }

    /// The kernel's messages, to wait for, where they can be read and are not left alone.
    #[must_use]
    pub fn kmsg_fd(&self) -> Option<BorrowedFd<'_>> {
        let rests = self.elapsed() < self.between.kmsg_rests_until;
        self.kmsg.as_ref().ok().filter(|_| !rests).and_then(Kmsg::fd)
    }

    /// Every file that a sample reads.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.files().map(KernelFile::path)
    }

    /// Reads everything and writes a sample line. `due` is the earliest due time that it serves.
    pub fn sample(&mut self, due: Duration) {
        self.take(due, Taken::Due);
        self.due_samples += 1;
        let now = self.elapsed();
        self.between.bursts.sampled(now);
        if let Some(news) = self.protection.renew(now)
            && self.voice.degraded("sched_fifo", news.err(), now)
        {
            self.protection.was_told();
        }
        if now >= self.about_at {
            self.tell_about(|voice, about| voice.about(about, now));
        }
    }

    /// A last look, which may not find any more what has ended with the job.
    pub fn last_sample(&mut self, due: Duration) {
        self.is_ending = true;
        self.take(due, Taken::Due);
    }

    /// The same for the next sample of a burst, unless there were too many of them.
    pub fn sample_in_burst(&mut self) {
        let Some(due) = self.between.bursts.due() else { return };
        if self.between.bursts.take(self.elapsed()) {
            self.take(due, Taken::Burst);
        }
    }

    fn take(&mut self, due: Duration, taken: Taken) {
        self.take_new_files();
        self.read();
        if taken == Taken::Due {
            self.tell_gaps(due);
        }
        self.tell_slope();
        self.tell_agents(taken);
        self.tell_largest();
        self.totals = self.totals.advanced(&self.now);
        let is_short = self.now.at.saturating_sub(self.before.at) < SHORT_SPAN;
        // A sample on the heels of another has its percentages since the one before that, and says so.
        let since = if is_short && self.older.at > Duration::ZERO { &self.older } else { &self.before };
        let span = self.now.at.saturating_sub(since.at);
        let late = self.elapsed().saturating_sub(due);
        let readings = Readings {
            sample: &self.now,
            rates: &rate::rates(since, &self.now, span),
            totals: &self.totals,
            late_ms_x10: u64::try_from(late.as_micros() / 100).ok(),
            span_ms: rate::told_span_ms(span, self.config.interval),
            sinks: self.voice.outlets().tally(),
            taken,
        };
        let disks = self.slow.as_mut().and_then(|slow| slow.disks().ok());
        let paths = disks.map_or(&[][..], |disks| &disks.paths);
        self.voice.sample(&readings, self.config.fields, paths);
        self.samples += 1;
        self.tell_oom();
        std::mem::swap(&mut self.before, &mut self.now);
        if !is_short {
            std::mem::swap(&mut self.older, &mut self.now);
        }
        self.tell_health();
    }

    /// Reads what the kernel has said; whether there may be more.
    pub fn read_kmsg(&mut self) -> bool {
        let now = self.elapsed();
        let Ok(kmsg) = &mut self.kmsg else { return false };
        let (voice, joiner, table, kills_told) =
            (&mut self.voice, &mut self.joiner, &mut self.table, &mut self.kills_told);
        let told_before = *kills_told;
        let read = kmsg.read(|event| match event {
            Event::Lost(count) => voice.lost(count, now),
            Event::Record { text, time_us, is_old } => {
                let told = Told { time_us, text, is_old };
                if let Some(record) = kmsg::parse_oom(text) {
                    // Each record: of a group kill the kernel counts and tells the first victim twice.
                    *kills_told += u64::from(!is_old && matches!(record, OomRecord::Killed(_)));
                    for kill in joiner.take(record, told, now).iter().flatten() {
                        voice.kill(kill, now);
                        // The table is printed before the kill, and there is one for all that it takes.
                        table.take().filter(|_| !kill.is_old).inspect(|largest| voice.top(largest, "kmsg", now));
                    }
                } else if !table.feed(text)
                    && let Some(fault) = fault::parse(text)
                {
                    voice.fault(&fault, told, now);
                }
            }
        });
        let is_more = read.unwrap_or_else(|trouble| {
            self.kmsg = Err(trouble);
            false
        });
        if self.kills_told > told_before {
            self.oom_began();
        }
        if is_more {
            self.between.kmsg_rests_until = now + between::KMSG_REST;
        }
        is_more
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

    /// Tells what is left and why the run ends, and gives that a moment to get out. Gives what [`Outlets::finish`] does.
    pub fn stop(mut self, reason: &str, job: Option<JobEnd>) -> Vec<Late> {
        self.read_kmsg();
        if let Some(kill) = self.joiner.rest() {
            self.voice.kill(&kill, self.started.elapsed());
        }
        self.voice.stop(reason, job, self.samples, self.before.cgroup.mem_peak, self.between.bursts.suppressed());
        self.voice.finish(LAST_WORDS)
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
        slow.exchange_agents(&mut self.agents);
        let ids = self.sources.cgroup.ids;
        if slow.exchange(&mut self.sources.cgroup) == Exchanged::No {
            return;
        }
        self.begin_events();
        if ids != self.sources.cgroup.ids {
            self.about_at = self.elapsed();
        }
    }

    /// Takes what keeps it alive and on time, unless it was told not to, or reads a captured tree.
    fn protect(&mut self) {
        if self.config.protect == Protect::Off || self.config.root.is_some() {
            return;
        }
        let uid_map = Root::new("/".into()).read("/proc/self/uid_map");
        let uid_map = uid_map.as_deref().map_err(|trouble| *trouble);
        let has_no_limit = self.guest.caps.contains(&"ipc_lock") && protect::is_in_initial_namespace(uid_map);
        self.protection = Protection::obtain(if has_no_limit { LockLimit::None } else { LockLimit::OfProcess });
        self.voice.outlets_mut().hurry(self.protection.priority());
    }

    /// What wakes it between samples.
    fn trigger_words(&self) -> Vec<String> {
        let events = self.sources.event_fds();
        let files = ["memory.events", "tree.memory.events"].into_iter().zip(events).filter(|(_, fd)| fd.is_some());
        let kmsg = self.kmsg.as_ref().ok().and_then(Kmsg::fd).map(|_| "kmsg");
        let words = files.map(|(name, _)| name).chain(kmsg).map(str::to_owned);
        words.chain(self.between.trigger_words()).collect()
    }
}

/// The process below which the agent is looked for first: the one whose end is the probe's, which starts the job too.
fn agent_below(config: &Config) -> Option<u32> {
    let set = config.exit_with.map(|(_, pid)| pid).filter(|_| !config.is_supervised);
    set.or_else(|| rustix::process::getppid().and_then(|parent| u32::try_from(parent.as_raw_nonzero().get()).ok()))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// What a sampler writes in a captured tree that is not there: every line, with nothing read.
    fn lines(act: impl FnOnce(&mut Sampler)) -> Vec<String> {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let stdout =
            super::super::sink::stdout::Stdout::new(std::fs::File::from(std::os::fd::OwnedFd::from(writer))).unwrap();
        let root = tempfile::tempdir().unwrap();
        let args = super::super::config::Args { root: Some(root.path().to_owned()), ..Default::default() };
        let mut sampler = Sampler::start(Config::new(args, |_| None), RunId::from_random(1), stdout);
        act(&mut sampler);
        sampler.stop("samples", None);
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
        reads.extend(captured.lines().filter(|line| !line.starts_with(' ')).map(Ok));
        let lines = lines(|sampler| {
            sampler.kmsg = Ok(Kmsg::scripted(&reads));
            while sampler.read_kmsg() {}
            sampler.read_kmsg();
            sampler.before.vmstat.oom_kill = Some(0);
            sampler.now.vmstat.oom_kill = Some(7);
            sampler.tell_oom();
        });
        assert_eq!(lines.iter().filter(|line| line.contains(" event=kmsg.oom ")).count(), 6);
        let told = lines.iter().find(|line| line.contains(" event=oom ")).unwrap();
        assert!(told.contains(" source=vm delta=7 kmsg=agrees"), "{told}");
        let top: Vec<&String> = lines.iter().filter(|line| line.contains(" event=top ")).collect();
        assert_eq!(top.len(), 5, "{lines:#?}");
        assert!(
            top[0].contains(" comm=hog ") && top[0].contains(" rank=1 ") && top[0].contains(" from=kmsg"),
            "{}",
            top[0]
        );
    }

    #[test]
    fn a_guest_where_nothing_can_be_read_still_gets_its_lines() {
        let lines = lines(|sampler| sampler.sample(Duration::ZERO));
        assert!(lines[0].contains(" event=start ") && lines[0].contains(" kmsg=absent "), "{}", lines[0]);
        assert!(lines[1].contains(" mem.current= ") && lines[1].contains(" vm.mem.total.kb= "), "{}", lines[1]);
        assert!(lines[2].contains(" event=stop "), "{}", lines[2]);
    }
}
