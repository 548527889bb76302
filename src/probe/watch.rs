//! Where events come from, as descriptors that `poll` can wait for.

pub mod kmsg;
pub mod parent;
pub mod signals;
pub mod timer;
