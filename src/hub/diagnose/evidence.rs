//! What the lines of a runner show of its end: the figures that the rules look at. Pure.

mod step;

use crate::hub::trail::Runner;
use crate::hub::trail::about::About;
use crate::hub::trail::happening::{Happening, What};
use crate::hub::trail::life::Life;
use crate::hub::trail::slice::{High, Last, Low, Mark, Mean, Slice};

use super::case::Reason;
use super::clock::{Clock, Looked};
use super::ending;
use super::units::{at, time};
use step::Step;

pub use super::ending::{Ending, ToldJob};

/// The interval of a probe that does not say it, ms.
pub(super) const INTERVAL_MS: i64 = 5000;

/// By so much collectors are late with lines: what is more is told, and believed of the guest's clock, ms.
const CLOCK_OFF_MS: i64 = 5000;

/// How far it is known when the next line is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// A line says it.
    Told,
    /// That of the samples that are there.
    Guessed,
    /// Nothing tells it.
    Assumed,
}

/// What a cgroup holds that cannot be dropped, and its limit, both in bytes, where the first is 90 % of the second or more. Shared
/// memory that is not told may be there besides.
pub(super) fn held_at_limit(last: &Slice) -> Option<(i64, i64)> {
    let held = last.high(High::MemAnon)? + last.high(High::MemShmem).unwrap_or(0);
    let max = last.high(High::MemMax)?;
    (max > 0 && held >= max / 10 * 9).then_some((held, max))
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
    /// How far that is known.
    pub interval: Interval,
    /// A line that says that it stopped and is not the last of the run.
    pub early_stop: Option<Mark>,
    /// Up to when it was looked at, where its next line may yet come.
    pub looked: Option<Looked>,
    /// Happenings of the runner's runs that a phase line told while the judged one was there, in the order of their times.
    pub phases: Vec<&'r Happening>,
    /// Broken lines of vitals where its own stand.
    pub broken: u64,
    /// There may be more of it: its source could not be read to its end.
    pub is_cut: bool,
    /// Time that its lines do not account for.
    pub(super) step: Option<Step>,
    /// The latest samples: the last two slices.
    lately: Option<Slice>,
    /// The samples of the minute before those, in the order of their lines.
    pub(super) earlier: &'r [Slice],
}

impl<'r> Evidence<'r> {
    /// Looks at one of a runner's runs at a time; `None` when it has no such run.
    #[must_use]
    pub fn of(runner: &'r Runner, at: usize, clock: &Clock) -> Option<Self> {
        let (_, life) = runner.runs.get(at)?;
        let phases = ending::phases(runner, life);
        let stop = life.happenings.iter().rfind(|one| matches!(one.what, What::Stop { .. }));
        // A run that goes on behind its last word has not ended with it: somebody else wrote that.
        let early_stop = stop.map(|stop| stop.mark).filter(|stop| stop.seq != life.last.seq);
        let stop = stop.filter(|stop| stop.mark.seq == life.last.seq);
        let (first, second) = life.recent.split_at(life.recent.len().saturating_sub(2));
        let lately = second.iter().copied().reduce(|mut whole, slice| {
            whole.fold(&slice);
            whole
        });
        let is_told = life.about.as_ref().is_some_and(|about| about.interval_ms.is_some());
        let (interval, interval_ms) = match life.interval_ms() {
            Some(ms) if is_told => (Interval::Told, ms),
            Some(ms) => (Interval::Guessed, ms),
            None => (Interval::Assumed, INTERVAL_MS),
        };
        let interval_ms = interval_ms.clamp(100, 3_600_000);
        let ending = ending::of(stop, &phases, life);
        let heard = life.odd().heard.filter(|_| ending == Ending::Silence);
        let last = heard.unwrap_or(life.last);
        let looked = clock.before_the_end(life.logged_at_ms(last), interval_ms).filter(|_| ending == Ending::Silence);
        Some(Self {
            life,
            ending: if looked.is_some() { Ending::Alive } else { ending },
            end: stop.map_or(last, |stop| stop.mark),
            heard,
            interval_ms,
            interval,
            early_stop,
            looked,
            phases,
            broken: runner.broken,
            step: Step::last(life, last, interval_ms),
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
        let set = self.step.map_or(0, |step| step.set_ms(mark, self.end));
        Some(age.saturating_sub(self.life.set_ms(mark, self.end)).saturating_sub(set).max(0))
    }

    /// By how much the guest's clock was ahead of the log's at the end, ms; `None` where it is not known, or a few seconds.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        self.life.ahead_ms().filter(|ahead| ahead.abs() > CLOCK_OFF_MS)
    }

    /// How long before the end a line was, in words. Of what seems to live no end is seen.
    #[must_use]
    pub fn before(&self, mark: Mark) -> String {
        let what = if self.ending == Ending::Alive { "its last line" } else { "the end" };
        self.age_ms(mark).map_or_else(|| format!("shortly before {what}"), |age| format!("{} before {what}", time(age)))
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

    /// Whether the last line of all is a sample that lacks what stands in front of its agent, and is in those right before it: it is torn. A
    /// disk that hangs is missing for longer.
    #[must_use]
    pub fn is_last_torn(&self) -> bool {
        let Some(last) = self.last_sample().filter(|last| last.mark.seq == self.life.last.seq) else { return false };
        let before = match self.life.recent.as_slice() {
            [.., latest] if latest.samples > 1 => latest,
            [.., before, _] => before,
            _ => return false,
        };
        [High::Late, High::DiskUsed].into_iter().any(|of| last.high(of).is_none() && before.high(of).is_some())
    }

    /// Whether samples before the last had an agent.
    #[must_use]
    pub fn samples_had_agent(&self) -> bool {
        let is_in = |slice: &Slice| slice.last(Last::AgentState).is_some();
        self.life.recent.iter().any(is_in)
            || self.life.whole.as_ref().is_some_and(|whole| whole.high(High::AgentWait).is_some())
    }

    /// The highest of a reading in the latest samples.
    #[must_use]
    pub fn high(&self, of: High) -> Option<i64> {
        self.lately()?.high(of)
    }

    /// The highest of a reading in any sample.
    #[must_use]
    pub fn ever(&self, of: High) -> Option<i64> {
        self.life.whole.as_ref()?.high(of)
    }

    /// By how much a count of the run rose in the latest samples; `None` where it is not in them, or where nothing of before is there to
    /// tell. A count that fell began anew; one that was not read for a while did not.
    #[must_use]
    pub fn growth(&self, of: High) -> Option<i64> {
        let now = self.high(of)?;
        match self.earlier.iter().rev().find_map(|slice| slice.high(of)) {
            Some(before) if before <= now => Some(now - before),
            Some(_) => Some(now),
            // It was there before them.
            None if self.life.had.has(of) => None,
            // None has it: it began lately.
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

    /// Whether the guest tells how long tasks waited, and told this average lately: then a percentage of waiting that is missing is zero.
    #[must_use]
    pub fn tells_stalls(&self, of: Last) -> bool {
        let stalls = [Mean::CpuStall, Mean::MemStall, Mean::IoStall];
        let has_told = self.life.whole.as_ref().is_some_and(|whole| stalls.into_iter().any(|stall| whole.has(stall)));
        // The last line can be torn.
        let mut lately = self.life.recent.iter().rev().take(2);
        has_told && (lately.len() < 2 || lately.any(|slice| slice.last(of).is_some()))
    }

    /// The lowest memory that was available in the latest minute, and all there is, KiB.
    #[must_use]
    pub fn lowest_memory(&self) -> Option<(i64, i64)> {
        let lowest = self.life.recent.iter().filter_map(|slice| slice.low(Low::MemAvail)).min()?;
        Some((lowest, self.life.whole.as_ref()?.high(High::MemTotal)?))
    }

    /// The most that the own cgroup, or the level of it that is watched, had in any sample, and its limit, KiB.
    #[must_use]
    pub fn peak_and_limit(&self) -> Option<(i64, i64)> {
        let whole = self.life.whole.as_deref()?;
        whole.high(High::MemPeak).max(whole.high(High::MemCurrent)).zip(whole.high(High::MemMax))
    }

    /// What the own cgroup had lately and its `memory.high`, KiB, where it was at that mark and not at its limit: above it the kernel
    /// slows down whoever allocates, and kills nobody.
    #[must_use]
    pub fn at_high(&self) -> Option<(i64, i64)> {
        let (current, high) = (self.high(High::MemCurrent)?, self.high(High::MemHigh)?);
        let is_below_limit = self.high(High::MemMax).is_none_or(|max| high < max);
        (high > 0 && current >= high / 10 * 9 && is_below_limit).then_some((current, high))
    }

    /// What is to be said where the run's beginning is not there, or lines are missing right in front of the latest samples.
    #[must_use]
    pub fn lost_beginning(&self) -> Option<Reason> {
        if let Some(behind) = self.behind_a_hole() {
            let says = format!("lines right before {} are missing: what was then is not known", name(behind));
            return Some(Reason { says, lines: vec![behind] });
        }
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
        let first = self.behind_a_hole().unwrap_or(self.life.first);
        first.seq > 1 && self.is_within(first, 60_000)
    }

    /// The first of the latest samples, where lines between it and the sample before it (or the first line) are missing. What they
    /// told is lost as with a beginning.
    fn behind_a_hole(&self) -> Option<Mark> {
        let first = self.lately()?.first;
        let before = self.earlier.last().map_or(self.life.first, |slice| slice.mark);
        (before.seq < first.seq && !self.life.has_all(before, first)).then_some(first)
    }

    /// Whether lines before the first sample are not there: its counts can have risen in the run's own time.
    #[must_use]
    pub fn is_first_sample_lost(&self) -> bool {
        let first = self.life.first;
        first.seq > 1 || self.life.whole.as_deref().is_some_and(|whole| !self.life.has_all(first, whole.first))
    }

    /// Whether lines are missing among the latest, where what came before the last would stand.
    #[must_use]
    pub fn is_broken_at_the_end(&self) -> bool {
        let since = self.lately().map_or(self.life.last, |lately| lately.first);
        self.life.is_broken_at_the_end() || self.life.is_broken_since(since)
    }
}

/// Whether so much available memory is next to none: 5 % of a small guest, 1.5 % of a large one, 128 MiB in between. Below it the
/// kernel reclaims all the time, and the next burst of allocations is killed for.
#[must_use]
pub fn is_exhausted(avail_kb: i64, total_kb: i64) -> bool {
    total_kb > 0 && avail_kb < (total_kb * 15 / 1000).max((total_kb / 20).min(128 << 10))
}

/// What a line is called in a sentence: its time, else its number.
fn name(mark: Mark) -> String {
    mark.at_ms().map_or_else(|| format!("line {} of the run", mark.seq), at)
}

#[cfg(test)]
mod tests {
    use super::*;

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
