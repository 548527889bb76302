//! Who sent a request: from its token, never from its body.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

pub mod jwks;
pub mod kubernetes;
pub mod naming;
pub mod tokens;

use jwks::Jwks;
use kubernetes::Kubernetes;
use tokens::Tokens;

/// The runner of every sender where nobody has to say who he is.
pub const UNKNOWN_RUNNER: &str = "unknown";

/// Who a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sender {
    /// `runner.name`.
    pub name: String,
    /// `runner.fleet`, where it is known.
    pub fleet: Option<String>,
}

/// Why a request is not served. The reason goes into a metric's label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 401: no token, or one that is not good (any more).
    Unauthenticated(&'static str),
    /// 403: a good token of somebody else than who is to come here.
    Forbidden {
        /// The reason.
        why: &'static str,
        /// Who that is, where the token proves it: for the log.
        who: Option<String>,
    },
    /// 503: it could not be found out now.
    Unavailable(&'static str),
}

/// A way to find out who sent a request.
#[derive(Debug)]
pub enum Auth {
    /// Nobody has to say who he is: loopback only, for trying it out.
    None,
    /// A file of hashed tokens, for small fleets.
    Tokens(Tokens),
    /// The cluster that the runners are in.
    Kubernetes(Box<Kubernetes>),
    /// Keys that are known beforehand.
    Jwks(Jwks),
}

impl Refusal {
    /// That of who is proven to be this one.
    #[must_use]
    pub fn forbidden(why: &'static str, who: String) -> Self {
        Self::Forbidden { why, who: Some(who).filter(|who| !who.is_empty()) }
    }

    /// The reason.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        match self {
            Self::Unauthenticated(why) | Self::Forbidden { why, .. } | Self::Unavailable(why) => why,
        }
    }
}

impl Auth {
    /// Who this token belongs to, which came from this address at `now`.
    ///
    /// # Errors
    /// Says why the request is not served.
    pub async fn sender(&self, token: Option<&str>, from: IpAddr, now: SystemTime) -> Result<Sender, Refusal> {
        let token = || token.ok_or(Refusal::Unauthenticated("no_token"));
        match self {
            Self::None => Ok(Sender { name: UNKNOWN_RUNNER.to_owned(), fleet: None }),
            Self::Tokens(tokens) => tokens.sender(token()?),
            // Boxed: requests that need none of it do not cost what asking takes, and many wait at once.
            Self::Kubernetes(kubernetes) => Box::pin(kubernetes.sender(token()?, from, now)).await,
            Self::Jwks(jwks) => Box::pin(jwks.sender(token()?, now)).await,
        }
    }
}

/// How old something is. Requests overtake each other by moments; a clock that was put back by more makes everything old.
fn age(since: SystemTime, now: SystemTime) -> Duration {
    const OVERTAKEN: Duration = Duration::from_secs(60);
    match now.duration_since(since) {
        Ok(age) => age,
        Err(ahead) if ahead.duration() <= OVERTAKEN => Duration::ZERO,
        Err(_) => Duration::MAX,
    }
}
