//! What a supervisor of children needs: the arguments as they were given, signals as numbers (the real-time ones have no
//! names), a child that gets the signals as they were, and what the kernel says of one that ended.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

pub use super::super::end::End;

/// A set of signals, a bit a signal, the first for signal 1: what the kernel takes on 64-bit machines.
pub type Mask = u64;

/// Bytes of a mask, for the calls that ask.
const MASK_BYTES: usize = size_of::<Mask>();

/// The signals whose disposition `std` or a supervisor changes before the child is there.
const CHANGED: [c_int; 2] = [libc::SIGPIPE, libc::SIGCHLD];

/// The launcher's state of signals, for the child to have it too.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    mask: Mask,
    ignored: [bool; CHANGED.len()],
    dies_with_parent: Option<Signal>,
}

/// A child that has ended and was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its pid.
    pub pid: i32,
    /// How it ended.
    pub end: End,
    /// The most memory that it, or a child that it had waited for, had resident, in KiB.
    pub maxrss_kb: u64,
}

/// A signal that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// `si_code`: where it comes from (sigaction(2)).
    pub code: i32,
    /// `si_pid`: of a signal that a process sent, that process.
    pub sender: i32,
}

impl Received {
    /// Whether the kernel sent it of itself: a terminal, a timer.
    #[must_use]
    pub fn is_of_kernel(&self) -> bool {
        self.code == libc::SI_KERNEL
    }
}

/// The arguments that `main` got. Those of `std` are empty when it is not `std` that starts the program, but for glibc.
///
/// # Safety
/// They must be what the C library called `main` with.
#[must_use]
pub unsafe fn arguments(argc: c_int, argv: *const *const c_char) -> Vec<OsString> {
    let count = usize::try_from(argc).unwrap_or(0);
    if argv.is_null() || count == 0 {
        return Vec::new();
    }
    // SAFETY: the C library gives as many pointers as it says, and keeps them.
    let pointers = unsafe { std::slice::from_raw_parts(argv, count) };
    let texts = pointers.iter().filter(|pointer| !pointer.is_null());
    // SAFETY: each is a string with its end, and stays while the program runs.
    let texts = texts.map(|pointer| unsafe { CStr::from_ptr(*pointer) });
    texts.map(|text| OsStr::from_bytes(text.to_bytes()).to_owned()).collect()
}

impl Inherited {
    /// Blocks the signals of `mask` besides those that are blocked, and has children waited for. Gives what was before.
    #[must_use]
    pub fn and_block(mask: Mask) -> Self {
        let ignored = CHANGED.map(is_ignored);
        // Where it is ignored the kernel forgets children that end, their exit code with them.
        set_disposition(libc::SIGCHLD, libc::SIG_DFL);
        let dies_with_parent = rustix::process::parent_process_death_signal().ok().flatten();
        Self { mask: change_mask(libc::SIG_BLOCK, mask), ignored, dies_with_parent }
    }

    /// Has the program start as the launcher would have started it.
    pub fn restore_in(self, command: &mut Command) {
        let restore = move || {
            for (signal, _) in CHANGED.into_iter().zip(self.ignored).filter(|(_, is_ignored)| *is_ignored) {
                set_disposition(signal, libc::SIG_IGN);
            }
            if self.dies_with_parent.is_some() {
                let _ = rustix::process::set_parent_process_death_signal(self.dies_with_parent);
            }
            change_mask(libc::SIG_SETMASK, self.mask);
            Ok(())
        };
        // SAFETY: it makes system calls on values of its own and nothing else: no memory, no lock.
        unsafe { command.pre_exec(restore) };
    }
}

/// Whether a signal is ignored.
fn is_ignored(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set, and the place is large enough for what is told.
    let done = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeros are a valid sigaction, and so is what the call wrote over them.
    let action = unsafe { action.assume_init() };
    done == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Makes a signal ignored or what it is by default; no handler.
fn set_disposition(signal: c_int, disposition: libc::sighandler_t) {
    // SAFETY: neither of the two runs any code of ours.
    unsafe { libc::signal(signal, disposition) };
}

/// Changes the calling thread's mask as `how` says; what it was. The C library's own would leave two signals out.
fn change_mask(how: c_int, mask: Mask) -> Mask {
    let mut before: Mask = 0;
    // SAFETY: both masks are ours and as long as is said.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const mask, &raw mut before, MASK_BYTES) };
    before
}

/// Waits for a signal of `mask`, which must be blocked, and takes it.
///
/// # Errors
/// EAGAIN when the time is up, EINTR when another signal came in between.
pub fn wait_for_signal(mask: Mask, patience: Option<Duration>) -> io::Result<Received> {
    let patience = patience.map(|time| libc::timespec {
        tv_sec: i32::try_from(time.as_secs()).unwrap_or(i32::MAX).into(),
        tv_nsec: time.subsec_nanos().into(),
    });
    let patience = patience.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let mut received = MaybeUninit::<libc::siginfo_t>::zeroed();
    let place = received.as_mut_ptr();
    // SAFETY: the mask and the time are ours for as long as the call; the place is what the kernel fills.
    let signal = unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const mask, place, patience, MASK_BYTES) };
    let Some(signal) = i32::try_from(signal).ok().filter(|signal| *signal > 0) else {
        return Err(io::Error::last_os_error());
    };
    // SAFETY: zeros are a valid siginfo, and so is what the call wrote over them.
    let received = unsafe { received.assume_init() };
    // SAFETY: all of it is initialised; in a signal that no process sent these bytes may mean something else.
    let sender = unsafe { received.si_pid() };
    Ok(Received { signal, code: received.si_code, sender })
}

/// Sends a signal to a process that was not waited for yet, so that it cannot be another. It may be a zombie by now.
pub fn send(pid: i32, signal: i32) {
    // SAFETY: it touches nothing of this process.
    unsafe { libc::kill(pid, signal) };
}

/// Waits for a child that has ended, if there is one.
#[must_use]
pub fn reap() -> Option<Ended> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both places are ours and large enough.
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    // SAFETY: zeros are a valid rusage, and so is what the call wrote over them.
    let usage = unsafe { usage.assume_init() };
    let end = match libc::WIFSIGNALED(status) {
        true => End::Signal(u8::try_from(libc::WTERMSIG(status)).unwrap_or(u8::MAX)),
        false => End::Exit(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX)),
    };
    (pid > 0).then(|| Ended { pid, end, maxrss_kb: usage.ru_maxrss.try_into().unwrap_or(0) })
}

/// Closes every descriptor from `first` on. Nothing of this process may own one of them.
pub fn close_from(first: u32) {
    // SAFETY: the caller's word; nobody uses them any more.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    // A kernel before 5.9 has no such call.
    if done != 0 {
        let listed = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let fds: Vec<u32> = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        for fd in fds.into_iter().filter(|fd| *fd >= first).filter_map(|fd| c_int::try_from(fd).ok()) {
            // SAFETY: as above.
            unsafe { libc::close(fd) };
        }
    }
}
