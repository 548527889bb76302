//! What `vitals-hub diagnose` takes for a million sample lines, and for very many runners: time and memory.
//!
//!     cargo bench --profile release --bench diagnose
//!
//! (The profile `bench` is that of guests.)
//! It makes its own input, some 600 MB in the folder for temporary files. Ends with 1 when a bound is missed: 4 s on two
//! cores, 64 MiB and 4 KiB a runner.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench speaks on stdout and fails by panicking"
)]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::{Args, Code, Format, LokiArgs, run};

/// Sample lines of each input.
const LINES: u64 = 1_000_000;

/// So many runners write them.
const RUNNERS: [u64; 4] = [1, 200, 10_000, 100_000];

const WITHIN: Duration = Duration::from_secs(4);

fn main() -> ExitCode {
    // `cargo test --all-targets` comes here without it.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let mut is_kept = true;
    let folder = tempfile::tempdir().expect("a folder for the input");
    for runners in RUNNERS {
        let path = folder.path().join("trails.log");
        let bytes = write(&path, runners).expect("room for the input");
        // The second reading finds the file in memory; the better of three counts.
        let best = (0..3).map(|_| measure(&path)).min().expect("a round");
        let cpu = cpu_time();
        measure(&path);
        let cpu = cpu_time() - cpu;
        let rss = peak_rss_kib();
        let bound = 64 * 1024 + 4 * runners;
        let missed = if best <= WITHIN && rss <= bound { "" } else { "  **missed**" };
        is_kept &= missed.is_empty();
        println!(
            "{runners:>7} runners  {LINES} lines  {:>4} MB  {:>6.2} s  {:>6.2} s CPU  {:>5.0} MB/s  peak {rss} KiB of {bound} KiB{missed}",
            bytes / 1_000_000,
            best.as_secs_f64(),
            cpu.as_secs_f64(),
            f64::from(u32::try_from(bytes / 1_000_000).expect("fewer than 2^32")) / best.as_secs_f64(),
        );
    }
    if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Samples of many runners, taking turns, as a hub writes them.
fn write(path: &Path, runners: u64) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for nth in 0..LINES {
        let (runner, sample) = (nth % runners, nth / runners);
        let at = humantime::format_rfc3339_millis(
            UNIX_EPOCH + Duration::from_millis(1_780_000_000_000 + sample * 5000 + runner),
        );
        let avail = 6_000_000 - (nth * 7919) % 1_000_000;
        let busy = nth % 1000;
        writeln!(
            out,
            "RUNNER_VITALS ts={at} run=k3x9 seq={} runner.name=tuist-runner-{runner:06} runner.fleet=linux-4 vm.mem.total.kb=8000000 vm.mem.avail.kb={avail} mem.current=1{:09} mem.peak=1999999999 mem.max=6442450944 mem.swap=0 oom=0 oom_kill=0 cpu.busy.pct={}.{} cpu.psi.some.avg10=3.1 mem.psi.some.avg10=0.0 mem.psi.full.avg10=0.0 io.psi.some.avg10=0.4 load1=1.40 load5=1.20 load15=0.80 late.ms=1.2 mem.used.pct=23.1 mem.anon=900000000 mem.ws=1300000000 mem.shmem=4096 vm.oom_kill=0 cpu.stall.pct=4.2 io.stall.pct=0.3 vm.majfault=19 vm.refault=231 disk.avail.kb=20000000 disk.used.pct=41.0 inode.used.pct=12.0 net.rx.kb=918 net.tx.kb=411 tcp.retrans=3 agent.wait.ms=40 agent.rss.kb=120000 agent.state=S disk.path=/",
            sample + 1,
            nth % 1_000_000_000,
            busy / 10,
            busy % 10,
        )?;
    }
    out.flush()?;
    Ok(fs::metadata(path)?.len())
}

fn measure(path: &Path) -> Duration {
    let (files, loki) = (vec![PathBuf::from(path)], LokiArgs::default());
    let args = Args { files, loki, runner: None, all: true, format: Format::Text, html: None };
    let before = Instant::now();
    let code = run(&args, SystemTime::now(), io::empty(), &mut io::sink(), &mut io::sink(), Look::Plain);
    assert_eq!(code, Code::Said);
    before.elapsed()
}

/// What all threads of this process took of the CPUs.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).expect("seconds"), u32::try_from(time.tv_nsec).expect("nanoseconds"))
}

/// `VmHWM` of /proc/self/status: of this process so far, so runners are measured from few to many.
fn peak_rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok()).expect("a peak")
}
