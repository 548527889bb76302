//! What of writing lines each platform does in its own way: here macOS.
//!
//! Lines of more than 512 bytes (`PIPE_BUF`) may be torn in a full pipe: by another process that writes there too, or by the
//! end of this one. Writers of this process wait for each other.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags};
use rustix::process::Pid;

/// Whether a pipe that is full can tear a line in two.
pub(super) const TEARS_LINES: bool = true;

/// There is no such call: the caller hands its lines to a thread that may wait.
pub(super) fn write_without_waiting(_: &File, _: &[IoSlice<'_>]) -> Result<usize, Errno> {
    Err(Errno::OPNOTSUPP)
}

/// A pipe that never waits, for this process alone: its end to read from, then that to write to.
pub(super) fn own_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reader, writer) = rustix::pipe::pipe()?;
    for end in [&reader, &writer] {
        // There is no pipe2(2). Nothing is started here that could get the descriptors in between.
        rustix::io::fcntl_setfd(end, FdFlags::CLOEXEC)?;
        #[allow(clippy::disallowed_methods, reason = "a description that is ours alone")]
        rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK)?;
    }
    Ok((reader, writer))
}

/// Threads have no number that a priority could be set by: each sets its own.
pub(super) fn own_thread() -> Pid {
    rustix::process::getpid()
}
