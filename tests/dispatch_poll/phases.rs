//! What the probe is told, and that nothing waits for it.

use std::fs;
use std::time::Duration;

use runner_vitals::line::Line;
use runner_vitals::line::field;

use crate::dispatcher::{Answer, Dispatcher};
use crate::stage::{PATIENCE, REAL_PROBE, Stage, until};

#[test]
fn a_claim_says_how_long_it_took_and_how_the_polls_went() {
    let dispatcher = Dispatcher::of(vec![
        Answer::of(204).header("x-dispatch-outcome: empty"),
        Answer::of(204).header("X-Dispatch-Outcome:  lost-race"),
        Answer::of(204).header("X-DISPATCH-OUTCOME: pod_in_use"),
        Answer::of(204).header("X-Dispatch-Outcome: --sink=x"),
        Answer::of(502),
        Answer::job(r#"{"queued_at":"2026-06-04T11:00:00Z"}"#)
            .header("Date: Thu, 04 Jun 2026 12:00:00 GMT")
            .header("X-Job-Queued-At: --help"),
    ]);
    let end = Stage::new(&dispatcher).run("true");
    let claim = end.flags_of("claimed");
    assert!(claim.starts_with("claimed --job-nr 1 --waited "), "{claim}");
    assert!(
        claim.contains(" --queued-at=--help --answered-at=Thu, 04 Jun 2026 12:00:00 GMT --poll served=1 "),
        "{claim}"
    );
    let polls = "--poll no_work=1 --poll empty=1 --poll lost_race=1 --poll pod_in_use=1 --poll error=1 --poll-sum ";
    assert!(claim.contains(polls), "{claim}");
    assert!(end.flags_of("warming").starts_with("warming --poll-sum 0 --poll-max 0"), "{:?}", end.told);
}

#[test]
fn headers_can_have_other_names_and_the_body_can_say_when() {
    let dispatcher = Dispatcher::of(vec![
        Answer::of(204).header("X-Why: empty").header("X-Dispatch-Outcome: lost_race"),
        Answer::job(r#"{"queued_at": "1780574390"}"#).header("X-When: "),
    ]);
    let stage = Stage::new(&dispatcher).env("RUNNER_DISPATCH_OUTCOME_HEADER", "X-Why");
    let end = stage.env("RUNNER_DISPATCH_QUEUED_HEADER", "X-When").run("true");
    let claim = end.flags_of("claimed");
    assert!(claim.contains(" --queued-at=1780574390 --poll served=1 --poll empty=1 "), "{claim}");
}

#[test]
fn ready_is_told_once_unless_a_heartbeat_is_asked_for() {
    let polls = |most: usize| Dispatcher::new(move |_, before| Answer::of(if before < most { 204 } else { 410 }));
    let dispatcher = polls(8);
    let end = Stage::new(&dispatcher).run("true");
    assert_eq!(end.phases(), ["warming", "ready", "ended"], "{:?}", end.told);

    let dispatcher = polls(1000);
    let stage = Stage::new(&dispatcher).env("RUNNER_DISPATCH_HEARTBEAT", "0.05");
    let running = stage.start(&["true"]);
    let ready = || fs::read_to_string(stage.path("told")).is_ok_and(|told| told.matches("ready").count() >= 3);
    until("three heartbeats", ready);
    running.signal("TERM");
    let end = running.end();
    let beats: Vec<&String> = end.told.iter().filter(|told| told.starts_with("ready")).collect();
    assert!(!beats[0].contains("--waited") && beats[1].contains("--waited "), "{beats:?}");
}

#[test]
fn a_heartbeat_goes_on_while_the_dispatcher_is_away() {
    let answers = |_: &_, before: usize| Answer::of(if before == 0 { 204 } else { 503 });
    let dispatcher = Dispatcher::new(answers);
    let stage = Stage::new(&dispatcher).env("RUNNER_DISPATCH_HEARTBEAT", "0.05");
    let running = stage.start(&["true"]);
    let ready = || fs::read_to_string(stage.path("told")).is_ok_and(|told| told.matches("ready").count() >= 3);
    until("three heartbeats", ready);
    running.signal("TERM");
    running.end();
}

#[test]
fn without_a_probe_there_is_one_word_and_with_it_off_none() {
    for (name, value, lines) in
        [("RUNNER_VITALS_BIN", "/no/probe", 2), ("RUNNER_VITALS", "off", 0), ("RUNNER_VITALS", "No", 0)]
    {
        let dispatcher = Dispatcher::of(vec![Answer::job("x")]);
        let end = Stage::new(&dispatcher).env(name, value).run("exit 7");
        // One of this script, and one of run-job.sh.
        assert_eq!((end.code, end.stderr.lines().count(), end.told.len()), (7, lines, 0), "{}", end.stderr);
    }
}

#[test]
fn a_probe_that_hangs_holds_up_neither_the_job_nor_the_end() {
    let dispatcher = Dispatcher::of(vec![Answer::of(204), Answer::job("x")]);
    let stage = Stage::new(&dispatcher);
    stage.script("probe", "trap '' TERM; exec sleep 60");
    let running = stage.start(&["sh", "-c", "echo runner: ready; exit 7"]);
    let begun = std::time::Instant::now();
    running.until_stdout("runner: ready");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let end = running.end();
    assert_eq!(end.code, 7);
    assert!(end.took < PATIENCE / 2, "{:?}", end.took);
}

#[test]
fn a_probe_that_cannot_tell_is_mentioned_and_no_more() {
    let dispatcher = Dispatcher::of(vec![Answer::job("x")]);
    let stage = Stage::new(&dispatcher);
    stage.script("probe", "echo usage >&2; exit 75");
    let end = stage.run("exit 7");
    assert_eq!((end.code, end.stderr.lines().count()), (7, 4), "{}", end.stderr);
    assert!(
        end.stderr.contains("dispatch-poll.sh: the phase claimed could not be told: exit code 75\n"),
        "{}",
        end.stderr
    );
}

#[test]
fn the_real_probe_tells_a_whole_life() {
    let dispatcher = Dispatcher::of(vec![
        Answer::of(204).header("X-Dispatch-Outcome: lost_race"),
        Answer::job("x").header("Date: Thu, 04 Jun 2026 12:00:00 GMT").header("X-Job-Queued-At: 2026-06-04T11:59:48Z"),
    ]);
    let stage = Stage::new(&dispatcher).env("RUNNER_VITALS_BIN", REAL_PROBE).env("RUNNER_VITALS_RUNNER", "pod-1");
    let end = stage.run("exit 7");
    assert_eq!((end.code, end.stderr.as_str()), (7, ""));
    let mut lines: Vec<Line<'_>> = end.stdout.lines().map(|line| Line::decode(line).unwrap()).collect();
    lines.retain(|line| line.event.as_deref() == Some("phase"));
    let phases: Vec<&str> = lines.iter().map(|line| line.text(field::PHASE).unwrap()).collect();
    assert_eq!(phases, ["warming", "ready", "claimed", "ended"], "{}", end.stdout);
    assert!(lines.is_sorted_by_key(|line| line.scaled(field::UPTIME)), "{}", end.stdout);
    let claimed = &lines[2];
    assert_eq!((claimed.scaled(field::WAITED), claimed.text(field::WAITED_FROM)), (Some(12_000), Some("queued")));
    assert_eq!(claimed.text(field::QUEUED_TS), Some("2026-06-04T11:59:48.000Z"));
    assert_eq!((claimed.scaled(field::POLL_LOST_RACE), claimed.scaled(field::JOB_NR)), (Some(1), Some(1)));
    assert!(claimed.scaled(field::POLL_MAX) <= claimed.scaled(field::POLL_SUM));
    assert_eq!((lines[3].scaled(field::JOB_EXIT), lines[3].text(field::RUNNER_NAME)), (Some(7), Some("pod-1")));
}
