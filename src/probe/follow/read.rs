//! A file that is followed, open for reading: never a wait that can be had without.
//!
//! Where the kernel can tell (Linux), only what is in memory already is read, the rest is asked for and read at a later
//! step: a disk that is stuck costs lines of the log, not the vitals that the same thread sends. What cannot be had
//! without a wait: opening, and looking at a folder, on a file system that is gone.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::glob::{Id, id_of};

/// A FIFO does not wait for a writer, a terminal does not become ours, a link is not followed.
const FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::NOFOLLOW);

/// The open file.
#[derive(Debug)]
pub struct Source(OwnedFd);

/// Why a file is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It could not be opened.
    Open(Errno),
    /// Meanwhile another file stands there, or none that can be read as one.
    Changed,
}

impl Source {
    /// Opens the file that was found there.
    ///
    /// # Errors
    /// When it cannot be opened, or is not that file any more.
    pub fn open(path: &Path, id: Id) -> Result<Self, OpenError> {
        let file = open_quietly(path).map_err(OpenError::Open)?;
        let stat = rustix::fs::fstat(&file).map_err(OpenError::Open)?;
        let is_it = id_of(&stat) == id && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if is_it { Ok(Self(file)) } else { Err(OpenError::Changed) }
    }

    /// Its size in bytes.
    ///
    /// # Errors
    /// As fstat(2) has it.
    pub fn size(&self) -> Result<u64, Errno> {
        Ok(u64::try_from(rustix::fs::fstat(&self.0)?.st_size).unwrap_or(0))
    }

    /// Reads from this place on; `None` where the bytes are not in memory yet, but asked for.
    ///
    /// # Errors
    /// As pread(2) has it.
    pub fn read_at(&self, room: &mut [u8], at: u64) -> Result<Option<usize>, Errno> {
        match read_now(&self.0, room, at) {
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::INTR) => Ok(None),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => match rustix::io::pread(&self.0, room, at) {
                Err(Errno::INTR | Errno::AGAIN) => Ok(None),
                read => read.map(Some),
            },
            read => read.map(Some),
        }
    }
}

/// Leaves the time of the last access as it is, where that is allowed: to the file's owner.
#[cfg(target_os = "linux")]
fn open_quietly(path: &Path) -> Result<OwnedFd, Errno> {
    match rustix::fs::open(path, FLAGS | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::open(path, FLAGS, Mode::empty()),
        opened => opened,
    }
}

#[cfg(not(target_os = "linux"))]
fn open_quietly(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, FLAGS, Mode::empty())
}

#[cfg(target_os = "linux")]
fn read_now(file: &OwnedFd, room: &mut [u8], at: u64) -> Result<usize, Errno> {
    use rustix::io::ReadWriteFlags;

    let len = u64::try_from(room.len()).ok().and_then(std::num::NonZeroU64::new);
    let read = rustix::io::preadv2(file, &mut [std::io::IoSliceMut::new(room)], at, ReadWriteFlags::NOWAIT);
    if read == Err(Errno::AGAIN) {
        // A refusal shows as the next read that has to wait.
        let _ = rustix::fs::fadvise(file, at, len, rustix::fs::Advice::WillNeed);
    }
    read
}

#[cfg(not(target_os = "linux"))]
fn read_now(_: &OwnedFd, _: &mut [u8], _: u64) -> Result<usize, Errno> {
    Err(Errno::OPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(path: &Path) -> Id {
        id_of(&rustix::fs::lstat(path).unwrap())
    }

    #[test]
    fn only_the_ordinary_file_that_was_found_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "abc").unwrap();
        std::fs::write(at("other"), "abc").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        let mut room = [0; 8];
        let source = Source::open(&at("file"), id(&at("file"))).unwrap();
        assert_eq!((source.size(), source.read_at(&mut room, 1)), (Ok(3), Ok(Some(2))));
        assert_eq!(source.read_at(&mut room, 3), Ok(Some(0)));
        assert_eq!(Source::open(&at("file"), id(&at("other"))).unwrap_err(), OpenError::Changed);
        assert_eq!(Source::open(&at("link"), id(&at("file"))).unwrap_err(), OpenError::Open(Errno::LOOP));
        assert_eq!(Source::open(&at("fifo"), id(&at("fifo"))).unwrap_err(), OpenError::Changed, "and no wait");
        assert_eq!(Source::open(&at("none"), id(&at("file"))).unwrap_err(), OpenError::Open(Errno::NOENT));
    }
}
