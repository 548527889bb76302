//! Ways out that do not let lines out, and hubs that die.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::{Client, metric};
use crate::hub::{Hub, dir_lines, line, seqs};
use crate::skip::skipped;
use crate::until;

/// Twenty lines that a pipe cannot hold many of.
fn batch(first: u64) -> String {
    (first..first + 20).map(|seq| line(seq).replace('\n', &format!(" pad={}\n", "x".repeat(3000)))).collect()
}

#[test]
fn a_stdout_that_nobody_reads_is_told_and_loses_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    let hub = Hub::start_to(&[], OwnedFd::from(writer).into());
    let mut client = Client::connect(hub.address);
    let mut acknowledged = Vec::new();
    let mut batches = (0..).map(|i| i * 20 + 1);
    let stuck = loop {
        let first = batches.next().unwrap();
        let began = Instant::now();
        let answer = client.post("runner-1", batch(first).as_bytes());
        match answer.status {
            204 => acknowledged.push(first),
            503 => {
                assert_eq!(answer.header("retry-after"), Some("1"));
                assert!(began.elapsed() < Duration::from_secs(5), "before a guest gives up: {:?}", began.elapsed());
                break first;
            }
            status => panic!("{status}"),
        }
    };
    assert!(!acknowledged.is_empty());
    let began = Instant::now();
    assert_eq!(client.post("runner-2", line(1).as_bytes()).status, 503, "others too, and at once");
    assert!(began.elapsed() < Duration::from_secs(2));
    let ready = client.get("/readyz");
    assert_eq!((ready.status, &*ready.body), (503, "stdout: nobody reads it\n"));
    assert_eq!(metric(hub.address, "vitals_hub_out_stuck{out=\"stdout\"}"), 1);
    assert_eq!(client.get("/healthz").status, 200);

    let lines = std::thread::spawn(move || {
        let lines = BufReader::new(reader).lines().map(Result::unwrap);
        lines.take_while(|line| !line.contains("seq=9999 ")).collect::<Vec<String>>()
    });
    until("it goes on", || (client.post("runner-1", batch(stuck).as_bytes()).status == 204).then_some(()));
    assert_eq!(client.get("/readyz").status, 200);
    assert_eq!(client.post("runner-1", line(9999).as_bytes()).status, 204);
    let lines = lines.join().unwrap();
    assert_eq!(seqs(&lines), (1..stuck + 20).collect::<Vec<u64>>(), "each once, in order, none mixed");
}

#[test]
fn nothing_is_acknowledged_that_only_the_hub_has() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut hub = Hub::start_to(&[], OwnedFd::from(writer).into());
    let mut client = Client::connect(hub.address);
    let mut first = 1;
    while client.post("runner-1", batch(first).as_bytes()).status == 204 {
        first += 20;
    }
    hub.signal(Signal::KILL);
    hub.ended();
    let bytes = std::io::read_to_string(reader).unwrap();
    let whole: Vec<String> =
        bytes.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned).collect();
    assert!(first > 1 && seqs(&whole).len() as u64 >= first - 1, "{} of {} are out", whole.len(), first - 1);
}

#[test]
fn a_stdout_whose_reader_is_gone_makes_it_unready() {
    let (reader, writer) = std::io::pipe().unwrap();
    let hub = Hub::start_to(&[], OwnedFd::from(writer).into());
    let mut client = Client::connect(hub.address);
    drop(reader);
    assert_eq!(client.post("runner-1", line(1).as_bytes()).status, 503);
    assert_eq!(client.get("/readyz").body, "stdout: its reader is gone\n");
}

/// A file system of one MiB, unmounted in the end.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "vitals-hub-test"]).arg(dir.path());
        if !mount.output().is_ok_and(|output| output.status.success()) {
            skipped(test, "a small tmpfs cannot be mounted here");
            return None;
        }
        Some(Self(dir))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_whole_lines() {
    let Some(disk) = Small::mount("a_full_disk_is_told_and_leaves_whole_lines") else { return };
    let dir = disk.0.path().join("lines");
    let hub = Hub::start(&["--stdout", "--dir", dir.to_str().unwrap()]);
    let mut client = Client::connect(hub.address);
    let mut first = 1;
    while client.post("runner-1", batch(first).as_bytes()).status == 204 {
        first += 20;
        assert!(first < 1000, "the disk is full some time");
    }
    assert_eq!(metric(hub.address, "vitals_hub_out_stuck{out=\"dir\"}"), 1);
    assert!(metric(hub.address, "vitals_hub_out_failures_total{out=\"dir\"}") >= 1);
    let ready = client.get("/readyz");
    assert!(ready.status == 503 && ready.body.contains("No space left"), "{ready:?}");
    assert_eq!(seqs(&dir_lines(&dir, "runner-1")), (1..first).collect::<Vec<u64>>(), "no torn line is left");

    // Room again: what was not acknowledged goes where it is missing, and only there.
    fs::rename(dir_day(&dir), dir.parent().unwrap().join("away")).unwrap();
    fs::remove_dir_all(dir.parent().unwrap().join("away")).unwrap();
    assert_eq!(client.post("runner-1", batch(first).as_bytes()).status, 204);
    assert_eq!(client.get("/readyz").status, 200);
    assert_eq!(seqs(&dir_lines(&dir, "runner-1")), (first..first + 20).collect::<Vec<u64>>());
    assert_eq!(seqs(&hub.lines()), (1..first + 20).collect::<Vec<u64>>(), "stdout has each once");
}

#[test]
fn a_full_disk_below_stdout_is_told_and_leaves_whole_lines() {
    let Some(disk) = Small::mount("a_full_disk_below_stdout_is_told_and_leaves_whole_lines") else { return };
    let filler = disk.0.path().join("filler");
    for is_appended in [false, true] {
        fs::write(&filler, vec![0; 700 * 1024]).unwrap();
        let stdout = disk.0.path().join(format!("stdout-{is_appended}"));
        let file =
            File::options().write(true).append(is_appended).create(true).truncate(!is_appended).open(&stdout).unwrap();
        let hub = Hub::start_to(&[], file.into());
        let mut client = Client::connect(hub.address);
        let lines = || fs::read_to_string(&stdout).unwrap().lines().map(str::to_owned).collect::<Vec<String>>();
        let mut first = 1;
        while client.post("runner-1", batch(first).as_bytes()).status == 204 {
            first += 20;
            assert!(first < 1000, "the disk is full some time");
        }
        let ready = client.get("/readyz");
        assert!(ready.status == 503 && ready.body.contains("No space left"), "{ready:?}");
        assert_eq!(client.post("runner-2", batch(1).as_bytes()).status, 503);
        assert_eq!(seqs(&lines()), (1..first).collect::<Vec<u64>>(), "nothing of what is not out");
        fs::remove_file(&filler).unwrap();
        assert_eq!(client.post("runner-1", batch(first).as_bytes()).status, 204);
        assert_eq!(client.get("/readyz").status, 200);
        assert_eq!(seqs(&lines()), (1..first + 20).collect::<Vec<u64>>(), "each once");
        assert!(lines().iter().all(|line| line.ends_with('x')), "none torn, none glued");
        fs::remove_file(&stdout).unwrap();
    }
}

#[test]
fn a_stdout_that_is_always_full_is_told() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let hub = Hub::start_to(&[], full.into());
    let mut client = Client::connect(hub.address);
    for _ in 0..3 {
        assert_eq!(client.post("runner-1", line(1).as_bytes()).status, 503);
    }
    let ready = client.get("/readyz");
    assert!(ready.status == 503 && ready.body.starts_with("stdout: No space left"), "{ready:?}");
    assert_eq!(metric(hub.address, "vitals_hub_out_failures_total{out=\"stdout\"}"), 3);
}

#[test]
fn half_a_line_of_another_life_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let stdout = dir.path().join("stdout");
    fs::write(&stdout, format!("{}RUNNER_VITALS ts= run=k3x9 seq=2 vm.mem.avail.kb=12", line(1))).unwrap();
    let hub = Hub::start_to(&[], File::options().append(true).open(&stdout).unwrap().into());
    assert_eq!(Client::connect(hub.address).post("runner-1", (line(2) + &line(3)).as_bytes()).status, 204);
    let lines: Vec<String> = fs::read_to_string(&stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(seqs(&lines), [1, 2, 2, 3]);
    assert!(lines[1].ends_with("kb=12"), "{}", lines[1]);
}

fn dir_day(dir: &Path) -> std::path::PathBuf {
    fs::read_dir(dir).unwrap().map(|day| day.unwrap().path()).find(|day| day.is_dir()).unwrap()
}

#[test]
fn the_oldest_files_give_way() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("2020-01-01");
    fs::create_dir(&old).unwrap();
    fs::write(old.join("gone.log"), "old\n").unwrap();
    fs::write(dir.path().join("notes.txt"), "not ours\n").unwrap();
    let hub = Hub::start(&["--dir", dir.path().to_str().unwrap(), "--dir-max-bytes", "200KiB"]);
    assert!(!old.exists(), "it was past its age");
    let mut client = Client::connect(hub.address);
    for runner in 1..=9 {
        assert_eq!(client.post(&format!("runner-{runner}"), batch(1).as_bytes()).status, 204);
    }
    assert!(dir_lines(dir.path(), "runner-1").is_empty());
    assert_eq!(dir_lines(dir.path(), "runner-9").len(), 20);
    assert!(metric(hub.address, "vitals_hub_dir_bytes") <= 200 * 1024);
    assert!(metric(hub.address, "vitals_hub_dir_deleted_files_total") >= 6);
    hub.logged("deleted an old file for the caps");
    assert!(dir.path().join("notes.txt").exists());
}

#[test]
fn what_is_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let stdout = dir.path().join("stdout");
    let folder = dir.path().join("lines");
    let mut acknowledged = Vec::new();
    let mut seq = 1;
    for round in 0..5 {
        let file = File::options().append(true).create(true).open(&stdout).unwrap();
        let mut hub = Hub::start_to(&["--stdout", "--dir", folder.to_str().unwrap()], file.into());
        let address = hub.address;
        let sender = std::thread::spawn(move || {
            let mut taken = Vec::new();
            let mut client = Client::connect(address);
            loop {
                let head = format!(
                    "POST {} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
                    crate::client::PATH,
                    crate::hub::token("runner-1"),
                    line(seq).len()
                );
                client.say(format!("{head}{}", line(seq)).as_bytes());
                match client.answer() {
                    Some(answer) if answer.status == 204 => taken.push(seq),
                    _ => return (taken, seq),
                }
                seq += 1;
            }
        });
        std::thread::sleep(Duration::from_millis(200 + 50 * round));
        hub.signal(Signal::KILL);
        hub.ended();
        let (taken, next) = sender.join().unwrap();
        acknowledged.extend(taken);
        // It sends again what was not acknowledged.
        seq = next;
    }
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    let lines: Vec<String> = fs::read_to_string(&stdout).unwrap().lines().map(str::to_owned).collect();
    for out in [seqs(&lines), seqs(&dir_lines(&folder, "runner-1"))] {
        for seq in &acknowledged {
            assert!(out.contains(seq), "{seq} is lost");
        }
        let mut once = out.clone();
        once.dedup();
        assert!(out.len() - once.len() <= 5, "only what was in flight at a kill is there twice");
    }
}
