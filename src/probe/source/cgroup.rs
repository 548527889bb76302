//! The files of a cgroup, v2 (`Documentation/admin-guide/cgroup-v2.rst`) and v1 (`cgroup-v1/memory.rst`).

use super::text::{keyed, lines, number, words};

/// A limit as cgroup files write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `max`, or what v1 prints when there is none.
    None,
    /// This much.
    At(u64),
}

impl Limit {
    /// The limit; `None` when there is none.
    #[must_use]
    pub fn at(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::At(limit) => Some(limit),
        }
    }
}

/// v1 knows no word for "no limit": it prints the largest page-aligned number. Nothing real is this large.
const V1_NO_LIMIT: u64 = 1 << 60;

/// A file of one number.
#[must_use]
pub fn parse_count(text: &[u8]) -> Option<u64> {
    number(text.trim_ascii())
}

/// A file of one limit.
#[must_use]
pub fn parse_limit(text: &[u8]) -> Option<Limit> {
    match text.trim_ascii() {
        b"max" => Some(Limit::None),
        word => number(word).map(|limit| if limit >= V1_NO_LIMIT { Limit::None } else { Limit::At(limit) }),
    }
}

/// What this project reads of `memory.stat`, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStat {
    /// `anon`; v1 `total_rss`.
    pub anon: Option<u64>,
    /// `shmem`; v1 `total_shmem`.
    pub shmem: Option<u64>,
    /// `inactive_file`; v1 `total_inactive_file`.
    pub inactive_file: Option<u64>,
    /// `active_file`; v1 `total_active_file`.
    pub active_file: Option<u64>,
}

/// `memory.stat`. v1 prints the subtree's sums with `total_` before them, behind the cgroup's own.
#[must_use]
pub fn parse_memory_stat(text: &[u8]) -> MemoryStat {
    let (mut own, mut total) = (MemoryStat::default(), MemoryStat::default());
    for line in lines(text) {
        match line.strip_prefix(b"total_") {
            Some(line) => memory_stat_line(&mut total, line),
            None => memory_stat_line(&mut own, line),
        }
    }
    MemoryStat {
        anon: total.anon.or(own.anon),
        shmem: total.shmem.or(own.shmem),
        inactive_file: total.inactive_file.or(own.inactive_file),
        active_file: total.active_file.or(own.active_file),
    }
}

fn memory_stat_line(stat: &mut MemoryStat, line: &[u8]) {
    let (key, into): (&[u8], _) = match line.first() {
        Some(b'a') if line.starts_with(b"ac") => (b"active_file", &mut stat.active_file),
        Some(b'a') => (b"anon", &mut stat.anon),
        Some(b'r') => (b"rss", &mut stat.anon),
        Some(b's') => (b"shmem", &mut stat.shmem),
        Some(b'i') => (b"inactive_file", &mut stat.inactive_file),
        _ => return,
    };
    *into = into.or_else(|| keyed(line, key));
}

/// `memory.events`, or v1's `memory.oom_control`, counted since the cgroup was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// `max`: times that the limit was about to be passed, and memory was looked for. v1 does not count it.
    pub max: Option<u64>,
    /// `oom`: the limit was met and memory could not be had. v1 does not count it.
    pub oom: Option<u64>,
    /// `oom_kill`: members killed, by whatever OOM.
    pub oom_kill: Option<u64>,
    /// `oom_group_kill` (5.17 on): times that all members were killed at once.
    pub oom_group_kill: Option<u64>,
}

/// `memory.events` or `memory.oom_control`.
#[must_use]
pub fn parse_memory_events(text: &[u8]) -> MemoryEvents {
    let mut events = MemoryEvents::default();
    for line in lines(text) {
        events.max = events.max.or_else(|| keyed(line, b"max"));
        events.oom = events.oom.or_else(|| keyed(line, b"oom"));
        events.oom_kill = events.oom_kill.or_else(|| keyed(line, b"oom_kill"));
        events.oom_group_kill = events.oom_group_kill.or_else(|| keyed(line, b"oom_group_kill"));
    }
    events
}

/// What this project reads of `cpu.stat`: periods of the quota since the cgroup was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// `nr_periods`.
    pub periods: u64,
    /// `nr_throttled`: those in which the quota ran out.
    pub throttled: u64,
}

/// `cpu.stat`; both rows or nothing.
#[must_use]
pub fn parse_throttling(text: &[u8]) -> Option<Throttling> {
    let (mut periods, mut throttled) = (None, None);
    for line in lines(text) {
        periods = periods.or_else(|| keyed(line, b"nr_periods"));
        throttled = throttled.or_else(|| keyed(line, b"nr_throttled"));
    }
    Some(Throttling { periods: periods?, throttled: throttled? })
}

/// `max` of `pids.events`: forks refused since the cgroup was made.
#[must_use]
pub fn parse_pids_events(text: &[u8]) -> Option<u64> {
    lines(text).find_map(|line| keyed(line, b"max"))
}

/// `cpu.max`: `quota period` in microseconds, as hundredths of a CPU.
#[must_use]
pub fn parse_cpu_max(text: &[u8]) -> Option<Limit> {
    let mut row = words(text.trim_ascii());
    match row.next()? {
        b"max" => Some(Limit::None),
        quota => cpu_quota(number(quota)?, number(row.next()?)?),
    }
}

/// A quota and its period in microseconds, as hundredths of a CPU.
#[must_use]
pub fn cpu_quota(quota_us: u64, period_us: u64) -> Option<Limit> {
    quota_us.checked_mul(100)?.checked_div(period_us).map(Limit::At)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        for (text, limit) in [
            (&b"max\n"[..], Some(Limit::None)),
            (b"67108864\n", Some(Limit::At(67_108_864))),
            (b"9223372036854771712\n", Some(Limit::None)),
            (b"0", Some(Limit::At(0))),
            (b"", None),
            (b"maximum", None),
            (b"1 2", None),
        ] {
            assert_eq!(parse_limit(text), limit, "{text:?}");
        }
        for (text, quota) in [
            (&b"max 100000\n"[..], Some(Limit::None)),
            (b"150000 100000\n", Some(Limit::At(150))),
            (b"150000", None),
            (b"150000 0", None),
            (b"", None),
        ] {
            assert_eq!(parse_cpu_max(text), quota, "{text:?}");
        }
    }

    #[test]
    fn memory_stat_of_both_versions() {
        let v2 = b"anon 1\nfile 9\nshmem 2\ninactive_anon 9\ninactive_file 3\nactive_file 9\n";
        let v1 = b"cache 9\nrss 7\nshmem 7\ninactive_file 7\ntotal_rss 1\ntotal_rss_huge 9\ntotal_shmem 2\ntotal_inactive_file 3\ntotal_active_file 9\n";
        let expected = MemoryStat { anon: Some(1), shmem: Some(2), inactive_file: Some(3), active_file: Some(9) };
        assert_eq!(parse_memory_stat(v2), expected);
        assert_eq!(parse_memory_stat(v1), expected);
        assert_eq!(parse_memory_stat(b"anon\nshmem x\n\xff"), MemoryStat::default());
    }

    #[test]
    fn events_of_both_versions() {
        let v2 = parse_memory_events(b"low 0\nhigh 0\nmax 93\noom 3\noom_kill 1\noom_group_kill 2\n");
        assert_eq!(v2, MemoryEvents { max: Some(93), oom: Some(3), oom_kill: Some(1), oom_group_kill: Some(2) });
        let v1 = parse_memory_events(b"oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
        assert_eq!(v1, MemoryEvents { max: None, oom: None, oom_kill: Some(4), oom_group_kill: None });
    }

    #[test]
    fn throttling_and_pids() {
        let text = b"usage_usec 5\nnr_periods 10\nnr_throttled 4\nthrottled_usec 5\n";
        assert_eq!(parse_throttling(text), Some(Throttling { periods: 10, throttled: 4 }));
        assert_eq!(parse_throttling(b"nr_periods 10\n"), None);
        assert_eq!(parse_pids_events(b"max 12\n"), Some(12));
        assert_eq!(parse_pids_events(b"maximum 12\n"), None);
    }
}
