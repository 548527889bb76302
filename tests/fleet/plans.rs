//! What follows from the fleet file: the warm deficit, a roll, a size, what is idle; and what too little is said of.

use runner_vitals::hub::fleet::look::{Fleet, Settings};
use runner_vitals::hub::fleet::roll::Figure;
use runner_vitals::hub::fleet::sizing::{Advice, Idle};
use runner_vitals::hub::fleet::state::State;

use crate::support::{HOUR, NOON, Trail, USUAL, fleet, seen, ts};

const MINUTE: i64 = 60_000;

/// Members by the phase that each is in from noon on.
fn members(phases: &[(&str, usize)]) -> Trail {
    let mut trail = Trail::default();
    for (phase, count) in phases {
        for nth in 0..*count {
            trail.phase(&format!("runner.name={phase:.3}{nth} runner.fleet=f"), 0, phase);
        }
    }
    trail
}

fn file(rest: &str) -> String {
    format!("[[fleet]]\nfleet = \"f\"\n{rest}")
}

#[test]
fn members_that_are_stuck_or_ready_for_long_are_told() {
    let trail = members(&[("warming", 2), ("ready", 3), ("claimed", 1), ("ended", 4)]);
    let at = |at: i64| {
        let figures = fleet(&trail.text, "", at).figures;
        (figures.stuck, figures.long_ready, figures.members[&State::Warming], figures.members[&State::Ended])
    };
    assert_eq!(at(10 * MINUTE), (0, 0, 2, 4));
    assert_eq!(at(10 * MINUTE + 1), (2, 0, 2, 4));
    assert_eq!(at(HOUR + 1), (2, 3, 2, 4));
}

#[test]
fn a_claim_found_no_ready_member_only_where_there_was_none() {
    // A runner that becomes ready at 60 s, and has a job at once; another is ready up to a time.
    let unmet = |other_until: i64, waited: &str| {
        let mut trail = Trail::default();
        let (own, other) = ("runner.name=a runner.fleet=f", "runner.name=b runner.fleet=f");
        trail.phase(other, 0, "ready").phase(other, other_until, "claimed");
        trail.phase(own, 0, "warming").phase(own, 60_000, "ready").phase(own, 60_500, &format!("claimed {waited}"));
        let supply = fleet(&trail.text, "", 2 * MINUTE).figures.supply;
        (supply.unmet, supply.told, supply.unmet_estimated, supply.untold)
    };
    let queued = "waited.ms=10500 waited.from=queued";
    assert_eq!(unmet(70_000, queued), (0, 1, 0, 1), "another was ready all the time");
    assert_eq!(unmet(55_000, queued), (1, 1, 0, 1), "it was taken before");
    assert_eq!(unmet(55_000, "waited.ms=100 waited.from=queued"), (0, 1, 0, 1), "it came when its runner was ready");
    assert_eq!(unmet(55_000, "waited.ms=500 waited.from=ready"), (0, 0, 1, 2), "it seems so");
    assert_eq!(unmet(70_000, "waited.ms=500 waited.from=ready"), (0, 0, 0, 2), "another was ready");
}

#[test]
fn the_warm_deficit_is_made_of_what_is_given_and_says_what_is_not() {
    let trail = members(&[("warming", 1), ("ready", 1), ("claimed", 4)]);
    let deficit = |rest: &str| fleet(&trail.text, &file(rest), MINUTE).plan.unwrap().deficit;
    for (rest, expected) in [
        // min(4 + 5, 20) - max(6, 4)
        ("target = 20\nwarm_floor = 5", 3),
        // The target bounds it: min(4 + 5, 7) - 6
        ("target = 7\nwarm_floor = 5", 1),
        ("target = 20\nwarm_floor = 2", 0),
        // min(12 + 5, 20) - max(6, 12)
        ("target = 20\nwarm_floor = 5\nload = 12", 5),
        ("target = 20\nwarm_floor = 5\nload = 12\nallocated = 16", 1),
        ("target = 20\nwarm_floor = 5\nallocated = 4", 5),
    ] {
        let found = deficit(rest).unwrap();
        assert_eq!(found.deficit, expected, "{rest}");
        assert_eq!(
            (found.load.is_estimate(), found.allocated.is_estimate()),
            (!rest.contains("load"), !rest.contains("allocated"))
        );
    }
    assert_eq!((deficit("target = 20"), deficit("warm_floor = 5")), (None, None));
}

/// Runners of images, each from a time on in a phase.
fn images(members: &[(&str, i64, &str)]) -> Trail {
    let mut trail = Trail::default();
    for (nth, (image, at, phases)) in members.iter().enumerate() {
        for (later, phase) in phases.split(' ').enumerate() {
            let who = format!("runner.name=r{nth} runner.fleet=f runner.image={image}");
            trail.phase(&who, at + later as i64 * 30_000, phase);
        }
    }
    trail
}

const ROLL: &str = "image = \"new\"\nreplicas = 10\nmax_concurrent_percent = 25\n";

fn roll(trail: &Trail, rest: &str, at: i64) -> runner_vitals::hub::fleet::roll::Roll {
    fleet(&trail.text, &file(rest), at).roll.unwrap()
}

#[test]
fn a_roll_is_held_against_its_cap() {
    let mut of = vec![("old", 0, "ready"), ("old", 0, "ready"), ("new", 0, "ready")];
    of.extend([("new", HOUR, "warming"); 2]);
    let found = roll(&images(&of), ROLL, HOUR + MINUTE);
    assert_eq!((found.current, found.stale, found.cap), (3, 2, Some(2)));
    assert_eq!((found.rolling, found.is_breached(), found.is_stuck), (Figure::Estimated(2), false, Some(false)));
    of.push(("new", HOUR, "warming"));
    assert!(roll(&images(&of), ROLL, HOUR + MINUTE).is_breached());
    let told = roll(&images(&of), &format!("{ROLL}rolling = 1"), HOUR + MINUTE);
    assert_eq!((told.rolling, told.is_breached()), (Figure::Given(1), false));
    // Never below one; and none where the file does not say of how many.
    assert_eq!(roll(&images(&of), "image = \"new\"\nreplicas = 3\nmax_concurrent_percent = 25", HOUR).cap, Some(1));
    assert_eq!(roll(&images(&of), "image = \"new\"\nmax_concurrent_percent = 25", HOUR).cap, None);
    // Who warms up where nothing is stale rolls nothing.
    assert_eq!(roll(&images(&[("new", 0, "warming")]), ROLL, MINUTE).rolling, Figure::Estimated(0));
}

#[test]
fn a_roll_is_stuck_when_nothing_falls_while_it_is_at_its_cap() {
    let old = [("old", 0, "ready"), ("old", 0, "ready"), ("old", 0, "ready")];
    let of = |more: &[(&'static str, i64, &'static str)]| images(&[&old[..], more].concat());
    let two = [("new", HOUR, "warming"), ("new", HOUR, "warming")];
    let at = HOUR + 16 * MINUTE;
    assert_eq!(roll(&of(&two), ROLL, at).is_stuck, Some(true));
    assert_eq!(roll(&of(&two), ROLL, HOUR + 14 * MINUTE).is_stuck, Some(false), "not for long");
    assert_eq!(roll(&of(&two[..1]), ROLL, at).is_stuck, Some(false), "not at the cap");
    assert_eq!(roll(&of(&two), ROLL, 10 * MINUTE).is_stuck, None, "nothing is known of so far back");
    let falls = of(&[two[0], two[1], ("old", at - 5 * MINUTE - 30_000, "ready ended")]);
    assert_eq!(roll(&falls, ROLL, at).is_stuck, Some(true), "one that came and went is no fall");
    let mut falls = of(&two);
    falls.phase("runner.name=r0 runner.fleet=f runner.image=old", at - MINUTE, "ended");
    assert_eq!(roll(&falls, ROLL, at).is_stuck, Some(false));
}

#[test]
fn without_a_fleet_file_the_newest_image_is_the_one_to_be() {
    let found = seen(&images(&[("b", 0, "ready"), ("a", MINUTE, "warming")]).text, "", USUAL);
    let roll = found.fleets[0].roll.clone().unwrap();
    assert_eq!((roll.image.as_str(), roll.is_image_estimated, roll.stale, roll.cap), ("a", true, 1, None));
    assert!(found.fleets[0].plan.is_none());
}

/// A pool of single-shot runners: each second minute one takes a job, and the next is warm after 30 s.
fn steady(minutes: i64, idle: usize) -> Trail {
    let mut trail = members(&[("ready", idle)]);
    for nth in 0..minutes / 2 {
        let who = format!("runner.name=s{nth} runner.fleet=f");
        let at = nth * 2 * MINUTE;
        trail.phase(&who, at, "warming").phase(&who, at + 30_000, "ready");
        trail.phase(&who, at + 2 * MINUTE, "claimed job.nr=1 waited.ms=500 waited.from=queued");
        trail.phase(&who, at + 3 * MINUTE, "ended job.nr=1 job.result=success");
    }
    // They are still there.
    for nth in 0..idle {
        let at = minutes * MINUTE;
        trail.phase(&format!("runner.name=rea{nth} runner.fleet=f"), at, &format!("ready waited.ms={at}"));
    }
    trail
}

fn advice(fleet: Fleet) -> Advice {
    fleet.plan.unwrap().advice
}

#[test]
fn a_size_has_its_numbers_in_it() {
    let trail = steady(120, 0);
    let Advice::Size(size) = advice(fleet(&trail.text, &file("reaper_interval = \"90s\""), 121 * MINUTE)) else {
        panic!("none")
    };
    // ceil(1 * (30/60 + 90/60))
    assert_eq!((size.peak, size.warm_up_ms, size.reaper_ms, size.by_rate), (1, 30_000, 90_000, 2));
    assert_eq!((size.unmet, size.headroom, size.target, size.is_over_max), (0, 0, 2, false));
    let Advice::Size(size) = advice(fleet(&trail.text, &file("reaper_interval = 90\nmax = 1"), 121 * MINUTE)) else {
        panic!("none")
    };
    assert_eq!((size.target, size.is_over_max), (1, true));
    let Advice::Size(size) = advice(fleet(&trail.text, &file("reaper_interval = 90\nmin = 5"), 121 * MINUTE)) else {
        panic!("none")
    };
    assert_eq!((size.target, size.is_over_max), (5, false));
}

#[test]
fn a_size_counts_the_wait_before_boot_where_it_is_told() {
    let trail = steady(120, 0);
    // A minute before each was warming.
    let created: String =
        trail.text.lines().map(|line| format!("{line} runner.created.ts={}\n", created(line))).collect();
    let Advice::Size(size) = advice(fleet(&created, &file("reaper_interval = 90"), 121 * MINUTE)) else {
        panic!("none")
    };
    assert_eq!((size.warm_up_ms, size.by_rate), (90_000, 3));
}

/// A minute before the runner of a line of [`steady`] was warming.
fn created(line: &str) -> String {
    let (_, name) = line.split_once("runner.name=s").unwrap();
    let nth: i64 = name.split(' ').next().unwrap().parse().unwrap();
    ts(nth * 2 * MINUTE - MINUTE)
}

#[test]
fn of_too_little_nothing_is_advised() {
    let lacks =
        |minutes: i64, rest: &str| match advice(fleet(&steady(minutes, 0).text, &file(rest), (minutes + 1) * MINUTE)) {
            Advice::TooLittle(lacks) => lacks.join("; "),
            Advice::Size(size) => panic!("{size:?}"),
        };
    assert_eq!(lacks(10, "reaper_interval = 30"), "11 min of 30; 5 claims of 30; 5 warm-ups of 10");
    assert_eq!(lacks(40, "reaper_interval = 30"), "20 claims of 30");
    assert_eq!(lacks(120, "target = 3"), "no reaper_interval in the fleet file");
    let empty = seen(&steady(10, 0).text, &file("env = \"other\"\nreaper_interval = 30"), USUAL);
    let other = empty.fleets.iter().find(|fleet| fleet.figures.key.env.is_some()).unwrap();
    assert_eq!((other.figures.runners, other.figures.claims.count), (0, 0), "a fleet without a runner is told of too");
}

#[test]
fn what_is_always_idle_can_be_saved() {
    let idle = |hours: i64, idle: usize, target: u32| {
        let rest = format!("target = {target}\nreaper_interval = 30");
        fleet(&steady(hours * 60, idle).text, &file(&rest), hours * HOUR).plan.unwrap().idle
    };
    // Nineteen of twenty are never taken; twice the one that is, is enough.
    assert_eq!(idle(7, 19, 20), Some(Idle { idle: 19, share_tenths: 950, enough: 2, saves: 18 }));
    assert_eq!(idle(7, 9, 10).map(|idle| (idle.share_tenths, idle.saves)), Some((900, 0)), "not over 90 %");
    assert_eq!(idle(5, 19, 20), None, "always is longer");
}

/// Its probe began anew: the run before counts too.
#[test]
fn figures_go_back_to_the_first_line_of_any_run() {
    let told = "event=phase phase=claimed runner.name=told runner.fleet=f boot.id=b";
    for phase in [None, Some(told)] {
        let mut trail = Trail::default();
        let who = if phase.is_some() { "runner.name=told runner.fleet=f" } else { "runner.name=r runner.fleet=f" };
        trail.probe(who, (0, 4 * MINUTE), MINUTE / 12);
        trail.probe(who, (9 * MINUTE, 12 * MINUTE), MINUTE / 12);
        phase.iter().for_each(|told| trail.line(90, 1, 10 * MINUTE, told));
        let newest_first: String = trail.text.lines().rev().flat_map(|line| [line, "\n"]).collect();
        for text in [trail.text, newest_first] {
            let figures = fleet(&text, "", 12 * MINUTE).figures;
            assert_eq!((figures.runners, figures.from_ms - NOON), (1, 0), "{phase:?}");
            assert_eq!(figures.claims.mean_hundredths, Some(if phase.is_some() { 8 } else { 0 }));
        }
    }
}

#[test]
fn figures_go_back_as_far_as_the_window() {
    let trail = steady(120, 0);
    let of = |window_ms: i64| {
        let settings = Settings { window_ms, at_ms: None, ..USUAL };
        let found = seen(&trail.text, "", settings);
        let figures = &found.fleets[0].figures;
        (figures.claims.count, figures.claims.mean_hundredths, figures.to_ms - figures.from_ms, found.left_out)
    };
    assert_eq!(of(HOUR), (30, Some(50), HOUR, 29));
    let (count, _, span, left_out) = of(24 * HOUR);
    assert_eq!((count, span, left_out), (60, 121 * MINUTE, 0));
}
