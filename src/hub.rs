//! The operator's side.

pub mod diagnose;
pub mod serve;
pub mod trail;
