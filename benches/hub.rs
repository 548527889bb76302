//! What the hub takes, against its bounds: `cargo bench --profile release --bench hub`. 1,000 guests on loopback, each with a token and a
//! connection of its own, post ten lines a request; this process makes the load on the same machine. The table is in
//! `benches/BUDGET.md`. Ends with 1 when a bound is missed.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that cannot measure fails by panicking"
)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

#[path = "hub/bounds.rs"]
mod bounds;
#[path = "hub/load.rs"]
mod load;
#[path = "../tests/support/hub.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod running;
#[path = "hub/server.rs"]
mod server;

use load::Load;
use server::Server;

/// Rounds at half of the rate, of which the best counts: one stall of the machine's disk is in more than a hundredth of a round.
const ROUNDS: usize = 3;

fn main() -> ExitCode {
    // `cargo test --all-targets` comes here without it.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let load = Load::new();
    let server = Server::start(&binary(), &load.tokens());
    let flat_out = load.flat_out(server.address());
    let rate = flat_out.lines_a_second();
    let cpu_us = server.cpu_seconds() * 1e6 / f64::from(u32::try_from(flat_out.lines()).expect("fewer than 2^32"));
    let (flat_p50, flat_p99) = (flat_out.latency_ms(50), flat_out.latency_ms(99));
    let mut lines = flat_out.lines();
    let halves = (0..ROUNDS).map(|_| {
        let half = load.at(bounds::RATE_AT_LEAST / 2.0, server.address());
        lines += half.lines();
        (half.latency_ms(99), half.latency_ms(50), half.lines_a_second())
    });
    let (p99, p50, half_rate) = halves.min_by(|one, other| one.0.total_cmp(&other.0)).expect("a round");
    let resident_kb = server.peak_resident_kb();
    assert_eq!(server.lines(), lines, "each acknowledged line is out, and once");

    println!("| what | bound | seen |\n| --- | --- | --- |");
    let is_kept = [
        row(
            bounds::RATE,
            &format!(
                "{rate:.0}, {cpu_us:.1} µs of CPU each; half of the answers within {flat_p50:.0} ms, 99 % within {flat_p99:.0} ms"
            ),
            rate >= bounds::RATE_AT_LEAST,
        ),
        row(
            bounds::LATENCY,
            &format!("{p99:.1} ms, half of them within {p50:.1} ms, at {half_rate:.0}"),
            p99 <= bounds::LATENCY_AT_MOST_MS,
        ),
        row(bounds::RESIDENT, &format!("{:.1} MiB", resident_kb / 1024.0), resident_kb <= bounds::RESIDENT_AT_MOST_KB),
    ];
    if is_kept.iter().all(|kept| *kept) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn row((what, bound): bounds::Row, seen: &str, is_kept: bool) -> bool {
    let missed = if is_kept { "" } else { " **missed**" };
    println!("| {what} | {bound} | {seen}{missed} |");
    let _ = std::io::stdout().flush();
    is_kept
}

/// The binary that VITALS_HUB_BIN names, else the one that cargo has built with this bench, by the same profile.
fn binary() -> PathBuf {
    std::env::var_os("VITALS_HUB_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_vitals-hub").into()).into()
}
