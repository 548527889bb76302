//! Clients that want to hold the hub up.

use std::fs;
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal};

use crate::client::{Client, PATH, metric};
use crate::hub::{self, Hub, dir_lines, line, token, token_line};
use crate::{running, until};

/// What a test machine may add to ten seconds.
const TEN_AND_MORE: std::ops::Range<Duration> = Duration::from_secs(8)..Duration::from_secs(30);

/// Of each request that is served at once with a thousand others, beside its connection.
const SERVED_KB: u64 = 12;

fn head(length: usize) -> String {
    head_of("runner-1", length)
}

fn head_of(runner: &str, length: usize) -> String {
    let token = token(runner);
    format!(
        "POST {PATH} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// The soft limit is often 1,024. Gives the hard one.
fn allow_open_files() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}

/// What the hub may hold in memory with a thousand guests, and with however many connections that say nothing.
const RESIDENT_KB: u64 = 64 * 1024;

/// Of each connection that has spoken: hyper's read buffer, 8 KiB, and the task.
const SPOKEN_KB: u64 = 24;

#[test]
fn an_endless_head_is_refused() {
    let hub = Hub::start(&[]);
    for piece in ["X-Endless: x\r\n", "x"] {
        let mut client = Client::connect(hub.address);
        client.say(b"POST / HTTP/1.1\r\nHost: hub\r\nX-Long: x");
        let mut said = 0;
        while client.say(piece.repeat(1000).as_bytes()) && said < 64 << 20 {
            said += piece.len() * 1000;
        }
        assert!(said < 64 << 20, "it was listened to for {said} bytes");
        // The answer may be lost behind what was not read any more.
        let answer = client.answer();
        assert!(answer.is_none_or(|answer| matches!(answer.status, 400 | 431)));
    }
    assert!(hub.resident_kb() < 64 * 1024);
    assert_eq!(Client::connect(hub.address).post("runner-1", line(1).as_bytes()).status, 204);
}

#[test]
fn a_slow_head_is_cut() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.address);
    // A first request, so that it is an idle connection that turns slow.
    assert_eq!(client.post("runner-1", line(1).as_bytes()).status, 204);
    let began = Instant::now();
    let bytes = head(10).into_bytes();
    for byte in bytes.iter().cycle() {
        if !client.say(&[*byte]) || began.elapsed() > Duration::from_secs(40) {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(TEN_AND_MORE.contains(&began.elapsed()), "{:?}", began.elapsed());
    until("it is counted", || {
        (metric(hub.address, "vitals_hub_connections_cut_total{reason=\"slow\"}") == 1).then_some(())
    });
}

#[test]
fn a_slow_body_is_cut() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.address);
    let began = Instant::now();
    client.say(head(1000).as_bytes());
    client.say(b"RUNNER");
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(TEN_AND_MORE.contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(client.answer().is_none(), "it is closed");
}

#[test]
fn who_says_nothing_is_cut() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.address);
    let began = Instant::now();
    assert!(client.answer().is_none());
    assert!(TEN_AND_MORE.contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[test]
fn a_thousand_idle_connections_cost_little() {
    allow_open_files();
    let hub = Hub::start(&[]);
    assert_eq!(Client::connect(hub.address).post("runner-1", line(1).as_bytes()).status, 204);
    let before = hub.resident_kb();
    let mut spoken: Vec<Client> = (0..1000).map(|_| Client::connect(hub.address)).collect();
    for client in &mut spoken {
        assert_eq!(client.get("/healthz").status, 200);
    }
    let with_spoken = hub.resident_kb().saturating_sub(before);
    let silent: Vec<Client> = (0..1000).map(|_| Client::connect(hub.address)).collect();
    until("all are taken", || (metric(hub.address, "vitals_hub_connections") >= 2001).then_some(()));
    let with_silent = hub.resident_kb().saturating_sub(before);
    assert!(
        with_spoken < 1000 * SPOKEN_KB && with_silent - with_spoken.min(with_silent) < 8 * 1024,
        "{with_spoken} {with_silent} KiB"
    );
    assert!(hub.resident_kb() < RESIDENT_KB, "{} KiB", hub.resident_kb());
    for client in &mut spoken {
        assert_eq!(client.get("/healthz").status, 200, "and they still work");
    }
    drop(silent);
}

#[test]
fn a_thousand_requests_at_once_cost_little() {
    const ROUNDS: u64 = 5;
    allow_open_files();
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    let runner = |i| format!("runner-{i}");
    fs::write(&tokens, (0..1000).map(|i| token_line(&runner(i))).collect::<String>()).unwrap();
    let hub = Hub::start(&["--auth", &format!("tokens={}", tokens.display())]);
    let mut guests: Vec<Client> = (0..1000).map(|_| Client::connect(hub.address)).collect();
    for guest in &mut guests {
        assert_eq!(guest.get("/healthz").status, 200);
    }
    let before = hub.resident_kb();
    for round in 0..ROUNDS {
        // Ten lines of some 600 bytes, in the same read as the head.
        let lines = (0..10).map(|i| line(10 * round + i).replace('\n', &format!(" pad={}\n", "x".repeat(520))));
        let body: String = lines.collect();
        // All of them are there before it sees the first.
        hub.signal(Signal::STOP);
        for (i, guest) in guests.iter_mut().enumerate() {
            assert!(guest.say(format!("{}{body}", head_of(&runner(i), body.len())).as_bytes()));
        }
        hub.signal(Signal::CONT);
        for guest in &mut guests {
            assert_eq!(guest.answer().unwrap().status, 204);
        }
    }
    let grown = hub.resident_kb().saturating_sub(before);
    assert_eq!(hub.lines().len() as u64, ROUNDS * 10 * 1000);
    assert!(grown < 1000 * SERVED_KB, "{grown} KiB");
}

#[test]
fn who_has_said_all_and_closes_that_half_is_answered() {
    let hub = Hub::start(&[]);
    let mut client = Client::connect(hub.address);
    let body = line(1);
    // The end is there before it sees the beginning.
    hub.signal(Signal::STOP);
    assert!(client.say(format!("{}{body}", head(body.len())).as_bytes()));
    client.says_no_more();
    hub.signal(Signal::CONT);
    assert_eq!(client.answer().map(|answer| answer.status), Some(204));
    assert!(client.answer().is_none(), "and then it is closed");
}

/// Ten thousand, or as many as the limit of open files lets beside what other tests have open here; and so many are had by
/// one test at a time, while it holds this.
fn ten_thousand(test: &str) -> (usize, MutexGuard<'static, ()>) {
    const WANTED: u64 = 10_000;
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let room = allow_open_files().saturating_sub(4000);
    if room < WANTED {
        eprintln!("REDUCED: {test}: {room} connections in place of {WANTED}, by the limit of open files");
    }
    (usize::try_from(room.min(WANTED)).unwrap(), alone)
}

#[test]
fn ten_thousand_silent_connections_cost_little() {
    let (count, _alone) = ten_thousand("ten_thousand_silent_connections_cost_little");
    let hub = Hub::start(&[]);
    let gone = || metric(hub.address, "vitals_hub_connections_cut_total{reason=\"silent\"}");
    let mut silent: Vec<TcpStream> = Vec::new();
    let mut most_kb = 0;
    // They are cut after ten seconds: on a machine so slow, as many are there at once as come in that time.
    while silent.len() < count {
        // No more at once than wait to be accepted: one that finds no place there tries again after a second.
        silent.extend((0..500).map(|_| TcpStream::connect(hub.address).unwrap()));
        until("all are taken", || {
            (metric(hub.address, "vitals_hub_connections") + gone() >= silent.len() as u64).then_some(())
        });
        most_kb = most_kb.max(hub.resident_kb());
    }
    assert!(most_kb < RESIDENT_KB, "{most_kb} KiB");
    assert_eq!(Client::connect(hub.address).post("runner-1", line(1).as_bytes()).status, 204);
}

#[test]
fn ten_thousand_idle_connections_cost_what_is_written() {
    let (count, _alone) = ten_thousand("ten_thousand_idle_connections_cost_what_is_written");
    let hub = Hub::start(&[]);
    let before = hub.resident_kb();
    let mut idle: Vec<Client> = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(hub.address);
        assert_eq!(client.get("/healthz").status, 200);
        idle.push(client);
    }
    let grown = hub.resident_kb().saturating_sub(before);
    assert!(grown < count as u64 * SPOKEN_KB, "{grown} KiB for {count}");
    // One that came first may have idled for too long already, on a machine that slow.
    let cut = metric(hub.address, "vitals_hub_connections_cut_total{reason=\"idle\"}");
    assert!(metric(hub.address, "vitals_hub_connections") + cut >= count as u64);
    assert_eq!(idle[count - 1].post("runner-1", line(1).as_bytes()).status, 204, "and they still work");
}

#[test]
fn one_connection_too_many_is_told() {
    let hub = Hub::start(&["--max-connections", "3"]);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(hub.address)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/healthz").status, 200);
    }
    let answer = Client::connect(hub.address).answer().unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    clients.pop();
    until("a free place", || {
        let mut client = Client::connect(hub.address);
        (client.say(b"GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n") && client.answer()?.status == 200).then_some(())
    });
    let cut = clients[0].get("/metrics").body;
    assert!(cut.contains("vitals_hub_connections_cut_total{reason=\"full\"}"), "{cut}");
}

#[test]
fn connections_leave_the_descriptors_that_files_need() {
    let mut limited = running::command("sh");
    limited.args(["-c", "ulimit -Sn 100 && ulimit -Hn 364 && exec \"$@\"", "sh", hub::BINARY]);
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start_as(limited, &["--dir", dir.path().to_str().unwrap()], None);
    assert_eq!(hub.logged("wanted=12000 connections="), "44", "of the hard limit, and it is told");
    let mut clients: Vec<Client> = (0..44).map(|_| Client::connect(hub.address)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/healthz").status, 200);
    }
    let _more: Vec<Client> = (0..300).map(|_| Client::connect(hub.address)).collect();
    until("the others are told", || {
        let metrics = clients[0].get("/metrics").body;
        metrics.contains("vitals_hub_connections_cut_total{reason=\"full\"} 300").then_some(())
    });
    let metrics = clients[0].get("/metrics").body;
    assert!(!metrics.contains("not_accepted"), "{metrics}");
    for runner in 1..=9 {
        let answer = clients[1].post(&format!("runner-{runner}"), line(1).as_bytes());
        assert_eq!(answer.status, 204, "{}", answer.body);
    }
    assert_eq!(dir_lines(dir.path(), "runner-9").len(), 1);
}

#[test]
fn a_hub_that_has_no_descriptors_for_guests_does_not_start() {
    let mut limited = running::command("sh");
    limited.args(["-c", "ulimit -n 200 && exec \"$@\"", "sh", hub::BINARY]);
    let output = limited.args(["serve", "--auth", "none", "--listen", "127.0.0.1:0"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(71) && told.contains("only 200 open files"), "{told}");
}

/// The shortest lines, of whom the most is added to each.
#[test]
fn the_largest_request_has_room_in_the_least_memory() {
    let tokens = tempfile::NamedTempFile::new().unwrap();
    let (name, fleet) = ("n".repeat(253), "f".repeat(128));
    let digest = token_line(&name).split(' ').next().unwrap().to_owned();
    fs::write(tokens.path(), format!("{digest} {name} {fleet}\n")).unwrap();
    let auth = format!("tokens={}", tokens.path().display());
    let hub = Hub::start(&["--auth", &auth, "--max-queue-bytes", "8MiB", "--env", &"e".repeat(64)]);
    let mut body = String::new();
    for seq in 1_u64.. {
        let line = format!("RUNNER_VITALS ts= run=k3x9 seq={seq}\n");
        if body.len() + line.len() > 256 * 1024 {
            break;
        }
        body += &line;
    }
    assert_eq!(Client::connect(hub.address).post(&name, body.as_bytes()).status, 204);
}

#[test]
fn bodies_that_do_not_end_share_a_bounded_memory() {
    let hub = Hub::start(&["--max-queue-bytes", "8MiB"]);
    assert_eq!(Client::connect(hub.address).post("runner-1", line(1).as_bytes()).status, 204);
    let before = hub.resident_kb();
    let mut clients: Vec<Client> = (0..100).map(|_| Client::connect(hub.address)).collect();
    for client in &mut clients {
        client.say(head(200_000).as_bytes());
        client.say(&vec![b'x'; 190_000]);
    }
    assert_eq!(Client::connect(hub.address).post("runner-2", line(1).as_bytes()).status, 204, "others are served");
    let busy = clients.iter_mut().filter_map(Client::answer).filter(|answer| answer.status == 429).count();
    assert!(busy >= 50, "{busy} were told to come again");
    let grown = hub.resident_kb().saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB");
    assert_eq!(Client::connect(hub.address).post("runner-1", line(2).as_bytes()).status, 204);
}
