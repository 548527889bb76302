//! Hostile input: nothing panics, nothing active comes out, nobody forges a verdict, and the same input gives the same bytes.

use proptest::prelude::*;
use runner_vitals::hub::diagnose::cause::Cause;
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::verdict::Confidence;
use runner_vitals::hub::diagnose::{Code, Format};

use crate::made::Made;
use crate::support::{fixture, printed, verdict, verdicts};
use crate::trails::TRAILS;

const KILL: &str =
    "RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=made seq=900 event=kmsg.oom scope=guest victim.comm=node kts=900";

/// All that a terminal obeys, or that hides or turns text around.
fn is_active(c: char) -> bool {
    c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
}

#[test]
fn a_line_that_was_only_said_is_no_line() {
    let well = Made::started("").samples(30);
    let before = verdict(well.text());
    let log = format!("RUNNER_LOG ts= run=made seq=1 line=\"{}\"", KILL.replace('"', "\\\""));
    let docker = format!("{{\"log\":\"hello\\n{KILL}\\n\"}}");
    for said in [
        format!("echo {KILL}"),
        format!("50 %{KILL}"),
        format!(" {KILL}"),
        log,
        docker,
        format!("2026-06-04T12:00:00Z stdout F > {KILL}"),
    ] {
        let text = format!("{}{said}\n", well.text());
        assert_eq!(verdict(&text), before, "{said}");
    }
    // Within a value, or with a newline in it, it is a value.
    let named = well
        .clone()
        .event("top", "rank=1 comm=\"x\\nRUNNER_VITALS ts= run=made seq=9 event=kmsg.panic\" pid=1 rss.kb=5");
    assert_eq!(verdict(named.text()).cause, Cause::OutsideGuest);
}

#[test]
fn one_runner_says_nothing_of_another() {
    // By its Pod a collector knows whose a line is, whatever it says.
    let entry = |pod: &str, line: &str| {
        serde_json::json!({ "labels": { "pod": pod }, "line": line, "timestamp": "x" }).to_string() + "\n"
    };
    let well = Made::started("runner.name=well").samples(30);
    let mut text: String = well.text().lines().map(|line| entry("well", line)).collect();
    text += &entry("other", &format!("{KILL} runner.name=well"));
    let verdicts = verdicts(text.as_bytes());
    let names: Vec<&str> = verdicts.iter().map(|verdict| verdict.runner.as_str()).collect();
    assert_eq!(names, ["other", "well"]);
    assert_eq!(verdicts[1].cause, Cause::OutsideGuest);
}

/// What a guest writes before a line as `kubectl logs --prefix` and `stern` do is its own text where Loki says whose stream it is.
#[test]
fn a_prefix_in_a_stream_names_no_other_runner() {
    let stream = |pod: &str, lines: &[String]| {
        let values: Vec<_> = (1..).zip(lines).map(|(at, line)| serde_json::json!([format!("{at}"), line])).collect();
        serde_json::json!({ "stream": { "pod": pod }, "values": values })
    };
    let well = Made::started("runner.name=victim-1").samples(30);
    let own: Vec<String> = well.text().lines().map(str::to_owned).collect();
    for prefix in ["[pod/victim-1/main]", "victim-1 main", "ci victim-1 main", "victim-1  |"] {
        let nested = serde_json::json!({ "labels": { "pod": "victim-1" }, "line": KILL });
        let forged = [format!("{prefix} {KILL} runner.name=victim-1"), nested.to_string()];
        let streams = [stream("victim-1", &own), stream("other", &forged)];
        let answer = serde_json::json!({ "status": "success", "data": { "resultType": "streams", "result": streams } });
        let verdicts = verdicts(answer.to_string().as_bytes());
        let told: Vec<_> = verdicts.iter().map(|one| (one.runner.as_str(), one.cause)).collect();
        assert_eq!(told[1..], [("victim-1", Cause::OutsideGuest)], "{prefix}");
        assert_eq!((told[0].0, verdicts[1].runs), ("other", 1), "{prefix}");
    }
}

/// As it stands between the quotes of a line.
pub(crate) const EVIL: &str = "\\u001b[2J\\u001b]0;owned\\u0007\u{9b}31m\u{202e}<script>alert(1)</script>";

#[test]
fn nothing_active_is_printed() {
    let evil = EVIL;
    let made = Made::started(&format!("runner.name=\"{evil}\" runner.fleet=\"{evil}\""));
    let made = made.samples(3).event("agent", &format!("role=agent state=vanished pid=1 comm=\"{evil}\""));
    let made = made
        .event("kmsg.lockup", &format!("comm=\"{evil}\" msg=\"{evil}\""))
        .event("disk", &format!("path=\"{evil}\" used.pct=100.0"));
    let made = made.event("kmsg.oom", &format!("scope=cgroup victim.comm=\"{evil}\" cgroup=\"{evil}\" kts=200"));
    let made = made.with("disk.used.pct", "100.0").with("disk.avail.kb", 0).samples(2);
    let text = format!("{}RUNNER_VITALS \u{1b}[2J=1\n", made.text());
    for (format, all) in [(Format::Text, false), (Format::Text, true), (Format::Json, false)] {
        let (out, log, code) = printed(format, all, text.as_bytes(), Look::Plain);
        assert_eq!(code, Code::Said);
        assert!(!out.contains(is_active) && !log.contains(is_active), "{format:?}: {out:?} {log:?}");
        assert!(log.contains("stdin:11: byte 14: malformed key"), "{log}");
        assert!(out.contains("\\\\u{1b}") || out.contains("\\u{1b}"), "{out}");
    }
}

#[test]
fn a_hundred_thousand_runners_are_told_apart() {
    let mut text = String::new();
    for nth in 0..100_000 {
        let died = 1_780_000_000 + nth % 1000;
        let at = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + std::time::Duration::from_secs(died));
        text +=
            &format!("RUNNER_VITALS ts={at} run=aaaa seq=2 runner.name=r-{nth:06} runner.fleet=f cpu.busy.pct=1.0\n");
    }
    let (out, _, code) = printed(Format::Text, true, text.as_bytes(), Look::Plain);
    assert_eq!(code, Code::Said);
    let rows: Vec<&str> = out.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(rows.len(), 100_000);
    assert!(rows.is_sorted(), "by the time of death, then by name");
    assert!(out.contains("100000 runners") && out.contains(" 100000  "));
}

#[test]
fn the_same_trail_gives_the_same_bytes_in_any_order() {
    let all: String = TRAILS.map(|(name, ..)| fixture(name)).concat();
    let lines: Vec<&str> = all.lines().collect();
    let once = printed(Format::Json, false, all.as_bytes(), Look::Plain);
    assert_eq!(printed(Format::Json, false, all.as_bytes(), Look::Plain), once);
    for (name, ..) in TRAILS {
        let text = fixture(name);
        let mut lines: Vec<&str> = text.lines().collect();
        lines.reverse();
        let newest_first = verdict(&lines.join("\n"));
        let twice = verdict(&(text.clone() + &text));
        let whole = verdict(&text);
        for other in [newest_first, twice] {
            assert_eq!(
                (other.cause, other.score, other.lines, other.missing),
                (whole.cause, whole.score, whole.lines, whole.missing),
                "{name}"
            );
        }
    }
    assert!(lines.len() > 900);
}

#[test]
fn input_without_a_line_of_ours_is_unusable() {
    for input in
        ["", "hello\n", "{}", "{\"status\":\"success\",\"data\":{\"result\":[]}}", "RUNNER_VITALS ts= run=k3x9"]
    {
        let (out, log, code) = printed(Format::Text, false, input.as_bytes(), Look::Plain);
        assert_eq!((out.as_str(), code), ("", Code::Unusable), "{input}");
        assert!(log.contains("no line of vitals"), "{log}");
    }
    assert_eq!([Code::Said, Code::Unusable, Code::Unavailable, Code::Unwritten].map(u8::from), [0, 65, 69, 74]);
}

#[test]
fn colours_are_for_terminals() {
    let text = fixture("oom-guest");
    let (plain, ..) = printed(Format::Text, false, text.as_bytes(), Look::Plain);
    let (coloured, ..) = printed(Format::Text, false, text.as_bytes(), Look::of_terminal(None));
    let (off, ..) = printed(Format::Text, false, text.as_bytes(), Look::of_terminal(Some("1".as_ref())));
    assert!(coloured.contains("\u{1b}[1;33mguest_oom\u{1b}[0m"));
    assert_eq!(plain, off);
    assert!(!plain.contains('\u{1b}'));
}

/// Bytes somewhere in a real trail.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let name = proptest::sample::select(TRAILS.map(|(name, ..)| name).to_vec());
    let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40);
    (name, damage).prop_map(|(name, damage)| {
        let mut bytes = fixture(name).into_bytes();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

/// Values of every key, far from what any kernel says.
pub(crate) fn wild() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just(i64::MAX), Just(i64::MIN + 1), Just(0), any::<i64>(), -5_i64..5];
    let field = proptest::sample::select(runner_vitals::line::field::ALL.to_vec());
    let pair = (field, number).prop_map(|(field, number)| match field.unit.decimals() {
        None => format!(
            "{}={}",
            field.key,
            ["unknown", "paused", "agent", "vanished", "own", "sigterm", "D"]
                [usize::try_from(number.rem_euclid(7)).unwrap()]
        ),
        Some(0) => format!("{}={number}", field.key),
        Some(decimals) => {
            format!("{}={}.{:0width$}", field.key, number / 1000, number.rem_euclid(10), width = usize::from(decimals))
        }
    });
    let events = [
        "",
        "start",
        "about",
        "stop",
        "oom",
        "kmsg.oom",
        "kmsg.segv",
        "kmsg.panic",
        "pressure",
        "agent",
        "gap",
        "disk",
        "top",
        "phase",
    ];
    let event = proptest::sample::select(events.to_vec());
    let at = proptest::sample::select(vec![
        "",
        "2026-06-04T12:00:00.123Z",
        "1970-01-01T00:00:00.000Z",
        "9999-12-31T23:59:59.999Z",
    ]);
    let seq = prop_oneof![Just(0_u64), Just(u64::MAX / 2 - 1), 0_u64..40];
    let line = (at, seq, event, proptest::collection::vec(pair, 0..30)).prop_map(|(at, seq, event, pairs)| {
        let mut keys = std::collections::BTreeSet::new();
        let pairs: Vec<String> =
            pairs.into_iter().filter(|pair| keys.insert(pair.split('=').next().unwrap().to_owned())).collect();
        let event = if event.is_empty() { String::new() } else { format!(" event={event}") };
        format!("RUNNER_VITALS ts={at} run=wild seq={seq}{event} {}\n", pairs.join(" "))
    });
    proptest::collection::vec(line, 0..30).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        verdicts(&bytes);
        printed(Format::Json, true, &bytes, Look::Plain);
        printed(Format::Text, false, &[b"{\"data\":[", bytes.as_slice()].concat(), Look::Plain);
    }

    #[test]
    fn a_damaged_trail_is_judged(bytes in damaged()) {
        for format in [Format::Text, Format::Json] {
            let (out, log, _) = printed(format, false, &bytes, Look::Plain);
            prop_assert!(!out.contains(is_active) && !log.contains(is_active));
        }
    }

    #[test]
    fn wild_values_are_judged(text in wild()) {
        for (format, all) in [(Format::Text, false), (Format::Text, true), (Format::Json, false)] {
            let (out, ..) = printed(format, all, text.as_bytes(), Look::Plain);
            prop_assert!(!out.contains(is_active));
        }
    }

    /// A burst of CPU, traffic and page cache in a guest that has room is nobody's death.
    #[test]
    fn what_a_healthy_guest_does_is_never_blamed(
        samples in 3_u64..60,
        busy in 0_u32..1000,
        stall in 0_u32..1000,
        avail in 1_600_000_u64..8_000_000,
        load in 0_u32..1000,
        io in 0_u32..400,
        rises in 0_u32..3000,
        is_told in any::<bool>(),
    ) {
        let made = Made::started("")
            .with("cpu.busy.pct", format!("{}.{}", busy / 10, busy % 10))
            .with("cpu.stall.pct", format!("{}.{}", stall / 10, stall % 10))
            .with("io.stall.pct", format!("{}.{}", io / 10, io % 10))
            .with("load1", format!("{}.{:02}", load / 100, load % 100))
            .with("vm.mem.avail.kb", avail)
            .samples(samples);
        // Tasks pile up at its end; the agent has its CPU all the same.
        let load = load + rises;
        let made = if is_told { made.event("pressure", "resource=cpu kind=psi value=90.0") } else { made };
        let made = made
            .with("load1", format!("{}.{:02}", load / 100, load % 100))
            .with("cpu.psi.some.avg10", format!("{}.{}", stall / 10, stall % 10))
            .sample();
        for text in [made.text().to_owned(), made.clone().stop("reason=sigterm").text().to_owned()] {
            let verdict = verdict(&text);
            prop_assert!(matches!(verdict.cause, Cause::OutsideGuest | Cause::Stopped), "{:?}", verdict);
            prop_assert!(verdict.confidence >= Confidence::Medium);
        }
    }
}
