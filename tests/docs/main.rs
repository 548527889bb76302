//! Every command in the README and the documents: run, with stand-ins for what is not here, or held against what would run it.
//!
//! A paragraph of indented or fenced text is a block. What it is, is told by how it begins: lines of vitals, a query, YAML, Dockerfile;
//! all else is for a shell, and has to be in [`table::TABLE`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]
#![cfg(all(feature = "hub", target_os = "linux"))]

#[path = "../network/server.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod endpoint;
#[path = "../support/probe.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod probe;
#[path = "../support/server.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod server;
#[path = "../diagnose/stand_in.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod stand_in;

mod inline;
mod pages;
mod parsed;
mod run;
mod run_hub;
mod stage;
mod table;
