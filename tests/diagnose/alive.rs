//! A trail that is not over is no death.

use std::time::{Duration, SystemTime};

use runner_vitals::hub::diagnose::cause::Cause::{self, *};
use runner_vitals::hub::diagnose::clock::Clock;
use runner_vitals::hub::diagnose::evidence::Ending;
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::verdict::{Confidence, Verdict};
use runner_vitals::hub::diagnose::{Args, Code, Format, LokiArgs, run};
use serde_json::Value;

use crate::made::{Made, deaths};
use crate::support::{fixture, verdict, verdict_at};
use crate::trails::TRAILS;

fn ms(at: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap())
}

/// The verdict so long after the last line.
fn after(text: &str, later_ms: i64) -> Verdict {
    let last = verdict(text).last_ms.unwrap();
    verdict_at(text, &Clock::new(ms(last + later_ms), None))
}

#[test]
fn a_runner_whose_next_line_is_not_due_lives() {
    let text = Made::started("").samples(30);
    for (later_ms, ending, cause) in [
        (0, Ending::Alive, Inconclusive),
        (4_000, Ending::Alive, Inconclusive),
        (35_000, Ending::Alive, Inconclusive),
        (-60_000, Ending::Alive, Inconclusive),
        (35_001, Ending::Silence, OutsideGuest),
        (-700_000, Ending::Silence, OutsideGuest),
    ] {
        let found = after(text.text(), later_ms);
        assert_eq!((found.ending, found.cause), (ending, cause), "{later_ms}");
        assert_eq!(found.is_alive(), ending == Ending::Alive);
    }
    let found = after(text.text(), 4_000);
    assert_eq!((found.word(), found.confidence), ("alive", Confidence::Low));
    assert!(
        found.because[0].says.starts_with("at 2026-05-28T20:29:14.000Z the next line was not due yet"),
        "{found:?}"
    );
    assert_eq!(
        found.change,
        ["look again after 2026-05-28T20:29:45.000Z: a line that is not there by then does not come"]
    );
    // It may only just have begun.
    assert_eq!(after(Made::started("").text(), 1000).word(), "alive");
}

#[test]
fn a_last_word_is_an_end_at_once() {
    for (reason, cause) in [("sigterm", Stopped), ("job_exit job.exit=0", Finished), ("stdout_closed", OutsideGuest)] {
        let made = Made::started("").samples(30).stop(&format!("reason={reason}"));
        assert_eq!(after(made.text(), 1000).cause, cause);
    }
}

/// Of no part of any trail more is said while it goes on than that the agent is gone, and that is true of the whole.
#[test]
fn what_ails_a_runner_that_lives_is_not_its_death() {
    let mut all: Vec<(String, Cause)> = TRAILS.map(|(name, cause, _)| (fixture(name), cause)).to_vec();
    all.extend(deaths().into_iter().map(|(_, made, cause, _)| (made.text().to_owned(), cause)));
    let mut troubles = 0;
    for (text, cause) in all {
        let lines: Vec<&str> = text.lines().collect();
        for kept in (1..=lines.len()).step_by(3) {
            let part = lines[..kept].join("\n") + "\n";
            let found = after(&part, 1000);
            if found.ending == Ending::Alive {
                assert!(found.is_alive() || found.cause == cause, "{cause:?} {kept}: {found:#?}");
                assert!(found.confidence < Confidence::High, "{found:#?}");
                troubles += found.contributing.len();
            }
        }
    }
    assert!(troubles > 50, "{troubles}");
}

#[test]
fn an_agent_that_is_gone_is_told_while_its_guest_lives() {
    let made = Made::started("").event("agent", "role=worker state=appeared pid=8 comm=Runner.Worker").samples(12);
    let made = made.event("agent", "role=agent state=vanished pid=7 comm=Runner.Listener").samples(3);
    let found = after(made.text(), 1000);
    assert_eq!((found.cause, found.confidence, found.ending), (AgentCrashed, Confidence::Medium, Ending::Alive));
    assert_eq!(found.word(), "agent_crashed");
}

/// What the program prints at a time, asked for a table.
fn table(text: &str, now: i64, args: &Args) -> String {
    let (mut out, mut log) = (Vec::new(), Vec::new());
    let code = run(args, ms(now), text.as_bytes(), &mut out, &mut log, Look::Plain);
    assert_eq!(code, Code::Said, "{}", String::from_utf8_lossy(&log));
    String::from_utf8(out).unwrap()
}

fn args(format: Format, all: bool) -> Args {
    Args { files: Vec::new(), loki: LokiArgs::default(), runner: None, all, format, html: None }
}

#[test]
fn who_lives_is_no_death_in_the_totals() {
    let dead = Made::started("runner.name=dead").samples(12).stop("reason=sigterm");
    let living = Made::started("runner.name=living").samples(40);
    let text = format!("{}{}", dead.text().replace("run=made", "run=dead"), living.text());
    let now = verdict(living.text()).last_ms.unwrap() + 2000;
    let out = table(&text, now, &args(Format::Text, true));
    let rows: Vec<&str> = out.lines().collect();
    assert!(rows[1].contains("  living  alive           low     41  at 2026-05-28T20:30:02.000Z the next"), "{out}");
    assert_eq!(rows[3], "2 runners, 1 of them alive");
    assert!(out.contains("      1  alive           nothing has ended it so far\n"), "{out}");
    let json: Value = serde_json::from_str(&table(&text, now, &args(Format::Json, false))).unwrap();
    assert_eq!((&json[1]["verdict"], &json[1]["ending"]), (&"inconclusive".into(), &"alive".into()));
    assert_eq!(json[1]["next_due"], "2026-05-28T20:30:05.000Z");
    let out = table(living.text(), now, &args(Format::Text, false));
    assert!(out.starts_with("living: alive (low confidence, 41 of 100)\n  nothing has ended it"), "{out}");
    assert!(
        out.contains("  its lines go on: the last at 2026-05-28T20:30:00.000Z, the next is due at 2026-05-28T20:30:05"),
        "{out}"
    );
}

#[test]
fn jobs_that_failed_are_counted_apart() {
    let job = |run: &str, reason: &str| {
        let made = Made::started(&format!("runner.name={run}")).samples(12).stop(reason);
        made.text().replace("run=made", &format!("run={run}"))
    };
    let text = [
        job("aaaa", "reason=job_exit job.exit=0"),
        job("bbbb", "reason=job_exit job.exit=3"),
        job("cccc", "reason=job_exit job.signal=15"),
        job("dddd", "reason=job_exit"),
    ];
    let out = table(&text.concat(), 1_893_456_000_000, &args(Format::Text, true));
    for row in [
        "      2  finished        the job failed: it ended with another code than 0, or by a signal\n",
        "      1  finished        the job ended with code 0\n",
        "      1  finished        the job ended; its code is not told\n",
    ] {
        assert!(out.contains(row), "{out}");
    }
}

#[test]
fn the_page_of_who_lives_says_so() {
    let made = Made::started("runner.name=r").samples(40);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    let now = verdict(made.text()).last_ms.unwrap() + 2000;
    table(made.text(), now, &Args { html: Some(path.clone()), ..args(Format::Text, false) });
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.contains("<title>r: alive</title>") && page.contains("<code>alive</code>"), "{page}");
    assert!(page.contains(">the next is due</text>") && !page.contains("died in here"), "{page}");
    assert!(
        page.contains(">How this runner fares</h1>") && page.contains("The shaded end is where its next line is due.")
    );
}

#[test]
fn of_who_lives_no_end_is_told() {
    let kill = "scope=guest victim.comm=node victim.pid=7 victim.adj=0 cgroup=/runner kts=125";
    let made = Made::started("runner.name=r").samples(12).event("kmsg.oom", kill).samples(2);
    let made = made.event("agent", "role=agent state=vanished pid=7 comm=Runner.Listener").samples(3);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    let now = verdict(made.text()).last_ms.unwrap() + 2000;
    let of_living = table(made.text(), now, &Args { html: Some(path.clone()), ..args(Format::Text, false) });
    for told in [of_living, std::fs::read_to_string(path).unwrap()] {
        assert!(told.contains("before its last line") && !told.contains("before the end"), "{told}");
    }
    assert!(table(made.text(), now + 600_000, &args(Format::Text, false)).contains("before the end"));
}

#[test]
fn a_page_of_many_says_what_became_of_them() {
    let stopped = Made::started("runner.name=a").samples(12).stop("reason=sigterm");
    let dead = Made::started("runner.name=b").samples(12).text().replace("run=made", "run=dead");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    let text = format!("{}{dead}", stopped.text());
    table(&text, 1_893_456_000_000, &Args { html: Some(path.clone()), ..args(Format::Text, false) });
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.contains("<caption>What became of them</caption>") && !page.contains("died of"), "{page}");
    // The end of one is green, that of the other came from outside: none is as red as what ailed a guest.
    assert!(page.contains("<section class=\"runner calm\"") && page.contains("<section class=\"runner neutral\""));
}

/// On a narrow screen labels beside the curves would be cut: they stand below then.
#[test]
fn labels_that_would_be_cut_are_not_drawn() {
    let made = Made::started("runner.name=r").samples(40);
    let page = crate::page::page(made.text());
    let (style, body) = page.split_once("</style>").unwrap();
    let narrow = style.split_once("@media screen and (max-width: 48rem)").unwrap().1.split_once("@media").unwrap().0;
    assert!(narrow.contains("svg .beside { display: none; }") && narrow.contains(".legend { display: block; }"));
    let labels = body.matches("<text class=\"beside\"").count();
    assert!(labels >= 8 && labels == body.matches("<span class=\"key ").count());
    assert_eq!(labels, body.matches("<path class=\"beside curve ").count());
}
