//! How it ends: drained, told to by a signal, or not begun at all.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::dispatcher::{Answer, Dispatcher};
use crate::skip::skipped;
use crate::stage::{PATIENCE, SCRIPT, Stage, until, until_there};

const STAY: &str = "echo runner: ready; n=0; while [ $((n += 1)) -lt 3000 ]; do sleep 0.02; done; exit 99";

#[test]
fn a_drain_ends_it_with_0_and_starts_nothing() {
    let dispatcher = Dispatcher::of(vec![Answer::of(204), Answer::of(204), Answer::of(410)]);
    let end = Stage::new(&dispatcher).run("echo started");
    assert_eq!((end.code, end.stdout.as_str(), dispatcher.count()), (0, "", 3), "{end:?}");
    assert_eq!(end.phases(), ["warming", "ready", "ended"], "{:?}", end.told);
    assert!(end.flags_of("ended").starts_with("ended --poll no_work=2 --poll drain=1 "), "{:?}", end.told);
}

/// Several at once, and three times each: interrupted by them, a `wait` of bash 5.2 lost one in ten, and went on in one of four as if what it
/// had waited for were still there.
#[test]
fn a_signal_between_jobs_ends_the_wait_and_it() {
    for signal in ["TERM", "INT", "HUP", "QUIT"].repeat(3) {
        let dispatcher = Dispatcher::of(vec![Answer::of(204)]);
        let stage = Stage::new(&dispatcher).env("RUNNER_DISPATCH_WAIT", "600").env("RUNNER_DISPATCH_WAIT_MAX", "600");
        stage.script("bin/sleep", r#"echo "$1" >>"$0.times"; PATH=/usr/bin:/bin exec sleep "$1""#);
        let running = stage.start(&["sh", "-c", "echo started"]);
        until("it waits", || fs::read_to_string(stage.path("told")).is_ok_and(|told| told.contains("ready")));
        // These mean nothing to it.
        running.signal("USR1");
        running.signal("USR2");
        running.signal(signal);
        let end = running.end();
        assert_eq!(
            (end.code, end.stdout.as_str(), end.stderr.as_str(), dispatcher.count()),
            (0, "", "", 1),
            "{signal}"
        );
        assert_eq!(end.phases(), ["warming", "ready", "ended"], "{signal}");
        // The look at what is left to be waited for, a hundred times at most.
        let times = fs::read_to_string(stage.path("bin/sleep.times")).unwrap_or_default();
        let looks = times.lines().filter(|time| *time == "0.05").count();
        assert!(looks < 100, "{signal}: it waited for what had ended: {looks}");
    }
}

#[test]
fn a_signal_during_a_poll_waits_for_its_answer() {
    let (go, answers) = channel();
    let answers = Mutex::new(answers);
    let asked = Arc::new(Mutex::new(false));
    let of_server = Arc::clone(&asked);
    let dispatcher = Dispatcher::new(move |_, _| {
        *of_server.lock().unwrap() = true;
        answers.lock().unwrap().recv_timeout(PATIENCE).unwrap()
    });
    for (answer, code, phases) in [
        (Answer::of(204), 0, &["warming", "ready", "ended"][..]),
        // A job that was taken is not lost without a word: it is started, and told to end.
        (Answer::job("x"), 143, &["warming", "ready", "claimed", "ended"]),
    ] {
        *asked.lock().unwrap() = false;
        let stage = Stage::new(&dispatcher);
        let running = stage.start(&["sh", "-c", STAY]);
        until("it asks", || *asked.lock().unwrap());
        running.signal("TERM");
        std::thread::sleep(Duration::from_millis(100));
        go.send(answer).unwrap();
        let end = running.end();
        assert_eq!((end.code, end.phases()), (code, phases.to_vec()), "{end:?}");
        assert!(end.took < PATIENCE / 2, "{:?}", end.took);
    }
}

#[test]
fn signals_during_a_job_are_the_jobs_and_its_exit_code_ours() {
    for (signal, number) in [("HUP", 1), ("INT", 2), ("QUIT", 3), ("USR1", 10), ("USR2", 12), ("TERM", 15)] {
        let dispatcher = Dispatcher::of(vec![Answer::job("x"), Answer::of(204)]);
        // The first is handled, and of several jobs it would be the last.
        let stage =
            Stage::new(&dispatcher).env("RUNNER_DISPATCH_JOBS", if signal.starts_with("USR") { "1" } else { "0" });
        let running = stage.start(&["sh", "-c", &format!("trap 'echo got {signal}; exit 3' {signal}; {STAY}")]);
        running.until_stdout("runner: ready");
        running.signal(signal);
        let end = running.end();
        assert_eq!((end.code, end.stdout.contains(&format!("got {signal}\n"))), (3, true), "{signal}: {end:?}");
        assert_eq!(dispatcher.count(), 1, "{signal}");

        let dispatcher = Dispatcher::of(vec![Answer::job("x"), Answer::of(204)]);
        let stage = Stage::new(&dispatcher);
        let running = stage.start(&["sh", "-c", "echo runner: ready; exec sleep 60"]);
        running.until_stdout("runner: ready");
        running.signal(signal);
        let end = running.end();
        assert_eq!((end.code, end.stderr.as_str()), (128 + number, ""), "{signal}");
        assert!(end.flags_of("ended").contains(&format!("--job-exit {} ", 128 + number)), "{:?}", end.told);
    }
}

#[test]
fn it_waits_on_while_the_job_winds_down() {
    let dispatcher = Dispatcher::of(vec![Answer::job("x"), Answer::of(204)]);
    let stage = Stage::new(&dispatcher);
    let running = stage.start(&["sh", "-c", &format!("trap 'sleep 1; echo wound down; exit 0' TERM; {STAY}")]);
    running.until_stdout("runner: ready");
    running.signal("TERM");
    running.signal("TERM");
    let end = running.end();
    assert_eq!((end.code, end.stdout.contains("wound down\n")), (0, true), "{end:?}");
}

#[test]
fn it_does_not_begin_without_what_a_job_needs() {
    let dispatcher = Dispatcher::of(vec![Answer::job("x")]);
    let stage = || Stage::new(&dispatcher);
    let usage = stage().start(&[]).end();
    assert_eq!((usage.code, usage.stderr.starts_with("usage: dispatch-poll.sh RUNNER")), (64, true));
    for url in ["", "ftp://x", "localhost", "http://a b", "http://a\nurl = x"] {
        let end = stage().env("RUNNER_DISPATCH_URL", url).run("true");
        assert_eq!((end.code, end.stderr.contains("no http or https URL")), (64, true), "{url:?}");
    }
    for (name, value, missing) in
        [("RUNNER_DISPATCH_LAUNCHER", "/no/launcher", "/no/launcher"), ("PATH", "/nonexistent", "curl")]
    {
        let end = stage().env(name, value).run("true");
        assert_eq!((end.code, end.stderr.contains(&format!("no program {missing}"))), (69, true), "{}", end.stderr);
    }
    let end = stage().start(&["/no/runner"]).end();
    assert_eq!((end.code, end.stderr.contains("no program /no/runner")), (69, true), "{}", end.stderr);
    assert_eq!(dispatcher.count(), 0);
}

#[test]
fn as_pid_1_the_phases_still_come_out() {
    let dispatcher = Dispatcher::of(vec![Answer::job("x")]);
    let Some(stage) = Stage::new(&dispatcher).in_pid_namespace() else { return };
    let end = stage.run("sleep 60 & exit 7");
    assert_eq!((end.code, end.phases()), (7, vec!["warming", "ready", "claimed", "ended"]), "{end:?}");
    assert!(end.took < PATIENCE / 2, "{:?}", end.took);
    let Some(stage) = Stage::new(&dispatcher).in_pid_namespace() else { return };
    let end = stage.run(&format!("trap 'exit 3' TERM; kill -s TERM 1; {STAY}"));
    assert_eq!(end.code, 3, "{end:?}");
}

#[test]
fn it_leaves_nothing_behind() {
    let dispatcher = Dispatcher::of(vec![Answer::job("x")]);
    let stage = Stage::new(&dispatcher);
    let temporary = stage.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let stage = stage.env("TMPDIR", temporary.to_str().unwrap());
    let running = stage.start(&["sh", "-c", "ls -A tmp; : >started; sleep 0.1"]);
    until_there(&stage.path("started"));
    assert_eq!((running.end().code, fs::read_dir(temporary).unwrap().count()), (0, 0));
}

#[test]
fn the_script_is_executable_parses_and_is_clean() {
    let run = |words: &[&str]| Command::new(words[0]).args(&words[1..]).output();
    assert!(run(&["test", "-x", SCRIPT]).unwrap().status.success() && Path::new(SCRIPT).is_absolute());
    let output = run(&["bash", "-n", SCRIPT]).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    match run(&["shellcheck", SCRIPT]) {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(_) => skipped("the script", "shellcheck is not installed"),
    }
}
