//! What the lines of a runner show of its end: the figures that the rules look at. Pure.

use crate::hub::trail::Runner;
use crate::hub::trail::about::About;
use crate::hub::trail::happening::{Happening, What};
use crate::hub::trail::life::Life;
use crate::hub::trail::slice::{High, Last, Low, Mark, Mean, Slice};

use super::case::Reason;
use super::clock::{Clock, Looked};
use super::units::at;

/// The interval of a probe that does not say it, ms.
pub(super) const INTERVAL_MS: i64 = 5000;

/// By so much collectors are late with lines: what is more is told, and believed of the guest's clock, ms.
const CLOCK_OFF_MS: i64 = 5000;

/// How a trail ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// No last word: it fell silent.
    Silence,
    /// It was told to stop: SIGTERM or SIGINT.
    Told,
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

/// The end of a runner as its lines show it.
#[derive(Debug)]
pub struct Evidence<'r> {
    /// The run whose end is the runner's.
    pub life: &'r Life,
    /// How it ends.
    pub ending: Ending,
    /// The line that says so; the last line where none does.
    pub end: Mark,
    /// What is left of a later line than the last, where no last word is there: it still spoke then.
    pub heard: Option<Mark>,
    /// Time between two due samples.
    pub interval_ms: i64,
    /// Up to when it was looked at, where its next line may yet come.
    pub looked: Option<Looked>,
    /// Happenings of the runner's runs that a phase line told while the judged one was there, in the order of their times.
    pub phases: Vec<&'r Happening>,
    /// Broken lines of vitals where its own stand.
    pub broken: u64,
    /// There may be more of it: its source could not be read to its end.
    pub is_cut: bool,
    /// The latest samples: the last two slices.
    lately: Option<Slice>,
    /// The samples of the minute before those, in the order of their lines.
    earlier: &'r [Slice],
}

impl<'r> Evidence<'r> {
    /// Looks at one of a runner's runs at a time; `None` when it has no such run.
    #[must_use]
    pub fn of(runner: &'r Runner, at: usize, clock: &Clock) -> Option<Self> {
        let (_, life) = runner.runs.get(at)?;
        let phases = phases(runner, life);
        let stop = life.happenings.iter().rfind(|one| matches!(one.what, What::Stop { .. }));
        // A run that goes on behind its last word has not ended with it: somebody else wrote that.
        let stop = stop.filter(|stop| stop.mark.seq == life.last.seq);
        let (first, second) = life.recent.split_at(life.recent.len().saturating_sub(2));
        let lately = second.iter().copied().reduce(|mut whole, slice| {
            whole.fold(&slice);
            whole
        });
        let interval_ms = life.interval_ms().unwrap_or(INTERVAL_MS).clamp(100, 3_600_000);
        let ending = ending(stop, &phases, life);
        let heard = life.odd().heard.filter(|_| ending == Ending::Silence);
        let last = heard.unwrap_or(life.last);
        let looked = clock.before_the_end(life.logged_at_ms(last), interval_ms).filter(|_| ending == Ending::Silence);
        Some(Self {
            life,
            ending: if looked.is_some() { Ending::Alive } else { ending },
            end: stop.map_or(last, |stop| stop.mark),
            heard,
            interval_ms,
            looked,
            phases,
            broken: runner.broken,
            is_cut: runner.is_cut && ending == Ending::Silence,
            lately,
            earlier: first,
        })
    }

    /// What the run says of itself.
    #[must_use]
    pub fn about(&self) -> Option<&About> {
        self.life.about.as_deref()
    }

    /// How long before the end a line was; `None` without a clock. Never negative: clocks jump.
    #[must_use]
    pub fn age_ms(&self, mark: Mark) -> Option<i64> {
        let age = self.end.at_ms()?.saturating_sub(mark.at_ms()?);
        Some(age.saturating_sub(self.life.set_ms(mark, self.end)).max(0))
    }

    /// By how much the guest's clock was ahead of the log's at the end, ms; `None` where it is not known, or a few seconds.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        self.life.ahead_ms().filter(|ahead| ahead.abs() > CLOCK_OFF_MS)
    }

    /// What "so long before" is told of: no end of who lives is seen.
    #[must_use]
    pub fn end_name(&self) -> &'static str {
        if self.ending == Ending::Alive { "its last line" } else { "the end" }
    }

    /// Whether a line was at most so long before the end. Without a clock: among the last twenty lines.
    #[must_use]
    pub fn is_within(&self, mark: Mark, ms: i64) -> bool {
        self.age_ms(mark).map_or(self.end.seq.saturating_sub(mark.seq) <= 20, |age| age <= ms)
    }

    /// The happenings of at most so long before the end, the latest first.
    pub fn within(&self, ms: i64) -> impl Iterator<Item = &'r Happening> {
        self.life.happenings.iter().rev().filter(move |one| self.is_within(one.mark, ms))
    }

    /// The samples of the last 12 to 24 seconds; of the last two where they are further apart.
    #[must_use]
    pub fn lately(&self) -> Option<&Slice> {
        self.lately.as_ref()
    }

    /// The first and the last line of those samples.
    #[must_use]
    pub fn lately_lines(&self) -> Vec<Mark> {
        self.lately().map_or_else(Vec::new, |lately| vec![lately.first, lately.mark])
    }

    /// The last sample.
    #[must_use]
    pub fn last_sample(&self) -> Option<&'r Slice> {
        self.life.last_sample.as_deref()
    }

    /// The mean of a percentage, tenths: of the latest samples, or of the very last ones where it is higher there; `None` where it was
    /// not read.
    #[must_use]
    pub fn worst_mean(&self, of: Mean) -> Option<i64> {
        let last = self.life.recent.last().filter(|slice| slice.samples >= 3).and_then(|slice| slice.mean(of));
        self.lately().and_then(|lately| lately.mean(of)).max(last)
    }

    /// The highest of a reading in the latest samples.
    #[must_use]
    pub fn high(&self, of: High) -> Option<i64> {
        self.lately()?.high(of)
    }

    /// By how much a count of the run rose in the latest samples; `None` where it is not in them, or where nothing of before is there to
    /// tell. A count that fell began anew.
    #[must_use]
    pub fn growth(&self, of: High) -> Option<i64> {
        let now = self.high(of)?;
        match self.earlier.iter().rev().find_map(|slice| slice.high(of)) {
            Some(before) if before <= now => Some(now - before),
            Some(_) => Some(now),
            // None of them has it: it began lately.
            None => (!self.earlier.is_empty() || self.life.first.seq <= 1).then_some(now),
        }
    }

    /// How late the probe was at most in the latest samples, ms.
    #[must_use]
    pub fn late_ms(&self) -> Option<i64> {
        Some(self.high(High::Late)? / 10)
    }

    /// By how much a count of the kernel rose since the first sample that is there; `None` where it was never read.
    #[must_use]
    pub fn rise(&self, high: High, low: Low) -> Option<i64> {
        let whole = self.life.whole.as_ref()?;
        Some(whole.high(high)? - whole.low(low)?)
    }

    /// How long the latest samples span.
    #[must_use]
    pub fn lately_ms(&self) -> i64 {
        let span = self.lately().and_then(|lately| Some(lately.mark.at_ms()?.saturating_sub(lately.first.at_ms()?)));
        span.unwrap_or(0).clamp(self.interval_ms, 3_600_000)
    }

    /// Whether the guest tells how long tasks waited: then a percentage of waiting that is missing is zero.
    #[must_use]
    pub fn tells_stalls(&self) -> bool {
        let of = [Mean::CpuStall, Mean::MemStall, Mean::IoStall];
        self.life.whole.as_ref().is_some_and(|whole| of.into_iter().any(|of| whole.has(of)))
    }

    /// What an average over ten seconds (`avg10`) was made of lately, tenths of a per cent: an average that falls since an
    /// earlier load is not one now. The kernel folds in a new value each 2 s, by e^(-2/10), 1677 of 2048.
    #[must_use]
    pub fn present(&self, of: Last) -> Option<i64> {
        Some(implied(self.steps(of, 2000)?, 1677).clamp(0, 1000))
    }

    /// How many tasks wanted to run lately, hundredths: what `load1` was made of. The kernel folds in a new value each 5 s, by
    /// e^(-5/60), 1884 of 2048.
    #[must_use]
    pub fn runnable(&self) -> Option<i64> {
        Some(implied(self.steps(Last::Load1, 5000)?, 1884).max(0))
    }

    /// An average before the latest samples and now, and how often it was made anew in between.
    fn steps(&self, of: Last, step_ms: i64) -> Option<Averages> {
        let base = self.earlier.last().or(self.life.recent.first())?;
        let last = self.last_sample()?;
        let span = last.mark.at_ms()?.saturating_sub(base.mark.at_ms()?);
        let steps = span.saturating_add(step_ms / 2) / step_ms;
        if steps < 1 {
            return None;
        }
        Some(Averages { old: base.last(of)?, new: last.last(of)?, steps: steps.min(200) })
    }

    /// The lowest memory that was available in the latest minute, and all there is, KiB.
    #[must_use]
    pub fn lowest_memory(&self) -> Option<(i64, i64)> {
        let lowest = self.life.recent.iter().filter_map(|slice| slice.low(Low::MemAvail)).min()?;
        Some((lowest, self.life.whole.as_ref()?.high(High::MemTotal)?))
    }

    /// What the own cgroup had lately and its `memory.high`, KiB, where it was at that mark and not at its limit: above it the kernel
    /// slows down whoever allocates, and kills nobody.
    #[must_use]
    pub fn at_high(&self) -> Option<(i64, i64)> {
        let (current, high) = (self.high(High::MemCurrent)?, self.high(High::MemHigh)?);
        let is_below_limit = self.high(High::MemMax).is_none_or(|max| high < max);
        (high > 0 && current >= high / 10 * 9 && is_below_limit).then_some((current, high))
    }

    /// What is to be said where the run's beginning is not there.
    #[must_use]
    pub fn lost_beginning(&self) -> Option<Reason> {
        let first = self.life.first;
        let says = match first.seq.saturating_sub(1) {
            0 => return None,
            1 => format!("the line before {} is not there: what was then is not known", name(first)),
            lost => format!("the {lost} lines before {} are not there: what was then is not known", name(first)),
        };
        Some(Reason { says, lines: vec![first] })
    }

    /// The beginning is not there, and what is there is shorter than what could be seen of a trouble: under a minute.
    #[must_use]
    pub fn is_short_end(&self) -> bool {
        self.life.first.seq > 1 && self.is_within(self.life.first, 60_000)
    }

    /// Whether an interruption of the trail hides what came right before its last line.
    #[must_use]
    pub fn is_broken_at_the_end(&self) -> bool {
        self.life.is_broken_at_the_end()
    }
}

#[derive(Clone, Copy)]
struct Averages {
    old: i64,
    new: i64,
    steps: i64,
}

/// The constant value that makes an exponential average go from the old to the new one.
fn implied(of: Averages, kept_of_2048: i64) -> i64 {
    const ONE: i64 = 1 << 20;
    let kept = (0..of.steps).fold(ONE, |kept, _| kept * kept_of_2048 / 2048);
    (of.new * ONE - of.old * kept) / (ONE - kept)
}

/// Whether so much available memory is next to none: 5 % of a small guest, 1.5 % of a large one, 128 MiB in between. Below it the
/// kernel reclaims all the time, and the next burst of allocations is killed for.
#[must_use]
pub fn is_exhausted(avail_kb: i64, total_kb: i64) -> bool {
    total_kb > 0 && avail_kb < (total_kb * 15 / 1000).max((total_kb / 20).min(128 << 10))
}

/// So long behind the last line of a run its job's end can be told, ms.
const TOLD_BEHIND_MS: i64 = 30_000;

/// The phases that were told while a run was there, or right behind it. A name is given to one guest after another, and the phases of
/// those say nothing of this one.
fn phases<'r>(runner: &'r Runner, life: &Life) -> Vec<&'r Happening> {
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

fn ending(stop: Option<&Happening>, phases: &[&Happening], life: &Life) -> Ending {
    // What ended before another phase began was an earlier job.
    let ended = phases.last().and_then(|one| match &one.what {
        What::Phase { phase, job_exit } if phase.as_ref() == "ended" => Some((one.mark, *job_exit)),
        _ => None,
    });
    match stop.map(|stop| &stop.what) {
        Some(What::Stop { reason, job_exit, job_signal }) => match reason.as_ref() {
            "job_exit" => Ending::Finished {
                exit: job_exit.or(ended.and_then(|(_, exit)| exit)),
                signal: job_signal.map(i64::from),
            },
            "stdout_closed" => Ending::Unread,
            // A launcher that tells the job's end tells the probe to stop with it.
            _ if ended.is_some() => Ending::Finished { exit: ended.and_then(|(_, exit)| exit), signal: None },
            "parent_exit" => Ending::Orphaned,
            _ => Ending::Told,
        },
        // Told right at the end, though the last word itself is lost.
        _ => match ended {
            Some((mark, exit)) if is_close(mark, life.last) => Ending::Finished { exit, signal: None },
            _ => Ending::Silence,
        },
    }
}

/// What a line is called in a sentence: its time, else its number.
fn name(mark: Mark) -> String {
    mark.at_ms().map_or_else(|| format!("line {} of the run", mark.seq), at)
}

fn is_close(mark: Mark, last: Mark) -> bool {
    mark.at_ms().zip(last.at_ms()).is_some_and(|(at, last)| last.abs_diff(at) <= TOLD_BEHIND_MS.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_tells_what_it_was_made_of() {
        // load1 of 1.00 that goes to 2.52 in 10 s: 0.9199 of it stays each 5 s, so some 11 tasks ran.
        assert_eq!(implied(Averages { old: 100, new: 252, steps: 2 }, 1884), 1088);
        assert_eq!(implied(Averages { old: 800, new: 800, steps: 3 }, 1677), 800);
        assert!(implied(Averages { old: 800, new: 655, steps: 1 }, 1677).abs() <= 1, "it only falls: nothing now");
    }

    #[test]
    fn what_is_next_to_no_memory_depends_on_the_guest() {
        let mib = 1 << 10;
        let cases = [
            (11, 256, true),
            (13, 256, false),
            (127, 8 << 10, true),
            (129, 8 << 10, false),
            (900, 64 << 10, true),
            (1000, 64 << 10, false),
        ];
        for (avail, total, exhausted) in cases {
            assert_eq!(is_exhausted(avail * mib, total * mib), exhausted, "{avail} of {total} MiB");
        }
    }
}
