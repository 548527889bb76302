//! One push: a body, its headers, and what the answer means for the lines in it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::lane::Queued;
use crate::hub::credentials::Credentials;
use crate::net::client::{Answer, Client, Matcher, Request};
use crate::net::loki::{self, Entry, Verdict};
use crate::net::tls::Tls;
use crate::url::Url;

/// What is told of Loki's own words.
const MOST_WORDS: usize = 300;

/// A push of nothing.
const NOTHING: &str = "{\"streams\":[]}";

const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Pushes lines of one stream.
#[derive(Debug)]
pub(super) struct Pusher {
    pub(super) labels: Vec<(String, String)>,
    pub(super) client: Client,
    pub(super) headers: HeaderMap,
    pub(super) credentials: Option<Credentials>,
    /// How long an answer may take.
    pub(super) within: Duration,
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// All of it is stored.
    Stored,
    /// What was good of it is stored, the rest never will be; in Loki's words.
    Refused(String),
    /// Too many bytes at once: as it is it would never get in.
    TooLarge(String),
    /// Too many lines for now; as it is it may never get in.
    TooMany(String),
    /// To be tried again.
    Later {
        why: String,
        /// What was asked for.
        retry_after: Option<Duration>,
    },
    /// To be tried again: whoever answered this has not shown itself to be a Loki.
    NoLoki(String),
}

/// Who answers, as far as it has shown since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Nothing yet: a wrong URL can lead to any server, and what that refuses is lost if it is taken for Loki's word.
    Unknown,
    /// Loki, or what takes pushes for it.
    Loki,
}

/// How Loki is reached, for every stream.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) url: Url,
    pub(super) tls: Arc<Tls>,
    pub(super) proxies: Matcher,
    pub(super) tenant: Option<HeaderValue>,
    pub(super) credentials: Option<Credentials>,
    pub(super) within: Duration,
}

impl Pusher {
    /// A pusher with a connection of its own, which is not there yet.
    pub(super) fn new(way: &Way, labels: Vec<(String, String)>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        way.tenant.iter().for_each(|tenant| drop(headers.insert(TENANT, tenant.clone())));
        let client = Client::new(way.url.clone(), Arc::clone(&way.tls), &way.proxies);
        Self { labels, client, headers, credentials: way.credentials.clone(), within: way.within }
    }

    /// Pushes these lines to who has shown itself to be this peer.
    pub(super) async fn push(&mut self, batch: &[Queued], peer: Peer) -> Pushed {
        match self.post(self.body(batch)).await {
            Ok(Answer { status, retry_after, body, .. }) => {
                judge(status.as_u16(), retry_after, &body, batch.len(), peer)
            }
            Err(why) => later(why, None),
        }
    }

    /// Asks who listens there, by a push of nothing.
    ///
    /// # Errors
    /// When there is no answer.
    pub(super) async fn ask(&mut self) -> Result<Peer, String> {
        let Answer { status, .. } = self.post(NOTHING.into()).await?;
        Ok(if says_loki(status.as_u16()) { Peer::Loki } else { Peer::Unknown })
    }

    async fn post(&mut self, body: Bytes) -> Result<Answer, String> {
        let mut headers = self.headers.clone();
        if let Some(credentials) = &self.credentials {
            let header = credentials.header().await.map_err(|error| error.to_string())?;
            headers.insert(AUTHORIZATION, header);
        }
        let request = Request { method: Method::POST, headers, body };
        self.client.send(&request, self.within).await.map_err(|error| error.to_string())
    }

    fn body(&self, batch: &[Queued]) -> Bytes {
        let metadata: Vec<_> = batch.iter().map(|queued| queued.line.metadata()).collect();
        let entry = |(queued, metadata)| {
            let Queued { line, .. }: &Queued = queued;
            let metadata: &[(&str, &str); 3] = metadata;
            Entry { at_ns: line.at_ns, line: &line.placed.line, metadata }
        };
        let mut entries: Vec<Entry<'_>> = batch.iter().zip(&metadata).map(entry).collect();
        entries.sort_by_key(|entry| entry.at_ns);
        loki::body(&self.labels, &entries).into()
    }
}

/// What an answer means. Some statuses mean another thing here than in a guest: a 413 has its own end, and what says nothing of the
/// lines (a blocked tenant, a path or a form that is not known there) is an operator's to mend: lines that were acknowledged
/// would be lost meanwhile.
fn judge(status: u16, retry_after: Option<Duration>, body: &[u8], lines: usize, peer: Peer) -> Pushed {
    let why = || format!("answered {status}: {}", words(body));
    match (status, loki::verdict(status)) {
        (204, _) => Pushed::Stored,
        (_, Verdict::Stored | Verdict::Final) if peer == Peer::Unknown => Pushed::NoLoki(why()),
        (413, _) => Pushed::TooLarge(why()),
        // Over the burst a push never gets in, and that it is over nobody says.
        (429, _) if lines > 1 => Pushed::TooMany(why()),
        (_, Verdict::Stored) => Pushed::Stored,
        (400 | 422, Verdict::Final) => Pushed::Refused(why()),
        (_, Verdict::Final | Verdict::Retry) => later(why(), retry_after),
    }
}

/// Whether a push of nothing is answered so by Loki (422) or by what takes pushes for it (204).
fn says_loki(status: u16) -> bool {
    matches!(status, 204 | 422)
}

fn later(why: String, retry_after: Option<Duration>) -> Pushed {
    Pushed::Later { why, retry_after }
}

/// The beginning of an answer, in one line.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MOST_WORDS).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_judged() {
        let asked = Some(Duration::from_secs(7));
        let judged = |status, lines| judge(status, asked, b"a\nb \xff", lines, Peer::Loki);
        let why = |status: u16| format!("answered {status}: a b \u{fffd}");
        let later = |status| Pushed::Later { why: why(status), retry_after: asked };
        for (status, lines, pushed) in [
            (204, 2, Pushed::Stored),
            (200, 2, Pushed::Stored),
            (400, 2, Pushed::Refused(why(400))),
            (260, 2, later(260)),
            (415, 2, later(415)),
            (422, 2, Pushed::Refused(why(422))),
            (413, 1, Pushed::TooLarge(why(413))),
            (413, 2, Pushed::TooLarge(why(413))),
            (429, 1, later(429)),
            (429, 2, Pushed::TooMany(why(429))),
            (401, 2, later(401)),
            (403, 2, later(403)),
            (404, 2, later(404)),
            (302, 2, later(302)),
            (500, 2, later(500)),
        ] {
            assert_eq!(judged(status, lines), pushed, "{status} {lines}");
        }
    }

    #[test]
    fn nothing_is_final_of_who_is_no_loki() {
        let judged = |status, lines| judge(status, None, b"welcome", lines, Peer::Unknown);
        for lines in [1, 2] {
            assert_eq!(judged(204, lines), Pushed::Stored);
            for status in [200, 201, 260, 400, 404, 405, 413, 415, 422] {
                assert_eq!(judged(status, lines), Pushed::NoLoki(format!("answered {status}: welcome")), "{status}");
            }
            for status in [301, 401, 403, 500, 503] {
                assert!(matches!(judged(status, lines), Pushed::Later { .. }), "{status}");
            }
        }
        for (status, is_loki) in [(422, true), (204, true), (200, false), (400, false), (404, false), (500, false)] {
            assert_eq!(says_loki(status), is_loki, "{status}");
        }
    }

    #[test]
    fn lokis_words_are_few_and_in_one_line() {
        assert_eq!(words(b"  entry too far behind\r\n"), "entry too far behind");
        assert_eq!(words(&[b'x'; 2000]).len(), MOST_WORDS);
    }
}
