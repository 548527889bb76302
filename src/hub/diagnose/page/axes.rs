//! From where to where a run is drawn, and where on that it died.

use crate::hub::trail::film::view::{Axis, Scale};
use crate::hub::trail::life::Life;

use super::super::evidence::Ending;
use super::super::verdict::Verdict;
use super::svg::Death;

/// A run that is longer than this has its end drawn beside all of it.
const LONG_MS: i64 = 15 * 60_000;

/// How much of it that is.
const END_MS: i64 = 10 * 60_000;

/// The axes of a run, the end of a long one first.
pub(super) fn axes(life: &Life, verdict: &Verdict) -> Vec<Axis> {
    let timed = life.first.at_ms().zip(verdict.last_ms).filter(|(first, last)| first <= last);
    let Some((first, last)) = timed else {
        let line = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
        let (from, last) = (line(life.first.seq), line(life.last.seq));
        return vec![Axis { scale: Scale::Lines, from, to: last.saturating_add((last - from) / 40 + 1) }];
    };
    let time = |from: i64| {
        let to = verdict.next_due_ms.unwrap_or(last).max(last);
        // Behind the end there is room to see that it ends.
        let room = (to.saturating_sub(from) / 40).max(200);
        Axis { scale: Scale::Time, from, to: to.saturating_add(room) }
    };
    if last.saturating_sub(first) > LONG_MS { vec![time(last - END_MS), time(first)] } else { vec![time(first)] }
}

/// Where it died.
pub(super) fn death(axis: &Axis, life: &Life, verdict: &Verdict) -> Death {
    let label = match verdict.ending {
        Ending::Silence => "died in here",
        Ending::Told(_) => "told to stop",
        Ending::Finished { .. } => "finished",
        Ending::Orphaned => "what started it is gone",
        Ending::Unread => "no longer read",
        Ending::Alive => "the next is due",
    };
    let from = match axis.scale {
        Scale::Time => verdict.last_ms.unwrap_or(axis.to),
        Scale::Lines => i64::try_from(life.last.seq).unwrap_or(i64::MAX),
    };
    let to = verdict.next_due_ms.filter(|_| axis.scale == Scale::Time).unwrap_or(from);
    Death { from, to: to.max(from), label }
}
