//! The jobs of one boot, where it has one after another: each that ended under `exec` is a life of its own once another run began.
//!
//! A run that ended otherwise, or whose last word is lost, is of the life that follows: a probe that was killed and began anew watches the
//! same. One beside a job, as of a sidecar, is of that job's life where it had its last word before another run began; one that was there
//! for several jobs is of the last of them.

use crate::hub::trail::happening::What;
use crate::hub::trail::life::Life;

/// Where one life ends and another begins, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Cuts(Vec<Cut>);

/// A job's end, and the first begin of another run behind it, milliseconds since 1970.
#[derive(Debug)]
struct Cut {
    ended_ms: i64,
    next_began_ms: i64,
}

impl Cuts {
    /// Those between the runs of one boot. Of jobs that were there together the first to end makes one.
    pub(super) fn between(runs: &[&Life]) -> Self {
        let probes = || runs.iter().enumerate().filter(|(_, life)| phase(life).is_none());
        // One whose first lines are lost may have begun long before.
        let begun = probes().filter(|(_, life)| life.first.seq <= 1);
        let mut begins: Vec<(i64, usize)> = begun.filter_map(|(at, life)| Some((life.first.at_ms()?, at))).collect();
        begins.sort_unstable();
        let jobs = probes().filter(|(_, life)| last_word(life) == Some(LastWord::OfItsJob));
        let mut jobs: Vec<(i64, i64, usize)> =
            jobs.filter_map(|(at, life)| Some((life.last.at_ms()?, life.first.at_ms()?, at))).collect();
        jobs.sort_unstable();
        let mut cuts: Vec<Cut> = Vec::new();
        for (ended_ms, began_ms, at) in jobs {
            let behind = begins.partition_point(|(began_ms, _)| *began_ms < ended_ms);
            let next = begins.iter().skip(behind).find(|(_, other)| *other != at);
            let is_behind = cuts.last().is_none_or(|last| last.ended_ms <= began_ms);
            if let Some((next_began_ms, _)) = next.filter(|_| is_behind) {
                cuts.push(Cut { ended_ms, next_began_ms: *next_began_ms });
            }
        }
        Self(cuts)
    }

    /// How many of them are before a run's end: the how-manieth life it is of; and when that began, milliseconds since 1970, where another was
    /// before it. Without a clock it is of the last.
    pub(super) fn before(&self, life: &Life) -> (usize, Option<i64>) {
        let nth = self.nth(life);
        (nth, nth.checked_sub(1).and_then(|before| self.0.get(before)).map(|cut| cut.ended_ms))
    }

    fn nth(&self, life: &Life) -> usize {
        let Some((began_ms, ended_ms)) = life.first.at_ms().zip(life.last.at_ms()) else { return self.0.len() };
        let before = self.0.partition_point(|cut| cut.ended_ms < ended_ms);
        let is_of_the_one_before = |cut: &Cut| {
            let is_of_it = match phase(life) {
                Some(phase) => phase == "ended",
                None => last_word(life).is_some() && began_ms < cut.ended_ms,
            };
            is_of_it && ended_ms <= cut.next_began_ms
        };
        match before.checked_sub(1).and_then(|at| self.0.get(at)) {
            Some(cut) if is_of_the_one_before(cut) => before - 1,
            _ => before,
        }
    }
}

/// What a run said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastWord {
    /// How its job ended.
    OfItsJob,
    /// Why else it ends.
    Other,
}

fn last_word(life: &Life) -> Option<LastWord> {
    life.happenings.iter().find_map(|one| match &one.what {
        What::Stop { job_exit, job_signal, .. } if one.mark.seq == life.last.seq => {
            let tells_its_job = job_exit.is_some() || job_signal.is_some();
            Some(if tells_its_job { LastWord::OfItsJob } else { LastWord::Other })
        }
        _ => None,
    })
}

/// The phase that a script told, where that is all there is of a run.
fn phase(life: &Life) -> Option<&str> {
    match life.happenings.as_slice() {
        [one] if life.whole.is_none() && life.lines == 1 => match &one.what {
            What::Phase { phase, .. } => Some(phase),
            _ => None,
        },
        _ => None,
    }
}
