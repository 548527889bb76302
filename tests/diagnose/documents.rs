//! The documents say what the program does.

use std::collections::BTreeSet;

use runner_vitals::hub::diagnose::Format;
use runner_vitals::hub::diagnose::cause::Cause;
use runner_vitals::hub::diagnose::text::Look;
use serde_json::Value;

use crate::made::Made;
use crate::support::{fixture, later, printed, printed_at};
use crate::trails::TRAILS;

fn document(name: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

fn names() -> BTreeSet<String> {
    Cause::ALL.iter().map(|cause| cause.name().to_owned()).collect()
}

#[test]
fn every_cause_is_documented() {
    let text = document("VERDICTS.md");
    for name in names() {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn json_follows_its_schema() {
    let schema: Value = serde_json::from_str(&document("verdict.schema.json")).unwrap();
    let causes = strings(&schema["$defs"]["cause"]["enum"]);
    assert_eq!(causes, names());
    for (name, ..) in TRAILS {
        let (out, ..) = printed(Format::Json, false, fixture(name).as_bytes(), Look::Plain);
        let found: Value = serde_json::from_str(&out).unwrap();
        follows(&found, &schema, &schema, name);
    }
    // What no captured trail has: a second probe, and a runner that lives.
    let made = Made::started("runner.name=r").samples(12);
    let two = format!("{}{}", made.text(), made.text().replace("run=made", "run=side"));
    for now in [later(), std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_780_000_061_000)] {
        let (out, ..) = printed_at(now, Format::Json, false, two.as_bytes(), Look::Plain);
        let found: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(found[0]["beside"].as_array().unwrap().len(), 1, "{out}");
        assert_eq!(found[0]["ending"], if now == later() { "silence" } else { "alive" });
        follows(&found, &schema, &schema, "two probes");
    }
}

fn strings(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// As much of JSON Schema as the schema uses.
fn follows(value: &Value, rule: &Value, schema: &Value, at: &str) {
    if let Some(name) = rule["$ref"].as_str() {
        return follows(value, &schema["$defs"][name.rsplit('/').next().unwrap()], schema, at);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    match &rule["type"] {
        Value::String(one) => assert_eq!(one, kind, "{at}"),
        Value::Array(some) => assert!(some.contains(&kind.into()), "{at}: {kind}"),
        _ => {}
    }
    if let Some(allowed) = rule["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value}");
    }
    if let Some(only) = rule.get("const") {
        assert_eq!(value, only, "{at}");
    }
    for (nth, item) in value.as_array().into_iter().flatten().enumerate() {
        follows(item, &rule["items"], schema, &format!("{at}[{nth}]"));
    }
    let Some(object) = value.as_object() else { return };
    if rule.get("required").is_some() {
        let keys: BTreeSet<String> = object.keys().cloned().collect();
        assert_eq!(keys, strings(&rule["required"]), "{at}");
    }
    for (key, item) in object {
        follows(item, &rule["properties"][key], schema, &format!("{at}.{key}"));
    }
}

#[test]
fn the_text_is_for_reading() {
    let (out, log, _) = printed(Format::Text, false, fixture("oom-cgroup").as_bytes(), Look::Plain);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "stdin: cgroup_oom (medium confidence, 72 of 100)");
    assert_eq!(lines[3], "  was told to stop at 2026-11-24T18:42:53.479Z");
    assert!(out.contains("[stdin:21]") && out.contains("\n  not\n") && out.contains("\n  change\n"), "{out}");
    assert!(
        !out.contains("oom_group: the kernel's last kill was another: cgroup_oom  ["),
        "what is ruled out is said without lines"
    );
    assert_eq!(log, "");
}
