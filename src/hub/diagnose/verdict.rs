//! From the cases to one verdict: the primary cause, how sure it is, what else there was, what it was not.

use std::mem;

use crate::hub::trail::Runner;
use crate::hub::trail::came::Set;
use crate::hub::trail::slice::{Mark, Place};

use super::advice;
use super::beside::Beside;
use super::case::{Case, Reason};
use super::cause::Cause;
use super::clock::Clock;
use super::doubts::{self, Doubt};
use super::evidence::{Ending, Evidence, Interval};
use super::rules;
use super::units::harmless;

pub use super::confidence::Confidence;
pub(super) use super::confidence::Hue;

impl Verdict {
    pub(super) const fn hue(&self) -> Hue {
        match (self.cause, self.ending) {
            (Cause::Finished, Ending::Finished { exit: None | Some(0), signal: None }) | (Cause::Stopped, _) => {
                Hue::Calm
            }
            (Cause::Finished | Cause::Inconclusive | Cause::OutsideGuest, _) => Hue::Neutral,
            _ => Hue::Trouble(self.confidence),
        }
    }
}

/// What happened to a runner. Every text in it is harmless to a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The runner.
    pub runner: String,
    /// The fleet that it says it is of.
    pub fleet: Option<String>,
    /// The run whose end is the runner's.
    pub run: String,
    /// Its place among the runner's runs.
    pub at: usize,
    /// What the runs of other probes show that ran beside it in the same runner.
    pub beside: Vec<Beside>,
    /// How many runs the runner has.
    pub runs: usize,
    /// The primary cause.
    pub cause: Cause,
    /// 0 to 100.
    pub score: i64,
    /// What that is in a word.
    pub confidence: Confidence,
    /// Why.
    pub because: Vec<Said>,
    /// What speaks against it all the same, or leaves it open.
    pub but: Vec<Said>,
    /// What else there was.
    pub contributing: Vec<Other>,
    /// What it was not, and which figure says so.
    pub ruled_out: Vec<Other>,
    /// What to change.
    pub change: Vec<String>,
    /// How the trail ends.
    pub ending: Ending,
    /// The first line that is there, milliseconds since 1970 by the guest's clock.
    pub first_ms: Option<i64>,
    /// The last line that is there.
    pub last_ms: Option<i64>,
    /// When the next is or would have been due; after a last word none is.
    pub next_due_ms: Option<i64>,
    /// From when to when lines came by the clock of who logged them, where the guest's was off by more than a few seconds or unusable.
    pub logged_ms: Option<(i64, i64)>,
    /// How often the guest's clock was set on the way.
    pub set: Set,
    /// How far that is known.
    pub interval: Interval,
    /// Time between two due lines, ms.
    pub interval_ms: i64,
    /// Lines of the run that are there.
    pub lines: u64,
    /// Lines of the run that are missing before the first that is there.
    pub missing_before: u64,
    /// Lines of the run that are missing between the first and the last.
    pub missing: u64,
    /// Lines that came again.
    pub repeats: u64,
}

impl Verdict {
    /// The cause as a person reads it: a runner that seems to live, and of which nothing is gone, is `alive`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if self.is_alive() { "alive" } else { self.cause.name() }
    }

    /// What that is, in a sentence.
    #[must_use]
    pub fn about(&self) -> &'static str {
        match self.ending {
            _ if self.is_alive() => "nothing has ended it so far",
            Ending::Unread if self.cause == Cause::OutsideGuest => {
                "nobody read its lines any more: look at what took them"
            }
            Ending::Told(Some(_)) if self.cause == Cause::Stopped => "its job was told to end",
            _ if self.cause != Cause::Finished => self.cause.about(),
            Ending::Finished { exit: Some(0), signal: None } => "the job ended with code 0",
            Ending::Finished { exit: None, signal: None } => "the job ended; its code is not told",
            Ending::Finished { .. } => "the job failed: it ended with another code than 0, or by a signal",
            _ => self.cause.about(),
        }
    }

    /// When its last line was: by the clock of who logged it where the guest's was off, else by the guest's.
    #[must_use]
    pub fn ended_ms(&self) -> Option<i64> {
        self.logged_ms.map(|(_, last)| last).or(self.last_ms)
    }

    /// When the next line is or would have been due, by the same clock.
    #[must_use]
    pub fn due_ms(&self) -> Option<i64> {
        let interval_ms = self.next_due_ms?.saturating_sub(self.last_ms?);
        Some(self.ended_ms()?.saturating_add(interval_ms))
    }

    /// By how much the guest's clock was ahead of the log's at the end, ms, where that is more than a few seconds.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        Some(self.last_ms?.saturating_sub(self.logged_ms?.1))
    }

    /// Whether it seems to live.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.ending == Ending::Alive && self.cause == Cause::Inconclusive
    }
}

/// A sentence and the lines that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The sentence.
    pub says: String,
    /// The lines, the first and the last of them.
    pub lines: Vec<Cited>,
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cited {
    /// The how-manieth of the run.
    pub seq: u64,
    /// When it was written.
    pub at_ms: Option<i64>,
    /// Where it stands.
    pub place: Place,
}

/// Another cause and what was said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// The cause.
    pub cause: Cause,
    /// 0 to 100.
    pub score: i64,
    /// Why, or why not.
    pub because: Vec<Said>,
}

/// What was told to stop in trouble, or whose job failed in it: the trouble is why, but that it was the end is not seen.
const NOT_SEEN: i64 = Confidence::HIGH - 1;

/// Another cause this close behind leaves open which of them it was.
const CLOSE: i64 = 5;

/// What ends a runner when its job has ended comes within so long, ms.
const FOLLOWS_MS: i64 = 60_000;

/// Judges a runner at a time. The same trail gives the same verdict, once it is over. `None` when it has no run.
#[must_use]
pub fn judge(runner: &Runner, clock: &Clock) -> Option<Verdict> {
    let together = runner.together();
    let mut all: Vec<Verdict> = together.runs.iter().filter_map(|at| of_run(runner, *at, clock)).collect();
    let is_end = |verdict: &Verdict| verdict.cause.is_trouble() && verdict.confidence >= Confidence::Medium;
    let last_ms = all.iter().filter_map(|one| one.last_ms).max();
    let is_jobs_end = |verdict: &Verdict| {
        let later = last_ms.zip(verdict.last_ms).map(|(last, own)| last.saturating_sub(own));
        matches!(verdict.ending, Ending::Finished { .. }) && later.is_some_and(|later| later <= FOLLOWS_MS)
    };
    // Of what ended a probe the others can know nothing. Where nothing did, a job's own end is the runner's: what the probes beside it say
    // last follows from that. Of those that know nothing the last to speak knows most.
    let tells = |verdict: &Verdict| match (is_end(verdict), is_jobs_end(verdict)) {
        (true, _) => 1 + verdict.score,
        (false, is_jobs_end) => i64::from(is_jobs_end),
    };
    let worst = (0..all.len()).rev().max_by_key(|at| all.get(*at).map(tells))?;
    let mut verdict = all.remove(worst);
    verdict.beside = all.iter().map(Beside::of).collect();
    if together.left_out > 0 {
        let more = together.left_out;
        let says = format!(
            "{more} more runs of this name were there at the same time and are not looked at: give each runner its own"
        );
        verdict.because.push(Said { says, lines: Vec::new() });
    }
    Some(verdict)
}

/// Judges one of a runner's runs.
fn of_run(runner: &Runner, at: usize, clock: &Clock) -> Option<Verdict> {
    let evidence = Evidence::of(runner, at, clock)?;
    let (run, life) = runner.runs.get(at)?;
    let mut cases = rules::cases(&evidence).into_iter();
    let primary = cases.next()?;
    let mut others: Vec<Case> = cases.collect();
    let doubts = doubts::doubts(&evidence, &primary);
    let score = surety(&evidence, &primary, &others, &doubts);
    let but = but(&evidence, &primary, doubts);
    let change = advice::advice(&evidence, &primary, &others).into_iter().map(harmless).collect();
    let last_ms = evidence.end.at_ms();
    let next_due_ms = last_ms.filter(|_| matches!(evidence.ending, Ending::Silence | Ending::Alive));
    Some(Verdict {
        runner: harmless(runner.name.as_str()),
        fleet: evidence.about().and_then(|about| about.fleet.as_deref()).map(harmless),
        run: run.as_str().to_owned(),
        at,
        beside: Vec::new(),
        runs: runner.runs_in_all(),
        cause: primary.cause,
        score,
        confidence: Confidence::of(score),
        because: primary.reasons.into_iter().map(said).collect(),
        but,
        contributing: contributing(&evidence, &mut others, score),
        ruled_out: ruled_out(&evidence, &mut others),
        change,
        ending: evidence.ending,
        first_ms: life.first.at_ms(),
        last_ms,
        next_due_ms: next_due_ms.map(|last| last.saturating_add(evidence.interval_ms)),
        logged_ms: logged_ms(&evidence),
        set: life.set,
        interval: evidence.interval,
        interval_ms: evidence.interval_ms,
        lines: life.lines,
        missing_before: life.first.seq.saturating_sub(1),
        missing: life.missing(),
        repeats: life.repeats.into(),
    })
}

/// When the lines came, where the guest's clock does not tell it; the last is the end.
fn logged_ms(evidence: &Evidence<'_>) -> Option<(i64, i64)> {
    let (first, _) = evidence.life.logged_ms()?;
    let is_off = evidence.end.at_ms().is_none() || evidence.clock_ahead_ms().is_some();
    Some((first, evidence.life.logged_at_ms(evidence.end)?)).filter(|_| is_off)
}

/// What speaks against the primary cause; a beginning that is not there is said of every cause.
fn but(evidence: &Evidence<'_>, primary: &Case, doubts: Vec<Doubt>) -> Vec<Said> {
    let lost = evidence.lost_beginning().filter(|lost| !primary.against.contains(lost));
    let rest = lost.into_iter().chain(doubts.into_iter().map(|doubt| doubt.reason));
    primary.against.iter().cloned().chain(rest).map(said).collect()
}

/// The score of the primary cause, less what leaves it open.
fn surety(evidence: &Evidence<'_>, primary: &Case, others: &[Case], doubts: &[Doubt]) -> i64 {
    let mut score = primary.score;
    if primary.cause.is_trouble() && !is_seen_to_end_it(evidence.ending, primary.cause) {
        score = score.min(NOT_SEEN);
    }
    let score = doubts.iter().filter_map(|doubt| doubt.at_most).fold(score, i64::min);
    let is_open = others.iter().any(|other| other.cause.is_trouble() && other.score >= primary.score - CLOSE);
    if is_open { score.min(Confidence::HIGH - 1) } else { score }
}

/// Whether a trouble can be seen to be the end: by silence, or by the signal that the kernel kills with. A job that fails in a trouble can
/// have failed for a reason of its own.
fn is_seen_to_end_it(ending: Ending, cause: Cause) -> bool {
    match ending {
        Ending::Silence | Ending::Unread => true,
        Ending::Finished { signal: Some(9), .. } | Ending::Finished { exit: Some(137), .. } => is_kill(cause),
        Ending::Told(_) | Ending::Orphaned | Ending::Alive | Ending::Finished { .. } => false,
    }
}

const fn is_kill(cause: Cause) -> bool {
    matches!(cause, Cause::GuestOom | Cause::CgroupOom | Cause::SidecarOom | Cause::OomGroup)
}

/// Whether it contributed: a trouble, or how it ended, however little that says.
fn contributes(evidence: &Evidence<'_>, case: &Case) -> bool {
    case.ails()
        || match case.cause {
            Cause::Stopped => matches!(evidence.ending, Ending::Told(_)),
            Cause::Finished => matches!(evidence.ending, Ending::Finished { .. } | Ending::Orphaned),
            _ => false,
        }
}

/// Takes what speaks for those that contributed. What leaves the verdict open leaves them open too: none of them is surer than it.
fn contributing(evidence: &Evidence<'_>, others: &mut [Case], at_most: i64) -> Vec<Other> {
    others
        .iter_mut()
        .filter(|case| contributes(evidence, case))
        .map(|case| other(case.cause, case.score.min(at_most), mem::take(&mut case.reasons)))
        .collect()
}

/// Takes what speaks against those that it was not.
fn ruled_out(evidence: &Evidence<'_>, others: &mut [Case]) -> Vec<Other> {
    let is_out = |case: &&mut Case| case.score < Case::AILS && !case.against.is_empty() && !contributes(evidence, case);
    let out = others.iter_mut().filter(is_out).map(|case| other(case.cause, case.score, mem::take(&mut case.against)));
    let mut out: Vec<Other> = out.collect();
    out.sort_by_key(|other| other.cause);
    out
}

fn other(cause: Cause, score: i64, reasons: Vec<Reason>) -> Other {
    Other { cause, score, because: reasons.into_iter().map(said).collect() }
}

fn said(reason: Reason) -> Said {
    let cited = |mark: &Mark| Cited { seq: mark.seq, at_ms: mark.at_ms(), place: mark.place };
    Said { says: harmless(reason.says), lines: reason.lines.iter().map(cited).collect() }
}
