//! The hub under load: the real binary, its stdout a file.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;

use crate::running::{self, Running};

/// A running hub.
pub(crate) struct Server {
    running: Running,
    dir: tempfile::TempDir,
}

impl Server {
    /// A hub that knows these tokens.
    pub(crate) fn start(binary: &Path, tokens: &str) -> Self {
        // Beside the build: /tmp may be memory.
        let dir = tempfile::tempdir_in(binary.parent().expect("a folder")).expect("a folder");
        let file = dir.path().join("tokens");
        fs::write(&file, tokens).expect("a file");
        let stdout = File::create(dir.path().join("stdout")).expect("a file");
        let mut command = running::command(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--auth"]).arg(format!("tokens={}", file.display()));
        command.stdout(stdout);
        Self { running: Running::start(command), dir }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Lines on its stdout.
    pub(crate) fn lines(&self) -> usize {
        let file = BufReader::new(File::open(self.dir.path().join("stdout")).expect("its stdout"));
        file.split(b'\n').filter(|line| line.as_ref().is_ok_and(|line| line.starts_with(b"RUNNER_VITALS "))).count()
    }

    /// CPU seconds of all its threads so far, from /proc/PID/stat.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.running.child.id())).expect("its stat");
        let behind_name = stat.rsplit_once(") ").expect("a name").1;
        let ticks: u32 =
            behind_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u32>().expect("ticks")).sum();
        f64::from(ticks) / f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).expect("few"))
    }

    pub(crate) fn peak_resident_kb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running.child.id())).expect("its status");
        let row = status.lines().find_map(|row| row.strip_prefix("VmHWM:")).expect("a row");
        row.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.log.lock().expect("a log").iter().for_each(|line| eprintln!("{line}"));
    }
}
