//! What a sampler tells besides its samples, and what of it was told already.

use std::time::Duration;

use super::Sampler;
use crate::probe::agents::Asked;
use crate::probe::config::Adjusted;
use crate::probe::event::{self, Agreement, Sign, Strain};
use crate::probe::levels::Target;
use crate::probe::rate;
use crate::probe::report::{Readings, Taken};
use crate::probe::signs;
use crate::probe::sink::outlets::Tally;
use crate::probe::slow::Slow;
use crate::probe::source::Id;
use crate::probe::source::pressure::Resource;
use crate::probe::voice::{About, Voice};
use crate::probe::watch::clocks::Clocks;

/// How often the short of the start line is repeated.
pub(super) const ABOUT_EVERY: Duration = Duration::from_secs(300);

/// How many times as many records as are read at one wake-up are read to find a kill that was counted.
const KMSG_WAKES: usize = 8;

impl Sampler {
    /// Tells that the cgroup that was asked for is not in view, or not yet.
    pub(super) fn tell_target(&mut self) {
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
    pub(super) fn tell_oom(&mut self) {
        let moved = event::moved(&self.before, &self.now);
        let Some(most) = moved.map(|(_, kills)| kills).max() else {
            // A kill that was told is counted by now.
            self.kills_told = 0;
            return;
        };
        self.oom_began();
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

    /// Reads the agent, and tells what changed of it and of its worker.
    pub(super) fn tell_agents(&mut self, taken: Taken) {
        let now = self.now.at;
        let seen = self.agent_watch.read(&self.agents, self.sources.buffer());
        self.now.agent = seen.agent;
        let long_wait =
            seen.agent.filter(|_| taken == Taken::Due).and_then(|agent| self.agent_watch.long_wait(&agent, now));
        // That an agent is gone at the end is how a good job ends.
        for told in seen.news.iter().flatten().chain(&long_wait).filter(|_| !self.is_ending) {
            if !self.voice.agent(told, now) {
                self.agent_watch.take_back(told);
            }
        }
        if let Some(slow) = &self.slow
            && seen.asked != Asked::No
        {
            slow.ask_for_agents(seen.asked);
        }
    }

    /// Tells the largest processes, once they are found.
    pub(super) fn tell_largest(&mut self) {
        if let Some(look) = self.slow.as_ref().and_then(Slow::largest) {
            self.voice.top(&look.largest, if look.is_cut { "proc.part" } else { "proc" }, self.now.at);
        }
    }

    /// Tells that the guest stood still, or that its clock was set.
    pub(super) fn tell_gaps(&mut self, due: Duration) {
        let (now, late) = (Clocks::now(), self.now.at.saturating_sub(due));
        for gap in now.gaps(&self.clocks, late, self.config.interval).into_iter().flatten() {
            self.voice.gap(gap, self.now.at);
        }
        self.clocks = now;
    }

    /// Tells that memory will be gone in seconds.
    pub(super) fn tell_slope(&mut self) {
        let left = signs::slope_left_pct_x10(&self.before, &self.now, self.config.interval);
        if left.is_some() {
            self.strain(Strain { resource: Resource::Memory, sign: Sign::Slope, pct_x10: left });
        }
    }

    /// Tells which sources and watched paths changed how they fare. What cannot be told now is told later.
    pub(super) fn tell_health(&mut self) {
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
        self.voice.sinks(now);
        if let Some(slow) = &mut self.slow {
            self.disk_news.tell(slow, &mut self.voice, now);
        }
    }

    pub(super) fn tell_about(&mut self, tell: impl FnOnce(&mut Voice, About<'_>)) {
        self.about_at = self.elapsed() + ABOUT_EVERY;
        let standstill = Readings {
            sample: &self.before,
            rates: &rate::standstill(&self.before),
            totals: &self.totals,
            late_ms_x10: None,
            span_ms: None,
            sinks: Tally::default(),
            taken: Taken::Due,
        };
        let about = About {
            guest: &self.guest,
            config: &self.config,
            selection: &self.sources.cgroup.selection,
            health: self.sources.health(),
            kmsg: self.kmsg.as_ref().err().copied(),
            supports: &standstill.supports(),
            mem_total_kb: self.before.meminfo.total_kb,
            protection: &self.protection,
            triggers: &self.triggers,
            bursts_suppressed: self.between.bursts.suppressed(),
        };
        tell(&mut self.voice, about);
    }
}
