//! The hub's rows of the budget. `benches/BUDGET.md` has the same, and a test holds the two together.

/// One row: what is bounded, and the bound in words.
pub(crate) type Row = (&'static str, &'static str);

pub(crate) const RATE: Row = ("lines a second, stdout to a file", "20,000 or more");
pub(crate) const RATE_AT_LEAST: f64 = 20_000.0;

pub(crate) const LATENCY: Row = ("99 % of the answers at 10,000 lines a second, within", "50 ms");
pub(crate) const LATENCY_AT_MOST_MS: f64 = 50.0;

pub(crate) const RESIDENT: Row = ("peak resident memory", "64 MiB");
pub(crate) const RESIDENT_AT_MOST_KB: f64 = 65_536.0;

/// Every row, in the order of the table.
#[allow(dead_code, reason = "for the test")]
pub(crate) const ALL: &[Row] = &[RATE, LATENCY, RESIDENT];
