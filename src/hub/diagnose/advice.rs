//! What to change. Figures come from the trail; each is a beginning for a person, not a measurement of what a job needs.

use crate::hub::trail::happening::What;
use crate::hub::trail::slice::{High, Low, Mark};

use super::ailing;
use super::case::Case;
use super::cause::Cause;
use super::clock::Looked;
use super::evidence::{Ending, Evidence, Interval, is_exhausted};
use super::signals;
use super::units::{at, size};

/// What would keep it from happening again.
pub(super) fn advice(evidence: &Evidence<'_>, case: &Case, others: &[Case]) -> Vec<String> {
    let has_ailed = others.iter().any(Case::ails) || !ailing::ailments(evidence).is_empty();
    let mut advice = of_cause(evidence, case, has_ailed);
    advice.extend(evidence.looked.map(later));
    advice.extend(outside_limit(evidence));
    advice
}

fn of_cause(evidence: &Evidence<'_>, case: &Case, has_ailed: bool) -> Vec<String> {
    let when = || when(evidence, case);
    let says = match case.cause {
        Cause::GuestOom => return guest_oom(evidence),
        Cause::MemoryThrash if evidence.at_high().is_some() => cgroup_high(evidence),
        // A cgroup can thrash below its limit in a guest that has room.
        Cause::MemoryThrash if has_room(evidence) => cgroup_memory(evidence, "what it waited for"),
        Cause::MemoryThrash => guest_memory(evidence),
        Cause::CgroupOom | Cause::OomGroup => cgroup_memory(evidence, "its peak"),
        Cause::SidecarOom => sidecar_memory(evidence),
        Cause::CpuStarved => {
            "give it more CPUs, fewer parallel jobs, or the agent a better priority than the job (nice, cpu.weight)"
                .to_owned()
        }
        Cause::CpuStolen => format!("look at the node{}: more guests want its CPUs than it has", when()),
        Cause::CpuThrottled => "raise or remove the CPU quota; bursts are throttled even when the mean fits".to_owned(),
        Cause::IoStall => {
            format!("look at the disk and at the node{}; a faster disk, or less of it at once", when())
        }
        Cause::DiskFull => "a larger disk, or clean up before and during the job".to_owned(),
        Cause::InodesFull => "more inodes (mkfs -N), or fewer small files: caches and node_modules first".to_owned(),
        Cause::PidsExhausted => "raise pids.max, or look for processes that are never waited for".to_owned(),
        Cause::KernelFault => {
            format!("keep the node's console log{} and the guest's kernel version for a report", when())
        }
        Cause::AgentCrashed => "look at the agent's own log (_diag), and at its version".to_owned(),
        Cause::NetworkLost => format!("look at the network between the guest and the endpoint{}", when()),
        Cause::Paused => {
            format!("look at what the host did{}: snapshots, migration, an overcommitted node", when())
        }
        Cause::OutsideGuest if evidence.ending == Ending::Unread => {
            format!("look at what read the probe's stdout{}: its launcher, a pipe, a collector", when())
        }
        Cause::OutsideGuest => {
            format!("look at the node and the platform{}: kills, evictions, a lost node, its network", when())
        }
        Cause::NoVitals => {
            "look at how the runner was started; the probe's first line should come before the agent".to_owned()
        }
        Cause::Finished => {
            return match evidence.ending {
                Ending::Finished { exit, signal } => signals::advice(exit, signal, has_ailed).into_iter().collect(),
                _ => signals::advice(None, None, has_ailed).into_iter().collect(),
            };
        }
        Cause::Inconclusive if evidence.ending == Ending::Orphaned => {
            format!(
                "find out what became of the process that started the probe{}: of `runner-vitals exec` only a SIGKILL leaves this; where the probe was started with `&`, it is how a job ends",
                when()
            )
        }
        Cause::Stopped => {
            return match evidence.ending {
                Ending::Told(Some(job)) => signals::advice(None, Some(job.told), has_ailed).into_iter().collect(),
                _ => Vec::new(),
            };
        }
        Cause::Inconclusive => return Vec::new(),
    };
    vec![says]
}

/// A quarter above the peak, or the next size where the peak met the end.
fn guest_memory(evidence: &Evidence<'_>) -> String {
    let Some((lowest, total)) = evidence.lowest_memory() else { return "give the guest more memory".to_owned() };
    let largest = evidence.life.happenings.iter().rev().find_map(|one| match &one.what {
        What::Largest { comm, rss_kb } => Some(format!("; the largest process was {comm} with {}", size(*rss_kb))),
        _ => None,
    });
    let used = (total - lowest).max(0);
    let next = total / 2 * 3;
    if lowest > total / 4 {
        return format!(
            "give the guest more memory than {}, so {} or above: no sample shows its peak, which came between two of them (it used {} at most in any)",
            size(total),
            size(next),
            size(used)
        );
    }
    format!(
        "give the guest more memory: it used {} of {} and wanted more, so {} or above{}",
        size(used),
        size(total),
        size(next),
        largest.unwrap_or_default()
    )
}

/// More memory, and a limit for what runs beside the runner where that had most of it.
fn guest_oom(evidence: &Evidence<'_>) -> Vec<String> {
    let mut advice = vec![guest_memory(evidence)];
    let own = evidence.life.whole.as_deref().and_then(|whole| whole.high(High::MemCurrent));
    // Where no sample shows the peak, none shows whose it was.
    if let Some((own, (lowest, total))) = own.zip(evidence.lowest_memory())
        && own < (total - lowest) / 2
        && lowest <= total / 4
    {
        advice.push(format!(
            "put a limit on what runs beside the runner, a sidecar: the runner's own cgroup used {} of those {} at most",
            size(own),
            size(total - lowest)
        ));
    }
    advice
}

/// Whether the guest had memory left when its end came.
fn has_room(evidence: &Evidence<'_>) -> bool {
    evidence.lowest_memory().is_some_and(|(lowest, total)| lowest > total / 4 && !is_exhausted(lowest, total))
}

fn sidecar_memory(evidence: &Evidence<'_>) -> String {
    let killed_in = evidence.life.happenings.iter().rev().find_map(|one| match &one.what {
        What::Kill { cgroup, rss_kb, .. } if !cgroup.is_empty() => Some((cgroup, *rss_kb)),
        _ => None,
    });
    match killed_in {
        Some((cgroup, rss)) => {
            let rss = rss.map_or_else(String::new, |kb| format!("; what was killed had {}", size(i64::from(kb))));
            format!("the runner's own limit was not met: raise that of {cgroup}, or have what runs there use less{rss}")
        }
        None => "raise the limit of the cgroup that was killed in, or have what runs there use less".to_owned(),
    }
}

fn cgroup_memory(evidence: &Evidence<'_>, what: &str) -> String {
    match evidence.peak_and_limit() {
        Some((peak, max)) if peak < max / 10 * 9 => format!(
            "raise the runner's memory limit of {} to {} or above, if it is the one that was met: no sample shows {what}, which came between two of them or in a cgroup above or below (it had {} at most in any)",
            size(max),
            size(max / 2 * 3),
            size(peak)
        ),
        Some((peak, max)) => {
            let next = max.max(peak) / 2 * 3;
            format!(
                "raise the runner's memory limit: its peak was {} of {}, so {} or above",
                size(peak),
                size(max),
                size(next)
            )
        }
        None => "raise the runner's memory limit".to_owned(),
    }
}

/// Of a trail that is not over.
fn later(looked: Looked) -> String {
    if looked.is_asked {
        "ask for later lines (--to): what came next says whether it lived on".to_owned()
    } else {
        format!("look again after {}: a line that is not there by then does not come", at(looked.over_ms))
    }
}

/// The brake, and not the limit, is what it met.
fn cgroup_high(evidence: &Evidence<'_>) -> String {
    let Some((current, high)) = evidence.at_high() else { return cgroup_memory(evidence, "what it waited for") };
    let level = evidence.about().and_then(|about| about.mem_level.as_deref());
    let of = level.map_or_else(String::new, |level| format!(" of {level}"));
    format!(
        "raise memory.high{of}, or set memory.max in its place: it is {}, the cgroup had {} and wanted more, so {} or above; beyond memory.high the kernel slows down what allocates and kills nothing",
        size(high),
        size(current),
        size(high.max(current) / 2 * 3)
    )
}

/// When that was which somebody is to look at: the gap, the silence, else the lines that are the reasons.
fn when(evidence: &Evidence<'_>, case: &Case) -> String {
    let between = |from: i64, to: i64| match to > from {
        true => format!(" between {} and {}", at(from), at(to)),
        false => format!(" at {}", at(to)),
    };
    let lines = || case.reasons.iter().flat_map(|reason| &reason.lines).filter_map(Mark::at_ms);
    let span = match case.cause {
        // When the next line was due is not known: after the last one, then.
        Cause::OutsideGuest if evidence.ending == Ending::Silence && evidence.interval == Interval::Assumed => {
            return evidence.end.at_ms().map_or_else(String::new, |end| format!(" after {}", at(end)));
        }
        Cause::OutsideGuest if evidence.ending == Ending::Silence => {
            evidence.end.at_ms().map(|end| (end, end.saturating_add(evidence.interval_ms)))
        }
        Cause::Paused => gap(evidence, case),
        _ => lines().min().zip(lines().max()),
    };
    let ahead_ms = evidence.clock_ahead_ms().unwrap_or(0);
    span.map_or_else(String::new, |(from, to)| between(from.saturating_sub(ahead_ms), to.saturating_sub(ahead_ms)))
}

/// From when to when nothing ran; the line of a gap comes when it is over.
fn gap(evidence: &Evidence<'_>, case: &Case) -> Option<(i64, i64)> {
    let line = case.reasons.first()?.lines.first()?;
    let to = line.at_ms()?;
    let ms = evidence.life.happenings.iter().find_map(|one| match one.what {
        What::Gap { ms, .. } if one.mark == *line => Some(ms),
        _ => None,
    });
    Some((to.saturating_sub(ms?), to))
}

/// A guest that may use more than the platform gave the runner can be killed from outside, and its own figures look well.
fn outside_limit(evidence: &Evidence<'_>) -> Option<String> {
    let limit_kb = evidence.about()?.runner_mem_limit? / 1024;
    let whole = evidence.life.whole.as_deref()?;
    let total = whole.high(High::MemTotal)?;
    if limit_kb <= 0 || total <= limit_kb {
        return None;
    }
    let used = total - whole.low(Low::MemAvail)?;
    Some(format!(
        "the guest has {} of memory and the platform's limit for the runner is {}: using more is a kill from outside (it used {} at most in any sample)",
        size(total),
        size(limit_kb),
        size(used)
    ))
}
