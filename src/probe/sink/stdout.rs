//! Lines to stdout, which may be a pipe that the job fills too, and whose reader may have stopped reading.
//!
//! The descriptor is shared with the job, so it is never set to non-blocking. A pipe or socket is written with
//! `RWF_NOWAIT`, a flag of the one call. Anything else (a terminal, a file), or a kernel without that flag (pipes
//! have it since 6.4; macOS has none), gets a thread that may block in its place; the sampler hands it the bytes through a pipe of
//! our own. Either way what cannot be written waits in a bounded queue; when that is full the oldest lines go, and
//! are counted.

mod descriptor;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::time::Timespec;

use super::system;
use crate::line::MAX_LINE_BYTES;
use crate::probe::fixed;
use crate::probe::protect::Priority;

pub use self::descriptor::Descriptor;

/// What waits at most: some minutes of lines.
const QUEUE_BYTES: usize = 64 * 1024;

/// How long to leave a pipe alone that others keep full.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// How often the end looks whether all is out.
const FINISH_STEP: Duration = Duration::from_millis(1);

/// The relay holds one line and its path through `write`.
const STACK_BYTES: usize = 64 * 1024;

/// What has to happen before lines that wait can be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Nothing waits.
    Nothing,
    /// So much time has to pass: others keep the pipe full.
    Rest(Duration),
    /// There has to be room.
    Room,
}

/// Nobody reads it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Stdout, or a stand-in for it.
#[derive(Debug)]
pub struct Stdout {
    out: Out,
    queue: VecDeque<u8>,
    /// Of the first line in the queue, so much is already written.
    begun_bytes: usize,
    dropped: u64,
    /// A line was cut and its end is still to come.
    owes_newline: bool,
    not_before: Option<Instant>,
    /// That of a thread that writes in the sampler's place.
    priority: Priority,
}

#[derive(Debug)]
enum Out {
    /// A pipe or socket, written without waiting.
    Direct(Descriptor),
    /// A pipe of our own to the thread that writes, and how many lines were put into it.
    Relay { pipe: OwnedFd, handed: u64, shared: Arc<Shared>, thread: JoinHandle<()> },
    /// No thread could be had: better to risk a wait than to say nothing.
    Waiting(Descriptor),
}

/// What the relay and the sampler tell each other.
#[derive(Debug, Default)]
struct Shared {
    /// Lines that were written.
    written: AtomicU64,
    /// Lines that could not be.
    lost: AtomicU64,
    /// The relay, once it runs, and how it is to stand in the CPU queue: whoever comes second sees both.
    standing: Mutex<(Option<Pid>, Priority)>,
}

impl Stdout {
    /// Takes a descriptor to write lines to.
    ///
    /// # Errors
    /// When it cannot be looked at, or is not open for writing.
    pub fn new(descriptor: impl Into<Descriptor>) -> std::io::Result<Self> {
        let file = descriptor.into();
        if rustix::fs::fcntl_getfl(&file)? & OFlags::ACCMODE == OFlags::RDONLY {
            return Err(std::io::Error::other("stdout is not open for writing"));
        }
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        let out = match kind {
            FileType::Fifo | FileType::Socket => Out::Direct(file),
            _ => Out::relay(&file, Priority::Ordinary).unwrap_or(Out::Waiting(file)),
        };
        Ok(Self {
            out,
            queue: VecDeque::from(fixed::resident(QUEUE_BYTES)),
            begun_bytes: 0,
            dropped: 0,
            owes_newline: false,
            not_before: None,
            priority: Priority::Ordinary,
        })
    }

    /// Gives a thread that writes in the sampler's place, now or later, the sampler's standing in the CPU queue: a line
    /// that waits for a starved thread is as good as none.
    pub fn hurry(&mut self, priority: Priority) {
        self.priority = priority;
        if let Out::Relay { shared, .. } = &self.out {
            shared.stand(|(_, wanted)| *wanted = priority);
        }
    }

    /// Writes a line, now or as soon as there is room. Never waits.
    ///
    /// # Errors
    /// [`Closed`] when nobody reads any more.
    pub fn write(&mut self, line: &[u8]) -> Result<(), Closed> {
        while self.queue.len() + line.len() > QUEUE_BYTES && self.drop_oldest() {}
        self.queue.extend(line);
        self.flush()
    }

    /// Writes what waits, as far as there is room.
    ///
    /// # Errors
    /// [`Closed`] when nobody reads any more.
    pub fn flush(&mut self) -> Result<(), Closed> {
        self.not_before = None;
        while !self.queue.is_empty() {
            let end = self.line_end(0);
            let [front, back] = parts(self.queue.as_slices(), self.begun_bytes, end);
            let owed: &[u8] = if self.owes_newline { b"\n" } else { b"" };
            let written = self.out.write(&[owed, front, back].map(IoSlice::new)).map(|count| {
                self.owes_newline &= count == 0;
                count.saturating_sub(owed.len())
            });
            match written {
                Ok(count) if self.begun_bytes + count < end => self.begun_bytes += count,
                Ok(_) => {
                    self.forget_first(end);
                    if let Out::Relay { handed, .. } = &mut self.out {
                        *handed += 1;
                    }
                }
                Err(Errno::AGAIN) => {
                    self.not_before = Some(Instant::now() + RETRY_AFTER);
                    return Ok(());
                }
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN | Errno::BADF) => return Err(Closed),
                Err(errno) => self.failed(errno, end)?,
            }
        }
        Ok(())
    }

    /// Writes what waits, until it is out or the time is up. Gives whether every line is out.
    pub fn finish(mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let is_over = || Instant::now() >= deadline;
        while self.flush().is_ok() && self.has_pending() && !is_over() {
            std::thread::sleep(FINISH_STEP);
        }
        let mut is_out = !self.has_pending() && self.dropped == 0;
        if let Out::Relay { pipe, handed, shared, thread } = self.out {
            // The relay ends once it has read and written all that was in the pipe.
            drop(pipe);
            while !thread.is_finished() && !is_over() {
                std::thread::sleep(FINISH_STEP);
            }
            is_out &= thread.is_finished() && shared.written.load(Ordering::Relaxed) == handed;
        }
        is_out
    }

    /// Lines that could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        match &self.out {
            Out::Direct(_) | Out::Waiting(_) => self.dropped,
            Out::Relay { shared, .. } => self.dropped + shared.lost.load(Ordering::Relaxed),
        }
    }

    /// Lines that nobody gets once nobody reads any more: those that could not be written, and those that waited.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        let waiting = self.queue.iter().filter(|byte| **byte == b'\n').count();
        let at_relay = match &self.out {
            Out::Direct(_) | Out::Waiting(_) => 0,
            Out::Relay { handed, shared, .. } => handed.saturating_sub(shared.settled()),
        };
        self.dropped() + u64::try_from(waiting).unwrap_or(u64::MAX) + at_relay
    }

    /// Whether lines wait.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.queue.is_empty()
    }

    /// What to wait for: room where lines wait, and in any case that the reader goes away.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.out {
            Out::Direct(file) | Out::Waiting(file) => file.as_fd(),
            Out::Relay { pipe, .. } => pipe.as_fd(),
        }
    }

    /// What to do about lines that wait.
    #[must_use]
    pub fn wants(&self) -> Wants {
        let rest = self.not_before.and_then(|at| at.checked_duration_since(Instant::now()));
        match rest.filter(|rest| !rest.is_zero()) {
            _ if !self.has_pending() => Wants::Nothing,
            Some(rest) => Wants::Rest(rest),
            None => Wants::Room,
        }
    }

    fn failed(&mut self, errno: Errno, first_line_bytes: usize) -> Result<(), Closed> {
        match (errno, &self.out) {
            // This kernel cannot write here without waiting.
            (Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM, Out::Direct(file)) => {
                let waiting = || file.try_clone().map(Out::Waiting).map_err(|_| Closed);
                self.out = Out::relay(file, self.priority).or_else(|_| waiting())?;
            }
            _ => {
                // What is out of it is not to be glued to the next line.
                self.owes_newline |= self.begun_bytes > 0;
                self.forget_first(first_line_bytes);
                self.dropped += 1;
            }
        }
        Ok(())
    }

    /// The place behind the first newline from `start` on.
    fn line_end(&self, start: usize) -> usize {
        let newline = self.queue.iter().skip(start).position(|byte| *byte == b'\n');
        newline.map_or(self.queue.len(), |at| start + at + 1)
    }

    fn forget_first(&mut self, bytes: usize) {
        self.queue.drain(..bytes);
        self.begun_bytes = 0;
    }

    /// Makes room; a line that has been begun stays, or its rest would be glued to the next.
    fn drop_oldest(&mut self) -> bool {
        let begun = if self.begun_bytes > 0 { self.line_end(0) } else { 0 };
        let end = self.line_end(begun);
        self.queue.drain(begun..end);
        self.dropped += u64::from(end > begun);
        end > begun
    }
}

impl Out {
    fn write(&self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        rustix::io::retry_on_intr(|| match self {
            Self::Direct(file) => system::write_without_waiting(file.file(), parts),
            Self::Relay { pipe, .. } => rustix::io::writev(pipe, parts),
            // Another writer can take the room before we do: a wait that cannot be had without a thread is the lesser evil.
            Self::Waiting(file) if has_room(file.as_fd()) => file.write_once(parts),
            Self::Waiting(_) => Err(Errno::AGAIN),
        })
    }

    fn relay(file: &Descriptor, priority: Priority) -> std::io::Result<Self> {
        let file = file.try_clone()?;
        // Ours alone, unlike the descriptor that it stands in for, so it may be non-blocking.
        let (reader, pipe) = system::own_pipe()?;
        let shared = Arc::new(Shared { standing: Mutex::new((None, priority)), ..Shared::default() });
        let of_thread = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("stdout".to_owned()).stack_size(STACK_BYTES);
        let thread = builder.spawn(move || {
            of_thread.stand(|(thread, _)| *thread = Some(system::own_thread()));
            relay(&reader, &file, &of_thread);
        })?;
        Ok(Self::Relay { pipe, handed: 0, shared, thread })
    }
}

impl Shared {
    /// Lines that the relay is done with.
    fn settled(&self) -> u64 {
        self.written.load(Ordering::Relaxed) + self.lost.load(Ordering::Relaxed)
    }

    /// Changes the one or the other, and gives the thread its standing when both are there.
    fn stand(&self, change: impl FnOnce(&mut (Option<Pid>, Priority))) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut standing);
        if let (Some(thread), priority) = *standing {
            // Without it lines are late in a starved guest, and that is all.
            let _ = priority.give(thread);
        }
    }
}

/// The bytes `from..to` of a queue that lies in two pieces.
fn parts<'q>((front, back): (&'q [u8], &'q [u8]), from: usize, to: usize) -> [&'q [u8]; 2] {
    let len = front.len();
    let of_front = front.get(from.min(len)..to.min(len));
    let of_back = back.get(from.saturating_sub(len)..to.saturating_sub(len));
    [of_front.unwrap_or_default(), of_back.unwrap_or_default()]
}

/// Writes line by line what comes through the pipe, until it ends or nobody reads stdout any more.
fn relay(pipe: &OwnedFd, file: &Descriptor, shared: &Shared) {
    let is_terminal = rustix::termios::isatty(file);
    let mut is_begun = false;
    let mut chunk = [0; MAX_LINE_BYTES];
    let mut waiting = Vec::with_capacity(2 * MAX_LINE_BYTES);
    loop {
        let count = match rustix::io::read(pipe, &mut chunk) {
            Ok(0) => {
                // What a serial port has not sent is lost when the last who holds it ends. The end waits for this thread, but
                // not for long.
                if is_terminal {
                    let _ = rustix::termios::tcdrain(file);
                }
                return;
            }
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => {
                wait(pipe.as_fd(), PollFlags::IN);
                continue;
            }
            Err(_) => return,
        };
        waiting.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let whole = waiting.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in waiting.get(..whole).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            match file.write_line(line, &mut is_begun) {
                Ok(()) => _ = shared.written.fetch_add(1, Ordering::Relaxed),
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN | Errno::BADF) => return,
                // The terminal has hung up.
                Err(Errno::IO) if is_terminal => return,
                Err(_) => _ = shared.lost.fetch_add(1, Ordering::Relaxed),
            }
        }
        waiting.drain(..whole);
    }
}

fn has_room(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    rustix::event::poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

fn wait(fd: BorrowedFd<'_>, flags: PollFlags) {
    // However this ends, the caller tries again and sees.
    let _ = rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, flags)], None);
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead as _, BufReader, Read as _};

    use super::*;

    fn pipe() -> (std::io::PipeReader, Stdout) {
        let (reader, writer) = std::io::pipe().unwrap();
        (reader, Stdout::new(File::from(OwnedFd::from(writer))).unwrap())
    }

    /// What systemd gives its services.
    fn socket() -> (std::io::PipeReader, Stdout) {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let stdout = Stdout::new(File::from(OwnedFd::from(writer))).unwrap();
        (std::io::PipeReader::from(OwnedFd::from(reader)), stdout)
    }

    /// A stdout that has to go through the relay, as on a kernel without `RWF_NOWAIT` for pipes.
    fn relayed() -> (std::io::PipeReader, Stdout) {
        let (reader, mut stdout) = pipe();
        let Out::Direct(file) = &stdout.out else { panic!("a pipe is written directly") };
        stdout.out = Out::relay(file, Priority::Ordinary).unwrap();
        (reader, stdout)
    }

    fn line(number: u64) -> Vec<u8> {
        format!("RUNNER_VITALS seq={number} {}\n", "x".repeat(400)).into_bytes()
    }

    #[test]
    fn lines_come_out_in_order() {
        for (reader, mut stdout) in [pipe(), relayed(), socket()] {
            (1..=3).for_each(|number| stdout.write(&line(number)).unwrap());
            stdout.finish(Duration::from_secs(10));
            let expected = [line(1), line(2), line(3)].concat();
            assert_eq!(BufReader::new(reader).bytes().collect::<Result<Vec<u8>, _>>().unwrap(), expected);
        }
    }

    #[test]
    fn a_stalled_reader_costs_the_oldest_lines_and_no_time() {
        const LINES: u64 = 2000;
        for (reader, mut stdout) in [pipe(), relayed()] {
            let began = Instant::now();
            (1..=LINES).for_each(|number| stdout.write(&line(number)).unwrap());
            // A wait of a millisecond a line would make it two seconds.
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            assert!(stdout.has_pending());
            let dropped = stdout.dropped();
            assert!(dropped > 0);
            let drain =
                std::thread::spawn(move || BufReader::new(reader).lines().collect::<Result<Vec<_>, _>>().unwrap());
            stdout.finish(Duration::from_secs(10));
            let lines = drain.join().unwrap();
            assert_eq!(lines.len() as u64 + dropped, LINES);
            assert!(lines.iter().all(|line| line.starts_with("RUNNER_VITALS seq=") && line.ends_with("xxx")));
            assert!(lines.last().unwrap().contains(&format!("seq={LINES} ")), "the newest stays");
        }
    }

    #[test]
    fn without_a_thread_a_full_pipe_is_still_not_waited_for() {
        let (_reader, mut stdout) = pipe();
        let Out::Direct(file) = &stdout.out else { panic!("a pipe is written directly") };
        stdout.out = Out::Waiting(file.try_clone().unwrap());
        (1..=1000).for_each(|number| stdout.write(&line(number)).unwrap());
        assert!(stdout.has_pending() && stdout.dropped() > 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_pipe_is_left_alone_and_then_waited_for() {
        let (reader, mut stdout) = pipe();
        assert_eq!(stdout.wants(), Wants::Nothing);
        (1..=200).for_each(|number| stdout.write(&line(number)).unwrap());
        assert!(matches!(stdout.wants(), Wants::Rest(rest) if rest <= RETRY_AFTER));
        stdout.not_before = Some(Instant::now());
        assert_eq!(stdout.wants(), Wants::Room);
        drop(reader);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_description_stays_blocking() {
        let (_reader, mut stdout) = pipe();
        stdout.write(b"a\n").unwrap();
        let flags = rustix::fs::fcntl_getfl(stdout.fd()).unwrap();
        assert!(!flags.contains(OFlags::NONBLOCK));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_reader_that_went_away_is_told() {
        let (reader, mut stdout) = pipe();
        drop(reader);
        assert_eq!(stdout.write(b"a\n"), Err(Closed));
        let (reader, mut stdout) = relayed();
        drop(reader);
        let deadline = Instant::now() + Duration::from_secs(10);
        while stdout.write(b"a\n").is_ok() {
            assert!(Instant::now() < deadline, "the relay did not tell");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_nobody_got_is_counted_when_the_reader_goes() {
        const LINES: u64 = 1000;
        for (mut reader, mut stdout) in [pipe(), relayed()] {
            (1..=LINES).for_each(|number| stdout.write(&line(number)).unwrap());
            let mut some = vec![0; 10 * line(1).len()];
            reader.read_exact(&mut some).unwrap();
            let got = some.iter().filter(|byte| **byte == b'\n').count() as u64;
            drop(reader);
            let mut written = LINES;
            loop {
                written += 1;
                if stdout.write(&line(written)).is_err() {
                    break;
                }
                std::thread::yield_now();
            }
            let most_in_pipe = 64 * 1024 / line(1).len() as u64 + 1;
            let expected = written - got - most_in_pipe..=written - got;
            assert!(expected.contains(&stdout.given_up()), "{} of {written}, {got} were read", stdout.given_up());
            assert!(stdout.given_up() > stdout.dropped(), "there were lines that waited");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_costs_lines_that_are_counted() {
        let mut stdout = Stdout::new(File::options().write(true).open("/dev/full").unwrap()).unwrap();
        (1..=3).for_each(|number| stdout.write(&line(number)).unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        while stdout.dropped() < 3 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(stdout.dropped(), 3);
    }

    #[test]
    fn a_newline_that_is_owed_comes_with_the_next_line() {
        let (mut reader, mut stdout) = pipe();
        stdout.owes_newline = true;
        stdout.write(b"next\n").unwrap();
        stdout.write(b"and next\n").unwrap();
        drop(stdout);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "\nnext\nand next\n");
    }

    #[test]
    fn a_descriptor_that_cannot_be_written_is_refused() {
        assert!(Stdout::new(File::open("/dev/null").unwrap()).is_err());
    }

    #[test]
    fn a_line_that_was_begun_is_never_cut() {
        let (_reader, mut stdout) = pipe();
        stdout.queue.extend(b"begun\nsecond\nthird\n");
        stdout.begun_bytes = 2;
        assert!(stdout.drop_oldest() && stdout.drop_oldest() && !stdout.drop_oldest());
        assert_eq!(stdout.queue.make_contiguous(), b"begun\n");
        assert_eq!(stdout.dropped, 2);
    }

    #[test]
    fn two_pieces_are_cut_as_one() {
        for (from, to, expected) in
            [(0, 2, [&b"ab"[..], b""]), (1, 4, [b"bc", b"d"]), (3, 5, [b"", b"de"]), (4, 5, [b"", b"e"])]
        {
            assert_eq!(parts((b"abc", b"de"), from, to), expected, "{from}..{to}");
        }
    }
}
