//! The runner's agent and its worker: when they are looked for, which files the sampler reads of them, and what of it is
//! told.

use std::time::Duration;

use super::agent_news::{AgentNews, id};
use super::event::{AgentEvent, AgentTold, Role};
use super::kernel::Buffer;
use super::processes::Processes;
use super::processes::watched::{Agent, AgentReading, Waits};
use super::source::process::{self, Process};

/// How often all processes are looked through for what is missing: a look takes about a millisecond of CPU in a guest
/// with a hundred of them.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// When they are looked through first: the probe is started just before the agent.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// The same once it has been missing for this long: there may be no agent at all.
const LOOK_SELDOM: Duration = Duration::from_secs(30);
const MISSING_FOR: Duration = Duration::from_secs(120);

/// How often the threads of an agent are listed anew at most: some come and go all the time.
const OPEN_EVERY: Duration = Duration::from_secs(5);

/// A starved agent is told so often at most, so that there is room to tell that it vanished.
const TELL_WAIT_EVERY: Duration = Duration::from_secs(15);

/// A wait for a CPU that is told by itself.
const LONG_WAIT_NS: u64 = 1_000_000_000;

/// What is watched: kept-open files, made off the sample path.
#[derive(Debug, Default)]
pub struct Agents {
    /// The runner's own process.
    pub agent: Option<Agent>,
    /// What runs its job.
    pub worker: Option<Agent>,
}

impl Agents {
    fn processes(&self) -> [Option<Process>; 2] {
        [&self.agent, &self.worker].map(|agent| agent.as_ref().map(|agent| *agent.process()))
    }
}

fn is_over(since: Option<Duration>, pace: Duration, now: Duration) -> bool {
    since.is_none_or(|since| now.saturating_sub(since) >= pace)
}

/// The helper thread's side: looks for them, and opens their files.
#[derive(Debug)]
pub struct Lookout {
    processes: Processes,
    name: Option<Vec<u8>>,
    below: Option<u32>,
    /// What the sampler has.
    shown: [Option<Process>; 2],
    looked_at: Option<Duration>,
    opened_at: Option<Duration>,
    /// Since when there is no agent.
    missing_since: Duration,
}

impl Lookout {
    /// Looks for the known agents, or one of this name, below `below` first.
    #[must_use]
    pub fn new(processes: Processes, name: Option<Vec<u8>>, below: Option<u32>) -> Self {
        Self {
            processes,
            name,
            below,
            shown: [None; 2],
            looked_at: None,
            opened_at: None,
            missing_since: Duration::ZERO,
        }
    }

    /// All processes, for a look at the largest.
    pub fn processes(&mut self) -> &mut Processes {
        &mut self.processes
    }

    /// Looks, when it is time to or something is not right any more, and gives the files to watch from now on when they
    /// are others. One that is watched is given up only when it has ended: that it could not be looked at says nothing.
    pub fn look(&mut self, asked: Asked, now: Duration) -> Option<Agents> {
        let [agent, worker] = self.shown;
        let [agent, worker] = match asked {
            Asked::No | Asked::HasOtherThreads => [agent, worker],
            Asked::WorkerHasEnded => [agent, None],
            Asked::AgentHasEnded => [None, None],
        };
        let has_ended = [agent, worker].map(id) != self.shown.map(id);
        let is_time = match (self.looked_at, self.pace(now)) {
            (None, _) => now >= FIRST_LOOK,
            (_, pace) => pace.is_some_and(|pace| is_over(self.looked_at, pace, now)),
        };
        let found = if has_ended || is_time {
            self.looked_at = Some(now);
            self.processes.find(self.name.as_deref(), self.below, agent.map(|agent| agent.pid))
        } else {
            None
        };
        let next = [agent.or(found.map(|found| found.agent)), worker.or(found.and_then(|found| found.worker))];
        let has_other_threads = asked == Asked::HasOtherThreads && is_over(self.opened_at, OPEN_EVERY, now);
        if next.map(id) == self.shown.map(id) && !has_other_threads {
            return None;
        }
        self.opened_at = Some(now);
        let agents = self.open(next);
        // Of one that is still there files could not be had: those that are open are better.
        if agents.agent.is_none() && agent.is_some() {
            return None;
        }
        if agents.agent.is_none() && self.shown[0].is_some() {
            self.missing_since = now;
        }
        self.shown = agents.processes();
        Some(agents)
    }

    /// How often to look for what is missing; `None` when nothing is.
    fn pace(&self, now: Duration) -> Option<Duration> {
        match self.shown {
            [None, _] if now.saturating_sub(self.missing_since) > MISSING_FOR => Some(LOOK_SELDOM),
            [None, _] => Some(LOOK_EVERY),
            [Some(agent), None] if process::has_workers(&agent) => Some(LOOK_EVERY),
            _ => None,
        }
    }

    fn open(&mut self, [agent, worker]: [Option<Process>; 2]) -> Agents {
        Agents {
            agent: agent.and_then(|agent| self.processes.open_agent(&agent)),
            worker: worker.and_then(|worker| self.processes.open_worker(&worker)),
        }
    }
}

/// What the sampler has seen of the files that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// They are right.
    No,
    /// The agent has other threads than those listed.
    HasOtherThreads,
    /// The worker has ended.
    WorkerHasEnded,
    /// The agent has, whatever its worker does.
    AgentHasEnded,
}

impl Asked {
    /// The one with this number.
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            0 => Self::No,
            1 => Self::HasOtherThreads,
            2 => Self::WorkerHasEnded,
            _ => Self::AgentHasEnded,
        }
    }
}

/// The sampler's side: reads them, and knows what of it was told. Allocates nothing.
#[derive(Debug, Default)]
pub struct Watch {
    waits: Waits,
    told: AgentNews,
    /// What the agent had waited at the last due sample.
    waited_ns: Option<u64>,
    /// When a long wait was told last.
    wait_told_at: Option<Duration>,
}

impl Watch {
    /// Reads the agent, and whether the worker is there. Gives what to ask the helper for, and what is to be told: of
    /// each what vanished, then what appeared.
    pub fn read(&mut self, agents: &Agents, buffer: &mut Buffer) -> Seen {
        let processes = agents.processes();
        if id(processes[0]) != id(self.told.agent()) {
            (self.waits, self.waited_ns) = (Waits::default(), None);
        }
        let agent = agents.agent.as_ref().map(|agent| agent.read(buffer, &mut self.waits));
        let worker = agents.worker.as_ref().map(|worker| worker.read(buffer, &mut self.waits));
        let has_ended = [agent, worker].map(|reading| reading.is_some_and(|reading| reading.is_gone));
        let asked = match agent {
            _ if has_ended[0] => Asked::AgentHasEnded,
            _ if has_ended[1] => Asked::WorkerHasEnded,
            Some(agent) if agent.has_other_threads => Asked::HasOtherThreads,
            _ => Asked::No,
        };
        let [agent_there, worker_there] = processes;
        let there = [agent_there.filter(|_| !has_ended[0]), worker_there.filter(|_| !has_ended[1])];
        Seen { agent: agent.filter(|agent| !agent.is_gone), asked, news: self.told.tell(there) }
    }

    /// At a due sample: that the agent waited long for a CPU since the last one.
    pub fn long_wait(&mut self, reading: &AgentReading, now: Duration) -> Option<AgentTold> {
        let before = std::mem::replace(&mut self.waited_ns, reading.wait_ns)?;
        let waited_ns = reading.wait_ns?.checked_sub(before).filter(|waited| *waited > LONG_WAIT_NS)?;
        let process = self.told.agent().filter(|_| is_over(self.wait_told_at, TELL_WAIT_EVERY, now))?;
        self.wait_told_at = Some(now);
        Some(AgentTold { role: Role::Agent, what: AgentEvent::Waited, process, wait_ms: Some(waited_ns / 1_000_000) })
    }

    /// This could not be told: it is news again at the next reading.
    pub fn take_back(&mut self, news: &AgentTold) {
        self.told.take_back(news);
    }
}

/// What a reading of the agent brought.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The agent, while it is there.
    pub agent: Option<AgentReading>,
    /// What the files are not right any more for.
    pub asked: Asked,
    /// What is to be told.
    pub news: [Option<AgentTold>; 4],
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::kernel::Root;
    use super::*;

    fn second(at: u64) -> Duration {
        Duration::from_secs(at)
    }

    /// Lays a process out: a thread of its own, with so much waited.
    fn process(root: &Path, pid: u32, comm: &str, ppid: u32, wait_ns: u64) {
        let stat = format!("{pid} ({comm}) S {ppid} 7 7 0 -1 0 9 0 0 0 1 2 0 0 20 0 1 0 {pid} 9 25 0\n");
        let task = root.join(format!("proc/{pid}/task/{pid}"));
        std::fs::create_dir_all(&task).unwrap();
        for (file, text) in [
            ("stat", stat.as_str()),
            ("task/stat", &stat),
            ("statm", "99 25 1 1 0 1 0\n"),
            ("task/schedstat", &format!("9 {wait_ns} 1\n")),
        ] {
            let folder = if file.starts_with("task/") { task.clone() } else { root.join(format!("proc/{pid}")) };
            std::fs::write(folder.join(file.trim_start_matches("task/")), text).unwrap();
        }
    }

    fn end(root: &Path, pid: u32) {
        let stat = format!("{pid} (gone) Z 1 7 7 0 -1 0 9 0 0 0 1 2 0 0 20 0 1 0 {pid} 9 0 0\n");
        std::fs::write(root.join(format!("proc/{pid}/stat")), stat).unwrap();
    }

    fn lookout(root: &Path) -> Lookout {
        Lookout::new(Processes::new(Root::new(root.to_owned()), 4), None, None)
    }

    fn told(seen: &Seen) -> Vec<String> {
        let tell = |told: &AgentTold| format!("{} {} {}", told.role.name(), told.what.name(), told.process.pid);
        seen.news.iter().flatten().map(tell).collect()
    }

    #[test]
    fn the_agent_and_its_worker_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let (mut lookout, mut watch, mut buffer) = (lookout(root), Watch::default(), Buffer::default());
        assert!(lookout.look(Asked::No, second(1)).is_none());
        process(root, 7, "Runner.Listener", 1, 0);
        assert!(lookout.look(Asked::No, second(5)).is_none(), "not yet looked again");
        let agents = lookout.look(Asked::No, second(6)).unwrap();
        let seen = watch.read(&agents, &mut buffer);
        assert_eq!((told(&seen), seen.asked), (vec!["agent appeared 7".to_owned()], Asked::No));
        assert_eq!(told(&watch.read(&agents, &mut buffer)), [""; 0], "told once");
        process(root, 9, "Runner.Worker", 7, 0);
        let agents = lookout.look(Asked::No, second(11)).unwrap();
        assert_eq!(told(&watch.read(&agents, &mut buffer)), ["worker appeared 9"]);
        assert!(lookout.look(Asked::No, second(100)).is_none(), "nothing is missing");
        end(root, 9);
        let seen = watch.read(&agents, &mut buffer);
        assert_eq!((told(&seen), seen.asked), (vec!["worker vanished 9".to_owned()], Asked::WorkerHasEnded));
        let agents = lookout.look(Asked::WorkerHasEnded, second(101)).unwrap();
        assert_eq!(told(&watch.read(&agents, &mut buffer)), [""; 0]);
        end(root, 7);
        let seen = watch.read(&agents, &mut buffer);
        assert_eq!((told(&seen), seen.agent), (vec!["agent vanished 7".to_owned()], None));
        watch.take_back(&seen.news.into_iter().flatten().next().unwrap());
        assert_eq!(told(&watch.read(&agents, &mut buffer)), ["agent vanished 7"], "it could not be told");
        assert!(lookout.look(Asked::AgentHasEnded, second(102)).unwrap().agent.is_none());
    }

    #[test]
    fn who_ends_in_one_span_ends_before_its_agent() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        process(root, 7, "Runner.Listener", 1, 0);
        process(root, 9, "Runner.Worker", 7, 0);
        let mut lookout = lookout(root);
        let agents = lookout.look(Asked::No, second(1)).unwrap();
        let (mut watch, mut buffer) = (Watch::default(), Buffer::default());
        assert_eq!(told(&watch.read(&agents, &mut buffer)), ["agent appeared 7", "worker appeared 9"]);
        end(root, 7);
        end(root, 9);
        assert_eq!(told(&watch.read(&agents, &mut buffer)), ["worker vanished 9", "agent vanished 7"]);
    }

    #[test]
    fn an_agent_that_cannot_be_looked_at_is_not_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        process(root, 7, "act_runner", 1, 0);
        let mut lookout = lookout(root);
        assert!(lookout.look(Asked::No, second(1)).is_some());
        std::fs::rename(root.join("proc"), root.join("away")).unwrap();
        assert!(lookout.look(Asked::HasOtherThreads, second(20)).is_none());
        std::fs::rename(root.join("away"), root.join("proc")).unwrap();
        // Another of that name, nearer or older, changes nothing while the first is there.
        process(root, 3, "act_runner", 1, 0);
        let agents = lookout.look(Asked::HasOtherThreads, second(40)).unwrap();
        assert_eq!(agents.processes()[0].map(|agent| agent.pid), Some(7));
    }

    #[test]
    fn where_there_is_no_agent_looks_become_seldom() {
        let dir = tempfile::tempdir().unwrap();
        let mut lookout = lookout(dir.path());
        let mut looks = Vec::new();
        for at in 0..300 {
            lookout.look(Asked::No, second(at));
            if lookout.looked_at == Some(second(at)) {
                looks.push(at);
            }
        }
        assert_eq!(looks[..4], [1, 6, 11, 16]);
        assert_eq!(looks[looks.len() - 3..], [236, 266, 296]);
    }

    #[test]
    fn a_long_wait_is_told_from_one_due_sample_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        process(root, 7, "act_runner", 1, 5_000_000_000);
        let (mut lookout, mut watch, mut buffer) = (lookout(root), Watch::default(), Buffer::default());
        let agents = lookout.look(Asked::No, second(1)).unwrap();
        assert!(lookout.look(Asked::No, second(60)).is_none(), "it has no workers");
        let mut waited = |at, wait_ns: u64| {
            std::fs::write(root.join("proc/7/task/7/schedstat"), format!("9 {wait_ns} 1\n")).unwrap();
            let reading = watch.read(&agents, &mut buffer).agent.unwrap();
            watch.long_wait(&reading, second(at)).and_then(|told| told.wait_ms)
        };
        assert_eq!(waited(61, 5_000_000_000), None);
        assert_eq!(waited(62, 6_000_000_000), None, "not over a second");
        assert_eq!(waited(63, 7_600_000_000), Some(1600));
        assert_eq!(waited(77, 9_600_000_000), None, "told lately");
        assert_eq!(waited(78, 11_600_000_000), Some(2000));
    }
}
