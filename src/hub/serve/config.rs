//! Settings: flags, then the environment (`VITALS_HUB_LISTEN` and so on). An operator starts the hub and reads its errors:
//! a wrong setting is one, never a default.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::out::dir::Caps;
use super::out::loki;
use super::pages::FLEET_PATH;
use super::runners::Pace;
use super::tail;
use super::tls::TlsFiles;
use crate::hub::named::NamedFile;

mod environment;
mod loki_args;
mod senders;
mod tail_args;
mod values;

use loki_args::LokiArgs;
use senders::SenderArgs;
use tail_args::TailArgs;
use values::{parse_bytes, parse_env, parse_path, parse_queue_bytes, parse_time};

pub use environment::{Environment, environment};
pub use senders::AuthMode;

/// Takes RUNNER_VITALS lines from guests by HTTP and brings them out: on stdout, into files, to Loki, or by several of these.
///
/// Every setting can also be given in the environment, as VITALS_HUB_LISTEN and so on; a flag wins.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address for /metrics, /healthz and /readyz, without TLS [default: they are served at --listen]
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    /// Path that guests post to
    #[arg(long, value_name = "PATH", default_value = "/api/internal/runners/vitals", value_parser = parse_path)]
    path: String,
    #[command(flatten)]
    sender: SenderArgs,
    /// Environment of the runners, which becomes runner.env of each line
    #[arg(long, value_name = "NAME", value_parser = parse_env)]
    env: Option<String>,
    /// Write lines to stdout [default: when there is no other way out]
    #[arg(long)]
    stdout: bool,
    /// Write lines to files by day and runner below this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Bytes of all files below --dir, as 500MiB or 10GiB: the oldest give way
    #[arg(long, value_name = "BYTES", default_value = "10GiB", value_parser = parse_bytes, requires = "dir")]
    dir_max_bytes: u64,
    /// How long a day's files are kept below --dir, as 14d or 12h
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = parse_time, requires = "dir")]
    dir_max_age: Duration,
    /// What guests cannot know of their fleets, a TOML file: targets, floors, images; docs/FLEET.md
    #[arg(long, value_name = "FILE")]
    fleet_file: Option<PathBuf>,
    /// Show /fleet and /runners/ID to everybody [default: to who may send lines]
    #[arg(long)]
    open_pages: bool,
    /// Show /fleet and /runners/ID to these tokens alone, which send no lines: a file as that of --auth tokens
    #[arg(long, value_name = "FILE", conflicts_with = "open_pages")]
    page_tokens_file: Option<PathBuf>,
    #[command(flatten)]
    loki: LokiArgs,
    #[command(flatten)]
    tail: TailArgs,
    /// Certificates to trust in place of the system's, PEM: of Loki, and of the URL of a key set
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Connections at once, as far as the hard limit of open files goes
    #[arg(long, value_name = "N", default_value = "12000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// Bytes that requests may hold together until they are answered
    #[arg(long, value_name = "BYTES", default_value = "32MiB", value_parser = parse_queue_bytes)]
    max_queue_bytes: u32,
    /// Lines a second that one runner may send in the long run
    #[arg(long, value_name = "N", default_value = "500", value_parser = clap::value_parser!(u32).range(1..))]
    runner_rate: u32,
    /// Lines that one runner may send at once
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(8192..))]
    runner_burst: u32,
    /// How long lines on their way may take to come out when it ends
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    drain: Duration,
}

/// A complete configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where guests come.
    pub listen: SocketAddr,
    /// Where metrics and health are served, when not there too.
    pub metrics_listen: Option<SocketAddr>,
    /// The path that guests post to.
    pub path: String,
    /// How a sender is known.
    pub auth: AuthMode,
    /// `runner.env` of each line.
    pub env: Option<String>,
    /// The ways out, at least one.
    pub outs: Vec<OutMode>,
    /// What guests cannot know of their fleets.
    pub fleet_file: Option<NamedFile>,
    /// Where else lines of runners are.
    pub tail: Option<tail::Settings>,
    /// Its pages are for everybody.
    pub has_open_pages: bool,
    /// Who may look at them, where not everybody may who sends.
    pub readers: Option<NamedFile>,
    /// Whom the hub itself trusts, in place of the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key.
    pub tls: Option<TlsFiles>,
    /// Connections at once.
    pub max_connections: u32,
    /// Bytes that requests may hold together.
    pub max_queue_bytes: u32,
    /// What one runner may send.
    pub pace: Pace,
    /// How long the end may take.
    pub drain: Duration,
}

/// A way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutMode {
    /// The hub's own stdout.
    Stdout,
    /// Files below a folder.
    Dir(PathBuf, Caps),
    /// Loki.
    Loki(Box<loki::Settings>),
}

/// Settings that do not go together, or one of the environment that is not of its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// The configuration that these settings are.
    ///
    /// # Errors
    /// When they do not go together.
    pub fn new(args: Args) -> Result<Self, ConfigError> {
        let auth = args.sender.mode()?;
        if auth == AuthMode::None && !args.listen.ip().to_canonical().is_loopback() {
            let why = "--auth none takes lines from anybody: it listens on a loopback address only";
            return Err(ConfigError(why.to_owned()));
        }
        if ["/metrics", "/healthz", "/readyz", FLEET_PATH].contains(&&*args.path) {
            return Err(ConfigError(format!("--path {}: something else is served there", args.path)));
        }
        let caps = Caps { max_bytes: args.dir_max_bytes, max_age: args.dir_max_age };
        let dir = args.dir.map(|dir| OutMode::Dir(dir, caps));
        let loki = args.loki.settings(args.env.clone())?.map(|loki| OutMode::Loki(Box::new(loki)));
        let stdout = (args.stdout || (dir.is_none() && loki.is_none())).then_some(OutMode::Stdout);
        Ok(Self {
            listen: args.listen,
            metrics_listen: args.metrics_listen,
            path: args.path,
            auth,
            env: args.env,
            outs: stdout.into_iter().chain(dir).chain(loki).collect(),
            fleet_file: args.fleet_file.map(|path| NamedFile::new("--fleet-file", path)),
            tail: args.tail.settings()?,
            has_open_pages: args.open_pages,
            readers: args.page_tokens_file.map(|path| NamedFile::new("--page-tokens-file", path)),
            ca_file: args.ca_file,
            tls: args.tls_cert.zip(args.tls_key).map(|(cert, key)| TlsFiles {
                cert: NamedFile::new("--tls-cert", cert),
                key: NamedFile::new("--tls-key", key),
            }),
            max_connections: args.max_connections,
            max_queue_bytes: args.max_queue_bytes,
            pace: Pace { a_second: args.runner_rate, burst: args.runner_burst },
            drain: args.drain,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    pub(super) fn config(words: &[&str]) -> Result<Config, String> {
        let command = Args::augment_args(Command::new("serve").no_binary_name(true));
        let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
        let args = Args::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        Config::new(args).map_err(|error| error.to_string())
    }

    #[test]
    fn stdout_is_the_way_out_when_there_is_no_other() {
        let outs = |words: &[&str]| config(&[&["--auth", "none"], words].concat()).unwrap().outs;
        let caps = Caps { max_bytes: 10 << 30, max_age: Duration::from_hours(14 * 24) };
        let dir = || OutMode::Dir("d".into(), caps);
        assert_eq!(outs(&[]), [OutMode::Stdout]);
        assert_eq!(outs(&["--dir", "d"]), [dir()]);
        assert_eq!(outs(&["--dir", "d", "--stdout"]), [OutMode::Stdout, dir()]);
    }

    #[test]
    fn anybody_is_let_in_on_loopback_only() {
        for listen in ["127.0.0.1:0", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(config(&["--auth", "none", "--listen", listen]).is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            assert!(config(&["--auth", "none", "--listen", listen]).unwrap_err().contains("loopback"), "{listen}");
            assert!(config(&["--auth", "tokens=f", "--listen", listen]).is_ok());
        }
    }

    #[test]
    fn a_wrong_setting_is_an_error() {
        for words in [
            &[][..],
            &["--auth", "tokens="],
            &["--auth", "some"],
            &["--auth", "none", "--path", "x"],
            &["--auth", "none", "--path", "/metrics"],
            &["--auth", "none", "--path", "/fleet"],
            &["--auth", "none", "--path", "/{x}"],
            &["--auth", "none", "--tls-cert", "c"],
            &["--auth", "none", "--dir", "d", "--dir-max-bytes", "10GB"],
            &["--auth", "none", "--dir", "d", "--dir-max-bytes", "99999999TiB"],
            &["--auth", "none", "--dir", "d", "--dir-max-age", "14"],
            &["--auth", "none", "--dir-max-bytes", "10GiB"],
            &["--auth", "none", "--dir-max-age", "14d"],
            &["--auth", "none", "--max-connections", "0"],
            &["--auth", "none", "--max-queue-bytes", "1KiB"],
            &["--auth", "none", "--env", &"e".repeat(65)],
            &["--auth", "none", "--open-pages", "--page-tokens-file", "f"],
        ] {
            assert!(config(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn every_setting_stands_on_a_page() {
        let hub = include_str!("../../../docs/HUB.md");
        let pages = [hub, include_str!("../../../docs/HUB-AUTH.md")];
        for arg in Args::augment_args(Command::new("")).get_arguments() {
            let flag = format!("`--{}", arg.get_long().unwrap());
            let is_told = |page: &str| [" ", "`"].iter().any(|end| page.contains(&format!("{flag}{end}")));
            assert!(pages.into_iter().any(is_told), "{flag}");
        }
        let about = hub.split("\n## ").next().unwrap();
        assert!(["stdout", "files", "Loki"].iter().all(|out| about.contains(out)), "{about}");
    }
}
