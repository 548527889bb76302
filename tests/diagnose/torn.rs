//! What is left of a line that is torn or glued to another's text says that its runner still spoke, and nothing else.

use runner_vitals::hub::diagnose::cause::Cause::*;
use runner_vitals::hub::diagnose::clock::Clock;
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::verdict::{Confidence, Verdict};
use runner_vitals::hub::diagnose::{Code, Format};

use crate::made::Made;
use crate::page::page;
use crate::support::{printed, verdict, verdict_at};

/// A guest that is well, and so many of its lines behind that.
fn well() -> (String, Vec<String>) {
    let made = Made::started("runner.name=r").samples(30);
    let long = made.clone().samples(20);
    let lines = long.text().lines().skip(31).map(str::to_owned).collect();
    (made.text().to_owned(), lines)
}

/// The verdict is that on the whole lines, less sure; it was silent later, and the place is told.
#[track_caller]
fn is_heard(text: &str, before: &Verdict, later_ms: i64) {
    let found = verdict(text);
    assert_eq!((found.cause, found.lines, found.missing), (before.cause, before.lines, before.missing), "{found:#?}");
    assert!(found.confidence < before.confidence, "{found:#?}");
    assert_eq!(found.last_ms.unwrap() - before.last_ms.unwrap(), later_ms, "{found:#?}");
    let but = found.but.last().unwrap();
    assert!(but.says.contains("it still spoke then") && but.lines[0].place.line == 32, "{found:#?}");
}

#[test]
fn a_line_in_anothers_text_says_that_its_runner_still_spoke() {
    let (text, behind) = well();
    let before = verdict(&text);
    assert_eq!((before.cause, before.confidence), (OutsideGuest, Confidence::High));
    for glued in ["Downloading 12 %", "2026-05-28T20:29:15Z stdout F Downloading 12 %", "12 %\r13 %\r"] {
        is_heard(&format!("{text}{glued}{}\n", behind[0]), &before, 5000);
    }
    // All that came behind is: what happened meanwhile is not known.
    let glued: String = behind.iter().map(|line| format!("12 %{line}\n")).collect();
    let found = verdict(&format!("{text}{glued}"));
    assert_eq!((found.cause, found.confidence), (OutsideGuest, Confidence::Low), "{found:#?}");
    assert_eq!(found.last_ms.unwrap() - before.last_ms.unwrap(), 100_000);
}

#[test]
fn a_torn_line_says_that_its_runner_still_spoke() {
    let (text, behind) = well();
    let before = verdict(&text);
    let kill = behind[0].split(" vm.").next().unwrap().to_owned() + " event=kmsg.oom victim.comm=node msg=\"Out of mem";
    is_heard(&format!("{text}{kill}"), &before, 5000);
    is_heard(&format!("{text}{kill}\n"), &before, 5000);
    let number = behind[0].find("seq=").unwrap();
    is_heard(&format!("{text}{}", behind[0].get(..number + 5).unwrap()), &before, 5000);
    // Another's text, or its own next line, in its middle.
    is_heard(&format!("{text}{}npm warn\n", behind[0].get(..200).unwrap()), &before, 5000);
    // A part whose rest does not come is no line either.
    let cri = |text: &str, tag: &str| format!("2026-05-28T20:29:15.1Z stdout {tag} {text}\n");
    let logged: String = text.lines().map(|line| cri(line, "F")).collect();
    let (found, whole) = (verdict(&format!("{logged}{}", cri(&kill, "P"))), verdict(&logged));
    assert_eq!((found.cause, found.last_ms), (OutsideGuest, whole.last_ms.map(|at| at + 5000)), "{found:#?}");
}

#[test]
fn a_runner_whose_lines_are_glued_lives() {
    let (text, behind) = well();
    let now = verdict(&text).last_ms.unwrap() + 60_000;
    let clock =
        Clock::new(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(now.cast_unsigned()), None);
    assert!(!verdict_at(&text, &clock).is_alive());
    let glued: String = behind[..12].iter().map(|line| format!("12 %{line}\n")).collect();
    assert!(verdict_at(&format!("{text}{glued}"), &clock).is_alive());
}

/// What a kill, or a last word, that is glued or torn says is not believed; nor is what cannot be the next line of a run.
#[test]
fn nothing_that_is_glued_makes_a_verdict() {
    let (text, behind) = well();
    let before = verdict(&text);
    let head = behind[0].split(" vm.").next().unwrap();
    for event in [
        "kmsg.oom scope=guest victim.comm=node kts=230",
        "stop reason=sigterm",
        "kmsg.panic msg=x",
        "phase phase=ended",
    ] {
        let found = verdict(&format!("{text}x{head} event={event}\n"));
        assert_eq!(found.cause, OutsideGuest, "{found:#?}");
        assert!(found.score < before.score && found.because == before.because, "{found:#?}");
    }
    let quoted = |line: &str| format!("RUNNER_LOG ts= run=made seq=1 line=\"{line}\"");
    for said in [
        quoted(&behind[0]),
        format!("echo {}", text.lines().last().unwrap()),
        format!("echo {}", behind[0].replace("run=made", "run=mado")),
        format!("echo {}", behind[0].replace("2026-05-28", "2026-05-29")),
        format!("echo {}", behind[0].replace("2026-05-28", "2026-05-27")),
        "echo RUNNER_VITALS ts=2026-05-28T20:29:15Z run=mad".to_owned(),
    ] {
        assert_eq!(verdict(&format!("{text}{said}\n")), before, "{said}");
    }
    // Behind its last word nothing is.
    let ended = Made::started("runner.name=r").samples(30).stop("reason=job_exit job.exit=0").text().to_owned();
    assert_eq!(verdict(&format!("{ended}echo {}\n", behind[1])), verdict(&ended));
}

#[test]
fn another_pods_word_is_none() {
    let (text, behind) = well();
    let stream = |pod: &str, lines: &str| {
        let values: Vec<_> = lines.lines().map(|line| serde_json::json!(["1", line])).collect();
        serde_json::json!({ "stream": { "pod": pod }, "values": values })
    };
    let judged = |other: &str, glued: &str| {
        let streams = [stream("r", &text), stream(other, &format!("x{glued}"))];
        let answer = serde_json::json!({ "data": { "resultType": "streams", "result": streams } });
        verdict(&answer.to_string()).confidence
    };
    assert_eq!(judged("r", &behind[0]), Confidence::Medium);
    assert_eq!(judged("other", &behind[0]), Confidence::High);
}

#[test]
fn the_place_of_such_a_line_is_told() {
    let (text, behind) = well();
    let (out, log, code) = printed(Format::Text, false, format!("{text}x{}\n", behind[0]).as_bytes(), Look::Plain);
    assert_eq!(code, Code::Said);
    assert!(out.contains("what it said is not known  [stdin:32]\n"), "{out}");
    assert!(out.contains("fell silent between 2026-05-28T20:29:15.000Z (the last line) and"), "{out}");
    assert!(
        log.contains(
            "vitals-hub: 1 line was not taken: RUNNER_VITALS stands behind other text in it, as in what a job printed; \
             the first is stdin:32. If a tool put that text there, have it print lines as they are (stern -o raw, journalctl -o cat)\n"
        ),
        "{log}"
    );
}

#[test]
fn a_page_leads_to_no_line_that_is_not_on_it() {
    let (text, behind) = well();
    let page = page(&format!("{text}x{}\n", behind[0]));
    assert!(page.contains("what it said is not known stdin:32</li>"), "{page}");
    for link in page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(page.contains(&format!("id=\"{link}\"")), "{link}");
    }
}
