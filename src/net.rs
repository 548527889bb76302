//! HTTP as both sides need it: one request with a deadline, when to try again, and Loki's push.
//!
//! The guest's sinks and the hub's way to Loki share it; it knows neither of them.

#[cfg(feature = "tls")]
pub mod backoff;
#[cfg(feature = "tls")]
pub mod client;
pub mod date;
#[cfg(feature = "tls")]
pub mod loki;
#[cfg(feature = "tls")]
pub mod tls;
