//! What is in `image/` besides the launchers: Dockerfiles, held to what they promise as far as that can be read from them; units, by
//! systemd's own check; and the hooks of other agents, run with a stand-in for the probe.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

#[path = "support/skip.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod skip;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

// Dockerfiles.

/// From one `FROM` to the next.
#[derive(Debug)]
struct Part {
    base: String,
    name: Option<String>,
    /// Each with what stands behind it.
    orders: Vec<(String, String)>,
}

impl Part {
    fn of(&self, order: &str) -> Vec<&str> {
        self.orders.iter().filter(|(name, _)| name == order).map(|(_, rest)| rest.as_str()).collect()
    }

    /// The sources of each COPY, what it copies from, and where to.
    fn copies(&self) -> Vec<(Option<&str>, Vec<&str>, &str)> {
        let copies = self.of("COPY").into_iter().map(|copy| {
            let words: Vec<&str> = copy.split_whitespace().collect();
            let (flags, paths): (Vec<&str>, Vec<&str>) = words.into_iter().partition(|word| word.starts_with("--"));
            let from = flags.iter().find_map(|flag| flag.strip_prefix("--from="));
            (from, paths[..paths.len() - 1].to_vec(), paths[paths.len() - 1])
        });
        copies.collect()
    }
}

fn parts(name: &str) -> Vec<Part> {
    let text = fs::read_to_string(Path::new(ROOT).join("image").join(name)).unwrap().replace("\\\n", " ");
    let mut parts: Vec<Part> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (order, rest) = line.split_once(' ').unwrap();
        match (order, parts.last_mut()) {
            ("FROM", _) => {
                let (base, name) = rest.split_once(" AS ").map_or((rest, None), |(base, name)| (base, Some(name)));
                parts.push(Part { base: base.to_owned(), name: name.map(str::to_owned), orders: Vec::new() });
            }
            ("ARG", None) => {}
            (_, part) => part.unwrap().orders.push((order.to_owned(), rest.trim().to_owned())),
        }
    }
    parts
}

/// `["a", "b"]`, so that no shell stands between the kernel and the program.
fn exec_form(text: &str) -> Vec<String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or_else(|| panic!("{text}"));
    inner.split(", ").map(|word| word.trim_matches('"').to_owned()).collect()
}

#[test]
fn what_is_copied_is_there_and_comes_from_a_stage_before() {
    for name in ["Dockerfile.runner", "Dockerfile.hub"] {
        let sent = fs::read_to_string(Path::new(ROOT).join(format!("image/{name}.dockerignore"))).unwrap();
        let is_sent = |path: &str| sent.lines().any(|line| line.strip_prefix('!') == Some(path));
        assert!(sent.lines().any(|line| line == "*"), "{name}: nothing else is sent");
        let parts = parts(name);
        for (at, part) in parts.iter().enumerate() {
            for (from, sources, _) in part.copies() {
                match from {
                    Some(from) => {
                        let before = parts[..at].iter().any(|part| part.name.as_deref() == Some(from));
                        assert!(before, "{name}: no stage {from}");
                    }
                    None => sources.iter().for_each(|path| {
                        assert!(Path::new(ROOT).join(path).exists() && is_sent(path), "{name}: {path}");
                    }),
                }
            }
        }
    }
}

#[test]
fn the_build_gets_all_that_cargo_asks_for() {
    for name in ["Dockerfile.runner", "Dockerfile.hub"] {
        let dir = tempfile::tempdir().unwrap();
        let parts = parts(name);
        for (_, sources, _) in parts[0].copies() {
            for source in sources {
                let mut copy = Command::new("cp");
                assert!(copy.arg("-r").arg(Path::new(ROOT).join(source)).arg(dir.path()).status().unwrap().success());
            }
        }
        let mut metadata = Command::new(env!("CARGO"));
        metadata.args(["metadata", "--no-deps", "--offline", "--locked", "--format-version=1"]).current_dir(dir.path());
        let output = metadata.output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let build = parts[0].of("RUN").pop().unwrap();
        let binary = build.split("--bin ").nth(1).unwrap();
        let built = String::from_utf8(output.stdout).unwrap();
        assert!(
            build.contains("cargo build --locked ") && built.contains(&format!("\"name\":\"{binary}\"")),
            "{build}"
        );
        let profile = if build.contains("--profile guest") { "guest" } else { "release" };
        let taken = format!("/src/target/{profile}/{binary}");
        let is_taken = |part: &Part| part.copies().iter().any(|(_, sources, _)| sources.contains(&taken.as_str()));
        assert!(parts[1..].iter().any(is_taken), "{name}: {taken} is built and not taken");
    }
}

#[test]
fn the_probes_layer_is_the_static_binary_alone() {
    let parts = parts("Dockerfile.runner");
    let [build, probe, runner] = &parts[..] else { panic!("{parts:?}") };
    assert!(build.base.ends_with("-alpine"), "musl links it statically");
    let rust = format!("rust:{}-alpine", env!("CARGO_PKG_RUST_VERSION"));
    assert_eq!(
        (build.base.as_str(), probe.base.as_str(), probe.name.as_deref()),
        (rust.as_str(), "scratch", Some("probe"))
    );
    assert_eq!(probe.orders.len(), 1, "{probe:?}");
    let copies = runner.copies();
    assert_eq!(copies[0], (Some("probe"), vec!["/runner-vitals"], "/usr/local/bin/runner-vitals"));
    assert_eq!(copies[1], (None, vec!["image/run-job.sh", "image/dispatch-poll.sh"], "/usr/local/bin/"));
    assert_eq!((runner.base.as_str(), runner.of("USER").len(), runner.of("RUN").len()), ("${RUNNER_IMAGE}", 0, 0));
    assert_eq!(exec_form(runner.of("ENTRYPOINT")[0]), ["/usr/local/bin/run-job.sh"]);
    assert_eq!(exec_form(runner.of("CMD")[0]), ["./run.sh"]);
}

#[test]
fn the_hub_is_alone_and_nobody() {
    let parts = parts("Dockerfile.hub");
    let hub = parts.last().unwrap();
    assert_eq!((hub.base.as_str(), hub.of("USER"), hub.of("RUN").len()), ("scratch", vec!["65532:65532"], 0));
    let copied: Vec<&str> = hub.copies().iter().map(|(_, _, to)| *to).collect();
    assert_eq!(copied, ["/etc/ssl/certs/ca-certificates.crt", "/vitals-hub"]);
    assert_eq!(exec_form(hub.of("ENTRYPOINT")[0]), ["/vitals-hub"]);
    assert_eq!(exec_form(hub.of("CMD")[0]), ["serve"]);
}

// Units.

/// The settings of a unit's `[Service]`.
fn service(name: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(ROOT).join("image/systemd").join(name)).unwrap();
    let section = text.split("[Service]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let lines = section.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn units_pass_systemds_own_check() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["runner-vitals.service", "runner-dispatch.service", "vitals-hub.service"] {
        let text = fs::read_to_string(Path::new(ROOT).join("image/systemd").join(name)).unwrap();
        // What it starts is not installed here.
        let text = text
            .replace("/usr/local/bin/runner-vitals", "/bin/true")
            .replace("/usr/local/bin/vitals-hub", "/bin/true")
            .replace("/usr/local/bin/dispatch-poll.sh", "/bin/true");
        let unit = dir.path().join(name);
        fs::write(&unit, text).unwrap();
        match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(unit).output() {
            Ok(output) => {
                let told = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success() && !told.contains(name), "{told}");
            }
            Err(_) => return skip::skipped_also_in_ci("units", "systemd-analyze is not installed"),
        }
    }
}

#[test]
fn no_hardening_takes_away_what_the_probe_reads_or_protects_itself_with() {
    let settings = service("runner-vitals.service");
    let is_set = |key: &str, value: &str| settings.contains(&(key.to_owned(), value.to_owned()));
    for key in [
        "ProtectKernelLogs",
        "PrivateDevices",
        "ProcSubset",
        "ProtectProc",
        "ProtectSystem",
        "PrivateTmp",
        "RestrictRealtime",
        "DynamicUser",
        "PrivateNetwork",
        "PrivateUsers",
        "ProtectHome",
    ] {
        assert!(settings.iter().all(|(set, _)| set != key), "{key}");
    }
    let needed = "CAP_IPC_LOCK CAP_SYS_NICE CAP_SYS_RESOURCE CAP_SYSLOG";
    assert!(is_set("AmbientCapabilities", needed) && is_set("CapabilityBoundingSet", needed));
    assert!(
        is_set("DeviceAllow", "/dev/kmsg r") && is_set("NoNewPrivileges", "yes") && is_set("OOMScoreAdjust", "-1000")
    );
    let users = fs::read_to_string(Path::new(ROOT).join("image/systemd/runner-vitals.conf")).unwrap();
    let (_, user) = settings.iter().find(|(key, _)| key == "User").unwrap();
    assert!(users.contains(&format!("\nu {user} ")), "{users}");
}

#[test]
fn the_hubs_service_writes_to_its_folder_alone_and_gives_up_on_what_stays_wrong() {
    let settings = service("vitals-hub.service");
    for (key, value) in [
        ("ProtectSystem", "strict"),
        ("StateDirectory", "vitals"),
        ("CapabilityBoundingSet", ""),
        ("NoNewPrivileges", "yes"),
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "64 78"),
    ] {
        assert!(settings.contains(&(key.to_owned(), value.to_owned())), "{key}");
    }
}

#[test]
fn a_signal_to_the_dispatched_runner_is_for_the_script() {
    let settings = service("runner-dispatch.service");
    for (key, value) in [("KillMode", "mixed"), ("OOMPolicy", "continue"), ("SuccessExitStatus", "143")] {
        assert!(settings.contains(&(key.to_owned(), value.to_owned())), "{key}");
    }
}

// Hooks.

/// The examples in a folder of the test's, with a stand-in for the probe.
struct Hooks(tempfile::TempDir);

impl Hooks {
    fn new(probe: &str) -> Self {
        let hooks = Self(tempfile::tempdir().unwrap());
        let mut copy = Command::new("cp");
        copy.args(["-r", &format!("{ROOT}/image/examples/.")]).arg(hooks.0.path());
        assert!(copy.status().unwrap().success());
        // Written by another process: what this one has open for writing could not be run by another test's child.
        let mut write = Command::new("sh");
        write
            .args(["-c", "printf '%s\\n' '#!/bin/sh' \"$1\" >\"$0\" && chmod 755 \"$0\""])
            .arg(hooks.path("probe"))
            .arg(probe);
        assert!(write.status().unwrap().success());
        let mut replace = Command::new("sh");
        replace.args(["-c", "grep -rl /opt/runner-vitals/ \"$0\" | xargs sed -i \"s,/opt/runner-vitals/,$0/,\""]);
        assert!(replace.arg(hooks.0.path()).status().unwrap().success());
        hooks
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("RUNNER_VITALS_BIN", self.path("probe"));
        command.env("RUNNER_VITALS_STDOUT", self.path("log")).env("RUNNER_VITALS_ENV_FILE", self.path("env"));
        fs::write(self.path("log"), "").unwrap();
        command
    }

    /// What the probe was called with.
    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }
}

const ECHO: &str = r#"echo "$* sink=${RUNNER_VITALS_SINK-}"; exit 75"#;

fn is_silent(output: &Output) -> bool {
    output.status.success() && output.stdout.is_empty() && output.stderr.is_empty()
}

#[test]
fn each_hook_tells_its_phase_and_never_fails_a_job() {
    let hooks = Hooks::new(ECHO);
    fs::write(hooks.path("env"), "RUNNER_VITALS_SINK=https://v.example/\n").unwrap();
    for (hook, env, told) in [
        ("actions-runner/job-started.sh", &[][..], "phase claimed"),
        ("actions-runner/job-completed.sh", &[], "phase ended"),
        (
            "act_runner/post-task.sh",
            &[("GITEA_TASK_ID", "41"), ("GITEA_JOB_RESULT", "cancelled")],
            "phase ended --job-nr 41 --job-result cancelled",
        ),
        ("act_runner/post-task.sh", &[("GITEA_JOB_RESULT", "unknown")], "phase ended"),
        ("buildkite-agent/hooks/agent-startup", &[], "phase ready"),
        ("buildkite-agent/hooks/pre-bootstrap", &[], "phase claimed"),
        ("buildkite-agent/hooks/pre-exit", &[("BUILDKITE_COMMAND_EXIT_STATUS", "7")], "phase ended --job-exit 7"),
        ("buildkite-agent/hooks/pre-exit", &[("BUILDKITE_COMMAND_EXIT_STATUS", "-1")], "phase ended"),
        ("buildkite-agent/hooks/pre-exit", &[], "phase ended"),
    ] {
        let path = hooks.path(hook);
        assert!(path.metadata().unwrap().permissions().mode() & 0o111 == 0o111, "{hook}");
        let output = hooks.command(&path).envs(env.iter().copied()).output().unwrap();
        assert!(is_silent(&output), "{hook}: {output:?}");
        assert_eq!(hooks.log(), format!("{told} sink=https://v.example/\n"), "{hook}");
    }
    // Without a probe, and without a log that it may write to.
    let mut command = hooks.command(&hooks.path("tell-phase.sh"));
    let output =
        command.arg("ready").env("RUNNER_VITALS_BIN", "/no/probe").env("RUNNER_VITALS_STDOUT", "/no/log").output();
    assert!(is_silent(&output.unwrap()));
}

/// systemd has the same file for its `EnvironmentFile=`, and what is no shell there is not to fail a job here.
#[test]
fn the_settings_of_the_machine_are_read_and_never_run() {
    for (settings, sink) in [
        ("RUNNER_VITALS_SINK=https://v.example/\n", "https://v.example/"),
        ("RUNNER_VITALS_SINK=stdout https://v.example/", "stdout https://v.example/"),
        ("RUNNER_VITALS_SINK=\"stdout https://v.example/\"\r\n", "stdout https://v.example/"),
        ("RUNNER_VITALS_SINK='a b'  \n# RUNNER_VITALS_SINK=c\n", "a b"),
        ("RUNNER_VITALS_SINK=$(touch run)`touch run`;touch run\n", "$(touch run)`touch run`;touch run"),
        ("RUNNER_VITALS_LABEL=it's\nRUNNER_VITALS_SINK=a\n", "a"),
        ("if (\n=x\nUID=0\nPATH=/no\nA-B=c\n[service]\nRUNNER_VITALS_SINK=a\n", "a"),
        ("", ""),
    ] {
        let hooks = Hooks::new(ECHO);
        fs::write(hooks.path("env"), settings).unwrap();
        let mut command = hooks.command(&hooks.path("tell-phase.sh"));
        let output = command.arg("ready").current_dir(hooks.path("")).output().unwrap();
        assert!(is_silent(&output), "{settings:?}: {output:?}");
        assert_eq!(hooks.log(), format!("phase ready sink={sink}\n"), "{settings:?}");
        assert!(!hooks.path("run").exists(), "{settings:?}");
    }
    let hooks = Hooks::new(ECHO);
    fs::create_dir(hooks.path("env")).unwrap();
    assert!(is_silent(&hooks.command(&hooks.path("tell-phase.sh")).arg("ready").output().unwrap()));
    assert_eq!(hooks.log(), "phase ready sink=\n");
}

#[test]
fn the_flags_of_the_hooks_are_the_probes() {
    let hooks = Hooks::new(&format!("exec {} \"$@\"", env!("CARGO_BIN_EXE_runner-vitals")));
    let mut command = hooks.command(&hooks.path("act_runner/post-task.sh"));
    let output = command.env("GITEA_TASK_ID", "41").env("GITEA_JOB_RESULT", "skipped").output().unwrap();
    assert!(is_silent(&output));
    assert!(hooks.log().contains(" event=phase phase=ended job.nr=41 job.result=skipped "), "{}", hooks.log());
}

/// As gitlab-runner makes the script of a build from these settings (its shells/bash.go).
#[test]
fn the_trap_of_gitlab_runner_tells_the_code_of_a_build_that_fails() {
    let hooks = Hooks::new(ECHO);
    let config = fs::read_to_string(hooks.path("gitlab-runner/config.toml")).unwrap();
    let setting = |key: &str| {
        let line = config.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
        let text = line.trim().strip_prefix("= \"").unwrap().strip_suffix('"').unwrap();
        text.replace("\\\"", "\"")
    };
    let script = |build: &str| {
        let eval =
            format!("{}\necho building\n{build}\necho done\n", setting("pre_build_script")).replace('\'', "'\\''");
        format!("set -o pipefail; set -o errexit\n: | eval '{eval}'\nexit 0\n")
    };
    for (build, code) in [("true", 0), ("exit 3", 3), ("false", 1)] {
        let mut command = hooks.command(Path::new("bash"));
        let output = command.args(["-c", &script(build)]).env("CI_JOB_ID", "12345678901").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(hooks.log(), format!("phase ended --job-nr 12345678901 --job-exit {code} sink=\n"));
    }
    let mut command = hooks.command(Path::new("bash"));
    let output = command.args(["-c", &setting("pre_get_sources_script")]).env("CI_JOB_ID", "7").output().unwrap();
    assert!(is_silent(&output));
    assert_eq!(hooks.log(), "phase claimed --job-nr 7 sink=\n");
}
