//! The log files that are followed, on the way to the sinks: behind the vitals there, and to stdout only when asked.

use std::time::{Duration, Instant, SystemTime};

use super::Setup;
use crate::probe::follow::{Follower, STEP, Settings};
use crate::probe::sink::mailbox::Shared;
use crate::probe::sink::queue::Lane;
use crate::probe::sink::stdout::{Descriptor, Stdout};
use crate::probe::watch::clocks::since_boot;

/// How long the last lines may take to get out by stdout.
const LAST_WORDS: Duration = Duration::from_millis(60);

/// How long files are read at the end. The rest of what the network has for its last words is for sending.
const LAST_READ: Duration = Duration::from_millis(250);

/// Between two steps of that the sinks have their turn.
const LAST_STEP: Duration = Duration::from_millis(5);

/// Files at work, and where their lines go.
#[derive(Debug)]
pub(super) struct Logs {
    follower: Follower,
    stdout: ByStdout,
    began: Instant,
    next: Duration,
}

/// Stdout, where lines go there too.
#[derive(Debug)]
enum ByStdout {
    No,
    Open(Box<Stdout>),
    /// Nobody reads it any more, or it cannot be written to. Lines that it has not taken are counted.
    Lost(u64),
}

impl Logs {
    /// Those of the settings; `None` when nothing is followed.
    pub(super) fn new(setup: &Setup, stdout: Option<Descriptor>) -> Option<Self> {
        let patterns = setup.follow.patterns.clone();
        let follower = (!patterns.is_empty()).then(|| Follower::new(&Settings { patterns }, setup.run))?;
        let stdout = match stdout.map(Stdout::new) {
            None => ByStdout::No,
            Some(Ok(stdout)) => ByStdout::Open(Box::new(stdout)),
            Some(Err(_)) => ByStdout::Lost(0),
        };
        Some(Self { follower, stdout, began: Instant::now(), next: Duration::ZERO })
    }

    /// Waits until there may be something new.
    pub(super) async fn due(&self) {
        tokio::time::sleep_until((self.began + self.next).into()).await;
    }

    /// Reads what is new and hands it on.
    pub(super) fn step(&mut self, shared: &Shared) {
        let now = self.began.elapsed();
        let stdout = &mut self.stdout;
        self.follower.step(now, SystemTime::now(), &mut |line| emit(line, shared, stdout));
        stdout.flush();
        shared.set_log_dropped(stdout.dropped());
        self.next = now + STEP;
    }

    /// Looks for files and reads all of them to their ends for the last time, as far as that is soon done.
    pub(super) async fn finish(mut self, shared: &Shared) {
        // Vitals set out. Lanes that find no log lines now wait for the end: what they took would hold up room for later ones.
        tokio::task::yield_now().await;
        let until = self.began.elapsed() + LAST_READ;
        self.follower.look_again();
        self.step(shared);
        while self.follower.is_behind() && self.began.elapsed() < until {
            tokio::time::sleep(LAST_STEP).await;
            self.step(shared);
        }
        let stdout = &mut self.stdout;
        self.follower.finish(self.began.elapsed(), SystemTime::now(), &mut |line| emit(line, shared, stdout));
        shared.set_log_dropped(stdout.dropped());
        if let ByStdout::Open(stdout) = self.stdout {
            stdout.finish(LAST_WORDS);
        }
    }
}

impl ByStdout {
    fn write(&mut self, line: &[u8]) {
        match self {
            Self::No => {}
            Self::Open(stdout) => {
                if stdout.write(line).is_err() {
                    *self = Self::Lost(stdout.given_up());
                }
            }
            Self::Lost(lines) => *lines += 1,
        }
    }

    fn flush(&mut self) {
        if let Self::Open(stdout) = self
            && stdout.flush().is_err()
        {
            *self = Self::Lost(stdout.given_up());
        }
    }

    fn dropped(&self) -> u64 {
        match self {
            Self::No => 0,
            Self::Open(stdout) => stdout.dropped(),
            Self::Lost(lines) => *lines,
        }
    }
}

fn emit(line: &[u8], shared: &Shared, stdout: &mut ByStdout) {
    let came = since_boot();
    for mailbox in &shared.mailboxes {
        mailbox.queue.push(Lane::Logs, came, line);
    }
    stdout.write(line);
}
