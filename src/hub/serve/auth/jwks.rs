//! Offline: tokens are signed by keys that are known beforehand, from a file or a URL. RFC 7517, RFC 7519.
//!
//! What a token proves holds until it ends: that its Pod is gone meanwhile is not seen. The keys of a file are read anew
//! when it changes, those of a URL every [`REFRESHED_EVERY`] in the background; both when a token names a key that is not
//! among them, though not more often than a source is bothered. Keys that could not be read anew are good for
//! [`GOOD_FOR`] more, so that an issuer can be away for a while.

pub mod keys;
mod source;
pub mod token;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::naming::{FleetFrom, Naming};
use super::{Refusal, Sender, age};
use crate::net::client::Matcher;
use crate::net::tls::Tls;
use crate::url::{self, Url, UrlError};

use keys::Keys;
use source::{LoadError, Loader};
use token::Problem;

pub use keys::KeysError;
pub use token::{Expected, LEEWAY, MOST_TOKEN_BYTES};

/// How old the keys of a URL become before they are fetched anew.
pub const REFRESHED_EVERY: Duration = Duration::from_secs(300);

/// How long keys are good that could not be fetched or read anew.
pub const GOOD_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A URL is not asked more often, whatever keys tokens name.
pub const FETCHED_AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// A file is not looked at more often.
pub const LOOKED_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// Where keys are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, as of a ConfigMap.
    File(PathBuf),
    /// A URL: `https`, or `http` on this machine.
    Url(Url),
}

/// What is to be known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the keys are from.
    pub source: Source,
    /// Who issues the tokens, and for whom.
    pub expected: Expected,
    /// Who is who. Its fleet cannot be a Pod's label: nobody is asked for one.
    pub naming: Naming,
}

/// Why tokens cannot be checked this way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksError {
    /// The source begins like a URL and is none.
    NoUrl {
        /// What was given, without what may be secret in it.
        given: String,
        /// What is wrong with it.
        error: UrlError,
    },
    /// Keys that come in the clear can be anybody's.
    Exposed(Url),
    /// There are no keys in the file.
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: String,
    },
    /// The issuer or the audience is empty.
    Empty(&'static str),
    /// A Pod's label is asked for, and nobody there to tell it.
    Label,
}

/// Who sent a request, by keys that are known beforehand.
#[derive(Debug)]
pub struct Jwks {
    ring: Arc<Ring>,
    expected: Expected,
    naming: Naming,
}

/// The keys that are held, and the way to newer ones.
#[derive(Debug)]
struct Ring {
    /// Held by whoever loads: one at a time.
    loader: Arc<tokio::sync::Mutex<Loader>>,
    state: Mutex<State>,
    /// How old keys become before they are loaded anew.
    every: Duration,
    /// Not more often.
    pause: Duration,
    /// Whether a request that could do with the old keys waits for the new ones.
    waits: Waits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// A file is read in no time.
    Always,
    /// A URL takes its time.
    WithoutKeys,
}

#[derive(Debug, Default)]
struct State {
    /// The keys, and when they were last known to be the newest.
    held: Option<(Arc<Keys>, SystemTime)>,
    /// When loading was last tried, and whether it went well.
    tried: Option<(SystemTime, Outcome)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Loaded,
    Failed,
}

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUrl { given, error } => write!(f, "{given}: {error}"),
            Self::Exposed(url) => write!(f, "{url}: keys that come in the clear can be anybody's: use https"),
            Self::File { path, error } => write!(f, "--auth jwks={}: {error}", path.display()),
            Self::Empty(what) => write!(f, "tokens are only good with an {what} to expect"),
            Self::Label => f.write_str("a fleet from a Pod's label needs the API: nobody is asked with a key set"),
        }
    }
}

impl std::error::Error for JwksError {}

impl Source {
    /// Reads a setting: a URL where it begins with `http://` or `https://`, else a path.
    ///
    /// # Errors
    /// When it begins like a URL and is none, or leads over the network in the clear.
    pub fn parse(text: &str) -> Result<Self, JwksError> {
        let is_url = ["http://", "https://"]
            .iter()
            .any(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        if !is_url {
            return Ok(Self::File(text.into()));
        }
        match Url::parse(text) {
            Ok(url) if url.is_exposed() => Err(JwksError::Exposed(url)),
            Ok(url) => Ok(Self::Url(url)),
            Err(error) => Err(JwksError::NoUrl { given: url::without_secrets(text), error }),
        }
    }
}

impl Jwks {
    /// Reads the keys of a file; those of a URL are fetched when they are first needed.
    ///
    /// # Errors
    /// [`JwksError`] when a setting is wrong, or there are no keys in the file.
    pub fn new(settings: Settings, tls: Arc<Tls>, proxies: &Matcher, now: SystemTime) -> Result<Self, JwksError> {
        let Settings { source, expected, naming } = settings;
        for (what, value) in [("issuer", &expected.issuer), ("audience", &expected.audience)] {
            if value.is_empty() {
                return Err(JwksError::Empty(what));
            }
        }
        if matches!(naming.fleet_from, FleetFrom::Label(_)) {
            return Err(JwksError::Label);
        }
        let ring = match source {
            Source::File(path) => Ring::of_file(path, now)?,
            Source::Url(url) if url.is_exposed() => return Err(JwksError::Exposed(url)),
            Source::Url(url) => Ring::new(
                Loader::of_url(url, tls, proxies),
                State::default(),
                (REFRESHED_EVERY, FETCHED_AT_MOST_EVERY, Waits::WithoutKeys),
            ),
        };
        Ok(Self { ring: Arc::new(ring), expected, naming })
    }

    /// Who this token belongs to, at `now`.
    ///
    /// # Errors
    /// Says why the request is not served: [`Refusal::Unavailable`] when it takes keys that cannot be had.
    pub async fn sender(&self, token: &str, now: SystemTime) -> Result<Sender, Refusal> {
        if token.len() > MOST_TOKEN_BYTES {
            return Err(Refusal::Unauthenticated(Problem::Oversized.word()));
        }
        let keys = self.ring.current(now).await?;
        let claims = match token::check(token, &keys, &self.expected, now) {
            Err(Problem::UnknownKey) => token::check(token, &*self.ring.newest(now).await?, &self.expected, now),
            checked => checked,
        };
        let claims = claims.map_err(|problem| Refusal::Unauthenticated(problem.word()))?;
        let bound = claims.bound().map_err(|user| Refusal::forbidden("no_service_account", user))?;
        let name = self.naming.name(&bound)?;
        let fleet = match &self.naming.fleet_from {
            FleetFrom::Pattern(pattern) => pattern.fleet(name),
            FleetFrom::Nothing | FleetFrom::Label(_) => None,
        };
        Ok(Sender { name: name.to_owned(), fleet })
    }
}

impl Ring {
    fn new(loader: Loader, state: State, (every, pause, waits): (Duration, Duration, Waits)) -> Self {
        Self { loader: Arc::new(tokio::sync::Mutex::new(loader)), state: Mutex::new(state), every, pause, waits }
    }

    fn of_file(path: PathBuf, now: SystemTime) -> Result<Self, JwksError> {
        let (loader, loaded) = Loader::of_file(path.clone());
        let keys = loaded.map_err(|error| JwksError::File { path, error: error.to_string() })?;
        tell_ignored(&keys);
        let state = State { held: Some((Arc::new(keys), now)), tried: Some((now, Outcome::Loaded)) };
        Ok(Self::new(loader, state, (LOOKED_AT_MOST_EVERY, LOOKED_AT_MOST_EVERY, Waits::Always)))
    }

    /// Keys that are good, whichever they are.
    async fn current(self: &Arc<Self>, now: SystemTime) -> Result<Arc<Keys>, Refusal> {
        match self.held(now) {
            Some((keys, age)) if age < self.every => return Ok(keys),
            Some((keys, _)) if self.waits == Waits::WithoutKeys => {
                self.load_behind(now);
                return Ok(keys);
            }
            _ => self.load(now).await,
        }
        self.held(now).map(|(keys, _)| keys).ok_or(Refusal::Unavailable("keys"))
    }

    /// The newest keys, as far as the source may be asked for them.
    async fn newest(&self, now: SystemTime) -> Result<Arc<Keys>, Refusal> {
        self.load(now).await;
        let has_failed = matches!(self.state().tried, Some((_, Outcome::Failed)));
        // A key that is not known may be among those that could not be loaded.
        let keys = self.held(now).filter(|_| !has_failed).map(|(keys, _)| keys);
        keys.ok_or(Refusal::Unavailable("keys"))
    }

    /// Loads unless that was tried a moment ago: by whoever this waited for, too.
    async fn load(&self, now: SystemTime) {
        if self.may_load(now) {
            let mut loader = self.loader.lock().await;
            self.load_with(&mut loader, now).await;
        }
    }

    /// Likewise, while nobody waits for it.
    fn load_behind(self: &Arc<Self>, now: SystemTime) {
        if !self.may_load(now) {
            return;
        }
        if let Ok(mut loader) = Arc::clone(&self.loader).try_lock_owned() {
            let ring = Arc::clone(self);
            tokio::spawn(async move { ring.load_with(&mut loader, now).await });
        }
    }

    async fn load_with(&self, loader: &mut Loader, now: SystemTime) {
        if !self.may_load(now) {
            return;
        }
        let loaded = loader.load().await;
        let mut state = self.state();
        state.tried = Some((now, if loaded.is_ok() { Outcome::Loaded } else { Outcome::Failed }));
        match loaded {
            Ok(Some(keys)) => {
                tell_ignored(&keys);
                state.held = Some((Arc::new(keys), now));
            }
            Ok(None) => state.held = state.held.take().map(|(keys, _)| (keys, now)),
            Err(error) => tell_failed(&error, loader),
        }
    }

    fn may_load(&self, now: SystemTime) -> bool {
        self.state().tried.is_none_or(|(at, _)| age(at, now) >= self.pause)
    }

    /// The keys and their age, unless they are too old.
    fn held(&self, now: SystemTime) -> Option<(Arc<Keys>, Duration)> {
        let (keys, since) = self.state().held.clone()?;
        Some((keys, age(since, now))).filter(|(_, age)| *age < GOOD_FOR)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell_ignored(keys: &Keys) {
    if keys.ignored > 0 {
        tracing::warn!(ignored = keys.ignored, "keys that cannot be used");
    }
}

fn tell_failed(error: &LoadError, loader: &Loader) {
    tracing::warn!(source = %loader, %error, "no newer keys");
}
