//! `runner-vitals exec`, the real binary: the job gets what it would get without it, its exit code comes back, and nothing
//! the probe does or fails to do reaches the job.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

#[path = "../support/probe.rs"]
#[allow(dead_code, reason = "what other tests use of it")]
mod probe;
#[path = "../support/skip.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod skip;

mod init;
mod life;
mod signals;
mod untouched;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use probe::PATIENCE;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_runner-vitals");

/// `exec` of these words: flags, `--`, a job. It has no stdin, its stdout is a pipe.
pub(crate) fn exec(words: &[&str]) -> Command {
    let mut command = probe::command(&["exec"]);
    command.args(words);
    command
}

/// `exec` of a shell script as the job.
pub(crate) fn exec_sh(script: &str) -> Command {
    exec(&["--", "/bin/sh", "-c", script])
}

/// The code that a shell would tell.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 1000 + signal)).unwrap()
}

/// Waits for something that is about to be so.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The children of a process: pid and name.
pub(crate) fn children(parent: u32) -> Vec<(u32, String)> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let of_parent = pids.filter_map(|pid: u32| {
        let (name, rest) = stat(pid)?;
        (rest.split(' ').nth(1)? == parent.to_string()).then_some((pid, name))
    });
    of_parent.collect()
}

/// The name of a process, and what stands behind it in its stat: the state first.
pub(crate) fn stat(pid: u32) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, rest) = stat.rsplit_once(") ")?;
    Some((head.split_once('(')?.1.to_owned(), rest.to_owned()))
}

/// The probe beside the job of this supervisor, once it is there and named.
pub(crate) fn probe_of(supervisor: u32) -> rustix::process::Pid {
    let pid = until("the probe", || {
        let probe = children(supervisor).into_iter().find(|(pid, name)| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            name == "runner-vitals" && line.windows(12).any(|word| word == b"--supervised")
        });
        probe.map(|(pid, _)| pid)
    });
    rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

/// Runs a command that ends, and writes less than a pipe holds.
pub(crate) fn output_of(command: &mut Command) -> Output {
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= deadline {
            child.kill().unwrap();
            panic!("it does not end: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

/// Runs a command whose stdout is not looked at; its code and its stderr.
pub(crate) fn end_of(command: &mut Command) -> (i32, String) {
    let output = output_of(command.stderr(Stdio::piped()));
    (code(output.status), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The interpreter itself, where there is one: `python3` on the path may be a script that starts it.
pub(crate) fn python(test: &str) -> Option<String> {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).stdin(Stdio::null()).output();
    let path =
        asked.ok().filter(|output| output.status.success()).and_then(|output| String::from_utf8(output.stdout).ok());
    if path.is_none() {
        skip::skipped(test, "python3 is not installed");
    }
    path.map(|path| path.trim().to_owned())
}
