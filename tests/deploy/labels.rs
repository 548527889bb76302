//! One query finds Pod logs and pushed lines: Alloy's configurations give the labels that the probe and the hub push under.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use runner_vitals::hub::serve::auth::naming::FleetFrom;
use runner_vitals::hub::serve::config::{AuthMode, OutMode};
use runner_vitals::hub::serve::out::loki;
use runner_vitals::line::Tag;
use serde_json::Value as Json;

use crate::probe::command;
use crate::river::{self, Block, Body, Value};
use crate::server::{Reply, Server};
use crate::support::{config, document, list, namespace, string, text};

const FLEET: &str = "linux";
const RUNNER: &str = "runner-1";

/// What a configuration of Alloy does to lines of one kind.
#[derive(Debug, Default, PartialEq)]
struct Stages {
    selector: String,
    labels: BTreeMap<String, String>,
    metadata: BTreeMap<String, String>,
}

fn values() -> Json {
    document("deploy/alloy/values.yaml")
}

/// The stages that the chart gets, and those of Alloy alone.
fn both() -> [Body; 2] {
    let values = values();
    let stages = string(&values["podLogsViaLoki"]["extraLogProcessingStages"]);
    let alone = alone();
    let process = alone.blocks.into_iter().find(|block| block.name == "loki.process").unwrap();
    [river::parse(stages).unwrap(), process.body]
}

fn alone() -> Body {
    river::parse(&text("deploy/alloy/runner-vitals.alloy")).unwrap()
}

fn pairs(block: &Block) -> BTreeMap<String, String> {
    let Some(Value::Object(pairs)) = block.body.attribute("values") else { panic!("no values: {block:?}") };
    pairs.iter().map(|(key, value)| (key.clone(), value.text().to_owned())).collect()
}

/// What the stages of a body do, but for those that are for some lines only.
fn direct(body: &Body) -> Stages {
    let of = |name: &str| body.blocks.iter().filter(|block| block.name == name).flat_map(pairs).collect();
    let selector = body.attribute("selector").map(|value| value.text().to_owned());
    Stages {
        selector: selector.unwrap_or_default(),
        labels: of("stage.static_labels"),
        metadata: of("stage.structured_metadata"),
    }
}

fn matches(body: &Body) -> Vec<Stages> {
    body.blocks.iter().filter(|block| block.name == "stage.match").map(|block| direct(&block.body)).collect()
}

/// The labels and the metadata's keys under which the real probe pushes.
fn pushed() -> (BTreeMap<String, String>, BTreeSet<String>) {
    let server = Server::start(|request, _| Reply::of(if request.method == "HEAD" { 405 } else { 204 }));
    let sink = format!("loki+http://{}", server.address);
    let flags = ["--once", "--sink", &sink, "--fleet", FLEET, "--env", env().leak(), "--runner", RUNNER];
    assert!(command(&flags).status().unwrap().success());
    let push = std::iter::repeat_with(|| server.next()).find(|request| request.method == "POST").unwrap();
    let body: Json = serde_json::from_str(&push.text()).unwrap();
    let stream = &body["streams"][0];
    let labels = stream["stream"].as_object().unwrap().iter();
    let metadata = stream["values"][0][2].as_object().unwrap();
    (labels.map(|(key, value)| (key.clone(), string(value).to_owned())).collect(), metadata.keys().cloned().collect())
}

/// The environment that the hub is told.
fn env() -> String {
    config().env.unwrap()
}

#[test]
fn alloy_gives_the_labels_that_are_pushed() {
    let (labels, metadata) = pushed();
    let keys: Vec<&str> = labels.keys().map(String::as_str).collect();
    assert_eq!(keys, ["env", "fleet", "job", "os"]);
    assert!(metadata.contains("runner"), "{metadata:?}");
    for body in both() {
        let mut given = direct(&body).labels;
        let mut extra = BTreeMap::new();
        for stages in matches(&body) {
            given.extend(stages.labels);
            extra.extend(stages.metadata);
        }
        given.insert("fleet".to_owned(), FLEET.to_owned());
        assert_eq!(given, labels);
        assert_eq!(extra, BTreeMap::from([("runner".to_owned(), "pod".to_owned())]));
    }
}

#[test]
fn the_hub_pushes_under_the_same() {
    let outs = config().outs;
    let [OutMode::Loki(settings)] = &outs[..] else { panic!("Loki and nothing else") };
    let (labels, _) = pushed();
    assert_eq!(labels["job"], loki::JOB);
    assert!(settings.labels.is_empty(), "nothing else takes the place of a label");
    assert_eq!(settings.env.as_deref(), Some(&*labels["env"]));
    let values = values();
    let url = string(&values["destinations"]["loki"]["url"]);
    let pushes_to = format!("{}{}", settings.url.to_string().trim_end_matches('/'), loki::PUSH_PATH);
    assert_eq!(url, pushes_to);
    let alone = alone();
    let write = alone.blocks.iter().find(|block| block.name == "loki.write").unwrap();
    assert_eq!(write.body.blocks[0].body.attribute("url").unwrap().text(), url);
}

#[test]
fn a_fleet_is_the_same_label_of_the_pod() {
    let AuthMode::Kubernetes(settings) = config().auth else { panic!("asks the cluster") };
    let FleetFrom::Label(key) = settings.naming.fleet_from else { panic!("a label") };
    let values = values();
    assert_eq!(string(&values["podLogsViaLoki"]["labels"]["fleet"]), key);
    // As discovery.kubernetes spells it.
    let folded: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let alone = alone();
    let relabel = alone.blocks.iter().find(|block| block.name == "discovery.relabel").unwrap();
    let rule_of = |target: &str| {
        let rules = relabel.body.blocks.iter().map(|rule| &rule.body);
        let mut found = rules.filter(|rule| rule.attribute("target_label").is_some_and(|label| label.text() == target));
        found.next().unwrap_or_else(|| panic!("{target}"))
    };
    let source = Value::List(vec![Value::Text(format!("__meta_kubernetes_pod_label_{folded}"))]);
    assert_eq!(rule_of("fleet").attribute("source_labels"), Some(&source));
    for label in ["namespace", "pod", "container", "job", "__path__"] {
        rule_of(label);
    }
}

#[test]
fn only_lines_of_the_probe_get_its_job() {
    let AuthMode::Kubernetes(settings) = config().auth else { panic!("asks the cluster") };
    let namespace = namespace(&settings);
    for body in both() {
        let all = matches(&body);
        let (probes, others): (Vec<_>, Vec<_>) = all.iter().partition(|stages| stages.labels.contains_key("job"));
        assert_eq!(probes.len(), 1);
        let stream = format!("{{namespace=\"{namespace}\"}}");
        assert!(others.iter().all(|stages| stages.selector == stream), "{others:?}");
        let filter = probes[0].selector.strip_prefix(&format!("{stream} |~ \"")).unwrap().strip_suffix('"').unwrap();
        let filter = Regex::new(filter).unwrap();
        for tag in Tag::ALL {
            assert!(filter.is_match(&format!("{} ts=2026-06-04T12:00:00.123Z", tag.as_str())));
            assert!(!filter.is_match(&format!("echo {} ts=", tag.as_str())));
        }
    }
}

#[test]
fn the_readme_asks_for_labels_that_there_are() {
    let page = text("deploy/README.md");
    let (labels, metadata) = pushed();
    let queries: Vec<&str> = page.lines().map(str::trim).filter(|line| line.starts_with("{job=")).collect();
    assert_eq!(queries.len(), 2);
    let pair = Regex::new(r#"(\w+)="([^"]*)""#).unwrap();
    for query in queries {
        let (selector, rest) = query[1..].split_once('}').unwrap();
        for found in pair.captures_iter(selector) {
            assert_eq!(labels[&found[1]], found[2], "{query}");
        }
        for found in pair.captures_iter(rest.split("|=").next().unwrap()) {
            assert!(metadata.contains(&found[1]) && &found[2] == RUNNER, "{query}");
        }
    }
}

/// The chart hands `controller` on to the operator, and knows no tolerations elsewhere.
#[test]
fn alloy_tolerates_runner_nodes_where_the_operator_looks() {
    let values = values();
    let collector = &values["collectors"][string(&values["podLogsViaLoki"]["collector"])];
    let tolerations = list(&collector["controller"]["tolerations"]);
    let of_presets = serde_json::json!({ "operator": "Exists", "effect": "NoSchedule" });
    assert!(tolerations.contains(&of_presets), "a list takes the place of that of the preset `daemonset`");
    let runners = tolerations.iter().filter(|toleration| !toleration["key"].is_null());
    let runners: Vec<_> = runners.map(|toleration| (string(&toleration["key"]), &toleration["effect"])).collect();
    assert_eq!(runners, [("tuist.dev/runner", &Json::Null)], "any effect");
    assert_eq!(text("deploy/alloy/values.yaml").matches("tolerations:").count(), 1, "nowhere else");
}

#[test]
fn a_runners_first_lines_are_kept_and_none_comes_twice() {
    let values = values();
    let logs = &values["podLogsViaLoki"];
    assert_eq!((&logs["enabled"], &logs["onlyGatherNewLogLines"]), (&Json::Bool(true), &Json::Bool(false)));
    let collector = &values["collectors"]["alloy-logs"];
    assert_eq!(collector["presets"], serde_json::json!(["filesystem-log-reader", "daemonset"]));
    // What was read is remembered on the node.
    let mount = &collector["alloy"]["mounts"]["extra"][0];
    let volume = &collector["controller"]["volumes"]["extra"][0];
    assert_eq!(mount["mountPath"], collector["alloy"]["storagePath"]);
    assert!(mount["name"] == volume["name"] && volume["hostPath"]["path"].is_string());
    let alone = alone();
    let source = alone.blocks.iter().find(|block| block.name == "loki.source.file").unwrap();
    assert_eq!(source.body.attribute("tail_from_end"), Some(&Value::Plain("false".to_owned())));
}

#[test]
fn what_alloys_components_refer_to_is_there() {
    let alone = alone();
    let mut there = BTreeSet::new();
    for block in &alone.blocks {
        let name = format!("{}.{}.", block.name, block.label.as_deref().unwrap());
        assert!(there.insert(name), "twice: {block:?}");
    }
    for value in alone.values() {
        match value {
            Value::Reference(path) => assert!(there.iter().any(|name| path.starts_with(name)), "{path}"),
            Value::Call(name, _) => assert_eq!(name, "sys.env"),
            _ => {}
        }
    }
    let known = [
        "discovery.kubernetes",
        "discovery.relabel",
        "local.file_match",
        "loki.process",
        "loki.source.file",
        "loki.write",
        "endpoint",
        "namespaces",
        "rule",
        "selectors",
        "stage.cri",
        "stage.label_drop",
        "stage.match",
        "stage.static_labels",
        "stage.structured_metadata",
    ];
    for body in [alone].iter().chain(&both()) {
        for name in body.block_names() {
            assert!(known.contains(&name), "{name}");
        }
    }
}
