//! What keeps the probe alive and on time when the guest is not: its memory locked, out of the OOM killer's way, ahead
//! in the CPU queue. Each is tried, none is needed, and nothing of it reaches the job: limits and scores are the probe's
//! own process's, and what a real-time thread starts is ordinary again.
//!
//! mlock(2), sched(7), getrlimit(2), `oom_score_adj` in `Documentation/filesystems/proc.rst`.

use std::ops::Range;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mm::MlockAllFlags;
use rustix::process::{Pid, Resource, Rlimit};

use super::kernel::{Root, Trouble};
use super::raw;

/// A real-time thread that has run so long without a pause becomes an ordinary one: far more than a sample takes, also
/// in a guest that reclaims memory while it is taken. In microseconds.
const REAL_TIME_US: u64 = 500_000;

/// A hard limit below this, at which the kernel kills, leaves no room for that. In microseconds.
const ROOM_US: u64 = 10_000_000;

/// How long it stays ordinary then.
const ORDINARY_FOR: Duration = Duration::from_secs(10);

/// More of the stack than any line needs.
const STACK_BYTES: usize = 96 * 1024;

/// The best that `oom_score_adj` can say: never this one.
const NEVER_KILLED: i32 = -1000;

/// The best nice value.
const FIRST: i32 = -20;

/// How a thread stands in the CPU queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// As it was started.
    #[default]
    Ordinary,
    /// With this nice value.
    Nice(i32),
    /// Ahead of all that is not real-time.
    RealTime,
}

impl Priority {
    /// Gives it to a thread of this process; whether that went well.
    #[must_use]
    pub fn give(self, thread: Pid) -> bool {
        match self {
            Self::Ordinary => true,
            Self::Nice(nice) => rustix::process::setpriority_process(Some(thread), nice).is_ok(),
            Self::RealTime => raw::set_fifo(thread.as_raw_nonzero().get()).is_ok(),
        }
    }
}

/// What was obtained.
#[derive(Debug, Default)]
pub struct Protection {
    priority: Priority,
    words: Vec<String>,
    /// When the threads are put under real time again.
    return_at: Option<Duration>,
    /// Whether the kernel's limit is to be set back: with each signal it grows by a second.
    limit_grew: bool,
    /// What is to be told of it: that it was lost, or is there again.
    news: Option<Result<(), Trouble>>,
}

/// Whether memory may be locked without a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockLimit {
    /// CAP_IPC_LOCK: what comes later is locked too.
    None,
    /// RLIMIT_MEMLOCK: an allocation over it would fail, so only what is there now is locked.
    OfProcess,
}

/// To be called before the first thread.
pub fn prepare() {
    raw::use_one_heap();
}

impl Protection {
    /// Takes what this process may have, for the calling thread and the memory of all.
    ///
    /// Everything is to be open, and all threads running, for what comes later may not be locked.
    #[must_use]
    pub fn obtain(limit: LockLimit) -> Self {
        touch_stack();
        let mut words = Vec::new();
        words.extend(lock_memory(limit).map(str::to_owned));
        words.extend(lower_oom_score().map(|adj| format!("oom_score_adj:{adj}")));
        let priority = raise_priority(rustix::thread::gettid());
        words.extend(match priority {
            Priority::Ordinary => None,
            Priority::Nice(nice) => Some(format!("nice:{nice}")),
            Priority::RealTime => Some("sched_fifo".to_owned()),
        });
        Self { priority, words, ..Self::default() }
    }

    /// How the calling thread stands in the CPU queue, and others that lines wait for should.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// What was obtained: `mlock`, `mlock.touched`, `mlock.program`, `mlock.part`, `oom_score_adj:N`, `sched_fifo`, `nice:N`.
    pub fn words(&self) -> impl Iterator<Item = &str> + Clone {
        self.words.iter().map(String::as_str)
    }

    /// Looks after the priority, now and then. Gives what is to be told of it, until [`Protection::was_told`].
    pub fn renew(&mut self, now: Duration) -> Option<Result<(), Trouble>> {
        if self.priority == Priority::RealTime && raw::has_left_real_time() {
            self.return_at = Some(now + ORDINARY_FOR);
            self.news = Some(Err(Trouble::Broken(Errno::TIME)));
        } else if self.return_at.take_if(|at| now >= *at).is_some() {
            if raw::return_to_real_time() {
                self.news = Some(Ok(()));
            }
            self.limit_grew = true;
        } else if std::mem::take(&mut self.limit_grew) {
            // Not at once: what the kernel has counted until now is forgotten only when the thread next wakes up.
            let _ = limit_real_time();
        }
        self.news
    }

    /// What there was to tell was told.
    pub fn was_told(&mut self) {
        self.news = None;
    }
}

/// Has the stack's pages in memory before they are locked: a page that is missing later is waited for.
fn touch_stack() {
    std::hint::black_box([1_u8; STACK_BYTES]);
}

/// Locks the program whole, and of the rest the pages that are touched.
fn lock_memory(limit: LockLimit) -> Option<&'static str> {
    // The soft limit may be raised to the hard one by anybody.
    let maximum = rustix::process::getrlimit(Resource::Memlock).maximum;
    let _ = rustix::process::setrlimit(Resource::Memlock, Rlimit { current: maximum, maximum });
    let later = if limit == LockLimit::None { MlockAllFlags::FUTURE } else { MlockAllFlags::empty() };
    let all = rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT | later).is_ok();
    let maps = Root::new("/".into()).read("/proc/self/maps").unwrap_or_default();
    let ranges = program_ranges(&maps);
    let locked: Vec<bool> = ranges.map(|range| raw::lock_pages(&range).is_ok()).collect();
    let program = locked.contains(&true) && !locked.contains(&false);
    match (all, program) {
        (true, true) => Some("mlock"),
        (true, false) => Some("mlock.touched"),
        (false, true) => Some("mlock.program"),
        (false, false) => locked.contains(&true).then_some("mlock.part"),
    }
}

/// The readable mappings of files in `/proc/PID/maps`: the program, and its libraries where it has any.
fn program_ranges(maps: &[u8]) -> impl Iterator<Item = Range<usize>> {
    maps.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let is_readable = words.next()?.starts_with('r');
        let is_file = words.nth(3)?.starts_with('/');
        let address = |text| usize::from_str_radix(text, 16).ok();
        (is_readable && is_file).then_some(address(start)?..address(end)?)
    })
}

/// Makes the OOM killer pass this process over, or prefer others as far as that is allowed; what it is then.
fn lower_oom_score() -> Option<i32> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let current: i32 = std::fs::read_to_string(FILE).ok()?.trim().parse().ok()?;
    lowest(NEVER_KILLED, current, |adj| std::fs::write(FILE, adj.to_string()).is_ok())
}

/// Ahead of all ordinary threads, else ahead of most.
fn raise_priority(thread: Pid) -> Priority {
    // Never in real time without the way out of it.
    let has_way_out = raw::leave_real_time_on_sigxcpu().is_ok() && limit_real_time();
    if has_way_out && Priority::RealTime.give(thread) {
        return Priority::RealTime;
    }
    let Ok(current) = rustix::process::getpriority_process(Some(thread)) else { return Priority::Ordinary };
    let nice = lowest(FIRST, current, |nice| Priority::Nice(nice).give(thread));
    nice.map_or(Priority::Ordinary, Priority::Nice)
}

/// Has the kernel say when a real-time thread runs on without a pause; whether it will, before it kills for that.
fn limit_real_time() -> bool {
    let maximum = rustix::process::getrlimit(Resource::Rttime).maximum;
    let limit = Rlimit { current: Some(REAL_TIME_US), maximum };
    maximum.is_none_or(|hard| hard >= ROOM_US) && rustix::process::setrlimit(Resource::Rttime, limit).is_ok()
}

/// Whether capabilities are those of the machine, and not of a user namespace (user_namespaces(7)). A kernel that has no
/// such map has no such namespaces.
#[must_use]
pub fn is_in_initial_namespace(uid_map: Result<&[u8], Trouble>) -> bool {
    let uid_map = match uid_map {
        Ok(uid_map) => uid_map,
        Err(trouble) => return matches!(trouble, Trouble::Absent(_)),
    };
    let mut words = uid_map.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    [b"0".as_slice(), b"0", b"4294967295"].iter().all(|expected| words.next() == Some(expected))
        && words.next().is_none()
}

/// The lowest value from `best` on and below `current` that can be set; it is set then. `None` when none can.
///
/// What is allowed begins at a bound that only trying tells, so it is halved down to it.
fn lowest(best: i32, current: i32, mut set: impl FnMut(i32) -> bool) -> Option<i32> {
    let (mut refused, mut allowed) = (best - 1, current);
    let mut next = best;
    while refused + 1 < allowed {
        if set(next) {
            allowed = next;
        } else {
            refused = next;
        }
        next = refused + (allowed - refused) / 2;
    }
    (allowed < current).then_some(allowed)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_lowest_that_is_allowed_is_found() {
        for (bound, current, found) in [
            (-1000, 0, Some(-1000)),
            (-998, 500, Some(-998)),
            (0, 500, Some(0)),
            (0, 0, None),
            (7, 8, Some(7)),
            (500, 500, None),
            (-2000, -1000, None),
        ] {
            let mut last = current;
            let mut tries = 0;
            let set = |value: i32| {
                tries += 1;
                let allowed = value >= bound;
                last = if allowed { value } else { last };
                allowed
            };
            assert_eq!(lowest(-1000, current, set), found, "{bound} {current}");
            assert_eq!(last, found.unwrap_or(current), "what is set last is what is told");
            assert!(tries <= 12, "{tries}");
        }
    }

    #[test]
    fn the_program_is_what_is_mapped_of_files() {
        let maps = b"55d0-55e0 r--p 00000000 fd:00 12 /usr/bin/a b\n55e0-55f0 ---p 0 fd:00 12 /usr/bin/a\n\
            7f00-7f10 rw-p 00000000 00:00 0 \n7f10-7f20 r-xp 00000000 00:00 0 [vdso]\nbroken\n\xff\n";
        let ranges: Vec<(usize, usize)> = program_ranges(maps).map(|range| (range.start, range.end)).collect();
        assert_eq!(ranges, [(0x55d0, 0x55e0)]);
    }

    #[test]
    fn a_user_namespace_is_told_by_its_map() {
        for (map, is_initial) in [
            ("         0          0 4294967295\n", true),
            ("         0       1000          1\n", false),
            ("         0          0      65536\n", false),
            ("0 0 4294967295\n1 1 1\n", false),
            ("", false),
        ] {
            assert_eq!(is_in_initial_namespace(Ok(map.as_bytes())), is_initial, "{map:?}");
        }
        assert!(is_in_initial_namespace(Err(Trouble::Absent(Errno::NOENT))), "a kernel without user namespaces");
        assert!(!is_in_initial_namespace(Err(Trouble::Denied(Errno::ACCESS))));
    }

    /// A thread of its own, for what it gets stays with it.
    #[test]
    fn a_thread_that_runs_on_in_real_time_is_put_back() {
        let is_back = std::thread::spawn(|| {
            if raise_priority(rustix::thread::gettid()) != Priority::RealTime {
                return None;
            }
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            while !raw::has_left_real_time() {
                assert!(std::time::Instant::now() < deadline, "it runs on in real time");
            }
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let policy = stat.rsplit_once(") ").unwrap().1.split(' ').nth(38).unwrap().to_owned();
            assert!(raw::return_to_real_time());
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let later = stat.rsplit_once(") ").unwrap().1.split(' ').nth(38).unwrap().to_owned();
            let _ = rustix::process::setrlimit(Resource::Rttime, Rlimit { current: None, maximum: None });
            Some((policy, later))
        });
        match is_back.join().unwrap() {
            None => {
                // Past the harness, which swallows what passing tests print.
                let says = b"SKIPPED: a_thread_that_runs_on_in_real_time_is_put_back: may not be real-time\n";
                std::io::stderr().write_all(says).unwrap();
            }
            // SCHED_OTHER is 0, SCHED_FIFO is 1.
            Some(policies) => assert_eq!(policies, ("0".to_owned(), "1".to_owned())),
        }
    }
}
