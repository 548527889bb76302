//! A hub that knows some runners, and what a tokens file and lines look like.

use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::running::{self, Running};
use crate::until;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_vitals-hub");

/// What a runner sends to say who it is.
pub(crate) fn token(runner: &str) -> String {
    format!("token-of-{runner}")
}

/// A line of a tokens file.
pub(crate) fn token_line(runner: &str) -> String {
    format!("{} {runner} linux\n", runner_vitals::hub::serve::auth::tokens::hashed(&token(runner)))
}

/// A line as a probe writes it.
pub(crate) fn line(seq: u64) -> String {
    format!("RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=k3x9 seq={seq} load1=0.30\n")
}

/// A running hub, whose stdout is a file unless another was given.
pub(crate) struct Hub {
    running: Running,
    dir: TempDir,
}

impl Deref for Hub {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// The binary with an environment that sets nothing.
pub(crate) fn command() -> Command {
    running::command(BINARY)
}

impl Hub {
    /// A hub that knows `runner-1` to `runner-9`.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_as(command(), flags, None)
    }

    /// Its stdout goes elsewhere.
    pub(crate) fn start_to(flags: &[&str], stdout: Stdio) -> Self {
        Self::start_as(command(), flags, Some(stdout))
    }

    /// Started by this command, which may be another that becomes the binary.
    pub(crate) fn start_as(mut command: Command, flags: &[&str], stdout: Option<Stdio>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tokens = dir.path().join("tokens");
        fs::write(&tokens, (1..=9).map(|i| token_line(&format!("runner-{i}"))).collect::<String>()).unwrap();
        let stdout = stdout.unwrap_or_else(|| File::create(dir.path().join("stdout")).unwrap().into());
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        if !flags.contains(&"--auth") {
            command.arg(format!("--auth=tokens={}", tokens.display()));
        }
        command.args(flags).stdout(stdout);
        Self { running: Running::start(command), dir }
    }

    /// The lines of stdout so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.dir.path().join("stdout")).unwrap().lines().map(str::to_owned).collect()
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.dir.path().join("tokens")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        until("the hub's end", || self.running.child.try_wait().unwrap())
    }

    /// What it holds in memory, its own pages only.
    pub(crate) fn resident_kb(&self) -> u64 {
        self.status_kb("RssAnon:")
    }

    /// The most that it ever held.
    pub(crate) fn peak_kb(&self) -> u64 {
        self.status_kb("VmHWM:")
    }

    fn status_kb(&self, row: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(row)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// The lines of a runner's file of today.
pub(crate) fn dir_lines(dir: &Path, runner: &str) -> Vec<String> {
    let days = fs::read_dir(dir).into_iter().flatten().map(|day| day.unwrap().path()).filter(|day| day.is_dir());
    let files = days.map(|day| day.join(format!("{runner}.log"))).filter(|file| file.exists());
    files.flat_map(|file| fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// `seq` of each line.
pub(crate) fn seqs(lines: &[String]) -> Vec<u64> {
    let seq = |line: &String| line.split(' ').find_map(|word| word.strip_prefix("seq=")).unwrap().parse().unwrap();
    lines.iter().map(seq).collect()
}
