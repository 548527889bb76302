//! The rows of `benches/BUDGET.md` that hold in any build and on any machine; `cargo bench --bench cost` has the others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, PipeReader, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use runner_vitals::line::RunId;
use runner_vitals::probe::config::{Args, Config, Fields};
use runner_vitals::probe::sampler::Sampler;
use runner_vitals::probe::sink::stdout::Stdout;

#[path = "../benches/cost/allocations.rs"]
mod allocations;
#[path = "../benches/cost/bounds.rs"]
mod bounds;
#[path = "../benches/cost/system_calls.rs"]
mod system_calls;

const PROBE: &str = env!("CARGO_BIN_EXE_runner-vitals");

const BUDGET: &str = include_str!("../benches/BUDGET.md");

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// From the start of a run to its first sample.
const FIRST_SPAN: Duration = Duration::from_millis(200);

#[test]
fn the_bounds_are_those_of_the_page() {
    let rows = BUDGET.lines().filter(|line| line.starts_with("| ")).skip(1);
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('|').skip(1).take(2).map(str::trim).collect()).collect();
    let bounds: Vec<Vec<&str>> = bounds::ALL.iter().map(|bound| vec![bound.what, bound.text]).collect();
    assert_eq!(rows[1..], bounds);
}

// Allocations.

#[test]
fn a_sample_allocates_nothing() {
    for fields in [Fields::Full, Fields::Contract] {
        let (reader, writer) = pipe();
        let drain = std::thread::spawn(move || drain(reader));
        let mut sampler = start(fields, writer);
        assert_eq!(allocations_of(&mut sampler, 100), 0, "{fields:?}");
        drop(sampler);
        drain.join().unwrap();
    }
}

#[test]
fn a_sample_allocates_nothing_while_nobody_reads() {
    let (_reader, writer) = pipe();
    let mut sampler = start(Fields::Full, writer);
    // More than the pipe and the queue hold together.
    assert_eq!(allocations_of(&mut sampler, 1000), 0);
    assert!(sampler.voice().dropped() > 0, "it has not come to the end of the queue");
}

#[test]
fn a_sample_to_a_file_allocates_nothing() {
    let mut sampler = start(Fields::Full, tempfile::tempfile().unwrap());
    assert_eq!(allocations_of(&mut sampler, 100), 0);
}

#[test]
fn allocations_are_counted() {
    let before = allocations::of_this_thread();
    drop(std::hint::black_box(Vec::<u8>::with_capacity(100)));
    assert_eq!(allocations::of_this_thread() - before, 1);
}

fn start(fields: Fields, stdout: File) -> Sampler {
    let config = Config { fields, ..Config::new(Args::default(), |_| None) };
    Sampler::start(config, RunId::from_random(1), Stdout::new(stdout).unwrap())
}

/// What this thread allocates in so many samples from the fourth on.
fn allocations_of(sampler: &mut Sampler, samples: u32) -> u64 {
    for _ in 0..3 {
        // The helper's first look at the disks comes in between, as in a run.
        std::thread::sleep(FIRST_SPAN);
        sampler.sample(sampler.elapsed());
    }
    let before = allocations::of_this_thread();
    (0..samples).for_each(|_| sampler.sample(sampler.elapsed()));
    allocations::of_this_thread() - before
}

fn pipe() -> (PipeReader, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader, File::from(OwnedFd::from(writer)))
}

fn drain(mut reader: PipeReader) {
    let mut chunk = vec![0; 64 * 1024];
    while reader.read(&mut chunk).unwrap() > 0 {}
}

// System calls.

#[test]
fn a_sample_is_its_reads_and_six_system_calls_at_most() {
    let samples = match system_calls::trace(Path::new(PROBE), 6) {
        Ok(samples) => samples,
        Err(error) => return skipped(&error),
    };
    assert_eq!(samples.len(), 5, "{samples:#?}");
    // From the third of all on.
    let samples = &samples[1..];
    for sample in samples {
        assert!(sample.forbidden().is_empty(), "{sample:?}");
    }
    let calm: Vec<_> = samples.iter().filter(|sample| !sample.is_disturbed).collect();
    assert!(!calm.is_empty(), "there were kernel messages all the time: {samples:#?}");
    for sample in calm {
        assert!(sample.files > 0, "{sample:?}");
        let besides = f64::from(u32::try_from(sample.besides).unwrap());
        assert!(besides <= bounds::SYSTEM_CALLS.at_most, "{sample:?}");
    }
}

#[test]
fn a_trace_is_cut_into_samples() {
    let trace = r#"10  execve("/probe", ["probe"], 0x7ffc /* 9 vars */) = 0
11  futex(0x5a, FUTEX_WAIT_PRIVATE, 1, NULL <unfinished ...>
10  pwritev2(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=k3x9 seq=1 event=start", iov_len=9}], 1, -1, 0) = 9
10  pwritev2(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:00.323Z run=k3x9 seq=2 vm.mem", iov_len=9}], 1, -1, 0) = 9
10  ppoll([{fd=3, events=POLLIN}], 1, {tv_sec=1, tv_nsec=0}, NULL, 8 <unfinished ...>
11  <... futex resumed>)              = 0
11  statfs("/", {f_type=EXT2_SUPER_MAGIC}) = 0
10  <... ppoll resumed>)              = 0 (Timeout)
10  pread64(5, "1\n", 65536, 0)       = 2
10  pread64(5, "", 65534, 2)          = 0
10  pread64(6, "2\n", 65536, 0)       = 2
10  pwritev2(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:01.323Z run=k3x9 seq=3 vm.mem", iov_len=9}], 1, -1, 0) = 9
10  ppoll([{fd=3, events=POLLIN}], 1, {tv_sec=1, tv_nsec=0}, NULL, 8) = 1
10  read(3, "6,1,1,-;hello\n", 8192)   = 14
12  write(1, "RUNNER_VITALS ts=2026-06-04T12:00:01.323Z run=k3x9 seq=3 vm.mem", 9) = 9
10  writev(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:02.323Z run=k3x9 seq=4 vm.mem", iov_len=9}], 1) = 9
10  --- SIGTERM {si_signo=SIGTERM} ---
10  +++ exited with 0 +++
"#;
    let samples = system_calls::parse(trace);
    let calls = ["ppoll", "statfs", "pread64", "pread64", "pread64", "pwritev2"];
    assert_eq!(samples.len(), 2);
    assert_eq!(samples[0].calls, calls);
    assert_eq!((samples[0].files, samples[0].besides, samples[0].is_disturbed), (3, 3, false));
    assert_eq!(samples[1].calls, ["ppoll", "read", "write", "writev"]);
    assert_eq!((samples[1].files, samples[1].besides, samples[1].is_disturbed), (0, 3, true));
}

fn skipped(why: &str) {
    assert_ne!(std::env::var_os("CI"), Some("true".into()), "strace is needed here: {why}");
    eprintln!("SKIPPED: system calls are not counted: {}", why.trim());
}

// Open files and threads.

#[test]
fn it_holds_few_files_and_threads() {
    let (reader, writer) = pipe();
    let mut lines = BufReader::new(reader).lines();
    let probe = Running::start(writer);
    let mut a_line = || lines.next().unwrap().unwrap();
    assert!(a_line().contains(" event=start ") && !a_line().contains(" event="));
    probe.assert_bounds("a pipe");

    let file = tempfile::NamedTempFile::new().unwrap();
    let probe = Running::start(file.reopen().unwrap());
    let deadline = Instant::now() + PATIENCE;
    while fs::read_to_string(file.path()).unwrap().lines().count() < 2 {
        assert!(Instant::now() < deadline, "no sample came");
        std::thread::sleep(Duration::from_millis(20));
    }
    probe.assert_bounds("a file");
}

/// A probe that is ended when the test is.
struct Running(Child);

impl Running {
    fn start(stdout: File) -> Self {
        Self(Command::new(PROBE).stdin(Stdio::null()).stdout(stdout).spawn().unwrap())
    }

    fn assert_bounds(&self, stdout: &str) {
        for (folder, bound) in [("fd", bounds::OPEN_FILES), ("task", bounds::THREADS)] {
            let count = fs::read_dir(format!("/proc/{}/{folder}", self.0.id())).unwrap().count();
            let count = f64::from(u32::try_from(count).unwrap());
            assert!(count <= bound.at_most, "{count} {} with stdout {stdout}", bound.what);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}
