//! `exec`: a small supervisor with two children, the job and the probe.
//!
//! The job comes first and gets everything as the launcher gave it. Then this process lets go of all that it shares with
//! the job, starts the probe, and has nothing left but to pass signals on and to wait, in one system call that needs no
//! descriptor and no memory. The probe is told how the job ended, and has a moment for its last words; nothing that it
//! does or fails to do changes the exit code, which is the job's.
//!
//! credentials(7), signal(7), rt_sigtimedwait(2), wait4(2), pid_namespaces(7) of a process that is PID 1.

mod order;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use super::raw::child::{self, End, Inherited, Mask, Received};
use super::sink::outlets::NETWORK_LAST_WORDS;
use super::stderr::say;
use super::watch::supervisor::JobEnd;

pub use order::{Order, Wrong, command as exec_command};

/// How long the probe has for its last words; with servers to tell them to, their time comes on top.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long to wait for a probe that was killed; what is left of it then is for PID 1.
const KILLED: Duration = Duration::from_millis(50);

/// How long to wait where the system does not let us wait for signals.
const WITHOUT_SIGNALS: Duration = Duration::from_millis(20);

/// All signals, but for those that stop a process and let it go on: they do to the supervisor what they do to the job,
/// so that a shell sees it. Blocking one that the kernel raises for a crash changes nothing about it.
const TAKEN: Mask = !(bit(libc::SIGTSTP) | bit(libc::SIGTTIN) | bit(libc::SIGTTOU) | bit(libc::SIGCONT) | LIBC_OWN);

/// What the C library keeps for its threads.
const LIBC_OWN: Mask = bit(32) | bit(33);

/// The shell's exit codes for a program that is not there, or that cannot be run.
const NOT_FOUND: u8 = 127;
const CANNOT_RUN: u8 = 126;

const fn bit(signal: i32) -> Mask {
    1 << (signal - 1)
}

/// The probe, while it runs.
#[derive(Debug)]
struct Probe {
    pid: i32,
    /// How it is told that the job ended.
    pipe: ChildStdin,
}

/// Runs the job with a probe beside it, unless `is_off`, and gives the job's exit code, as a shell would.
///
/// `program` is what this program was started as: the probe is the same one.
pub fn run(order: Order<'_>, program: &OsStr, is_off: bool) -> u8 {
    let inherited = Inherited::and_block(TAKEN);
    let job = match start_job(order.job, inherited) {
        Ok(job) => job,
        Err(code) => return code,
    };
    child::close_from(3);
    fill_standard_streams();
    let mut probe = if is_off { None } else { start_probe(order, program) };
    let_go_of_streams();
    let end = watch_over(job, &mut probe);
    if let Some(probe) = probe {
        let has_network = order.has_network_sink(|name| std::env::var_os(name));
        see_off(probe, end, if has_network { LAST_WORDS + NETWORK_LAST_WORDS } else { LAST_WORDS });
    }
    match end.end {
        End::Exit(code) => code,
        End::Signal(signal) => signal.saturating_add(128),
    }
}

/// Opens what is closed of the first three descriptors, for reading only, so that no file of ours ever takes their
/// place: a line meant for stdout would be written into it.
pub fn fill_standard_streams() {
    let open = || File::open("/dev/null").or_else(|_| File::open("/"));
    while let Ok(file) = open() {
        if file.as_raw_fd() > 2 {
            return;
        }
        // It stays open.
        let _ = file.into_raw_fd();
    }
}

/// Starts the job. Gives the exit code when there cannot be one.
fn start_job(job: &[OsString], inherited: Inherited) -> Result<i32, u8> {
    let (program, arguments) = job.split_first().ok_or(NOT_FOUND)?;
    let mut command = Command::new(program);
    command.args(arguments);
    inherited.restore_in(&mut command);
    if let Ok(job) = command.spawn() {
        return Ok(pid_of(&job));
    }
    // Either the program cannot be run, or there is no process to be had for it: then it takes this one.
    let error = command.exec();
    say(&format!("{}: {error}", program.to_string_lossy()));
    Err(if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN })
}

/// Starts the probe, in a process group of its own: what ends the job's group is not to end it.
fn start_probe(order: Order<'_>, program: &OsStr) -> Option<Probe> {
    const SELF: &str = "/proc/self/exe";
    // Without /proc the name has to do.
    let is_there = std::fs::symlink_metadata(SELF).is_ok();
    let mut command = Command::new(if is_there { OsStr::new(SELF) } else { program });
    command.arg0("runner-vitals");
    match order.check_flags() {
        Ok(()) => _ = command.args(order.flags),
        Err(Wrong { flag, given, why }) => {
            say(&format!("the probe's flags are ignored: {why}"));
            command.args(["--ignored", &flag, &given]);
        }
    }
    // After the job, actions/runner kills what carries RUNNER_TRACKING_ID.
    command.arg("--supervised").env_remove("RUNNER_TRACKING_ID").process_group(0).stdin(Stdio::piped());
    let started = command.spawn().and_then(|mut probe| {
        let pipe = probe.stdin.take().ok_or(ErrorKind::BrokenPipe)?;
        Ok(Probe { pid: pid_of(&probe), pipe })
    });
    started.map_err(|error| say(&format!("no probe for this job: {error}"))).ok()
}

fn pid_of(child: &Child) -> i32 {
    // The kernel's pids are below 2^22.
    i32::try_from(child.id()).unwrap_or(0)
}

/// Gives up the job's stdin and stdout, so that who is at their other ends sees it when the job does.
fn let_go_of_streams() {
    if let Ok(null) = File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

/// Passes signals on to the job until it ends, and waits for whatever else ends.
fn watch_over(job: i32, probe: &mut Option<Probe>) -> JobEnd {
    let mut told = None;
    loop {
        if let Some(end) = reap(Some(job), probe) {
            return JobEnd { told, ..end };
        }
        match child::wait_for_signal(TAKEN, None) {
            Ok(received) if is_for_job(received) => {
                if matches!(received.signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT | libc::SIGHUP) {
                    told = u8::try_from(received.signal).ok();
                }
                child::send(job, received.signal);
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => std::thread::sleep(WITHOUT_SIGNALS),
        }
    }
}

/// Waits for all that have ended: the job, the probe, and as PID 1 what others left behind. Gives the job's end.
fn reap(job: Option<i32>, probe: &mut Option<Probe>) -> Option<JobEnd> {
    while let Some(ended) = child::reap() {
        if Some(ended.pid) == job {
            return Some(JobEnd { end: ended.end, maxrss_kb: ended.maxrss_kb, told: None });
        }
        probe.take_if(|probe| probe.pid == ended.pid);
    }
    None
}

/// Whether a signal that came here was meant for the job and has not reached it.
fn is_for_job(received: Received) -> bool {
    let is_own = || u32::try_from(received.sender).is_ok_and(|sender| sender == std::process::id());
    match received.signal {
        libc::SIGCHLD => false,
        // A terminal sends these to all of its foreground group. Of a machine's PID 1, SIGINT can be Ctrl-Alt-Del.
        libc::SIGINT | libc::SIGQUIT | libc::SIGWINCH if received.is_of_kernel() => !has_terminal(),
        // A terminal that hangs up tells the session's leader, and nobody else.
        libc::SIGHUP if received.is_of_kernel() => leads_session(),
        // Told by a write of our own.
        libc::SIGPIPE | libc::SIGXFSZ => !is_own(),
        _ => true,
    }
}

fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

fn leads_session() -> bool {
    // 0 where the leader is outside of the PID namespace.
    nix::unistd::getsid(None).is_ok_and(|session| session == nix::unistd::getpid())
}

/// Tells the probe how the job ended, and waits for its last words, but not for long.
fn see_off(mut probe: Probe, end: JobEnd, last_words: Duration) {
    // When it cannot be told it has ended, and is about to be waited for.
    let _ = probe.pipe.write_all(end.line().as_bytes());
    let pid = probe.pid;
    let mut probe = Some(probe);
    wait_for_end(&mut probe, last_words);
    if probe.is_some() {
        child::send(pid, libc::SIGKILL);
        wait_for_end(&mut probe, KILLED);
    }
}

fn wait_for_end(probe: &mut Option<Probe>, patience: Duration) {
    let deadline = Instant::now() + patience;
    loop {
        reap(None, probe);
        let left = deadline.saturating_duration_since(Instant::now());
        if probe.is_none() || left.is_zero() {
            return;
        }
        match child::wait_for_signal(TAKEN, Some(left)) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(_) => std::thread::sleep(WITHOUT_SIGNALS.min(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_of_the_terminal_are_not_sent_twice() {
        let kernel = |signal| Received { signal, code: libc::SI_KERNEL, sender: 0 };
        let user = |signal| Received { signal, code: libc::SI_USER, sender: 1 };
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGWINCH, libc::SIGTERM, libc::SIGPIPE] {
            assert!(is_for_job(user(signal)), "{signal}");
        }
        assert_eq!(is_for_job(kernel(libc::SIGINT)), !has_terminal());
        // The session, as the kernel's file tells it: 0 where its leader is outside of the PID namespace.
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let session: u32 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap().parse().unwrap();
        assert_eq!(is_for_job(kernel(libc::SIGHUP)), session == std::process::id());
        assert!(is_for_job(kernel(libc::SIGALRM)), "a timer that the launcher had set");
        assert!(!is_for_job(user(libc::SIGCHLD)));
        let own = std::process::id().try_into().unwrap();
        assert!(!is_for_job(Received { signal: libc::SIGPIPE, code: libc::SI_USER, sender: own }));
    }

    #[test]
    fn what_stops_a_process_is_left_as_it_is() {
        for (signal, is_taken) in [
            (libc::SIGTERM, true),
            (libc::SIGCHLD, true),
            (libc::SIGTSTP, false),
            (libc::SIGTTIN, false),
            (libc::SIGTTOU, false),
            (libc::SIGCONT, false),
            (32, false),
            (34, true),
            (64, true),
        ] {
            assert_eq!(TAKEN & bit(signal) != 0, is_taken, "{signal}");
        }
    }
}
