//! What a runner's file is called. Pure.
//!
//! A name of letters, digits, `.`, `-` and `_` that does not begin with a dot and is not long stands as it is. Any other has
//! its odd characters replaced and ends in `~` and a part of its SHA-256: it leads nowhere else, and two names that look alike
//! then are still two files.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

/// The longest name that stands as it is.
const LONGEST: usize = 200;

/// Bytes of the hash that tell names apart.
const HASH_BYTES: usize = 8;

/// Below the folder: day and file.
pub(super) fn path(runner: &str, at: SystemTime) -> PathBuf {
    [day(at), file(runner)].iter().collect()
}

/// The file of a runner, in the folder of any day.
pub(super) fn file(runner: &str) -> String {
    format!("{}.log", file_name(runner))
}

/// `2026-06-04`, in UTC.
pub(super) fn day(at: SystemTime) -> String {
    let at = at.max(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_seconds(at).to_string().chars().take("2026-06-04".len()).collect()
}

fn file_name(runner: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_whole = !runner.is_empty() && runner.len() <= LONGEST && !runner.starts_with('.');
    if is_whole && runner.chars().all(is_plain) {
        return runner.to_owned();
    }
    let plain: String = runner.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let plain = plain.trim_start_matches('.');
    let mut name: String = plain.chars().take(LONGEST).collect();
    name.push('~');
    for byte in Sha256::digest(runner.as_bytes()).iter().take(HASH_BYTES) {
        // A string takes all that is written.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use std::path::Component;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_stand_as_they_are() {
        for name in ["runner-1", "a.b_C", "x..y"] {
            assert_eq!(file_name(name), name);
        }
        assert!(file_name("../a").starts_with("_a~"));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_574_400);
        assert_eq!(path("a", at), PathBuf::from("2026-06-04/a.log"));
        assert_eq!(day(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01");
    }

    #[test]
    fn names_that_look_alike_are_two_files() {
        let names =
            ["a/b", "a_b", "a b", "..", ".", "", "...", "/", "a\0", "A", "a", &"é".repeat(300), &"é".repeat(301)];
        let files: std::collections::HashSet<String> = names.iter().map(|name| file_name(name)).collect();
        assert_eq!(files.len(), names.len());
    }

    proptest! {
        #[test]
        fn a_name_is_one_short_file(name in any::<String>(), dots in "[./~a]{0,300}") {
            for name in [name, dots] {
                let file = format!("{}.log", file_name(&name));
                prop_assert!(file.len() <= 255 && !file.starts_with('.'), "{}", file);
                let path = PathBuf::from(&file);
                prop_assert!(matches!(path.components().collect::<Vec<_>>()[..], [Component::Normal(_)]));
            }
        }
    }
}
