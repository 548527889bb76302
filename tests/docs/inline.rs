//! Code within sentences: commands of ours would be taken, and a flag that is named is one.

use crate::pages::{ROOT, pages, read};
use crate::parsed::{flags, understood};

/// Flags of other programs, and whose.
const OTHERS: &[(&str, &str)] = &[
    ("--timestamps", "kubectl logs"),
    ("--prefix", "kubectl logs"),
    ("--tail", "kubectl logs"),
    ("--raw", "kubectl get"),
    ("--features", "cargo"),
    ("--no-default-features", "cargo"),
    ("--release", "cargo"),
    ("--profile", "cargo"),
    ("--target", "cargo, docker"),
    ("--test", "cargo"),
    ("--bench", "cargo"),
    ("--example", "cargo"),
    ("--open", "cargo doc"),
    ("--lives", "benches/fleet.rs"),
    ("--manifest-path", "cargo"),
    ("--workspace", "cargo"),
    ("--template", "stern"),
    ("--token", "whatever a log may show: what is masked"),
];

/// What stands between backticks, on one line, outside of blocks.
fn spans(text: &str) -> Vec<String> {
    let prose = text.lines().filter(|line| !line.starts_with("    "));
    prose.flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn a_flag_that_is_named_is_one() {
    let flags = flags();
    let mut seen = 0;
    for page in pages() {
        for span in spans(&read(&page)) {
            for word in span.split([' ', '=', '/', ',']).filter(|word| word.starts_with("--") && word.len() > 2) {
                seen += 1;
                let is_others = OTHERS.iter().any(|(flag, _)| *flag == word);
                assert!(is_others || flags.iter().any(|flag| flag == word), "{page}: no program has {word}: `{span}`");
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn a_command_of_ours_within_a_sentence_would_be_taken() {
    let mut seen = 0;
    for page in pages() {
        for span in spans(&read(&page)) {
            let words: Vec<String> = span.split(' ').map(str::to_owned).collect();
            // A form of it, not a command.
            let is_form = span.contains(['[', '…', '|', '"', '\'']) || words.len() < 3 && !span.contains("--");
            if !["runner-vitals", "vitals-hub"].contains(&words[0].as_str()) || words.len() < 2 || is_form {
                continue;
            }
            seen += 1;
            if let Err(why) = understood(&words) {
                panic!("{page}: `{span}`: {why}");
            }
        }
    }
    assert!(seen > 2, "{seen}");
}

/// A heading as a link names it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    kept.trim().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for page in pages() {
        let text = read(&page);
        let folder = std::path::Path::new(&page).parent().unwrap();
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if target.contains("://") {
                continue;
            }
            seen += 1;
            let (path, wanted) = target.split_once('#').unwrap_or((target, ""));
            let at = if path.is_empty() { page.clone() } else { folder.join(path).display().to_string() };
            assert!(std::path::Path::new(ROOT).join(&at).exists(), "{page}: no {target}");
            if !wanted.is_empty() {
                let headings: Vec<String> = read(&at)
                    .lines()
                    .filter_map(|line| Some(anchor(line.strip_prefix('#')?.trim_start_matches('#'))))
                    .collect();
                assert!(headings.iter().any(|heading| heading == wanted), "{page}: {at} has no heading {wanted}");
            }
        }
    }
    assert!(seen > 30, "{seen}");
}
