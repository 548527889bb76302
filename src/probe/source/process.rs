//! What is read of a process, and which of them is the runner's agent: `/proc/PID/stat`, `statm`, `oom_score_adj`
//! (`Documentation/filesystems/proc.rst`) and `/proc/PID/task/TID/schedstat` (`Documentation/scheduler/sched-stats.rst`).
//!
//! Never `cmdline`, `environ`, `maps` or `smaps`: they wait for a lock that a dying process can hold, and hold secrets.

use super::text::{lines, number, signed, words};
use crate::probe::fixed::Fixed;
use crate::probe::largest::Comm;

/// `TASK_COMM_LEN` less its NUL: the kernel cuts a longer name.
pub const COMM_BYTES: usize = 15;

/// The process of `actions/runner` that listens for jobs; it starts a [`WORKER`] for each.
const LISTENER: &[u8] = b"Runner.Listener";

/// The process of `actions/runner` that runs one job.
const WORKER: &[u8] = b"Runner.Worker";

/// The agents that are known by their names.
const AGENTS: [&[u8]; 4] = [LISTENER, b"act_runner", b"gitlab-runner", b"buildkite-agent"];

/// `/proc/PID/stat`, or `/proc/PID/task/TID/stat` with the same fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat<'a> {
    /// Its process id, or the thread's.
    pub pid: u32,
    /// Its name as it is; it can hold anything but a NUL, a newline too.
    pub comm: &'a [u8],
    /// A letter: R runs or could, S sleeps, D waits and cannot be interrupted, Z is dead and not yet reaped.
    pub state: u8,
    /// Its parent's process id; 0 where there is none in view.
    pub ppid: u32,
    /// Threads of the process.
    pub num_threads: u64,
    /// When it was started, in clock ticks since boot.
    pub starttime_ticks: u64,
    /// Its resident memory in pages, nearly: the kernel counts it for each CPU.
    pub rss_pages: u64,
}

/// Reads `pid (comm) state ppid …`. The name can hold anything; behind the last `)` stands nothing of it.
#[must_use]
pub fn parse_stat(text: &[u8]) -> Option<Stat<'_>> {
    let open = memchr::memchr(b'(', text)?;
    let close = memchr::memrchr(b')', text)?;
    let comm = text.get(open + 1..close)?;
    let mut fields = words(text.get(close + 1..)?.trim_ascii_end());
    // Fields 3 and 4, then 20, 22 and 24.
    let [state @ (b'A'..=b'Z' | b'a'..=b'z')] = fields.next()? else { return None };
    Some(Stat {
        pid: id(text.get(..open)?.trim_ascii_end())?,
        comm,
        state: *state,
        ppid: id(fields.next()?)?,
        num_threads: number(fields.nth(15)?)?,
        starttime_ticks: number(fields.nth(1)?)?,
        rss_pages: number(fields.nth(1)?)?,
    })
}

/// `/proc/PID/task/TID/schedstat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedstat {
    /// Time on a CPU, nanoseconds.
    pub run_ns: u64,
    /// Time in a run queue, waiting for a CPU, nanoseconds.
    pub wait_ns: u64,
    /// How often it got a CPU.
    pub slices: u64,
}

/// Reads `run_ns wait_ns slices`; `None` also when all are 0, as they are where the kernel does not count them.
#[must_use]
pub fn parse_schedstat(text: &[u8]) -> Option<Schedstat> {
    let mut fields = words(lines(text).next()?).map_while(number);
    let schedstat = Schedstat { run_ns: fields.next()?, wait_ns: fields.next()?, slices: fields.next()? };
    (schedstat != Schedstat { run_ns: 0, wait_ns: 0, slices: 0 }).then_some(schedstat)
}

/// Reads `size resident …` of `/proc/PID/statm`: the resident memory in pages.
#[must_use]
pub fn parse_statm(text: &[u8]) -> Option<u64> {
    number(words(lines(text).next()?).nth(1)?)
}

/// Reads `/proc/PID/oom_score_adj`.
#[must_use]
pub fn parse_oom_score_adj(text: &[u8]) -> Option<i64> {
    signed(lines(text).next()?)
}

/// A process, as far as the choice of the agent needs it.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// Its parent's.
    pub ppid: u32,
    /// Its state, a letter.
    pub state: u8,
    /// When it was started, in clock ticks since boot.
    pub starttime_ticks: u64,
    /// Its name.
    pub comm: Comm,
}

impl From<Stat<'_>> for Process {
    fn from(stat: Stat<'_>) -> Self {
        let Stat { pid, ppid, state, starttime_ticks, comm, .. } = stat;
        Self { pid, ppid, state, starttime_ticks, comm: Fixed::of(comm) }
    }
}

impl Process {
    fn is_alive(&self) -> bool {
        !is_dead(self.state)
    }

    fn is_named(&self, name: &[u8]) -> bool {
        let name = name.get(..COMM_BYTES).unwrap_or(name);
        !name.is_empty() && self.comm.as_ref() == name
    }
}

/// Whether a state says that the process or thread has ended.
#[must_use]
pub fn is_dead(state: u8) -> bool {
    matches!(state, b'Z' | b'X' | b'x')
}

/// The runner's agent: a known one or one of the given name, that is alive. Of several the nearest descendant of the
/// `exit_with` process (itself is nearest), then the one started first.
#[must_use]
pub fn choose(processes: &[Process], name: Option<&[u8]>, exit_with: Option<u32>) -> Option<u32> {
    let is_agent = |process: &Process| AGENTS.into_iter().chain(name).any(|name| process.is_named(name));
    let key = |process: &&Process| {
        let distance = exit_with.and_then(|ancestor| distance(processes, process.pid, ancestor));
        (distance.unwrap_or(usize::MAX), process.starttime_ticks, process.pid)
    };
    let agents = processes.iter().filter(|process| process.is_alive() && is_agent(process));
    agents.min_by_key(key).map(|process| process.pid)
}

/// Whether an agent starts a process of its own for each job.
#[must_use]
pub fn has_workers(agent: &Process) -> bool {
    agent.is_named(LISTENER)
}

/// The `Runner.Worker` of an agent that has one, a `Runner.Listener`: its nearest descendant, then the one started
/// first. A job can name a process of its own so, but that one is further down.
#[must_use]
pub fn worker(processes: &[Process], agent: u32) -> Option<u32> {
    processes.iter().find(|process| process.pid == agent && process.is_named(LISTENER))?;
    let workers = processes.iter().filter(|process| process.is_alive() && process.is_named(WORKER));
    let near = workers.filter_map(|process| Some((distance(processes, process.pid, agent)?, process)));
    near.min_by_key(|(distance, process)| (*distance, process.starttime_ticks, process.pid)).map(|near| near.1.pid)
}

/// How many generations lie between a process and an ancestor of it; `None` when it is none.
fn distance(processes: &[Process], pid: u32, ancestor: u32) -> Option<usize> {
    let parent = |pid: &u32| processes.iter().find(|process| process.pid == *pid).map(|process| process.ppid);
    // Processes come and go while they are listed, and a pid that was used again can close a circle.
    std::iter::successors(Some(pid), parent).take(processes.len() + 1).position(|pid| pid == ancestor)
}

fn id(word: &[u8]) -> Option<u32> {
    u32::try_from(number(word)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel prints it.
    fn stat(pid: u32, comm: &str, state: char, ppid: i64) -> String {
        format!(
            "{pid} ({comm}) {state} {ppid} 7 7 0 -1 4194304 99 0 0 0 1 2 0 0 20 0 3 0 268136 3133440 358 184467 0 0\n"
        )
    }

    #[test]
    fn a_name_can_hold_anything() {
        for comm in ["", "node", "a b", ") R 1 (", "((", "))", ")\n1 (x) Z 2", "é"] {
            let text = stat(77, comm, 'S', 1);
            let expected = Stat {
                pid: 77,
                comm: comm.as_bytes(),
                state: b'S',
                ppid: 1,
                num_threads: 3,
                starttime_ticks: 268_136,
                rss_pages: 358,
            };
            assert_eq!(parse_stat(text.as_bytes()), Some(expected), "{comm:?}");
        }
    }

    #[test]
    fn a_broken_stat_is_absent() {
        let cut = |fields| stat(7, "a", 'S', 1).split_inclusive(' ').take(fields).collect::<String>();
        for text in [
            String::new(),
            ")(".into(),
            cut(23),
            stat(7, "a", '7', 1),
            stat(7, "a", 'S', -1),
            stat(7, "a", 'S', 1).replace("7 (", "x ("),
            stat(7, "a", 'S', 1).replace("268136", "-1"),
            stat(7, "a", 'S', i64::MAX),
        ] {
            assert_eq!(parse_stat(text.as_bytes()), None, "{text}");
        }
        assert!(parse_stat(cut(24).as_bytes()).is_some());
    }

    #[test]
    fn small_files() {
        for (text, wait_ns) in [
            (&b"1000940 30 1\n"[..], Some(30)),
            (b"0 0 1\n", Some(0)),
            (b"0 0 0\n", None),
            (b"1000940 30", None),
            (b"1000940 x 1\n", None),
            (b"", None),
        ] {
            assert_eq!(parse_schedstat(text).map(|read| read.wait_ns), wait_ns, "{text:?}");
        }
        for (text, pages) in [(&b"765 399 372 5 0 123 0\n"[..], Some(399)), (b"765", None), (b"765 x", None)] {
            assert_eq!(parse_statm(text), pages, "{text:?}");
        }
        for (text, adj) in [(&b"-998\n"[..], Some(-998)), (b"500\n", Some(500)), (b"\n", None), (b"5 5\n", None)] {
            assert_eq!(parse_oom_score_adj(text), adj, "{text:?}");
        }
    }

    /// `pid ppid starttime comm`, a process a line.
    fn processes(text: &str) -> Vec<Process> {
        let process = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [pid, ppid, starttime_ticks] = [0, 1, 2].map(|at| words[at].parse::<u32>().unwrap());
            let state = if words.get(4).is_some() { b'Z' } else { b'S' };
            let comm = Fixed::of(words.get(3).copied().unwrap_or_default().as_bytes());
            Process { pid, ppid, state, starttime_ticks: starttime_ticks.into(), comm }
        };
        text.lines().map(process).collect()
    }

    #[test]
    fn the_agent_is_known_by_its_name() {
        for comm in ["Runner.Listener", "act_runner", "gitlab-runner", "buildkite-agent"] {
            assert_eq!(choose(&processes(&format!("1 0 1 init\n7 1 5 {comm}")), None, None), Some(7), "{comm}");
        }
        let other = processes("1 0 1 init\n7 1 5 a-runner-of-our\n8 1 5 a-runner-of-o");
        for (name, agent) in [
            ("a-runner-of-our-own", Some(7)),
            ("a-runner-of-our", Some(7)),
            ("a-runner-of-o", Some(8)),
            ("a-runner", None),
            ("", None),
        ] {
            assert_eq!(choose(&other, Some(name.as_bytes()), None), agent, "{name}");
        }
        assert_eq!(choose(&processes("7 1 5 "), Some(b""), None), None);
    }

    #[test]
    fn the_nearest_then_the_oldest() {
        let several = processes(
            "1 0 1 init\n2 1 1 act_runner\n10 1 2 run-job.sh\n11 10 3 run.sh\n12 11 9 act_runner\n13 12 4 act_runner\n\
             14 1 0 act_runner zombie\n15 10 9 act_runner zombie",
        );
        for (exit_with, agent) in
            [(None, 2), (Some(10), 12), (Some(11), 12), (Some(13), 13), (Some(12), 12), (Some(1), 2), (Some(99), 2)]
        {
            assert_eq!(choose(&several, None, exit_with), Some(agent), "{exit_with:?}");
        }
        let same_age = processes("9 1 5 act_runner\n8 1 5 act_runner");
        assert_eq!(choose(&same_age, None, None), Some(8));
    }

    #[test]
    fn parents_in_a_circle_end() {
        let circle = processes("1 0 1 init\n7 8 1 act_runner\n8 7 1 sh\n9 9 2 act_runner");
        for (exit_with, agent) in [(Some(1), 7), (Some(8), 7), (Some(9), 9)] {
            assert_eq!(choose(&circle, None, exit_with), Some(agent), "{exit_with:?}");
        }
    }

    #[test]
    fn the_worker_is_the_listeners_own() {
        let tree = processes(
            "5 1 1 Runner.Listener\n6 5 2 Runner.Worker\n7 6 1 Runner.Worker\n8 1 0 Runner.Worker\n9 1 1 act_runner\n\
             10 9 1 Runner.Worker\n11 5 1 Runner.Worker zombie",
        );
        for (agent, expected) in [(5, Some(6)), (9, None), (6, None), (99, None)] {
            assert_eq!(worker(&tree, agent), expected, "{agent}");
        }
    }
}
