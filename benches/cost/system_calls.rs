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
    /// Whether a kernel message, a signal or an event came in between, or the helper thread looked through /proc.
    pub(crate) is_disturbed: bool,
    /// Those of the calls that no sample may make: of the sampler any, of the helper outside of such a look.
    pub(crate) forbidden: Vec<String>,
    /// When the helper thread began to look through /proc for the runner's agent, seconds of whatever clock.
    pub(crate) looks: Vec<f64>,
}

/// Runs the probe under strace for `samples` samples a second apart; its stdout is a pipe, and it watches its parent, as in
/// a guest.
///
/// # Errors
/// Why that cannot be done here.
pub(crate) fn trace(probe: &Path, samples: u32) -> Result<Vec<Sample>, String> {
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-ttt", "-s", SHOWN_BYTES, "-o"]).arg(file.path()).arg(probe);
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
    let mut calls = calls(trace);
    mark_looks(&mut calls);
    let sampler = calls.first().map(|call| call.thread);
    let by_sampler = |call: &Call<'_>| Some(call.thread) == sampler;
    let relay = calls.iter().find(|call| !by_sampler(call) && is_sample_line(call)).map(|call| call.thread);
    let sample = |calls: &[Call<'_>]| {
        let files = files(calls);
        let by_look = |call: &Call<'_>| !by_sampler(call) && call.is_of_look;
        let forbidden = calls.iter().filter(|call| NEVER.contains(&call.name) && !by_look(call));
        Sample {
            forbidden: forbidden.map(|call| call.name.to_owned()).collect(),
            looks: calls.iter().filter(|call| by_look(call) && is_look(call)).map(|call| call.at).collect(),
            calls: calls.iter().map(|call| call.name.to_owned()).collect(),
            files,
            besides: calls.iter().filter(|call| Some(call.thread) != relay).count() - files,
            is_disturbed: calls.iter().any(by_look) || is_disturbed(&calls.iter().filter(|call| by_sampler(call))),
        }
    };
    let is_end = |call: &Call<'_>| by_sampler(call) && is_sample_line(call);
    let spans = calls.split_inclusive(is_end).filter(|calls| calls.last().is_some_and(is_end));
    spans.skip(1).map(sample).collect()
}

/// Whether the sampler read a signal or a message, waited again, was woken by more than its timer, or wrote another line.
fn is_disturbed<'c>(calls: &(impl Iterator<Item = &'c Call<'c>> + Clone)) -> bool {
    let count = |is: fn(&Call<'_>) -> bool| calls.clone().filter(|call| is(call)).count();
    count(|call| call.name == "read" || call.woken_by > 1) > 0
        || count(|call| call.name == "ppoll") > 1
        || count(|call| call.name.contains("write")) > 1
}

#[derive(Clone, Copy, Debug)]
struct Call<'t> {
    thread: &'t str,
    /// Seconds.
    at: f64,
    name: &'t str,
    arguments: &'t str,
    /// Whether its thread is looking through /proc.
    is_of_look: bool,
    /// Of a `ppoll`: how many descriptors ended it. The timer alone is one.
    woken_by: u32,
}

/// All calls of a trace; one that was interrupted by another thread's is given its end.
fn calls(trace: &str) -> Vec<Call<'_>> {
    let mut calls: Vec<Call<'_>> = Vec::new();
    for line in trace.lines() {
        if let Some(call) = call(line) {
            calls.push(call);
        } else if let Some((thread, _, end)) = split(line)
            && let Some(end) = end.strip_prefix("<... ppoll resumed>")
            && let Some(call) = calls.iter_mut().rfind(|call| call.thread == thread)
        {
            call.woken_by = woken_by(end);
        }
    }
    calls
}

/// `…) = 2 ([{fd=5, revents=POLLIN}, {fd=26, revents=POLLPRI}])`.
fn woken_by(end: &str) -> u32 {
    // Its end comes in a later line.
    let Some((_, end)) = end.rsplit_once(" = ") else { return 0 };
    match end.split(' ').next() {
        // A signal ended it.
        Some("-1" | "?") => 0,
        count => count.and_then(|count| count.parse().ok()).expect("how many descriptors"),
    }
}

/// A look goes from the opening of /proc to the same thread's next question about a file system, which may come after
/// the sampler's next line.
fn mark_looks(calls: &mut [Call<'_>]) {
    let mut looking = BTreeSet::new();
    for call in calls {
        if is_look(call) {
            looking.insert(call.thread);
        } else if call.name == "statfs" {
            looking.remove(call.thread);
        }
        call.is_of_look = looking.contains(call.thread);
    }
}

fn is_look(call: &Call<'_>) -> bool {
    call.name == "openat" && call.arguments.contains("\"/proc\"")
}

/// `1234  1780574400.123456 pread64(5, "…", 65536, 0) = 10`. The second half of a call that was interrupted, signals and
/// exits are none.
fn call(line: &str) -> Option<Call<'_>> {
    let (thread, at, rest) = split(line)?;
    let (name, arguments) = rest.split_once('(')?;
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let woken_by = if name == "ppoll" { woken_by(arguments) } else { 0 };
    is_name(name).then_some(Call { thread, at, name, arguments, is_of_look: false, woken_by })
}

/// Which thread, when, and what.
fn split(line: &str) -> Option<(&str, f64, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (at, what) = rest.trim_start().split_once(' ')?;
    Some((thread, at.parse().ok()?, what))
}

fn is_sample_line(call: &Call<'_>) -> bool {
    call.name.contains("write") && call.arguments.contains("\"RUNNER_VITALS ") && !call.arguments.contains(" event=")
}

fn files(calls: &[Call<'_>]) -> usize {
    let named = |name: &'static str| calls.iter().filter(move |call| call.name == name);
    let read: BTreeSet<_> = named("pread64").filter_map(|call| call.arguments.split(',').next()).collect();
    read.len() + named("statfs").count()
}
