//! The files that settings name: each error says which setting.

use std::fs;

use crate::client::Client;
use crate::hub::{Hub, command, line, token_line};
use crate::until;

const KUBERNETES: &[&str] = &["--auth", "kubernetes", "--audience", "a", "--namespace", "*"];
const LOKI: &[&str] = &["--auth", "none", "--loki", "http://127.0.0.1:1"];
const TAIL: &[&str] = &["--auth", "none", "--tail-loki", "http://127.0.0.1:1", "--tail-query", "{a=\"b\"}"];

/// Every setting of a file, as an error names it, and what goes with it.
const FILES: [(&str, &[&str]); 12] = [
    ("--auth tokens=", &[]),
    ("--auth jwks=", &["--issuer", "i", "--audience", "a", "--namespace", "*"]),
    ("--kubeconfig ", KUBERNETES),
    ("--fleet-file ", &["--auth", "none"]),
    ("--page-tokens-file ", &["--auth", "none"]),
    ("--ca-file ", &["--auth", "none"]),
    ("--tls-cert ", &["--auth", "none", "--tls-key", "/dev/null"]),
    ("--tls-key ", &["--auth", "none", "--tls-cert", "/dev/null"]),
    ("--loki-token-file ", LOKI),
    ("--loki-basic-auth-file ", LOKI),
    ("--tail-loki-token-file ", TAIL),
    ("--tail-loki-basic-auth-file ", TAIL),
];

/// RFC 7517, appendix A.1.
const A_KEY_SET: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "1",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

/// A hub with this file, which ends at once; its code, and what it said.
fn ends(setting: &str, path: &str, others: &[&str]) -> (Option<i32>, String) {
    let given = format!("{setting}{path}");
    let (flag, value) = given.split_once(' ').unwrap();
    let out = command().args(["serve", "--listen", "127.0.0.1:0", flag, value]).args(others).output().unwrap();
    (out.status.code(), String::from_utf8(out.stderr).unwrap())
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_its_setting_at_the_start() {
    for (setting, others) in FILES {
        for (path, why) in [("/no/such/file", "No such file"), ("/", "Is a directory")] {
            let (code, said) = ends(setting, path, others);
            let said = said.lines().last().unwrap_or_default();
            let is_named = said.starts_with(&format!("vitals-hub: {setting}{path}: "));
            assert!(code == Some(78) && is_named && said.contains(why), "{setting}{path}: {code:?} {said}");
        }
    }
}

#[test]
fn an_address_in_use_is_told_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, others) in [("--listen", &[][..]), ("--metrics-listen", &["--listen", "127.0.0.1:0"])] {
        let out = command().args(["serve", "--auth", "none", flag, &address]).args(others).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        let is_named = said.lines().last().unwrap().starts_with(&format!("vitals-hub: {flag} {address}: "));
        assert!(out.status.code() == Some(71) && is_named, "{flag}: {:?} {said}", out.status);
    }
}

#[test]
fn every_setting_of_a_file_is_among_them() {
    let help = String::from_utf8(command().args(["serve", "--help"]).output().unwrap().stdout).unwrap();
    let flags = help.lines().filter_map(|line| Some(line.split_once("--")?.1.split_once(" <FILE>")?.0));
    let missing: Vec<&str> =
        flags.filter(|flag| !FILES.iter().any(|(setting, _)| *setting == format!("--{flag} "))).collect();
    assert!(missing.is_empty() && help.contains("--ca-file <FILE>"), "{missing:?} {help}");
}

/// Waits until the hub has told this.
fn until_told(hub: &Hub, what: &str) {
    until(what, || hub.log.lock().unwrap().iter().any(|line| line.contains(what)).then_some(()));
}

#[test]
fn a_file_that_is_read_again_is_told_with_its_setting_too() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let files = [
        ("--fleet-file ", path("fleets"), "[[fleet]]\n".to_owned()),
        ("--tls-cert ", path("cert"), made.cert.pem()),
        ("--tls-key ", path("key"), made.signing_key.serialize_pem()),
        ("--auth tokens=", path("tokens"), token_line("runner-1")),
        ("--page-tokens-file ", path("readers"), token_line("reader-1")),
    ];
    let mut flags = Vec::new();
    for (setting, path, text) in &files {
        fs::write(path, text).unwrap();
        let given = format!("{setting}{path}");
        flags.extend(given.split(' ').map(str::to_owned));
    }
    let hub = Hub::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    for (setting, path, text) in &files {
        fs::remove_file(path).unwrap();
        until_told(&hub, &format!("{setting}{path}: No such file"));
        fs::write(path, "broken").unwrap();
        until(setting, || {
            let is_told = |line: &String| line.contains("not taken") && line.contains(&format!("{setting}{path}: "));
            hub.log.lock().unwrap().iter().any(is_told).then_some(())
        });
        fs::write(path, text).unwrap();
    }
}

#[test]
fn a_key_set_that_is_gone_is_told_with_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    fs::write(&keys, A_KEY_SET).unwrap();
    let auth = format!("jwks={}", keys.display());
    let hub = Hub::start(&["--auth", &auth, "--issuer", "https://i", "--audience", "a", "--namespace", "*"]);
    fs::remove_file(&keys).unwrap();
    let told = format!("--auth {auth}");
    until("the missing keys", || {
        assert!(matches!(Client::connect(hub.address).post("runner-1", line(1).as_bytes()).status, 401 | 503));
        hub.log.lock().unwrap().iter().any(|line| line.contains(&told) && line.contains("No such file")).then_some(())
    });
}
