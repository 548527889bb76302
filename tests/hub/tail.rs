//! What Pod logs bring to Loki, in the state of fleets and in reports.

use std::time::SystemTime;

use crate::client::{Client, metric};
use crate::fleets::now;
use crate::hub::{Hub, token};
use crate::stand_in::{Entry, Instead, StandIn};
use crate::until;

const QUERY: &str = "{namespace=\"runners\"} |= \"RUNNER_VITALS\"";

fn entry(pod: &str, line: &str) -> Entry {
    let ns = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    (u64::try_from(ns).unwrap(), pod.to_owned(), line.trim_end().to_owned())
}

fn of(run: &str, rest: &str) -> String {
    now(run, &format!("runner.env=prod runner.fleet=linux {rest}"))
}

fn hub(loki: &StandIn) -> Hub {
    Hub::start(&["--env", "prod", "--tail-loki", &loki.server.url, "--tail-query", QUERY])
}

fn reads(hub: &Hub, result: &str) -> u64 {
    metric(hub.address, &format!("vitals_hub_tail_reads_total{{result=\"{result}\"}}"))
}

/// A figure of the fleet, as it stands there.
fn figure(hub: &Hub, name: &str, rest: &str) -> Option<String> {
    let text = Client::connect(hub.address).get("/metrics").body;
    let row = format!("vitals_hub_fleet_{name}{{env=\"prod\",fleet=\"linux\"{rest}}} ");
    text.lines().find_map(|line| line.strip_prefix(&row)).map(str::to_owned)
}

#[test]
fn lines_of_pod_logs_are_followed_and_nothing_is_counted_twice() {
    let loki = StandIn::plain(vec![
        entry("pod-1", &of("k3x9", "event=start interval.ms=1000 runner.name=runner-9")),
        entry("pod-1", &of("aaaa", "event=phase phase=ready boot.id=x uptime.ms=9000")),
    ]);
    let hub = hub(&loki);
    until("the member of Loki", || {
        (figure(&hub, "members", ",state=\"ready\"").as_deref() == Some("1.0")).then_some(())
    });
    // One that comes by both ways, and one of Loki that takes a job.
    let both = of("bbbb", "event=phase phase=claimed boot.id=y uptime.ms=9000");
    let claimed = of("cccc", "event=phase phase=claimed boot.id=x uptime.ms=9000");
    assert_eq!(Client::connect(hub.address).post("runner-1", both.as_bytes()).status, 204);
    let mut entries = vec![entry("runner-1", &both), entry("pod-1", &claimed)];
    entries
        .push(entry("hub", &both.replacen("seq=1 ", "seq=1 recv=2026-06-04T12:00:00.000Z runner.name=runner-1 ", 1)));
    loki.known.lock().unwrap().entries.extend(entries);
    until("the claim", || (figure(&hub, "claims_total", "").as_deref() == Some("2")).then_some(()));
    let before = reads(&hub, "read");
    until("two more readings", || (reads(&hub, "read") >= before + 2).then_some(()));
    assert_eq!(figure(&hub, "claims_total", "").as_deref(), Some("2"));
    assert_eq!(
        figure(&hub, "members", ",state=\"claimed\"").as_deref(),
        Some("2.0"),
        "and the hub's own log is no member"
    );
    let asked = loki.asked();
    assert!(asked[0]["query"].ends_with("|= `event=`") && asked[1]["query"] == QUERY, "{asked:?}");
    // A reading overlaps the one before, and does not begin anew.
    let from = |nth: usize| asked[nth]["start"].parse::<u64>().unwrap();
    assert!(from(2) > from(1) && from(1) > from(0) + 5 * 3_600_000_000_000);
    // Its report is made of what Loki has.
    let mut client = Client::connect(hub.address);
    let head =
        format!("GET /runners/pod-1 HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {}\r\n\r\n", token("runner-1"));
    client.say(head.as_bytes());
    let report = client.answer().unwrap();
    assert!(report.status == 200 && report.body.contains("pod-1"), "{report:?}");
    // It is asked for within the query that was set, and what else Loki gives is not shown.
    let within = format!("{QUERY} | pod=\"pod-1\" or ");
    assert!(loki.asked().iter().any(|asked| asked["query"].starts_with(&within)), "{:?}", loki.asked());
    assert!(report.body.contains("boot.id=x") && !report.body.contains("boot.id=y"), "{}", report.body);
}

/// A page ends among claims of one nanosecond: the rest of them comes with the next, and those of both count once.
#[test]
fn claims_at_the_edge_of_a_page_count_once_each() {
    let loki = StandIn::plain(Vec::new());
    let hub = hub(&loki);
    until("a reading", || (reads(&hub, "read") >= 1).then_some(()));
    let (ns, ..) = entry("", "");
    let claim = |nth: u64| {
        let line = of("cccc", &format!("event=phase phase=claimed boot.id=b{nth} uptime.ms=9000"));
        (ns, format!("pod-{nth:02}"), line.trim_end().to_owned())
    };
    let mut entries: Vec<Entry> = (0..40).map(claim).collect();
    entries
        .extend((0..4980).map(|nth| (ns + 1 + nth, "noise".to_owned(), "event=of another RUNNER_VITALS".to_owned())));
    loki.known.lock().unwrap().entries.extend(entries);
    for more in [1, 2] {
        let before = reads(&hub, "read");
        until("a reading", || (reads(&hub, "read") > before + more).then_some(()));
        assert_eq!(figure(&hub, "claims_total", "").as_deref(), Some("40"));
        assert_eq!(figure(&hub, "members", ",state=\"claimed\"").as_deref(), Some("40.0"));
    }
}

#[test]
fn a_report_that_cannot_be_read_is_not_one_of_nobody() {
    let loki = StandIn::plain(Vec::new());
    let hub = hub(&loki);
    let report = || {
        let mut client = Client::connect(hub.address);
        let head =
            format!("GET /runners/pod-1 HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {}\r\n\r\n", token("runner-1"));
        client.say(head.as_bytes());
        client.answer().unwrap()
    };
    assert_eq!(report().status, 404);
    loki.known.lock().unwrap().always = Some(Instead::Answer(422, "no", None));
    let answer = report();
    assert_eq!((answer.status, answer.body.contains("could not all be read")), (502, true), "{answer:?}");
    assert!(!answer.body.contains("127.0.0.1"), "{answer:?}");
    until("that it is told", || {
        let log = hub.log.lock().unwrap().join("\n");
        (log.contains("the lines cannot be read") && log.contains("pod-1")).then_some(())
    });
}

#[test]
fn a_loki_that_refuses_is_told_and_asked_again() {
    let loki = StandIn::plain(vec![entry("pod-1", &of("aaaa", "event=phase phase=ready"))])
        .with(|known| known.next.extend([422, 404].map(|status| Instead::Answer(status, "no", None))));
    let hub = hub(&loki);
    let page = || {
        let head = format!("GET /fleet HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {}\r\n\r\n", token("runner-1"));
        let mut client = Client::connect(hub.address);
        client.say(head.as_bytes());
        client.answer().unwrap().body
    };
    until("the failure", || (reads(&hub, "failed") == 1).then_some(()));
    let told = page();
    assert!(told.contains("Logs cannot be read since 20") && told.contains("Loki refuses what --tail-query asks"));
    assert!(!told.contains("127.0.0.1"), "{told}");
    until("the member", || figure(&hub, "members", ",state=\"ready\"").filter(|count| count == "1.0"));
    until("that both are told", || {
        let log = hub.log.lock().unwrap().join("\n");
        (log.contains("the latest lines cannot be read") && log.contains("can be read again")).then_some(())
    });
    assert!(!page().contains("cannot be read"));
    // Each reason is told, with the setting that it is of.
    let log = hub.log.lock().unwrap();
    let told: Vec<&String> = log.iter().filter(|line| line.contains("the latest lines cannot be read")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("--tail-query, asked as {namespace=") && told[0].contains("|= `event=`: http"),
        "{told:?}"
    );
    assert!(told[1].contains("--tail-loki http") && told[1].contains("answered 404"), "{told:?}");
}
