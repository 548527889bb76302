//! Tells the log who is not let in: a few at once, then one a second, so that a flood of requests makes none of lines.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::auth::Refusal;
use super::pace::{Bucket, Pace};

const PACE: Pace = Pace { a_second: 1, burst: 10 };

/// What was told of refusals, and what was not.
#[derive(Debug)]
pub(super) struct Refusals(Mutex<State>);

#[derive(Debug)]
struct State {
    bucket: Bucket,
    untold: u64,
}

impl Refusals {
    /// Nobody was refused yet at `now`, from any fixed moment on.
    pub(super) fn new(now: Duration) -> Self {
        Self(Mutex::new(State { bucket: Bucket::full(PACE, now), untold: 0 }))
    }

    /// Tells of this one, or counts it for the next that is told.
    pub(super) fn tell(&self, from: IpAddr, refusal: Refusal, now: Duration) {
        let Some(untold) = self.due(now) else { return };
        let (status, why) = match refusal {
            Refusal::Unauthenticated(why) => (401, why),
            Refusal::Forbidden(why) => (403, why),
            Refusal::Unavailable(why) => (503, why),
        };
        tracing::warn!(%from, status, why, untold, "a sender is not let in");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_a_second_and_counted() {
        let at = |ms| Duration::from_millis(ms);
        let refusals = Refusals::new(at(0));
        let told: Vec<u64> = (0..3000).filter_map(|ms| refusals.due(at(ms))).collect();
        assert_eq!(told, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 990, 999]);
        assert_eq!(refusals.due(at(3000)), Some(999));
    }
}
