//! The operator's side.

pub mod cli;
pub mod diagnose;
pub mod fleet;
pub mod serve;
pub mod trail;
