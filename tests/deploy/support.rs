//! Reads what stands in `deploy/`.

use std::fs;
use std::path::PathBuf;

use clap::{Args as _, Command, FromArgMatches as _};
use runner_vitals::hub::serve::auth::kubernetes::Settings;
use runner_vitals::hub::serve::auth::naming::Namespaces;
use runner_vitals::hub::serve::config::{Args, Config};
use serde_json::Value;

/// A file of the repository.
pub(crate) fn path(of: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(of)
}

pub(crate) fn text(of: &str) -> String {
    fs::read_to_string(path(of)).unwrap_or_else(|error| panic!("{of}: {error}"))
}

/// The documents of a YAML file.
pub(crate) fn documents(of: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(of)).unwrap_or_else(|error| panic!("{of}: {error}"))
}

/// The only document of a YAML file.
pub(crate) fn document(of: &str) -> Value {
    let mut all = documents(of);
    assert_eq!(all.len(), 1, "{of}");
    all.remove(0)
}

/// The names of the files of a folder that end so.
pub(crate) fn files(folder: &str, end: &str) -> Vec<String> {
    let entries = fs::read_dir(path(folder)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| name.ends_with(end)).collect();
    names.sort();
    names
}

/// The manifests that the kustomization lists.
pub(crate) fn manifests() -> Vec<Value> {
    let kustomization = document("deploy/kubernetes/kustomization.yaml");
    let names = list(&kustomization["resources"]);
    names.iter().flat_map(|name| documents(&format!("deploy/kubernetes/{}", string(name)))).collect()
}

/// The only manifest of a kind.
pub(crate) fn manifest(kind: &str) -> Value {
    let mut found: Vec<Value> = manifests().into_iter().filter(|manifest| manifest["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found.remove(0)
}

/// The hub's container.
pub(crate) fn container() -> Value {
    let deployment = manifest("Deployment");
    let containers = list(&deployment["spec"]["template"]["spec"]["containers"]);
    assert_eq!(containers.len(), 1);
    containers[0].clone()
}

/// What the hub makes of the Deployment's arguments.
pub(crate) fn config() -> Config {
    let container = container();
    let args = strings(&container["args"]);
    assert_eq!(args[0], "serve");
    hub_config(&args).unwrap()
}

/// The only namespace that runners live in.
pub(crate) fn namespace(settings: &Settings) -> &str {
    match &settings.naming.namespaces {
        Namespaces::Of(names) if names.len() == 1 => &names[0],
        other => panic!("{other:?}"),
    }
}

/// What the hub makes of its arguments, the task's name first.
pub(crate) fn hub_config(args: &[&str]) -> Result<Config, String> {
    let matches = Args::augment_args(Command::new("vitals-hub")).try_get_matches_from(args);
    let matches = matches.map_err(|error| error.to_string())?;
    Config::new(Args::from_arg_matches(&matches).unwrap()).map_err(|error| error.to_string())
}

pub(crate) fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

pub(crate) fn strings(value: &Value) -> Vec<&str> {
    list(value).iter().map(string).collect()
}

/// Of a list of objects the one with this `name`.
pub(crate) fn named<'a>(all: &'a Value, name: &str) -> &'a Value {
    let found = list(all).iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not among {all}"))
}

/// What follows a word of a list of arguments: `--sink=` and so on.
pub(crate) fn setting<'a>(args: &[&'a str], behind: &str) -> Vec<&'a str> {
    args.iter().filter_map(|arg| arg.strip_prefix(behind)).collect()
}

/// `64Mi` in bytes.
pub(crate) fn bytes(quantity: &Value) -> u64 {
    let text = string(quantity);
    let digits = text.trim_end_matches(|unit: char| !unit.is_ascii_digit());
    let factor = match &text[digits.len()..] {
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        unit => panic!("{unit}: {text}"),
    };
    digits.parse::<u64>().unwrap() * factor
}
