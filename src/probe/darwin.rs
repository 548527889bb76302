//! The loop of macOS: one thread, one `kevent(2)` over a timer, signals, the watched process and the kernel's level of
//! memory pressure.
//!
//! The arithmetic on what the system calls give is in [`super::source::darwin`]. [`agents`], [`events`] and [`watched`]
//! compile elsewhere too: the rest is calls that no other system has.

pub mod agents;
pub mod events;
#[cfg(target_os = "macos")]
pub mod queue;
#[cfg(target_os = "macos")]
pub mod reader;
#[cfg(target_os = "macos")]
pub mod run;
#[cfg(target_os = "macos")]
mod sampler;
pub mod watched;

#[cfg(target_os = "macos")]
pub use run::run;
