//! SIGTERM and SIGINT as a descriptor (signalfd(2)).

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::super::kernel::Root;

/// The signals that end the probe, blocked and waiting in a descriptor.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks the signals for this thread and all that it starts, so call it before the first thread.
    ///
    /// A signal that the launcher had ignored stays so: a shell does that to SIGINT of what it starts in the
    /// background, since Ctrl-C is meant for the job.
    ///
    /// # Errors
    /// What the system said.
    pub fn block() -> nix::Result<Self> {
        let status = Root::new("/".into()).read("/proc/self/status").unwrap_or_default();
        let ignored = ignored_signals(&status);
        let wanted = [Signal::SIGTERM, Signal::SIGINT].into_iter().filter(|signal| !is_in(ignored, *signal));
        let mask: SigSet = wanted.collect();
        // In this order: a signal that is blocked and cannot be read would be lost.
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        // A file that may not grow and a pipe that nobody reads are told by the write that fails, not by the end of the
        // probe; a terminal that others are to write to now takes lines all the same.
        let mut blocked = mask;
        [Signal::SIGXFSZ, Signal::SIGPIPE, Signal::SIGTTOU].into_iter().for_each(|signal| blocked.add(signal));
        blocked.thread_block()?;
        Ok(Self(fd))
    }

    /// Which of them has come.
    pub fn next(&self) -> Option<Signal> {
        let info = self.0.read_signal().ok()??;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }

    /// What to wait for.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the launcher had SIGINT ignored: a shell's mark of a background process.
#[must_use]
pub fn sigint_is_ignored() -> bool {
    let status = Root::new("/".into()).read("/proc/self/status").unwrap_or_default();
    is_in(ignored_signals(&status), Signal::SIGINT)
}

fn is_in(mask: u64, signal: Signal) -> bool {
    u32::try_from(signal as i32 - 1).is_ok_and(|bit| mask.checked_shr(bit).is_some_and(|mask| mask & 1 == 1))
}

/// `SigIgn` of /proc/PID/status: a bit a signal, the first for signal 1, in hexadecimal (proc_pid_status(5)).
fn ignored_signals(status: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(status);
    let mask = text.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_read_by_bit() {
        let ignored = ignored_signals(b"SigBlk:\t0000000000000000\nSigIgn:\t0000000000001006\n");
        let is_in = |signal| is_in(ignored, signal);
        assert_eq!([is_in(Signal::SIGINT), is_in(Signal::SIGPIPE), is_in(Signal::SIGTERM)], [true, true, false]);
        assert_eq!(ignored_signals(b""), 0);
    }
}
