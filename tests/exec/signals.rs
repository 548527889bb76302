//! Signals: those that come to the supervisor are the job's.

use std::process::{Command, Stdio};

use runner_vitals::line::field;
use rustix::process::{Pid, Signal, kill_process};

use crate::probe::{Arrived, Probe};
use crate::{BINARY, children, code, end_of, exec, exec_sh, probe_of, python, stat, until};

/// By number: what makes sense to a job, and two real-time signals. Not 9 and 19, which no process sees.
const FORWARDED: [i32; 20] = [1, 2, 3, 6, 10, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28, 29, 30, 34, 64];

/// Those of them that do nothing by default.
const HARMLESS: [i32; 2] = [23, 28];

/// Runs on until something ends it.
const STAY: &str = "echo ready; n=0; while [ $((n += 1)) -lt 3000 ]; do sleep 0.01; done; exit 99";

/// The next line of the job.
fn next_of_job(running: &Probe) -> String {
    loop {
        let Arrived { text, .. } = running.next();
        if !text.starts_with("RUNNER_VITALS") {
            return text;
        }
    }
}

fn send(running: &Probe, signal: i32) {
    let kill = format!("kill -{signal} {}", running.child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{signal}");
}

/// All lines but the job's.
fn stop_of(running: Probe) -> (Arrived, i32) {
    let (mut lines, status) = running.finish();
    lines.retain(|line| line.text.starts_with("RUNNER_VITALS"));
    (lines.pop().unwrap(), code(status))
}

#[test]
fn each_signal_reaches_a_job_that_handles_it() {
    for signal in FORWARDED {
        let running = Probe::spawn(&mut exec_sh(&format!("trap 'echo got; exit 3' {signal}; {STAY}")));
        assert_eq!(next_of_job(&running), "ready");
        send(&running, signal);
        assert_eq!(next_of_job(&running), "got", "{signal}");
        let (stop, code) = stop_of(running);
        assert_eq!((code, stop.scaled(field::JOB_EXIT)), (3, Some(3)), "{signal}: {}", stop.text);
    }
}

#[test]
fn each_signal_ends_a_job_that_does_not_handle_it() {
    for signal in FORWARDED.into_iter().filter(|signal| !HARMLESS.contains(signal)) {
        // No core files.
        let running = Probe::spawn(&mut exec_sh("ulimit -c 0; echo ready; exec sleep 30"));
        assert_eq!(next_of_job(&running), "ready");
        until("sleep", || children(running.child.id()).iter().any(|(_, name)| name == "sleep").then_some(()));
        send(&running, signal);
        let (stop, code) = stop_of(running);
        assert_eq!((code, stop.scaled(field::JOB_SIGNAL)), (128 + signal, Some(signal.into())), "{}", stop.text);
        let told = matches!(signal, 1 | 2 | 3 | 15).then_some(signal.into());
        assert_eq!(stop.scaled(field::JOB_TOLD), told, "{}", stop.text);
    }
}

#[test]
fn a_job_may_take_its_time_to_end() {
    let script = format!("trap 'echo winding down; sleep 1; echo wound down; exit 0' TERM; {STAY}");
    let running = Probe::spawn(&mut exec_sh(&script));
    assert_eq!(next_of_job(&running), "ready");
    send(&running, 15);
    assert_eq!(next_of_job(&running), "winding down");
    assert_eq!(next_of_job(&running), "wound down");
    let (stop, code) = stop_of(running);
    assert_eq!((code, stop.scaled(field::JOB_TOLD)), (0, Some(15)), "{}", stop.text);
}

#[test]
fn signals_are_passed_on_again_and_again() {
    let script = format!("trap 'echo hup' HUP; trap 'echo usr1' USR1; trap 'exit 5' TERM; {STAY}");
    let running = Probe::spawn(&mut exec_sh(&script));
    assert_eq!(next_of_job(&running), "ready");
    for (signal, answer) in [(1, "hup"), (10, "usr1"), (1, "hup"), (10, "usr1")] {
        send(&running, signal);
        assert_eq!(next_of_job(&running), answer);
    }
    send(&running, 15);
    assert_eq!(stop_of(running).1, 5);
}

/// Blocked before the job is there: none is lost, whenever it comes. The launcher has it pending already.
#[test]
fn a_signal_that_came_before_the_job_is_the_jobs() {
    let script = "import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {10})
os.kill(os.getpid(), 10)
job = \"import signal; print('got', signal.sigwait({10}), flush=True)\"
os.execv(sys.argv[1], [sys.argv[1], 'exec', '--', sys.executable, '-c', job])";
    let Some(python) = python("a_signal_that_came_before_the_job_is_the_jobs") else { return };
    let mut launcher = Command::new(python);
    launcher.args(["-c", script, BINARY]).stdin(Stdio::null()).stdout(Stdio::piped());
    let running = Probe::spawn(&mut launcher);
    assert_eq!(next_of_job(&running), "got 10");
    assert_eq!(stop_of(running).1, 0);
}

/// `alarm` and then `exec`: a timer outlives the program that set it, but not in a child.
#[test]
fn a_timer_of_the_launcher_is_the_jobs() {
    let script = "import os, signal, sys
signal.setitimer(signal.ITIMER_REAL, 0.3)
os.execv(sys.argv[1], [sys.argv[1], 'exec', '--', 'sleep', '30'])";
    let Some(python) = python("a_timer_of_the_launcher_is_the_jobs") else { return };
    let mut launcher = Command::new(python);
    launcher.args(["-c", script, BINARY]).stdin(Stdio::null()).stdout(Stdio::piped());
    assert_eq!(stop_of(Probe::spawn(&mut launcher)).1, 128 + 14);
}

/// A kill of the whole group ends the job, and the probe tells so.
#[test]
fn a_kill_of_the_group_spares_the_probe() {
    use std::os::unix::process::CommandExt as _;
    let running = Probe::spawn(exec_sh("echo ready; exec sleep 30").process_group(0));
    assert_eq!(next_of_job(&running), "ready");
    let probe = probe_of(running.child.id());
    assert_ne!(rustix::process::getpgid(Some(probe)).unwrap(), running.pid());
    rustix::process::kill_process_group(running.pid(), Signal::TERM).unwrap();
    let (stop, code) = stop_of(running);
    assert_eq!(code, 128 + 15);
    assert_eq!(stop.scaled(field::JOB_SIGNAL), Some(15), "{}", stop.text);
}

/// The beginning of what plays the terminal.
const TERMINAL: &str = r#"
import fcntl, os, pty, signal, struct, sys, termios, time
signal.alarm(30)
seen = b''
def until(text):
    global seen
    while text not in seen:
        seen += os.read(terminal, 4096)
def stat(pid):
    try: head, rest = open(f'/proc/{pid}/stat').read().rsplit(') ', 1)
    except OSError: return '', [''] * 2
    return head.split('(', 1)[1], rest.split()
def state(pid):
    return stat(pid)[1][0]
def until_state(pid, wanted):
    while state(pid) not in wanted: time.sleep(0.01)
def child(parent, is_probe=None):
    for pid in filter(str.isdigit, os.listdir('/proc')):
        name, rest = stat(pid)
        if rest[1] == str(parent) and is_probe in (None, name == 'runner-vitals'): return int(pid)
def become(job):
    os.execv(sys.argv[1], [sys.argv[1], 'exec', '--', sys.executable, '-c', job, sys.argv[2]])
"#;

/// Plays a terminal to the binary and looks whether all was as it should be.
fn on_a_terminal(test: &str, script: &str) {
    let dir = tempfile::tempdir().unwrap();
    let Some(python) = python(test) else { return };
    let mut python = Command::new(python);
    python.args(["-c", &format!("{TERMINAL}{script}"), BINARY]).arg(dir.path().join("told")).stdin(Stdio::null());
    let (code, said) = end_of(&mut python);
    assert_eq!(code, 0, "{said}");
}

/// Ctrl-C and a window's new size come once, although the supervisor gets them too; the end of the terminal comes,
/// although the supervisor, which leads the session, is the only one to be told.
#[test]
fn what_a_terminal_sends_comes_once() {
    let script = r#"
JOB = """
import os, signal, sys, time
count = {2: 0, 28: 0}
def on(signal, frame):
    count[signal] += 1
    say('got', signal, count[signal])
def tell(*_):
    say('counted', count[2], count[28])
def say(*words):
    # In one piece, and waited for whole: no handler is in the middle of a line when the terminal ends.
    os.write(1, ' '.join(map(str, words)).encode() + b'\\n')
def hang_up(*_):
    open(sys.argv[1], 'w').write('hung up')
    sys.exit(6)
for number, handler in ((2, on), (28, on), (10, tell), (1, hang_up)):
    signal.signal(number, handler)
print('ready', flush=True)
while True: time.sleep(0.01)
"""
pid, terminal = pty.fork()
if pid == 0: become(JOB)
until(b'ready')
until(b'seq=1 ')
os.write(terminal, b'\x03')
until(b'got 2 1\r\n')
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 10, 20, 0, 0))
until(b'got 28 1\r\n')
os.kill(pid, 10)
until(b'counted 1 1\r\n')
os.kill(pid, 2)
until(b'got 2 2\r\n')
os.close(terminal)
status = os.waitpid(pid, 0)[1]
assert open(sys.argv[2]).read() == 'hung up'
assert os.waitstatus_to_exitcode(status) == 6, status
"#;
    on_a_terminal("what_a_terminal_sends_comes_once", script);
}

/// Ctrl-Z in a shell: the job and the supervisor stop, so that the shell sees it, and go on together; the probe does
/// neither.
#[test]
fn a_shell_can_stop_it_and_let_it_go_on() {
    let script = r#"
pid, terminal = pty.fork()
if pid == 0:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        become("import time; print('ready', flush=True); time.sleep(30)")
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        if not os.WIFSTOPPED(status): os._exit(os.waitstatus_to_exitcode(status) & 0xff)
        os.write(1, b'stopped by %d' % os.WSTOPSIG(status))
until(b'ready')
until(b'seq=1 ')
supervisor = child(pid)
job, probe = child(supervisor, False), child(supervisor, True)
os.write(terminal, b'\x1a')
until(b'stopped by 20')
until_state(job, 'T')
assert state(probe) not in 'tT', state(probe)
os.killpg(supervisor, signal.SIGCONT)
until_state(job, 'SR')
until_state(supervisor, 'SR')
os.write(terminal, b'\x03')
until(b'reason=job_exit job.signal=2 ')
status = os.waitpid(pid, 0)[1]
assert os.waitstatus_to_exitcode(status) == 130, status
"#;
    on_a_terminal("a_shell_can_stop_it_and_let_it_go_on", script);
}

/// A stop that is sent to the supervisor holds the supervisor, and the job's end waits for it.
#[test]
fn a_stopped_supervisor_tells_the_end_when_it_goes_on() {
    use std::os::unix::process::CommandExt as _;
    let mut command = exec(&["--", "sh", "-c", "cat >/dev/null; exit 7"]);
    // In a group whose parent is of the session: the kernel stops no orphaned group.
    let mut running = Probe::spawn(command.stdin(Stdio::piped()).process_group(0));
    running.next_of(None);
    running.signal(Signal::TSTP);
    let state = |pid: u32| stat(pid).and_then(|(_, rest)| rest.chars().next());
    until("a stop", || (state(running.child.id())? == 'T').then_some(()));
    let job = children(running.child.id()).into_iter().find(|(_, name)| name == "sh").unwrap().0;
    drop(running.child.stdin.take());
    until("a zombie", || (state(job)? == 'Z').then_some(()));
    running.signal(Signal::CONT);
    let (stop, code) = stop_of(running);
    assert_eq!((code, stop.scaled(field::JOB_EXIT)), (7, Some(7)));
}

/// Many signals while the job ends: its code is told all the same.
#[test]
fn signals_in_the_moment_of_the_jobs_end_change_nothing() {
    for _ in 0..20 {
        let mut running = Probe::spawn(&mut exec_sh("trap '' TERM USR1; echo ready; exit 7"));
        assert_eq!(next_of_job(&running), "ready");
        let pid: Pid = running.pid();
        let status = until("the end", || {
            for signal in [Signal::TERM, Signal::USR1, Signal::HUP] {
                let _ = kill_process(pid, signal);
            }
            running.child.try_wait().unwrap()
        });
        let code = code(status);
        // HUP may have come before the job's own end.
        assert!(code == 7 || code == 128 + 1, "{code}");
    }
}
