//! From a URL to a connection that takes requests: the name, TCP, a proxy, TLS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Uri};
use http_body_util::{Empty, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::names::Names;
use super::{Failure, Matcher};
use crate::net::tls::Tls;
use crate::url::{Scheme, Url};

/// The most that is kept of an answer's head: status line and headers.
const MOST_HEAD_BYTES: usize = 16 * 1024;

/// More headers than any answer has.
const MOST_HEADERS: usize = 64;

/// Of a name with several addresses each is tried so long: one that swallows everything is not to use up the deadline.
const ADDRESS_WITHIN: Duration = Duration::from_millis(1500);

/// More addresses than can be tried in time.
const MOST_ADDRESSES: usize = 8;

/// A connection that takes requests, until it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: http1::SendRequest<Full<Bytes>>,
    /// Reads and writes for it.
    _driver: Driver,
}

/// A task that ends when this does: one that waits for a server for ever is not to stay behind.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The way to a server that is asked for another one.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    /// `None` for a kind that is not known here.
    scheme: Option<Scheme>,
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
}

/// Makes connections.
#[derive(Debug)]
pub(super) struct Connector {
    url: Url,
    proxy: Option<Proxy>,
    tls: Arc<Tls>,
    names: Arc<Names>,
}

/// Whatever bytes go through: TCP, TLS, a tunnel, TLS in a tunnel.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

type AnyStream = Box<dyn Stream>;

impl Proxy {
    /// The proxy that the environment names for this URL.
    pub(super) fn of(url: &Url, proxies: &Matcher) -> Option<Self> {
        let uri: Uri = format!("{}://{}{}", url.scheme.name(), url.host_header(), url.target).parse().ok()?;
        let proxy = proxies.intercept(&uri)?;
        let (scheme, port) = match proxy.uri().scheme_str() {
            Some("http") => (Some(Scheme::Http), 80),
            Some("https") => (Some(Scheme::Https), 443),
            _ => (None, 0),
        };
        let host = proxy.uri().host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let authorization = proxy.basic_auth().cloned();
        Some(Self { scheme, host, port: proxy.uri().port_u16().unwrap_or(port), authorization })
    }
}

impl Connector {
    pub(super) const fn new(url: Url, proxy: Option<Proxy>, tls: Arc<Tls>, names: Arc<Names>) -> Self {
        Self { url, proxy, tls, names }
    }

    pub(super) fn share(&mut self, names: Arc<Names>) {
        self.names = names;
    }

    /// Whether the way there begins with a name that has to be looked up.
    pub(super) fn looks_up_a_name(&self) -> bool {
        let host = self.proxy.as_ref().map_or(&self.url.host, |proxy| &proxy.host);
        spelled_out(host, self.url.port).is_none()
    }

    /// What a proxy wants to see with each request: with a tunnel only the tunnel's own has it.
    pub(super) fn authorization_of_each_request(&self) -> Option<HeaderValue> {
        let proxy = self.proxy.as_ref().filter(|_| self.url.scheme == Scheme::Http)?;
        proxy.authorization.clone()
    }

    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let stream = match &self.proxy {
            None => self.tcp(&self.url.host, self.url.port).await?,
            Some(proxy) => self.through(proxy).await?,
        };
        let stream = match self.url.scheme {
            Scheme::Http => stream,
            Scheme::Https => self.encrypt(stream, &self.url.host).await?,
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MOST_HEAD_BYTES).max_headers(MOST_HEADERS);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Cut)?;
        // What ends it is told to whoever waits for an answer.
        let driver = Driver(tokio::spawn(async move { _ = connection.await }));
        Ok(Connection { sender, _driver: driver })
    }

    async fn through(&self, proxy: &Proxy) -> Result<AnyStream, Failure> {
        let scheme = proxy.scheme.ok_or(Failure::ProxyKind)?;
        let stream = self.tcp(&proxy.host, proxy.port).await?;
        let stream = match scheme {
            Scheme::Http => stream,
            Scheme::Https => self.encrypt(stream, &proxy.host).await?,
        };
        match self.url.scheme {
            Scheme::Http => Ok(stream),
            Scheme::Https => tunnel(stream, &self.url.authority(), proxy.authorization.clone()).await,
        }
    }

    async fn encrypt(&self, stream: AnyStream, host: &str) -> Result<AnyStream, Failure> {
        let config = self.tls.config().map_err(|_| Failure::NoRoots)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Failure::Tls)?;
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|_| Failure::Tls)?;
        Ok(Box::new(stream))
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<AnyStream, Failure> {
        let addresses = self.addresses(host, port).await?;
        let mut failure = Failure::NotResolved;
        for address in addresses.iter().take(MOST_ADDRESSES) {
            let within = if addresses.len() > 1 { ADDRESS_WITHIN } else { Duration::MAX };
            failure = match tokio::time::timeout(within, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A request is one write or two, and the second is not to wait for the first.
                    let _ = stream.set_nodelay(true);
                    return Ok(Box::new(stream));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Failure::Refused,
                Ok(Err(_)) => Failure::Unreachable,
                Err(_) => Failure::TimedOut,
            };
        }
        Err(failure)
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let addresses = match spelled_out(host, port) {
            Some(addresses) => addresses,
            None => self.names.addresses(host, port).await?,
        };
        if addresses.is_empty() { Err(Failure::NotResolved) } else { Ok(addresses) }
    }
}

/// The addresses of a host that is not looked up.
fn spelled_out(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(vec![SocketAddr::new(address, port)]);
    }
    // Not every resolver leaves that name at home, and a token may go there in the clear.
    let is_here = host.eq_ignore_ascii_case("localhost");
    is_here.then(|| vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()])
}

/// Has a proxy connect to `authority` (RFC 9110, 9.3.6).
async fn tunnel(stream: AnyStream, authority: &str, authorization: Option<HeaderValue>) -> Result<AnyStream, Failure> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MOST_HEAD_BYTES).max_headers(MOST_HEADERS);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Cut)?;
    // It ends when it has given its stream away, or this function ends without that.
    let _driver = Driver(tokio::spawn(async move { _ = connection.with_upgrades().await }));
    let mut request = http::Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = authority.parse().map_err(|_| Failure::Unreachable)?;
    let host = HeaderValue::from_str(authority).map_err(|_| Failure::Unreachable)?;
    request.headers_mut().insert(header::HOST, host);
    if let Some(authorization) = authorization {
        request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization);
    }
    let response = sender.send_request(request).await.map_err(|error| super::failure_of(&error))?;
    if !response.status().is_success() {
        return Err(Failure::Proxy);
    }
    let stream = hyper::upgrade::on(response).await.map_err(|_| Failure::Proxy)?;
    Ok(Box::new(TokioIo::new(stream)))
}
