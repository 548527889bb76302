//! A guest's clock that is off, or is set on the way, changes nothing where who logged its lines says when they came.

use std::time::{Duration, SystemTime};

use runner_vitals::hub::diagnose::Format;
use runner_vitals::hub::diagnose::cause::Cause::{self, *};
use runner_vitals::hub::diagnose::clock::Clock;
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::verdict::Confidence;
use serde_json::{Value, json};

use crate::made::{Made, is};
use crate::support::{printed, verdict, verdict_at};

/// When the last of 31 lines of a made trail was written, by the guest's clock.
const LAST_MS: i64 = 1_780_000_150_000;

fn clock(now_ms: i64) -> Clock {
    Clock::new(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap()), None)
}

fn made() -> Made {
    Made::started("runner.name=r").samples(30)
}

fn at(ms: i64) -> String {
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap()))
        .to_string()
}

/// Each line as it was logged, given when that was.
fn logged(text: &str, came: impl Fn(i64) -> i64, form: impl Fn(i64, &str) -> String) -> String {
    let lines = (0..).zip(text.lines()).map(|(nth, line)| form(came(LAST_MS - 150_000 + nth * 5000), line));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn cri(ms: i64, line: &str) -> String {
    format!("{} stdout F {line}", at(ms))
}

fn jsonl(ms: i64, line: &str) -> String {
    json!({ "labels": {}, "line": line, "timestamp": at(ms) }).to_string()
}

fn loki(text: &str, came: impl Fn(i64) -> i64) -> String {
    let values = (0..)
        .zip(text.lines())
        .map(|(nth, line)| json!([(came(LAST_MS - 150_000 + nth * 5000) * 1_000_000).to_string(), line]));
    let mut values: Vec<Value> = values.collect();
    values.reverse();
    json!({ "status": "success", "data": { "resultType": "streams", "result": [{ "stream": {}, "values": values }] } })
        .to_string()
}

/// By an hour behind a runner that lives looks long dead, by a few minutes ahead one that is dead looks alive.
#[test]
fn who_lives_is_told_by_the_clock_of_who_logged_its_lines() {
    let text = made().text().to_owned();
    for (ahead_ms, now_ms, lives) in [
        (-3_600_000, 3_602_000, true),
        (-3_600_000, 3_700_000, false),
        (300_000, -298_000, true),
        (300_000, -200_000, false),
        (86_400_000, -86_398_000, true),
    ] {
        let came = |guests: i64| guests - ahead_ms;
        let now = clock(LAST_MS + now_ms);
        for log in [logged(&text, came, cri), logged(&text, came, jsonl), loki(&text, came)] {
            let found = verdict_at(&log, &now);
            assert_eq!(
                (found.is_alive(), found.clock_ahead_ms()),
                (lives, Some(ahead_ms)),
                "{ahead_ms} {now_ms}: {found:#?}"
            );
            assert_eq!(found.ended_ms(), Some(LAST_MS - ahead_ms));
            assert_eq!((found.last_ms, found.due_ms()), (Some(LAST_MS), Some(LAST_MS - ahead_ms + 5000)));
        }
    }
}

#[test]
fn a_clock_that_is_off_is_told_with_how_much() {
    let text = made().text().to_owned();
    let shown = |ahead_ms: i64| {
        let log = logged(&text, |guests| guests - ahead_ms, cri);
        (
            printed(Format::Text, false, log.as_bytes(), Look::Plain).0,
            printed(Format::Text, true, log.as_bytes(), Look::Plain).0,
            log,
        )
    };
    let (out, table, log) = shown(3_600_000);
    assert!(out.contains("; its clock was 1 h 0 min ahead of the log's\n"), "{out}");
    assert!(out.contains("fell silent between 2026-05-28T19:29:10.000Z (the last line) and 2026-05-28T19:29:15.000Z (when the next was due), by the log's clock\n"), "{out}");
    assert!(out.contains("look at the node and the platform between 2026-05-28T19:29:10.000Z and"), "{out}");
    assert!(table.starts_with("2026-05-28T19:29:10.000Z  r  outside_guest"), "{table}");
    let json: Value = serde_json::from_str(&printed(Format::Json, false, log.as_bytes(), Look::Plain).0).unwrap();
    assert_eq!(
        (&json[0]["last_line"], &json[0]["last_logged"]),
        (&json!("2026-05-28T20:29:10.000Z"), &json!("2026-05-28T19:29:10.000Z"))
    );
    assert_eq!(json[0]["clock_ahead_ms"], 3_600_000);
    let (out, ..) = shown(-90_000);
    assert!(out.contains("; its clock was 1 min 30 s behind the log's, or its lines came so late\n"), "{out}");
    // So late collectors are.
    let (out, table, _) = shown(-4_000);
    assert!(
        !out.contains("its clock") && !out.contains("log's clock") && table.starts_with("2026-05-28T20:29:10.000Z"),
        "{out}"
    );
}

/// A log that is put into Loki a day later came then, all at once: that says nothing of the guest's clock.
#[test]
fn lines_that_came_all_at_once_tell_no_clock() {
    let text = made().text().to_owned();
    let later = LAST_MS + 86_400_000;
    let found = verdict_at(&loki(&text, |guests| later + (guests - LAST_MS) / 1000), &clock(later + 2000));
    assert_eq!((found.cause, found.ended_ms(), found.clock_ahead_ms()), (OutsideGuest, Some(LAST_MS), None));
}

#[test]
fn a_guest_without_a_clock_died_when_its_lines_ended() {
    let text: String = made()
        .text()
        .lines()
        .map(|line| format!("RUNNER_VITALS ts= run={}\n", line.split_once(" run=").unwrap().1))
        .collect();
    let found = verdict(&logged(&text, |at| at, cri));
    assert_eq!((found.last_ms, found.ended_ms()), (None, Some(LAST_MS)));
    let (out, ..) = printed(Format::Text, false, logged(&text, |at| at, cri).as_bytes(), Look::Plain);
    assert!(
        out.contains("fell silent after 2026-05-28T20:29:10.000Z, by the log's clock\n")
            && out.contains("31 lines over 2 min 30 s"),
        "{out}"
    );
}

/// What a server told the probe, and what a hub writes beside each line, say it too.
#[test]
fn a_server_and_a_hub_tell_the_time() {
    let offset = Made::started("runner.name=r").with("clock.offset.ms", "3600000").samples(30);
    let hub: String = made()
        .text()
        .lines()
        .map(|line| {
            let ts = line.split_once("ts=").unwrap().1.split_once(' ').unwrap().0;
            let since = humantime::parse_rfc3339(ts).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let ms = i64::try_from(since.as_millis()).unwrap();
            let (head, rest) = line.split_once(" event=").unwrap_or_else(|| line.split_once(" vm.").unwrap());
            let key = if line.contains(" event=") { "event=" } else { "vm." };
            format!("{head} runner.fleet=f recv={} {key}{rest}\n", at(ms - 3_600_000))
        })
        .collect();
    for text in [offset.text(), &hub] {
        let found = verdict_at(text, &clock(LAST_MS - 3_600_000 + 2000));
        assert_eq!((found.word(), found.clock_ahead_ms()), ("alive", Some(3_600_000)), "{found:#?}");
    }
}

#[test]
fn runners_are_in_the_order_in_which_they_really_ended() {
    let second = logged(made().text(), |guests| guests - 60_000, cri);
    let first = logged(
        &made().text().replace("name=r", "name=s").replace("run=made", "run=side").replace("T20", "T21"),
        |guests| guests - 120_000,
        cri,
    );
    let (out, ..) = printed(Format::Text, true, format!("{second}{first}").as_bytes(), Look::Plain);
    let rows: Vec<&str> = out.lines().collect();
    assert!(
        rows[0].starts_with("2026-05-28T20:27:10.000Z  s  ") && rows[1].starts_with("2026-05-28T20:28:10.000Z  r  "),
        "{out}"
    );
}

fn set(made: Made, ms: i64) -> Made {
    made.clock_set(ms).event("gap", &format!("kind=clock ms={ms}"))
}

#[test]
fn a_clock_that_is_set_on_the_way_is_told_with_how_much() {
    for (ms, says) in [(-3_600_000, "set back by 1 h 0 min"), (3_600_000, "set forward by 1 h 0 min")] {
        let made = set(made(), ms).samples(12);
        let (out, ..) = printed(Format::Text, false, made.text().as_bytes(), Look::Plain);
        assert!(
            out.contains(&format!("run made, 44 lines over 3 min 30 s; its clock was {says} on the way\n")),
            "{out}"
        );
        let json: Value =
            serde_json::from_str(&printed(Format::Json, false, made.text().as_bytes(), Look::Plain).0).unwrap();
        assert_eq!(json[0]["clock_set_ms"], json!(ms));
    }
    let twice = set(set(made(), -3_600_000).samples(3), 600_000).samples(3);
    let (out, ..) = printed(Format::Text, false, twice.text().as_bytes(), Look::Plain);
    assert!(
        out.contains(" over 3 min 0 s; its clock was set back by 50 min 0 s on the way, in all of several times\n"),
        "{out}"
    );
    // The line that tells it is lost.
    let text = set(made(), -3_600_000).samples(12).text().to_owned();
    let text: String =
        text.lines().filter(|line| !line.contains("event=gap")).map(|line| format!("{line}\n")).collect();
    let (out, ..) = printed(Format::Text, false, text.as_bytes(), Look::Plain);
    assert!(out.contains("run made, 43 lines, 1 between them missing; its clock went back on the way\n"), "{out}");
}

/// A clock that is set back behind a kill brings it no nearer to the end, and one that is set forward takes it no further away.
#[test]
fn a_clock_that_is_set_makes_a_kill_neither_new_nor_old() {
    let killed = || {
        let kill = "scope=cgroup victim.comm=node victim.adj=0 cgroup=/runner kts=210";
        made()
            .event("kmsg.oom", kill)
            .with("oom_kill", 1)
            .with("vm.oom_kill", 1)
            .event("oom", "source=own delta=1 kmsg=agrees")
    };
    let dies = is(&killed(), CgroupOom, Confidence::High);
    let survives = killed().samples(120).verdict();
    assert_ne!(survives.cause, CgroupOom);
    let judged = |made: Made| -> (Cause, i64) {
        let found = made.verdict();
        (found.cause, found.score)
    };
    assert_eq!(judged(set(killed(), -3_600_000).samples(120)), (survives.cause, survives.score));
    assert_eq!(judged(set(killed(), 3_600_000)), (dies.cause, dies.score));
}
