//! What a test says when it lacks something.

use std::io::Write as _;

/// Says loudly that something is not tested, since something is not there; in CI that is a failure.
pub(crate) fn skipped(what: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "in CI this must not be skipped: {what}: {why}");
    skipped_also_in_ci(what, why);
}

/// The same, of what not every CI can have. It goes past the harness, which swallows what passing tests print.
pub(crate) fn skipped_also_in_ci(what: &str, why: &str) {
    std::io::stderr().write_all(format!("SKIPPED: {what}: {why}\n").as_bytes()).expect("stderr");
}
