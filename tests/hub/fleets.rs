//! The fleets of whoever sends, on /metrics.

use std::fs;
use std::time::SystemTime;

use crate::client::{Client, metric};
use crate::hub::{Hub, token_line};
use crate::until;

/// A line that is written now.
pub(crate) fn now(run: &str, rest: &str) -> String {
    let ts = humantime::format_rfc3339_millis(SystemTime::now());
    format!("RUNNER_VITALS ts={ts} run={run} seq=1 {rest}\n")
}

const LINUX: &str = "[[fleet]]\nenv = \"prod\"\nfleet = \"linux\"\nwarm_floor = 2\n";

#[test]
fn fleets_are_told_by_what_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fleets.toml");
    fs::write(&file, format!("{LINUX}target = 5\n")).unwrap();
    let hub = Hub::start(&["--env", "prod", "--fleet-file", file.to_str().unwrap()]);
    let mut guest = Client::connect(hub.address);
    for nth in 1..=3 {
        let body = now("aaaa", "event=phase phase=ready boot.id=x uptime.ms=9000 runner.env=other runner.fleet=other");
        assert_eq!(guest.post(&format!("runner-{nth}"), body.as_bytes()).status, 204);
    }
    let claimed = now("bbbb", "event=phase phase=claimed boot.id=x uptime.ms=9100");
    for _ in 0..2 {
        assert_eq!(guest.post("runner-1", claimed.as_bytes()).status, 204, "a retry is taken and not counted twice");
    }
    let of = |name: &str, rest: &str| format!("vitals_hub_fleet_{name}{{env=\"prod\",fleet=\"linux\"{rest}}}");
    let is = |row: String| {
        let text = Client::connect(hub.address).get("/metrics").body;
        text.lines().find_map(|line| line.strip_prefix(&row)?.strip_prefix(' ')).map(str::to_owned)
    };
    for (name, rest, value) in [
        ("members", ",state=\"ready\"", "2.0"),
        ("members", ",state=\"claimed\"", "1.0"),
        ("claims_total", "", "1"),
        ("warm_up_seconds_count", "", "3"),
        ("jobs_running", "", "1.0"),
        ("target", "", "5.0"),
        ("warm_deficit", "", "0.0"),
    ] {
        assert_eq!(is(of(name, rest)).as_deref(), Some(value), "{name}");
    }
    let text = Client::connect(hub.address).get("/metrics").body;
    let fleets = || text.lines().filter(|line| line.starts_with("vitals_hub_fleet_"));
    assert!(
        fleets().count() > 60 && fleets().all(|line| !line.contains("runner-") && !line.contains("other")),
        "{text}"
    );
    let page = include_str!("../../docs/HUB.md");
    for name in fleets().filter_map(|line| line.split('{').next()) {
        let name = ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| name.strip_suffix(end).unwrap_or(name));
        assert!(["`", "{"].iter().any(|end| page.contains(&format!("`{name}{end}"))), "{name} is not in docs/HUB.md");
    }
    // The fleet file is read again when it changes.
    fs::write(&file, format!("{LINUX}target = 60\nwarm_floor = 9\n").replace("warm_floor = 2\n", "")).unwrap();
    until("the new target", || (is(of("target", "")).as_deref() == Some("60.0")).then_some(()));
    assert_eq!(is(of("warm_deficit", "")).as_deref(), Some("7.0"), "one runs, nine are to be warm, three are there");
    fs::write(&file, "[[fleet]]\ntarge = 1\n").unwrap();
    let failed = "vitals_hub_reloads_total{file=\"fleets\",result=\"failed\"}";
    until("the broken file", || (metric(hub.address, failed) == 1).then_some(()));
    assert_eq!(is(of("target", "")).as_deref(), Some("60.0"));
}

#[test]
fn a_fleet_file_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fleets.toml");
    fs::write(&file, "[[fleet]]\ntarge = 1\n").unwrap();
    let out = crate::hub::command()
        .args(["serve", "--auth", "none", "--listen", "127.0.0.1:0", "--fleet-file", file.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.code() == Some(78) && said.contains("--fleet-file") && said.contains("line 2"), "{said}");
}

/// The bound of benches/BUDGET.md.
const MEMBERS: usize = 10_000;
const RESIDENT_AT_MOST_KB: u64 = 128 * 1024;

#[test]
fn ten_thousand_members_are_held_in_128_mib() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    let name = |nth: usize| format!("macos-runner-{nth:05}.fleet.example");
    fs::write(&tokens, (0..MEMBERS).map(|nth| token_line(&name(nth))).collect::<String>()).unwrap();
    let hub = Hub::start(&["--env", "prod", "--auth", &format!("tokens={}", tokens.display())]);
    // As much as a runner tells until it has a job: a start, samples, three phases.
    let about = "runner.image=registry.example/runner:2026-06-04 boot.id=fde637d9-fe92-4fa8-a3de-c055e757ace2";
    let mut body = now(
        "k3x9",
        &format!("event=start interval.ms=5000 cgroup.path=/kubepods/burstable/pod1 psi=on kmsg=on {about}"),
    );
    for seq in 2..8 {
        body += &now("k3x9", "vm.mem.total.kb=8000000 vm.mem.avail.kb=1000 load1=0.30")
            .replace("seq=1 ", &format!("seq={seq} "));
    }
    for (run, phase) in
        [("aaaa", "warming uptime.ms=4000"), ("bbbb", "ready uptime.ms=9000"), ("cccc", "claimed uptime.ms=9100")]
    {
        body += &now(run, &format!("event=phase phase={phase} {about}"));
    }
    let post = |part: usize| {
        let mut guest = Client::connect(hub.address);
        for nth in (0..MEMBERS).skip(part).step_by(4) {
            assert_eq!(guest.post(&name(nth), body.as_bytes()).status, 204);
        }
    };
    std::thread::scope(|scope| {
        for part in 0..4 {
            let post = &post;
            scope.spawn(move || post(part));
        }
    });
    let text = Client::connect(hub.address).get("/metrics").body;
    let members = format!("vitals_hub_fleet_members{{env=\"prod\",fleet=\"linux\",state=\"claimed\"}} {MEMBERS}.0");
    assert!(text.lines().any(|line| line == members), "{text}");
    println!("{} KiB", hub.peak_kb());
    assert!(hub.peak_kb() <= RESIDENT_AT_MOST_KB, "{} KiB", hub.peak_kb());
}
