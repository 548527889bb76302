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

use super::burst;
use super::config::{Adjusted, Config};
use super::guest;
use super::kernel::Root;
use super::sampler::Sampler;
use super::schedule::FIRST_SPAN;
use super::sink::handover;
use super::sink::network;
use super::sink::outlets::Outlets;
use super::sink::stdout::{Descriptor, Stdout, Wants};
use super::watch::parent::{self, Watched};
use super::watch::signals::Signals;
use super::watch::timer::Timer;

pub use super::schedule::{Reason, Schedule};

/// How long to wait where poll cannot.
const WITHOUT_POLL: Duration = Duration::from_millis(50);

/// Runs until there is a reason to end, and gives it.
///
/// # Errors
/// When the system gives no timer, or stdout cannot be looked at.
pub fn run(config: Config, run: RunId, stdout: File, signals: &Signals) -> std::io::Result<Reason> {
    let stdout = Descriptor::from(stdout);
    let mut schedule = Schedule::new(FIRST_SPAN, config.interval);
    let wanted = config.samples;
    // What cannot be done without comes first: where descriptors are few, sources give way.
    let timer = Timer::new()?;
    let (process, adjusted) = watched_process(&config);
    // Before memory is locked and the sampler is put ahead: the network's thread is as ordinary as any.
    let root = Root::new(config.root.clone().unwrap_or_else(|| "/".into()));
    let (network, unused) = network::of(&config, run, &stdout, guest::os(&root), guest::boot_id(&root));
    let is_stdout = config.sinks.is_stdout || network.is_none();
    let stdout = if is_stdout { Some(Stdout::new(stdout)?) } else { None };
    let mut sampler = Sampler::start(config, run, Outlets::new(stdout, network));
    adjusted.iter().chain(&unused).for_each(|adjusted| sampler.tell_config(adjusted));
    let watches = Watches { signals, timer: timer.of_run(sampler.elapsed()), process };
    let mut armed = schedule.due();
    watches.timer.set(armed);
    // What the ring holds of the last minute, as far as it comes in before the first sample.
    while sampler.read_kmsg() && sampler.elapsed() < schedule.due() {}
    sampler.end_look_back();
    let reason = loop {
        let now = sampler.elapsed();
        if now >= schedule.due() {
            sampler.sample(schedule.due());
            schedule.serve(now);
        } else if burst_due(&sampler, &schedule).is_some_and(|due| now >= due) {
            sampler.sample_in_burst();
        }
        let next = burst_due(&sampler, &schedule).unwrap_or(schedule.due());
        if next != armed {
            armed = next;
            watches.timer.set(armed);
        }
        sampler.tell_overdue_kill();
        if sampler.voice().is_closed() {
            break Reason::StdoutClosed;
        }
        if wanted.is_some_and(|wanted| sampler.due_samples() >= wanted) {
            break Reason::Samples;
        }
        if let Some(reason) = wait(&mut sampler, &watches) {
            // A last look, on time for the reason.
            sampler.last_sample(schedule.due().min(sampler.elapsed()));
            break reason;
        }
    };
    handover::tell_none_taken(&sampler.stop(reason.name(), reason.job()));
    Ok(reason)
}

/// When a sample of a burst comes before the next due one; `None` too when that one is so near that it serves for both.
fn burst_due(sampler: &Sampler, schedule: &Schedule) -> Option<Duration> {
    sampler.burst_due().filter(|burst| *burst + burst::APART <= schedule.due())
}

/// What the loop waits for, besides kernel messages and room on stdout.
struct Watches<'s> {
    signals: &'s Signals,
    timer: Timer,
    process: Option<Watched>,
}

/// The process whose end is the probe's: as set, else the parent when started in the background.
fn watched_process(config: &Config) -> (Option<Watched>, Option<Adjusted>) {
    if config.is_supervised {
        return (Some(Watched::supervisor()), None);
    }
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
    let Ready { signal, process, kmsg, stdout, events, triggers } = poll(sampler, watches)?;
    let Watches { signals, process: watched, .. } = watches;
    if !signal.is_empty()
        && let Some(reason) = signals.next().and_then(reason_of)
    {
        return Some(reason);
    }
    if !process.is_empty() || watched.as_ref().is_some_and(Watched::is_gone) {
        return Some(watched.as_ref().and_then(Watched::job_end).map_or(Reason::ParentExit, Reason::JobExit));
    }
    if !kmsg.is_empty() {
        sampler.read_kmsg();
    }
    if events.iter().any(|events| !events.is_empty()) {
        sampler.look_at_events();
    }
    for (at, trigger) in triggers.iter().enumerate() {
        // With POLLERR there is none any more, and it would be ready for ever.
        if trigger.contains(PollFlags::ERR) {
            sampler.lose_trigger(at);
        } else if !trigger.is_empty() {
            sampler.pressure(at);
        }
    }
    let reader_gone = stdout.intersects(PollFlags::ERR | PollFlags::HUP);
    let may_flush = stdout.intersects(PollFlags::OUT);
    let outlets = sampler.voice().outlets_mut();
    let written = match () {
        () if reader_gone => outlets.lose_stdout(),
        () if may_flush => outlets.flush(),
        () => Ok(()),
    };
    written.is_err().then_some(Reason::StdoutClosed)
}

/// What is ready.
struct Ready {
    signal: PollFlags,
    process: PollFlags,
    kmsg: PollFlags,
    stdout: PollFlags,
    events: [PollFlags; 2],
    triggers: [PollFlags; 3],
}

/// The one wait of the sampler; `None` when it was interrupted, and the caller comes again.
fn poll(sampler: &mut Sampler, watches: &Watches<'_>) -> Option<Ready> {
    let Watches { signals, timer, process: watched } = watches;
    let wants = sampler.voice().outlets().wants();
    let timeout = timeout(sampler, wants, watched.as_ref());
    let stdout_wants = if wants == Wants::Room { PollFlags::OUT } else { PollFlags::empty() };
    let [own, tree] = sampler.event_fds();
    let [memory, io, cpu] = sampler.trigger_fds();
    let wanted = [
        (Some(timer.fd()), PollFlags::IN),
        (Some(signals.fd()), PollFlags::IN),
        (watched.as_ref().and_then(Watched::fd), PollFlags::IN),
        (sampler.kmsg_fd(), PollFlags::IN),
        (sampler.stdout_fd(), stdout_wants),
        (own, PollFlags::PRI),
        (tree, PollFlags::PRI),
        (memory, PollFlags::PRI),
        (io, PollFlags::PRI),
        (cpu, PollFlags::PRI),
    ];
    let [_timer, signal, process, kmsg, stdout, own, tree, memory, io, cpu] =
        match poll_present(wanted, signals.fd(), timeout.as_ref()) {
            Ok(ready) => ready,
            Err(Errno::INTR) => return None,
            // The kernel is out of memory, or the limit of open files was lowered: what matters is asked for by itself.
            Err(_) => {
                std::thread::sleep(WITHOUT_POLL);
                let none = PollFlags::empty();
                [none, PollFlags::IN, none, PollFlags::IN, PollFlags::OUT, none, none, none, none, none]
            }
        };
    Some(Ready { signal, process, kmsg, stdout, events: [own, tree], triggers: [memory, io, cpu] })
}

/// Polls those descriptors that are there: each one costs, and of more than nine the kernel takes a page for the wait.
fn poll_present<const N: usize>(
    wanted: [(Option<BorrowedFd<'_>>, PollFlags); N],
    filler: BorrowedFd<'_>,
    timeout: Option<&Timespec>,
) -> rustix::io::Result<[PollFlags; N]> {
    let mut present = [(filler, PollFlags::empty()); N];
    let there = wanted.iter().filter_map(|(fd, flags)| Some(((*fd)?, *flags)));
    let count = present.iter_mut().zip(there).map(|(slot, entry)| *slot = entry).count();
    let mut fds = present.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
    let fds = fds.get_mut(..count).unwrap_or_default();
    rustix::event::poll(fds, timeout)?;
    let mut ready = fds.iter().map(PollFd::revents);
    Ok(wanted.map(|(fd, _)| fd.and_then(|_| ready.next()).unwrap_or(PollFlags::empty())))
}

/// How long to wait at most for what no descriptor tells; `None` when there is nothing of the kind.
fn timeout(sampler: &Sampler, wants: Wants, watched: Option<&Watched>) -> Option<Timespec> {
    let rest = if let Wants::Rest(rest) = wants { Some(rest) } else { None };
    let times = [rest, watched.and_then(Watched::ask_again_in), sampler.kill_overdue_in(), sampler.rest()];
    times.into_iter().flatten().min().and_then(|time| Timespec::try_from(time).ok())
}

fn reason_of(signal: Signal) -> Option<Reason> {
    match signal {
        Signal::SIGTERM => Some(Reason::Sigterm),
        Signal::SIGINT => Some(Reason::Sigint),
        _ => None,
    }
}
