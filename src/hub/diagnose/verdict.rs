//! From the cases to one verdict: the primary cause, how sure it is, what else there was, what it was not.

use std::mem;

use crate::hub::trail::Runner;
use crate::hub::trail::came::Set;
use crate::hub::trail::life::Life;
use crate::hub::trail::slice::{Mark, Place};

use super::advice;
use super::beside::Beside;
use super::case::{Case, Reason};
use super::cause::Cause;
use super::clock::Clock;
use super::evidence::{Ending, Evidence};
use super::rules;
use super::units::harmless;

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Below 50 of 100.
    Low,
    /// From 50.
    Medium,
    /// From 75.
    High,
}

impl Confidence {
    const HIGH: i64 = 75;
    const MEDIUM: i64 = 50;

    /// Of a score.
    #[must_use]
    pub fn of(score: i64) -> Self {
        match score {
            Self::HIGH.. => Self::High,
            Self::MEDIUM.. => Self::Medium,
            _ => Self::Low,
        }
    }

    /// The word that outputs use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// How a verdict is coloured: what is no trouble does not look like one, however sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hue {
    /// It went as it should.
    Calm,
    /// Nothing of the guest's ended it: its job failed, what ended it came from outside, or nothing is known.
    Neutral,
    /// A trouble, so sure.
    Trouble(Confidence),
}

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

/// A case this strong contributed.
const CONTRIBUTES: i64 = 20;

/// What was told to stop in trouble, or whose job failed in it: the trouble is why, but that it was the end is not seen.
const NOT_SEEN: i64 = Confidence::HIGH - 1;

/// A line that cannot be, so short before the end, leaves open what the end was, ms.
const IMPOSSIBLE_MS: i64 = 60_000;

/// Another cause this close behind leaves open which of them it was.
const CLOSE: i64 = 5;

/// Judges a runner at a time. The same trail gives the same verdict, once it is over. `None` when it has no run.
#[must_use]
pub fn judge(runner: &Runner, clock: &Clock) -> Option<Verdict> {
    let together = runner.together();
    let mut all: Vec<Verdict> = together.runs.iter().filter_map(|at| of_run(runner, *at, clock)).collect();
    let is_end = |verdict: &Verdict| is_trouble(verdict.cause) && verdict.confidence >= Confidence::Medium;
    // Of what ended a probe the others can know nothing; of those that know nothing the last to speak knows most.
    let worst = (0..all.len()).rev().max_by_key(|at| all.get(*at).filter(|one| is_end(one)).map(|one| one.score))?;
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
    let score = surety(&evidence, &primary, &others);
    let but = but(&evidence, &primary);
    let change = advice::advice(&evidence, &primary).into_iter().map(harmless).collect();
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
        contributing: contributing(&evidence, &mut others),
        ruled_out: ruled_out(&mut others),
        change,
        ending: evidence.ending,
        first_ms: life.first.at_ms(),
        last_ms,
        next_due_ms: next_due_ms.map(|last| last.saturating_add(evidence.interval_ms)),
        logged_ms: logged_ms(&evidence),
        set: life.set,
        lines: life.lines,
        missing_before: life.first.seq.saturating_sub(1),
        missing: life.missing(),
        repeats: life.repeats,
    })
}

/// When the lines came, where the guest's clock does not tell it; the last is the end.
fn logged_ms(evidence: &Evidence<'_>) -> Option<(i64, i64)> {
    let (first, _) = evidence.life.logged_ms()?;
    let is_off = evidence.end.at_ms().is_none() || evidence.clock_ahead_ms().is_some();
    Some((first, evidence.life.logged_at_ms(evidence.end)?)).filter(|_| is_off)
}

/// What speaks against the primary cause; a beginning that is not there is said of every cause.
fn but(evidence: &Evidence<'_>, primary: &Case) -> Vec<Said> {
    let lost = evidence.lost_beginning().filter(|lost| !primary.against.contains(lost));
    let rest = lost.into_iter().chain(impossible(evidence.life)).chain(cut(evidence)).chain(torn(evidence));
    primary.against.iter().cloned().chain(rest).map(said).collect()
}

/// The score of the primary cause, less what leaves it open.
fn surety(evidence: &Evidence<'_>, primary: &Case, others: &[Case]) -> i64 {
    let mut score = primary.score;
    if is_trouble(primary.cause) && !is_seen_to_end_it(evidence.ending, primary.cause) {
        score = score.min(NOT_SEEN);
    }
    if is_unbelievable(evidence) || evidence.is_cut {
        score = score.min(Confidence::MEDIUM - 1);
    }
    if let Some(heard) = evidence.heard {
        let is_close = evidence.life.last.seq + 1 == heard.seq;
        score = score.min(if is_close { Confidence::HIGH } else { Confidence::MEDIUM } - 1);
    }
    let is_open = others.iter().any(|other| is_trouble(other.cause) && other.score >= primary.score - CLOSE);
    if is_open { score.min(Confidence::HIGH - 1) } else { score }
}

/// Whether a trouble can be seen to be the end: by silence, or by the signal that the kernel kills with. A job that fails in a trouble can
/// have failed for a reason of its own.
fn is_seen_to_end_it(ending: Ending, cause: Cause) -> bool {
    match ending {
        Ending::Silence | Ending::Unread => true,
        Ending::Finished { signal: Some(9), .. } | Ending::Finished { exit: Some(137), .. } => is_kill(cause),
        Ending::Told | Ending::Orphaned | Ending::Alive | Ending::Finished { .. } => false,
    }
}

const fn is_kill(cause: Cause) -> bool {
    matches!(cause, Cause::GuestOom | Cause::CgroupOom | Cause::SidecarOom | Cause::OomGroup)
}

/// Whether so many lines cannot be, or some of the last ones, that what the others say is not sure either.
fn is_unbelievable(evidence: &Evidence<'_>) -> bool {
    let life = evidence.life;
    let is_late = life.odd().last_impossible.is_some_and(|mark| evidence.is_within(mark, IMPOSSIBLE_MS));
    is_late || u64::from(life.odd().impossible).saturating_mul(10) > life.lines
}

/// That its last line need not be the last.
fn cut(evidence: &Evidence<'_>) -> Option<Reason> {
    let says = "its source could not be read to its end: what came behind its last line is not known".to_owned();
    evidence.is_cut.then(|| Reason { says, lines: vec![evidence.end] })
}

/// That it spoke once more, and what it said is not known.
fn torn(evidence: &Evidence<'_>) -> Option<Reason> {
    let says = "behind its last whole line there is a torn one, or one in another's text: it still spoke then, and what it said is not known";
    evidence.heard.map(|mark| Reason { says: says.to_owned(), lines: vec![mark] })
}

/// That some lines count for nothing.
fn impossible(life: &Life) -> Option<Reason> {
    let mark = life.odd().last_impossible?;
    let says = format!(
        "lines with readings that cannot be: {}, the last of them here; they count for nothing",
        life.odd().impossible
    );
    Some(Reason { says, lines: vec![mark] })
}

/// Whether a cause is something that ailed the runner, and not an end or the lack of one.
fn is_trouble(cause: Cause) -> bool {
    !matches!(cause, Cause::Stopped | Cause::Finished | Cause::OutsideGuest | Cause::NoVitals | Cause::Inconclusive)
}

/// Takes what speaks for those that contributed.
fn contributing(evidence: &Evidence<'_>, others: &mut [Case]) -> Vec<Other> {
    let is_end = |case: &Case| match case.cause {
        Cause::Stopped => evidence.ending == Ending::Told,
        Cause::Finished => matches!(evidence.ending, Ending::Finished { .. } | Ending::Orphaned),
        _ => false,
    };
    let contributes = |case: &&mut Case| is_end(case) || is_trouble(case.cause) && case.score >= CONTRIBUTES;
    others
        .iter_mut()
        .filter(contributes)
        .map(|case| other(case.cause, case.score, mem::take(&mut case.reasons)))
        .collect()
}

/// Takes what speaks against those that it was not.
fn ruled_out(others: &mut [Case]) -> Vec<Other> {
    let is_out = |case: &&mut Case| case.score < CONTRIBUTES && !case.against.is_empty();
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
