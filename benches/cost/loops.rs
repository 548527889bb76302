//! What the bench runs as children of its own, so that a process holds nothing but what is measured.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runner_vitals::line::RunId;
use runner_vitals::probe::config::{Args, Config};
use runner_vitals::probe::run::{self, Sampler};
use runner_vitals::probe::sink::stdout::Stdout;
use runner_vitals::probe::watch::signals::Signals;
use rustix::time::Timespec;

/// As the probe reads: a shorter answer was the last.
const SURELY_LAST_BYTES: usize = 3072;

/// The probe, at a pace that its own flags would not allow. Does not come back.
pub(crate) fn probe(pace: Duration) {
    let config = Config { interval: pace, exit_with: Some(std::os::unix::process::parent_id()), ..config() };
    let signals = Signals::block().expect("a signalfd");
    run::run(config, RunId::from_random(1), stdout(), &signals).expect("a run");
}

/// Tells the files that a sample reads, a line each.
pub(crate) fn files() {
    let nowhere = File::options().write(true).open("/dev/null").expect("/dev/null");
    let sampler = Sampler::start(config(), RunId::from_random(1), Stdout::new(nowhere).expect("a thread"));
    let files: String = sampler.files().map(|file| file.display().to_string() + "\n").collect();
    std::io::stdout().write_all(files.as_bytes()).expect("the parent reads");
}

/// The floor: the same reads of the same files, one write, one timer wake-up, and nothing besides. Does not come back.
pub(crate) fn floor(pace: Duration, files: &[String]) {
    let files: Vec<File> = files.iter().map(|path| File::open(path).expect("a file of the probe")).collect();
    let mut buffer = vec![0; 64 * 1024];
    let line = [&[b'x'; 499][..], b"\n"].concat();
    let stdout = stdout();
    let mut due = Instant::now() + pace;
    loop {
        let timeout = Timespec::try_from(due.saturating_duration_since(Instant::now())).expect("a short time");
        rustix::event::poll(&mut [], Some(&timeout)).expect("a timeout");
        due += pace;
        for file in &files {
            let mut filled = 0;
            while let Ok(count) = rustix::io::pread(file, &mut buffer[filled..], filled as u64) {
                filled += count;
                if count < SURELY_LAST_BYTES {
                    break;
                }
            }
        }
        rustix::io::write(&stdout, &line).expect("the parent reads");
    }
}

fn config() -> Config {
    Config::new(Args::default(), |_| None)
}

fn stdout() -> File {
    File::from(std::io::stdout().as_fd().try_clone_to_owned().expect("a descriptor"))
}

#[expect(dead_code)]
fn unused(_: &Path, _: PathBuf) {}
