//! The guest's way off by network, end to end: the real binary against servers on the loopback, good and awful ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(all(target_os = "linux", feature = "tls"))]

#[path = "../support/probe.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod probe;
mod server;

mod answers;
mod awful;
mod delivery;
mod end;
mod loki;
mod secure;
