//! What the sampler and the network thread share: a queue for each sink, how each fares, and the server's clock.
//!
//! All of it is read and written without waiting for long; the sampler tries, and comes again with its next line.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::queue::{Follows, Queue};
use crate::probe::config::Protocol;
use crate::probe::fixed::Fixed;

/// A clock that is off by less is not worth a word: `Date` has whole seconds.
const OFFSET_TOLD_MS: u64 = 1000;

/// Nothing is known of the server's clock.
const NO_OFFSET: i64 = i64::MIN;

/// What the sampler and the network thread share.
#[derive(Debug)]
pub struct Shared {
    /// One of each sink.
    pub mailboxes: Vec<Mailbox>,
    token: Mutex<Option<Trouble>>,
    clock_offset_ms: AtomicI64,
    /// Log lines that stdout could not take.
    log_dropped: AtomicU64,
    is_ending: AtomicBool,
}

/// What waits for one sink, and how that sink fares.
#[derive(Debug)]
pub struct Mailbox {
    /// What it takes.
    pub protocol: Protocol,
    /// What waits for it.
    pub queue: Queue,
    trouble: Mutex<Option<Trouble>>,
    has_taken: AtomicBool,
}

/// What is wrong with a sink, or with the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In a word.
    pub class: Class,
    /// In words; empty where the one says it.
    pub text: &'static str,
    /// The status that the server answered with.
    pub status: Option<u16>,
}

/// Of what kind a trouble is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It is not there.
    Absent,
    /// It is there, and not for this probe.
    Denied,
    /// It does not work.
    Broken,
}

impl Shared {
    /// With a mailbox for each sink.
    #[must_use]
    pub fn new(protocols: impl Iterator<Item = Protocol>, follows: Follows) -> Self {
        let mailbox = |protocol| Mailbox {
            protocol,
            queue: Queue::new(follows),
            trouble: Mutex::new(None),
            has_taken: AtomicBool::new(false),
        };
        Self {
            mailboxes: protocols.map(mailbox).collect(),
            token: Mutex::new(None),
            clock_offset_ms: AtomicI64::new(NO_OFFSET),
            log_dropped: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
        }
    }

    /// Whether nothing more comes, and what waits is to go out soon.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    /// Nothing more comes.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
    }

    /// How far this guest's clock is ahead of a server's, where that is worth a word.
    #[must_use]
    pub fn clock_offset_ms(&self) -> Option<i64> {
        let ms = self.clock_offset_ms.load(Ordering::Relaxed);
        Some(ms).filter(|ms| *ms != NO_OFFSET && ms.unsigned_abs() > OFFSET_TOLD_MS)
    }

    /// What is wrong with the token; `None` while somebody notes it.
    #[must_use]
    pub fn try_token_trouble(&self) -> Option<Option<Trouble>> {
        self.token.try_lock().ok().map(|trouble| *trouble)
    }

    /// Log lines that stdout could not take.
    #[must_use]
    pub fn log_dropped(&self) -> u64 {
        self.log_dropped.load(Ordering::Relaxed)
    }

    /// Notes how many log lines stdout could not take.
    pub fn set_log_dropped(&self, lines: u64) {
        self.log_dropped.store(lines, Ordering::Relaxed);
    }

    /// Notes how far this guest's clock is ahead of a server's.
    pub fn set_clock_offset_ms(&self, ms: i64) {
        self.clock_offset_ms.store(ms, Ordering::Relaxed);
    }

    /// Notes what is wrong with the token.
    pub fn set_token_trouble(&self, trouble: Option<Trouble>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

impl Mailbox {
    /// Notes how the sink fares.
    pub fn set_trouble(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// How the sink fares; `None` while somebody notes it.
    #[must_use]
    pub fn try_trouble(&self) -> Option<Option<Trouble>> {
        self.trouble.try_lock().ok().map(|trouble| *trouble)
    }

    /// Notes that it has taken a line.
    pub fn set_taken(&self) {
        self.has_taken.store(true, Ordering::Relaxed);
    }

    /// Whether it has ever taken a line.
    #[must_use]
    pub fn has_taken(&self) -> bool {
        self.has_taken.load(Ordering::Relaxed)
    }

    /// As lines name it.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        match self.protocol {
            Protocol::Http => "sink.http",
            Protocol::Loki => "sink.loki",
        }
    }
}

/// A trouble in the words of a line.
#[must_use]
pub fn words(trouble: Option<Trouble>) -> Fixed<96> {
    let mut room = [0; 96];
    let mut rest = &mut room[..];
    let class = match trouble.map(|trouble| trouble.class) {
        None => "ok",
        Some(Class::Absent) => "absent",
        Some(Class::Denied) => "denied",
        Some(Class::Broken) => "broken",
    };
    // What does not fit is cut.
    let _ = match trouble {
        None | Some(Trouble { text: "", status: None, .. }) => write!(rest, "{class}"),
        Some(Trouble { text, status: None, .. }) => write!(rest, "{class}: {text}"),
        Some(Trouble { text, status: Some(status), .. }) => write!(rest, "{class}: {text} {status}"),
    };
    let left = rest.len();
    Fixed::of(room.get(..96 - left).unwrap_or_default())
}
