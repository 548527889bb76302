//! One lane of one sink: takes what waits for it, sends it, and tries again with the same bytes until it is out or refused for
//! good.
//!
//! Each is a task with a connection of its own, so that a dead sink holds up no other, and log lines that are refused hold up no
//! vitals. Log lines, and what is asked before them, are sent, and sent again, only while no vitals of the sink wait or are on
//! their way. What was taken stays in this task's hands until it is settled: out, refused, or given up at the end; each line that
//! is not out is counted.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::http::header::{AUTHORIZATION, HeaderMap};
use ::http::{Method, StatusCode};
use bytes::Bytes;

use super::Setup;
use super::bell::Bell;
use super::http::{self, Prepared, Verdict};
use super::loki::{self, Stream};
use super::times::{ServerClock, ServerTime};
use super::token;
use crate::net::backoff::Backoff;
use crate::net::client::{Answer, Client, Failure, Request};
use crate::probe::config::{Protocol, SinkTarget, TokenFile};
use crate::probe::sink::lines::Batch;
use crate::probe::sink::mailbox::{Class, Mailbox, Shared, Trouble};
use crate::probe::sink::queue::Lane;
use crate::probe::watch::clocks::since_boot;

/// How long a request may take, from the name to the end of the answer.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// The most that goes in one request, before it is packed.
const BATCH_BYTES: usize = 128 * 1024;

/// How often a server that does not answer is asked for its time: it may take pushes all the same.
const MOST_ASKED: u32 = 3;

/// Loki says 429 for ever to a push over its burst: after so many it is sent in halves.
const MOST_THROTTLED: u32 = 3;

/// A sink at work.
#[derive(Debug)]
pub(super) struct Delivery {
    shared: Arc<Shared>,
    mailbox: usize,
    lane: Lane,
    client: Client,
    /// Of Loki.
    stream: Option<Stream>,
    /// `None` where none may be sent.
    token: Option<TokenFile>,
    backoff: Backoff,
    random: Random,
    /// The server's.
    clock: ServerClock,
    /// What was known of it when the batch got its times; `None` once that was done anew.
    settled_by: Option<ServerClock>,
    /// So often it may still be asked for it before the first push.
    asks_left: u32,
    unsettled: u64,
    /// Whether the last line that went alone was too large, and none has been taken since.
    is_too_large_alone: bool,
}

/// Numbers that no two guests have alike (splitmix64).
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

/// What became of a part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Whole,
    TooLarge,
    /// It had wrong times.
    Mistimed,
}

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Delivery {
    /// One lane of the sink of this mailbox; nothing is connected yet.
    pub(super) fn new(
        setup: &Setup,
        target: &SinkTarget,
        client: Client,
        (shared, mailbox, lane): (Arc<Shared>, usize, Lane),
        random: Random,
    ) -> Self {
        let is_loki = target.protocol == Protocol::Loki;
        let may_send_token = setup.sinks.token.is_for(target.protocol) && !target.url.is_exposed();
        Self {
            shared,
            mailbox,
            lane,
            client,
            stream: is_loki.then(|| Stream::new(setup)),
            token: may_send_token.then(|| setup.sinks.token.clone()),
            backoff: Backoff::default(),
            random,
            clock: ServerClock::default(),
            settled_by: None,
            asks_left: MOST_ASKED,
            unsettled: 0,
            is_too_large_alone: false,
        }
    }

    /// Sends what comes until the end.
    pub(super) async fn run(mut self, mut bell: Bell) {
        let over = bell.clone().over();
        tokio::select! {
            () = self.serve(&mut bell) => {}
            () = over => {}
        }
        self.with_mailbox(|mailbox| mailbox.queue.give_up(self.lane, self.unsettled));
        bell.settled.notify_one();
    }

    async fn serve(&mut self, bell: &mut Bell) {
        let mut batch = Batch::default();
        loop {
            // In this order: what comes before the end is sent.
            let is_ending = bell.is_ending();
            if self.with_mailbox(|mailbox| mailbox.queue.take(self.lane, &mut batch, BATCH_BYTES)) == Some(true) {
                self.deliver(&batch, bell).await;
                self.with_mailbox(|mailbox| mailbox.queue.settle(self.lane));
                bell.settled.notify_one();
                batch.clear();
            } else if is_ending {
                return;
            } else {
                bell.next().await;
            }
        }
    }

    /// Settles every line of a batch, however long that takes.
    async fn deliver(&mut self, batch: &Batch, bell: &mut Bell) {
        let lines: Vec<&[u8]> = batch.lines().map(|(_, line)| line).collect();
        self.unsettled = count(lines.len());
        let mut times = self.times(batch, bell).await;
        let mut next = Some(0..lines.len());
        let mut parts = Vec::new();
        while let Some(part) = next.take().or_else(|| parts.pop()) {
            let of_part = lines.get(part.clone()).unwrap_or_default();
            let of_times = times.get(part.clone()).unwrap_or_default();
            match self.deliver_part(of_part, of_times, bell).await {
                Settled::Whole => self.unsettled = self.unsettled.saturating_sub(count(part.len())),
                Settled::TooLarge => {
                    let middle = part.start + part.len() / 2;
                    parts.push(middle..part.end);
                    next = Some(part.start..middle);
                }
                // Parts go in their order: all from here on are still to be sent.
                Settled::Mistimed => {
                    times.truncate(part.start);
                    times.extend(self.times_anew(batch, part.start));
                    next = Some(part);
                }
            }
        }
    }

    async fn deliver_part(&mut self, lines: &[&[u8]], times: &[u64], bell: &mut Bell) -> Settled {
        let prepared = match &self.stream {
            None => Prepared::lines(lines.concat()),
            Some(stream) => stream.prepare(lines, times),
        };
        let mut throttled = 0;
        loop {
            self.give_way(bell).await;
            let answer = self.ask(&prepared).await;
            let verdict = answer.as_ref().map_or(Verdict::Again, |answer| self.judge(answer, count(lines.len())));
            let status = answer.as_ref().ok().map(|answer| answer.status);
            if status == Some(StatusCode::BAD_REQUEST) && self.is_mistimed() {
                return Settled::Mistimed;
            }
            match verdict {
                Verdict::TooLarge if lines.len() > 1 => {}
                // One is too large by itself. Of a server to which the next one is too, it is the trouble.
                Verdict::TooLarge if !std::mem::replace(&mut self.is_too_large_alone, true) => {}
                _ => self.note(trouble_of(&answer, verdict)),
            }
            match verdict {
                Verdict::Out { bad } => {
                    self.is_too_large_alone = false;
                    if bad < count(lines.len()) {
                        self.with_mailbox(Mailbox::set_taken);
                    }
                    return self.settle(bad);
                }
                Verdict::TooLarge if lines.len() > 1 => return Settled::TooLarge,
                Verdict::Refused | Verdict::TooLarge => return self.settle(count(lines.len())),
                Verdict::Again | Verdict::Misrouted | Verdict::Unauthorized => {}
            }
            throttled += u32::from(self.stream.is_some() && status == Some(StatusCode::TOO_MANY_REQUESTS));
            if throttled >= MOST_THROTTLED && lines.len() > 1 {
                return Settled::TooLarge;
            }
            self.back_off(answer.ok().and_then(|answer| answer.retry_after), bell).await;
        }
    }

    /// Log lines wait here while there are vitals, those that wait to be sent again too.
    async fn give_way(&self, bell: &Bell) {
        if self.lane == Lane::Logs {
            bell.settled_while(|| self.with_mailbox(|mailbox| mailbox.queue.is_busy(Lane::Vitals)) == Some(true)).await;
        }
    }

    /// These are settled, but so many of them are lost.
    fn settle(&mut self, lost: u64) -> Settled {
        self.backoff.reset();
        self.with_mailbox(|mailbox| mailbox.queue.count_dropped(lost));
        Settled::Whole
    }

    fn judge(&self, answer: &Answer, lines: u64) -> Verdict {
        match self.stream {
            None => http::judge(answer.status.as_u16(), &answer.body, lines),
            Some(_) => loki::judge(answer.status.as_u16()),
        }
    }

    /// When each line of a batch was; of Loki only.
    async fn times(&mut self, batch: &Batch, bell: &mut Bell) -> Vec<u64> {
        if self.stream.is_some() {
            self.ask_for_time(bell).await;
        }
        let (clock, now) = (self.clock, SystemTime::now());
        self.settled_by = Some(clock);
        self.stream.as_mut().map(|stream| stream.times(batch.lines(), clock, now)).unwrap_or_default()
    }

    /// Whether a batch that was refused may be taken with other times: the server's clock is not where it was when they were
    /// settled. Once a batch, or a server whose clock jumps would get it for ever.
    fn is_mistimed(&mut self) -> bool {
        let is_mistimed = self.settled_by.is_some_and(|then| self.clock.has_moved_since(then));
        if is_mistimed {
            self.settled_by = None;
        }
        is_mistimed && self.stream.is_some()
    }

    /// When each line of a batch was from this one on.
    fn times_anew(&mut self, batch: &Batch, from: usize) -> Vec<u64> {
        let (clock, now, lines) = (self.clock, SystemTime::now(), batch.lines().skip(from));
        self.stream.as_mut().map(|stream| stream.times_anew(lines, clock, now)).unwrap_or_default()
    }

    /// Asks the server for its time before the first push. Where that cannot be had lines go as they are, and the answers to
    /// them have it.
    async fn ask_for_time(&mut self, bell: &mut Bell) {
        while !self.clock.is_known() && self.asks_left > 0 {
            self.give_way(bell).await;
            match self.send(Method::HEAD, &HeaderMap::new(), Bytes::new()).await {
                // Whatever it is answered with has a date, or none ever will.
                Ok(_) => self.asks_left = 0,
                Err(failure) => {
                    self.note(trouble_of(&Err(failure), Verdict::Again));
                    self.asks_left -= u32::from(is_of_request(failure));
                    if self.asks_left > 0 {
                        self.back_off(None, bell).await;
                    }
                }
            }
        }
    }

    /// Sends once, and once more with the token as it is by then where the first was not taken.
    async fn ask(&mut self, prepared: &Prepared) -> Result<Answer, Failure> {
        let answer = self.send(Method::POST, &prepared.headers, prepared.body.clone()).await?;
        if answer.status != StatusCode::UNAUTHORIZED || self.token.is_none() {
            return Ok(answer);
        }
        self.send(Method::POST, &prepared.headers, prepared.body.clone()).await
    }

    async fn send(&mut self, method: Method, headers: &HeaderMap, body: Bytes) -> Result<Answer, Failure> {
        let mut headers = headers.clone();
        if let Some(file) = &self.token {
            match token::authorization(file) {
                Ok(authorization) => {
                    self.shared.set_token_trouble(None);
                    headers.extend(authorization.map(|authorization| (AUTHORIZATION, authorization)));
                }
                Err(trouble) => self.shared.set_token_trouble(Some(trouble)),
            }
        }
        let answer = self.client.send(&Request { method, headers, body }, REQUEST_WITHIN).await;
        let answer = answer.map_err(|error| error.failure)?;
        if let Some(offset_ms) = answer.clock_offset_ms() {
            self.shared.set_clock_offset_ms(offset_ms);
        }
        if let Some((wall, moment)) = answer.server_time() {
            let told = ServerTime { wall, at: since_boot().saturating_sub(moment.elapsed()) };
            self.clock.learn(told, answer.answered_at);
        }
        Ok(answer)
    }

    /// Waits before the next try. The end cuts that short, for the last ones.
    async fn back_off(&mut self, asked: Option<Duration>, bell: &mut Bell) {
        let wait = self.backoff.next(self.random.next(), asked);
        if bell.rest(wait).await {
            self.backoff.reset();
        }
    }

    /// How the sink fares is told by its vitals.
    fn note(&self, trouble: Option<Trouble>) {
        if self.lane == Lane::Vitals {
            self.with_mailbox(|mailbox| mailbox.set_trouble(trouble));
        }
    }

    fn with_mailbox<T>(&self, act: impl FnOnce(&Mailbox) -> T) -> Option<T> {
        self.shared.mailboxes.get(self.mailbox).map(act)
    }
}

/// What is to be told of an answer; `None` when all is well.
fn trouble_of(answer: &Result<Answer, Failure>, verdict: Verdict) -> Option<Trouble> {
    let status = match answer {
        Err(failure) => return Some(Trouble { class: Class::Broken, text: failure.text(), status: None }),
        Ok(answer) => answer.status.as_u16(),
    };
    let (class, text) = match verdict {
        Verdict::Out { .. } => return None,
        Verdict::Unauthorized => (Class::Denied, "status"),
        Verdict::Refused if status == 403 => (Class::Denied, "status"),
        Verdict::Refused => (Class::Broken, "refused for good, status"),
        Verdict::TooLarge => (Class::Broken, "every line is too large, status"),
        Verdict::Again => (Class::Broken, "status"),
        Verdict::Misrouted => (Class::Broken, "not an endpoint, status"),
    };
    Some(Trouble { class, text, status: Some(status) })
}

/// Whether it may be this request that the server does not like. Without a way there no other would fare better.
const fn is_of_request(failure: Failure) -> bool {
    use Failure::{Cut, Garbled, TimedOut, TooLong};
    matches!(failure, TimedOut | Cut | Garbled | TooLong)
}

fn count(lines: usize) -> u64 {
    u64::try_from(lines).unwrap_or(u64::MAX)
}
