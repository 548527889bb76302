//! What the sampler reads of the runner's agent: files that are kept open, and how long its threads waited for a CPU.

use std::fmt;

use crate::probe::kernel::{Buffer, KernelFile, Root, Trouble};
use crate::probe::source::process::{self, Process};

/// How many threads of the agent are watched: the first, and those with the lowest numbers.
pub const MOST_THREADS: usize = 64;

/// A process that is watched, its files kept open: the sampler reads it and opens nothing.
///
/// A file that is kept open stays with its process: after its end reading fails, whoever has its number then.
#[derive(Debug)]
pub struct Agent {
    pub(super) process: Process,
    pub(super) page_kb: u64,
    pub(super) stat: KernelFile,
    pub(super) statm: KernelFile,
    pub(super) threads: Vec<Thread>,
    /// How many threads there were, watched or not.
    pub(super) listed: Option<u64>,
}

/// The files of one of its threads.
#[derive(Debug)]
pub(super) struct Thread {
    tid: u32,
    age: Age,
    stat: KernelFile,
    schedstat: KernelFile,
}

impl Thread {
    pub(super) fn open(root: &Root, pid: u32, tid: u32, age: Age) -> Self {
        let file = |name| KernelFile::open(root, format!("/proc/{pid}/task/{tid}/{name}"));
        Self { tid, age, stat: file("stat"), schedstat: file("schedstat") }
    }
}

/// A process as it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentReading {
    /// A letter: D if any watched thread is in it, else the first thread's.
    pub state: Option<u8>,
    /// Its resident memory in KiB.
    pub rss_kb: Option<u64>,
    /// Time in run queues, nanoseconds, summed over all threads since the first was watched ([`Waits`]); `None` when no
    /// thread tells it.
    pub wait_ns: Option<u64>,
    /// Whether its threads are not those that were listed.
    pub has_other_threads: bool,
    /// Whether it has ended.
    pub is_gone: bool,
}

impl Agent {
    /// Which process it is, as it was found.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Reads it, and adds to `waits`. Allocates nothing.
    pub fn read(&self, buffer: &mut Buffer, waits: &mut Waits) -> AgentReading {
        let stat = self.stat.read(buffer);
        let is_reaped = stat.is_err_and(Trouble::is_process_gone);
        let leader = stat.ok().and_then(process::parse_stat);
        let (state, num_threads) = (leader.map(|stat| stat.state), leader.map(|stat| stat.num_threads));
        // The first thread can be dead while others still are in the kernel: that is what its end waits for.
        let is_dead = state.is_some_and(process::is_dead) && num_threads.is_none_or(|threads| threads <= 1);
        if is_reaped || is_dead {
            return AgentReading { state, is_gone: true, ..AgentReading::default() };
        }
        let of_threads = self.read_threads(buffer, waits);
        let pages = self.statm.read(buffer).ok().and_then(process::parse_statm);
        let is_other_count = self.listed.is_some() && num_threads.is_some() && num_threads != self.listed;
        AgentReading {
            state: if of_threads.has_d { Some(b'D') } else { state },
            rss_kb: pages.and_then(|pages| pages.checked_mul(self.page_kb)),
            wait_ns: of_threads.has_waits.then_some(waits.total_ns),
            has_other_threads: of_threads.has_gone || is_other_count,
            is_gone: false,
        }
    }

    fn read_threads(&self, buffer: &mut Buffer, waits: &mut Waits) -> OfThreads {
        let mut of = OfThreads::default();
        // The worker is read as a whole, and leaves the agent's waits alone.
        if self.threads.is_empty() {
            return of;
        }
        waits.keep(|tid| self.threads.iter().any(|thread| thread.tid == tid));
        for thread in &self.threads {
            let stat = thread.stat.read(buffer);
            of.has_gone |= stat.is_err_and(Trouble::is_process_gone);
            of.has_d |= stat.ok().and_then(process::parse_stat).is_some_and(|stat| stat.state == b'D');
            if let Some(schedstat) = thread.schedstat.read(buffer).ok().and_then(process::parse_schedstat) {
                of.has_waits = true;
                waits.advance(thread.tid, thread.age, schedstat.wait_ns);
            }
        }
        of
    }
}

#[derive(Default)]
struct OfThreads {
    has_d: bool,
    has_waits: bool,
    has_gone: bool,
}

/// Since when a thread is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// It was there when threads were listed before, or at the first listing: what it waited before is not counted.
    Old,
    /// It came since: all that it waited is counted.
    New,
}

/// How long threads waited in run queues, summed so that it never goes back: a thread that ends keeps what it added,
/// and files that are opened anew count nothing twice.
#[derive(Clone)]
pub struct Waits {
    /// Each thread's number and what it had waited.
    seen: [Option<(u32, u64)>; MOST_THREADS],
    total_ns: u64,
}

impl Default for Waits {
    fn default() -> Self {
        Self { seen: [None; MOST_THREADS], total_ns: 0 }
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.seen.iter().flatten().count();
        f.debug_struct("Waits").field("threads", &seen).field("total_ns", &self.total_ns).finish()
    }
}

impl Waits {
    /// All that was waited, nanoseconds.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        self.total_ns
    }

    /// Takes what a thread has waited since its own start. Of more than [`MOST_THREADS`] threads the last count nothing.
    pub fn advance(&mut self, tid: u32, age: Age, wait_ns: u64) {
        let grown = if let Some((_, before)) = self.seen.iter_mut().flatten().find(|(seen, _)| *seen == tid) {
            let before = std::mem::replace(before, wait_ns);
            // What went back is another thread's with the same number.
            wait_ns.checked_sub(before).unwrap_or(wait_ns)
        } else {
            let Some(free) = self.seen.iter_mut().find(|seen| seen.is_none()) else { return };
            *free = Some((tid, wait_ns));
            if age == Age::New { wait_ns } else { 0 }
        };
        self.total_ns = self.total_ns.saturating_add(grown);
    }

    /// Forgets the threads that are not watched any more, but not what they added.
    pub fn keep(&mut self, mut is_watched: impl FnMut(u32) -> bool) {
        for seen in &mut self.seen {
            seen.take_if(|(tid, _)| !is_watched(*tid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_never_go_back() {
        let mut waits = Waits::default();
        let mut total = |tid, age, wait_ns| {
            waits.advance(tid, age, wait_ns);
            waits.total_ns()
        };
        assert_eq!(total(1, Age::Old, 500), 0);
        assert_eq!(total(1, Age::Old, 530), 30);
        assert_eq!(total(2, Age::New, 7), 37);
        assert_eq!(total(2, Age::New, 7), 37);
        assert_eq!(total(1, Age::Old, 3), 40, "another thread with its number");
        waits.keep(|tid| tid != 1);
        waits.advance(1, Age::Old, 900);
        assert_eq!(waits.total_ns(), 40);
        (10..100).for_each(|tid| waits.advance(tid, Age::New, 1));
        (10..100).for_each(|tid| waits.advance(tid, Age::New, 1));
        assert_eq!(waits.total_ns(), 40 + 62, "as many as there is room for");
    }
}
