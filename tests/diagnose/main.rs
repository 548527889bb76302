//! `vitals-hub diagnose` on trails of real guests, on made ones, on what is left of them, and on hostile input.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "../support/server.rs"]
mod server;

#[path = "../support/probe.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod probe;
#[path = "../support/skip.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod skip;

#[path = "../support/browser.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod browser;

#[path = "../support/skeleton.rs"]
mod skeleton;

mod alive;
mod blame;
mod chromium;
mod clocks;
mod documents;
mod doubts;
mod hostile;
mod inputs;
mod kept;
mod loki;
mod losses;
mod made;
mod names;
mod others;
mod page;
mod silence;
mod stand_in;
mod support;
mod torn;
mod trails;
mod truth;
mod try_page;
mod unread;
mod windows;
mod words;
