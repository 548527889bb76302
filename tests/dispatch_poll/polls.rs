//! What is asked, how often, and what an answer means.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use crate::dispatcher::{Answer, Dispatcher};
use crate::stage::{Stage, until, until_there};

/// Sleeps that take no time, written down between polls.
fn stop_the_clock(stage: &Stage) {
    stage.script("bin/sleep", r#"echo "$1" >>"${TOLD%/told}/slept""#);
    stage.script("bin/curl", r#"echo poll >>"${TOLD%/told}/slept"; PATH=${PATH#*:}; exec curl "$@""#);
}

/// What the script wanted to wait between polls, in milliseconds: its sleeps have three decimals, those between two phases two.
fn waits(stage: &Stage) -> Vec<u64> {
    let slept = fs::read_to_string(stage.path("slept")).unwrap();
    let between = slept.split("poll\n").map(|times| {
        let times = times.lines().filter(|time| time.len() == "0.500".len());
        times.map(|time| time.replace('.', "").parse::<u64>().unwrap()).sum()
    });
    between.filter(|wait| *wait > 0).collect()
}

#[test]
fn a_poll_is_a_post_with_the_token_as_it_is_now() {
    let dispatcher = Dispatcher::of(vec![Answer::of(204), Answer::of(410)]);
    let end = Stage::new(&dispatcher).run("exit 99");
    assert_eq!(end.code, 0, "{end:?}");
    let polls = dispatcher.polls();
    assert_eq!(polls.len(), 2);
    assert_eq!(
        (polls[0].line.as_str(), polls[0].body.as_str()),
        ("POST /api/internal/runners/dispatch HTTP/1.1", "{}")
    );
    assert_eq!(polls[0].headers["authorization"], "Bearer first");
    assert_eq!(polls[0].headers["content-type"], "application/json");
}

#[test]
fn url_and_token_are_on_no_command_line() {
    let dispatcher = Dispatcher::of(vec![Answer::of(410)]);
    let stage = Stage::new(&dispatcher);
    let url = format!("{}?key=hunter2", dispatcher.url());
    let stage = stage.env("RUNNER_DISPATCH_URL", &url).env("TUIST_RUNNER_DISPATCH_URL", "http://127.0.0.1:9/");
    fs::write(stage.path("token"), r#"abc"def\1"#).unwrap();
    stage.script("bin/curl", r#"echo "$*" >>"${TOLD%/told}/curl"; PATH=${PATH#*:}; exec curl "$@""#);
    assert_eq!(stage.run("exit 99").code, 0);
    assert_eq!(dispatcher.polls()[0].headers["authorization"], r#"Bearer abc"def\1"#);
    assert!(dispatcher.polls()[0].line.contains("?key=hunter2 "));
    let arguments = fs::read_to_string(stage.path("curl")).unwrap();
    assert!(
        arguments.contains("--config -") && !arguments.contains("abc") && !arguments.contains("hunter2"),
        "{arguments}"
    );
}

#[test]
fn after_401_the_token_is_read_anew_and_asked_with_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "first").unwrap();
    let of_server = token.clone();
    let dispatcher = Dispatcher::new(move |poll, before| match poll.headers["authorization"].as_str() {
        // It is replaced while the first is under way.
        "Bearer first" => {
            fs::write(&of_server, "second\n").unwrap();
            Answer::of(401)
        }
        _ if before == 1 => Answer::of(204),
        _ => Answer::of(410),
    });
    let stage = Stage::new(&dispatcher).env("RUNNER_DISPATCH_TOKEN_FILE", token.to_str().unwrap());
    stop_the_clock(&stage);
    let end = stage.run("exit 99");
    assert_eq!((end.code, end.stderr.contains("401")), (0, false), "{end:?}");
    let tokens: Vec<String> = dispatcher.polls().iter().map(|poll| poll.headers["authorization"].clone()).collect();
    assert_eq!(tokens, ["Bearer first", "Bearer second", "Bearer second"]);
    assert_eq!(waits(&stage).len(), 1, "only after 204");
    let flags = end.flags_of("ended");
    assert!(flags.contains("--poll no_work=1 --poll drain=1 --poll error=1 "), "{flags}");
}

#[test]
fn a_token_that_stays_wrong_is_asked_with_again_later() {
    let dispatcher = Dispatcher::of(vec![Answer::of(401), Answer::of(401), Answer::of(410)]);
    let end = Stage::new(&dispatcher).run("exit 99");
    assert_eq!((end.code, dispatcher.count()), (0, 3));
    assert_eq!(end.stderr.matches("answers 401").count(), 1, "{}", end.stderr);
}

#[test]
fn without_a_token_nothing_is_asked() {
    let dispatcher = Dispatcher::of(vec![Answer::of(410)]);
    let stage = Stage::new(&dispatcher);
    let tells = |why: &str| {
        let running = stage.start(&["true"]);
        until("it is told", || fs::read_to_string(stage.path("stderr")).unwrap().contains("no token in "));
        running.signal("TERM");
        let end = running.end();
        assert_eq!((end.code, dispatcher.count()), (0, 0));
        // That and nothing else.
        let told = format!("dispatch-poll.sh: no token in {}: {why}\n", stage.path("token").display());
        assert_eq!(end.stderr, told);
    };
    for text in ["", " \n", "a b", "a\nX-Evil: 1", "é"] {
        fs::write(stage.path("token"), text).unwrap();
        tells("a token is one word of visible ASCII");
    }
    fs::remove_file(stage.path("token")).unwrap();
    tells("it is not there");
    fs::create_dir(stage.path("token")).unwrap();
    tells("it is not to be read");
    fs::remove_dir(stage.path("token")).unwrap();
    // It comes with the mount, later than the script.
    let running = stage.start(&["true"]);
    fs::write(stage.path("token"), "there").unwrap();
    assert_eq!((running.end().code, dispatcher.count()), (0, 1));
}

#[test]
fn there_is_one_poll_at_a_time_however_slow() {
    let dispatcher = Dispatcher::new(|_, before| {
        std::thread::sleep(Duration::from_millis(200));
        Answer::of(if before < 4 { 204 } else { 410 })
    });
    let stage = Stage::new(&dispatcher).env("RUNNER_DISPATCH_HEARTBEAT", "0.1");
    let end = stage.run("exit 99");
    assert_eq!((end.code, dispatcher.count()), (0, 5));
    let flags = end.flags_of("ended");
    let number = |name: &str| -> u64 {
        flags.split(name).nth(1).unwrap().trim_start().split(' ').next().unwrap().parse().unwrap()
    };
    let (sum, longest) = (number("--poll-sum"), number("--poll-max"));
    assert!(longest >= 200 && sum >= 1000 && sum >= longest, "{flags}");
}

#[test]
fn a_server_that_hangs_is_given_up_before_it_is_asked_again() {
    let dispatcher = Dispatcher::of(vec![Answer::never(), Answer::of(410)]);
    let stage = Stage::new(&dispatcher).env("RUNNER_DISPATCH_TIMEOUT", "0.5").env("RUNNER_DISPATCH_WAIT", "1.6");
    let end = stage.env("RUNNER_DISPATCH_ERROR_MAX", "4").run("exit 99");
    assert_eq!((end.code, end.stderr.contains("no answer")), (0, true), "{}", end.stderr);
    assert!(end.flags_of("ended").contains("--poll error=1"), "{:?}", end.told);
}

#[test]
fn the_wait_grows_to_its_bound_and_is_never_the_same_for_all() {
    let dispatcher = Dispatcher::new(|_, before| Answer::of(if before < 12 { 204 } else { 410 }));
    let stage = Stage::new(&dispatcher)
        .env("RUNNER_VITALS", "off")
        .env("RUNNER_DISPATCH_WAIT", "1")
        .env("RUNNER_DISPATCH_WAIT_MAX", "10");
    stop_the_clock(&stage);
    assert_eq!(stage.run("exit 99").code, 0);
    let waits = waits(&stage);
    let bounds = [1000, 2000, 4000, 8000, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000];
    assert_eq!(waits.len(), bounds.len());
    for (wait, bound) in waits.iter().zip(bounds) {
        assert!((bound / 2..=bound).contains(wait), "{wait} of {bound}: {waits:?}");
    }
    let mut distinct = waits[4..].to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 2, "{waits:?}");
}

#[test]
fn another_reason_begins_anew_and_a_server_may_ask_for_more() {
    let dispatcher = Dispatcher::of(vec![
        Answer::of(503),
        Answer::of(500),
        Answer::of(204),
        Answer::of(429).header("retry-after: 7"),
        Answer::of(503).header("Retry-After: 3600"),
        Answer::of(204).header("Retry-After: soon"),
        Answer::of(410),
    ]);
    let stage = Stage::new(&dispatcher)
        .env("RUNNER_VITALS", "off")
        .env("RUNNER_DISPATCH_WAIT", "1")
        .env("RUNNER_DISPATCH_WAIT_MAX", "10")
        .env("RUNNER_DISPATCH_ERROR_MAX", "30");
    stop_the_clock(&stage);
    let end = stage.run("exit 99");
    let waits = waits(&stage);
    for (wait, bounds) in
        waits.iter().zip([500..=1000, 1000..=2000, 500..=1000, 7000..=7000, 30_000..=30_000, 500..=1000])
    {
        assert!(bounds.contains(wait), "{wait} in {bounds:?}: {waits:?}");
    }
    assert_eq!((end.code, waits.len()), (0, 6), "{end:?}");
}

#[test]
fn a_dead_server_is_told_once_and_asked_until_it_lives() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let stage = Stage::at(&format!("http://{address}/dispatch")).env("RUNNER_VITALS", "off");
    stage.script("bin/curl", r#"echo >>"${TOLD%/told}/polls"; PATH=${PATH#*:}; exec curl "$@""#);
    let running = stage.start(&["sh", "-c", "exit 99"]);
    until("five polls", || fs::read_to_string(stage.path("polls")).is_ok_and(|polls| polls.lines().count() >= 5));
    running.signal("TERM");
    let end = running.end();
    assert_eq!((end.code, end.stdout.as_str()), (0, ""));
    assert_eq!(end.stderr, "dispatch-poll.sh: the dispatcher gives no answer: nobody takes the connection (curl: 7)\n");
}

#[test]
fn why_there_is_no_answer_is_told_and_nothing_of_the_url() {
    for (code, why) in [
        (6, "its name is not found"),
        (28, "not in time"),
        (60, "TLS fails, as where nobody here knows who signed its certificate"),
        (99, "curl fails"),
    ] {
        let stage = Stage::at("http://hunter2@127.0.0.1:9/").env("RUNNER_VITALS", "off");
        stage.script("bin/curl", &format!("echo \"curl: hunter2\" >&2; : >\"${{TOLD%/told}}/asked\"; exit {code}"));
        let running = stage.start(&["true"]);
        until_there(&stage.path("asked"));
        running.signal("TERM");
        let told = format!("dispatch-poll.sh: the dispatcher gives no answer: {why} (curl: {code})\n");
        assert_eq!(running.end().stderr, told);
    }
}

#[test]
fn settings_that_are_wrong_are_told_and_not_used() {
    let dispatcher = Dispatcher::of(vec![Answer::of(410)]);
    let mut stage = Stage::new(&dispatcher).env("RUNNER_DISPATCH_JOBS", "-1");
    for name in ["WAIT", "WAIT_MAX", "ERROR_MAX", "TIMEOUT", "HEARTBEAT"] {
        stage = stage.env(&format!("RUNNER_DISPATCH_{name}"), "1; echo forged");
    }
    let end = stage.run("exit 99");
    assert_eq!(
        (end.code, end.stderr.matches(" is no number").count(), end.stdout.as_str()),
        (0, 6, ""),
        "{}",
        end.stderr
    );
}
