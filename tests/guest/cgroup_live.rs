//! Real cgroups of this machine: one that goes away and comes back, one that meets its limit.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::probe::{Arrived, Probe};
use crate::skip::skipped;
use runner_vitals::line::field;

/// A memory cgroup of our own, v1 or v2; removed at the end.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(test: &str) -> Option<Self> {
        let name = format!("runner-vitals-{test}-{}", std::process::id());
        let parents = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
        let made = parents.iter().map(|parent| Path::new(parent).join(&name)).find(|dir| {
            fs::create_dir(dir).is_ok()
                && (dir.join("memory.current").exists() || dir.join("memory.usage_in_bytes").exists())
        });
        made.map(Self)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_cgroup_that_was_made_anew_is_opened_again() {
    let Some(cgroup) = Cgroup::new("anew") else {
        skipped("a_cgroup_that_was_made_anew_is_opened_again", "needs root and a writable memory cgroup");
        return;
    };
    let probe = Probe::start(&["--interval", "1", "--cgroup", cgroup.0.to_str().unwrap()]);
    assert!(probe.next_of(None).scaled(field::MEM_CURRENT).is_some());
    fs::remove_dir(&cgroup.0).unwrap();
    let gone = probe.next_of(Some("degraded"));
    assert!(gone.text_of(field::ERROR).unwrap().starts_with("absent"), "{}", gone.text);
    assert_eq!(probe.next_of(None).scaled(field::MEM_CURRENT), None);
    fs::create_dir(&cgroup.0).unwrap();
    let back = (0..10).map(|_| probe.next_of(None)).find(|sample| sample.scaled(field::MEM_CURRENT).is_some());
    assert!(back.is_some(), "its readings never came back");
}

/// A real OOM kill: the kernel's words come through the real ring, and the counter moves.
#[test]
fn a_kill_at_the_limit_is_told_at_once_and_counted() {
    let Some(cgroup) = Cgroup::new("kill") else {
        skipped("a_kill_at_the_limit_is_told_at_once_and_counted", "needs root and a writable memory cgroup");
        return;
    };
    let limit = if cgroup.0.join("memory.max").exists() { "memory.max" } else { "memory.limit_in_bytes" };
    fs::write(cgroup.0.join(limit), "16777216").unwrap();
    let probe = Probe::start(&["--interval", "2", "--cgroup", cgroup.0.to_str().unwrap()]);
    if probe.next().text_of(field::KMSG).as_deref() != Some("on") {
        skipped("a_kill_at_the_limit_is_told_at_once_and_counted", "may not read /dev/kmsg");
        return;
    }
    let before = probe.next_of(None).scaled(field::OOM_KILL).unwrap();
    // tail keeps its only line, which never ends, in memory. Known by its name: the kernel's pids are those of the
    // initial namespace.
    let comm = format!("hog{}", std::process::id());
    let directory = tempfile::tempdir().unwrap();
    let tail = directory.path().join(&comm);
    std::os::unix::fs::symlink("/usr/bin/tail", &tail).unwrap();
    let hog = "echo $$ >\"$0/cgroup.procs\" && exec \"$1\" /dev/zero";
    let mut hog = Command::new("sh").args(["-c", hog]).args([&cgroup.0, &tail]).stdout(Stdio::null()).spawn().unwrap();
    let status = hog.wait().unwrap();
    let killed_at = Instant::now();
    assert_eq!(status.signal(), Some(9), "{status}");
    let is_ours = |kill: &Arrived| kill.text_of(field::VICTIM_COMM).as_deref() == Some(comm.as_str());
    let kill = std::iter::repeat_with(|| probe.next_of(Some("kmsg.oom"))).find(is_ours).unwrap();
    assert!(kill.at < killed_at + Duration::from_secs(1), "{:?}", kill.at - killed_at);
    assert_eq!(kill.text_of(field::SCOPE).as_deref(), Some("cgroup"));
    assert_eq!(kill.text_of(field::OLD), None);
    // At once, and not with the next due sample.
    let is_own = |oom: &Arrived| oom.text_of(field::SOURCE).as_deref() == Some("own");
    let own = (0..3).map(|_| probe.next_of(Some("oom"))).find(is_own).expect("the watched cgroup's counter");
    assert!(own.at < kill.at + Duration::from_millis(500), "{:?}", own.at - kill.at);
    assert_eq!(own.scaled(field::DELTA), Some(1));
    assert_eq!(own.text_of(field::KMSG).as_deref(), Some("agrees"));
    assert_eq!(probe.next_of(None).scaled(field::OOM_KILL), Some(before + 1));
    drop(probe);
    // Whoever comes later looks back.
    let (lines, _) = Probe::start(&["--once"]).finish();
    let told = lines.iter().find(|line| line.is(Some("kmsg.oom")) && is_ours(line)).expect("the last minute's kill");
    assert_eq!(told.text_of(field::OLD).as_deref(), Some("1"));
}
