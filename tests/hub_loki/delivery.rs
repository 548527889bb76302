//! What is acknowledged is stored, whatever Loki does, and stored once.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use runner_vitals::hub::named::NamedFile;
use runner_vitals::hub::serve::auth::Sender;
use runner_vitals::hub::serve::out::loki::{
    CONNECTIONS, Credentials, Loki, LokiError, LokiMetrics, Patience, Settings,
};
use runner_vitals::hub::serve::out::{Placed, Stuck};
use runner_vitals::net::client::Matcher;
use runner_vitals::net::tls::Tls;
use runner_vitals::url::Url;

use crate::loki::{self, Behaviour};

const NOON_S: u64 = 1_780_574_400;

/// Far longer than anything takes that is not stuck.
const GENEROUS: Duration = Duration::from_secs(60);

/// Enough for some tries.
const PATIENT: Patience = Patience { push: Duration::from_secs(1), put: Duration::from_secs(30) };

/// For what does not come.
const IMPATIENT: Patience = Patience { push: Duration::from_secs(1), put: Duration::from_secs(3) };

fn settings(url: &str) -> Settings {
    let labels = vec![("os".to_owned(), "linux".to_owned())];
    let env = Some("production".to_owned());
    Settings { url: Url::parse(url).unwrap(), env, labels, tenant: None, credentials: None, patience: PATIENT }
}

fn loki_with(settings: Settings, tls: Tls) -> (Loki, LokiMetrics) {
    let metrics = LokiMetrics::default();
    let loki = Loki::new(settings, Arc::new(tls), Matcher::builder().build(), metrics.clone()).unwrap();
    (loki, metrics)
}

fn loki(server: &loki::Loki) -> (Loki, LokiMetrics) {
    loki_with(settings(&server.server.url), Tls::new(None))
}

fn impatient(server: &loki::Loki) -> (Loki, LokiMetrics) {
    loki_with(Settings { patience: IMPATIENT, ..settings(&server.server.url) }, Tls::new(None))
}

fn line(runner: &str, fleet: Option<&str>, seq: u64) -> Arc<Placed> {
    line_received(runner, fleet, seq, 1)
}

/// A line of noon that came in so many seconds later.
fn line_received(runner: &str, fleet: Option<&str>, seq: u64, after_s: u64) -> Arc<Placed> {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(NOON_S);
    let sender = Arc::new(Sender { name: runner.to_owned(), fleet: fleet.map(str::to_owned) });
    let line = format!(
        "RUNNER_VITALS ts=2026-06-04T12:00:00.000Z run=k3x9 seq={seq} runner.name={runner} msg=\"a \\\"b\\\"\""
    );
    Arc::new(Placed { sender, received_at: at + Duration::from_secs(after_s), at: Some(at), line })
}

/// A line whose guest had no clock.
fn line_without_ts(seq: u64, after_s: u64) -> Arc<Placed> {
    let placed = line_received("a", Some("large"), seq, after_s);
    let line = placed.line.replace("ts=2026-06-04T12:00:00.000Z", "ts=");
    Arc::new(Placed { at: None, line, ..Placed::clone(&placed) })
}

async fn put(loki: &Loki, lines: &[Arc<Placed>]) -> Result<(), Stuck> {
    tokio::time::timeout(GENEROUS, loki.put(lines)).await.expect("a deadline")
}

/// The URL of one that stores everything, and the most connections that were open there at once.
async fn counts_connections() -> (String, Arc<AtomicUsize>) {
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", tcp.local_addr().unwrap());
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let told = Arc::clone(&most);
    tokio::spawn(async move {
        loop {
            let (stream, _) = tcp.accept().await.unwrap();
            most.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let open = Arc::clone(&open);
            tokio::spawn(async move {
                let stores = hyper::service::service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
                    axum::body::to_bytes(Body::new(request.into_body()), 1 << 20).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    let stored = Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty()).unwrap();
                    Ok::<Response, Infallible>(stored)
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), stores).await;
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    (url, told)
}

#[tokio::test]
async fn there_are_only_so_many_connections_for_however_many_fleets() {
    let (url, most) = counts_connections().await;
    let loki = Arc::new(loki_with(settings(&url), Tls::new(None)).0);
    for seq in 1..=3 {
        let puts = (0..5 * CONNECTIONS).map(|fleet| {
            let loki = Arc::clone(&loki);
            tokio::spawn(async move { put(&loki, &[line("a", Some(&format!("fleet-{fleet}")), seq)]).await })
        });
        for put in puts.collect::<Vec<_>>() {
            put.await.unwrap().expect("each has its turn");
        }
    }
    // Those that are closed here may not be closed there yet.
    let most = most.load(Ordering::Relaxed);
    assert!((CONNECTIONS..=2 * CONNECTIONS).contains(&most), "{most}");
}

#[tokio::test]
async fn lines_are_a_stream_of_their_fleet() {
    let server = loki::Loki::plain().await;
    let (loki, metrics) = loki(&server);
    put(&loki, &[line("a", Some("large"), 1), line("a", Some("large"), 2)]).await.unwrap();
    put(&loki, &[line("b", None, 1)]).await.unwrap();
    put(&loki, &[]).await.unwrap();
    let stored = server.stored();
    assert_eq!(stored.len(), 3);
    let labels = |fleet: &[(&str, &str)]| {
        let all = [("job", "runner-vitals"), ("env", "production"), ("os", "linux")];
        all.iter().chain(fleet).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    for (stored, runner, seq, fleet) in [
        (&stored[0], "a", 1, &[("fleet", "large")][..]),
        (&stored[2], "a", 2, &[("fleet", "large")]),
        (&stored[1], "b", 1, &[]),
    ] {
        assert_eq!(stored.at_ns, NOON_S * 1_000_000_000 + seq, "distinct by the line's number");
        assert_eq!(stored.line, line(runner, None, seq).line, "every byte of it");
        assert_eq!(stored.labels, labels(fleet));
        let metadata = [("runner", runner), ("recv", "2026-06-04T12:00:01.000Z")];
        assert_eq!(stored.metadata, metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
    assert_eq!((metrics.stored.get(), metrics.refused.get(), metrics.waiting_bytes.get()), (3, 0, 0));
    assert_eq!(loki.health(), Ok(()));
}

#[tokio::test]
async fn what_comes_while_a_push_is_on_its_way_goes_with_the_next() {
    let server = loki::Loki::plain().await;
    server.next([Behaviour::Slow(Duration::from_millis(300))]);
    let loki = Arc::new(loki(&server).0);
    let puts = (0..100).map(|runner| {
        let loki = Arc::clone(&loki);
        tokio::spawn(async move { put(&loki, &[line(&format!("r-{runner}"), Some("large"), 1)]).await })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap().unwrap();
    }
    assert_eq!(server.lines().len(), 100);
    assert!(server.pushes() <= 4, "{} pushes", server.pushes());
}

#[tokio::test]
async fn what_fails_for_a_while_is_stored_once() {
    for trouble in [
        vec![Behaviour::Answer(StatusCode::INTERNAL_SERVER_ERROR), Behaviour::Answer(StatusCode::SERVICE_UNAVAILABLE)],
        vec![Behaviour::Answer(StatusCode::TOO_MANY_REQUESTS)],
        vec![Behaviour::StoreHalf],
        vec![Behaviour::Answer(StatusCode::UNAUTHORIZED), Behaviour::Answer(StatusCode::FORBIDDEN)],
        vec![Behaviour::Answer(StatusCode::FOUND), Behaviour::Answer(StatusCode::NOT_FOUND)],
        vec![Behaviour::StoreAndHide],
    ] {
        let server = loki::Loki::plain().await;
        server.next(trouble.clone());
        let (loki, metrics) = loki(&server);
        let lines: Vec<_> = (0..8).map(|seq| line("a", Some("large"), seq)).collect();
        assert_eq!(put(&loki, &lines).await, Ok(()), "{trouble:?}");
        let expected: Vec<String> = lines.iter().map(|line| line.line.clone()).collect();
        assert_eq!(server.lines(), expected, "{trouble:?}");
        assert_eq!(metrics.stored.get(), 8, "{trouble:?}");
        assert_eq!(metrics.failed_pushes.get(), trouble.len() as u64, "{trouble:?}");
    }
}

#[tokio::test]
async fn what_is_refused_for_good_is_counted_and_done_with() {
    let behind = Behaviour::TooFarBehind(NOON_S * 1_000_000_000 + 2);
    for (refusal, stored) in [(behind, 2), (Behaviour::Answer(StatusCode::UNPROCESSABLE_ENTITY), 0)] {
        let server = loki::Loki::plain().await;
        server.next([refusal.clone()]);
        let (loki, metrics) = loki(&server);
        let lines: Vec<_> = (0..4).map(|seq| line("a", Some("large"), seq)).collect();
        assert_eq!(put(&loki, &lines).await, Ok(()), "{refusal:?}");
        assert_eq!((server.lines().len(), server.pushes()), (stored, 1), "{refusal:?}");
        assert_eq!((metrics.stored.get(), metrics.refused.get()), (0, 4), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_refusal_by_what_is_no_loki_is_not_final() {
    let statuses = [200, 400, 404, 413, 422].map(|status| StatusCode::from_u16(status).unwrap());
    for judged in statuses.map(|status| tokio::spawn(no_loki_answers(status))) {
        judged.await.unwrap();
    }
}

async fn no_loki_answers(status: StatusCode) {
    let server = loki::Loki::plain().await;
    // Of nothing, 422 would be Loki's word.
    server.known().nothing = if status == StatusCode::UNPROCESSABLE_ENTITY { StatusCode::BAD_REQUEST } else { status };
    server.known().always = Behaviour::Answer(status);
    let (loki, metrics) = impatient(&server);
    let lines = [line("a", Some("large"), 1)];
    let told = put(&loki, &lines).await.unwrap_err();
    assert!(told.0.contains(&format!("no Loki? answered {}: as it was told", status.as_u16())), "{told:?}");
    assert_eq!((metrics.stored.get(), metrics.refused.get()), (0, 0), "{status}");
    assert!(metrics.unrecognized.get() >= 1, "{status}");
    assert!(metrics.failed_pushes.get() >= metrics.unrecognized.get(), "{status}");

    // The URL is mended, or what stood before it.
    server.known().nothing = StatusCode::UNPROCESSABLE_ENTITY;
    server.known().always = Behaviour::Store;
    let is_out = async { while put(&loki, &lines).await.is_err() {} };
    tokio::time::timeout(GENEROUS, is_out).await.expect("it is stored");
    assert_eq!(server.lines().len(), 1, "{status}");
}

#[tokio::test]
async fn who_has_taken_lines_is_a_loki() {
    let server = loki::Loki::plain().await;
    server.known().nothing = StatusCode::BAD_REQUEST;
    let (loki, metrics) = loki(&server);
    assert_eq!(put(&loki, &[line("a", Some("large"), 1)]).await, Ok(()));
    server.known().always = Behaviour::Answer(StatusCode::BAD_REQUEST);
    assert_eq!(put(&loki, &[line("a", Some("large"), 2)]).await, Ok(()), "now its word is final");
    assert_eq!((metrics.stored.get(), metrics.refused.get(), metrics.unrecognized.get()), (1, 1, 0));
}

#[tokio::test]
async fn what_is_too_large_is_pushed_in_parts() {
    let server = loki::Loki::plain().await;
    server.known().always = Behaviour::Most(8 * 1024);
    let (loki, metrics) = loki(&server);
    let lines: Vec<_> = (0..200).map(|seq| line("a", Some("large"), seq)).collect();
    assert_eq!(put(&loki, &lines).await, Ok(()));
    assert_eq!((server.lines().len(), metrics.stored.get(), metrics.refused.get()), (200, 200, 0));
    let before = server.pushes();
    assert_eq!(put(&loki, &(200..400).map(|seq| line("a", Some("large"), seq)).collect::<Vec<_>>()).await, Ok(()));
    assert_eq!(server.lines().len(), 400);
    assert!(server.pushes() - before < 30, "it is learned: {} pushes", server.pushes() - before);
}

#[tokio::test]
async fn where_only_one_line_fits_each_goes_alone() {
    let server = loki::Loki::plain().await;
    server.known().always = Behaviour::Most(400);
    let (loki, metrics) = loki(&server);
    let lines: Vec<_> = (0..20).map(|seq| line("a", Some("large"), seq)).collect();
    assert_eq!(put(&loki, &lines).await, Ok(()));
    assert_eq!((server.lines().len(), metrics.refused.get()), (20, 0));
    assert!(server.pushes() < 40, "it is learned: {} pushes", server.pushes());

    server.known().always = Behaviour::Store;
    let before = server.pushes();
    let lines: Vec<_> = (20..420).map(|seq| line("a", Some("large"), seq)).collect();
    assert_eq!(put(&loki, &lines).await, Ok(()));
    assert!(server.pushes() - before < 200, "and not for ever: {} pushes", server.pushes() - before);
}

#[tokio::test]
async fn what_is_too_large_however_small_is_refused_at_leisure() {
    let server = loki::Loki::plain().await;
    server.known().always = Behaviour::Most(0);
    let (loki, metrics) = impatient(&server);
    let lines: Vec<_> = (0..50).map(|seq| line("a", Some("large"), seq)).collect();
    assert!(put(&loki, &lines).await.is_err(), "fifty waits are longer than its patience");
    assert_eq!(metrics.stored.get(), 0);
    // Six halvings at once, and then a wait for each line.
    let (pushes, refused) = (server.pushes() as u64, metrics.refused.get());
    assert!((1..30).contains(&refused) && pushes <= 7 + 2 * refused, "{refused} refused in {pushes} pushes");
}

#[tokio::test]
async fn nothing_of_what_loki_does_not_take_is_acknowledged() {
    let server = loki::Loki::plain().await;
    server.known().always = Behaviour::Answer(StatusCode::INTERNAL_SERVER_ERROR);
    let (loki, metrics) = impatient(&server);
    let lines = [line("a", Some("large"), 1)];
    let hangs = async {
        let mut health = loki.health();
        while health.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            health = loki.health();
        }
        health
    };
    let hangs = async { tokio::time::timeout(GENEROUS, hangs).await.expect("it is told while it lasts") };
    let (told, health) = tokio::join!(put(&loki, &lines), hangs);
    assert!(told.clone().unwrap_err().0.contains("500"), "{told:?}");
    assert!(health.clone().unwrap_err().0.contains("500"), "{health:?}");
    let is_well = async {
        while loki.health().is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(GENEROUS, is_well).await.expect("nobody waits any more: the next one tries");
    assert!(metrics.failed_pushes.get() >= 3);

    // It comes back, and the guest does: with the same line, which came in later.
    server.known().always = Behaviour::Store;
    // It may wait out a back-off longer than its patience; then the guest comes once more.
    let is_out = async { while put(&loki, &[line_received("a", Some("large"), 1, 60)]).await.is_err() {} };
    tokio::time::timeout(GENEROUS, is_out).await.expect("it is stored");
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_retry_of_what_was_stored_unseen_is_stored_once() {
    let server = loki::Loki::plain().await;
    server.known().always = Behaviour::StoreAndHide;
    let (loki, _) = impatient(&server);
    assert!(put(&loki, &[line("a", Some("large"), 1)]).await.is_err());
    assert_eq!(server.lines().len(), 1);
    server.known().always = Behaviour::Store;
    // What came in first is remembered: `recv` is the same, too.
    assert_eq!(put(&loki, &[line_received("a", Some("large"), 1, 30)]).await, Ok(()));
    assert_eq!(server.stored().len(), 1);
    // A hub that has been started anew knows that no more: the entry's time is the same, so both stand together.
    let (restarted, _) = crate::delivery::loki(&server);
    assert_eq!(put(&restarted, &[line_received("a", Some("large"), 1, 60)]).await, Ok(()));
    let stored = server.stored();
    let times: Vec<u64> = stored.iter().map(|stored| stored.at_ns).collect();
    assert_eq!(times, [NOON_S * 1_000_000_000 + 1; 2]);
    assert_eq!(stored[0].line, stored[1].line);
}

#[tokio::test]
async fn a_line_without_a_time_is_stored_once_too() {
    let server = loki::Loki::plain().await;
    server.known().always = Behaviour::StoreAndHide;
    let (loki, _) = impatient(&server);
    assert!(put(&loki, &[line_without_ts(7, 1)]).await.is_err());
    server.known().always = Behaviour::Store;
    assert_eq!(put(&loki, &[line_without_ts(7, 30)]).await, Ok(()));
    let times: Vec<u64> = server.stored().iter().map(|stored| stored.at_ns).collect();
    assert_eq!(times, [(NOON_S + 1) * 1_000_000_000 + 7], "of when it first came in");
}

#[tokio::test]
async fn a_line_of_another_time_is_stored_where_loki_takes_it() {
    let server = loki::Loki::plain().await;
    let (loki, metrics) = loki(&server);
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(NOON_S);
    let (day, century) = (Duration::from_hours(24), Duration::from_hours(24 * 365 * 100));
    let times = [noon - day, noon + day, SystemTime::UNIX_EPOCH, noon + century];
    let of = |(seq, at): (u64, SystemTime)| {
        Arc::new(Placed { at: Some(at), received_at: noon, ..Placed::clone(&line("a", Some("large"), seq)) })
    };
    let lines: Vec<_> = (0..).zip(times).map(of).collect();
    assert_eq!(put(&loki, &lines).await, Ok(()));
    assert_eq!((metrics.stored.get(), metrics.refused.get()), (4, 0));
    for stored in server.stored() {
        let ahead_s = (stored.at_ns / 1_000_000_000).cast_signed() - NOON_S.cast_signed();
        assert!((-3600 + 1..600).contains(&ahead_s), "{ahead_s} s ahead");
    }
}

#[tokio::test]
async fn a_dead_loki_is_told() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (loki, metrics) =
        loki_with(Settings { patience: IMPATIENT, ..settings(&format!("http://{closed}")) }, Tls::new(None));
    let told = put(&loki, &[line("a", None, 1)]).await.unwrap_err();
    assert!(told.0.contains("connection refused"), "{told:?}");
    assert_eq!(metrics.stored.get() + metrics.refused.get(), 0);
}

#[tokio::test]
async fn one_fleet_does_not_wait_for_another() {
    let server = loki::Loki::plain().await;
    server.next([Behaviour::Slow(Duration::from_secs(3))]);
    let patience = Patience { push: Duration::from_secs(30), ..PATIENT };
    let settings = Settings { patience, ..settings(&server.server.url) };
    let loki = Arc::new(loki_with(settings, Tls::new(None)).0);
    let slow = {
        let loki = Arc::clone(&loki);
        tokio::spawn(async move { put(&loki, &[line("a", Some("large"), 1)]).await })
    };
    while server.pushes() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(put(&loki, &[line("b", Some("small"), 1)]).await, Ok(()));
    assert!(!slow.is_finished());
    assert_eq!(slow.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let server = loki::Loki::plain().await;
    server.known().always = Behaviour::Answer(StatusCode::INTERNAL_SERVER_ERROR);
    let (loki, metrics) = loki(&server);
    let long = |seq| {
        let mut placed = Placed::clone(&line("a", Some("large"), seq));
        placed.line.push_str(&"x".repeat(3500));
        Arc::new(placed)
    };
    let lines: Vec<_> = (0..5000).map(long).collect();
    let told = tokio::time::timeout(Duration::from_secs(5), loki.put(&lines)).await.expect("at once");
    assert!(told.clone().unwrap_err().0.contains("too many"), "{told:?}");
    assert_eq!(metrics.unremembered.get(), 0);
    server.known().always = Behaviour::Store;
    assert_eq!(put(&loki, &lines[..2000]).await, Ok(()), "room that was not taken is there");
}

#[tokio::test]
async fn it_pushes_as_whom_it_is_told() {
    let server = loki::Loki::tls().await;
    let dir = tempfile::tempdir().unwrap();
    let (ca_file, secret) = (dir.path().join("ca.pem"), dir.path().join("secret"));
    std::fs::write(&ca_file, server.server.certificate.as_ref().unwrap()).unwrap();
    std::fs::write(&secret, "user:password\n").unwrap();
    let with = |credentials| Settings {
        patience: IMPATIENT,
        tenant: Some("fleet-1".to_owned()),
        credentials: Some(credentials),
        ..settings(&server.server.url)
    };
    let tls = || Tls::new(Some(ca_file.clone()));
    let header = |name: &str| server.known().pushes.last().unwrap().0[name].to_str().unwrap().to_owned();
    let (basic, _) = loki_with(with(Credentials::Basic(NamedFile::new("--basic", secret.clone()))), tls());
    put(&basic, &[line("a", None, 1)]).await.unwrap();
    assert_eq!(header("authorization"), "Basic dXNlcjpwYXNzd29yZA==");
    assert_eq!(header("x-scope-orgid"), "fleet-1");
    let (bearer, _) = loki_with(with(Credentials::Bearer(NamedFile::new("--token", secret.clone()))), tls());
    std::fs::write(&secret, "old").unwrap();
    put(&bearer, &[line("a", None, 2)]).await.unwrap();
    assert_eq!(header("authorization"), "Bearer old");

    // A new token is taken at once, also for what was refused with the old one.
    server.next([Behaviour::Answer(StatusCode::UNAUTHORIZED)]);
    std::fs::write(&secret, "new").unwrap();
    put(&bearer, &[line("a", None, 3)]).await.unwrap();
    assert_eq!(header("authorization"), "Bearer new");
    assert!(!format!("{bearer:?}").contains("new"), "no secret is told");
    std::fs::remove_file(&secret).unwrap();
    let told = put(&bearer, &[line("a", None, 4)]).await.unwrap_err();
    assert!(told.0.contains("--token /") && told.0.contains("secret: No such file"), "{told:?}");
}

#[test]
fn wrong_settings_are_told_at_the_start() {
    let new =
        |settings| Loki::new(settings, Arc::new(Tls::new(None)), Matcher::builder().build(), LokiMetrics::default());
    let url = "http://loki:3100";
    assert!(new(settings(url)).is_ok());
    let credentials = Some(Credentials::Bearer(NamedFile::new("--token", "/token".into())));
    let exposed = new(Settings { credentials: credentials.clone(), ..settings(url) }).unwrap_err();
    assert!(matches!(exposed, LokiError::Exposed(_)), "{exposed}");
    assert!(new(Settings { credentials, ..settings("http://127.0.0.1") }).is_ok());
    for tenant in ["", "a\nb"] {
        assert_eq!(new(Settings { tenant: Some(tenant.to_owned()), ..settings(url) }).unwrap_err(), LokiError::Tenant);
    }
    let labels = vec![("a-b".to_owned(), "x".to_owned())];
    assert!(new(Settings { labels, ..settings(url) }).unwrap_err().to_string().contains("a-b"));
}
