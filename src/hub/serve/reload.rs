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

/// All files that are read again when they change.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) tls: Watched,
    pub(super) fleets: Watched,
    pub(super) tokens: Watched,
    pub(super) page_tokens: Watched,
}

/// Files that belong together.
#[derive(Debug, Default)]
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
    /// Reads files for the first time. What changes from then on is a change; but of a pipe, which gives what it has once.
    ///
    /// # Errors
    /// With the name of the file: when it cannot be read.
    pub fn first<const N: usize>(&mut self, files: [&NamedFile; N]) -> io::Result<[Vec<u8>; N]> {
        let mut contents = [const { Vec::new() }; N];
        for (content, file) in contents.iter_mut().zip(files) {
            *content = file.read()?;
        }
        if files.iter().all(|file| file.path().is_file()) {
            self.files = files.into_iter().cloned().collect();
            self.seen = Some(digest(&contents));
        }
        Ok(contents)
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
            Ok(contents) if contents.is_empty() => Look::Same,
            Ok(contents) => {
                self.has_failed = false;
                let seen = digest(&contents);
                if self.seen == Some(seen) {
                    return Look::Same;
                }
                self.seen = Some(seen);
                Look::Changed(contents)
            }
        }
    }
}

fn digest(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update(Sha256::digest(content));
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let (file, mut watched) = (NamedFile::new("--tls-key", path.clone()), Watched::default());
        let says = format!("--tls-key {}: No such file", path.display());
        assert!(watched.first([&file]).unwrap_err().to_string().starts_with(&says));
        std::fs::write(&path, "1").unwrap();
        assert_eq!(watched.first([&file]).unwrap(), [b"1"]);
        assert!(matches!(watched.look(), Look::Same));
        for content in ["2", "1", "2"] {
            std::fs::write(&path, content).unwrap();
            assert!(matches!(watched.look(), Look::Changed(now) if now == [content.as_bytes()]));
            assert!(matches!(watched.look(), Look::Same));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(watched.look(), Look::Unreadable(error) if error.to_string().starts_with(&says)));
        assert!(matches!(watched.look(), Look::Same));
    }
}
