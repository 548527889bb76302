//! Endpoints that do everything wrong: none of them delays a sample or a line on stdout.
//!
//! The machine is shared and stalls now and then, so a run is judged by the middle of its samples, against a run of the
//! same moment that has stdout alone.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use runner_vitals::line::field;
use rustix::process::Signal;

use crate::probe::{Arrived, PATIENCE, Probe, command};
use crate::server::{Reply, Server, listen};

/// What an endpoint may add to a sample, or to a line's way to stdout.
const DELAY_MS: f64 = 10.0;

/// Samples of a run.
const SAMPLES: usize = 6;

/// How late the latest sample of a run was, and how long the slowest line took to arrive, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Delays {
    late_ms: f64,
    way_ms: f64,
}

fn worst(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

fn delays(samples: &[Arrived], began: (std::time::Instant, SystemTime)) -> Delays {
    let late =
        samples.iter().map(|sample| f64::from(i32::try_from(sample.scaled(field::LATE).unwrap()).unwrap()) / 10.0);
    // From the line's own time to its arrival, both by the clock of the day.
    let way = samples.iter().map(|sample| {
        let arrived = began.1 + (sample.at - began.0);
        arrived.duration_since(sample.line().ts.unwrap()).unwrap_or_default().as_secs_f64() * 1000.0
    });
    Delays { late_ms: worst(late), way_ms: worst(way) }
}

/// A run with this sink beside stdout, or with stdout alone.
fn run(url: Option<&str>) -> Delays {
    let began = (std::time::Instant::now(), SystemTime::now());
    let mut command = command(&["--interval", "1", "--sink", "stdout"]);
    let probe = Probe::spawn(command.args(url.map(|url| ["--sink", url]).into_iter().flatten()));
    let samples: Vec<Arrived> = (0..SAMPLES).map(|_| probe.next_of(None)).collect();
    probe.signal(Signal::KILL);
    delays(&samples, began)
}

/// A run of each side by side; on a machine that stalls one of them just then, once more. A sink that stalls a sample of a run
/// does so in each.
#[track_caller]
fn assert_no_delay(url: &str) {
    let mut seen = Vec::new();
    for _ in 0..5 {
        let (with, without) = std::thread::scope(|scope| {
            let without = scope.spawn(|| run(None));
            (run(Some(url)), without.join().unwrap())
        });
        seen.push((with, without));
        if with.late_ms - without.late_ms < DELAY_MS && with.way_ms - without.way_ms < DELAY_MS {
            return;
        }
    }
    panic!("{url}: {seen:#?}");
}

/// An endpoint that does this with a connection, once the request has begun to come.
fn endpoint(behave: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> String {
    let (address, _) = listen(move |mut stream| {
        let _ = stream.read(&mut [0; 512]).and_then(|_| behave(&mut stream));
    });
    format!("http://{address}/vitals")
}

/// Writes this again and again until nobody takes it any more.
fn endless(stream: &mut TcpStream, head: &str, piece: &[u8]) -> std::io::Result<()> {
    stream.write_all(head.as_bytes())?;
    loop {
        stream.write_all(piece)?;
    }
}

#[test]
fn a_port_where_nobody_listens() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_no_delay(&format!("http://{address}"));
}

#[test]
fn a_black_hole_that_takes_everything_and_says_nothing() {
    assert_no_delay(&endpoint(|stream| std::io::copy(stream, &mut std::io::sink()).map(drop)));
}

/// The connection stands, nothing is read: what is sent fills the kernel's buffers.
#[test]
fn a_half_open_connection() {
    let (address, _) = listen(|stream| {
        std::thread::sleep(PATIENCE);
        drop(stream);
    });
    assert_no_delay(&format!("http://{address}"));
}

/// A queue of connections that is full: not even the first packet is answered.
#[test]
fn an_address_that_answers_nothing() {
    // TEST-NET-1, RFC 5737: nobody has it.
    assert_no_delay("http://192.0.2.1/vitals");
}

#[test]
fn a_slow_drip() {
    assert_no_delay(&endpoint(|stream| {
        for byte in b"HTTP/1.1 204 No Content\r\n".iter().cycle() {
            stream.write_all(&[*byte])?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }));
}

#[test]
fn a_reset_in_the_middle() {
    // There is something unread in it when it is closed: that is a reset.
    assert_no_delay(&endpoint(|stream| stream.write_all(b"HTTP/1.1 204 No")));
}

#[test]
fn a_redirect_to_itself() {
    let location = Arc::new(OnceLock::<String>::new());
    let own = Arc::clone(&location);
    let server = Server::start(move |_, _| Reply::of(301).with("location", own.get().unwrap()));
    location.set(server.url()).unwrap();
    assert_no_delay(&server.url());
}

#[test]
fn garbage() {
    assert_no_delay(&endpoint(|stream| endless(stream, "", &[0xff, 0x00, b'\n', b'x'])));
}

#[test]
fn a_head_without_an_end() {
    let piece = b"x-header: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(100);
    assert_no_delay(&endpoint(move |stream| endless(stream, "HTTP/1.1 204 No Content\r\n", &piece)));
}

#[test]
fn a_body_without_an_end() {
    let head = "HTTP/1.1 400 Bad Request\r\ncontent-length: 999999999999\r\n\r\n";
    assert_no_delay(&endpoint(move |stream| endless(stream, head, &[b'['; 64 * 1024])));
}

#[test]
fn chunks_without_an_end() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_no_delay(&endpoint(move |stream| endless(stream, head, b"1\r\nx\r\n")));
}

#[test]
fn a_handshake_that_never_ends() {
    let url = endpoint(|stream| std::io::copy(stream, &mut std::io::sink()).map(drop));
    assert_no_delay(&url.replace("http://", "https://"));
}

#[test]
fn a_name_that_nobody_knows() {
    // RFC 6761, 6.4.
    assert_no_delay("http://vitals.invalid/");
}

/// What waits is bounded, the oldest give way, and each line that is missing is counted.
#[test]
fn what_is_lost_in_a_long_outage_is_counted() {
    let is_up = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_up);
    let server = Server::start(move |_, _| Reply::of(if seen.load(Ordering::SeqCst) { 204 } else { 503 }));
    let shared = overflowed(&server.url());
    is_up.store(true, Ordering::SeqCst);
    let (mut handover, dropped) = shared;
    handover.end(Duration::from_secs(2));
    handover.wait_until(std::time::Instant::now() + PATIENCE);
    // The first of it were tried in vain before.
    let requests = server.rest(Duration::from_millis(500));
    let mut seqs: Vec<u64> = requests.iter().flat_map(|request| numbers(&request.text())).collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert!(dropped > 0 && seqs.contains(&LINES), "{dropped}");
    assert_eq!(seqs.len() as u64 + dropped, LINES, "each is there or counted");
}

const LINES: u64 = 4000;

fn numbers(text: &str) -> Vec<u64> {
    text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// A network thread that was given far more than it may keep.
fn overflowed(url: &str) -> (runner_vitals::probe::sink::handover::Handover, u64) {
    use runner_vitals::line::RunId;
    use runner_vitals::probe::config::{Args, Config, Protocol};
    use runner_vitals::probe::sink::network;

    let get = |name: &str| (name == "RUNNER_VITALS_SINK").then(|| url.into());
    let config = Config::new(Args::default(), get);
    let stdout = tempfile::tempfile().unwrap().into();
    let (handover, _) = network::of(&config, RunId::from_random(1), &stdout, None, None);
    let mut handover = handover.unwrap();
    for number in 1..=LINES {
        handover.send(Duration::ZERO, format!("{number} {}\n", "x".repeat(200)).as_bytes());
    }
    let dropped = handover.dropped(Protocol::Http);
    (handover, dropped)
}
