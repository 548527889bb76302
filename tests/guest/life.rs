//! The real binary on this machine: its lines, its time, its settings, its end.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::probe::{Arrived, PATIENCE, Probe, arrivals, command, copy_for_all};
use crate::skip::skipped;
use runner_vitals::line::field;
use rustix::process::Signal;

/// The best of some tries: the machine may be busy, the program is not to be slow.
fn best_of(tries: usize, measure: impl Fn() -> Duration) -> Duration {
    (0..tries).map(|_| measure()).min().unwrap()
}

#[test]
fn start_and_first_sample_come_within_half_a_second_and_then_one_an_interval() {
    let first = best_of(5, || {
        let began = Instant::now();
        let probe = Probe::start(&["--interval", "1"]);
        assert!(probe.next().is(Some("start")));
        probe.next_of(None).at - began
    });
    assert!(first < Duration::from_millis(500), "{first:?}");
    let probe = Probe::start(&["--interval", "1"]);
    let samples: Vec<Arrived> = (0..4).map(|_| probe.next_of(None)).collect();
    for pair in samples.windows(2) {
        let apart = pair[1].at - pair[0].at;
        assert!(apart > Duration::from_millis(500) && apart < Duration::from_secs(10), "{apart:?}");
    }
    let whole = (samples[3].at - samples[0].at).as_secs_f64();
    assert!((2.5..30.0).contains(&whole), "{whole}");
}

#[test]
fn a_line_is_never_missing_in_the_count() {
    let (lines, status) = Probe::start(&["--interval", "1", "--samples", "2"]).finish();
    assert!(status.success());
    let seqs: Vec<u64> = lines.iter().map(|arrived| arrived.line().seq).collect();
    assert_eq!(seqs, (1..=lines.len() as u64).collect::<Vec<_>>());
    let runs: Vec<String> = lines.iter().map(|arrived| arrived.line().run.as_str().to_owned()).collect();
    assert!(runs.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn this_machine_gives_the_contract() {
    let (lines, _) = Probe::start(&["--once", "--fields", "contract"]).finish();
    let sample = lines.iter().find(|arrived| arrived.is(None)).unwrap();
    let line = sample.line();
    for field in field::ALL
        .iter()
        .filter(|field| field.print == field::Print::Contract && field.kinds.contains(&field::Kind::Sample))
    {
        assert!(line.get(field).is_some(), "{} is missing: {}", field.key, sample.text);
    }
    for field in [field::VM_MEM_TOTAL, field::VM_MEM_AVAIL, field::LOAD1, field::LATE] {
        assert!(line.scaled(field).is_some(), "{} has no reading: {}", field.key, sample.text);
    }
    assert!(line.get(field::VM_OOM_KILL).is_none(), "not of the contract: {}", sample.text);
    assert!(sample.text.len() <= 400, "{}", sample.text.len());
}

#[test]
fn a_signal_ends_it_with_a_last_sample_and_a_stop_line() {
    for (signal, reason) in [(Signal::TERM, "sigterm"), (Signal::INT, "sigint")] {
        let took = best_of(5, || {
            let probe = Probe::start(&["--interval", "60"]);
            probe.next_of(None);
            let told = Instant::now();
            probe.signal(signal);
            probe.next_of(None);
            let stop = probe.next_of(Some("stop"));
            assert_eq!(stop.text_of(field::REASON).as_deref(), Some(reason));
            // Those of a burst count too.
            assert!(stop.scaled(field::SAMPLES) >= Some(2), "{}", stop.text);
            let (rest, status) = probe.finish();
            assert!(rest.is_empty() && status.success());
            told.elapsed()
        });
        assert!(took < Duration::from_millis(100), "{reason}: {took:?}");
    }
}

#[test]
fn it_ends_with_the_process_it_was_told_to_watch() {
    let took = best_of(5, || {
        let mut watched = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let probe = Probe::start(&["--interval", "60", "--exit-with", &watched.id().to_string()]);
        probe.next_of(None);
        let ended = Instant::now();
        drop(watched.stdin.take());
        watched.wait().unwrap();
        let stop = probe.next_of(Some("stop"));
        assert_eq!(stop.text_of(field::REASON).as_deref(), Some("parent_exit"));
        stop.at - ended
    });
    assert!(took < Duration::from_millis(100), "{took:?}");
}

#[test]
fn started_in_the_background_it_ends_with_its_shell_and_leaves_ctrl_c_to_the_job() {
    let mut shell = Command::new("sh");
    // Each line that the shell is sent lets it go on. Lines of the probe may come before the shell's own.
    shell.args(["-c", "\"$PROBE\" --interval 60 & read line; kill -INT $!; echo sent; cat >/dev/null"]);
    shell.env("PROBE", env!("CARGO_BIN_EXE_runner-vitals")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = Probe::spawn(&mut shell);
    shell.next_of(None);
    shell.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    while shell.next().text != "sent" {}
    drop(shell.child.stdin.take());
    let stop = shell.next_of(Some("stop"));
    assert_eq!(stop.text_of(field::REASON).as_deref(), Some("parent_exit"));
}

#[test]
fn started_in_the_foreground_it_outlives_its_parent() {
    let mut outer = Command::new("sh");
    // The inner shell ends at once; setsid keeps the probe from being anybody's background.
    outer
        .args(["-c", "setsid -f \"$PROBE\" --interval 1 --samples 3"])
        .env("PROBE", env!("CARGO_BIN_EXE_runner-vitals"));
    let probe = Probe::spawn(outer.stdin(Stdio::null()).stdout(Stdio::piped()));
    let stop = probe.next_of(Some("stop"));
    assert_eq!(stop.text_of(field::REASON).as_deref(), Some("samples"));
}

#[test]
fn a_watched_process_that_is_not_there_is_told_and_forgotten() {
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let (lines, status) = Probe::start(&["--once", "--exit-with", &ended.id().to_string()]).finish();
    assert!(status.success());
    let config = lines.iter().find(|arrived| arrived.is(Some("config"))).unwrap();
    assert_eq!(config.text_of(field::KEY).as_deref(), Some("--exit-with"));
}

#[test]
fn without_a_reader_it_ends_quietly() {
    let mut child = command(&["--interval", "60"]).spawn().unwrap();
    drop(child.stdout.take());
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it runs on without a reader");
        std::thread::yield_now();
    };
    assert!(status.success(), "{status}");
}

#[test]
fn a_wrong_flag_is_a_usage_error() {
    for flags in
        [&["--interval", "soon"][..], &["--interval", "0"], &["--nonsense"], &["--root", "/no/such"], &["extra"]]
    {
        let output = command(flags).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{flags:?}");
        assert!(output.stdout.is_empty());
        assert!(String::from_utf8_lossy(&output.stderr).contains("error:"), "{flags:?}");
    }
    for flag in ["--help", "--version"] {
        let output = command(&[flag]).output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{flag}");
    }
}

#[test]
fn a_wrong_environment_costs_a_config_line() {
    let env =
        [("RUNNER_VITALS_INTERVAL", "0"), ("RUNNER_VITALS_FIELDS", "x\ny=\"z"), ("TUIST_RUNNER_POD_NAME", "pod-1")];
    let (lines, status) = Probe::spawn(command(&["--once"]).envs(env)).finish();
    assert!(status.success());
    assert_eq!(lines[0].text_of(field::RUNNER_NAME).as_deref(), Some("pod-1"));
    assert_eq!(lines[0].scaled(field::INTERVAL), Some(3000));
    let told: Vec<_> = lines.iter().filter(|arrived| arrived.is(Some("config"))).collect();
    let told: Vec<_> = told
        .iter()
        .map(|arrived| (arrived.text_of(field::KEY).unwrap(), arrived.text_of(field::GIVEN).unwrap()))
        .collect();
    let expected = [("RUNNER_VITALS_INTERVAL", "0"), ("RUNNER_VITALS_FIELDS", "x\ny=\"z")];
    assert_eq!(told, expected.map(|(key, given)| (key.to_owned(), given.to_owned())));
}

#[test]
fn nothing_of_the_environment_or_command_line_gets_out() {
    let secret = "hunter2-hunter2";
    let (lines, _) =
        Probe::spawn(command(&["--once"]).env("RUNNER_VITALS_TOKEN", secret).env("AWS_SECRET", secret)).finish();
    assert!(!lines.is_empty() && lines.iter().all(|arrived| !arrived.text.contains(secret)));
}

/// The job and the probe share one pipe. The job has filled it, nobody reads: sampling goes on, on time.
#[test]
fn a_stalled_reader_delays_no_sample_and_loses_only_what_is_counted() {
    let (reader, writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    let mut probe = command(&["--interval", "1"]).stdout(writer.try_clone().unwrap()).spawn().unwrap();
    // As a job does: fills what is left, again and again, and waits for room in between.
    let mut job =
        Command::new("sh").args(["-c", "while :; do echo noise-of-the-job; done"]).stdout(writer).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(rustix::fs::fcntl_getfl(&reader).unwrap() & rustix::fs::OFlags::NONBLOCK, rustix::fs::OFlags::empty());
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    let lines = arrivals(reader);
    let (mut late, mut seqs) = (Vec::new(), Vec::new());
    let mut dropped = 0;
    while seqs.len() < 6 {
        let arrived = lines.recv_timeout(PATIENCE).expect("a line in time");
        if !arrived.text.starts_with("RUNNER_VITALS") {
            assert_eq!(arrived.text, "noise-of-the-job", "lines do not mix");
            continue;
        }
        seqs.push(arrived.line().seq);
        late.extend(arrived.scaled(field::LATE));
        dropped = arrived.scaled(field::SINK_STDOUT_DROPPED).unwrap_or(dropped);
    }
    job.kill().unwrap();
    job.wait().unwrap();
    probe.kill().unwrap();
    probe.wait().unwrap();
    assert!(late.iter().min().unwrap() < &1000, "late by {late:?} tenths of a millisecond");
    assert!(late.iter().all(|late| *late < 10_000), "a sample waited for the reader: {late:?}");
    assert_eq!(seqs, (1..=6).collect::<Vec<_>>(), "dropped {dropped}");
}

/// User and system time of a process so far, in clock ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let words: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap()
}

#[test]
fn a_stalled_reader_costs_no_cpu() {
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut job = Command::new("yes").stdout(writer.try_clone().unwrap()).spawn().unwrap();
    let mut probe = command(&["--interval", "1"]).stdout(writer).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let ticks = cpu_ticks(probe.id());
    job.kill().unwrap();
    probe.kill().unwrap();
    job.wait().unwrap();
    probe.wait().unwrap();
    // 3 s are 300 ticks.
    assert!(ticks <= 15, "{ticks} ticks of CPU while nothing could be written");
}

/// What was due while the guest stood still is skipped, the next line tells how late it is, and the grid is kept.
#[test]
fn a_standstill_is_told_as_lateness() {
    let probe = Probe::start(&["--interval", "1"]);
    let before = probe.next_of(None);
    probe.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(3500));
    probe.signal(Signal::CONT);
    let gap = probe.next_of(Some("gap"));
    assert_eq!(gap.text_of(field::KIND).as_deref(), Some("unknown"), "{}", gap.text);
    let late = probe.next_of(None);
    assert_eq!(late.line().seq, gap.line().seq + 1, "what was missed is not made up for");
    let late_ms = late.scaled(field::LATE).unwrap() / 10;
    assert!(late_ms - gap.scaled(field::MS).unwrap() <= 10, "{} {}", gap.text, late.text);
    assert!((2000..=3400).contains(&late_ms), "due 1 s after the last, served 3.5 s after it: {late_ms}");
    assert!((3300..10_000).contains(&late.scaled(field::SPAN).unwrap()), "{}", late.text);
    let next = probe.next_of(None);
    let ms = |arrived: &Arrived| arrived.line().ts.unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let off_grid = (ms(&next) - ms(&before)) % 1000;
    assert!(!(200..800).contains(&off_grid), "{off_grid} ms off the grid");
}

#[test]
fn stdout_can_be_a_file_or_a_terminal_like_device() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let status = command(&["--once"]).stdout(file.reopen().unwrap()).status().unwrap();
    assert!(status.success());
    let text = std::fs::read_to_string(file.path()).unwrap();
    // A kernel message of this machine may stand between them.
    let samples = text.lines().filter(|line| !line.contains(" event=")).count();
    assert!(samples == 1 && text.contains(" event=start ") && text.contains(" event=stop "), "{text}");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert!(command(&["--once"]).stdout(full).status().unwrap().success());
}

/// The disk that the lines go to fills and is freed: a line that was cut is not glued to the next.
#[test]
fn a_full_disk_mixes_no_lines() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| {
        Command::new(args[0]).args(&args[1..]).arg(dir.path()).status().is_ok_and(|status| status.success())
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=8k", "none"]) {
        skipped("a_full_disk_mixes_no_lines", "may not mount a tmpfs");
        return;
    }
    let (fill, log) = (dir.path().join("fill"), dir.path().join("log"));
    std::fs::write(&fill, [0; 4096]).unwrap();
    // Short of room for a second line.
    std::fs::write(&log, [b'-'; 3000]).unwrap();
    let stdout = std::fs::File::options().append(true).open(&log).unwrap();
    let mut probe = command(&["--interval", "1"]).stdout(stdout).spawn().unwrap();
    let until = |what: &str, is_so: &dyn Fn(&[u8]) -> bool| {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&std::fs::read(&log).unwrap()) {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until("it fills", &|text| text.len() == 4096);
    // One that there is no room for at all.
    std::thread::sleep(Duration::from_millis(2500));
    std::fs::remove_file(&fill).unwrap();
    until("what was dropped is told", &|text| {
        let whole = text.iter().rposition(|byte| *byte == b'\n').and_then(|end| text.get(..end));
        whole.is_some_and(|whole| String::from_utf8_lossy(whole).contains("sink.stdout.dropped="))
    });
    probe.kill().unwrap();
    probe.wait().unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(mount(&["umount"]));
    let lines: Vec<&str> = text.trim_start_matches('-').lines().collect();
    assert!(lines.iter().all(|line| line.matches("RUNNER_VITALS").count() <= 1), "{text}");
}

#[test]
fn a_terminal_that_hung_up_ends_it() {
    let mut script = Command::new("python3");
    script.args(["-c", "import pty,os,subprocess,sys\nm,s=pty.openpty()\np=subprocess.Popen([sys.argv[1],'--interval','1'],stdout=s,stdin=subprocess.DEVNULL)\nos.close(s)\nos.read(m,20)\nos.close(m)\nsys.exit(p.wait(20))"]);
    match script.arg(env!("CARGO_BIN_EXE_runner-vitals")).status() {
        Ok(status) => assert!(status.success(), "{status}"),
        Err(_) => skipped("a_terminal_that_hung_up_ends_it", "python3 is not installed"),
    }
}

/// Sources give way where descriptors are few, the lines go on.
#[test]
fn few_descriptors_cost_sources_and_not_the_lines() {
    for few in [10, 12, 16] {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {few}; exec \"$PROBE\" --once")]);
        shell.env("PROBE", env!("CARGO_BIN_EXE_runner-vitals")).stdin(Stdio::null()).stdout(Stdio::piped());
        let (lines, status) = Probe::spawn(&mut shell).finish();
        assert!(status.success(), "{few}: {status}");
        assert!(lines.iter().any(|arrived| arrived.is(None)) && lines.last().unwrap().is(Some("stop")), "{few}");
        let start = &lines[0].text;
        assert!(start.contains(" broken="), "{few}: {start}");
    }
}

/// What root may see and others not: `kernel.dmesg_restrict` keeps /dev/kmsg from the unprivileged.
#[test]
fn what_is_denied_is_told_as_denied() {
    let restricted = std::fs::read_to_string("/proc/sys/kernel/dmesg_restrict").unwrap_or_default();
    let is_root = rustix::process::geteuid().is_root();
    if restricted.trim() != "1" || !is_root || !std::path::Path::new("/dev/kmsg").exists() {
        skipped("what_is_denied_is_told_as_denied", "needs root, /dev/kmsg and kernel.dmesg_restrict=1");
        return;
    }
    // Nobody may not reach the build folder.
    let (_dir, copy) = copy_for_all();
    let mut nobody = Command::new(&copy);
    let (lines, status) =
        Probe::spawn(nobody.arg("--once").current_dir("/").uid(65534).gid(65534).stdout(Stdio::piped())).finish();
    assert!(status.success());
    assert_eq!(lines[0].text_of(field::KMSG).as_deref(), Some("denied"), "{}", lines[0].text);
    assert_eq!(lines[0].text_of(field::CAPS).as_deref(), Some("none"));
}
