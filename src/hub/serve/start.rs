//! From settings to a hub with its ports.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::auth::Auth;
use super::auth::jwks::Jwks;
use super::auth::kubernetes::Kubernetes;
use super::auth::tokens::{Table, Tokens};
use super::budget::Budget;
use super::config::{AuthMode, Config, OutMode};
use super::fleets::Fleets;
use super::listen::{self, Port};
use super::metrics::Metrics;
use super::out::Out;
use super::out::dir::Dir;
use super::out::loki::Loki;
use super::out::stdout::Stdout;
use super::pages::Pages;
use super::refusals::Refusals;
use super::reload::{Files, Watched};
use super::runners::Runners;
use super::tls::{Tls, TlsFiles};
use super::ways::Ways;
use super::{Hub, ServeError, Side};
use crate::hub::fleet::file::FleetFile;
use crate::hub::named::NamedFile;
use crate::hub::trail;
use crate::net;
use crate::net::client::Matcher;

/// Descriptors that are not for guests: 64 files below the folder, 64 connections of those who look at metrics, as many to
/// Loki ([`CONNECTIONS`](super::out::loki::CONNECTIONS)), the rest for looking up its name, connections to the API and a key set, files that are read
/// again, and what the process itself has.
const NOT_FOR_GUESTS: u64 = 320;

/// Lets it have as many connections open as the system allows: the soft limit is often 1,024.
pub(super) fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit of open files stays low");
    }
}

/// How many guests can be connected at once: as many as were wanted, or as the limit of open files leaves.
fn connections(wanted: u32) -> Result<u32, ServeError> {
    let Some(open_files) = getrlimit(Resource::Nofile).current else { return Ok(wanted) };
    let Some(left) = left_for_guests(wanted, open_files) else {
        let why = format!("only {open_files} open files are allowed: the hub itself takes up to {NOT_FOR_GUESTS}");
        return Err(ServeError::System(io::Error::other(why)));
    };
    if left < wanted {
        tracing::warn!(wanted, connections = left, open_files, "the limit of open files leaves fewer connections");
    }
    Ok(left)
}

/// Of so many open files; `None` when there are none for guests.
fn left_for_guests(wanted: u32, open_files: u64) -> Option<u32> {
    let left = open_files.checked_sub(NOT_FOR_GUESTS).filter(|left| *left > 0)?;
    Some(u32::try_from(left).map_or(wanted, |left| left.min(wanted)))
}

/// The hub, and how its main port is encrypted; `files` are those that it read and that may change.
pub(super) async fn hub(config: &Config, files: &mut Files) -> Result<(Arc<Hub>, Option<Arc<Tls>>), ServeError> {
    let fleets = match &config.fleet_file {
        None => FleetFile::default(),
        Some(file) => {
            let [content] = files.fleets.first([file]).map_err(|error| setting(&error))?;
            fleets(file, &content).map_err(ServeError::Setting)?
        }
    };
    let fleets = Arc::new(Fleets::new(fleets, SystemTime::now()));
    let metrics = Arc::new(Metrics::of(Arc::clone(&fleets)));
    let tls = match &config.tls {
        None => None,
        Some(of) => {
            let [chain, key] = files.tls.first([&of.cert, &of.key]).map_err(|error| setting(&error))?;
            let made = of.config(&chain, &key);
            Some(Arc::new(Tls::new(made.map_err(ServeError::Setting)?)))
        }
    };
    let trust = trust(config.ca_file.as_deref())?;
    let outs =
        config.outs.iter().map(|out| way_out(out, &metrics, &trust)).collect::<Result<Vec<Out>, ServeError>>()?;
    let pushed = config.outs.iter().filter_map(|out| match out {
        OutMode::Loki(settings) => settings.credentials.as_ref(),
        _ => None,
    });
    for credentials in pushed.chain(config.tail.iter().filter_map(|tail| tail.credentials.as_ref())) {
        // For the error only: each request reads it anew.
        credentials.header().await.map_err(|error| ServeError::Setting(error.to_string()))?;
    }
    let dir = config.outs.iter().find_map(|out| match out {
        OutMode::Dir(dir, _) => Some(dir.clone()),
        _ => None,
    });
    let auth = auth(&config.auth, &trust, &mut files.tokens).await?;
    let readers = config.readers.as_ref().map(|file| readers(file, &mut files.page_tokens)).transpose()?;
    if let (Auth::Tokens(senders), Some(readers)) = (&auth, &readers)
        && senders.are_all_among(readers)
    {
        tracing::warn!("nobody is let in who sends lines: each token of --auth tokens= is in --page-tokens-file too");
    }
    let hub = Hub {
        auth,
        readers,
        env: config.env.clone(),
        runners: Runners::new(config.pace),
        pace: config.pace,
        ways: Ways::new(outs, Arc::clone(&metrics)),
        budget: Budget::new(config.max_queue_bytes),
        metrics,
        fleets,
        pages: Pages::new(config.has_open_pages, dir, config.tail.clone(), config.ca_file.clone()),
        began: Instant::now(),
        refusals: Refusals::new(Duration::ZERO),
        is_draining: AtomicBool::new(false),
        given_back: AtomicUsize::new(0),
    };
    Ok((Arc::new(hub), tls))
}

/// The port for lines. Its address stands in the log: port 0 means any.
pub(super) async fn port(config: &Config, hub: &Arc<Hub>, tls: Option<&Arc<Tls>>) -> Result<Port, ServeError> {
    let side = if config.metrics_listen.is_some() { Side::Own } else { Side::Shared };
    let max_connections = connections(config.max_connections)?;
    let listener = listen::bind("--listen", config.listen).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, tls = tls.is_some(), path = config.path, connections = max_connections, "listening");
    if tls.is_none() && !address.ip().to_canonical().is_loopback() {
        tracing::warn!("no TLS: something in front has to encrypt, or tokens travel in the clear");
    }
    let router = super::main_routes(hub, &config.path, side);
    let metrics = Arc::clone(&hub.metrics);
    Ok(Port { listener, router, tls: tls.cloned(), max_connections, metrics })
}

/// The port for metrics and health, where it has one.
pub(super) async fn side_port(config: &Config, hub: &Arc<Hub>) -> Result<Option<Port>, ServeError> {
    const CONNECTIONS: u32 = 64;
    let Some(address) = config.metrics_listen else { return Ok(None) };
    let listener = listen::bind("--metrics-listen", address).await?;
    tracing::info!(address = %listener.local_addr()?, "metrics");
    let (router, metrics) = (super::side_routes(hub), Arc::clone(&hub.metrics));
    Ok(Some(Port { listener, router, tls: None, max_connections: CONNECTIONS, metrics }))
}

/// Takes a changed tokens file.
pub(super) fn take_tokens(tokens: &Tokens, file: &NamedFile, contents: &[Vec<u8>]) -> Result<(), String> {
    let [content] = contents else { return Ok(()) };
    let table = table(file, content)?;
    // Who writes a file anew often empties it first.
    if table.count() == 0 && tokens.count() > 0 {
        return Err(format!("{file}: no token in it any more"));
    }
    tokens.replace(table);
    Ok(())
}

/// Who is asked for the latest lines.
pub(super) fn tail(settings: &trail::loki::Settings) -> Result<trail::loki::Loki, ServeError> {
    trail::loki::Loki::new(settings).map_err(|error| ServeError::Setting(format!("--tail-loki {error}")))
}

/// Takes a changed fleet file.
pub(super) fn take_fleets(taken: &Fleets, file: &NamedFile, contents: &[Vec<u8>]) -> Result<(), String> {
    let [content] = contents else { return Ok(()) };
    taken.take_file(fleets(file, content)?);
    Ok(())
}

/// Takes a changed certificate and key.
pub(super) fn take_tls(tls: &Tls, files: &TlsFiles, contents: &[Vec<u8>]) -> Result<(), String> {
    let [chain, key] = contents else { return Ok(()) };
    tls.replace(files.config(chain, key)?);
    Ok(())
}

async fn auth(mode: &AuthMode, trust: &Arc<net::tls::Tls>, watched: &mut Watched) -> Result<Auth, ServeError> {
    match mode {
        AuthMode::None => Ok(Auth::None),
        AuthMode::Tokens(file) => {
            let tokens = tokens(file, watched)?;
            tracing::info!(tokens = tokens.count(), "tokens are read");
            if tokens.count() == 0 {
                tracing::warn!("nobody is let in: there is no token yet");
            }
            Ok(Auth::Tokens(tokens))
        }
        AuthMode::Kubernetes(settings) => {
            let kubernetes = Kubernetes::new(settings.clone()).await;
            Ok(Auth::Kubernetes(Box::new(kubernetes.map_err(|error| ServeError::Setting(error.to_string()))?)))
        }
        AuthMode::Jwks(settings) => {
            let (trust, now) = (Arc::clone(trust), SystemTime::now());
            let jwks = Jwks::new(settings.clone(), trust, &Matcher::from_env(), now);
            jwks.map(Auth::Jwks).map_err(|error| ServeError::Setting(error.to_string()))
        }
    }
}

/// Who may look at pages.
fn readers(file: &NamedFile, watched: &mut Watched) -> Result<Tokens, ServeError> {
    let tokens = tokens(file, watched)?;
    tracing::info!(tokens = tokens.count(), "tokens of readers are read");
    if tokens.count() == 0 {
        tracing::warn!("nobody sees a page: there is no token of a reader yet");
    }
    Ok(tokens)
}

fn tokens(file: &NamedFile, watched: &mut Watched) -> Result<Tokens, ServeError> {
    let [content] = watched.first([file]).map_err(|error| setting(&error))?;
    table(file, &content).map(Tokens::new).map_err(ServeError::Setting)
}

/// What a tokens file says.
fn table(file: &NamedFile, content: &[u8]) -> Result<Table, String> {
    Table::parse(text(file, content)?).map_err(|error| format!("{file}: {error}"))
}

/// What the fleet file says.
fn fleets(file: &NamedFile, content: &[u8]) -> Result<FleetFile, String> {
    FleetFile::parse(text(file, content)?, Path::new(&file.to_string())).map_err(|error| error.to_string())
}

fn text<'a>(file: &NamedFile, content: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(content).map_err(|_| format!("{file}: not UTF-8"))
}

/// Whom the hub trusts. A file of it is read now, or the first connection would find out that it is none.
fn trust(ca_file: Option<&Path>) -> Result<Arc<net::tls::Tls>, ServeError> {
    let trust = net::tls::Tls::new(ca_file.map(Path::to_owned));
    if let Some(path) = ca_file {
        NamedFile::new("--ca-file", path.to_owned()).read().map_err(|error| setting(&error))?;
        trust.config().map_err(|error| ServeError::Setting(format!("--ca-file {error}")))?;
    }
    Ok(Arc::new(trust))
}

fn way_out(mode: &OutMode, metrics: &Metrics, trust: &Arc<net::tls::Tls>) -> Result<Out, ServeError> {
    match mode {
        OutMode::Stdout => {
            let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            if was_closed(&stdout)? {
                return Err(io::Error::other("stdout is not open: lines would go nowhere").into());
            }
            Ok(Out::Stdout(Stdout::start(stdout)?))
        }
        OutMode::Dir(dir, caps) => {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("--dir {error}"));
            Ok(Out::Dir(Dir::start(dir, *caps, metrics.dir.clone()).map_err(named)?))
        }
        OutMode::Loki(settings) => {
            let (settings, trust) = (settings.as_ref().clone(), Arc::clone(trust));
            let loki = Loki::new(settings, trust, Matcher::from_env(), metrics.loki.clone());
            loki.map(|loki| Out::Loki(Box::new(loki))).map_err(|error| ServeError::Setting(error.to_string()))
        }
    }
}

/// Whether whoever started this had stdout closed: Rust's start then opens /dev/null in its place, for reading too, which
/// nobody does who means it.
fn was_closed(stdout: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let is_null = stdout.metadata()?.rdev() == fs::metadata("/dev/null")?.rdev();
    Ok(is_null && rustix::fs::fcntl_getfl(stdout)?.contains(rustix::fs::OFlags::RDWR))
}

fn setting(error: &io::Error) -> ServeError {
    ServeError::Setting(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_have_what_files_leave() {
        for (wanted, open_files, left) in [
            (12_000, 1 << 20, Some(12_000)),
            (12_000, 12_320, Some(12_000)),
            (12_000, 12_319, Some(11_999)),
            (12_000, 1024, Some(704)),
            (12_000, 321, Some(1)),
            (12_000, 320, None),
            (1, 3, None),
            (1_000_000, u64::MAX, Some(1_000_000)),
        ] {
            assert_eq!(left_for_guests(wanted, open_files), left, "{wanted} of {open_files}");
        }
    }
}
