//! Runs what docs/HUB.md says, with a real hub and a real probe.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::pages::block;
use crate::probe::PATIENCE;
use crate::stage::Stage;

/// A port that is free just now.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits for a word in what a child logs, then lets the rest go.
fn logged(child: &mut Child, word: &str) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let told: Vec<String> = lines.by_ref().take_while(|line| !line.contains(word)).collect();
    let is_running = child.try_wait().unwrap().is_none();
    assert!(is_running, "{told:#?}");
    std::thread::spawn(move || lines.for_each(drop));
}

#[test]
fn the_first_run_of_a_hub() {
    let stage = Stage::new();
    let address = format!("127.0.0.1:{}", port());
    // Who types it has to reach for the next line; a script has to wait for the hub.
    let wait = format!("&\nuntil curl -sf http://{address}/healthz >/dev/null; do sleep 0.05; done\n");
    let script = block("docs/HUB.md", "vitals-hub serve --auth none")
        .replace("127.0.0.1:8080", &address)
        .replace("serve --auth none", &format!("serve --auth none --listen {address}"))
        .replace("&\n", &wait);
    fs::create_dir(stage.path("root/tmp")).unwrap();
    let (out, log) = stage.run(&format!("trap 'kill %1; wait %1' EXIT\n{script}"));
    assert!(out.contains(" event=start ") && out.contains(" runner.name=unknown"), "{out}{log}");
}

/// Who is trusted with a certificate for localhost, and that.
fn certificates(stage: &Stage) {
    let cert = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (name, text) in
        [("cert.pem", cert.cert.pem()), ("key.pem", cert.signing_key.serialize_pem()), ("ca.pem", cert.cert.pem())]
    {
        stage.write(name, &text);
    }
}

#[test]
fn a_reader_of_the_pages() {
    let stage = Stage::new();
    let port = port();
    certificates(&stage);
    fs::write(stage.at_root("/etc/vitals-hub/tokens"), "").unwrap();
    let serve = block("docs/HUB-AUTH.md", "token=$(head ")
        .replace("0.0.0.0:8443", &format!("127.0.0.1:{port}"))
        .replace("vitals-hub serve", "exec vitals-hub serve");
    let mut hub = stage.bash(&serve).spawn().unwrap();
    logged(&mut hub, "message=listening");
    let look = block("docs/HUB-AUTH.md", "curl --cacert ").replace("hub.example:8443", &format!("localhost:{port}"));
    let (page, _) = stage.run(&look);
    kill_process(Pid::from_child(&hub), Signal::TERM).unwrap();
    assert!(hub.wait().unwrap().success() && page.contains("Nobody is there."), "{page}");
}

#[test]
fn a_small_fleet() {
    let stage = Stage::new();
    let port = port();
    certificates(&stage);
    stage.at_root("/etc/vitals-token");
    let serve = block("docs/HUB.md", "token=$(head ")
        .replace("0.0.0.0:8443", &format!("127.0.0.1:{port}"))
        .replace("vitals-hub serve", "cp runner-1.token /etc/vitals-token\nexec vitals-hub serve");
    let mut hub = std::os::unix::process::CommandExt::process_group(&mut stage.bash(&serve), 0).spawn().unwrap();
    logged(&mut hub, "message=listening");
    let send = block("docs/HUB.md", "runner-vitals --sink ").replace("hub.example:8443", &format!("localhost:{port}"));
    let (out, log) = stage.run(&send.replace("runner-vitals --sink", "runner-vitals --once --sink"));
    kill_process_group(Pid::from_child(&hub), Signal::TERM).unwrap();
    assert!(out.is_empty() && log.is_empty(), "{out}{log}");
    let deadline = std::time::Instant::now() + PATIENCE;
    while hub.try_wait().unwrap().is_none() {
        assert!(std::time::Instant::now() < deadline, "the hub does not end");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let _ = kill_process(Pid::from_child(&hub), Signal::KILL);
    let days: Vec<_> =
        fs::read_dir(stage.path("root/var/lib/vitals")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let day = days.iter().find(|path| path.is_dir()).unwrap();
    let lines = fs::read_to_string(day.join("runner-1.log")).unwrap();
    assert!(
        lines.contains(" event=start ") && lines.contains(" runner.name=runner-1 runner.fleet=linux runner.env=prod "),
        "{lines}"
    );
}

/// With the settings that the page writes and the unit hands on the real hub starts.
#[test]
fn it_installs_as_a_service_of_systemd() {
    let stage = Stage::new();
    ["systemctl", "systemd-sysusers", "chgrp"].iter().for_each(|name| stage.stand_in(name));
    stage.link("image");
    fs::copy(env!("CARGO_BIN_EXE_vitals-hub"), stage.path("work/vitals-hub")).unwrap();
    let cert = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    stage.write("cert.pem", &cert.cert.pem());
    stage.write("key.pem", &cert.signing_key.serialize_pem());
    for folder in ["/usr/local/bin/x", "/usr/lib/sysusers.d/x", "/etc/systemd/system/x"] {
        stage.at_root(folder);
    }
    stage.run(&block("docs/INSTALL.md", "install -m 755 vitals-hub "));
    let called: Vec<String> = stage.called().iter().map(|call| call[..call.len().min(2)].join(" ")).collect();
    assert_eq!(called, ["systemd-sysusers", "chgrp vitals-hub", "systemctl enable"]);
    let key = stage.at_root("/etc/vitals-hub/key.pem");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(key).unwrap().permissions()) & 0o777, 0o640);
    let unit = fs::read_to_string(stage.at_root("/etc/systemd/system/vitals-hub.service")).unwrap();
    for line in ["ExecStart=/usr/local/bin/vitals-hub serve", "EnvironmentFile=/etc/vitals-hub/env", "User=vitals-hub"]
    {
        assert!(unit.lines().any(|of_unit| of_unit == line), "{line}");
    }
    let users = fs::read_to_string(stage.at_root("/usr/lib/sysusers.d/vitals-hub.conf")).unwrap();
    assert!(users.contains("\nu vitals-hub "), "{users}");
    let settings = fs::read_to_string(stage.at_root("/etc/vitals-hub/env")).unwrap();
    assert!(unit.contains("StateDirectory=vitals\n") && settings.contains("/var/lib/vitals\n"), "{settings}");
    let mut hub = std::process::Command::new(stage.at_root("/usr/local/bin/vitals-hub"));
    let settings = settings.replace("0.0.0.0:8443", "127.0.0.1:0").replace("127.0.0.1:9090", "127.0.0.1:0");
    hub.arg("serve").env_clear().envs(settings.lines().map(|line| line.split_once('=').unwrap()));
    hub.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let mut hub = hub.spawn().unwrap();
    logged(&mut hub, "message=listening");
    kill_process(Pid::from_child(&hub), Signal::TERM).unwrap();
    assert!(hub.wait().unwrap().success());
}
