//! A stand-in for Loki 3.7: one stream a push, identical entries once, and its answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::Value;

use crate::server::Server;

/// An entry with its stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stored {
    pub(crate) at_ns: u64,
    pub(crate) line: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// How a push is answered.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// It is stored.
    Store,
    /// Stored, but the answer is lost.
    StoreAndHide,
    /// Not stored, and answered so.
    Answer(StatusCode),
    /// Entries before this are too far behind; the others are stored. 400.
    TooFarBehind(u64),
    /// Half of it is stored. 429.
    StoreHalf,
    /// Not so many bytes at once. 413.
    Most(usize),
    /// It says nothing for so long, and stores then.
    Slow(Duration),
}

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) stored: Vec<Stored>,
    /// The next pushes; `always` when there is none.
    pub(crate) next: VecDeque<Behaviour>,
    pub(crate) always: Behaviour,
    /// How a push of nothing is answered; Loki does it so.
    pub(crate) nothing: StatusCode,
    /// Headers and body of every push of something.
    pub(crate) pushes: Vec<(HeaderMap, Value)>,
}

pub(crate) struct Loki {
    known: Arc<Mutex<Known>>,
    pub(crate) server: Server,
}

impl Loki {
    pub(crate) async fn plain() -> Self {
        let known = new();
        let server = Server::plain(answers(&known)).await;
        Self { known, server }
    }

    pub(crate) async fn tls() -> Self {
        let known = new();
        let server = Server::tls(answers(&known)).await;
        Self { known, server }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    pub(crate) fn next(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.known().next.extend(behaviours);
    }

    /// What is stored, oldest first.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        let mut stored = self.known().stored.clone();
        stored.sort();
        stored
    }

    /// The lines of it.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.stored().into_iter().map(|stored| stored.line).collect()
    }

    pub(crate) fn pushes(&self) -> usize {
        self.known().pushes.len()
    }
}

fn new() -> Arc<Mutex<Known>> {
    Arc::new(Mutex::new(Known {
        stored: Vec::new(),
        next: VecDeque::new(),
        always: Behaviour::Store,
        nothing: StatusCode::UNPROCESSABLE_ENTITY,
        pushes: Vec::new(),
    }))
}

fn answers(
    known: &Arc<Mutex<Known>>,
) -> impl Fn(Request, Bytes) -> std::pin::Pin<Box<dyn Future<Output = Response> + Send>> + Clone + Send + Sync + 'static
{
    let known = Arc::clone(known);
    move |request, body| {
        let known = Arc::clone(&known);
        Box::pin(async move {
            if request.uri().path() != "/loki/api/v1/push" {
                return answer(StatusCode::NOT_FOUND, "404 page not found");
            }
            assert_eq!(request.headers()["content-type"], "application/json");
            if &*body == b"{\"streams\":[]}" {
                return answer(known.lock().unwrap().nothing, "as it was told");
            }
            let entries = entries(&body);
            let behaviour = {
                let mut known = known.lock().unwrap();
                known.pushes.push((request.headers().clone(), serde_json::from_slice(&body).unwrap()));
                known.next.pop_front().unwrap_or_else(|| known.always.clone())
            };
            if let Behaviour::Slow(delay) = behaviour {
                tokio::time::sleep(delay).await;
            }
            let (status, text, hides) = {
                let mut known = known.lock().unwrap();
                known.push(entries, body.len(), &behaviour)
            };
            if hides {
                std::future::pending::<()>().await;
            }
            answer(status, text)
        })
    }
}

impl Known {
    fn push(&mut self, entries: Vec<Stored>, bytes: usize, behaviour: &Behaviour) -> (StatusCode, &'static str, bool) {
        let half = entries.len().div_ceil(2);
        match behaviour {
            Behaviour::Answer(status) => return (*status, "as it was told", false),
            Behaviour::Most(most) if bytes > *most => return (StatusCode::PAYLOAD_TOO_LARGE, "too large", false),
            Behaviour::TooFarBehind(first_ns) => {
                self.store(entries.into_iter().filter(|entry| entry.at_ns >= *first_ns));
                return (StatusCode::BAD_REQUEST, "entry too far behind", false);
            }
            Behaviour::StoreHalf => {
                self.store(entries.into_iter().take(half));
                return (StatusCode::TOO_MANY_REQUESTS, "Ingestion rate limit exceeded", false);
            }
            Behaviour::Store | Behaviour::StoreAndHide | Behaviour::Most(_) | Behaviour::Slow(_) => {}
        }
        self.store(entries.into_iter());
        (StatusCode::NO_CONTENT, "", matches!(behaviour, Behaviour::StoreAndHide))
    }

    /// The same time, line, labels and metadata are stored once.
    fn store(&mut self, entries: impl Iterator<Item = Stored>) {
        for entry in entries {
            if !self.stored.contains(&entry) {
                self.stored.push(entry);
            }
        }
    }
}

/// The entries of a push, which has one stream.
fn entries(body: &Bytes) -> Vec<Stored> {
    let push: Value = serde_json::from_slice(body).unwrap();
    let [stream] = &push["streams"].as_array().unwrap()[..] else { panic!("one stream a push: {push}") };
    let map = |value: &Value| -> BTreeMap<String, String> { serde_json::from_value(value.clone()).unwrap() };
    let labels = map(&stream["stream"]);
    let entries = stream["values"].as_array().unwrap().iter();
    entries
        .map(|entry| Stored {
            at_ns: entry[0].as_str().unwrap().parse().unwrap(),
            line: entry[1].as_str().unwrap().to_owned(),
            labels: labels.clone(),
            metadata: map(&entry[2]),
        })
        .collect()
}

fn answer(status: StatusCode, text: &'static str) -> Response {
    Response::builder().status(status).body(Body::from(text)).unwrap()
}
