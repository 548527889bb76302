//! A word on stderr, which is the launcher's and the job's too: in one piece, and only when that needs no waiting.

use std::io;
use std::os::fd::AsFd as _;

use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;

/// Says it, or leaves it where nobody could take it now.
pub fn say(text: &str) {
    let line = format!("runner-vitals: {text}\n");
    let stderr = io::stderr();
    if write_now(&stderr, line.as_bytes()) {
        return;
    }
    // Full, or nothing that knows a write without a wait: a file, a terminal, a pipe before Linux 6.4.
    let mut fds = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)];
    if rustix::event::poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
        let _ = rustix::io::write(&stderr, line.as_bytes());
    }
}

#[cfg(target_os = "linux")]
fn write_now(stderr: &io::Stderr, line: &[u8]) -> bool {
    use rustix::io::ReadWriteFlags;

    let parts = [io::IoSlice::new(line)];
    let current_position = u64::MAX;
    rustix::io::pwritev2(stderr, &parts, current_position, ReadWriteFlags::NOWAIT).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn write_now(_: &io::Stderr, _: &[u8]) -> bool {
    false
}
