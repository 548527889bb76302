//! What the bench runs as children of its own, so that a process holds nothing but what is measured.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

use runner_vitals::line::RunId;
use runner_vitals::probe::config::{Args, Config};
use runner_vitals::probe::run;
use runner_vitals::probe::sampler::Sampler;
use runner_vitals::probe::sink::stdout::Stdout;
use runner_vitals::probe::watch::signals::Signals;
use rustix::time::Timespec;

use super::{allocations, process};

/// As many samples are taken before anything is noted.
pub(crate) const WARM_SAMPLES: u32 = 1000;

/// As the probe reads: when less than this came it was the last.
const SURELY_LAST_BYTES: usize = 3072;

/// What [`samples`] tells on stderr.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) cpu_a_sample: Duration,
    pub(crate) allocations: u32,
    pub(crate) grown_kb: u32,
}

impl Told {
    pub(crate) fn parse(text: &str) -> Self {
        let numbers: Vec<u32> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        let [ns, allocations, grown_kb] = numbers[..] else { panic!("a child said {text:?}") };
        Self { cpu_a_sample: Duration::from_nanos(ns.into()), allocations, grown_kb }
    }
}

/// The probe at a pace that its own flags would not allow, until the parent goes.
pub(crate) fn probe(pace: Duration) {
    let args = Args { exit_with: Some(std::os::unix::process::parent_id()), ..Args::default() };
    let config = Config { interval: pace, ..Config::new(args, |_| None) };
    let signals = Signals::block().expect("a signalfd");
    run::run(config, RunId::from_random(1), stdout(), &signals).expect("a run");
}

/// So many samples back to back, of this machine or of a captured tree.
pub(crate) fn samples(root: Option<PathBuf>, count: u32) {
    let mut sampler = Sampler::start(Config { root, ..config() }, RunId::from_random(1), new_stdout(stdout()));
    let mut take = |count| (0..count).for_each(|_| sampler.sample(sampler.elapsed()));
    take(WARM_SAMPLES);
    let allocations = allocations::of_this_thread();
    let (memory_kb, cpu) = (process::own_memory_kb(), process::own_cpu());
    let allocated_by_asking = allocations::of_this_thread() - allocations;
    take(count - WARM_SAMPLES);
    let (cpu, allocations) = (process::own_cpu() - cpu, allocations::of_this_thread() - allocations);
    let ns = cpu.as_nanos() / u128::from(count - WARM_SAMPLES);
    let grown_kb = process::own_memory_kb().saturating_sub(memory_kb);
    eprintln!("{ns} {} {grown_kb}", allocations - allocated_by_asking);
}

/// The files that a sample reads, a line each.
pub(crate) fn files() -> String {
    let nowhere = File::options().write(true).open("/dev/null").expect("/dev/null");
    let sampler = Sampler::start(config(), RunId::from_random(1), new_stdout(nowhere));
    sampler.files().map(|file| file.display().to_string() + "\n").collect()
}

/// The floor: the same reads of the same files, one write, one timer wake-up and nothing besides, until the parent goes.
/// `due` is its first time on [`process::now`]'s clock.
pub(crate) fn floor(pace: Duration, mut due: Duration, files: &[String]) {
    let files: Vec<File> = files.iter().map(|path| File::open(path).expect("a file that the probe reads")).collect();
    let stdout = stdout();
    let line = [&[b'x'; 499][..], b"\n"].concat();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let timeout = Timespec::try_from(due.saturating_sub(process::now())).expect("a short time");
        rustix::event::poll(&mut [], Some(&timeout)).expect("a timeout");
        due += pace;
        files.iter().for_each(|file| read_whole(file, &mut buffer));
        if rustix::io::write(&stdout, &line).is_err() {
            return;
        }
    }
}

fn read_whole(file: &File, buffer: &mut [u8]) {
    let mut filled = 0;
    while let Ok(count) = rustix::io::pread(file, &mut buffer[filled..], u64::try_from(filled).expect("64 KiB")) {
        filled += count;
        if count < SURELY_LAST_BYTES {
            return;
        }
    }
}

fn config() -> Config {
    Config::new(Args::default(), |_| None)
}

fn new_stdout(file: File) -> Stdout {
    Stdout::new(file).expect("a stdout, or a thread for it")
}

fn stdout() -> File {
    File::from(std::io::stdout().as_fd().try_clone_to_owned().expect("a descriptor"))
}
