//! Which block is run by which test, and which is only held against what would run it, and why.

use std::collections::BTreeSet;

use crate::pages::{Kind, blocks, read};
use crate::parsed;

/// What becomes of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// This test runs it: its file, its name.
    Run(&'static str, &'static str),
    /// Its programs are stand-ins, whose arguments are held against the real ones; and why.
    Parsed(&'static str),
}

use How::{Parsed, Run};

const HERE: &str = "tests/docs/run.rs";
const HUB: &str = "tests/docs/run_hub.rs";
const TRY: &str = "tests/diagnose/try_page.rs";

const BUILDS: &str = "a build of minutes, and the gate's own: check builds the guest's binary so";
const CLUSTER: &str = "needs a cluster";
const DOCKER: &str = "needs a container engine, and images from elsewhere";

/// Page, how the block begins, what becomes of it.
pub(crate) const TABLE: &[(&str, &str, How)] = &[
    ("README.md", "cargo run --release ", Run(HERE, "the_first_two_commands_do_what_they_say")),
    ("README.md", "vitals-hub diagnose pod.log\n", Run(HERE, "the_readme_diagnoses")),
    ("README.md", "vitals-hub fleet --fleets ", Run(HERE, "every_way_to_look_at_fleets")),
    ("README.md", "CARGO_TARGET_X86_64", Parsed(BUILDS)),
    ("README.md", "runner-vitals exec -- ", Run(HERE, "exec_runs_its_job")),
    ("README.md", "runner-vitals --sink ", Run(HERE, "lines_go_off_by_network")),
    ("CONTRIBUTING.md", "cargo run --release ", Parsed("the gate and its parts: CI runs them")),
    ("CONTRIBUTING.md", "RUNNER_VITALS_MATRIX=oom-guest", Parsed("real guests: half an hour")),
    ("CONTRIBUTING.md", ".ci/notes v", Parsed("it would set a tag; tests/workflows.rs runs .ci/notes")),
    ("benches/BUDGET.md", "CARGO_TARGET_X86_64", Parsed(BUILDS)),
    ("deploy/README.md", "kubectl create namespace", Parsed(CLUSTER)),
    ("docs/FLEET.md", "vitals-hub fleet /var/log/vitals", Run(HERE, "every_way_to_look_at_fleets")),
    (
        "docs/HUB-AUTH.md",
        "vitals-hub serve --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem \\\n",
        Parsed(CLUSTER),
    ),
    (
        "docs/HUB-AUTH.md",
        "vitals-hub serve --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem --env",
        Parsed("needs an issuer; tests/hub_auth has one"),
    ),
    ("docs/HUB-AUTH.md", "token=$(head ", Run(HUB, "a_reader_of_the_pages")),
    ("docs/HUB-AUTH.md", "curl --cacert ", Run(HUB, "a_reader_of_the_pages")),
    ("docs/HUB.md", "cargo build --release", Parsed(BUILDS)),
    ("docs/HUB.md", "vitals-hub serve --auth none", Run(HUB, "the_first_run_of_a_hub")),
    ("docs/HUB.md", "token=$(head ", Run(HUB, "a_small_fleet")),
    ("docs/HUB.md", "runner-vitals --sink ", Run(HUB, "a_small_fleet")),
    ("docs/INSTALL.md", "docker build -f image/Dockerfile.runner --build-arg", Parsed(DOCKER)),
    ("docs/INSTALL.md", "docker build -f image/Dockerfile.runner --target", Parsed(DOCKER)),
    ("docs/INSTALL.md", "docker build -f image/Dockerfile.hub", Parsed(DOCKER)),
    ("docs/INSTALL.md", "kubectl apply -f deploy/kubernetes/examples/in-container", Parsed(CLUSTER)),
    ("docs/INSTALL.md", "kubectl apply -f deploy/kubernetes/examples/sidecar", Parsed(CLUSTER)),
    (
        "docs/INSTALL.md",
        "install -m 755 runner-vitals /usr/local/bin/\ninstall",
        Run(HERE, "it_installs_as_a_service_of_systemd"),
    ),
    (
        "docs/INSTALL.md",
        "install -m 755 runner-vitals /usr/local/bin/\ncp",
        Run(HERE, "it_installs_as_a_job_of_launchd"),
    ),
    (
        "docs/INSTALL.md",
        "install -m 755 runner-vitals image/run-job.sh",
        Run(HERE, "it_installs_as_a_service_that_polls_for_jobs"),
    ),
    ("docs/INSTALL.md", "install -m 755 vitals-hub ", Run(HUB, "it_installs_as_a_service_of_systemd")),
    ("docs/INSTALL.md", "sha256sum --check", Run(HERE, "a_release_is_checked_and_unpacked")),
    ("docs/INSTALL.md", "runner-vitals --once\n", Run(HERE, "it_says_what_it_found")),
    ("docs/INSTALL.md", "runner-vitals --once --sink", Run(HERE, "it_says_when_no_server_takes_a_line")),
    ("docs/OPERATE.md", "logcli query ", Run(HERE, "a_trail_is_got")),
    ("docs/OPERATE.md", "vitals-hub diagnose fixtures/", Run(HERE, "a_death_is_read_step_by_step")),
    ("docs/OPERATE.md", "oom-guest: guest_oom", Run(HERE, "a_death_is_read_step_by_step")),
    ("docs/OPERATE.md", "vitals-hub diagnose --loki ", Run(HERE, "loki_is_asked_itself")),
    ("docs/OPERATE.md", "grep event=", Run(HERE, "a_death_is_read_step_by_step")),
    ("docs/OPERATE.md", "vitals-hub diagnose --html ", Run(HERE, "a_death_is_read_step_by_step")),
    ("docs/OPERATE.md", "vitals-hub diagnose --all ", Run(HERE, "a_death_is_read_step_by_step")),
    ("docs/SIDECAR.md", "runner-vitals --sink ", Run(HERE, "lines_go_off_by_network")),
    ("docs/SURVIVAL.md", "RUNNER_VITALS_MATRIX=all", Parsed("real guests: half an hour")),
    ("docs/TRY.md", "cargo build --release", Parsed(BUILDS)),
    ("docs/TRY.md", "systemd-run --user", Run(TRY, "the_page_for_users_does_what_it_says")),
    ("docs/TRY.md", "cg=/sys/fs/cgroup/try\n", Run(TRY, "the_page_for_root_does_what_it_says")),
    ("docs/TRY.md", "cg=/sys/fs/cgroup/memory/try\n", Run(TRY, "the_page_for_root_does_what_it_says")),
    ("docs/TRY.md", "vitals-hub diagnose trail.log", Run(TRY, "the_page_for_root_does_what_it_says")),
    ("docs/TRY.md", "trail: cgroup_oom", Run(TRY, "the_page_for_root_does_what_it_says")),
    ("docs/VERDICTS.md", "vitals-hub diagnose pod.log  ", Run(HERE, "every_way_to_diagnose")),
    ("fuzz/README.md", "fuzz/run ", Parsed("the gate runs fuzz/run")),
    (
        "image/examples/README.md",
        "/opt/runner-vitals/tell-phase.sh ready",
        Run(HERE, "a_phase_is_told_before_the_agent"),
    ),
];

#[test]
fn every_command_is_run_or_has_a_reason_why_not() {
    let mut met = BTreeSet::new();
    for block in blocks().iter().filter(|block| block.kind() == Kind::Shell) {
        let mine = |(page, begins, _): &&(&str, &str, How)| *page == block.page && block.text.starts_with(begins);
        let rows: Vec<_> = TABLE.iter().filter(mine).collect();
        assert_eq!(
            rows.len(),
            1,
            "{} has a command that tests/docs/table.rs has in {} rows:\n{}",
            block.page,
            rows.len(),
            block.text
        );
        met.insert((rows[0].0, rows[0].1));
    }
    for (page, begins, how) in TABLE {
        assert!(met.contains(&(*page, *begins)), "{page} no longer has {begins}");
        if let Run(file, name) = how {
            let test = read(file);
            assert!(test.contains(&format!("#[test]\nfn {name}()")), "{file} has no test {name}");
            // Here it names the block that it runs.
            let literal = format!("{:?}", begins.trim_end());
            assert!(
                !file.starts_with("tests/docs/") || test.contains(literal.trim_matches('"')),
                "{name} does not run {begins}"
            );
        }
    }
}

#[test]
fn commands_that_are_not_run_would_be_understood() {
    for (page, begins, how) in TABLE {
        if let Parsed(why) = how {
            assert!(why.len() > 10, "{page}: {begins}: why is it not run?");
            parsed::would_be_understood(page, begins);
        }
    }
}
