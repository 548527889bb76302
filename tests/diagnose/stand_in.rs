//! A stand-in for Loki's range query: limit, direction, stretch of time, tenants, credentials, and its ways to fail.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::server::Server;

/// An entry: its time, its Pod, its line.
pub(crate) type Entry = (u64, String, String);

/// How the next request is answered, instead of with entries.
#[derive(Clone, Debug)]
pub(crate) enum Instead {
    /// With this status, body and `Retry-After`.
    Answer(u16, &'static str, Option<&'static str>),
    /// As usual: to fail later.
    Entries,
}

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) entries: Vec<Entry>,
    /// `max_entries_limit_per_query`.
    pub(crate) most: usize,
    pub(crate) tenant: Option<&'static str>,
    pub(crate) authorization: Option<&'static str>,
    /// The next answers; `always` behind them.
    pub(crate) next: VecDeque<Instead>,
    pub(crate) always: Option<Instead>,
    /// Gives the newest whatever `end` says.
    pub(crate) ignores_end: bool,
    /// The parameters of every request.
    pub(crate) asked: Vec<BTreeMap<String, String>>,
}

/// The server, with a runtime of its own: what asks it blocks.
pub(crate) struct StandIn {
    pub(crate) known: Arc<Mutex<Known>>,
    pub(crate) server: Server,
    _runtime: Runtime,
}

impl StandIn {
    pub(crate) fn plain(entries: Vec<Entry>) -> Self {
        let known = known(entries);
        let runtime = runtime();
        let server = runtime.block_on(Server::plain(answers(&known)));
        Self { known, server, _runtime: runtime }
    }

    pub(crate) fn tls(entries: Vec<Entry>) -> Self {
        let known = known(entries);
        let runtime = runtime();
        let server = runtime.block_on(Server::tls(answers(&known)));
        Self { known, server, _runtime: runtime }
    }

    pub(crate) fn asked(&self) -> Vec<BTreeMap<String, String>> {
        self.known.lock().unwrap().asked.clone()
    }

    /// Changes how it behaves.
    pub(crate) fn with(self, change: impl FnOnce(&mut Known)) -> Self {
        change(&mut self.known.lock().unwrap());
        self
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn known(entries: Vec<Entry>) -> Arc<Mutex<Known>> {
    Arc::new(Mutex::new(Known {
        entries,
        most: 5000,
        tenant: None,
        authorization: None,
        next: VecDeque::new(),
        always: None,
        ignores_end: false,
        asked: Vec::new(),
    }))
}

fn answers(
    known: &Arc<Mutex<Known>>,
) -> impl Fn(axum::extract::Request, axum::body::Bytes) -> std::future::Ready<Response> + Clone + Send + Sync + 'static
{
    let known = Arc::clone(known);
    move |request, _| {
        let (parts, _) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        let parameters: BTreeMap<String, String> =
            query.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), decoded(v))).collect();
        std::future::ready(known.lock().unwrap().answer(parts.uri.path(), &parts.headers, &parameters))
    }
}

impl Known {
    fn answer(&mut self, path: &str, headers: &HeaderMap, parameters: &BTreeMap<String, String>) -> Response {
        self.asked.push(parameters.clone());
        match self.next.pop_front().or_else(|| self.always.clone()) {
            Some(Instead::Answer(status, body, retry_after)) => return plain(status, body, retry_after),
            Some(Instead::Entries) | None => {}
        }
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        if header("authorization").as_deref() != self.authorization {
            return plain(401, "who are you?", None);
        }
        if header("x-scope-orgid").as_deref() != self.tenant {
            return plain(401, "no org id", None);
        }
        if path != "/loki/api/v1/query_range" {
            return plain(404, "404 page not found", None);
        }
        self.entries(parameters)
    }

    fn entries(&self, parameters: &BTreeMap<String, String>) -> Response {
        let number = |key: &str| parameters[key].parse::<u64>().unwrap();
        let (query, limit) = (&parameters["query"], usize::try_from(number("limit")).unwrap());
        if limit > self.most {
            let says = "max entries limit per query exceeded, limit > max_entries_limit_per_query";
            return plain(400, &format!("{says} ({limit} > {})", self.most), None);
        }
        if query.starts_with("rate(") {
            let values = json!([[1_780_574_400, "1"], [1_780_574_460, "2"]]);
            return page("matrix", &json!([{ "metric": {}, "values": values }]));
        }
        if !query.starts_with('{') || !query.contains('}') {
            return plain(400, "parse error at line 1, col 2: syntax error: unexpected IDENTIFIER", None);
        }
        let end = if self.ignores_end { u64::MAX } else { number("end") };
        let is_asked = |(at, pod, line): &&Entry| {
            (number("start")..end).contains(at)
                && (!query.contains("pod=") || query.contains(&format!("pod=\"{pod}\"")))
                && (!query.contains("|= \"RUNNER_VITALS\"") || line.contains("RUNNER_VITALS"))
        };
        let mut found: Vec<&Entry> = self.entries.iter().filter(is_asked).collect();
        // Of one nanosecond nobody promises an order, nor the same one again.
        let turn = self.asked.len() as u64;
        let shuffled = |nth: u64| (nth + turn).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let keys: Vec<u64> = (0..found.len() as u64).map(shuffled).collect();
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by_key(|nth| (std::cmp::Reverse(found[*nth].0), keys[*nth]));
        if parameters["direction"] != "backward" {
            order.reverse();
        }
        found = order.into_iter().take(limit).map(|nth| found[nth]).collect();
        let mut streams: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (at, pod, line) in found {
            streams.entry(pod).or_default().push(json!([at.to_string(), line]));
        }
        let stream = |(pod, values)| json!({ "stream": { "namespace": "runners", "pod": pod }, "values": values });
        page("streams", &streams.into_iter().map(stream).collect())
    }
}

fn page(kind: &str, result: &Value) -> Response {
    let answer =
        json!({ "status": "success", "data": { "resultType": kind, "result": result, "stats": { "x": 1.5 } } });
    Response::new(Body::from(answer.to_string()))
}

fn plain(status: u16, body: &str, retry_after: Option<&str>) -> Response {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(retry_after) = retry_after {
        response.headers_mut().insert("retry-after", retry_after.parse().unwrap());
    }
    response
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&behind[..2]).unwrap(), 16).unwrap());
            rest = &behind[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}
