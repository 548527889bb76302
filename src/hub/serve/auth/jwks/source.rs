//! Where keys are from: a file that may change, a URL that may be away.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::keys::{Keys, KeysError};
use crate::net::client::{Client, ClientError, MOST_ANSWER_BYTES, Matcher, Request};
use crate::net::tls::Tls;
use crate::url::Url;

/// A guest waits five seconds for its answer, which may wait for this.
const WITHIN: Duration = Duration::from_secs(3);

/// Loads keys.
#[derive(Debug)]
pub(super) enum Loader {
    File { path: PathBuf, seen: Option<Stamp> },
    Url { url: Url, client: Box<Client> },
}

/// What of a file changes with what is in it: it is written anew or another one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// Why no keys were loaded.
#[derive(Debug)]
pub(super) enum LoadError {
    Read(io::Error),
    TooLong,
    Client(ClientError),
    Status(StatusCode),
    Keys(KeysError),
    Panicked,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::TooLong => write!(f, "longer than {MOST_ANSWER_BYTES} bytes"),
            Self::Client(error) => error.fmt(f),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Keys(error) => error.fmt(f),
            Self::Panicked => f.write_str("reading it has panicked"),
        }
    }
}

impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "--auth jwks={}", path.display()),
            Self::Url { url, .. } => url.fmt(f),
        }
    }
}

impl Loader {
    /// A loader of this file, and what is in it now.
    pub(super) fn of_file(path: PathBuf) -> (Self, Result<Keys, LoadError>) {
        let (seen, keys) = match read(&path, None) {
            Ok(Some((stamp, bytes))) => (Some(stamp), Keys::parse(&bytes).map_err(LoadError::Keys)),
            Ok(None) => (None, Err(LoadError::Keys(KeysError::Malformed))),
            Err(error) => (None, Err(error)),
        };
        (Self::File { path, seen }, keys)
    }

    /// A loader of this URL, which is not asked yet.
    pub(super) fn of_url(url: Url, tls: Arc<Tls>, proxies: &Matcher) -> Self {
        let client = Box::new(Client::new(url.clone(), tls, proxies));
        Self::Url { url, client }
    }

    /// The keys as they are now; `None` when the file has not changed since they were last loaded.
    pub(super) async fn load(&mut self) -> Result<Option<Keys>, LoadError> {
        let bytes = match self {
            Self::File { path, seen } => {
                let (path, last) = (path.clone(), *seen);
                let read = tokio::task::spawn_blocking(move || read(&path, last)).await;
                let Some((stamp, bytes)) = read.map_err(|_| LoadError::Panicked)?? else { return Ok(None) };
                let keys = Keys::parse(&bytes).map_err(LoadError::Keys)?;
                // Only now: one that was read half-written is read again.
                *seen = Some(stamp);
                return Ok(Some(keys));
            }
            Self::Url { client, .. } => fetch(client).await?,
        };
        Keys::parse(&bytes).map(Some).map_err(LoadError::Keys)
    }
}

async fn fetch(client: &mut Client) -> Result<Vec<u8>, LoadError> {
    let accepted = HeaderValue::from_static("application/jwk-set+json, application/json");
    let headers = HeaderMap::from_iter([(ACCEPT, accepted)]);
    let request = Request { method: Method::GET, headers, body: Bytes::new() };
    let answer = client.send(&request, WITHIN).await.map_err(LoadError::Client)?;
    if answer.status == StatusCode::OK { Ok(answer.body) } else { Err(LoadError::Status(answer.status)) }
}

/// What is in a file, unless it is as it was last seen.
fn read(path: &Path, last: Option<Stamp>) -> Result<Option<(Stamp, Vec<u8>)>, LoadError> {
    let file = File::open(path).map_err(LoadError::Read)?;
    let stamp = Stamp::of(&file.metadata().map_err(LoadError::Read)?);
    if last == Some(stamp) {
        return Ok(None);
    }
    let most = u64::try_from(MOST_ANSWER_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(LoadError::Read)?;
    if bytes.len() > MOST_ANSWER_BYTES { Err(LoadError::TooLong) } else { Ok(Some((stamp, bytes))) }
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        let changed = (file.ctime(), file.ctime_nsec());
        Self { device: file.dev(), inode: file.ino(), bytes: file.size(), changed }
    }
}
