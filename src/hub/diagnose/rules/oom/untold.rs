//! No kill was told: how far that says that there was none, and memory that ran out all the same.

use crate::hub::trail::slice::{High, Low};

use super::super::super::case::Case;
use super::super::super::evidence::{Ending, Evidence, held_at_limit, is_exhausted};
use super::super::super::units::{at, pct, size};
use super::is_pressure;

pub(super) fn not_killed(evidence: &Evidence<'_>, case: &mut Case) {
    let says = count_stood(evidence);
    let memory = evidence.lowest_memory().map_or_else(String::new, |(lowest, total)| {
        let least = if is_exhausted(lowest, total) { "at the lowest" } else { "at least" };
        format!("; {least} {} of {} were available", size(lowest), size(total))
    });
    case.less(0, says + &memory, &evidence.lately_lines());
}

/// That the count of kills did not move, as far as that was seen. The kernel counts from its boot.
pub(super) fn count_stood(evidence: &Evidence<'_>) -> String {
    let whole = evidence.life.whole.as_deref();
    let count = whole.and_then(|whole| whole.high(High::VmOomKill));
    match (evidence.rise(High::VmOomKill, Low::VmOomKill), count) {
        (Some(0), Some(0)) if evidence.is_first_sample_lost() => {
            "the guest's count of kills (vm.oom_kill) is 0: there was none since it booted".to_owned()
        }
        (Some(0), _) if evidence.is_first_sample_lost() => {
            let since = whole.and_then(|whole| whole.first.at_ms()).map_or_else(|| "the first sample".to_owned(), at);
            format!("the guest's count of kills (vm.oom_kill) was not seen to move since {since}")
        }
        (Some(0), _) => "the guest's count of kills (vm.oom_kill) did not move".to_owned(),
        _ => "no line tells of a kill in its time".to_owned(),
    }
}

/// Silence in a guest without memory, though no kill was told: a panic, or a probe that went first.
pub(super) fn guest_ran_out(evidence: &Evidence<'_>, case: &mut Case) {
    let Some(last) = evidence.last_sample() else { return };
    if evidence.ending != Ending::Silence {
        return;
    }
    let (Some(avail), Some(total)) = (last.low(Low::MemAvail), last.high(High::MemTotal)) else { return };
    let figure = format!("{} of {} were available in the last sample", size(avail), size(total));
    let slope = evidence.within(10_000).find(|one| is_pressure(one, "memory", "slope"));
    if is_exhausted(avail, total) {
        case.add(62, format!("{figure}, and silence follows"), &[last.mark]);
        if let Some(slope) = slope {
            case.add(6, "what was left would be gone in seconds".to_owned(), &[slope.mark]);
        }
    } else if let Some(slope) = slope.filter(|_| avail < total / 4) {
        case.add(
            52,
            format!("{figure}, what was left would be gone in seconds, and silence follows"),
            &[slope.mark, last.mark],
        );
    }
}

/// The same for the own cgroup, where what is in it cannot be dropped.
pub(super) fn cgroup_ran_out(evidence: &Evidence<'_>, case: &mut Case) {
    let Some(last) = evidence.last_sample() else { return };
    // Its line can be torn: then what was so a moment before.
    let mut told = evidence.life.recent.iter().rev().filter(|slice| slice.high(High::MemAnon).is_some());
    let last = told.next().filter(|_| evidence.is_last_torn()).unwrap_or(last);
    let at_limit = held_at_limit(last).filter(|_| evidence.ending == Ending::Silence);
    let Some((held, max)) = at_limit else { return };
    let figure = format!("{} of {} that the cgroup may have cannot be dropped", size(held), size(max));
    case.add(60, format!("{figure}, and silence follows ({} used)", pct(held * 1000 / max)), &[last.mark]);
}
