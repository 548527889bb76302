//! The system's calls of macOS that no library here wraps. The one place with `unsafe` in it on this platform: one
//! operation a block.
//!
//! host_statistics64 and its structures: `osfmk/mach/host_info.h`; sysctl(3); `bsd/sys/proc_info.h`; kqueue(2).

#![allow(unsafe_code, reason = "raw calls of the platform, each with the reason why it is sound")]

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::ptr;
use std::time::Duration;

/// `INTEGERS` of 32 bits, as Mach counts what it writes.
type Integer = libc::integer_t;

/// `QOS_CLASS_USER_INTERACTIVE` (`sys/qos.h`).
const USER_INTERACTIVE: libc::qos_class_t = libc::qos_class_t::QOS_CLASS_USER_INTERACTIVE;

unsafe extern "C" {
    /// A send right to the host's port (`mach/mach_init.h`); `libc` has it as deprecated.
    safe fn mach_host_self() -> libc::mach_port_t;
    /// Bytes a page of the kernel, of which it counts memory; a translated program has smaller ones of its own
    /// (`mach/vm_page_size.h`). Set before `main`, never after.
    safe static vm_kernel_page_size: libc::vm_size_t;
}

/// The host, of which statistics are asked: its port, taken once, for each call would take one more right to it.
#[derive(Debug)]
pub struct Host(libc::mach_port_t);

impl Host {
    /// This machine.
    #[must_use]
    pub fn this() -> Self {
        Self(mach_host_self())
    }

    /// `HOST_VM_INFO64`, into as many integers as there is room for; gives how many were written.
    #[must_use]
    pub fn vm_statistics(&self, into: &mut [Integer]) -> Option<usize> {
        let mut count = libc::mach_msg_type_number_t::try_from(into.len()).ok()?;
        let (flavor, out) = (libc::HOST_VM_INFO64, into.as_mut_ptr());
        // SAFETY: it writes no more integers than `count` says, and there is room for those.
        let done = unsafe { libc::host_statistics64(self.0, flavor, out, &raw mut count) };
        written(done, count)
    }

    /// `HOST_CPU_LOAD_INFO`, likewise.
    #[must_use]
    pub fn cpu_load(&self, into: &mut [Integer]) -> Option<usize> {
        let mut count = libc::mach_msg_type_number_t::try_from(into.len()).ok()?;
        let (flavor, out) = (libc::HOST_CPU_LOAD_INFO, into.as_mut_ptr());
        // SAFETY: it writes no more integers than `count` says, and there is room for those.
        let done = unsafe { libc::host_statistics(self.0, flavor, out, &raw mut count) };
        written(done, count)
    }
}

fn written(done: libc::kern_return_t, count: libc::mach_msg_type_number_t) -> Option<usize> {
    if done == libc::KERN_SUCCESS { usize::try_from(count).ok() } else { None }
}

/// Bytes a page, of which the kernel counts memory.
#[must_use]
pub fn kernel_page_bytes() -> u64 {
    u64::try_from(vm_kernel_page_size).unwrap_or(0)
}

/// Reads a value by its name; gives how many bytes it has.
///
/// # Errors
/// What the system said: ENOMEM when there is not room enough.
pub fn sysctl_by_name(name: &CStr, into: &mut [u8]) -> io::Result<usize> {
    let mut len = into.len();
    let out = into.as_mut_ptr().cast::<c_void>();
    // SAFETY: the name has its end, nothing is set, and no more than `len` bytes are written, for which there is room.
    let done = unsafe { libc::sysctlbyname(name.as_ptr(), out, &raw mut len, ptr::null_mut(), 0) };
    if done == 0 { Ok(len) } else { Err(io::Error::last_os_error()) }
}

/// Reads a value by the numbers of its name; gives how many bytes it has.
///
/// # Errors
/// What the system said: ENOMEM when there is not room enough.
pub fn sysctl(name: &mut [c_int], into: &mut [u8]) -> io::Result<usize> {
    let mut len = into.len();
    let count = libc::c_uint::try_from(name.len()).map_err(io::Error::other)?;
    let (name, out) = (name.as_mut_ptr(), into.as_mut_ptr().cast::<c_void>());
    // SAFETY: the name is as long as it says, nothing is set, and no more than `len` bytes are written.
    let done = unsafe { libc::sysctl(name, count, out, &raw mut len, ptr::null_mut(), 0) };
    if done == 0 { Ok(len) } else { Err(io::Error::last_os_error()) }
}

/// How many bytes a value has now; it may have others when it is read.
///
/// # Errors
/// What the system said.
pub fn sysctl_len(name: &mut [c_int]) -> io::Result<usize> {
    let mut len = 0;
    let count = libc::c_uint::try_from(name.len()).map_err(io::Error::other)?;
    let name = name.as_mut_ptr();
    // SAFETY: the name is as long as it says; nothing is set, and nothing but the length is written.
    let done = unsafe { libc::sysctl(name, count, ptr::null_mut(), &raw mut len, ptr::null_mut(), 0) };
    if done == 0 { Ok(len) } else { Err(io::Error::last_os_error()) }
}

/// `PROC_PIDTASKINFO` of one of the user's own processes; gives how many bytes it has.
#[must_use]
pub fn task_info(pid: c_int, into: &mut [u8]) -> Option<usize> {
    let len = c_int::try_from(into.len()).ok()?;
    let out = into.as_mut_ptr().cast::<c_void>();
    // SAFETY: no more than `len` bytes are written, for which there is room.
    let count = unsafe { libc::proc_pidinfo(pid, libc::PROC_PIDTASKINFO, 0, out, len) };
    usize::try_from(count).ok().filter(|count| *count > 0)
}

/// Whether a signal is ignored.
#[must_use]
pub fn is_ignored(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set, and the place is large enough for what is told.
    let done = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros is a valid sigaction, and so is what the system wrote over it.
    let action = unsafe { action.assume_init() };
    done == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Puts the calling thread ahead of those that jobs run; whether that went well.
#[must_use]
pub fn be_interactive() -> bool {
    // SAFETY: it changes the calling thread's standing and nothing else.
    let done = unsafe { libc::pthread_set_qos_class_self_np(USER_INTERACTIVE, 0) };
    done == 0
}

/// Registers `changes` with a kqueue, then waits for events until the time is up; of no room for events it does not wait.
/// Gives how many came.
///
/// # Errors
/// What the system said: of the first change that could not be made, or EINTR.
pub fn kevent(
    queue: &OwnedFd,
    changes: &[libc::kevent],
    events: &mut [libc::kevent],
    wait: Option<Duration>,
) -> io::Result<usize> {
    let changed = c_int::try_from(changes.len()).map_err(io::Error::other)?;
    let room = c_int::try_from(events.len()).map_err(io::Error::other)?;
    let time = wait.map(|wait| libc::timespec {
        tv_sec: libc::time_t::try_from(wait.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: wait.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    let (from, to) = (changes.as_ptr(), events.as_mut_ptr());
    // SAFETY: the changes are read only, there is room for the events, and the descriptor is open as long as its owner.
    let count = unsafe { libc::kevent(queue.as_raw_fd(), from, changed, to, room, time) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
