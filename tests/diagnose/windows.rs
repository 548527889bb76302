//! Lines that are missing anywhere in a trail make no wrong cause sure.

use runner_vitals::hub::diagnose::cause::Cause::{self, *};
use runner_vitals::hub::diagnose::verdict::{Confidence, Verdict};

use crate::support::{fixture, verdict};
use crate::trails::TRAILS;

/// A captured trail without some of its lines, and maybe without its last.
fn left(name: &str, from: usize, lost: usize, without_last: usize) -> String {
    let text = fixture(name);
    let lines: Vec<&str> = text.lines().collect();
    let kept = lines.iter().take(lines.len() - without_last).enumerate();
    kept.filter(|(at, _)| !(from..from + lost).contains(at)).map(|(_, line)| format!("{line}\n")).collect()
}

/// What is said under `but`.
fn but(found: &Verdict) -> String {
    found.but.iter().map(|said| said.says.as_str()).collect::<Vec<_>>().join("\n")
}

/// Each window of lines that leaves a hole. Where nothing is behind it, it is no hole, and the trail only ends earlier.
#[test]
fn no_window_of_missing_lines_makes_a_wrong_cause_sure() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (name, cause, also) in TRAILS {
        let count = fixture(name).lines().count();
        for without_last in 0..2 {
            let count = count - without_last;
            let step = 1 + count / 16;
            for from in (0..count).step_by(step) {
                for lost in (1..count - from).step_by(step) {
                    let found = verdict(&left(name, from, lost, without_last));
                    seen += 1;
                    if found.confidence == Confidence::High && found.cause != cause && !also.contains(&found.cause) {
                        let is = (found.cause.name(), found.score);
                        wrong.push(format!(
                            "{name} without {lost} lines behind {from}, {without_last} at the end: {is:?}"
                        ));
                    }
                }
            }
        }
    }
    assert!(seen > 2500, "{seen}");
    assert!(wrong.is_empty(), "{} of {seen} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The score of one that contributed.
pub(crate) fn also(found: &Verdict, cause: Cause) -> Option<i64> {
    found.contributing.iter().find(|other| other.cause == cause).map(|other| other.score)
}

/// That half of the memory was free says nothing of a kill in between, where no line of then is there.
#[test]
fn a_kill_in_a_hole_may_be_of_the_whole_guest() {
    for (name, from, lost) in [("oom-guest-fast", 7, 20), ("psi-off", 2, 25)] {
        let found = verdict(&left(name, from, lost, 1));
        assert_eq!((found.cause, found.score), (SidecarOom, 60), "{found:#?}");
        assert!(also(&found, GuestOom).is_some(), "{found:#?}");
        assert!(but(&found).contains("lines between the samples around the kill are missing"), "{found:#?}");
    }
    assert!(verdict(&fixture("oom-sidecar")).score > 60);
}

#[test]
fn a_count_behind_a_hole_did_not_stand_still() {
    for (name, from, lost, without_last, is) in
        [("oom-guest-fast", 1, 25, 1, (OutsideGuest, 64)), ("oom-cgroup", 1, 30, 0, (Stopped, 68))]
    {
        let found = verdict(&left(name, from, lost, without_last));
        assert_eq!((found.cause, found.score), is, "{found:#?}");
        assert!(but(&found).contains("lines right before 2026-11-24T18:4"), "{found:#?}");
        let out = found.ruled_out.iter().find(|other| other.cause == GuestOom).unwrap();
        assert!(out.because[0].says.contains("was not seen to move since 2026-11-24T18:4"), "{out:#?}");
    }
}

/// Lines that are missing longer ago, with samples of a minute behind them, hide nothing of the end.
#[test]
fn a_hole_of_long_ago_costs_nothing() {
    let made = crate::made::Made::started("").samples(40);
    let text: String =
        made.text().lines().enumerate().filter(|(at, _)| *at != 20).map(|(_, line)| format!("{line}\n")).collect();
    assert_eq!(verdict(&text).score, made.verdict().score);
}

#[test]
fn a_group_that_was_killed_may_be_of_this_kill() {
    let text = fixture("oom-group");
    let lines: Vec<&str> = text.lines().collect();
    let found = verdict(&(lines[39..lines.len() - 1].join("\n") + "\n"));
    assert!(found.confidence < Confidence::High, "{found:#?}");
    assert!(found.cause == OomGroup || also(&found, OomGroup).is_some(), "{found:#?}");
    assert!(but(&found).contains("(oom_group)"), "{found:#?}");
}

/// A last line with another time, and no line that tells why.
fn with_last(name: &str, from: &str, to: &str) -> String {
    let text = fixture(name);
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap();
    format!("{before}\n{}\n", last.replace(from, to))
}

#[test]
fn a_clock_that_was_set_before_the_last_line_changes_no_cause() {
    for (name, from, to) in [
        ("cgroup-none", "T19:01:41", "T19:01:01"),
        ("oom-sidecar", "T18:43", "T19:43"),
        ("oom-sidecar", "T18:43", "T17:43"),
    ] {
        let (before, found) = (verdict(&fixture(name)), verdict(&with_last(name, from, to)));
        assert_eq!((found.cause, found.score), (before.cause, before.score), "{found:#?}");
        assert!(but(&found).contains("no line tells why"), "{found:#?}");
        assert!(!but(&before).contains("no line tells why"), "{before:#?}");
    }
}

#[test]
fn more_time_than_the_missing_lines_fill_leaves_it_open() {
    let found = verdict(&left("held", 6, 5, 0));
    assert_eq!((found.cause, found.confidence), (Stopped, Confidence::Medium), "{found:#?}");
    assert!(but(&found).contains("more than those that are missing between them fill"), "{found:#?}");
}
