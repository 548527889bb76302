//! Reads, computes and has a line written; and tells what changed since the last sample.

use std::time::{Duration, Instant};

use super::agents::Agents;
use super::reader::{self, Reader};
use crate::line::RunId;
use crate::probe::burst::{Bursts, Cause};
use crate::probe::cgroup_files::{self, CgroupFiles, Ids, Selection};
use crate::probe::config::{Adjusted, Config, Protect};
use crate::probe::disk_news::DiskNews;
use crate::probe::event::{Sign, Strain};
use crate::probe::guest::Guest;
use crate::probe::kernel::{Root, Trouble};
use crate::probe::levels::Target;
use crate::probe::protect::Protection;
use crate::probe::rate::{self, Rates, Totals};
use crate::probe::report::{Readings, Taken};
use crate::probe::sample::Sample;
use crate::probe::schedule::Reason;
use crate::probe::signs;
use crate::probe::sink::handover::Late;
use crate::probe::sink::outlets::{Outlets, Tally};
use crate::probe::slow::{Slow, UsualPaths, Work};
use crate::probe::source::disk::Fullest;
use crate::probe::source::pressure::Resource;
use crate::probe::source::{Health, Id};
use crate::probe::voice::{About, Voice};
use crate::probe::watch::clocks::Clocks;

/// How often the short of the start line is repeated.
const ABOUT_EVERY: Duration = Duration::from_secs(300);

/// How long the last lines may take to get out.
const LAST_WORDS: Duration = Duration::from_millis(60);

/// In less the kernel's ticks say nothing.
const SHORT_SPAN: Duration = Duration::from_millis(100);

/// A slope that lasts is told so often.
const TELL_SLOPE_EVERY: Duration = Duration::from_secs(30);

/// The slow thread's pace at least: no disk fills between two samples that are closer.
const DISK_PACE: Duration = Duration::from_secs(1);

/// The level of memory pressure that is none.
const NORMAL: u64 = 1;

/// The state of a run.
#[derive(Debug)]
pub(super) struct Sampler {
    config: Config,
    guest: Guest,
    voice: Voice,
    reader: Reader,
    /// There are no cgroups here: what the lines say of that.
    selection: Selection,
    slow: Option<Slow>,
    agents: Agents,
    bursts: Bursts,
    health: Health,
    told: Health,
    disk_news: DiskNews,
    /// The level of memory pressure that was told, or began the run.
    level: Option<u64>,
    slope_told_at: Option<Duration>,
    clocks: Clocks,
    protection: Protection,
    triggers: Vec<String>,
    /// The last sample, and the last before it that was not on the heels of another.
    before: Sample,
    older: Sample,
    now: Sample,
    totals: Totals,
    started: Instant,
    samples: u64,
    due_samples: u64,
    is_ending: bool,
    about_at: Duration,
}

impl Sampler {
    /// Takes the baseline and writes the `start` line.
    pub(super) fn start(config: Config, run: RunId, outlets: Outlets, triggers: Vec<String>) -> Self {
        let root = Root::new("/".into());
        let selection = cgroup_files::select(&root, &Target::Own);
        let files = CgroupFiles::open(&root, selection.clone(), Ids::default());
        let work = Work {
            root,
            target: Target::Own,
            usual_paths: UsualPaths::Watched,
            watch: config.watch.clone(),
            pace: config.interval.max(DISK_PACE),
            agent: None,
            below: None,
        };
        let started = Instant::now();
        let mut sampler = Self {
            guest: reader::guest(),
            voice: Voice::new(run, outlets),
            reader: Reader::default(),
            selection,
            slow: Slow::start(work, &files).ok(),
            agents: Agents::default(),
            bursts: Bursts::default(),
            health: reader::first_health(),
            told: Health::default(),
            disk_news: DiskNews::new(config.watch.len()),
            level: None,
            slope_told_at: None,
            clocks: Clocks::beside(Duration::ZERO),
            protection: if config.protect == Protect::On { Protection::obtain() } else { Protection::default() },
            triggers,
            before: Sample::default(),
            older: Sample::default(),
            now: Sample::default(),
            totals: Totals::default(),
            started,
            samples: 0,
            due_samples: 0,
            is_ending: false,
            about_at: ABOUT_EVERY,
            config,
        };
        sampler.read();
        sampler.totals = sampler.totals.advanced(&sampler.now);
        std::mem::swap(&mut sampler.before, &mut sampler.now);
        sampler.told = sampler.health.clone();
        sampler.level = sampler.before.pressure_level;
        sampler.tell_about(Voice::start);
        for adjusted in sampler.config.adjusted.clone().iter().chain(&of_linux(&sampler.config)) {
            sampler.tell_config(adjusted);
        }
        sampler
    }

    /// The run's own clock.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Samples taken so far because they were due.
    pub(super) fn due_samples(&self) -> u64 {
        self.due_samples
    }

    /// What says the lines.
    pub(super) fn voice(&mut self) -> &mut Voice {
        &mut self.voice
    }

    /// When the next sample of a burst is due; `None` outside of one.
    pub(super) fn burst_due(&self) -> Option<Duration> {
        self.bursts.due()
    }

    /// Reads everything and writes a sample line. `due` is the earliest due time that it serves.
    pub(super) fn sample(&mut self, due: Duration) {
        self.take(due, Taken::Due);
        self.due_samples += 1;
        let now = self.elapsed();
        self.bursts.sampled(now);
        if now >= self.about_at {
            self.tell_about(|voice, about| voice.about(about, now));
        }
    }

    /// The same for the next sample of a burst, unless there were too many of them.
    pub(super) fn sample_in_burst(&mut self) {
        let Some(due) = self.bursts.due() else { return };
        if self.bursts.take(self.elapsed()) {
            self.take(due, Taken::Burst);
        }
    }

    /// A last look, which may not find any more what has ended with the job.
    pub(super) fn last_sample(&mut self, due: Duration) {
        self.is_ending = true;
        self.take(due, Taken::Due);
    }

    /// The level of memory pressure may have changed.
    pub(super) fn look_at_level(&mut self) {
        let level = self.reader.pressure_level();
        self.tell_level(level);
    }

    /// Tells that a setting is not used as given.
    pub(super) fn tell_config(&mut self, adjusted: &Adjusted) {
        self.voice.config(adjusted, self.elapsed());
    }

    /// Tells why the run ends, and gives what was said a moment to get out. Gives what [`Outlets::finish`] does.
    pub(super) fn stop(mut self, reason: Reason) -> Vec<Late> {
        self.voice.stop(reason.name(), reason.job(), self.samples, None, self.bursts.suppressed());
        self.voice.finish(LAST_WORDS)
    }

    fn take(&mut self, due: Duration, taken: Taken) {
        self.read();
        if taken == Taken::Due {
            self.tell_gaps(due);
        }
        self.tell_level(self.now.pressure_level);
        self.tell_slope();
        self.tell_agents();
        self.totals = self.totals.advanced(&self.now);
        let is_short = self.now.at.saturating_sub(self.before.at) < SHORT_SPAN;
        // A sample on the heels of another has its percentages since the one before that, and says so.
        let since = if is_short && self.older.at > Duration::ZERO { &self.older } else { &self.before };
        let span = self.now.at.saturating_sub(since.at);
        let late = self.elapsed().saturating_sub(due);
        let readings = Readings {
            sample: &self.now,
            rates: &told_rates(rate::rates(since, &self.now, span)),
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
        std::mem::swap(&mut self.before, &mut self.now);
        if !is_short {
            std::mem::swap(&mut self.older, &mut self.now);
        }
        self.tell_health();
        let now = self.elapsed();
        if let Some(slow) = &mut self.slow {
            self.disk_news.tell(slow, &mut self.voice, now);
        }
        self.voice.sinks(self.now.at);
    }

    fn read(&mut self) {
        self.now.at = self.elapsed();
        self.reader.read(&mut self.now, &mut self.health);
        self.read_agents();
        let disks = self.slow.as_mut().map_or(Err(Trouble::NO_THREAD), Slow::disks);
        self.health.set(Id::Disk, disks.as_ref().map(|_| ()).map_err(|trouble| *trouble));
        self.now.disk = disks.map_or(Fullest::default(), |disks| disks.fullest);
    }

    fn read_agents(&mut self) {
        let now = self.now.at;
        let read = self.agents.known().map(|known| known.and_then(|process| self.reader.process(process.pid)));
        self.agents.read(read, now);
        if self.agents.wants_look(now) {
            let below = self.config.exit_with.map(|(_, pid)| pid).or_else(parent);
            let name = self.config.agent.as_ref().map(String::as_bytes);
            self.agents.look(self.reader.processes(), name, below, now);
        }
        let [agent, _] = self.agents.known();
        self.now.agent = agent.map(|agent| self.reader.agent(&agent));
    }

    fn tell_agents(&mut self) {
        let now = self.now.at;
        // That an agent is gone at the end is how a good job ends.
        for told in self.agents.news().iter().flatten().filter(|_| !self.is_ending) {
            if !self.voice.agent(told, now) {
                self.agents.take_back(told);
            }
        }
    }

    /// Tells a level of memory pressure that is another than before. A worse one begins a burst, and one that stays bad goes
    /// on with it.
    fn tell_level(&mut self, level: Option<u64>) {
        let Some(level) = level else { return };
        let now = self.elapsed();
        let before = self.level.replace(level);
        if level > NORMAL {
            self.bursts.trouble(Cause::Pressure, now);
        }
        if before.is_some_and(|before| before != level) {
            // Of a change between two samples: what the last one said is near enough.
            let of = if self.now.pressure_level == Some(level) { &self.now } else { &self.before };
            let left = rate::used_pct_x10(of.meminfo.avail_kb, of.meminfo.total_kb);
            self.voice.pressure(Strain { resource: Resource::Memory, sign: Sign::Level(level), pct_x10: left }, now);
        }
    }

    /// Tells that memory will be gone in seconds.
    fn tell_slope(&mut self) {
        let left = signs::slope_left_pct_x10(&self.before, &self.now, self.config.interval);
        let now = self.now.at;
        if left.is_none() {
            return;
        }
        let begins = self.bursts.trouble(Cause::Pressure, now);
        if begins || self.slope_told_at.is_none_or(|told| now.saturating_sub(told) >= TELL_SLOPE_EVERY) {
            self.slope_told_at = Some(now);
            self.voice.pressure(Strain { resource: Resource::Memory, sign: Sign::Slope, pct_x10: left }, now);
        }
    }

    fn tell_gaps(&mut self, due: Duration) {
        let (now, late) = (Clocks::beside(self.now.at), self.now.at.saturating_sub(due));
        for gap in now.gaps(&self.clocks, late, self.config.interval).into_iter().flatten() {
            self.voice.gap(gap, self.now.at);
        }
        self.clocks = now;
    }

    /// Tells which sources changed how they fare. What cannot be told now is told later.
    fn tell_health(&mut self) {
        let now = self.elapsed();
        for &id in Id::ALL {
            let health = self.health.of(id);
            if health != self.told.of(id) && self.voice.degraded(id.name(), health.err(), now) {
                self.told.set(id, health);
            }
        }
    }

    fn tell_about(&mut self, tell: impl FnOnce(&mut Voice, About<'_>)) {
        self.about_at = self.elapsed() + ABOUT_EVERY;
        let standstill = Readings {
            sample: &self.before,
            rates: &told_rates(rate::standstill(&self.before)),
            totals: &self.totals,
            late_ms_x10: None,
            span_ms: None,
            sinks: Tally::default(),
            taken: Taken::Due,
        };
        let about = About {
            guest: &self.guest,
            config: &self.config,
            selection: &self.selection,
            health: &self.health,
            kmsg: Some(Trouble::Absent(rustix::io::Errno::NOENT)),
            supports: &standstill.supports(),
            mem_total_kb: self.before.meminfo.total_kb,
            protection: &self.protection,
            triggers: &self.triggers,
            bursts_suppressed: self.bursts.suppressed(),
        };
        tell(&mut self.voice, about);
    }
}

/// The kernel here counts neither what waits for a disk nor what the host took: none of it is not zero.
fn told_rates(rates: Rates) -> Rates {
    Rates { cpu_iowait_pct_x10: None, cpu_steal_pct_x10: None, ..rates }
}

/// What was set and is for Linux.
fn of_linux(config: &Config) -> Vec<Adjusted> {
    let cgroup = match &config.target {
        Target::Own => None,
        Target::OfPid(pid) => Some(pid.to_string()),
        Target::Path(path) => Some(path.display().to_string()),
    };
    let cgroup = cgroup.map(|given| (config.target_key, given, "nothing: there are no cgroups here"));
    let root = config.root.as_ref().map(|root| ("--root", root.display().to_string(), "this machine"));
    let all = cgroup.into_iter().chain(root);
    all.map(|(key, given, used)| Adjusted { key: key.to_owned(), given, used: used.to_owned() }).collect()
}

fn parent() -> Option<u32> {
    rustix::process::getppid().and_then(|parent| u32::try_from(parent.as_raw_nonzero().get()).ok())
}
