//! Lives as guests tell them: whole, with holes, twice, in any order, by wrong clocks.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use runner_vitals::hub::diagnose;
use runner_vitals::hub::diagnose::cause::Cause;
use runner_vitals::hub::fleet::look::Settings;
use runner_vitals::hub::fleet::member::{Clock, Member};
use runner_vitals::hub::fleet::state::State;
use runner_vitals::hub::fleet::walk::Outcome;
use runner_vitals::hub::trail::stage::JobResult;
use runner_vitals::hub::trail::{Book, read};

use crate::support::{HOUR, NOON, Trail, USUAL, member, seen, ts};

/// A minute after the last of the stages, which come ten seconds apart.
fn lived(stages: &[&str]) -> (Member, Member) {
    let mut trail = Trail::default();
    for (nth, stage) in stages.iter().enumerate() {
        let at = nth as i64 * 10_000;
        trail.phase(&format!("runner.name=r boot.id=b uptime.ms={}", 5000 + at), at, stage);
    }
    let at = stages.len() as i64 * 10_000 + 60_000;
    let newest_first: String = trail.text.lines().rev().flat_map(|line| [line, "\n", line, "\n"]).collect();
    (member(&trail.text, at), member(&newest_first, at))
}

fn jobs(member: &Member) -> Vec<(Outcome, Option<i64>)> {
    let took = |job: &runner_vitals::hub::fleet::walk::Job| {
        (job.outcome, job.claimed_ms.zip(job.ended_ms).map(|(from, to)| to - from))
    };
    member.jobs.iter().map(took).collect()
}

#[test]
fn each_life_has_its_sense_also_newest_first_and_with_every_line_twice() {
    const UNKNOWN: Outcome = Outcome::Unknown(None);
    const SUCCESS: Outcome = Outcome::Told(JobResult::Success);
    const RUNS: (Outcome, Option<i64>) = (Outcome::Running, None);
    type Case<'c> = (&'c str, &'c [&'c str], State, &'c [(Outcome, Option<i64>)]);
    let cases: [Case<'_>; 19] = [
        ("only up", &["warming"], State::Warming, &[]),
        ("waits", &["warming", "ready"], State::Ready, &[]),
        ("has a job", &["warming", "ready", "claimed job.nr=1"], State::Claimed, &[RUNS]),
        (
            "is over",
            &["warming", "ready", "claimed job.nr=1", "ended job.nr=1 job.result=success job.exit=0"],
            State::Ended,
            &[(SUCCESS, Some(10_000))],
        ),
        (
            "a code is not a result",
            &["claimed", "ended job.exit=3"],
            State::Ended,
            &[(Outcome::Unknown(Some(3)), Some(10_000))],
        ),
        ("drained without a job", &["warming", "ready", "ended"], State::Ended, &[]),
        ("skips all but the claim", &["claimed"], State::Claimed, &[RUNS]),
        ("skips the claim", &["ready", "ended job.nr=7 job.result=success"], State::Ended, &[(SUCCESS, None)]),
        ("skips the end", &["ready", "claimed job.nr=1", "ready"], State::Ready, &[(UNKNOWN, None)]),
        ("skips two ends", &["claimed", "claimed"], State::Claimed, &[(UNKNOWN, None), RUNS]),
        ("skips ready", &["warming", "claimed"], State::Claimed, &[RUNS]),
        ("claims twice", &["claimed job.nr=1", "claimed job.nr=1"], State::Claimed, &[RUNS]),
        (
            "ends twice",
            &["claimed job.nr=1", "ended job.nr=1", "ended job.nr=1"],
            State::Ended,
            &[(UNKNOWN, Some(10_000))],
        ),
        (
            "claims what has ended",
            &["claimed job.nr=1", "ended job.nr=1", "claimed job.nr=1"],
            State::Ended,
            &[(UNKNOWN, Some(10_000))],
        ),
        (
            "two at once",
            &["claimed job.nr=17", "claimed job.nr=18", "ended job.nr=17"],
            State::Claimed,
            &[(UNKNOWN, Some(20_000)), RUNS],
        ),
        (
            "two at once, and both over",
            &["claimed job.nr=17", "claimed job.nr=18", "ended job.nr=18", "ended job.nr=17"],
            State::Ended,
            &[(UNKNOWN, Some(30_000)), (UNKNOWN, Some(10_000))],
        ),
        ("its script restarts", &["ready", "claimed", "warming"], State::Warming, &[(UNKNOWN, None)]),
        ("one after the other", &["claimed", "ended", "claimed"], State::Claimed, &[(UNKNOWN, Some(10_000)), RUNS]),
        ("a phase of another time", &["warming", "ready", "resting"], State::Ready, &[]),
    ];
    for (what, stages, state, expected) in cases {
        let (member, newest_first) = lived(stages);
        assert_eq!((member.state, jobs(&member)), (state, expected.to_vec()), "{what}");
        assert_eq!(format!("{member:?}"), format!("{newest_first:?}"), "{what}");
    }
}

#[test]
fn who_takes_a_job_after_another_was_ready_in_between() {
    let (member, _) = lived(&["claimed", "ended", "claimed", "ended"]);
    let states: Vec<State> = member.spans.iter().map(|span| span.state).collect();
    assert_eq!(states, [State::Claimed, State::Ready, State::Claimed, State::Ended]);
    assert_eq!(member.jobs[1].ready_ms, Some(NOON + 10_000));
}

#[test]
fn a_warm_up_is_split_where_the_guest_was_booted_for_it() {
    let warm = |uptime: u64, first: &str| {
        let mut trail = Trail::default();
        let who = |uptime: u64| format!("runner.name=r boot.id=b uptime.ms={uptime}");
        trail.phase(&who(uptime), 0, first).phase(&who(uptime + 20_000), 20_000, "ready");
        let member = member(&trail.text, 60_000);
        let warm = member.warm_ups[0];
        ((warm.boot_ms, warm.agent_ms, warm.whole_ms), member.first_ms - NOON)
    };
    assert_eq!(warm(5000, "warming"), ((Some(5000), Some(20_000), Some(25_000)), -5000));
    // A Pod on a machine that is up for days.
    assert_eq!(warm(90_000_000, "warming"), ((None, Some(20_000), Some(20_000)), 0));
    let (parts, _) = warm(5000, "ready");
    assert_eq!(parts, (None, None, Some(5000)), "one word: no parts");
}

#[test]
fn the_wait_before_boot_is_told_where_the_creator_said_when() {
    let before = |created: i64| {
        let mut trail = Trail::default();
        let who = |uptime: u64| format!("runner.name=r boot.id=b uptime.ms={uptime} runner.created.ts={}", ts(created));
        trail.phase(&who(5000), 0, "warming").phase(&who(25_000), 20_000, "ready");
        member(&trail.text, 60_000).warm_ups[0].before_ms
    };
    assert_eq!(before(-65_000), Some(60_000));
    assert_eq!(before(-4500), Some(0), "two clocks");
    assert_eq!(before(1000), None, "no runner boots before it is created");
}

#[test]
fn a_restart_ends_what_was_before_it() {
    let mut trail = Trail::default();
    let boot = |boot: &str, uptime: i64| format!("runner.name=r boot.id={boot} uptime.ms={uptime}");
    trail.phase(&boot("a", 5000), 0, "warming").phase(&boot("a", 15_000), 10_000, "ready");
    trail.phase(&boot("a", 20_000), 15_000, "claimed job.nr=1");
    trail.phase(&boot("b", 4000), 64_000, "warming").phase(&boot("b", 9000), 69_000, "ready");
    let member = member(&trail.text, 90_000);
    assert_eq!(member.state, State::Ready);
    assert_eq!(jobs(&member), [(Outcome::Died, Some(0))], "nothing is known behind its last line");
    let spans: Vec<(State, i64, i64)> =
        member.spans.iter().map(|span| (span.state, span.from_ms - NOON, span.to_ms - NOON)).collect();
    assert_eq!(
        spans,
        [
            (State::Warming, -5000, 10_000),
            (State::Ready, 10_000, 15_000),
            (State::Warming, 60_000, 69_000),
            (State::Ready, 69_000, 90_000)
        ]
    );
    assert_eq!(member.warm_ups.len(), 2);
}

#[test]
fn two_boots_whose_clocks_disagree_follow_one_another() {
    let mut trail = Trail::default();
    trail.phase("runner.name=r boot.id=a", 0, "ready").phase(
        "runner.name=r boot.id=a",
        60_000,
        "ready waited.ms=60000",
    );
    // It seems to have begun while the first was there.
    trail.phase("runner.name=r boot.id=b", 30_000, "warming").phase("runner.name=r boot.id=b", 90_000, "ready");
    let spans: Vec<(State, i64, i64)> = member(&trail.text, 100_000)
        .spans
        .iter()
        .map(|span| (span.state, span.from_ms - NOON, span.to_ms - NOON))
        .collect();
    let expected = [(State::Ready, 0, 30_000), (State::Warming, 30_000, 90_000), (State::Ready, 90_000, 100_000)];
    assert_eq!(spans, expected);
}

#[test]
fn a_clock_that_is_set_meanwhile_is_put_right_for_what_was_before() {
    let mut trail = Trail::default();
    let who = |uptime: i64| format!("runner.name=r boot.id=b uptime.ms={uptime}");
    // It begins a year ago, and once without any clock.
    trail.phase(&who(5000), 5000 - 365 * 24 * HOUR, "warming");
    trail.text.push_str(&format!("RUNNER_VITALS ts= run=zzzz seq=1 event=phase phase=ready {}\n", who(12_000)));
    trail.phase(&who(60_000), 60_000, "claimed");
    let member = member(&trail.text, 70_000);
    let spans: Vec<(State, i64)> = member.spans.iter().map(|span| (span.state, span.from_ms - NOON)).collect();
    assert_eq!(spans, [(State::Warming, 0), (State::Ready, 12_000), (State::Claimed, 60_000)]);
    assert_eq!((member.warm_ups[0].whole_ms, member.unplaced), (Some(12_000), 0));
}

#[test]
fn stages_without_any_time_are_counted_and_no_runner_of_such_alone_is_a_member() {
    let stage = |name: &str, phase: &str| {
        format!("RUNNER_VITALS ts= run={phase:.4} seq=1 event=phase phase={phase} runner.name={name}\n")
    };
    let mut trail = Trail::default();
    trail.phase("runner.name=a", 0, "ready");
    let text = format!("{}{}{}", trail.text, stage("a", "warming"), stage("b", "ready"));
    let seen = seen(&text, "", USUAL);
    assert_eq!((seen.left_out, seen.fleets[0].figures.runners, seen.fleets[0].figures.unplaced), (1, 1, 1));
}

#[test]
fn few_clocks_far_ahead_are_not_the_time_that_is_now() {
    let mut trail = Trail::default();
    for nth in 0..9 {
        trail.phase(&format!("runner.name=r{nth}"), nth * 1000, "ready");
    }
    trail.phase("runner.name=ahead", 9 * HOUR, "ready");
    let found = seen(&trail.text, "", USUAL);
    assert_eq!((found.at_ms, found.left_out), (NOON + 8000, 1));
    // Two of three are no exception.
    let mut trail = Trail::default();
    trail.phase("runner.name=a", 0, "ready").phase("runner.name=b", 9 * HOUR, "ready");
    trail.phase("runner.name=c", 9 * HOUR, "ready");
    assert_eq!(seen(&trail.text, "", USUAL).at_ms, NOON + 9 * HOUR);
}

#[test]
fn lines_later_than_the_clock_here_are_not_believed_unless_all_are() {
    const YEARS: i64 = 2 * 365 * 24 * HOUR;
    let mut trail = Trail::default();
    trail.phase("runner.name=a", YEARS, "ready");
    assert_eq!(seen(&trail.text, "", USUAL).at_ms, NOON + YEARS);
    trail.phase("runner.name=b", 0, "ready");
    let found = seen(&trail.text, "", Settings { window_ms: YEARS, ..USUAL });
    assert_eq!((found.at_ms, found.left_out), (NOON + YEARS / 2, 1));
}

#[test]
fn silence_is_a_death_where_there_was_a_reason_to_write() {
    let who = "runner.name=r boot.id=b";
    // A probe beside a job.
    let mut trail = Trail::default();
    trail.phase(who, 0, "ready").phase(who, 1000, "claimed job.nr=1");
    trail.probe(who, (2000, 302_000), 5000);
    assert_eq!(member(&trail.text, 310_000).state, State::Claimed);
    let died = member(&trail.text, 400_000);
    assert_eq!((died.state, died.died_of), (State::Lost, Some(Cause::OutsideGuest)));
    assert_eq!(jobs(&died), [(Outcome::Died, Some(301_000))]);
    assert_eq!(died.since_ms, NOON + 302_000);

    // As long as the diagnosis waits: 30 s behind when the next line was due.
    assert_eq!(member(&trail.text, 337_000).state, State::Claimed);
    assert_eq!(member(&trail.text, 337_001).state, State::Lost);

    // A heartbeat.
    let mut trail = Trail::default();
    trail.phase(who, 0, "ready").phase(who, 60_000, "ready waited.ms=60000 waited.from=ready");
    assert_eq!(member(&trail.text, 200_000).state, State::Ready);
    let lost = member(&trail.text, 300_000);
    assert_eq!((lost.state, lost.since_ms), (State::Lost, NOON + 60_000));

    // Neither.
    let mut trail = Trail::default();
    trail.phase(who, 0, "ready");
    assert_eq!(member(&trail.text, 5 * HOUR).state, State::Ready);
    assert_eq!(member(&trail.text, 7 * HOUR).state, State::Lost);
}

#[test]
fn a_probe_that_stops_with_the_job_ends_it_where_nobody_else_tells() {
    let who = "runner.name=r boot.id=b";
    let mut trail = Trail::default();
    trail.phase(who, 0, "claimed");
    let (run, seq) = trail.probe(who, (1000, 61_000), 5000);
    trail.line(run, seq, 62_000, "event=stop reason=job_exit job.exit=1");
    let ended = member(&trail.text, 300_000);
    assert_eq!((ended.state, ended.died_of), (State::Ended, None));
    assert_eq!(jobs(&ended), [(Outcome::Unknown(Some(1)), Some(62_000))]);
}

#[test]
fn an_agent_that_goes_on_after_its_job_is_ready_again() {
    let who = "runner.name=r boot.id=b";
    let mut trail = Trail::default();
    trail.probe(who, (0, 300_000), 5000);
    trail.phase(who, 10_000, "ended job.nr=4 job.result=success");
    let member = member(&trail.text, 300_000);
    assert_eq!((member.state, member.since_ms), (State::Ready, NOON + 10_000));
}

#[test]
fn later_lines_are_not_there_yet() {
    let who = "runner.name=r boot.id=b";
    let mut trail = Trail::default();
    trail.phase(who, 0, "warming").phase(who, 10_000, "ready").phase(who, 20_000, "claimed");
    trail.probe(who, (21_000, 81_000), 5000);
    for (at, state) in
        [(5000, State::Warming), (15_000, State::Ready), (20_500, State::Claimed), (50_000, State::Claimed)]
    {
        assert_eq!(member(&trail.text, at).state, state, "{at}");
    }
}

#[test]
fn environments_with_a_fleet_of_one_name_are_apart() {
    let mut trail = Trail::default();
    trail.phase("runner.name=a runner.fleet=f runner.env=prod", 0, "ready");
    trail.phase("runner.name=b runner.fleet=f runner.env=staging", 0, "warming");
    trail.phase("runner.name=c runner.fleet=f", 0, "claimed");
    // Who it is it may say in another line.
    trail.phase("runner.name=d", 0, "ready");
    trail.probe("runner.name=d runner.fleet=f runner.env=prod", (1000, 2000), 1000);
    let found: Vec<(Option<String>, usize)> = seen(&trail.text, "", USUAL)
        .fleets
        .into_iter()
        .map(|fleet| (fleet.figures.key.env, fleet.figures.runners))
        .collect();
    assert_eq!(found, [(None, 1), (Some("prod".to_owned()), 2), (Some("staging".to_owned()), 1)]);
}

#[test]
fn a_pod_that_says_no_name_is_one_runner() {
    let mut trail = Trail::default();
    for (at, phase) in [(0, "warming"), (1000, "ready"), (2000, "claimed")] {
        trail.phase("boot.id=b", at, phase);
    }
    let prefixed: String = trail.text.lines().map(|line| format!("[pod/r-1/main] {line}\n")).collect();
    for (text, name) in [(trail.text.clone(), "trail"), (prefixed, "r-1")] {
        let member = member(&text, 3000);
        assert_eq!((member.name.as_str(), member.state), (name, State::Claimed));
    }
}

#[test]
fn pods_of_one_machine_in_files_of_their_own_are_apart() {
    let mut book = Book::of_stages();
    for (file, phase) in [("a.log", "ready"), ("b.log", "claimed")] {
        let mut trail = Trail::default();
        trail.phase("boot.id=b", 0, "warming").phase("boot.id=b", 1000, phase);
        let source = book.source(file);
        read::read(trail.text.as_bytes(), source, &mut book).unwrap();
    }
    let clock = Clock { at_ms: NOON + 2000, forgiven_ms: HOUR, silent_ms: None };
    let members: Vec<Member> = book.into_runners().0.iter().filter_map(|runner| Member::of(runner, clock)).collect();
    let found: Vec<(&str, State)> = members.iter().map(|member| (member.name.as_str(), member.state)).collect();
    assert_eq!(found, [("a", State::Ready), ("b", State::Claimed)]);
}

proptest! {
    /// Whatever phases say, and whenever, there is a member of it with spans that follow one another.
    #[test]
    fn any_stages_are_a_life(
        stages in proptest::collection::vec(
            (0..4_usize, 0..3_usize, proptest::option::of(0_i64..i64::MAX), 0_i64..4_000_000_000_000, proptest::option::of(1_u64..4), 0_u64..u64::MAX >> 1),
            1..24,
        ),
    ) {
        let mut trail = Trail::default();
        for (phase, boot, uptime, at, nr, waited) in stages {
            let phase = ["warming", "ready", "claimed", "ended"][phase];
            let uptime = uptime.map_or_else(String::new, |uptime| format!(" uptime.ms={uptime}"));
            let nr = nr.map_or_else(String::new, |nr| format!(" job.nr={nr}"));
            let from = ["ready", "queued"][usize::from(waited % 2 == 0)];
            trail.phase("runner.name=r", at - NOON, &format!("{phase} boot.id={boot} waited.ms={waited} waited.from={from}{uptime}{nr}"));
        }
        let found = seen(&trail.text, "[[fleet]]\ntarget = 1\nwarm_floor = 1\nreaper_interval = 1", USUAL);
        prop_assert!(found.fleets.len() == 1);
        let clock = Clock { at_ms: NOON, forgiven_ms: HOUR, silent_ms: None };
        if let Some(member) = Member::of(&crate::support::runners(&trail.text)[0], clock) {
            let mut until = i64::MIN;
            for span in &member.spans {
                prop_assert!(span.from_ms >= until && span.from_ms < span.to_ms, "{:?}", member.spans);
                until = span.to_ms;
            }
        }
    }
}

/// A job was killed, the next one ended well, and then the probe beside both was told to end.
#[test]
fn an_earlier_jobs_kill_is_no_death_of_a_runner_that_stays() {
    let kill = "event=kmsg.oom scope=cgroup victim.comm=tail victim.pid=7 victim.adj=0 cgroup=/ci kts=9 msg=x";
    let who = "runner.name=r boot.id=b cgroup.path=/ci";
    let mut trail = Trail::default();
    let (side, seq) = trail.probe(who, (0, 30_000), 5000);
    trail.line(side, seq, 30_100, kill);
    trail.line(side, seq + 1, 30_200, "event=oom source=own delta=1 kmsg=agrees");
    trail.line(side, seq + 2, 52_000, "event=stop reason=sigterm samples=6");
    let (killed, seq) = trail.probe(who, (2000, 27_000), 5000);
    trail.line(killed, seq, 30_100, kill);
    trail.line(killed, seq + 1, 30_300, "event=stop reason=job_exit job.signal=9");
    let (well, seq) = trail.probe(who, (32_000, 47_000), 5000);
    trail.line(well, seq, 49_000, "event=stop reason=job_exit job.exit=0");
    let ended = member(&trail.text, 300_000);
    assert_eq!((ended.state, ended.died_of), (State::Ended, None));
}

#[test]
fn deaths_are_those_that_the_diagnosis_finds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trail");
    let mut book = Book::of_stages();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let source = book.source(&path.display().to_string());
        read::read(fs::read(path).unwrap().as_slice(), source, &mut book).unwrap();
    }
    let (runners, _) = book.into_runners();
    let at_ms = runners.iter().flat_map(|runner| &runner.runs).filter_map(|(_, life)| life.last.at_ms()).max().unwrap();
    let clock = diagnose::clock::Clock::new(UNIX_EPOCH + Duration::from_millis(at_ms as u64), None);
    let (mut found, mut deaths) = (BTreeMap::new(), BTreeMap::new());
    for runner in &runners {
        let verdict = diagnose::verdict::judge(runner, &clock).unwrap();
        if !verdict.is_alive() && !matches!(verdict.cause, Cause::Stopped | Cause::Finished) {
            *found.entry(verdict.cause.name()).or_insert(0) += 1;
        }
        if let Some(cause) =
            Member::of(runner, Clock { at_ms, forgiven_ms: 6 * HOUR, silent_ms: None }).unwrap().died_of
        {
            *deaths.entry(cause.name()).or_insert(0) += 1;
        }
    }
    assert_eq!(deaths["guest_oom"], 6);
    assert_eq!(deaths, found);
}

/// They are most of what a day of guests takes that have one job each.
#[test]
fn samples_of_a_run_that_is_over_and_well_are_not_kept() {
    let who = |name: &str| format!("runner.name={name} boot.id={name}");
    let mut trail = Trail::default();
    let mut probed = |name: &str, phase: &str, word: &str| {
        trail.phase(&who(name), 0, "claimed job.nr=1");
        let (run, seq) = trail.probe(&who(name), (1000, 61_000), 5000);
        trail.phase(&who(name), 61_000, phase);
        if !word.is_empty() {
            trail.line(run, seq, 62_000, &format!("event=stop reason={word}"));
        }
    };
    probed("over", "ended job.nr=1 job.result=success", "sigterm");
    probed("silent", "ended job.nr=1 job.result=success", "");
    probed("busy", "claimed job.nr=1", "sigterm");
    let newest_first: String = trail.text.lines().rev().flat_map(|line| [line, "\n"]).collect();
    for text in [&trail.text, &newest_first] {
        let runners = crate::support::runners(text);
        let samples: Vec<(&str, Option<u32>)> = runners
            .iter()
            .map(|runner| {
                let probe = &runner.runs.iter().find(|(_, life)| life.stages.is_none()).unwrap().1;
                (runner.name.as_str(), probe.whole.as_ref().map(|whole| whole.samples))
            })
            .collect();
        assert_eq!(samples, [("busy", Some(12)), ("over", None), ("silent", Some(12))]);
        let over = runners.iter().find(|runner| runner.name == "over").unwrap();
        let over = Member::of(over, Clock { at_ms: NOON + 300_000, forgiven_ms: 6 * HOUR, silent_ms: None }).unwrap();
        assert_eq!((over.state, over.died_of), (State::Ended, None));
    }
}

/// One that stays has a probe for each job: that the job before had ended says nothing of this one's.
#[test]
fn the_probe_of_a_later_job_is_not_over_since_an_earlier_one_ended() {
    let who = "runner.name=r boot.id=b";
    let mut trail = Trail::default();
    trail.phase(who, 0, "claimed job.nr=1");
    let (run, seq) = trail.probe(who, (1000, 61_000), 5000);
    trail.phase(who, 62_000, "ended job.nr=1 job.result=success");
    trail.line(run, seq, 63_000, "event=stop reason=sigterm");
    trail.phase(who, 70_000, "claimed job.nr=2");
    let (run, seq) = trail.probe(who, (71_000, 131_000), 5000);
    trail.line(run, seq, 132_000, "event=stop reason=sigterm");
    let samples = |text: &str| -> Vec<bool> {
        let runners = crate::support::runners(text);
        runners[0].runs.iter().filter(|(_, life)| life.stages.is_none()).map(|(_, life)| life.whole.is_some()).collect()
    };
    let newest_first: String = trail.text.lines().rev().flat_map(|line| [line, "\n"]).collect();
    assert_eq!([samples(&trail.text), samples(&newest_first)], [[false, true], [false, true]]);
}

/// As many as make the book put them away again and again.
#[test]
fn figures_of_lives_that_are_put_away_are_the_same_in_whatever_order_their_lines_come() {
    const GUESTS: u64 = 1500;
    let mut trail = Trail::default();
    for nth in 0..GUESTS {
        let at = nth as i64 * 2000;
        let who = format!(
            "runner.name=r-{nth:04} boot.id=b-{nth:04} runner.fleet=f runner.image=i-{} poll.served=1 poll.sum.ms=20",
            nth % 3
        );
        for (after, phase) in [(1000, "warming uptime.ms=6000"), (9000, "ready uptime.ms=14000")] {
            trail.phase(&who, at + after, phase);
        }
        trail.phase(&who, at + 12_000, "claimed job.nr=1 waited.ms=900 waited.from=queued");
        let (run, seq) = trail.probe(&who, (at, at + 30_000), 10_000);
        if nth % 7 == 0 {
            continue;
        }
        trail.phase(&who, at + 31_000, "ended job.nr=1 job.result=failure");
        trail.line(run, seq, at + 32_000, "event=stop reason=sigterm");
    }
    let lines: Vec<&str> = trail.text.lines().collect();
    let figures = |order: &mut dyn Iterator<Item = usize>| {
        let text: String = order.flat_map(|at| [lines[at], "\n"]).collect();
        format!("{:#?}", seen(&text, "", USUAL).fleets)
    };
    let all = lines.len();
    let whole = figures(&mut (0..all));
    assert!(whole.contains("runners: 1500") && whole.contains("Failure: 1285"), "{whole}");
    let mixed = |at: usize| at * 7919 % all;
    assert_ne!(all % 7919, 0);
    for order in [
        &mut (0..all).rev() as &mut dyn Iterator<Item = usize>,
        &mut (0..all).map(mixed),
        &mut (0..all).flat_map(|at| [at, mixed(at)]),
    ] {
        assert!(figures(order) == whole, "{whole}");
    }
}
