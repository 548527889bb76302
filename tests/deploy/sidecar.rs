//! What the two containers of the sidecar's Pod run, run: the real script and the real probe.

use std::fs;
use std::process::{Command, Stdio};

use clap::Parser as _;
use runner_vitals::line::field;
use runner_vitals::probe::config::{Args, Config};

use crate::examples::sidecar;
use crate::probe::{Probe, command};
use crate::support::{list, string, strings};

/// Settings as the probe understands them: none of them is clamped or ignored.
#[test]
fn the_probe_takes_its_settings() {
    let (vitals, _) = sidecar();
    let args = strings(&vitals["args"]);
    let script = string(&vitals["command"][2]);
    assert!(script.contains(r#"--cgroup-of "$(cat /vitals/pid)" "$@""#));
    let given = [&["runner-vitals", "--cgroup-of", "7"], &args[..]].concat();
    let args = Args::try_parse_from(given).unwrap();
    let env = list(&vitals["env"]).iter().map(|one| {
        let value =
            one["value"].as_str().unwrap_or(if string(&one["name"]).ends_with("LIMIT") { "8589934592" } else { "x" });
        (string(&one["name"]).to_owned(), value.to_owned())
    });
    let env: Vec<(String, String)> = env.collect();
    let config = Config::new(args, |name| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.into()));
    assert_eq!(config.adjusted, []);
    assert!(!config.sinks.is_stdout && config.sinks.network.len() == 1);
    let runner = &config.runner;
    assert!(runner.name.is_some() && runner.fleet.is_some() && runner.env.is_some() && runner.image.is_some());
    assert!(runner.mem_limit_bytes.is_some());
}

/// The sidecar waits for the runner's pid and then watches that process's cgroup.
#[test]
fn the_sidecar_watches_the_runners_cgroup() {
    let (vitals, runner) = sidecar();
    let dir = tempfile::tempdir().unwrap();
    let here = |text: &str| text.replace("/vitals/", &format!("{}/", dir.path().display()));
    let sh = strings(&vitals["command"]);
    assert_eq!((&sh[..2], sh[3]), (&["/bin/sh", "-c"][..], "vitals"));
    let probe = command(&[]);
    let script = here(sh[2]).replace("/usr/local/bin/runner-vitals", probe.get_program().to_str().unwrap());
    let mut waits = Command::new(sh[0]);
    waits.args([sh[1], &script, sh[3], "--interval", "1"]).stdin(Stdio::null()).stdout(Stdio::piped());
    for (name, value) in probe.get_envs() {
        assert!(value.is_none());
        waits.env_remove(name);
    }
    let mut waiting = Probe::spawn(&mut waits);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(waiting.child.try_wait().unwrap().is_none(), "there is no pid yet");

    let job = here(string(&runner["command"][2])).replace("./run.sh", "sleep 60");
    let mut job = Command::new("/bin/sh").args(["-c", &job]).stdin(Stdio::null()).spawn().unwrap();
    let start = waiting.next_of(Some("start"));
    let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
    assert_eq!(pid.trim(), job.id().to_string());
    // The cgroup itself can be the same here, so what counts is what was asked for.
    let words = fs::read_to_string(format!("/proc/{}/cmdline", waiting.child.id())).unwrap();
    assert!(words.contains(&format!("\0--cgroup-of\0{}\0--interval\01\0", job.id())), "{words:?}");
    assert!(start.text_of(field::CGROUP_PATH).is_some());
    waiting.signal(rustix::process::Signal::TERM);
    waiting.finish();
    job.kill().unwrap();
    job.wait().unwrap();
}

/// Nothing about the file may cost the job.
#[test]
fn a_runner_runs_without_the_volume() {
    let (_, runner) = sidecar();
    let job = string(&runner["command"][2]).replace("/vitals/", "/nonexistent/").replace("./run.sh", "echo ran");
    let output = Command::new("/bin/sh").args(["-c", &job]).output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"ran\n"[..]));
}
