//! A folder with stand-ins, and the script run in it.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::dispatcher::Dispatcher;
use crate::skip::skipped;

pub(crate) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/image/dispatch-poll.sh");
pub(crate) const REAL_PROBE: &str = env!("CARGO_BIN_EXE_runner-vitals");

/// So long may anything take on a loaded machine before it counts as hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Writes down each phase that it is told; beside a job it waits for its end.
const PROBE: &str = r#"if [ "$1" = phase ]; then shift; echo "$*" >>"$TOLD"; exit; fi
    trap exit TERM; n=0; while [ $((n += 1)) -lt 3000 ]; do sleep 0.02; done"#;

/// Where the script runs.
pub(crate) struct Stage {
    folder: TempDir,
    variables: Vec<(String, String)>,
    around: Vec<String>,
}

/// A script that was started.
pub(crate) struct Running {
    pub(crate) child: Child,
    started: Instant,
    folder: PathBuf,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The phases, each with its flags.
    pub(crate) told: Vec<String>,
    pub(crate) took: Duration,
}

impl Stage {
    pub(crate) fn new(dispatcher: &Dispatcher) -> Self {
        Self::at(&dispatcher.url())
    }

    /// With waits that nobody notices.
    pub(crate) fn at(url: &str) -> Self {
        let stage = Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new(), around: Vec::new() };
        stage.script("probe", PROBE);
        fs::write(stage.path("token"), "first\n").unwrap();
        let path = |name: &str| stage.path(name).display().to_string();
        let (probe, token, told) = (path("probe"), path("token"), path("told"));
        // What a test puts there goes before the system's.
        let programs = format!("{}:{}", path("bin"), env::var("PATH").unwrap());
        fs::create_dir(stage.path("bin")).unwrap();
        stage
            .env("PATH", &programs)
            .env("RUNNER_DISPATCH_URL", url)
            .env("RUNNER_DISPATCH_TOKEN_FILE", &token)
            .env("RUNNER_DISPATCH_WAIT", "0.02")
            .env("RUNNER_DISPATCH_WAIT_MAX", "0.1")
            .env("RUNNER_DISPATCH_ERROR_MAX", "0.1")
            .env("RUNNER_VITALS_BIN", &probe)
            .env("TOLD", &told)
    }

    /// A later value takes the place of an earlier one.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Written by another process: a descriptor that is open for writing here could be inherited by the child of another test, and
    /// then the file could not be executed (ETXTBSY).
    pub(crate) fn script(&self, name: &str, text: &str) {
        let mut writer = Command::new("sh");
        writer.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(self.path(name)).stdin(Stdio::piped());
        let mut writer = writer.spawn().unwrap();
        writer.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{text}\n").as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
    }

    /// The same stage, on which the script is PID 1; none, and loudly so, where namespaces are not allowed.
    pub(crate) fn in_pid_namespace(mut self) -> Option<Self> {
        let unshare = ["unshare", "--pid", "--fork", "--mount-proc"];
        for more in [[].as_slice(), &["--user", "--map-root-user"]] {
            let around = [unshare.as_slice(), more].concat();
            let works = Command::new(around[0]).args(&around[1..]).arg("true").stderr(Stdio::null()).status();
            if works.is_ok_and(|status| status.success()) {
                self.around = around.into_iter().map(str::to_owned).collect();
                return Some(self);
            }
        }
        skipped("the script", "PID namespaces are not allowed here");
        None
    }

    /// The script, with this runner.
    pub(crate) fn command(&self, runner: &[&str]) -> Command {
        let script = env::var("DISPATCH_POLL_BASH")
            .map_or(vec![SCRIPT.to_owned()], |bash| vec![bash, "-p".to_owned(), SCRIPT.to_owned()]);
        let mut all = self.around.iter().chain(&script);
        let mut command = Command::new(all.next().unwrap());
        command.args(all).args(runner).current_dir(self.folder.path()).stdin(Stdio::null()).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdout(File::create(self.path("stdout")).unwrap());
        command.stderr(File::create(self.path("stderr")).unwrap());
        command
    }

    pub(crate) fn start(&self, runner: &[&str]) -> Running {
        self.spawn(&mut self.command(runner))
    }

    pub(crate) fn spawn(&self, command: &mut Command) -> Running {
        Running { child: command.spawn().unwrap(), started: Instant::now(), folder: self.folder.path().to_owned() }
    }

    /// Runs a runner of this shell script to its end.
    pub(crate) fn run(&self, runner: &str) -> End {
        self.start(&["sh", "-c", runner]).end()
    }
}

impl Running {
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status().unwrap().success());
    }

    pub(crate) fn until_stdout(&self, words: &str) {
        until(words, || fs::read_to_string(self.folder.join("stdout")).unwrap().contains(words));
    }

    pub(crate) fn end(mut self) -> End {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.started.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("it hangs: {}{}{}", read("stdout"), read("stderr"), read("told"));
            }
            thread::sleep(Duration::from_millis(2));
        };
        let took = self.started.elapsed();
        let code = status.code().unwrap_or_else(|| panic!("killed by {:?}", status.signal()));
        let told = read("told").lines().map(str::to_owned).collect();
        End { code, stdout: read("stdout"), stderr: read("stderr"), told, took }
    }
}

impl End {
    /// The phases alone.
    pub(crate) fn phases(&self) -> Vec<&str> {
        self.told.iter().map(|told| told.split(' ').next().unwrap()).collect()
    }

    /// What the phase was told with, the first of its kind.
    pub(crate) fn flags_of(&self, phase: &str) -> &str {
        let told = self.told.iter().find(|told| told.starts_with(phase));
        told.unwrap_or_else(|| panic!("no {phase} in {:?}", self.told))
    }
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A file that comes to be there.
pub(crate) fn until_there(path: &Path) {
    until(&path.display().to_string(), || path.exists());
}
