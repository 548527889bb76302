//! Real guests that really die: the shipped binary in Linux guests under QEMU, next to a bare C loop.
//!
//! Each test boots one guest or a few, one at a time, and holds what came out of the probe's own serial port, stamped
//! with the host's clock, against the bounds of [`scenario`]. All that was heard is kept below `target/microvm/heard`.
//! CONTRIBUTING.md has the commands for the whole matrix of scenarios and forms, and for one scenario alone.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod figures;
mod image;
mod judge;
mod machine;
mod play;
mod scenario;
#[path = "../support/skip.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod skip;
mod survival;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use image::Image;
use play::{Company, Stage};
use scenario::{Form, Scenario};
use survival::Outcome;

/// One guest at a time: two would measure each other.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn the_job_and_its_neighbours_use_up_what_there_is() {
    hold(
        "the_job_and_its_neighbours_use_up_what_there_is",
        &[
            "idle",
            "oom-guest",
            "oom-guest-fast",
            "oom-cgroup",
            "oom-sidecar",
            "thrash-high",
            "cpu-starve",
            "cpu-busy",
            "page-cache",
            "cpu-quota",
        ],
        &[Form::ROOT],
    );
}

#[test]
fn what_is_full_is_told() {
    hold("what_is_full_is_told", &["disk-full", "inodes-full", "pids-full"], &[Form::ROOT]);
}

#[test]
fn the_page_cache_is_all_but_gone() {
    hold("the_page_cache_is_all_but_gone", &["thrash-files", "livelock"], &[Form::ROOT]);
}

#[test]
fn the_killer_comes_for_the_probe() {
    hold("the_killer_comes_for_the_probe", &["oom-group", "oom-adj"], &[Form::ROOT, Form::USER]);
}

#[test]
fn it_is_told_to_end_or_held() {
    hold("it_is_told_to_end_or_held", &["sigterm", "held", "paused"], &[Form::ROOT]);
}

#[test]
fn without_privileges_a_kill_is_counted() {
    hold("without_privileges_a_kill_is_counted", &["oom-guest", "oom-cgroup"], &[Form::USER, Form::CONTAINER]);
}

#[test]
fn behind_a_pipe_nothing_is_lost() {
    hold("behind_a_pipe_nothing_is_lost", &["oom-guest"], &[Form::ROOT_PIPE, Form::CONTAINER_PIPE]);
}

#[test]
fn other_kernels() {
    hold("other_kernels", &["psi-off", "cgroup-v1", "cgroup-none"], &[Form::ROOT]);
}

#[test]
fn the_guest_ends() {
    hold("the_guest_ends", &["power-off", "reboot", "panic-on-oom", "power-cut"], &[Form::ROOT]);
}

/// Only when it is asked for: RUNNER_VITALS_MATRIX is `all`, or a scenario's name; RUNNER_VITALS_FORM one form's.
#[test]
fn matrix() {
    let Ok(which) = std::env::var("RUNNER_VITALS_MATRIX") else { return };
    let form = std::env::var("RUNNER_VITALS_FORM").ok();
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(image) = image::image("matrix") else { return };
    let scenarios: Vec<_> = match which.as_str() {
        "all" => scenario::ALL.iter().collect(),
        name => vec![scenario::named(name)],
    };
    let forms = Form::ALL.into_iter().filter(|known| form.as_ref().is_none_or(|name| known.name() == *name));
    let mut outcomes = Vec::new();
    let mut stage = Stage::default();
    for scenario in scenarios {
        for form in forms.clone().filter(|form| scenario.boot.is_empty() || *form == Form::ROOT) {
            outcomes.push(play(&mut stage, &image, scenario, form, Company::BareAndShell));
        }
    }
    let tables = survival::tables(&outcomes);
    eprintln!("{tables}");
    if which == "all" && form.is_none() {
        survival::write_document(&tables);
        outcomes.iter().for_each(survival::write_trail);
    }
    assert_holds(&outcomes);
}

/// Plays these scenarios in each form and fails with all that does not hold.
fn hold(test: &str, scenarios: &[&str], forms: &[Form]) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(image) = image::image(test) else { return };
    let mut stage = Stage::default();
    let mut outcomes = Vec::new();
    for form in forms {
        for name in scenarios {
            outcomes.push(play(&mut stage, &image, scenario::named(name), *form, Company::Bare));
        }
    }
    eprintln!("{}", survival::tables(&outcomes));
    assert_holds(&outcomes);
}

/// A guest that cannot be brought through a scenario is a fault of that scenario, not the end of the others.
fn play(stage: &mut Stage, image: &Image, scenario: &'static Scenario, form: Form, company: Company) -> Outcome {
    let played = catch_unwind(AssertUnwindSafe(|| stage.play(image, scenario, form, company)));
    let (trail, faults) = match played {
        Ok(trail) => {
            let faults = judge::faults(scenario, form, &trail);
            (Some(trail), faults)
        }
        Err(_) => (None, vec!["the guest could not be brought through it: see above".to_owned()]),
    };
    let outcome = Outcome { scenario, form, trail, faults };
    survival::write_record(&outcome);
    let told = if outcome.faults.is_empty() { "holds".to_owned() } else { outcome.faults.join("; ") };
    eprintln!("{} as {}: {told}", scenario.name, form.name());
    outcome
}

fn assert_holds(outcomes: &[Outcome]) {
    let of = |outcome: &Outcome| -> Vec<String> {
        let name = format!("{} as {}", outcome.scenario.name, outcome.form.name());
        outcome.faults.iter().map(|fault| format!("{name}: {fault}")).collect()
    };
    let faults: Vec<String> = outcomes.iter().flat_map(of).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
