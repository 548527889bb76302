//! Where events come from, as descriptors that `poll` can wait for. Elsewhere than on Linux there are the clocks only.

pub mod clocks;
#[cfg(target_os = "linux")]
pub mod kmsg;
#[cfg(target_os = "linux")]
pub mod parent;
#[cfg(target_os = "linux")]
pub mod pressure;
#[cfg(target_os = "linux")]
pub mod signals;
pub mod supervisor;
#[cfg(target_os = "linux")]
pub mod timer;
