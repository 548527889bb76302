//! A small server on the loopback, in the clear or through TLS, whose answers are a function of the request.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::Response;
use axum::serve::Listener;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

/// A server that ends with this.
pub(crate) struct Server {
    pub(crate) url: String,
    /// What a client has to trust, PEM; `None` in the clear.
    pub(crate) certificate: Option<String>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, from) = self.tcp.accept().await.unwrap();
            // A client that does not trust this ends the handshake.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl Server {
    pub(crate) async fn plain<A: Future<Output = Response> + Send + 'static>(
        answer: impl Fn(Request, Bytes) -> A + Clone + Send + Sync + 'static,
    ) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", tcp.local_addr().unwrap());
        let router = router(answer);
        let task = tokio::spawn(async move { axum::serve(tcp, router).await.unwrap() });
        Self { url, certificate: None, task }
    }

    pub(crate) async fn tls<A: Future<Output = Response> + Send + 'static>(
        answer: impl Fn(Request, Bytes) -> A + Clone + Send + Sync + 'static,
    ) -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key);
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", tcp.local_addr().unwrap().port());
        let listener = TlsListener { tcp, acceptor: TlsAcceptor::from(Arc::new(config.unwrap())) };
        let router = router(answer);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, certificate: Some(cert.pem()), task }
    }
}

fn router<A: Future<Output = Response> + Send + 'static>(
    answer: impl Fn(Request, Bytes) -> A + Clone + Send + Sync + 'static,
) -> Router {
    Router::new().fallback(move |request: Request| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            answer(Request::from_parts(parts, axum::body::Body::empty()), body).await
        }
    })
}
