//! Looks whether files have changed. By what stands in them: a mounted secret changes by a link, and a clock can be coarse.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// How often files are looked at.
pub const EVERY: Duration = Duration::from_secs(1);

/// Files that belong together.
#[derive(Debug)]
pub struct Watched {
    paths: Vec<PathBuf>,
    seen: Option<[u8; 32]>,
    has_failed: bool,
}

/// What a look found.
#[derive(Debug)]
pub enum Look {
    /// Nothing new, or the same trouble as before.
    Same,
    /// What stands in them now, in their order.
    Changed(Vec<Vec<u8>>),
    /// They cannot be read any more.
    Unreadable(io::Error),
}

impl Watched {
    /// Nothing was seen of these files yet.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, seen: None, has_failed: false }
    }

    /// Reads the files; they may be half written, so what is wrong with them may be right at the next look.
    pub fn look(&mut self) -> Look {
        let read: io::Result<Vec<Vec<u8>>> = self.paths.iter().map(read_named).collect();
        match read {
            Err(_) if self.has_failed => Look::Same,
            Err(error) => {
                self.has_failed = true;
                Look::Unreadable(error)
            }
            Ok(contents) => {
                self.has_failed = false;
                let mut hash = Sha256::new();
                for content in &contents {
                    hash.update(Sha256::digest(content));
                }
                let seen = hash.finalize().into();
                if self.seen == Some(seen) {
                    return Look::Same;
                }
                self.seen = Some(seen);
                Look::Changed(contents)
            }
        }
    }
}

fn read_named(path: &PathBuf) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut watched = Watched::new(vec![path.clone()]);
        assert!(matches!(watched.look(), Look::Unreadable(error) if error.to_string().contains("a: ")));
        assert!(matches!(watched.look(), Look::Same));
        for content in ["1", "2", "1"] {
            std::fs::write(&path, content).unwrap();
            assert!(matches!(watched.look(), Look::Changed(now) if now == [content.as_bytes()]));
            assert!(matches!(watched.look(), Look::Same));
        }
    }
}
