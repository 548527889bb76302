//! What `image/run-job.sh` promises: the runner gets all it would get without it, the probe gets its last word, and nothing
//! the probe does or fails to do reaches the job. Runners and probes are stand-ins of a few lines of shell, but for the
//! last tests, which run the real probe.
//!
//! `RUN_JOB_BASH=/path/to/bash cargo test --test run_job` tries the launcher on another bash.

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

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use skip::skipped;
use tempfile::TempDir;

const LAUNCHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/image/run-job.sh");
const REAL_PROBE: &str = env!("CARGO_BIN_EXE_runner-vitals");

/// So long may anything take on a loaded machine before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(30);

/// A probe that does what it is told.
const GOOD: &str = "trap 'echo probe: last; exit' TERM; echo probe: ready; n=0
    while [ $((n += 1)) -lt 1500 ]; do sleep 0.02; done";

/// The same without a word, for tests that compare all of stdout.
const QUIET: &str = "trap exit TERM; n=0; while [ $((n += 1)) -lt 1500 ]; do sleep 0.02; done";

/// A probe that goes only by SIGKILL.
const HUNG: &str = "trap '' TERM; echo probe: ready; exec sleep 30";

/// The start of a runner's script: it goes on when the probe has come up.
const AFTER_READY: &str = "until grep -q 'probe: ready' \"$OUT\"; do sleep 0.02; done;";

/// The end of a runner's script: it stays until a signal ends it.
const STAY: &str = "echo runner: ready; n=0; while [ $((n += 1)) -lt 1500 ]; do sleep 0.02; done; exit 99";

/// The signals that the launcher passes on, with their numbers.
const SIGNALS: [(&str, i32); 6] = [("HUP", 1), ("INT", 2), ("QUIT", 3), ("USR1", 10), ("USR2", 12), ("TERM", 15)];

// The exit code.

#[test]
fn the_exit_code_is_the_runners_and_bash_adds_no_remark() {
    for (script, code) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137), ("kill -TERM $$", 143)]
    {
        for bench in [Bench::new(QUIET), Bench::new("exit 1"), Bench::without_probe()] {
            let end = bench.run(&["sh", "-c", script]);
            assert_eq!((end.code, end.stderr.as_str()), (code, ""), "{script}");
        }
    }
}

#[test]
fn without_a_runner_there_is_a_usage_message() {
    let end = Bench::new(QUIET).run(&[]);
    assert_eq!((end.code, end.stdout.as_str()), (64, ""));
    assert!(end.stderr.starts_with("usage: run-job.sh RUNNER"), "{}", end.stderr);
}

#[test]
fn a_runner_that_cannot_start_gives_the_shells_codes_and_says_so() {
    let bench = Bench::new(QUIET);
    for (runner, code) in [("/nonexistent/runner", 127), ("/etc/passwd", 126)] {
        let end = bench.run(&[runner]);
        assert_eq!(end.code, code, "{runner}");
        assert!(end.stderr.contains(runner), "{}", end.stderr);
    }
}

// Signals.

#[test]
fn each_signal_reaches_a_runner_that_handles_it() {
    let bench = Bench::new(QUIET);
    for (name, _) in SIGNALS {
        let running = bench.start(&["sh", "-c", &format!("trap 'echo got {name}; exit 3' {name}; {STAY}")]);
        running.until_stdout("runner: ready");
        running.signal(name);
        let end = running.end();
        assert_eq!(end.code, 3, "{name}");
        assert!(end.stdout.contains(&format!("got {name}\n")), "{name}: {}", end.stdout);
    }
}

#[test]
fn each_signal_ends_a_runner_that_does_not_handle_it() {
    let bench = Bench::new(QUIET);
    for (name, number) in SIGNALS {
        let running = bench.start(&["sh", "-c", "echo runner: ready; exec sleep 30"]);
        running.until_stdout("runner: ready");
        running.signal(name);
        let end = running.end();
        assert_eq!((end.code, end.stderr.as_str()), (128 + number, ""), "{name}");
        assert!(end.took < PATIENCE / 2, "{name} had to wait for the sleep");
    }
}

#[test]
fn the_launcher_waits_on_while_a_runner_winds_down() {
    let script = format!("trap 'echo winding down; sleep 1; echo wound down; exit 0' TERM; {STAY}");
    let bench = Bench::new(QUIET);
    let running = bench.start(&["sh", "-c", &script]);
    running.until_stdout("runner: ready");
    running.signal("TERM");
    let end = running.end();
    assert_eq!(end.code, 0);
    assert!(end.stdout.contains("wound down\n"), "{}", end.stdout);
}

#[test]
fn signals_are_passed_on_again_and_again() {
    let script = format!("trap 'n=0; echo hup' HUP; trap 'echo usr1' USR1; trap 'exit 5' TERM; {STAY}");
    let bench = Bench::new(QUIET);
    let running = bench.start(&["sh", "-c", &script]);
    running.until_stdout("runner: ready");
    for (name, answer) in [("HUP", "hup\n"), ("USR1", "usr1\n"), ("HUP", "hup\nusr1\nhup\n")] {
        running.signal(name);
        running.until_stdout(answer);
    }
    running.signal("TERM");
    assert_eq!(running.end().code, 5);
}

#[test]
fn a_signal_after_the_runners_end_does_not_cost_its_exit_code() {
    let bench = Bench::new(HUNG);
    let running = bench.start(&["sh", "-c", &format!("echo $$ >pid; {AFTER_READY} exit 7")]);
    until("the pid", || bench.path("pid").exists() && !bench.read("pid").is_empty());
    let pid = bench.read("pid");
    until("reaped", || !Path::new("/proc").join(pid.trim()).exists());
    running.signal("TERM");
    assert_eq!(running.end().code, 7);
}

/// There bash may forget the runner and wait for ever, and the more so the longer it waits for a CPU.
#[test]
fn a_signal_in_the_moment_of_the_runners_end_does_not_hold_the_launcher() {
    let bench = Bench::new(GOOD);
    let mut load = Command::new("sh");
    load.args(["-c", "n=0; while [ $((n += 1)) -lt 9000000 ]; do :; done"]);
    let mut loads: Vec<Child> = (0..4).map(|_| load.spawn().unwrap()).collect();
    for _ in 0..15 {
        let running = bench.start(&["sh", "-c", "trap '' TERM; sleep 0.02; echo runner: ending; exit 7"]);
        running.until_stdout("runner: ending");
        for _ in 0..5 {
            running.signal("TERM");
        }
        let end = running.end();
        assert!(end.code == 7 || end.code == 143, "{}", end.code);
        assert!(end.took < PATIENCE / 2, "{:?}", end.took);
    }
    for load in &mut loads {
        load.kill().unwrap();
        load.wait().unwrap();
    }
}

// The runner gets what it would get without the launcher.

#[test]
fn signal_dispositions_descriptors_and_session_are_untouched() {
    let bench = Bench::new(QUIET);
    for script in [
        "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status",
        "cd /proc/self/fd; echo *; readlink 0",
        "cut -d' ' -f5,6 /proc/$$/stat",
        "ulimit -a; nice; umask; cat /proc/$$/oom_score_adj",
    ] {
        // By its path: `Command` starts what it has to look up in another way, which leaves other signals ignored.
        let runner = ["/bin/sh", "-c", &format!("{script}; echo $?")];
        let (end, direct) = (bench.run(&runner), bench.run_direct(&runner));
        assert_eq!(end.stdout, direct.stdout, "{script}");
    }
}

#[test]
fn the_environment_is_untouched() {
    let bench = Bench::new(QUIET);
    let folder = bench.folder.path().display().to_string();
    let bench = bench
        .env("PWD", &folder)
        .env("SHLVL", "3")
        .env("RUNNER_TRACKING_ID", "github_1")
        .env("not.a.name", "kept by bash, dropped by dash")
        .env("two lines", "one\ntwo")
        .env("status", "names that a script may use")
        .env("probe", "")
        .env("path", "x")
        .env("nap", "x")
        .env("BASH_FUNC_main%%", "() {  echo an exported function\n}")
        .env("BASH_FUNC_wait%%", "() {  echo an exported function\n}")
        .env("BASH_ENV", "/nonexistent/bash_env");
    let (end, direct) = (bench.run(&["env", "-0"]), bench.run_direct(&["env", "-0"]));
    let variables = |stdout: &str| stdout.split('\0').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(variables(&end.stdout), variables(&direct.stdout));
    assert_eq!(end.stderr, "");
}

#[test]
fn arguments_are_untouched() {
    let arguments = ["%s|", "a b", "", "*", "$HOME", "-n", "--", "'\"\\", "two\nlines", "é"];
    let end = Bench::without_probe().run(&[&["printf"], arguments.as_slice()].concat());
    assert_eq!(end.stdout, "a b||*|$HOME|-n|--|'\"\\|two\nlines|é|");
}

#[test]
fn a_runner_is_a_program_also_when_it_has_a_builtins_name() {
    let end = Bench::without_probe().run(&["exit", "3"]);
    assert_eq!(end.code, 127, "{}", end.stderr);
}

#[test]
fn stdin_is_the_runners() {
    let bench = Bench::new("cat >stolen; sleep 30");
    let mut command = bench.command(&["sh", "-c", "cat; exit 7"]);
    let mut running = bench.spawn(command.stdin(Stdio::piped()));
    running.child.stdin.take().unwrap().write_all(b"for the runner\n").unwrap();
    let end = running.end();
    assert_eq!((end.code, end.stdout.as_str()), (7, "for the runner\n"));
}

#[test]
fn closed_or_broken_standard_streams_do_not_stop_the_job() {
    let launcher = Bench::new(QUIET).launcher.join(" ");
    for redirection in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "| true", ">/dev/full 2>&1"] {
        let bench = Bench::new(QUIET).env("MARK", "mark");
        let wrapped = format!("set -- {launcher} sh -c ': >\"$MARK\"; exit 7'; \"$@\" {redirection}");
        let end = bench.run_direct(&["sh", "-c", &wrapped]);
        assert!(bench.path("mark").exists(), "{redirection}");
        assert_eq!(end.code, if redirection == "| true" { 0 } else { 7 }, "{redirection}");
    }
}

#[test]
fn the_options_u_and_posix_are_borne() {
    let end = Bench::new(GOOD).launcher_options(&["-p", "-u"]).run(&["sh", "-c", &format!("{AFTER_READY} exit 7")]);
    assert_eq!((end.code, end.stderr.as_str(), end.last_line()), (7, "", "probe: last"));
    let end = Bench::without_probe().launcher_options(&["-u"]).run(&["sh", "-c", "exit 7"]);
    assert_eq!((end.code, end.stderr.as_str()), (7, ""));
    let end = Bench::new(GOOD).env("POSIXLY_CORRECT", "1").run(&["sh", "-c", &format!("{AFTER_READY} exit 7")]);
    assert_eq!((end.code, end.stderr.as_str(), end.last_line()), (7, "", "probe: last"));
}

// What the probe gets.

#[test]
fn the_probe_gets_its_environment_no_arguments_and_an_empty_stdin() {
    let probe = "env >env; echo \"$#\" >arguments; readlink /proc/$$/fd/0 >stdin; echo probe: ready";
    let bench = Bench::new(probe).env("RUNNER_TRACKING_ID", "github_1").env("RUNNER_VITALS_INTERVAL", "9");
    let running = bench.start(&["sh", "-c", &format!("{AFTER_READY} env >runner")]);
    let launcher_pid = running.child.id().to_string();
    assert_eq!(running.end().code, 0);

    let (probes, runners) = (bench.variables("env"), bench.variables("runner"));
    assert_eq!(probes.get("RUNNER_VITALS_EXIT_WITH"), Some(&launcher_pid));
    assert_eq!(probes.get("RUNNER_VITALS_INTERVAL").map(String::as_str), Some("9"));
    assert_eq!(probes.get("RUNNER_TRACKING_ID"), None);
    assert_eq!(runners.get("RUNNER_VITALS_EXIT_WITH"), None);
    assert_eq!(runners.get("RUNNER_TRACKING_ID").map(String::as_str), Some("github_1"));
    assert_eq!((bench.read("arguments").as_str(), bench.read("stdin").as_str()), ("0\n", "/dev/null\n"));
}

#[test]
fn the_operators_own_exit_with_stays() {
    let bench = Bench::new("env >env; echo probe: ready").env("RUNNER_VITALS_EXIT_WITH", "42");
    assert_eq!(bench.run(&["sh", "-c", AFTER_READY.trim_end_matches(';')]).code, 0);
    assert_eq!(bench.variables("env")["RUNNER_VITALS_EXIT_WITH"], "42");
}

#[test]
fn runner_vitals_off_means_no_probe() {
    let remark = "run-job.sh: no probe for this job: ";
    for (value, wanted) in [
        ("off", false),
        ("OFF", false),
        ("0", false),
        ("false", false),
        ("No", false),
        ("", true),
        ("on", true),
        ("1", true),
        ("offline", true),
    ] {
        // A missing probe tells at once whether it was looked for.
        let bench = Bench::new(GOOD).env("RUNNER_VITALS", value).env("RUNNER_VITALS_BIN", "/nonexistent/probe");
        let end = bench.run(&["sh", "-c", "exit 7"]);
        assert_eq!((end.code, end.stderr.starts_with(remark)), (7, wanted), "{value:?}: {}", end.stderr);
    }
}

// Nothing that is wrong with the probe reaches the job.

#[test]
fn a_probe_that_does_not_start_costs_at_most_one_line_on_stderr() {
    let bench = Bench::new(GOOD);
    bench.write("plain", "644", b"#!/bin/sh\necho probe: ready\n");
    bench.write("machine", "755", &elf_for_no_machine());
    bench.write("interpreter", "755", b"#!/nonexistent/interpreter\n");
    for (probe, lines) in [("missing", 1), ("plain", 1), (".", 1), ("machine", 0), ("interpreter", 0)] {
        let path = bench.path(probe);
        let end = bench.run_with_probe(&path, &["sh", "-c", "echo job; exit 7"]);
        assert_eq!((end.code, end.stdout.as_str()), (7, "job\n"), "{probe}");
        assert_eq!(end.stderr.lines().count(), lines, "{probe}: {}", end.stderr);
        assert!(end.took < Duration::from_secs(2), "{probe} took {:?}", end.took);
    }
}

#[test]
fn a_probe_that_dies_says_nothing_in_the_jobs_name() {
    for probe in ["exit 1", "echo usage >&2; exit 64", "kill -SEGV $$", "kill -KILL $$"] {
        let script = "n=0; while [ $((n += 1)) -lt 5 ]; do sleep 0.02; done; echo job; exit 7";
        let end = Bench::new(probe).run(&["sh", "-c", script]);
        assert_eq!((end.code, end.stdout.as_str(), end.stderr.as_str()), (7, "job\n", ""), "{probe}");
        assert!(end.took < Duration::from_secs(2), "{probe} took {:?}", end.took);
    }
}

#[test]
fn a_probe_that_does_not_end_is_killed_after_half_a_second() {
    for probe in [HUNG, "echo probe: ready; kill -STOP $$; sleep 30"] {
        let bench = Bench::new(&format!("echo $$ >pid; {probe}"));
        let end = bench.run(&["sh", "-c", &format!("{AFTER_READY} exit 7")]);
        assert_eq!((end.code, end.stderr.as_str()), (7, ""), "{probe}");
        assert!(end.took >= Duration::from_millis(400), "{probe} had only {:?}", end.took);
        assert!(end.took < Duration::from_secs(2), "{probe} took {:?}", end.took);
        let pid = bench.read("pid");
        until(probe, || !is_alive(&pid));
    }
}

#[test]
fn a_probe_whose_lines_go_by_network_has_two_seconds_more() {
    const SLOW: &str = "trap 'sleep 1; echo probe: last; exit' TERM; echo probe: ready; n=0
        while [ $((n += 1)) -lt 1500 ]; do sleep 0.02; done";
    let runner = format!("{AFTER_READY} exit 3");
    for (setting, is_heard) in [("RUNNER_VITALS_URL", true), ("RUNNER_VITALS_SINK", true), ("UNRELATED", false)] {
        let end = Bench::new(SLOW).env(setting, "http://127.0.0.1:9/").run(&["sh", "-c", &runner]);
        assert_eq!((end.code, end.stdout.contains("probe: last")), (3, is_heard), "{setting}: {}", end.stdout);
    }
}

#[test]
fn a_probe_has_time_for_its_last_line() {
    let slow = GOOD.replace("echo probe: last", "sleep 0.2; echo probe: last");
    let end = Bench::new(&slow).run(&["sh", "-c", &format!("{AFTER_READY} echo job; exit 7")]);
    assert_eq!((end.code, end.stdout.as_str()), (7, "probe: ready\njob\nprobe: last\n"));
}

#[test]
fn a_probe_that_ends_at_once_costs_no_half_second() {
    let bench = Bench::new(GOOD);
    let best = (0..10).map(|_| bench.run(&["sh", "-c", AFTER_READY.trim_end_matches(';')]).took).min();
    assert!(best < Some(Duration::from_millis(350)), "{best:?}");
}

#[test]
fn what_the_job_leaves_behind_neither_holds_the_launcher_nor_is_killed_by_it() {
    let bench = Bench::new(GOOD);
    let end = bench.run(&["sh", "-c", &format!("{AFTER_READY} sleep 60 & echo $! >daemon; exit 7")]);
    let pid = bench.read("daemon");
    let alive = is_alive(&pid);
    send("KILL", &pid);
    assert_eq!((end.code, alive), (7, true));
    assert!(end.took < PATIENCE / 2, "{:?}", end.took);
}

// PID 1 of a PID namespace.

#[test]
fn as_pid_1_the_probe_still_has_its_last_word() {
    let Some(bench) = Bench::new(GOOD).in_pid_namespace() else { return };
    let end = bench.run(&["sh", "-c", &format!("{AFTER_READY} echo parent $PPID; exit 7")]);
    assert_eq!((end.code, end.stderr.as_str()), (7, ""));
    assert_eq!(end.stdout, "probe: ready\nparent 1\nprobe: last\n");
}

#[test]
fn as_pid_1_signals_reach_the_runner() {
    let Some(bench) = Bench::new(QUIET).in_pid_namespace() else { return };
    for (name, _) in SIGNALS {
        let script = format!("trap 'echo got {name}; exit 3' {name}; kill -s {name} 1; {STAY}");
        let end = bench.run(&["sh", "-c", &script]);
        assert_eq!((end.code, end.stdout.contains(&format!("got {name}\n"))), (3, true), "{name}");
    }
}

#[test]
fn as_pid_1_orphans_are_reaped_and_outlive_nothing() {
    let Some(bench) = Bench::new(QUIET).in_pid_namespace() else { return };
    let script = "for _ in 1 2 3 4 5; do sh -c 'sleep 0.05 & echo $! >>orphans'; done
        n=0; while [ $((n += 1)) -lt 1000 ]; do
            left=0; for pid in $(cat orphans); do [ ! -d /proc/$pid ] || left=1; done
            [ $left = 1 ] || break; sleep 0.02
        done
        sleep 60 & echo left=$left; exit 7";
    let end = bench.run(&["sh", "-c", script]);
    assert_eq!((end.code, end.stdout.as_str()), (7, "left=0\n"));
    assert!(end.took < PATIENCE / 2, "{:?}", end.took);
}

/// The dead probe's pid is given to a daemon of the job before the launcher comes to stop the probe.
#[test]
fn a_reused_pid_is_not_taken_for_the_probe() {
    let Some(bench) = Bench::new("echo $$ >pid; exit 1").in_pid_namespace() else { return };
    let runner = "until [ -s pid ] && [ ! -d /proc/$(cat pid) ]; do sleep 0.02; done
        echo $(($(cat pid) - 1)) >/proc/sys/kernel/ns_last_pid; sleep 60 & echo $! >daemon; exit 7";
    bench.write("runner", "755", format!("#!/bin/sh\n{runner}\n").as_bytes());
    // A shell is PID 1 here, so that the daemon outlives the launcher.
    let launcher = bench.launcher.join(" ");
    let around = format!("{launcher} ./runner; echo code=$?; read -r pid <daemon; kill -0 $pid && echo alive");
    let mut command = bench.bare_command(&["sh", "-c", &around]);
    let end = bench.spawn(&mut command).end();
    if bench.read("pid") != bench.read("daemon") {
        return skipped("the launcher", "the pids of a namespace cannot be set here");
    }
    assert_eq!(end.stdout, "code=7\nalive\n");
}

// The real probe.

#[test]
fn the_real_probe_says_start_and_stop() {
    let script = "until grep -q event=start \"$OUT\"; do sleep 0.02; done; echo job; exit 7";
    let plain = Some(Bench::new(GOOD));
    for bench in [plain, Bench::new(GOOD).in_pid_namespace()].into_iter().flatten() {
        let end = bench.run_with_probe(Path::new(REAL_PROBE), &["sh", "-c", script]);
        assert_eq!((end.code, end.stderr.as_str()), (7, ""), "{}", end.stdout);
        let is_line = |line: &&str| line.starts_with("RUNNER_VITALS ");
        let has = |line: &str, words: &[&str]| words.iter().all(|word| line.split(' ').any(|field| field == *word));
        let says = |words: &[&str]| end.stdout.lines().filter(is_line).any(|line| has(line, words));
        assert!(says(&["event=start"]), "{}", end.stdout);
        assert!(says(&["event=stop", "reason=sigterm"]), "{}", end.stdout);
        assert!(end.took < PATIENCE / 2, "{:?}", end.took);
    }
}

// The script itself.

#[test]
fn a_job_that_ends_at_once_leaves_a_whole_trail() {
    let bench = Bench::new(GOOD);
    for runner in [&["true"][..], &["sh", "-c", "kill -9 $$"], &["/nonexistent/runner"]] {
        for _ in 0..5 {
            let end = bench.run_with_probe(Path::new(REAL_PROBE), runner);
            assert!(end.stdout.contains(" event=start ") && end.stdout.contains(" event=stop "), "{}", end.stdout);
        }
    }
}

/// The probe has taken the last process that the user may have: bash cannot start the runner, and becomes it.
#[test]
fn a_job_for_which_there_is_no_process_left_still_runs() {
    if !rustix::process::geteuid().is_root() {
        return skipped("the launcher", "needs root, to become a user who has no process yet");
    }
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let copy = |from: &str, name: &str| {
        let to = dir.path().join(name);
        assert!(Command::new("cp").arg(from).arg(&to).status().unwrap().success());
        to
    };
    let (script, probe) = (copy(LAUNCHER, "run-job.sh"), copy(REAL_PROBE, "probe"));
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let user = "61517";
    let output = Command::new("setpriv")
        .args(["--reuid", user, "--regid", user, "--clear-groups", "prlimit", "--nproc=2:2"])
        .args([script.to_str().unwrap(), "sh", "-c", "echo ran; exit 6"])
        .env("RUNNER_VITALS_BIN", probe)
        .current_dir("/")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(6) && stdout.contains("ran\n"), "{output:?}");
}

#[test]
fn the_script_is_executable_parses_and_is_clean() {
    let bench = Bench::new(QUIET);
    assert_eq!(bench.run_direct(&["test", "-x", LAUNCHER]).code, 0);
    let end = bench.run_direct(&["bash", "-n", LAUNCHER]);
    assert_eq!((end.code, end.stderr.as_str()), (0, ""));
    if bench.run_direct(&["sh", "-c", "command -v shellcheck"]).code != 0 {
        return skipped("the launcher", "shellcheck is not installed");
    }
    let end = bench.run_direct(&["shellcheck", LAUNCHER]);
    assert_eq!((end.code, end.stdout.as_str()), (0, ""));
}

// Helpers.

/// A folder to run the launcher in, with a stand-in probe in it.
struct Bench {
    folder: TempDir,
    variables: Vec<(String, String)>,
    /// What comes before the runner and its arguments: the launcher, on its own or under another bash.
    launcher: Vec<String>,
    /// What comes before all that: `unshare`, or nothing.
    around: Vec<String>,
}

/// A launcher that was started.
struct Running {
    child: Child,
    started: Instant,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// How it ended.
struct End {
    code: i32,
    stdout: String,
    stderr: String,
    took: Duration,
}

impl Bench {
    fn new(probe: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let launcher = env::var("RUN_JOB_BASH").map_or(vec![LAUNCHER.to_owned()], |bash| with_bash(&bash, &["-p"]));
        let bench = Self { folder, variables: Vec::new(), launcher, around: Vec::new() };
        bench.write("probe", "755", format!("#!/bin/sh\n{probe}\n").as_bytes());
        let probe_path = bench.path("probe").display().to_string();
        let out = bench.path("stdout").display().to_string();
        bench.env("RUNNER_VITALS_BIN", &probe_path).env("OUT", &out).env("PATH", &env::var("PATH").unwrap())
    }

    fn without_probe() -> Self {
        Self::new(GOOD).env("RUNNER_VITALS", "off")
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn launcher_options(mut self, options: &[&str]) -> Self {
        self.launcher = with_bash(&env::var("RUN_JOB_BASH").unwrap_or_else(|_| "bash".to_owned()), options);
        self
    }

    /// The same bench, whose launcher is PID 1; none, and loudly so, where namespaces are not allowed.
    fn in_pid_namespace(mut self) -> Option<Self> {
        let unshare = ["unshare", "--pid", "--fork", "--mount-proc"];
        for more in [[].as_slice(), &["--user", "--map-root-user"]] {
            let around = [unshare.as_slice(), more].concat();
            if self.run_direct(&[&["sh", "-c", "\"$@\" true", "sh"], around.as_slice()].concat()).code == 0 {
                self.around = around.into_iter().map(str::to_owned).collect();
                return Some(self);
            }
        }
        skipped("the launcher", "PID namespaces are not allowed here");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn variables(&self, name: &str) -> BTreeMap<String, String> {
        self.read(name).lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    /// Writes through another process: a descriptor that is open for writing here could be inherited by the child of another
    /// test, and then the file could not be executed (ETXTBSY).
    fn write(&self, name: &str, mode: &str, content: &[u8]) {
        let script = "cat >\"$0\" && chmod \"$1\" \"$0\"";
        let mut writer = Command::new("sh");
        writer.args(["-c", script]).arg(self.path(name)).arg(mode).stdin(Stdio::piped());
        let mut writer = writer.spawn().unwrap();
        writer.stdin.take().unwrap().write_all(content).unwrap();
        assert!(writer.wait().unwrap().success(), "{name}");
    }

    /// The launcher with this runner.
    fn command(&self, runner: &[&str]) -> Command {
        let launcher: Vec<&str> = self.launcher.iter().map(String::as_str).collect();
        self.bare_command(&[launcher.as_slice(), runner].concat())
    }

    /// A command in this bench's folder, environment and namespace.
    fn bare_command(&self, words: &[&str]) -> Command {
        let mut all = self.around.iter().map(String::as_str).chain(words.iter().copied());
        let mut command = Command::new(all.next().unwrap());
        command.args(all).current_dir(self.folder.path()).stdin(Stdio::null()).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn spawn(&self, command: &mut Command) -> Running {
        let (stdout, stderr) = (self.path("stdout"), self.path("stderr"));
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        Running { started: Instant::now(), child: command.spawn().unwrap(), stdout, stderr }
    }

    fn start(&self, runner: &[&str]) -> Running {
        self.spawn(&mut self.command(runner))
    }

    fn run(&self, runner: &[&str]) -> End {
        self.start(runner).end()
    }

    fn run_with_probe(&self, probe: &Path, runner: &[&str]) -> End {
        self.spawn(self.command(runner).env("RUNNER_VITALS_BIN", probe)).end()
    }

    /// What the launcher is compared with: the same without it.
    fn run_direct(&self, words: &[&str]) -> End {
        self.spawn(&mut self.bare_command(words)).end()
    }
}

impl Running {
    fn signal(&self, name: &str) {
        send(name, &self.child.id().to_string());
    }

    fn until_stdout(&self, words: &str) {
        until(words, || fs::read_to_string(&self.stdout).unwrap().contains(words));
    }

    fn end(mut self) -> End {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.started.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("the launcher hangs: {}", fs::read_to_string(&self.stdout).unwrap());
            }
            thread::sleep(Duration::from_millis(2));
        };
        let took = self.started.elapsed();
        let code = status.code().unwrap_or_else(|| panic!("killed by {:?}", status.signal()));
        let read = |path: &Path| String::from_utf8(fs::read(path).unwrap()).unwrap();
        End { code, stdout: read(&self.stdout), stderr: read(&self.stderr), took }
    }
}

impl End {
    fn last_line(&self) -> &str {
        self.stdout.lines().last().unwrap_or_default()
    }
}

fn with_bash(bash: &str, options: &[&str]) -> Vec<String> {
    [&[bash], options, &[LAUNCHER]].concat().into_iter().map(str::to_owned).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn send(name: &str, pid: &str) {
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$0\" \"$1\"", name, pid.trim()]).stderr(Stdio::null()).status().unwrap();
}

/// A zombie that its new parent has not reaped yet is dead.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The header of a program for a machine that does not exist.
fn elf_for_no_machine() -> Vec<u8> {
    let mut header = vec![0; 4096];
    header[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
    header[16..20].copy_from_slice(&[2, 0, 0xed, 0xfe]);
    header
}
