//! What happened between samples: the records of an OOM joined to one kill a line, and how many lines a kind may write.

use std::time::Duration;

use super::fixed::Fixed;
use super::largest::Comm;
use super::sample::Sample;
use super::source::kmsg::{OomRecord, Scope, Victim};
use super::source::pressure::Resource;
use super::source::process::Process;

/// How long a group kill may take from one member to the next, by the kernel's clock.
const GROUP_PATIENCE_US: u64 = 5_000_000;

/// How long a chosen victim waits for the record that it was killed.
const PATIENCE: Duration = Duration::from_secs(1);

/// A cgroup's path; one byte more than a line prints, so that a cut shows.
pub type CgroupPath = Fixed<513>;

/// A kernel message, likewise.
pub type Text = Fixed<1025>;

/// One process that the kernel killed for memory.
#[derive(Clone, Debug)]
pub struct Kill {
    /// Whose memory ran out; `None` where the kernel did not say.
    pub scope: Option<Scope>,
    /// The victim's name.
    pub comm: Comm,
    /// Its pid in the initial namespace.
    pub pid: u64,
    /// Its resident memory in KiB.
    pub rss_kb: Option<u64>,
    /// Its `oom_score_adj`.
    pub adj: Option<i64>,
    /// The cgroup whose limit was met; of a guest-wide OOM the victim's.
    pub cgroup: Option<CgroupPath>,
    /// The kernel's clock, microseconds since boot.
    pub time_us: u64,
    /// The kernel's text.
    pub text: Text,
    /// Whether it is from before the run began.
    pub is_old: bool,
}

/// The moment and the text of a record.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The kernel's clock, microseconds since boot.
    pub time_us: u64,
    /// The text, its escapes undone.
    pub text: &'a [u8],
    /// Whether the record is from before the run began.
    pub is_old: bool,
}

/// Joins the two or three records of one kill. Allocates nothing.
///
/// A kernel chooses (`oom-kill:`, or `Kill process` before 5.0) and then tells that it killed. The choice is left out
/// when kills follow each other quickly. With memory.oom.group the others of the cgroup follow without being chosen,
/// and the first is told twice.
#[derive(Debug, Default)]
pub struct OomJoiner {
    /// Chosen, and not yet told to be killed; since when, on the sampler's clock.
    chosen: Option<(Kill, Duration)>,
    /// What kernels before 5.0 say ahead of the kill.
    scope: Option<Scope>,
    limited: Option<CgroupPath>,
    /// The cgroup of which all are being killed, and when the last of them was, by the kernel's clock.
    group: Option<(CgroupPath, u64)>,
    /// The first victim of the OOM under way.
    first_pid: Option<u64>,
}

impl OomJoiner {
    /// Takes the next record; gives the kills that are complete with it: none, one, or one left over and one.
    pub fn take(&mut self, record: OomRecord<'_>, told: Told<'_>, now: Duration) -> [Option<Kill>; 2] {
        match record {
            OomRecord::Invoked => {
                let left_over = self.rest();
                *self = Self::default();
                [left_over, None]
            }
            OomRecord::Limit { cgroup } => {
                self.limited = Some(Fixed::of(cgroup));
                [None, None]
            }
            OomRecord::Scored { scope, pid: _ } => {
                self.scope = scope;
                [None, None]
            }
            OomRecord::Group { cgroup } => {
                self.group = Some((Fixed::of(cgroup), told.time_us));
                [None, None]
            }
            OomRecord::Chosen { scope, cgroup, comm, pid } => {
                let left_over = self.rest();
                *self = Self::default();
                let (scope, cgroup) = (Some(scope), Some(Fixed::of(cgroup)));
                let kill = Kill { scope, cgroup, ..told.kill(comm, pid) };
                self.chosen = Some((kill, now));
                [left_over, None]
            }
            OomRecord::Killed(victim) => self.killed(victim, told),
        }
    }

    fn killed(&mut self, victim: Victim<'_>, told: Told<'_>) -> [Option<Kill>; 2] {
        let (chosen, left_over) = match self.rest() {
            Some(kill) if kill.pid == victim.pid => (Some(kill), None),
            other => (None, other),
        };
        // A later kill that was not announced is none of the group's.
        self.group.take_if(|(_, last_us)| told.time_us.saturating_sub(*last_us) > GROUP_PATIENCE_US);
        if let Some((_, last_us)) = &mut self.group {
            *last_us = told.time_us;
            if self.first_pid == Some(victim.pid) {
                return [left_over, None];
            }
        }
        self.first_pid = self.first_pid.or(Some(victim.pid));
        let (chosen_scope, chosen_cgroup) = chosen.map_or((None, None), |kill| (kill.scope, kill.cgroup));
        let kill = Kill {
            scope: chosen_scope.or(victim.scope).or(self.scope.take()),
            rss_kb: victim.rss_kb,
            adj: victim.adj,
            cgroup: chosen_cgroup.or(self.group.map(|(cgroup, _)| cgroup)).or(self.limited.take()),
            ..told.kill(victim.comm, victim.pid)
        };
        [left_over, Some(kill)]
    }

    /// A victim that was chosen long ago and whose kill was never told.
    pub fn overdue(&mut self, now: Duration) -> Option<Kill> {
        self.chosen.take_if(|(_, since)| now.saturating_sub(*since) >= PATIENCE).map(|(kill, _)| kill)
    }

    /// When [`OomJoiner::overdue`] is to be asked; `None` while nothing waits.
    #[must_use]
    pub fn overdue_in(&self, now: Duration) -> Option<Duration> {
        self.chosen.as_ref().map(|(_, since)| PATIENCE.saturating_sub(now.saturating_sub(*since)))
    }

    /// The victim that was chosen and whose kill is not told yet.
    pub fn rest(&mut self) -> Option<Kill> {
        self.chosen.take().map(|(kill, _)| kill)
    }
}

impl Told<'_> {
    /// A kill that this record tells, with no more than that.
    fn kill(&self, comm: &[u8], pid: u64) -> Kill {
        Kill {
            scope: None,
            comm: Fixed::of(comm),
            pid,
            rss_kb: None,
            adj: None,
            cgroup: None,
            time_us: self.time_us,
            text: Fixed::of(self.text),
            is_old: self.is_old,
        }
    }
}

/// Whose OOM counter moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// The watched cgroup's.
    Own,
    /// Its topmost visible ancestor's.
    Tree,
    /// The whole guest's.
    Vm,
}

impl Counter {
    /// As the line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Tree => "tree",
            Self::Vm => "vm",
        }
    }
}

/// Which OOM counters moved between two samples, and by how many kills. One that went back did not move.
pub fn moved(before: &Sample, now: &Sample) -> impl Iterator<Item = (Counter, u64)> + Clone {
    let grown = |of: fn(&Sample) -> Option<u64>| of(now)?.checked_sub(of(before)?);
    let same_files = before.cgroup.counters_id == now.cgroup.counters_id;
    let own = grown(|sample| sample.cgroup.events.oom_kill);
    let met = grown(|sample| sample.cgroup.events.oom).filter(|grown| *grown > 0);
    // v2 counts the limit and the kills apart: the one can move without the other.
    let own = own.filter(|kills| *kills > 0 || met.is_some()).filter(|_| same_files);
    let tree = grown(|sample| sample.cgroup.tree_oom_kill).filter(|kills| *kills > 0 && same_files);
    let vm = grown(|sample| sample.vmstat.oom_kill).filter(|kills| *kills > 0);
    let all = [(Counter::Own, own), (Counter::Tree, tree), (Counter::Vm, vm)];
    all.into_iter().filter_map(|(counter, kills)| Some((counter, kills?)))
}

/// Whether the kernel's messages tell the kills that a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// They tell as many or more.
    Agrees,
    /// They tell fewer: some were overwritten, or printed too late.
    Missing,
    /// They cannot be read.
    Unread,
}

impl Agreement {
    /// Of so many kills that a counter counts and so many that were told; `None` told where nothing can be.
    #[must_use]
    pub fn of(counted: u64, told: Option<u64>) -> Self {
        match told {
            None => Self::Unread,
            Some(told) if told >= counted => Self::Agrees,
            Some(_) => Self::Missing,
        }
    }

    /// As the line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Missing => "missing",
            Self::Unread => "unread",
        }
    }
}

/// A resource that runs short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strain {
    /// Which.
    pub resource: Resource,
    /// What says so.
    pub sign: Sign,
    /// How much, in tenths of a per cent: what the sign says.
    pub pct_x10: Option<u64>,
}

/// What says that a resource runs short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A pressure trigger: tasks waited for so much of the time.
    Psi,
    /// The watched cgroup meets its memory limit, with so much of it held by what cannot be dropped.
    Events,
    /// So much is left, and will be gone in seconds.
    Slope,
    /// The kernel's own level of memory pressure changed to this one (macOS); so much is left.
    Level(u64),
}

impl Sign {
    /// As the line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Psi => "psi",
            Self::Events => "events",
            Self::Slope => "slope",
            Self::Level(_) => "level",
        }
    }

    /// The level, where that is the sign.
    #[must_use]
    pub const fn level(self) -> Option<u64> {
        match self {
            Self::Level(level) => Some(level),
            Self::Psi | Self::Events | Self::Slope => None,
        }
    }
}

/// What is told of the CI runner's own process, or its worker.
#[derive(Clone, Copy, Debug)]
pub struct AgentTold {
    /// Which of the two.
    pub role: Role,
    /// What happened.
    pub what: AgentEvent,
    /// Which process.
    pub process: Process,
    /// What its threads waited for a CPU in the span, summed.
    pub wait_ms: Option<u64>,
}

/// Which of the runner's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that talks to the server. That it ends is not how a job ends.
    Agent,
    /// The one that runs a job, and ends with it.
    Worker,
}

impl Role {
    /// As the line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Worker => "worker",
        }
    }
}

/// What happened to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    /// It was not there before.
    Appeared,
    /// It has ended.
    Vanished,
    /// It waited over a second for a CPU in one span.
    Waited,
}

impl AgentEvent {
    /// As the line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Vanished => "vanished",
            Self::Waited => "waited",
        }
    }
}

/// How many lines of one kind may be written in a window of time.
#[derive(Clone, Copy, Debug)]
pub struct Limiter {
    most: u32,
    window: Duration,
    began: Option<Duration>,
    written: u32,
    suppressed: u64,
}

impl Limiter {
    /// At most so many a minute.
    #[must_use]
    pub const fn per_minute(most: u32) -> Self {
        Self { most, window: Duration::from_secs(60), began: None, written: 0, suppressed: 0 }
    }

    /// At most so many an hour.
    #[must_use]
    pub const fn per_hour(most: u32) -> Self {
        Self { window: Duration::from_secs(3600), ..Self::per_minute(most) }
    }

    /// Whether one more could be written now. For what is asked again until it can.
    #[must_use]
    pub fn has_room(&self, now: Duration) -> bool {
        self.written < self.most || self.began.is_none_or(|began| now.saturating_sub(began) >= self.window)
    }

    /// Whether one more may be written now; one that may not is counted.
    pub fn allows(&mut self, now: Duration) -> bool {
        if self.began.is_none_or(|began| now.saturating_sub(began) >= self.window) {
            (self.began, self.written) = (Some(now), 0);
        }
        let allowed = self.written < self.most;
        if allowed {
            self.written += 1;
        } else {
            self.suppressed += 1;
        }
        allowed
    }

    /// Lines held back since the run began.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::kmsg;
    use super::*;

    /// The kills that these texts tell, as `scope comm pid cgroup`.
    fn kills(texts: &[&str]) -> Vec<String> {
        let mut joiner = OomJoiner::default();
        let mut kills = Vec::new();
        for (at, text) in (1..).zip(texts) {
            // A second apart, and a text that begins with `later ` an hour.
            let (text, hours) = text.strip_prefix("later ").map_or((*text, 0), |text| (text, 1));
            let text = text.as_bytes();
            let told = Told { time_us: at * 1_000_000 + hours * 3_600_000_000, text, is_old: false };
            let record = kmsg::parse_oom(text).unwrap();
            kills.extend(joiner.take(record, told, Duration::ZERO).into_iter().flatten());
        }
        kills.extend(joiner.overdue(PATIENCE));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let kills = kills.iter().map(|kill| {
            let scope = kill.scope.map_or("-", Scope::name);
            let cgroup = kill.cgroup.map_or("-".to_owned(), |cgroup| text(cgroup.as_ref()));
            format!("{scope} {} {} {cgroup} {}", text(kill.comm.as_ref()), kill.pid, kill.rss_kb.unwrap_or(0))
        });
        kills.collect()
    }

    const INVOKED: &str = "awk invoked oom-killer: gfp_mask=0x0(), order=0, oom_score_adj=0";
    const CHOSEN: &str =
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg=/r,task_memcg=/r/x,task=hog,pid=172,uid=0";
    const KILLED: &str = "Memory cgroup out of memory: Killed process 172 (hog) total-vm:1kB, anon-rss:5kB";

    #[test]
    fn one_kill_is_one_line() {
        assert_eq!(kills(&[INVOKED, CHOSEN, KILLED]), ["cgroup hog 172 /r 5"]);
        let global =
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),global_oom,task_memcg=/r/x,task=hog,pid=172,uid=0";
        let killed = "Out of memory: Killed process 172 (hog) total-vm:1kB, anon-rss:5kB";
        assert_eq!(kills(&[INVOKED, global, killed]), ["guest hog 172 /r/x 5"]);
    }

    #[test]
    fn kernels_before_5_0_tell_it_in_other_words() {
        let limit = "Task in /docker/a killed as a result of limit of /docker";
        let scored = "Memory cgroup out of memory: Kill process 172 (hog) score 900 or sacrifice child";
        let killed = "Killed process 173 (child) total-vm:1kB, anon-rss:5kB, file-rss:1kB, shmem-rss:0kB";
        assert_eq!(kills(&[INVOKED, limit, scored, killed]), ["cgroup child 173 /docker 6"]);
        let scored = "Out of memory: Kill process 172 (hog) score 900 or sacrifice child";
        assert_eq!(kills(&[INVOKED, scored, killed]), ["guest child 173 - 6"]);
    }

    #[test]
    fn a_group_kill_tells_each_member_once() {
        let member = "Memory cgroup out of memory: Killed process 115 (probe) total-vm:1kB, anon-rss:2kB";
        let group = "Tasks in /g are going to be killed due to memory.oom.group set";
        let texts = [INVOKED, CHOSEN, KILLED, group, member, KILLED];
        assert_eq!(kills(&texts), ["cgroup hog 172 /r 5", "cgroup probe 115 /g 2"]);
        let later = format!("later {member}");
        let texts = [INVOKED, CHOSEN, KILLED, group, later.as_str()];
        assert_eq!(kills(&texts), ["cgroup hog 172 /r 5", "cgroup probe 115 - 2"], "long after the group");
    }

    #[test]
    fn a_kill_that_is_never_told_is_told_from_the_choice() {
        assert_eq!(kills(&[INVOKED, CHOSEN]), ["cgroup hog 172 /r 0"]);
        assert_eq!(kills(&[CHOSEN, INVOKED, CHOSEN, KILLED]), ["cgroup hog 172 /r 0", "cgroup hog 172 /r 5"]);
        assert_eq!(kills(&[KILLED]), ["cgroup hog 172 - 5"]);
    }

    #[test]
    fn two_ooms_of_one_name_are_two_kills() {
        assert_eq!(kills(&[INVOKED, CHOSEN, KILLED, INVOKED, CHOSEN, KILLED]).len(), 2);
        // The kernel leaves out the choice of a quick second kill: its cgroup is not known.
        let second = "Memory cgroup out of memory: Killed process 173 (hog) total-vm:1kB, anon-rss:5kB";
        assert_eq!(kills(&[INVOKED, CHOSEN, KILLED, second]), ["cgroup hog 172 /r 5", "cgroup hog 173 - 5"]);
    }

    /// A sample whose counters are own `oom` and `oom_kill`, the tree's and the guest's kills.
    fn counts(counters_id: u32, [oom, own, tree, vm]: [u64; 4]) -> Sample {
        let mut sample = Sample::default();
        sample.cgroup.counters_id = counters_id;
        sample.cgroup.events.oom = Some(oom);
        sample.cgroup.events.oom_kill = Some(own);
        sample.cgroup.tree_oom_kill = Some(tree);
        sample.vmstat.oom_kill = Some(vm);
        sample
    }

    #[test]
    fn counters_that_moved_are_told_each() {
        let before = counts(1, [1, 1, 1, 1]);
        let of = |now: &Sample| {
            moved(&before, now).map(|(counter, kills)| format!("{} {kills}", counter.name())).collect::<Vec<_>>()
        };
        assert_eq!(of(&before), [""; 0]);
        assert_eq!(of(&counts(1, [2, 2, 2, 2])), ["own 1", "tree 1", "vm 1"]);
        assert_eq!(of(&counts(1, [1, 1, 3, 3])), ["tree 2", "vm 2"], "a sidecar's");
        assert_eq!(of(&counts(1, [4, 1, 1, 1])), ["own 0"], "the limit was met and nothing killed");
        assert_eq!(of(&counts(1, [0, 0, 0, 0])), [""; 0], "they went back");
        assert_eq!(of(&counts(2, [9, 9, 9, 2])), ["vm 1"], "another cgroup's are not compared");
        assert_eq!(of(&Sample::default()), [""; 0]);
    }

    #[test]
    fn kills_are_held_against_the_kernels_messages() {
        let of = |counted, told| Agreement::of(counted, told).name();
        assert_eq!(
            [of(2, Some(2)), of(2, Some(1)), of(2, None), of(0, Some(0))],
            ["agrees", "missing", "unread", "agrees"]
        );
    }

    #[test]
    fn a_kind_writes_so_many_a_minute() {
        let mut limiter = Limiter::per_minute(2);
        let second = Duration::from_secs;
        let allowed = [100, 101, 102, 159, 160, 161].map(|at| limiter.allows(second(at)));
        assert_eq!(allowed, [true, true, false, false, true, true]);
        assert_eq!(limiter.suppressed(), 2);
    }
}
