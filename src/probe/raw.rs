//! The system's calls that no library here wraps. The one place with `unsafe` in it: one operation a block.

#![allow(unsafe_code, reason = "raw calls of the platform, each with the reason why it is sound")]

pub mod child;

use std::ffi::{c_int, c_void};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// The lowest real-time priority: ahead of all that is not real-time, behind the kernel's own threads.
const FIFO_PRIORITY: c_int = 1;

/// With the flag that what a thread starts is ordinary again; only the privileged may take that flag back.
const REAL_TIME: c_int = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
const ORDINARY: c_int = libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK;

/// The threads that run in real time; 0 is none. What the signal's handler can reach.
static IN_REAL_TIME: [AtomicI32; 2] = [AtomicI32::new(0), AtomicI32::new(0)];

/// Set by the handler when it took them out of it.
static HAS_LEFT: AtomicBool = AtomicBool::new(false);

/// Puts a thread of this process under `SCHED_FIFO`; what it starts runs as ordinary again (sched(7)).
///
/// # Errors
/// What the system said.
pub fn set_fifo(thread: i32) -> io::Result<()> {
    set_scheduler(thread, REAL_TIME, FIFO_PRIORITY)?;
    if !IN_REAL_TIME.iter().any(|slot| slot.load(Ordering::Relaxed) == thread) {
        let free = |slot: &&AtomicI32| slot.compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if IN_REAL_TIME.iter().find(free).is_none() {
            // One that could not be taken out of real time again is not to be in it.
            let _ = set_scheduler(thread, ORDINARY, 0);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
    }
    Ok(())
}

/// From now on SIGXCPU, which the kernel sends when a real-time thread runs on without a pause (`RLIMIT_RTTIME`),
/// makes such threads ordinary ones again, for the job's sake.
///
/// # Errors
/// What the system said.
pub fn leave_real_time_on_sigxcpu() -> io::Result<()> {
    // SAFETY: all zeros is a valid sigaction: no flags, an empty mask, no restorer.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(c_int) = leave_real_time;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the action is whole, and its handler does nothing but one system call and atomic loads.
    let done = unsafe { libc::sigaction(libc::SIGXCPU, &raw const action, std::ptr::null_mut()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn leave_real_time(_signal: c_int) {
    // SAFETY: the place of this thread's errno is there as long as the thread.
    let errno = unsafe { &mut *libc::__errno_location() };
    // Whoever was interrupted may be about to look at it.
    let kept = *errno;
    for slot in &IN_REAL_TIME {
        let thread = slot.load(Ordering::Relaxed);
        if thread != 0 && set_scheduler(thread, ORDINARY, 0).is_ok() {
            HAS_LEFT.store(true, Ordering::Relaxed);
        }
    }
    *errno = kept;
}

/// Whether threads have left real time since this was last asked.
pub fn has_left_real_time() -> bool {
    HAS_LEFT.swap(false, Ordering::Relaxed)
}

/// Puts the threads that left real time under it again; whether one is.
pub fn return_to_real_time() -> bool {
    let threads = IN_REAL_TIME.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|thread| *thread != 0);
    // One that has ended, or may not any more, stays as it is.
    threads.filter(|thread| set_scheduler(*thread, REAL_TIME, FIFO_PRIORITY).is_ok()).count() > 0
}

fn set_scheduler(thread: i32, policy: c_int, priority: c_int) -> io::Result<()> {
    // The kernel's sched_param is this one number; musl's has more, and its own call does nothing.
    // SAFETY: the parameter outlives the call, which only reads it.
    let done = unsafe { libc::syscall(libc::SYS_sched_setscheduler, thread, policy, &raw const priority) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads in and locks the pages of a range of addresses of this process, as /proc/self/maps gives them.
///
/// # Errors
/// What the system said: ENOMEM when that is over the limit, or not mapped any more.
pub fn lock_pages(range: &Range<usize>) -> io::Result<()> {
    let start = std::ptr::without_provenance::<c_void>(range.start);
    // SAFETY: locking changes no byte of them; a range that is not mapped is an error.
    let done = unsafe { libc::mlock(start, range.len()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has all threads allocate from one heap. glibc would reserve 64 MiB of addresses for the second thread, and they
/// count against the limit of what may be locked.
pub fn use_one_heap() {
    #[cfg(target_env = "gnu")]
    {
        const M_ARENA_MAX: c_int = -8;
        unsafe extern "C" {
            fn mallopt(param: c_int, value: c_int) -> c_int;
        }
        // SAFETY: glibc's own function, with a parameter that it knows (mallopt(3)).
        unsafe { mallopt(M_ARENA_MAX, 1) };
    }
}
