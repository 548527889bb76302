//! The documents, and what in them is no prose.

use std::fs;
use std::path::Path;

use runner_vitals::line::Line;

use crate::parsed::is_in_the_repository;

pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Vitals,
    Query,
    Yaml,
    Dockerfile,
    Http,
    /// A fleet file: tests/fleet/documents.rs reads it.
    Toml,
    Shell,
}

/// A paragraph of code.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) page: String,
    pub(crate) text: String,
}

/// Every document that speaks to users or to who works on it. Made ones have tests of their own.
pub(crate) fn pages() -> Vec<String> {
    let mut pages: Vec<String> = ["README.md", "CONTRIBUTING.md", "benches/BUDGET.md", "fuzz/README.md"]
        .into_iter()
        .chain(["deploy/README.md", "deploy/grafana/README.md", "image/examples/README.md"])
        .map(str::to_owned)
        .collect();
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).unwrap();
    let names = docs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    pages.extend(names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")));
    pages.sort();
    pages
}

pub(crate) fn read(page: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The blocks of all documents.
pub(crate) fn blocks() -> Vec<Block> {
    pages().iter().flat_map(|page| blocks_of(page, &read(page))).collect()
}

fn blocks_of(page: &str, text: &str) -> Vec<Block> {
    let (mut blocks, mut code, mut is_fenced) = (Vec::new(), String::new(), false);
    let mut end = |code: &mut String| {
        if !code.is_empty() {
            blocks.push(Block { page: page.to_owned(), text: std::mem::take(code) });
        }
    };
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
            end(&mut code);
            continue;
        }
        let inner = if is_fenced { Some(line) } else { line.strip_prefix("    ") };
        match inner {
            Some(inner) if !inner.trim().is_empty() => code += &format!("{inner}\n"),
            _ => end(&mut code),
        }
    }
    end(&mut code);
    blocks
}

/// The block of a page that begins so.
pub(crate) fn block(page: &str, begins: &str) -> String {
    let mut found: Vec<Block> =
        blocks().into_iter().filter(|block| block.page == page && block.text.starts_with(begins)).collect();
    assert_eq!(found.len(), 1, "{page} has {} blocks that begin with {begins}", found.len());
    found.remove(0).text
}

impl Block {
    pub(crate) fn kind(&self) -> Kind {
        let first = self.text.lines().next().unwrap();
        let word = first.split(' ').next().unwrap();
        let before_brace = first.split('{').next().unwrap();
        let is_calls = before_brace.chars().all(|c| c.is_ascii_lowercase() || "_( ".contains(c));
        match word {
            "RUNNER_VITALS" | "RUNNER_LOG" => Kind::Vitals,
            "COPY" | "FROM" | "ENTRYPOINT" | "ARG" => Kind::Dockerfile,
            "POST" => Kind::Http,
            "[[fleet]]" => Kind::Toml,
            _ if first.contains('{') && is_calls => Kind::Query,
            "apiVersion:" | "containers:" | "volumes:" | "scrape_configs:" => Kind::Yaml,
            _ => Kind::Shell,
        }
    }
}

#[test]
fn what_is_no_command_is_what_it_looks_like() {
    let all = blocks();
    for kind in [Kind::Vitals, Kind::Query, Kind::Yaml, Kind::Dockerfile, Kind::Http, Kind::Shell] {
        assert!(all.iter().any(|block| block.kind() == kind), "no {kind:?}: the documents are not read");
    }
    for Block { page, text } in all.iter().filter(|block| block.kind() == Kind::Yaml) {
        // Comment and parts are those of a whole document.
        let parsed: Result<Vec<serde_json::Value>, _> = serde_saphyr::from_multiple(text);
        assert!(parsed.is_ok_and(|values| values.iter().all(serde_json::Value::is_object)), "{page}: {text}");
    }
    for Block { page, text } in all.iter().filter(|block| block.kind() == Kind::Vitals) {
        for line in text.lines() {
            // What is left out is shown as an ellipsis.
            let shown: Vec<&str> =
                line.split(' ').map(|word| word.trim_end_matches('…')).filter(|word| !word.is_empty()).collect();
            Line::decode(&shown.join(" ")).unwrap_or_else(|error| panic!("{page}: {error}: {line}"));
        }
    }
    for Block { page, text } in all.iter().filter(|block| block.kind() == Kind::Dockerfile) {
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[0] {
                // Of another image, or built by the page's own command.
                "COPY" if words[1].starts_with("--from=") => assert_eq!(words.len(), 4, "{page}: {line}"),
                "COPY" => words[1..words.len() - 1].iter().for_each(|path| {
                    assert!(path.starts_with("target/") || is_in_the_repository(path), "{page}: {path}");
                }),
                "ENTRYPOINT" => {
                    let list: Vec<String> = serde_json::from_str(&line["ENTRYPOINT ".len()..]).unwrap();
                    let name = list[0].strip_prefix("/usr/local/bin/").unwrap();
                    assert!(
                        name == "runner-vitals" || is_in_the_repository(&format!("image/{name}")),
                        "{page}: {line}"
                    );
                }
                other => panic!("{page}: {other}"),
            }
        }
    }
}

/// Grafana's own grammar is `deploy/check-boards`; this holds where there is no npm.
#[test]
fn queries_are_closed() {
    for Block { page, text } in blocks().iter().filter(|block| block.kind() == Kind::Query) {
        for line in text.lines() {
            let query = line.split("    ").next().unwrap();
            let unquoted: String = query.split('"').step_by(2).collect();
            assert_eq!(query.matches('"').count() % 2, 0, "{page}: {query}");
            for (open, close) in [('{', '}'), ('(', ')'), ('[', ']')] {
                assert_eq!(unquoted.matches(open).count(), unquoted.matches(close).count(), "{page}: {query}");
            }
        }
    }
}
