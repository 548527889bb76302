//! Guests, collectors and Lokis that do not do as they should.

use super::*;

#[test]
fn who_tells_nothing_that_is_known_is_looked_at_seldom_and_goes() {
    let mut stage = Stage::new(FleetFile::default());
    for nth in 0..=AT_ONCE {
        stage.says(&format!("a{nth}"), "phase=dancing");
    }
    stage.now_ms += 60_000;
    let goes = (0..9).take_while(|_| stage.live.tick(stage.now_ms)).count();
    assert_eq!(goes, 1, "one is left over once, and not for ever");
    stage.pass(600);
    assert_eq!(stage.live.now(stage.now_ms).members, 0);
}

/// How long after its last line it is lost, s.
fn lost_after(stage: &mut Stage) -> i64 {
    (1..60)
        .map(|nth| nth * 5)
        .find(|_| {
            stage.pass(5);
            stage.fleet().members.contains_key(&State::Lost)
        })
        .unwrap()
}

#[test]
fn a_probe_that_sends_is_lost_soon_and_one_that_a_log_tells_of_not_before_its_lines_can_be_there() {
    let mut stage = Stage::new(spec(LINUX));
    stage.says("a", "event=start interval.ms=5000");
    stage.says("a", "phase=claimed boot.id=b uptime.ms=9000");
    stage.sample("a");
    assert_eq!(lost_after(&mut stage), 40, "30 s behind the next that was due");
    let mut stage = Stage::new(spec(LINUX));
    stage.is_found("a", "k3x9", "event=start interval.ms=5000");
    assert_eq!(lost_after(&mut stage), 60);
    let mut stage = Stage::new(spec(LINUX));
    stage.says("a", "phase=ready boot.id=b uptime.ms=9000 waited.ms=20000 waited.from=ready");
    stage.pass(20);
    stage.says("a", "phase=ready boot.id=b uptime.ms=29000 waited.ms=40000 waited.from=ready");
    assert_eq!(lost_after(&mut stage), 70, "three beats, and a minute at least");
}

#[test]
fn a_clock_that_is_put_back_is_no_silence() {
    let mut stage = Stage::new(spec(LINUX));
    stage.off_ms = 300_000;
    let both = ["a", "b"];
    both.iter().for_each(|name| drop(stage.says(name, "event=start interval.ms=5000")));
    stage.says("a", "phase=ready boot.id=b uptime.ms=9000");
    stage.says("a", "phase=claimed boot.id=b uptime.ms=9000");
    both.iter().for_each(|name| stage.sample(name));
    stage.off_ms = 0;
    for _ in 0..160 {
        stage.pass(5);
        both.iter().for_each(|name| drop(stage.says(name, "event=pressure resource=cpu kind=psi")));
        stage.is(&[(State::Claimed, 1), (State::Untold, 1)]);
    }
    stage.pass(65);
    stage.is(&[(State::Lost, 2)]);
    stage.pass(400);
    assert_eq!(stage.fleet().tally.deaths, [0, 0, 0, 2]);
}

#[test]
fn who_sends_with_a_token_is_not_told_of_by_logs() {
    let mut stage = Stage::new(spec(LINUX));
    stage.is_found("a", "aaaa", "runner.fleet=else event=phase phase=ended job.result=failure");
    stage.says("a", "phase=claimed boot.id=b uptime.ms=9000");
    stage.is_found("a", "bbbb", "runner.fleet=else event=phase phase=ended boot.id=b uptime.ms=9900");
    stage.pass(5);
    stage.is(&[(State::Claimed, 1)]);
    assert_eq!(stage.fleet().tally.claims, 1);
}

#[test]
fn what_comes_both_ways_is_counted_once() {
    let mut stage = Stage::new(spec(LINUX));
    let line = stage.is_found("a", "aaaa", "event=phase phase=claimed boot.id=b uptime.ms=9000");
    stage.again("a", &line);
    stage.is_found_again("a", &line);
    assert_eq!(stage.fleet().tally.claims, 1);
}

#[test]
fn a_line_without_a_time_is_one_whenever_it_comes_again() {
    let mut stage = Stage::new(spec(LINUX));
    let line = |run: &str, rest: &str| {
        format!("RUNNER_VITALS ts= run={run} seq=1 runner.env=prod runner.fleet=linux event=phase {rest}")
    };
    let claimed = line("aaaa", "phase=claimed");
    for line in [&claimed, &line("bbbb", "phase=ended job.result=success"), &claimed, &claimed] {
        stage.pass(10);
        stage.again("a", line);
    }
    let tally = stage.fleet().tally;
    assert_eq!((tally.claims, tally.jobs), (1, [1, 0, 0, 0, 0, 0]));
    stage.is(&[(State::Ended, 1)]);
}

#[test]
fn room_is_made_by_what_was_counted_and_no_more_than_is_needed() {
    let mut stage = Stage::new(spec(LINUX));
    stage.live.most = 3;
    for name in ["a", "b", "c"] {
        stage.says(name, "event=start interval.ms=5000");
    }
    stage.pass(60);
    stage.is(&[(State::Lost, 3)]);
    let new = |stage: &mut Stage, name| {
        stage.says(name, "phase=ready");
        stage.live.knows(name)
    };
    assert!(!new(&mut stage, "d"), "they can come back");
    stage.says("a", "event=stop reason=sigterm");
    assert!(!new(&mut stage, "d"), "nobody looks for room again until the next tick");
    stage.pass(5);
    assert!(new(&mut stage, "d") && !stage.live.knows("a"));
    stage.pass(5);
    stage.says("b", "event=stop reason=sigterm");
    stage.pass(5);
    stage.says("c", "event=stop reason=sigterm");
    assert!(new(&mut stage, "e") && stage.live.knows("c"), "the one that was heard last is not needed");
    assert_eq!(stage.live.now(stage.now_ms).left_out, 2);
}

#[test]
fn a_log_has_one_fleet() {
    let mut stage = Stage::new(FleetFile::default());
    for nth in 0..20 {
        stage.is_found("a", &format!("a{nth:03}"), &format!("runner.fleet=f{nth} event=phase phase=ready"));
        stage.pass(5);
    }
    assert_eq!(stage.fleet().key.fleet.as_deref(), Some("f0"));
}

#[test]
fn who_was_dead_before_the_start_is_not_counted() {
    let mut stage = Stage::new(spec(LINUX));
    stage.off_ms = -3_600_000;
    stage.is_found("a", "k3x9", "event=start interval.ms=5000");
    stage.is(&[(State::Lost, 1)]);
    stage.pass(900);
    assert_eq!(stage.fleet().tally.deaths, [0; 4]);
}

#[test]
fn who_is_read_from_loki_is_not_silent_while_that_cannot_be_read() {
    let mut stage = Stage::new(spec(LINUX));
    for name in ["a", "b"] {
        stage.is_found(name, "k3x9", "event=start interval.ms=5000");
        stage.is_found(name, &format!("aaa{name}"), "event=phase phase=claimed");
    }
    stage.pass(60);
    stage.is_found("a", "k3x9", "event=about");
    stage.is(&[(State::Claimed, 1), (State::Lost, 1)]);
    stage.live.tail_failed("no answer", stage.now_ms);
    stage.pass(900);
    stage.is(&[(State::Claimed, 1), (State::Lost, 1)]);
    stage.live.tail_read(stage.now_ms);
    stage.pass(30);
    stage.is(&[(State::Claimed, 1), (State::Lost, 1)]);
    assert_eq!(stage.fleet().tally.deaths, [0; 4], "who is lost has its time to come back");
    stage.live.tail_read(stage.now_ms);
    stage.pass(30);
    stage.is(&[(State::Lost, 2)]);
    stage.pass(400);
    assert_eq!(stage.fleet().tally.deaths, [0, 0, 0, 2]);
}

#[test]
fn who_begins_to_send_is_looked_at_at_once() {
    let mut stage = Stage::new(FleetFile::default());
    stage.is_found("a", "aaaa", "runner.fleet=else event=phase phase=ready");
    stage.sample("a");
    stage.pass(5);
    assert_eq!(stage.fleet().key.fleet.as_deref(), Some("linux"));
}

#[test]
fn who_tells_nothing_that_is_known_gives_way() {
    let mut stage = Stage::new(spec(LINUX));
    stage.live.most = 1;
    stage.says("a", "phase=dancing");
    stage.says("b", "phase=ready");
    stage.is(&[(State::Ready, 1)]);
}
