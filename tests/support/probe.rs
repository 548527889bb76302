//! Runs the real binary and reads its lines, each with the moment of its arrival.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use runner_vitals::line::Line;
use runner_vitals::line::field::{self, Field, Kind};

/// Longer than anything here takes, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A line and when it came.
pub(crate) struct Arrived {
    pub(crate) text: String,
    pub(crate) at: Instant,
}

impl Arrived {
    /// The line, decoded; it must be whole and have only the keys that the table gives its kind.
    pub(crate) fn line(&self) -> Line<'_> {
        let line = Line::decode(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text));
        assert!(self.text.len() <= 4096, "{} bytes: {}", self.text.len(), self.text);
        let event = line.event.as_deref();
        let kind = Kind::ALL.into_iter().find(|kind| kind.event() == event);
        let kind = kind.unwrap_or_else(|| panic!("unknown event: {}", self.text));
        for (key, _) in line.pairs() {
            let field = field::find(key).unwrap_or_else(|| panic!("{key} is not in the table: {}", self.text));
            assert!(field.kinds.contains(&kind), "{key} does not belong into {kind:?}: {}", self.text);
        }
        line
    }

    /// Whether it is of this event, or a sample that was due: those of a burst can come at any time on a busy machine.
    pub(crate) fn is(&self, event: Option<&str>) -> bool {
        let line = self.line();
        line.event.as_deref() == event && line.get(field::BURST).is_none()
    }

    pub(crate) fn text_of(&self, field: &Field) -> Option<String> {
        self.line().text(field).map(str::to_owned)
    }

    pub(crate) fn scaled(&self, field: &Field) -> Option<i64> {
        self.line().scaled(field)
    }
}

/// A running probe.
pub(crate) struct Probe {
    pub(crate) child: Child,
    lines: Receiver<Arrived>,
}

/// The binary with an environment that sets nothing.
pub(crate) fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner-vitals"));
    #[allow(clippy::disallowed_methods, reason = "to clear the settings of whoever runs the tests")]
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().contains("RUNNER") {
            command.env_remove(name);
        }
    }
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Sends each line as it comes.
pub(crate) fn arrivals(from: impl Read + Send + 'static) -> Receiver<Arrived> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for text in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(Arrived { text, at: Instant::now() });
        }
    });
    lines
}

impl Probe {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = arrivals(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// A probe whose lines go elsewhere.
    pub(crate) fn silent(child: Child) -> Self {
        Self { child, lines: channel().1 }
    }

    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::spawn(&mut command(flags))
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn next(&self) -> Arrived {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }

    /// The next line of this event, or the next sample.
    pub(crate) fn next_of(&self, event: Option<&str>) -> Arrived {
        loop {
            let arrived = self.next();
            if arrived.is(event) {
                return arrived;
            }
        }
    }

    /// Every line up to the end, and how it ended.
    pub(crate) fn finish(mut self) -> (Vec<Arrived>, ExitStatus) {
        let mut all = Vec::new();
        while let Ok(arrived) = self.lines.recv_timeout(PATIENCE) {
            all.push(arrived);
        }
        (all, self.child.wait().unwrap())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A copy of the probe in a folder that nobody else may be kept from. Made by a process of its own: what other tests
/// start in this moment would hold the file open for writing, and then it cannot be run.
pub(crate) fn copy_for_all() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let copy = dir.path().join("runner-vitals");
    let status = Command::new("cp").arg(env!("CARGO_BIN_EXE_runner-vitals")).arg(&copy).status().unwrap();
    assert!(status.success());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), mode).unwrap();
    (dir, copy)
}
