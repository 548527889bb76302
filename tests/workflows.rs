//! What `.github/workflows` has to hold, and the scripts that a release is made with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(all(feature = "hub", target_os = "linux"))]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const MSRV: &str = env!("CARGO_PKG_RUST_VERSION");

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn workflow(name: &str) -> Value {
    serde_saphyr::from_str(&text(&format!(".github/workflows/{name}.yml"))).unwrap()
}

fn both() -> [(&'static str, Value); 2] {
    ["check", "release"].map(|name| (name, workflow(name)))
}

/// Every job of a workflow.
fn jobs(workflow: &Value) -> Vec<(&String, &Value)> {
    workflow["jobs"].as_object().unwrap().iter().collect()
}

fn steps(job: &Value) -> Vec<&Value> {
    job["steps"].as_array().into_iter().flatten().collect()
}

/// All that a job runs.
fn runs(job: &Value) -> String {
    steps(job).iter().filter_map(|step| step["run"].as_str()).collect::<Vec<_>>().join("\n")
}

/// A list of `.ci/cross`: `readonly NAME=(a b)`, or a single one.
fn of_cross(name: &str) -> Vec<String> {
    let script = text(".ci/cross");
    let line = script.lines().find_map(|line| line.strip_prefix(&format!("readonly {name}="))).unwrap();
    line.trim_matches(['(', ')']).split(' ').map(str::to_owned).collect()
}

#[test]
fn ci_runs_the_gate_on_linux_and_the_tests_everywhere() {
    let check = workflow("check");
    let job = |name: &str| &check["jobs"][name];
    assert!(runs(job("linux")).lines().any(|line| line == ".ci/run"));
    assert_eq!(job("linux")["runs-on"], "ubuntu-24.04");
    assert!(job("linux-aarch64")["runs-on"].as_str().unwrap().ends_with("-arm"));
    assert!(runs(job("linux-aarch64")).contains("cargo test --locked"));
    let loki = job("loki");
    assert!(loki["services"]["loki"]["image"].as_str().unwrap().starts_with("grafana/loki:"));
    assert!(loki["env"]["LOKI_URL"] == "http://loki:3100" && runs(loki).contains("--test real_loki"));
    for dockerfile in ["Dockerfile.hub", "Dockerfile.runner"] {
        assert!(runs(job("dockerfiles")).contains(&format!("docker build -f image/{dockerfile} ")));
    }
    assert!(runs(job("macos")).lines().any(|line| line == ".ci/macos"));
    assert_eq!(job("macos")["strategy"]["matrix"]["runner"].as_array().unwrap().len(), 2, "both kinds of Mac");
    let run = text(".ci/run");
    for part in [
        ".ci/cross\n",
        ".ci/manifests\n",
        ".ci/workflows\n",
        "deploy/check-boards\n",
        "./check\n",
        ".ci/deny install\n",
    ] {
        assert!(run.contains(part), ".ci/run without {part}");
    }
}

#[test]
fn the_toolchain_is_the_oldest_that_will_do() {
    for (name, workflow) in both() {
        for (job, of) in jobs(&workflow) {
            let image = &of["container"]["image"];
            let is_of_msrv = image.as_str().is_some_and(|image| image.starts_with(&format!("rust:{MSRV}-")));
            let installs = runs(of).contains(&format!("rustup toolchain install {MSRV} "));
            let builds = runs(of).contains("cargo ") || runs(of).contains(".ci/run") || runs(of).contains(".ci/macos");
            assert!(is_of_msrv || installs || !builds, "{name}: {job} builds with some other Rust");
        }
    }
    for file in ["image/Dockerfile.hub", "image/Dockerfile.runner"] {
        assert!(text(file).contains(&format!("FROM rust:{MSRV}-")), "{file}");
    }
}

#[test]
fn a_release_has_every_target_of_cross() {
    let release = workflow("release");
    let linux = runs(&release["jobs"]["linux"]);
    assert!(linux.contains(".ci/cross release"));
    for target in of_cross("MUSL") {
        assert!(linux.contains(&target), "{target}");
    }
    let matrix = release["jobs"]["macos"]["strategy"]["matrix"]["include"].as_array().unwrap();
    let macs: Vec<&str> = matrix.iter().map(|one| one["target"].as_str().unwrap()).collect();
    assert_eq!(macs, [of_cross("DARWIN"), of_cross("OTHER_DARWIN")].concat());
    for job in ["linux", "macos"] {
        for step in [".ci/pack ", "--example pages -- target/pages"] {
            assert!(runs(&release["jobs"][job]).contains(step), "{job} without {step}");
        }
    }
    let page = text("docs/INSTALL.md");
    for target in [of_cross("MUSL"), of_cross("DARWIN"), of_cross("OTHER_DARWIN")].concat() {
        assert!(page.contains(&format!("`{target}`")), "docs/INSTALL.md has no {target}");
    }
}

#[test]
fn nothing_is_released_unchecked_or_untold() {
    let release = workflow("release");
    let needs = |job: &str| release["jobs"][job]["needs"].to_string();
    assert_eq!(release["jobs"]["check"]["uses"], "./.github/workflows/check.yml");
    for job in ["linux", "macos", "image"] {
        assert_eq!(needs(job), "\"check\"", "{job}");
    }
    for job in ["notes", "linux", "macos", "images"] {
        assert!(needs("publish").contains(job), "{job}");
    }
    for job in ["image", "linux", "macos"] {
        assert!(needs("images").contains(&format!("\"{job}\"")), "the hub's image has its name without {job}");
    }
    let publish = &release["jobs"]["publish"];
    assert!(runs(publish).contains("sha256sum") && runs(publish).contains("--notes-file notes.md"));
    assert!(runs(&release["jobs"]["linux"]).contains(".ci/sbom dist"));
    for job in ["publish", "images"] {
        let is_attested = |step: &&Value| step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/attest-"));
        assert!(steps(&release["jobs"][job]).iter().any(is_attested), "{job} attests nothing");
    }
}

/// What a release is called, wherever it is called so.
#[test]
fn all_that_names_the_version_names_the_same() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, says) in [
        ("deploy/kubernetes/kustomization.yaml", format!("newTag: {version}\n")),
        ("docs/INSTALL.md", format!("vitals-hub:{version} ")),
        ("docs/INSTALL.md", format!("runner-vitals-{version}-x86_64-unknown-linux-musl.tar.gz")),
        ("CONTRIBUTING.md", format!(".ci/notes v{version} ")),
    ] {
        assert!(text(file).contains(&says), "{file} has no {says}");
    }
}

/// In a workflow that is called, `github.workflow` is the name of the one that calls it, and two of one group wait for each other.
#[test]
fn a_release_does_not_wait_for_itself() {
    let group = |workflow: &Value, caller: &Value| {
        let group = workflow["concurrency"]["group"].as_str().unwrap().to_lowercase();
        group.replace("${{ github.workflow }}", caller["name"].as_str().unwrap())
    };
    let (check, release) = (workflow("check"), workflow("release"));
    assert_ne!(group(&check, &release), group(&release, &release));
    assert_ne!(group(&check, &check), group(&check, &release));
}

#[test]
fn actions_are_pinned_and_permissions_few() {
    let mut pinned = 0;
    for (name, workflow) in both() {
        assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }), "{name}");
        for (job, of) in jobs(&workflow) {
            assert!(of["uses"].is_string() || of["timeout-minutes"].is_u64(), "{name}: {job} could hang for hours");
            let may_write: Vec<&String> =
                of["permissions"].as_object().into_iter().flatten().map(|(scope, _)| scope).collect();
            let expected = match job.as_str() {
                "image" => vec!["contents", "packages"],
                "images" => vec!["attestations", "contents", "id-token", "packages"],
                "publish" => vec!["attestations", "contents", "id-token"],
                _ => vec![],
            };
            let mut may_write: Vec<&str> = may_write.into_iter().map(String::as_str).collect();
            may_write.sort_unstable();
            assert_eq!(may_write, expected, "{name}: {job}");
            for step in steps(of) {
                let run = step["run"].as_str().unwrap_or_default();
                assert!(!run.contains("${{"), "{name}: {job}: what GitHub puts into a script it could run: {run}");
                let Some(uses) = step["uses"].as_str() else { continue };
                let commit = uses.split_once('@').unwrap().1;
                assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}: {uses}");
                assert!(
                    text(&format!(".github/workflows/{name}.yml")).contains(&format!("{uses} # v")),
                    "{uses}: which version?"
                );
                let keeps = uses.starts_with("actions/checkout@") && step["with"]["persist-credentials"] != false;
                assert!(!keeps, "{name}: {job} leaves its token lying about");
                pinned += 1;
            }
        }
    }
    assert!(pinned > 5);
}

#[test]
fn scripts_that_are_called_are_there_and_can_be_run() {
    for (name, workflow) in both() {
        for (job, of) in jobs(&workflow) {
            let run = runs(of);
            for script in run.split_whitespace().filter(|word| word.starts_with(".ci/")) {
                let mode = fs::metadata(Path::new(ROOT).join(script))
                    .unwrap_or_else(|_| panic!("{name}: {job}: {script}"))
                    .permissions();
                assert_eq!(mode.mode() & 0o111, 0o111, "{script}");
            }
        }
    }
}

/// What `.ci/notes` says of a tag, in a repository with this changelog.
fn notes(tag: &str, changelog: &str) -> Result<String, String> {
    let top = tempfile::tempdir().unwrap();
    fs::write(top.path().join("Cargo.toml"), "[package]\nname = \"x\"\nversion = \"1.2.3\"\nrust-version = \"1.95\"\n")
        .unwrap();
    fs::write(top.path().join("CHANGELOG.md"), changelog).unwrap();
    let output = Command::new(format!("{ROOT}/.ci/notes")).arg(tag).arg(top.path()).output().unwrap();
    let said = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(said(output.stdout)) } else { Err(said(output.stderr)) }
}

#[test]
fn the_changelogs_section_is_what_a_release_says() {
    let changelog = "# Changelog\n\n## Unreleased\n\n- not yet\n\n## 1.2.3 (2026-12-01)\n\n- this\n  and that\n\n- too\n\n## 1.2.2\n\n- old\n";
    assert_eq!(notes("v1.2.3", changelog).unwrap(), "- this\n  and that\n\n- too\n\n".trim_end().to_owned() + "\n");
    assert!(notes("v1.2.4", changelog).unwrap_err().contains("Cargo.toml has 1.2.3"));
    assert!(notes("1.2.3", changelog).unwrap_err().contains("the tag of that is v1.2.3"));
    for nothing in
        ["## Unreleased\n\n- x\n", "## 1.2.3\n\n## 1.2.2\n\n- old\n", "## 1.2.30\n\n- x\n", "## 11.2.3\n- x\n"]
    {
        let told = notes("v1.2.3", nothing).unwrap_err();
        assert!(told.contains("says nothing of 1.2.3: call its '## Unreleased' '## 1.2.3'"), "{nothing}: {told}");
    }
    let usage = Command::new(format!("{ROOT}/.ci/notes")).output().unwrap();
    assert_eq!((usage.status.code(), &usage.stderr[..]), (Some(64), &b"usage: .ci/notes TAG\n"[..]));
}

#[test]
fn a_pack_is_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let pack = |out: &str| {
        for folder in ["programs", "pages", out] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for name in ["programs/runner-vitals", "programs/vitals-hub", "pages/runner-vitals.1"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let mut pack = Command::new(format!("{ROOT}/.ci/pack"));
        pack.args(["some-target", "programs", "pages", out])
            .current_dir(dir.path())
            .env("SOURCE_DATE_EPOCH", "1780000000");
        assert!(pack.output().unwrap().status.success());
        let name = format!("{out}/runner-vitals-{}-some-target.tar.gz", env!("CARGO_PKG_VERSION"));
        fs::read(dir.path().join(name)).unwrap()
    };
    assert!(pack("a") == pack("b"));
}
