//! The process whose end is the probe's end.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

/// How often a kernel without pidfd (before 5.3) is asked whether the process is there.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A process that is watched for its end.
#[derive(Debug)]
pub struct Watched {
    pid: Pid,
    pidfd: Option<OwnedFd>,
}

impl Watched {
    /// Watches a process; `None` when there is none of this pid.
    #[must_use]
    pub fn of(pid: Pid) -> Option<Self> {
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Some(Self { pid, pidfd: Some(pidfd) }),
            Err(Errno::SRCH) => None,
            Err(_) => Some(Self { pid, pidfd: None }).filter(|watched| !watched.is_gone()),
        }
    }

    /// What to wait for, where the kernel has it.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(|fd| fd.as_fd())
    }

    /// How long to wait at most before [`Watched::is_gone`] is asked again; `None` where there is a descriptor.
    #[must_use]
    pub fn ask_again_in(&self) -> Option<Duration> {
        self.pidfd.is_none().then_some(ASK_EVERY)
    }

    /// Whether the process has ended, where there is no descriptor to tell.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        // A parent that ended has left its children to another; of any other pid only its absence tells.
        let exists = rustix::process::test_kill_process(self.pid) != Err(Errno::SRCH);
        self.pidfd.is_none() && !exists
    }
}

/// Whether a shell started this process in the background.
///
/// A shell without job control has SIGINT ignored in what it starts with `&` (POSIX, 2.11); one with job control
/// gives it a process group that is not the terminal's.
#[must_use]
pub fn started_in_background() -> bool {
    let terminal_is_anothers = |fd: BorrowedFd<'_>| {
        rustix::termios::tcgetpgrp(fd).is_ok_and(|foreground| foreground != rustix::process::getpgrp())
    };
    super::signals::sigint_is_ignored()
        || terminal_is_anothers(std::io::stdin().as_fd())
        || terminal_is_anothers(std::io::stdout().as_fd())
        || terminal_is_anothers(std::io::stderr().as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_there_until_it_ends() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let with_pidfd = Watched::of(pid).unwrap();
        let without = Watched { pid, pidfd: None };
        assert!(!without.is_gone());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(without.is_gone());
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(with_pidfd.fd().unwrap(), rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, Some(&rustix::time::Timespec::default())), Ok(1));
        assert!(Watched::of(pid).is_none());
    }
}
