//! Colours and limits of boards and alerts are those of docs/VERDICTS.md.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ALERTS, Board, folded, keys, read, rules, text, unquoted};

/// A row of the thresholds in docs/VERDICTS.md.
#[derive(Debug)]
struct Limits {
    yellow: Option<f64>,
    red: Option<f64>,
    alert: Option<f64>,
    cause: String,
}

/// By the folded key of the reading.
fn limits() -> BTreeMap<String, Limits> {
    let document = read("docs/VERDICTS.md");
    let section = document.split("## On boards and in alerts").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let number = |cell: &str| cell.split(' ').next().filter(|text| !text.is_empty()).map(|n| n.parse().unwrap());
        let [key, cause] = [cells[0], cells[4]].map(|cell| cell.split('`').nth(1).unwrap());
        let (yellow, red, alert) = (number(cells[1]), number(cells[2]), number(cells[3]));
        (folded(key), Limits { yellow, red, alert, cause: cause.to_owned() })
    });
    rows.collect()
}

#[test]
fn thresholds_are_those_of_the_verdicts() {
    let document = read("docs/VERDICTS.md");
    // The causes' own words for some figures.
    let causes =
        document.replace("half of the periods", "50 % of the periods").replace("a second late", "1000 ms late");
    let limits = limits();
    assert!(limits.len() > 10);
    for (key, Limits { yellow, red, cause, .. }) in limits.iter().filter(|(key, _)| *key != "oom_kill") {
        let figure = red.or(*yellow).unwrap();
        let is_said = causes.lines().filter(|line| line.matches('|').count() == 4).any(|row| {
            let names = row.split('|').nth(1).unwrap();
            let says = |unit: &str| row.contains(&format!("{figure} {unit}"));
            names.contains(&format!("`{cause}`")) && (says("%") || says("ms"))
        });
        assert!(is_said, "{key}: {cause} does not speak of {figure}");
    }
    for board in Board::all() {
        for panel in board.panels().filter(|panel| panel["type"] != "logs") {
            let targets = panel["targets"].as_array().unwrap();
            let shown: BTreeSet<String> = targets.iter().flat_map(|target| keys(text(&target["expr"]))).collect();
            let one = shown.iter().next().filter(|_| shown.len() == 1).and_then(|key| limits.get(key));
            let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array().unwrap();
            let at = |color: &str| {
                steps.iter().find(|step| step["color"] == color).map(|step| step["value"].as_f64().unwrap())
            };
            let expected = one.map_or((None, None), |limits| (limits.yellow, limits.red));
            assert_eq!((at("yellow"), at("red")), expected, "{}: {}", board.name, panel["title"]);
        }
    }
}

#[test]
fn alerts_fire_over_the_limits_of_the_verdicts() {
    let mut limits = limits();
    limits.retain(|_, limits| limits.alert.is_some());
    for rule in rules(ALERTS).iter().filter(|rule| rule.name != "RunnerSilent") {
        let reading = rule.reading.as_ref().unwrap_or_else(|| panic!("{rule:?}"));
        let limit = limits.remove(&folded(reading)).unwrap_or_else(|| panic!("{reading} has no limit for alerts"));
        assert_eq!(keys(&rule.expr), BTreeSet::from([folded(reading)]), "{rule:?}");
        let unquoted = unquoted(&rule.expr);
        let over: Vec<f64> =
            unquoted.split(" > ").skip(1).map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect();
        assert!(!over.is_empty() && over.iter().all(|over| Some(*over) == limit.alert), "{rule:?} {limit:?}");
    }
    assert!(limits.is_empty(), "no alert on {limits:?}");
}
