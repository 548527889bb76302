//! The hub's own stdout: the log of its Pod.
//!
//! One thread writes, and blocks when nobody reads: what came meanwhile goes out in one write. A line is out when the kernel
//! has taken all of it. While a write hangs, nothing more is taken; what was handed in goes out when the reader comes back.
//!
//! Where it is a file and the disk is full, what was written of a request that is not out is cut off again: half a line would
//! be read for a whole one, and the whole ones come again. Where that cannot be, the half line is ended before the next.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::queue::{Closing, Job, Queue};
use super::{Placed, RECV_BYTES, Stuck};

/// The most that one write is made of.
const WRITE_BYTES: usize = 256 * 1024;

/// The stdout, and the thread that writes to it.
#[derive(Debug)]
pub struct Stdout {
    queue: Closing<Vec<Arc<Placed>>>,
    file: Arc<File>,
}

impl Stdout {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(file: File) -> io::Result<Self> {
        let (queue, file) = (Queue::new(), Arc::new(file));
        let mut writer = Writer { is_torn: may_be_torn(&file), file: Arc::clone(&file), bytes: Vec::new() };
        let jobs = Arc::clone(&queue);
        std::thread::Builder::new().name("stdout".to_owned()).spawn(move || writer.run(&jobs))?;
        Ok(Self { queue: Closing(queue), file })
    }

    /// Brings lines out; see [`super::Out::put`].
    ///
    /// # Errors
    /// When stdout hangs or fails.
    pub async fn put(&self, lines: &[Arc<Placed>]) -> Result<(), Stuck> {
        self.health()?;
        self.queue.0.run(lines.to_vec()).await
    }

    /// Whether lines can go out now.
    ///
    /// # Errors
    /// When a write hangs, or nobody will ever read.
    pub fn health(&self) -> Result<(), Stuck> {
        if self.queue.0.hangs() {
            return Err(Stuck("stdout: nobody reads it".to_owned()));
        }
        let mut fds = [PollFd::new(&*self.file, PollFlags::empty())];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let is_polled = poll(&mut fds, Some(&now)).is_ok();
        if is_polled && fds.iter().any(|fd| fd.revents().intersects(PollFlags::ERR)) {
            return Err(Stuck("stdout: its reader is gone".to_owned()));
        }
        Ok(())
    }

    /// For how long it has been at the write that it is at.
    #[must_use]
    pub fn busy_for(&self) -> Duration {
        self.queue.0.busy_for()
    }
}

struct Writer {
    file: Arc<File>,
    /// What stands there may end inside a line.
    is_torn: bool,
    /// What one write is made of. Requests that wait hold their lines only: many do at once.
    bytes: Vec<u8>,
}

impl Writer {
    fn run(&mut self, jobs: &Queue<Vec<Arc<Placed>>>) {
        let forever = Duration::from_hours(24);
        loop {
            let mut room = WRITE_BYTES;
            let fits = |lines: &Vec<Arc<Placed>>| {
                let bytes = lines.iter().map(|placed| placed.line.len() + RECV_BYTES).sum();
                let fits = bytes <= room;
                room = room.saturating_sub(bytes);
                fits
            };
            match jobs.take(forever, fits) {
                None => return,
                Some(jobs) => self.write(jobs),
            }
        }
    }

    /// Writes jobs in one write, and tells each whether it is out.
    fn write(&mut self, jobs: Vec<Job<Vec<Arc<Placed>>>>) {
        let bytes = &mut self.bytes;
        bytes.clear();
        // What stands there of a torn line is ended, so that it does not mix with the next.
        if self.is_torn {
            bytes.push(b'\n');
        }
        let ends = jobs.into_iter().map(|Job { work, done }| {
            work.iter().for_each(|placed| placed.write_to(bytes));
            (bytes.len(), done)
        });
        let ends: Vec<_> = ends.collect();
        let (written, failed) = write_all(&self.file, bytes);
        let mut out = 0;
        for (end, done) in ends {
            let told = match &failed {
                Some(error) if end > written => Err(Stuck(format!("stdout: {error}"))),
                _ => Ok(()),
            };
            if told.is_ok() {
                out = end;
            }
            // Whoever asked may have gone.
            let _ = done.send(told);
        }
        let stands = if written > out && cut_off(&self.file, written - out).is_ok() { out } else { written };
        if let Some(last) = bytes.get(..stands).and_then(<[u8]>::last) {
            self.is_torn = *last != b'\n';
        }
    }
}

/// How much was written, and why no more. Its flags are left alone: a stdout that does not block is waited for.
fn write_all(mut file: &File, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(file, PollFlags::OUT)], None);
            }
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// Cuts off the last bytes that were written, where it is a file that nobody else has written to since.
fn cut_off(mut file: &File, bytes: usize) -> io::Result<()> {
    let meta = file.metadata()?;
    // Behind what was written, also where it was opened to append.
    let end = file.stream_position()?;
    let whole = u64::try_from(bytes).ok().and_then(|bytes| end.checked_sub(bytes));
    match whole {
        Some(whole) if meta.is_file() && meta.len() == end => {
            file.set_len(whole)?;
            file.seek(SeekFrom::Start(whole)).map(drop)
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Whether it is a file that ends inside a line, or may: who wrote to it before may have been killed.
fn may_be_torn(file: &File) -> bool {
    let Ok(meta) = file.metadata() else { return false };
    if !meta.is_file() || meta.len() == 0 {
        return false;
    }
    // It is open for writing only: its last byte is read through another description.
    let mut last = [0];
    let reader = File::open(format!("/dev/fd/{}", file.as_raw_fd()));
    let is_read = reader.and_then(|reader| reader.read_exact_at(&mut last, meta.len() - 1)).is_ok();
    !(is_read && last == [b'\n'])
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead as _, BufReader};
    use std::time::SystemTime;

    use super::super::super::auth::Sender;
    use super::*;

    fn placed(line: &str) -> Arc<Placed> {
        let sender = Arc::new(Sender { name: "a".to_owned(), fleet: None });
        let at = SystemTime::UNIX_EPOCH;
        Arc::new(Placed { sender, received_at: at, at: None, line: format!("T ts= run=k3x9 seq={line}") })
    }

    #[tokio::test]
    async fn a_pipe_that_is_not_read_holds_lines_and_loses_none() {
        let (reader, writer) = io::pipe().unwrap();
        let stdout = Arc::new(Stdout::start(File::from(std::os::fd::OwnedFd::from(writer))).unwrap());
        let lines: Vec<Arc<Placed>> = (0..100).map(|i| placed(&format!("{i} x={}", "x".repeat(2000)))).collect();
        let hanging = tokio::spawn({
            let stdout = Arc::clone(&stdout);
            async move { stdout.put(&lines).await }
        });
        while stdout.health().is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(stdout.put(&[placed("1000")]).await, Err(Stuck("stdout: nobody reads it".to_owned())));
        let mut lines = BufReader::new(reader).lines();
        for i in 0..100 {
            assert!(lines.next().unwrap().unwrap().starts_with(&format!("T ts= run=k3x9 seq={i} recv=")));
        }
        assert_eq!(hanging.await.unwrap(), Ok(()));
        // It tells before it takes the next.
        while stdout.health().is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(stdout.put(&[placed("1001")]).await, Ok(()));
        assert!(lines.next().unwrap().unwrap().contains("seq=1001 "));
    }

    #[tokio::test]
    async fn a_reader_that_went_is_told() {
        let (reader, writer) = io::pipe().unwrap();
        let stdout = Stdout::start(File::from(std::os::fd::OwnedFd::from(writer))).unwrap();
        drop(reader);
        assert_eq!(stdout.health(), Err(Stuck("stdout: its reader is gone".to_owned())));
        assert!(stdout.put(&[placed("1")]).await.is_err());
    }

    /// A file with this in it, open as a shell opens it for `>` and for `>>`.
    fn files_with(text: &str) -> [(tempfile::NamedTempFile, File); 2] {
        [false, true].map(|is_appended| {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut stdout = File::options().write(true).append(is_appended).open(file.path()).unwrap();
            stdout.write_all(text.as_bytes()).unwrap();
            (file, stdout)
        })
    }

    #[test]
    fn what_is_not_out_is_cut_off_a_file() {
        for (file, mut stdout) in files_with("whole\nhal") {
            cut_off(&stdout, 3).unwrap();
            stdout.write_all(b"next\n").unwrap();
            assert_eq!(fs::read_to_string(file.path()).unwrap(), "whole\nnext\n");
            assert!(cut_off(&stdout, 100).is_err(), "no more than there is");
            File::options().append(true).open(file.path()).unwrap().write_all(b"another's\n").unwrap();
            assert!(cut_off(&stdout, 1).is_err(), "and nothing of others");
        }
        assert!(cut_off(&File::options().write(true).open("/dev/null").unwrap(), 1).is_err());
    }

    #[tokio::test]
    async fn a_file_that_ends_inside_a_line_is_gone_on_with_in_a_new_one() {
        for (before, between) in [("", ""), ("whole\n", ""), ("whole\nhal", "\n"), ("hal", "\n")] {
            for (file, stdout) in files_with(before) {
                let stdout = Stdout::start(stdout).unwrap();
                assert_eq!(stdout.put(&[placed("1")]).await, Ok(()));
                assert_eq!(stdout.put(&[placed("2")]).await, Ok(()));
                let text = fs::read_to_string(file.path()).unwrap();
                let lines = text.strip_prefix(&format!("{before}{between}")).unwrap();
                assert!(lines.starts_with("T ts=") && lines.lines().count() == 2, "{text}");
            }
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_told() {
        let stdout = Stdout::start(File::options().write(true).open("/dev/full").unwrap()).unwrap();
        let told = stdout.put(&[placed("1")]).await.unwrap_err();
        assert!(told.0.starts_with("stdout: No space left"), "{told:?}");
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let (reader, writer) = io::pipe().unwrap();
        let file = Arc::new(File::from(std::os::fd::OwnedFd::from(writer)));
        let mut writer = Writer { file, is_torn: true, bytes: Vec::new() };
        let (done, told) = tokio::sync::oneshot::channel();
        writer.write(vec![Job { work: vec![placed("1")], done }]);
        assert_eq!(told.blocking_recv().unwrap(), Ok(()));
        drop(writer);
        let lines: Vec<String> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        assert!(lines.len() == 2 && lines[0].is_empty() && lines[1].starts_with("T ts= run=k3x9 seq=1 "), "{lines:?}");
    }
}
