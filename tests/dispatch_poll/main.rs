//! What `image/dispatch-poll.sh` promises, against a stand-in dispatcher: it takes a job when there is one, ends when it is told to,
//! never asks twice at a time, and the job gets all it would get without it. Runners and probes are a few lines of shell, but for
//! the last tests, which run the real probe.
//!
//! `DISPATCH_POLL_BASH=/path/to/bash cargo test --test dispatch_poll` tries the script on another bash.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

mod dispatcher;
mod jobs;
mod life;
mod phases;
mod polls;
#[path = "../support/skip.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod skip;
mod stage;
