//! Signs of trouble in readings: what tells a guest that runs short from one that is merely busy. Pure.

use std::time::Duration;

use super::rate;
use super::sample::Sample;
use super::source::cgroup::MemoryEvents;
use super::source::pressure::{Pressure, Resource};
use super::source::stat::Stat;

/// Memory that cannot be dropped, of the limit, from which on meeting the limit is trouble, in tenths of a per cent.
///
/// A build that reads many files fills its cgroup to the limit with page cache and meets the limit all day; its own
/// memory is what is left when the cache is gone.
const HELD_PCT_X10: u64 = 900;

/// Tasks ready to run for each CPU from which on a wait for the CPU is trouble: `make -j` with twice the CPUs, each job
/// with a helper, is busy and well.
const RUNNING_A_CPU: u64 = 4;

/// A fall that ends in less than this many spans of the interval is told before it ends.
const INTERVALS_LEFT: u32 = 2;

/// But no later than this, and no sooner than that.
const LEFT_AT_LEAST: Duration = Duration::from_secs(3);
const LEFT_AT_MOST: Duration = Duration::from_secs(6);

/// In a shorter span a few pages look like a fall.
const LEAST_SPAN: Duration = Duration::from_millis(150);

/// What is left of the guest's memory, and of a cgroup's limit, below which a fall counts, in tenths of a per cent.
const GUEST_LEFT_PCT_X10: u64 = 250;
const CGROUP_LEFT_PCT_X10: u64 = 500;

/// The event counters of the watched cgroup and of its topmost visible ancestor.
pub type Events = [MemoryEvents; 2];

/// Whether an OOM counter moved: a limit was met and nothing could be had, or a process was killed.
#[must_use]
pub fn is_oom([own_before, tree_before]: &Events, [own, tree]: &Events) -> bool {
    grew(own_before.oom, own.oom)
        || grew(own_before.oom_kill, own.oom_kill)
        || grew(tree_before.oom_kill, tree.oom_kill)
}

/// Whether a limit was met and memory was looked for.
#[must_use]
pub fn met_limit([own_before, tree_before]: &Events, [own, tree]: &Events) -> bool {
    grew(own_before.max, own.max) || grew(tree_before.max, tree.max)
}

fn grew(before: Option<u64>, now: Option<u64>) -> bool {
    before.zip(now).is_some_and(|(before, now)| now > before)
}

/// How much of the limit is held by what cannot be dropped, in tenths of a per cent, where that is so much that meeting
/// the limit again is trouble.
#[must_use]
pub fn held_pct_x10(sample: &Sample) -> Option<u64> {
    let (held, limit) = held_of_limit(sample)?;
    let held = held.checked_mul(1000)?.checked_div(limit)?;
    (held >= HELD_PCT_X10).then_some(held)
}

/// Whether more tasks are ready to run than CPUs can serve.
#[must_use]
pub fn is_starved(stat: &Stat) -> bool {
    // Whoever reads this is running too.
    let others = stat.procs_running.map(|running| running.saturating_sub(1));
    others.is_some_and(|others| stat.cpus > 0 && others > RUNNING_A_CPU * stat.cpus)
}

/// The share of the time since `before` that tasks waited for a resource, in tenths of a per cent, where it bears out
/// that its trigger fired.
///
/// A trigger of the unprivileged fires once for nothing when it is set (seen on 6.18), so half of the threshold has to
/// be there, of the window or of what of it lies behind the last sample.
#[must_use]
pub fn waited_pct_x10(
    resource: Resource,
    before: &Sample,
    now: &Pressure,
    span: Duration,
    window: Duration,
) -> Option<u64> {
    let before = match resource {
        Resource::Memory => &before.memory_pressure,
        Resource::Io => &before.io_pressure,
        Resource::Cpu => &before.cpu_pressure,
    };
    let (row, thousandths) = resource.threshold();
    let (before, now) = (before.row(row)?, now.row(row)?);
    let waited_us = u128::from(now.total_us.checked_sub(before.total_us)?);
    let least_us = span.min(window).as_micros() * u128::from(thousandths) / 1000 / 2;
    (waited_us >= least_us.max(1)).then(|| rate::stalled_pct_x10(before, now, span))?
}

/// How much is left, in tenths of a per cent, of memory that is being used up so fast that it will be gone within
/// seconds: the guest's, or that under the cgroup's limit, whichever has less.
#[must_use]
pub fn slope_left_pct_x10(before: &Sample, now: &Sample, interval: Duration) -> Option<u64> {
    let span = Some(now.at.saturating_sub(before.at)).filter(|span| *span >= LEAST_SPAN)?;
    let soon = (INTERVALS_LEFT * interval).clamp(LEFT_AT_LEAST, LEFT_AT_MOST);
    let falls = |before: u64, now: u64, all: u64, below: u64| {
        let fallen = before.checked_sub(now).filter(|fallen| *fallen > 0)?;
        let left = now.checked_mul(1000)?.checked_div(all)?;
        let gone_in_us = u128::from(now) * span.as_micros() / u128::from(fallen);
        (left < below && gone_in_us < soon.as_micros()).then_some(left)
    };
    // Memory that was plugged in or out moves what is available too.
    let same_total = before.meminfo.total_kb == now.meminfo.total_kb;
    let avail = before.meminfo.avail_kb.zip(now.meminfo.avail_kb).filter(|_| same_total);
    let guest = avail.and_then(|(before, avail)| falls(before, avail, now.meminfo.total_kb?, GUEST_LEFT_PCT_X10));
    let room = |sample: &Sample| held_of_limit(sample).map(|(held, limit)| (limit.saturating_sub(held), limit));
    let same_level = before.cgroup.files_id == now.cgroup.files_id && before.cgroup.mem_max == now.cgroup.mem_max;
    let rooms = room(before).zip(room(now)).filter(|_| same_level);
    let cgroup = rooms.and_then(|((before, _), (left, limit))| falls(before, left, limit, CGROUP_LEFT_PCT_X10));
    [guest, cgroup].into_iter().flatten().min()
}

/// What cannot be dropped in the limited level, and the limit. Page cache can.
fn held_of_limit(sample: &Sample) -> Option<(u64, u64)> {
    let cgroup = &sample.cgroup;
    let cache = cgroup.mem_stat.inactive_file?.saturating_add(cgroup.mem_stat.active_file?);
    Some((cgroup.mem_current?.saturating_sub(cache), cgroup.mem_max.filter(|limit| *limit > 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A cgroup that uses so many MiB of 100, so many of them page cache.
    fn cgroup(at_ms: u64, current: u64, cache: u64) -> Sample {
        let mut sample = Sample { at: Duration::from_millis(at_ms), ..Sample::default() };
        sample.cgroup.mem_current = Some(current * MIB);
        sample.cgroup.mem_max = Some(100 * MIB);
        sample.cgroup.mem_stat.inactive_file = Some(cache * MIB);
        sample.cgroup.mem_stat.active_file = Some(0);
        sample
    }

    #[test]
    fn page_cache_at_the_limit_is_no_trouble() {
        for (current, cache, held) in [(100, 80, None), (100, 11, None), (100, 10, Some(900)), (99, 0, Some(990))] {
            assert_eq!(held_pct_x10(&cgroup(0, current, cache)), held);
        }
        assert_eq!(held_pct_x10(&Sample::default()), None);
    }

    #[test]
    fn a_fast_fall_is_told_before_its_end() {
        let second = Duration::from_secs(1);
        let slope = |before: Sample, now: Sample| slope_left_pct_x10(&before, &now, second);
        // 20 MiB a second: 40 left are 2 s.
        assert_eq!(slope(cgroup(0, 40, 0), cgroup(1000, 60, 0)), Some(400));
        assert_eq!(slope(cgroup(0, 80, 0), cgroup(1000, 85, 0)), None, "3 s to go");
        assert_eq!(slope(cgroup(0, 80, 0), cgroup(1000, 86, 0)), Some(140));
        assert_eq!(slope(cgroup(0, 20, 0), cgroup(1000, 50, 0)), None, "half of it is left");
        assert_eq!(slope(cgroup(0, 90, 80), cgroup(1000, 99, 89)), None, "cache");
        assert_eq!(slope(cgroup(0, 90, 0), cgroup(1000, 90, 0)), None);
        assert_eq!(slope(cgroup(0, 90, 0), cgroup(1000, 80, 0)), None);
        assert_eq!(slope(cgroup(0, 80, 0), cgroup(149, 81, 0)), None, "too short to tell");
        let mut other = cgroup(1000, 60, 0);
        other.cgroup.files_id = 1;
        assert_eq!(slope(cgroup(0, 40, 0), other), None, "another level");
    }

    #[test]
    fn the_guest_has_a_slope_too() {
        let guest = |at_ms, total_kb, avail_kb| {
            let mut sample = Sample { at: Duration::from_millis(at_ms), ..Sample::default() };
            sample.meminfo.total_kb = Some(total_kb);
            sample.meminfo.avail_kb = Some(avail_kb);
            sample
        };
        let slope = |before, now| slope_left_pct_x10(&before, &now, Duration::from_secs(3));
        assert_eq!(slope(guest(0, 1000, 300), guest(3000, 1000, 200)), None, "6 s to go");
        assert_eq!(slope(guest(0, 1000, 301), guest(3000, 1000, 200)), Some(200));
        assert_eq!(slope(guest(0, 1000, 900), guest(3000, 1000, 250)), None, "a quarter is left");
        assert_eq!(slope(guest(0, 2000, 301), guest(3000, 1000, 200)), None, "memory was unplugged");
    }

    #[test]
    fn a_trigger_is_believed_when_tasks_did_wait() {
        let pressure = |total_us: u64| {
            let row = Some(super::super::source::pressure::Stall { avg10_x100: 0, total_us });
            Pressure { some: row, full: row }
        };
        let before = Sample { memory_pressure: pressure(1000), io_pressure: pressure(1000), ..Sample::default() };
        let waited = |resource, us: u64, span_ms, window_s| {
            let (span, window) = (Duration::from_millis(span_ms), Duration::from_secs(window_s));
            waited_pct_x10(resource, &before, &pressure(1000 + us), span, window)
        };
        assert_eq!(waited(Resource::Memory, 200_000, 3000, 1), Some(67));
        assert_eq!(waited(Resource::Memory, 199_000, 3000, 1), None);
        assert_eq!(waited(Resource::Memory, 40_000, 200, 1), Some(200), "most of the window is before the last sample");
        assert_eq!(waited(Resource::Io, 800_000, 3000, 2), Some(267));
        assert_eq!(waited(Resource::Io, 700_000, 3000, 2), None);
        assert_eq!(waited(Resource::Io, 0, 0, 2), None);
        assert_eq!(waited(Resource::Cpu, 800_000, 3000, 2), None, "there was no reading before");
    }

    #[test]
    fn a_parallel_build_is_busy_and_not_starved() {
        let stat = |running, cpus| Stat { procs_running: Some(running), cpus, ..Stat::default() };
        assert!(!is_starved(&stat(9, 2)) && is_starved(&stat(10, 2)) && is_starved(&stat(17, 1)));
        assert!(!is_starved(&Stat::default()));
    }

    #[test]
    fn an_oom_is_a_counter_that_grew() {
        let events = |max, oom, oom_kill| MemoryEvents {
            max: Some(max),
            oom: Some(oom),
            oom_kill: Some(oom_kill),
            oom_group_kill: None,
        };
        let (calm, none) = (events(0, 0, 0), MemoryEvents::default());
        for (before, now, oom, met) in [
            ([calm, none], [events(0, 1, 0), none], true, false),
            ([calm, none], [events(3, 0, 1), none], true, true),
            ([calm, calm], [calm, events(0, 0, 1)], true, false),
            ([calm, calm], [calm, events(1, 1, 0)], false, true),
            ([calm, calm], [calm, calm], false, false),
            // There was no reading before.
            ([none, none], [events(1, 1, 1), events(1, 1, 1)], false, false),
        ] {
            assert_eq!((is_oom(&before, &now), met_limit(&before, &now)), (oom, met), "{before:?} {now:?}");
        }
    }
}
