//! `vitals-hub serve`, the real binary, between a cluster that knows the senders and a Loki that takes their lines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(all(feature = "hub", target_os = "linux"))]

#[path = "../hub_auth/cluster.rs"]
#[allow(dead_code, reason = "what its own tests use of it")]
mod cluster;
mod hub;
#[path = "../hub_loki/loki.rs"]
#[allow(dead_code, reason = "what its own tests use of it")]
mod loki;
#[path = "../support/hub.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod running;
#[path = "../support/server.rs"]
mod server;
#[path = "../hub_auth/tokens.rs"]
#[allow(dead_code, reason = "what its own tests use of it")]
mod tokens;

use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use serde_json::{Value, json};

use cluster::Cluster;
use hub::Hub;
use loki::{Behaviour, Loki};
use tokens::{AUDIENCE, ISSUER, Issuer, claims_of_pod};

/// Claims that are good by the clock of the machine.
fn claims_now(pod: &str, uid: &str) -> Value {
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut claims = claims_of_pod(pod, uid);
    claims["nbf"] = json!(now_s - 10);
    claims["exp"] = json!(now_s + 600);
    claims
}

/// A line of this moment.
fn line(seq: u64) -> String {
    let now = humantime::format_rfc3339_millis(SystemTime::now());
    format!("RUNNER_VITALS ts={now} run=k3x9 seq={seq} runner.name=forged load1=0.30\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_go_from_a_pod_to_its_fleets_stream() {
    let (cluster, loki) = (Cluster::tls().await, Loki::tls().await);
    let token = Issuer::ec("a").token(&claims_now("pod-1", "u-1"));
    cluster.add(&token, "pod-1", "u-1", &json!({"tuist.dev/fleet": "linux-large"}));
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, loki.server.certificate.as_ref().unwrap()).unwrap();
    let auth = format!(
        "--auth kubernetes --audience {AUDIENCE} --namespace runners --kubeconfig {} --fleet-label tuist.dev/fleet",
        cluster.kubeconfig.display()
    );
    let out = format!("--loki {} --ca-file {} --env production", loki.server.url, ca_file.display());
    let hub = Hub::start(&format!("{auth} {out} --loki-label os=linux").split(' ').collect::<Vec<_>>());
    let mut guest = hub.guest();
    let body = [line(1), line(2)].concat();
    assert_eq!(guest.post(&token, &body).await, 204);
    assert_eq!(guest.post(&token, &body).await, 204, "a repeat is acknowledged");
    let stored = loki.stored();
    assert_eq!(stored.len(), 2, "and stored once");
    let labels = [("job", "runner-vitals"), ("env", "production"), ("os", "linux"), ("fleet", "linux-large")];
    assert_eq!(stored[0].labels, labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert!(stored[0].metadata["runner"] == "pod-1" && stored[0].metadata.contains_key("recv"), "{:?}", stored[0]);
    let head = "runner.name=pod-1 runner.fleet=linux-large runner.env=production";
    assert!(stored[0].line.contains(head) && !stored[0].line.contains("forged"), "{}", stored[0].line);

    let stranger = Issuer::ec("a").token(&claims_now("pod-2", "u-2"));
    assert_eq!((guest.post(&stranger, &body).await, guest.post("made-up", &body).await), (401, 401));
    let metrics = guest.metrics().await;
    for row in [
        "vitals_hub_auth_total{result=\"accepted\"} 2",
        "vitals_hub_auth_total{result=\"not_authenticated\"} 1",
        "vitals_hub_auth_total{result=\"malformed\"} 1",
        "vitals_hub_loki_stored_lines_total 2",
        "vitals_hub_runners{fleet=\"linux-large\"} 1",
    ] {
        assert!(metrics.lines().any(|line| line == row), "{row} is not in:\n{metrics}");
    }
    assert_eq!(cluster.asked(), (2, 1));

    cluster.known.lock().unwrap().broken = Some(StatusCode::INTERNAL_SERVER_ERROR);
    let other = Issuer::ec("a").token(&claims_now("pod-3", "u-3"));
    assert_eq!(guest.post(&other, &body).await, 503, "who it is cannot be told now");
    assert!(!hub.log().contains(&token), "no token is logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_not_acknowledged_while_loki_is_dead() {
    let loki = Loki::plain().await;
    loki.known().always = Behaviour::Answer(StatusCode::INTERNAL_SERVER_ERROR);
    let dir = tempfile::tempdir().unwrap();
    let (issuer, keys) = (Issuer::rsa("r"), dir.path().join("jwks.json"));
    std::fs::write(&keys, json!({"keys": [issuer.jwk()]}).to_string()).unwrap();
    let auth = format!("jwks={}", keys.display());
    let hub = Hub::start(
        &[
            &[
                "--auth",
                &auth,
                "--issuer",
                ISSUER,
                "--audience",
                AUDIENCE,
                "--namespace",
                "runners",
                "--fleet-pattern",
                "(.+)-[a-z0-9]+-[a-z0-9]+",
            ][..],
            &["--loki", &loki.server.url],
        ]
        .concat(),
    );
    let mut guest = hub.guest();
    let token = issuer.token(&claims_now("mac-7d4f9-x2x9q", "u-1"));
    let body = line(1);
    assert_eq!(guest.post(&token, &body).await, 503);
    assert_eq!(loki.lines().len(), 0);
    loki.known().always = Behaviour::Store;
    let acknowledged = async {
        while guest.post(&token, &body).await != 204 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(hub::PATIENCE, acknowledged).await.expect("it works again");
    let stored = loki.stored();
    assert_eq!((stored.len(), stored[0].labels["fleet"].as_str()), (1, "mac"));

    let mut expired = claims_now("mac-7d4f9-x2x9q", "u-1");
    expired["exp"] = json!(1_700_000_000);
    let mut elsewhere = claims_now("mac-7d4f9-x2x9q", "u-1");
    elsewhere["aud"] = json!("other");
    let mut human = claims_now("x", "y");
    human["sub"] = json!("admin");
    for (claims, status) in [(expired, 401), (elsewhere, 401), (human, 403)] {
        assert_eq!(guest.post(&issuer.token(&claims), &body).await, status, "{claims}");
    }
}

#[test]
fn a_wrong_setting_ends_it_with_a_reason() {
    for (flags, says) in [
        (
            &["--auth", "kubernetes", "--audience", "a", "--namespace", "n", "--kubeconfig", "/no/such/file"][..],
            "--kubeconfig /no/such/file",
        ),
        (&["--auth", "jwks=/no/such/file", "--audience", "a", "--issuer", "i", "--namespace", "n"], "/no/such/file"),
        (&["--auth", "none", "--loki", "http://loki", "--loki-token-file", "f"], "--loki http://loki"),
        (&["--auth", "none", "--loki", "http://loki", "--loki-label", "runner=x"], "--loki-label \"runner\""),
        (&["--auth", "kubernetes"], "--audience"),
        (&["--auth", "kubernetes", "--audience", "a"], "--namespace"),
    ] {
        let (code, told) = hub::ends(flags);
        assert!(code == Some(78) && told.contains(says), "{flags:?}: {code:?} {told}");
    }
}
