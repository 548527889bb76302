//! What the probe costs, against its bounds: `cargo bench --bench cost`. The table, and how each row is
//! measured, are in `benches/BUDGET.md`. Ends with 1 when a bound is missed.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench that cannot measure fails by panicking"
)]
#![cfg(target_os = "linux")]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::str::FromStr;
use std::time::Duration;

#[path = "cost/allocations.rs"]
mod allocations;
#[path = "cost/bounds.rs"]
mod bounds;
#[path = "cost/child.rs"]
mod child;
#[path = "cost/compare.rs"]
mod compare;
#[path = "../tests/support/fixture.rs"]
mod fixture;
#[path = "cost/guest.rs"]
mod guest;
#[cfg(feature = "tls")]
#[path = "cost/network.rs"]
mod network;
#[path = "cost/process.rs"]
mod process;
#[path = "cost/running.rs"]
mod running;
#[path = "cost/system_calls.rs"]
mod system_calls;

use bounds::Bound;
use child::Told;
use running::Running;

const SHELL_PROBE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/shell-probe.sh");
const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/captures/thrash-high/during");

const PACE: Duration = Duration::from_millis(10);

/// A probe's first lines are not measured.
const WARM_LINES: u32 = 5;

/// Samples of one round.
const SAMPLES: u32 = 100;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["child", "probe"] => child::probe(PACE),
        ["child", "floor", first_ms, ..] => child::floor(PACE, Duration::from_millis(parsed(first_ms)), &args[3..]),
        ["child", "slow-floor", first_ms, ..] => {
            child::floor(Duration::from_secs(1), Duration::from_millis(parsed(first_ms)), &args[3..]);
        }
        ["child", "files"] => std::io::stdout().write_all(child::files().as_bytes()).expect("the parent reads"),
        ["child", "samples", count] => child::samples(None, parsed(count)),
        ["child", "samples", count, root] => child::samples(Some(root.into()), parsed(count)),
        ["network", "--bench"] => return measure_part(measure_network),
        ["compare", "--bench"] => compare::print(&guest::binary()),
        [.., "--bench"] => return measure(),
        // `cargo test --all-targets` comes here.
        _ => {}
    }
    ExitCode::SUCCESS
}

/// Prints the table row by row, as they are measured.
fn measure() -> ExitCode {
    let guest = guest::binary();
    let mut table = Table::default();
    table.head();
    let allocations = measure_back_to_back(&mut table);
    measure_by_turns(&mut table);
    measure_system_calls(&mut table, &guest);
    table.row(bounds::ALLOCATIONS, allocations.into(), &allocations.to_string());
    measure_guest(&mut table, &guest);
    measure_network(&mut table, &guest);
    measure_growth(&mut table);
    assert_eq!(table.rows, bounds::ALL.len(), "a row is missing");
    table.code()
}

/// `cargo bench --bench cost -- network`.
fn measure_part(part: fn(&mut Table, &Path)) -> ExitCode {
    let mut table = Table::default();
    table.head();
    part(&mut table, &guest::binary());
    table.code()
}

/// Both probes without a pause; gives the allocations that ours made. Of each side the cheapest round counts: what else
/// the machine does makes a round dearer, never cheaper.
fn measure_back_to_back(table: &mut Table) -> u32 {
    const ROUNDS: usize = 3;
    let rounds: Vec<(Told, Duration)> = (0..ROUNDS).map(|_| (samples(&["20000"]), shell())).collect();
    let probe = rounds.iter().map(|(told, _)| told.cpu_a_sample).min().expect("a round");
    let shell = rounds.iter().map(|(_, shell)| *shell).min().expect("a round");
    let part = probe.as_secs_f64() / shell.as_secs_f64();
    table.row(bounds::SHELL, part, &format!("1/{:.0}: {probe:.1?} of {shell:.1?}", 1.0 / part));
    rounds.iter().map(|(told, _)| told.allocations).max().expect("a round")
}

/// The probe and the bare loop at once and by turns, so that both meet the same machine: the round in the middle counts. Where a
/// CPU of the two is slower than the other for so long that it would be over the bound, once more, and twice at most.
fn measure_by_turns(table: &mut Table) {
    const ROUNDS: usize = 11;
    const MOST_TRIES: usize = 3;
    let files = this(&["child", "files"]).output().expect("a child").stdout;
    let files = String::from_utf8(files).expect("paths");
    let files: Vec<&str> = files.lines().collect();
    let times = |(probe, floor): (Duration, Duration)| probe.as_secs_f64() / floor.as_secs_f64();
    let mut tries = Vec::new();
    while tries.len() < MOST_TRIES && tries.iter().all(|middle| times(*middle) > bounds::FLOOR.at_most) {
        let mut rounds: Vec<(Duration, Duration)> = (0..ROUNDS).map(|_| by_turns(&files)).collect();
        rounds.sort_by(|a, b| times(*a).total_cmp(&times(*b)));
        tries.push(rounds[ROUNDS / 2]);
    }
    let least = tries.iter().copied().min_by(|a, b| times(*a).total_cmp(&times(*b)));
    let middle @ (probe, floor) = least.expect("a try");
    let shown =
        format!("{:.2} times: {probe:.1?} of {floor:.1?}, {} files, try {}", times(middle), files.len(), tries.len());
    table.row(bounds::FLOOR, times(middle), &shown);
}

fn measure_system_calls(table: &mut Table, guest: &Path) {
    match system_calls::trace(guest, 6) {
        Ok(samples) => {
            let forbidden: Vec<&String> = samples.iter().skip(1).flat_map(|sample| &sample.forbidden).collect();
            assert!(forbidden.is_empty(), "samples make these calls: {forbidden:?}");
            let looks: Vec<f64> = samples.iter().flat_map(|sample| sample.looks.clone()).collect();
            assert!(looks.windows(2).all(|pair| pair[1] - pair[0] > 4.0), "looks at {looks:?}, not 5 s apart");
            let calm = samples.iter().skip(1).filter(|sample| !sample.is_disturbed);
            let calm = calm.map(|sample| (sample.besides, sample.files)).max();
            let (besides, files) = calm.unwrap_or_else(|| {
                let calls: Vec<_> = samples.iter().map(|sample| &sample.calls).collect();
                panic!("no sample was left alone: {calls:?}")
            });
            table.row(bounds::SYSTEM_CALLS, as_f64(besides), &format!("{besides}, with {files} files"));
        }
        Err(error) => table.skipped(bounds::SYSTEM_CALLS, error.trim()),
    }
}

fn measure_guest(table: &mut Table, guest: &Path) {
    let (pipe, file) = (guest::held_on_a_pipe(guest), guest::held_on_a_file(guest));
    let peak_kb = pipe.peak_resident_kb.max(file.peak_resident_kb);
    table.row(bounds::PEAK_RESIDENT, peak_kb.into(), &format!("{:.2} MiB", f64::from(peak_kb) / 1024.0));
    let bytes = as_f64(usize::try_from(guest.metadata().expect("a file").len()).expect("a small file"));
    table.row(bounds::BINARY, bytes, &format!("{:.2} MB", bytes / 1e6));
    let open_files = pipe.open_files.max(file.open_files);
    table.row(bounds::OPEN_FILES, as_f64(open_files), &open_files.to_string());
    let threads = pipe.threads.max(file.threads);
    table.row(bounds::THREADS, as_f64(threads), &threads.to_string());
    let start = (0..20).map(|_| guest::cpu_of_start(guest)).min().expect("a round");
    // As many milliseconds mean another thing on each machine: the shell probe of the same minute is the measure.
    let shell = shell();
    let part = start.as_secs_f64() / shell.as_secs_f64();
    table.row(bounds::START, part, &format!("1/{:.1}: {start:.2?} of {shell:.1?}", 1.0 / part));
    for (bound, bytes) in [(bounds::FULL_LINE, pipe.longest_line), (bounds::CONTRACT_LINE, file.longest_line)] {
        table.row(bound, as_f64(bytes), &format!("{bytes} bytes"));
    }
}

#[cfg(feature = "tls")]
fn measure_network(table: &mut Table, guest: &Path) {
    /// A slow CPU may be met once.
    const MOST_TRIES: usize = 3;
    let network::Costs { mut cpu_a_request, peak_resident_kb, locked_kb, threads } = network::costs(guest);
    let ms = |cpu: Duration| cpu.as_secs_f64() * 1000.0;
    let mut tries = 1;
    while tries < MOST_TRIES && ms(cpu_a_request) > bounds::NETWORK_CPU.at_most {
        cpu_a_request = cpu_a_request.min(network::costs(guest).cpu_a_request);
        tries += 1;
    }
    table.row(bounds::NETWORK_CPU, ms(cpu_a_request), &format!("{cpu_a_request:.1?}, try {tries}"));
    for (bound, kb) in [(bounds::NETWORK_RESIDENT, peak_resident_kb), (bounds::NETWORK_LOCKED, locked_kb)] {
        table.row(bound, kb.into(), &format!("{:.2} MiB", f64::from(kb) / 1024.0));
    }
    table.row(bounds::NETWORK_THREADS, as_f64(threads), &threads.to_string());
}

#[cfg(not(feature = "tls"))]
fn measure_network(table: &mut Table, _guest: &Path) {
    let rows = [bounds::NETWORK_CPU, bounds::NETWORK_RESIDENT, bounds::NETWORK_LOCKED, bounds::NETWORK_THREADS];
    rows.into_iter().for_each(|bound| table.skipped(bound, "built without the feature tls"));
}

fn measure_growth(table: &mut Table) {
    let root = tempfile::tempdir().expect("a folder");
    fixture::lay_out(Path::new(CAPTURE), root.path()).expect("a captured tree");
    let Told { grown_kb, .. } = samples(&["1000000", root.path().to_str().expect("a plain path")]);
    table.row(bounds::GROWTH, grown_kb.into(), &format!("{grown_kb} KiB"));
}

/// What a child tells that takes samples back to back.
fn samples(args: &[&str]) -> Told {
    /// Meanwhile the child has taken the samples before anything is noted: its queue for stdout has been full once.
    const STALL: Duration = Duration::from_millis(500);
    let mut command = this(&[&["child", "samples"], args].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a child");
    std::thread::sleep(STALL);
    let mut lines = child.stdout.take().expect("a pipe");
    std::io::copy(&mut lines, &mut std::io::sink()).expect("lines");
    let mut told = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut told).expect("figures");
    assert!(child.wait().expect("a child").success(), "{told}");
    Told::parse(&told)
}

/// CPU that the shell probe takes for a sample, back to back.
fn shell() -> Duration {
    let mut probe = Running::on_a_pipe(Command::new("bash").args([SHELL_PROBE, "0"]));
    let mut cpu_behind = |lines| {
        (0..lines).for_each(|_| drop(probe.line()));
        process::cpu_with_children(probe.pid())
    };
    let before = cpu_behind(WARM_LINES);
    (cpu_behind(SAMPLES) - before) / SAMPLES
}

/// CPU that the probe and the floor take for a sample: each at its pace, the floor in the middle between two samples.
fn by_turns(files: &[&str]) -> (Duration, Duration) {
    let mut probe = Running::on_a_pipe(&mut this(&["child", "probe"]));
    (0..WARM_LINES).for_each(|_| drop(probe.line()));
    let first = process::now() + PACE * WARM_LINES + PACE / 2;
    let first_ms = first.as_millis().to_string();
    let mut floor = Running::on_a_pipe(&mut this(&[&["child", "floor", &first_ms], files].concat()));
    probe.drain();
    floor.line();
    floor.drain();
    let cpu = || (process::cpu(probe.pid()), process::cpu(floor.pid()));
    let before = cpu();
    std::thread::sleep(PACE * SAMPLES);
    let after = cpu();
    ((after.0 - before.0) / SAMPLES, (after.1 - before.1) / SAMPLES)
}

fn this(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(args);
    command
}

fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).expect("a small number").into()
}

/// Prints rows and keeps count.
#[derive(Default)]
struct Table {
    rows: usize,
    over: usize,
}

impl Table {
    fn head(&self) {
        print("what", "measured", "bound", "");
        print("---", "---", "---", "---");
    }

    fn row(&mut self, bound: Bound, measured: f64, shown: &str) {
        let is_kept = measured <= bound.at_most;
        self.rows += 1;
        self.over += usize::from(!is_kept);
        print(bound.what, shown, bound.text, if is_kept { "ok" } else { "OVER" });
    }

    fn code(&self) -> ExitCode {
        if self.over == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn skipped(&mut self, bound: Bound, why: &str) {
        self.rows += 1;
        print(bound.what, why, bound.text, "not measured");
    }
}

fn print(what: &str, measured: &str, bound: &str, word: &str) {
    writeln!(std::io::stdout(), "| {what:53} | {measured:39} | {bound:9} | {word:4} |").expect("stdout");
}
