//! What hangs: a folder, one of two ways out, the log.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, PipeReader, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, metric};
use crate::hub::{self, Hub, dir_lines, line, seqs};
use crate::until;

/// Twenty lines of some 62 KB: a pipe holds them once.
fn batch(first: u64) -> String {
    (first..first + 20).map(|seq| line(seq).replace('\n', &format!(" pad={}\n", "x".repeat(2950)))).collect()
}

/// Makes a runner's file a pipe: it takes 64 KiB, and then hangs until somebody reads, as a file hangs whose server is away.
fn hang(dir: &Path, runner: &str) -> std::path::PathBuf {
    let day = |at: SystemTime| dir.join(humantime::format_rfc3339_seconds(at).to_string().split_once('T').unwrap().0);
    let (today, tomorrow) = (day(SystemTime::now()), day(SystemTime::now() + Duration::from_hours(24)));
    let files = [today, tomorrow].map(|day| {
        fs::create_dir_all(&day).unwrap();
        day.join(format!("{runner}.log"))
    });
    mknodat(CWD, &files[0], FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    fs::hard_link(&files[0], &files[1]).unwrap();
    files[0].clone()
}

/// Reads a pipe up to the line with this number, in the background: the file goes on.
fn read_to(pipe: &Path, last: u64) -> std::thread::JoinHandle<Vec<String>> {
    // Also for writing: so it has no end.
    let pipe = File::options().read(true).write(true).open(pipe).unwrap();
    std::thread::spawn(move || {
        let mut lines = Vec::new();
        for line in BufReader::new(pipe).lines() {
            let line = line.unwrap();
            let is_last = line.contains(&format!(" seq={last} "));
            lines.push(line);
            if is_last {
                break;
            }
        }
        lines
    })
}

#[test]
fn a_folder_that_hangs_is_told_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = hang(dir.path(), "runner-1");
    let hub = Hub::start(&["--dir", dir.path().to_str().unwrap()]);
    let mut client = Client::connect(hub.address);
    assert_eq!(client.post("runner-1", batch(1).as_bytes()).status, 204);
    let began = Instant::now();
    assert_eq!(client.post("runner-1", batch(21).as_bytes()).status, 503);
    let hung = began.elapsed();
    // Nobody else has to come for it.
    until("it is in the log", || {
        hub.log
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains("a way out is stuck") && line.contains("out=dir"))
            .then_some(())
    });
    assert_eq!((client.get("/readyz").status, &*client.get("/readyz").body), (503, "dir: it hangs\n"));
    assert_eq!(metric(hub.address, "vitals_hub_out_stuck{out=\"dir\"}"), 1);
    assert!(metric(hub.address, "vitals_hub_out_busy_seconds{out=\"dir\"}") >= 2);
    let told = (0..3).map(|_| {
        let began = Instant::now();
        assert_eq!(client.post("runner-2", line(1).as_bytes()).status, 503, "others too");
        began.elapsed()
    });
    let told = told.min().unwrap();
    assert!(told * 2 < hung, "at once: {told:?}, {hung:?}");

    let lines = read_to(&pipe, 9999);
    until("it goes on", || (client.post("runner-1", batch(21).as_bytes()).status == 204).then_some(()));
    until("it is ready", || (client.get("/readyz").status == 200).then_some(()));
    assert_eq!(metric(hub.address, "vitals_hub_out_busy_seconds{out=\"dir\"}"), 0);
    assert_eq!(client.post("runner-1", line(9999).as_bytes()).status, 204);
    let expected: Vec<u64> = (1..=40).chain([9999]).collect();
    assert_eq!(seqs(&lines.join().unwrap()), expected, "each once, in order");
}

#[test]
fn one_way_that_hangs_does_not_hold_up_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = hang(dir.path(), "runner-1");
    let hub = Hub::start(&["--stdout", "--dir", dir.path().to_str().unwrap()]);
    let mut client = Client::connect(hub.address);
    assert_eq!(client.post("runner-1", batch(1).as_bytes()).status, 204);
    assert_eq!(client.post("runner-1", batch(21).as_bytes()).status, 503);
    until("it is stuck", || (metric(hub.address, "vitals_hub_out_stuck{out=\"dir\"}") == 1).then_some(()));
    let of = |runner: &str| -> Vec<u64> {
        let of_runner: Vec<String> = hub.lines().into_iter().filter(|line| line.contains(runner)).collect();
        seqs(&of_runner)
    };
    assert_eq!(client.post("runner-1", batch(41).as_bytes()).status, 503);
    assert_eq!(of("runner-1"), (1..=60).collect::<Vec<u64>>(), "what is not acknowledged is out there all the same");
    for runner in 2..=9 {
        for _ in 0..2 {
            assert_eq!(client.post(&format!("runner-{runner}"), line(1).as_bytes()).status, 503);
        }
        assert_eq!(of(&format!("runner-{runner}")), [1], "once, however often it is tried");
    }

    let lines = read_to(&pipe, 9999);
    for first in [21, 41] {
        until("it goes on", || (client.post("runner-1", batch(first).as_bytes()).status == 204).then_some(()));
    }
    assert_eq!(client.post("runner-1", line(9999).as_bytes()).status, 204);
    for runner in (2..=9).map(|runner| format!("runner-{runner}")) {
        assert_eq!(client.post(&runner, line(1).as_bytes()).status, 204);
        assert_eq!((of(&runner), seqs(&dir_lines(dir.path(), &runner))), (vec![1], vec![1]));
    }
    let expected: Vec<u64> = (1..=60).chain([9999]).collect();
    assert_eq!((of("runner-1"), seqs(&lines.join().unwrap())), (expected.clone(), expected), "no repeat anywhere");
}

/// Killed in the end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fills a pipe, through an opening of its own: whoever else writes there waits as before.
fn fill(pipe: &PipeReader) {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let mut pipe = File::options().write(true).custom_flags(nonblocking).open(path).unwrap();
    let error = std::iter::from_fn(|| Some(pipe.write_all(b"x"))).find_map(Result::err).unwrap();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

/// Where the hub listens, by its log.
fn address(log: &PipeReader) -> SocketAddr {
    let address =
        |line: String| Some(line.split_once("message=listening address=")?.1.split(' ').next()?.parse().unwrap());
    BufReader::new(log).lines().map(Result::unwrap).find_map(address).expect("it listens")
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let (log, stderr) = io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&stderr, 4096).unwrap();
    let mut command = hub::command();
    command.args(["serve", "--auth=none", "--log=debug", "--listen=127.0.0.1:0"]);
    let mut hub = Killed(command.stdout(Stdio::null()).stderr(OwnedFd::from(stderr)).spawn().unwrap());
    // It holds the other end as well.
    drop(command);
    let address = address(&log);
    fill(&log);
    let mut client = Client::connect(address);
    for seq in 1..=20 {
        assert_eq!(client.post_with("Content-Type: text/plain\r\n", line(seq).as_bytes()).status, 204);
    }
    assert_eq!(client.get("/readyz").status, 200);
    kill_process(Pid::from_child(&hub.0), Signal::TERM).unwrap();
    let ended = until("the hub's end", || hub.0.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
}
