//! "Which field needs what" in `deploy/README.md` has every field of `docs/FIELDS.md`, and no other.

use std::collections::BTreeSet;

use crate::support::text;

/// What is no key and no event.
const PROTECTION: &str = "protect";

/// Keys of samples, events as `event=…`, and the tag of followed logs: all that has to have a row; and the other keys.
fn documented() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut wanted, mut others) = (BTreeSet::new(), BTreeSet::new());
    let page = text("docs/FIELDS.md");
    let mut is_sample = false;
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            is_sample = heading.starts_with("Samples");
            if !is_sample {
                wanted.insert(heading.trim_matches('`').to_owned());
            }
        } else if let Some(key) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) {
            if is_sample {
                wanted.insert(key.to_owned())
            } else {
                others.insert(key.to_owned())
            };
        }
    }
    (wanted, others)
}

/// The first column of the table: keys, or parts of them with a `*` behind.
fn rows() -> Vec<String> {
    let page = text("deploy/README.md");
    let section = page.split_once("## Which field needs what").unwrap().1;
    let table = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = table.skip(2).map(|row| row.split('|').nth(1).unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn is_of(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[test]
fn every_field_has_a_row() {
    let rows = rows();
    let (wanted, _) = documented();
    assert!(wanted.len() > 50 && wanted.contains("event=start") && wanted.contains("RUNNER_LOG"), "{wanted:?}");
    for name in wanted {
        assert!(rows.iter().any(|pattern| is_of(&name, pattern)), "{name} has no row in deploy/README.md");
    }
}

#[test]
fn every_row_is_of_a_field() {
    let (wanted, others) = documented();
    for pattern in rows() {
        let is_known = wanted.iter().chain(&others).any(|name| is_of(name, &pattern));
        assert!(is_known, "{pattern} is in no line");
    }
    assert!(others.contains(PROTECTION));
}

/// A key that a shared kernel or a container changes has one row, so that nobody reads the wrong one. Keys that macOS alone has stand
/// apart from the rest of their kind.
#[test]
fn every_field_has_one_row() {
    let rows = rows();
    let (wanted, _) = documented();
    for name in wanted {
        let exact = rows.iter().filter(|pattern| **pattern == name).count();
        let wild = rows.iter().filter(|pattern| pattern.ends_with('*') && is_of(&name, pattern)).count();
        assert!(exact <= 1 && wild <= 1, "{name}");
    }
}
