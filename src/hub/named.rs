//! A file that a setting names: an error about it says both.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file, and which setting it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    setting: &'static str,
    path: PathBuf,
}

impl NamedFile {
    /// The file of this setting: `--tls-key`, or `--auth tokens=`.
    #[must_use]
    pub const fn new(setting: &'static str, path: PathBuf) -> Self {
        Self { setting, path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands in it now.
    ///
    /// # Errors
    /// With its name: when it cannot be read.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        fs::read(&self.path).map_err(|error| self.named(&error))
    }

    /// An error of this file, with its name.
    #[must_use]
    pub fn named(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{self}: {error}"))
    }
}

impl fmt::Display for NamedFile {
    /// As it is written on a command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.setting.ends_with('=') { "" } else { " " };
        write!(f, "{}{gap}{}", self.setting, self.path.display())
    }
}
