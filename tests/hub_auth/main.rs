//! Who sent a request, found out from real parties: a server that speaks the Kubernetes API, one that serves keys, and
//! tokens that an ordinary library signs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(feature = "hub")]

mod cluster;
mod jwks;
mod kubernetes;
#[path = "../support/server.rs"]
mod server;
mod tokens;
