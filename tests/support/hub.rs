//! `vitals-hub` as a process of its own, which a test or a bench starts, follows by its log, and ends with.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than a start takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A hub that listens.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// Where guests come.
    pub(crate) address: SocketAddr,
    /// The lines of its stderr so far.
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

/// A command with an environment that sets nothing of the hub, and no stdin.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    #[allow(clippy::disallowed_methods, reason = "to clear the settings of whoever runs the tests")]
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VITALS_HUB") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

impl Running {
    /// Starts a command that serves, and waits until it listens. Its stdout goes where the command says.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the hub");
        let stderr = BufReader::new(child.stderr.take().expect("its stderr"));
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&log);
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| told.lock().expect("a log").push(line));
        });
        let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut running = Self { child, address: anywhere, log };
        running.address = running.logged("message=listening address=").parse().expect("an address");
        running
    }

    /// The word that the log has behind this, once it is there.
    pub(crate) fn logged(&self, behind: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Whoever reads its stderr has the other one.
            let has_ended = Arc::strong_count(&self.log) == 1;
            let log = self.log.lock().expect("a log").clone();
            let rest = log.iter().rev().find_map(|line| Some(line.split_once(behind)?.1));
            if let Some(word) = rest.and_then(|rest| rest.split(' ').next()) {
                return word.to_owned();
            }
            assert!(!has_ended && Instant::now() < deadline, "waited for {behind} in {log:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
