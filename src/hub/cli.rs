//! What `vitals-hub` can be told: its tasks and their flags. The program, its man pages and its completions are made of it.

use clap::{Parser, Subcommand};

use super::diagnose;
use super::fleet;
use super::serve::config;

/// The operator's side of runner-vitals.
#[derive(Debug, Parser)]
#[command(name = "vitals-hub", version, max_term_width = 100)]
pub struct Cli {
    /// What is logged to stderr: error, warn, info, debug, or a filter as RUST_LOG takes it [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log: Option<String>,
    /// What it does.
    #[command(subcommand)]
    pub command: Task,
}

/// What it does.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Take lines from guests by HTTP and bring them out: stdout, files, Loki
    ///
    /// Every setting can also be given in the environment, as VITALS_HUB_LISTEN and so on; a flag wins.
    Serve(Box<config::Args>),
    /// Say why a runner died, from its trail
    Diagnose(Box<diagnose::Args>),
    /// Say how fleets of runners fare, from their trails: who is there, claims, warm-ups, waits, jobs
    Fleet(Box<fleet::Args>),
    /// Print what a tokens file says of a token, which is read from stdin
    HashToken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_to_be_nothing_is_an_error_of_its_setting() {
        for (words, says) in [
            (&["diagnose", "--runner", ""][..], "'--runner <NAME>'"),
            (&["diagnose", "--loki", "http://loki", "--since", "0"], "'--since <DURATION>'"),
            (&["serve", "--auth", "none", "--loki", "http://loki", "--loki-tenant", ""], "'--loki-tenant <ID>'"),
        ] {
            let error = Cli::try_parse_from([&["vitals-hub"], words].concat()).unwrap_err().to_string();
            assert!(error.contains(says), "{words:?}: {error}");
        }
    }
}
