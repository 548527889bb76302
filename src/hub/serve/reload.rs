//! Takes what changes in the files that settings name, while it runs. By what stands in them: a mounted secret changes by a
//! link, and a clock can be coarse.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::Hub;
use super::auth::Auth;
use super::config::{AuthMode, Config};
use super::metrics::Metrics;
use super::start;
use super::tls::Tls;
use crate::hub::named::NamedFile;

/// How often files are looked at.
pub const EVERY: Duration = Duration::from_secs(1);

/// Files that belong together, and who takes what changes in them.
pub(super) struct Watch {
    /// What they are in metrics and in the log.
    what: &'static str,
    watched: Watched,
    take: Box<Take>,
}

/// Takes what stands in files now, in their order; an error names the file.
type Take = dyn Fn(&[Vec<u8>]) -> Result<(), String> + Send;

/// All files that are read again when they change, as they are before the start reads them: whatever changes from then on is a change.
pub(super) struct Files {
    tls: Watched,
    fleets: Watched,
    tokens: Watched,
    page_tokens: Watched,
}

/// Files that belong together.
#[derive(Debug)]
pub struct Watched {
    files: Vec<NamedFile>,
    seen: Option<[u8; 32]>,
    has_failed: bool,
}

/// What a look found.
#[derive(Debug)]
pub enum Look {
    /// Nothing new, or the same trouble as before.
    Same,
    /// What stands in them now, in their order.
    Changed(Vec<Vec<u8>>),
    /// They cannot be read any more.
    Unreadable(io::Error),
}

impl Files {
    /// Those that the settings name.
    pub(super) fn looked_at(config: &Config) -> Self {
        let tls = config.tls.iter().flat_map(|files| [&files.cert, &files.key]);
        let tokens = match &config.auth {
            AuthMode::Tokens(file) => Some(file),
            _ => None,
        };
        Self {
            tls: Watched::looked_at(tls),
            fleets: Watched::looked_at(&config.fleet_file),
            tokens: Watched::looked_at(tokens),
            page_tokens: Watched::looked_at(&config.readers),
        }
    }
}

/// Who takes what changes in them.
pub(super) fn watches(of: Files, config: &Config, hub: &Arc<Hub>, tls: Option<Arc<Tls>>) -> Vec<Watch> {
    let mut watches = Vec::new();
    if let (Some(files), Some(tls)) = (config.tls.clone(), tls) {
        watches.push(Watch::new("tls", of.tls, move |contents| start::take_tls(&tls, &files, contents)));
    }
    if let Some(file) = config.fleet_file.clone() {
        let hub = Arc::clone(hub);
        watches.push(Watch::new("fleets", of.fleets, move |contents| start::take_fleets(&hub.fleets, &file, contents)));
    }
    if let AuthMode::Tokens(file) = config.auth.clone() {
        let hub = Arc::clone(hub);
        watches.push(Watch::new("tokens", of.tokens, move |contents| match &hub.auth {
            Auth::Tokens(tokens) => start::take_tokens(tokens, &file, contents),
            _ => Ok(()),
        }));
    }
    if let Some(file) = config.readers.clone() {
        let hub = Arc::clone(hub);
        watches.push(Watch::new("page_tokens", of.page_tokens, move |contents| match &hub.readers {
            Some(readers) => start::take_tokens(readers, &file, contents),
            None => Ok(()),
        }));
    }
    watches
}

impl Watch {
    fn new(
        what: &'static str,
        watched: Watched,
        take: impl Fn(&[Vec<u8>]) -> Result<(), String> + Send + 'static,
    ) -> Self {
        Self { what, watched, take: Box::new(take) }
    }

    /// What changed is taken, or told: then what was there before stays.
    pub(super) async fn run(self, metrics: Arc<Metrics>) {
        let Self { what, mut watched, take } = self;
        loop {
            let found;
            (watched, found) = match tokio::task::spawn_blocking(move || look(watched)).await {
                Ok(both) => both,
                Err(_) => return,
            };
            match found {
                Look::Same => {}
                Look::Unreadable(error) => {
                    metrics.reload(what, "failed");
                    tracing::error!(file = what, %error, "cannot be read: what was there before stays");
                }
                Look::Changed(contents) => match take(&contents) {
                    Ok(()) => {
                        metrics.reload(what, "taken");
                        tracing::info!(file = what, "taken");
                    }
                    Err(error) => {
                        metrics.reload(what, "failed");
                        tracing::error!(file = what, error, "not taken: what was there before stays");
                    }
                },
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

fn look(mut watched: Watched) -> (Watched, Look) {
    let found = watched.look();
    (watched, found)
}

impl Watched {
    /// Nothing was seen of these files yet.
    #[must_use]
    pub fn new(files: Vec<NamedFile>) -> Self {
        Self { files, seen: None, has_failed: false }
    }

    /// All of them seen as they are. What is wrong with them is for the start to say.
    fn looked_at<'f>(files: impl IntoIterator<Item = &'f NamedFile>) -> Self {
        let mut watched = Self::new(files.into_iter().cloned().collect());
        watched.look();
        watched
    }

    /// Reads the files; they may be half written, so what is wrong with them may be right at the next look.
    pub fn look(&mut self) -> Look {
        let read: io::Result<Vec<Vec<u8>>> = self.files.iter().map(NamedFile::read).collect();
        match read {
            Err(_) if self.has_failed => Look::Same,
            Err(error) => {
                self.has_failed = true;
                Look::Unreadable(error)
            }
            Ok(contents) => {
                self.has_failed = false;
                let mut hash = Sha256::new();
                for content in &contents {
                    hash.update(Sha256::digest(content));
                }
                let seen = hash.finalize().into();
                if self.seen == Some(seen) {
                    return Look::Same;
                }
                self.seen = Some(seen);
                Look::Changed(contents)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut watched = Watched::new(vec![NamedFile::new("--tls-key", path.clone())]);
        let says = format!("--tls-key {}: No such file", path.display());
        assert!(matches!(watched.look(), Look::Unreadable(error) if error.to_string().starts_with(&says)));
        assert!(matches!(watched.look(), Look::Same));
        for content in ["1", "2", "1"] {
            std::fs::write(&path, content).unwrap();
            assert!(matches!(watched.look(), Look::Changed(now) if now == [content.as_bytes()]));
            assert!(matches!(watched.look(), Look::Same));
        }
        let mut watched = Watched::looked_at([&NamedFile::new("--tls-key", path.clone())]);
        assert!(matches!(watched.look(), Look::Same));
        std::fs::write(&path, "2").unwrap();
        assert!(matches!(watched.look(), Look::Changed(_)));
    }
}
