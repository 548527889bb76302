//! `vitals-hub serve`, the vitals endpoint: who sent it ([`auth`]), is it ours ([`ingest`]), where it goes ([`out`]).
//!
//! | | |
//! | --- | --- |
//! | `POST /api/internal/runners/vitals` | lines; `docs/LINE.md` has the answers |
//! | `GET /fleet` | what fleets are now |
//! | `GET /runners/ID` | what a runner died of, from the files |
//! | `GET /metrics` | Prometheus' text format |
//! | `GET /healthz` | 200 while it runs |
//! | `GET /readyz` | 200 while lines can go out; 503 says why not |
//!
//! A request goes [`listen`] → [`ingest`] → [`runners`] (its turn, and what is [`seen`]) → [`ways`] → [`out`], and is
//! answered when its lines are out by every way. What it holds meanwhile is taken from one [`budget`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::watch;

pub mod auth;
pub mod budget;
pub mod config;
mod door;
pub mod fleets;
pub mod ingest;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod out;
pub mod pace;
pub mod pages;
mod refusals;
pub mod reload;
pub mod runners;
pub mod seen;
mod start;
pub mod tail;
pub mod tls;
pub mod ways;

use auth::Auth;
use auth::tokens::Tokens;
use budget::Budget;
use config::Config;
use fleets::Fleets;
use metrics::{Metrics, Now};
use pages::Pages;
use refusals::Refusals;
use runners::{Pace, Runners};
use ways::Ways;

/// How often what is old is forgotten.
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// How often it is looked whether a way out hangs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the end waits for who reads Loki, who was told before.
const LAST_READING: Duration = Duration::from_secs(1);

/// What all requests share.
#[derive(Debug)]
pub struct Hub {
    auth: Auth,
    /// Who may look at pages, where not everybody may who sends.
    readers: Option<Tokens>,
    env: Option<String>,
    runners: Runners,
    pace: Pace,
    ways: Ways,
    budget: Budget,
    metrics: Arc<Metrics>,
    fleets: Arc<Fleets>,
    pages: Pages,
    began: Instant,
    refusals: Refusals,
    is_draining: AtomicBool,
    /// Lines that were given back while it drained.
    given_back: AtomicUsize,
}

/// Why the hub did not run, or did not end as it should.
#[derive(Debug)]
pub enum ServeError {
    /// A file that a setting names is not as it should be.
    Setting(String),
    /// The system did not give an address, a folder, a thread.
    System(io::Error),
    /// It was told to end, and lines that were on their way were not out in time, or were given back. None of them was acknowledged.
    Undrained,
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Setting(what) => f.write_str(what),
            Self::System(error) => error.fmt(f),
            Self::Undrained => f.write_str("lines on their way were not out in time; none of them was acknowledged"),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Serves until `stop` says so, and then lets what is on its way come out.
///
/// # Errors
/// When it cannot begin, or lines were still on their way when the time to drain was over, or were given back before.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
    start::raise_open_files();
    let mut files = reload::Files::default();
    let (hub, tls) = start::hub(&config, &mut files).await?;
    let (told, stopped) = watch::channel(false);
    let main = start::port(&config, &hub, tls.as_ref()).await?;
    let side = start::side_port(&config, &hub).await?;
    for watch in reload::watches(files, &config, &hub, tls) {
        tokio::spawn(watch.run(Arc::clone(&hub.metrics)));
    }
    tokio::spawn(forget(Arc::clone(&hub)));
    tokio::spawn(look_at_ways(Arc::clone(&hub)));
    tokio::spawn(look_at_fleets(Arc::clone(&hub)));
    let mut reading = None;
    if let Some(settings) = &config.tail {
        let asking = settings.asking(config.ca_file.clone());
        let loki = start::tail(&asking)?;
        let tail = tail::run(loki, asking, settings.query.clone(), Arc::clone(&hub), stopped.clone());
        reading = Some(tokio::spawn(tail));
    }
    let main = tokio::spawn(listen::serve(main, stopped));
    // Scraped to the end: it is not among what is drained.
    let (_never, never) = watch::channel(false);
    let _side = side.map(|side| tokio::spawn(listen::serve(side, never)));

    stop.await;
    tracing::info!("draining");
    hub.is_draining.store(true, Ordering::Relaxed);
    // Its receiver is the listener, which ends only for this.
    let _ = told.send(true);
    let drained = async {
        let _ = main.await;
        hub.budget.all_back().await;
    };
    let in_time = tokio::time::timeout(config.drain, drained).await;
    if let Some(reading) = reading {
        // It was told with the listener, and what it has at hand takes no time.
        let _ = tokio::time::timeout(LAST_READING, reading).await;
    }
    // A way out may give lines back before the time is over.
    let given_back = hub.given_back.load(Ordering::Relaxed);
    tracing::info!(in_time = in_time.is_ok(), given_back, "ended");
    if in_time.is_ok() && given_back == 0 { Ok(()) } else { Err(ServeError::Undrained) }
}

/// What the main port serves; without metrics and health where those have a port of their own.
fn main_routes(hub: &Arc<Hub>, path: &str, has_side: Side) -> Router {
    let vitals = Router::new().route(path, post(ingest::post)).with_state(Arc::clone(hub)).merge(pages::routes(hub));
    match has_side {
        Side::Own => vitals,
        Side::Shared => vitals.merge(side_routes(hub)),
    }
}

/// Where metrics and health are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Own,
    Shared,
}

fn side_routes(hub: &Arc<Hub>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Arc::clone(hub))
}

async fn scrape(State(hub): State<Arc<Hub>>) -> Response {
    hub.ways.refresh_metrics();
    let uptime = hub.clock();
    let now = Now { runners: hub.runners.by_fleet(uptime), held_bytes: hub.budget.held(), uptime };
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], hub.metrics.text(&now)).into_response()
}

async fn ready(State(hub): State<Arc<Hub>>) -> Response {
    if hub.is_draining.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    match hub.ways.health() {
        Ok(()) => "ready\n".into_response(),
        Err(out::Stuck(why)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

impl Hub {
    /// Since the start: a clock that does not jump.
    fn clock(&self) -> Duration {
        self.began.elapsed()
    }
}

async fn forget(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(FORGET_EVERY).await;
        hub.runners.forget_old(hub.clock());
    }
}

async fn look_at_ways(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        hub.ways.look();
    }
}

async fn look_at_fleets(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(fleets::TICK).await;
        while hub.fleets.tick(SystemTime::now()) {
            tokio::task::yield_now().await;
        }
    }
}
