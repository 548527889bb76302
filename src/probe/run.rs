//! The sampler's loop: one thread, one `poll(2)` over a timer, signals, the watched process, kernel messages and
//! stdout.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::time::Timespec;

use crate::line::RunId;

use super::config::{Adjusted, Config};
use super::sampler::Sampler;
use super::sink::stdout::{Stdout, Wants};
use super::watch::kmsg::Kmsg;
use super::watch::parent::{self, Watched};
use super::watch::signals::Signals;
use super::watch::timer::Timer;

/// From the baseline to the first sample, so that the first percentages are real.
const FIRST_SPAN: Duration = Duration::from_millis(200);

/// How long to wait where poll cannot.
const WITHOUT_POLL: Duration = Duration::from_millis(50);

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was told to by SIGTERM.
    Sigterm,
    /// It was told to by SIGINT.
    Sigint,
    /// The process that it was to end with has ended.
    ParentExit,
    /// Nobody reads its lines any more.
    StdoutClosed,
    /// It has taken the samples that were asked for.
    Samples,
}

impl Reason {
    /// As the `stop` line has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sigterm => "sigterm",
            Self::Sigint => "sigint",
            Self::ParentExit => "parent_exit",
            Self::StdoutClosed => "stdout_closed",
            Self::Samples => "samples",
        }
    }
}

/// When samples are due: on a grid, so that lateness never adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    due: Duration,
    interval: Duration,
}

impl Schedule {
    /// The first one is due then, the others at each interval behind it.
    #[must_use]
    pub const fn new(first: Duration, interval: Duration) -> Self {
        Self { due: first, interval }
    }

    /// The earliest due time that is not served yet.
    #[must_use]
    pub const fn due(&self) -> Duration {
        self.due
    }

    /// Serves all that was due until `now`: what was missed is skipped, not made up for.
    pub fn serve(&mut self, now: Duration) {
        let late = now.saturating_sub(self.due);
        let missed = late.as_nanos() / self.interval.as_nanos().max(1);
        let steps = u32::try_from(missed).unwrap_or(u32::MAX - 1) + 1;
        self.due = self.due.saturating_add(self.interval.saturating_mul(steps));
    }
}

/// Runs until there is a reason to end, and gives it.
///
/// # Errors
/// When the system gives no timer, or stdout cannot be looked at.
pub fn run(config: Config, run: RunId, stdout: File, signals: &Signals) -> std::io::Result<Reason> {
    let mut schedule = Schedule::new(FIRST_SPAN, config.interval);
    let wanted = config.samples;
    // What cannot be done without comes first: where descriptors are few, sources give way.
    let timer = Timer::new()?;
    let (process, adjusted) = watched_process(&config);
    let mut sampler = Sampler::start(config, run, Stdout::new(stdout)?);
    if let Some(adjusted) = &adjusted {
        sampler.tell_config(adjusted);
    }
    let watches = Watches { signals, timer: timer.of_run(sampler.elapsed()), process };
    watches.timer.set(schedule.due());
    // What the ring holds of the last minute, as far as it comes in before the first sample.
    while sampler.read_kmsg() && sampler.elapsed() < schedule.due() {}
    sampler.end_look_back();
    let reason = loop {
        let now = sampler.elapsed();
        if now >= schedule.due() {
            sampler.sample(schedule.due());
            schedule.serve(now);
            watches.timer.set(schedule.due());
        }
        sampler.tell_overdue_kill();
        if sampler.voice().is_closed() {
            break Reason::StdoutClosed;
        }
        if wanted.is_some_and(|wanted| sampler.samples() >= wanted) {
            break Reason::Samples;
        }
        if let Some(reason) = wait(&mut sampler, &watches) {
            // A last look, on time for the reason.
            sampler.sample(schedule.due().min(sampler.elapsed()));
            break reason;
        }
    };
    sampler.stop(reason.name());
    Ok(reason)
}

/// What the loop waits for, besides kernel messages and room on stdout.
struct Watches<'s> {
    signals: &'s Signals,
    timer: Timer,
    process: Option<Watched>,
}

/// The process whose end is the probe's: as set, else the parent when started in the background.
fn watched_process(config: &Config) -> (Option<Watched>, Option<Adjusted>) {
    let parent = || match parent::started_in_background() {
        true => rustix::process::getppid().and_then(Watched::of),
        false => None,
    };
    let Some((key, given)) = config.exit_with else { return (parent(), None) };
    let pid = i32::try_from(given).ok().and_then(Pid::from_raw);
    match pid.and_then(Watched::of) {
        Some(watched) => (Some(watched), None),
        None => {
            let (watched, given) = (parent(), given.to_string());
            let used = if watched.is_some() { "the parent" } else { "none" };
            (watched, Some(Adjusted { key: key.to_owned(), given, used: used.to_owned() }))
        }
    }
}

/// Waits until a sample is due, or for an event. Gives a reason when that event ends the run.
fn wait(sampler: &mut Sampler, watches: &Watches<'_>) -> Option<Reason> {
    let Watches { signals, timer, process: watched } = watches;
    let wants = sampler.voice().stdout().wants();
    let timeout = timeout(sampler, wants, watched.as_ref());
    let stdout_wants = if wants == Wants::Room { PollFlags::OUT } else { PollFlags::empty() };
    let [_timer, signal, process, kmsg, stdout] = {
        let mut fds = [
            poll_in(Some(timer.fd()), signals),
            poll_in(Some(signals.fd()), signals),
            poll_in(watched.as_ref().and_then(Watched::fd), signals),
            poll_in(sampler.kmsg().and_then(Kmsg::fd), signals),
            PollFd::from_borrowed_fd(sampler.stdout_fd(), stdout_wants),
        ];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) => fds.map(|fd| fd.revents()),
            // Interrupted: the caller comes again.
            Err(Errno::INTR) => return None,
            // The kernel is out of memory, or the limit of open files was lowered: what matters is asked for by itself.
            Err(_) => {
                std::thread::sleep(WITHOUT_POLL);
                [PollFlags::empty(), PollFlags::IN, PollFlags::empty(), PollFlags::IN, PollFlags::OUT]
            }
        }
    };
    if !signal.is_empty()
        && let Some(reason) = signals.next().and_then(reason_of)
    {
        return Some(reason);
    }
    if !process.is_empty() || watched.as_ref().is_some_and(Watched::is_gone) {
        return Some(Reason::ParentExit);
    }
    if !kmsg.is_empty() {
        sampler.read_kmsg();
    }
    let reader_gone = stdout.intersects(PollFlags::ERR | PollFlags::HUP);
    let may_flush = stdout.intersects(PollFlags::OUT);
    let is_closed = reader_gone || (may_flush && sampler.voice().stdout().flush().is_err());
    is_closed.then_some(Reason::StdoutClosed)
}

/// A descriptor that is not there is replaced by the signals', asked for nothing.
fn poll_in<'fd>(fd: Option<BorrowedFd<'fd>>, signals: &'fd Signals) -> PollFd<'fd> {
    match fd {
        Some(fd) => PollFd::from_borrowed_fd(fd, PollFlags::IN),
        None => PollFd::from_borrowed_fd(signals.fd(), PollFlags::empty()),
    }
}

/// How long to wait at most for what no descriptor tells; `None` when there is nothing of the kind.
fn timeout(sampler: &Sampler, wants: Wants, watched: Option<&Watched>) -> Option<Timespec> {
    let rest = if let Wants::Rest(rest) = wants { Some(rest) } else { None };
    let times = [rest, watched.and_then(Watched::ask_again_in), sampler.kill_overdue_in()];
    times.into_iter().flatten().min().and_then(|time| Timespec::try_from(time).ok())
}

fn reason_of(signal: Signal) -> Option<Reason> {
    match signal {
        Signal::SIGTERM => Some(Reason::Sigterm),
        Signal::SIGINT => Some(Reason::Sigint),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_stay_on_the_grid() {
        let ms = Duration::from_millis;
        let mut schedule = Schedule::new(ms(200), ms(1000));
        for (served_at, next) in
            [(200, 1200), (1203, 2200), (2200, 3200), (3200, 4200), (50_000, 50_200), (50_200, 51_200)]
        {
            schedule.serve(ms(served_at));
            assert_eq!(schedule.due(), ms(next), "served at {served_at}");
        }
    }
}
