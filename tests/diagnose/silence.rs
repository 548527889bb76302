//! Silence is surely of outside only where nothing that is left of the trail says otherwise.

use proptest::prelude::*;
use runner_vitals::hub::diagnose::cause::Cause;
use runner_vitals::hub::diagnose::verdict::Confidence;

use crate::losses::trails;
use crate::made::Made;
use crate::support::{verdict, verdicts};

/// Whether the last sample of a text shows a guest that is ill.
fn is_ill(text: &str) -> bool {
    let last = text.lines().rfind(|line| !line.contains(" event="));
    let number = |key: &str| {
        let value = last?.split(&format!(" {key}=")).nth(1)?.split(' ').next()?;
        value.parse::<f64>().ok()
    };
    let is_over = |key, most| number(key).is_some_and(|value| value > most);
    let is_short =
        number("vm.mem.avail.kb").zip(number("vm.mem.total.kb")).is_some_and(|(avail, total)| avail < total / 10.0);
    is_short
        || is_over("mem.stall.pct", 10.0)
        || is_over("mem.psi.full.avg10", 10.0)
        || is_over("io.stall.pct", 60.0)
        || is_over("cpu.steal.pct", 10.0)
        || is_over("late.ms", 1000.0)
        || is_over("pids.used.pct", 99.0)
}

/// What the last lines, which came within the last seconds, tell of trouble.
fn tells_trouble(text: &str) -> bool {
    let is_trouble = |line: &str| {
        [" event=pressure", " event=kmsg.", " event=gap", "state=vanished", "state=waited"]
            .iter()
            .any(|of| line.contains(of))
            && !line.contains(" old=1")
    };
    text.lines().rev().take(3).any(is_trouble)
}

/// Whoever loses the last lines of a trail loses what they told. What is left does not point elsewhere the surer for it: not where its last
/// sample or its last lines are of a guest that is ill.
#[test]
fn losing_the_last_lines_makes_nothing_outside_sure() {
    let mut seen = 0;
    for trail in trails() {
        let lines: Vec<&str> = trail.text.lines().collect();
        for kept in 1..=lines.len() {
            let part = lines[..kept].join("\n") + "\n";
            if !is_ill(&part) && !tells_trouble(&part) {
                continue;
            }
            seen += 1;
            for found in verdicts(part.as_bytes()) {
                let is_sure = found.cause == Cause::OutsideGuest && found.confidence == Confidence::High;
                assert!(!is_sure, "{} first {kept}: {found:#?}", trail.name);
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

const EVENTS: [&str; 9] = [
    "pressure resource=memory kind=psi value=20.0",
    "pressure resource=io kind=events value=20.0",
    "kmsg.hung comm=jbd2 kts=150 msg=x",
    "kmsg.io dev=vda kts=150 msg=x",
    "kmsg.alloc comm=cc1 kts=150 msg=x",
    "kmsg.oom scope=guest victim.comm=node victim.adj=900 kts=150 msg=x",
    "gap kind=unknown ms=1500",
    "agent comm=Runner.Listener role=agent state=vanished pid=9",
    "agent comm=Runner.Listener role=agent state=waited pid=9 wait.ms=1300",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However a guest fares at its end, silence behind it is surely of outside only where its last sample is well and nothing was told.
    #[test]
    fn silence_behind_an_ill_sample_is_never_surely_of_outside(
        readings in [0_u32..1000, 0_u32..1000, 0_u32..300, 0_u32..3000],
        is_set in proptest::array::uniform5(any::<bool>()),
        avail in 0_u64..8_000_000,
        told in proptest::option::of(0..EVENTS.len()),
        behind in 0_u64..3,
        is_started in any::<bool>(),
    ) {
        let keys = ["mem.stall.pct", "io.stall.pct", "cpu.steal.pct", "late.ms"];
        let made = if is_started { Made::started("") } else { Made::new() };
        let made = keys.iter().zip(readings).zip(is_set).filter(|(_, is_set)| *is_set).fold(
            made.samples(20),
            |made, ((key, tenths), _)| made.with(key, format!("{}.{}", tenths / 10, tenths % 10)),
        );
        let made = if is_set[4] { made.with("vm.mem.avail.kb", avail) } else { made };
        let made = match told.and_then(|at| EVENTS[at].split_once(' ')) {
            Some((event, fields)) => made.sample().event(event, fields).samples(behind),
            None => made.sample(),
        };
        let found = made.verdict();
        if found.cause == Cause::OutsideGuest && found.confidence == Confidence::High {
            prop_assert!(!is_ill(made.text()) && told.is_none(), "{:?}\n{}", found, made.text());
        }
    }
}

/// Losing the last lines makes `outside_guest` surer only where one of them is a sample or an event that weakened it.
#[test]
fn silence_is_no_surer_for_a_hole_in_it() {
    for trail in trails() {
        let lines: Vec<&str> = trail.text.lines().collect();
        let outside = |text: &str| {
            let found = verdict(text);
            (found.cause == Cause::OutsideGuest).then_some(found.score)
        };
        for kept in 12..=lines.len() {
            let whole = lines[..kept].join("\n") + "\n";
            // All but one of the latest lines: its number stays behind as a hole.
            for hole in kept - 5..kept - 1 {
                let part: String = lines[..kept]
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| *at != hole)
                    .map(|(_, line)| format!("{line}\n"))
                    .collect();
                if let Some((before, after)) = outside(&whole).zip(outside(&part)) {
                    assert!(after <= before, "{} {kept} without {hole}: {before} {after}\n{part}", trail.name);
                }
            }
        }
    }
}
