//! A probe that was built without the feature `tls`: it says that there is no way by network, and goes on with stdout.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(all(target_os = "linux", not(feature = "tls")))]

#[path = "support/probe.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod probe;

use probe::Probe;
use runner_vitals::line::field;

#[test]
fn a_network_sink_is_told_and_lines_go_to_stdout() {
    let (lines, status) = Probe::start(&["--once", "--sink", "https://vitals.example/v?key=secret"]).finish();
    assert!(status.success());
    let told = lines.iter().find(|line| line.is(Some("config"))).unwrap();
    assert_eq!(told.text_of(field::GIVEN).as_deref(), Some("https://vitals.example/v"));
    assert!(told.text_of(field::USED).unwrap().contains("without the feature tls"), "{}", told.text);
    assert!(lines.iter().any(|line| line.is(None)));
}
