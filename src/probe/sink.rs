//! Where lines go: stdout, and by a thread of their own to servers.

pub mod handover;
pub mod lines;
pub mod mailbox;
pub mod network;
pub mod outlets;
pub mod queue;
pub mod stdout;
#[cfg_attr(target_os = "macos", path = "sink/system/darwin.rs")]
mod system;
