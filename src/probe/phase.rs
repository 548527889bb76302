//! `phase`: one line of its own that a script has written: a phase of the runner's life began.
//!
//! The way out is the probe's, queue and deadline included, but here somebody waits for the answer: whether the line is out.

use std::fmt;
use std::fs::File;
use std::io;
use std::time::{Instant, SystemTime};

use nix::sys::signal::{SigSet, Signal};

use crate::line::field::{self, Kind};
use crate::line::{Encoder, LineBuilder, RunId};

use super::config::phase::{JobResult, Outcome, PhaseConfig, Told};
use super::config::{Follow, Runner};
use super::guest::Guest;
use super::report;
use super::sink::handover::{Handover, Late};
use super::sink::network::{self, Setup};
use super::sink::outlets::NETWORK_LAST_WORDS;
use super::sink::stdout::Stdout;
use super::watch::clocks;

/// The line is not out everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOut {
    /// The sinks that have not taken it, each with the reason.
    pub sinks: Vec<String>,
}

impl fmt::Display for NotOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the line is not out: {}", self.sinks.join("; "))
    }
}

impl std::error::Error for NotOut {}

/// Writes the line to all sinks; gives up after [`NETWORK_LAST_WORDS`].
///
/// # Errors
/// Where a sink has not taken it by then.
pub fn tell(config: &PhaseConfig, run: RunId, guest: &Guest, stdout: File) -> Result<(), NotOut> {
    // A write to a pipe that nobody reads is an answer, not the end of this process; all threads take it over.
    let _ = SigSet::from(Signal::SIGPIPE).thread_block();
    let mut encoder = Encoder::new(run);
    let mut line = encoder.begin(Kind::Phase, SystemTime::now());
    put(&mut line, &config.told, guest, &config.runner);
    let line = line.finish();
    let deadline = Instant::now() + NETWORK_LAST_WORDS;
    let (network, mut not_out) = network_of(config, run, guest);
    let network = network.map(|mut network| {
        network.send(clocks::since_boot(), line);
        // From here on it is in a hurry, while stdout is written.
        network.end(NETWORK_LAST_WORDS);
        network
    });
    if config.sinks.is_stdout || network.is_none() {
        not_out.extend(write(stdout, line, deadline).err());
    }
    if let Some(network) = network {
        not_out.extend(network.deliver(deadline).iter().map(Late::to_string));
    }
    if not_out.is_empty() { Ok(()) } else { Err(NotOut { sinks: not_out }) }
}

/// Writes the fields of the line.
fn put(line: &mut LineBuilder<'_>, told: &Told, guest: &Guest, runner: &Runner) {
    line.text(field::PHASE, Some(told.phase.name()))
        .number(field::WAITED, told.waited.map(|waited| waited.ms))
        .text(field::WAITED_FROM, told.waited.map(|waited| waited.from.name()))
        .text(field::QUEUED_TS, told.queued.map(|time| humantime::format_rfc3339_millis(time).to_string()))
        .number(field::JOB_NR, told.job_nr);
    for outcome in Outcome::ALL {
        line.number(outcome.field(), Some(told.count(outcome)));
    }
    line.number(field::POLL_SUM, told.poll_sum_ms)
        .number(field::POLL_MAX, told.poll_max_ms)
        .text(field::JOB_RESULT, told.job_result.map(JobResult::name))
        .text(field::BOOT_ID, guest.boot_id.as_ref())
        .number(field::UPTIME, guest.uptime_ms);
    report::put_runner(line, runner);
    report::put_created(line, runner);
    line.number(field::JOB_EXIT, told.job_exit.map(u64::from));
}

/// The thread that sends, where there is a server; and the servers that there is no way to.
fn network_of(config: &PhaseConfig, run: RunId, guest: &Guest) -> (Option<Handover>, Vec<String>) {
    let targets = &config.sinks.network;
    if targets.is_empty() {
        return (None, Vec::new());
    }
    let setup = Setup {
        sinks: config.sinks.clone(),
        follow: Follow::default(),
        follow_stdout: None,
        run,
        runner: config.runner.clone(),
        os: guest.os.clone(),
        boot_id: guest.boot_id.clone(),
    };
    match network::start(setup) {
        Ok(network) => (Some(network), Vec::new()),
        Err(why) => (None, targets.iter().map(|target| format!("{target}: {why}")).collect()),
    }
}

fn write(stdout: File, line: &[u8], deadline: Instant) -> Result<(), String> {
    let told = |error: io::Error| format!("stdout: {error}");
    let mut stdout = Stdout::new(stdout).map_err(told)?;
    stdout.write(line).map_err(|_| "stdout: nobody reads it".to_owned())?;
    let is_out = stdout.finish(deadline.saturating_duration_since(Instant::now()));
    is_out.then_some(()).ok_or_else(|| "stdout: it takes nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Parser as _;

    use super::*;
    use crate::line::Line;
    use crate::probe::config::phase::PhaseArgs;

    fn line(flags: &[&str], guest: &Guest) -> String {
        let args = PhaseArgs::try_parse_from(["phase"].iter().chain(flags)).unwrap();
        let config = PhaseConfig::new(args, |_| None::<OsString>, SystemTime::now());
        let mut encoder = Encoder::new(RunId::from_random(0));
        let mut line = encoder.begin(Kind::Phase, SystemTime::UNIX_EPOCH);
        put(&mut line, &config.told, guest, &config.runner);
        String::from_utf8(line.finish().to_vec()).unwrap()
    }

    const HEAD: &str = "RUNNER_VITALS ts=1970-01-01T00:00:00.000Z run=0000 seq=1 event=phase";

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(line(&["warming"], &Guest::default()), format!("{HEAD} phase=warming\n"));
    }

    #[test]
    fn every_field_of_the_table_has_its_flag_and_comes_in_its_order() {
        let guest = Guest { boot_id: Some("b-1".to_owned()), uptime_ms: Some(7), ..Guest::default() };
        let flags = "ended --waited 1 --queued-at 1 --answered-at x --job-nr 3 --job-exit 4 --job-result failure --poll-sum 5 --poll-max 2 \
             --runner r --fleet f --env e --image i --runner-mem-limit 9 --runner-created 1 --poll served=1 --poll no_work=2 --poll empty=3 \
             --poll lost_race=4 --poll pod_in_use=5 --poll drain=6 --poll error=7";
        let text = line(&flags.split_whitespace().collect::<Vec<_>>(), &guest);
        let line = Line::decode(&text).unwrap();
        let keys: Vec<&str> = line.pairs().map(|(key, _)| key).collect();
        let table: Vec<&str> =
            field::ALL.iter().filter(|field| field.kinds.contains(&Kind::Phase)).map(|field| field.key).collect();
        assert_eq!(keys, table, "{text}");
    }
}
