//! Tells the log who is refused what: a few at once, then one a second, so that a flood of requests makes none of lines. Senders
//! who are not let in and requests of those who are have a count each: strangers hide no runner.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::auth::Refusal;
use super::pace::{Bucket, Pace};

const PACE: Pace = Pace { a_second: 1, burst: 10 };

/// What is told of a name; no runner's is longer.
const MOST_NAME_CHARS: usize = 253;

/// What was told of refusals, and what was not.
#[derive(Debug)]
pub(super) struct Refusals {
    senders: Told,
    requests: Told,
}

#[derive(Debug)]
struct Told(Mutex<State>);

#[derive(Debug)]
struct State {
    bucket: Bucket,
    untold: u64,
}

impl Refusals {
    /// Nobody was refused yet at `now`, from any fixed moment on.
    pub(super) fn new(now: Duration) -> Self {
        Self { senders: Told::new(now), requests: Told::new(now) }
    }

    /// Tells who is not let in, or counts it for the next that is told.
    pub(super) fn sender(&self, from: IpAddr, refusal: &Refusal, now: Duration) {
        let Some(untold) = self.senders.due(now) else { return };
        let (status, who) = match refusal {
            Refusal::Unauthenticated(_) => (401, None),
            Refusal::Forbidden { who, .. } => (403, who.as_deref().map(plain)),
            Refusal::Unavailable(_) => (503, None),
        };
        tracing::warn!(%from, status, why = refusal.why(), who, untold, "a sender is not let in");
    }

    /// Tells which runner's request is not taken, likewise.
    pub(super) fn request(&self, from: IpAddr, runner: &str, (status, why): (u16, &str), now: Duration) {
        let Some(untold) = self.requests.due(now) else { return };
        tracing::warn!(%from, status, why, runner, untold, "a request is not taken");
    }
}

impl Told {
    fn new(now: Duration) -> Self {
        Self(Mutex::new(State { bucket: Bucket::full(PACE, now), untold: 0 }))
    }

    /// How many were not told since the last; `None` where this is one more.
    fn due(&self, now: Duration) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.bucket.take(1, PACE, now).is_err() {
            state.untold += 1;
            return None;
        }
        Some(std::mem::take(&mut state.untold))
    }
}

/// A name that may be anything: that of no runner.
fn plain(name: &str) -> String {
    name.chars().take(MOST_NAME_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_a_second_and_counted() {
        let at = |ms| Duration::from_millis(ms);
        let refusals = Told::new(at(0));
        let told: Vec<u64> = (0..3000).filter_map(|ms| refusals.due(at(ms))).collect();
        assert_eq!(told, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 990, 999]);
        assert_eq!(refusals.due(at(3000)), Some(999));
    }

    #[test]
    fn strangers_hide_no_runner() {
        let refusals = Refusals::new(Duration::ZERO);
        let told = (0..20).filter_map(|_| refusals.senders.due(Duration::ZERO)).count();
        assert_eq!((told, refusals.requests.due(Duration::ZERO)), (10, Some(0)));
    }

    #[test]
    fn a_name_is_short_and_in_one_line() {
        assert_eq!(plain("x/pod-1"), "x/pod-1");
        assert_eq!(plain("a\nb\u{1b}c"), "a b c");
        assert_eq!(plain(&"é".repeat(300)).chars().count(), MOST_NAME_CHARS);
    }
}
