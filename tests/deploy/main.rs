//! What stands in `deploy/`: parsed, and held against the hub, the probe, the documents and each other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]
#![cfg(all(feature = "hub", target_os = "linux"))]

#[path = "../hub/hub.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod hub;
#[path = "../support/probe.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod probe;
#[path = "../support/hub.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod running;
#[path = "../network/server.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod server;

mod examples;
mod labels;
mod manifests;
mod needs;
mod river;
mod settings;
mod sidecar;
mod support;

use std::time::{Duration, Instant};

/// Waits until there is something.
pub(crate) fn until<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + probe::PATIENCE;
    loop {
        if let Some(value) = there() {
            return value;
        }
        assert!(Instant::now() < deadline, "still no {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
