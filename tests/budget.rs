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
#[path = "support/skip.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod skip;
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
    // The hub's rows have a test of their own.
    let rows = BUDGET.split("\n## The hub").next().unwrap().lines().filter(|line| line.starts_with("| ")).skip(1);
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
    assert!(sampler.voice().outlets().tally().stdout_dropped > 0, "it has not come to the end of the queue");
}

#[test]
fn a_sample_to_a_file_allocates_nothing() {
    let mut sampler = start(Fields::Full, tempfile::tempfile().unwrap());
    assert_eq!(allocations_of(&mut sampler, 100), 0);
}

/// The sampler's side of the network: also while nobody answers and the queue is full.
#[cfg(feature = "tls")]
#[test]
fn a_sample_that_goes_by_network_allocates_nothing() {
    use runner_vitals::probe::sink::network;
    use runner_vitals::probe::sink::outlets::Outlets;

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let get = |name: &str| (name == "RUNNER_VITALS_SINK").then(|| url.clone().into());
    let config = Config::new(Args::default(), get);
    let run = RunId::from_random(1);
    let (network, unused) = network::of(&config, run, &tempfile::tempfile().unwrap().into(), None, None);
    assert_eq!(unused, []);
    let mut sampler = Sampler::start(config, run, Outlets::new(None, network));
    assert_eq!(allocations_of(&mut sampler, 1000), 0);
    assert!(sampler.voice().outlets().tally().http_dropped > 0, "it has not come to the end of the queue");
}

/// Whatever a server answers, no tree is made of it: of 64 KiB it would have 20,000 branches and take megabytes.
#[cfg(feature = "tls")]
#[test]
fn an_answer_that_is_not_ours_takes_no_memory() {
    use runner_vitals::net::client::MOST_ANSWER_BYTES;
    use runner_vitals::probe::sink::network::http::{Verdict, judge};

    let fill = |piece: &str| piece.repeat((MOST_ANSWER_BYTES - 100) / piece.len());
    let deep = ["[", "]"].map(|end| end.repeat(MOST_ANSWER_BYTES / 2 - 100)).concat();
    for bad in [fill(r#"{"a":{}},"#), fill("[],"), fill("0,"), fill(r#""\u00e9","#), deep + ","] {
        let answer = format!(r#"{{"more":[{bad}0],"bad":[],"taken":1}}"#);
        let before = allocations::of_this_thread();
        assert_eq!(judge(400, answer.as_bytes(), 3), Verdict::Out { bad: 2 });
        let made = allocations::of_this_thread() - before;
        // Of the keys, and of a room that doubles.
        assert!(made < 30, "{made} allocations");
    }
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
        Err(error) => return skip::skipped("system calls are not counted", error.trim()),
    };
    // On a busy machine those of a burst come on top.
    assert!(samples.len() >= 5, "{samples:#?}");
    // From the third of all on.
    let samples = &samples[1..];
    for sample in samples {
        assert!(sample.forbidden.is_empty(), "{sample:?}");
    }
    let looks: Vec<f64> = samples.iter().flat_map(|sample| sample.looks.clone()).collect();
    assert!(looks.windows(2).all(|pair| pair[1] - pair[0] > 4.0), "looks at {looks:?}, not 5 s apart");
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
    let trace = r#"10 1.5 execve("/probe", ["probe"], 0x7ffc /* 9 vars */) = 0
11 2.5 futex(0x5a, FUTEX_WAIT_PRIVATE, 1, NULL <unfinished ...>
10 3.5 pwritev2(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=k3x9 seq=1 event=start", iov_len=9}], 1, -1, 0) = 9
10 4.5 pwritev2(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:00.323Z run=k3x9 seq=2 vm.mem", iov_len=9}], 1, -1, 0) = 9
10 5.5 ppoll([{fd=3, events=POLLIN}], 1, {tv_sec=1, tv_nsec=0}, NULL, 8 <unfinished ...>
11 6.5 <... futex resumed>)              = 0
11 7.5 statfs("/", {f_type=EXT2_SUPER_MAGIC}) = 0
10 8.5 <... ppoll resumed>)              = 0 (Timeout)
10 9.5 pread64(5, "1\n", 65536, 0)       = 2
10 10.5 pread64(5, "", 65534, 2)          = 0
10 11.5 pread64(6, "2\n", 65536, 0)       = 2
10 12.5 pwritev2(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:01.323Z run=k3x9 seq=3 vm.mem", iov_len=9}], 1, -1, 0) = 9
10 13.5 ppoll([{fd=3, events=POLLIN}], 1, {tv_sec=1, tv_nsec=0}, NULL, 8) = 1
10 14.5 read(3, "6,1,1,-;hello\n", 8192)   = 14
11 15.5 openat(AT_FDCWD, "/proc", O_RDONLY) = 9
12 16.5 write(1, "RUNNER_VITALS ts=2026-06-04T12:00:01.323Z run=k3x9 seq=3 vm.mem", 9) = 9
10 17.5 writev(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:02.323Z run=k3x9 seq=4 vm.mem", iov_len=9}], 1) = 9
10 18.5 ppoll([{fd=3, events=POLLIN}], 1, {tv_sec=1, tv_nsec=0}, NULL, 8 <unfinished ...>
11 19.5 openat(9, "1/stat", O_RDONLY) = 10
11 20.5 statfs("/", {f_type=EXT2_SUPER_MAGIC}) = 0
11 21.5 openat(AT_FDCWD, "/etc", O_RDONLY) = 9
10 22.5 <... ppoll resumed>)              = 0 (Timeout)
10 23.5 openat(AT_FDCWD, "/proc", O_RDONLY) = 9
10 24.5 pwritev2(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:03.323Z run=k3x9 seq=5 vm.mem", iov_len=9}], 1, -1, 0) = 9
10 25.5 ppoll([{fd=3, events=POLLIN}, {fd=26, events=POLLPRI}], 2, NULL, NULL, 8 <unfinished ...>
11 26.5 futex(0x5a, FUTEX_WAIT_PRIVATE, 1, NULL) = 0
10 27.5 <... ppoll resumed>)              = 2 ([{fd=3, revents=POLLIN}, {fd=26, revents=POLLPRI}])
10 28.5 pwritev2(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:04.323Z run=k3x9 seq=6 vm.mem", iov_len=9}], 1, -1, 0) = 9
10 29.5 ppoll([{fd=3, events=POLLIN}, {fd=26, events=POLLPRI}], 2, NULL, NULL, 8) = 1 ([{fd=3, revents=POLLIN}])
10 30.5 pwritev2(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:05.323Z run=k3x9 seq=7 event=pressure", iov_len=9}], 1, -1, 0) = 9
10 31.5 pwritev2(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:05.323Z run=k3x9 seq=8 vm.mem", iov_len=9}], 1, -1, 0) = 9
10 32.5 ppoll([{fd=3, events=POLLIN}, {fd=26, events=POLLPRI}], 2, NULL, NULL, 8) = 1 ([{fd=3, revents=POLLIN}])
10 33.5 pwritev2(4, [{iov_base="RUNNER_VITALS ts=2026-06-04T12:00:06.323Z run=k3x9 seq=9 vm.mem", iov_len=9}], 1, -1, 0) = 9
10 34.5 --- SIGTERM {si_signo=SIGTERM} ---
10 35.5 +++ exited with 0 +++
"#;
    let samples = system_calls::parse(trace);
    let calls = ["ppoll", "statfs", "pread64", "pread64", "pread64", "pwritev2"];
    assert_eq!(samples.len(), 6);
    assert_eq!(samples[0].calls, calls);
    assert_eq!((samples[0].files, samples[0].besides, samples[0].is_disturbed), (3, 3, false));
    assert_eq!(samples[1].calls, ["ppoll", "read", "openat", "write", "writev"]);
    assert_eq!((samples[1].files, samples[1].besides, samples[1].is_disturbed), (0, 4, true));
    assert_eq!(samples.iter().map(|sample| sample.looks.len()).collect::<Vec<_>>(), [0, 1, 0, 0, 0, 0]);
    assert!(samples[1].looks == [15.5] && samples[1].forbidden.is_empty());
    // The helper's look went on; what it opened behind that, and what the sampler did, is not of it.
    assert!(samples[2].is_disturbed);
    assert_eq!(samples[2].forbidden, ["openat", "openat"]);
    // What fires together with the timer is an event too, and so is what a sample itself finds.
    assert_eq!([3, 4, 5].map(|at| samples[at].is_disturbed), [true, true, false]);
}

// Open files and threads.

#[test]
fn it_holds_few_files_and_threads() {
    let (reader, writer) = pipe();
    let mut lines = BufReader::new(reader).lines();
    let probe = Running::start(writer);
    let mut a_line = || lines.next().unwrap().unwrap();
    assert!(a_line().contains(" event=start "));
    // An event of this machine may come before the first sample.
    while a_line().contains(" event=") {}
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

/// A sink and stdout, each with what it needs: a thread for the network comes on top.
#[cfg(feature = "tls")]
#[test]
fn with_a_network_sink_it_holds_a_thread_more() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(PROBE);
    command.args(["--sink", "stdout", "--sink", &url]).stdin(Stdio::null()).stdout(file.reopen().unwrap());
    let probe = Running(command.spawn().unwrap());
    // It has asked, and nobody answers.
    let _request = listener.accept().unwrap();
    let threads = probe.threads();
    assert!(within(&threads, bounds::NETWORK_THREADS), "{threads:?}");
    assert!(!threads.iter().any(|name| name == "lookup"), "there is no name: {threads:?}");
}

/// It is there before it is needed: in a guest at its pids.max there would be none.
#[cfg(feature = "tls")]
#[test]
fn a_server_with_a_name_takes_one_thread_that_stays() {
    let (reader, writer) = pipe();
    let mut command = Command::new(PROBE);
    let sinks = ["--sink", "stdout", "--sink", "http://sink.invalid", "--sink", "loki+http://sink.invalid"];
    command.args(["--interval", "1"].iter().chain(&sinks)).stdin(Stdio::null()).stdout(writer);
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    let probe = Running(command.spawn().unwrap());
    // While the names are looked up, and behind that.
    for line in BufReader::new(reader).lines().take(4) {
        let mut threads = probe.threads();
        // Before Linux 6.4 a pipe needs one too.
        threads.retain(|name| name != "stdout");
        assert!(within(&threads, bounds::NETWORK_THREADS), "{threads:?}");
        let lookups = threads.iter().filter(|name| *name == "lookup").count();
        assert_eq!(lookups, 1, "{threads:?} behind {}", line.unwrap());
    }
}

#[cfg(feature = "tls")]
fn within(threads: &[String], bound: bounds::Bound) -> bool {
    f64::from(u32::try_from(threads.len()).unwrap()) <= bound.at_most
}

/// A probe that is ended when the test is.
struct Running(Child);

impl Running {
    fn start(stdout: File) -> Self {
        Self(Command::new(PROBE).stdin(Stdio::null()).stdout(stdout).spawn().unwrap())
    }

    /// What its threads are called, once each has said so: until then it is called as the first is.
    #[cfg(feature = "tls")]
    fn threads(&self) -> Vec<String> {
        let name = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("comm")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let threads = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
            let names: Vec<String> = threads.map(|thread| name(thread.unwrap()).trim_end().to_owned()).collect();
            if names.iter().filter(|name| *name == "runner-vitals").count() <= 1 {
                return names;
            }
            assert!(Instant::now() < deadline, "{names:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
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
