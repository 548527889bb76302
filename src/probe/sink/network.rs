//! The way off the guest by network: one thread beside the sampler, ordinary in every way, that sends what waits and follows
//! the runner's log files.
//!
//! What it takes is the cargo feature `tls`; without it there is no such way, and the probe says so. The thread exists before
//! memory is locked. Names are looked up by a second one, which is there where a server's, or its proxy's, host is a name.

#[cfg(feature = "tls")]
mod bell;
#[cfg(feature = "tls")]
mod delivery;
#[cfg(feature = "tls")]
pub mod http;
#[cfg(feature = "tls")]
mod logs;
#[cfg(feature = "tls")]
mod loki;
#[cfg(feature = "tls")]
mod thread;
#[cfg(feature = "tls")]
mod times;
#[cfg(feature = "tls")]
mod token;

use std::io;

use super::handover::Handover;
use super::stdout::Descriptor;
use crate::line::RunId;
use crate::probe::config::{Adjusted, Config, Follow, Runner, SinkTarget, Sinks, ToStdout};

/// What the thread has to know.
#[derive(Debug)]
pub struct Setup {
    /// The servers, and what is needed for the way there.
    pub sinks: Sinks,
    /// The log files that are followed.
    pub follow: Follow,
    /// Where their lines go besides the servers.
    pub follow_stdout: Option<Descriptor>,
    /// What the lines are called after.
    pub run: RunId,
    /// Who the runner is.
    pub runner: Runner,
    /// The guest's operating system.
    pub os: Option<String>,
    /// This boot's id.
    pub boot_id: Option<String>,
}

impl Setup {
    /// As the settings say; log lines go to the servers only.
    #[must_use]
    pub fn new(config: &Config, run: RunId, os: Option<String>, boot_id: Option<String>) -> Self {
        Self {
            sinks: config.sinks.clone(),
            follow: config.follow.clone(),
            follow_stdout: None,
            run,
            runner: config.runner.clone(),
            os,
            boot_id,
        }
    }
}

/// Starts the thread where a setting asks for it, and says which settings are not used.
///
/// `os` and `boot_id` are this guest's.
#[must_use]
pub fn of(
    config: &Config,
    run: RunId,
    stdout: &Descriptor,
    os: Option<String>,
    boot_id: Option<String>,
) -> (Option<Handover>, Vec<Adjusted>) {
    let (sinks, follow) = (&config.sinks, &config.follow);
    let is_followed = !follow.patterns.is_empty() && (follow.stdout == ToStdout::On || !sinks.network.is_empty());
    let unfollowed = if is_followed { &[][..] } else { &follow.patterns };
    let nowhere =
        unused("--follow", unfollowed.iter().map(|path| path.display().to_string()), "there is no sink for it");
    if sinks.network.is_empty() && !is_followed {
        return (None, nowhere);
    }
    let mut setup = Setup::new(config, run, os, boot_id);
    if follow.stdout == ToStdout::On {
        setup.follow_stdout = stdout.try_clone().ok();
    }
    let why = match start(setup) {
        Ok(handover) => return (Some(handover), nowhere),
        Err(why) => why.to_string(),
    };
    let mut all = unused("--sink", sinks.network.iter().map(SinkTarget::to_string), &why);
    all.extend(unused("--follow", follow.patterns.iter().map(|path| path.display().to_string()), &why));
    (None, all)
}

fn unused(key: &str, given: impl Iterator<Item = String>, why: &str) -> Vec<Adjusted> {
    given.map(|given| Adjusted { key: key.to_owned(), given, used: format!("not used: {why}") }).collect()
}

/// Starts the thread, with a queue for each server.
///
/// # Errors
/// When the system gives no thread, or what one waits with.
#[cfg(feature = "tls")]
pub fn start(setup: Setup) -> io::Result<Handover> {
    thread::start(setup)
}

/// There is no such thread in this build.
///
/// # Errors
/// Always.
#[cfg(not(feature = "tls"))]
pub fn start(_setup: Setup) -> io::Result<Handover> {
    Err(io::Error::other("this probe was built without the feature tls"))
}
