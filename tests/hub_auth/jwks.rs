//! Offline, by keys from a file or a URL.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use runner_vitals::hub::serve::auth::jwks::{Expected, Jwks, JwksError, Settings, Source};
use runner_vitals::hub::serve::auth::naming::{FleetFrom, FleetPattern, NameFrom, Namespaces, Naming};
use runner_vitals::hub::serve::auth::{Refusal, Sender};
use runner_vitals::net::client::Matcher;
use runner_vitals::net::tls::Tls;
use runner_vitals::url::Url;
use serde_json::{Value, json};

use crate::server::Server;
use crate::tokens::{AUDIENCE, ISSUER, Issuer, after, all, claims_of_pod, now};

/// Far longer than anything takes that is not stuck.
const GENEROUS: Duration = Duration::from_secs(30);

fn settings(source: Source) -> Settings {
    let expected = Expected { issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned() };
    Settings { source, expected, naming: all() }
}

fn jwks(settings: Settings, ca_file: Option<&Path>) -> Result<Jwks, JwksError> {
    let tls = Arc::new(Tls::new(ca_file.map(Path::to_owned)));
    Jwks::new(settings, tls, &Matcher::builder().build(), now())
}

fn of_url(url: &str) -> Jwks {
    jwks(settings(Source::parse(url).unwrap()), None).unwrap()
}

fn set(issuers: &[&Issuer]) -> String {
    json!({"keys": issuers.iter().map(|issuer| issuer.jwk()).collect::<Vec<Value>>()}).to_string()
}

fn sender(name: &str, fleet: Option<&str>) -> Sender {
    Sender { name: name.to_owned(), fleet: fleet.map(str::to_owned) }
}

fn unauthenticated(reason: &'static str) -> Result<Sender, Refusal> {
    Err(Refusal::Unauthenticated(reason))
}

fn forbidden(reason: &'static str, who: &str) -> Result<Sender, Refusal> {
    Err(Refusal::forbidden(reason, who.to_owned()))
}

const UNAVAILABLE: Result<Sender, Refusal> = Err(Refusal::Unavailable("keys"));

/// A server of keys, which counts.
struct KeyServer {
    server: Server,
    answer: Arc<Mutex<(StatusCode, String)>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    async fn new(keys: String) -> Self {
        let answer = Arc::new(Mutex::new((StatusCode::OK, keys)));
        let asked = Arc::new(AtomicUsize::new(0));
        let server = {
            let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
            Server::plain(move |_, _| {
                asked.fetch_add(1, Ordering::Relaxed);
                let (status, body) = answer.lock().unwrap().clone();
                async move { Response::builder().status(status).body(body.into()).unwrap() }
            })
            .await
        };
        Self { server, answer, asked }
    }

    fn answer(&self, status: StatusCode, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn keys_of_a_file_are_read_anew_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    let (old, new) = (Issuer::ec("old"), Issuer::rsa("new"));
    std::fs::write(&path, set(&[&old])).unwrap();
    let jwks = jwks(settings(Source::File(path.clone())), None).unwrap();
    let claims = claims_of_pod("linux-7d4f9-x2x9q", "u-1");
    let (by_old, by_new) = (old.token(&claims), new.token(&claims));
    let good = Ok(sender("linux-7d4f9-x2x9q", None));
    assert_eq!(jwks.sender(&by_old, now()).await, good);
    assert_eq!(jwks.sender(&by_new, now()).await, unauthenticated("unknown_key"));

    std::fs::write(&path, set(&[&new])).unwrap();
    assert_eq!(jwks.sender(&by_new, after(1)).await, good);
    assert_eq!(jwks.sender(&by_old, after(1)).await, unauthenticated("unknown_key"), "what is taken out is out");

    // As a ConfigMap changes: another file in its place.
    let other = dir.path().join("other");
    std::fs::write(&other, set(&[&old, &new])).unwrap();
    std::fs::rename(&other, &path).unwrap();
    assert_eq!(jwks.sender(&by_old, after(2)).await, good);

    // What cannot be read costs nothing while it is known, and judges nothing that is not.
    for (at_s, text) in [(3, "{\"keys\": ["), (5, "{}"), (7, "")] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(jwks.sender(&by_old, after(at_s)).await, good, "{text}");
        let unknown = Issuer::ec("unknown").token(&claims);
        assert_eq!(jwks.sender(&unknown, after(at_s + 1)).await, UNAVAILABLE, "{text}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(jwks.sender(&by_old, after(9)).await, good);
    assert_eq!(jwks.sender(&by_old, after(2 + 24 * 60 * 60)).await, UNAVAILABLE, "nobody vouches for it any more");
}

#[tokio::test]
async fn keys_of_a_url_are_fetched_when_they_are_needed() {
    let (old, new) = (Issuer::ec("old"), Issuer::ec("new"));
    let server = KeyServer::new(set(&[&old])).await;
    let jwks = of_url(&format!("{}/openid/v1/jwks", server.server.url));
    let claims = {
        let mut claims = claims_of_pod("pod-1", "u-1");
        claims["exp"] = json!(4_000_000_000_u64);
        claims
    };
    let (by_old, by_new) = (old.token(&claims), new.token(&claims));
    assert_eq!(server.asked(), 0);
    let good = Ok(sender("pod-1", None));
    assert_eq!(jwks.sender(&by_old, now()).await, good);
    assert_eq!(jwks.sender(&by_old, after(299)).await, good);
    assert_eq!(server.asked(), 1);

    // An unknown key is looked for, but not by every token that names one.
    server.answer(StatusCode::OK, &set(&[&old, &new]));
    assert_eq!(jwks.sender(&by_new, after(9)).await, unauthenticated("unknown_key"));
    assert_eq!(server.asked(), 1);
    assert_eq!(jwks.sender(&by_new, after(10)).await, good);
    for at_s in 11..20 {
        let made_up = Issuer::ec(&format!("made-up-{at_s}")).token(&claims);
        assert_eq!(jwks.sender(&made_up, after(at_s)).await, unauthenticated("unknown_key"));
    }
    assert_eq!(server.asked(), 2);

    // Old keys are replaced in the background.
    server.answer(StatusCode::OK, &set(&[&new]));
    assert_eq!(jwks.sender(&by_old, after(310)).await, good);
    let replaced = async {
        while jwks.sender(&by_old, after(311)).await == good {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(GENEROUS, replaced).await.expect("newer keys");
    assert_eq!(server.asked(), 3);

    // An issuer that is away costs nothing for a day.
    server.answer(StatusCode::BAD_GATEWAY, "");
    assert_eq!(jwks.sender(&by_new, after(400)).await, good);
    assert_eq!(jwks.sender(&by_new, after(24 * 60 * 60)).await, good);
    assert_eq!(jwks.sender(&by_old, after(24 * 60 * 60 + 60)).await, UNAVAILABLE, "it may be a newer one");
    assert_eq!(jwks.sender(&by_new, after(24 * 60 * 60 + 400)).await, UNAVAILABLE);
    server.answer(StatusCode::OK, &set(&[&new]));
    assert_eq!(jwks.sender(&by_new, after(24 * 60 * 60 + 410)).await, good);
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_well_is_no_judgement() {
    let issuer = Issuer::ec("a");
    let token = issuer.token(&claims_of_pod("pod-1", "u-1"));
    let server = KeyServer::new(String::new()).await;
    let jwks = of_url(&server.server.url);
    let long = format!("{}{}", set(&[&issuer]), " ".repeat(64 * 1024));
    for (tries, (status, body)) in [
        (StatusCode::OK, ""),
        (StatusCode::OK, "<html>"),
        (StatusCode::OK, "{\"keys\":[]}"),
        (StatusCode::OK, long.as_str()),
        (StatusCode::NOT_FOUND, set(&[&issuer]).as_str()),
        (StatusCode::FOUND, set(&[&issuer]).as_str()),
    ]
    .into_iter()
    .enumerate()
    {
        server.answer(status, body);
        assert_eq!(jwks.sender(&token, after(tries as u64 * 10)).await, UNAVAILABLE, "{status} {tries}");
        assert_eq!(jwks.sender(&token, after(tries as u64 * 10 + 9)).await, UNAVAILABLE, "{status} {tries}");
        assert_eq!(server.asked(), tries + 1);
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(of_url(&format!("http://{closed}")).sender(&token, now()).await, UNAVAILABLE);
}

#[tokio::test]
async fn a_slow_issuer_costs_no_more_than_the_deadline() {
    let slow = Server::plain(|_, _| std::future::pending::<Response>()).await;
    let token = Issuer::ec("a").token(&claims_of_pod("pod-1", "u-1"));
    let jwks = of_url(&slow.url);
    let all = async { tokio::join!(jwks.sender(&token, now()), jwks.sender(&token, now())) };
    assert_eq!(tokio::time::timeout(GENEROUS, all).await.expect("a deadline"), (UNAVAILABLE, UNAVAILABLE));
}

#[tokio::test]
async fn many_requests_are_one_question() {
    let issuer = Issuer::ec("a");
    let server = KeyServer::new(set(&[&issuer])).await;
    let jwks = Arc::new(of_url(&server.server.url));
    let token = Arc::new(issuer.token(&claims_of_pod("pod-1", "u-1")));
    let requests = (0..50).map(|_| {
        let (jwks, token) = (Arc::clone(&jwks), Arc::clone(&token));
        tokio::spawn(async move { jwks.sender(&token, now()).await })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap(), Ok(sender("pod-1", None)));
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn keys_come_through_tls_from_whom_is_trusted() {
    let issuer = Issuer::ec("a");
    let token = issuer.token(&claims_of_pod("pod-1", "u-1"));
    let keys = set(&[&issuer]);
    let server = Server::tls(move |_, _| {
        let keys = keys.clone();
        async move { Response::new(keys.into()) }
    })
    .await;
    let ca_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca_file.path(), server.certificate.as_ref().unwrap()).unwrap();
    let source = || settings(Source::parse(&server.url).unwrap());
    let trusting = jwks(source(), Some(ca_file.path())).unwrap();
    assert_eq!(trusting.sender(&token, now()).await, Ok(sender("pod-1", None)));
    assert_eq!(jwks(source(), None).unwrap().sender(&token, now()).await, UNAVAILABLE, "the system knows it not");
}

#[tokio::test]
async fn a_good_token_of_no_runner_is_forbidden() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    let issuer = Issuer::ec("a");
    std::fs::write(&path, set(&[&issuer])).unwrap();
    let with = |naming: Naming| jwks(Settings { naming, ..settings(Source::File(path.clone())) }, None).unwrap();
    let pod = claims_of_pod("mac-7d4f9-x2x9q", "u-1");
    let but = |name: &str, value: Value| {
        let mut claims = pod.clone();
        claims[name] = value;
        claims
    };
    let pattern = || FleetFrom::Pattern(FleetPattern::parse("(.+)-[a-z0-9]+-[a-z0-9]+").unwrap());
    let by_account = || Naming { name_from: NameFrom::ServiceAccount, ..all() };
    let elsewhere = || Naming { namespaces: Namespaces::Of(vec!["x".to_owned()]), ..all() };
    for (naming, claims, expected) in [
        (Naming { fleet_from: pattern(), ..all() }, pod.clone(), Ok(sender("mac-7d4f9-x2x9q", Some("mac")))),
        (by_account(), pod.clone(), Ok(sender("runner-sa", None))),
        (by_account(), but("kubernetes.io", json!(null)), Ok(sender("runner-sa", None))),
        (all(), but("kubernetes.io", json!(null)), forbidden("no_pod", "runners/runner-sa")),
        (all(), but("sub", json!("admin")), forbidden("no_service_account", "admin")),
        (all(), but("sub", json!(null)), forbidden("no_service_account", "")),
        (elsewhere(), pod.clone(), forbidden("namespace", "runners/mac-7d4f9-x2x9q")),
        (all(), but("exp", json!(0)), unauthenticated("expired")),
        (all(), but("aud", json!("other")), unauthenticated("audience")),
    ] {
        assert_eq!(with(naming.clone()).sender(&issuer.token(&claims), now()).await, expected, "{naming:?} {claims}");
    }
    let oversized = "x".repeat(8 * 1024 + 1);
    assert_eq!(with(all()).sender(&oversized, now()).await, unauthenticated("oversized"));
    assert_eq!(with(all()).sender("", now()).await, unauthenticated("malformed"));
}

#[test]
fn wrong_settings_are_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    for (text, says) in
        [(None, "No such file"), (Some("{}"), "no JSON Web Key Set"), (Some("{\"keys\":[{}]}"), "none of its 1 keys")]
    {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let error = jwks(settings(Source::File(path.clone())), None).unwrap_err().to_string();
        assert!(error.contains(says) && error.starts_with(&format!("--auth jwks={}: ", path.display())), "{error}");
    }
    std::fs::write(&path, set(&[&Issuer::ec("a")])).unwrap();
    let with = |expected: Expected, naming| Settings { source: Source::File(path.clone()), expected, naming };
    let expected = |issuer: &str, audience: &str| Expected { issuer: issuer.to_owned(), audience: audience.to_owned() };
    let label = Naming { fleet_from: FleetFrom::Label("fleet".to_owned()), ..all() };
    for (settings, error) in [
        (with(expected("", AUDIENCE), all()), JwksError::Empty("issuer")),
        (with(expected(ISSUER, ""), all()), JwksError::Empty("audience")),
        (with(expected(ISSUER, AUDIENCE), label), JwksError::Label),
    ] {
        assert_eq!(jwks(settings, None).unwrap_err(), error);
    }
}

#[test]
fn a_source_is_a_path_or_a_url() {
    assert_eq!(Source::parse("/etc/jwks.json"), Ok(Source::File("/etc/jwks.json".into())));
    assert_eq!(Source::parse("httpx"), Ok(Source::File("httpx".into())));
    for url in ["https://issuer/keys", "HTTPS://issuer/keys", "http://127.0.0.1:80/keys", "http://localhost"] {
        assert_eq!(Source::parse(url), Ok(Source::Url(Url::parse(url).unwrap())));
    }
    let exposed = Source::parse("http://issuer/keys").unwrap_err();
    assert!(matches!(exposed, JwksError::Exposed(_)) && exposed.to_string().contains("https"), "{exposed}");
    let error = Source::parse("https://user:secret@issuer/keys").unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}
