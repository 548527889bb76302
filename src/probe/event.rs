//! What happened between samples: the records of an OOM joined to one kill a line, and how many lines a kind may write.

use std::time::Duration;

use super::source::kmsg::{OomRecord, Scope, Victim};

/// How long a chosen victim waits for the record that it was killed.
const PATIENCE: Duration = Duration::from_secs(1);

/// One process that the kernel killed for memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kill {
    /// Whose memory ran out; `None` where the kernel did not say.
    pub scope: Option<Scope>,
    /// The victim's name.
    pub comm: Vec<u8>,
    /// Its pid in the initial namespace.
    pub pid: u64,
    /// Its resident memory in KiB.
    pub rss_kb: Option<u64>,
    /// Its `oom_score_adj`.
    pub adj: Option<i64>,
    /// The cgroup whose limit was met; of a guest-wide OOM the victim's.
    pub cgroup: Option<Vec<u8>>,
    /// The kernel's clock, microseconds since boot.
    pub time_us: u64,
    /// The kernel's text.
    pub text: Vec<u8>,
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

/// Joins the two or three records of one kill.
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
    limited: Option<Vec<u8>>,
    /// The cgroup of which all are being killed.
    group: Option<Vec<u8>>,
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
                self.limited = Some(cgroup.to_vec());
                [None, None]
            }
            OomRecord::Scored { scope, pid: _ } => {
                self.scope = scope;
                [None, None]
            }
            OomRecord::Group { cgroup } => {
                self.group = Some(cgroup.to_vec());
                [None, None]
            }
            OomRecord::Chosen { scope, cgroup, comm, pid } => {
                let left_over = self.rest();
                *self = Self::default();
                let kill = Kill { scope, comm: comm.to_vec(), pid, cgroup: Some(cgroup.to_vec()), ..Kill::of(told) };
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
        if self.group.is_some() && self.first_pid == Some(victim.pid) {
            return [left_over, None];
        }
        self.first_pid = self.first_pid.or(Some(victim.pid));
        let (chosen_scope, chosen_cgroup) = chosen.map_or((None, None), |kill| (kill.scope, kill.cgroup));
        let kill = Kill {
            scope: chosen_scope.or(victim.scope).or(self.scope.take()),
            comm: victim.comm.to_vec(),
            pid: victim.pid,
            rss_kb: victim.rss_kb,
            adj: victim.adj,
            cgroup: chosen_cgroup.or_else(|| self.group.clone()).or(self.limited.take()),
            ..Kill::of(told)
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

impl Kill {
    fn of(told: Told<'_>) -> Self {
        Self { time_us: told.time_us, text: told.text.to_vec(), is_old: told.is_old, ..Self::default() }
    }
}

/// How many lines of one kind may be written a minute.
#[derive(Clone, Copy, Debug)]
pub struct Limiter {
    per_minute: u32,
    minute_began: Option<Duration>,
    written: u32,
    suppressed: u64,
}

impl Limiter {
    const MINUTE: Duration = Duration::from_secs(60);

    /// At most so many a minute.
    #[must_use]
    pub const fn per_minute(per_minute: u32) -> Self {
        Self { per_minute, minute_began: None, written: 0, suppressed: 0 }
    }

    /// Whether one more may be written now; one that may not is counted.
    pub fn allows(&mut self, now: Duration) -> bool {
        if self.minute_began.is_none_or(|began| now.saturating_sub(began) >= Self::MINUTE) {
            (self.minute_began, self.written) = (Some(now), 0);
        }
        let allowed = self.written < self.per_minute;
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
        for text in texts {
            let text = text.as_bytes();
            let told = Told { time_us: 1, text, is_old: false };
            let record = kmsg::parse_oom(text).unwrap();
            kills.extend(joiner.take(record, told, Duration::ZERO).into_iter().flatten());
        }
        kills.extend(joiner.overdue(PATIENCE));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let kills = kills.iter().map(|kill| {
            let scope = kill.scope.map_or("-", Scope::name);
            let cgroup = kill.cgroup.as_deref().map_or("-".to_owned(), text);
            format!("{scope} {} {} {cgroup} {}", text(&kill.comm), kill.pid, kill.rss_kb.unwrap_or(0))
        });
        kills.collect()
    }

    const INVOKED: &str = "awk invoked oom-killer: gfp_mask=0x0(), order=0, oom_score_adj=0";
    const CHOSEN: &str = "oom-kill:constraint=C,nodemask=(null),oom_memcg=/r,task_memcg=/r/x,task=hog,pid=172,uid=0";
    const KILLED: &str = "Memory cgroup out of memory: Killed process 172 (hog) total-vm:1kB, anon-rss:5kB";

    #[test]
    fn one_kill_is_one_line() {
        assert_eq!(kills(&[INVOKED, CHOSEN, KILLED]), ["cgroup hog 172 /r 5"]);
        let global = "oom-kill:constraint=C,nodemask=(null),global_oom,task_memcg=/r/x,task=hog,pid=172,uid=0";
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

    #[test]
    fn a_kind_writes_so_many_a_minute() {
        let mut limiter = Limiter::per_minute(2);
        let second = Duration::from_secs;
        let allowed = [100, 101, 102, 159, 160, 161].map(|at| limiter.allows(second(at)));
        assert_eq!(allowed, [true, true, false, false, true, true]);
        assert_eq!(limiter.suppressed(), 2);
    }
}
