//! The sampler's loop.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::queue::Queue;
use super::reader;
use super::sampler::Sampler;
use super::watched::{self, Watched};
use crate::line::RunId;
use crate::probe::burst;
use crate::probe::config::Config;
use crate::probe::raw;
use crate::probe::schedule::{FIRST_SPAN, Reason, Schedule};
use crate::probe::sink::handover;
use crate::probe::sink::network;
use crate::probe::sink::outlets::Outlets;
use crate::probe::sink::stdout::{Descriptor, Stdout, Wants};

/// How often lines that wait for room on stdout are tried again.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Runs until there is a reason to end, and gives it.
///
/// # Errors
/// When stdout cannot be looked at.
pub fn run(config: Config, run: RunId, stdout: File, queue: &Queue) -> io::Result<Reason> {
    let stdout = Descriptor::from(stdout);
    let mut schedule = Schedule::new(FIRST_SPAN, config.interval);
    let wanted = config.samples;
    let parent = parent().filter(|_| started_in_background());
    let Watched { has_ended, adjusted } = watched::watch(&config, parent, |pid| queue.watch_process(pid));
    let triggers = if queue.watch_pressure() { vec!["memorystatus".to_owned()] } else { Vec::new() };
    let guest = reader::guest();
    let (network, unused) = network::of(&config, run, &stdout, guest.os, guest.boot_id);
    let is_stdout = config.sinks.is_stdout || network.is_none();
    let stdout = if is_stdout { Some(Stdout::new(stdout)?) } else { None };
    let mut sampler = Sampler::start(config, run, Outlets::new(stdout, network), triggers);
    adjusted.iter().chain(&unused).for_each(|adjusted| sampler.tell_config(adjusted));
    let reason = loop {
        let now = sampler.elapsed();
        if now >= schedule.due() {
            sampler.sample(schedule.due());
            schedule.serve(now);
        } else if burst_due(&sampler, &schedule).is_some_and(|due| now >= due) {
            sampler.sample_in_burst();
        }
        if sampler.voice().is_closed() {
            break Reason::StdoutClosed;
        }
        // One sample of it there is all the same.
        if has_ended && sampler.due_samples() > 0 {
            break Reason::ParentExit;
        }
        if wanted.is_some_and(|wanted| sampler.due_samples() >= wanted) {
            break Reason::Samples;
        }
        if let Some(reason) = wait(&mut sampler, &schedule, queue) {
            // A last look, on time for the reason.
            sampler.last_sample(schedule.due().min(sampler.elapsed()));
            break reason;
        }
    };
    handover::tell_none_taken(&sampler.stop(reason));
    Ok(reason)
}

/// When a sample of a burst comes before the next due one; `None` too when that one is so near that it serves for both.
fn burst_due(sampler: &Sampler, schedule: &Schedule) -> Option<Duration> {
    sampler.burst_due().filter(|burst| *burst + burst::APART <= schedule.due())
}

/// Waits until a sample is due, or for an event. Gives a reason when that event ends the run.
fn wait(sampler: &mut Sampler, schedule: &Schedule, queue: &Queue) -> Option<Reason> {
    let next = burst_due(sampler, schedule).unwrap_or(schedule.due()).saturating_sub(sampler.elapsed());
    let has_pending = sampler.voice().outlets().wants() != Wants::Nothing;
    let ready = queue.wait(if has_pending { next.min(TRY_AGAIN) } else { next });
    if let Some(reason) = ready.signal.and_then(reason_of) {
        return Some(reason);
    }
    if ready.process_ended {
        return Some(Reason::ParentExit);
    }
    if ready.pressure {
        sampler.look_at_level();
    }
    let is_closed = has_pending && sampler.voice().outlets_mut().flush().is_err();
    is_closed.then_some(Reason::StdoutClosed)
}

fn parent() -> Option<u32> {
    rustix::process::getppid().and_then(|parent| u32::try_from(parent.as_raw_nonzero().get()).ok())
}

/// Whether a shell started this process in the background: without job control it has SIGINT ignored (POSIX, 2.11), with it
/// the process group is not the terminal's.
fn started_in_background() -> bool {
    let terminal_is_anothers = |fd: BorrowedFd<'_>| {
        let own = nix::unistd::getpgrp().as_raw();
        rustix::termios::tcgetpgrp(fd).is_ok_and(|foreground| foreground.as_raw_nonzero().get() != own)
    };
    raw::is_ignored(Signal::SIGINT as i32)
        || terminal_is_anothers(io::stdin().as_fd())
        || terminal_is_anothers(io::stdout().as_fd())
        || terminal_is_anothers(io::stderr().as_fd())
}

fn reason_of(signal: Signal) -> Option<Reason> {
    match signal {
        Signal::SIGTERM => Some(Reason::Sigterm),
        Signal::SIGINT => Some(Reason::Sigint),
        _ => None,
    }
}
