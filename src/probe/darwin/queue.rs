//! What the loop waits for, in one kqueue(2).
//!
//! The kernel's level of memory pressure is told by the filter that libdispatch uses for
//! `DISPATCH_SOURCE_TYPE_MEMORYPRESSURE` (`bsd/sys/event_private.h`); where it cannot be had, samples tell the level.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use rustix::io::Errno;

use super::events::{self, By, Event, MEMORY_STATUS, Ready};
use crate::probe::raw;

/// `NOTE_MEMORYSTATUS_PRESSURE_NORMAL`, `_WARN` and `_CRITICAL`.
const PRESSURE_NOTES: u32 = 0x1 | 0x2 | 0x4;

/// As many events as there are things to wait for.
const MOST_EVENTS: usize = 8;

/// The timer, of which there is one.
const TIMER: usize = 1;

const _: () = assert!(
    events::PROCESS == libc::EVFILT_PROC
        && events::SIGNAL == libc::EVFILT_SIGNAL
        && events::TIMER == libc::EVFILT_TIMER
        && events::ERROR == libc::EV_ERROR
);

/// The queue.
#[derive(Debug)]
pub struct Queue(OwnedFd);

impl Queue {
    /// A queue with the signals that end the probe, which are blocked for this thread and all that it starts: so call it
    /// before the first thread.
    ///
    /// A signal that the launcher had ignored stays so: a shell does that to SIGINT of what it starts in the background.
    ///
    /// # Errors
    /// What the system said.
    pub fn with_signals() -> io::Result<Self> {
        let queue = Self(rustix::event::kqueue::kqueue()?);
        let wanted = [Signal::SIGTERM, Signal::SIGINT].into_iter().filter(|signal| !raw::is_ignored(*signal as i32));
        let mask: SigSet = wanted.collect();
        for signal in &mask {
            // In this order: a signal that is blocked and cannot be read would be lost.
            let number = usize::try_from(signal as i32).map_err(io::Error::other)?;
            queue.add(event(number, libc::EVFILT_SIGNAL, libc::EV_ADD, 0, 0))?;
        }
        // A file that may not grow and a pipe that nobody reads are told by the write that fails, not by the end of the
        // probe; a terminal that others are to write to now takes lines all the same.
        let mut blocked = mask;
        [Signal::SIGXFSZ, Signal::SIGPIPE, Signal::SIGTTOU].into_iter().for_each(|signal| blocked.add(signal));
        blocked.thread_block()?;
        Ok(queue)
    }

    /// Waits for the end of this process too.
    ///
    /// # Errors
    /// ESRCH when it has ended, or there is none of this pid; else what the system said.
    pub fn watch_process(&self, pid: u32) -> Result<(), Errno> {
        let pid = usize::try_from(pid).map_err(|_| Errno::INVAL)?;
        let added = self.add(event(pid, libc::EVFILT_PROC, libc::EV_ADD | libc::EV_ONESHOT, libc::NOTE_EXIT, 0));
        added.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
    }

    /// Waits for changes of the level of memory pressure too; `false` where the system does not tell them.
    #[must_use]
    pub fn watch_pressure(&self) -> bool {
        self.add(event(0, MEMORY_STATUS, libc::EV_ADD | libc::EV_CLEAR, PRESSURE_NOTES, 0)).is_ok()
    }

    /// Waits until one of them happens, at most so long.
    ///
    /// By a timer that is not put off together with others' to save power (`NOTE_CRITICAL`), as a time-out would be.
    pub fn wait(&self, at_most: Duration) -> Ready {
        events::wait(|by| self.ask(by, at_most), at_most, std::thread::sleep)
    }

    /// One wait; `None` when the kernel refused it, and nobody has waited.
    fn ask(&self, by: By, at_most: Duration) -> Option<Ready> {
        let nanoseconds = isize::try_from(at_most.as_nanos()).unwrap_or(isize::MAX).max(1);
        let notes = libc::NOTE_NSECONDS | libc::NOTE_CRITICAL;
        let timer = event(TIMER, libc::EVFILT_TIMER, libc::EV_ADD | libc::EV_ONESHOT, notes, nanoseconds);
        let changes = if by == By::Timer { &[timer][..] } else { &[] };
        let mut events = [event(0, 0, 0, 0, 0); MOST_EVENTS];
        // The time-out stands behind the timer too.
        let came = match raw::kevent(&self.0, changes, &mut events, Some(at_most)) {
            Ok(came) => came,
            // The caller comes again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(_) => return None,
        };
        let came = events.iter().take(came);
        events::ready(came.map(|event| Event { ident: event.ident, filter: event.filter, flags: event.flags }))
    }

    fn add(&self, change: libc::kevent) -> io::Result<()> {
        raw::kevent(&self.0, &[change], &mut [], Some(Duration::ZERO)).map(drop)
    }
}

const fn event(ident: usize, filter: i16, flags: u16, fflags: u32, data: isize) -> libc::kevent {
    libc::kevent { ident, filter, flags, fflags, data, udata: std::ptr::null_mut() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_ended_is_no_longer_there() {
        let queue = Queue(rustix::event::kqueue::kqueue().unwrap());
        assert_eq!(queue.watch_process(std::process::id()), Ok(()));
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        assert_eq!(queue.watch_process(ended.id()), Err(Errno::SRCH));
    }

    #[test]
    fn a_wait_lasts_as_long_as_it_is_to() {
        let queue = Queue(rustix::event::kqueue::kqueue().unwrap());
        let time = Duration::from_millis(30);
        for by in [By::Timer, By::TimeOut] {
            let began = std::time::Instant::now();
            assert_eq!(queue.ask(by, time), Some(Ready::default()));
            assert!(began.elapsed() >= time, "{by:?}");
        }
    }
}
