//! Takes connections and lets nobody hold one for nothing: each wait has a deadline, each buffer a bound.
//!
//! A connection that never says anything costs a task and no buffer. What it can do then: hyper reads its head, at most
//! [`MAX_HEAD_BYTES`]; `paced` bounds how long a head and an answer may take, hyper how long it may idle between two.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::metrics::Metrics;
use super::tls::Tls;

mod paced;

use paced::{Paced, Pacer};

/// The longest head of a request.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// How long a head may take from its first byte, a TLS handshake, a client's first byte, an answer's way out.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection may idle between two requests: longer than the longest interval of a probe.
const IDLE_PATIENCE: Duration = Duration::from_secs(75);

/// Before the next try, when there is no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// What a client is told that is one too many.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A port, and what is served there.
#[derive(Debug)]
pub struct Port {
    /// Where connections come.
    pub listener: TcpListener,
    /// What they are served.
    pub router: Router,
    /// How they are encrypted, if at all.
    pub tls: Option<Arc<Tls>>,
    /// How many there can be at once.
    pub max_connections: u32,
    /// Where they are counted.
    pub metrics: Arc<Metrics>,
}

/// Serves until told to stop; then ends when each request that is there has had its answer. Who has not asked yet is let go
/// at once.
pub async fn serve(port: Port, mut stop: watch::Receiver<bool>) {
    let Port { listener, router, tls, max_connections, metrics } = port;
    let places = Arc::new(Semaphore::new(usize::try_from(max_connections).unwrap_or(usize::MAX >> 4)));
    let service = TowerToHyperService::new(router);
    loop {
        let (stream, from) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    not_accepted(&error, &metrics).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => break,
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics.cut("full");
            // Best effort: it may not even listen.
            let _ = if tls.is_none() { stream.try_write(FULL) } else { Ok(0) };
            continue;
        };
        let (service, tls, metrics) = (service.clone(), tls.clone(), Arc::clone(&metrics));
        let connection = Connection { service, from, tls, metrics, _place: place };
        tokio::spawn(connection.run(stream, stop.clone()));
    }
    drop(listener);
    // It is never closed.
    let _ = places.acquire_many(max_connections).await;
}

/// The address of a setting as the system gave it.
///
/// # Errors
/// With the setting and the address: when it cannot be listened at.
pub async fn bind(setting: &str, address: SocketAddr) -> io::Result<TcpListener> {
    let with_address = |error: io::Error| io::Error::new(error.kind(), format!("{setting} {address}: {error}"));
    TcpListener::bind(address).await.map_err(with_address)
}

/// Waits until told to stop, or nobody is left to tell.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn not_accepted(error: &io::Error, metrics: &Metrics) {
    // The client gave up meanwhile: nothing of ours.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    metrics.cut("not_accepted");
    tracing::warn!(%error, "a connection cannot be accepted");
    tokio::time::sleep(PAUSE).await;
}

struct Connection {
    service: TowerToHyperService<Router>,
    from: SocketAddr,
    tls: Option<Arc<Tls>>,
    metrics: Arc<Metrics>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream, mut stop: watch::Receiver<bool>) {
        self.metrics.connections.inc();
        let _ = stream.set_nodelay(true);
        // Before any buffer is made for it. Not `readable()`, which may say so when nothing is there.
        let mut byte = [0];
        let first = tokio::select! {
            first = timeout(HEAD_PATIENCE, stream.peek(&mut byte)) => Some(first.is_ok()),
            () = stopped(&mut stop) => None,
        };
        match first {
            // Boxed, each for itself: who says nothing does not cost what serving takes, nor who speaks in the clear what TLS does.
            Some(true) => match &self.tls {
                None => Box::pin(self.serve(stream, stop)).await,
                Some(tls) => Box::pin(self.with_tls(tls, stream, stop)).await,
            },
            Some(false) => self.metrics.cut("silent"),
            None => {}
        }
        self.metrics.connections.dec();
    }

    async fn with_tls(&self, tls: &Tls, stream: TcpStream, mut stop: watch::Receiver<bool>) {
        let shaken = tokio::select! {
            shaken = timeout(HEAD_PATIENCE, tls.acceptor().accept(stream)) => shaken,
            () = stopped(&mut stop) => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.serve(stream, stop).await,
            _ => self.metrics.cut("handshake"),
        }
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin, mut stop: watch::Receiver<bool>) {
        let pacer = Pacer::new(HEAD_PATIENCE);
        let io = TokioIo::new(Paced::new(stream, pacer.clone()));
        let service = hyper::service::service_fn(|mut request: hyper::Request<Incoming>| {
            pacer.head_is_read();
            request.extensions_mut().insert(ConnectInfo(self.from));
            hyper::service::Service::call(&self.service, request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_PATIENCE)
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(MAX_HEAD_BYTES)
            // While a request is served nothing is read, not even whether its client is still there: to look for that takes a
            // second buffer for each of them.
            .half_close(true)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut stop) => {
                // hyper lets those go that idle between two requests, and waits for a first one that has begun to come.
                if !pacer.has_asked() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            self.metrics.cut(reason(&error, &pacer));
        }
    }
}

fn reason(error: &hyper::Error, pacer: &Pacer) -> &'static str {
    match () {
        () if pacer.is_over() => "slow",
        () if error.is_timeout() => "idle",
        () if error.is_parse_too_large() => "head_too_large",
        () if error.is_parse() => "malformed",
        () => "broken",
    }
}
