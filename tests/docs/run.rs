//! Runs what the pages say, with the real programs.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use runner_vitals::probe::config::{Args, Config};
use rustix::process::{Pid, Signal, kill_process};

use crate::endpoint::{Reply, Server};
use crate::pages::{ROOT, block, read};
use crate::stage::{Stage, commands, texts};
use crate::stand_in::{Entry, StandIn};

fn fixture(name: &str) -> String {
    read(&format!("fixtures/trail/{name}.log"))
}

/// A captured trail as Loki has it, of the latest minute.
fn stored(pod: &str, name: &str) -> Vec<Entry> {
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    let text = fixture(name);
    let at = |nth: usize| now - 60_000_000_000 + nth as u64 * 1_000_000;
    text.lines().enumerate().map(|(nth, line)| (at(nth), pod.to_owned(), line.to_owned())).collect()
}

#[test]
fn the_first_two_commands_do_what_they_say() {
    let stage = Stage::new();
    // Cargo would run this build of it.
    let pid = stage.path("pid").display().to_string();
    let run = format!("[[ $1 != run ]] || {{ echo $$ >'{pid}'; exec runner-vitals; }}\n{}", stage.recorder("cargo"));
    stage.script("bin/cargo", &run);
    let mut bash = stage.bash(&block("README.md", "cargo run --release ")).spawn().unwrap();
    let mut lines = BufReader::new(bash.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains(" event=start "));
    let sample = lines.find(|line| !line.contains(" event=")).unwrap();
    assert!(sample.starts_with("RUNNER_VITALS ts=") && sample.contains(" vm.mem.avail.kb="), "{sample}");
    // Ctrl-C.
    let pid: i32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    assert!(lines.last().unwrap().contains(" event=stop reason=sigint "));
    assert!(bash.wait().unwrap().success());
    assert_eq!(stage.called(), [["cargo", "test"]]);
    // What it prints is of the same kind.
    let page = read("README.md");
    let keys = |line: &str| {
        line.split(' ').map(|word| word.split('=').next().unwrap().to_owned()).take(20).collect::<Vec<_>>()
    };
    let shown = page.lines().find_map(|line| line.strip_prefix("    RUNNER_VITALS ")).unwrap();
    assert_eq!(keys(&format!("RUNNER_VITALS {shown}")), keys(&sample), "the contract's fields come first");
}

#[test]
fn the_readme_diagnoses() {
    let stage = Stage::new();
    stage.write("pod.log", &fixture("oom-cgroup"));
    fs::create_dir_all(stage.at_root("/var/log/vitals/x").parent().unwrap()).unwrap();
    fs::write(stage.at_root("/var/log/vitals/a.log"), fixture("power-cut")).unwrap();
    let loki = StandIn::plain(stored("runner-7", "oom-guest")).with(|known| known.tenant = Some("ci"));
    let script = block("README.md", "vitals-hub diagnose pod.log\n").replace("https://loki.example", &loki.server.url);
    let (out, log) = stage.run(&script);
    for says in ["pod: cgroup_oom (", "runner-7: guest_oom (", "outside_guest"] {
        assert!(out.contains(says), "{says}: {out}{log}");
    }
    assert!(fs::read_to_string(stage.path("work/page.html")).unwrap().contains("guest_oom"));
}

#[test]
fn every_way_to_diagnose() {
    let stage = Stage::new();
    stage.write("pod.log", &fixture("oom-cgroup"));
    stage.write("token", "t\n");
    fs::write(stage.at_root("/var/log/vitals/a.log"), fixture("power-cut")).unwrap();
    // `logcli -o jsonl`
    let answer: String = fixture("disk-full")
        .lines()
        .map(|line| serde_json::json!({ "labels": { "pod": "runner-9" }, "line": line, "timestamp": "2026-11-24T18:00:00Z" }))
        .map(|entry| format!("{entry}\n"))
        .collect();
    stage.write("answer.jsonl", &answer);
    stage.script("bin/logcli", &format!("cat answer.jsonl\n{}", stage.recorder("logcli")));
    let known = StandIn::plain(stored("runner-7", "oom-guest"))
        .with(|known| (known.tenant, known.authorization) = (Some("ci"), Some("Bearer t")));
    let open = StandIn::plain(stored("runner-8", "oom-sidecar"));
    let script = block("docs/VERDICTS.md", "vitals-hub diagnose pod.log  ")
        .replace("https://loki.example", &known.server.url)
        .replace("http://localhost:3100", &open.server.url);
    let (out, log) = stage.run(&script);
    for says in ["pod: cgroup_oom (", "outside_guest", "\"runner\": \"runner-9\"", "runner-7: guest_oom (", "runner-8"]
    {
        assert!(out.contains(says), "{says}: {out}{log}");
    }
    assert_eq!(stage.called(), [["logcli", "query", "-o", "jsonl", "{namespace=\"runners\"} |= \"RUNNER_VITALS\""]]);
    assert!(stage.path("work/page.html").exists());
}

#[test]
fn every_way_to_look_at_fleets() {
    let stage = Stage::new();
    let phase = |run: &str, at: &str, phase: &str| {
        format!(
            "RUNNER_VITALS ts=2026-06-04T11:{at}.000Z run={run} seq=1 event=phase phase={phase} runner.name=r-1 runner.fleet=linux-4 runner.env=prod\n"
        )
    };
    let log = phase("k3x9", "30:00", "warming") + &phase("k3xa", "30:20", "ready");
    fs::write(stage.at_root("/var/log/vitals/a.log"), log).unwrap();
    let page = read("docs/FLEET.md");
    stage.write("fleets.toml", page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap());
    let loki = StandIn::plain(stored("runner-7", "oom-guest"));
    for script in
        [block("README.md", "vitals-hub fleet --fleets "), block("docs/FLEET.md", "vitals-hub fleet /var/log/vitals")]
    {
        let (out, log) = stage.run(&script.replace("https://loki.example", &loki.server.url));
        assert!(out.contains("prod linux-4: 1 runners, "), "{out}{log}");
        let page = fs::read_to_string(stage.path("work/fleet.html")).unwrap();
        assert!(page.contains("prod linux-4"), "{page}");
        fs::remove_file(stage.path("work/fleet.html")).unwrap();
    }
}

#[test]
fn exec_runs_its_job() {
    let stage = Stage::new();
    stage.script("work/run.sh", "echo \"job: $*\"");
    let script = format!("JIT_CONFIG=abc\n{}", block("README.md", "runner-vitals exec -- "));
    let (out, _) = stage.run(&script);
    assert!(out.lines().any(|line| line == "job: --jitconfig abc"), "{out}");
    assert!(out.lines().last().unwrap().contains(" event=stop reason=job_exit job.exit=0"), "{out}");
}

/// Each command until a server has had its lines.
#[test]
fn lines_go_off_by_network() {
    for (page, begins) in [("README.md", "runner-vitals --sink "), ("docs/SIDECAR.md", "runner-vitals --sink ")] {
        for command in commands(&block(page, begins)) {
            let stage = Stage::new();
            fs::write(stage.at_root("/var/run/token"), "abc\n").unwrap();
            let secret = "token=ghs_0123456789012345678901234567890123456\n";
            for name in ["Worker_1.log", "Runner_1.log"] {
                fs::write(stage.at_root(&format!("/home/runner/_diag/{name}")), secret).unwrap();
            }
            let server = Server::start(|_, _| Reply::of(204));
            let url = format!("http://{}", server.address);
            let script = ["hub.example", "vitals.example", "loki.example"]
                .iter()
                .fold(format!("exec {command}"), |script, host| script.replace(&format!("https://{host}"), &url));
            assert!(script.contains(&url), "{script}");
            // Not through `timeout`: the signal is for the probe.
            let mut bash = Command::new("bash");
            let made = stage.bash("");
            bash.args(["-c", &stage.rooted(&script)]).current_dir(stage.path("work"));
            made.get_envs().for_each(|(name, value)| _ = value.map(|value| bash.env(name, value)));
            bash.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            let mut probe = bash.spawn().unwrap();
            let mut sent = String::new();
            let wants_log = command.contains("--follow");
            while !(sent.contains("event=start") && (!wants_log || sent.contains("RUNNER_LOG "))) {
                let request = server.next();
                if request.method != "POST" {
                    continue; // it asks for the time
                }
                let is_loki = request.target == "/loki/api/v1/push";
                assert_eq!(is_loki, command.contains("loki+"), "{}", request.target);
                assert_eq!(request.header("authorization"), command.contains("--token-file").then_some("Bearer abc"));
                assert_eq!(request.header("x-scope-orgid"), command.contains("--loki-tenant").then_some("ci"));
                sent += &request.text();
            }
            assert!(!sent.contains("ghs_0"), "{sent}");
            kill_process(Pid::from_child(&probe), Signal::TERM).unwrap();
            let mut out = String::new();
            probe.stdout.take().unwrap().read_to_string(&mut out).unwrap();
            assert!(probe.wait().unwrap().success(), "{command}");
            assert_eq!(
                out.contains("event=stop reason=sigterm"),
                command.contains("--sink stdout"),
                "{command}: {out}"
            );
        }
    }
}

#[test]
fn it_says_what_it_found() {
    let (out, _) = Stage::new().run(&block("docs/INSTALL.md", "runner-vitals --once\n"));
    let start = out.lines().next().unwrap();
    for key in ["kmsg", "psi", "caps", "protect", "triggers"] {
        assert!(start.contains(&format!(" {key}=")), "{key}: {start}");
    }
}

#[test]
fn it_says_when_no_server_takes_a_line() {
    let stage = Stage::new();
    fs::write(stage.at_root("/etc/vitals-token"), "abc\n").unwrap();
    // Nobody listens there any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let script = block("docs/INSTALL.md", "runner-vitals --once --sink");
    let (out, log) = stage.run(&script.replace("https://hub.example:8443", &format!("http://{gone}")));
    assert!(out.is_empty() && log.contains("refused"), "{out}{log}");
}

#[test]
fn it_installs_as_a_service_of_systemd() {
    let stage = Stage::new();
    ["systemctl", "systemd-sysusers"].iter().for_each(|name| stage.stand_in(name));
    stage.link("image");
    fs::copy(env!("CARGO_BIN_EXE_runner-vitals"), stage.path("work/runner-vitals")).unwrap();
    for folder in ["/usr/local/bin/x", "/usr/lib/sysusers.d/x", "/etc/systemd/system/x"] {
        stage.at_root(folder);
    }
    stage.run(&block("docs/INSTALL.md", "install -m 755 runner-vitals /usr/local/bin/\ninstall"));
    assert!(
        stage.at_root("/usr/local/bin/runner-vitals").exists()
            && stage.at_root("/usr/lib/sysusers.d/runner-vitals.conf").exists()
    );
    let unit = fs::read_to_string(stage.at_root("/etc/systemd/system/runner-vitals.service")).unwrap();
    assert!(
        unit.contains("ExecStart=/usr/local/bin/runner-vitals")
            && unit.contains("EnvironmentFile=-/etc/runner-vitals.env")
    );
    assert_eq!(stage.called(), [vec!["systemd-sysusers"], vec!["systemctl", "enable", "--now", "runner-vitals"]]);
    // Each is a setting that the probe takes as it is.
    let text = fs::read_to_string(stage.at_root("/etc/runner-vitals.env")).unwrap();
    let settings: Vec<(&str, &str)> = text.lines().map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(settings.len(), 3);
    let args = || <Args as clap::Parser>::try_parse_from(["runner-vitals"]).unwrap();
    let set =
        Config::new(args(), |name| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into()));
    assert!(set.adjusted.is_empty(), "{:?}", set.adjusted);
    assert_eq!(set.sinks.network.len(), 1);
    assert_ne!(set.target, Config::new(args(), |_| None).target);
}

/// Started as the unit says, with the settings that the page writes, it gets a job and runs it beside the probe.
#[test]
fn it_installs_as_a_service_that_polls_for_jobs() {
    let stage = Stage::new();
    stage.stand_in("systemctl");
    stage.link("image");
    fs::copy(env!("CARGO_BIN_EXE_runner-vitals"), stage.path("work/runner-vitals")).unwrap();
    for folder in ["/usr/local/bin/x", "/etc/systemd/system/x", "/home/runner/x"] {
        stage.at_root(folder);
    }
    fs::write(stage.at_root("/etc/dispatch-token"), "abc\n").unwrap();
    let server = Server::start(|_, _| Reply::of(200));
    let url = format!("http://{}", server.address);
    let script = block("docs/INSTALL.md", "install -m 755 runner-vitals image/run-job.sh");
    stage.run(&script.replace("https://dispatcher.example", &url).replace("https://hub.example:8443", &url));
    assert_eq!(stage.called(), [["systemctl", "enable", "--now", "runner-dispatch"]]);
    let unit = fs::read_to_string(stage.at_root("/etc/systemd/system/runner-dispatch.service")).unwrap();
    let of_unit = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    assert_eq!((of_unit("EnvironmentFile="), of_unit("User=")), ("/etc/runner-vitals.env", "runner"));
    stage.script("root/home/runner/run.sh", "echo the job");
    let settings = fs::read_to_string(stage.at_root("/etc/runner-vitals.env")).unwrap();
    // As the page has them: the stage puts its root in front once more.
    let settings = settings.replace(&stage.path("root").display().to_string(), "");
    let exports: String = settings.lines().map(|line| format!("export {line}\n")).collect();
    let (start, folder) = (of_unit("ExecStart="), of_unit("WorkingDirectory="));
    let probe = "export RUNNER_VITALS_BIN=/usr/local/bin/runner-vitals";
    let (out, log) = stage.run(&format!("{exports}{probe}\ncd {folder}/\nexec {start}"));
    assert!(out.contains("the job\n") && out.contains(" event=phase phase=claimed "), "{out}{log}");
    assert!(out.contains(" event=start ") && out.contains(" event=stop "), "{out}{log}");
    let poll = std::iter::repeat_with(|| server.next()).find(|request| request.target == "/dispatch").unwrap();
    assert_eq!((poll.header("authorization"), poll.text().as_str()), (Some("Bearer abc"), "{}"));
}

#[test]
fn it_installs_as_a_job_of_launchd() {
    let stage = Stage::new();
    ["plutil", "launchctl"].iter().for_each(|name| stage.stand_in(name));
    stage.link("image");
    stage.write("runner-vitals", "");
    for folder in ["/usr/local/bin/x", "/Library/LaunchDaemons/x"] {
        stage.at_root(folder);
    }
    stage.run(&block("docs/INSTALL.md", "install -m 755 runner-vitals /usr/local/bin/\ncp"));
    let plist = stage.at_root("/Library/LaunchDaemons/runner-vitals.plist");
    let text = fs::read_to_string(&plist).unwrap();
    assert!(
        text.contains("<string>/usr/local/bin/runner-vitals</string>")
            && text.contains("<key>EnvironmentVariables</key>")
    );
    let called = stage.called();
    assert_eq!(called[0][..4], ["plutil", "-replace", "EnvironmentVariables.RUNNER_VITALS_URL", "-string"]);
    assert_eq!(called[0][5..], [plist.display().to_string()]);
    assert_eq!(
        called[1],
        ["launchctl".to_owned(), "bootstrap".to_owned(), "system".to_owned(), plist.display().to_string()]
    );
}

#[test]
fn a_release_is_checked_and_unpacked() {
    let stage = Stage::new();
    stage.stand_in("gh");
    let script = block("docs/INSTALL.md", "sha256sum --check");
    let version = format!("runner-vitals-{}-x86_64-unknown-linux-musl.tar.gz", env!("CARGO_PKG_VERSION"));
    assert_eq!(script.matches(&version).count(), 2, "the page's version is another: {script}");
    // As a release packs it.
    for name in ["programs/runner-vitals", "programs/vitals-hub", "pages/man/runner-vitals.1"] {
        stage.write(name, name);
    }
    let mut pack = Command::new(format!("{ROOT}/.ci/pack"));
    pack.args(["x86_64-unknown-linux-musl", "programs", "pages", "."]).current_dir(stage.path("work"));
    assert!(pack.status().unwrap().success());
    let (out, _) =
        stage.run(&format!("sha256sum *.tar.gz >SHA256SUMS\necho '{}  other' >>SHA256SUMS\n{script}", "0".repeat(64)));
    assert!(out.contains(&format!("{version}: OK")), "{out}");
    let folder = stage.path("work").join(version.strip_suffix(".tar.gz").unwrap());
    for name in ["runner-vitals", "vitals-hub", "man/runner-vitals.1", "image/run-job.sh", "LICENSE-MIT"] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    // One that is not whole is noticed.
    fs::write(stage.path("work").join(&version), "x").unwrap();
    assert!(!stage.bash(&script).status().unwrap().success());
}

#[test]
fn a_trail_is_got() {
    let stage = Stage::new();
    stage.script("bin/logcli", &format!("echo answer\n{}", stage.recorder("logcli")));
    for (day, line) in [("2026-06-04", "first"), ("2026-06-05", "second")] {
        fs::write(stage.at_root(&format!("/var/lib/vitals/{day}/runner-7.log")), format!("{line}\n")).unwrap();
    }
    stage.run(&block("docs/OPERATE.md", "logcli query "));
    assert_eq!(fs::read_to_string(stage.path("work/runner-7.jsonl")).unwrap(), "answer\n");
    assert_eq!(fs::read_to_string(stage.path("work/runner-7.log")).unwrap(), "first\nsecond\n");
    let called = stage.called();
    assert_eq!(called[0][..6], ["logcli", "query", "-o", "jsonl", "--limit", "5000"]);
    assert!(called[0][6].starts_with("{job=\"runner-vitals\", env=\"production\"}"), "{called:?}");
}

#[test]
fn a_death_is_read_step_by_step() {
    let page = "docs/OPERATE.md";
    let stage = Stage::new();
    stage.link("fixtures");
    let (verdict, _) = stage.run(&block(page, "vitals-hub diagnose fixtures/"));
    let shown = block(page, "oom-guest: guest_oom");
    assert!(verdict.starts_with(&shown), "{shown}\n{verdict}");
    let (found, _) = stage.run(&block(page, "grep event="));
    assert!(found.contains("scope=guest victim.comm=hog") && found.contains("event=top comm=hog rank=1"), "{found}");
    stage.run(&block(page, "vitals-hub diagnose --html "));
    assert!(stage.path("work/runner-7.html").exists());
    let (table, _) = stage.run(&block(page, "vitals-hub diagnose --all "));
    assert!(table.contains("guest_oom") && table.contains("outside_guest"), "{table}");
}

#[test]
fn loki_is_asked_itself() {
    let loki = StandIn::plain(stored("runner-7", "oom-guest"));
    let script =
        block("docs/OPERATE.md", "vitals-hub diagnose --loki ").replace("http://loki.loki.svc:3100", &loki.server.url);
    let (out, _) = Stage::new().run(&script);
    assert!(out.contains("guest_oom ("), "{out}");
    assert!(loki.asked()[0]["query"].contains("runner=\"runner-7\""));
}

#[test]
fn a_phase_is_told_before_the_agent() {
    let stage = Stage::new();
    let tell = read("image/examples/tell-phase.sh");
    stage.script("root/opt/runner-vitals/tell-phase.sh", tell.split_once('\n').unwrap().1);
    stage.script("root/usr/local/bin/run-job.sh", read("image/run-job.sh").split_once('\n').unwrap().1);
    stage.script("work/run.sh", "echo the agent");
    let script = block("image/examples/README.md", "/opt/runner-vitals/tell-phase.sh ready");
    let mut bash = stage.bash(&script);
    let phases = stage.path("phases");
    fs::write(&phases, "").unwrap();
    bash.env("RUNNER_VITALS_STDOUT", &phases).env("RUNNER_VITALS_BIN", env!("CARGO_BIN_EXE_runner-vitals"));
    let output = bash.output().unwrap();
    let (out, log) = texts(&output);
    assert!(output.status.success() && out.lines().any(|line| line == "the agent"), "{out}{log}");
    assert!(fs::read_to_string(phases).unwrap().contains(" event=phase phase=ready"), "{log}");
}
