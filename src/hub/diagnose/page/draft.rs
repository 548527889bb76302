//! A file that is there whole or not at all: written beside its place, then renamed to it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is being written. Dropped before it is kept, nothing of it stays.
#[derive(Debug)]
pub(crate) struct Draft {
    file: BufWriter<File>,
    /// Where it is meanwhile; `None` once it is kept.
    at: Option<PathBuf>,
    to: PathBuf,
}

impl Draft {
    /// Begins beside a path, which stays as it is until [`Self::keep`].
    pub(crate) fn beside(path: &Path) -> io::Result<Self> {
        // A device or a folder in whose place a file is put would be gone.
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is there and no ordinary file"));
        }
        let name = path.file_name().ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut draft = name.to_owned();
        draft.push(format!(".{}.tmp", std::process::id()));
        let at = path.with_file_name(draft);
        let file = File::create_new(&at)?;
        Ok(Self { file: BufWriter::new(file), at: Some(at), to: path.to_owned() })
    }

    /// Puts it into its place.
    pub(crate) fn keep(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        if let Some(at) = &self.at {
            fs::rename(at, &self.to)?;
            self.at = None;
        }
        Ok(())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(at) = self.at.take() {
            // The error that led here is the one that is told.
            let _ = fs::remove_file(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_kept_whole_or_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page.html");
        fs::write(&path, "old").unwrap();
        let mut draft = Draft::beside(&path).unwrap();
        draft.write_all(b"half").unwrap();
        drop(draft);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let mut draft = Draft::beside(&path).unwrap();
        draft.write_all(b"new").unwrap();
        draft.keep().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        for no_file in [dir.path(), Path::new("/dev/null")] {
            assert_eq!(Draft::beside(no_file).unwrap_err().to_string(), "it is there and no ordinary file");
        }
        assert!(Draft::beside(&dir.path().join("none/page.html")).is_err());
    }
}
