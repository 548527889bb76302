//! The runner's agent and its worker on macOS: when all processes are looked through for them, and what of it is told.
//! Pure: the caller brings the clock and the processes.
//!
//! There are no files to keep open as on Linux: a process is asked for by its number, and is another one when it was started
//! at another time.

use std::time::Duration;

use crate::probe::agent_news::{AgentNews, id};
use crate::probe::event::AgentTold;
use crate::probe::source::process::{self, Process};

/// When they are looked for first: the probe is started just before the agent.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// How often all processes are looked through for what is missing.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The same once it has been missing for this long: there may be no agent at all.
const LOOK_SELDOM: Duration = Duration::from_secs(30);
const MISSING_FOR: Duration = Duration::from_secs(120);

/// What is known of the two.
#[derive(Debug, Default)]
pub struct Agents {
    agent: Option<Process>,
    worker: Option<Process>,
    looked_at: Option<Duration>,
    /// Since when there is no agent.
    missing_since: Duration,
    told: AgentNews,
}

impl Agents {
    /// The agent and the worker that are to be asked for.
    #[must_use]
    pub fn known(&self) -> [Option<Process>; 2] {
        [self.agent, self.worker]
    }

    /// Whether all processes are to be looked through now.
    #[must_use]
    pub fn wants_look(&self, now: Duration) -> bool {
        let pace = match (&self.agent, &self.worker) {
            (None, _) if now.saturating_sub(self.missing_since) > MISSING_FOR => LOOK_SELDOM,
            (Some(agent), None) if !process::has_workers(agent) => return false,
            (Some(_), Some(_)) => return false,
            _ => LOOK_EVERY,
        };
        self.looked_at.map_or(now >= FIRST_LOOK, |at| now.saturating_sub(at) >= pace)
    }

    /// Takes a look at all processes: an agent that is known stays, whatever else is called so.
    pub fn look(&mut self, all: &[Process], name: Option<&[u8]>, below: Option<u32>, now: Duration) {
        self.looked_at = Some(now);
        let of = |pid: u32| all.iter().find(|process| process.pid == pid).copied();
        let found = || process::choose(all, name, below).and_then(of);
        self.agent = self.agent.or_else(found);
        let agent = self.agent.map(|agent| agent.pid);
        self.worker = self.worker.or_else(|| process::worker(all, agent?).and_then(of));
    }

    /// Takes what was read of the two by their numbers; whatever has ended is known no more. `None` says that it could
    /// not be asked for, which says nothing of it.
    pub fn read(&mut self, [agent, worker]: [Option<Reading>; 2], now: Duration) {
        let is_gone = |known: &Option<Process>, read: Option<Reading>| match (known, read) {
            (Some(_), Some(Reading::Process(read))) => id(*known) != id(Some(read)) || process::is_dead(read.state),
            (Some(_), Some(Reading::None)) => true,
            _ => false,
        };
        if is_gone(&self.agent, agent) {
            (self.agent, self.missing_since, self.looked_at) = (None, now, None);
        }
        if is_gone(&self.worker, worker) {
            self.worker = None;
        }
    }

    /// What changed since it was told.
    pub fn news(&mut self) -> [Option<AgentTold>; 4] {
        self.told.tell(self.known())
    }

    /// This could not be told: it is news again.
    pub fn take_back(&mut self, news: &AgentTold) {
        self.told.take_back(news);
    }
}

/// What there is of a number.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// This process.
    Process(Process),
    /// None.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fixed::Fixed;

    fn process(pid: u32, ppid: u32, comm: &str, started: u64) -> Process {
        Process { pid, ppid, state: b'S', starttime_ticks: started, comm: Fixed::of(comm.as_bytes()) }
    }

    fn second(at: u64) -> Duration {
        Duration::from_secs(at)
    }

    fn told(agents: &mut Agents) -> Vec<String> {
        let tell = |told: &AgentTold| format!("{} {} {}", told.role.name(), told.what.name(), told.process.pid);
        agents.news().iter().flatten().map(tell).collect()
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn the_agent_and_its_worker_come_and_go() {
        let mut agents = Agents::default();
        let (listener, worker) = (process(7, 1, "Runner.Listener", 50), process(9, 7, "Runner.Worker", 60));
        assert!(!agents.wants_look(second(0)) && agents.wants_look(second(1)));
        agents.look(&[listener], None, None, second(1));
        assert_eq!(told(&mut agents), ["agent appeared 7"]);
        assert_eq!(told(&mut agents), NOTHING);
        assert!(!agents.wants_look(second(5)) && agents.wants_look(second(6)), "its worker is missing");
        agents.look(&[worker, listener], None, None, second(6));
        assert_eq!(told(&mut agents), ["worker appeared 9"]);
        assert!(!agents.wants_look(second(600)));
        agents.read([Some(Reading::Process(listener)), Some(Reading::None)], second(601));
        assert_eq!(told(&mut agents), ["worker vanished 9"]);
        let another = process(7, 1, "Runner.Listener", 51);
        agents.read([Some(Reading::Process(another)), None], second(602));
        assert_eq!(told(&mut agents), ["agent vanished 7"], "its number is another's");
        assert!(agents.wants_look(second(602)), "at once");
        agents.look(&[another], None, None, second(602));
        assert_eq!(told(&mut agents), ["agent appeared 7"]);
    }

    #[test]
    fn one_that_cannot_be_asked_for_is_not_given_up() {
        let mut agents = Agents::default();
        agents.look(&[process(7, 1, "act_runner", 50)], None, None, second(1));
        agents.read([None, None], second(2));
        agents.look(&[process(3, 1, "act_runner", 40)], None, None, second(3));
        assert_eq!(agents.known()[0].map(|agent| agent.pid), Some(7), "nor for an older one");
        assert!(!agents.wants_look(second(600)), "it has no workers");
        let zombie = Process { state: b'Z', ..process(7, 1, "act_runner", 50) };
        agents.read([Some(Reading::Process(zombie)), None], second(4));
        assert!(agents.known()[0].is_none());
    }

    #[test]
    fn what_could_not_be_told_is_news_again() {
        let mut agents = Agents::default();
        agents.look(&[process(7, 1, "act_runner", 50)], None, None, second(1));
        let appeared = agents.news().into_iter().flatten().next().unwrap();
        agents.take_back(&appeared);
        assert_eq!(told(&mut agents), ["agent appeared 7"]);
        agents.read([Some(Reading::None), None], second(2));
        let vanished = agents.news().into_iter().flatten().next().unwrap();
        agents.take_back(&vanished);
        assert_eq!(told(&mut agents), ["agent vanished 7"]);
    }

    #[test]
    fn where_there_is_no_agent_looks_become_seldom() {
        let mut agents = Agents::default();
        let mut looks = Vec::new();
        for at in 0..300 {
            if agents.wants_look(second(at)) {
                agents.look(&[], None, None, second(at));
                looks.push(at);
            }
        }
        assert_eq!(looks[..3], [1, 6, 11]);
        assert_eq!(looks[looks.len() - 3..], [236, 266, 296]);
    }
}
