//! How a trail ends: by its last word, by what scripts tell of its runner, or by neither. Pure.

use crate::hub::trail::Runner;
use crate::hub::trail::happening::{Happening, What};
use crate::hub::trail::life::Life;
use crate::hub::trail::slice::Mark;

/// How a trail ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// No last word: it fell silent.
    Silence,
    /// It was told to stop, by SIGTERM or SIGINT; or its job was told to end, and ended.
    Told(Option<ToldJob>),
    /// The job ended; with its code or signal where that is known.
    Finished {
        /// The code that the job ended with.
        exit: Option<i64>,
        /// The signal that ended it.
        signal: Option<i64>,
    },
    /// The process that it was to end with is gone, and no line tells how the job ended: that process was the job, or was what ran it
    /// and was killed.
    Orphaned,
    /// Nobody read its stdout any more.
    Unread,
    /// Its next line is not due yet: it seems to live.
    Alive,
}

/// A job that was told to end, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldJob {
    /// The signal that it was told by: `job.told`.
    pub told: i64,
    /// The code that it ended with.
    pub exit: Option<i64>,
    /// The signal that ended it.
    pub signal: Option<i64>,
}

impl ToldJob {
    /// Whether it ended by that signal, or with the code that a shell has for it.
    #[must_use]
    pub fn did(self) -> bool {
        match self.signal {
            Some(signal) => signal == self.told,
            None => self.exit == Some(128 + self.told),
        }
    }
}

impl Ending {
    /// The code and the signal that the job ended with, where its end is told.
    #[must_use]
    pub fn job(self) -> Option<(Option<i64>, Option<i64>)> {
        match self {
            Self::Finished { exit, signal } | Self::Told(Some(ToldJob { exit, signal, .. })) => Some((exit, signal)),
            Self::Told(None) | Self::Silence | Self::Orphaned | Self::Unread | Self::Alive => None,
        }
    }

    /// Whether the job ended with code 0: then no trouble ended it.
    #[must_use]
    pub fn is_success(self) -> bool {
        self.job() == Some((Some(0), None))
    }
}

/// So long behind the last line of a run its job's end can be told, ms.
const TOLD_BEHIND_MS: i64 = 30_000;

/// The phases that were told while a run was there, or right behind it. A name is given to one guest after another, and the phases of
/// those say nothing of this one.
pub(super) fn phases<'r>(runner: &'r Runner, life: &Life) -> Vec<&'r Happening> {
    let is_of_boot = |other: &Life| boot_id(life).zip(boot_id(other)).is_none_or(|(own, other)| own == other);
    let runs = runner.runs.iter().filter(|(_, other)| is_of_boot(other));
    let mut phases: Vec<&Happening> = runs
        .flat_map(|(_, other)| &other.happenings)
        .filter(|one| matches!(one.what, What::Phase { .. }) && is_during(one.mark, life))
        .collect();
    phases.sort_by_key(|one| one.mark.at_ms());
    phases
}

fn boot_id(life: &Life) -> Option<&str> {
    life.about.as_ref().and_then(|about| about.boot_id.as_deref())
}

/// Without a clock nothing says that it was not. A clock can be set back, so that the last line is before the first.
fn is_during(mark: Mark, life: &Life) -> bool {
    let Some((at, (first, last))) = mark.at_ms().zip(life.first.at_ms().zip(life.last.at_ms())) else { return true };
    (first.min(last)..=first.max(last).saturating_add(TOLD_BEHIND_MS)).contains(&at)
}

/// By the run's last word, where it has one, and what scripts tell.
pub(super) fn of(stop: Option<&Happening>, phases: &[&Happening], life: &Life) -> Ending {
    // What ended before another phase began was an earlier job.
    let ended = phases.last().and_then(|one| match &one.what {
        What::Phase { phase, job_exit } if phase.as_ref() == "ended" => Some((one.mark, *job_exit)),
        _ => None,
    });
    match stop.map(|stop| &stop.what) {
        Some(What::Stop { reason, job_exit, job_signal, job_told }) => match reason.as_ref() {
            "job_exit" => {
                let exit = job_exit.or(ended.and_then(|(_, exit)| exit));
                let signal = job_signal.map(i64::from);
                match job_told.map(i64::from) {
                    Some(told) => Ending::Told(Some(ToldJob { told, exit, signal })),
                    None => Ending::Finished { exit, signal },
                }
            }
            "stdout_closed" => Ending::Unread,
            // A launcher that tells the job's end tells the probe to stop with it.
            _ if ended.is_some() => Ending::Finished { exit: ended.and_then(|(_, exit)| exit), signal: None },
            "parent_exit" => Ending::Orphaned,
            _ => Ending::Told(None),
        },
        // Told right at the end, though the last word itself is lost.
        _ => match ended {
            Some((mark, exit)) if is_close(mark, life.last) => Ending::Finished { exit, signal: None },
            _ => Ending::Silence,
        },
    }
}

fn is_close(mark: Mark, last: Mark) -> bool {
    mark.at_ms().zip(last.at_ms()).is_some_and(|(at, last)| last.abs_diff(at) <= TOLD_BEHIND_MS.unsigned_abs())
}
