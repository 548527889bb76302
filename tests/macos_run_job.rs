//! image/macos/run-job.sh with stand-ins for the probe and the runner: any system with bash can run it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/image/macos/run-job.sh");

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says in `told` which process it is to end with, its group and its parent, once that is not a shell of the script any more.
const PROBE: &str = r#"#!/bin/bash
while parent=$(ps -o ppid= -p $$ | tr -d ' '); [[ $(ps -o args= -p "$parent") == *run-job.sh* ]]; do sleep 0.05; done
echo "$RUNNER_VITALS_EXIT_WITH $$ $(ps -o pgid= -p $$ | tr -d ' ') $parent ${RUNNER_TRACKING_ID-unset} $#" >"$TOLD.new"
mv "$TOLD.new" "$TOLD"
"#;

/// Waits until the probe has spoken, so that its words are of a runner that is there, and says what it was given.
const RUNNER: &str = r#"#!/bin/bash
for ((i = 0; i < 600; i++)); do [[ ! -x ${RUNNER_VITALS_BIN-} || -e $TOLD || ${RUNNER_VITALS-} == [oO0]* ]] && break; sleep 0.05; done
echo "$$ ${RUNNER_VITALS_EXIT_WITH-unset} ${RUNNER_TRACKING_ID-unset} $*"
exit 7
"#;

struct Stage(TempDir);

impl Stage {
    fn new() -> Self {
        let stage = Self(tempfile::tempdir().unwrap());
        stage.script("probe", PROBE);
        stage.script("runner", RUNNER);
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Renamed into its place: what other tests start in this moment could hold a file open for writing.
    fn script(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = Command::new("bash");
        command.arg("-p").arg(SCRIPT).args(args);
        for name in ["RUNNER_VITALS", "RUNNER_VITALS_EXIT_WITH"] {
            command.env_remove(name);
        }
        command.env("TOLD", self.path("told")).env("RUNNER_VITALS_BIN", self.path("probe"));
        command.env("RUNNER_TRACKING_ID", "job").envs(env.iter().copied()).output().unwrap()
    }

    fn runner(&self) -> String {
        self.path("runner").display().to_string()
    }

    fn told(&self) -> Option<Vec<String>> {
        let deadline = Instant::now() + PATIENCE;
        while !self.path("told").exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let told = fs::read_to_string(self.path("told")).ok()?;
        Some(told.split_whitespace().map(str::to_owned).collect())
    }
}

#[test]
fn the_runner_takes_the_place_of_the_script_and_the_probe_stands_beside_it() {
    let stage = Stage::new();
    let output = stage.run(&[&stage.runner(), "a b", "-x"], &[]);
    assert_eq!(output.status.code(), Some(7));
    let said = String::from_utf8(output.stdout).unwrap();
    let (pid, rest) = said.trim_end().split_once(' ').unwrap();
    assert_eq!(rest, "unset job a b -x");
    let told = stage.told().unwrap();
    let [exit_with, own, group, parent, tracking, arguments] = &told[..] else { panic!("{told:?}") };
    assert_eq!(exit_with, pid, "it ends with the runner");
    assert_eq!(own, group, "it leads a group of its own");
    assert_ne!(parent, pid, "it is no child of the runner");
    assert_eq!((tracking.as_str(), arguments.as_str()), ("unset", "0"));
}

#[test]
fn another_process_to_end_with_stays_as_set() {
    let stage = Stage::new();
    stage.run(&[&stage.runner()], &[("RUNNER_VITALS_EXIT_WITH", "1")]);
    assert_eq!(stage.told().unwrap()[0], "1");
}

#[test]
fn whatever_is_wrong_with_the_probe_the_job_runs() {
    let stage = Stage::new();
    let broken = stage.path("broken");
    stage.script("broken", "\u{7f}ELF");
    for (bin, says) in [("/no/such/probe", true), ("/", true), (broken.to_str().unwrap(), false)] {
        let output = stage.run(&[&stage.runner()], &[("RUNNER_VITALS_BIN", bin), ("TOLD", "/")]);
        assert_eq!(output.status.code(), Some(7), "{bin}");
        assert_eq!(!output.stderr.is_empty(), says, "{bin}: {:?}", String::from_utf8(output.stderr));
    }
}

#[test]
fn it_can_be_switched_off() {
    for word in ["off", "OFF", "0"] {
        let stage = Stage::new();
        let output = stage.run(&[&stage.runner()], &[("RUNNER_VITALS", word)]);
        assert_eq!(output.status.code(), Some(7));
        assert!(!stage.path("told").exists(), "{word}");
    }
}

#[test]
fn without_a_runner_it_is_a_usage_error_and_one_that_is_not_there_is_127() {
    let stage = Stage::new();
    assert_eq!(stage.run(&[], &[]).status.code(), Some(64));
    assert_eq!(stage.run(&["/no/such/runner"], &[("RUNNER_VITALS", "off")]).status.code(), Some(127));
    assert!(Path::new(SCRIPT).metadata().unwrap().permissions().mode() & 0o111 != 0);
}
