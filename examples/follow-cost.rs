//! Prints what the log sidecar costs: bytes a second through the mask and the collapse of repeats, CPU of a step in which
//! nothing has grown, and of one in which four files have.
//!
//!     cargo run --release --no-default-features --features tls --example follow-cost

use std::hash::RandomState;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use runner_vitals::line::RunId;
use runner_vitals::probe::follow::collapse::Collapse;
use runner_vitals::probe::follow::key::key;
use runner_vitals::probe::follow::mask::Masker;
use runner_vitals::probe::follow::say::Text;
use runner_vitals::probe::follow::split::Splitter;
use runner_vitals::probe::follow::{Follower, STEP, Settings};
use rustix::time::{ClockId, clock_gettime};

const LOG_BYTES: usize = 32 << 20;
const CHUNK_BYTES: usize = 16 << 10;
const FILES: usize = 4;
const STEPS: u32 = 4000;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let log = log();
    let began = cpu();
    let told = through(&log);
    let bytes_a_us = log.len() as u128 / (cpu() - began).as_micros().max(1);
    writeln!(out, "mask and collapse: {bytes_a_us} MB/s, {told} lines told of {} bytes", log.len())?;
    let dir = std::env::temp_dir().join(format!("follow-cost-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let costs = steps(&dir);
    std::fs::remove_dir_all(&dir)?;
    let (idle, busy) = costs?;
    writeln!(out, "a step with {FILES} files that are quiet: {idle:?} CPU")?;
    writeln!(out, "a step with {FILES} files that grew by a line: {busy:?} CPU")
}

/// Lines as a worker writes them, some with secrets, some again and again.
fn log() -> Vec<u8> {
    let mut log = Vec::new();
    let mut at = 0;
    while log.len() < LOG_BYTES {
        let time = format!("[2026-06-04 12:{:02}:{:02}Z INFO", at / 60 % 60, at % 60);
        let lines = format!(
            "{time} JobServerQueue] Try to append 1 batches web console lines for record '{at:08x}', success rate: 1/1.\n\
             {time} HostContext] Well known directory 'Bin': '/home/runner/actions-runner/bin'\n\
             {time} ProcessInvokerWrapper]   Arguments: '\"/home/runner/work/_temp/{at:08x}.sh\"'\n\
             {time} JobServerQueue] Stop aggressive process web console line queue.\n\
             {time} JobServerQueue] Stop aggressive process web console line queue.\n\
             {time} ResultsServer] PUT https://a.blob.core.windows.net/logs?sv=2021-06-08&se=2026&sig=ab%2Fcd{at}%3D&x=1\n\
             {time} Worker] \"system.github.token\": {{ \"value\": \"ghs_16C7e42F292c6912E7710c838347Ae178B4a\", \"isSecret\": true }},\n"
        );
        log.extend_from_slice(lines.as_bytes());
        at += 1;
    }
    log
}

fn through(log: &[u8]) -> u64 {
    let (mut splitter, mut masker, mut collapse) = (Splitter::default(), Masker::default(), Collapse::default());
    let (hasher, mut masked, mut told) = (RandomState::new(), Vec::new(), 0);
    for chunk in log.chunks(CHUNK_BYTES) {
        splitter.take(chunk, |raw| {
            masked.clear();
            let nuls = masker.line(raw, &mut masked).nuls;
            let text = Text::of(&masked, raw, nuls);
            collapse.take(key(&text.line, &hasher), text, Duration::ZERO, |_| told += 1);
        });
    }
    told
}

/// CPU of a step while nothing grows, and while every file does.
fn steps(dir: &Path) -> std::io::Result<(Duration, Duration)> {
    let mut follower = Follower::new(&Settings { patterns: vec![dir.join("*.log")] }, RunId::from_random(1));
    let names = (0..FILES).map(|at| dir.join(format!("Worker_{at}.log")));
    let mut files = names.map(std::fs::File::create).collect::<std::io::Result<Vec<_>>>()?;
    let mut now = Duration::ZERO;
    let mut step = |before: Duration| {
        let began = cpu();
        follower.step(now, SystemTime::now(), &mut |line| _ = std::hint::black_box(line));
        now += STEP;
        before + (cpu() - began)
    };
    step(Duration::ZERO);
    let idle = (0..STEPS).fold(Duration::ZERO, |sum, _| step(sum));
    let mut busy = Duration::ZERO;
    let began = Instant::now();
    for at in 0..STEPS {
        for file in &mut files {
            writeln!(file, "[2026-06-04 12:00:00Z INFO Worker] line {at} after {:?}", began.elapsed())?;
        }
        busy = step(busy);
    }
    Ok((idle / STEPS, busy / STEPS))
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
