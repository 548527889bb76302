//! `phase`: what a script tells of its runner's life, and where that goes.
//!
//! A person who types a wrong flag gets a usage error. What a script hands on from its dispatcher (when the job was queued, when
//! that was answered) is foreign text: what of it has no form is told and left out, never the line.

use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use clap::{Parser, ValueEnum};

use super::{Adjusted, Environment, Runner, RunnerArgs, SinkArgs, Sinks};
use crate::line::field::{self, Field};
use crate::net::date::parse_http_date;

/// Two readings of one clock in whole seconds may seem to go back by so much.
const TOLERATED: Duration = Duration::from_secs(1);

/// A plain number from here on counts milliseconds: as seconds it would be past the year 5000.
const MILLISECONDS_FROM: f64 = 1e11;

/// Writes one line: a phase of this runner's life began. For the scripts of a runner.
///
/// The sinks and who the runner is are those of the probe, by flags or the environment. It ends with 75 when the line is not
/// out after two seconds.
#[derive(Debug, Parser)]
#[command(name = "runner-vitals phase", bin_name = "runner-vitals phase", version, max_term_width = 100)]
pub struct PhaseArgs {
    /// The phase that begins
    pub phase: Phase,
    /// How long the job waited for this runner, or the runner is ready: milliseconds (1500), or a duration (1s, 1500ms)
    #[arg(long, value_name = "TIME", value_parser = parse_ms)]
    pub waited: Option<u64>,
    /// When the job was queued, as the dispatcher says: RFC 3339, or seconds or milliseconds since 1970. It wins over --waited
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub queued_at: Option<String>,
    /// When the dispatcher answered, by its own clock: the header Date [default: now, by the guest's]
    #[arg(long, value_name = "DATE", requires = "queued_at", allow_hyphen_values = true)]
    pub answered_at: Option<String>,
    /// Number of the job: counted on this runner from 1 on, or as its agent numbers it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub job_nr: Option<u64>,
    /// The code that the job ended with
    #[arg(long, value_name = "CODE")]
    pub job_exit: Option<u8>,
    /// How the job ended, where the agent says
    #[arg(long, value_name = "RESULT")]
    pub job_result: Option<JobResult>,
    /// How many polls ended so: served, no_work, empty, lost_race, pod_in_use, drain, error; repeat it for more
    #[arg(long, value_name = "OUTCOME=COUNT", value_parser = parse_poll)]
    pub poll: Vec<(Outcome, u64)>,
    /// Time that all these polls took
    #[arg(long, value_name = "TIME", value_parser = parse_ms)]
    pub poll_sum: Option<u64>,
    /// Time that the longest of them took
    #[arg(long, value_name = "TIME", value_parser = parse_ms)]
    pub poll_max: Option<u64>,
    /// Where the line goes.
    #[command(flatten)]
    pub sinks: SinkArgs,
    /// Who the runner is.
    #[command(flatten)]
    pub runner: RunnerArgs,
}

/// A phase of a runner's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// The guest is up, its agent not ready yet
    Warming,
    /// It waits for a job
    Ready,
    /// It has one
    Claimed,
    /// The job ended, or the runner without one
    Ended,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the words are the agents'")]
pub enum JobResult {
    Success,
    Failure,
    Cancelled,
    Skipped,
}

/// What came of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A job.
    Served,
    /// None, and no reason.
    NoWork,
    /// None: the queue was empty.
    Empty,
    /// None: another runner was faster.
    LostRace,
    /// None: this runner has a job already, says the dispatcher.
    PodInUse,
    /// The order to end.
    Drain,
    /// Nothing that means anything.
    Error,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The phase that begins.
    pub phase: Phase,
    /// How long was waited.
    pub waited: Option<Waited>,
    /// When the job was queued.
    pub queued: Option<SystemTime>,
    /// Which job of this runner it is.
    pub job_nr: Option<u64>,
    /// The code that it ended with.
    pub job_exit: Option<u8>,
    /// How it ended.
    pub job_result: Option<JobResult>,
    /// What came of the polls.
    pub polls: Vec<(Outcome, u64)>,
    /// Time that they took.
    pub poll_sum_ms: Option<u64>,
    /// Time that the longest took.
    pub poll_max_ms: Option<u64>,
}

/// A wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// How long.
    pub ms: u64,
    /// From when on.
    pub from: Since,
}

/// What a wait began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The job was queued.
    Queued,
    /// The runner was ready.
    Ready,
}

/// A complete configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseConfig {
    /// What is told.
    pub told: Told,
    /// Where the line goes.
    pub sinks: Sinks,
    /// Who the runner is.
    pub runner: Runner,
    /// What is not used as it was given.
    pub adjusted: Vec<Adjusted>,
}

impl PhaseConfig {
    /// Completes the flags from the environment; `now` is the guest's time.
    #[must_use]
    pub fn new(args: PhaseArgs, env: impl Fn(&str) -> Option<OsString>, now: SystemTime) -> Self {
        let mut env = Environment { get: env, adjusted: Vec::new() };
        let queued = foreign("--queued-at", args.queued_at, parse_moment, &mut env.adjusted);
        let answered = foreign("--answered-at", args.answered_at, parse_http_date, &mut env.adjusted);
        let told = Told {
            phase: args.phase,
            waited: waited(queued, answered.unwrap_or(now), args.waited),
            queued,
            job_nr: args.job_nr,
            job_exit: args.job_exit,
            job_result: args.job_result,
            polls: args.poll,
            poll_sum_ms: args.poll_sum,
            poll_max_ms: args.poll_max,
        };
        let sinks = Sinks::new(args.sinks, &mut env);
        let runner = Runner::new(args.runner, &mut env);
        Self { told, sinks, runner, adjusted: env.adjusted }
    }
}

impl Told {
    /// How many polls ended so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        let of_outcome = self.polls.iter().filter(|(other, _)| *other == outcome);
        of_outcome.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

impl Phase {
    /// As the line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warming => "warming",
            Self::Ready => "ready",
            Self::Claimed => "claimed",
            Self::Ended => "ended",
        }
    }
}

impl JobResult {
    /// As the line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

impl Since {
    /// As the line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Ready => "ready",
        }
    }
}

impl Outcome {
    /// All of them, in the order of the line.
    pub const ALL: [Self; 7] =
        [Self::Served, Self::NoWork, Self::Empty, Self::LostRace, Self::PodInUse, Self::Drain, Self::Error];

    /// Where the line counts it.
    #[must_use]
    pub const fn field(self) -> &'static Field {
        match self {
            Self::Served => field::POLL_SERVED,
            Self::NoWork => field::POLL_NO_WORK,
            Self::Empty => field::POLL_EMPTY,
            Self::LostRace => field::POLL_LOST_RACE,
            Self::PodInUse => field::POLL_POD_IN_USE,
            Self::Drain => field::POLL_DRAIN,
            Self::Error => field::POLL_ERROR,
        }
    }
}

/// Foreign text, read; what has no form is told and left out, an empty one just left out.
fn foreign<T>(
    key: &str,
    given: Option<String>,
    parse: impl Fn(&str) -> Option<T>,
    adjusted: &mut Vec<Adjusted>,
) -> Option<T> {
    let given = given.filter(|given| !given.trim().is_empty())?;
    let read = parse(given.trim());
    if read.is_none() {
        adjusted.push(Adjusted { key: key.to_owned(), given, used: "not used".to_owned() });
    }
    read
}

/// From when the job was queued where that is known and lies before `answered`, else as the script counted.
fn waited(queued: Option<SystemTime>, answered: SystemTime, counted_ms: Option<u64>) -> Option<Waited> {
    let since_queued = queued.and_then(|queued| between_ms(queued, answered));
    let counted = counted_ms.map(|ms| Waited { ms, from: Since::Ready });
    since_queued.map(|ms| Waited { ms, from: Since::Queued }).or(counted)
}

/// `None` where the clocks contradict each other.
fn between_ms(from: SystemTime, to: SystemTime) -> Option<u64> {
    match to.duration_since(from) {
        Ok(time) => u64::try_from(time.as_millis()).ok(),
        Err(error) => (error.duration() <= TOLERATED).then_some(0),
    }
}

/// RFC 3339 in UTC, or a number of seconds or milliseconds since 1970.
pub(super) fn parse_moment(text: &str) -> Option<SystemTime> {
    if let Ok(number) = text.parse::<f64>() {
        let seconds = if number < MILLISECONDS_FROM { number } else { number / 1000.0 };
        let since = Duration::try_from_secs_f64(seconds).ok().filter(|since| !since.is_zero())?;
        return SystemTime::UNIX_EPOCH.checked_add(since);
    }
    let utc = text.strip_suffix("+00:00").map(|time| format!("{time}Z"));
    let time = humantime::parse_rfc3339(utc.as_deref().unwrap_or(text)).ok()?;
    (time >= SystemTime::UNIX_EPOCH).then_some(time)
}

/// Milliseconds as a plain number, or a duration with its units.
fn parse_ms(given: &str) -> Result<u64, String> {
    let text = given.trim();
    let ms = text.parse().ok().or_else(|| {
        let time = humantime::parse_duration(text).ok()?;
        u64::try_from(time.as_millis()).ok()
    });
    ms.ok_or_else(|| "expected milliseconds (1500) or a duration (1s, 1500ms)".to_owned())
}

/// `OUTCOME=COUNT`, the outcome as the line names it behind `poll.`.
fn parse_poll(given: &str) -> Result<(Outcome, u64), String> {
    let pair = given.split_once('=').and_then(|(name, count)| {
        let is_named = |outcome: &Outcome| outcome.field().key.strip_prefix("poll.") == Some(name.trim());
        Some((Outcome::ALL.into_iter().find(is_named)?, count.trim().parse().ok()?))
    });
    let names = "served, no_work, empty, lost_race, pod_in_use, drain, error";
    pair.ok_or_else(|| format!("expected OUTCOME=COUNT, the outcome one of {names}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Noon of a day.
    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_574_400)
    }

    fn config(flags: &[&str], env: &[(&str, &str)]) -> PhaseConfig {
        let args = PhaseArgs::try_parse_from(["phase"].iter().chain(flags)).unwrap();
        let get = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        PhaseConfig::new(args, get, noon())
    }

    #[test]
    fn a_job_waited_since_it_was_queued_or_else_since_the_runner_was_ready() {
        let queued = |ms| Some(Waited { ms, from: Since::Queued });
        let ready = |ms| Some(Waited { ms, from: Since::Ready });
        for (flags, waited) in [
            (&[][..], None),
            (&["--waited", "1500"], ready(1500)),
            (&["--waited", "2s"], ready(2000)),
            (&["--waited", "1m 1500ms"], ready(61_500)),
            (&["--queued-at", "2026-06-04T11:59:50.250Z"], queued(9750)),
            (&["--queued-at", "2026-06-04T11:59:50+00:00"], queued(10_000)),
            (&["--queued-at", "1780574390"], queued(10_000)),
            (&["--queued-at", "1780574390.5"], queued(9500)),
            (&["--queued-at", " 1780574390250 ", "--waited", "7"], queued(9750)),
            // The dispatcher's own clock, which is an hour behind the guest's.
            (
                &["--queued-at", "2026-06-04T10:59:50Z", "--answered-at", "Thu, 04 Jun 2026 11:00:00 GMT"],
                queued(10_000),
            ),
            // A header has whole seconds.
            (&["--queued-at", "2026-06-04T12:00:00.900Z", "--answered-at", "Thu, 04 Jun 2026 12:00:00 GMT"], queued(0)),
            // Clocks that contradict each other say nothing.
            (&["--queued-at", "2026-06-04T12:00:02Z"], None),
            (&["--queued-at", "2026-06-04T12:00:02Z", "--waited", "7"], ready(7)),
            (&["--queued-at", "", "--waited", "7"], ready(7)),
        ] {
            let flags = [&["claimed"], flags].concat();
            let config = config(&flags, &[]);
            assert_eq!((config.told.waited, config.adjusted.len()), (waited, 0), "{flags:?}");
        }
    }

    #[test]
    fn foreign_text_without_a_form_costs_itself_and_not_the_line() {
        for text in ["soon", "0", "-1", "NaN", "1e300", "2026-06-04", "2026-06-04T11:59:50", "1969-12-31T00:00:00Z"] {
            let config = config(&["claimed", "--queued-at", text, "--waited", "7", "--answered-at", "yesterday"], &[]);
            let told: Vec<&str> = config.adjusted.iter().map(|adjusted| adjusted.given.as_str()).collect();
            assert_eq!((told, config.told.queued), (vec![text, "yesterday"], None));
            assert_eq!(config.told.waited, Some(Waited { ms: 7, from: Since::Ready }));
        }
    }

    #[test]
    fn outcomes_are_counted_each_under_its_own_key() {
        let polls =
            ["served=1", "no_work=2", "empty=3", "lost_race=4", "pod_in_use=5", "drain=6", "error=7", "error=1"];
        let flags: Vec<&str> = std::iter::once("ended").chain(polls.iter().flat_map(|poll| ["--poll", poll])).collect();
        let told = config(&flags, &[]).told;
        assert_eq!(Outcome::ALL.map(|outcome| told.count(outcome)), [1, 2, 3, 4, 5, 6, 8]);
        let most = u64::MAX.to_string();
        let told = config(&["ended", "--poll", &format!("error={most}"), "--poll", "error=1"], &[]).told;
        assert_eq!(told.count(Outcome::Error), u64::MAX);
    }

    #[test]
    fn a_wrong_flag_is_refused() {
        for flags in [
            &[][..],
            &["begun"],
            &["ready", "ended"],
            &["ready", "--waited", "soon"],
            &["ready", "--waited", "-1"],
            &["ready", "--poll", "served"],
            &["ready", "--poll", "won=1"],
            &["ready", "--poll", "served=-1"],
            &["ended", "--job-exit", "256"],
            &["ended", "--job-result", "fine"],
            &["claimed", "--job-nr", "0"],
            &["claimed", "--answered-at", "Thu, 04 Jun 2026 12:00:00 GMT"],
            &["ready", "--sink", "nowhere"],
            &["ready", "--interval", "3"],
        ] {
            assert!(PhaseArgs::try_parse_from(["phase"].iter().chain(flags)).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn sinks_and_the_runner_are_those_of_the_probe_and_nothing_else_is_asked_for() {
        let env = [
            ("RUNNER_VITALS_SINK", "http://localhost/v ftp://x"),
            ("TUIST_RUNNER_POD_NAME", "pod-1"),
            ("RUNNER_VITALS_INTERVAL", "soon"),
            ("RUNNER_VITALS_FOLLOW", "/var/log/*"),
        ];
        let config = config(&["ready", "--fleet", "f"], &env);
        assert_eq!((config.sinks.is_stdout, config.sinks.network.len()), (false, 1));
        assert_eq!((config.runner.name.as_deref(), config.runner.fleet.as_deref()), (Some("pod-1"), Some("f")));
        assert_eq!(config.adjusted.len(), 1, "{:?}", config.adjusted);
    }

    #[test]
    fn when_the_runner_was_created_is_a_moment_or_told_and_left_out() {
        for (given, created, adjusted) in [
            ("1780574390", Some(noon() - Duration::from_secs(10)), 0),
            ("2026-06-04T11:59:50Z", Some(noon() - Duration::from_secs(10)), 0),
            ("", None, 0),
            ("lately", None, 1),
        ] {
            let config = config(&["ready"], &[("RUNNER_VITALS_RUNNER_CREATED", given)]);
            assert_eq!((config.runner.created, config.adjusted.len()), (created, adjusted), "{given}");
        }
        assert_eq!(config(&["ready", "--runner-created", "1780574400"], &[]).runner.created, Some(noon()));
    }

    proptest! {
        #[test]
        fn any_text_is_a_moment_or_none(text in "\\PC*|[0-9.eE+-]{0,24}|[0-9TZ:.+-]{0,30}") {
            if let Some(moment) = parse_moment(&text) {
                prop_assert!(moment >= SystemTime::UNIX_EPOCH);
            }
            let _ = (parse_ms(&text), parse_poll(&text));
        }
    }
}
