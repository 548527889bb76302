//! A real cgroup of this machine that goes away and comes back while it is watched.

use std::fs;
use std::path::{Path, PathBuf};

use crate::probe::{Probe, skipped};
use runner_vitals::line::field;

/// A memory cgroup of our own, v1 or v2; removed at the end.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Option<Self> {
        let name = format!("runner-vitals-test-{}", std::process::id());
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
    let Some(cgroup) = Cgroup::new() else {
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
