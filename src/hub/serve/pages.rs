//! `GET /fleet`, what fleets are now, and `GET /runners/ID`, what `diagnose` says of one: for readers, for who may write, or for
//! everybody.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::sync::Semaphore;

use crate::hub::diagnose::inputs::Bounds;
use crate::hub::diagnose::{self, Reported};
use crate::hub::live::page;
use crate::hub::trail::loki::Question;
use crate::hub::trail::loki::question::{of_runner, since_1970_ns};

use super::Hub;
use super::door::{self, Wants};
use super::ingest::{self, Answer};
use super::out::dir;
use super::tail;

/// What has a page.
pub const FLEET_PATH: &str = "/fleet";

/// Below it each runner has its report.
pub const RUNNERS_PATH: &str = "/runners";

/// Reports that are made at once: each reads up to [`MOST_BYTES`] twice.
const REPORTS: usize = 2;

/// Of a runner's files, the latest days first, so much is read.
const MOST_BYTES: u64 = 64 << 20;

/// Of Loki's answers, 5,000 lines each at most, so many are read, the newest.
const MOST_PAGES: u64 = 32;

/// How long Loki is read for one report.
const WITHIN: Duration = Duration::from_mins(1);

/// How far back Loki is asked.
const LOKI_SINCE: Duration = Duration::from_hours(24);

/// What a browser may do with a page: nothing but show it.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Who may look, and where lines are.
#[derive(Debug)]
pub struct Pages {
    /// Everybody may.
    pub is_open: bool,
    /// Files by day and runner.
    pub dir: Option<PathBuf>,
    /// Where else lines are, and certificates to trust there.
    pub tail: Option<(tail::Settings, Option<PathBuf>)>,
    reports: Arc<Semaphore>,
}

impl Pages {
    /// Nobody looks yet.
    #[must_use]
    pub fn new(is_open: bool, dir: Option<PathBuf>, tail: Option<tail::Settings>, ca_file: Option<PathBuf>) -> Self {
        let tail = tail.map(|settings| (settings, ca_file));
        Self { is_open, dir, tail, reports: Arc::new(Semaphore::new(REPORTS)) }
    }
}

/// The pages' routes.
pub(super) fn routes(hub: &Arc<Hub>) -> Router {
    Router::new()
        .route(FLEET_PATH, get(fleet))
        .route(&format!("{RUNNERS_PATH}/{{id}}"), get(runner))
        .with_state(Arc::clone(hub))
}

async fn fleet(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = let_in(&hub, from, &headers).await {
        return refusal;
    }
    let now = SystemTime::now();
    let (is, named) = hub.fleets.named(now, page::NAMED);
    html(page::html(&is, &named).into_bytes())
}

async fn runner(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = let_in(&hub, from, &headers).await {
        return refusal;
    }
    if hub.pages.dir.is_none() && hub.pages.tail.is_none() {
        let why = "no lines are kept here: reports are made with --dir or --tail-loki\n";
        return (StatusCode::NOT_FOUND, why).into_response();
    }
    let Ok(turn) = Arc::clone(&hub.pages.reports).try_acquire_owned() else {
        return ingest::busy("other reports are being made");
    };
    let name = id.clone();
    let made = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        report(&hub.pages, &name, SystemTime::now())
    });
    match made.await {
        Ok(Ok((Reported::Written, report))) => html(report),
        Ok(Ok((Reported::Nobody, _))) => (StatusCode::NOT_FOUND, "no line of a runner of that name\n").into_response(),
        Ok(Ok((Reported::Unread(error), _))) => {
            tracing::error!(runner = ?id, ?error, "no report: the lines cannot be read");
            (
                StatusCode::BAD_GATEWAY,
                "the lines could not all be read, and there is none of that runner among the others\n",
            )
                .into_response()
        }
        Ok(Err(error)) => {
            tracing::error!(runner = ?id, %error, "no report: the files cannot be read");
            (StatusCode::INTERNAL_SERVER_ERROR, "the report could not be made\n").into_response()
        }
        // A bug was told.
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the report could not be made\n").into_response(),
    }
}

/// From its files, or, where it has none, from what Loki has of it among the lines that are followed.
fn report(pages: &Pages, runner: &str, now: SystemTime) -> std::io::Result<(Reported, Vec<u8>)> {
    let files = pages.dir.as_deref().map_or(Ok(Vec::new()), |dir| dir::files_of(dir, runner, MOST_BYTES))?;
    let asking = pages.tail.as_ref().filter(|_| files.is_empty());
    let asking = asking.map(|(settings, ca_file)| {
        let from = now.checked_sub(LOKI_SINCE).unwrap_or(SystemTime::UNIX_EPOCH);
        let query = of_runner(&settings.query, runner);
        let question = Question { query, from_ns: since_1970_ns(from), to_ns: since_1970_ns(now) };
        let bounds = Bounds { pages: MOST_PAGES, until: Instant::now().checked_add(WITHIN) };
        (settings.asking(ca_file.clone()), question, bounds)
    });
    let mut report = Vec::new();
    let reported = diagnose::report(&files, asking.as_ref(), runner, now, &mut report)?;
    Ok((reported, report))
}

/// Readers may look, or whoever may write, unless everybody may.
async fn let_in(hub: &Hub, from: SocketAddr, headers: &HeaderMap) -> Result<(), Response> {
    if hub.pages.is_open {
        return Ok(());
    }
    let told = door::let_in(hub, from.ip(), headers, Wants::Look).await;
    told.map(drop).map_err(|refusal| Answer::Refused(refusal).into_response())
}

fn html(page: Vec<u8>) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, page).into_response()
}
