//! What keeps the probe on time on macOS: a quality of service ahead of what jobs run at. No privileges are needed for it.
//!
//! mlockall(2) does not exist there, and nothing keeps a process from being killed for memory. What the launchd job adds
//! (`ProcessType` Interactive) is in image/macos. `sys/qos.h`, `pthread/qos.h`.

use rustix::process::Pid;

use crate::probe::raw;

/// How a thread stands in the CPU queue. Each sets its own here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// As it was started.
    #[default]
    Ordinary,
}

impl Priority {
    /// Gives it to a thread of this process; whether that went well.
    #[must_use]
    pub fn give(self, _thread: Pid) -> bool {
        true
    }
}

/// What was obtained.
#[derive(Debug, Default)]
pub struct Protection {
    words: Vec<&'static str>,
}

impl Protection {
    /// Takes what the calling thread may have.
    #[must_use]
    pub fn obtain() -> Self {
        Self { words: raw::be_interactive().then_some("qos").into_iter().collect() }
    }

    /// What was obtained: `qos`.
    pub fn words(&self) -> impl Iterator<Item = &str> + Clone {
        self.words.iter().copied()
    }
}
