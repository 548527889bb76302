//! Kernel files: opened once below an injected root, read again and again with `pread` into one buffer.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::fixed;

/// Room for the longest file read here: /proc/stat of a guest with hundreds of CPUs.
const BUFFER_BYTES: usize = 64 * 1024;

/// More than any file has that is read off the sample path; mountinfo with thousands of mounts is the longest.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// A seq_file hands out whole records, a page at a time. When less than this came, the last record was among them.
const SURELY_LAST_BYTES: usize = 3072;

/// Where `/proc` and `/sys` are looked for: `/`, or the folder of a captured tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The root of this machine, or of a captured tree.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// Where `path`, as the guest names it, really is.
    #[must_use]
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Reads a whole file, off the sample path.
    ///
    /// # Errors
    /// What the system said.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, Trouble> {
        let mut text = Vec::new();
        let file = open(&self.join(path))?;
        file.take(MOST_BYTES + 1).read_to_end(&mut text).map_err(|error| Trouble::of_io(&error))?;
        if u64::try_from(text.len()).is_ok_and(|len| len > MOST_BYTES) { Err(Trouble::Garbled) } else { Ok(text) }
    }

    /// Whether this is the machine's own root.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0 == Path::new("/")
    }
}

/// Why there is no reading. That a reading is zero is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// This guest does not have it: no such file, the kernel lacks it, the cgroup is gone.
    Absent(Errno),
    /// It is there, and the probe may not read it.
    Denied(Errno),
    /// It is there and reading failed.
    Broken(Errno),
    /// It was read and is not what it should be.
    Garbled,
    /// The call has not come back.
    Hung,
}

impl Trouble {
    /// The thread that makes the call could not be started.
    pub const NO_THREAD: Self = Self::Broken(Errno::AGAIN);

    /// What an error of open or read means.
    #[must_use]
    pub fn of(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NODEV | Errno::NXIO | Errno::OPNOTSUPP | Errno::NOTDIR => Self::Absent(errno),
            Errno::ACCESS | Errno::PERM => Self::Denied(errno),
            _ => Self::Broken(errno),
        }
    }

    /// The same of an error of the standard library.
    #[must_use]
    pub fn of_io(error: &std::io::Error) -> Self {
        Self::of(Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// Whether there is no such file at all.
    #[must_use]
    pub fn is_no_file(self) -> bool {
        matches!(self, Self::Absent(Errno::NOENT | Errno::NOTDIR))
    }

    /// Whether it is what reading a file of a process says after the process has ended.
    #[must_use]
    pub fn is_process_gone(self) -> bool {
        matches!(self, Self::Broken(Errno::SRCH))
    }

    /// In words, as `degraded` lines have it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Absent(Errno::NOENT | Errno::NOTDIR) => "absent: no such file",
            Self::Absent(Errno::NODEV | Errno::NXIO) => "absent: gone",
            Self::Absent(_) => "absent: switched off in the kernel",
            Self::Denied(_) => "denied",
            Self::Broken(Errno::IO) => "broken: input/output error",
            Self::Broken(Errno::MFILE | Errno::NFILE) => "broken: too many open files",
            Self::Broken(Errno::NOMEM) => "broken: out of memory",
            Self::Broken(Errno::ISDIR) => "broken: is a directory",
            Self::Broken(Errno::LOOP) => "broken: too many links",
            Self::Broken(Errno::SPIPE) => "broken: is a pipe",
            Self::Broken(Errno::TIME) => "broken: ran too long without a pause",
            Self::Broken(Errno::AGAIN) => "broken: no thread to be had",
            Self::Broken(_) => "broken: read error",
            Self::Garbled => "broken: not understood",
            Self::Hung => "broken: the call hangs",
        }
    }
}

/// KiB a page on this machine, of which the kernel counts memory in tables and in `/proc/PID`.
#[must_use]
pub fn page_kb() -> u64 {
    u64::try_from(rustix::param::page_size() / 1024).unwrap_or(u64::MAX)
}

/// Opens without waiting: in a captured tree anything can stand in a file's place, a FIFO too.
fn open(path: &Path) -> Result<File, Trouble> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    File::options().read(true).custom_flags(flags).open(path).map_err(|error| Trouble::of_io(&error))
}

/// The one buffer that all files are read into.
#[derive(Debug)]
pub struct Buffer(Vec<u8>);

impl Default for Buffer {
    fn default() -> Self {
        let mut room = fixed::resident(BUFFER_BYTES);
        room.resize(BUFFER_BYTES, 0);
        Self(room)
    }
}

/// A file that is kept open.
#[derive(Debug)]
pub struct KernelFile {
    path: PathBuf,
    file: Result<File, Trouble>,
}

impl KernelFile {
    /// Opens a file by its path in the guest; that it could not be opened is told by [`KernelFile::read`].
    #[must_use]
    pub fn open(root: &Root, path: impl AsRef<Path>) -> Self {
        let path = root.join(path);
        let file = open(&path);
        Self { path, file }
    }

    /// A file that this guest does not have, or that could not be looked for.
    #[must_use]
    pub fn unavailable(trouble: Option<Trouble>) -> Self {
        Self { path: PathBuf::new(), file: Err(trouble.unwrap_or(Trouble::Absent(Errno::NOENT))) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.file.is_ok()
    }

    /// The descriptor, to wait for.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().ok().map(File::as_fd)
    }

    /// Whether it is there and could not be opened.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self.file, Err(Trouble::Broken(_)))
    }

    /// Reads its whole lines from its beginning. A file too long for the buffer is cut behind its last whole line.
    ///
    /// # Errors
    /// Why it could not be opened or read.
    pub fn read<'b>(&self, buffer: &'b mut Buffer) -> Result<&'b [u8], Trouble> {
        let file = self.file.as_ref().map_err(|trouble| *trouble)?;
        let mut filled = 0;
        loop {
            let room = buffer.0.get_mut(filled..).unwrap_or_default();
            let offset = u64::try_from(filled).unwrap_or(u64::MAX);
            let count =
                rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *room, offset)).map_err(Trouble::of)?;
            filled += count;
            if count < SURELY_LAST_BYTES {
                return Ok(whole_lines(buffer.0.get(..filled).unwrap_or_default()));
            }
        }
    }
}

/// All but a last line without its newline: the kernel ends every line, so that one was cut, and half a number is
/// another number.
#[must_use]
pub fn whole_lines(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join("proc/file"), content).unwrap();
        let file = KernelFile::open(&Root::new(dir.path().to_owned()), "/proc/file");
        file.read(&mut Buffer::default()).unwrap().to_vec()
    }

    #[test]
    fn a_file_is_read_whole_and_a_long_one_to_its_last_line() {
        for lines in [0, 1, SURELY_LAST_BYTES / 16, SURELY_LAST_BYTES / 16 + 1, SURELY_LAST_BYTES] {
            let content = b"15 and a newline\n".repeat(lines);
            assert_eq!(read(&content), content);
            assert_eq!(read(&[&content[..], b"cut in the mid"].concat()), content);
        }
        let long = b"a line of 16 bytes\n".repeat(BUFFER_BYTES / 16);
        let kept = read(&long);
        assert!(kept.len() <= BUFFER_BYTES && kept.len() > BUFFER_BYTES - 20 && kept.ends_with(b"\n"));
        assert_eq!(read(&[b'x'; 2 * BUFFER_BYTES]), b"");
    }

    #[test]
    fn a_page_is_of_a_size_that_there_is() {
        assert!([4, 8, 16, 64].contains(&page_kb()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn troubles_are_told_apart() {
        let root = Root::new("/".into());
        let trouble = |path| KernelFile::open(&root, path).read(&mut Buffer::default()).unwrap_err();
        assert_eq!(trouble("/proc/no-such-file"), Trouble::Absent(Errno::NOENT));
        assert_eq!(trouble("/proc/self"), Trouble::Broken(Errno::ISDIR));
        assert_eq!(Trouble::of(Errno::OPNOTSUPP), Trouble::Absent(Errno::OPNOTSUPP));
        assert_eq!(Trouble::of(Errno::ACCESS), Trouble::Denied(Errno::ACCESS));
    }
}
