//! A look through `/proc` (`Documentation/filesystems/proc.rst`), off the sample path: the five largest processes, and the
//! runner's agent, whose files [`watched`] then keeps for the sampler.
//!
//! Of other processes only `stat` and `oom_score_adj` are read: whatever waits for a lock of a dying process is left
//! alone. They come and go while they are looked at, and one that went costs itself only.

pub mod watched;

use std::time::Duration;

use super::fixed::Fixed;
use super::kernel::{Buffer, KernelFile, Root};
use super::largest::{Largest, Task};
use super::source::process::{self, Process, Stat};
use watched::{Age, Agent, MOST_THREADS, Thread};

/// How many processes are looked through for the agent: what forks without end is none, and is not to use up our memory.
const MOST_PROCESSES: usize = 2000;

/// The helper thread's view of all processes.
#[derive(Debug)]
pub struct Processes {
    root: Root,
    page_kb: u64,
    buffer: Buffer,
    /// The threads of the agent when they were last listed.
    listed: Option<Listed>,
}

/// A process, told from a later one with the same number, and its threads.
#[derive(Debug)]
struct Listed {
    pid: u32,
    starttime_ticks: u64,
    tids: Vec<u32>,
}

/// What a look for the largest found.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The largest of those looked at.
    pub largest: Largest,
    /// Whether time ran out before all were.
    pub is_cut: bool,
}

/// The agent, and its worker where it has one.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The runner's own process.
    pub agent: Process,
    /// What runs its job.
    pub worker: Option<Process>,
}

impl Processes {
    /// Those below `root`, of a machine with so many KiB a page.
    #[must_use]
    pub fn new(root: Root, page_kb: u64) -> Self {
        Self { root, page_kb, buffer: Buffer::default(), listed: None }
    }

    /// The largest by resident memory. No other is looked at once `within` has passed; `now` is any clock that only goes
    /// forward.
    pub fn largest(&mut self, within: Duration, now: impl Fn() -> Duration) -> Look {
        let began = now();
        let is_late = || now().saturating_sub(began) >= within;
        let mut pids = numbered(&self.root, "/proc");
        // A job's processes are the newest, and those that may be left out when time runs out the guest's own.
        pids.sort_unstable_by(|a, b| b.cmp(a));
        let mut look = Look { largest: Largest::default(), is_cut: false };
        for pid in pids {
            if is_late() {
                look.is_cut = true;
                break;
            }
            let Some(stat) = self.stat(pid) else { continue };
            let (pid, pages, comm) = (u64::from(stat.pid), stat.rss_pages, Fixed::of(stat.comm));
            // Kernel threads and the dead have none.
            if pages > 0 {
                look.largest.take(Task { pid, rss_kb: pages.saturating_mul(self.page_kb), adj: None, comm });
            }
        }
        for task in look.largest.iter_mut() {
            let file = KernelFile::open(&self.root, format!("/proc/{}/oom_score_adj", task.pid));
            task.adj = file.read(&mut self.buffer).ok().and_then(process::parse_oom_score_adj);
        }
        look
    }

    /// The agent: `known` while it is there, else of the known names or `name`, nearest below `below`, oldest
    /// ([`process::choose`]); with its worker.
    pub fn find(&mut self, name: Option<&[u8]>, below: Option<u32>, known: Option<u32>) -> Option<Found> {
        let all = self.all();
        let of = |pid: u32| all.iter().find(|process| process.pid == pid).copied();
        let agent = known.and_then(of).or_else(|| process::choose(&all, name, below).and_then(of))?;
        Some(Found { agent, worker: process::worker(&all, agent.pid).and_then(of) })
    }

    /// The processes that can be seen, those with the lowest numbers where there are very many.
    fn all(&mut self) -> Vec<Process> {
        let mut pids = numbered(&self.root, "/proc");
        pids.sort_unstable();
        pids.into_iter().take(MOST_PROCESSES).filter_map(|pid| self.stat(pid).map(Process::from)).collect()
    }

    fn stat(&mut self, pid: u32) -> Option<Stat<'_>> {
        let file = KernelFile::open(&self.root, format!("/proc/{pid}/stat"));
        process::parse_stat(file.read(&mut self.buffer).ok()?)
    }

    /// Opens what is watched of the agent; `None` when it has ended. To be opened anew when its threads are others
    /// ([`watched::AgentReading::has_other_threads`]).
    pub fn open_agent(&mut self, agent: &Process) -> Option<Agent> {
        let tids = threads(&self.root, agent.pid);
        let is_same = |listed: &&Listed| (listed.pid, listed.starttime_ticks) == (agent.pid, agent.starttime_ticks);
        let before = self.listed.as_ref().filter(is_same).map_or(tids.as_slice(), |listed| &listed.tids);
        let open = |tid: &u32| {
            let age = if before.contains(tid) { Age::Old } else { Age::New };
            Thread::open(&self.root, agent.pid, *tid, age)
        };
        let watched = tids.iter().take(MOST_THREADS).map(open).collect();
        let opened = self.open(agent, watched, Some(tids.len()))?;
        self.listed = Some(Listed { pid: agent.pid, starttime_ticks: agent.starttime_ticks, tids });
        Some(opened)
    }

    /// Opens what is watched of the worker: the process as a whole; `None` when it has ended.
    pub fn open_worker(&mut self, worker: &Process) -> Option<Agent> {
        self.open(worker, Vec::new(), None)
    }

    fn open(&mut self, process: &Process, threads: Vec<Thread>, listed: Option<usize>) -> Option<Agent> {
        let stat = KernelFile::open(&self.root, format!("/proc/{}/stat", process.pid));
        let statm = KernelFile::open(&self.root, format!("/proc/{}/statm", process.pid));
        let known = process::parse_stat(stat.read(&mut self.buffer).ok()?)?;
        // The number may be another's by now.
        let is_same = known.starttime_ticks == process.starttime_ticks && !process::is_dead(known.state);
        let listed = listed.and_then(|listed| u64::try_from(listed).ok());
        is_same.then_some(Agent { process: *process, page_kb: self.page_kb, stat, statm, threads, listed })
    }
}

/// The threads of a process, its first one first, then by their numbers; none when it has ended.
#[must_use]
pub fn threads(root: &Root, pid: u32) -> Vec<u32> {
    let mut tids = numbered(root, &format!("/proc/{pid}/task"));
    tids.sort_unstable_by_key(|tid| (*tid != pid, *tid));
    tids
}

/// The entries of a folder that are numbers.
fn numbered(root: &Root, dir: &str) -> Vec<u32> {
    let entries = std::fs::read_dir(root.join(dir)).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::watched::{AgentReading, Waits};
    use super::*;

    const PAGE_KB: u64 = 4;

    struct Tree(tempfile::TempDir);

    impl Tree {
        /// A tree with a process a row: its number, name, state, parent, start and pages.
        fn of(processes: &[(u32, &str, char, u32, u64, u64)]) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            for (pid, comm, state, ppid, starttime, pages) in processes {
                let stat = stat(*pid, comm, *state, *ppid, 1, *starttime, *pages);
                tree.write(&format!("proc/{pid}/stat"), &stat);
                tree.write(&format!("proc/{pid}/statm"), &format!("9999 {pages} 1 1 0 1 0\n"));
                tree.write(&format!("proc/{pid}/oom_score_adj"), &format!("{}\n", pid * 10));
            }
            tree
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn thread(&self, pid: u32, tid: u32, state: char, schedstat: &str) {
            self.write(&format!("proc/{pid}/task/{tid}/stat"), &stat(tid, "t", state, 1, 1, 1, 1));
            self.write(&format!("proc/{pid}/task/{tid}/schedstat"), &format!("{schedstat}\n"));
        }

        fn remove(&self, path: &str) {
            std::fs::remove_dir_all(self.0.path().join(path)).unwrap();
        }

        fn processes(&self) -> Processes {
            Processes::new(Root::new(self.0.path().to_owned()), PAGE_KB)
        }
    }

    fn stat(pid: u32, comm: &str, state: char, ppid: u32, threads: u64, starttime: u64, pages: u64) -> String {
        format!(
            "{pid} ({comm}) {state} {ppid} 7 7 0 -1 0 9 0 0 0 1 2 0 0 20 0 {threads} 0 {starttime} 9 {pages} 18446744073709551615 0\n"
        )
    }

    fn told(look: &Look) -> Vec<(u64, u64, Option<i64>)> {
        look.largest.iter().map(|task| (task.pid, task.rss_kb, task.adj)).collect()
    }

    #[test]
    fn the_largest_are_told_and_the_broken_passed_over() {
        let tree = Tree::of(&[
            (1, "init", 'S', 0, 1, 10),
            (2, "kthreadd", 'S', 0, 1, 0),
            (3, "c", 'S', 1, 2, 30),
            (4, "d) (", 'S', 1, 2, 20),
            (5, "e", 'Z', 1, 2, 0),
            (6, "f", 'S', 1, 2, 60),
            (7, "g", 'S', 1, 2, 70),
            (8, "h", 'S', 1, 2, 5),
        ]);
        tree.write("proc/9/stat", "9 (cut");
        tree.write("proc/10/status", "it went while it was looked at");
        tree.write("proc/99999999999/stat", "no pid is as wide");
        tree.write("proc/meminfo", "MemTotal: 1 kB\n");
        std::fs::remove_file(tree.0.path().join("proc/6/oom_score_adj")).unwrap();
        let look = tree.processes().largest(Duration::from_millis(20), || Duration::ZERO);
        let expected = [(7, 280, Some(70)), (6, 240, None), (3, 120, Some(30)), (4, 80, Some(40)), (1, 40, Some(10))];
        assert_eq!(told(&look), expected);
        assert!(!look.is_cut);
        assert_eq!(look.largest.iter().nth(3).unwrap().comm.as_ref(), b"d) (");
    }

    #[test]
    fn when_time_runs_out_the_newest_have_been_looked_at() {
        let tree = Tree::of(&[(1, "a", 'S', 0, 1, 9), (2, "b", 'S', 0, 1, 2), (12, "c", 'S', 0, 1, 1)]);
        for (ms, expected) in [(0, &[][..]), (1, &[12][..]), (2, &[2, 12]), (3, &[1, 2, 12]), (9, &[1, 2, 12])] {
            // Each look at the clock takes a millisecond.
            let clock = Cell::new(Duration::from_secs(7));
            let now = || clock.replace(clock.get() + Duration::from_millis(1));
            let look = tree.processes().largest(Duration::from_millis(ms + 1), now);
            assert_eq!(look.largest.iter().map(|task| task.pid).collect::<Vec<_>>(), expected, "{ms}");
            assert_eq!(look.is_cut, ms < 3, "{ms}");
        }
        let empty = Processes::new(Root::new("/nowhere".into()), PAGE_KB).largest(Duration::ZERO, || Duration::ZERO);
        assert!(empty.largest.is_empty() && !empty.is_cut);
    }

    #[test]
    fn the_agent_and_its_worker_are_found() {
        let tree = Tree::of(&[
            (1, "init", 'S', 0, 1, 9),
            (5, "run.sh", 'S', 1, 2, 9),
            (7, "Runner.Listener", 'S', 5, 3, 9),
            (9, "Runner.Worker", 'S', 7, 4, 9),
        ]);
        let found = |tree: &Tree, name, exit_with| {
            let found = tree.processes().find(name, exit_with, None)?;
            Some((found.agent.pid, found.agent.starttime_ticks, found.worker.map(|worker| worker.pid)))
        };
        assert_eq!(found(&tree, None, Some(5)), Some((7, 3, Some(9))));
        tree.remove("proc/9");
        assert_eq!(found(&tree, None, None), Some((7, 3, None)));
        assert_eq!(found(&tree, Some(b"run.sh"), None), Some((5, 2, None)), "the older one");
        tree.remove("proc/7");
        assert_eq!(found(&tree, None, None), None);
    }

    #[test]
    fn an_agent_is_read_with_its_threads() {
        let tree = Tree::of(&[(77, "act_runner", 'S', 1, 5, 25)]);
        tree.write("proc/77/stat", &stat(77, "act_runner", 'S', 1, 3, 5, 25));
        for (tid, schedstat) in [(77, "9 100 1"), (80, "9 1000 1"), (9, "0 0 0")] {
            tree.thread(77, tid, 'S', schedstat);
        }
        let mut processes = tree.processes();
        assert_eq!(threads(&processes.root, 77), [77, 9, 80]);
        let found = processes.find(None, None, None).unwrap();
        let agent = processes.open_agent(&found.agent).unwrap();
        assert_eq!(agent.process().pid, 77);
        let (mut buffer, mut waits) = (Buffer::default(), Waits::default());
        let mut read = |agent: &Agent| agent.read(&mut buffer, &mut waits);
        let calm = AgentReading { state: Some(b'S'), rss_kb: Some(100), wait_ns: Some(0), ..AgentReading::default() };
        assert_eq!(read(&agent), calm, "what was waited before it was found is not counted");
        tree.thread(77, 77, 'S', "9 130 1");
        tree.thread(77, 80, 'D', "9 1004 1");
        tree.thread(77, 9, 'S', "9 700 1");
        let stuck = AgentReading { state: Some(b'D'), wait_ns: Some(34), ..calm };
        assert_eq!(read(&agent), stuck, "nor what was before it was first told");
        // One thread ended and two came.
        tree.remove("proc/77/task/80");
        tree.thread(77, 81, 'S', "9 5000 1");
        tree.thread(77, 82, 'S', "0 0 0");
        tree.write("proc/77/stat", &stat(77, "act_runner", 'R', 1, 4, 5, 25));
        assert!(read(&agent).has_other_threads);
        let agent = processes.open_agent(&found.agent).unwrap();
        let after = AgentReading { state: Some(b'R'), wait_ns: Some(5034), ..calm };
        assert_eq!([read(&agent), read(&agent)], [after, after]);
        let agent = processes.open_agent(&found.agent).unwrap();
        assert_eq!(read(&agent), after, "files opened anew count nothing twice");
        tree.write("proc/77/stat", &stat(77, "act_runner", 'Z', 1, 2, 5, 0));
        assert!(!read(&agent).is_gone, "one of its threads is still in the kernel");
        tree.write("proc/77/stat", &stat(77, "act_runner", 'Z', 1, 1, 5, 0));
        let gone = AgentReading { state: Some(b'Z'), is_gone: true, ..AgentReading::default() };
        assert_eq!(read(&agent), gone);
        assert!(processes.open_agent(&found.agent).is_none());
    }

    #[test]
    fn what_cannot_be_read_is_not_zero() {
        let tree = Tree::of(&[(77, "act_runner", 'S', 1, 5, 25)]);
        tree.thread(77, 77, 'S', "0 0 0");
        let mut processes = tree.processes();
        let found = processes.find(None, None, None).unwrap();
        let agent = processes.open_agent(&found.agent).unwrap();
        let (mut buffer, mut waits) = (Buffer::default(), Waits::default());
        assert_eq!(agent.read(&mut buffer, &mut waits).wait_ns, None, "the kernel does not count it");
        tree.write("proc/77/stat", "");
        tree.write("proc/77/statm", "");
        assert_eq!(agent.read(&mut buffer, &mut waits), AgentReading::default());
        tree.write("proc/77/stat", &stat(77, "act_runner", 'S', 1, 1, 6, 25));
        assert!(processes.open_agent(&found.agent).is_none(), "another process with its number");
        let worker = Process { starttime_ticks: 6, ..found.agent };
        waits.advance(77, Age::Old, 5);
        let reading = processes.open_worker(&worker).unwrap().read(&mut buffer, &mut waits);
        assert_eq!((reading.state, reading.has_other_threads, reading.wait_ns), (Some(b'S'), false, None));
        waits.advance(77, Age::Old, 7);
        assert_eq!(waits.total_ns(), 2, "a worker leaves the agent's threads alone");
    }

    #[test]
    fn more_threads_than_are_watched() {
        let tree = Tree::of(&[(77, "act_runner", 'S', 1, 5, 25)]);
        (77..177).for_each(|tid| tree.thread(77, tid, 'S', "1 7 1"));
        tree.write("proc/77/stat", &stat(77, "act_runner", 'S', 1, 100, 5, 25));
        let mut processes = tree.processes();
        let found = processes.find(None, None, None).unwrap();
        let (mut buffer, mut waits) = (Buffer::default(), Waits::default());
        let agent = processes.open_agent(&found.agent).unwrap();
        let reading = agent.read(&mut buffer, &mut waits);
        assert_eq!((agent.threads.len(), reading.wait_ns, reading.has_other_threads), (64, Some(0), false));
        // The last is watched now that one before it is gone; it is not new.
        tree.remove("proc/77/task/100");
        let agent = processes.open_agent(&found.agent).unwrap();
        assert_eq!(agent.read(&mut buffer, &mut waits).wait_ns, Some(0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_read() {
        let root = Root::new("/".into());
        let me = std::process::id();
        let name = std::fs::read("/proc/self/comm").unwrap();
        let mut processes = Processes::new(root.clone(), PAGE_KB);
        let found = processes.find(Some(name.trim_ascii_end()), Some(me), None).unwrap();
        assert_eq!((found.agent.pid, found.agent.comm.as_ref()), (me, name.trim_ascii_end()));
        assert_eq!(threads(&root, me).first(), Some(&me));
        let agent = processes.open_agent(&found.agent).unwrap();
        let reading = agent.read(&mut Buffer::default(), &mut Waits::default());
        assert!(reading.rss_kb.is_some_and(|kb| kb > 0) && reading.state.is_some() && !reading.is_gone, "{reading:?}");
        assert_eq!(reading.wait_ns.is_some(), std::path::Path::new("/proc/self/schedstat").exists());
        assert!(!processes.largest(Duration::from_secs(60), || Duration::ZERO).largest.is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_was_reaped_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut processes = Processes::new(Root::new("/".into()), PAGE_KB);
        let process = Process::from(processes.stat(child.id()).unwrap());
        let agent = processes.open_agent(&process).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let gone = AgentReading { is_gone: true, ..AgentReading::default() };
        assert_eq!(agent.read(&mut Buffer::default(), &mut Waits::default()), gone);
        assert!(processes.open_agent(&process).is_none() && threads(&processes.root, process.pid).is_empty());
    }
}
