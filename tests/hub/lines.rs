//! What comes in and what comes of it.

use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use runner_vitals::line::{Line, MAX_LINE_BYTES};

use crate::client::{Client, metric};
use crate::hub::{Hub, line, seqs, token};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn headers(runner: &str, more: &str) -> String {
    format!("Authorization: Bearer {}\r\nContent-Type: text/plain\r\n{more}", token(runner))
}

#[test]
fn the_token_says_who_it_is_and_never_the_body() {
    let hub = Hub::start(&["--env", "prod"]);
    let mut client = Client::connect(hub.address);
    let forged = "RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=k3x9 seq=1 runner.name=runner-2 runner_name=\"runner-2\" runner_fleet=x recv=never runner.env=y a=1\n";
    assert_eq!(client.post("runner-1", forged.as_bytes()).status, 204);
    let lines = hub.lines();
    let decoded = Line::decode(&lines[0]).unwrap();
    let pairs: Vec<&str> = decoded.pairs().map(|(key, _)| key).collect();
    assert_eq!(pairs, ["recv", "runner.name", "runner.fleet", "runner.env", "a"]);
    assert!(lines[0].contains(" runner.name=runner-1 runner.fleet=linux runner.env=prod a=1"), "{}", lines[0]);
}

#[test]
fn repeats_are_acknowledged_and_not_written() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.address);
    assert_eq!(client.post("runner-1", (line(1) + &line(2)).as_bytes()).status, 204);
    assert_eq!(client.post("runner-1", (line(2) + &line(3) + &line(3)).as_bytes()).status, 204);
    assert_eq!(client.post("runner-2", line(2).as_bytes()).status, 204);
    assert_eq!(client.post("runner-1", line(2).replace("VITALS", "LOG").as_bytes()).status, 204);
    assert_eq!(seqs(&hub.lines()), [1, 2, 3, 2, 2]);
    assert_eq!(metric(hub.address, "vitals_hub_lines_total{result=\"repeat\"}"), 2);
}

#[test]
fn the_same_lines_at_once_are_written_once() {
    let hub = Arc::new(Hub::start(&[]));
    let body: String = (1..=50).map(line).collect();
    let senders = (0..8).map(|_| {
        let (hub, body) = (Arc::clone(&hub), body.clone());
        std::thread::spawn(move || Client::connect(hub.address).post("runner-1", body.as_bytes()).status)
    });
    let senders: Vec<_> = senders.collect();
    for sender in senders {
        assert_eq!(sender.join().unwrap(), 204);
    }
    assert_eq!(seqs(&hub.lines()), (1..=50).collect::<Vec<u64>>());
}

#[test]
fn broken_lines_are_named_and_the_good_ones_are_out() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.address);
    let long = format!("RUNNER_VITALS ts= run=k3x9 seq=3 msg={}\n", "x".repeat(MAX_LINE_BYTES));
    let body = format!("{}nonsense\n{long}RUNNER_VITALS ts= run=k3x9 seq=4 a\n{}", line(1), line(2));
    let answer = client.post("runner-1", body.as_bytes());
    assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/json")));
    let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(told["taken"], 2);
    let bad: Vec<u64> = told["bad"].as_array().unwrap().iter().map(|bad| bad["line"].as_u64().unwrap()).collect();
    assert_eq!(bad, [2, 3, 4]);
    assert!(!answer.body.contains("nonsense"), "what a guest says is not said back");
    assert_eq!(seqs(&hub.lines()), [1, 2]);
    assert_eq!(client.post("runner-1", b"").status, 204);
}

#[test]
fn a_line_that_fills_its_4096_bytes_is_out_within_them() {
    let hub = Hub::start(&["--env", "prod"]);
    let head = "RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=k3x9 seq=1 load1=0.30 msg=\"";
    let full = format!("{head}{}\" pid=7\n", "é".repeat((MAX_LINE_BYTES - head.len() - "\" pid=7\n".len()) / 2));
    assert_eq!(Client::connect(hub.address).post("runner-1", full.as_bytes()).status, 204);
    let lines = hub.lines();
    assert!(lines[0].len() < MAX_LINE_BYTES && lines[0].ends_with("é…\" pid=7"), "{}", lines[0]);
    Line::decode(&lines[0]).unwrap();
}

#[test]
fn each_refusal_has_its_status() {
    let hub = Hub::start(&[]);
    let body = line(1);
    let post = |headers: &str, body: &[u8]| Client::connect(hub.address).post_with(headers, body);
    let text = "Content-Type: text/plain\r\n";
    for (headers, status) in [
        (text.to_owned(), 401),
        (format!("{text}Authorization: Bearer nobody\r\n"), 401),
        (format!("{text}Authorization: Basic {}\r\n", token("runner-1")), 401),
        (format!("Authorization: Bearer {}\r\n", token("runner-1")), 415),
        (format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", token("runner-1")), 415),
        (headers("runner-1", "Content-Encoding: br\r\n"), 415),
        (headers("runner-1", "Content-Encoding: gzip\r\n"), 400),
        (headers("runner-1", ""), 204),
    ] {
        assert_eq!(post(&headers, body.as_bytes()).status, status, "{headers}");
    }
    assert_eq!(post(&headers("runner-1", ""), &vec![b'x'; 256 * 1024 + 1]).status, 413);
    assert_eq!(post(&headers("runner-1", "Content-Encoding: gzip\r\n"), &gzip(body.as_bytes())).status, 204);
    assert_eq!(Client::connect(hub.address).get(crate::client::PATH).status, 405);
    assert_eq!(Client::connect(hub.address).get("/").status, 404);
    for why in ["no_token", "unknown_token"] {
        hub.logged(&format!("from=127.0.0.1 status=401 why={why} "));
    }
    for (status, why) in [
        (415, "Content-Type is to be text/plain in UTF-8"),
        (415, "Content-Encoding is to be gzip or none"),
        (400, "it is not gzip"),
        (413, "more than 256 KiB: send it in halves"),
    ] {
        let told = format!("message=\"a request is not taken\" from=127.0.0.1 status={status} why=\"{why}\" runner=");
        assert_eq!(hub.logged(&told), "runner-1");
    }
    let log = hub.log.lock().unwrap().join("\n");
    assert!(!log.contains("token-of"), "no token in the log: {log}");
    assert_eq!(metric(hub.address, "vitals_hub_auth_total{result=\"unknown_token\"}"), 1);
}

#[test]
fn a_bomb_costs_little() {
    let hub = Hub::start(&[]);
    let bomb = gzip(&vec![b'\n'; 200 * 1024 * 1024]);
    assert!(bomb.len() < 256 * 1024);
    let mut client = Client::connect(hub.address);
    let head = headers("runner-1", "Content-Encoding: gzip\r\n");
    assert_eq!(client.post_with(&head, &gzip(line(1).as_bytes())).status, 204);
    let before = hub.peak_kb();
    for _ in 0..20 {
        assert_eq!(Client::connect(hub.address).post_with(&head, &bomb).status, 413);
    }
    let grown = hub.peak_kb().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

#[test]
fn who_sends_too_much_is_told_when_to_come_again() {
    let hub = Hub::start(&["--runner-rate", "1", "--runner-burst", "8192"]);
    let body = |from: u64| {
        (from..from + 3000).map(|seq| format!("RUNNER_VITALS ts= run=k3x9 seq={seq}\n")).collect::<String>()
    };
    let mut client = Client::connect(hub.address);
    assert_eq!(client.post("runner-1", body(0).as_bytes()).status, 204);
    assert_eq!(client.post("runner-1", body(3000).as_bytes()).status, 204);
    let answer = client.post("runner-1", body(6000).as_bytes());
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 600);
    assert_eq!(client.post("runner-2", body(0).as_bytes()).status, 204);
    assert_eq!(hub.lines().len(), 9000);
    assert_eq!(hub.logged("status=429 why=\"this runner sends too much\" runner="), "runner-1");
}
