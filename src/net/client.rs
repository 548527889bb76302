//! One server and one connection to it: HTTP/1.1 with keep-alive, each request under a deadline that covers all of it.
//!
//! Redirects are answers like any other: what is sent with a request is for this server and no other. Answers are small, and
//! one that is not is an error. RFC 9112; a request whose reused connection turns out to be closed is sent once more.

mod connect;
mod names;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;

use super::date;
use super::tls::Tls;
use crate::url::{Scheme, Url};
use connect::{Connection, Connector, Proxy};

pub use hyper_util::client::proxy::matcher::Matcher;
pub use names::Names;

/// The most that is read of an answer's body.
pub const MOST_ANSWER_BYTES: usize = 64 * 1024;

/// `Date` has whole seconds.
const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// What is sent besides the request's own headers.
const USER_AGENT: &str = concat!("runner-vitals/", env!("CARGO_PKG_VERSION"));

/// A server, and the connection to it while there is one.
#[derive(Debug)]
pub struct Client {
    url: Url,
    /// What stands before the path in the request's first line.
    prefix: String,
    host: HeaderValue,
    connector: Connector,
    connection: Option<Connection>,
    most_answer_bytes: usize,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// How.
    pub method: Method,
    /// Besides `Host` and `User-Agent`. A token is to be marked as sensitive.
    pub headers: HeaderMap,
    /// What is sent along.
    pub body: Bytes,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The server's own time, to the second.
    pub date: Option<SystemTime>,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
    /// From the sending to the head of the answer.
    pub took: Duration,
    /// This machine's time at the head of the answer, as it is set.
    pub answered_at: SystemTime,
    /// The same moment by a clock that nobody sets.
    pub answered: Instant,
    /// What came along, as far as it is kept: nothing of an error's page that is longer than [`MOST_ANSWER_BYTES`].
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// Who was asked.
    pub url: Url,
    /// What failed.
    pub failure: Failure,
}

/// What can fail between a request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The deadline has passed.
    TimedOut,
    /// There is no address for the name.
    NotResolved,
    /// The system gave no thread for looking up the name, which had no address before.
    NoThread,
    /// Nobody listens there.
    Refused,
    /// There is no way there.
    Unreachable,
    /// There is no certificate to hold the server's against.
    NoRoots,
    /// TLS could not be begun: the server's certificate is not trusted, or it does not speak TLS.
    Tls,
    /// The proxy did not let it through.
    Proxy,
    /// The proxy is of a kind that is not known here.
    ProxyKind,
    /// The connection ended before the answer did.
    Cut,
    /// The answer is not HTTP, or its head has no end.
    Garbled,
    /// The answer is longer than it may be.
    TooLong,
}

impl Answer {
    /// How far this machine's clock is ahead of the server's, in milliseconds: in the middle of the request, and of the
    /// second that `Date` names.
    #[must_use]
    pub fn clock_offset_ms(&self) -> Option<i64> {
        let ms = |time: SystemTime| match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        };
        let here = ms(self.answered_at).saturating_sub(i64::try_from(self.took.as_millis() / 2).unwrap_or(0));
        Some(here.saturating_sub(ms(self.date?).saturating_add(500)))
    }

    /// What the server's clock was, and when: in the middle of the request, and of the second that `Date` names.
    #[must_use]
    pub fn server_time(&self) -> Option<(SystemTime, Instant)> {
        let wall = self.date?.checked_add(HALF_A_SECOND)?;
        Some((wall, self.answered.checked_sub(self.took / 2)?))
    }
}

impl Failure {
    /// Every failure.
    pub const ALL: [Self; 12] = [
        Self::TimedOut,
        Self::NotResolved,
        Self::NoThread,
        Self::Refused,
        Self::Unreachable,
        Self::NoRoots,
        Self::Tls,
        Self::Proxy,
        Self::ProxyKind,
        Self::Cut,
        Self::Garbled,
        Self::TooLong,
    ];

    /// In words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::TimedOut => "no answer in time",
            Self::NotResolved => "no address for the name",
            Self::NoThread => "no thread for looking up names",
            Self::Refused => "connection refused",
            Self::Unreachable => "not reachable",
            Self::NoRoots => "no certificates to trust",
            Self::Tls => "TLS failed: the certificate is not trusted, or it is not TLS",
            Self::Proxy => "refused by the proxy",
            Self::ProxyKind => "a proxy of an unknown kind",
            Self::Cut => "connection cut",
            Self::Garbled => "the answer is not HTTP, or its head is too long",
            Self::TooLong => "the answer is too long",
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.failure.text())
    }
}

impl std::error::Error for ClientError {}

impl Client {
    /// A client of this URL. Nothing is connected yet. A server on this machine is never asked through a proxy.
    #[must_use]
    pub fn new(url: Url, tls: Arc<Tls>, proxies: &Matcher) -> Self {
        let proxy = if url.is_loopback() { None } else { Proxy::of(&url, proxies) };
        let is_absolute = proxy.is_some() && url.scheme == Scheme::Http;
        let host = url.host_header();
        let prefix = if is_absolute { format!("http://{host}") } else { String::new() };
        Self {
            prefix,
            // The host of a URL has no byte that a header cannot have.
            host: HeaderValue::from_str(&host).unwrap_or(HeaderValue::from_static("")),
            connector: Connector::new(url.clone(), proxy, tls, Arc::default()),
            url,
            connection: None,
            most_answer_bytes: MOST_ANSWER_BYTES,
        }
    }

    /// The same with names that it looks up together with others.
    #[must_use]
    pub fn with_names(mut self, names: Arc<Names>) -> Self {
        self.connector.share(names);
        self
    }

    /// Whether the way to the server, or to its proxy, begins with a name that has to be looked up: that takes a thread
    /// ([`Names::make_thread`]).
    #[must_use]
    pub fn looks_up_a_name(&self) -> bool {
        self.connector.looks_up_a_name()
    }

    /// The same client, which reads so much of an answer's body instead of [`MOST_ANSWER_BYTES`].
    #[must_use]
    pub fn with_answers_of(self, most_answer_bytes: usize) -> Self {
        Self { most_answer_bytes, ..self }
    }

    /// From now on this path and query of the server are asked for.
    pub fn ask_for(&mut self, target: String) {
        self.url.target = target;
    }

    /// Gives up the connection, where there is one: the next request makes another.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Sends a request and waits for its whole answer, so long at most. After a failure the next request is sent through a
    /// new connection.
    ///
    /// To be called within tokio's runtime, with time and input and output enabled.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer, or none that can be used.
    pub async fn send(&mut self, request: &Request, within: Duration) -> Result<Answer, ClientError> {
        let answer = tokio::time::timeout(within, self.exchange(request)).await;
        let failure = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::TimedOut,
        };
        self.connection = None;
        Err(ClientError { url: self.url.clone(), failure })
    }

    async fn exchange(&mut self, request: &Request) -> Result<Answer, Failure> {
        if let Some(mut reused) = self.connection.take() {
            match self.ask(&mut reused, request).await {
                // It was closed while nobody asked.
                Err(Failure::Cut) => {}
                answer => return answer.inspect(|_| self.keep(reused)),
            }
        }
        let mut connection = self.connector.connect().await?;
        let answer = self.ask(&mut connection, request).await?;
        self.keep(connection);
        Ok(answer)
    }

    fn keep(&mut self, connection: Connection) {
        self.connection = Some(connection).filter(|connection| !connection.sender.is_closed());
    }

    async fn ask(&self, connection: &mut Connection, request: &Request) -> Result<Answer, Failure> {
        connection.sender.ready().await.map_err(|error| failure_of(&error))?;
        let mut sent = http::Request::new(Full::new(request.body.clone()));
        *sent.method_mut() = request.method.clone();
        *sent.uri_mut() = format!("{}{}", self.prefix, self.url.target).parse().map_err(|_| Failure::Unreachable)?;
        *sent.headers_mut() = request.headers.clone();
        sent.headers_mut().insert(header::HOST, self.host.clone());
        sent.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(authorization) = self.connector.authorization_of_each_request() {
            sent.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization);
        }
        let began = Instant::now();
        let response = connection.sender.send_request(sent).await.map_err(|error| failure_of(&error))?;
        let (answered, answered_at) = (Instant::now(), SystemTime::now());
        let took = answered.saturating_duration_since(began);
        let (head, body) = response.into_parts();
        let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let date = text(header::DATE).and_then(date::parse_http_date);
        let now = date.unwrap_or(answered_at);
        let retry_after = text(header::RETRY_AFTER).and_then(|text| date::parse_retry_after(text, now));
        let body = match read(body, self.most_answer_bytes).await {
            // The status says all that matters of somebody's error page.
            Err(Failure::TooLong) if head.status.is_client_error() => Vec::new(),
            body => body?,
        };
        Ok(Answer { status: head.status, date, retry_after, took, answered_at, answered, body })
    }
}

/// Reads a body that is to be short.
async fn read(mut body: Incoming, most_bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.map_err(|error| failure_of(&error))?.into_data() else { continue };
        if read.len() + bytes.len() > most_bytes {
            return Err(Failure::TooLong);
        }
        read.extend_from_slice(&bytes);
    }
    Ok(read)
}

fn failure_of(error: &hyper::Error) -> Failure {
    if error.is_parse() { Failure::Garbled } else { Failure::Cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_held_against_each_other_in_the_middle() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(2);
        for (answered_at, took_ms, date, offset) in [
            (at(10_600), 200, Some(at(10_000)), Some(0)),
            (at(70_600), 200, Some(at(10_000)), Some(60_000)),
            (at(600), 200, Some(at(10_000)), Some(-10_000)),
            (before_1970, 0, Some(at(10_000)), Some(-12_500)),
            (at(600), 0, None, None),
        ] {
            let (took, answered, body) = (Duration::from_millis(took_ms), Instant::now(), Vec::new());
            let answer = Answer { status: StatusCode::OK, date, retry_after: None, took, answered_at, answered, body };
            assert_eq!(answer.clock_offset_ms(), offset, "{answered_at:?}");
            let server_time = date.map(|date| (date + HALF_A_SECOND, answered - took / 2));
            assert_eq!(answer.server_time(), server_time, "whatever this machine's clock says");
        }
    }

    #[test]
    fn only_a_name_is_looked_up() {
        let proxied = Matcher::builder().all("http://proxy.example:3128").no("192.0.2.2").build();
        let by_address = Matcher::builder().all("http://192.0.2.9:3128").build();
        let direct = Matcher::builder().build();
        for (url, proxies, expected) in [
            ("http://192.0.2.1/", &direct, false),
            ("http://[2001:db8::1]:80/", &direct, false),
            ("http://LocalHost/", &direct, false),
            ("https://hub.example/", &direct, true),
            ("http://192.0.2.1/", &proxied, true),
            ("http://192.0.2.2/", &proxied, false),
            ("http://127.0.0.1/", &proxied, false),
            ("https://hub.example/", &by_address, false),
        ] {
            let client = Client::new(Url::parse(url).unwrap(), Arc::new(Tls::new(None)), proxies);
            assert_eq!(client.looks_up_a_name(), expected, "{url}");
        }
    }
}
