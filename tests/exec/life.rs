//! Exit codes, the last words of the probe, and whatever can be wrong with it.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use runner_vitals::line::field;
use rustix::process::{Pid, Signal, kill_process};

use crate::probe::{Arrived, PATIENCE, Probe, arrivals};
use crate::skip::skipped;
use crate::{BINARY, code, end_of, exec, exec_sh, output_of, probe_of, python, stat, until};

fn stop_of(lines: &[Arrived]) -> &Arrived {
    let stop = lines.last().unwrap();
    assert!(stop.is(Some("stop")), "{}", stop.text);
    stop
}

#[test]
fn the_exit_code_is_the_jobs_and_the_last_line_tells_it() {
    for (script, exit, signal) in [
        ("exit 0", Some(0), None),
        ("exit 3", Some(3), None),
        ("exit 255", Some(255), None),
        ("kill -KILL $$", None, Some(9)),
        ("kill -TERM $$", None, Some(15)),
        ("kill -SEGV $$", None, Some(11)),
    ] {
        let (lines, status) = Probe::spawn(&mut exec_sh(script)).finish();
        assert_eq!(i64::from(code(status)), exit.or(signal.map(|signal: i64| 128 + signal)).unwrap(), "{script}");
        let stop = stop_of(&lines);
        assert_eq!(stop.text_of(field::REASON).as_deref(), Some("job_exit"), "{}", stop.text);
        assert_eq!((stop.scaled(field::JOB_EXIT), stop.scaled(field::JOB_SIGNAL)), (exit, signal), "{}", stop.text);
        assert!(stop.line().get(field::MEM_PEAK).is_some(), "{}", stop.text);
        assert!(lines.iter().any(|line| line.is(None)), "a last sample");
    }
}

#[test]
fn the_last_line_tells_how_much_memory_the_job_had() {
    let Some(python) = python("the_last_line_tells_how_much_memory_the_job_had") else { return };
    let script = "x = bytearray(b'x') * (50 << 20)";
    let (lines, status) = Probe::spawn(&mut exec(&["--", &python, "-c", script])).finish();
    assert_eq!(code(status), 0);
    let kb = stop_of(&lines).scaled(field::JOB_MAXRSS).unwrap();
    assert!((50 << 10..100 << 10).contains(&kb), "{kb}");
}

#[test]
fn a_job_that_cannot_be_run_is_told_and_needs_no_probe() {
    for (job, expected) in [("/no/such/job", 127), ("no-such-job", 127), ("/etc/passwd", 126), ("/etc", 126)] {
        let output = output_of(exec(&["--", job]).stderr(Stdio::piped()));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((code(output.status), output.stdout.len()), (expected, 0), "{job}");
        assert!(said.starts_with(&format!("runner-vitals: {job}: ")) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn without_a_job_there_is_a_usage_error_or_help() {
    for words in [&[][..], &["--"], &["true"], &["--interval", "1"], &["--nonsense"]] {
        let (code, said) = end_of(&mut exec(words));
        assert!(code == 64 && said.contains("Usage: runner-vitals exec [OPTIONS] -- CMD"), "{words:?}: {code} {said}");
    }
    let help = output_of(&mut exec(&["--help"]));
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.status.success() && text.contains("CMD") && text.contains("--interval"), "{text}");
    assert!(!text.contains("--supervised") && !text.contains("--ignored"), "{text}");
    let help = output_of(&mut crate::probe::command(&["--help"]));
    assert!(String::from_utf8_lossy(&help.stdout).contains("runner-vitals exec"));
}

#[test]
fn flags_are_the_probes() {
    let (lines, status) = Probe::spawn(
        exec(&["--interval", "7", "--runner", "r-1", "--", "sh", "-c", "exit 4"]).env("RUNNER_VITALS", "on"),
    )
    .finish();
    assert_eq!(code(status), 4);
    assert_eq!(lines[0].scaled(field::INTERVAL), Some(7000));
    assert_eq!(lines[0].text_of(field::RUNNER_NAME).as_deref(), Some("r-1"));
}

#[test]
fn a_wrong_flag_costs_the_flags_and_not_the_job() {
    for (flags, key, given) in [
        (&["--nonsense"][..], "--nonsense", ""),
        (&["--interval", "soon"], "--interval", "soon"),
        (&["--samples", "0"], "--samples", "0"),
        (&["--help"], "--help, --version", ""),
        (&["extra"], "extra", ""),
    ] {
        let words = [flags, &["--", "sh", "-c", "exit 4"]].concat();
        let mut command = exec(&words);
        let mut running = Probe::spawn(command.env("RUNNER_VITALS_INTERVAL", "9").stderr(Stdio::piped()));
        let said = std::io::read_to_string(running.child.stderr.take().unwrap()).unwrap();
        assert!(said.starts_with("runner-vitals: the probe's flags are ignored: "), "{said}");
        let (lines, status) = running.finish();
        assert_eq!((code(status), lines[0].scaled(field::INTERVAL)), (4, Some(9000)), "{flags:?}");
        let config = lines.iter().find(|line| line.is(Some("config"))).unwrap();
        let told = [field::KEY, field::GIVEN].map(|field| config.text_of(field).unwrap_or_default());
        assert_eq!(told, [key, given], "{}", config.text);
    }
}

#[test]
fn off_means_no_probe() {
    for word in ["off", "OFF", "0", "false", "No"] {
        let output = output_of(exec_sh("echo job; exit 7").env("RUNNER_VITALS", word));
        assert_eq!((code(output.status), output.stdout.as_slice()), (7, &b"job\n"[..]), "{word}");
    }
}

/// A job that says when it is there, and goes on when its stdin ends.
const WAITING: &str = "cat >/dev/null; exit 7";

fn waiting() -> Probe {
    Probe::spawn(exec(&["--interval", "60", "--", "sh", "-c", WAITING]).stdin(Stdio::piped()))
}

#[test]
fn a_probe_that_is_killed_is_not_missed() {
    let mut running = waiting();
    running.next_of(None);
    let probe = probe_of(running.child.id());
    kill_process(probe, Signal::KILL).unwrap();
    // It is waited for at once, not when the job ends.
    until("no zombie", || stat(probe.as_raw_nonzero().get().try_into().unwrap()).is_none().then_some(()));
    drop(running.child.stdin.take());
    let (lines, status) = running.finish();
    assert!(!lines.iter().any(|line| line.is(Some("stop"))) && code(status) == 7, "{status}");
}

#[test]
fn a_probe_that_is_stopped_costs_half_a_second() {
    let mut running = waiting();
    running.next_of(None);
    let probe = probe_of(running.child.id());
    kill_process(probe, Signal::STOP).unwrap();
    let ended = Instant::now();
    drop(running.child.stdin.take());
    let (lines, status) = running.finish();
    let took = ended.elapsed();
    assert!(!lines.iter().any(|line| line.is(Some("stop"))) && code(status) == 7, "{status}");
    assert!(took >= Duration::from_millis(450) && took < PATIENCE / 2, "{took:?}");
    // Who waits for it now is PID 1.
    let pid = probe.as_raw_nonzero().get().try_into().unwrap();
    until("its end", || stat(pid).is_none_or(|(_, rest)| rest.starts_with('Z')).then_some(()));
}

#[test]
fn a_probe_that_was_told_to_end_leaves_the_job_alone() {
    let mut running = waiting();
    running.next_of(None);
    kill_process(probe_of(running.child.id()), Signal::TERM).unwrap();
    assert_eq!(running.next_of(Some("stop")).text_of(field::REASON).as_deref(), Some("sigterm"));
    drop(running.child.stdin.take());
    assert_eq!(code(running.finish().1), 7);
}

#[test]
fn a_probe_without_its_supervisor_ends() {
    let mut running = waiting();
    running.next_of(None);
    running.signal(Signal::KILL);
    let stop = running.next_of(Some("stop"));
    assert_eq!(stop.text_of(field::REASON).as_deref(), Some("parent_exit"), "{}", stop.text);
    assert!(stop.scaled(field::JOB_EXIT).is_none());
    drop(running.child.stdin.take());
}

#[test]
fn a_binary_that_was_deleted_still_gives_a_probe() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("probe");
    fs::copy(BINARY, &copy).unwrap();
    let script = "import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.unlink(sys.argv[1])
os.execve(fd, ['runner-vitals', 'exec', '--', 'sh', '-c', 'exit 7'], os.environ)";
    let Some(python) = python("a_binary_that_was_deleted_still_gives_a_probe") else { return };
    let mut launcher = Command::new(python);
    launcher.args(["-c", script]).arg(&copy).stdin(Stdio::null()).stdout(Stdio::piped());
    let (lines, status) = Probe::spawn(&mut launcher).finish();
    assert_eq!(code(status), 7);
    assert_eq!(stop_of(&lines).scaled(field::JOB_EXIT), Some(7));
}

#[test]
fn where_there_is_no_proc_the_probe_is_started_by_its_name() {
    let script = r#"mount -t tmpfs none /proc && exec "$BIN" exec -- sh -c 'sleep 0.5; exit 7'"#;
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).env("BIN", BINARY).stdin(Stdio::null()).stdout(Stdio::piped());
    let (lines, status) = Probe::spawn(command.stderr(Stdio::null())).finish();
    if code(status) != 7 {
        skipped("where_there_is_no_proc_the_probe_is_started_by_its_name", "may not mount a file system over /proc");
        return;
    }
    assert_eq!(stop_of(&lines).scaled(field::JOB_EXIT), Some(7));
}

#[test]
fn few_descriptors_do_not_stop_the_job() {
    // With three no program is loaded that needs a library.
    for few in [4, 5, 6, 8, 12] {
        let script = format!("ulimit -n {few}; exec \"$BIN\" exec -- sh -c 'exit 7'");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).env("BIN", BINARY).stdin(Stdio::null()).stdout(Stdio::null());
        assert_eq!(end_of(&mut shell).0, 7, "{few}");
    }
}

/// Where there is no process to be had for the job, it takes the supervisor's; where there is none for the probe, it
/// has to do without.
#[test]
fn few_processes_do_not_stop_the_job() {
    let test = "few_processes_do_not_stop_the_job";
    let Some(python) = python(test) else { return };
    if !rustix::process::geteuid().is_root() {
        skipped(test, "needs root, to become somebody who has no other process");
        return;
    }
    // Nobody may not reach the build folder.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let copy = dir.path().join("probe");
    fs::copy(BINARY, &copy).unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = "import os, resource, sys
resource.setrlimit(resource.RLIMIT_NPROC, (int(sys.argv[2]), int(sys.argv[2])))
os.setuid(54321)
os.execv(sys.argv[1], ['runner-vitals', 'exec', '--', '/bin/sh', '-c', 'echo $$; exit 7'])";
    for (most, is_in_place) in [("1", true), ("2", false)] {
        let mut launcher = Command::new(&python);
        launcher.args(["-c", script]).arg(&copy).arg(most).current_dir("/").stdin(Stdio::null());
        let child = launcher.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id().to_string();
        let output = child.wait_with_output().unwrap();
        let [told, said] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!((code(output.status), told.trim() == pid), (7, is_in_place), "{told} {said}");
        assert_eq!(said.starts_with("runner-vitals: no probe for this job: "), !is_in_place, "{said}");
    }
}

#[test]
fn a_stdout_that_is_full_or_broken_does_not_hold_the_job() {
    // Nobody reads, and it is full.
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    writer.write_all(&[b'x'; 4096]).unwrap();
    let began = Instant::now();
    assert_eq!(end_of(exec_sh("exit 7").stdout(writer)).0, 7);
    assert!(began.elapsed() < PATIENCE / 2);
    drop(reader);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(end_of(exec_sh("exit 7").stdout(writer)), (7, String::new()));
    for redirection in
        ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>&1", ">/etc/passwd/no 2>/dev/null || exit 7 #"]
    {
        let mut shell = Command::new("sh");
        let script = format!("\"$BIN\" exec --nonsense -- sh -c 'exit 7' {redirection}");
        shell.args(["-c", &script]).env("BIN", BINARY).stdin(Stdio::null()).stdout(Stdio::null());
        assert_eq!(end_of(&mut shell).0, 7, "{redirection}");
    }
}

/// As a shell does it.
#[test]
fn a_script_that_names_no_interpreter_is_run_by_the_shell() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("job");
    fs::write(&script, "exit $1\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(end_of(&mut exec(&["--", script.to_str().unwrap(), "9"])), (9, String::new()));
}

/// The supervisor's own words do not wait for a reader of the job's stderr.
#[test]
fn a_stderr_that_is_full_does_not_hold_the_job() {
    let (_reader, mut writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    writer.write_all(&[b'x'; 4096]).unwrap();
    let mut supervisor =
        exec(&["--nonsense", "--", "sh", "-c", "exit 7"]).stderr(writer).stdout(Stdio::null()).spawn().unwrap();
    let status = until("the end", || supervisor.try_wait().unwrap());
    assert_eq!(code(status), 7);
}

/// The ordinary probe too: what is opened first must not become its stdout.
#[test]
fn a_probe_without_a_stdout_says_so() {
    for closed in [">&-", "<&- >&-", "</dev/null >/dev/stdin"] {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("\"$BIN\" --once {closed}")]).env("BIN", BINARY);
        let (code, said) = end_of(shell.stdin(Stdio::null()).stdout(Stdio::null()));
        if closed.contains("stdin") {
            assert_eq!(code, 0, "the control: /dev/null can be written");
        } else {
            assert_eq!((code, said.as_str()), (71, "runner-vitals: stdout is not open for writing\n"), "{closed}");
        }
    }
}

/// Nothing that the job left behind keeps the supervisor.
#[test]
fn it_ends_with_the_job_and_not_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!("cat >/dev/null & echo $! >'{}'; exit 7", file.display());
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut child = exec(&["--", "sh", "-c", &format!("exec 3<&0; {}", script.replace("cat >", "cat <&3 >"))])
        .stdin(reader)
        .spawn()
        .unwrap();
    let lines = arrivals(child.stdout.take().unwrap());
    let status = until("the end", || child.try_wait().unwrap());
    assert_eq!(code(status), 7);
    assert!(lines.recv_timeout(PATIENCE).unwrap().is(Some("start")));
    let left: i32 = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    assert!(kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).is_ok(), "it was killed");
}
