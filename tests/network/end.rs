//! The end: what waits goes out within two seconds, or is given up within two seconds.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use runner_vitals::line::field;
use rustix::process::Signal;

use crate::probe::{PATIENCE, Probe, command};
use crate::server::{Reply, Request, Server, listen, read_request};

/// The end of the probe takes so long at most, and what a busy machine adds.
const END_WITHIN: Duration = Duration::from_secs(4);

#[test]
fn what_waits_goes_out_at_the_end() {
    // The probe waits for a minute to try again.
    let server = Server::start(|_, before| match before {
        0 => Reply::of(429).with("retry-after", "60"),
        _ => Reply::of(204),
    });
    let probe = Probe::start(&["--interval", "1", "--sink", "stdout", "--sink", &server.url()]);
    (0..3).for_each(|_| drop(probe.next_of(None)));
    let told = Instant::now();
    probe.signal(Signal::TERM);
    let (lines, status) = probe.finish();
    assert!(status.success() && told.elapsed() < END_WITHIN, "{:?}", told.elapsed());
    let requests = server.rest(Duration::from_millis(500));
    let seqs: Vec<u64> = requests[1..].iter().flat_map(Request::seqs).collect();
    let last = lines.last().unwrap().line().seq;
    assert_eq!(seqs, (1..=last).collect::<Vec<_>>(), "all of them, the stop line too");
}

#[test]
fn what_cannot_go_out_is_given_up_in_time() {
    let black_hole = || {
        listen(|stream| {
            std::thread::sleep(PATIENCE);
            drop(stream);
        })
    };
    let busy = Server::start(|_, _| Reply::of(503).with("retry-after", "60"));
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let urls = [format!("http://{}", black_hole().0), busy.url(), format!("http://{refused}")];
    for url in urls {
        let probe = Probe::start(&["--interval", "1", "--sink", "stdout", "--sink", &url]);
        probe.next_of(None);
        let told = Instant::now();
        probe.signal(Signal::TERM);
        let (lines, status) = probe.finish();
        assert!(lines.last().unwrap().is(Some("stop")) && status.success(), "{url}");
        assert!(told.elapsed() < END_WITHIN, "{url}: {:?}", told.elapsed());
        assert!(lines.last().unwrap().at - told < Duration::from_secs(1), "{url}: stdout does not wait for it");
    }
}

/// As docs/LINE.md says: no line has that number, but `seq` has.
#[test]
fn what_is_given_up_behind_the_stop_line_is_what_is_missing_up_to_its_number() {
    let server = Server::start(|_, before| Reply::of(if before == 0 { 204 } else { 503 }));
    let probe = Probe::start(&["--interval", "1", "--sink", "stdout", "--sink", &server.url()]);
    let first = server.next().seqs();
    let told = probe.next().line().seq;
    probe.signal(Signal::TERM);
    let (lines, _) = probe.finish();
    let stop = lines.last().unwrap();
    assert!(stop.is(Some("stop")) && stop.scaled(field::SINK_HTTP_DROPPED).is_none(), "{}", stop.text);
    let given_up = (1..=stop.line().seq).filter(|seq| !first.contains(seq)).count();
    assert!(told == 1 && given_up > 0 && given_up + first.len() == 1 + lines.len(), "{first:?} {}", stop.text);
}

#[test]
fn a_job_ends_with_its_last_lines_out() {
    let server = Server::start(|_, _| {
        // Longer than a probe without a network has for its last words.
        std::thread::sleep(Duration::from_millis(900));
        Reply::of(204)
    });
    let flags = ["exec", "--interval", "60", "--sink", &server.url(), "--", "sh", "-c", "sleep 1; exit 3"];
    let began = Instant::now();
    let status = command(&flags).status().unwrap();
    assert_eq!(status.code(), Some(3));
    assert!(began.elapsed() < Duration::from_secs(1) + END_WITHIN, "{:?}", began.elapsed());
    let requests = server.rest(Duration::from_millis(1500));
    let last = requests.iter().flat_map(Request::lines).last().unwrap();
    assert!(last.contains(" event=stop reason=job_exit job.exit=3"), "{last}");
}

/// Files are looked for every two seconds; a job that fails early has written its log a moment before.
#[test]
fn a_log_that_appears_just_before_the_end_is_out_to_its_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let server = Server::start(|_, _| Reply::of(204));
    // More than is read at a step.
    let (line, lines) = ("x".repeat(1500), 200);
    let job =
        format!("sleep 3; i=0; while [ $i -lt {lines} ]; do echo $i {line}; i=$((i + 1)); done > {}", at("W.log"));
    let pattern = at("*.log");
    let flags = ["exec", "--interval", "60", "--sink", &server.url(), "--follow", &pattern, "--", "sh", "-c", &job];
    assert!(command(&flags).status().unwrap().success());
    let all: Vec<String> = server.rest(Duration::from_millis(500)).iter().flat_map(Request::lines).collect();
    let told: Vec<&String> = all.iter().filter(|line| line.starts_with("RUNNER_LOG ")).collect();
    assert!(told.last().is_some_and(|last| last.contains(&format!("line=\"{} x", lines - 1))), "{} lines", told.len());
}

/// Who has the lines sent by network only, and gets none, sees nothing else of it.
#[test]
fn that_no_sink_has_taken_a_line_is_told_on_stderr() {
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (good, gone) = (Server::start(|_, _| Reply::of(204)), Server::start(|_, _| Reply::of(404)));
    let refused = format!("http://{refused}/x");
    let run = |words: &[&str], flags: &[&str]| {
        let output = command(&[words, flags].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(if words.is_empty() { 0 } else { 3 }), "{flags:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let told =
        "runner-vitals: no sink has taken a line: sink.http: broken: connection refused, token: absent: no such file\n";
    assert_eq!(run(&[], &["--once", "--sink", &refused, "--token-file", "/no/such/token"]), told);
    let told = "runner-vitals: no sink has taken a line: sink.http: broken: refused for good, status 404; \
                sink.loki: broken: connection refused\n";
    assert_eq!(run(&[], &["--once", "--sink", &gone.url(), "--sink", &format!("loki+{refused}")]), told);
    assert_eq!(run(&[], &["--once", "--sink", &good.url(), "--sink", &refused]), "", "one of them has");
    assert_eq!(run(&[], &["--once", "--sink", "stdout", "--sink", &refused]), "", "stdout tells it");
    let job = ["--sink", &refused, "--", "sh", "-c", "sleep 1; exit 3"];
    assert!(run(&["exec"], &job).contains("no sink has taken a line: sink.http: broken: connection refused"));
}

/// Whatever stderr is: full, or a pipe that nobody reads.
#[test]
fn a_stderr_that_takes_nothing_changes_nothing() {
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{refused}");
    for is_full in [true, false] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let bytes = rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
        writer.write_all(&vec![b'x'; bytes]).unwrap();
        let reader = is_full.then_some(reader);
        let began = Instant::now();
        let status = command(&["--once", "--sink", &url]).stderr(writer).status().unwrap();
        assert!(status.success() && began.elapsed() < END_WITHIN, "{is_full} {status} {:?}", began.elapsed());
        drop(reader);
    }
}

/// A probe that is killed says nothing more; what it had sent is out.
#[test]
fn what_was_sent_before_a_kill_is_out() {
    let server = Server::start(|_, _| Reply::of(204));
    let mut probe = command(&["--interval", "60", "--sink", &server.url()]).spawn().unwrap();
    let first = server.next();
    assert!(first.lines()[0].contains(" event=start "));
    probe.kill().unwrap();
    probe.wait().unwrap();
}

/// The listener's process is stopped, as a server that hangs: the kernel still takes connections for it.
#[test]
fn a_server_that_only_its_kernel_keeps_up_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut probe = Command::new(env!("CARGO_BIN_EXE_runner-vitals"));
    let began = Instant::now();
    let status = probe.args(["--once", "--sink", &url]).stdin(Stdio::null()).status().unwrap();
    assert!(status.success() && began.elapsed() < END_WITHIN, "{:?}", began.elapsed());
    let (stream, _) = listener.accept().unwrap();
    let mut stream = std::io::BufReader::new(stream);
    let request = read_request(&mut stream).unwrap().unwrap();
    assert!(request.lines()[0].contains(" event=start "), "it was sent, and nobody answered");
    let _ = stream.get_mut().write_all(b"HTTP/1.1 204 X\r\n\r\n");
}
