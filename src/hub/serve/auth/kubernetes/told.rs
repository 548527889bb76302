//! What an operator is told of the API: every request of every runner has the same trouble, so now and then.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::hub::serve::auth::{Refusal, age};

/// Trouble is told so often.
const EVERY: Duration = Duration::from_secs(10);

/// What stands in a log of one error, at most: whoever answers in the API's place can say anything.
const MOST_CHARS: usize = 300;

/// When trouble was last told.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Option<SystemTime>>);

impl Told {
    /// The API could not be asked about this token, or not by this program.
    pub(super) fn unavailable(&self, error: &kube::Error, token: &str, now: SystemTime) -> Refusal {
        let is_due = self.is_due(now);
        match error {
            kube::Error::Api(status) => {
                if is_due {
                    let (reason, why) = (without(&status.reason, token), without(&status.message, token));
                    tracing::warn!(code = status.code, reason, why, "refused by the API");
                }
                Refusal::Unavailable("api_refused")
            }
            error => {
                if is_due {
                    tracing::warn!(error = without(&error.to_string(), token), "no answer from the API");
                }
                Refusal::Unavailable("api")
            }
        }
    }

    /// Whether it is time to tell again.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.is_none_or(|at| age(at, now) >= EVERY);
        if is_due {
            *told = Some(now);
        }
        is_due
    }
}

/// What somebody answered, without the token that he was asked about: a proxy may repeat the question.
fn without(text: &str, token: &str) -> String {
    let mut text = text.replace(token, "…");
    if let Some((at, _)) = text.char_indices().nth(MOST_CHARS) {
        text.truncate(at);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_and_no_flood_is_told() {
        let token = "eyJh.eyJz.c2ln";
        assert_eq!(without(&format!("bad request: {token}, {token}"), token), "bad request: …, …");
        assert_eq!(without(&"é".repeat(MOST_CHARS), token), "é".repeat(MOST_CHARS));
        assert_eq!(without(&"é".repeat(MOST_CHARS + 1), token), format!("{}…", "é".repeat(MOST_CHARS)));
    }

    #[test]
    fn it_is_told_now_and_then() {
        let told = Told::default();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (now_s, is_due) in [(1000, true), (1009, false), (1010, true), (1005, false), (100, true), (105, false)] {
            assert_eq!(told.is_due(at(now_s)), is_due, "{now_s}");
        }
    }
}
