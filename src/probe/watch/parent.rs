//! The process whose end is the probe's end.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::supervisor::JobEnd;

/// How often a kernel without pidfd (before 5.3) is asked whether the process is there.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Room for the pid, the name and the state.
const STAT_BYTES: usize = 128;

/// Room for what a supervisor tells.
const TOLD_BYTES: usize = 64;

/// A process that is watched for its end.
#[derive(Debug)]
pub struct Watched(By);

#[derive(Debug)]
enum By {
    Pidfd(OwnedFd),
    /// Its `/proc/PID/stat`, which stays its own when the pid is given to another.
    Stat(File),
    /// A pipe from it as stdin, which ends with it.
    Pipe,
}

impl Watched {
    /// Watches a process; `None` when there is none of this pid.
    #[must_use]
    pub fn of(pid: Pid) -> Option<Self> {
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Some(Self(By::Pidfd(pidfd))),
            Err(Errno::SRCH) => None,
            Err(_) => Self::by_stat(pid).filter(|watched| !watched.is_gone()),
        }
    }

    /// Watches the supervisor that has started this process with a pipe for its stdin.
    #[must_use]
    pub fn supervisor() -> Self {
        Self(By::Pipe)
    }

    /// What the supervisor told of the job, when it is that which is watched and it is ready to be read.
    #[must_use]
    pub fn job_end(&self) -> Option<JobEnd> {
        let By::Pipe = &self.0 else { return None };
        let mut told = [0; TOLD_BYTES];
        let count = rustix::io::retry_on_intr(|| rustix::io::read(rustix::stdio::stdin(), &mut told)).ok()?;
        told.get(..count).and_then(JobEnd::parse)
    }

    fn by_stat(pid: Pid) -> Option<Self> {
        let stat = File::open(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Some(Self(By::Stat(stat)))
    }

    /// What to wait for, where the kernel has it.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            By::Pidfd(fd) => Some(fd.as_fd()),
            By::Pipe => Some(rustix::stdio::stdin()),
            By::Stat(_) => None,
        }
    }

    /// How long to wait at most before [`Watched::is_gone`] is asked again; `None` where there is a descriptor.
    #[must_use]
    pub fn ask_again_in(&self) -> Option<Duration> {
        matches!(self.0, By::Stat(_)).then_some(ASK_EVERY)
    }

    /// Whether the process has ended, where there is no descriptor to tell. A zombie has.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match &self.0 {
            By::Pidfd(_) | By::Pipe => false,
            By::Stat(file) => {
                let mut stat = [0; STAT_BYTES];
                let read = file.read_at(&mut stat, 0).ok();
                read.and_then(|count| stat.get(..count)).is_none_or(has_ended)
            }
        }
    }
}

/// The state behind the name in `/proc/PID/stat`, which may hold anything (proc_pid_stat(5)).
fn has_ended(stat: &[u8]) -> bool {
    let name_end = stat.iter().rposition(|byte| *byte == b')');
    let state = name_end.and_then(|end| stat.get(end + 2));
    matches!(state, Some(b'Z' | b'X'))
}

/// Whether a shell started this process in the background.
///
/// A shell without job control has SIGINT ignored in what it starts with `&` (POSIX, 2.11); one with job control
/// gives it a process group that is not the terminal's.
#[must_use]
pub fn started_in_background() -> bool {
    let terminal_is_anothers = |fd: BorrowedFd<'_>| {
        let own = nix::unistd::getpgrp().as_raw();
        rustix::termios::tcgetpgrp(fd).is_ok_and(|foreground| foreground.as_raw_nonzero().get() != own)
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
        let without = Watched::by_stat(pid).unwrap();
        assert!(!without.is_gone());
        drop(child.stdin.take());
        // Nobody has waited for it: it is a zombie.
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !without.is_gone() {
            assert!(std::time::Instant::now() < deadline, "a zombie was taken for alive");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(without.is_gone());
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(with_pidfd.fd().unwrap(), rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, Some(&rustix::time::Timespec::default())), Ok(1));
        assert!(Watched::of(pid).is_none());
    }

    #[test]
    fn a_name_does_not_pass_for_a_state() {
        assert!(!has_ended(b"7 (a) Z b) S 1 7 7 0\n"));
        assert!(has_ended(b"7 (a) S b) Z 1 7 7 0\n"));
        assert!(!has_ended(b""));
    }
}
