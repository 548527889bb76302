//! Stdin for a second reading: what is read of it is copied into a temporary file without a name.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, Write as _};

use super::sheet::PageError;

/// How many names are tried.
const NAMES: u32 = 100;

/// A reader whose bytes are kept, when that is asked for.
#[derive(Debug)]
pub(in super::super) struct Spool<R> {
    from: R,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Not,
    /// It is to be kept, and nothing was read yet.
    Empty,
    File(File),
    Failed(io::Error),
}

/// What was kept.
#[derive(Debug)]
pub(in super::super) enum Again {
    /// Nothing was read.
    Empty(io::Empty),
    /// From the beginning on.
    File(File),
}

impl<R: Read> Spool<R> {
    /// Keeps what is read.
    pub(in super::super) fn keeping(from: R) -> Self {
        Self { from, kept: Kept::Empty }
    }

    /// Keeps nothing.
    pub(in super::super) fn passing(from: R) -> Self {
        Self { from, kept: Kept::Not }
    }

    /// What was read, once more.
    pub(in super::super) fn again(self) -> Result<Again, PageError> {
        match self.kept {
            Kept::Not | Kept::Empty => Ok(Again::Empty(io::empty())),
            Kept::Failed(error) => Err(PageError::Kept(error)),
            Kept::File(mut file) => {
                file.rewind().map_err(PageError::Kept)?;
                Ok(Again::File(file))
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Kept::Empty = self.kept {
            self.kept = nameless().map_or_else(Kept::Failed, Kept::File);
        }
        // That it cannot be kept costs the page and not the verdict.
        if let Kept::File(file) = &mut self.kept
            && let Err(error) = file.write_all(bytes)
        {
            self.kept = Kept::Failed(error);
        }
    }
}

impl<R: Read> Read for Spool<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if count > 0 {
            self.keep(buffer.get(..count).unwrap_or_default());
        }
        Ok(count)
    }
}

impl Read for Again {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Empty(empty) => empty.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

/// A file in the folder for temporary ones that only this process can reach, and that goes with it.
fn nameless() -> io::Result<File> {
    let folder = std::env::temp_dir();
    for nth in 0..NAMES {
        let path = folder.join(format!("vitals-hub-{}-{nth}.tmp", std::process::id()));
        match private(&path) {
            Ok(file) => return fs::remove_file(&path).map(|()| file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn private(path: &std::path::Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_read_again() {
        let mut spool = Spool::keeping(&b"a trail"[..]);
        let (mut once, mut twice) = (String::new(), String::new());
        spool.read_to_string(&mut once).unwrap();
        spool.again().unwrap().read_to_string(&mut twice).unwrap();
        assert_eq!((once.as_str(), twice.as_str()), ("a trail", "a trail"));
        let mut passing = Spool::passing(&b"a trail"[..]);
        passing.read_to_string(&mut once).unwrap();
        assert!(matches!(passing.again(), Ok(Again::Empty(_))));
    }
}
