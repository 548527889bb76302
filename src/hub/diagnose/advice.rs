//! What to change. Figures come from the trail; each is a beginning for a person, not a measurement of what a job needs.

use crate::hub::trail::happening::What;
use crate::hub::trail::slice::{High, Low};

use super::cause::Cause;
use super::clock::Looked;
use super::evidence::{Ending, Evidence, is_exhausted};
use super::units::{at, size};

/// What would keep it from happening again.
pub(super) fn advice(evidence: &Evidence<'_>, cause: Cause) -> Vec<String> {
    let mut advice = of_cause(evidence, cause);
    advice.extend(evidence.looked.map(later));
    advice.extend(outside_limit(evidence));
    advice
}

fn of_cause(evidence: &Evidence<'_>, cause: Cause) -> Vec<String> {
    let says = match cause {
        Cause::GuestOom => return guest_oom(evidence),
        // A cgroup can thrash below its limit in a guest that has room.
        Cause::MemoryThrash if has_room(evidence) => cgroup_memory(evidence),
        Cause::MemoryThrash => guest_memory(evidence),
        Cause::CgroupOom | Cause::OomGroup => cgroup_memory(evidence),
        Cause::SidecarOom => sidecar_memory(evidence),
        Cause::CpuStarved => {
            "give it more CPUs, fewer parallel jobs, or the agent a better priority than the job (nice, cpu.weight)"
                .to_owned()
        }
        Cause::CpuStolen => format!("look at the node{}: more guests want its CPUs than it has", when(evidence)),
        Cause::CpuThrottled => "raise or remove the CPU quota; bursts are throttled even when the mean fits".to_owned(),
        Cause::IoStall => {
            format!("look at the disk and at the node{}; a faster disk, or less of it at once", when(evidence))
        }
        Cause::DiskFull => "a larger disk, or clean up before and during the job".to_owned(),
        Cause::InodesFull => "more inodes (mkfs -N), or fewer small files: caches and node_modules first".to_owned(),
        Cause::PidsExhausted => "raise pids.max, or look for processes that are never waited for".to_owned(),
        Cause::KernelFault => {
            format!("keep the node's console log{} and the guest's kernel version for a report", when(evidence))
        }
        Cause::AgentCrashed => "look at the agent's own log (_diag), and at its version".to_owned(),
        Cause::NetworkLost => format!("look at the network between the guest and the endpoint{}", when(evidence)),
        Cause::Paused => {
            format!("look at what the host did{}: snapshots, migration, an overcommitted node", when(evidence))
        }
        Cause::OutsideGuest => {
            format!("look at the node and the platform{}: kills, evictions, a lost node, its network", when(evidence))
        }
        Cause::NoVitals => {
            "look at how the runner was started; the probe's first line should come before the agent".to_owned()
        }
        Cause::Finished => return failed(evidence),
        Cause::Stopped | Cause::Inconclusive => return Vec::new(),
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
    if let Some((own, (lowest, total))) = own.zip(evidence.lowest_memory())
        && own < (total - lowest) / 2
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

fn cgroup_memory(evidence: &Evidence<'_>) -> String {
    let whole = evidence.life.whole.as_deref();
    let max = whole.and_then(|whole| whole.high(High::MemMax));
    let peak = whole.and_then(|whole| whole.high(High::MemPeak).max(whole.high(High::MemCurrent)));
    match (max, peak) {
        (Some(max), Some(peak)) => {
            let next = max.max(peak) / 2 * 3;
            format!(
                "raise the runner's memory limit: its peak was {} of {}, so {} or above",
                size(peak),
                size(max),
                size(next)
            )
        }
        _ => "raise the runner's memory limit".to_owned(),
    }
}

/// Where to look for why a job failed, when nothing in the guest ended it.
fn failed(evidence: &Evidence<'_>) -> Vec<String> {
    let Ending::Finished { exit, signal } = evidence.ending else { return Vec::new() };
    // A shell tells the signal that ended a command so.
    let of_shell = exit.and_then(|exit| exit.checked_sub(128)).filter(|signal| (1..=64).contains(signal));
    let code = exit.filter(|_| signal.is_none()).map_or_else(String::new, |exit| format!("code {exit} is "));
    let says = match (signal.or(of_shell), exit) {
        (Some(9), _) => format!(
            "{code}SIGKILL, and no line tells of a kill for memory near it: look at who cancels jobs, at timeouts, and at the job's own log"
        ),
        (Some(15 | 2), _) => format!(
            "{code}a signal to end, from somebody: look at who cancels jobs, at timeouts, and at the job's own log"
        ),
        (Some(signal), _) => {
            format!("{code}signal {signal}, a crash in all likelihood: look at the job's own log and for a core dump")
        }
        (None, Some(126 | 127)) => {
            format!("{code}a shell's for a command that it could not start: look at the job's own log and at the image")
        }
        (None, Some(1..)) => "the job failed by itself: its own log says why".to_owned(),
        _ => return Vec::new(),
    };
    vec![says]
}

/// Of a trail that is not over.
fn later(looked: Looked) -> String {
    if looked.is_asked {
        "ask for later lines (--to): what came next says whether it lived on".to_owned()
    } else {
        format!("look again after {}: a line that is not there by then does not come", at(looked.over_ms))
    }
}

fn when(evidence: &Evidence<'_>) -> String {
    evidence.end.at_ms().map_or_else(String::new, |end| format!(" at {}", at(end)))
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
        "the guest has {} of memory and the platform's limit for the runner is {}: using more is a kill from outside (it used {} at most)",
        size(total),
        size(limit_kb),
        size(used)
    ))
}
