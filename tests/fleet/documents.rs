//! The documents say what the program does; and what it prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use runner_vitals::hub::diagnose::cause::Cause;
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::{Code, Format, LokiArgs};
use runner_vitals::hub::fleet::{Args, run};
use serde_json::Value;

use crate::simulator::{Pool, Simulator};
use crate::support::{HOUR, NOON, Trail};

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// What the program prints on stdout and stderr, a day after noon.
fn printed(format: Format, file: Option<&str>, input: &str) -> (String, String, Code) {
    let folder = tempfile::tempdir().unwrap();
    let fleets = file.map(|text| {
        let path = folder.path().join("fleets.toml");
        fs::write(&path, text).unwrap();
        path
    });
    let args = Args {
        files: Vec::new(),
        loki: LokiArgs::default(),
        fleets,
        at: None,
        window: Duration::from_secs(86_400),
        long_ready: Duration::from_secs(3600),
        forgive: Duration::from_secs(21_600),
        format,
        html: None,
    };
    let now = UNIX_EPOCH + Duration::from_millis(NOON as u64 + 86_400_000);
    let (mut out, mut log) = (Vec::new(), Vec::new());
    let code = run(&args, input.as_bytes(), &mut out, &mut log, (now, Look::Plain));
    (String::from_utf8(out).unwrap(), String::from_utf8(log).unwrap(), code)
}

pub(crate) const POOL: Pool = Pool {
    seed: 5,
    target: 5,
    reaper_ms: 30_000,
    warm_up_ms: (20_000, 15_000),
    between_ms: 30_000,
    bursts: Some((1_200_000, 8)),
    job_ms: 120_000,
    dying: 20,
    new_image_at: Some(HOUR),
    until_ms: 2 * HOUR,
};

pub(crate) const FILE: &str = "[[fleet]]\nenv = \"prod\"\nfleet = \"f\"\ntarget = 5\nmax = 40\nwarm_floor = 3\nreplicas = 5\nmax_concurrent_percent = 25\nreaper_interval = 30\nimage = \"img-2\"\n";

#[test]
fn json_follows_its_schema() {
    let schema: Value = serde_json::from_str(&document("fleet.schema.json")).unwrap();
    let pool = Simulator::run(POOL).trail.text;
    let captured: String = fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/trail"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let idle = "[[fleet]]\nenv = \"prod\"\nfleet = \"f\"\n[[fleet]]\nfleet = \"none\"\ntarget = 3\n";
    let mut plans = 0;
    for (input, file) in [(&pool, Some(FILE)), (&pool, None), (&pool, Some(idle)), (&captured, None)] {
        let (out, log, code) = printed(Format::Json, file, input);
        assert_eq!(code, Code::Said, "{log}");
        let found: Value = serde_json::from_str(&out).unwrap();
        follows(&found, &schema, &schema, "");
        plans += found["fleets"].as_array().unwrap().iter().filter(|fleet| !fleet["plan"]["size"].is_null()).count();
    }
    assert_eq!(plans, 1);
}

/// As much of JSON Schema as the schema uses.
fn follows(value: &Value, rule: &Value, schema: &Value, at: &str) {
    assert!(!rule.is_null(), "{at} is not in the schema");
    if let Some(name) = rule["$ref"].as_str() {
        return follows(value, &schema["$defs"][name.rsplit('/').next().unwrap()], schema, at);
    }
    if let Some(only) = rule.get("const") {
        return assert_eq!(value, only, "{at}");
    }
    let kinds: &[&str] = match value {
        Value::Null => &["null"],
        Value::Bool(_) => &["boolean"],
        Value::Number(number) if number.is_f64() => &["number"],
        Value::Number(_) => &["integer", "number"],
        Value::String(_) => &["string"],
        Value::Array(_) => &["array"],
        Value::Object(_) => &["object"],
    };
    match &rule["type"] {
        Value::String(one) => assert!(kinds.contains(&one.as_str()), "{at}: {value}"),
        Value::Array(some) => assert!(some.iter().any(|one| kinds.contains(&one.as_str().unwrap())), "{at}: {value}"),
        other => panic!("{at}: {other}"),
    }
    if let (Some(least), Some(number)) = (rule["minimum"].as_i64(), value.as_i64()) {
        assert!(number >= least, "{at}: {number}");
    }
    for (nth, item) in value.as_array().into_iter().flatten().enumerate() {
        follows(item, &rule["items"], schema, &format!("{at}[{nth}]"));
    }
    let Some(object) = value.as_object() else { return };
    if let Some(of_all) = rule.get("additionalProperties") {
        let names: BTreeSet<&str> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        for (key, item) in object {
            assert!(names.contains(key.as_str()), "{at}.{key}");
            follows(item, of_all, schema, &format!("{at}.{key}"));
        }
        return;
    }
    let keys: BTreeSet<&str> = object.keys().map(String::as_str).collect();
    let required: BTreeSet<&str> =
        rule["required"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    assert_eq!(keys, required, "{at}");
    for (key, item) in object {
        follows(item, &rule["properties"][key], schema, &format!("{at}.{key}"));
    }
}

#[test]
fn every_figure_and_key_is_documented() {
    let text = document("FLEET.md");
    let schema: Value = serde_json::from_str(&document("fleet.schema.json")).unwrap();
    for key in schema["$defs"]["fleet"]["properties"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("`{key}`")) || text.contains(&format!("`{key}.")), "{key}");
    }
    for key in [
        "env",
        "fleet",
        "target",
        "min",
        "max",
        "warm_floor",
        "replicas",
        "reaper_interval",
        "image",
        "max_concurrent_percent",
        "load",
        "allocated",
        "rolling",
    ] {
        assert!(text.contains(&format!("| `{key}` |")), "{key}");
    }
}

#[test]
fn the_fleet_file_of_the_document_is_one() {
    let text = document("FLEET.md");
    let (_, behind) = text.split_once("```toml\n").unwrap();
    let (file, _) = behind.split_once("```").unwrap();
    let (_, log, code) = printed(Format::Text, Some(file), &Simulator::run(POOL).trail.text);
    assert_eq!((log.as_str(), code), ("", Code::Said));
}

#[test]
fn the_text_is_for_reading() {
    let (out, log, code) = printed(Format::Text, Some(FILE), &Simulator::run(POOL).trail.text);
    assert_eq!((log.as_str(), code), ("", Code::Said));
    let starts: Vec<&str> = out.lines().map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
    let rows = [
        "prod", "members", "claims", "warm-up", "waits", "ready", "jobs", "deaths", "images", "roll", "polls",
        "deficit", "advice",
    ];
    assert_eq!(starts, rows, "{out}");
    assert!(out.starts_with("prod f: "), "{out}");
    assert!(out.contains("target ") && out.contains("(now 5): ceil("), "{out}");
}

#[test]
fn a_text_of_a_guest_is_harmless() {
    let mut trail = Trail::default();
    trail.phase("runner.name=r runner.fleet=\"a\\u001b[31mb\" runner.image=\"\\u202ex\"", 0, "ready");
    for format in [Format::Text, Format::Json] {
        let (out, ..) = printed(format, None, &trail.text);
        assert!(out.contains("u{1b}[31mb") && !out.contains(['\u{1b}', '\u{202e}']), "{out}");
    }
}

#[test]
fn what_cannot_be_said_has_its_code() {
    let (out, log, code) = printed(Format::Text, None, "hello\n");
    assert_eq!(
        (out.as_str(), log.as_str(), code),
        ("", "vitals-hub: no line of vitals in the input\n", Code::Unusable)
    );
    let (_, log, code) = printed(Format::Text, Some("[[fleet]]\ntarge = 1\n"), "hello\n");
    assert!(log.contains("--fleets ") && log.contains("targe"), "{log}");
    assert_eq!(code, Code::Setting);
}

#[test]
fn a_file_that_is_no_toml_is_told_in_one_line_with_its_place() {
    let (_, log, code) = printed(Format::Text, Some("[[fleet]]\nfleet = \"a\"\ntarget = = 3\n"), "hello\n");
    assert!(log.contains("fleets.toml: line 3: ") && !log.contains("u{a}"), "{log}");
    assert_eq!((log.lines().count(), code), (1, Code::Setting));
}
