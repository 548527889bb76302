//! The guest's side: kernel files and kernel messages to lines.

pub mod cgroup_files;
pub mod config;
pub mod event;
pub mod fixed;
pub mod guest;
pub mod kernel;
pub mod levels;
pub mod pass;
pub mod rate;
pub mod report;
pub mod run;
pub mod sample;
pub mod sampler;
pub mod sink;
pub mod slow;
pub mod source;
pub mod voice;
pub mod watch;
