//! The boards and rules of deploy/ keep to the documents: fields of the table, thresholds of docs/VERDICTS.md, one environment a
//! query. That their queries parse is for deploy/check-boards.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]
#![cfg(feature = "tls")]

mod limits;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use runner_vitals::line::field::{self, Field, Unit};
use serde_json::Value;

/// Labels of streams and structured metadata, and what every line begins with.
const LABELS: &[&str] =
    &["env", "fleet", "runner", "event", "run", "quantile", "__error__", "state", "status", "cause", "le"];

/// The words of LogQL and PromQL that the queries use.
const WORDS: &[&str] = &[
    "by",
    "count",
    "count_over_time",
    "histogram_quantile",
    "increase",
    "label_format",
    "line_format",
    "logfmt",
    "max",
    "max_over_time",
    "min",
    "min_over_time",
    "or",
    "quantile_over_time",
    "rate",
    "sum",
    "sum_over_time",
    "topk",
    "unless",
    "unwrap",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A key as Loki has it.
fn folded(key: &str) -> String {
    key.replace('.', "_")
}

fn field_of(folded_key: &str) -> Option<&'static Field> {
    field::ALL.iter().copied().find(|field| folded(field.key) == folded_key)
}

struct Board {
    name: &'static str,
    json: Value,
}

impl Board {
    fn all() -> [Self; 3] {
        ["runner", "fleet", "capacity"].map(|name| {
            let json = serde_json::from_str(&read(&format!("deploy/grafana/{name}.json"))).unwrap();
            Self { name, json }
        })
    }

    /// Its panels but the rows.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.json["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
    }

    /// Whatever has a query: targets of panels, annotations.
    fn queries(&self) -> Vec<&Value> {
        let targets = self.panels().flat_map(|panel| panel["targets"].as_array().unwrap());
        targets.chain(self.json["annotations"]["list"].as_array().unwrap()).collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// A rule of Loki's ruler.
#[derive(Debug)]
struct Rule {
    name: String,
    expr: String,
    /// The reading that an alert's threshold is of.
    reading: Option<String>,
}

/// The rules of a file, as far as its form goes: `- alert: NAME` or `- record: NAME`, then `expr: |` and its lines.
fn rules(path: &str) -> Vec<Rule> {
    let yaml = read(path);
    let mut rules: Vec<Rule> = Vec::new();
    let mut is_expr = false;
    for line in yaml.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("- alert: ").or_else(|| line.strip_prefix("- record: ")) {
            rules.push(Rule { name: name.to_owned(), expr: String::new(), reading: None });
        }
        let Some(rule) = rules.last_mut() else { continue };
        match line {
            "expr: |" => is_expr = true,
            "labels:" | "" => is_expr = false,
            _ if is_expr => rule.expr += &format!("{line} "),
            _ => rule.reading = line.strip_prefix("reading: ").map(str::to_owned).or(rule.reading.take()),
        }
    }
    rules
}

const ALERTS: &str = "deploy/loki/rules/alerts.yaml";
const RECORDS: &str = "deploy/loki/rules/fleet.yaml";
const CAPACITY: &str = "deploy/loki/rules/capacity.yaml";
const OF_FLEETS: &str = "deploy/prometheus/vitals-hub-fleet.yaml";

/// What follows each `mark` in a text, as a word.
fn words_behind<'t>(text: &'t str, mark: &'t str) -> impl Iterator<Item = &'t str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split(mark).skip(1).map(move |rest| &rest[..rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())])
}

/// The fields whose values a query shows.
fn keys(expr: &str) -> BTreeSet<String> {
    let recorded = words_behind(expr, "fleet:runner_vitals_").map(|name| name.split(':').next().unwrap());
    words_behind(expr, "unwrap ").chain(recorded.filter(|name| field_of(name).is_some())).map(str::to_owned).collect()
}

/// A query without what it has in quotes.
fn unquoted(expr: &str) -> String {
    let mut open = None;
    let keep = |c: char| {
        let is_inside = open.is_some();
        match open {
            Some(quote) if c == quote => open = None,
            None if c == '"' || c == '`' => open = Some(c),
            _ => {}
        }
        (!is_inside).then_some(c)
    };
    expr.chars().filter_map(keep).collect()
}

#[test]
fn boards_are_whole() {
    for board in Board::all() {
        assert_eq!(board.json["uid"], format!("runner-vitals-{}", board.name));
        let panels = board.json["panels"].as_array().unwrap();
        let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len(), "{}: ids are there twice", board.name);
        let mut taken = BTreeSet::new();
        for panel in panels {
            let at = |of: &str| panel["gridPos"][of].as_u64().unwrap();
            let title = format!("{}: {}", board.name, text(&panel["title"]));
            assert!(at("x") + at("w") <= 24, "{title} is too wide");
            for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{title} lies over another");
            }
        }
        for panel in board.panels() {
            let title = format!("{}: {}", board.name, text(&panel["title"]));
            assert!(text(&panel["description"]).ends_with('.'), "{title} does not say what it shows");
            let nothing = text(&panel["fieldConfig"]["defaults"]["noValue"]);
            assert!(nothing == "none" || nothing.starts_with("no"), "{title}: {nothing}");
            for target in panel["targets"].as_array().unwrap().iter().filter(|_| panel["type"] == "timeseries") {
                assert!(!text(&target["legendFormat"]).is_empty(), "{title}: no legend");
            }
        }
    }
}

#[test]
fn variables_come_first() {
    for board in Board::all() {
        let variables = board.json["templating"]["list"].as_array().unwrap();
        let names: Vec<&str> = variables.iter().map(|variable| text(&variable["name"])).collect();
        let expected: &[&str] = match board.name {
            "runner" => &["datasource", "env", "fleet", "runner"],
            _ => &["datasource", "metrics", "env", "fleet"],
        };
        assert_eq!(names, expected, "{}", board.name);
        let env = variables.iter().find(|variable| variable["name"] == "env").unwrap();
        assert_eq!(env["current"]["value"], "production");
        let panels = board.panels().map(|panel| &panel["datasource"]);
        let queried = variables.iter().filter(|variable| variable["type"] == "query");
        let sources = board.queries().into_iter().chain(queried).map(|query| &query["datasource"]);
        for source in panels.chain(sources) {
            let (kind, uid) = (text(&source["type"]), text(&source["uid"]));
            assert!(matches!((kind, uid), ("loki", "${datasource}") | ("prometheus", "${metrics}")), "{kind} {uid}");
        }
    }
}

#[test]
fn every_query_is_of_one_environment() {
    for board in Board::all() {
        for query in board.queries() {
            let expr = text(&query["expr"]);
            let selectors = unquoted(expr).matches('{').count();
            let scoped = expr.matches("{env=\"$env\", fleet=~\"$fleet\"").count();
            assert!(selectors > 0 && selectors == scoped, "{}: {expr}", board.name);
            // The lines of one runner only.
            let of_runner = expr.matches("| runner=\"$runner\"").count();
            assert!(board.name != "runner" || of_runner == scoped, "{expr}");
        }
    }
    // Rules are of every environment, and say of which.
    for rule in rules(ALERTS).iter().chain(&rules(RECORDS)).chain(&rules(CAPACITY)) {
        let selectors = unquoted(&rule.expr).matches('{').count();
        assert!(selectors > 0 && selectors == rule.expr.matches("{env=~\".+\"}").count(), "{rule:?}");
        assert_eq!(rule.expr.matches("by (env, fleet").count(), rule.expr.matches("by (").count(), "{rule:?}");
        assert!(rule.expr.contains("by (env, fleet"), "{rule:?}");
    }
}

#[test]
fn queries_name_fields_of_the_table() {
    let boards = Board::all();
    let of_boards = boards.iter().flat_map(Board::queries).map(|query| text(&query["expr"]).to_owned());
    let of_rules = [rules(ALERTS), rules(RECORDS), rules(CAPACITY)].into_iter().flatten().map(|rule| rule.expr);
    for expr in of_boards.chain(of_rules) {
        // A value that is no number fails a metric query whole.
        assert_eq!(expr.matches("unwrap").count(), expr.matches("| __error__=\"\" [").count(), "{expr}");
        let bare = unquoted(&expr);
        let words = bare.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '$' | '.')));
        for word in words.filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')) {
            let is_known = LABELS.contains(&word) || WORDS.contains(&word) || field_of(word).is_some();
            let is_series = ["fleet:runner_vitals_", "vitals_hub_fleet_"].iter().any(|begin| word.starts_with(begin));
            assert!(is_known || is_series, "{word} in {expr}");
        }
    }
}

/// Whether a query of this field gives values of this unit of Grafana.
fn gives(expr: &str, key: &str, unit: &str) -> bool {
    match field_of(key).unwrap_or_else(|| panic!("{key} is no field")).unit {
        Unit::Kib if expr.starts_with("100 * (") => unit == "percent",
        Unit::Kib => expr.starts_with("1024 * ") && unit == "bytes",
        // Milliseconds of a minute.
        Unit::Ms if expr.contains(" / 600") => unit == "percent",
        Unit::Ms | Unit::MsTenths => unit == "ms",
        Unit::Bytes => unit == "bytes",
        Unit::Percent => unit == "percent",
        Unit::Count | Unit::Hundredths => unit == "none" || unit == "short",
        Unit::Seconds | Unit::Text(_) => false,
    }
}

#[test]
fn units_are_those_of_the_fields() {
    for board in Board::all() {
        for panel in board.panels().filter(|panel| panel["type"] != "logs") {
            let unit = text(&panel["fieldConfig"]["defaults"]["unit"]);
            for expr in panel["targets"].as_array().unwrap().iter().map(|target| text(&target["expr"])) {
                let shown = keys(expr);
                assert!(shown.iter().all(|key| gives(expr, key, unit)), "{unit}: {expr}");
                let is_share = unit == "percentunit" && expr.contains(":ratio");
                assert!(!shown.is_empty() || unit == "none" || is_share, "{unit} of a count: {expr}");
            }
        }
    }
}

#[test]
fn silence_is_the_same_everywhere() {
    let alert = rules(ALERTS).into_iter().find(|rule| rule.name == "RunnerSilent").unwrap();
    let record = rules(RECORDS).into_iter().find(|rule| rule.name == "fleet:runner_vitals_silent:count").unwrap();
    assert_eq!(record.expr, format!("count by (env, fleet) ( {}) ", alert.expr));
    assert_eq!(alert.expr.matches("[15m]").count(), 2);
    assert_eq!(alert.expr.matches("[3m]").count(), 1);
    let document = read("docs/VERDICTS.md");
    assert!(document.contains("samples within 15 minutes, no line for 3 (three of the longest intervals)"));
}

#[test]
fn boards_of_fleets_show_what_is_recorded() {
    for (board, records) in [("fleet", RECORDS), ("capacity", CAPACITY)] {
        let names = rules(records).into_iter().map(|rule| rule.name);
        let recorded: BTreeSet<String> = names.filter(|name| name.starts_with("fleet:")).collect();
        let board = read(&format!("deploy/grafana/{board}.json"));
        let shown =
            words_behind(&board, "fleet:").map(|name| format!("fleet:{name}")).filter(|name| name.contains("vitals"));
        assert_eq!(shown.collect::<BTreeSet<_>>(), recorded);
    }
}

/// Ten seconds are a cold start in the figures, on the board and in both alerts; five per cent are too many.
#[test]
fn cold_starts_are_the_same_everywhere() {
    let of_lines = rules(CAPACITY);
    let limits =
        of_lines.iter().filter(|rule| rule.name.contains("old")).map(|rule| words_behind(&rule.expr, "waited_ms > "));
    assert_eq!(limits.flatten().collect::<Vec<_>>(), ["10000", "10000"]);
    let of_hub = read(OF_FLEETS);
    assert!(of_hub.contains("_bucket{le=~\"10(\\\\.0)?\"}"));
    let shares = of_lines.iter().map(|rule| rule.expr.as_str()).chain([of_hub.as_str()]);
    assert_eq!(shares.map(|text| text.matches(" > 0.05").count()).sum::<usize>(), 2);
    for page in ["docs/OPERATE.md", "deploy/grafana/README.md"].map(read) {
        assert!(page.contains("over 5 % of") && page.contains("waited for over 10 s"));
    }
    assert!(read("docs/FLEET.md").contains("Over 10 s is a cold start"));
}

#[test]
fn alerts_on_the_hub_use_its_metrics() {
    let document = read("docs/HUB.md");
    let asking = ["deploy/prometheus/vitals-hub.yaml", OF_FLEETS, "deploy/grafana/capacity.json"].map(read).concat();
    for name in
        words_behind(&asking, "vitals_hub_").map(|name| name.trim_end_matches("_bucket").trim_end_matches("_count"))
    {
        assert!(document.contains(&format!("`vitals_hub_{name}")), "vitals_hub_{name} is not in docs/HUB.md");
    }
}

#[test]
fn the_readme_has_every_panel_and_alert() {
    let readme = read("deploy/grafana/README.md");
    for board in Board::all() {
        for panel in board.panels() {
            let row = format!("| {} | {} |", text(&panel["title"]), text(&panel["description"]));
            assert!(readme.contains(&row), "{row}");
        }
    }
    for name in alerts() {
        assert!(readme.contains(&format!("| `{name}` | ")), "{name}");
    }
}

fn alerts() -> Vec<String> {
    let rules = [ALERTS, CAPACITY, OF_FLEETS, "deploy/prometheus/vitals-hub.yaml"].map(read).concat();
    let names: Vec<String> = words_behind(&rules, "- alert: ").map(str::to_owned).collect();
    assert!(names.len() > 27);
    names
}

#[test]
fn for_every_alert_there_is_something_to_do() {
    let page = read("docs/OPERATE.md");
    for name in alerts() {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` | ")));
        let row = row.unwrap_or_else(|| panic!("docs/OPERATE.md says nothing of {name}"));
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert!(cells.len() == 3 && cells.iter().all(|cell| cell.len() > 7), "{row}");
    }
    // And none that there is not.
    for name in words_behind(&page, "| `Runner").map(|name| format!("Runner{name}")) {
        assert!(alerts().contains(&name), "{name} is no alert");
    }
    for name in words_behind(&page, "| `Fleet").map(|name| format!("Fleet{name}")) {
        assert!(alerts().contains(&name), "{name} is no alert");
    }
    for name in words_behind(&page, "| `VitalsHub").map(|name| format!("VitalsHub{name}")) {
        assert!(alerts().contains(&name), "{name} is no alert");
    }
}
