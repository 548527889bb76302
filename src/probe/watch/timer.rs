//! The due time as a descriptor (timerfd_create(2)).
//!
//! An absolute time: a relative one would begin anew when the process was stopped or frozen, and add that to its wait.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

/// A timer on the clock of a run.
#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
    /// The run's zero on the monotonic clock.
    began: Duration,
}

impl Timer {
    /// A timer that is not set, for a run that begins now.
    ///
    /// # Errors
    /// What the system said.
    pub fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { fd, began: monotonic_now() })
    }

    /// The same timer for a run that has been under way for `elapsed`.
    #[must_use]
    pub fn of_run(self, elapsed: Duration) -> Self {
        Self { began: monotonic_now().saturating_sub(elapsed), ..self }
    }

    /// Becomes ready at `due` on the run's clock, and not before.
    pub fn set(&self, due: Duration) {
        let it_value = Timespec::try_from(self.began.saturating_add(due)).unwrap_or_default();
        let once = Itimerspec { it_interval: Timespec::default(), it_value };
        // It fails only for a descriptor or a time that is none.
        let _ = rustix::time::timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once);
    }

    /// What to wait for.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn monotonic_now() -> Duration {
    Duration::try_from(rustix::time::clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[test]
    fn it_is_ready_when_it_is_due_until_it_is_set_again() {
        let timer = Timer::new().unwrap().of_run(Duration::from_secs(5));
        let is_ready = || {
            let mut fds = [PollFd::from_borrowed_fd(timer.fd(), PollFlags::IN)];
            poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
        };
        assert!(!is_ready());
        timer.set(Duration::from_secs(4));
        assert!(is_ready() && is_ready());
        timer.set(Duration::from_secs(500));
        assert!(!is_ready());
    }
}
