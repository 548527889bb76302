//! What of writing lines each platform does in its own way: here Linux.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, ReadWriteFlags};
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

/// "At the current position", for `pwritev2`.
const CURRENT_POSITION: u64 = u64::MAX;

/// Whether a pipe that is full can tear a line in two: not up to `PIPE_BUF`, which is as long as any line here (pipe(7)).
pub(super) const TEARS_LINES: bool = false;

/// Writes as much as there is room for (pwritev2(2), `RWF_NOWAIT`).
pub(super) fn write_without_waiting(file: &File, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
    rustix::io::pwritev2(file, parts, CURRENT_POSITION, ReadWriteFlags::NOWAIT)
}

/// A pipe that never waits, for this process alone: its end to read from, then that to write to.
pub(super) fn own_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
}

/// What the calling thread is called where its priority is set.
pub(super) fn own_thread() -> Pid {
    rustix::thread::gettid()
}
