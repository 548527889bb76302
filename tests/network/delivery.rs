//! What arrives: every line, in order, once, through one connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use runner_vitals::line::field;

use crate::probe::{Probe, command};
use crate::server::{Reply, Request, Server, seq_of};

#[test]
fn every_line_arrives_in_order_through_one_connection() {
    let server = Server::start(|_, _| Reply::of(204));
    let url = server.url();
    let flags = ["--interval", "1", "--samples", "4", "--sink", "stdout", "--sink", &url];
    let (lines, status) = Probe::start(&flags).finish();
    assert!(status.success());
    let requests = server.rest(Duration::from_millis(500));
    let arrived: Vec<String> = requests.iter().flat_map(Request::lines).collect();
    assert_eq!(arrived, lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>(), "as on stdout");
    assert_eq!(
        arrived.iter().map(|line| seq_of(line)).collect::<Vec<_>>(),
        (1..=arrived.len() as u64).collect::<Vec<_>>()
    );
    assert!(requests.len() >= 4, "a line is sent when it is there: {} requests", requests.len());
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "it is kept alive");
    for request in &requests {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/api/internal/runners/vitals"));
        assert_eq!(request.header("host"), Some(server.address.to_string().as_str()));
        assert_eq!(request.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(request.header("content-encoding").is_some(), request.text().len() > 1024);
        assert!(request.header("authorization").is_none() && request.header("user-agent").is_some());
    }
}

#[test]
fn without_stdout_nothing_is_written_there_and_nobody_is_needed_there() {
    let server = Server::start(|_, _| Reply::of(204));
    let mut child = command(&["--interval", "1", "--samples", "2", "--sink", &server.url()]).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    let lines: Vec<String> = server.rest(Duration::from_millis(500)).iter().flat_map(Request::lines).collect();
    assert!(lines.last().unwrap().contains(" event=stop reason=samples"), "{lines:#?}");
    let (lines, _) = Probe::start(&["--once", "--sink", &server.url()]).finish();
    assert!(lines.is_empty());
}

#[test]
fn a_stdout_that_nobody_reads_any_more_is_told_and_the_rest_goes_on() {
    let server = Server::start(|_, _| Reply::of(204));
    let flags = ["--interval", "1", "--samples", "3", "--sink", "stdout", "--sink", &server.url()];
    let mut child = command(&flags).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    let lines: Vec<String> = server.rest(Duration::from_millis(500)).iter().flat_map(Request::lines).collect();
    assert!(lines.iter().any(|line| line.contains("what=sink.stdout error=\"broken: nobody reads it\"")), "{lines:#?}");
    assert!(lines.last().unwrap().contains(" reason=samples"), "{lines:#?}");
}

#[test]
fn the_environment_sets_it_up_too() {
    let server = Server::start(|_, _| Reply::of(204));
    let (lines, _) = Probe::spawn(command(&["--once"]).env("RUNNER_VITALS_URL", server.url())).finish();
    assert_eq!(
        server.rest(Duration::from_millis(500)).iter().map(|request| request.lines().len()).sum::<usize>(),
        lines.len()
    );
    let env = [("RUNNER_VITALS_SINK", "nonsense")];
    let (lines, _) = Probe::spawn(command(&["--once"]).envs(env)).finish();
    let config = lines.iter().find(|line| line.is(Some("config"))).unwrap();
    assert_eq!(config.text_of(field::KEY).as_deref(), Some("RUNNER_VITALS_SINK"));
}

/// A clock that is off is told, either way.
#[test]
fn a_clock_that_is_off_is_told() {
    let server = Server::start(|_, _| Reply::of(204).with("date", "Thu, 04 Jun 2020 12:00:00 GMT"));
    let flags = ["--interval", "1", "--samples", "2", "--sink", "stdout", "--sink", &server.url()];
    let (lines, _) = Probe::start(&flags).finish();
    let offset_ms = lines.last().unwrap().scaled(field::CLOCK_OFFSET).expect("the stop line has it");
    let here = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let off = offset_ms - (i64::try_from(here).unwrap() - 1_591_272_000_000);
    assert!(off.abs() < 60_000, "{off} ms off");
    let sample = lines.iter().rfind(|line| line.is(None)).unwrap();
    assert!(sample.scaled(field::CLOCK_OFFSET).is_some(), "{}", sample.text);
}

/// What waits for others is never ahead of the job: only the sampler is.
#[test]
fn the_network_thread_is_as_ordinary_as_any() {
    let server = Server::start(|_, _| Reply::of(204));
    let probe = Probe::start(&["--interval", "60", "--sink", "stdout", "--sink", &server.url()]);
    probe.next_of(None);
    let threads = std::fs::read_dir(format!("/proc/{}/task", probe.child.id())).unwrap();
    let stats = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap());
    let network = stats.into_iter().find(|stat| stat.contains("(network)")).expect("a thread of that name");
    // proc_pid_stat(5): behind the name stands the third field, nice is the 19th, the policy the 41st.
    let fields: Vec<&str> = network.rsplit_once(") ").unwrap().1.split(' ').collect();
    let own = std::fs::read_to_string("/proc/self/stat").unwrap();
    let own: Vec<&str> = own.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!((fields[38], fields[16]), ("0", own[16]), "{network}");
}
