//! What is counted of a runner, each thing once: claims, ends, warm-ups, polls, its death.

use crate::hub::fleet::member::Member;
use crate::hub::fleet::state::State;
use crate::hub::fleet::walk::Outcome;
use crate::hub::live::DEAD_MS;
use crate::hub::live::tally::{self, Tally};
use crate::hub::trail::Runner;
use crate::hub::trail::happening::{Happening, What};
use crate::hub::trail::stage::Polls;
use crate::line::RunId;

use super::One;

/// What is told so long before the last line can be why it was the last, ms.
const TOLD_MS: i64 = 60_000;

impl One {
    /// Counts what is new of it, each thing once; what happened before `began_ms` is not counted.
    pub(in crate::hub::live) fn count(&mut self, member: &Member, tally: &mut Tally, began_ms: i64, now_ms: i64) {
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
