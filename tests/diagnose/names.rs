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

/// A probe that is there for a while, in the same guest as others.
fn probe(run: &str, after_s: u64, samples: u64, end: impl Fn(Made) -> Made) -> String {
    let start = "runner.name=r boot.id=b interval.ms=5000 uptime.ms=60000 cgroup=v2 cgroup.path=/runner psi=on kmsg=on";
    let made = Made::new().without("agent.").wait(after_s * 1000).event("start", start).samples(samples);
    end(made).text().replace("run=made", &format!("run={run}"))
}

/// The kernel's kill of a job, as each probe of the guest tells it.
fn killed(made: Made) -> Made {
    let kill =
        "scope=cgroup victim.comm=tail victim.pid=7 victim.adj=0 victim.rss.kb=60000 cgroup=/runner kts=125 msg=x";
    let made = made.event("kmsg.oom", kill).event("oom", "source=own delta=1 kmsg=agrees");
    made.with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1)
}

#[test]
fn a_probe_beside_jobs_tells_each_of_them_its_own() {
    let exit = |code: u64| move |made: Made| made.stop(&format!("reason=job_exit job.exit={code}"));
    let jobs = [
        probe("aaaa", 2, 2, exit(0)),
        probe("bbbb", 22, 2, |made| killed(made).wait(200).stop("reason=job_exit job.signal=9")),
        probe("cccc", 42, 2, exit(0)),
        probe("dddd", 62, 2, exit(4)),
    ];
    let told = probe("side", 0, 6, |made| killed(made).samples(9).stop("reason=sigterm samples=15"));
    let dies = probe("side", 0, 6, |made| killed(made).samples(9));
    for side in [told, dies] {
        let text = jobs.concat() + &side;
        let (out, ..) = printed(Format::Text, true, text.as_bytes(), Look::Plain);
        let rows: Vec<&str> = out.lines().collect();
        for (row, (cause, says)) in rows.iter().zip([
            ("  r  finished ", "code 0"),
            ("  r  cgroup_oom ", "tail"),
            ("  r  finished ", "code 0"),
            ("  r  finished ", "code 4"),
        ]) {
            assert!(row.contains(cause) && row.contains(says), "{out}");
        }
        assert_eq!(rows[5], "4 lives of 1 runner", "{out}");
    }
}

#[test]
fn a_jobs_end_is_told_and_not_that_of_the_probe_beside_it() {
    let job = probe("jobs", 3, 1, |made| made.stop("reason=job_exit job.exit=3"));
    for (after, cause) in [(4, "finished"), (200, "outside_guest")] {
        for (text, cause) in [
            (probe("side", 0, after, |made| made), cause),
            (probe("side", 0, 4, |made| made.stop("reason=sigterm samples=4")), "finished"),
        ] {
            let (out, ..) = printed(Format::Text, false, (job.clone() + &text).as_bytes(), Look::Plain);
            assert!(out.starts_with(&format!("r: {cause} ")) && out.contains("beside it"), "{after}: {out}");
        }
    }
    // A trouble that ended the job is told however short it was.
    let job = probe("jobs", 3, 1, |made| killed(made).wait(200).stop("reason=job_exit job.signal=9"));
    let side = probe("side", 0, 1, |made| killed(made.wait(3000)).samples(2).stop("reason=sigterm samples=3"));
    let (out, ..) = printed(Format::Text, false, (job + &side).as_bytes(), Look::Plain);
    assert!(out.starts_with("r: cgroup_oom (high"), "{out}");
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
