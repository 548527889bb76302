//! By asking the cluster: a TokenReview says whose a token is, a Pod's label which fleet it is of.
//!
//! An answer is good for [`GOOD_FOR`] at most and never past the token's end, so a token of a Pod that is gone is taken no
//! longer than that. A refusal is kept for [`REFUSED_FOR`], a label for [`LABEL_FOR`]. Each token is asked about once at a
//! time, and no more than [`AT_ONCE`] tokens are. Whoever makes up tokens is not to keep the API busy, nor a runner out that
//! it knows: those that were never good are asked about at the pace of [`STRANGERS`] and have half of the room; one that was
//! good lately is none of them. A new runner's is: whoever floods the hub keeps it out for a while, but from one address, of
//! which half as many are asked about, only those who come from there too. Of a token is kept its SHA-256.
//!
//! Source: <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/>.

mod bounded;
mod review;
mod strangers;
mod told;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::core::v1::Pod as ApiPod;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::naming::{Bound, FleetFrom, Naming, Pod};
use super::{Refusal, Sender};
use crate::hub::serve::pace::Pace;
use crate::url::Url;

use bounded::Bounded;
use review::{Label, Unchecked};
use strangers::Strangers;
use told::Told;

/// How long an answer is good.
pub const GOOD_FOR: Duration = Duration::from_secs(60);

/// How long it is kept that a token is not good.
pub const REFUSED_FOR: Duration = Duration::from_secs(5);

/// How long it is kept that nothing could be found out: whoever waits for the same is not to ask again in turn.
pub const UNAVAILABLE_FOR: Duration = Duration::from_secs(1);

/// How long the label of a Pod is kept; that it has none, for [`GOOD_FOR`].
pub const LABEL_FOR: Duration = Duration::from_secs(300);

/// A guest waits five seconds for its answer, which may wait for this.
pub const WITHIN: Duration = Duration::from_secs(3);

/// So many tokens are asked about at once.
pub const AT_ONCE: usize = 16;

/// Tokens that were never good, a second and at once, that are asked about: a thousand runners find a hub that knows
/// nobody at once, ten thousand within three minutes.
pub const STRANGERS: Pace = Pace { a_second: 50, burst: 1000 };

/// Of them, those that come from one address, or one /64 of IPv6: so that it does not take all. Through a proxy all come
/// from one, and half as many find a hub that knows nobody.
pub const OF_AN_ADDRESS: Pace = Pace { a_second: STRANGERS.a_second / 2, burst: STRANGERS.burst / 2 };

/// For so long after it was last good a token is none of them; never past its end.
pub const PROVEN_FOR: Duration = Duration::from_secs(60 * 60);

/// Far longer than any service account's token.
pub const MOST_TOKEN_BYTES: usize = 8 * 1024;

/// Good tokens that are remembered: one a runner, two while it gets a new one.
const MOST_GOOD: usize = 16 * 1024;

/// Refused ones have a room of their own: they are not to push out the good.
const MOST_REFUSED: usize = 4 * 1024;

/// The answer of the API itself must come so soon that there is time left to tell.
const ASKED_WITHIN: Duration = Duration::from_millis(2500);

/// How the API is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// As the Pod that this runs in: its service account.
    Own,
    /// As a kubeconfig's current context says.
    Kubeconfig(PathBuf),
}

/// What is to be known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whom to ask.
    pub cluster: Cluster,
    /// For whom a token has to be.
    pub audience: String,
    /// Who is who.
    pub naming: Naming,
}

/// Why the API cannot be asked at all.
#[derive(Debug)]
pub enum KubernetesError {
    /// The audience is empty.
    NoAudience,
    /// This does not run in a Pod with a service account.
    NotInCluster(String),
    /// The kubeconfig cannot be used.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
}

/// Who sent a request, by asking the cluster.
pub struct Kubernetes {
    client: Client,
    audience: String,
    naming: Naming,
    good: Bounded<TokenHash, Sender>,
    refused: Bounded<TokenHash, Refusal>,
    /// Tokens that were good lately.
    proven: Bounded<TokenHash, ()>,
    labels: Bounded<(String, Pod), Option<String>>,
    turns: Turns,
    strangers: Strangers,
    room: Semaphore,
    told: Told,
}

type TokenHash = [u8; 32];

/// The time of a request: when it came, and what has gone by since.
#[derive(Clone, Copy, Debug)]
struct Clock {
    came: SystemTime,
    began: Instant,
}

/// One at a time asks about the same token.
#[derive(Debug, Default)]
struct Turns {
    by_token: Mutex<HashMap<TokenHash, Weak<tokio::sync::Mutex<()>>>>,
}

impl fmt::Display for KubernetesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAudience => f.write_str("--audience: a token is only good with an audience to expect"),
            Self::NotInCluster(error) => write!(f, "not in a cluster, and no --kubeconfig given: {error}"),
            Self::Kubeconfig { path, error } => write!(f, "--kubeconfig {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for KubernetesError {}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes")
            .field("audience", &self.audience)
            .field("naming", &self.naming)
            .finish_non_exhaustive()
    }
}

impl Kubernetes {
    /// Reads how the API is reached. Nothing is asked yet. To be called within tokio's runtime.
    ///
    /// # Errors
    /// [`KubernetesError`] when a setting is wrong or a file that it needs is not there.
    pub async fn new(settings: Settings) -> Result<Self, KubernetesError> {
        let Settings { cluster, audience, naming } = settings;
        if audience.is_empty() {
            return Err(KubernetesError::NoAudience);
        }
        let client = match &cluster {
            Cluster::Own => own_client()?,
            Cluster::Kubeconfig(path) => {
                client_of(path).await.map_err(|error| KubernetesError::Kubeconfig { path: path.clone(), error })?
            }
        };
        Ok(Self {
            client,
            audience,
            naming,
            good: Bounded::new(MOST_GOOD),
            refused: Bounded::new(MOST_REFUSED),
            proven: Bounded::new(MOST_GOOD),
            labels: Bounded::new(MOST_GOOD),
            turns: Turns::default(),
            strangers: Strangers::new(),
            room: Semaphore::new(AT_ONCE),
            told: Told::default(),
        })
    }

    /// Who this token belongs to, which came from this address at `now`.
    ///
    /// # Errors
    /// Says why the request is not served: [`Refusal::Unavailable`] when the API does not answer in time, or not at all.
    pub async fn sender(&self, token: &str, from: IpAddr, now: SystemTime) -> Result<Sender, Refusal> {
        if token.len() > MOST_TOKEN_BYTES {
            return Err(Refusal::Unauthenticated("oversized"));
        }
        let clock = Clock { came: now, began: Instant::now() };
        let hash: TokenHash = Sha256::digest(token).into();
        if let Some(known) = self.known(&hash, now) {
            return known;
        }
        let unchecked = Unchecked::read(token).ok_or(Refusal::Unauthenticated("malformed"))?;
        if let Some(refusal) = unchecked.refusal(&self.audience, now) {
            return Err(refusal);
        }
        let found = tokio::time::timeout(WITHIN, self.in_turn(token, hash, &unchecked, from, clock)).await;
        found.unwrap_or(Err(Refusal::Unavailable("timeout")))
    }

    fn known(&self, hash: &TokenHash, now: SystemTime) -> Option<Result<Sender, Refusal>> {
        let good = self.good.get(hash, now).map(Ok);
        good.or_else(|| self.refused.get(hash, now).map(Err))
    }

    /// Asks, unless whoever asked before has found out.
    async fn in_turn(
        &self,
        token: &str,
        hash: TokenHash,
        unchecked: &Unchecked,
        from: IpAddr,
        clock: Clock,
    ) -> Result<Sender, Refusal> {
        let turn = self.turns.of(hash);
        let _turn = turn.lock().await;
        let now = clock.now();
        if let Some(known) = self.known(&hash, now) {
            return known;
        }
        let _place = match self.proven.get(&hash, now) {
            Some(()) => None,
            None => Some(self.strangers.place(from, now).await?),
        };
        let _room = self.room.acquire().await.map_err(|_| Refusal::Unavailable("closed"))?;
        let found = tokio::time::timeout(ASKED_WITHIN, self.ask(token, clock.came)).await;
        let found = found.unwrap_or(Err(Refusal::Unavailable("timeout")));
        // What is good, is so from before it was asked on. The rest begins now: a question may take longer than it is kept.
        let since = if found.is_ok() { clock.came } else { clock.now() };
        self.keep(hash, &found, unchecked, since);
        found
    }

    fn keep(&self, hash: TokenHash, found: &Result<Sender, Refusal>, unchecked: &Unchecked, now: SystemTime) {
        let at_most = |kept: Duration| unchecked.ends().map_or(now + kept, |ends| ends.min(now + kept));
        match found {
            Ok(sender) => {
                self.good.put(hash, sender.clone(), at_most(GOOD_FOR), now);
                self.proven.put(hash, (), at_most(PROVEN_FOR), now);
            }
            Err(refusal @ Refusal::Unavailable(_)) => {
                self.refused.put(hash, refusal.clone(), now + UNAVAILABLE_FOR, now);
            }
            Err(refusal) => {
                self.proven.forget(&hash);
                self.refused.put(hash, refusal.clone(), now + REFUSED_FOR, now);
            }
        }
    }

    async fn ask(&self, token: &str, now: SystemTime) -> Result<Sender, Refusal> {
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let question = review::question(token, &self.audience);
        let answer = reviews
            .create(&PostParams::default(), &question)
            .await
            .map_err(|error| self.told.unavailable(&error, token, now))?;
        let bound = review::judge(answer, &self.audience)?;
        let name = self.naming.name(&bound)?;
        let fleet = match &self.naming.fleet_from {
            FleetFrom::Nothing => None,
            FleetFrom::Pattern(pattern) => pattern.fleet(name),
            FleetFrom::Label(key) => self.label(&bound, key, token, now).await?,
        };
        Ok(Sender { name: name.to_owned(), fleet })
    }

    /// A label of the Pod that a token is bound to.
    async fn label(&self, bound: &Bound, key: &str, token: &str, now: SystemTime) -> Result<Option<String>, Refusal> {
        let Some(pod) = &bound.pod else { return Ok(None) };
        let question = (bound.namespace.clone(), pod.clone());
        if let Some(label) = self.labels.get(&question, now) {
            return Ok(label);
        }
        let pods: Api<ApiPod> = Api::namespaced(self.client.clone(), &bound.namespace);
        let found = pods.get_metadata_opt(&pod.name).await;
        let found = found.map_err(|error| self.told.unavailable(&error, token, now))?;
        match review::label(found.as_ref().map(|found| &found.metadata), pod.uid.as_deref(), key) {
            Label::Replaced => Err(Refusal::Unauthenticated("pod_replaced")),
            Label::Known(label) => {
                let good_for = if label.is_some() { LABEL_FOR } else { GOOD_FOR };
                self.labels.put(question, label.clone(), now + good_for, now);
                Ok(label)
            }
        }
    }
}

impl Clock {
    fn now(&self) -> SystemTime {
        self.came + self.began.elapsed()
    }
}

impl Turns {
    /// Held by whoever asks about this token.
    fn of(&self, token: TokenHash) -> Arc<tokio::sync::Mutex<()>> {
        let mut by_token = self.by_token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = by_token.get(&token).and_then(Weak::upgrade) {
            return turn;
        }
        // Those nobody waits for any more.
        by_token.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        by_token.insert(token, Arc::downgrade(&turn));
        turn
    }
}

fn own_client() -> Result<Client, KubernetesError> {
    let config = Config::incluster().map_err(|error| KubernetesError::NotInCluster(error.to_string()))?;
    client(config).map_err(KubernetesError::NotInCluster)
}

async fn client_of(kubeconfig: &Path) -> Result<Client, String> {
    let read = Kubeconfig::read_from(kubeconfig).map_err(|error| error.to_string())?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    client(config.map_err(|error| error.to_string())?)
}

fn client(mut config: Config) -> Result<Client, String> {
    if config.cluster_url.scheme_str() != Some("https") {
        let url = Url::parse(&config.cluster_url.to_string()).map_err(|error| format!("server: {error}"))?;
        if url.is_exposed() {
            return Err(format!("{url}: runners' tokens would travel in the clear: use https"));
        }
    }
    if config.accept_invalid_certs {
        tracing::warn!("the API's certificate is not checked: whoever takes its place has the runners' tokens");
    }
    // The deadline of a question is shorter than the library's own patience.
    config.connect_timeout = Some(ASKED_WITHIN);
    config.read_timeout = Some(ASKED_WITHIN);
    config.reset_reader_on_write = true;
    config.write_timeout = Some(ASKED_WITHIN);
    config.default_retry = false;
    Client::try_from(config).map_err(|error| error.to_string())
}
