//! A real Loki, which LOKI_URL names (`http://127.0.0.1:3100`): lines come to it by both ways and are found again, and it answers what
//! boards and rules ask. The stand-ins of other tests say what Loki does; this says whether it still does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(all(feature = "hub", target_os = "linux"))]

#[path = "support/hub.rs"]
mod hub;
#[path = "support/skip.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod skip;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use hub::Running;
use serde_json::Value;

const HUB: &str = env!("CARGO_BIN_EXE_vitals-hub");

/// Longer than a push, its storing and a look take, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Loki, and an environment in it that nobody else writes to.
struct Loki {
    url: String,
    env: String,
}

impl Loki {
    /// None is no failure here: the job of CI that has one says so by the variable.
    fn named(test: &str) -> Option<Self> {
        let Ok(url) = std::env::var("LOKI_URL") else {
            skip::skipped_also_in_ci(test, "LOKI_URL names no Loki");
            return None;
        };
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Some(Self { url: url.trim_end_matches('/').to_owned(), env: format!("{test}-{}", since.as_nanos()) })
    }

    /// Whose lines both ways tell: those of the environment.
    fn query(&self) -> String {
        format!(r#"{{job="runner-vitals", env="{}"}}"#, self.env)
    }

    /// The status and what it says.
    fn get(&self, path: &str, parameters: &[(&str, &str)]) -> (String, String) {
        let host = self.url.strip_prefix("http://").expect("http");
        let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let parameters: Vec<String> =
            parameters.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let path = format!("/loki/api/v1/{path}?{}", parameters.join("&"));
        // HTTP/1.0, so that the answer ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    }

    /// The results of a query over the last hour.
    fn ask(&self, query: &str) -> Result<Vec<Value>, String> {
        let (status, body) =
            self.get("query_range", &[("query", query), ("since", "1h"), ("step", "60"), ("limit", "1000")]);
        if status != "200" {
            return Err(format!("{status} {body}"));
        }
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        Ok(serde_json::from_value(answer["data"]["result"].take()).unwrap())
    }

    /// The lines that are there, each with the runner of its metadata, once there are so many.
    fn lines(&self, at_least: usize) -> Vec<(String, String)> {
        let until = Instant::now() + PATIENCE;
        loop {
            let results = self.ask(&self.query()).unwrap();
            let lines = results.iter().flat_map(|stream| {
                let lines = stream["values"].as_array().unwrap().iter();
                lines.map(|value| (text(&stream["stream"]["runner"]), text(&value[1])))
            });
            let lines: Vec<(String, String)> = lines.collect();
            if lines.len() >= at_least {
                return lines;
            }
            assert!(Instant::now() < until, "{at_least} lines do not come: {lines:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The labels of the streams of the environment.
    fn streams(&self) -> Vec<BTreeMap<String, String>> {
        let (status, body) = self.get("series", &[("match[]", &self.query()), ("since", "1h")]);
        assert_eq!(status, "200", "{body}");
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        serde_json::from_value(answer["data"].take()).unwrap()
    }

    fn hub(&self, flags: &[&str]) -> Running {
        let mut command = hub::command(HUB);
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(flags).stdout(Stdio::null());
        Running::start(command)
    }

    /// A probe that takes two samples and tells them to Loki itself.
    fn probe(&self, runner: &str) {
        let sink = format!("loki+{}", self.url);
        probe(&["--sink", &sink, "--runner", runner, "--fleet", "linux", "--env", &self.env]);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn probe(flags: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner-vitals"));
    command.args(["--interval", "1", "--samples", "2"]).args(flags).stdin(Stdio::null());
    #[allow(clippy::disallowed_methods, reason = "to clear the settings of whoever runs the tests")]
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().contains("RUNNER")) {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

fn vitals_hub(args: &[&str], stdin: &str) -> String {
    let mut child = hub::command(HUB).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn both_ways_come_to_the_same_stream() {
    let Some(loki) = Loki::named("both-ways") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let token = "0123456789abcdef0123456789abcdef";
    fs::write(path("token"), token).unwrap();
    let by_hub = format!("{}.by-hub", loki.env);
    fs::write(path("tokens"), format!("{} {by_hub} linux\n", vitals_hub(&["hash-token"], token).trim())).unwrap();
    let auth = format!("tokens={}", path("tokens"));
    let hub = loki.hub(&["--auth", &auth, "--env", &loki.env, "--loki", &loki.url, "--loki-label", "os=linux"]);
    let direct = format!("{}.direct", loki.env);
    loki.probe(&direct);
    let sink = format!("http://{}/api/internal/runners/vitals", hub.address);
    probe(&["--sink", &sink, "--token-file", &path("token")]);

    // A start, two samples and a stop of each; what else there was to tell of this machine may be between them.
    let lines = loki.lines(8);
    let runners: BTreeSet<&str> = lines.iter().map(|(runner, _)| runner.as_str()).collect();
    assert_eq!(runners, BTreeSet::from([by_hub.as_str(), &direct]));
    let streams = loki.streams();
    assert_eq!(streams.len(), 1, "{streams:#?}");
    for (label, value) in [("job", "runner-vitals"), ("env", loki.env.as_str()), ("fleet", "linux"), ("os", "linux")] {
        assert_eq!(streams[0][label], value);
    }
    let told = vitals_hub(&["diagnose", "--loki", &loki.url, "--query", &loki.query(), "--all"], "");
    for runner in [&by_hub, &direct] {
        let row = told.lines().find(|line| line.contains(&format!(" {runner} "))).unwrap_or_else(|| panic!("{told}"));
        assert!(row.contains(" stopped "), "{row}");
        let told = vitals_hub(&["diagnose", "--loki", &loki.url, "--runner", runner], "");
        assert!(told.starts_with(&format!("{runner}: stopped ")), "{told}");
    }
    let told = vitals_hub(&["fleet", "--loki", &loki.url, "--since", "1h"], "");
    assert!(told.contains(&format!("{} linux: 2 runners", loki.env)), "{told}");
}

/// Loki refuses what is ten minutes ahead, or an hour behind the newest of its stream.
#[test]
fn a_guests_wrong_clock_does_not_cost_its_lines() {
    let Some(loki) = Loki::named("wrong-clock") else { return };
    let hub = loki.hub(&["--auth", "none", "--env", &loki.env, "--loki", &loki.url]);
    let now = SystemTime::now();
    let hours = |count: u64| Duration::from_secs(count * 3600);
    let body: String = [Some(now), Some(now + hours(30)), Some(now - hours(24 * 40)), None, Some(now - hours(3))]
        .into_iter()
        .zip(1..)
        .map(|(at, seq)| {
            let ts = at.map_or_else(String::new, |at| humantime::format_rfc3339_millis(at).to_string());
            format!("RUNNER_VITALS ts={ts} run=k3x8 seq={seq} load1=0.10\n")
        })
        .collect();
    let mut stream = TcpStream::connect(hub.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "POST /api/internal/runners/vitals HTTP/1.0\r\nHost: hub\r\nContent-Type: text/plain\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 204 "), "{answer}");
    let lines = loki.lines(5);
    for seq in 1..=5 {
        assert!(lines.iter().any(|(_, line)| line.contains(&format!(" seq={seq} "))), "{seq}: {lines:#?}");
    }
}

#[test]
fn a_hub_finds_runners_by_their_lines_in_loki() {
    let Some(loki) = Loki::named("tail") else { return };
    let flags = ["--auth", "none", "--tail-loki", &loki.url, "--tail-query", &loki.query()];
    let hub = loki.hub(&flags);
    loki.probe("tailed");
    let until = Instant::now() + PATIENCE;
    let row = format!(r#"vitals_hub_fleet_members{{env="{}",fleet="linux",state="#, loki.env);
    loop {
        let mut stream = TcpStream::connect(hub.address).unwrap();
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: hub\r\n\r\n").unwrap();
        let mut metrics = String::new();
        stream.read_to_string(&mut metrics).unwrap();
        if metrics.lines().any(|line| line.starts_with(&row) && line.ends_with(" 1.0")) {
            return;
        }
        assert!(Instant::now() < until, "no runner in {metrics}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Each query below an object or a list: of a panel, an annotation, a variable, a rule.
fn queries(value: &Value, into: &mut Vec<String>) {
    let is_lokis = value["datasource"]["type"].as_str().is_none_or(|kind| kind == "loki");
    let of = [&value["expr"], &value["query"]["stream"]].into_iter().filter(|_| value.is_object() && is_lokis);
    into.extend(of.filter_map(Value::as_str).filter(|query| !query.is_empty()).map(str::to_owned));
    let below: Vec<&Value> = match value {
        Value::Object(map) => map.values().collect(),
        Value::Array(list) => list.iter().collect(),
        _ => Vec::new(),
    };
    below.into_iter().for_each(|value| queries(value, into));
}

/// In place of Grafana's variables.
fn filled(query: &str, env: &str) -> String {
    let times = ["$__auto", "$__range", "$__interval"];
    let query = times.iter().fold(query.to_owned(), |query, time| query.replace(time, "5m"));
    query.replace("$env", env).replace("$fleet", "linux").replace("$runner", "asked")
}

#[test]
fn what_boards_and_rules_ask_is_answered() {
    let Some(loki) = Loki::named("boards") else { return };
    loki.probe("asked");
    loki.lines(4);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut asked = 0;
    for (folder, end) in [("grafana", ".json"), ("loki/rules", ".yaml")] {
        let files = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|file| file.to_str().unwrap().ends_with(end)) {
            let mut found = Vec::new();
            queries(&serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap(), &mut found);
            assert!(!found.is_empty(), "{}: no query", file.display());
            for query in &found {
                let query = filled(query, &loki.env);
                assert!(!query.contains('$'), "a variable that is not known: {query}");
                loki.ask(&query).unwrap_or_else(|error| panic!("{}: {query}: {error}", file.display()));
            }
            asked += found.len();
        }
    }
    // A reading of the last lines, as the board of a runner takes it.
    let load = format!(
        r#"max_over_time({} | runner="asked" | logfmt | event="" | unwrap load1 [5m]) by (runner)"#,
        loki.query()
    );
    assert_eq!(loki.ask(&load).unwrap().len(), 1);
    println!("{asked} queries are answered");
}
