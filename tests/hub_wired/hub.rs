//! The hub's own process, and a guest that talks to it.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::http::{HeaderName, Method};
use runner_vitals::net::client::{Client, Matcher, Request};
use runner_vitals::net::tls::Tls;
use runner_vitals::url::Url;

use crate::running::{self, Running};

/// Longer than anything here takes, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running hub.
pub(crate) struct Hub(Running);

/// Somebody who sends lines over one connection.
pub(crate) struct Guest {
    vitals: Client,
    metrics: Client,
}

fn command(flags: &[&str]) -> Command {
    let mut command = running::command(env!("CARGO_BIN_EXE_vitals-hub"));
    command.args(["serve", "--listen", "127.0.0.1:0"]).args(flags).stdout(Stdio::null());
    command
}

/// The code that a hub ends with, and its last words.
pub(crate) fn ends(flags: &[&str]) -> (Option<i32>, String) {
    let output = command(flags).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

impl Hub {
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self(Running::start(command(flags)))
    }

    pub(crate) fn log(&self) -> String {
        self.0.log.lock().unwrap().join("\n")
    }

    pub(crate) fn guest(&self) -> Guest {
        let client = |path: &str| {
            let url = Url::parse(&format!("http://{}{path}", self.0.address)).unwrap();
            Client::new(url, Arc::new(Tls::new(None)), &Matcher::builder().build())
        };
        Guest { vitals: client("/api/internal/runners/vitals"), metrics: client("/metrics") }
    }
}

impl Guest {
    /// The status of the answer.
    pub(crate) async fn post(&mut self, token: &str, body: &str) -> u16 {
        let header = |name: HeaderName, value: &str| (name, HeaderValue::from_str(value).unwrap());
        let bearer = format!("Bearer {token}");
        let headers = HeaderMap::from_iter([header(AUTHORIZATION, &bearer), header(CONTENT_TYPE, "text/plain")]);
        let request = Request { method: Method::POST, headers, body: Bytes::from(body.to_owned()) };
        self.vitals.send(&request, PATIENCE).await.unwrap().status.as_u16()
    }

    pub(crate) async fn metrics(&mut self) -> String {
        let request = Request { method: Method::GET, headers: HeaderMap::new(), body: Bytes::new() };
        String::from_utf8(self.metrics.send(&request, PATIENCE).await.unwrap().body).unwrap()
    }
}
