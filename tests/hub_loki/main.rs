//! The way to Loki, against a stand-in that keeps Loki's rules as they were observed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(feature = "hub")]

mod delivery;
mod loki;
#[path = "../support/server.rs"]
mod server;
