//! `cpu_starved`, `cpu_stolen`, `cpu_throttled`: who has the CPUs.

use crate::hub::trail::happening::{AgentState, What};
use crate::hub::trail::slice::{High, Last, Low, Mean, Slice};

use super::super::case::Case;
use super::super::cause::Cause;
use super::super::evidence::{Ending, Evidence, is_exhausted};
use super::super::units::{count, pct, size, time};
use super::oom::{self, is_pressure};

/// Some task waits for a CPU so much of the time that it means something. A parallel build has more than 90 %, so alone it
/// means little. Tenths.
const WAITS: i64 = 600;

/// What a busy guest has.
const BUSY: i64 = 20;

/// What it can have at most while nobody is the worse for it: less than a guest that was well has on silence, or one that was told to
/// stop.
const NOBODY_WORSE: i64 = 50;

/// What it can have where nothing tells that CPUs were busy.
const BUSY_UNTOLD: i64 = 49;

/// `cpu_starved`: the guest's own work leaves no CPU. A build that uses all CPUs is no trouble; one that makes the agent or the
/// probe itself wait is.
pub(crate) fn starved(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::CpuStarved);
    let lines = evidence.lately_lines();
    let Some((waits, how)) = waits(evidence) else {
        case.less(0, "nothing tells how long tasks waited for a CPU".to_owned(), &[]);
        return case.done();
    };
    let busy = evidence.worst_mean(Mean::CpuBusy);
    let figure = format!("some task waited for a CPU {} of the time ({how})", pct(waits));
    let figure = busy.map_or_else(|| figure.clone(), |busy| format!("{figure}, CPUs busy {}", pct(busy)));
    if waits < WAITS || busy.is_some_and(|busy| busy < 700) {
        case.less(0, figure, &lines);
        return case.done();
    }
    case.add(BUSY, figure.clone(), &lines);
    many_wait(evidence, &mut case);
    let is_worse = who_waits(evidence, &mut case);
    let had_its_cpu = !is_worse && did_not_wait(evidence);
    // Silence means something where it is not known that the agent had its CPU.
    if case.score >= BUSY && evidence.ending == Ending::Silence && !had_its_cpu {
        case.add(10, "it fell silent while this lasted".to_owned(), &[evidence.end]);
    }
    if had_its_cpu {
        case.at_most(NOBODY_WORSE);
    }
    if busy.is_none() {
        case.less(0, "no line tells how busy the CPUs were, nor what the host took of them".to_owned(), &lines);
        case.at_most(BUSY_UNTOLD);
    }
    let own = case.score;
    others_have_it(evidence, &mut case);
    case.yielded = own - case.score;
    if case.score == own && own <= BUSY {
        case.less(5, format!("{figure}; and nobody who was the worse for it, as in a parallel build"), &lines);
    }
    case.done()
}

/// How much of the time some task waited for a CPU, and by which figure.
fn waits(evidence: &Evidence<'_>) -> Option<(i64, &'static str)> {
    if evidence.tells_stalls(Last::CpuPsi) {
        return Some((evidence.worst_mean(Mean::CpuStall)?, "cpu.stall.pct"));
    }
    let last = evidence.last_sample()?.last(Last::CpuPsi)?;
    match evidence.present(Last::CpuPsi) {
        // The average lags behind what happens, and stays behind what has passed.
        Some(present) => Some((present.min(last.max(WAITS)), "by the average over 10 s")),
        None => Some((last, "cpu.psi.some.avg10")),
    }
}

/// How many tasks want the CPUs.
fn many_wait(evidence: &Evidence<'_>, case: &mut Case) {
    let lines = evidence.lately_lines();
    if let Some(runnable) = evidence.runnable() {
        let cpus = evidence.about().and_then(|about| about.cpus).unwrap_or(0);
        let each = if cpus > 0 { runnable / cpus } else { runnable / 4 };
        let on = if cpus > 0 { format!(" on {}", count(cpus, "CPU")) } else { String::new() };
        let figure =
            format!("some {}.{} tasks wanted to run{on}, by what load1 rose", runnable / 100, runnable % 100 / 10);
        match each {
            400.. => case.add(25, figure, &lines),
            200.. => case.add(10, figure, &lines),
            _ => case.less(0, figure, &lines),
        }
    }
    let average = |slice: Option<&Slice>| slice.and_then(|slice| slice.last(Last::CpuPsi));
    let (first, last) = (average(evidence.life.recent.first()), average(evidence.last_sample()));
    if let Some((first, last)) = first.zip(last).filter(|(first, last)| last - first >= 300) {
        case.add(15, format!("CPU pressure rose from {} to {}", pct(first), pct(last)), &lines);
    }
    // The probe tells it only when more than four tasks a CPU are ready to run, and again each 30 s.
    if let Some(told) = evidence.within(35_000).find(|one| is_pressure(one, "cpu", "psi")) {
        case.add(
            20,
            "a pressure trigger of the CPUs fired, with more than four tasks a CPU ready to run".to_owned(),
            &[told.mark],
        );
    }
}

/// Whether the agent is among those that wait, or the probe itself; `true` where one of them is.
fn who_waits(evidence: &Evidence<'_>, case: &mut Case) -> bool {
    let before = case.reasons.len();
    let lines = evidence.lately_lines();
    let told = evidence.within(15_000).find(|one| matches!(&one.what, What::Agent { state: AgentState::Waited, .. }));
    let (waited, span) = (evidence.growth(High::AgentWait), evidence.lately_ms());
    match (waited, told) {
        (Some(waited), _) if has_waited(evidence) => {
            case.add(25, format!("the agent's threads waited {} for a CPU in {}", time(waited), time(span)), &lines);
        }
        (_, Some(told)) => case.add(20, "the agent waited over a second for a CPU".to_owned(), &[told.mark]),
        (Some(waited), None) => {
            case.less(10, format!("the agent waited only {} in {}", time(waited), time(span)), &lines);
        }
        (None, None) => {}
    }
    late(evidence, 10, case);
    let gap = evidence.within(30_000).find_map(|one| match &one.what {
        What::Gap { kind, ms } if kind.as_ref() == "unknown" => Some((one.mark, *ms)),
        _ => None,
    });
    if let Some((mark, ms)) = gap {
        case.add(5, format!("the probe did not run for {}", time(ms)), &[mark]);
    }
    case.reasons.len() > before
}

/// Whether the agent's threads waited for a CPU 30 % of the time.
fn has_waited(evidence: &Evidence<'_>) -> bool {
    evidence.growth(High::AgentWait).is_some_and(|waited| waited * 10 >= evidence.lately_ms() * 3)
}

/// Whether they are known to have waited under 5 % of it.
fn did_not_wait(evidence: &Evidence<'_>) -> bool {
    evidence.growth(High::AgentWait).is_some_and(|waited| waited * 20 < evidence.lately_ms())
}

/// That the probe, which goes before the others, was late itself.
fn late(evidence: &Evidence<'_>, points: i64, case: &mut Case) {
    if let Some(late) = evidence.late_ms().filter(|late| *late >= 1000.max(evidence.interval_ms / 2)) {
        case.add(points, format!("the probe itself was {} late", time(late)), &evidence.lately_lines());
    }
}

/// What explains the waiting better.
fn others_have_it(evidence: &Evidence<'_>, case: &mut Case) {
    let steal = evidence.worst_mean(Mean::CpuSteal).unwrap_or(0);
    if steal >= 100 {
        case.less(30, format!("the host took {} of the CPUs", pct(steal)), &evidence.lately_lines());
    }
    let throttled = evidence.worst_mean(Mean::CpuThrottled).unwrap_or(0);
    if throttled >= 500 {
        case.less(40, format!("the quota throttled {} of the periods", pct(throttled)), &evidence.lately_lines());
    }
    if let Some(short) = short_memory(evidence) {
        case.less(30, format!("{short}, and reclaiming memory takes the CPUs"), &evidence.lately_lines());
        case.at_most(60);
    }
}

/// Close under a limit the kernel reclaims, and what waits for a CPU, waits for that. A kill just now says the same.
fn short_memory(evidence: &Evidence<'_>) -> Option<String> {
    let lately = evidence.lately()?;
    let guest = lately.low(Low::MemAvail).zip(lately.high(High::MemTotal));
    if let Some((avail, total)) = guest.filter(|(avail, total)| is_exhausted(*avail, *total)) {
        return Some(format!("{} of {} were available in the guest", size(avail), size(total)));
    }
    let cgroup = lately.high(High::MemCurrent).zip(lately.high(High::MemMax));
    if let Some((current, max)) = cgroup.filter(|(current, max)| *current >= max / 10 * 9) {
        return Some(format!("the cgroup had {} of {}", size(current), size(max)));
    }
    let oom = oom::oom(evidence).filter(|oom| evidence.is_within(oom.mark, 30_000))?;
    Some(format!("the kernel killed for memory {}", evidence.before(oom.mark)))
}

/// `cpu_stolen`: the host gives the guest's CPUs to others. Steal that is always 0 is no proof of none.
pub(crate) fn stolen(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::CpuStolen);
    let steal = evidence.worst_mean(Mean::CpuSteal).unwrap_or(0);
    let lines = evidence.lately_lines();
    let figure = format!("the host took {} of the CPUs (cpu.steal.pct)", pct(steal));
    match steal {
        200.. => case.add(60 + (steal - 200) / 20, figure, &lines),
        100.. => case.add(42, figure, &lines),
        1.. => case.less(0, figure, &lines),
        _ if evidence.lately().is_some_and(|lately| lately.has(Mean::CpuSteal)) => case.less(0, figure, &lines),
        _ => {
            case.less(
                0,
                "no steal was told lately, which can also mean that the host does not tell".to_owned(),
                &lines,
            );
        }
    }
    if steal >= 100 {
        late(evidence, 8, &mut case);
        if has_waited(evidence) {
            case.add(5, "the agent waited for a CPU".to_owned(), &lines);
        }
    }
    case.done()
}

/// `cpu_throttled`: the quota is used up, and what wants to run waits though CPUs are idle.
pub(crate) fn throttled(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::new(Cause::CpuThrottled);
    let throttled = evidence.worst_mean(Mean::CpuThrottled).unwrap_or(0);
    let lines = evidence.lately_lines();
    let figure = format!("the quota throttled {} of the periods (cpu.throttled.pct)", pct(throttled));
    if throttled < 500 {
        match evidence.about().and_then(|about| about.tells_throttling) {
            Some(false) if throttled == 0 => {
                case.less(0, "the guest does not tell of a quota that throttles".to_owned(), &[]);
            }
            None if throttled == 0 => {
                case.less(0, "no line tells of a quota that throttles (cpu.throttled.pct)".to_owned(), &[]);
            }
            _ => case.less(0, figure, &lines),
        }
        return case.done();
    }
    let quota = evidence.about().and_then(|about| about.cpu_quota.as_deref()).unwrap_or("unknown");
    case.add(30, format!("{figure}; the quota is {quota} CPUs"), &lines);
    match waits(evidence) {
        Some((waits, how)) if waits >= WAITS => {
            case.add(
                15 + (throttled - 500) / 25,
                format!("some task waited for a CPU {} of the time ({how})", pct(waits)),
                &lines,
            );
        }
        Some((waits, how)) => {
            case.less(10, format!("tasks waited for a CPU only {} of the time ({how})", pct(waits)), &lines);
        }
        None => {}
    }
    if let Some(busy) = evidence.worst_mean(Mean::CpuBusy).filter(|busy| *busy < 900) {
        case.add(8, format!("while the CPUs were busy {} only", pct(busy)), &lines);
    }
    case.done()
}
