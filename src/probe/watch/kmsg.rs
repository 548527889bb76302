//! Reads `/dev/kmsg`: one read, one record. Of a captured tree `dev/kmsg` is a file with a record a line.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::probe::kernel::{Root, Trouble};
use crate::probe::source::kmsg::{self, Record};

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
    /// A record before this is from before the run.
    began_us: u64,
    last_seq: Option<u64>,
    overran: bool,
    text: Vec<u8>,
}

#[derive(Debug)]
enum From {
    Device { file: File, record: Vec<u8> },
    Capture { records: Vec<u8>, at: usize },
}

impl Kmsg {
    /// Opens the ring at its end less one minute; `uptime_us` is now on the kernel's clock.
    ///
    /// # Errors
    /// That it is absent or denied.
    pub fn open(root: &Root, uptime_us: u64) -> Result<Self, Trouble> {
        let io = |error: std::io::Error| Trouble::of(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let mut file = File::options().read(true).custom_flags(flags).open(root.join("/dev/kmsg")).map_err(io)?;
        let from = if file.metadata().map_err(io)?.file_type().is_char_device() {
            // The oldest record that the ring still has, so that the last minute can be looked through.
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            From::Device { file, record: vec![0; RECORD_BYTES] }
        } else {
            let mut records = Vec::new();
            file.read_to_end(&mut records).map_err(io)?;
            From::Capture { records, at: 0 }
        };
        Ok(Self { from, began_us: uptime_us, last_seq: None, overran: false, text: Vec::with_capacity(RECORD_BYTES) })
    }

    /// What to wait for; `None` for a captured file, which is read at once.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.from {
            From::Device { file, .. } => Some(file.as_fd()),
            From::Capture { .. } => None,
        }
    }

    /// Hands over what has come, oldest first; whether there may be more.
    ///
    /// # Errors
    /// That the ring cannot be read any more.
    pub fn read(&mut self, mut on: impl FnMut(Event<'_>)) -> Result<bool, Trouble> {
        for _ in 0..RECORDS_A_WAKE {
            let record = match self.from.next() {
                Ok(Some(record)) => record,
                Ok(None) => return Ok(false),
                // The ring overran: the next read gives the oldest record that is left.
                Err(Errno::PIPE) => {
                    self.overran = true;
                    continue;
                }
                // A record longer than the buffer is gone with this error; the gap in the numbers counts it.
                Err(Errno::INVAL) => {
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
            if is_wanted(&record, self.began_us) {
                kmsg::unescape(record.text, &mut self.text);
                let is_old = record.time_us < self.began_us;
                on(Event::Record { text: &self.text, time_us: record.time_us, is_old });
            }
        }
        Ok(true)
    }
}

impl From {
    fn next(&mut self) -> Result<Option<&[u8]>, Errno> {
        match self {
            Self::Device { file, record } => match rustix::io::read(&*file, record.as_mut_slice()) {
                Ok(0) | Err(Errno::AGAIN) => Ok(None),
                Ok(count) => Ok(record.get(..count)),
                Err(errno) => Err(errno),
            },
            Self::Capture { records, at } => {
                let rest = records.get(*at..).filter(|rest| !rest.is_empty());
                let Some(rest) = rest else { return Ok(None) };
                let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
                *at += end;
                Ok(rest.get(..end))
            }
        }
    }
}

/// The kernel's own, and not older than the look-back: user space can write to the ring too, with another facility.
fn is_wanted(record: &Record<'_>, began_us: u64) -> bool {
    record.facility == 0 && record.time_us >= began_us.saturating_sub(LOOK_BACK_US)
}

fn missed(last: Option<u64>, seq: u64) -> u64 {
    last.map_or(0, |last| seq.saturating_sub(last).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(records: &[u8], began_us: u64) -> Vec<(String, bool)> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("dev")).unwrap();
        std::fs::write(dir.path().join("dev/kmsg"), records).unwrap();
        let mut kmsg = Kmsg::open(&Root::new(dir.path().to_owned()), began_us).unwrap();
        let mut texts = Vec::new();
        let mut on = |event: Event<'_>| match event {
            Event::Record { text, is_old, .. } => texts.push((String::from_utf8_lossy(text).into_owned(), is_old)),
            Event::Lost(count) => texts.push((format!("lost {count}"), false)),
        };
        while kmsg.read(&mut on).unwrap() {}
        texts
    }

    #[test]
    fn only_the_kernels_own_words_of_the_last_minute() {
        let records = b"6,1,1000000,-;too old\n6,2,50000000,-;old\n SUBSYSTEM=x\n14,3,99000000,-;user space\ngarbage\n6,4,100000000,-;n\\x0aew";
        assert_eq!(capture(records, 100_000_000), [("old".to_owned(), true), ("n\new".to_owned(), false)]);
    }

    #[test]
    fn more_records_than_one_wake_reads() {
        let records = b"6,1,5,-;x\n".repeat(3 * RECORDS_A_WAKE);
        assert_eq!(capture(&records, 5).len(), 3 * RECORDS_A_WAKE);
    }

    #[test]
    fn a_gap_counts_the_lost() {
        for (last, seq, lost) in [(None, 9, 0), (Some(8), 9, 0), (Some(5), 9, 3), (Some(9), 5, 0)] {
            assert_eq!(missed(last, seq), lost);
        }
    }
}
