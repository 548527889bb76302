//! Man pages and completions: of every task, with every flag.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(all(feature = "hub", target_os = "linux"))]

#[path = "../examples/pages.rs"]
#[allow(dead_code, reason = "its main")]
mod pages;

use std::fs;
use std::process::Command;

use clap::Arg;

fn written() -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    pages::write(out.path()).unwrap();
    out
}

/// Flags that are for people.
fn flags(command: &clap::Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    shown.filter_map(Arg::get_long).map(str::to_owned).collect()
}

#[test]
fn every_task_has_a_page_with_all_its_flags() {
    let out = written();
    let mut all = 0;
    for program in pages::programs() {
        let name = program.get_name().to_owned();
        let tasks = program.get_subcommands().map(|task| (format!("{name}-{}", task.get_name()), task));
        for (page, command) in tasks.chain([(name.clone(), &program)]) {
            let text = fs::read_to_string(out.path().join(format!("man/{page}.1")))
                .unwrap_or_else(|_| panic!("no page {page}"));
            // roff has a minus for a dash.
            let text = text.replace("\\-", "-");
            assert!(text.contains(&format!(".TH {page} 1")), "{page}: {}", text.lines().nth(2).unwrap());
            for flag in flags(command) {
                assert!(text.contains(&format!("--{flag}")), "{page} says nothing of --{flag}");
            }
            all += 1;
        }
    }
    // Both programs; exec and phase; serve, diagnose, fleet and hash-token.
    assert_eq!((all, fs::read_dir(out.path().join("man")).unwrap().count()), (8, 8));
    let exec = fs::read_to_string(out.path().join("man/runner-vitals-exec.1")).unwrap();
    let exec = exec.replace("\\-", "-");
    assert!(!exec.contains("--samples") && !exec.contains("--supervised"), "what is not for people");
}

#[test]
fn every_flag_is_completed_in_each_shell() {
    let out = written();
    for program in pages::programs() {
        let name = program.get_name();
        let all = program.get_subcommands().flat_map(flags).chain(flags(&program));
        let all: Vec<String> = all.collect();
        for file in [format!("{name}.bash"), format!("_{name}"), format!("{name}.fish")] {
            let text = fs::read_to_string(out.path().join("completions").join(&file)).unwrap();
            for flag in &all {
                assert!(text.contains(flag.as_str()), "{file}: {flag}");
            }
        }
        let bash = Command::new("bash").arg("-n").arg(out.path().join(format!("completions/{name}.bash"))).status();
        assert!(bash.unwrap().success());
    }
}
