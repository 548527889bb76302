//! Who the runner is: what its platform told the launcher.

use std::ffi::OsString;
use std::time::SystemTime;

use super::phase::parse_moment;
use super::{Environment, number};

/// The flags.
#[derive(Debug, Default, clap::Args)]
pub struct RunnerArgs {
    /// Name of the runner
    #[arg(long, value_name = "NAME")]
    pub runner: Option<String>,
    /// Fleet that the runner belongs to
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<String>,
    /// Environment that the runner belongs to
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// Image that the runner was started from
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// Memory limit that the platform gave the runner from outside
    #[arg(long, value_name = "BYTES")]
    pub runner_mem_limit: Option<u64>,
    /// When the runner was created: RFC 3339 in UTC, or seconds or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = created)]
    pub runner_created: Option<SystemTime>,
}

/// Who the runner is, where known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runner {
    /// Its name.
    pub name: Option<String>,
    /// Its fleet.
    pub fleet: Option<String>,
    /// Its environment.
    pub env: Option<String>,
    /// Its image.
    pub image: Option<String>,
    /// The memory limit that it has from outside, in bytes.
    pub mem_limit_bytes: Option<u64>,
    /// When it was created, by its creator's clock.
    pub created: Option<SystemTime>,
}

impl Runner {
    /// Completes the flags from the environment.
    pub(super) fn new<F: Fn(&str) -> Option<OsString>>(args: RunnerArgs, env: &mut Environment<F>) -> Self {
        Self {
            name: args.runner.or_else(|| env.text(&["RUNNER", "TUIST_RUNNER_POD_NAME"])),
            fleet: args.fleet.or_else(|| env.text(&["FLEET", "TUIST_RUNNER_POOL"])),
            env: args.env.or_else(|| env.text(&["ENV"])),
            image: args.image.or_else(|| env.text(&["IMAGE"])),
            mem_limit_bytes: args
                .runner_mem_limit
                .or_else(|| env.parsed(&["RUNNER_MEM_LIMIT"], "unknown", |text| number(text, 1..=u64::MAX))),
            created: args.runner_created.or_else(|| env.parsed(&["RUNNER_CREATED"], "unknown", parse_moment)),
        }
    }
}

fn created(text: &str) -> Result<SystemTime, String> {
    parse_moment(text.trim())
        .ok_or_else(|| "expected RFC 3339 in UTC, or seconds or milliseconds since 1970".to_owned())
}
