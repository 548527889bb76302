//! What the targets share: ways to change a text that must not change what is read of it.

use std::fmt::Debug;

pub use runner_vitals::probe::kernel::whole_lines;

/// The whole lines of the first half: as a file is cut before it is parsed.
#[must_use]
pub fn head(text: &[u8]) -> &[u8] {
    whole_lines(&text[..text.len() / 2])
}

/// The text behind a line that no parser knows, which costs itself only.
#[must_use]
pub fn behind_junk(text: &[u8]) -> Vec<u8> {
    [b"\xff\xfejunk\0 1 2 3\n", text].concat()
}

/// Cutting a text between lines leaves a reading as it was, or takes it away.
#[track_caller]
pub fn assert_same_or_none<T: PartialEq + Debug>(cut: Option<T>, whole: Option<T>) {
    assert!(cut.is_none() || cut == whole, "{cut:?} of the cut text, {whole:?} of the whole");
}

/// `key` and its value as a line of a kernel file; nothing for an absent one.
#[must_use]
pub fn row(before: &str, value: Option<u64>, after: &str) -> String {
    value.map_or(String::new(), |value| format!("{before}{value}{after}\n"))
}
