//! One runner: what was heard of it, what it is now, and what of it is counted.

use std::sync::Arc;

use crate::hub::fleet::figures::{Key, STUCK_MS};
use crate::hub::fleet::member::{self, Member};
use crate::hub::fleet::walk::{Outcome, State};
use crate::hub::trail::Runner;
use crate::hub::trail::happening::{Happening, What};
use crate::hub::trail::heard::{Heard, OfRunner, Sign};
use crate::hub::trail::stage::Polls;
use crate::line::{Line, RunId};

use super::tally::{self, Tally};
use super::{Clock, DEAD_MS, KEPT_MS};

/// Nobody is silent sooner, ms: that is when one is looked at again of whom nothing new was heard.
const QUIET_MS: i64 = 60_000;

/// Nor oftener than this, ms.
const AGAIN_MS: i64 = 10_000;

/// What a guest's clock is off by is that of its latest line where it was so much less before, ms: its clock was put back.
const PUT_BACK_MS: i64 = 600_000;

/// What is told so long before the last line can be why it was the last, ms.
const TOLD_MS: i64 = 60_000;

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
            self.look_ms = now_ms.saturating_add(QUIET_MS);
        }
        !lines.is_empty() || self.is.state == State::Lost || !self.is_member
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
        let again_ms = if quiet_ms < QUIET_MS { QUIET_MS - quiet_ms } else { (quiet_ms / 8).max(AGAIN_MS) };
        self.look_ms = now_ms.saturating_add(again_ms);
        if self.lost_ms.is_some() {
            self.look_ms = now_ms.saturating_add(AGAIN_MS);
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

    /// Counts what is new of it, each thing once; what happened before `began_ms` is not counted.
    pub(super) fn count(&mut self, member: &Member, tally: &mut Tally, began_ms: i64, now_ms: i64) {
        let behind_ms = self.behind_ms.unwrap_or(0);
        let is_new = |at_ms: i64| at_ms.saturating_add(behind_ms) >= began_ms;
        let is_dead = self.lost_ms.is_some_and(|since| now_ms.saturating_sub(since) >= DEAD_MS);
        if member.died_of.is_some()
            && (member.state == State::Ended || is_dead)
            && !std::mem::replace(&mut self.is_death_counted, true)
            && self.heard_ms >= began_ms
        {
            tally.death(told(self.heard.runner()));
        }
        let mut counted = std::mem::take(&mut self.counted);
        let mut still = Vec::with_capacity(counted.len());
        let mut once = |ids: [u64; 2]| {
            let is_first = !ids.iter().any(|id| *id != 0 && counted.contains(id));
            still.extend(ids.into_iter().filter(|id| *id != 0));
            is_first
        };
        for job in &member.jobs {
            let [claim, end] = job.told_by;
            if let Some(claimed_ms) = job.claimed_ms
                && once([claim, 0])
                && is_new(claimed_ms)
            {
                tally.claim(job.waited_ms);
            }
            // Who is lost can come back.
            let is_open = job.outcome == Outcome::Running
                || (job.outcome == Outcome::Died && member.state == State::Lost && !is_dead);
            if !is_open && once([ended(claim), ended(end)]) && job.ended_ms.or(job.claimed_ms).is_some_and(is_new) {
                tally.job(job);
            }
        }
        for warm in &member.warm_ups {
            if once([warmed(warm.boot), 0]) && is_new(warm.ready_ms) {
                tally.warm_up(warm.whole_ms);
            }
        }
        still.shrink_to_fit();
        counted = still;
        self.counted = counted;
        self.count_polls(member, tally, began_ms);
    }

    /// Polls are counted by a script since it began: where its beginning was not heard, from now on.
    fn count_polls(&mut self, member: &Member, tally: &mut Tally, began_ms: i64) {
        let first = member.spans.first().map_or(member.state, |span| span.state);
        let has_begun = matches!(first, State::Warming | State::Ready) && self.is.first_ms >= began_ms;
        let before = self.polls.unwrap_or(if has_begun { Polls::default() } else { member.polls });
        tally.polls(&member.polls, &before);
        self.polls = Some(member.polls);
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

/// What the event lines of its last minute say of a death. No verdict: that needs samples, and the trail has them.
fn told(runner: &Runner) -> &'static str {
    let Some((_, life)) =
        runner.runs.iter().filter(|(run, _)| *run != RunId::NONE).max_by_key(|(_, life)| life.last.at_ms())
    else {
        return tally::SILENT;
    };
    let is_late = |one: &&Happening| {
        one.mark.at_ms().zip(life.last.at_ms()).is_some_and(|(at, last)| last.saturating_sub(at) <= TOLD_MS)
    };
    let causes = life.happenings.iter().filter(is_late).filter_map(|one| match &one.what {
        What::Kill { .. } | What::Counter { .. } => Some(tally::OOM),
        What::Kernel { .. } => Some(tally::KERNEL),
        What::Agent { .. } => Some(tally::AGENT),
        _ => None,
    });
    // What is behind the others' trouble goes before it.
    causes.min_by_key(|cause| tally::CAUSES.iter().position(|known| known == cause)).unwrap_or(tally::SILENT)
}

/// What stands for the end of a job that this line told, or that the claim of this line has; 0 stays none.
const fn ended(line: u64) -> u64 {
    if line == 0 { 0 } else { line.rotate_left(17) | 1 }
}

/// What stands for the warm-up of a boot.
const fn warmed(boot: u64) -> u64 {
    boot.rotate_left(31) | 1
}
