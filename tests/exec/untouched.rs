//! The job under `exec` beside the same job started by the same launcher without it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::python;
use crate::{BINARY, end_of, output_of};

/// Sets things up, then becomes the program in its arguments. Python's own start has SIGPIPE ignored.
const LAUNCHER: &str = "
import ctypes, os, resource, signal, sys
def environment(list):
    pointers = lambda texts: (ctypes.c_char_p * (len(texts) + 1))(*texts, None)
    words = [os.fsencode(word) for word in sys.argv[2:]]
    ctypes.CDLL(None).execve(words[0], pointers(words), pointers(list))
exec(sys.argv[1])
os.execv(sys.argv[2], sys.argv[2:])
";

/// What a process is, but for what is another's by nature: pids, times.
const REPORT: &str = r#"
exec >"$OUT" 2>&1
grep -E '^(Umask|Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Cpus_allowed|Mems_allowed)' /proc/self/status
cat /proc/self/oom_score_adj /proc/self/limits /proc/self/timerslack_ns /proc/self/cgroup
cut -d')' -f2 /proc/self/stat | cut -d' ' -f4,5,6,7,17,18,39,40
ulimit -a; nice; umask; pwd
cd "/proc/$$/fd"; for fd in *; do printf "%s " "$fd"; readlink "$fd" || echo; done
"#;

/// What the job wrote to `$OUT` under a launcher that does `setup`: without `exec`, and with it.
fn both(setup: &str, job: &[&[u8]]) -> Option<[Vec<u8>; 2]> {
    let python = python("the job is untouched")?;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let outputs = [&[][..], &[BINARY, "exec", "--interval", "60", "--"]].map(|exec| {
        let mut launcher = Command::new(&python);
        launcher
            .args(["-c", LAUNCHER, setup])
            .args(exec)
            .args(job.iter().map(|word| if *word == b"$OUT" { out.as_os_str() } else { OsStr::from_bytes(word) }));
        launcher.env("OUT", &out).current_dir(dir.path()).stdin(Stdio::null());
        // A file, the same in both runs.
        let stdout = fs::File::options().create(true).append(true).open(dir.path().join("stdout")).unwrap();
        let status = output_of(launcher.stdout(stdout.try_clone().unwrap()).stderr(stdout)).status;
        let said = fs::read_to_string(dir.path().join("stdout")).unwrap();
        assert!(status.success(), "{setup}: {status}: {said}");
        let told = fs::read(&out).unwrap();
        fs::remove_file(&out).unwrap();
        told
    });
    Some(outputs)
}

/// What the job told, when it is the same; `None` where there is no Python.
#[track_caller]
fn untouched(setup: &str, job: &[&[u8]]) -> Option<String> {
    let [direct, under_exec] = both(setup, job)?.map(|told| String::from_utf8_lossy(&told).into_owned());
    assert!(direct == under_exec, "{setup}\n-- without exec\n{direct}\n-- with it\n{under_exec}");
    Some(direct)
}

fn sh(script: &str) -> [&[u8]; 3] {
    [b"/bin/sh", b"-c", script.as_bytes()]
}

/// Signals as a job has them from the start: shells and Python change some.
fn untouched_signals(setup: &str) -> Option<String> {
    let masks = |status: &str| {
        let masks = ["SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:"];
        status.lines().filter(|line| masks.iter().any(|mask| line.starts_with(mask))).collect::<Vec<_>>().join("\n")
    };
    let told = both(setup, &[b"/bin/cp", b"/proc/self/status", b"$OUT"])?;
    let [direct, under_exec] = told.map(|status| masks(&String::from_utf8_lossy(&status)));
    assert_eq!(direct, under_exec, "{setup}");
    Some(direct)
}

/// A mask of signals in what the job told; without the two of the C library, which `posix_spawn` of glibc has ignored.
fn mask_of(told: &str, key: &str) -> u64 {
    let mask = told.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("no {key}: {told}"));
    u64::from_str_radix(mask.trim_start_matches(':').trim(), 16).unwrap() & !(0b11 << 31)
}

fn mask(signals: &[u32]) -> u64 {
    signals.iter().map(|signal| 1 << (signal - 1)).sum()
}

#[test]
fn dispositions_and_masks_are_untouched() {
    const DEFAULT: &str = "[signal.signal(s, signal.SIG_DFL) for s in range(1, 32) if s not in (9, 19)]
signal.pthread_sigmask(signal.SIG_SETMASK, set())\n";
    for (setup, ignored, blocked) in [
        ("pass", &[][..], &[][..]),
        ("signal.signal(13, signal.SIG_IGN)", &[13], &[]),
        ("signal.signal(17, signal.SIG_IGN)", &[17], &[]),
        ("[signal.signal(s, signal.SIG_IGN) for s in (2, 3, 13, 15, 20, 28)]", &[2, 3, 13, 15, 20, 28], &[]),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, {1, 10, 13, 15, 17, 40, 64})", &[], &[1, 10, 13, 15, 17, 40, 64]),
    ] {
        let Some(told) = untouched_signals(&format!("{DEFAULT}{setup}")) else { return };
        assert_eq!(mask_of(&told, "SigIgn"), mask(ignored), "{setup}: {told}");
        assert_eq!(mask_of(&told, "SigBlk"), mask(blocked), "{setup}: {told}");
    }
}

/// glibc keeps two signals from programs, but not from launchers that speak to the kernel themselves.
#[test]
fn a_mask_that_the_c_library_would_not_set_is_untouched() {
    let setup = "
mask = ctypes.c_uint64(0x180000000)
ctypes.CDLL(None).syscall(14 if os.uname().machine == 'x86_64' else 135, 0, ctypes.byref(mask), None, 8)";
    let Some(told) = untouched_signals(setup) else { return };
    assert!(told.contains("SigBlk:\t0000000180000000"), "{told}");
}

/// `PR_SET_PDEATHSIG`, as Go's Pdeathsig leaves it to what it starts.
#[test]
fn the_death_of_the_launcher_is_told_as_it_would_be() {
    let job = "import ctypes, os
n = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(n))
open(os.environ['OUT'], 'w').write(str(n.value))";
    let Some(python) = python("the_death_of_the_launcher_is_told_as_it_would_be") else { return };
    let told = untouched("ctypes.CDLL(None).prctl(1, 12)", &[python.as_bytes(), b"-c", job.as_bytes()]);
    assert_eq!(told.as_deref(), Some("12"));
}

#[test]
fn descriptors_are_untouched() {
    let extra = "fd = os.open('/etc/passwd', os.O_RDONLY); os.dup2(fd, 9); os.dup2(fd, 77)";
    for closed in ["", "os.close(0)", "os.close(1)", "os.close(2)", "[os.close(n) for n in (0, 1, 2)]"] {
        let Some(told) = untouched(&format!("{extra}\n{closed}"), &sh(REPORT)) else { return };
        assert!(told.contains("\n77 /etc/passwd\n"), "{closed}: {told}");
    }
}

#[test]
fn priorities_and_limits_are_untouched() {
    for setup in [
        "os.nice(5)",
        "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))",
        "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))",
        "os.sched_setaffinity(0, [sorted(os.sched_getaffinity(0))[0]])",
        "open('/proc/self/oom_score_adj', 'w').write('77')",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (90, 100))",
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 65536))",
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))",
        "os.umask(0o27)",
        "ctypes.CDLL(None).prctl(29, 12345)",
        "ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)",
        "os.chdir('/usr')",
    ] {
        if untouched(setup, &sh(REPORT)).is_none() {
            return;
        }
    }
}

/// The supervisor is what leads it, as the launcher became it.
#[test]
fn a_session_of_the_launcher_is_the_jobs() {
    let report = r#"cut -d')' -f2 "/proc/$$/stat" | cut -d' ' -f4,5 >"$OUT"
        [ "$(cat "$OUT")" = "$PPID $PPID" ] && echo own >"$OUT""#;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let Some(python) = python("a_session_of_the_launcher_is_the_jobs") else { return };
    let mut launcher = Command::new(python);
    launcher.args(["-c", LAUNCHER, "os.setsid()", BINARY, "exec", "--", "/bin/sh", "-c", report]).env("OUT", &out);
    assert_eq!(end_of(launcher.stdin(Stdio::null()).stdout(Stdio::null())), (0, String::new()));
    assert_eq!(fs::read(&out).unwrap(), b"own\n");
}

#[test]
fn the_environment_is_untouched_to_the_byte() {
    let environment = r"environment([b'OUT=' + os.fsencode(os.environ['OUT']), b'PATH=/usr/bin:/bin', b'A=1', b'novalue',
        b'=x', b'A=2', b'ODD\xff=\xff\x01', b'RUNNER_TRACKING_ID=t', b'RUNNER_VITALS_INTERVAL=60', b'EMPTY='])";
    // A shell would tidy it up.
    let script = "import os; open(os.environ['OUT'], 'wb').write(open('/proc/self/environ', 'rb').read())";
    let Some(python) = python("the_environment_is_untouched_to_the_byte") else { return };
    let told = untouched(environment, &[python.as_bytes(), b"-c", script.as_bytes()]).unwrap();
    assert!(told.contains("\0novalue\0") && told.contains("RUNNER_TRACKING_ID=t"), "{told:?}");
}

#[test]
fn arguments_are_untouched() {
    let report = "cat \"/proc/$$/cmdline\" >\"$OUT\"";
    let odd: [&[u8]; 8] = [b"a b", b"", b"--", b"--help", b"\xff\xfe", b"two\nlines", b"exec", b"-h"];
    let _ = untouched("pass", &[sh(report).as_slice(), &odd].concat());
}

#[test]
fn a_job_is_looked_up_on_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let job = dir.path().join("the-job");
    fs::write(&job, "#!/bin/sh\nexit 41\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&job, mode).unwrap();
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    assert_eq!(end_of(crate::exec(&["--", "the-job"]).env("PATH", path)), (41, String::new()));
}

/// What waits for the end of the job's stdin or stdout does not wait for the supervisor.
#[test]
fn the_supervisor_holds_nothing_of_the_jobs() {
    let (reader, writer) = std::io::pipe().unwrap();
    let extra = reader.try_clone().unwrap();
    let mut supervisor = crate::exec_sh("exec sleep 30 <&-").stdin(reader).spawn().unwrap();
    drop(extra);
    // The job has closed the only reading end.
    crate::until("EPIPE", || {
        let mut writer = &writer;
        std::io::Write::write(&mut writer, b"x").err()
    });
    let fds = Path::new("/proc").join(supervisor.id().to_string()).join("fd");
    let held = || fs::read_dir(&fds).unwrap().map(|fd| fs::read_link(fd.unwrap().path()).unwrap());
    assert!(held().filter(|file| file != Path::new("/dev/null")).count() <= 2, "{:?}", held().collect::<Vec<_>>());
    let job = crate::children(supervisor.id()).into_iter().find(|(_, name)| name == "sleep").unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(job.0.try_into().unwrap()).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert_eq!(crate::code(supervisor.wait().unwrap()), 128 + 15);
}
