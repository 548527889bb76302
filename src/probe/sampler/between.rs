//! What happens between two due samples: event counters that move, pressure triggers that fire, and the bursts that
//! begin with either.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::Sampler;
use crate::probe::burst::{Bursts, Cause};
use crate::probe::event::{Sign, Strain};
use crate::probe::kernel::Root;
use crate::probe::signs::{self, Events};
use crate::probe::source::pressure::Resource;
use crate::probe::watch::pressure::Trigger;

/// How long event counters are left alone after a look: a cgroup at its limit moves them thousands of times a second.
const EVENTS_REST: Duration = Duration::from_millis(100);

/// How long the kernel's messages are left alone when more came than are read at once: a flood of them is not to keep
/// a real-time thread running.
pub(super) const KMSG_REST: Duration = Duration::from_millis(5);

/// A sign that lasts is told so often: of three resources that makes six a minute.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// What is remembered between two samples.
#[derive(Debug, Default)]
pub(super) struct Between {
    pub(super) bursts: Bursts,
    triggers: [Option<Trigger>; Resource::ALL.len()],
    /// When a strain of each resource was told last.
    told_at: [Option<Duration>; Resource::ALL.len()],
    /// What the event counters said last.
    events: Events,
    events_rest_until: Duration,
    /// The files whose counters cannot be read any more, until there are others: they would be ready for ever.
    events_gone: [bool; 2],
    pub(super) kmsg_rests_until: Duration,
}

impl Between {
    /// Sets the pressure triggers.
    pub(super) fn new(root: &Root) -> Self {
        Self { triggers: Resource::ALL.map(|resource| Trigger::open(root, resource)), ..Self::default() }
    }

    /// Each trigger that was obtained, as the start line lists it.
    pub(super) fn trigger_words(&self) -> impl Iterator<Item = String> {
        self.triggers.iter().flatten().map(Trigger::word)
    }
}

impl Sampler {
    /// When the next sample of a burst is due; `None` outside of one.
    #[must_use]
    pub fn burst_due(&self) -> Option<Duration> {
        self.between.bursts.due()
    }

    /// What to wait for with POLLPRI: the event counters, while they are not left alone.
    #[must_use]
    pub fn event_fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        let rests = self.events_rest().is_some();
        let [own, tree] = self.sources.event_fds();
        let [own_gone, tree_gone] = self.between.events_gone.map(|is_gone| is_gone || rests);
        [own.filter(|_| !own_gone), tree.filter(|_| !tree_gone)]
    }

    /// The same of the pressure triggers.
    #[must_use]
    pub fn trigger_fds(&self) -> [Option<BorrowedFd<'_>>; Resource::ALL.len()] {
        self.between.triggers.each_ref().map(|trigger| trigger.as_ref().map(Trigger::fd))
    }

    /// How long something is left alone still; `None` when nothing is.
    #[must_use]
    pub fn rest(&self) -> Option<Duration> {
        let kmsg = self.between.kmsg_rests_until.checked_sub(self.elapsed());
        [self.events_rest(), kmsg.filter(|rest| !rest.is_zero())].into_iter().flatten().min()
    }

    fn events_rest(&self) -> Option<Duration> {
        self.between.events_rest_until.checked_sub(self.elapsed()).filter(|rest| !rest.is_zero())
    }

    /// Looks at the event counters, which have moved.
    pub fn look_at_events(&mut self) {
        let now = self.elapsed();
        self.between.events_rest_until = now + EVENTS_REST;
        let read = self.sources.read_events();
        self.between.events_gone = read.map(|events| events.is_err());
        let events = read.map(Result::unwrap_or_default);
        let before = std::mem::replace(&mut self.between.events, events);
        if signs::is_oom(&before, &events) {
            self.oom_began();
        } else if signs::met_limit(&before, &events) {
            self.sources.read_held(&mut self.now);
            if let Some(held) = signs::held_pct_x10(&self.now) {
                self.strain(Strain { resource: Resource::Memory, sign: Sign::Events, pct_x10: Some(held) });
            }
        }
    }

    /// What the counters say at the first reading, or of another cgroup: from there on they move.
    pub(super) fn begin_events(&mut self) {
        self.between.events = self.sources.read_events().map(Result::unwrap_or_default);
        self.between.events_gone = [false; 2];
    }

    /// A pressure trigger fired, for the resource at this place of [`Resource::ALL`].
    pub fn pressure(&mut self, at: usize) {
        let Some(trigger) = self.between.triggers.get(at).and_then(Option::as_ref) else { return };
        let (resource, window) = (trigger.resource, trigger.window);
        if resource == Resource::Cpu && !self.sources.read_stat().is_some_and(|stat| signs::is_starved(&stat)) {
            return;
        }
        let span = self.elapsed().saturating_sub(self.before.at);
        let pressure = self.sources.read_pressure(resource).unwrap_or_default();
        let waited = signs::waited_pct_x10(resource, &self.before, &pressure, span, window);
        if waited.is_some() {
            self.strain(Strain { resource, sign: Sign::Psi, pct_x10: waited });
        }
    }

    /// A trigger is broken: it would be ready for ever.
    pub fn lose_trigger(&mut self, at: usize) {
        if let Some(trigger) = self.between.triggers.get_mut(at) {
            *trigger = None;
        }
    }

    /// The kernel kills, or is about to: samples come at once, and where its own table of tasks cannot be read the largest
    /// processes are looked for.
    pub(super) fn oom_began(&mut self) {
        let is_first = self.between.bursts.trouble(Cause::Oom, self.elapsed());
        if is_first && self.kmsg.is_err() {
            self.ask_for_largest();
        }
    }

    fn ask_for_largest(&self) {
        if let Some(slow) = &self.slow {
            slow.ask_for_largest();
        }
    }

    /// Tells a strain, unless it is still the one that was told, and begins a burst with it or goes on with one.
    pub(super) fn strain(&mut self, strain: Strain) {
        let now = self.elapsed();
        let begins = self.between.bursts.trouble(Cause::Pressure, now);
        let told_at = Resource::ALL.iter().zip(&mut self.between.told_at).find(|(other, _)| **other == strain.resource);
        let Some((_, told_at)) = told_at else { return };
        if begins || told_at.is_none_or(|told| now.saturating_sub(told) >= TELL_EVERY) {
            *told_at = Some(now);
            self.voice.pressure(strain, now);
            if strain.resource == Resource::Memory {
                self.ask_for_largest();
            }
        }
    }
}
