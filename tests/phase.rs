//! `runner-vitals phase`, end to end: one line for a script, to stdout or by network, within two seconds or not at all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

#[path = "support/probe.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod probe;
#[cfg(feature = "tls")]
#[path = "network/server.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod server;

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use probe::{Arrived, command};
use runner_vitals::line::field;

fn phase(flags: &[&str]) -> Command {
    let mut command = command(&[&["phase"], flags].concat());
    command.stderr(Stdio::piped());
    command
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Its only line; whoever asks for it gets it checked against the table of fields.
fn line(output: &Output) -> Arrived {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}: {}", told(output));
    Arrived { text: text.trim_end().to_owned(), at: Instant::now() }
}

#[test]
fn it_writes_one_line_and_says_nothing_else() {
    let output = phase(&["claimed", "--waited", "1500", "--job-nr", "2", "--poll", "served=2", "--poll", "empty=7"])
        .env("RUNNER_VITALS_RUNNER", "pod-1")
        .env("TUIST_RUNNER_POOL", "linux")
        .output()
        .unwrap();
    assert_eq!((output.status.code(), told(&output).as_str()), (Some(0), ""));
    let line = line(&output);
    assert_eq!((line.line().seq, line.line().event.as_deref()), (1, Some("phase")));
    for (field, text) in [
        (field::PHASE, "claimed"),
        (field::WAITED_FROM, "ready"),
        (field::RUNNER_NAME, "pod-1"),
        (field::RUNNER_FLEET, "linux"),
        (field::BOOT_ID, fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim()),
    ] {
        assert_eq!(line.text_of(field).as_deref(), Some(text), "{}", line.text);
    }
    let numbers = [field::WAITED, field::JOB_NR, field::POLL_SERVED, field::POLL_EMPTY, field::POLL_ERROR];
    assert_eq!(numbers.map(|field| line.scaled(field)), [Some(1500), Some(2), Some(2), Some(7), None], "{}", line.text);
    assert!(line.scaled(field::UPTIME).unwrap() > 0);
}

#[test]
fn each_is_a_run_of_its_own() {
    let runs: Vec<String> = (0..2).map(|_| line(&phase(&["ready"]).output().unwrap()).text).collect();
    let run = |text: &str| text.split(' ').find(|word| word.starts_with("run=")).unwrap().to_owned();
    assert_ne!(run(&runs[0]), run(&runs[1]));
}

#[test]
fn a_wrong_flag_is_a_usage_error_and_foreign_text_is_not() {
    for flags in [&[][..], &["begun"], &["ended", "--job-exit", "many"], &["ready", "--poll", "won=1"]] {
        let output = phase(flags).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{flags:?}");
        assert!(told(&output).starts_with("error: "), "{}", told(&output));
    }
    let output = phase(&["claimed", "--queued-at", "so\u{1b}on"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(told(&output), "runner-vitals: --queued-at \"so\\u{1b}on\": not used\n");
    assert_eq!(line(&output).text_of(field::QUEUED_TS), None);
}

#[test]
fn help_says_what_there_is() {
    let output = phase(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(help.contains("Usage: runner-vitals phase [OPTIONS] <PHASE>") && help.contains("--sink"), "{help}");
}

#[test]
fn a_stdout_that_takes_nothing_is_an_answer_and_no_hang() {
    let began = Instant::now();
    for (stdout, why) in [("| true", "nobody reads it"), (">/dev/full", "it takes nothing"), (">&-", "not open")] {
        // The shell waits for the reader to be gone before it lets the line be written.
        let script = match stdout {
            "| true" => r#"{ sleep 0.3; "$0" phase ready; echo $? >&3; } 3>&2 2>&3 | true"#.to_owned(),
            _ => format!(r#""$0" phase ready {stdout}; echo $? >&2"#),
        };
        let mut shell = Command::new("bash");
        let output = shell.args(["-c", &script, env!("CARGO_BIN_EXE_runner-vitals")]).output().unwrap();
        let text = told(&output);
        assert!(text.ends_with("75\n") && text.contains(why), "{stdout}: {text}");
    }
    assert!(began.elapsed() < probe::PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn a_pipe_that_is_full_is_given_up() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filler = Command::new("timeout");
    filler.args(["1", "cat", "/dev/zero"]).stdout(writer.try_clone().unwrap()).status().unwrap();
    let output = phase(&["ready"]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(75));
    assert_eq!(told(&output), "runner-vitals: the line is not out: stdout: it takes nothing\n");
    drop(reader);
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_a_way_by_network_the_line_goes_to_stdout_and_that_is_told() {
    let output = phase(&["ready", "--sink", "https://vitals.example/v"]).output().unwrap();
    assert_eq!(output.status.code(), Some(75));
    assert!(told(&output).contains("without the feature tls"), "{}", told(&output));
    assert_eq!(line(&output).text_of(field::PHASE).as_deref(), Some("ready"));
}

#[cfg(feature = "tls")]
mod network {
    use std::time::Duration;

    use super::server::{Reply, Server, listen};
    use super::*;

    /// Two seconds, and what a busy machine adds.
    const END_WITHIN: Duration = Duration::from_secs(5);

    fn token() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc.DEF-1_2\n").unwrap();
        file
    }

    #[test]
    fn a_server_gets_it_with_the_token_and_stdout_nothing() {
        let (server, token) = (Server::start(|_, _| Reply::of(204)), token());
        let output = phase(&["ready"])
            .env("RUNNER_VITALS_SINK", server.url())
            .env("RUNNER_VITALS_TOKEN_FILE", token.path())
            .output()
            .unwrap();
        assert_eq!((output.status.code(), told(&output).as_str(), output.stdout.len()), (Some(0), "", 0));
        let request = server.next();
        assert_eq!(request.header("authorization"), Some("Bearer abc.DEF-1_2"));
        let lines = request.lines();
        assert!(lines.len() == 1 && lines[0].contains(" event=phase phase=ready "), "{lines:?}");
        assert!(server.rest(Duration::from_millis(100)).is_empty());
    }

    #[test]
    fn it_tries_again_while_there_is_time() {
        let server = Server::start(|_, before| Reply::of(if before == 0 { 503 } else { 204 }));
        let output = phase(&["ready", "--sink", "stdout", "--sink", &server.url()]).output().unwrap();
        assert_eq!((output.status.code(), told(&output).as_str()), (Some(0), ""));
        assert_eq!(server.next().lines(), server.next().lines(), "the same bytes");
        assert_eq!(line(&output).text_of(field::PHASE).as_deref(), Some("ready"));
    }

    #[test]
    fn what_is_not_out_in_time_is_given_up_and_told() {
        let (black_hole, _) = listen(|stream| {
            std::thread::sleep(probe::PATIENCE);
            drop(stream);
        });
        let token = token();
        let refusing = Server::start(|_, _| Reply::of(403));
        let failing = Server::start(|_, _| Reply::of(503));
        for (url, why) in [
            ("http://127.0.0.1:9/".to_owned(), "sink.http: broken: "),
            (format!("http://{black_hole}/"), "sink.http: no answer"),
            (format!("loki+http://{black_hole}/"), "sink.loki: no answer"),
            (refusing.url(), "sink.http: denied: status 403"),
            (failing.url(), "sink.http: broken: status 503"),
        ] {
            let began = Instant::now();
            let mut command = phase(&["ended", "--sink", "stdout", "--sink", &url]);
            let output = command.env("RUNNER_VITALS_TOKEN_FILE", token.path()).output().unwrap();
            let text = told(&output);
            assert_eq!(output.status.code(), Some(75), "{url}: {text}");
            assert!(text.starts_with(&format!("runner-vitals: the line is not out: {why}")), "{url}: {text}");
            assert!(!text.contains("abc.DEF") && text.lines().count() == 1, "{text}");
            assert!(began.elapsed() < END_WITHIN, "{url}: {:?}", began.elapsed());
            assert_eq!(line(&output).text_of(field::PHASE).as_deref(), Some("ended"), "stdout is not held up by it");
        }
    }

    #[test]
    fn a_dead_server_costs_the_other_nothing() {
        let server = Server::start(|_, _| Reply::of(204));
        let output = phase(&["ready", "--sink", "http://127.0.0.1:9/", "--sink", &server.url()]).output().unwrap();
        assert_eq!((output.status.code(), server.next().lines().len()), (Some(75), 1));
    }

    #[test]
    fn a_missing_token_is_named_as_the_reason() {
        let server = Server::start(|_, _| Reply::of(401));
        let output = phase(&["ready", "--sink", &server.url(), "--token-file", "/no/such/token"]).output().unwrap();
        assert_eq!(output.status.code(), Some(75));
        let text = told(&output);
        assert!(text.ends_with("sink.http: denied: status 401, token: absent: no such file\n"), "{text}");
    }

    #[test]
    fn logs_are_not_followed_whatever_the_environment_says() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.log"), "line\n").unwrap();
        let server = Server::start(|_, _| Reply::of(204));
        let output = phase(&["ready", "--sink", &server.url()])
            .env("RUNNER_VITALS_FOLLOW", dir.path().join("*.log"))
            .env("RUNNER_VITALS_FOLLOW_STDOUT", "on")
            .output()
            .unwrap();
        assert_eq!((output.status.code(), output.stdout.len(), server.next().lines().len()), (Some(0), 0, 1));
        assert!(server.rest(Duration::from_millis(100)).is_empty());
    }
}
