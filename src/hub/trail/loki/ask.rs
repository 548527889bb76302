//! One request and its answer: tried again where that can help, told from each other where it cannot.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::hub::credentials::Credentials;
use crate::net::backoff::Backoff;
use crate::net::client::{Answer, Client, ClientError, Failure, Matcher, Request};
use crate::net::tls::{RootsError, Tls};
use crate::url::{Scheme, Url};

/// The most that is held of an answer: a page of usual lines has three megabytes.
pub(super) const MOST_PAGE_BYTES: usize = 8 << 20;

/// Where Loki answers queries, below whatever path a URL has.
pub const QUERY_PATH: &str = "/loki/api/v1/query_range";

/// How often a request is sent before it is given up.
const TRIES: u32 = 4;

/// What is told of Loki's own words.
const MOST_WORDS: usize = 300;

const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Which Loki, and as whom.
#[derive(Debug)]
pub struct Settings {
    /// Loki, or what stands before it. Unless its path is that of queries already, [`QUERY_PATH`] follows it.
    pub url: Url,
    /// `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Proxies that the environment names.
    pub proxies: Matcher,
    /// How long an answer may take.
    pub within: Duration,
}

/// Why nothing more can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LokiError {
    /// Who was asked.
    pub url: Url,
    /// Of what kind it is.
    pub fault: Fault,
    /// In words, Loki's own where it has some. No secret is in it.
    pub why: String,
}

/// Who is to mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Loki, or the way to it.
    Unavailable,
    /// Who wrote the query.
    Query,
    /// Who set the URL, the tenant, the credentials or the certificates.
    Setting,
}

impl fmt::Display for LokiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.why)
    }
}

impl std::error::Error for LokiError {}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Answered {
    /// A page.
    Page(Vec<u8>),
    /// More than is held.
    TooLong,
    /// More lines were asked for than Loki is set to give; how many that is, where it says so.
    TooMany(Option<u64>),
}

/// Asks.
#[derive(Debug)]
pub(super) struct Asker {
    url: Url,
    client: Client,
    headers: HeaderMap,
    credentials: Option<Credentials>,
    within: Duration,
}

/// What an answer means.
#[derive(Debug)]
enum Judged {
    Done(Answered),
    Never(Fault, String),
    Again { why: String, after: Option<Duration> },
}

impl Asker {
    pub(super) fn new(settings: &Settings) -> Result<Self, LokiError> {
        let url = query_url(settings.url.clone());
        let wrong = |why: &str| LokiError { url: url.clone(), fault: Fault::Setting, why: why.to_owned() };
        if settings.credentials.is_some() && url.is_exposed() {
            return Err(wrong("credentials in the clear can be read on the way: use https"));
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(tenant) = &settings.tenant {
            let tenant = HeaderValue::from_str(tenant).ok().filter(|tenant| !tenant.is_empty());
            headers.insert(TENANT, tenant.ok_or_else(|| wrong("a tenant is a word that a header can have"))?);
        }
        let tls = Tls::new(settings.ca_file.clone());
        if url.scheme == Scheme::Https {
            tls.config().map_err(|error| match error {
                RootsError::CaFile(_) => wrong(&format!("--ca-file {error}")),
                _ => wrong(&error.to_string()),
            })?;
        }
        let client = Client::new(url.clone(), Arc::new(tls), &settings.proxies).with_answers_of(MOST_PAGE_BYTES);
        Ok(Self { url, client, headers, credentials: settings.credentials.clone(), within: settings.within })
    }

    pub(super) const fn url(&self) -> &Url {
        &self.url
    }

    /// The server, as a person knows it.
    pub(super) fn server(&self) -> String {
        format!("{}://{}", self.url.scheme.name(), self.url.host_header())
    }

    /// Sends a request with these parameters until it is answered, or given up.
    pub(super) async fn ask(&mut self, parameters: &str, tell: &mut dyn FnMut(&str)) -> Result<Answered, LokiError> {
        let joint = if self.url.target.contains('?') { '&' } else { '?' };
        self.client.ask_for(format!("{}{joint}{parameters}", self.url.target));
        let mut backoff = Backoff::default();
        let mut tries = 0;
        loop {
            let request = Request { method: Method::GET, headers: self.headers().await?, body: Bytes::new() };
            let judged = match self.client.send(&request, self.within).await {
                Ok(answer) => judge(answer),
                Err(error) => judge_failure(&error),
            };
            tries += 1;
            let (why, after) = match judged {
                Judged::Done(answered) => return Ok(answered),
                Judged::Never(fault, why) => return Err(self.error(fault, why)),
                Judged::Again { why, after } => (why, after),
            };
            if tries >= TRIES {
                return Err(self.error(Fault::Unavailable, format!("{why} ({tries} times)")));
            }
            let wait = backoff.next(random(), after);
            tell(&format!("{}: {why}; trying again in {} s ({tries} of {TRIES})", self.url, wait.as_secs_f32().ceil()));
            tokio::time::sleep(wait).await;
        }
    }

    /// With what stands in the file of the credentials now: a token can run out between two pages.
    async fn headers(&self) -> Result<HeaderMap, LokiError> {
        let mut headers = self.headers.clone();
        if let Some(credentials) = &self.credentials {
            let header = credentials.header().await.map_err(|error| self.error(Fault::Setting, error.to_string()))?;
            headers.insert(AUTHORIZATION, header);
        }
        Ok(headers)
    }

    fn error(&self, fault: Fault, why: String) -> LokiError {
        LokiError { url: self.url.clone(), fault, why }
    }

    pub(super) fn garbled(&self, error: &io::Error) -> LokiError {
        self.error(Fault::Setting, format!("the answer is not Loki's: {error}"))
    }

    pub(super) fn no_lines(&self) -> LokiError {
        self.error(
            Fault::Query,
            "the query gives figures, and lines are needed: leave out count_over_time, rate, sum and the like, as in \
             {namespace=\"runners\"} |= \"RUNNER_VITALS\""
                .to_owned(),
        )
    }

    pub(super) fn outside(&self) -> LokiError {
        self.error(Fault::Setting, "the answer has lines of outside the time that was asked for".to_owned())
    }

    pub(super) fn too_few(&self, most: u64) -> LokiError {
        let why =
            format!("it is set to give {most} lines at most at once (max_entries_limit_per_query): too few to read by");
        self.error(Fault::Setting, why)
    }

    pub(super) fn too_long(&self, lines: u64) -> LokiError {
        let most = MOST_PAGE_BYTES >> 20;
        self.error(Fault::Query, format!("{lines} lines have over {most} MiB: filter for those of vitals"))
    }
}

/// The URL with the path of queries.
fn query_url(mut url: Url) -> Url {
    let target = url.target.clone();
    let (path, query) = target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
    let path = path.trim_end_matches('/');
    let behind = if path.ends_with("/query_range") { "" } else { QUERY_PATH };
    url.target = query.map_or_else(|| format!("{path}{behind}"), |query| format!("{path}{behind}?{query}"));
    url
}

fn judge(answer: Answer) -> Judged {
    let status = answer.status.as_u16();
    let why = || {
        let words = words(&answer.body);
        if words.is_empty() { format!("answered {status}") } else { format!("answered {status}: {words}") }
    };
    match status {
        200 => Judged::Done(Answered::Page(answer.body)),
        // Loki's own words, of every version: it is asked for less then.
        400 if words(&answer.body).contains("max entries limit") => {
            Judged::Done(Answered::TooMany(most_entries(&words(&answer.body))))
        }
        408 | 425 | 429 | 500..=599 => Judged::Again { why: why(), after: answer.retry_after },
        401 | 403 | 407 => Judged::Never(Fault::Setting, why()),
        // A redirect is not followed: it would take the credentials elsewhere.
        404 | 405 | ..=399 => Judged::Never(Fault::Setting, format!("{}; no Loki answers there", why())),
        _ => Judged::Never(Fault::Query, why()),
    }
}

fn judge_failure(error: &ClientError) -> Judged {
    let why = error.failure.text().to_owned();
    match error.failure {
        Failure::TooLong => Judged::Done(Answered::TooLong),
        Failure::NoRoots | Failure::ProxyKind => Judged::Never(Fault::Setting, why),
        // The same certificate comes the next time.
        Failure::Tls => Judged::Never(Fault::Unavailable, why),
        _ => Judged::Again { why, after: None },
    }
}

/// The 1000 of `… limit > max_entries_limit_per_query (5000 > 1000)`.
fn most_entries(words: &str) -> Option<u64> {
    let (_, figures) = words.rsplit_once('(')?;
    let (asked, most) = figures.split_once(')')?.0.split_once('>')?;
    let (asked, most) = (asked.trim().parse::<u64>().ok()?, most.trim().parse().ok()?);
    (most < asked).then_some(most)
}

/// The beginning of an answer, in one line.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MOST_WORDS).collect::<String>().trim().to_owned()
}

/// What the standard library keeps its maps from being guessed with.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::hub::named::NamedFile;

    #[test]
    fn queries_have_a_path() {
        for (given, target) in [
            ("http://loki:3100", QUERY_PATH),
            ("http://loki:3100/", QUERY_PATH),
            ("https://gate/logs/", "/logs/loki/api/v1/query_range"),
            ("https://gate/x/query_range", "/x/query_range"),
            ("https://gate/?key=1", "/loki/api/v1/query_range?key=1"),
        ] {
            assert_eq!(query_url(Url::parse(given).unwrap()).target, target, "{given}");
        }
    }

    #[test]
    fn an_answer_is_judged() {
        let told = |status: u16, body: &[u8]| {
            let answer = Answer {
                status: http::StatusCode::from_u16(status).unwrap(),
                date: None,
                retry_after: Some(Duration::from_secs(7)),
                took: Duration::ZERO,
                answered_at: SystemTime::UNIX_EPOCH,
                answered: std::time::Instant::now(),
                body: body.to_vec(),
            };
            match judge(answer) {
                Judged::Done(Answered::Page(_)) => "page".to_owned(),
                Judged::Done(answered) => format!("{answered:?}"),
                Judged::Never(fault, why) => format!("{fault:?} {why}"),
                Judged::Again { why, after } => format!("again {why} {}", after.unwrap().as_secs()),
            }
        };
        for (status, body, judged) in [
            (200, &b"{}"[..], "page"),
            (400, b"parse error\nat 1", "Query answered 400: parse error at 1"),
            (
                400,
                b"max entries limit per query exceeded, limit > max_entries_limit_per_query (5000 > 1000)",
                "TooMany(Some(1000))",
            ),
            (400, b"max entries limit exceeded (9 > x)", "TooMany(None)"),
            (422, b"", "Query answered 422"),
            (401, b"no org id", "Setting answered 401: no org id"),
            (404, b"", "Setting answered 404; no Loki answers there"),
            (302, b"", "Setting answered 302; no Loki answers there"),
            (204, b"", "Setting answered 204; no Loki answers there"),
            (429, b"slower", "again answered 429: slower 7"),
            (503, b"\xff", "again answered 503: \u{fffd} 7"),
        ] {
            assert_eq!(told(status, body), judged);
        }
    }

    #[test]
    fn a_setting_that_cannot_be_is_refused() {
        let settings = |url: &str, tenant: &str| Settings {
            url: Url::parse(url).unwrap(),
            tenant: Some(tenant.to_owned()),
            credentials: Some(Credentials::Bearer(NamedFile::new("--loki-token-file", "/no/such/file".into()))),
            ca_file: Some("/no/such/file".into()),
            proxies: Matcher::from_env(),
            within: Duration::from_secs(1),
        };
        for (url, tenant, says) in [
            ("http://loki.example?key=secret", "a", "use https"),
            ("http://127.0.0.1", "a\nb", "a tenant is"),
            ("https://loki.example", "a", "--ca-file /no/such/file: no certificate"),
        ] {
            let error = Asker::new(&settings(url, tenant)).unwrap_err();
            assert!(error.fault == Fault::Setting && error.to_string().contains(says), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
