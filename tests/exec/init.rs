//! As PID 1 of a PID namespace, as in a container.

use std::process::{Command, Stdio};

use runner_vitals::line::field;
use rustix::process::{Pid, Signal, kill_process};

use crate::probe::{Arrived, Probe};
use crate::skip::skipped;
use crate::{BINARY, children, code, until};

/// The supervisor as PID 1 with this script as the job; `None` where that may not be had.
fn as_init(test: &str, script: &str) -> Option<Probe> {
    let unshare = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-pf", "--kill-child", "--mount-proc"]).args(words).stdin(Stdio::null());
        command
    };
    if !unshare(&["true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        skipped(test, "may not make a PID namespace");
        return None;
    }
    let words = [BINARY, "exec", "--interval", "60", "--", "sh", "-c", script];
    Some(Probe::spawn(unshare(&words).stdout(Stdio::piped())))
}

fn next_of_job(running: &Probe) -> String {
    loop {
        let Arrived { text, .. } = running.next();
        if !text.starts_with("RUNNER_VITALS") {
            return text;
        }
    }
}

/// PID 1 as it is seen from here.
fn init_of(running: &Probe) -> Pid {
    let init = until("PID 1", || children(running.child.id()).into_iter().find(|(_, name)| name == "runner-vitals"));
    Pid::from_raw(init.0.try_into().unwrap()).unwrap()
}

#[test]
fn orphans_are_waited_for_and_the_end_is_told_first() {
    let script = r#"[ $$ = 2 ] && [ "$PPID" = 1 ] || exit 8
        orphan=$(sh -c 'true & echo $!'); n=0
        while [ -e "/proc/$orphan" ]; do [ $((n += 1)) -lt 1500 ] || exit 9; sleep 0.02; done
        sleep 1000 & exit 5"#;
    let Some(running) = as_init("orphans_are_waited_for_and_the_end_is_told_first", script) else { return };
    let (lines, status) = running.finish();
    assert_eq!(code(status), 5);
    let stop = lines.last().unwrap();
    assert_eq!(stop.text_of(field::REASON).as_deref(), Some("job_exit"), "{}", stop.text);
    assert_eq!(stop.scaled(field::JOB_EXIT), Some(5));
}

/// PID 1 gets no signal that it does nothing about: the job has to get them.
#[test]
fn signals_reach_the_job_of_pid_1() {
    for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2), (Signal::USR1, 10), (Signal::HUP, 1)] {
        let script = "echo ready; exec sleep 30";
        let Some(running) = as_init("signals_reach_the_job_of_pid_1", script) else { return };
        assert_eq!(next_of_job(&running), "ready");
        kill_process(init_of(&running), signal).unwrap();
        let (lines, status) = running.finish();
        assert_eq!(code(status), 128 + number);
        assert_eq!(lines.last().unwrap().scaled(field::JOB_SIGNAL), Some(number.into()));
    }
}

/// From within the namespace too, where the kernel keeps from PID 1 what it has no handler for.
#[test]
fn a_signal_of_the_jobs_own_child_to_pid_1_comes_back_to_the_job() {
    let script =
        "trap 'exit 6' TERM; sh -c 'kill -TERM 1'; n=0; while [ $((n += 1)) -lt 1500 ]; do sleep 0.02; done; exit 9";
    let Some(running) = as_init("a_signal_of_the_jobs_own_child_to_pid_1_comes_back_to_the_job", script) else {
        return;
    };
    assert_eq!(code(running.finish().1), 6);
}

/// `kill -9 -1` of the job as root takes the probe too: the code is told all the same.
#[test]
fn a_job_that_kills_all_others_has_its_code() {
    let Some(running) = as_init("a_job_that_kills_all_others_has_its_code", "sleep 1000 & kill -9 -1; exit 4") else {
        return;
    };
    assert_eq!(code(running.finish().1), 4);
}
