//! A POST of lines: who sent it, which of them are ours, are they out. Answers as `docs/LINE.md` says.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::Hub;
use super::auth::{Refusal, Sender};
use super::budget::Held;
use super::door::{self, Wants};
use super::metrics::LineResult;
use super::runners::{TooMuch, Turn};
use super::ways::BroughtOut;

pub mod body;
pub mod ours;
pub mod rewrite;
pub mod sort;

use body::{BodyError, Encoding};
use rewrite::Identity;
use sort::{Bad, Origin, Sorted};

/// How long a body may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// How long the body of a refused request is listened to.
const DISCARD_PATIENCE: Duration = Duration::from_secs(2);

/// How long a request waits for its lines to be out: less than the five seconds that a guest waits for an answer.
const OUT_PATIENCE: Duration = Duration::from_secs(3);

/// When to come again, where nothing better is known.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// What is said to who sends a body that is too large.
const TOO_LARGE: &str = "more than 256 KiB: send it in halves";

/// What is said to who sends too many lines.
const TOO_MUCH: &str = "this runner sends too much";

/// What a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All lines are out.
    AllOut,
    /// The good ones are.
    Some {
        /// How many.
        taken: usize,
        /// The first of the others.
        bad: Vec<Bad>,
        /// How many others there are besides.
        more_bad: usize,
    },
    /// The sender is not known, or no runner, or cannot be asked for.
    Refused(Refusal),
    /// The body is not taken.
    Body(BodyError),
    /// The runner sends too much.
    TooMuch(TooMuch),
    /// A way out is stuck.
    Stuck,
}

/// Serves a POST to the vitals endpoint.
pub async fn post(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let began = Instant::now();
    let answer = match serve(&hub, from.ip(), request).await {
        Ok(answer) | Err(answer) => answer,
    };
    let response = answer.into_response();
    hub.metrics.request(response.status().as_u16(), began.elapsed());
    response
}

async fn serve(hub: &Arc<Hub>, from: IpAddr, request: Request) -> Result<Answer, Answer> {
    let (head, body) = request.into_parts();
    let told = door::let_in(hub, from, &head.headers, Wants::Send).await;
    let encoding = body::encoding(&head.headers);
    // Its values are pieces of the connection's buffer, which takes a second one while they are held.
    drop(head);
    let sender = match told {
        Ok(sender) => Arc::new(sender),
        Err(refusal) => {
            body::discard(body, DISCARD_PATIENCE).await;
            return Err(Answer::Refused(refusal));
        }
    };
    take(hub, &sender, encoding, body).await.inspect_err(|answer| {
        if let Some(refusal) = answer.refusal() {
            hub.refusals.request(from, &sender.name, refusal, hub.clock());
        }
    })
}

/// Takes a body of a sender who is let in.
async fn take(
    hub: &Arc<Hub>,
    sender: &Arc<Sender>,
    encoding: Result<Encoding, BodyError>,
    body: Body,
) -> Result<Answer, Answer> {
    let now = hub.clock();
    let may = encoding.map_err(Answer::Body).and_then(|encoding| {
        let turn = hub.runners.of(sender, now).turn(hub.pace, now).map_err(Answer::TooMuch)?;
        Ok((encoding, turn))
    });
    let (encoding, turn) = match may {
        Ok(may) => may,
        Err(answer) => {
            body::discard(body, DISCARD_PATIENCE).await;
            return Err(answer);
        }
    };
    let mut held = hub.budget.hold();
    let packed = body::read(body, BODY_PATIENCE, &mut held).await.map_err(Answer::Body)?;
    let bytes = body::unpacked(packed, encoding, &mut held).map_err(Answer::Body)?;
    let sorted = Sorted::of(&bytes, &hub.origin(sender));
    drop(bytes);
    // The body itself is gone: what stays is its lines.
    let lines = sorted.bytes();
    held.more(lines.saturating_sub(held.bytes())).map_err(|spent| Answer::Body(spent.into()))?;
    held.keep(lines);
    place(hub, turn, sorted, held).await
}

/// Brings lines out in a task of its own: it goes on when the request gives up, or nobody would know what is out.
async fn place(hub: &Arc<Hub>, turn: Turn, sorted: Sorted, held: Held) -> Result<Answer, Answer> {
    let Sorted { good, bad, more_bad, events } = sorted;
    let taken = good.len();
    // Bad ones too: reading them has cost as much.
    turn.charge(taken + bad.len() + more_bad, hub.pace, hub.clock()).map_err(|too_much| {
        hub.metrics.lines(LineResult::TooMuch, taken);
        Answer::TooMuch(too_much)
    })?;
    hub.fleets.take(&good, &events, SystemTime::now());
    if taken > 0 {
        let task = tokio::spawn(bring_out(Arc::clone(hub), turn, good, held));
        let brought = tokio::time::timeout(OUT_PATIENCE, task).await;
        if !matches!(brought, Ok(Ok(true))) {
            return Err(Answer::Stuck);
        }
    }
    // Only now: what comes again is not counted twice.
    hub.metrics.lines(LineResult::Bad, bad.len() + more_bad);
    Ok(if bad.is_empty() { Answer::AllOut } else { Answer::Some { taken, bad, more_bad } })
}

/// Whether all of them are out.
async fn bring_out(hub: Arc<Hub>, turn: Turn, lines: sort::Good, held: Held) -> bool {
    let count = i64::try_from(lines.len()).unwrap_or(i64::MAX);
    hub.metrics.queue(count);
    let told = hub.ways.bring_out(turn.runner(), &lines, || hub.clock()).await;
    turn.served(hub.clock());
    hub.metrics.queue(-count);
    match &told {
        Ok(BroughtOut { out, repeats }) => {
            hub.metrics.lines(LineResult::Out, *out);
            hub.metrics.lines(LineResult::Repeat, *repeats);
        }
        Err(_) => {
            hub.metrics.lines(LineResult::Stuck, lines.len());
            if hub.is_draining.load(Ordering::Relaxed) {
                hub.given_back.fetch_add(lines.len(), Ordering::Relaxed);
            }
        }
    }
    drop(held);
    told.is_ok()
}

impl Hub {
    fn origin(&self, sender: &Arc<Sender>) -> Origin {
        let identity = Identity::new(sender, self.env.as_deref());
        Origin { sender: Arc::clone(sender), identity, received_at: SystemTime::now() }
    }
}

impl Answer {
    /// The answer as HTTP has it.
    pub(super) fn into_response(self) -> Response {
        use StatusCode as Code;
        match self {
            Self::AllOut => Code::NO_CONTENT.into_response(),
            Self::Some { taken, bad, more_bad } => some(taken, &bad, more_bad),
            Self::Refused(Refusal::Unauthenticated(why)) => {
                let challenge = HeaderValue::from_static("Bearer");
                (Code::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)], format!("{why}\n")).into_response()
            }
            Self::Refused(Refusal::Forbidden { why, .. }) => (Code::FORBIDDEN, format!("{why}\n")).into_response(),
            Self::Refused(Refusal::Unavailable(why)) => later(Code::SERVICE_UNAVAILABLE, COME_AGAIN, why),
            Self::Body(BodyError::Unsupported(why)) => {
                let known = HeaderValue::from_static("gzip");
                (Code::UNSUPPORTED_MEDIA_TYPE, [(ACCEPT_ENCODING, known)], format!("{why}\n")).into_response()
            }
            Self::Body(BodyError::TooLarge) => (Code::PAYLOAD_TOO_LARGE, format!("{TOO_LARGE}\n")).into_response(),
            Self::Body(BodyError::TooSlow) => {
                (Code::REQUEST_TIMEOUT, [(CONNECTION, HeaderValue::from_static("close"))]).into_response()
            }
            Self::Body(BodyError::Busy) => later(Code::SERVICE_UNAVAILABLE, COME_AGAIN, "busy"),
            Self::Body(BodyError::Broken(why)) => some(0, &[Bad { line: 0, error: why.to_owned() }], 0),
            Self::TooMuch(TooMuch { wait }) => later(Code::TOO_MANY_REQUESTS, wait, TOO_MUCH),
            Self::Stuck => later(Code::SERVICE_UNAVAILABLE, COME_AGAIN, "a way out is stuck"),
        }
    }

    /// Why nothing of a request was taken, and its status: where the request is to blame, or what is held for all. A way out tells of
    /// itself.
    fn refusal(&self) -> Option<(u16, &'static str)> {
        match self {
            Self::AllOut | Self::Some { .. } | Self::Refused(_) | Self::Stuck => None,
            Self::Body(BodyError::Unsupported(why)) => Some((415, why)),
            Self::Body(BodyError::TooLarge) => Some((413, TOO_LARGE)),
            Self::Body(BodyError::TooSlow) => Some((408, "the body did not come in time")),
            Self::Body(BodyError::Busy) => Some((503, "the memory for requests is spent")),
            Self::Body(BodyError::Broken(why)) => Some((400, why)),
            Self::TooMuch(_) => Some((429, TOO_MUCH)),
        }
    }
}

fn some(taken: usize, bad: &[Bad], more_bad: usize) -> Response {
    let mut answer = serde_json::json!({ "taken": taken, "bad": bad });
    if let (Some(answer), 1..) = (answer.as_object_mut(), more_bad) {
        answer.insert("more_bad".to_owned(), more_bad.into());
    }
    let json = HeaderValue::from_static("application/json");
    (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, json)], Body::from(answer.to_string())).into_response()
}

/// An answer to who may come again soon.
pub(super) fn busy(why: &str) -> Response {
    later(StatusCode::SERVICE_UNAVAILABLE, COME_AGAIN, why)
}

fn later(code: StatusCode, wait: Duration, why: &str) -> Response {
    let seconds = wait.as_millis().div_ceil(1000).max(1).to_string();
    let mut response = (code, format!("{why}\n")).into_response();
    if let Ok(seconds) = HeaderValue::from_str(&seconds) {
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_status_and_says_when_to_come_again() {
        let bad = || vec![Bad { line: 3, error: "x".to_owned() }];
        let retry = |answer: Answer| {
            let response = answer.into_response();
            let after = response.headers().get(RETRY_AFTER).map(|after| after.to_str().unwrap().to_owned());
            (response.status().as_u16(), after)
        };
        let cases = [
            (Answer::AllOut, 204, None),
            (Answer::Some { taken: 1, bad: bad(), more_bad: 0 }, 400, None),
            (Answer::Refused(Refusal::Unauthenticated("no_token")), 401, None),
            (Answer::Refused(Refusal::Forbidden { why: "x", who: None }), 403, None),
            (Answer::Refused(Refusal::Unavailable("x")), 503, Some("1")),
            (Answer::Body(BodyError::Unsupported("x")), 415, None),
            (Answer::Body(BodyError::TooLarge), 413, None),
            (Answer::Body(BodyError::TooSlow), 408, None),
            (Answer::Body(BodyError::Busy), 503, Some("1")),
            (Answer::Body(BodyError::Broken("x")), 400, None),
            (Answer::TooMuch(TooMuch { wait: Duration::from_millis(1001) }), 429, Some("2")),
            (Answer::Stuck, 503, Some("1")),
        ];
        for (answer, status, after) in cases {
            let told = answer.refusal().map(|(status, _)| status);
            assert!(told.is_none_or(|told| told == status), "{answer:?} {told:?}");
            assert_eq!(retry(answer.clone()), (status, after.map(str::to_owned)), "{answer:?}");
        }
    }
}
