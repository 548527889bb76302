//! What `vitals-hub fleet` takes for a day of 600 runners: time and memory.
//!
//!     cargo bench --profile release --bench fleet
//!     cargo bench --profile release --bench fleet -- --every 60      with a sample a minute, 864,000 lines
//!     cargo bench --profile release --bench fleet -- --lives 72      of guests that live 20 min each, for one job: 43,200 of them
//!     cargo bench --profile release --bench fleet -- --lives 288     of guests that live 5 min each: 172,800 of them
//!
//! (The profile `bench` is that of guests.) The lines come from a generator on the thread that reads, so that its cost is beside and not
//! in the bound: some 17 million, most of them samples; each runner has twenty jobs, a probe for each, and a heartbeat. With `--lives` 600
//! guests are there at a time, each with a name, a boot and a probe of its own, and so many come one after the other. Ends with 1 when a
//! bound is missed: 90 s on two cores, 256 MiB.

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
    let given = |flag: &str| words.iter().skip_while(|word| *word != flag).nth(1);
    let every_s = given("--every").map_or(3, |seconds| seconds.parse().expect("seconds"));
    let life_s = given("--lives").map(|lives| DAY_S / lives.parse::<u64>().expect("how many lives"));
    let args = Args {
        files: Vec::new(),
        loki: LokiArgs::default(),
        fleets: None,
        at: None,
        window: Duration::from_secs(DAY_S),
        long_ready: Duration::from_secs(3600),
        forgive: Duration::from_secs(21_600),
        format: Format::Text,
        html: None,
    };
    let mut lines = 0;
    let day = Day { every_s, life_s, second: 0, block: Vec::new(), read: 0, lines: &mut lines };
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
    /// How long a guest lives that has one job; `None` where they stay.
    life_s: Option<u64>,
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
            let cycle_s = self.life_s.unwrap_or(CYCLE_S);
            let (job, of_cycle) = (own / cycle_s, own % cycle_s);
            match self.life_s {
                None => self.phases(&at, runner, job, of_cycle)?,
                Some(life_s) => self.life(&at, (runner, job), of_cycle, life_s)?,
            }
            if own.is_multiple_of(self.every_s) {
                let name = name_of(self.life_s.is_some().then_some(job), runner);
                let (run, seq) = (run_of(runner, job), of_cycle / self.every_s + 2);
                *self.lines += 1;
                writeln!(
                    self.block,
                    "RUNNER_VITALS ts={at} run={} seq={seq} runner.name={name} runner.fleet=linux-4 vm.mem.total.kb=8000000 vm.mem.avail.kb=5{:06} mem.current=1500000000 mem.peak=1999999999 mem.max=6442450944 mem.swap=0 oom=0 oom_kill=0 cpu.busy.pct=12.5 cpu.psi.some.avg10=3.1 mem.psi.some.avg10=0.0 mem.psi.full.avg10=0.0 io.psi.some.avg10=0.4 load1=1.40 load5=1.20 load15=0.80 late.ms=1.2 mem.used.pct=23.1 mem.anon=900000000 mem.ws=1300000000 mem.shmem=4096 vm.oom_kill=0 cpu.stall.pct=4.2 io.stall.pct=0.3 vm.majfault=19 vm.refault=231 disk.avail.kb=20000000 disk.used.pct=41.0 inode.used.pct=12.0 net.rx.kb=918 net.tx.kb=411 tcp.retrans=3 agent.wait.ms=40 agent.rss.kb=120000 agent.state=S disk.path=/",
                    run.as_str(),
                    own % 1_000_000
                )?;
            }
        }
        Ok(())
    }

    /// What a guest tells that is there for one job, besides its samples.
    fn life(&mut self, at: &str, (runner, job): (u64, u64), of_life: u64, life_s: u64) -> io::Result<()> {
        if ![0, 1, 30, 60, life_s - 3, life_s - 1].contains(&of_life) {
            return Ok(());
        }
        let name = name_of(Some(job), runner);
        let who = format!(
            "boot.id=00000000-0000-4000-8000-{:012} runner.name={name} runner.fleet=linux-4 runner.env=prod runner.image=registry.example/runner:1",
            runner * 10_000 + job
        );
        let phase = match of_life {
            1 => "warming",
            30 => "ready",
            60 => "claimed job.nr=1 waited.ms=900 waited.from=queued",
            _ if of_life == life_s - 3 => "ended job.nr=1 job.exit=0 job.result=success",
            _ => "",
        };
        if !phase.is_empty() {
            let run = RunId::from_random(self.second * 1000 + runner);
            *self.lines += 1;
            let uptime = of_life * 1000 + 5000;
            writeln!(
                self.block,
                "RUNNER_VITALS ts={at} run={} seq=1 event=phase phase={phase} uptime.ms={uptime} {who}",
                run.as_str()
            )?;
        }
        let run = run_of(runner, job);
        if of_life == 0 {
            *self.lines += 1;
            writeln!(
                self.block,
                "RUNNER_VITALS ts={at} run={} seq=1 event=start interval.ms={} {who}",
                run.as_str(),
                self.every_s * 1000
            )?;
        }
        if of_life == life_s - 1 {
            *self.lines += 1;
            let seq = of_life / self.every_s + 3;
            writeln!(
                self.block,
                "RUNNER_VITALS ts={at} run={} seq={seq} event=stop reason=sigterm runner.name={name}",
                run.as_str()
            )?;
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
            let run = run_of(runner, job);
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

/// Guests that have one job have a name each.
fn name_of(job: Option<u64>, runner: u64) -> String {
    job.map_or_else(|| format!("tuist-runner-{runner:06}"), |job| format!("tuist-runner-{runner:03}-{job:05}"))
}

/// The run of a probe: one of four digits of 36, as few as there are.
fn run_of(runner: u64, job: u64) -> RunId {
    RunId::from_random(runner * 997 + job)
}

/// `VmHWM` of /proc/self/status: of this process so far.
fn peak_rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok()).expect("a peak")
}
