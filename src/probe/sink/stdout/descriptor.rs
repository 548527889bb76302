//! The descriptor that lines are written to, which several writers of this process can have: the sampler's and that of
//! followed logs, each with a thread of its own.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::wait;
use crate::probe::sink::system;

/// A descriptor to write lines to. Its copies know of each other where the system may tear a line: there one writes after
/// the other, however long a pipe is full.
#[derive(Debug)]
pub struct Descriptor {
    file: File,
    turn: Option<Arc<Turn>>,
    /// The line that was begun last through this one has no end yet, unless another has ended it.
    has_begun: AtomicBool,
}

/// Whose turn it is, and whether the last line was begun and has no end.
#[derive(Debug, Default)]
struct Turn(Mutex<bool>);

impl From<File> for Descriptor {
    fn from(file: File) -> Self {
        if system::TEARS_LINES { Self::in_turns(file) } else { Self::of(file, None) }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Descriptor {
    /// Another for the same.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self::of(self.file.try_clone()?, self.turn.clone()))
    }

    pub(super) fn in_turns(file: File) -> Self {
        Self::of(file, Some(Arc::default()))
    }

    const fn of(file: File, turn: Option<Arc<Turn>>) -> Self {
        Self { file, turn, has_begun: AtomicBool::new(false) }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Writes a line, and waits for that. Of one that could not be written whole `is_begun` remembers that, so that the next
    /// is not glued to it.
    pub(super) fn write_line(&self, line: &[u8], is_begun: &mut bool) -> Result<(), Errno> {
        match &self.turn {
            None => write_whole(&self.file, line, is_begun),
            Some(turn) => {
                let mut of_all = turn.0.lock().unwrap_or_else(PoisonError::into_inner);
                write_whole(&self.file, line, &mut of_all)
            }
        }
    }

    /// Writes as much as one call takes, unless another writer has begun a line and is about to end it. Where that cannot end
    /// it now, its line is ended here, and where this one cannot end its own, the next writer does that: the rest comes as a line
    /// of its own.
    pub(super) fn write_once(&self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let Some(turn) = &self.turn else { return rustix::io::writev(&self.file, parts) };
        let mut is_begun = match turn.0.try_lock() {
            Ok(is_begun) => is_begun,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(Errno::AGAIN),
        };
        if *is_begun && !self.has_begun.load(Ordering::Relaxed) {
            rustix::io::write(&self.file, b"\n")?;
            *is_begun = false;
        }
        let count = rustix::io::writev(&self.file, parts)?;
        if count > 0 {
            *is_begun = count < parts.iter().map(|part| part.len()).sum::<usize>();
            self.has_begun.store(*is_begun, Ordering::Relaxed);
        }
        Ok(count)
    }
}

/// Writes a line.
pub(super) fn write_whole(file: &File, line: &[u8], is_begun: &mut bool) -> Result<(), Errno> {
    let mut parts: [&[u8]; 2] = [if *is_begun { b"\n" } else { b"" }, line];
    while parts.iter().any(|part| !part.is_empty()) {
        match rustix::io::writev(file, &parts.map(IoSlice::new)) {
            Ok(count) => {
                let of_first = count.min(parts[0].len());
                *is_begun = true;
                parts = [parts[0].get(of_first..), parts[1].get(count - of_first..)].map(Option::unwrap_or_default);
            }
            Err(Errno::INTR) => {}
            // Somebody else made it non-blocking.
            Err(Errno::AGAIN) => wait(file.as_fd(), PollFlags::OUT),
            Err(errno) => return Err(errno),
        }
    }
    *is_begun = false;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::fd::OwnedFd;

    use super::*;

    /// Lines of more than what is written whole, so that a full pipe tears them on any system.
    #[test]
    fn two_writers_never_mix_their_lines_in_a_full_pipe() {
        const LINES: usize = 20;
        let (reader, writer) = std::io::pipe().unwrap();
        let one = Descriptor::in_turns(File::from(OwnedFd::from(writer)));
        let other = one.try_clone().unwrap();
        let writers = [(one, 'a'), (other, 'b')].map(|(descriptor, letter)| {
            std::thread::spawn(move || {
                let line = format!("{}\n", String::from(letter).repeat(20_000));
                (0..LINES).for_each(|_| descriptor.write_line(line.as_bytes(), &mut false).unwrap());
            })
        });
        let lines: Vec<String> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(lines.len(), 2 * LINES);
        assert!(lines.iter().all(|line| line.len() == 20_000 && line.bytes().all(|byte| byte == line.as_bytes()[0])));
    }

    #[test]
    fn a_line_that_another_has_begun_is_not_written_into() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let descriptor = Descriptor::in_turns(File::from(OwnedFd::from(writer)));
        let turn = descriptor.turn.clone().unwrap();
        let held = turn.0.lock().unwrap();
        assert_eq!(descriptor.write_once(&[IoSlice::new(b"x\n")]), Err(Errno::AGAIN));
        drop(held);
        assert_eq!(descriptor.write_once(&[IoSlice::new(b"x\n")]), Ok(2));
    }

    /// A pipe that somebody else made non-blocking takes a part of a line.
    #[test]
    fn a_line_that_was_written_in_part_is_ended_before_another_writes() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let filler = File::from(OwnedFd::from(writer.try_clone().unwrap()));
        #[allow(clippy::disallowed_methods, reason = "a description of the test's own")]
        rustix::fs::fcntl_setfl(&filler, rustix::fs::OFlags::NONBLOCK).unwrap();
        let one = Descriptor::in_turns(File::from(OwnedFd::from(writer)));
        let other = one.try_clone().unwrap();
        let mut drain = || {
            let mut bytes = vec![0; 1024 * 1024];
            let count = std::io::Read::read(&mut reader, &mut bytes).unwrap();
            bytes.truncate(count);
            bytes
        };
        let line = [vec![b'a'; 200_000], b"\n".to_vec()].concat();
        for writes_whole in [true, false] {
            let begun = one.write_once(&[IoSlice::new(&line)]).unwrap();
            assert!(begun < line.len());
            assert_eq!(drain(), line[..begun]);
            if writes_whole {
                other.write_line(b"other\n", &mut false).unwrap();
            } else {
                assert_eq!(other.write_once(&[IoSlice::new(b"other\n")]), Ok(6));
            }
            assert_eq!(one.write_once(&[IoSlice::new(b"aaa\n")]), Ok(4), "the rest");
            assert_eq!(other.write_once(&[IoSlice::new(b"next\n")]), Ok(5));
            assert_eq!(drain(), b"\nother\naaa\nnext\n");
        }
        // Nobody else has written: nothing is put between.
        let begun = one.write_once(&[IoSlice::new(&line)]).unwrap();
        assert_eq!(drain(), line[..begun]);
        assert_eq!(one.write_once(&[IoSlice::new(b"a\n")]), Ok(2));
        assert_eq!(drain(), b"a\n");
    }

    #[test]
    fn a_line_that_did_not_fit_is_not_glued_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let file = File::create(&path).unwrap();
        let mut is_begun = false;
        write_whole(&file, b"first\n", &mut is_begun).unwrap();
        // As after a write that got no further than this.
        write_whole(&file, b"sec", &mut is_begun).unwrap();
        is_begun = true;
        write_whole(&file, b"third\n", &mut is_begun).unwrap();
        write_whole(&file, b"fourth\n", &mut is_begun).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"first\nsec\nthird\nfourth\n");
    }
}
