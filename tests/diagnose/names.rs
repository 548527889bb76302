//! Names of runners: given to one guest after another, or asked for in vain.

use std::io;

use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::{Args, Code, Format, LokiArgs, run};
use serde_json::Value;

use crate::made::Made;
use crate::support::{later, printed};

/// A life of the runner `r`, so many hours after the first, that ends so; each is a boot.
fn life(nth: u64, end: impl Fn(Made) -> Made) -> String {
    of_boot(nth, nth, end)
}

fn of_boot(boot: u64, nth: u64, end: impl Fn(Made) -> Made) -> String {
    let made = Made::new().wait(nth * 3_600_000);
    let begun =
        made.event("start", &format!("runner.name=r boot.id=boot-{boot} interval.ms=5000 uptime.ms=60000 psi=on"));
    end(begun.samples(12)).text().replace("run=made", &format!("run={nth:04}"))
}

fn lives(count: u64) -> String {
    (0..count)
        .map(|nth| life(nth, |made| if nth % 2 == 0 { made } else { made.stop("reason=job_exit job.exit=0") }))
        .collect()
}

#[test]
fn each_life_of_a_name_has_its_row() {
    let text = lives(3);
    let (out, log, code) = printed(Format::Text, true, text.as_bytes(), Look::Plain);
    let rows: Vec<&str> = out.lines().collect();
    assert_eq!((code, log.as_str()), (Code::Said, ""));
    for (row, begins) in rows.iter().zip([
        "2026-05-28T20:27:40.000Z  r  outside_guest ",
        "2026-05-28T21:27:40.000Z  r  finished ",
        "2026-05-28T22:27:40.000Z  r  outside_guest ",
    ]) {
        assert!(row.starts_with(begins), "{out}");
    }
    assert_eq!(rows[4], "3 lives of 1 runner");
    assert!(out.contains("      2  outside_guest ") && out.contains("      1  finished "), "{out}");
    let (json, ..) = printed(Format::Json, true, text.as_bytes(), Look::Plain);
    let json: Value = serde_json::from_str(&json).unwrap();
    let told: Vec<_> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["run"].as_str().unwrap(), one["runs"].as_u64().unwrap()))
        .collect();
    assert_eq!(told, [("0000", 1), ("0001", 1), ("0002", 1)]);
    // Without it the runner is told: its last life.
    let (out, ..) = printed(Format::Text, false, text.as_bytes(), Look::Plain);
    assert!(out.starts_with("r: outside_guest") && out.contains("; the last of 3 runs\n"), "{out}");
}

/// On a machine that stays up one job follows another.
#[test]
fn each_job_of_a_boot_has_its_row() {
    let ends = ["reason=job_exit job.exit=0", "reason=job_exit job.signal=9", "reason=job_exit job.exit=3"];
    let jobs = (0..).zip(ends).map(|(nth, end)| of_boot(7, nth, |made| made.stop(end)));
    let text: String = jobs.chain([of_boot(7, 3, |made| made)]).collect();
    let (out, log, code) = printed(Format::Text, true, text.as_bytes(), Look::Plain);
    assert_eq!((code, log.as_str()), (Code::Said, ""));
    let rows: Vec<&str> = out.lines().collect();
    for (row, (begins, says)) in rows.iter().zip([
        ("2026-05-28T20:27:40.000Z  r  finished ", "code 0"),
        ("2026-05-28T21:27:40.000Z  r  finished ", "SIGKILL"),
        ("2026-05-28T22:27:40.000Z  r  finished ", "code 3"),
        ("2026-05-28T23:27:40.000Z  r  outside_guest ", ""),
    ]) {
        assert!(row.starts_with(begins) && row.contains(says), "{out}");
    }
    assert_eq!(rows[5], "4 lives of 1 runner");
    // Without it the runner is told: its last life.
    let (out, ..) = printed(Format::Text, false, text.as_bytes(), Look::Plain);
    assert!(out.starts_with("r: outside_guest") && out.contains("; the last of 4 runs\n"), "{out}");
}

#[test]
fn lives_that_are_not_kept_are_told() {
    let text: String = (0..300)
        .map(|nth| life(nth, |made| made).replace(" vm.mem.total.kb", " runner.name=r vm.mem.total.kb"))
        .collect();
    let (out, log, _) = printed(Format::Text, true, text.as_bytes(), Look::Plain);
    assert!(out.contains("\n64 lives of 1 runner\n"), "{out}");
    assert_eq!(log, "vitals-hub: r: 236 earlier runs of this name are not kept and have no row\n");
}

fn asked(name: &str, text: &str) -> (String, Code) {
    let args = Args {
        files: Vec::new(),
        loki: LokiArgs::default(),
        runner: Some(name.to_owned()),
        all: false,
        format: Format::Text,
        html: None,
    };
    let mut log = Vec::new();
    let code = run(&args, later(), text.as_bytes(), &mut io::sink(), &mut log, Look::Plain);
    (String::from_utf8(log).unwrap(), code)
}

#[test]
fn who_asks_for_a_name_that_is_not_there_is_told_those_that_are() {
    let named = |name: &str| {
        Made::started(&format!("runner.name={name}")).sample().text().replace("run=made", &format!("run={name:0>4}"))
    };
    let all = |count: u32| (0..count).map(|nth| named(&format!("r{nth:02}"))).collect::<String>();
    assert_eq!(asked("r01", &all(2)), (String::new(), Code::Said));
    assert_eq!(
        asked("nosuch", &all(2)),
        ("vitals-hub: no runner of that name in the input; there are r00, r01\n".to_owned(), Code::Unusable)
    );
    let (log, _) = asked("nosuch", &all(25));
    assert!(log.contains("; there are r00, r01,") && log.ends_with(" r09, and 15 more\n"), "{log}");
    let evil = Made::started("runner.name=\"a\\u001b[2Jb\"").sample();
    let (log, _) = asked("nosuch", evil.text());
    assert!(log.ends_with("; there are a\\u{1b}[2Jb\n"), "{log}");
    assert_eq!(asked("nosuch", ""), ("vitals-hub: no line of vitals in the input\n".to_owned(), Code::Unusable));
}
