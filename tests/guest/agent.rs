//! The CI runner's own process and its worker, as real processes of those names.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::probe::{Arrived, Probe};
use runner_vitals::line::field;

/// A shell of this name: the kernel names a process after the link that it was started by. What it runs is its child, as
/// a worker is.
fn named(dir: &Path, name: &str) -> std::path::PathBuf {
    let path = dir.join(name);
    std::os::unix::fs::symlink("/bin/sh", &path).unwrap();
    path
}

/// A probe watches one agent, of whichever test it is: one test at a time has one.
fn only_agent() -> MutexGuard<'static, ()> {
    static AGENT: Mutex<()> = Mutex::new(());
    AGENT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn told(line: &Arrived) -> (String, String, String) {
    let text = |field| line.text_of(field).unwrap();
    (text(field::ROLE), text(field::STATE), text(field::COMM))
}

fn next_told(probe: &Probe) -> (String, String, String) {
    told(&probe.next_of(Some("agent")))
}

fn of(role: &str, state: &str, comm: &str) -> (String, String, String) {
    (role.to_owned(), state.to_owned(), comm.to_owned())
}

#[test]
fn the_agent_and_its_worker_are_told_as_they_come_and_go() {
    let _only = only_agent();
    let dir = tempfile::tempdir().unwrap();
    let (listener, worker) = (named(dir.path(), "Runner.Listener"), named(dir.path(), "Runner.Worker"));
    // Each waits for the end of its stdin, the worker for that of a pipe of its own.
    let script = format!("{} -c 'read line' <\"$0\" ; read line", worker.display());
    let fifo = dir.path().join("end-of-job");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut agent = Command::new(&listener).args(["-c", &script]).arg(&fifo).stdin(Stdio::piped()).spawn().unwrap();
    let probe = Probe::start(&["--interval", "1", "--exit-with", &std::process::id().to_string()]);
    assert_eq!(next_told(&probe), of("agent", "appeared", "Runner.Listener"));
    let sample = probe.next_of(None);
    assert!(sample.scaled(field::AGENT_RSS).unwrap() > 0, "{}", sample.text);
    assert_eq!(sample.text_of(field::AGENT_STATE).as_deref(), Some("S"));
    let counts_waits = Path::new("/proc/self/schedstat").exists();
    assert_eq!(sample.scaled(field::AGENT_WAIT).is_some(), counts_waits, "{}", sample.text);
    // It opens its pipe when the other end is opened, and only then becomes the worker.
    let job = std::fs::File::options().write(true).open(&fifo).unwrap();
    assert_eq!(next_told(&probe), of("worker", "appeared", "Runner.Worker"));
    drop(job);
    assert_eq!(next_told(&probe), of("worker", "vanished", "Runner.Worker"));
    assert!(probe.next_of(None).text_of(field::AGENT_STATE).is_some());
    drop(agent.stdin.take());
    agent.wait().unwrap();
    assert_eq!(next_told(&probe), of("agent", "vanished", "Runner.Listener"));
    assert_eq!(probe.next_of(None).text_of(field::AGENT_STATE), None);
}

#[test]
fn an_agent_can_have_another_name() {
    let _only = only_agent();
    let dir = tempfile::tempdir().unwrap();
    let mut agent = Command::new(named(dir.path(), "my agent")).args(["-c", "read line"]).stdin(Stdio::piped()).spawn();
    let agent = agent.as_mut().unwrap();
    let probe = Probe::start(&["--interval", "1", "--agent", "my agent"]);
    assert_eq!(next_told(&probe), of("agent", "appeared", "my agent"));
    agent.kill().unwrap();
    agent.wait().unwrap();
}
