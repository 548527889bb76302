//! What else there was agrees with the verdict beside it.

use runner_vitals::hub::diagnose::cause::Cause::*;
use runner_vitals::hub::diagnose::verdict::Verdict;

use crate::support::{fixture, verdict};
use crate::windows::also;

#[test]
fn no_cause_is_ruled_out_that_contributed() {
    let text = fixture("inodes-full");
    let text: String = text
        .lines()
        .enumerate()
        .filter(|(at, _)| ![0, 1, 9].contains(at))
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    let found = verdict(&text);
    assert!(also(&found, Stopped).is_some_and(|score| score < 20), "{found:#?}");
    assert!(found.ruled_out.iter().all(|other| also(&found, other.cause).is_none()), "{found:#?}");
}

/// A trail of a guest that has no memory left, with a torn line behind it.
fn torn(lost: std::ops::Range<usize>) -> Verdict {
    let text = fixture("livelock");
    let lines: Vec<&str> = text.lines().collect();
    let kept = lines[..60].iter().enumerate().filter(|(at, _)| !lost.contains(at));
    let whole: String = kept.map(|(_, line)| format!("{line}\n")).collect();
    verdict(&format!("{whole}{}", lines[60].get(..200).unwrap()))
}

#[test]
fn nothing_that_contributed_is_surer_than_the_verdict() {
    // What is glued to a job's text, with lines missing before it, leaves it all open.
    let text = fixture("livelock");
    let lines: Vec<&str> = text.lines().collect();
    let glued = verdict(&format!("{}\nnpm {}\n", lines[..67].join("\n"), lines[71]));
    assert_eq!((also(&glued, GuestOom), glued.score), (Some(49), 49), "{glued:#?}");
    for found in [torn(49..50), torn(56..60), torn(57..60), glued] {
        assert!(found.contributing.iter().all(|other| other.score <= found.score), "{found:#?}");
    }
}

#[test]
fn no_cause_has_two_scores() {
    let found = torn(49..50);
    let others = found.contributing.iter().chain(&found.ruled_out).flat_map(|other| &other.because);
    let all: Vec<&str> = found.because.iter().chain(&found.but).chain(others).map(|said| said.says.as_str()).collect();
    assert!(also(&found, CpuStarved).is_some(), "{found:#?}");
    assert!(all.iter().any(|says| says.contains("not all was well: ")), "{all:#?}");
    assert!(!all.iter().any(|says| says.contains("of 100")), "{all:#?}");
}
