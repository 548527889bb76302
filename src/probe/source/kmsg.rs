//! Records of `/dev/kmsg` (`Documentation/ABI/testing/dev-kmsg`) and the OOM kills that they tell.

use super::text::{after, before, find, number};

/// The record's text is longer than this only by mistake: the kernel's own bound is 1 KiB.
const MAX_TEXT_BYTES: usize = 2048;

/// One record of the kernel's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number; a gap is a lost record.
    pub seq: u64,
    /// The kernel's clock when it was written, microseconds since boot.
    pub time_us: u64,
    /// Who wrote it: 0 is the kernel, anything else user space, which can write what it likes.
    pub facility: u64,
    /// Its text, still with `\xNN` for bytes that do not print; continuation lines are left out.
    pub text: &'a [u8],
}

/// Reads `prio,seq,usec,flags[,more];text`.
#[must_use]
pub fn parse(record: &[u8]) -> Option<Record<'_>> {
    let head = before(record, b";")?;
    let text = record.get(head.len() + 1..)?;
    let text = before(text, b"\n").unwrap_or(text);
    let mut words = head.split(|byte| *byte == b',').map(number);
    let (prio, seq, time_us) = (words.next()??, words.next()??, words.next()??);
    Some(Record { seq, time_us, facility: prio >> 3, text: text.get(..MAX_TEXT_BYTES).unwrap_or(text) })
}

/// Turns `\xNN` back into bytes. `into` is used again, so that nothing is allocated.
pub fn unescape(text: &[u8], into: &mut Vec<u8>) {
    into.clear();
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        into.push(match escaped(rest) {
            Some(byte) => {
                rest = rest.get(4..).unwrap_or_default();
                byte
            }
            None => {
                rest = tail;
                *byte
            }
        });
    }
}

fn escaped(text: &[u8]) -> Option<u8> {
    let [b'\\', b'x', high, low, ..] = text else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Whose memory ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole guest's.
    Guest,
    /// A cgroup met its limit.
    Cgroup,
}

impl Scope {
    /// As the line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Cgroup => "cgroup",
        }
    }
}

/// What one record of an OOM says. Each kill writes two or three; [`crate::probe::event`] joins them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OomRecord<'a> {
    /// `X invoked oom-killer: …`: an OOM begins. X asked for memory, it is not the victim.
    Invoked,
    /// `Task in TASK killed as a result of limit of CGROUP` (before 5.0).
    Limit {
        /// The cgroup whose limit was met.
        cgroup: &'a [u8],
    },
    /// `Tasks in CGROUP are going to be killed due to memory.oom.group set` (4.19 on).
    Group {
        /// The cgroup of which all are killed.
        cgroup: &'a [u8],
    },
    /// `oom-kill:constraint=…,task=…,pid=…,uid=…` (5.0 on): who was chosen, and why.
    Chosen {
        /// By the constraint, which the kernel writes before anything that a job could name.
        scope: Scope,
        /// The cgroup whose limit was met; of a guest-wide OOM the victim's.
        cgroup: &'a [u8],
        /// The victim's name.
        comm: &'a [u8],
        /// The victim's pid.
        pid: u64,
    },
    /// `[Memory cgroup] [O|o]ut of memory: Kill process P (C) score …` (before 5.0).
    Scored {
        /// By the words before.
        scope: Option<Scope>,
        /// The victim's pid; a child of it may be taken instead.
        pid: u64,
    },
    /// `… Killed process P (C) total-vm:…`: it is done.
    Killed(Victim<'a>),
}

/// A process that the kernel killed for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim<'a> {
    /// By the words before; `None` where the kernel says it in an earlier record.
    pub scope: Option<Scope>,
    /// Its pid in the initial namespace.
    pub pid: u64,
    /// Its name.
    pub comm: &'a [u8],
    /// `anon-rss`, `file-rss` and `shmem-rss` in KiB.
    pub rss_kb: Option<u64>,
    /// `oom_score_adj` (5.4 on).
    pub adj: Option<i64>,
}

/// What a text of the kernel says of an OOM; `None` when it is about something else.
///
/// A process can name itself anything, so names are found between what the kernel wrote around them,
/// from the right, and a text counts only where it begins as the kernel begins it.
#[must_use]
pub fn parse_oom(text: &[u8]) -> Option<OomRecord<'_>> {
    if let Some(rest) = text.strip_prefix(b"oom-kill:constraint=") {
        return chosen(rest);
    }
    if let Some(rest) = text.strip_prefix(b"Task in ") {
        return Some(OomRecord::Limit { cgroup: after(rest, b" killed as a result of limit of ")? });
    }
    if let Some(rest) = text.strip_prefix(b"Tasks in ") {
        return Some(OomRecord::Group {
            cgroup: rest.strip_suffix(b" are going to be killed due to memory.oom.group set")?,
        });
    }
    let (scope, rest) = killer_words(text);
    if let Some(rest) = rest.strip_prefix(b"Killed process ") {
        return killed(scope, rest);
    }
    if let Some(rest) = rest.strip_prefix(b"Kill process ") {
        let pid = number(before(rest, b" ")?)?;
        return find(rest, b") score ").map(|_| OomRecord::Scored { scope, pid });
    }
    // A kernel text only begins with a process's name where it is this one.
    find(text, b" invoked oom-killer: gfp_mask=").map(|_| OomRecord::Invoked)
}

/// `Out of memory: `, `Memory cgroup out of memory: `, `Out of memory (oom_kill_allocating_task): `.
fn killer_words(text: &[u8]) -> (Option<Scope>, &[u8]) {
    for (words, scope) in [(&b"Memory cgroup out of memory"[..], Scope::Cgroup), (b"Out of memory", Scope::Guest)] {
        if let Some(rest) = text.strip_prefix(words) {
            let rest = rest.strip_prefix(b" (oom_kill_allocating_task)").unwrap_or(rest);
            if let Some(rest) = rest.strip_prefix(b": ") {
                return (Some(scope), rest);
            }
        }
    }
    (None, text)
}

/// `CONSTRAINT,nodemask=…,cpuset=…,mems_allowed=…,global_oom|oom_memcg=PATH,task_memcg=PATH,task=C,pid=P,uid=U`.
fn chosen(rest: &[u8]) -> Option<OomRecord<'_>> {
    let (rest, _uid) = rsplit(rest, b",uid=")?;
    let (rest, pid) = rsplit(rest, b",pid=")?;
    // Names of cgroups and processes are free to hold any of this: what stands before one is found from the left, what
    // stands behind it from the right. A cgroup that is named after a marker can only confuse its own two names.
    let memcg = find(rest, b",task_memcg=")?;
    let (why, rest) = rest.split_at_checked(memcg)?;
    let rest = rest.strip_prefix(b",task_memcg=")?;
    let task_memcg = before(rest, b",task=")?;
    let comm = after(rest, b",task=")?;
    let (scope, cgroup) = match rsplit(why, b",oom_memcg=") {
        Some((_, path)) if why.starts_with(b"CONSTRAINT_MEMCG,") => (Scope::Cgroup, path),
        _ => (Scope::Guest, task_memcg),
    };
    Some(OomRecord::Chosen { scope, cgroup, comm, pid: number(pid)? })
}

/// `P (C)[,| ]total-vm:…kB, anon-rss:…kB, file-rss:…kB[, shmem-rss:…kB][, UID:… pgtables:…kB oom_score_adj:…]`.
fn killed(scope: Option<Scope>, rest: &[u8]) -> Option<OomRecord<'_>> {
    let pid = number(before(rest, b" (")?)?;
    let rest = after(rest, b" (")?;
    // Whatever the name holds, the kernel's own figures stand behind the last of these.
    let (comm, figures) = rsplit(rest, b"total-vm:")?;
    // 5.3 writes `(C), UID 0, total-vm:`.
    let comm = match comm.strip_suffix(b", ") {
        Some(comm) => rsplit(comm, b"), UID ")?.0,
        None => comm.strip_suffix(b") ")?,
    };
    let kb = |key| number(before(after(figures, key)?, b"kB")?);
    let parts = [kb(&b"anon-rss:"[..]), kb(b"file-rss:"), kb(b"shmem-rss:")];
    let rss_kb = parts.iter().flatten().copied().reduce(u64::saturating_add);
    let adj = after(figures, b"oom_score_adj:").and_then(|word| str::from_utf8(word).ok()?.trim().parse::<i16>().ok());
    Some(OomRecord::Killed(Victim { scope, pid, comm, rss_kb, adj: adj.map(i64::from) }))
}

/// Both sides of the last `marker`.
fn rsplit<'a>(text: &'a [u8], marker: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(marker.len()).rposition(|window| window == marker)?;
    Some((text.get(..at)?, text.get(at + marker.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_taken_apart() {
        let record = parse(b"3,406,18798930,-;Out of memory\n SUBSYSTEM=x\n DEVICE=y\n").unwrap();
        assert_eq!(record, Record { seq: 406, time_us: 18_798_930, facility: 0, text: b"Out of memory" });
        assert_eq!(parse(b"14,1,2,-,caller=T1;user; space").unwrap().facility, 1);
        for record in [&b""[..], b"3,4,5", b"x,4,5,-;a", b"3,,5,-;a", b";", b"3;a"] {
            assert_eq!(parse(record), None, "{record:?}");
        }
    }

    #[test]
    fn escapes_become_bytes_again() {
        let mut into = Vec::new();
        for (text, bytes) in [
            (&b"a\\x0ab"[..], &b"a\nb"[..]),
            (b"\\x5cx41", b"\\x41"),
            (b"\\x4", b"\\x4"),
            (b"\\xzz", b"\\xzz"),
            (b"\\xc3\\xa9", "é".as_bytes()),
        ] {
            unescape(text, &mut into);
            assert_eq!(into, bytes, "{text:?}");
        }
    }

    #[track_caller]
    fn victim(text: &str) -> Victim<'_> {
        match parse_oom(text.as_bytes()) {
            Some(OomRecord::Killed(victim)) => victim,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn kills_of_all_kernels() {
        let cases = [
            // 4.19
            ("Killed process 1234 (node) total-vm:9kB, anon-rss:30kB, file-rss:2kB, shmem-rss:1kB", None, None),
            // 5.4
            (
                "Memory cgroup out of memory: Killed process 1234 (node) total-vm:9kB, anon-rss:30kB, file-rss:2kB, shmem-rss:1kB, UID:0 pgtables:1kB oom_score_adj:-998",
                Some(Scope::Cgroup),
                Some(-998),
            ),
            // 5.3
            (
                "Out of memory: Killed process 1234 (node), UID 0, total-vm:9kB, anon-rss:30kB, file-rss:2kB, shmem-rss:1kB",
                Some(Scope::Guest),
                None,
            ),
            // 6.1
            (
                "Out of memory: Killed process 1234 (node) total-vm:9kB, anon-rss:30kB, file-rss:2kB, shmem-rss:1kB, UID:0 pgtables:1kB oom_score_adj:0",
                Some(Scope::Guest),
                Some(0),
            ),
            (
                "Out of memory (oom_kill_allocating_task): Killed process 1234 (node) total-vm:9kB, anon-rss:33kB",
                Some(Scope::Guest),
                None,
            ),
        ];
        for (text, scope, adj) in cases {
            assert_eq!(victim(text), Victim { scope, pid: 1234, comm: b"node", rss_kb: Some(33), adj }, "{text}");
        }
    }

    #[test]
    fn who_was_chosen_and_why() {
        let guest = b"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/hogs,task=hog,pid=172,uid=0";
        let expected = OomRecord::Chosen { scope: Scope::Guest, cgroup: b"/hogs", comm: b"hog", pid: 172 };
        assert_eq!(parse_oom(guest), Some(expected));
        let cgroup = b"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=a,b,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,task=x, y(),pid=1,uid=1000";
        let expected = OomRecord::Chosen { scope: Scope::Cgroup, cgroup: b"/a", comm: b"x, y()", pid: 1 };
        assert_eq!(parse_oom(cgroup), Some(expected));
    }

    #[test]
    fn words_of_4_19() {
        let limit = b"Task in /docker/a killed as a result of limit of /docker";
        assert_eq!(parse_oom(limit), Some(OomRecord::Limit { cgroup: b"/docker" }));
        let scored = b"Memory cgroup out of memory: Kill process 12 (a b) score 900 or sacrifice child";
        assert_eq!(parse_oom(scored), Some(OomRecord::Scored { scope: Some(Scope::Cgroup), pid: 12 }));
        let scored = b"Out of memory: Kill process 12 (a) score 900 or sacrifice child";
        assert_eq!(parse_oom(scored), Some(OomRecord::Scored { scope: Some(Scope::Guest), pid: 12 }));
    }

    #[test]
    fn hostile_names_stay_names() {
        let name = "x) total-vm:1kB,";
        let text = format!("Out of memory: Killed process 7 ({name}) total-vm:9kB, anon-rss:5kB oom_score_adj:3");
        let victim = victim(&text);
        assert_eq!((victim.comm, victim.rss_kb, victim.adj), (name.as_bytes(), Some(5), Some(3)));
        let text = b"oom-kill:constraint=CONSTRAINT_NONE,cpuset=a,oom_memcg=/x,global_oom,task_memcg=/a,task=p,pid=9,uid=0,pid=172,uid=0";
        let expected = OomRecord::Chosen { scope: Scope::Guest, cgroup: b"/a", comm: b"p,pid=9,uid=0", pid: 172 };
        assert_eq!(parse_oom(text), Some(expected));
    }

    #[test]
    fn what_is_not_an_oom() {
        for text in [
            "",
            "EXT4-fs (vda): mounted",
            "Killed process x",
            "Out of memory: Killed process",
            "oom_reaper: reaped process 172 (hog), now anon-rss:0kB",
            "init: Out of memory: Killed process 7 (a) total-vm:9kB",
            "Tasks in /runner are going to be killed",
        ] {
            assert_eq!(parse_oom(text.as_bytes()), None, "{text}");
        }
    }
}
