//! All sinks of a run behind one face: a line goes to each of them.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::handover::{Handover, Late, News};
use super::stdout::{Closed, Stdout, Wants};
use crate::probe::config::Protocol;
use crate::probe::protect::Priority;
use crate::probe::watch::clocks::since_boot;

/// How long what waits for the network may take to get out at the end.
pub const NETWORK_LAST_WORDS: Duration = Duration::from_secs(2);

/// Where the lines go: stdout, servers, or both.
#[derive(Debug)]
pub struct Outlets {
    stdout: Option<Stdout>,
    network: Option<Handover>,
    lost: Option<Lost>,
}

/// A stdout that nobody reads any more, where there are other sinks: no line gets there.
#[derive(Clone, Copy, Debug)]
struct Lost {
    dropped: u64,
    is_told: bool,
}

/// What the sinks tell of themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines that stdout could not take, those of followed logs among them.
    pub stdout_dropped: u64,
    /// Lines that vitals endpoints could not take.
    pub http_dropped: u64,
    /// Lines that Loki could not take.
    pub loki_dropped: u64,
    /// How far this guest's clock is ahead of a server's, where that is over a second.
    pub clock_offset_ms: Option<i64>,
}

impl From<Stdout> for Outlets {
    fn from(stdout: Stdout) -> Self {
        Self { stdout: Some(stdout), network: None, lost: None }
    }
}

impl Outlets {
    /// These sinks.
    #[must_use]
    pub const fn new(stdout: Option<Stdout>, network: Option<Handover>) -> Self {
        Self { stdout, network, lost: None }
    }

    /// Gives a line to each sink. Never waits.
    ///
    /// # Errors
    /// [`Closed`] when nobody reads stdout any more and there is no other sink.
    pub fn write(&mut self, line: &[u8]) -> Result<(), Closed> {
        if let Some(network) = &mut self.network {
            network.send(since_boot(), line);
        }
        let written = match (&mut self.stdout, &mut self.lost) {
            (Some(stdout), _) => stdout.write(line),
            (None, lost) => {
                lost.iter_mut().for_each(|lost| lost.dropped += 1);
                Ok(())
            }
        };
        self.unless_last(written)
    }

    /// Writes what waits for stdout, as far as there is room.
    ///
    /// # Errors
    /// As [`Outlets::write`].
    pub fn flush(&mut self) -> Result<(), Closed> {
        let flushed = self.stdout.as_mut().map_or(Ok(()), Stdout::flush);
        self.unless_last(flushed)
    }

    /// Nobody reads stdout any more. It is let go of.
    ///
    /// # Errors
    /// [`Closed`] when there is no other sink.
    pub fn lose_stdout(&mut self) -> Result<(), Closed> {
        self.unless_last(Err(Closed))
    }

    /// Stdout, to wait for.
    #[must_use]
    pub fn stdout_fd(&self) -> Option<BorrowedFd<'_>> {
        self.stdout.as_ref().map(Stdout::fd)
    }

    /// What to do about lines that wait for stdout.
    #[must_use]
    pub fn wants(&self) -> Wants {
        self.stdout.as_ref().map_or(Wants::Nothing, Stdout::wants)
    }

    /// Gives a thread that writes stdout in the sampler's place the sampler's standing in the CPU queue.
    pub fn hurry(&mut self, priority: Priority) {
        if let Some(stdout) = &mut self.stdout {
            stdout.hurry(priority);
        }
    }

    /// What the sinks tell of themselves.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let lost = self.lost.map_or(0, |lost| lost.dropped);
        let dropped = |protocol| self.network.as_ref().map_or(0, |network| network.dropped(protocol));
        let of_logs = self.network.as_ref().map_or(0, Handover::log_dropped);
        Tally {
            stdout_dropped: self.stdout.as_ref().map_or(lost, Stdout::dropped) + of_logs,
            http_dropped: dropped(Protocol::Http),
            loki_dropped: dropped(Protocol::Loki),
            clock_offset_ms: self.network.as_ref().and_then(Handover::clock_offset_ms),
        }
    }

    /// What is to be told next of a sink, until [`Outlets::was_told`].
    #[must_use]
    pub fn news(&self) -> Option<News> {
        if self.lost.is_some_and(|lost| !lost.is_told) {
            return Some(News::STDOUT_LOST);
        }
        self.network.as_ref().and_then(Handover::news)
    }

    /// These news were told.
    pub fn was_told(&mut self, news: News) {
        if news == News::STDOUT_LOST
            && let Some(lost) = &mut self.lost
        {
            lost.is_told = true;
        } else if let Some(network) = &mut self.network {
            network.was_told(news);
        }
    }

    /// Gives what was said a moment to get out: so much by stdout, [`NETWORK_LAST_WORDS`] by the network. Gives the sinks where
    /// all are servers and none has ever taken a line: nobody else tells of them.
    pub fn finish(mut self, stdout_patience: Duration) -> Vec<Late> {
        let is_stdout = self.stdout.is_some() || self.lost.is_some();
        let deadline = Instant::now() + NETWORK_LAST_WORDS;
        if let Some(network) = &mut self.network {
            network.end(NETWORK_LAST_WORDS);
        }
        // Meanwhile the network's is on its way.
        if let Some(stdout) = self.stdout {
            stdout.finish(stdout_patience);
        }
        let Some(network) = self.network else { return Vec::new() };
        network.wait_until(deadline);
        if is_stdout { Vec::new() } else { network.none_taken() }
    }

    fn unless_last(&mut self, written: Result<(), Closed>) -> Result<(), Closed> {
        match written {
            Err(Closed) if self.network.as_ref().is_some_and(Handover::has_sinks) => {
                self.lost = self.stdout.take().map(|stdout| Lost { dropped: stdout.given_up(), is_told: false });
                Ok(())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use super::super::mailbox::Shared;
    use super::super::queue::Follows;
    use super::*;

    /// A pipe whose reader goes, beside a server. Where a thread writes to it, that is told a moment later.
    #[test]
    fn every_line_that_a_lost_stdout_does_not_get_is_counted() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let stdout = Stdout::new(File::from(OwnedFd::from(writer))).unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let shared = Shared::new([Protocol::Http].into_iter(), Follows::Nothing);
        let mut outlets = Outlets::new(Some(stdout), Some(Handover::new(Arc::new(shared), ours)));
        outlets.write(b"got\n").unwrap();
        reader.read_exact(&mut [0; 4]).unwrap();
        drop(reader);
        let mut lost = 0;
        while outlets.news() != Some(News::STDOUT_LOST) {
            outlets.write(b"lost\n").unwrap();
            lost += 1;
            std::thread::yield_now();
        }
        (0..3).for_each(|_| outlets.write(b"lost\n").unwrap());
        assert_eq!(outlets.tally().stdout_dropped, lost + 3);
    }
}
