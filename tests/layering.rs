//! The arrow `kernel -> source -> sample -> rate -> line -> sink -> run -> bin` holds: imports point left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The arrow. A module may use what stands before it, and itself.
const ARROW: &[&str] = &[
    "line",
    "url",
    "net",
    "hub::named",
    "hub::credentials",
    "hub::trail",
    "hub::diagnose",
    "hub::fleet",
    "hub::live",
    "hub::serve",
    "hub::cli",
    "probe::end",
    "probe::endpoint",
    "probe::fixed",
    "probe::stderr",
    "probe::follow",
    "probe::raw",
    "probe::largest",
    "probe::kernel",
    "probe::protect",
    "probe::source",
    "probe::processes",
    "probe::levels",
    "probe::cgroup_files",
    "probe::sample",
    "probe::pass",
    "probe::rate",
    "probe::signs",
    "probe::burst",
    "probe::event",
    "probe::agent_news",
    "probe::agents",
    "probe::watch",
    "probe::slow",
    "probe::schedule",
    "probe::config",
    "probe::guest",
    "probe::sink",
    "probe::report",
    "probe::phase",
    "probe::voice",
    "probe::disk_news",
    "probe::sampler",
    "probe::job",
    "probe::run",
    "probe::darwin",
];

#[test]
fn imports_point_left() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let module = module_of(file.strip_prefix(&src).unwrap());
        if module.is_empty() || module == ["probe"] || module == ["hub"] || module[0] == "bin" {
            continue;
        }
        let home = room(&module);
        let at = ARROW.iter().position(|name| *name == home);
        let at = at.unwrap_or_else(|| panic!("{home} has no place on the arrow"));
        let text = fs::read_to_string(&file).unwrap();
        // What tests use is their own business.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for used in used_modules(code, &module) {
            if !ARROW[..=at].contains(&used.as_str()) {
                wrong.push(format!("{} uses {used}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_two_sides_meet_at_the_line_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in rust_files(&src) {
        let module = module_of(file.strip_prefix(&src).unwrap());
        let Some(side) = module.first() else { continue };
        let code = fs::read_to_string(&file).unwrap();
        let other = match side.as_str() {
            "probe" => &["crate::hub"][..],
            "hub" => &["crate::probe"],
            "line" | "net" | "url" => &["crate::probe", "crate::hub"],
            _ => &[],
        };
        assert!(!other.iter().any(|other| code.contains(other)), "{} reaches over", file.display());
    }
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] }).collect()
}

/// `probe/source/meminfo.rs` is `probe`, `source`, `meminfo`.
fn module_of(file: &Path) -> Vec<String> {
    let parts = file.with_extension("");
    let parts = parts.iter().map(|part| part.to_string_lossy().into_owned());
    parts.filter(|part| part != "lib").collect()
}

/// The part of a path that has a place on the arrow: `line`, or `probe` and one more name.
fn room(path: &[String]) -> String {
    match path.first().map(String::as_str) {
        Some("probe" | "hub") => path.iter().take(2).cloned().collect::<Vec<_>>().join("::"),
        _ => path.first().cloned().unwrap_or_default(),
    }
}

/// Every `crate::…` and `super::…` path of a module, resolved, as rooms.
fn used_modules(code: &str, module: &[String]) -> Vec<String> {
    let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let mut used = Vec::new();
    for line in lines {
        for word in line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
            // `pub(super)` is no path.
            if !word.contains("::") {
                continue;
            }
            let names: Vec<&str> = word.trim_end_matches(':').split("::").collect();
            let supers = names.iter().take_while(|name| **name == "super").count();
            let base = match names.first() {
                Some(&"crate") => &module[..0],
                Some(&"super") => &module[..module.len() - supers],
                _ => continue,
            };
            let rest = names.iter().skip(supers.max(1)).map(|name| (*name).to_owned());
            let path: Vec<String> = base.iter().cloned().chain(rest).collect();
            // A bare `probe` or nothing is what `use super::{a, b}` leaves: it would hide what it takes.
            used.push(room(&path));
        }
    }
    used
}

/// The harness swallows what passing tests print. `tests/support/skip.rs` says past it that one is skipped, and so does the library's one.
#[test]
fn a_skipped_test_is_seen() {
    const SAY: [&str; 3] = ["tests/support/skip.rs", "src/probe/protect.rs", "tests/layering.rs"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["tests", "benches", "src"].iter().flat_map(|dir| rust_files(&root.join(dir))) {
        let text = fs::read(&file).unwrap();
        let says = String::from_utf8_lossy(&text).contains("\"SKIPPED");
        assert!(!says || SAY.iter().any(|path| file.ends_with(path)), "{}: tests/support/skip.rs", file.display());
    }
}

#[test]
fn a_path_is_resolved_from_its_module() {
    let module = ["probe".to_owned(), "source".to_owned(), "kmsg".to_owned()];
    assert_eq!(used_modules("use super::text::x;\nuse crate::line::Line;", &module), ["probe::source", "line"]);
    assert_eq!(used_modules("super::super::run::run(); // crate::hub::x", &module), ["probe::run", "hub::x"]);
    assert_eq!(used_modules("use super::super::{run, line};", &module), ["probe"], "and that is no place on the arrow");
}
