//! What is done about each answer: tried again with the same bytes, cut in halves, counted.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runner_vitals::line::field;
use rustix::process::Signal;

use crate::probe::{PATIENCE, Probe, command};
use crate::server::{Reply, Request, Server, seq_of};

/// Lines that come before a sink is up are sent together.
const FAST: [&str; 4] = ["--interval", "1", "--sink", "stdout"];

fn start(server: &Server) -> Probe {
    Probe::start(&[&FAST[..], &["--sink", &server.url()]].concat())
}

/// Ends the probe and gives its lines.
fn end(probe: Probe) -> Vec<crate::probe::Arrived> {
    probe.signal(Signal::TERM);
    probe.finish().0
}

/// Waits until `is_enough` of what has come.
fn until(server: &Server, mut is_enough: impl FnMut(&[Request]) -> bool) -> Vec<Request> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    while !is_enough(&all) {
        assert!(Instant::now() < deadline, "{} requests: {all:#?}", all.len());
        all.push(server.next());
    }
    all
}

#[test]
fn trouble_is_tried_again_with_the_same_bytes_and_told() {
    for status in [500, 503, 408, 429, 302, 200] {
        let server = Server::start(move |_, before| Reply::of(if before < 2 { status } else { 204 }));
        let probe = start(&server);
        let all = until(&server, |all| all.len() >= 5);
        assert!(all[0].body == all[1].body && all[1].body == all[2].body, "{status}");
        let seqs: Vec<u64> = all[2..].iter().flat_map(Request::seqs).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "{status}: nothing is lost");
        let lines = end(probe);
        let told: Vec<String> = lines.iter().filter_map(|line| line.text_of(field::ERROR)).collect();
        assert!(told.is_empty() || told[0].contains(&status.to_string()), "{status}: {told:?}");
        assert_eq!(lines.last().unwrap().scaled(field::SINK_HTTP_DROPPED), None, "{status}");
    }
}

#[test]
fn a_server_is_left_alone_for_as_long_as_it_asks() {
    let busy = |_: &Request, before| match before {
        0 => Reply::of(429).with("retry-after", "2"),
        _ => Reply::of(204),
    };
    let server = Server::start(busy);
    let probe = start(&server);
    let all = until(&server, |all| all.len() >= 2);
    assert!(all[1].at - all[0].at >= Duration::from_millis(1990), "{:?}", all[1].at - all[0].at);
    assert_eq!(all[0].body, all[1].body);
    end(probe);
}

#[test]
fn what_is_refused_for_good_is_counted_and_not_sent_again() {
    for status in [403, 404, 415, 422] {
        let server = Server::start(move |_, before| Reply::of(if before == 0 { status } else { 204 }));
        let probe = start(&server);
        let all = until(&server, |all| all.len() >= 3);
        let refused = all[0].seqs();
        let seqs: BTreeSet<u64> = all[1..].iter().flat_map(Request::seqs).collect();
        assert!(refused.iter().all(|seq| !seqs.contains(seq)), "{status}: {refused:?} {seqs:?}");
        let lines = end(probe);
        let dropped = lines.last().unwrap().scaled(field::SINK_HTTP_DROPPED);
        assert_eq!(dropped, Some(refused.len().try_into().unwrap()), "{status}");
    }
}

/// The server keeps the probe waiting until lines have come together, then says what it thinks of them.
fn crowd(replies: impl Fn(&Request) -> Reply + Send + 'static) -> Server {
    Server::start(move |request, before| match before {
        0 => {
            std::thread::sleep(Duration::from_millis(2500));
            Reply::of(204)
        }
        _ => replies(request),
    })
}

#[test]
fn of_a_partly_bad_body_only_the_bad_are_counted() {
    let was_bad = Cell::new(false);
    let server = crowd(move |request| match request.lines().len() {
        // On a busy machine there are more of them, and more than once.
        lines @ 3.. if !was_bad.replace(true) => {
            let bad = r#"[{"line":1,"error":"x"},{"line":2,"error":"y"}]"#;
            Reply::of(400).body(&format!(r#"{{"taken":{},"bad":{bad}}}"#, lines - 2))
        }
        _ => Reply::of(204),
    });
    let probe = start(&server);
    let all = until(&server, |all| all.last().is_some_and(|request| request.lines().len() >= 3));
    let last = *all.last().unwrap().seqs().last().unwrap();
    let more = until(&server, |more| more.len() >= 2);
    assert!(more.iter().flat_map(Request::seqs).all(|seq| seq > last), "none is sent again");
    assert_eq!(end(probe).last().unwrap().scaled(field::SINK_HTTP_DROPPED), Some(2));
}

#[test]
fn what_is_too_large_comes_in_halves() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&taken);
    let server = crowd(move |request| match request.lines().len() {
        2.. => Reply::of(413),
        _ if request.seqs() == [4] => Reply::of(413),
        _ => {
            kept.lock().unwrap().extend(request.seqs());
            Reply::of(204)
        }
    });
    let probe = start(&server);
    let all =
        until(&server, |all| all.iter().any(|request| request.lines().len() >= 3) && taken.lock().unwrap().len() >= 4);
    let lines = end(probe);
    let mut seqs = taken.lock().unwrap().clone();
    let dropped = lines.last().unwrap().scaled(field::SINK_HTTP_DROPPED).unwrap_or(0);
    let first = seqs[0];
    assert!(seqs.is_sorted(), "{seqs:?}");
    seqs.retain(|seq| *seq > 4);
    assert_eq!(seqs, (5..5 + seqs.len() as u64).collect::<Vec<_>>(), "from {first} on");
    // Unless it came before anything was too large.
    let is_given_up = !all[0].seqs().contains(&4);
    assert_eq!(dropped, i64::from(is_given_up), "a line alone that is too large is given up");
}

#[test]
fn a_server_to_which_every_line_is_too_large_is_told_of() {
    let server = crowd(|_| Reply::of(413));
    let probe = start(&server);
    let is_alone = |request: &Request| request.lines().len() == 1;
    until(&server, |all| all.iter().filter(|request| is_alone(request)).count() >= 4);
    let told = probe.next_of(Some("degraded"));
    assert_eq!(told.text_of(field::ERROR).as_deref(), Some("broken: every line is too large, status 413"));
    let dropped = end(probe).last().unwrap().scaled(field::SINK_HTTP_DROPPED);
    // The fourth may still be on its way.
    assert!(dropped.is_some_and(|dropped| dropped >= 3), "{dropped:?}");
}

#[test]
fn the_token_is_read_anew_and_once_more_when_it_is_not_taken() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first\n").unwrap();
    let path = file.path().to_owned();
    // It expires between two requests.
    let server = Server::start(move |request, before| match (before, request.header("authorization")) {
        (0, Some("Bearer first")) => Reply::of(204),
        (1, Some("Bearer first")) => {
            std::fs::write(&path, "second").unwrap();
            Reply::of(401)
        }
        (_, Some("Bearer second")) => Reply::of(204),
        other => panic!("{other:?}"),
    });
    let token = file.path().to_str().unwrap();
    let probe = Probe::start(&[&FAST[..], &["--sink", &server.url(), "--token-file", token]].concat());
    let all = until(&server, |all| all.len() >= 4);
    assert_eq!(all[1].body, all[2].body);
    assert!(all[2].at - all[1].at < Duration::from_millis(400), "at once: {:?}", all[2].at - all[1].at);
    assert!(end(probe).iter().all(|line| !line.text.contains("first") && !line.text.contains("second")));
}

#[test]
fn a_token_that_is_never_taken_is_told_without_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2").unwrap();
    let server = Server::start(|_, _| Reply::of(401));
    let token = file.path().to_str().unwrap();
    let probe = Probe::start(&[&FAST[..], &["--sink", &server.url(), "--token-file", token]].concat());
    let told = probe.next_of(Some("degraded"));
    assert_eq!(told.text_of(field::ERROR).as_deref(), Some("denied: status 401"));
    assert!(end(probe).iter().all(|line| !line.text.contains("hunter2")));
}

#[test]
fn a_token_that_is_missing_is_told_once_and_lines_go_without() {
    let server = Server::start(|_, _| Reply::of(204));
    let probe = Probe::start(&[&FAST[..], &["--sink", &server.url(), "--token-file", "/no/such/token"]].concat());
    let all = until(&server, |all| all.len() >= 5);
    assert!(all.iter().all(|request| request.header("authorization").is_none()));
    let told: Vec<_> = end(probe).into_iter().filter(|line| line.text.contains("what=token")).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].text_of(field::ERROR).as_deref(), Some("absent: no such file"));
}

#[test]
fn a_sink_that_fails_and_comes_back_is_told_twice() {
    let server = Server::start(|_, before| Reply::of(if before < 3 { 503 } else { 204 }));
    let probe = start(&server);
    let told = [(); 2].map(|()| probe.next_of(Some("degraded")));
    let told = told.each_ref().map(|line| (line.text_of(field::WHAT).unwrap(), line.text_of(field::ERROR).unwrap()));
    assert_eq!(told[0], ("sink.http".to_owned(), "broken: status 503".to_owned()));
    assert_eq!(told[1], ("sink.http".to_owned(), "ok".to_owned()));
    end(probe);
}

/// Both sinks get all lines, and the dead one holds up nothing.
#[test]
fn a_dead_sink_holds_up_no_other() {
    let (dead, alive) = (Server::start(|_, _| Reply::of(503)), Server::start(|_, _| Reply::of(204)));
    let flags = ["--interval", "1", "--samples", "3", "--sink", &dead.url(), "--sink", &alive.url()];
    let status = command(&flags).status().unwrap();
    assert!(status.success());
    let lines: Vec<String> = alive.rest(Duration::from_millis(500)).iter().flat_map(Request::lines).collect();
    assert_eq!(lines.iter().map(|line| seq_of(line)).collect::<Vec<_>>(), (1..=lines.len() as u64).collect::<Vec<_>>());
    assert!(lines.last().unwrap().contains(" event=stop "));
}
