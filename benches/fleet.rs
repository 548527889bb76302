//! What `vitals-hub fleet` takes for a day of 600 runners: time and memory.
//!
//!     cargo bench --profile release --bench fleet
//!     cargo bench --profile release --bench fleet -- --every 60      with a sample a minute, 864,000 lines
//!
//! (The profile `bench` is that of guests.) The lines come from a generator on the thread that reads, so that its cost is beside and not
//! in the bound: some 17 million, most of them samples; each runner has twenty jobs, a probe for each, and a heartbeat. Ends with 1 when
//! a bound is missed: 90 s on two cores, 256 MiB.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench speaks on stdout and fails by panicking"
)]

use std::fs;
use std::io::{self, Read, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant, UNIX_EPOCH};

use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::{Code, Format, LokiArgs};
use runner_vitals::hub::fleet::{Args, run};
use runner_vitals::line::RunId;

const RUNNERS: u64 = 600;

const DAY_S: u64 = 86_400;

/// From job to job; of it so long with one.
const CYCLE_S: u64 = 4320;
const JOB_S: u64 = 3600;

/// When the day began, seconds since 1970.
const BEGAN_S: u64 = 1_780_531_200;

const WITHIN: Duration = Duration::from_secs(90);

const MOST_KIB: u64 = 256 << 10;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    // `cargo test --all-targets` comes here without it.
    if !words.iter().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    let every = words.iter().skip_while(|word| *word != "--every").nth(1);
    let every_s = every.map_or(3, |seconds| seconds.parse().expect("seconds"));
    let args = Args {
        files: Vec::new(),
        loki: LokiArgs::default(),
        fleets: None,
        at: None,
        window: Duration::from_secs(DAY_S),
        long_ready: Duration::from_secs(3600),
        forgive: Duration::from_secs(21_600),
        format: Format::Text,
    };
    let mut lines = 0;
    let day = Day { every_s, second: 0, block: Vec::new(), read: 0, lines: &mut lines };
    let now = UNIX_EPOCH + Duration::from_secs(BEGAN_S + 2 * DAY_S);
    let mut out = Vec::new();
    let before = Instant::now();
    let code = run(&args, day, &mut out, &mut io::stderr(), (now, Look::Plain));
    let took = before.elapsed();
    assert_eq!(code, Code::Said);
    let rss = peak_rss_kib();
    print!("{}", String::from_utf8_lossy(&out));
    let missed = if took <= WITHIN && rss <= MOST_KIB { "" } else { "  **missed**" };
    println!("{RUNNERS} runners  {lines} lines  {:.1} s  peak {rss} KiB of {MOST_KIB} KiB{missed}", took.as_secs_f64());
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The lines of a day, second by second.
struct Day<'l> {
    every_s: u64,
    second: u64,
    block: Vec<u8>,
    read: usize,
    lines: &'l mut u64,
}

impl Read for Day<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() && self.second < DAY_S {
            self.block.clear();
            self.read = 0;
            self.next_second()?;
        }
        let rest = self.block.get(self.read..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.read += count;
        Ok(count)
    }
}

impl Day<'_> {
    fn next_second(&mut self) -> io::Result<()> {
        let second = self.second;
        self.second += 1;
        let at = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_secs(BEGAN_S + second)).to_string();
        for runner in 0..RUNNERS {
            // Each has its own time of the cycle.
            let own = second + runner * 7;
            let (job, of_cycle) = (own / CYCLE_S, own % CYCLE_S);
            self.phases(&at, runner, job, of_cycle)?;
            if own.is_multiple_of(self.every_s) {
                let (run, seq) = (RunId::from_random(runner * 100 + job), of_cycle / self.every_s + 2);
                *self.lines += 1;
                writeln!(
                    self.block,
                    "RUNNER_VITALS ts={at} run={} seq={seq} runner.name=tuist-runner-{runner:06} runner.fleet=linux-4 vm.mem.total.kb=8000000 vm.mem.avail.kb=5{:06} mem.current=1500000000 mem.peak=1999999999 mem.max=6442450944 mem.swap=0 oom=0 oom_kill=0 cpu.busy.pct=12.5 cpu.psi.some.avg10=3.1 mem.psi.some.avg10=0.0 mem.psi.full.avg10=0.0 io.psi.some.avg10=0.4 load1=1.40 load5=1.20 load15=0.80 late.ms=1.2 mem.used.pct=23.1 mem.anon=900000000 mem.ws=1300000000 mem.shmem=4096 vm.oom_kill=0 cpu.stall.pct=4.2 io.stall.pct=0.3 vm.majfault=19 vm.refault=231 disk.avail.kb=20000000 disk.used.pct=41.0 inode.used.pct=12.0 net.rx.kb=918 net.tx.kb=411 tcp.retrans=3 agent.wait.ms=40 agent.rss.kb=120000 agent.state=S disk.path=/",
                    run.as_str(),
                    own % 1_000_000
                )?;
            }
        }
        Ok(())
    }

    fn phases(&mut self, at: &str, runner: u64, job: u64, of_cycle: u64) -> io::Result<()> {
        let (is_told, rest) = match of_cycle {
            0 => (true, format!("claimed job.nr={} waited.ms=900 waited.from=queued", job + 1)),
            JOB_S => (true, format!("ended job.nr={} job.exit=0", job + 1)),
            since if since > JOB_S && (since - JOB_S - 1).is_multiple_of(60) => {
                (true, format!("ready waited.ms={} waited.from=ready", (since - JOB_S - 1) * 1000))
            }
            _ => (false, String::new()),
        };
        if !is_told {
            return Ok(());
        }
        let who = format!(
            "boot.id=00000000-0000-4000-8000-{runner:012} runner.name=tuist-runner-{runner:06} runner.fleet=linux-4"
        );
        let run = RunId::from_random(self.second * 1000 + runner);
        *self.lines += 1;
        let uptime = (self.second + 1_000_000) * 1000;
        writeln!(
            self.block,
            "RUNNER_VITALS ts={at} run={} seq=1 event=phase phase={rest} uptime.ms={uptime} {who}",
            run.as_str()
        )?;
        if of_cycle == 0 {
            *self.lines += 1;
            let run = RunId::from_random(runner * 100 + job);
            let every_ms = self.every_s * 1000;
            writeln!(
                self.block,
                "RUNNER_VITALS ts={at} run={} seq=1 event=start interval.ms={every_ms} {who}",
                run.as_str()
            )?;
        }
        Ok(())
    }
}

/// `VmHWM` of /proc/self/status: of this process so far.
fn peak_rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok()).expect("a peak")
}
