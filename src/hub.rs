//! The operator's side.

pub mod cli;
pub mod credentials;
pub mod diagnose;
pub mod fleet;
pub mod live;
pub mod named;
pub mod serve;
pub mod trail;
