//! What was told of the runner's agent and its worker: that they appeared, and that they vanished.

use super::event::{AgentEvent, AgentTold, Role};
use super::source::process::Process;

/// Those that were told to be there. Allocates nothing.
#[derive(Debug, Default)]
pub struct AgentNews {
    agent: Option<Process>,
    worker: Option<Process>,
}

impl AgentNews {
    /// The agent that was told to be there.
    #[must_use]
    pub const fn agent(&self) -> Option<Process> {
        self.agent
    }

    /// What is new now that these are there: a worker ends before its agent, and appears behind it.
    pub fn tell(&mut self, [agent, worker]: [Option<Process>; 2]) -> [Option<AgentTold>; 4] {
        let before = std::mem::replace(self, Self { agent, worker });
        let [agent_gone, agent_new] = changed(Role::Agent, before.agent, agent);
        let [worker_gone, worker_new] = changed(Role::Worker, before.worker, worker);
        [worker_gone, agent_gone, agent_new, worker_new]
    }

    /// This could not be told: it is news again the next time.
    pub fn take_back(&mut self, news: &AgentTold) {
        let told = if news.role == Role::Agent { &mut self.agent } else { &mut self.worker };
        match news.what {
            AgentEvent::Appeared => *told = None,
            AgentEvent::Vanished if told.is_none() => *told = Some(news.process),
            AgentEvent::Vanished | AgentEvent::Waited => {}
        }
    }
}

/// What tells a process from a later one with the same number.
#[must_use]
pub fn id(process: Option<Process>) -> Option<(u32, u64)> {
    process.map(|process| (process.pid, process.starttime_ticks))
}

fn changed(role: Role, before: Option<Process>, now: Option<Process>) -> [Option<AgentTold>; 2] {
    if id(before) == id(now) {
        return [None; 2];
    }
    let told = |what, process: Option<Process>| process.map(|process| AgentTold { role, what, process, wait_ms: None });
    [told(AgentEvent::Vanished, before), told(AgentEvent::Appeared, now)]
}
