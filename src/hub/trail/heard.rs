//! What is heard of one runner while it lives: its stages and the latest runs of its probe, in bounded room.
//!
//! It is a [`Runner`] like any other, so that what is made of trails is made of it too. Of samples only the time is taken: they are
//! the sign of life of a run, and of the verdict's evidence there is what event lines tell.

use crate::line::{Line, RunId};

use super::about::About;
use super::book::{Origin, Writer};
use super::happening::{self, AgentState, Fault, Happening, What};
use super::life::Life;
use super::runners::Runner;
use super::slice::{Mark, Place};

/// How many stages are kept, the latest.
const STAGES: usize = 20;

/// How many of the events that tell an end are kept, the latest.
const TOLD: usize = 4;

/// How many runs of its probe are kept: one that began again, and one that runs beside it.
const RUNS: usize = 2;

/// A runner as it is heard.
#[derive(Clone, Debug)]
pub struct Heard {
    runner: Runner,
}

/// A line of which nothing is taken but its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// Which process wrote it.
    pub run: RunId,
    /// The how-manieth line of that process it is.
    pub seq: u64,
    /// When, by the guest's clock, ms since 1970.
    pub at_ms: i64,
}

impl Sign {
    /// Of a line that was written then.
    #[must_use]
    pub fn of(line: &Line<'_>, at_ms: i64) -> Self {
        Self { run: line.run, seq: line.seq, at_ms }
    }

    fn mark(self) -> Mark {
        Mark::new(self.seq, Some(self.at_ms), Place::default())
    }
}

/// What a line says of its runner.
#[derive(Clone, Debug)]
pub struct OfRunner(About);

impl OfRunner {
    /// Reads a line; `None` where it is none.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let line = Line::decode(text).ok()?;
        let mut about = About::default();
        about.about(&line);
        Some(Self(about))
    }
}

impl Heard {
    /// A runner of that name, of which nothing is heard yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let runner =
            Runner { name: name.to_owned(), runs: Vec::with_capacity(1), left_out: 0, broken: 0, is_cut: false };
        Self { runner }
    }

    /// The runner as trails have it.
    #[must_use]
    pub const fn runner(&self) -> &Runner {
        &self.runner
    }

    /// The latest time that a line told, by the guest's clock, ms since 1970; `None` before the first line.
    #[must_use]
    pub fn newest_ms(&self) -> Option<i64> {
        self.runner.runs.iter().flat_map(|(_, life)| [life.first.at_ms(), life.last.at_ms()]).flatten().max()
    }

    /// Takes an event line; `sign` has its time.
    pub fn event(&mut self, line: &Line<'_>, sign: Sign) {
        let mark = sign.mark();
        let event = line.event.as_deref();
        if event == Some("phase") {
            return self.with(RunId::NONE, mark, |life| {
                life.stage(mark, line);
                life.stages.iter_mut().for_each(|stages| stages.keep_latest(STAGES));
            });
        }
        self.with(sign.run, mark, |life| {
            life.is_heard(mark);
            match event {
                Some("start") => life.about.get_or_insert_default().start(mark, line),
                Some("about") => life.about.get_or_insert_default().about(line),
                _ => {}
            }
            let is_there = life.happenings.iter().any(|kept| kept.mark.seq == mark.seq);
            if let Some(what) = What::of(line).filter(|what| !is_there && tells_an_end(what)) {
                happening::keep(&mut life.happenings, Happening { mark, what });
                let over = life.happenings.len().saturating_sub(TOLD);
                life.happenings.drain(..over);
            }
        });
    }

    /// Takes a sample's time, and of the first of a run what it says of its runner.
    pub fn sample(&mut self, sign: Sign, whole: impl FnOnce() -> Option<OfRunner>) {
        let is_known = self.runner.runs.iter().any(|(known, _)| *known == sign.run);
        let told = if is_known { None } else { whole() };
        self.with(sign.run, sign.mark(), |life| {
            life.is_heard(sign.mark());
            if let Some(told) = told {
                life.about = Some(Box::new(told.0));
            }
        });
    }

    fn with(&mut self, run: RunId, mark: Mark, take: impl FnOnce(&mut Life)) {
        let runs = &mut self.runner.runs;
        if let Some((_, life)) = runs.iter_mut().find(|(known, _)| *known == run) {
            return take(life);
        }
        let probes = || runs.iter().enumerate().filter(|(_, (run, _))| *run != RunId::NONE);
        if run != RunId::NONE && probes().count() >= RUNS {
            let oldest = probes().min_by_key(|(_, (_, life))| life.last.at_ms()).map(|(at, _)| at);
            oldest.into_iter().for_each(|at| drop(runs.remove(at)));
        }
        let writer = Writer { origin: Origin::default(), name: 0, run, twin: 0 };
        let mut life = Box::new(Life::new(writer, mark));
        take(&mut life);
        runs.reserve_exact(1);
        runs.push((run, life));
    }
}

impl Life {
    /// Widens it to a line of which nothing else is taken.
    fn is_heard(&mut self, mark: Mark) {
        self.lines = self.lines.saturating_add(1);
        if mark.seq < self.first.seq {
            self.first = mark;
        }
        if mark.seq >= self.last.seq {
            self.last = mark;
        }
    }
}

/// Whether it says of a life's end what can be said without samples.
const fn tells_an_end(what: &What) -> bool {
    match what {
        What::Kill { .. } | What::Counter { .. } | What::Stop { .. } => true,
        What::Kernel { kind, .. } => matches!(kind, Fault::Panic | Fault::Lockup | Fault::Rcu | Fault::Fs),
        What::Agent { is_worker, state, .. } => !*is_worker && matches!(state, AgentState::Vanished),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(heard: &mut Heard, run: &str, seq: u64, rest: &str) {
        let text = format!("RUNNER_VITALS ts= run={run} seq={seq} event={rest}");
        let line = Line::decode(&text).unwrap();
        heard.event(&line, Sign { run: line.run, seq, at_ms: i64::try_from(seq).unwrap() * 1000 });
    }

    #[test]
    fn the_latest_stages_runs_and_ends_are_kept() {
        let mut heard = Heard::new("a");
        for nr in 0..100 {
            hear(&mut heard, "aaaa", nr, &format!("phase phase=claimed job.nr={}", nr + 1));
            hear(&mut heard, "aaaa", nr, &format!("phase phase=claimed job.nr={}", nr + 1));
        }
        for (seq, run) in (100..).zip(["k3x1", "k3x2", "k3x1", "k3x3"]) {
            hear(&mut heard, run, seq, "start interval.ms=1000");
            for seq in seq * 100..seq * 100 + 9 {
                hear(&mut heard, run, seq, "kmsg.oom victim.comm=x");
                hear(&mut heard, run, seq + 20, "kmsg.segv msg=x");
            }
        }
        let runs: Vec<&str> = heard.runner().runs.iter().map(|(run, _)| run.as_str()).collect();
        assert_eq!(runs, ["----", "k3x1", "k3x3"], "the one that was heard last stays");
        let [(_, stages), (_, probe), _] = &heard.runner().runs[..] else { panic!() };
        let kept = stages.stages.as_ref().unwrap().sorted();
        assert_eq!((kept.len(), kept[19].job_nr.unwrap().get()), (STAGES, 100));
        assert!(probe.happenings.len() <= TOLD && probe.about.is_some());
    }

    #[test]
    fn what_a_sample_says_of_its_runner_is_read_once() {
        let mut heard = Heard::new("a");
        let text = "RUNNER_VITALS ts= run=k3x9 seq=7 runner.fleet=linux load1=0.10";
        let sign = |seq| Sign { run: RunId::parse("k3x9").unwrap(), seq, at_ms: 5 };
        heard.sample(sign(7), || OfRunner::of(text));
        heard.sample(sign(8), || panic!("it is known"));
        let (_, life) = &heard.runner().runs[0];
        assert_eq!((life.about.as_ref().unwrap().fleet.as_deref(), life.last.seq), (Some("linux"), 8));
    }
}
