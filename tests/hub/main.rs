//! `vitals-hub serve`, the real binary over loopback: what comes in by raw sockets, goes out, and is acknowledged.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(all(feature = "hub", target_os = "linux"))]

#[path = "../../benches/hub/bounds.rs"]
#[allow(dead_code, reason = "what the bench uses of it")]
mod bounds;
#[path = "../support/browser.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod browser;
mod client;
mod clients;
mod files;
mod fleets;
mod hanging;
mod hub;
mod life;
mod lines;
mod outs;
mod pages;
#[path = "../support/hub.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod running;
#[path = "../support/server.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod server;
#[path = "../support/skip.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod skip;
#[path = "../diagnose/stand_in.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod stand_in;
mod tail;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longer than anything here takes, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that is about to be so.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the hub has read all that was said to it here.
pub(crate) fn until_read(stream: &TcpStream) {
    let (here, there) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    until("the hub has read it", || {
        // First it has to have come there.
        let (on_its_way, _) = queued(here, there)?;
        let (_, unread) = queued(there, here)?;
        (on_its_way == 0 && unread == 0).then_some(())
    });
}

/// Bytes of a connection that this end has sent and the other has not got, and that it has got and nobody has read; proc(5).
fn queued(end: SocketAddr, other: SocketAddr) -> Option<(u64, u64)> {
    let named = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port()),
        SocketAddr::V6(v6) => panic!("{v6}: only the loopback of IPv4 here"),
    };
    let ends = format!(" {} {} ", named(end), named(other));
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let row = table.lines().find_map(|row| Some(row.split_once(&ends)?.1))?;
    let (sent, got) = row.split(' ').nth(1)?.split_once(':')?;
    let bytes = |hex| u64::from_str_radix(hex, 16).unwrap();
    Some((bytes(sent), bytes(got)))
}

#[test]
fn the_bounds_are_those_of_the_page() {
    let page = include_str!("../../benches/BUDGET.md").split_once("\n## The hub").unwrap().1;
    let page = page.split("\n## ").next().unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ")).skip(2);
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('|').skip(1).take(2).map(str::trim).collect()).collect();
    let bounds: Vec<Vec<&str>> = bounds::ALL.iter().map(|(what, bound)| vec![*what, *bound]).collect();
    assert_eq!(rows, bounds);
}
