//! The system calls between one sample line and the next, of all threads, as strace(1) shows them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

/// Long enough for the head of a line, up to where an event says that it is one.
const SHOWN_BYTES: &str = "128";

/// What a sample may never do once the probe has come up: open, start something, or ask for memory.
const NEVER: [&str; 13] = [
    "open", "openat", "openat2", "execve", "execveat", "fork", "vfork", "clone", "clone3", "mmap", "mremap", "brk",
    "socket",
];

/// What was called from behind the write of one sample line to the write of the next.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// The names of the calls, in order.
    pub(crate) calls: Vec<String>,
    /// Kernel files read, and file systems asked for their room.
    pub(crate) files: usize,
    /// The calls that read none of these, without those of a thread that writes stdout in the sampler's place: there is
    /// one where the kernel cannot write a pipe without waiting (before 6.4), and it has no part in the budget.
    pub(crate) besides: usize,
    /// Whether a kernel message or a signal came in between.
    pub(crate) is_disturbed: bool,
}

impl Sample {
    /// Those of the calls that no sample may make.
    pub(crate) fn forbidden(&self) -> Vec<&str> {
        self.calls.iter().map(String::as_str).filter(|name| NEVER.contains(name)).collect()
    }
}

/// Runs the probe under strace for `samples` samples a second apart; its stdout is a pipe, and it watches its parent, as in
/// a guest.
///
/// # Errors
/// Why that cannot be done here.
pub(crate) fn trace(probe: &Path, samples: u32) -> Result<Vec<Sample>, String> {
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-s", SHOWN_BYTES, "-o"]).arg(file.path()).arg(probe);
    let this_process = std::process::id().to_string();
    strace.args(["--interval", "1", "--samples", &samples.to_string(), "--exit-with", &this_process]);
    let output = strace.stdin(Stdio::null()).output().map_err(|error| format!("strace: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = std::fs::read(file.path()).map_err(|error| error.to_string())?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// The samples of a trace, but for the first, before which the probe came up.
pub(crate) fn parse(trace: &str) -> Vec<Sample> {
    let calls: Vec<Call<'_>> = trace.lines().filter_map(call).collect();
    let sampler = calls.first().map(|call| call.thread);
    let by_sampler = |call: &Call<'_>| Some(call.thread) == sampler;
    let relay = calls.iter().find(|call| !by_sampler(call) && is_sample_line(call)).map(|call| call.thread);
    let sample = |calls: &[Call<'_>]| {
        let files = files(calls);
        Sample {
            calls: calls.iter().map(|call| call.name.to_owned()).collect(),
            files,
            besides: calls.iter().filter(|call| Some(call.thread) != relay).count() - files,
            is_disturbed: calls.iter().any(|call| by_sampler(call) && call.name == "read"),
        }
    };
    let is_end = |call: &Call<'_>| by_sampler(call) && is_sample_line(call);
    let spans = calls.split_inclusive(is_end).filter(|calls| calls.last().is_some_and(is_end));
    spans.skip(1).map(sample).collect()
}

#[derive(Clone, Copy, Debug)]
struct Call<'t> {
    thread: &'t str,
    name: &'t str,
    arguments: &'t str,
}

/// `1234  pread64(5, "…", 65536, 0) = 10`. The second half of a call that was interrupted, signals and exits are none.
fn call(line: &str) -> Option<Call<'_>> {
    let (thread, rest) = line.split_once(' ')?;
    let (name, arguments) = rest.trim_start().split_once('(')?;
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name(name).then_some(Call { thread, name, arguments })
}

fn is_sample_line(call: &Call<'_>) -> bool {
    call.name.contains("write") && call.arguments.contains("\"RUNNER_VITALS ") && !call.arguments.contains(" event=")
}

fn files(calls: &[Call<'_>]) -> usize {
    let named = |name: &'static str| calls.iter().filter(move |call| call.name == name);
    let read: BTreeSet<_> = named("pread64").filter_map(|call| call.arguments.split(',').next()).collect();
    read.len() + named("statfs").count()
}
