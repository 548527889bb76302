//! Commands that nothing here can run: each with stand-ins for its programs, what they were called with held against what would take it.

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory as _, Parser as _};
use runner_vitals::hub::cli::Cli;
use runner_vitals::probe::config::Args;
use runner_vitals::probe::config::phase::PhaseArgs;
use runner_vitals::probe::job::Order;

use crate::pages::{ROOT, block, read};
use crate::stage::Stage;

/// What a page may call, besides the scripts of the repository.
const PROGRAMS: [&str; 8] = ["cargo", "docker", "git", "helm", "kubectl", "runner-vitals", "vitals-hub", "gh"];
const SCRIPTS: [&str; 9] = [
    "check",
    "fuzz/run",
    "benches/all",
    ".ci/cross",
    ".ci/deny",
    ".ci/manifests",
    ".ci/notes",
    ".ci/workflows",
    "deploy/check-boards",
];

/// Runs a block with stand-ins for everything, and looks at each call.
pub(crate) fn would_be_understood(page: &str, begins: &str) {
    let stage = Stage::empty();
    PROGRAMS.iter().for_each(|name| stage.stand_in(name));
    for script in SCRIPTS {
        assert!(is_in_the_repository(script), "{script}");
        stage.script(&format!("work/{script}"), &stage.recorder(script));
    }
    std::fs::create_dir(stage.path("work/docs")).unwrap();
    let text = block(page, begins);
    stage.run(&text);
    let called = stage.called();
    assert!(!called.is_empty(), "{page}: nothing is called:\n{text}");
    for call in called {
        if let Err(why) = understood(&call) {
            panic!("{page}: {call:?}: {why}");
        }
    }
}

/// Whether the real program would take this.
pub(crate) fn understood(call: &[String]) -> Result<(), String> {
    let words: Vec<&str> = call.iter().map(String::as_str).collect();
    match words[0] {
        "runner-vitals" | "vitals-hub" => ours(&words),
        "cargo" => cargo(&words[1..]),
        "docker" => docker(&words[1..]),
        "kubectl" => kubectl(&words[1..]),
        "helm" => helm(&words),
        "git" => matches!(words[1..], ["tag", "-a", tag, "-m", _] | ["push", "origin", tag] if tag.starts_with('v'))
            .then_some(())
            .ok_or_else(|| "a tag is set and pushed".to_owned()),
        ".ci/notes" => (words.len() == 2).then_some(()).ok_or_else(|| "of which tag?".to_owned()),
        "fuzz/run" => words[1..].iter().try_for_each(|word| fuzz_target(word)),
        "check" => {
            words[1..].iter().try_for_each(|word| (*word == "quick").then_some(()).ok_or_else(|| (*word).to_owned()))
        }
        name if SCRIPTS.contains(&name) => (words.len() == 1).then_some(()).ok_or_else(|| "it takes none".to_owned()),
        other => Err(format!("who knows {other}?")),
    }
}

/// By the real flags of both programs.
fn ours(words: &[&str]) -> Result<(), String> {
    let told = |error: clap::Error| if error.use_stderr() { Err(error.to_string()) } else { Ok(()) };
    let args: Vec<OsString> = words.iter().map(OsString::from).collect();
    match words {
        ["runner-vitals", "exec", ..] => match Order::parse(&args[2..]) {
            Ok(order) => order.check_flags().map_err(|wrong| wrong.why),
            Err(error) => told(error),
        },
        ["runner-vitals", "phase", ..] => PhaseArgs::try_parse_from(&args[1..]).map_or_else(told, |_| Ok(())),
        ["runner-vitals", ..] => Args::try_parse_from(&args).map_or_else(told, |_| Ok(())),
        _ => Cli::try_parse_from(&args).map_or_else(told, |_| Ok(())),
    }
}

/// A command of cargo names what there is: targets, features, profiles.
fn cargo(words: &[&str]) -> Result<(), String> {
    let manifest = read("Cargo.toml");
    let mut words = words.iter().copied().filter(|word| *word != "+nightly").take_while(|word| *word != "--");
    let verb = words.next().unwrap();
    if verb == "fuzz" {
        return words.filter(|word| *word != "run").try_for_each(fuzz_target);
    }
    let mut test = None;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants something"));
        match word {
            "--release" | "--no-default-features" | "--locked" => {}
            "--features" => {
                let name = value()?;
                let line = format!("\n{name} = [");
                manifest.contains(&line).then_some(()).ok_or(format!("no feature {name}"))?;
            }
            "--profile" => {
                let name = value()?;
                manifest.contains(&format!("[profile.{name}]")).then_some(()).ok_or(format!("no profile {name}"))?;
            }
            "--target" => _ = value()?.split_once("-unknown-linux-").ok_or("which target?")?,
            "--test" | "--bench" | "--example" => {
                let (name, folder) = (value()?, format!("{}s", &word.replace("bench", "benche")[2..]));
                let is_there = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/main.rs")];
                let file = is_there.into_iter().find(|path| is_in_the_repository(path)).ok_or(format!("no {name}"))?;
                test = Some(file);
            }
            // The name of a test.
            name if verb == "test" && !name.starts_with('-') => {
                let file = test.as_deref().ok_or("which test?")?;
                read(file).contains(name).then_some(()).ok_or(format!("{file} has no {name}"))?;
            }
            other => return Err(format!("{other}?")),
        }
    }
    ["build", "run", "test", "bench"].contains(&verb).then_some(()).ok_or_else(|| verb.to_owned())
}

fn fuzz_target(word: &str) -> Result<(), String> {
    let is_runs = word.bytes().all(|byte| byte.is_ascii_digit());
    (is_runs || is_in_the_repository(&format!("fuzz/fuzz_targets/{word}.rs")))
        .then_some(())
        .ok_or(format!("no target {word}"))
}

/// An image is built of a Dockerfile that has such stages and arguments.
fn docker(words: &[&str]) -> Result<(), String> {
    if let ["push", _] = words {
        return Ok(());
    }
    let [verb, rest @ .., "."] = words else { return Err("what is built?".to_owned()) };
    assert_eq!(*verb, "build");
    let mut file = String::new();
    for pair in rest.chunks(2) {
        let has = |text: String| file.contains(&text).then_some(()).ok_or(text);
        match *pair {
            ["-f", path] => file = read(path),
            ["--build-arg", given] => has(format!("\nARG {}=", given.split('=').next().unwrap()))?,
            ["--target", stage] => has(format!(" AS {stage}\n"))?,
            ["-t", name] => assert!(!name.is_empty()),
            _ => return Err(format!("{pair:?}?")),
        }
    }
    Ok(())
}

fn kubectl(words: &[&str]) -> Result<(), String> {
    match words {
        ["create", "namespace" | "secret" | "configmap", ..] | ["label", "namespace", ..] => Ok(()),
        ["apply", "-k", folder] => {
            let file = format!("{folder}/kustomization.yaml");
            is_in_the_repository(&file).then_some(()).ok_or(file)
        }
        ["apply", ..] => files(words, "-f"),
        _ => Err("kubectl does not know that, or the test does not".to_owned()),
    }
}

/// A repository of charts is there before one of its charts is installed.
fn helm(words: &[&str]) -> Result<(), String> {
    match words {
        ["helm", "repo", "add", _, url] if url.starts_with("https://") => Ok(()),
        ["helm", "repo", ..] => Err("which repository?".to_owned()),
        _ => files(words, "-f"),
    }
}

/// What stands behind this flag is a file of the repository.
fn files(words: &[&str], flag: &str) -> Result<(), String> {
    let named: Vec<&str> = words.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1]).collect();
    assert!(!named.is_empty(), "{words:?}");
    named.into_iter().try_for_each(|path| is_in_the_repository(path).then_some(()).ok_or(format!("no file {path}")))
}

pub(crate) fn is_in_the_repository(path: &str) -> bool {
    Path::new(ROOT).join(path).is_file()
}

/// Every flag of both programs.
pub(crate) fn flags() -> Vec<String> {
    let (hub, probe, phase) = (Cli::command(), Args::command(), PhaseArgs::command());
    let tasks = hub.get_subcommands().flat_map(clap::Command::get_arguments);
    let all = hub.get_arguments().chain(tasks).chain(probe.get_arguments()).chain(phase.get_arguments());
    let mut flags: Vec<String> = all.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect();
    flags.extend(["--help", "--version"].map(str::to_owned));
    flags
}

#[test]
fn what_the_real_programs_would_refuse_is_noticed() {
    for call in [
        "runner-vitals --intervall 1",
        "runner-vitals exec --nonsense -- true",
        "runner-vitals exec",
        "runner-vitals phase asleep",
        "vitals-hub diagnose --htlm x",
        "vitals-hub serve --listen nowhere",
        "cargo build --profile guests",
        "cargo test --test microvms",
        "cargo test --test microvm no_such_test",
        "cargo run --example nothing",
        "cargo build --features hubs",
        "docker build -f image/Dockerfile.runner --target probes .",
        "docker build -f image/Dockerfile.runner --build-arg IMAGE=x .",
        "git push --force",
        "helm repo add grafana",
        "kubectl aply -f deploy/kubernetes/service.yaml",
        "kubectl apply -f deploy/kubernetes/none.yaml",
        "fuzz/run nothing",
        "sudo reboot",
    ] {
        let words: Vec<String> = call.split(' ').map(str::to_owned).collect();
        assert!(understood(&words).is_err(), "{call}");
    }
}
