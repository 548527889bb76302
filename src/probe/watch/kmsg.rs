//! Reads `/dev/kmsg`: one read, one record. Of a captured tree `dev/kmsg` is a file with a record a line.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::time::ClockId;

use crate::probe::fixed;
use crate::probe::kernel::{Root, Trouble};
use crate::probe::source::kmsg;

/// Major and minor number of the ring (`Documentation/admin-guide/devices.txt`).
const RING: (u32, u32) = (1, 11);

/// A shorter buffer makes the kernel eat the record and say EINVAL (`CONSOLE_EXT_LOG_MAX` was 8192 once).
const RECORD_BYTES: usize = 8192;

/// Records read at one wake-up, so that a flood of them never holds up a sample.
const RECORDS_A_WAKE: usize = 256;

/// How far back the first look goes.
const LOOK_BACK_US: u64 = 60_000_000;

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A record of the kernel.
    Record {
        /// The record, its text with escapes undone.
        text: &'a [u8],
        /// The kernel's clock when it was written.
        time_us: u64,
        /// Whether it was written before the run began.
        is_old: bool,
    },
    /// So many records were overwritten before they could be read.
    Lost(u64),
}

/// The kernel's message ring, kept open.
#[derive(Debug)]
pub struct Kmsg {
    from: From,
    /// Until the ring has once been read to its end, what comes is from before the run began; of that, what is older
    /// than this is passed over.
    look_back_to_us: Option<u64>,
    is_catching_up: bool,
    last_seq: Option<u64>,
    overran: bool,
    text: Vec<u8>,
}

#[derive(Debug)]
enum From {
    Device {
        file: File,
        record: Vec<u8>,
    },
    Capture {
        records: Vec<u8>,
        at: usize,
    },
    #[cfg(test)]
    Script(std::vec::IntoIter<Result<Vec<u8>, Errno>>, Vec<u8>),
}

impl Kmsg {
    /// Opens the ring, to look back one minute. `captured_at_us` is when a captured tree was taken, on the kernel's clock.
    ///
    /// # Errors
    /// That it is absent, denied, or something else than the ring.
    pub fn open(root: &Root, captured_at_us: Option<u64>) -> Result<Self, Trouble> {
        let io = |error: std::io::Error| Trouble::of(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let mut file = File::options().read(true).custom_flags(flags).open(root.join("/dev/kmsg")).map_err(io)?;
        if !root.is_live() {
            let mut records = Vec::new();
            file.read_to_end(&mut records).map_err(io)?;
            return Ok(Self::new(From::Capture { records, at: 0 }, captured_at_us));
        }
        // Containers get all sorts of things in its place, /dev/null and pipes among them.
        let device = file.metadata().map_err(io)?.rdev();
        if (rustix::fs::major(device), rustix::fs::minor(device)) != RING {
            return Err(Trouble::Absent(Errno::NODEV));
        }
        // The oldest record that the ring still has, so that the last minute can be looked through.
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        // printk's clock stands still in suspend, as the monotonic one does.
        let now = Duration::try_from(rustix::time::clock_gettime(ClockId::Monotonic)).unwrap_or_default();
        let now_us = u64::try_from(now.as_micros()).ok();
        Ok(Self::new(From::Device { file, record: resident_record() }, now_us))
    }

    fn new(from: From, now_us: Option<u64>) -> Self {
        let look_back_to_us = now_us.map(|now| now.saturating_sub(LOOK_BACK_US));
        let text = fixed::resident(RECORD_BYTES);
        Self { from, look_back_to_us, is_catching_up: true, last_seq: None, overran: false, text }
    }

    /// A ring whose reads are these; an EAGAIN is where it has nothing more for now.
    #[cfg(test)]
    pub(crate) fn scripted(reads: &[Result<&str, Errno>]) -> Self {
        let reads = reads.iter().map(|read| read.map(|text| text.as_bytes().to_vec()));
        Self::new(From::Script(reads.collect::<Vec<_>>().into_iter(), Vec::new()), Some(100_000_000))
    }

    /// What to wait for; `None` for a captured file, which is read at once.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.from {
            From::Device { file, .. } => Some(file.as_fd()),
            _ => None,
        }
    }

    /// What comes from now on is new, although the ring was not read to its end.
    pub fn end_look_back(&mut self) {
        self.is_catching_up = false;
    }

    /// Hands over what has come, oldest first; whether there may be more.
    ///
    /// # Errors
    /// That the ring cannot be read any more.
    pub fn read(&mut self, mut on: impl FnMut(Event<'_>)) -> Result<bool, Trouble> {
        for _ in 0..RECORDS_A_WAKE {
            let record = match self.from.next() {
                Ok(Some(record)) => record,
                Ok(None) => {
                    self.is_catching_up = false;
                    return Ok(false);
                }
                // The ring overran, or a record was longer than the buffer: the gap in the numbers counts it.
                Err(Errno::PIPE | Errno::INVAL) => {
                    self.overran = true;
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Trouble::of(errno)),
            };
            let Some(record) = kmsg::parse(record) else { continue };
            let missed = missed(self.last_seq, record.seq);
            if self.overran && missed > 0 {
                on(Event::Lost(missed));
            }
            self.overran = false;
            self.last_seq = Some(record.seq);
            // User space can write to the ring too, with another facility.
            let is_kernels = record.facility == 0;
            let is_too_old = self.is_catching_up && self.look_back_to_us.is_some_and(|to| record.time_us < to);
            if is_kernels && !is_too_old {
                kmsg::unescape(record.text, &mut self.text);
                on(Event::Record { text: &self.text, time_us: record.time_us, is_old: self.is_catching_up });
            }
        }
        Ok(true)
    }
}

impl From {
    /// The next record; `None` when there is none now.
    fn next(&mut self) -> Result<Option<&[u8]>, Errno> {
        match self {
            Self::Device { file, record } => match rustix::io::read(&*file, record.as_mut_slice()) {
                // A ring has no end.
                Ok(0) => Err(Errno::NODEV),
                Ok(count) => Ok(record.get(..count)),
                Err(Errno::AGAIN) => Ok(None),
                Err(errno) => Err(errno),
            },
            Self::Capture { records, at } => {
                let rest = records.get(*at..).filter(|rest| !rest.is_empty());
                let Some(rest) = rest else { return Ok(None) };
                let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
                *at += end;
                Ok(rest.get(..end))
            }
            #[cfg(test)]
            Self::Script(reads, record) => match reads.next() {
                None | Some(Err(Errno::AGAIN)) => Ok(None),
                Some(Err(errno)) => Err(errno),
                Some(Ok(bytes)) => {
                    *record = bytes;
                    Ok(Some(record))
                }
            },
        }
    }
}

fn resident_record() -> Vec<u8> {
    let mut record = fixed::resident(RECORD_BYTES);
    record.resize(RECORD_BYTES, 0);
    record
}

fn missed(last: Option<u64>, seq: u64) -> u64 {
    last.map_or(0, |last| seq.saturating_sub(last).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is handed over, until there is nothing more.
    fn told(kmsg: &mut Kmsg) -> Vec<String> {
        let mut told = Vec::new();
        let mut on = |event: Event<'_>| match event {
            Event::Record { text, is_old, .. } => {
                told.push(format!("{}{}", if is_old { "old " } else { "" }, String::from_utf8_lossy(text)));
            }
            Event::Lost(count) => told.push(format!("lost {count}")),
        };
        while kmsg.read(&mut on).unwrap() {}
        told
    }

    fn capture(records: &[u8], captured_at_us: Option<u64>) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("dev")).unwrap();
        std::fs::write(dir.path().join("dev/kmsg"), records).unwrap();
        told(&mut Kmsg::open(&Root::new(dir.path().to_owned()), captured_at_us).unwrap())
    }

    #[test]
    fn only_the_kernels_own_words_of_the_last_minute() {
        let records = b"6,1,1000000,-;too old\n6,2,50000000,-;a\n SUBSYSTEM=x\n14,3,99000000,-;user\ngarbage\n6,4,100000000,-;b\\x0ac";
        assert_eq!(capture(records, Some(100_000_000)), ["old a", "old b\nc"]);
        assert_eq!(capture(records, None), ["old too old", "old a", "old b\nc"], "no clock, no age");
    }

    #[test]
    fn what_comes_later_is_new_and_of_any_time() {
        let mut kmsg =
            Kmsg::scripted(&[Ok("6,1,1,-;too old"), Ok("6,2,90000000,-;a"), Err(Errno::AGAIN), Ok("6,3,2,-;b")]);
        assert_eq!(told(&mut kmsg), ["old a"]);
        // The kernel's clock need not be ours: the guest was suspended, or a container has a time of its own.
        assert_eq!(told(&mut kmsg), ["b"]);
    }

    #[test]
    fn an_overrun_is_counted() {
        let mut kmsg = Kmsg::scripted(&[
            Ok("6,1,99000000,-;a"),
            Err(Errno::PIPE),
            Ok("6,5,99000000,-;b"),
            Err(Errno::INVAL),
            Err(Errno::INTR),
            Ok("6,7,99000000,-;c"),
            Ok("6,9,99000000,-;d"),
        ]);
        assert_eq!(told(&mut kmsg), ["old a", "lost 3", "old b", "lost 1", "old c", "old d"]);
    }

    #[test]
    fn what_cannot_be_read_any_more_is_trouble() {
        assert_eq!(Kmsg::scripted(&[Err(Errno::NODEV)]).read(|_| {}), Err(Trouble::Absent(Errno::NODEV)));
    }

    #[test]
    fn more_records_than_one_wake_reads() {
        let records = b"6,1,5,-;x\n".repeat(3 * RECORDS_A_WAKE);
        assert_eq!(capture(&records, Some(5)).len(), 3 * RECORDS_A_WAKE);
    }

    #[test]
    fn a_gap_counts_the_lost() {
        for (last, seq, lost) in [(None, 9, 0), (Some(8), 9, 0), (Some(5), 9, 3), (Some(9), 5, 0)] {
            assert_eq!(missed(last, seq), lost);
        }
    }
}
