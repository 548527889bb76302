//! `docs/TRY.md` does what it says: its commands are run, as far as this machine has what they need.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::skip::{skipped, skipped_also_in_ci};

const PAGE: &str = include_str!("../../docs/TRY.md");

/// The commands below a heading: its first indented block.
fn commands(heading: &str) -> String {
    let (_, below) = PAGE.split_once(&format!("## {heading}\n")).unwrap();
    let block = below.lines().map(|line| line.strip_prefix("    ")).skip_while(Option::is_none);
    block.map_while(|line| Some(format!("{}\n", line?))).collect()
}

/// Runs commands of the page in a folder, with both programs on the path.
fn run(script: &str, folder: &Path) -> (String, String) {
    let programs = Path::new(env!("CARGO_BIN_EXE_vitals-hub")).parent().unwrap().to_str().unwrap();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script]).current_dir(folder).env("PATH", path).stdin(Stdio::null());
    let output = bash.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script}\n{}{}", text(&output.stdout), text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

/// Whether a memory cgroup of our own can be made below a folder.
fn can_make(parent: &str, limit: &str) -> bool {
    let dir = Path::new(parent).join(format!("runner-vitals-can-{}", std::process::id()));
    // In a folder that is no cgroup there is no such file yet.
    let limit = dir.join(limit);
    let can = std::fs::create_dir(&dir).is_ok() && limit.exists() && std::fs::write(limit, "67108864").is_ok();
    let _ = std::fs::remove_dir(&dir);
    can
}

fn has_user_scopes() -> bool {
    let scope = ["--user", "--scope", "--quiet", "-p", "MemoryMax=64M", "true"];
    let tried = Command::new("systemd-run").args(scope).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// The whole loop with one way to make a small cgroup.
fn tries(heading: &str) {
    let folder = tempfile::tempdir().unwrap();
    let making = commands(heading).replace("/try", &format!("/try-{}", std::process::id()));
    let (_, told) = run(&making, folder.path());
    assert!(told.contains("ended with 137"), "{told}");
    let (verdict, log) = run(&commands("What was it?"), folder.path());
    assert!(verdict.starts_with("trail: cgroup_oom (high confidence"), "{verdict}{log}");
    for says in ["  because\n", "ended by SIGKILL", "  not\n", "  change\n    raise the runner's memory limit"] {
        assert!(verdict.contains(says), "{says}: {verdict}");
    }
    // What stands on the page is of the same kind.
    assert!(PAGE.contains("    trail: cgroup_oom (high confidence"));
}

#[test]
fn the_page_for_root_does_what_it_says() {
    if can_make("/sys/fs/cgroup", "memory.max") {
        tries("As root");
    } else if can_make("/sys/fs/cgroup/memory", "memory.limit_in_bytes") {
        tries("As root, with cgroup v1");
    } else {
        skipped("the_page_for_root_does_what_it_says", "needs root and a writable memory cgroup");
    }
}

#[test]
fn the_page_for_users_does_what_it_says() {
    if has_user_scopes() {
        tries("As anybody, with systemd");
    } else {
        // A session of systemd is nothing that a container or a build machine has.
        skipped_also_in_ci("the_page_for_users_does_what_it_says", "no systemd of the user here");
    }
}
