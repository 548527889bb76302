//! The guest's binary: static, built as it is shipped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process;
use super::running::Running;

/// From a line until the probe sleeps, well before the next sample.
const SETTLE: Duration = Duration::from_millis(50);

/// The `start` line and three samples.
const LINES: usize = 4;

/// What a running probe holds.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) peak_resident_kb: u32,
    pub(crate) open_files: usize,
    pub(crate) threads: usize,
    pub(crate) longest_line: usize,
}

/// The binary that RUNNER_VITALS_BIN names, else one that is built now.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("RUNNER_VITALS_BIN").map_or_else(build, PathBuf::from)
}

/// CPU time from the start until the first line is out and the probe waits for its first sample.
pub(crate) fn cpu_of_start(binary: &Path) -> Duration {
    let mut probe = Running::on_a_pipe(&mut Command::new(binary));
    probe.line();
    std::thread::sleep(SETTLE);
    process::cpu(probe.pid())
}

/// What it holds after three samples with stdout a pipe, all fields printed.
pub(crate) fn held_on_a_pipe(binary: &Path) -> Held {
    let mut probe = Running::on_a_pipe(Command::new(binary).args(["--interval", "1"]));
    let lines = (0..LINES).map(|_| probe.line()).collect();
    held(&probe, lines)
}

/// What it holds after three samples with stdout a file, where it has one thread more, only the contract printed.
pub(crate) fn held_on_a_file(binary: &Path) -> Held {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let stdout = file.reopen().expect("the file");
    let flags = ["--interval", "1", "--fields", "contract"];
    let probe = Running::on_a_file(Command::new(binary).args(flags), stdout);
    let mut lines = Vec::new();
    while lines.len() < LINES {
        std::thread::sleep(SETTLE);
        let text = std::fs::read_to_string(file.path()).expect("lines");
        lines = text.split_inclusive('\n').map(str::to_owned).collect();
    }
    held(&probe, lines)
}

fn held(probe: &Running, mut lines: Vec<String>) -> Held {
    std::thread::sleep(SETTLE);
    lines.retain(|line| !line.contains(" event="));
    Held {
        peak_resident_kb: process::peak_resident_kb(probe.pid()),
        open_files: process::open_files(probe.pid()),
        threads: process::threads(probe.pid()),
        longest_line: lines.iter().map(String::len).max().expect("lines"),
    }
}

fn build() -> PathBuf {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", target.replace('-', "_").to_uppercase());
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--profile",
            "guest",
            "--no-default-features",
            "--features",
            "tls",
            "--target",
            &target,
        ])
        .arg("--target-dir")
        .arg(target_dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env(flags, "-C target-feature=+crt-static")
        .status();
    assert!(status.expect("cargo").success(), "the guest's binary does not build");
    target_dir.join(target).join("guest/runner-vitals")
}
