//! End to end: the real binary on captured kernel trees and on this machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

#[path = "../support/fixture.rs"]
mod fixture;
#[path = "../support/probe.rs"]
mod probe;
#[path = "../support/skip.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod skip;

mod agent;
mod captures;
mod cgroup_live;
mod life;
mod protect;
