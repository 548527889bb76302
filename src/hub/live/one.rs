//! One runner: what was heard of it, what it is now, and what of it is counted.

use std::sync::Arc;

use crate::hub::fleet::figures::{Key, STUCK_MS};
use crate::hub::fleet::member::{self, Member};
use crate::hub::fleet::state::State;
use crate::hub::fleet::walk::Outcome;
use crate::hub::trail::heard::{Heard, OfRunner, Sign};
use crate::hub::trail::stage::Polls;
use crate::line::{Line, RunId};

use super::{Clock, KEPT_MS};

mod count;

/// No probe whose lines come from it is silent sooner, ms: that is when one is looked at again of whom nothing new was heard.
const PROBE_QUIET_MS: i64 = 30_000;

/// Nobody else, ms: no heartbeat is sooner missed, and lines of logs are late by their collector, by Loki and by the reading of it.
const QUIET_MS: i64 = 60_000;

/// Who is silent is not looked at oftener than this, ms.
const AGAIN_MS: i64 = 5000;

/// Nor who is lost, ms.
const LOST_AGAIN_MS: i64 = 10_000;

/// What a guest's clock is off by is that of its latest line where it was so much less before, ms: its clock was put back.
const PUT_BACK_MS: i64 = 600_000;

/// A sample, as far as it is of interest.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The whole line: read once, where nothing is known of its run.
    pub text: &'a str,
    /// Which process wrote it.
    pub run: RunId,
    /// The how-manieth line of that process it is.
    pub seq: u64,
    /// When, by the guest's clock, ms since 1970; `None` where that was unusable.
    pub at_ms: Option<i64>,
}

/// One runner.
#[derive(Debug)]
pub(super) struct One {
    heard: Heard,
    /// What its clock is behind ours, ms, the way of its lines included.
    behind_ms: Option<i64>,
    /// The latest line, by our clock: silence is since then.
    heard_ms: i64,
    /// When lines came last.
    came_ms: i64,
    /// It sends with a token, so logs say nothing of it: whoever writes one can call itself what it likes.
    pub(super) has_token: bool,
    /// What was heard makes a member.
    is_member: bool,
    /// When it is to be looked at again, though nothing is heard.
    pub(super) look_ms: i64,
    /// Its fleet.
    pub(super) key: Arc<Key>,
    /// What it is.
    pub(super) is: Is,
    /// Since when it is lost, as was found.
    lost_ms: Option<i64>,
    is_death_counted: bool,
    /// Claims, ends and warm-ups that are counted.
    counted: Vec<u64>,
    polls: Option<Polls>,
}

/// What a member is now; times by our clock.
#[derive(Clone, Debug)]
pub(super) struct Is {
    pub(super) state: State,
    pub(super) since_ms: i64,
    pub(super) first_ms: i64,
    pub(super) image: Option<Box<str>>,
    pub(super) running: usize,
    pub(super) poll_max_ms: u64,
}

impl One {
    pub(super) fn new(name: &str, now_ms: i64) -> Self {
        let is =
            Is { state: State::Untold, since_ms: now_ms, first_ms: now_ms, image: None, running: 0, poll_max_ms: 0 };
        Self {
            heard: Heard::new(name),
            behind_ms: None,
            heard_ms: i64::MIN,
            came_ms: now_ms,
            has_token: false,
            is_member: false,
            look_ms: now_ms,
            key: Arc::new(Key { env: None, fleet: None }),
            is,
            lost_ms: None,
            is_death_counted: false,
            counted: Vec::new(),
            polls: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.heard.runner().name
    }

    /// Warming for too long.
    pub(super) fn is_stuck(&self, now_ms: i64) -> bool {
        self.is.state == State::Warming && now_ms.saturating_sub(self.is.since_ms) > STUCK_MS
    }

    pub(super) fn is_trouble(&self, now_ms: i64) -> bool {
        self.is.state == State::Lost || self.is_stuck(now_ms)
    }

    /// The same runner, of which logs were heard until now and which sends with a token: of those is kept what was counted.
    pub(super) fn with_token(&mut self, now_ms: i64) {
        let counted = std::mem::take(&mut self.counted);
        *self = Self { counted, has_token: true, ..Self::new(self.name(), now_ms) };
    }

    /// What is over and counted, or told nothing to count, and when it was heard last.
    pub(super) fn free_ms(&self) -> Option<i64> {
        let is_free =
            !self.is_member || self.state() == State::Ended || (self.state() == State::Lost && self.is_death_counted);
        is_free.then_some(self.came_ms)
    }

    pub(super) const fn state(&self) -> State {
        self.is.state
    }

    /// Takes lines; whether they can make it something else.
    pub(super) fn hear(&mut self, lines: &[Line<'_>], sample: Option<&Sample<'_>>, clock: Clock, now_ms: i64) -> bool {
        let at_ms =
            |line: &Line<'_>| i64::try_from(line.ts?.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis()).ok();
        let newest = lines.iter().filter_map(at_ms).chain(sample.and_then(|sample| sample.at_ms)).max();
        let is_near = match (clock, newest) {
            (Clock::Received, Some(newest)) => {
                self.set_clock(now_ms.saturating_sub(newest));
                now_ms
            }
            (Clock::Received, None) => now_ms,
            (Clock::Theirs, newest) => newest.unwrap_or(now_ms).saturating_add(self.behind_ms.unwrap_or(0)).min(now_ms),
        };
        self.heard_ms = self.heard_ms.max(is_near);
        self.came_ms = now_ms;
        let theirs_ms = now_ms.saturating_sub(self.behind_ms.unwrap_or(0));
        for line in lines {
            self.heard.event(line, Sign { run: line.run, seq: line.seq, at_ms: at_ms(line).unwrap_or(theirs_ms) });
        }
        if let Some(Sample { text, run, seq, at_ms }) = sample {
            let sign = Sign { run: *run, seq: *seq, at_ms: at_ms.unwrap_or(theirs_ms) };
            self.heard.sample(sign, || OfRunner::of(text));
        }
        if self.is.state.is_alive() {
            self.look_ms = now_ms.saturating_add(self.quiet_ms());
        }
        !lines.is_empty() || self.is.state == State::Lost || !self.is_member
    }

    /// It is not silent sooner, ms.
    fn quiet_ms(&self) -> i64 {
        let has_probe = || self.heard.runner().runs.iter().any(|(run, _)| *run != RunId::NONE);
        if self.has_token && has_probe() { PROBE_QUIET_MS } else { QUIET_MS }
    }

    /// The least that it is behind is what its clock is: what is more was the way of a line.
    fn set_clock(&mut self, behind_ms: i64) {
        self.behind_ms = Some(match self.behind_ms {
            Some(before) if behind_ms < before.saturating_add(PUT_BACK_MS) => before.min(behind_ms),
            _ => behind_ms,
        });
    }

    /// What it is as a member of its fleet; times by its own clock.
    pub(super) fn member(&self, forgiven_ms: i64, now_ms: i64) -> Option<Member> {
        // A clock that was put back is behind what it told before: how long it is silent is for ours to say.
        let theirs_ms = now_ms.saturating_sub(self.behind_ms.unwrap_or(0));
        let at_ms = theirs_ms.max(self.heard.newest_ms()?);
        let silent_ms = Some(now_ms.saturating_sub(self.heard_ms));
        Member::of(self.heard.runner(), member::Clock { at_ms, forgiven_ms, silent_ms })
    }

    /// Nobody could hear it until now.
    pub(super) fn is_silent_from(&mut self, now_ms: i64) {
        match self.is.state {
            State::Lost if !self.is_death_counted => self.lost_ms = Some(now_ms),
            State::Lost | State::Ended => {}
            State::Warming | State::Ready | State::Claimed | State::Untold => self.heard_ms = self.heard_ms.max(now_ms),
        }
    }

    /// Nothing that was heard makes a member.
    pub(super) fn is_nothing(&mut self, now_ms: i64) {
        self.is_member = false;
        self.look_ms = now_ms.saturating_add(QUIET_MS);
    }

    /// It is this now.
    pub(super) fn is_now(&mut self, member: &Member, now_ms: i64) {
        let behind_ms = self.behind_ms.unwrap_or(0);
        let ours = |at_ms: i64| at_ms.saturating_add(behind_ms);
        self.is_member = true;
        self.lost_ms = (member.state == State::Lost).then(|| self.lost_ms.unwrap_or(now_ms));
        let quiet_ms = now_ms.saturating_sub(self.heard_ms);
        let least_ms = self.quiet_ms();
        let again_ms = if quiet_ms < least_ms { least_ms - quiet_ms } else { (quiet_ms / 8).max(AGAIN_MS) };
        self.look_ms = now_ms.saturating_add(again_ms);
        if self.lost_ms.is_some() {
            self.look_ms = now_ms.saturating_add(LOST_AGAIN_MS);
        }
        self.is = Is {
            state: member.state,
            since_ms: ours(member.since_ms),
            first_ms: ours(member.first_ms),
            image: member.image.as_deref().map(Into::into),
            running: member.jobs.iter().filter(|job| job.outcome == Outcome::Running).count(),
            poll_max_ms: member.polls.max_ms,
        };
        self.is_death_counted &= !self.is.state.is_alive();
    }

    /// Whether nobody has to remember it any more.
    pub(super) fn is_over(&self, now_ms: i64) -> bool {
        let since_ms = match self.is.state {
            _ if !self.is_member => self.came_ms,
            State::Ended => self.came_ms,
            State::Lost => self.lost_ms.unwrap_or(now_ms),
            _ => return false,
        };
        now_ms.saturating_sub(since_ms) >= KEPT_MS
    }
}
