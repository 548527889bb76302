//! The guest's side: kernel files and kernel messages to lines.
//!
//! [`run`] is the loop of Linux and [`darwin`] that of macOS. What neither asks the system for is the same for both: the
//! rooms without a `cfg` compile everywhere, and those with one are the calls that only one of them has.

pub mod agent_news;
pub mod agents;
pub mod burst;
pub mod cgroup_files;
pub mod config;
pub mod darwin;
pub mod disk_news;
pub mod end;
pub mod endpoint;
pub mod event;
pub mod fixed;
#[cfg(feature = "tls")]
pub mod follow;
pub mod guest;
#[cfg(target_os = "linux")]
pub mod job;
pub mod kernel;
pub mod largest;
pub mod levels;
pub mod pass;
pub mod phase;
pub mod processes;
#[cfg_attr(target_os = "macos", path = "probe/protect/darwin.rs")]
pub mod protect;
pub mod rate;
#[cfg_attr(target_os = "macos", path = "probe/raw/darwin.rs")]
pub mod raw;
pub mod report;
#[cfg(target_os = "linux")]
pub mod run;
pub mod sample;
#[cfg(target_os = "linux")]
pub mod sampler;
pub mod schedule;
pub mod signs;
pub mod sink;
pub mod slow;
pub mod source;
pub mod stderr;
pub mod voice;
pub mod watch;
