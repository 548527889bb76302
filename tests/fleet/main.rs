//! `vitals-hub fleet`: lives that are whole and such that are not, figures, the fleet file, and a simulated pool whose truth is known.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking"
)]

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/skip.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod skip;

#[path = "../support/skeleton.rs"]
mod skeleton;

mod documents;
mod lives;
mod page;
mod plans;
mod simulated;
mod simulator;
mod support;
